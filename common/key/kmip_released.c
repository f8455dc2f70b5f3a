/* SPDX-License-Identifier: Apache-2.0 */
/* AES with a key that the group releases (release = yes): fetched by Get for one call, wiped after.
 */
#include "common/base/library_context.h"
#include "common/key/kmip_key.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

/* "AES-256-GCM", or NULL. */
static const char *cipher_name(enum kyok_cipher_scheme scheme, size_t key_size)
{
    static const struct {
        enum kyok_cipher_scheme scheme;
        size_t key_size;
        const char *name;
    } ciphers[] = {
        {KYOK_CIPHER_AES_GCM, 16, "AES-128-GCM"},
        {KYOK_CIPHER_AES_GCM, 32, "AES-256-GCM"},
        {KYOK_CIPHER_AES_KW, 16, "AES-128-WRAP"},
        {KYOK_CIPHER_AES_KW, 32, "AES-256-WRAP"},
        {KYOK_CIPHER_AES_KWP, 16, "AES-128-WRAP-PAD"},
        {KYOK_CIPHER_AES_KWP, 32, "AES-256-WRAP-PAD"},
    };

    for (size_t i = 0; i < sizeof ciphers / sizeof *ciphers; i++)
        if (ciphers[i].scheme == scheme && ciphers[i].key_size == key_size)
            return ciphers[i].name;
    return NULL;
}

/* One AES operation of at most 64 KiB. */
struct operation {
    const struct kyok_cipher_request *request;
    struct kyok_bytes key;
    bool encrypt;
    uint8_t *output; /* room for input + 16 */
    size_t size;
    uint8_t tag[16];
};

static bool run_gcm_aad(EVP_CIPHER_CTX *context, const struct operation *operation)
{
    int size;

    return operation->request->scheme != KYOK_CIPHER_AES_GCM || operation->request->aad.size == 0 ||
           EVP_CipherUpdate(context, NULL, &size, operation->request->aad.data,
                            (int)operation->request->aad.size) == 1;
}

static bool run_cipher(EVP_CIPHER_CTX *context, EVP_CIPHER *cipher, struct operation *operation)
{
    const struct kyok_cipher_request *request = operation->request;
    bool gcm = request->scheme == KYOK_CIPHER_AES_GCM;
    int size = 0, rest = 0;

    EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    bool done = EVP_CipherInit_ex2(context, cipher, operation->key.data, gcm ? request->iv : NULL,
                                   operation->encrypt, NULL) == 1 &&
                run_gcm_aad(context, operation) &&
                EVP_CipherUpdate(context, operation->output, &size, request->input.data,
                                 (int)request->input.size) == 1;
    if (done && gcm && !operation->encrypt) {
        memcpy(operation->tag, request->tag, sizeof operation->tag);
        done = EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, 16, operation->tag) == 1;
    }
    done = done && EVP_CipherFinal_ex(context, operation->output + size, &rest) == 1;
    if (done && gcm && operation->encrypt)
        done = EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, operation->tag) == 1;
    operation->size = (size_t)size + (size_t)rest;
    return done;
}

static enum kyok_status run(struct kyok_key *key, struct operation *operation,
                            struct kyok_error *err)
{
    const char *name = cipher_name(operation->request->scheme, operation->key.size);

    if (name == NULL)
        return kyok_fail(err, KYOK_UNSUPPORTED, key->reference->text,
                         "a released key of %zu bytes cannot be used like this",
                         operation->key.size);
    if (operation->request->input.size > KYOK_SIGN_DATA_MAX ||
        operation->request->aad.size > KYOK_SIGN_DATA_MAX)
        return kyok_fail(err, KYOK_INVALID, key->reference->text, "the data is too long");
    ERR_set_mark();
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(kyok_library_context(), name, NULL);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    bool done = cipher != NULL && context != NULL && run_cipher(context, cipher, operation);
    EVP_CIPHER_CTX_free(context);
    EVP_CIPHER_free(cipher);
    ERR_pop_to_mark();
    if (done)
        return KYOK_OK;
    return kyok_fail(err, operation->encrypt ? KYOK_SYSTEM : KYOK_TAMPERED, key->reference->text,
                     operation->encrypt ? "encryption failed"
                                        : "the data is not what this key encrypted");
}

/* Exactly the length that the server told when the key was looked at; one that tells none must not
 * bring an envelope down to a weaker key. */
