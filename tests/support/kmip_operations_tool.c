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
#include <openssl/kdf.h>
#include <openssl/params.h>
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

/* An object with an Object Group, which no verb of kyok gives one. */
static enum kyok_status create_grouped(struct run *run, char id[64], struct kyok_error *err)
{
    const struct kyok_kmip_attribute attributes[] = {
        kyok_kmip_attribute_enumeration(KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM,
                                        KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES),
        kyok_kmip_attribute_integer(KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH, 128),
        kyok_kmip_attribute_integer(KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK,
                                    KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT),
        kyok_kmip_attribute_of_text(KYOK_KMIP_ATTRIBUTE_OBJECT_GROUP, kyok_bytes_of_text("red")),
    };
    struct kyok_kmip_request_item item = {
        .operation = KYOK_KMIP_OPERATION_CREATE,
        .payload.create = {KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                           {.attributes = {attributes, sizeof attributes / sizeof *attributes}}}};
    KYOK_KMIP_AUTO_REPLY(reply);

    KYOK_TRY(call(run, &item, &reply, err));
    struct kyok_bytes made = reply.item->payload.create.unique_identifier;
    if (made.size >= 64)
        return wrong(err, "a long identifier");
    memcpy(id, made.data, made.size);
    id[made.size] = '\0';
    return KYOK_OK;
}

/* State is asked for too: PyKMIP cannot answer with no attribute at all. */
static enum kyok_status expect_groups(struct run *run, const char *id, size_t count,
                                      struct kyok_error *err)
{
    static const struct kyok_kmip_attribute_name names[] = {
        {.id = KYOK_KMIP_ATTRIBUTE_OBJECT_GROUP}, {.id = KYOK_KMIP_ATTRIBUTE_STATE}};
    struct kyok_kmip_request_item item = {
        .operation = KYOK_KMIP_OPERATION_GET_ATTRIBUTES,
        .payload.get_attributes = {kyok_bytes_of_text(id), {names, 2}}};
    KYOK_KMIP_AUTO_REPLY(reply);

    KYOK_TRY(call(run, &item, &reply, err));
    return reply.item->payload.get_attributes.attributes.count == count + 1
               ? KYOK_OK
               : wrong(err, "another number of Object Groups");
}

/* In 2.0 by value. (By value of a Name PyKMIP fails by itself: it compares the Name with its text;
 * and a reference by tag, as 2.0 has it for its own attributes, it cannot read.) */
static enum kyok_status delete_current(struct run *run, struct kyok_error *err)
{
    const struct kyok_kmip_attribute red =
        kyok_kmip_attribute_of_text(KYOK_KMIP_ATTRIBUTE_OBJECT_GROUP, kyok_bytes_of_text("red"));
    const struct kyok_kmip_attribute blue =
        kyok_kmip_attribute_of_text(KYOK_KMIP_ATTRIBUTE_OBJECT_GROUP, kyok_bytes_of_text("blue"));
    char id[64];
    struct kyok_kmip_request_item item = {
        .operation = KYOK_KMIP_OPERATION_DELETE_ATTRIBUTE,
        .payload.delete_attribute = {.unique_identifier = kyok_bytes(id, 0), .current = &blue}};
    KYOK_KMIP_AUTO_REPLY(reply);

    KYOK_TRY(create_grouped(run, id, err));
    item.payload.delete_attribute.unique_identifier = kyok_bytes_of_text(id);
    KYOK_TRY(expect_groups(run, id, 1, err));
    if (call(run, &item, &reply, err) == KYOK_OK)
        return wrong(err, "a group was deleted that the object is not in");
    KYOK_TRY(expect_groups(run, id, 1, err));
    item.payload.delete_attribute.current = &red;
    KYOK_TRY(call(run, &item, &reply, err));
    return expect_groups(run, id, 0, err);
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

/* GCM with additional data; a changed byte of it must not pass. */
static enum kyok_status encrypt_gcm(struct run *run, struct kyok_error *err)
{
    struct kyok_deadline deadline = kyok_kmip_client_deadline(run->client);
    struct kyok_cipher_request request = {.scheme = KYOK_CIPHER_AES_GCM,
                                          .input = kyok_bytes_of_text("some data"),
                                          .aad = kyok_bytes_of_text("context"),
                                          .iv = "twelve bytes",
                                          .iv_size = 12};
    KYOK_KMIP_AUTO_REPLY(encrypted);
    KYOK_KMIP_AUTO_REPLY(decrypted);

