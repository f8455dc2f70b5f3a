/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations that no verb of kyok uses, through the client against a real server (PyKMIP):
 *
 *   kmip_operations_tool PORT CERTIFICATES VERSION      (VERSION: 10 to 14, 20)
 *
 * prints a line per operation: "ok NAME", "not ok NAME: why", or "skip NAME" where the version has
 * none. What the server computes is computed again here. CERTIFICATES as tests/support/certs.sh
 * makes it; the identity is alice.
 */
#include "tests/support/kmip_operations.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kyok_bytes operations_id(const struct kyok_kmip_created *created)
{
    return kyok_bytes_of_text(created->identifier);
}

enum kyok_status operations_call(struct operations_run *run,
                                 const struct kyok_kmip_request_item *item,
                                 struct kyok_kmip_reply *reply, struct kyok_error *err)
{
    return kyok_kmip_call(run->client, item, kyok_kmip_client_deadline(run->client), reply, err);
}

enum kyok_status operations_wrong(struct kyok_error *err, const char *what)
{
    return kyok_fail(err, KYOK_FAULT, NULL, "%s", what);
}

/* --- preparation ----------------------------------------------------------------------------- */

static enum kyok_status create_secret(struct operations_run *run, uint32_t usage,
                                      struct kyok_kmip_created *created, uint8_t key[32],
                                      struct kyok_error *err)
{
    const struct kyok_kmip_creation creation = {.object_type = KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                                                .algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES,
                                                .bits = 256,
                                                .usage = usage};
    static const struct kyok_kmip_expectation aes = {.bits = 256};
    struct kyok_deadline deadline = kyok_kmip_client_deadline(run->client);
    KYOK_KMIP_AUTO_REPLY(reply);

    KYOK_TRY(kyok_kmip_create(run->client, &creation, deadline, created, err));
    KYOK_TRY(kyok_kmip_activate(run->client, operations_id(created), deadline, err));
    KYOK_TRY(kyok_kmip_get(run->client, operations_id(created), KYOK_KMIP_KEY_FORMAT_TYPE_RAW, &aes,
                           deadline, &reply, err));
    memcpy(key, reply.item->payload.get.object.key.value.material.data, 32);
    return KYOK_OK;
}

static enum kyok_status prepare(struct operations_run *run, struct kyok_error *err)
{
    const struct kyok_kmip_creation pair = {.object_type = KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY,
                                            .algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_RSA,
                                            .bits = 2048,
                                            .usage = KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_SIGN |
                                                     KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_DECRYPT,
                                            .public_usage =
                                                KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_VERIFY |
                                                KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT};
    struct kyok_deadline deadline = kyok_kmip_client_deadline(run->client);

    KYOK_TRY(create_secret(run,
                           KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT |
                               KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_DECRYPT |
                               KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_WRAP_KEY |
                               KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_MAC_GENERATE |
                               KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_DERIVE_KEY,
                           &run->secret, run->secret_key, err));
    KYOK_TRY(create_secret(run, KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT, &run->target,
                           run->target_key, err));
    KYOK_TRY(kyok_kmip_create(run->client, &pair, deadline, &run->pair, err));
    KYOK_TRY(kyok_kmip_activate(run->client, operations_id(&run->pair), deadline, err));
    return kyok_kmip_activate(run->client, kyok_bytes_of_text(run->pair.public_identifier),
                              deadline, err);
}

/* --- cryptography ---------------------------------------------------------------------------- */

static enum kyok_status mac(struct operations_run *run, struct kyok_error *err)
{
    const struct kyok_kmip_cryptographic_parameters parameters = {
        .cryptographic_algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_HMAC_SHA256};
    struct kyok_kmip_request_item item = {
        .operation = KYOK_KMIP_OPERATION_MAC,
        .payload.mac = {.unique_identifier = operations_id(&run->secret),
                        .parameters = &parameters,
                        .data = kyok_bytes_of_text("data")}};
    uint8_t expected[32];
    unsigned size = sizeof expected;
    KYOK_KMIP_AUTO_REPLY(reply);

