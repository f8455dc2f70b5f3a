/* SPDX-License-Identifier: Apache-2.0 */
/* Encryption with a secret key: AES-GCM in the token, key wrap of a session object. */
#include "common/base/library_context.h"
#include "common/pkcs11/mechanism.h"

#include <openssl/rand.h>
#include <string.h>

#define GCM_TAG 16

struct enciphering {
    struct kyok_cipher_request *request;
    struct kyok_buffer *output;
};

static CK_RV encrypt_gcm(const struct kyok_call *call, struct enciphering *e,
                         struct kyok_error *err)
{
    struct kyok_cipher_request *request = e->request;
    const struct kyok_lease *lease = call->lease;
    struct kyok_mechanism mechanism;
    CK_ULONG size = request->input.size + GCM_TAG, room = size;
    uint8_t *output = kyok_buffer_reserve(e->output, size);
    CK_RV rv;

    if (output == NULL)
        return CKR_HOST_MEMORY;
    if (!kyok_mechanism_gcm(request, &mechanism))
        return CKR_MECHANISM_PARAM_INVALID;
    rv = lease->f->C_EncryptInit(lease->handle, &mechanism.mechanism, call->object);
    if (rv == CKR_MECHANISM_PARAM_INVALID || rv == CKR_ARGUMENTS_BAD) {
        /* Some HSMs make the IV themselves, into a buffer that must come zeroed. */
        memset(request->iv, 0, sizeof(request->iv));
        rv = lease->f->C_EncryptInit(lease->handle, &mechanism.mechanism, call->object);
    }
    if (rv == CKR_OK)
        rv = lease->f->C_Encrypt(lease->handle, (CK_BYTE *)request->input.data, request->input.size,
                                 output, &size);
    if (rv != CKR_OK)
        return rv;
    if (size != room) {
        kyok_fail(err, KYOK_FAULT, call->key->reference->text,
                  "the token gave %lu bytes of AES-GCM output for %zu bytes", size,
                  request->input.size);
        return CKR_OK;
    }
    memcpy(request->tag, output + request->input.size, GCM_TAG);
    e->output->size += request->input.size;
    return CKR_OK;
}

static CK_RV wrap_from_host(const struct kyok_call *call, struct enciphering *e)
{
    const struct kyok_lease *lease = call->lease;
    CK_MECHANISM mechanism = {e->request->scheme == KYOK_CIPHER_AES_KWP ? CKM_AES_KEY_WRAP_PAD
                                                                        : CKM_AES_KEY_WRAP,
                              NULL, 0};
    struct kyok_session_secret secret;
    CK_ULONG size = e->request->input.size + 24, room = size;
    uint8_t *output = kyok_buffer_reserve(e->output, size);
    CK_OBJECT_HANDLE object;
    CK_RV rv;

    if (output == NULL)
        return CKR_HOST_MEMORY;
    kyok_session_secret(&secret, CKA_VALUE, e->request->input.data, e->request->input.size);
    rv = lease->f->C_CreateObject(lease->handle, secret.fields, secret.count, &object);
    if (rv != CKR_OK)
        return rv;
    rv = lease->f->C_WrapKey(lease->handle, &mechanism, call->object, object, output, &size);
    (void)lease->f->C_DestroyObject(lease->handle, object);
    if (rv == CKR_OK && size > room)
        return CKR_GENERAL_ERROR;
    if (rv == CKR_OK)
        e->output->size += size;
    return rv;
}

static CK_RV encrypt(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    struct enciphering *e = arg;

    if (e->request->scheme == KYOK_CIPHER_AES_GCM)
        return encrypt_gcm(call, e, err);
    return wrap_from_host(call, e);
}

enum kyok_status kyok_group_encrypt(struct kyok_group_key *key, struct kyok_cipher_request *request,
                                    struct kyok_buffer *output, struct kyok_deadline deadline,
                                    struct kyok_error *err)
{
    struct enciphering e = {.request = request, .output = output};
    struct kyok_plan plan = {.verb = "encrypt", .attempt = encrypt, .arg = &e, .login = true};
    enum kyok_status status;

    if (request->scheme < KYOK_CIPHER_AES_GCM || key->type != KYOK_KEY_AES)
        return kyok_fail(err, KYOK_INVALID, key->reference->text,
                         "encryption in the custodian is for AES keys");
    if (request->scheme == KYOK_CIPHER_AES_GCM && request->iv_size == 0) {
        request->iv_size = 12;
        if (RAND_bytes_ex(kyok_library_context(), request->iv, 12, 0) <= 0)
            return kyok_fail(err, KYOK_SYSTEM, key->reference->text, "no randomness for an IV");
    }
    status = kyok_group_call(key->group, key, &plan, deadline, err);
    if (status == KYOK_UNSUPPORTED)
        kyok_remedy(err, "%s", kyok_cipher_alternative(request->scheme));
    return status;
}
