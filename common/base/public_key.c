/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/public_key.h"

#include <openssl/asn1t.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <string.h>

/* PKCS#1 RSAPublicKey (RFC 8017 A.1.1). libcrypto's own type for it is deprecated in 3.0. */
struct rsa_public_key {
    ASN1_INTEGER *modulus;
    ASN1_INTEGER *exponent;
};
typedef struct rsa_public_key RSA_PUBLIC_KEY;
ASN1_SEQUENCE(RSA_PUBLIC_KEY) =
    {
        ASN1_SIMPLE(RSA_PUBLIC_KEY, modulus, ASN1_INTEGER),
        ASN1_SIMPLE(RSA_PUBLIC_KEY, exponent, ASN1_INTEGER),
} static_ASN1_SEQUENCE_END(RSA_PUBLIC_KEY)

        static const struct curve {
    enum kyok_key_type type;
    unsigned bits;
    int nid;
    size_t point_size;
    const char *name; /* PrintableString form (PKCS#11 3.0 curveName) */
    uint8_t parameters[12];
    size_t parameters_size;
} curves[] = {
    {KYOK_KEY_EC,
     256,
     NID_X9_62_prime256v1,
     65,
     "secp256r1",
     {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7},
     10},
    {KYOK_KEY_EC, 384, NID_secp384r1, 97, "secp384r1", {6, 5, 0x2b, 0x81, 4, 0, 0x22}, 7},
    {KYOK_KEY_EC, 521, NID_secp521r1, 133, "secp521r1", {6, 5, 0x2b, 0x81, 4, 0, 0x23}, 7},
    {KYOK_KEY_ED25519, 256, NID_ED25519, 32, "edwards25519", {6, 3, 0x2b, 0x65, 0x70}, 5},
    {KYOK_KEY_ED448, 456, NID_ED448, 57, "edwards448", {6, 3, 0x2b, 0x65, 0x71}, 5},
    {KYOK_KEY_X25519, 253, NID_X25519, 32, "curve25519", {6, 3, 0x2b, 0x65, 0x6e}, 5},
    {KYOK_KEY_X448, 448, NID_X448, 56, "curve448", {6, 3, 0x2b, 0x65, 0x6f}, 5},
};
#define CURVE_COUNT (sizeof(curves) / sizeof(curves[0]))

static const struct curve *curve_of(struct kyok_bytes parameters)
{
    for (size_t i = 0; i < CURVE_COUNT; i++) {
        const struct curve *curve = &curves[i];

        if (kyok_bytes_equal(parameters, kyok_bytes(curve->parameters, curve->parameters_size)))
            return curve;
        /* 0x13: PrintableString */
        if (parameters.size > 2 && parameters.data[0] == 0x13 &&
            parameters.data[1] == parameters.size - 2 &&
            kyok_bytes_equal(kyok_bytes(parameters.data + 2, parameters.size - 2),
                             kyok_bytes_of_text(curve->name)))
            return curve;
    }
    return NULL;
}

/* Takes key; parameter types as in X509_ALGOR. */
static bool append_spki(ASN1_OBJECT *algorithm, int parameter_type, void *parameter, uint8_t *key,
                        int key_size, struct kyok_buffer *spki)
{
    X509_PUBKEY *info = X509_PUBKEY_new();
    uint8_t *der = NULL;
    int size = -1;
    bool done = false;

    if (info != NULL &&
        X509_PUBKEY_set0_param(info, algorithm, parameter_type, parameter, key, key_size))
        size = i2d_X509_PUBKEY(info, &der);
    else
        OPENSSL_free(key);
    if (size > 0)
        done = kyok_buffer_append(spki, der, (size_t)size);
    OPENSSL_free(der);
    X509_PUBKEY_free(info);
    return done;
}

bool kyok_spki_from_rsa(struct kyok_bytes modulus, struct kyok_bytes exponent,
                        struct kyok_buffer *spki)
{
    RSA_PUBLIC_KEY key = {NULL, NULL};
    BIGNUM *n = BN_bin2bn(modulus.data, (int)modulus.size, NULL);
    BIGNUM *e = BN_bin2bn(exponent.data, (int)exponent.size, NULL);
    uint8_t *der = NULL;
    bool done = false;
    int size;

