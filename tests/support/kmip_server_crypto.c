/* SPDX-License-Identifier: Apache-2.0 */
/* The scripted KMIP server's cryptography, by OpenSSL's default provider. */
#include "tests/support/kmip_server.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

/* --- keys ------------------------------------------------------------------------------------ */

bool server_make_pair(struct server_object *private_key, struct server_object *public_key,
                      enum kyok_kmip_cryptographic_algorithm algorithm, unsigned bits,
                      enum kyok_kmip_recommended_curve curve)
{
    bool rsa = algorithm == KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_RSA;
    bool p384 = curve == KYOK_KMIP_RECOMMENDED_CURVE_P_384 || bits == 384;
    EVP_PKEY *pair =
        rsa ? EVP_RSA_gen(bits != 0 ? bits : 2048) : EVP_EC_gen(p384 ? "P-384" : "P-256");

    if (pair == NULL)
        return false;
    private_key->type = KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY;
    public_key->type = KYOK_KMIP_OBJECT_TYPE_PUBLIC_KEY;
    private_key->algorithm = public_key->algorithm = algorithm;
    private_key->bits = public_key->bits = (unsigned)EVP_PKEY_get_bits(pair);
    memcpy(private_key->link, public_key->id, sizeof private_key->link);
    memcpy(public_key->link, private_key->id, sizeof public_key->link);
    EVP_PKEY_up_ref(pair);
    private_key->pair = public_key->pair = pair;
    return true;
}

bool server_load_pair(struct server_object *private_key, struct server_object *public_key,
                      const char *path)
{
    BIO *file = BIO_new_file(path, "r");
    EVP_PKEY *pair = file == NULL ? NULL : PEM_read_bio_PrivateKey(file, NULL, NULL, NULL);

    BIO_free(file);
    if (pair == NULL || !EVP_PKEY_is_a(pair, EVP_PKEY_get0_type_name(private_key->pair))) {
        EVP_PKEY_free(pair);
        return false;
    }
    EVP_PKEY_free(private_key->pair);
    EVP_PKEY_free(public_key->pair);
    EVP_PKEY_up_ref(pair);
    private_key->pair = public_key->pair = pair;
    private_key->bits = public_key->bits = (unsigned)EVP_PKEY_get_bits(pair);
    return true;
}

bool server_make_secret(struct server_object *object, unsigned bits)
{
    uint8_t *room = kyok_buffer_reserve(&object->raw, bits / 8);

    object->bits = bits;
    object->raw.size = bits / 8;
    return bits >= 8 && bits <= 4096 && RAND_bytes(room, (int)(bits / 8)) == 1;
}

static struct kyok_bytes in_arena(struct kyok_kmip_arena *arena, const unsigned char *data,
                                  int size)
{
    unsigned char *copy = kyok_kmip_arena_take(arena, (size_t)size, 1);

    memcpy(copy, data, (size_t)size);
    return kyok_bytes(copy, (size_t)size);
}

struct kyok_bytes server_public_der(const struct server_object *object,
                                    struct kyok_kmip_arena *arena)
{
    unsigned char *der = NULL;
    int size = i2d_PUBKEY(object->pair, &der);
    struct kyok_bytes copy = in_arena(arena, der, size);

    OPENSSL_free(der);
    return copy;
}

struct kyok_bytes server_private_der(const struct server_object *object,
                                     struct kyok_kmip_arena *arena)
{
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(object->pair);
    unsigned char *der = NULL;
    int size = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
    struct kyok_bytes copy = in_arena(arena, der, size);

    OPENSSL_clear_free(der, (size_t)size);
    PKCS8_PRIV_KEY_INFO_free(info);
    return copy;
}

/* --- signatures ------------------------------------------------------------------------------ */

static const EVP_MD *digest_of(enum kyok_kmip_hashing_algorithm algorithm)
{
    switch (algorithm) {
    case KYOK_KMIP_HASHING_ALGORITHM_SHA_1:
        return EVP_sha1();
    case KYOK_KMIP_HASHING_ALGORITHM_SHA_224:
        return EVP_sha224();
    case KYOK_KMIP_HASHING_ALGORITHM_SHA_256:
        return EVP_sha256();
    case KYOK_KMIP_HASHING_ALGORITHM_SHA_384:
        return EVP_sha384();
    case KYOK_KMIP_HASHING_ALGORITHM_SHA_512:
        return EVP_sha512();
    default:
        return NULL;
    }
}

