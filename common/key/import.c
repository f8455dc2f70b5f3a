/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bringing a key: the token makes a transport key pair, another machine wraps the key with its
 * public half, the token unwraps. As CKM_RSA_AES_KEY_WRAP does it, in two steps that more tokens
 * know: RSA-OAEP around an AES key of the moment, AES-KWP (RFC 5649) around the material.
 */
#include "common/base/library_context.h"
#include "common/base/public_key.h"
#include "common/base/rsa_oaep.h"
#include "common/key/life.h"

#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define TRANSPORT_BITS 3072
#define CARRIER_SIZE 32

static void pkey_free(EVP_PKEY **pkey)
{
    EVP_PKEY_free(*pkey);
}

static void pkey_context_free(EVP_PKEY_CTX **context)
{
    EVP_PKEY_CTX_free(*context);
}

static void cipher_context_free(EVP_CIPHER_CTX **context)
{
    EVP_CIPHER_CTX_free(*context);
}

static void cipher_free(EVP_CIPHER **cipher)
{
    EVP_CIPHER_free(*cipher);
}

static enum kyok_status openssl_failed(struct kyok_error *err, const char *what)
{
    ERR_clear_error();
    return kyok_fail(err, KYOK_INVALID, NULL, "%s failed", what);
}

/* --- on the machine that has the material --- */

static enum kyok_status seal_oaep(struct kyok_bytes public_key, enum kyok_hash hash,
                                  struct kyok_bytes input, struct kyok_buffer *output,
                                  struct kyok_error *err)
{
    KYOK_CLEANUP(pkey_free)
    EVP_PKEY *pkey = kyok_rsa_public_key(kyok_library_context(), public_key);
    KYOK_CLEANUP(pkey_context_free) EVP_PKEY_CTX *context = NULL;
    size_t size = 0;
    uint8_t *room;

    if (pkey == NULL)
        return openssl_failed(err, "reading the transport key");
    context = kyok_rsa_oaep_new(kyok_library_context(), pkey, kyok_hash_name(hash));
    if (context == NULL || EVP_PKEY_encrypt(context, NULL, &size, input.data, input.size) != 1)
        return openssl_failed(err, "preparing RSA-OAEP");
    room = kyok_buffer_reserve(output, size);
    if (room == NULL || EVP_PKEY_encrypt(context, room, &size, input.data, input.size) != 1)
        return openssl_failed(err, "RSA-OAEP");
    output->size += size;
    return KYOK_OK;
}

/* name: "AES-256-WRAP-PAD" (output one block longer, rounded up), or an ECB cipher. */
static enum kyok_status encrypt_with(const char *name, struct kyok_bytes key,
                                     struct kyok_bytes input, uint8_t *output, size_t *size,
                                     struct kyok_error *err)
{
    KYOK_CLEANUP(cipher_free)
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(kyok_library_context(), name, NULL);
    KYOK_CLEANUP(cipher_context_free) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int written = 0, final = 0;

    if (cipher == NULL || context == NULL)
        return openssl_failed(err, name);
    EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (EVP_EncryptInit_ex2(context, cipher, key.data, NULL, NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(context, 0) != 1 ||
        EVP_EncryptUpdate(context, output, &written, input.data, (int)input.size) != 1 ||
        EVP_EncryptFinal_ex(context, output + written, &final) != 1)
        return openssl_failed(err, name);
    *size = (size_t)(written + final);
    return KYOK_OK;
}

static enum kyok_status host_check_value(struct kyok_bytes material, uint8_t value[3],
                                         struct kyok_error *err)
{
    static const uint8_t zeros[16];
    uint8_t block[32];
    char name[16];
    size_t size;

