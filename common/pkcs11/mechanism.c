/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pkcs11/mechanism.h"

#include <string.h>

/* DigestInfo prefixes (RFC 8017 9.2 note 1, and NIST's SHA-3 OIDs in the same form). */
#define PREFIX(last, size)                                                                         \
    {0x30, 0x11 + (size), 0x30, 0x0d, 0x06,   0x09, 0x60, 0x86, 0x48,  0x01,                       \
     0x65, 0x03,          0x04, 0x02, (last), 0x05, 0x00, 0x04, (size)},                           \
        19

static const struct hash_row {
    uint8_t prefix[19];
    size_t prefix_size;
    CK_MECHANISM_TYPE mechanism;
    CK_RSA_PKCS_MGF_TYPE mgf;
} hash_rows[] = {
    [KYOK_HASH_SHA1] = {{0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05,
                         0x00, 0x04, 0x14},
                        15,
                        CKM_SHA_1,
                        CKG_MGF1_SHA1},
    [KYOK_HASH_SHA224] = {PREFIX(4, 28), CKM_SHA224, CKG_MGF1_SHA224},
    [KYOK_HASH_SHA256] = {PREFIX(1, 32), CKM_SHA256, CKG_MGF1_SHA256},
    [KYOK_HASH_SHA384] = {PREFIX(2, 48), CKM_SHA384, CKG_MGF1_SHA384},
    [KYOK_HASH_SHA512] = {PREFIX(3, 64), CKM_SHA512, CKG_MGF1_SHA512},
    [KYOK_HASH_SHA3_224] = {PREFIX(7, 28), 0x2b5, 6},
    [KYOK_HASH_SHA3_256] = {PREFIX(8, 32), 0x2b0, 7},
    [KYOK_HASH_SHA3_384] = {PREFIX(9, 48), 0x2c0, 8},
    [KYOK_HASH_SHA3_512] = {PREFIX(10, 64), 0x2d0, 9},
};
#define HASH_ROWS (sizeof(hash_rows) / sizeof(hash_rows[0]))

static const struct hash_row *row_of(enum kyok_hash hash)
{
    return hash < HASH_ROWS && hash_rows[hash].prefix_size != 0 ? &hash_rows[hash] : NULL;
}

static enum kyok_status too_long(const char *what, struct kyok_error *err)
{
    return kyok_fail(err, KYOK_INVALID, NULL, "%s does not fit the key", what);
}

static enum kyok_status digest_info(const struct kyok_sign_request *request, size_t modulus,
                                    struct kyok_sign_input *input, struct kyok_error *err)
{
    const struct hash_row *row = row_of(request->hash);
    size_t prefix = row == NULL ? 0 : row->prefix_size;
    size_t size = prefix + request->digest.size;

    /* MD5-SHA1 and a ready DigestInfo go in as they are. */
    if (size + 11 > modulus || size > sizeof(input->data))
        return too_long("the digest", err);
    if (row != NULL)
        memcpy(input->data, row->prefix, prefix);
    memcpy(input->data + prefix, request->digest.data, request->digest.size);
    input->bytes = kyok_bytes(input->data, size);
    return KYOK_OK;
}

static enum kyok_status pss(const struct kyok_sign_request *request, struct kyok_mechanism *m,
                            struct kyok_error *err)
{
    const struct hash_row *hash = row_of(request->hash);
    const struct hash_row *mgf =
        row_of(request->mgf1_hash == KYOK_HASH_NONE ? request->hash : request->mgf1_hash);

    if (hash == NULL || mgf == NULL)
        return kyok_fail(err, KYOK_UNSUPPORTED, NULL, "RSA-PSS needs a hash, not %s",
                         kyok_hash_name(request->hash));
    m->parameters.pss = (CK_RSA_PKCS_PSS_PARAMS){hash->mechanism, mgf->mgf, request->salt_size};
    m->mechanism = (CK_MECHANISM){CKM_RSA_PKCS_PSS, &m->parameters.pss, sizeof(m->parameters.pss)};
    return KYOK_OK;
}

static void eddsa(unsigned bits, struct kyok_mechanism *m)
{
    m->mechanism = (CK_MECHANISM){CKM_EDDSA, NULL, 0};
    if (bits == 256)
        return;
    /* Ed448 always names its context, even an empty one (PKCS#11 3.0 2.3.14). */
    m->parameters.eddsa = (struct kyok_eddsa_params){CK_FALSE, 0, NULL};
    m->mechanism.pParameter = &m->parameters.eddsa;
    m->mechanism.ulParameterLen = sizeof(m->parameters.eddsa);
}