static enum kyok_status check_size(const struct kyok_key *key, const struct kyok_kmip_found *found,
                                   size_t size, struct kyok_error *err)
{
    if (found->bits != 0 && size != found->bits / 8)
        return kyok_fail(err, KYOK_FAULT, key->reference->text,
                         "the server released %zu bytes of a key of %u bits", size, found->bits);
    if (found->bits != 0 || size == 32)
        return KYOK_OK;
    kyok_fail(err, KYOK_UNSUPPORTED, key->reference->text,
              "the server tells no length of the key, and released %zu bytes instead of 32", size);
    return kyok_remedy(err, "give the key its Cryptographic Length, or use an AES-256 key");
}

static enum kyok_status fetch(struct kyok_key *key, const struct kyok_kmip_found *found,
                              struct kyok_deadline deadline, struct kyok_kmip_reply *reply,
                              struct kyok_bytes *material, struct kyok_error *err)
{
    struct kyok_kmip_expectation expected = {found->object_type,
                                             KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, found->bits, 0};

    KYOK_TRY(kyok_kmip_key_recheck(key, found, deadline, err));
    KYOK_TRY(kyok_kmip_get(kyok_kmip_own(key)->client, kyok_bytes_of_text(found->identifier),
                           KYOK_KMIP_KEY_FORMAT_TYPE_RAW, &expected, deadline, reply, err));
    *material = reply->item->payload.get.object.key.value.material;
    return check_size(key, found, material->size, err);
}

enum kyok_status kyok_kmip_released_decrypt(struct kyok_key *key,
                                            const struct kyok_kmip_found *found,
                                            const struct kyok_cipher_request *request,
                                            struct kyok_secret **output,
                                            struct kyok_deadline deadline, struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);
    KYOK_AUTO_SECRET struct kyok_secret *plain = kyok_secret_new(request->input.size + 16);
    struct operation operation = {.request = request, .encrypt = false};

    if (plain == NULL)
        return kyok_fail(err, KYOK_SYSTEM, key->reference->text, "no memory");
    operation.output = kyok_secret_data(plain);
    KYOK_TRY(fetch(key, found, deadline, &reply, &operation.key, err));
    KYOK_TRY(run(key, &operation, err));
    kyok_secret_truncate(plain, operation.size);
    *output = plain;
    plain = NULL;
    return KYOK_OK;
}

enum kyok_status kyok_kmip_released_encrypt(struct kyok_key *key,
                                            const struct kyok_kmip_found *found,
                                            struct kyok_cipher_request *request,
                                            struct kyok_buffer *output,
                                            struct kyok_deadline deadline, struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);
    struct operation operation = {.request = request, .encrypt = true};

    operation.output = kyok_buffer_reserve(output, request->input.size + 16);
    if (operation.output == NULL)
        return kyok_fail(err, KYOK_SYSTEM, key->reference->text, "no memory");
    KYOK_TRY(fetch(key, found, deadline, &reply, &operation.key, err));
    KYOK_TRY(run(key, &operation, err));
    memcpy(request->tag, operation.tag, sizeof request->tag);
    output->size += operation.size;
    return KYOK_OK;
}

enum kyok_status kyok_kmip_key_value(struct kyok_key *key, struct kyok_secret **value,
                                     struct kyok_deadline deadline, struct kyok_error *err)
{
    const struct kyok_kmip_found *found;
    KYOK_KMIP_AUTO_REPLY(reply);

    if (!kyok_kmip_client_config(kyok_kmip_own(key)->client)->release) {
        kyok_fail(err, KYOK_REFUSED, key->reference->text, "the key may not leave its server");
        return kyok_remedy(err, "set release = yes in [kmip %s] if it may", key->custodian->name);
    }
    KYOK_TRY(kyok_kmip_key_find(key, deadline, &found, err));
    KYOK_TRY(kyok_kmip_key_recheck(key, found, deadline, err));
    struct kyok_kmip_expectation expected = {.object_type = found->object_type};
    KYOK_TRY(kyok_kmip_get(kyok_kmip_own(key)->client, kyok_bytes_of_text(found->identifier), 0,
                           &expected, deadline, &reply, err));
    if (reply.item->payload.get.object.key.value.material.size == 0)
        return kyok_fail(err, KYOK_UNSUPPORTED, key->reference->text,
                         "the server released the key in a form that has no value of its own");
    *value = kyok_secret_copy(reply.item->payload.get.object.key.value.material);
    return *value != NULL ? KYOK_OK
                          : kyok_fail(err, KYOK_SYSTEM, key->reference->text, "no memory");
}