    snprintf(name, sizeof(name), "AES-%zu-ECB", material.size * 8);
    KYOK_TRY(encrypt_with(name, material, kyok_bytes(zeros, sizeof(zeros)), block, &size, err));
    memcpy(value, block, 3);
    return KYOK_OK;
}

void kyok_sealed_key_free(struct kyok_sealed_key *sealed)
{
    kyok_buffer_free(&sealed->key_wrapped);
    kyok_buffer_free(&sealed->material);
    kyok_buffer_free(&sealed->public_key);
}

/* An unencrypted PKCS#8 or traditional key; NULL: none. */
static EVP_PKEY *read_private_key(struct kyok_bytes material)
{
    EVP_PKEY *pkey = NULL;
    OSSL_DECODER_CTX *decoder = OSSL_DECODER_CTX_new_for_pkey(
        &pkey, NULL, NULL, NULL, EVP_PKEY_KEYPAIR, kyok_library_context(), NULL);
    const unsigned char *at = material.data;
    size_t left = material.size;

    if (decoder == NULL || OSSL_DECODER_from_data(decoder, &at, &left) != 1) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    OSSL_DECODER_CTX_free(decoder);
    ERR_clear_error();
    return pkey;
}

static enum kyok_status encode(EVP_PKEY *pkey, int selection, const char *structure,
                               struct kyok_secret **der, struct kyok_error *err)
{
    OSSL_ENCODER_CTX *encoder =
        OSSL_ENCODER_CTX_new_for_pkey(pkey, selection, "DER", structure, NULL);
    unsigned char *data = NULL;
    size_t size = 0;

    *der = NULL;
    if (encoder != NULL && OSSL_ENCODER_to_data(encoder, &data, &size) == 1 &&
        (*der = kyok_secret_new(size)) != NULL)
        memcpy(kyok_secret_data(*der), data, size);
    OPENSSL_clear_free(data, size);
    OSSL_ENCODER_CTX_free(encoder);
    return *der != NULL ? KYOK_OK : openssl_failed(err, structure);
}

static enum kyok_status pair_check_value(struct kyok_bytes spki, uint8_t value[3],
                                         struct kyok_error *err)
{
    uint8_t digest[32];
    size_t size = sizeof(digest);

    if (EVP_Q_digest(kyok_library_context(), "SHA256", NULL, spki.data, spki.size, digest, &size) !=
        1)
        return openssl_failed(err, "SHA-256");
    memcpy(value, digest, 3);
    return KYOK_OK;
}

/* The PKCS#8 of a pair, and what is told of it. */
static enum kyok_status read_pair(struct kyok_bytes material, struct kyok_sealed_key *sealed,
                                  struct kyok_secret **pkcs8, struct kyok_error *err)
{
    KYOK_CLEANUP(pkey_free) EVP_PKEY *pkey = read_private_key(material);
    KYOK_AUTO_SECRET struct kyok_secret *spki = NULL;
    unsigned bits;

    *pkcs8 = NULL;
    if (pkey != NULL)
        KYOK_TRY(encode(pkey, EVP_PKEY_PUBLIC_KEY, "SubjectPublicKeyInfo", &spki, err));
    sealed->type = pkey != NULL ? kyok_spki_type(kyok_secret_bytes(spki), &bits) : KYOK_KEY_UNKNOWN;
    if (sealed->type != KYOK_KEY_RSA && sealed->type != KYOK_KEY_EC) {
        kyok_fail(err, KYOK_INVALID, NULL,
                  "the material is an AES key of 16, 24 or 32 bytes, or an unencrypted RSA "
                  "or EC (P-256, P-384, P-521) private key in PEM or DER");
        return kyok_remedy(err, "an Ed25519 key is made in the token: kyok key generate REF --type "
                                "ed25519");
    }
    if (!kyok_buffer_append(&sealed->public_key, kyok_secret_data(spki), kyok_secret_size(spki)))
        return kyok_fail(err, KYOK_SYSTEM, NULL, "no memory");
    KYOK_TRY(pair_check_value(kyok_secret_bytes(spki), sealed->check_value, err));
    return encode(pkey, EVP_PKEY_KEYPAIR, "PrivateKeyInfo", pkcs8, err);
}

enum kyok_status kyok_key_import_seal(struct kyok_bytes transport, struct kyok_bytes material,
                                      struct kyok_sealed_key *sealed, struct kyok_error *err)
{
    KYOK_AUTO_SECRET struct kyok_secret *carrier = kyok_secret_new(CARRIER_SIZE);
    KYOK_AUTO_SECRET struct kyok_secret *pkcs8 = NULL;
    uint8_t *room;
    size_t size;