    KYOK_TRY(operations_call(run, &item, &reply, err));
    HMAC(EVP_sha256(), run->secret_key, 32, (const uint8_t *)"data", 4, expected, &size);
    return kyok_bytes_equal(reply.item->payload.mac.mac, kyok_bytes(expected, size))
               ? KYOK_OK
               : operations_wrong(err, "the MAC is another");
}

static enum kyok_status verify(struct operations_run *run, struct kyok_bytes signature,
                               enum kyok_kmip_validity_indicator expected, struct kyok_error *err)
{
    const struct kyok_kmip_cryptographic_parameters parameters = {
        .padding_method = KYOK_KMIP_PADDING_METHOD_PKCS1_V1_5,
        .hashing_algorithm = KYOK_KMIP_HASHING_ALGORITHM_SHA_256,
        .cryptographic_algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_RSA};
    struct kyok_kmip_request_item item = {
        .operation = KYOK_KMIP_OPERATION_SIGNATURE_VERIFY,
        .payload.sign = {.unique_identifier = kyok_bytes_of_text(run->pair.public_identifier),
                         .parameters = &parameters,
                         .data = kyok_bytes_of_text("data"),
                         .signature = signature}};
    KYOK_KMIP_AUTO_REPLY(reply);

    KYOK_TRY(operations_call(run, &item, &reply, err));
    return reply.item->payload.verify.validity == expected
               ? KYOK_OK
               : operations_wrong(err, "the verdict is another");
}

static enum kyok_status sign_and_verify(struct operations_run *run, struct kyok_error *err)
{
    const struct kyok_sign_request request = {.scheme = KYOK_SIGN_RSA_PKCS1,
                                              .hash = KYOK_HASH_SHA256,
                                              .data = kyok_bytes_of_text("data")};
    uint8_t signature[256];
    KYOK_KMIP_AUTO_REPLY(reply);

    KYOK_TRY(kyok_kmip_sign(run->client, operations_id(&run->pair), &request,
                            kyok_kmip_client_deadline(run->client), &reply, err));
    if (reply.item->payload.sign.signature.size != sizeof signature)
        return operations_wrong(err, "the signature has another length");
    memcpy(signature, reply.item->payload.sign.signature.data, sizeof signature);
    struct kyok_bytes whole = kyok_bytes(signature, sizeof signature);
    KYOK_TRY(verify(run, whole, KYOK_KMIP_VALIDITY_INDICATOR_VALID, err));
    signature[100] ^= 1;
    return verify(run, whole, KYOK_KMIP_VALIDITY_INDICATOR_INVALID, err);
}

static enum kyok_status encrypt_cbc(struct operations_run *run, struct kyok_error *err)
{
    struct kyok_kmip_cryptographic_parameters parameters = {
        .block_cipher_mode = KYOK_KMIP_BLOCK_CIPHER_MODE_CBC,
        .padding_method = KYOK_KMIP_PADDING_METHOD_PKCS5,
        .cryptographic_algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES,
        .random_iv = KYOK_KMIP_TRUE};
    struct kyok_kmip_request_item item = {
        .operation = KYOK_KMIP_OPERATION_ENCRYPT,
        .payload.cipher = {.unique_identifier = operations_id(&run->secret),
                           .parameters = &parameters,
                           .data = kyok_bytes_of_text("some data")}};
    KYOK_KMIP_AUTO_REPLY(encrypted);
    KYOK_KMIP_AUTO_REPLY(decrypted);

    KYOK_TRY(operations_call(run, &item, &encrypted, err));
    item.operation = KYOK_KMIP_OPERATION_DECRYPT;
    item.payload.cipher.data = encrypted.item->payload.cipher.data;
    item.payload.cipher.iv_counter_nonce = encrypted.item->payload.cipher.iv_counter_nonce;
    parameters.random_iv = KYOK_KMIP_UNSET;
    KYOK_TRY(operations_call(run, &item, &decrypted, err));
    return kyok_bytes_equal(decrypted.item->payload.cipher.data, kyok_bytes_of_text("some data"))
               ? KYOK_OK
               : operations_wrong(err, "it decrypts to something else");
}

