/* SPDX-License-Identifier: Apache-2.0 */
/* Sign, Encrypt and Decrypt at the server: kyok's schemes as KMIP's cryptographic parameters. */
#include "common/kmip/client_call.h"

#include <stdio.h>
#include <string.h>

/* --- parameters ------------------------------------------------------------------------------ */

static const struct {
    enum kyok_hash hash;
    enum kyok_kmip_hashing_algorithm algorithm;
} hashes[] = {
    {KYOK_HASH_SHA1, KYOK_KMIP_HASHING_ALGORITHM_SHA_1},
    {KYOK_HASH_SHA224, KYOK_KMIP_HASHING_ALGORITHM_SHA_224},
    {KYOK_HASH_SHA256, KYOK_KMIP_HASHING_ALGORITHM_SHA_256},
    {KYOK_HASH_SHA384, KYOK_KMIP_HASHING_ALGORITHM_SHA_384},
    {KYOK_HASH_SHA512, KYOK_KMIP_HASHING_ALGORITHM_SHA_512},
    {KYOK_HASH_SHA3_224, KYOK_KMIP_HASHING_ALGORITHM_SHA3_224},
    {KYOK_HASH_SHA3_256, KYOK_KMIP_HASHING_ALGORITHM_SHA3_256},
    {KYOK_HASH_SHA3_384, KYOK_KMIP_HASHING_ALGORITHM_SHA3_384},
    {KYOK_HASH_SHA3_512, KYOK_KMIP_HASHING_ALGORITHM_SHA3_512},
};

static enum kyok_kmip_hashing_algorithm kmip_hash(enum kyok_hash hash)
{
    for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++)
        if (hashes[i].hash == hash)
            return hashes[i].algorithm;
    return 0;
}

static enum kyok_status unsupported(struct kyok_kmip_client *client, const char *what,
                                    struct kyok_error *err)
{
    return kyok_fail(err, KYOK_UNSUPPORTED, kyok_kmip_client_config(client)->name, "KMIP has no %s",
                     what);
}

/* Salt and mask are named since 1.4; before, the server chooses them. */
static enum kyok_status sign_parameters(struct kyok_kmip_client *client,
                                        const struct kyok_sign_request *request,
                                        struct kyok_kmip_cryptographic_parameters *parameters,
                                        struct kyok_error *err)
{
    parameters->hashing_algorithm = kmip_hash(request->hash);
    if (parameters->hashing_algorithm == 0)
        return unsupported(client, "signature over a digest of that kind", err);
    switch (request->scheme) {
    case KYOK_SIGN_RSA_PKCS1:
        parameters->cryptographic_algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_RSA;
        parameters->padding_method = KYOK_KMIP_PADDING_METHOD_PKCS1_V1_5;
        return KYOK_OK;
    case KYOK_SIGN_RSA_PSS:
        parameters->cryptographic_algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_RSA;
        parameters->padding_method = KYOK_KMIP_PADDING_METHOD_PSS;
        parameters->mask_generator = KYOK_KMIP_MASK_GENERATOR_MGF1;
        parameters->mask_generator_hashing_algorithm = kmip_hash(request->mgf1_hash);
        parameters->salt_length = kyok_kmip_integer((int32_t)request->salt_size);
        return KYOK_OK;
    case KYOK_SIGN_ECDSA:
        parameters->cryptographic_algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_ECDSA;
        return KYOK_OK;
    default:
        return unsupported(client, "signature of that scheme", err);
    }
}

static void forget_1_4(struct kyok_kmip_cryptographic_parameters *parameters)
{
    parameters->salt_length.set = false;
    parameters->mask_generator = 0;
    parameters->mask_generator_hashing_algorithm = 0;
}

/* --- Sign ------------------------------------------------------------------------------------ */