    if (carrier == NULL ||
        RAND_priv_bytes_ex(kyok_library_context(), kyok_secret_data(carrier), CARRIER_SIZE, 0) != 1)
        return kyok_fail(err, KYOK_SYSTEM, NULL, "no memory or randomness");
    if (material.size == 16 || material.size == 24 || material.size == 32) {
        sealed->type = KYOK_KEY_AES;
        KYOK_TRY(host_check_value(material, sealed->check_value, err));
    } else {
        KYOK_TRY(read_pair(material, sealed, &pkcs8, err));
        material = kyok_secret_bytes(pkcs8);
    }
    KYOK_TRY(
        seal_oaep(transport, sealed->hash, kyok_secret_bytes(carrier), &sealed->key_wrapped, err));
    room = kyok_buffer_reserve(&sealed->material, material.size + 32);
    if (room == NULL)
        return kyok_fail(err, KYOK_SYSTEM, NULL, "no memory");
    KYOK_TRY(
        encrypt_with("AES-256-WRAP-PAD", kyok_secret_bytes(carrier), material, room, &size, err));
    sealed->material.size += size;
    return KYOK_OK;
}

/* --- on the token's machine --- */

static enum kyok_status transport_reference(const struct kyok_life *life,
                                            struct kyok_reference **reference,
                                            struct kyok_error *err)
{
    struct kyok_key_name name = {.id_size = 0};

    if (life->reference->object == NULL ||
        strlen(life->reference->object) > KYOK_RECORD_LABEL_MAX - 12)
        return kyok_fail(err, KYOK_INVALID, life->reference->text,
                         "the reference must name the key to import: object=NAME");
    snprintf(name.label, sizeof(name.label), "%s.transport", life->reference->object);
    return kyok_life_reference(life, &name, reference, err);
}

/* A key that the host makes up is unwrapped by the transport key: does the token take this hash? */
static enum kyok_status try_hash(const struct kyok_life *life, struct kyok_key *transport,
                                 enum kyok_hash hash, struct kyok_error *err)
{
    const struct kyok_key_info *info = kyok_key_info(transport);
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer wrapped = {0};
    uint8_t trial[CARRIER_SIZE];

    if (RAND_bytes_ex(kyok_library_context(), trial, sizeof(trial), 0) != 1)
        return kyok_fail(err, KYOK_SYSTEM, NULL, "no randomness");
    KYOK_TRY(seal_oaep(kyok_bytes(info->public_key, info->public_key_size), hash,
                       kyok_bytes(trial, sizeof(trial)), &wrapped, err));
    return kyok_life_try_carrier(life, transport, hash, kyok_buffer_bytes(&wrapped), err);
}

static enum kyok_status choose_hash(const struct kyok_life *life, struct kyok_key *transport,
                                    bool allow_sha1, enum kyok_hash *hash, struct kyok_error *err)
{
    static const enum kyok_hash hashes[] = {KYOK_HASH_SHA512, KYOK_HASH_SHA384, KYOK_HASH_SHA256};

    for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++) {
        enum kyok_status status = try_hash(life, transport, hashes[i], err);

        *hash = hashes[i];
        if (status == KYOK_OK || status == KYOK_UNREACHABLE || status == KYOK_TIMEOUT ||
            status == KYOK_REFUSED)
            return status;
    }
    *hash = KYOK_HASH_SHA1;
    if (allow_sha1)
        return try_hash(life, transport, *hash, err);
    kyok_fail(err, KYOK_UNSUPPORTED, life->reference->text,
              "the token takes RSA-OAEP with SHA-1 only, if at all");
    return kyok_remedy(err, "add --allow-oaep-sha1 if your policy allows that");
}

/* No KMIP server unwraps for its client's transport key: what is registered passes this host in the
 * clear, which import promises that it does not. */
static enum kyok_status begin_life(struct kyok_context *context,
                                   const struct kyok_reference *reference, struct kyok_life *life,
                                   struct kyok_error *err)
{
    if (reference->kind != KYOK_REFERENCE_KMIP)
        return kyok_life_begin(context, reference, life, err);
    kyok_fail(err, KYOK_UNSUPPORTED, reference->text,
              "a KMIP server has no transport key: a key that is registered there passes this host "
              "in the clear");
    return kyok_remedy(err,
                       "where the host may see it: kyok kmip register %s FILE --type "
                       "symmetric-key; else let the server's operator bring it in",
                       reference->group);
}

enum kyok_status kyok_key_import_begin(struct kyok_context *context,
                                       const struct kyok_reference *reference, bool allow_sha1,
                                       enum kyok_hash *hash, struct kyok_buffer *public_key,
                                       struct kyok_error *err)
{
    static const struct kyok_generate_request request = {
        .type = KYOK_KEY_RSA, .bits = TRANSPORT_BITS, .uses = KYOK_USE_WRAP};
    KYOK_AUTO_REFERENCE struct kyok_reference *transport_name = NULL;
    KYOK_AUTO_KEY struct kyok_key *transport = NULL;
    const struct kyok_key_info *info;
    struct kyok_life life;

