/* SPDX-License-Identifier: Apache-2.0 */
/* Decryption: RSA paddings taken off on the host where the token can decrypt raw, AES in the token.
 */
#include "common/base/library_context.h"
#include "common/pkcs11/mechanism.h"
#include "common/pkcs11/unpad.h"

#include <openssl/rand.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define MODULUS_MOST 2048
#define GCM_TAG 16

struct deciphering {
    const struct kyok_cipher_request *request;
    struct kyok_secret *output;
};

static void give(struct deciphering *d, struct kyok_secret *output, size_t size)
{
    kyok_secret_truncate(output, size);
    kyok_secret_free(d->output); /* of an attempt on another member */
    d->output = output;
}

/* C_DecryptInit and C_Decrypt; *size: room, then length. */
static CK_RV decrypt_once(const struct kyok_call *call, CK_MECHANISM *mechanism,
                          struct kyok_bytes input, uint8_t *output, size_t *size,
                          struct kyok_error *err)
{
    const struct kyok_lease *lease = call->lease;
    CK_ULONG length = *size;
    CK_RV rv = lease->f->C_DecryptInit(lease->handle, mechanism, call->object);

    if (rv == CKR_OK && call->key->always_authenticate)
        rv = kyok_context_login(lease, call->group, err);
    if (rv == CKR_OK)
        rv = lease->f->C_Decrypt(lease->handle, (CK_BYTE *)input.data, input.size, output, &length);
    if (rv == CKR_OK && length > *size)
        rv = CKR_GENERAL_ERROR; /* a token that claims more than there was room for */
    *size = length;
    return rv;
}

/* --- RSA --- */

/* The whole block, left-padded: some tokens drop leading zeros. */
static CK_RV decrypt_raw(const struct kyok_call *call, struct kyok_bytes input, uint8_t *block,
                         struct kyok_error *err)
{
    CK_MECHANISM raw = {CKM_RSA_X_509, NULL, 0};
    size_t modulus = (call->key->bits + 7) / 8, size = modulus;
    CK_RV rv = decrypt_once(call, &raw, input, block, &size, err);

    if (rv == CKR_OK && size < modulus) {
        memmove(block + modulus - size, block, size);
        memset(block, 0, modulus - size);
    }
    return rv;
}

/*
 * The secret behind implicit rejection is the key's private operation on a constant: only the key
 * can make it, each member and process makes the same one.
 */
static CK_RV rejection_secret(const struct kyok_call *call, struct kyok_secret **rejection,
                              struct kyok_error *err)
{
    static const char constant[] = "kyok PKCS#1 v1.5 implicit rejection v1";
    struct kyok_group_key *key = (struct kyok_group_key *)call->key;
    size_t modulus = (key->bits + 7) / 8;
    struct kyok_secret *fresh, *none = NULL;
    uint8_t block[MODULUS_MOST];
    CK_RV rv;

    *rejection = atomic_load(&key->rejection);
    if (*rejection != NULL)
        return CKR_OK;
    fresh = kyok_secret_new(modulus);
    if (fresh == NULL)
        return CKR_HOST_MEMORY;
    for (size_t i = 0; i < modulus; i++)
        block[i] = (uint8_t)(i == 0 ? 0 : constant[i % (sizeof(constant) - 1)]);
    rv = decrypt_raw(call, kyok_bytes(block, modulus), kyok_secret_data(fresh), err);
    if (rv != CKR_OK || !atomic_compare_exchange_strong(&key->rejection, &none, fresh))
        kyok_secret_free(fresh);
    *rejection = atomic_load(&key->rejection);
    return rv;
}

static int unpad(const struct kyok_cipher_request *request, struct kyok_bytes block,
                 const struct kyok_secret *rejection, uint8_t *message)
{
    size_t size = block.size;

    switch (request->scheme) {
    case KYOK_CIPHER_RSA_RAW:
        memcpy(message, block.data, block.size);
        return (int)block.size;
    case KYOK_CIPHER_RSA_PKCS1_TLS:
        return kyok_unpad_tls(block, request->tls_version, request->tls_alt_version, message) ? 48
                                                                                              : -1;
    case KYOK_CIPHER_RSA_OAEP:
        return kyok_unpad_oaep(block, request->hash, request->mgf1_hash, request->label, message,
                               block.size);
    default:
        if (request->strict_padding)
            return kyok_unpad_pkcs1_strict(block, message, block.size);
        return kyok_unpad_pkcs1_implicit(block, request->input, kyok_secret_bytes(rejection),
                                         message, &size)
                   ? (int)size
                   : -1;
    }
}