/* What is known of the group's endpoints: whether the one that answered takes digests. */
static struct kyok_kmip_endpoint *endpoint_called(struct kyok_kmip_live *live, const char *url)
{
    for (size_t i = 0; url != NULL && i < live->endpoint_count; i++)
        if (strcmp(live->endpoints[i].peer.url, url) == 0)
            return &live->endpoints[i];
    return NULL;
}

/* The endpoints in use are those that were learnt about. */
static void count_digests(struct kyok_kmip_client *client, size_t count[3])
{
    struct kyok_kmip_live *live;
    struct kyok_error err;

    memset(count, 0, 3 * sizeof *count);
    if (kyok_kmip_client_live(client, &live, &err) != KYOK_OK)
        return;
    for (size_t i = 0; i < live->endpoint_count; i++)
        count[atomic_load(&live->endpoints[i].digests)]++;
}

bool kyok_kmip_wants_data(struct kyok_kmip_client *client)
{
    size_t count[3];

    count_digests(client, count);
    return count[KYOK_KMIP_NO_DIGESTS] != 0 || count[KYOK_KMIP_DIGESTS] == 0;
}

static void learn(struct kyok_kmip_client *client, const char *url, enum kyok_kmip_digests digests)
{
    struct kyok_kmip_live *live;
    struct kyok_error err;

    if (kyok_kmip_client_live(client, &live, &err) != KYOK_OK)
        return;
    struct kyok_kmip_endpoint *endpoint = endpoint_called(live, url);
    if (endpoint != NULL)
        atomic_store(&endpoint->digests, digests);
}

/* The server that has just answered could not read Digested Data, or has no use for it. */
static bool refuses_digest(const struct kyok_kmip_reply *reply)
{
    if (reply->item == NULL)
        return false;
    switch (reply->item->reason) {
    case KYOK_KMIP_RESULT_REASON_INVALID_MESSAGE:
    case KYOK_KMIP_RESULT_REASON_INVALID_FIELD:
    case KYOK_KMIP_RESULT_REASON_MISSING_DATA:
    case KYOK_KMIP_RESULT_REASON_FEATURE_NOT_SUPPORTED:
    case KYOK_KMIP_RESULT_REASON_UNKNOWN_TAG:
    case KYOK_KMIP_RESULT_REASON_CODEC_ERROR:
        return true;
    default:
        return false;
    }
}

static bool is_about_the_key(const struct kyok_kmip_reply *reply)
{
    return reply->item != NULL &&
           (reply->item->reason == KYOK_KMIP_RESULT_REASON_ITEM_NOT_FOUND ||
            reply->item->reason == KYOK_KMIP_RESULT_REASON_OBJECT_NOT_FOUND ||
            reply->item->reason == KYOK_KMIP_RESULT_REASON_PERMISSION_DENIED);
}

void kyok_kmip_learn_digests(struct kyok_kmip_client *client, struct kyok_deadline deadline)
{
    KYOK_KMIP_AUTO_REPLY(reply);
    static const uint8_t digest[32];
    const struct kyok_kmip_cryptographic_parameters parameters = {
        .padding_method = KYOK_KMIP_PADDING_METHOD_PKCS1_V1_5,
        .hashing_algorithm = KYOK_KMIP_HASHING_ALGORITHM_SHA_256,
        .cryptographic_algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_RSA};
    struct kyok_kmip_request_item item = {
        .operation = KYOK_KMIP_OPERATION_SIGN,
        .payload.sign = {.unique_identifier = kyok_bytes_of_text("kyok-no-such-key"),
                         .parameters = &parameters,
                         .digested_data = kyok_bytes(digest, sizeof digest)}};
    struct kyok_error err;
    size_t count[3];

    count_digests(client, count);
    if (count[KYOK_KMIP_DIGESTS] != 0 || count[KYOK_KMIP_NO_DIGESTS] != 0)
        return;
    enum kyok_status status = kyok_kmip_call(client, &item, deadline, &reply, &err);
    if (refuses_digest(&reply))
        learn(client, reply.endpoint, KYOK_KMIP_NO_DIGESTS);
    else if (is_about_the_key(&reply))
        learn(client, reply.endpoint, KYOK_KMIP_DIGESTS);
    else if (status == KYOK_UNSUPPORTED && reply.item == NULL) /* before 1.4 */
        learn(client, reply.endpoint, KYOK_KMIP_NO_DIGESTS);
}

