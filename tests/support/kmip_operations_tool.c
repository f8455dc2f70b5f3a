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
#include "common/kmip/kmip.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run {
    struct kyok_kmip_client *client;
    unsigned version; /* 14 */
    struct kyok_kmip_created secret, target, pair;
    uint8_t secret_key[32], target_key[32]; /* as Get returns them */
};

typedef enum kyok_status operation(struct run *run, struct kyok_error *err);

static struct kyok_bytes id_of(const struct kyok_kmip_created *created)
{
    return kyok_bytes_of_text(created->identifier);
}

static enum kyok_status call(struct run *run, const struct kyok_kmip_request_item *item,
                             struct kyok_kmip_reply *reply, struct kyok_error *err)
{
    return kyok_kmip_call(run->client, item, kyok_kmip_client_deadline(run->client), reply, err);
}

static enum kyok_status wrong(struct kyok_error *err, const char *what)
{
    return kyok_fail(err, KYOK_FAULT, NULL, "%s", what);
}

/* --- preparation ----------------------------------------------------------------------------- */

static enum kyok_status create_secret(struct run *run, uint32_t usage,
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
    KYOK_TRY(kyok_kmip_activate(run->client, id_of(created), deadline, err));
    KYOK_TRY(kyok_kmip_get(run->client, id_of(created), KYOK_KMIP_KEY_FORMAT_TYPE_RAW, &aes,
                           deadline, &reply, err));
    memcpy(key, reply.item->payload.get.object.key.value.material.data, 32);
    return KYOK_OK;
}

static enum kyok_status prepare(struct run *run, struct kyok_error *err)
{
    const struct kyok_kmip_creation pair = {.object_type = KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY,
                                            .algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_RSA,
                                            .bits = 2048,
                                            .usage = KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_SIGN,
                                            .public_usage =
                                                KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_VERIFY};
    struct kyok_deadline deadline = kyok_kmip_client_deadline(run->client);

    KYOK_TRY(create_secret(run,
                           KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT |
                               KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_DECRYPT |
                               KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_WRAP_KEY |
                               KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_MAC_GENERATE,
                           &run->secret, run->secret_key, err));
    KYOK_TRY(create_secret(run, KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT, &run->target,
                           run->target_key, err));
    KYOK_TRY(kyok_kmip_create(run->client, &pair, deadline, &run->pair, err));
    KYOK_TRY(kyok_kmip_activate(run->client, id_of(&run->pair), deadline, err));
    return kyok_kmip_activate(run->client, kyok_bytes_of_text(run->pair.public_identifier),
                              deadline, err);
}

/* --- attributes ------------------------------------------------------------------------------ */

static enum kyok_status get_attribute_list(struct run *run, struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);
    struct kyok_kmip_request_item item = {.operation = KYOK_KMIP_OPERATION_GET_ATTRIBUTE_LIST,
                                          .payload.identifier = {id_of(&run->secret)}};

    KYOK_TRY(call(run, &item, &reply, err));
    const kyok_kmip_attribute_names *names = &reply.item->payload.get_attribute_list.names;
    for (size_t i = 0; i < names->count; i++)
        if (names->items[i].id == KYOK_KMIP_ATTRIBUTE_STATE)
            return KYOK_OK;
    return wrong(err, "State is not among the attributes");
}

static struct kyok_kmip_attribute name_attribute(struct kyok_kmip_name *name, const char *text)
{
    *name = (struct kyok_kmip_name){kyok_bytes_of_text(text),
                                    KYOK_KMIP_NAME_TYPE_UNINTERPRETED_TEXT_STRING};
    return kyok_kmip_attribute_structure(KYOK_KMIP_ATTRIBUTE_NAME, name);
}

static enum kyok_status expect_name(struct run *run, const char *wanted, struct kyok_error *err)
{
    static const struct kyok_kmip_expectation anything;
    struct kyok_kmip_facts facts;
    KYOK_KMIP_AUTO_REPLY(reply);

    KYOK_TRY(kyok_kmip_get_facts(run->client, id_of(&run->secret), &anything,
                                 kyok_kmip_client_deadline(run->client), &reply, &facts, err));
    return kyok_bytes_equal(facts.name, kyok_bytes_of_text(wanted))
               ? KYOK_OK
               : wrong(err, "the name is not what it was changed to");
}