    KYOK_TRY(
        kyok_kmip_encrypt(run->client, id_of(&run->secret), &request, deadline, &encrypted, err));
    request.input = encrypted.item->payload.cipher.data;
    memcpy(request.tag, encrypted.item->payload.cipher.tag.data, sizeof request.tag);
    KYOK_TRY(
        kyok_kmip_decrypt(run->client, id_of(&run->secret), &request, deadline, &decrypted, err));
    if (!kyok_bytes_equal(decrypted.item->payload.cipher.data, kyok_bytes_of_text("some data")))
        return wrong(err, "it decrypts to something else");
    request.aad = kyok_bytes_of_text("another");
    if (kyok_kmip_decrypt(run->client, id_of(&run->secret), &request, deadline, &decrypted, err) ==
        KYOK_OK)
        return wrong(err, "it decrypts under other additional data");
    return KYOK_OK;
}

/* --- Derive Key ------------------------------------------------------------------------------ */

static const uint8_t vector[] = "sixteen bytes iv";
#define DERIVED 32
#define SALT "some salt"
#define TURNS 1000
/* Two blocks, which Encrypt turns into the key without padding. */
#define INFORMATION "some data of 32 bytes in length."

static bool kdf(const char *name, const char *secret_name, const struct run *run,
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

static bool by_pbkdf2(const struct run *run, uint8_t key[DERIVED])
{
    return kdf("PBKDF2", "pass", run, key);
}

static bool by_hkdf(const struct run *run, uint8_t key[DERIVED])
{
    return kdf("HKDF", "key", run, key);
}

static bool by_hash(const struct run *run, uint8_t key[DERIVED])
{
    return EVP_Q_digest(NULL, "SHA256", NULL, run->secret_key, sizeof run->secret_key, key, NULL);
}

static bool by_encrypt(const struct run *run, uint8_t key[DERIVED])
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
    bool (*expected)(const struct run *run, uint8_t key[DERIVED]);
    bool salt, turns, data, vector;
} derivations[] = {
    {KYOK_KMIP_DERIVATION_METHOD_PBKDF2, by_pbkdf2, true, true, false, false},
    {KYOK_KMIP_DERIVATION_METHOD_HMAC, by_hkdf, true, false, true, false}, /* HKDF in PyKMIP */
    {KYOK_KMIP_DERIVATION_METHOD_HASH, by_hash, false, false, false, false},
    {KYOK_KMIP_DERIVATION_METHOD_ENCRYPT, by_encrypt, false, false, true, true},
};

static enum kyok_status check_derived(struct run *run, const struct kyok_kmip_created *created,
                                      size_t i, struct kyok_error *err)
{
    static const struct kyok_kmip_expectation aes = {KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                                                     KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, 256, 0};
    uint8_t expected[DERIVED] = {0};
    KYOK_KMIP_AUTO_REPLY(reply);

    if (!derivations[i].expected(run, expected))
        return wrong(err, "the key cannot be derived here");
    KYOK_TRY(kyok_kmip_get(run->client, id_of(created), KYOK_KMIP_KEY_FORMAT_TYPE_RAW, &aes,
                           kyok_kmip_client_deadline(run->client), &reply, err));
    return kyok_bytes_equal(reply.item->payload.get.object.key.value.material,
                            kyok_bytes(expected, sizeof expected))
               ? KYOK_OK
               : wrong(err, "the derived key is another");
}

static enum kyok_status derive_by(struct run *run, size_t i, struct kyok_error *err)
{
    const struct kyok_kmip_cryptographic_parameters parameters = {
        .block_cipher_mode = derivations[i].vector ? KYOK_KMIP_BLOCK_CIPHER_MODE_CBC : 0,
        .padding_method = derivations[i].vector ? KYOK_KMIP_PADDING_METHOD_PKCS5 : 0,
        .hashing_algorithm = KYOK_KMIP_HASHING_ALGORITHM_SHA_256,
        .cryptographic_algorithm = run->version >= 12 ? KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES : 0};
    const struct kyok_bytes base = id_of(&run->secret), none = {NULL, 0};
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
static enum kyok_status derive_key(struct run *run, struct kyok_error *err)
{
    for (size_t i = 0; i < sizeof derivations / sizeof *derivations; i++)
        if (!derivations[i].vector || run->version >= 12)
            KYOK_TRY(derive_by(run, i, err));
    return KYOK_OK;
}

/* A key without the Derive Key bit is none to derive from, and the server says so. */
static enum kyok_status derive_refused(struct run *run, struct kyok_error *err)
{
    struct kyok_kmip_created kept = run->secret;

    run->secret = run->target;
    enum kyok_status status = derive_by(run, 0, err);
    run->secret = kept;
    return status == KYOK_REFUSED || status == KYOK_INVALID ? KYOK_OK
                                                            : wrong(err, "it was not refused");
}

static enum kyok_status query(struct run *run, struct kyok_error *err)
{
    static const enum kyok_kmip_query_function functions[] = {
        KYOK_KMIP_QUERY_FUNCTION_QUERY_OPERATIONS, KYOK_KMIP_QUERY_FUNCTION_QUERY_OBJECTS,
        KYOK_KMIP_QUERY_FUNCTION_QUERY_SERVER_INFORMATION};
    struct kyok_kmip_request_item item = {.operation = KYOK_KMIP_OPERATION_QUERY,
                                          .payload.query = {{functions, 3}}};
    KYOK_KMIP_AUTO_REPLY(reply);

    KYOK_TRY(call(run, &item, &reply, err));
    const struct kyok_kmip_query_response *answer = &reply.item->payload.query;
    for (size_t i = 0; i < answer->operations.count; i++)
        if (answer->operations.items[i] == KYOK_KMIP_OPERATION_DERIVE_KEY)
            return KYOK_OK;
    return wrong(err, "Derive Key is not among the operations");
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
    {"Delete Attribute", delete_attribute, 10, 14},
    {"Delete Attribute by value", delete_current, 20, 20},
    {"MAC", mac, 12, 20},
    {"Sign and Signature Verify", sign_and_verify, 12, 20},
    {"Encrypt and Decrypt (CBC, the server's IV)", encrypt_cbc, 12, 20},
    {"Encrypt and Decrypt (GCM)", encrypt_gcm, 14, 20},
    {"Derive Key", derive_key, 10, 20},
    {"Derive Key refused", derive_refused, 10, 20},
    {"Query", query, 10, 20},
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