static enum kyok_status no_data(struct kyok_kmip_client *client, struct kyok_error *err)
{
    kyok_fail(err, KYOK_UNSUPPORTED, kyok_kmip_client_config(client)->name,
              "Sign: this server signs no digests, and the program gave nothing but a digest");
    return kyok_remedy(err, "sign the whole message in one call (at most 64 KiB), or use a server "
                            "that signs digested data (KMIP 1.4)");
}

/* In which forms a signature may be asked for, best first: the digest rather than the data, with
 * the parameters that 1.4 brought rather than without (PyKMIP knows neither at any version). */
static const struct sign_form {
    bool digest, older;
} forms[] = {{true, false}, {true, true}, {false, false}, {false, true}};

static bool form_applies(const struct sign_form *form, const struct kyok_sign_request *request,
                         const size_t digests[3])
{
    if (form->older && request->scheme != KYOK_SIGN_RSA_PSS)
        return false; /* the others have no such parameters */
    if (!form->digest)
        return request->data.size != 0;
    return request->digest.size != 0 &&
           (digests[KYOK_KMIP_NO_DIGESTS] == 0 || request->data.size == 0);
}

static enum kyok_status sign_in_form(struct kyok_kmip_client *client, const struct sign_form *form,
                                     struct kyok_bytes identifier,
                                     const struct kyok_sign_request *request,
                                     struct kyok_deadline deadline, struct kyok_kmip_reply *reply,
                                     struct kyok_error *err)
{
    struct kyok_kmip_cryptographic_parameters parameters = {0};
    struct kyok_kmip_request_item item = {
        .operation = KYOK_KMIP_OPERATION_SIGN,
        .payload.sign = {.unique_identifier = identifier, .parameters = &parameters}};

    KYOK_TRY(sign_parameters(client, request, &parameters, err));
    if (form->older)
        forget_1_4(&parameters);
    if (form->digest)
        item.payload.sign.digested_data = request->digest;
    else
        item.payload.sign.data = request->data;
    return kyok_kmip_call(client, &item, deadline, reply, err);
}

/* The server, or its version, has no such form: another may do. */
static bool form_is_refused(enum kyok_status status, const struct kyok_kmip_reply *reply)
{
    return status != KYOK_OK &&
           (refuses_digest(reply) || (status == KYOK_UNSUPPORTED && reply->item == NULL));
}

static void learn_from(struct kyok_kmip_client *client, const struct sign_form *form,
                       const struct kyok_sign_request *request, enum kyok_status status,
                       const struct kyok_kmip_reply *reply)
{
    if (!form->digest)
        return;
    if (status == KYOK_OK)
        learn(client, reply->endpoint, KYOK_KMIP_DIGESTS);
    else if (form_is_refused(status, reply) &&
             (form->older || request->scheme != KYOK_SIGN_RSA_PSS))
        learn(client, reply->endpoint, KYOK_KMIP_NO_DIGESTS);
}

static enum kyok_status sign_somehow(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                                     const struct kyok_sign_request *request,
                                     struct kyok_deadline deadline, struct kyok_kmip_reply *reply,
                                     struct kyok_error *err)
{
    enum kyok_status status = KYOK_UNSUPPORTED;
    size_t digests[3];
    bool refused = true;

    count_digests(client, digests);
    for (size_t i = 0; refused && i < sizeof forms / sizeof *forms; i++) {
        if (!form_applies(&forms[i], request, digests))
            continue;
        status = sign_in_form(client, &forms[i], identifier, request, deadline, reply, err);
        learn_from(client, &forms[i], request, status, reply);
        refused = form_is_refused(status, reply);
    }
    return refused && request->data.size == 0 ? no_data(client, err) : status;
}