    if (n != NULL && e != NULL && BN_num_bits(n) >= 512 && BN_num_bits(n) <= 16384 &&
        !BN_is_zero(e)) {
        key.modulus = BN_to_ASN1_INTEGER(n, NULL);
        key.exponent = BN_to_ASN1_INTEGER(e, NULL);
        size = key.modulus == NULL || key.exponent == NULL
                   ? -1
                   : ASN1_item_i2d((ASN1_VALUE *)&key, &der, ASN1_ITEM_rptr(RSA_PUBLIC_KEY));
        if (size > 0)
            done = append_spki(OBJ_nid2obj(NID_rsaEncryption), V_ASN1_NULL, NULL, der, size, spki);
    }
    ASN1_INTEGER_free(key.modulus);
    ASN1_INTEGER_free(key.exponent);
    BN_free(n);
    BN_free(e);
    return done;
}

bool kyok_spki_from_ec(struct kyok_bytes parameters, struct kyok_bytes point,
                       struct kyok_buffer *spki)
{
    const struct curve *curve = curve_of(parameters);
    uint8_t *key;

    if (curve == NULL || point.size != curve->point_size ||
        (curve->type == KYOK_KEY_EC && point.data[0] != 4))
        return false;
    key = OPENSSL_memdup(point.data, point.size);
    if (key == NULL)
        return false;
    if (curve->type == KYOK_KEY_EC)
        return append_spki(OBJ_nid2obj(NID_X9_62_id_ecPublicKey), V_ASN1_OBJECT,
                           OBJ_nid2obj(curve->nid), key, (int)point.size, spki);
    return append_spki(OBJ_nid2obj(curve->nid), V_ASN1_UNDEF, NULL, key, (int)point.size, spki);
}

static unsigned rsa_bits(const uint8_t *der, int size)
{
    RSA_PUBLIC_KEY *key =
        (RSA_PUBLIC_KEY *)ASN1_item_d2i(NULL, &der, size, ASN1_ITEM_rptr(RSA_PUBLIC_KEY));
    BIGNUM *n = key == NULL ? NULL : ASN1_INTEGER_to_BN(key->modulus, NULL);
    unsigned bits = n == NULL ? 0 : (unsigned)BN_num_bits(n);

    BN_free(n);
    ASN1_item_free((ASN1_VALUE *)key, ASN1_ITEM_rptr(RSA_PUBLIC_KEY));
    return bits;
}

static enum kyok_key_type algorithm_type(const X509_ALGOR *algorithm, const uint8_t *key, int size,
                                         unsigned *bits)
{
    const ASN1_OBJECT *object, *named = NULL;
    const void *parameter;
    int nid, parameter_type;

    X509_ALGOR_get0(&object, &parameter_type, &parameter, algorithm);
    nid = OBJ_obj2nid(object);
    if (nid == NID_rsaEncryption || nid == NID_rsassaPss) {
        *bits = rsa_bits(key, size);
        return *bits == 0 ? KYOK_KEY_UNKNOWN : KYOK_KEY_RSA;
    }
    if (nid == NID_X9_62_id_ecPublicKey) {
        if (parameter_type != V_ASN1_OBJECT)
            return KYOK_KEY_UNKNOWN;
        named = parameter;
        nid = OBJ_obj2nid(named);
    }
    for (size_t i = 0; i < CURVE_COUNT; i++) {
        if (curves[i].nid == nid && (curves[i].type == KYOK_KEY_EC) == (named != NULL) &&
            (size_t)size == curves[i].point_size) {
            *bits = curves[i].bits;
            return curves[i].type;
        }
    }
    return KYOK_KEY_UNKNOWN;
}

enum kyok_key_type kyok_spki_type(struct kyok_bytes spki, unsigned *bits)
{
    const uint8_t *at = spki.data;
    enum kyok_key_type type = KYOK_KEY_UNKNOWN;
    X509_PUBKEY *info;
    X509_ALGOR *algorithm;
    const uint8_t *key;
    int size;

    ERR_set_mark();
    info = spki.size > 65536 ? NULL : d2i_X509_PUBKEY(NULL, &at, (long)spki.size);
    if (info != NULL && at == spki.data + spki.size &&
        X509_PUBKEY_get0_param(NULL, &key, &size, &algorithm, info))
        type = algorithm_type(algorithm, key, size, bits);
    X509_PUBKEY_free(info);
    ERR_pop_to_mark();
    return type;
}

static bool append_integer(const ASN1_INTEGER *integer, struct kyok_buffer *to)
{
    return kyok_buffer_append(to, ASN1_STRING_get0_data(integer),
                              (size_t)ASN1_STRING_length(integer));
}