static enum kyok_status modify_attribute(struct run *run, struct kyok_error *err)
{
    struct kyok_kmip_name old_name, new_name;
    struct kyok_kmip_attribute old = name_attribute(&old_name, run->secret.name);
    struct kyok_kmip_attribute new = name_attribute(&new_name, "renamed");
    struct kyok_kmip_request_item item = {.operation = KYOK_KMIP_OPERATION_MODIFY_ATTRIBUTE};
    KYOK_KMIP_AUTO_REPLY(reply);

    item.payload.attribute.unique_identifier = id_of(&run->secret);
    item.payload.attribute.attribute = &new;
    if (run->version >= 20)
        item.payload.attribute.current = &old;
    else
        new.index = kyok_kmip_integer(0);
    KYOK_TRY(call(run, &item, &reply, err));
    return expect_name(run, "renamed", err);
}

static enum kyok_status delete_attribute(struct run *run, struct kyok_error *err)
{
    struct kyok_kmip_request_item item = {.operation = KYOK_KMIP_OPERATION_DELETE_ATTRIBUTE};
    KYOK_KMIP_AUTO_REPLY(reply);

    item.payload.delete_attribute.unique_identifier = id_of(&run->secret);
    item.payload.delete_attribute.name = kyok_kmip_attribute_named(KYOK_KMIP_ATTRIBUTE_NAME);
    item.payload.delete_attribute.index = kyok_kmip_integer(0);
    KYOK_TRY(call(run, &item, &reply, err));
    return expect_name(run, "", err);
}

static enum kyok_status set_attribute(struct run *run, struct kyok_error *err)
{
    struct kyok_kmip_attribute sensitive =
        kyok_kmip_attribute_boolean(KYOK_KMIP_ATTRIBUTE_SENSITIVE, true);
    struct kyok_kmip_request_item item = {.operation = KYOK_KMIP_OPERATION_SET_ATTRIBUTE};
    KYOK_KMIP_AUTO_REPLY(reply);

    item.payload.attribute.unique_identifier = id_of(&run->target);
    item.payload.attribute.attribute = &sensitive;
    return call(run, &item, &reply, err);
}

/* --- cryptography ---------------------------------------------------------------------------- */

static enum kyok_status mac(struct run *run, struct kyok_error *err)
{
    const struct kyok_kmip_cryptographic_parameters parameters = {
        .cryptographic_algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_HMAC_SHA256};
    struct kyok_kmip_request_item item = {.operation = KYOK_KMIP_OPERATION_MAC,
                                          .payload.mac = {.unique_identifier = id_of(&run->secret),
                                                          .parameters = &parameters,
                                                          .data = kyok_bytes_of_text("data")}};
    uint8_t expected[32];
    unsigned size = sizeof expected;
    KYOK_KMIP_AUTO_REPLY(reply);

    KYOK_TRY(call(run, &item, &reply, err));
    HMAC(EVP_sha256(), run->secret_key, 32, (const uint8_t *)"data", 4, expected, &size);
    return kyok_bytes_equal(reply.item->payload.mac.mac, kyok_bytes(expected, size))
               ? KYOK_OK
               : wrong(err, "the MAC is another");
}

static enum kyok_status verify(struct run *run, struct kyok_bytes signature,
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

    KYOK_TRY(call(run, &item, &reply, err));
    return reply.item->payload.verify.validity == expected ? KYOK_OK
                                                           : wrong(err, "the verdict is another");
}

static enum kyok_status sign_and_verify(struct run *run, struct kyok_error *err)
{
    const struct kyok_sign_request request = {.scheme = KYOK_SIGN_RSA_PKCS1,
                                              .hash = KYOK_HASH_SHA256,
                                              .data = kyok_bytes_of_text("data")};
    uint8_t signature[256];
    KYOK_KMIP_AUTO_REPLY(reply);