/* As the specification has it; without a salt length the maximum, which is what PyKMIP does. */
static bool set_padding(EVP_PKEY_CTX *context,
                        const struct kyok_kmip_cryptographic_parameters *parameters)
{
    if (parameters->padding_method == KYOK_KMIP_PADDING_METHOD_PKCS1_V1_5)
        return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1;
    if (parameters->padding_method != KYOK_KMIP_PADDING_METHOD_PSS)
        return false;
    int salt = parameters->salt_length.set ? parameters->salt_length.value : RSA_PSS_SALTLEN_MAX;
    const EVP_MD *mask = digest_of(parameters->mask_generator_hashing_algorithm);
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(context, salt) == 1 &&
           (mask == NULL || EVP_PKEY_CTX_set_rsa_mgf1_md(context, mask) == 1);
}

static bool sign_digest(EVP_PKEY *pair, const struct kyok_kmip_cryptographic_parameters *parameters,
                        struct kyok_bytes digest, unsigned char *signature, size_t *size)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(pair, NULL);
    bool done = EVP_PKEY_sign_init(context) == 1;

    if (EVP_PKEY_get_base_id(pair) == EVP_PKEY_RSA)
        done = done && set_padding(context, parameters);
    done = done &&
           EVP_PKEY_CTX_set_signature_md(context, digest_of(parameters->hashing_algorithm)) == 1 &&
           EVP_PKEY_sign(context, signature, size, digest.data, digest.size) == 1;
    EVP_PKEY_CTX_free(context);
    return done;
}

static BIGNUM *private_number(EVP_PKEY *pair)
{
    BIGNUM *number = NULL;

    EVP_PKEY_get_bn_param(pair, OSSL_PKEY_PARAM_PRIV_KEY, &number);
    return number;
}

/* ECDSA as in the book (FIPS 186-5, 6.4.1), with a nonce that is no secret. */
static bool sign_with_nonce(const struct server_object *object, struct kyok_bytes digest,
                            unsigned char raw[64])
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    const BIGNUM *order = EC_GROUP_get0_order(group);
    EC_POINT *point = EC_POINT_new(group);
    BN_CTX *context = BN_CTX_new();
    BIGNUM *secret = private_number(object->pair), *k = BN_new(), *r = BN_new(), *s = BN_new(),
           *z = BN_bin2bn(digest.data, (int)digest.size, NULL);

    bool done =
        BN_set_word(k, object->nonce) && EC_POINT_mul(group, point, k, NULL, NULL, context) &&
        EC_POINT_get_affine_coordinates(group, point, r, NULL, context) &&
        BN_nnmod(r, r, order, context) && BN_mod_mul(s, r, secret, order, context) &&
        BN_mod_add(s, s, z, order, context) && BN_mod_inverse(k, k, order, context) != NULL &&
        BN_mod_mul(s, s, k, order, context) && BN_bn2binpad(r, raw, 32) == 32 &&
        BN_bn2binpad(s, raw + 32, 32) == 32;
    BN_free(secret);
    BN_free(k);
    BN_free(r);
    BN_free(s);
    BN_free(z);
    BN_CTX_free(context);
    EC_POINT_free(point);
    EC_GROUP_free(group);
    return done;
}

bool server_sign(const struct server_object *object, const struct kyok_kmip_sign_request *request,
                 struct kyok_kmip_arena *arena, struct kyok_bytes *signature)
{
    const struct kyok_kmip_cryptographic_parameters *parameters = request->parameters;
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned hash_size = 0;
    struct kyok_bytes digest = request->digested_data;

    if (object->pair == NULL || parameters == NULL ||
        digest_of(parameters->hashing_algorithm) == NULL)
        return false;
    if (digest.size == 0) {
        if (EVP_Digest(request->data.data, request->data.size, hash, &hash_size,
                       digest_of(parameters->hashing_algorithm), NULL) != 1)
            return false;
        digest = kyok_bytes(hash, hash_size);
    }
    if (object->nonce != 0) {
        *signature = kyok_bytes(kyok_kmip_arena_take(arena, 64, 1), 64);
        return sign_with_nonce(object, digest, (unsigned char *)signature->data);
    }
    size_t size = (size_t)EVP_PKEY_get_size(object->pair);
    unsigned char *room = kyok_kmip_arena_take(arena, size, 1);
    bool done = sign_digest(object->pair, parameters, digest, room, &size);
    *signature = kyok_bytes(room, size);
    return done;
}

bool server_derive(const struct server_object *base,
                   const struct kyok_kmip_derive_key_request *request,
                   struct server_object *derived)
{
    const struct kyok_kmip_cryptographic_parameters *parameters = request->parameters.parameters;
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned size = 0;

    if (request->method != KYOK_KMIP_DERIVATION_METHOD_HASH || parameters == NULL ||
        digest_of(parameters->hashing_algorithm) == NULL ||
        EVP_Digest(base->raw.data, base->raw.size, hash, &size,
                   digest_of(parameters->hashing_algorithm), NULL) != 1 ||
        derived->bits == 0 || derived->bits > 8 * size)
        return false;
    return kyok_buffer_append(&derived->raw, hash, derived->bits / 8);
}