/* GCM with additional data; a changed byte of it must not pass. */
static enum kyok_status encrypt_gcm(struct operations_run *run, struct kyok_error *err)
{
    struct kyok_deadline deadline = kyok_kmip_client_deadline(run->client);
    struct kyok_cipher_request request = {.scheme = KYOK_CIPHER_AES_GCM,
                                          .input = kyok_bytes_of_text("some data"),
                                          .aad = kyok_bytes_of_text("context"),
                                          .iv = "twelve bytes",
                                          .iv_size = 12};
    KYOK_KMIP_AUTO_REPLY(encrypted);
    KYOK_KMIP_AUTO_REPLY(decrypted);

    KYOK_TRY(kyok_kmip_encrypt(run->client, operations_id(&run->secret), &request, deadline,
                               &encrypted, err));
    request.input = encrypted.item->payload.cipher.data;
    memcpy(request.tag, encrypted.item->payload.cipher.tag.data, sizeof request.tag);
    KYOK_TRY(kyok_kmip_decrypt(run->client, operations_id(&run->secret), &request, deadline,
                               &decrypted, err));
    if (!kyok_bytes_equal(decrypted.item->payload.cipher.data, kyok_bytes_of_text("some data")))
        return operations_wrong(err, "it decrypts to something else");
    request.aad = kyok_bytes_of_text("another");
    if (kyok_kmip_decrypt(run->client, operations_id(&run->secret), &request, deadline, &decrypted,
                          err) == KYOK_OK)
        return operations_wrong(err, "it decrypts under other additional data");
    return KYOK_OK;
}

static enum kyok_status query(struct operations_run *run, struct kyok_error *err)
{
    static const enum kyok_kmip_query_function functions[] = {
        KYOK_KMIP_QUERY_FUNCTION_QUERY_OPERATIONS, KYOK_KMIP_QUERY_FUNCTION_QUERY_OBJECTS,
        KYOK_KMIP_QUERY_FUNCTION_QUERY_SERVER_INFORMATION};
    struct kyok_kmip_request_item item = {.operation = KYOK_KMIP_OPERATION_QUERY,
                                          .payload.query = {{functions, 3}}};
    KYOK_KMIP_AUTO_REPLY(reply);

    KYOK_TRY(operations_call(run, &item, &reply, err));
    const struct kyok_kmip_query_response *answer = &reply.item->payload.query;
    for (size_t i = 0; i < answer->operations.count; i++)
        if (answer->operations.items[i] == KYOK_KMIP_OPERATION_DERIVE_KEY)
            return KYOK_OK;
    return operations_wrong(err, "Derive Key is not among the operations");
}

static bool unwraps(const uint8_t kek[32], struct kyok_bytes wrapped, const uint8_t key[32])
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    uint8_t plain[64];
    int size = 0;

    EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    bool done = wrapped.size == 40 &&
                EVP_DecryptInit_ex2(context, EVP_aes_256_wrap(), kek, NULL, NULL) == 1 &&
                EVP_DecryptUpdate(context, plain, &size, wrapped.data, (int)wrapped.size) == 1;
    EVP_CIPHER_CTX_free(context);
    return done && size == 32 && memcmp(plain, key, 32) == 0;
}

static enum kyok_status get_wrapped(struct operations_run *run, struct kyok_error *err)
{
    const struct kyok_kmip_cryptographic_parameters parameters = {
        .block_cipher_mode = KYOK_KMIP_BLOCK_CIPHER_MODE_NIST_KEY_WRAP};
    const struct kyok_kmip_key_information wrapping_key = {operations_id(&run->secret),
                                                           &parameters};
    const struct kyok_kmip_key_wrapping_specification specification = {
        .method = KYOK_KMIP_WRAPPING_METHOD_ENCRYPT,
        .encryption_key = &wrapping_key,
        .encoding = KYOK_KMIP_ENCODING_OPTION_NO_ENCODING};
    struct kyok_kmip_request_item item = {
        .operation = KYOK_KMIP_OPERATION_GET,
        .payload.get = {.unique_identifier = operations_id(&run->target),
                        .wrapping = &specification}};
    KYOK_KMIP_AUTO_REPLY(reply);