static CK_RV rsa_on_host(const struct kyok_call *call, struct deciphering *d,
                         struct kyok_error *err)
{
    const struct kyok_cipher_request *request = d->request;
    size_t modulus = (call->key->bits + 7) / 8;
    KYOK_AUTO_SECRET struct kyok_secret *block = kyok_secret_new(modulus);
    struct kyok_secret *message = kyok_secret_new(modulus), *rejection = NULL;
    CK_RV rv = CKR_OK;
    int size;

    if (block == NULL || message == NULL) {
        kyok_secret_free(message);
        return CKR_HOST_MEMORY;
    }
    if (request->scheme == KYOK_CIPHER_RSA_PKCS1 && !request->strict_padding)
        rv = rejection_secret(call, &rejection, err);
    if (rv == CKR_OK)
        rv = decrypt_raw(call, request->input, kyok_secret_data(block), err);
    if (rv != CKR_OK) {
        kyok_secret_free(message);
        return rv;
    }
    size = unpad(request, kyok_secret_bytes(block), rejection, kyok_secret_data(message));
    if (size >= 0) {
        give(d, message, (size_t)size);
        return CKR_OK;
    }
    kyok_secret_free(message);
    kyok_fail(err, KYOK_TAMPERED, call->key->reference->text, "cannot decrypt: wrong padding");
    return CKR_OK;
}

/* A token with CKM_RSA_PKCS alone: the timing of its padding check is the token's (see the manual).
 */
static CK_RV pkcs1_in_token(const struct kyok_call *call, struct deciphering *d,
                            struct kyok_error *err)
{
    CK_MECHANISM mechanism = {CKM_RSA_PKCS, NULL, 0};
    bool tls = d->request->scheme == KYOK_CIPHER_RSA_PKCS1_TLS;
    size_t size = (call->key->bits + 7) / 8;
    uint8_t random[48];
    struct kyok_secret *message = kyok_secret_new(size);
    const uint8_t *told;
    CK_RV rv;

    if (message == NULL || RAND_bytes_ex(kyok_library_context(), random, sizeof(random), 0) <= 0) {
        kyok_secret_free(message);
        return CKR_HOST_MEMORY;
    }
    told = kyok_secret_data(message);
    rv = decrypt_once(call, &mechanism, d->request->input, kyok_secret_data(message), &size, err);
    if (tls && (rv == CKR_OK || (kyok_rv_rung(rv) == KYOK_RUNG_NONE && err->status == KYOK_OK))) {
        unsigned version = (unsigned)told[0] << 8 | told[1];

        if (rv != CKR_OK || size != 48 ||
            (version != d->request->tls_version && version != d->request->tls_alt_version))
            memcpy(kyok_secret_data(message), random, 48);
        size = 48;
        rv = CKR_OK;
    }
    kyok_wipe(random, sizeof(random));
    if (rv == CKR_OK)
        give(d, message, size);
    else
        kyok_secret_free(message);
    return rv;
}

static CK_RV oaep_in_token(const struct kyok_call *call, struct deciphering *d,
                           struct kyok_error *err)
{
    struct kyok_mechanism mechanism;
    size_t size = (call->key->bits + 7) / 8;
    struct kyok_secret *message;
    CK_RV rv;

    if (!kyok_mechanism_oaep(d->request, &mechanism))
        return CKR_MECHANISM_PARAM_INVALID;
    message = kyok_secret_new(size);
    if (message == NULL)
        return CKR_HOST_MEMORY;
    rv = decrypt_once(call, &mechanism.mechanism, d->request->input, kyok_secret_data(message),
                      &size, err);
    if (rv == CKR_OK)
        give(d, message, size);
    else
        kyok_secret_free(message);
    return rv;
}

static CK_RV decrypt_oaep(const struct kyok_call *call, struct deciphering *d,
                          struct kyok_error *err)
{
    bool raw = kyok_token_can(call->lease, CKM_RSA_X_509, CKF_DECRYPT);
    CK_RV rv;

    /* SoftHSM's OAEP knows SHA-1 only, and says so with CKR_ARGUMENTS_BAD; a label it passes over
     * in silence [2.6.1]. */
    if (raw && (d->request->hash != KYOK_HASH_SHA1 || d->request->label.size != 0))
        return rsa_on_host(call, d, err);
    rv = oaep_in_token(call, d, err);
    if (raw && (rv == CKR_ARGUMENTS_BAD || kyok_rv_status(rv) == KYOK_UNSUPPORTED))
        return rsa_on_host(call, d, err);
    return rv;
}

/* --- AES --- */

/* SoftHSM 2.6 answers a wrong tag with CKR_GENERAL_ERROR, which elsewhere means a lost device: the
 * session tells which it was. */