/* --- encryption ------------------------------------------------------------------------------ */

static bool wants_gcm(const struct server_object *object,
                      const struct kyok_kmip_cipher_request *request)
{
    return object->raw.size == 32 && request->parameters != NULL &&
           request->parameters->block_cipher_mode == KYOK_KMIP_BLOCK_CIPHER_MODE_GCM;
}

bool server_encrypt(const struct server_object *object,
                    const struct kyok_kmip_cipher_request *request, struct kyok_kmip_arena *arena,
                    struct kyok_kmip_cipher_response *response)
{
    unsigned char *iv = kyok_kmip_arena_take(arena, 12, 1),
                  *tag = kyok_kmip_arena_take(arena, 16, 1);
    unsigned char *out = kyok_kmip_arena_take(arena, request->data.size + 1, 1);
    bool own_iv = request->iv_counter_nonce.size == 0;
    int size = 0, rest = 0;

    if (!wants_gcm(object, request) || (!own_iv && request->iv_counter_nonce.size != 12))
        return false;
    if (own_iv)
        RAND_bytes(iv, 12);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    bool done =
        EVP_EncryptInit_ex2(context, EVP_aes_256_gcm(), object->raw.data,
                            own_iv ? iv : request->iv_counter_nonce.data, NULL) == 1 &&
        EVP_EncryptUpdate(context, NULL, &size, request->additional_data.data,
                          (int)request->additional_data.size) == 1 &&
        EVP_EncryptUpdate(context, out, &size, request->data.data, (int)request->data.size) == 1 &&
        EVP_EncryptFinal_ex(context, out + size, &rest) == 1 &&
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, tag) == 1;
    EVP_CIPHER_CTX_free(context);
    response->data = kyok_bytes(out, (size_t)size);
    response->tag = kyok_bytes(tag, 16);
    if (own_iv)
        response->iv_counter_nonce = kyok_bytes(iv, 12);
    return done;
}

static bool decrypt_gcm(const struct server_object *object,
                        const struct kyok_kmip_cipher_request *request, unsigned char *out,
                        int *size)
{
    unsigned char tag[16];
    int rest = 0;

    if (request->iv_counter_nonce.size != 12 || request->tag.size != sizeof tag)
        return false;
    memcpy(tag, request->tag.data, sizeof tag);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    bool done =
        EVP_DecryptInit_ex2(context, EVP_aes_256_gcm(), object->raw.data,
                            request->iv_counter_nonce.data, NULL) == 1 &&
        EVP_DecryptUpdate(context, NULL, size, request->additional_data.data,
                          (int)request->additional_data.size) == 1 &&
        EVP_DecryptUpdate(context, out, size, request->data.data, (int)request->data.size) == 1 &&
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, 16, tag) == 1 &&
        EVP_DecryptFinal_ex(context, out + *size, &rest) == 1;
    EVP_CIPHER_CTX_free(context);
    return done;
}

static bool decrypt_rsa(const struct server_object *object,
                        const struct kyok_kmip_cipher_request *request, unsigned char *out,
                        size_t *size)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(object->pair, NULL);
    bool oaep = request->parameters->padding_method == KYOK_KMIP_PADDING_METHOD_OAEP;
    bool done = EVP_PKEY_decrypt_init(context) == 1 &&
                EVP_PKEY_CTX_set_rsa_padding(context, oaep ? RSA_PKCS1_OAEP_PADDING
                                                           : RSA_PKCS1_PADDING) == 1;

    if (oaep)
        done = done && EVP_PKEY_CTX_set_rsa_oaep_md(
                           context, digest_of(request->parameters->hashing_algorithm)) == 1;
    done =
        done && EVP_PKEY_decrypt(context, out, size, request->data.data, request->data.size) == 1;
    EVP_PKEY_CTX_free(context);
    return done;
}

bool server_decrypt(const struct server_object *object,
                    const struct kyok_kmip_cipher_request *request, struct kyok_kmip_arena *arena,
                    struct kyok_kmip_cipher_response *response)
{
    size_t size = request->data.size + 1024;
    unsigned char *out = kyok_kmip_arena_take(arena, size, 1);
    int gcm_size = 0;

    if (request->parameters == NULL)
        return false;
    if (object->pair != NULL && !decrypt_rsa(object, request, out, &size))
        return false;
    if (object->pair == NULL &&
        (!wants_gcm(object, request) || !decrypt_gcm(object, request, out, &gcm_size)))
        return false;
    response->data = kyok_bytes(out, object->pair != NULL ? size : (size_t)gcm_size);
    return true;
}