    KYOK_TRY(operations_call(run, &item, &reply, err));
    const struct kyok_kmip_key_value *value = &reply.item->payload.get.object.key.value;
    struct kyok_bytes wrapped = value->wrapped.size != 0 ? value->wrapped : value->material;
    return unwraps(run->secret_key, wrapped, run->target_key)
               ? KYOK_OK
               : operations_wrong(err, "it unwraps to something else");
}

/* --- all of them ----------------------------------------------------------------------------- */

static const struct {
    const char *name;
    operations_test *run;
    unsigned least, most; /* versions that have it */
} operations[] = {
    {"Get Attribute List", operations_get_attribute_list, 10, 20},
    {"Modify Attribute", operations_modify_attribute, 10, 20},
    {"Delete Attribute", operations_delete_attribute, 10, 14},
    {"Delete Attribute by value", operations_delete_current, 20, 20},
    {"MAC", mac, 12, 20},
    {"Sign and Signature Verify", sign_and_verify, 12, 20},
    {"Encrypt and Decrypt (CBC, the server's IV)", encrypt_cbc, 12, 20},
    {"Encrypt and Decrypt (GCM)", encrypt_gcm, 14, 20},
    {"Derive Key", operations_derive_key, 10, 20},
    {"Derive Key refused", operations_derive_refused, 10, 20},
    {"Query", query, 10, 20},
    {"Get with key wrapping", get_wrapped, 11, 20},
    {"Set Attribute", operations_set_attribute, 20, 20},
};

static int run_all(struct operations_run *run)
{
    struct kyok_error err;
    char text[1200];
    int failed = 0;

    if (prepare(run, &err) != KYOK_OK) {
        printf("not ok preparation: %s\n", kyok_error_text(&err, text, sizeof text));
        return 1;
    }
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        if (run->version < operations[i].least || run->version > operations[i].most) {
            printf("skip %s\n", operations[i].name);
        } else if (operations[i].run(run, &err) == KYOK_OK) {
            printf("ok %s\n", operations[i].name);
        } else {
            printf("not ok %s: %s\n", operations[i].name, kyok_error_text(&err, text, sizeof text));
            failed = 1;
        }
    }
    return failed;
}

int main(int count, char **arguments)
{
    char url[64], ca[512], certificate[512], key[512], text[1200];
    char *servers[] = {url};
    struct kyok_kmip_config config = {.name = "operations",
                                      .where = "operations:1",
                                      .servers = servers,
                                      .server_count = 1,
                                      .ca = ca,
                                      .certificate = certificate,
                                      .key = key};
    struct operations_run run = {.client = NULL};
    struct kyok_error err;

    if (count != 4) {
        fprintf(stderr, "usage: kmip_operations_tool PORT CERTIFICATES VERSION\n");
        return 2;
    }
    snprintf(url, sizeof url, "kmips://127.0.0.1:%.5s", arguments[1]);
    snprintf(ca, sizeof ca, "%s/ca.crt", arguments[2]);
    snprintf(certificate, sizeof certificate, "%s/alice.crt", arguments[2]);
    snprintf(key, sizeof key, "%s/alice.key", arguments[2]);
    config.version = run.version = (unsigned)atoi(arguments[3]);
    if (kyok_kmip_client_new(&config, &run.client, &err) != KYOK_OK) {
        fprintf(stderr, "%s\n", kyok_error_text(&err, text, sizeof text));
        return 1;
    }
    int failed = run_all(&run);
    kyok_kmip_client_free(run.client);
    return failed;
}
