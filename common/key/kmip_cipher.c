/* SPDX-License-Identifier: Apache-2.0 */
/* Encryption and decryption by a KMIP server. */
#include "common/key/kmip_key.h"
#include "common/pkcs11/unpad.h"

#include <string.h>
#include <sys/random.h>

static bool is_released(const struct kyok_key *key, const struct kyok_kmip_found *found)
{
    return found->object_type != KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY &&
           kyok_kmip_client_config(kyok_kmip_own(key)->client)->release;
}

static enum kyok_status check_usage(const struct kyok_key *key, const struct kyok_kmip_found *found,
                                    uint32_t bit, const char *name, struct kyok_error *err)
{
    if (!found->usage_known || (found->usage & bit) != 0)
        return KYOK_OK;
    return kyok_fail(err, KYOK_REFUSED, key->reference->text,
                     "the key's usage mask does not allow %s", name);
}

static enum kyok_key_type type_for(enum kyok_cipher_scheme scheme)
{
    switch (scheme) {
    case KYOK_CIPHER_AES_GCM:
    case KYOK_CIPHER_AES_KW:
    case KYOK_CIPHER_AES_KWP:
        return KYOK_KEY_AES;
    default:
        return KYOK_KEY_RSA;
    }
}

/* What a released key encrypts here are keys, so that the right to wrap them will do as well. */
static uint32_t usage_of(const struct kyok_key *key, const struct kyok_kmip_found *found,
                         bool encrypt)
{
    uint32_t usage = encrypt ? KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT
                             : KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_DECRYPT;

    if (!is_released(key, found))
        return usage;
    return usage | (encrypt ? (uint32_t)KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_WRAP_KEY
                            : (uint32_t)KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_UNWRAP_KEY);
}

/* Says what a server without Encrypt and Decrypt needs. */
static enum kyok_status explain(const struct kyok_key *key, enum kyok_status status,
                                struct kyok_error *err)
{
    if (status == KYOK_UNSUPPORTED && key->info.object != KYOK_OBJECT_PRIVATE)
        return kyok_remedy(err, "if the key may leave this server, set release = yes in [kmip %s]",
                           key->custodian->name);
    return status;
}

enum kyok_status kyok_kmip_new_iv(struct kyok_cipher_request *request, struct kyok_error *err)
{
    if (getrandom(request->iv, 12, 0) != 12)
        return kyok_fail_errno(err, NULL, "no random bytes for an IV");
    request->iv_size = 12;
    return KYOK_OK;
}

/* --- RSA --- */

static bool hides_padding(const struct kyok_cipher_request *request)
{
    return request->scheme == KYOK_CIPHER_RSA_PKCS1_TLS ||
           (request->scheme == KYOK_CIPHER_RSA_PKCS1 && !request->strict_padding);
}

/* What the server took off, put back, so that one piece of code judges good and bad blocks alike: a
 * failed decryption becomes a block that is bad. */
static void rebuild_block(struct kyok_bytes message, bool decrypted, uint8_t *block, size_t size)
{
    memset(block, 0, size);
    if (!decrypted || message.size + 11 > size)
        return;
    block[1] = 2;
    memset(block + 2, 0xff, size - 3 - message.size);
    memcpy(block + size - message.size, message.data, message.size);
}

#define MODULUS_MOST 2048

/* A bad padding must look like any other result (RFC 5246 7.4.7.1, implicit rejection). How the
 * server itself tells good from bad is beyond kyok. */
static enum kyok_status judge_block(struct kyok_key *key, const struct kyok_cipher_request *request,
                                    struct kyok_bytes message, bool decrypted,
                                    struct kyok_secret **output, struct kyok_error *err)
{
    size_t size = (key->info.bits + 7) / 8, length = size;
    KYOK_AUTO_SECRET struct kyok_secret *block = kyok_secret_new(MODULUS_MOST);
    KYOK_AUTO_SECRET struct kyok_secret *plain = kyok_secret_new(MODULUS_MOST);
    bool done;

    if (block == NULL || plain == NULL || size > MODULUS_MOST || size < 64)
        return kyok_fail(err, KYOK_SYSTEM, key->reference->text, "no memory for decryption");
    rebuild_block(message, decrypted, kyok_secret_data(block), size);
    struct kyok_bytes whole = kyok_bytes(kyok_secret_data(block), size);
    if (request->scheme == KYOK_CIPHER_RSA_PKCS1_TLS) {
        length = 48;
        done = kyok_unpad_tls(whole, request->tls_version, request->tls_alt_version,
                              kyok_secret_data(plain));
    } else {
        done = kyok_unpad_pkcs1_implicit(
            whole, request->input,
            kyok_bytes(kyok_kmip_own(key)->rejection, sizeof kyok_kmip_own(key)->rejection),
            kyok_secret_data(plain), &length);
    }
    if (!done)
        return kyok_fail(err, KYOK_SYSTEM, key->reference->text, "no random bytes");
    kyok_secret_truncate(plain, length);
    *output = plain;
    plain = NULL;
    return KYOK_OK;
}