    KYOK_TRY(begin_life(context, reference, &life, err));
    KYOK_TRY(transport_reference(&life, &transport_name, err));
    if (kyok_key_open(context, transport_name, kyok_bytes(NULL, 0), &transport, err) != KYOK_OK)
        KYOK_TRY(kyok_key_generate(context, transport_name, &request, &transport, err));
    if (choose_hash(&life, transport, allow_sha1, hash, err) != KYOK_OK) {
        struct kyok_error ignored;

        (void)kyok_life_destroy(&life, transport, &ignored);
        return err->status;
    }
    info = kyok_key_info(transport);
    return kyok_buffer_append(public_key, info->public_key, info->public_key_size)
               ? KYOK_OK
               : kyok_fail(err, KYOK_SYSTEM, NULL, "no memory");
}

/* The transport key is the last to go: without it, the key is there or nothing was begun. */
static enum kyok_status was_imported(const struct kyok_life *life,
                                     const struct kyok_sealed_key *sealed, struct kyok_error *err)
{
    KYOK_AUTO_KEY struct kyok_key *key = NULL;
    const struct kyok_key_info *info;
    uint8_t present[3];
    struct kyok_error missing = *err;

    if (kyok_key_open(life->context, life->reference, kyok_bytes(NULL, 0), &key, err) != KYOK_OK) {
        *err = missing;
        return kyok_remedy(err, "begin with kyok key import --begin");
    }
    info = kyok_key_info(key);
    if (sealed->type != KYOK_KEY_AES)
        KYOK_TRY(
            pair_check_value(kyok_bytes(info->public_key, info->public_key_size), present, err));
    else if (info->type == KYOK_KEY_AES)
        KYOK_TRY(kyok_life_check_value(life, key, present, err));
    if (info->type == sealed->type && memcmp(present, sealed->check_value, sizeof(present)) == 0)
        return KYOK_OK;
    return kyok_fail(err, KYOK_REFUSED, life->reference->text,
                     "there is another key of this name already");
}

/* A token believes a public half that is put beside a private one: a signature tells. */
static enum kyok_status check_pair(const struct kyok_life *life,
                                   const struct kyok_sealed_key *sealed, struct kyok_error *err)
{
    static const uint8_t digest[32] = "kyok: is this one pair of keys?";
    bool rsa = sealed->type == KYOK_KEY_RSA;
    struct kyok_sign_request request = {.scheme = rsa ? KYOK_SIGN_RSA_PKCS1 : KYOK_SIGN_ECDSA,
                                        .hash = KYOK_HASH_SHA256,
                                        .digest = kyok_bytes(digest, sizeof(digest))};
    const unsigned char *at = sealed->public_key.data;
    KYOK_CLEANUP(pkey_free)
    EVP_PKEY *pkey =
        d2i_PUBKEY_ex(NULL, &at, (long)sealed->public_key.size, kyok_library_context(), NULL);
    KYOK_CLEANUP(pkey_context_free)
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(kyok_library_context(), pkey, NULL);
    KYOK_AUTO_KEY struct kyok_key *key = NULL;
    uint8_t signature[2048];
    size_t size = sizeof(signature);
    struct kyok_error ignored;

    KYOK_TRY(kyok_key_open(life->context, life->reference, kyok_buffer_bytes(&sealed->public_key),
                           &key, err));
    KYOK_TRY(kyok_key_sign(key, &request, signature, &size, err));
    if (context != NULL && EVP_PKEY_verify_init(context) == 1 &&
        EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) == 1 &&
        EVP_PKEY_verify(context, signature, size, digest, sizeof(digest)) == 1)
        return KYOK_OK;
    ERR_clear_error();
    (void)kyok_life_destroy(life, key, &ignored);
    return kyok_fail(err, KYOK_TAMPERED, life->reference->text,
                     "the file's public half does not belong to its private half");
}

/* A token that does not tell the length of what it has unwrapped gets it in a record. */
static enum kyok_status record_length(const struct kyok_life *life, size_t wrapped_size,
                                      struct kyok_error *err)
{
    KYOK_AUTO_RECORD record = kyok_life_record_new(err);
    KYOK_AUTO_KEY struct kyok_key *key = NULL;