static CK_RV ambiguous_failure(const struct kyok_lease *lease, CK_RV rv, CK_RV refusal)
{
    CK_SESSION_INFO info;

    if (rv != CKR_GENERAL_ERROR)
        return rv;
    return lease->f->C_GetSessionInfo(lease->handle, &info) == CKR_OK ? refusal : rv;
}

static CK_RV decrypt_gcm(const struct kyok_call *call, struct deciphering *d,
                         struct kyok_error *err)
{
    const struct kyok_cipher_request *request = d->request;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer input = {0};
    struct kyok_mechanism mechanism;
    size_t size = request->input.size + GCM_TAG;
    struct kyok_secret *message;
    CK_RV rv;

    if (!kyok_mechanism_gcm(request, &mechanism))
        return CKR_MECHANISM_PARAM_INVALID;
    message = kyok_secret_new(size);
    if (message == NULL || !kyok_buffer_append(&input, request->input.data, request->input.size) ||
        !kyok_buffer_append(&input, request->tag, GCM_TAG)) {
        kyok_secret_free(message);
        return CKR_HOST_MEMORY;
    }
    rv = decrypt_once(call, &mechanism.mechanism, kyok_buffer_bytes(&input),
                      kyok_secret_data(message), &size, err);
    if (rv == CKR_OK)
        give(d, message, size);
    else
        kyok_secret_free(message);
    return ambiguous_failure(call->lease, rv, CKR_ENCRYPTED_DATA_INVALID);
}

static CK_RV unwrap_to_host(const struct kyok_call *call, struct deciphering *d)
{
    const struct kyok_lease *lease = call->lease;
    CK_MECHANISM mechanism = {d->request->scheme == KYOK_CIPHER_AES_KWP ? CKM_AES_KEY_WRAP_PAD
                                                                        : CKM_AES_KEY_WRAP,
                              NULL, 0};
    struct kyok_session_secret secret;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer value = {0};
    struct kyok_secret *output;
    CK_OBJECT_HANDLE object;
    CK_RV rv;

    kyok_session_secret(&secret, 0, NULL, 0);
    rv = lease->f->C_UnwrapKey(lease->handle, &mechanism, call->object,
                               (CK_BYTE *)d->request->input.data, d->request->input.size,
                               secret.fields, secret.count, &object);
    if (rv != CKR_OK)
        return ambiguous_failure(lease, rv, CKR_WRAPPED_KEY_INVALID);
    rv = kyok_object_value(lease, object, 65536, &value);
    (void)lease->f->C_DestroyObject(lease->handle, object);
    if (rv != CKR_OK)
        return rv;
    output = kyok_secret_copy(kyok_buffer_bytes(&value));
    if (output == NULL)
        return CKR_HOST_MEMORY;
    give(d, output, value.size);
    return CKR_OK;
}

static CK_RV decrypt(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    struct deciphering *d = arg;

    switch (d->request->scheme) {
    case KYOK_CIPHER_AES_GCM:
        return decrypt_gcm(call, d, err);
    case KYOK_CIPHER_AES_KW:
    case KYOK_CIPHER_AES_KWP:
        return unwrap_to_host(call, d);
    case KYOK_CIPHER_RSA_OAEP:
        return decrypt_oaep(call, d, err);
    case KYOK_CIPHER_RSA_RAW:
        return rsa_on_host(call, d, err);
    default:
        if (kyok_token_can(call->lease, CKM_RSA_X_509, CKF_DECRYPT))
            return rsa_on_host(call, d, err);
        return pkcs1_in_token(call, d, err);
    }
}

static bool fits_key(const struct kyok_group_key *key, const struct kyok_cipher_request *request)
{
    bool aes = request->scheme >= KYOK_CIPHER_AES_GCM;
    size_t modulus = (key->bits + 7) / 8;

    if (aes)
        return key->type == KYOK_KEY_AES;
    return key->type == KYOK_KEY_RSA && modulus <= MODULUS_MOST && request->input.size <= modulus;
}

enum kyok_status kyok_group_decrypt(struct kyok_group_key *key,
                                    const struct kyok_cipher_request *request,
                                    struct kyok_secret **output, struct kyok_deadline deadline,
                                    struct kyok_error *err)
{
    struct deciphering d = {.request = request};
    struct kyok_plan plan = {.verb = "decrypt", .attempt = decrypt, .arg = &d, .login = true};
    enum kyok_status status;

    if (!fits_key(key, request))
        return kyok_fail(err, KYOK_INVALID, key->reference->text,
                         "the ciphertext does not fit this key");
    status = kyok_group_call(key->group, key, &plan, deadline, err);
    if (status == KYOK_UNSUPPORTED)
        kyok_remedy(err, "%s", kyok_cipher_alternative(request->scheme));
    if (status != KYOK_OK)
        kyok_secret_free(d.output);
    else
        *output = d.output;
    return status;
}