enum kyok_status kyok_kmip_sign(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                                const struct kyok_sign_request *request,
                                struct kyok_deadline deadline, struct kyok_kmip_reply *reply,
                                struct kyok_error *err)
{
    struct kyok_kmip_cryptographic_parameters parameters = {0};

    KYOK_TRY(sign_parameters(client, request, &parameters, err)); /* what KMIP has no words for */
    KYOK_TRY(sign_somehow(client, identifier, request, deadline, reply, err));
    if (reply->item->payload.sign.signature.size == 0)
        return kyok_fail(err, KYOK_FAULT, reply->endpoint, "Sign: the server sent no signature");
    return KYOK_OK;
}

/* --- Encrypt, Decrypt ------------------------------------------------------------------------ */

static enum kyok_status oaep_parameters(struct kyok_kmip_client *client,
                                        const struct kyok_cipher_request *request,
                                        struct kyok_kmip_cryptographic_parameters *parameters,
                                        struct kyok_error *err)
{
    parameters->padding_method = KYOK_KMIP_PADDING_METHOD_OAEP;
    parameters->hashing_algorithm = kmip_hash(request->hash);
    if (parameters->hashing_algorithm == 0)
        return unsupported(client, "OAEP with that digest", err);
    if (request->mgf1_hash != KYOK_HASH_NONE && request->mgf1_hash != request->hash) {
        parameters->mask_generator = KYOK_KMIP_MASK_GENERATOR_MGF1;
        parameters->mask_generator_hashing_algorithm = kmip_hash(request->mgf1_hash);
    }
    parameters->p_source = request->label;
    return KYOK_OK;
}

#define GCM_TAG 16

static enum kyok_status cipher_parameters(struct kyok_kmip_client *client,
                                          const struct kyok_cipher_request *request,
                                          struct kyok_kmip_cryptographic_parameters *parameters,
                                          struct kyok_error *err)
{
    parameters->cryptographic_algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES;
    switch (request->scheme) {
    case KYOK_CIPHER_AES_GCM:
        parameters->block_cipher_mode = KYOK_KMIP_BLOCK_CIPHER_MODE_GCM;
        parameters->tag_length = kyok_kmip_integer(GCM_TAG);
        return KYOK_OK;
    case KYOK_CIPHER_AES_KW:
        parameters->block_cipher_mode = KYOK_KMIP_BLOCK_CIPHER_MODE_NIST_KEY_WRAP;
        return KYOK_OK;
    case KYOK_CIPHER_AES_KWP:
        parameters->block_cipher_mode = KYOK_KMIP_BLOCK_CIPHER_MODE_AES_KEY_WRAP_PADDING;
        return KYOK_OK;
    case KYOK_CIPHER_RSA_PKCS1:
    case KYOK_CIPHER_RSA_PKCS1_TLS:
        parameters->cryptographic_algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_RSA;
        parameters->padding_method = KYOK_KMIP_PADDING_METHOD_PKCS1_V1_5;
        return KYOK_OK;
    case KYOK_CIPHER_RSA_OAEP:
        parameters->cryptographic_algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_RSA;
        return oaep_parameters(client, request, parameters, err);
    default:
        return unsupported(client, "encryption of that scheme", err);
    }
}

static enum kyok_status
cipher_call(struct kyok_kmip_client *client, enum kyok_kmip_operation operation,
            struct kyok_bytes identifier, const struct kyok_cipher_request *request,
            struct kyok_deadline deadline, struct kyok_kmip_reply *reply, struct kyok_error *err)
{
    struct kyok_kmip_cryptographic_parameters parameters = {0};
    struct kyok_kmip_request_item item = {.operation = operation,
                                          .payload.cipher = {.unique_identifier = identifier,
                                                             .parameters = &parameters,
                                                             .data = request->input}};
    struct kyok_kmip_cipher_request *cipher = &item.payload.cipher;