    KYOK_TRY(kyok_kmip_sign(run->client, id_of(&run->pair), &request,
                            kyok_kmip_client_deadline(run->client), &reply, err));
    if (reply.item->payload.sign.signature.size != sizeof signature)
        return wrong(err, "the signature has another length");
    memcpy(signature, reply.item->payload.sign.signature.data, sizeof signature);
    struct kyok_bytes whole = kyok_bytes(signature, sizeof signature);
    KYOK_TRY(verify(run, whole, KYOK_KMIP_VALIDITY_INDICATOR_VALID, err));
    signature[100] ^= 1;
    return verify(run, whole, KYOK_KMIP_VALIDITY_INDICATOR_INVALID, err);
}

static enum kyok_status encrypt_cbc(struct run *run, struct kyok_error *err)
{
    struct kyok_kmip_cryptographic_parameters parameters = {
        .block_cipher_mode = KYOK_KMIP_BLOCK_CIPHER_MODE_CBC,
        .padding_method = KYOK_KMIP_PADDING_METHOD_PKCS5,
        .cryptographic_algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES,
        .random_iv = KYOK_KMIP_TRUE};
    struct kyok_kmip_request_item item = {
        .operation = KYOK_KMIP_OPERATION_ENCRYPT,
        .payload.cipher = {.unique_identifier = id_of(&run->secret),
                           .parameters = &parameters,
                           .data = kyok_bytes_of_text("some data")}};
    KYOK_KMIP_AUTO_REPLY(encrypted);
    KYOK_KMIP_AUTO_REPLY(decrypted);

    KYOK_TRY(call(run, &item, &encrypted, err));
    item.operation = KYOK_KMIP_OPERATION_DECRYPT;
    item.payload.cipher.data = encrypted.item->payload.cipher.data;
    item.payload.cipher.iv_counter_nonce = encrypted.item->payload.cipher.iv_counter_nonce;
    parameters.random_iv = KYOK_KMIP_UNSET;
    KYOK_TRY(call(run, &item, &decrypted, err));
    return kyok_bytes_equal(decrypted.item->payload.cipher.data, kyok_bytes_of_text("some data"))
               ? KYOK_OK
               : wrong(err, "it decrypts to something else");
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

static enum kyok_status get_wrapped(struct run *run, struct kyok_error *err)
{
    const struct kyok_kmip_cryptographic_parameters parameters = {
        .block_cipher_mode = KYOK_KMIP_BLOCK_CIPHER_MODE_NIST_KEY_WRAP};
    const struct kyok_kmip_key_information wrapping_key = {id_of(&run->secret), &parameters};
    const struct kyok_kmip_key_wrapping_specification specification = {
        .method = KYOK_KMIP_WRAPPING_METHOD_ENCRYPT,
        .encryption_key = &wrapping_key,
        .encoding = KYOK_KMIP_ENCODING_OPTION_NO_ENCODING};
    struct kyok_kmip_request_item item = {
        .operation = KYOK_KMIP_OPERATION_GET,
        .payload.get = {.unique_identifier = id_of(&run->target), .wrapping = &specification}};
    KYOK_KMIP_AUTO_REPLY(reply);

    KYOK_TRY(call(run, &item, &reply, err));
    const struct kyok_kmip_key_value *value = &reply.item->payload.get.object.key.value;
    struct kyok_bytes wrapped = value->wrapped.size != 0 ? value->wrapped : value->material;
    return unwraps(run->secret_key, wrapped, run->target_key)
               ? KYOK_OK
               : wrong(err, "it unwraps to something else");
}

/* --- all of them ----------------------------------------------------------------------------- */

static const struct {
    const char *name;
    operation *run;
    unsigned least, most; /* versions that have it */
} operations[] = {
    {"Get Attribute List", get_attribute_list, 10, 20},
    {"Modify Attribute", modify_attribute, 10, 20},
    {"Delete Attribute", delete_attribute, 10, 14}, /* 2.0: PyKMIP compares a Name with its text and
                                                       fails by itself */
    {"MAC", mac, 12, 20},
    {"Sign and Signature Verify", sign_and_verify, 12, 20},
    {"Encrypt and Decrypt (CBC, the server's IV)", encrypt_cbc, 12, 20},
    {"Get with key wrapping", get_wrapped, 11, 20},
    {"Set Attribute", set_attribute, 20, 20},
};

static int run_all(struct run *run)
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
    struct run run = {.client = NULL};
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