static bool rsa_parts(const uint8_t *der, int size, struct kyok_buffer *modulus,
                      struct kyok_buffer *exponent)
{
    RSA_PUBLIC_KEY *key =
        (RSA_PUBLIC_KEY *)ASN1_item_d2i(NULL, &der, size, ASN1_ITEM_rptr(RSA_PUBLIC_KEY));
    bool good = key != NULL && append_integer(key->modulus, modulus) &&
                append_integer(key->exponent, exponent);

    ASN1_item_free((ASN1_VALUE *)key, ASN1_ITEM_rptr(RSA_PUBLIC_KEY));
    return good;
}

static bool point_part(const uint8_t *point, int size, struct kyok_buffer *to)
{
    const uint8_t head[] = {4, 0x81, (uint8_t)size};

    return size <= 255 &&
           (size < 0x80 ? kyok_buffer_append(to, head, 1) && kyok_buffer_append(to, head + 2, 1)
                        : kyok_buffer_append(to, head, 3)) &&
           kyok_buffer_append(to, point, (size_t)size);
}

bool kyok_spki_parts(struct kyok_bytes spki, struct kyok_buffer *modulus_or_point,
                     struct kyok_buffer *exponent)
{
    const uint8_t *at = spki.data, *key;
    unsigned bits;
    enum kyok_key_type type = kyok_spki_type(spki, &bits);
    X509_PUBKEY *info =
        type != KYOK_KEY_UNKNOWN ? d2i_X509_PUBKEY(NULL, &at, (long)spki.size) : NULL;
    bool good = false;
    int size;

    if (info != NULL && X509_PUBKEY_get0_param(NULL, &key, &size, NULL, info))
        good = type == KYOK_KEY_RSA ? rsa_parts(key, size, modulus_or_point, exponent)
                                    : point_part(key, size, modulus_or_point);
    X509_PUBKEY_free(info);
    return good;
}

bool kyok_spki_from_certificate(struct kyok_bytes certificate, struct kyok_buffer *spki)
{
    const uint8_t *at = certificate.data;
    uint8_t *der = NULL;
    bool done = false;
    X509 *x509;
    int size;

    ERR_set_mark();
    x509 = certificate.size > 1 << 20 ? NULL : d2i_X509(NULL, &at, (long)certificate.size);
    if (x509 != NULL) {
        size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &der);
        done = size > 0 && kyok_buffer_append(spki, der, (size_t)size);
        OPENSSL_free(der);
    }
    X509_free(x509);
    ERR_pop_to_mark();
    return done;
}

bool kyok_ec_parameters(enum kyok_key_type type, unsigned bits, struct kyok_bytes *parameters)
{
    for (size_t i = 0; i < CURVE_COUNT; i++) {
        if (curves[i].type == type && (type != KYOK_KEY_EC || curves[i].bits == bits)) {
            *parameters = kyok_bytes(curves[i].parameters, curves[i].parameters_size);
            return true;
        }
    }
    return false;
}

/* INTEGER of a big-endian unsigned number: without leading zeros, but one where the sign bit is. */
static uint8_t *put_unsigned(uint8_t *at, const uint8_t *number, size_t size)
{
    for (; size > 1 && *number == 0; number++)
        size--;
    *at++ = 0x02;
    *at++ = (uint8_t)(size + (*number >> 7));
    if ((*number & 0x80) != 0)
        *at++ = 0;
    memcpy(at, number, size);
    return at + size;
}

/* By hand, as it is on the path of every signature and BIGNUMs cost more than all else there. */
bool kyok_ecdsa_der_from_raw(struct kyok_bytes raw, uint8_t *der, size_t *size)
{
    uint8_t body[2 * (2 + 1 + 66)], *end = body; /* two numbers of P-521 at most */
    size_t half = raw.size / 2, length, head;

    if (raw.size == 0 || raw.size % 2 != 0 || half > 66)
        return false;
    end = put_unsigned(end, raw.data, half);
    end = put_unsigned(end, raw.data + half, half);
    length = (size_t)(end - body);
    head = length < 0x80 ? 2 : 3;
    if (head + length > *size)
        return false;
    *der++ = 0x30;
    if (head == 3)
        *der++ = 0x81;
    *der++ = (uint8_t)length;
    memcpy(der, body, length);
    *size = head + length;
    return true;
}