enum kyok_status kyok_mechanism_sign(const struct kyok_sign_request *request, unsigned bits,
                                     struct kyok_mechanism *m, struct kyok_sign_input *input,
                                     struct kyok_error *err)
{
    size_t modulus = (bits + 7) / 8;

    input->bytes = request->digest;
    switch (request->scheme) {
    case KYOK_SIGN_RSA_PKCS1:
        m->mechanism = (CK_MECHANISM){CKM_RSA_PKCS, NULL, 0};
        return digest_info(request, modulus, input, err);
    case KYOK_SIGN_RSA_PSS:
        return pss(request, m, err);
    case KYOK_SIGN_RSA_RAW:
        m->mechanism = (CK_MECHANISM){CKM_RSA_X_509, NULL, 0};
        return request->digest.size == modulus ? KYOK_OK : too_long("the block", err);
    case KYOK_SIGN_ECDSA:
        m->mechanism = (CK_MECHANISM){CKM_ECDSA, NULL, 0};
        /* Longer digests are cut by the standard (FIPS 186-4 6.4); some tokens refuse instead. */
        if (input->bytes.size > modulus && bits % 8 == 0)
            input->bytes.size = modulus;
        return KYOK_OK;
    case KYOK_SIGN_EDDSA:
        input->bytes = request->data;
        eddsa(bits, m);
        return KYOK_OK;
    }
    return kyok_fail(err, KYOK_FAULT, NULL, "unknown signature scheme");
}

bool kyok_mechanism_oaep(const struct kyok_cipher_request *request, struct kyok_mechanism *m)
{
    const struct hash_row *hash = row_of(request->hash);
    const struct hash_row *mgf =
        row_of(request->mgf1_hash == KYOK_HASH_NONE ? request->hash : request->mgf1_hash);

    if (hash == NULL || mgf == NULL)
        return false;
    m->parameters.oaep = (CK_RSA_PKCS_OAEP_PARAMS){
        .hashAlg = hash->mechanism,
        .mgf = mgf->mgf,
        .source = CKZ_DATA_SPECIFIED,
        .pSourceData = (void *)request->label.data,
        .ulSourceDataLen = request->label.size,
    };
    m->mechanism =
        (CK_MECHANISM){CKM_RSA_PKCS_OAEP, &m->parameters.oaep, sizeof(m->parameters.oaep)};
    return true;
}

bool kyok_mechanism_gcm(const struct kyok_cipher_request *request, struct kyok_mechanism *m)
{
    if (request->iv_size == 0 || request->iv_size > sizeof(request->iv))
        return false;
    m->parameters.gcm = (CK_GCM_PARAMS){
        .pIv = (CK_BYTE *)request->iv,
        .ulIvLen = request->iv_size,
        .ulIvBits = request->iv_size * 8,
        .pAAD = (CK_BYTE *)request->aad.data,
        .ulAADLen = request->aad.size,
        .ulTagBits = 128,
    };
    m->mechanism = (CK_MECHANISM){CKM_AES_GCM, &m->parameters.gcm, sizeof(m->parameters.gcm)};
    return true;
}

void kyok_session_secret(struct kyok_session_secret *s, CK_ATTRIBUTE_TYPE type, const void *value,
                         size_t size)
{
    s->object_class = CKO_SECRET_KEY;
    s->type = CKK_GENERIC_SECRET;
    s->yes = CK_TRUE;
    s->no = CK_FALSE;
    s->fields[0] = (CK_ATTRIBUTE){CKA_CLASS, &s->object_class, sizeof(s->object_class)};
    s->fields[1] = (CK_ATTRIBUTE){CKA_KEY_TYPE, &s->type, sizeof(s->type)};
    s->fields[2] = (CK_ATTRIBUTE){CKA_TOKEN, &s->no, sizeof(s->no)};
    s->fields[3] = (CK_ATTRIBUTE){CKA_SENSITIVE, &s->no, sizeof(s->no)};
    s->fields[4] = (CK_ATTRIBUTE){CKA_EXTRACTABLE, &s->yes, sizeof(s->yes)};
    s->fields[5] = (CK_ATTRIBUTE){type, (void *)value, size};
    s->count = value == NULL ? 5 : 6;
}
