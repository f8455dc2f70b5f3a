/* SPDX-License-Identifier: Apache-2.0 */
/* Derive Key, computed again here. */
#include "tests/support/kmip_operations.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdio.h>
#include <string.h>

static const uint8_t vector[] = "sixteen bytes iv";
#define DERIVED 32
#define SALT "some salt"
#define TURNS 1000
/* Two blocks, which Encrypt turns into the key without padding. */
#define INFORMATION "some data of 32 bytes in length."

static bool kdf(const char *name, const char *secret_name, const struct operations_run *run,
                uint8_t key[DERIVED])
{
    unsigned turns = TURNS;
    OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(secret_name, (void *)run->secret_key, sizeof run->secret_key),
        OSSL_PARAM_utf8_string("digest", (char *)"SHA256", 0),
        OSSL_PARAM_octet_string("salt", (char *)SALT, strlen(SALT)),
        OSSL_PARAM_uint("iter", &turns),
        OSSL_PARAM_octet_string("info", (char *)INFORMATION, strlen(INFORMATION)),
        OSSL_PARAM_END};
    EVP_KDF *method = EVP_KDF_fetch(NULL, name, NULL);
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(method);

    bool done = context != NULL && EVP_KDF_derive(context, key, DERIVED, params) == 1;
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(method);
    return done;
}

static bool by_pbkdf2(const struct operations_run *run, uint8_t key[DERIVED])
{
    return kdf("PBKDF2", "pass", run, key);
}

static bool by_hkdf(const struct operations_run *run, uint8_t key[DERIVED])
{
    return kdf("HKDF", "key", run, key);
}

static bool by_hash(const struct operations_run *run, uint8_t key[DERIVED])
{
    return EVP_Q_digest(NULL, "SHA256", NULL, run->secret_key, sizeof run->secret_key, key, NULL);
}

static bool by_encrypt(const struct operations_run *run, uint8_t key[DERIVED])
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int size = 0;

    bool done = EVP_EncryptInit_ex2(context, EVP_aes_256_cbc(), run->secret_key, vector, NULL) &&
                EVP_EncryptUpdate(context, key, &size, (const uint8_t *)INFORMATION, DERIVED);
    EVP_CIPHER_CTX_free(context);
    return done && size == DERIVED;
}

static const struct {
    enum kyok_kmip_derivation_method method;
    bool (*expected)(const struct operations_run *run, uint8_t key[DERIVED]);
    bool salt, turns, data, vector;
} derivations[] = {
    {KYOK_KMIP_DERIVATION_METHOD_PBKDF2, by_pbkdf2, true, true, false, false},
    {KYOK_KMIP_DERIVATION_METHOD_HMAC, by_hkdf, true, false, true, false}, /* HKDF in PyKMIP */
    {KYOK_KMIP_DERIVATION_METHOD_HASH, by_hash, false, false, false, false},
    {KYOK_KMIP_DERIVATION_METHOD_ENCRYPT, by_encrypt, false, false, true, true},
};

static enum kyok_status check_derived(struct operations_run *run,
                                      const struct kyok_kmip_created *created, size_t i,
                                      struct kyok_error *err)
{
    static const struct kyok_kmip_expectation aes = {KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                                                     KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, 256, 0};
    uint8_t expected[DERIVED] = {0};
    KYOK_KMIP_AUTO_REPLY(reply);

    if (!derivations[i].expected(run, expected))
        return operations_wrong(err, "the key cannot be derived here");
    KYOK_TRY(kyok_kmip_get(run->client, operations_id(created), KYOK_KMIP_KEY_FORMAT_TYPE_RAW, &aes,
                           kyok_kmip_client_deadline(run->client), &reply, err));
    return kyok_bytes_equal(reply.item->payload.get.object.key.value.material,
                            kyok_bytes(expected, sizeof expected))
               ? KYOK_OK
               : operations_wrong(err, "the derived key is another");
}

static enum kyok_status derive_by(struct operations_run *run, size_t i, struct kyok_error *err)
{
    const struct kyok_kmip_cryptographic_parameters parameters = {
        .block_cipher_mode = derivations[i].vector ? KYOK_KMIP_BLOCK_CIPHER_MODE_CBC : 0,
        .padding_method = derivations[i].vector ? KYOK_KMIP_PADDING_METHOD_PKCS5 : 0,
        .hashing_algorithm = KYOK_KMIP_HASHING_ALGORITHM_SHA_256,
        .cryptographic_algorithm = run->version >= 12 ? KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES : 0};
    const struct kyok_bytes base = operations_id(&run->secret), none = {NULL, 0};
    const struct kyok_kmip_derivation derivation = {
        .bases = &base,
        .base_count = 1,
        .method = derivations[i].method,
        .parameters = {.parameters = &parameters,
                       .initialization_vector =
                           derivations[i].vector ? kyok_bytes(vector, 16) : none,
                       .data = derivations[i].data ? kyok_bytes_of_text(INFORMATION) : none,
                       .salt = derivations[i].salt ? kyok_bytes_of_text(SALT) : none,
                       .iteration_count = {TURNS, derivations[i].turns}}};
    const struct kyok_kmip_creation creation = {.object_type = KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                                                .algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES,
                                                .bits = 8 * DERIVED,
                                                .usage = KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT,
                                                .derivation = &derivation};
    struct kyok_kmip_created created;

    KYOK_TRY(kyok_kmip_create(run->client, &creation, kyok_kmip_client_deadline(run->client),
                              &created, err));
    return check_derived(run, &created, i, err);
}

/* Encrypt needs the algorithm among the parameters, which 1.2 brought. */
enum kyok_status operations_derive_key(struct operations_run *run, struct kyok_error *err)
{
    for (size_t i = 0; i < sizeof derivations / sizeof *derivations; i++)
        if (!derivations[i].vector || run->version >= 12)
            KYOK_TRY(derive_by(run, i, err));
    return KYOK_OK;
}

/* A key without the Derive Key bit is none to derive from, and the server says so. */
enum kyok_status operations_derive_refused(struct operations_run *run, struct kyok_error *err)
{
    struct kyok_kmip_created kept = run->secret;

    run->secret = run->target;
    enum kyok_status status = derive_by(run, 0, err);
    run->secret = kept;
    return status == KYOK_REFUSED || status == KYOK_INVALID
               ? KYOK_OK
               : operations_wrong(err, "it was not refused");
}