    if (record == NULL)
        return err->status;
    KYOK_TRY(kyok_key_open(life->context, life->reference, kyok_bytes(NULL, 0), &key, err));
    if (kyok_key_info(key)->type != KYOK_KEY_AES || kyok_key_info(key)->bits != 0)
        return KYOK_OK;
    KYOK_TRY(kyok_life_record(life, record, err));
    record->versions[0].bits = (unsigned)(wrapped_size - 8) * 8; /* RFC 5649, 16 to 32 bytes */
    record->versions[0].made = time(NULL);
    return kyok_life_write(life, record, err);
}

static unsigned usage_of(enum kyok_key_type type)
{
    return type == KYOK_KEY_AES
               ? KYOK_USAGE_ENCRYPT | KYOK_USAGE_DECRYPT | KYOK_USAGE_WRAP | KYOK_USAGE_UNWRAP
           : type == KYOK_KEY_RSA ? KYOK_USAGE_SIGN | KYOK_USAGE_DECRYPT
                                  : KYOK_USAGE_SIGN | KYOK_USAGE_DERIVE;
}

/* The reference's id; else a random one, and of a pair, whose two halves it joins, one made of its
 * public half: a second run finds the first one's. */
static enum kyok_status name_import(const struct kyok_life *life,
                                    const struct kyok_sealed_key *sealed,
                                    struct kyok_key_name *name, struct kyok_error *err)
{
    const struct kyok_reference *reference = life->reference;
    uint8_t digest[32];
    size_t size;

    strcpy(name->label, reference->object);
    name->id_size = reference->id_size < KYOK_RECORD_ID_MAX ? reference->id_size : 0;
    if (name->id_size > 0) {
        memcpy(name->id, reference->id, name->id_size);
        return KYOK_OK;
    }
    if (sealed->type == KYOK_KEY_AES)
        return kyok_life_new_id(name, err);
    if (EVP_Q_digest(kyok_library_context(), "SHA256", NULL, sealed->public_key.data,
                     sealed->public_key.size, digest, &size) != 1)
        return openssl_failed(err, "SHA-256");
    name->id_size = 16;
    memcpy(name->id, digest, name->id_size);
    return KYOK_OK;
}

static enum kyok_status import_with(const struct kyok_life *life, struct kyok_key *transport,
                                    struct kyok_sealed_key *sealed, struct kyok_error *err)
{
    struct kyok_import_request request = {.hash = sealed->hash,
                                          .key_wrapped = kyok_buffer_bytes(&sealed->key_wrapped),
                                          .material = kyok_buffer_bytes(&sealed->material),
                                          .type = sealed->type,
                                          .public_key = kyok_buffer_bytes(&sealed->public_key),
                                          .usage = usage_of(sealed->type)};
    enum kyok_status status;

    memcpy(request.check_value, sealed->check_value, 3);
    KYOK_TRY(name_import(life, sealed, &request.name, err));
    status = kyok_life_import(life, transport, &request, err);
    kyok_life_event("create", life, &request.name, "import", status);
    KYOK_TRY(status);
    if (sealed->type == KYOK_KEY_AES)
        KYOK_TRY(record_length(life, sealed->material.size, err));
    else
        KYOK_TRY(check_pair(life, sealed, err));
    memcpy(sealed->check_value, request.check_value, 3);
    return KYOK_OK;
}

enum kyok_status kyok_key_import(struct kyok_context *context,
                                 const struct kyok_reference *reference,
                                 struct kyok_sealed_key *sealed, struct kyok_error *err)
{
    KYOK_AUTO_REFERENCE struct kyok_reference *transport_name = NULL;
    KYOK_AUTO_KEY struct kyok_key *transport = NULL;
    struct kyok_life life;
    enum kyok_status status;

    if (sealed->type != KYOK_KEY_AES)
        KYOK_TRY(
            pair_check_value(kyok_buffer_bytes(&sealed->public_key), sealed->check_value, err));
    KYOK_TRY(begin_life(context, reference, &life, err));
    KYOK_TRY(transport_reference(&life, &transport_name, err));
    status = kyok_key_open(context, transport_name, kyok_bytes(NULL, 0), &transport, err);
    if (status == KYOK_NOT_FOUND)
        return was_imported(&life, sealed, err);
    KYOK_TRY(status);
    KYOK_TRY(import_with(&life, transport, sealed, err));
    return kyok_life_destroy(&life, transport, err);
}