/* --- decryption --- */

static enum kyok_status check_gcm(const struct kyok_cipher_request *request, struct kyok_error *err)
{
    if (request->scheme == KYOK_CIPHER_AES_GCM && request->iv_size != 12)
        return kyok_fail(err, KYOK_INVALID, NULL, "AES-GCM takes an IV of 12 bytes");
    return KYOK_OK;
}

/* A failure that may come from the data, by itself or among others. (What is about the key, the
 * identity or the operation tells nothing of a padding, and is better said.) */
static bool may_be_padding(const struct kyok_kmip_reply *reply)
{
    return reply->item != NULL &&
           (reply->item->reason == KYOK_KMIP_RESULT_REASON_CRYPTOGRAPHIC_FAILURE ||
            reply->item->reason == KYOK_KMIP_RESULT_REASON_GENERAL_FAILURE);
}

static enum kyok_status decrypt_there(struct kyok_key *key, const struct kyok_kmip_found *found,
                                      const struct kyok_cipher_request *request,
                                      struct kyok_secret **output, struct kyok_deadline deadline,
                                      struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);

    enum kyok_status status =
        kyok_kmip_decrypt(kyok_kmip_own(key)->client, kyok_bytes_of_text(found->identifier),
                          request, deadline, &reply, err);
    if (status != KYOK_OK && !(hides_padding(request) && may_be_padding(&reply)))
        return explain(key, status, err);
    struct kyok_bytes message =
        status == KYOK_OK ? reply.item->payload.cipher.data : kyok_bytes(NULL, 0);
    if (hides_padding(request))
        return judge_block(key, request, message, status == KYOK_OK, output, err);
    *output = kyok_secret_copy(message);
    return *output != NULL ? KYOK_OK
                           : kyok_fail(err, KYOK_SYSTEM, key->reference->text, "no memory");
}

enum kyok_status kyok_kmip_key_decrypt(struct kyok_key *key,
                                       const struct kyok_cipher_request *request,
                                       struct kyok_secret **output, struct kyok_deadline deadline,
                                       struct kyok_error *err)
{
    const struct kyok_kmip_found *found;

    KYOK_TRY(check_gcm(request, err));
    KYOK_TRY(kyok_kmip_key_find(key, deadline, &found, err));
    KYOK_TRY(kyok_kmip_key_is_for(key, found, type_for(request->scheme), err));
    KYOK_TRY(check_usage(key, found, usage_of(key, found, false), "Decrypt", err));
    if (is_released(key, found))
        return kyok_kmip_released_decrypt(key, found, request, output, deadline, err);
    return decrypt_there(key, found, request, output, deadline, err);
}

/* --- encryption --- */

static enum kyok_status encrypt_there(struct kyok_key *key, const struct kyok_kmip_found *found,
                                      struct kyok_cipher_request *request,
                                      struct kyok_buffer *output, struct kyok_deadline deadline,
                                      struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);

    enum kyok_status status =
        kyok_kmip_encrypt(kyok_kmip_own(key)->client, kyok_bytes_of_text(found->identifier),
                          request, deadline, &reply, err);
    if (status != KYOK_OK)
        return explain(key, status, err);
    const struct kyok_kmip_cipher_response *answer = &reply.item->payload.cipher;
    if (request->scheme == KYOK_CIPHER_AES_GCM)
        memcpy(request->tag, answer->tag.data, sizeof request->tag);
    if (!kyok_buffer_append(output, answer->data.data, answer->data.size))
        return kyok_fail(err, KYOK_SYSTEM, key->reference->text, "no memory");
    return KYOK_OK;
}

enum kyok_status kyok_kmip_key_encrypt(struct kyok_key *key, struct kyok_cipher_request *request,
                                       struct kyok_buffer *output, struct kyok_deadline deadline,
                                       struct kyok_error *err)
{
    const struct kyok_kmip_found *found;

    KYOK_TRY(kyok_kmip_key_find(key, deadline, &found, err));
    KYOK_TRY(kyok_kmip_key_is_for(key, found, type_for(request->scheme), err));
    KYOK_TRY(check_usage(key, found, usage_of(key, found, true), "Encrypt", err));
    if (request->scheme == KYOK_CIPHER_AES_GCM)
        KYOK_TRY(kyok_kmip_new_iv(request, err));
    if (is_released(key, found))
        return kyok_kmip_released_encrypt(key, found, request, output, deadline, err);
    return encrypt_there(key, found, request, output, deadline, err);
}