    KYOK_TRY(cipher_parameters(client, request, &parameters, err));
    if (request->scheme == KYOK_CIPHER_AES_GCM) {
        cipher->iv_counter_nonce = kyok_bytes(request->iv, request->iv_size);
        cipher->additional_data = request->aad;
        if (operation == KYOK_KMIP_OPERATION_DECRYPT)
            cipher->tag = kyok_bytes(request->tag, GCM_TAG);
        if (request->iv_size == 0)
            parameters.random_iv = KYOK_KMIP_TRUE;
    }
    return kyok_kmip_call(client, &item, deadline, reply, err);
}

#define KEY_WRAP 8 /* bytes that RFC 3394 and RFC 5649 add; the latter also pads to 8 */

/* Whether from (what was sent) and to (what came back) fit, as encrypted and plain text. */
static bool sizes_fit(enum kyok_cipher_scheme scheme, size_t plain, size_t encrypted)
{
    switch (scheme) {
    case KYOK_CIPHER_AES_GCM:
        return encrypted == plain;
    case KYOK_CIPHER_AES_KW:
        return encrypted == plain + KEY_WRAP;
    case KYOK_CIPHER_AES_KWP:
        return plain != 0 && encrypted == (plain + 7) / 8 * 8 + KEY_WRAP;
    default: /* RSA: less than the modulus, which is the size of what is encrypted */
        return plain < encrypted;
    }
}

static enum kyok_status check_sizes(const struct kyok_kmip_reply *reply, const char *operation,
                                    const struct kyok_cipher_request *request, bool encrypted,
                                    struct kyok_error *err)
{
    size_t sent = request->input.size, came = reply->item->payload.cipher.data.size;

    if (sizes_fit(request->scheme, encrypted ? sent : came, encrypted ? came : sent))
        return KYOK_OK;
    return kyok_fail(err, KYOK_FAULT, reply->endpoint, "%s: the server returned %zu bytes for %zu",
                     operation, came, sent);
}

/* What was encrypted under another IV than the one that is kept could never be decrypted again. */
static enum kyok_status check_iv(const struct kyok_cipher_request *request,
                                 const struct kyok_kmip_reply *reply, struct kyok_error *err)
{
    struct kyok_bytes used = reply->item->payload.cipher.iv_counter_nonce;

    if (request->iv_size == 0 || used.size == 0 ||
        kyok_bytes_equal(used, kyok_bytes(request->iv, request->iv_size)))
        return KYOK_OK;
    return kyok_fail(err, KYOK_FAULT, reply->endpoint,
                     "Encrypt: the server used another IV than the one that it was given");
}

enum kyok_status kyok_kmip_encrypt(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                                   const struct kyok_cipher_request *request,
                                   struct kyok_deadline deadline, struct kyok_kmip_reply *reply,
                                   struct kyok_error *err)
{
    KYOK_TRY(cipher_call(client, KYOK_KMIP_OPERATION_ENCRYPT, identifier, request, deadline, reply,
                         err));
    const struct kyok_kmip_cipher_response *answer = &reply->item->payload.cipher;
    KYOK_TRY(check_sizes(reply, "Encrypt", request, true, err));
    if (request->scheme != KYOK_CIPHER_AES_GCM)
        return KYOK_OK;
    if (answer->tag.size != GCM_TAG)
        return kyok_fail(err, KYOK_FAULT, reply->endpoint,
                         "Encrypt: the server returned an authentication tag of %zu bytes",
                         answer->tag.size);
    return check_iv(request, reply, err);
}

enum kyok_status kyok_kmip_decrypt(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                                   const struct kyok_cipher_request *request,
                                   struct kyok_deadline deadline, struct kyok_kmip_reply *reply,
                                   struct kyok_error *err)
{
    KYOK_TRY(cipher_call(client, KYOK_KMIP_OPERATION_DECRYPT, identifier, request, deadline, reply,
                         err));
    return check_sizes(reply, "Decrypt", request, false, err);
}
