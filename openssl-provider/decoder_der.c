/* SPDX-License-Identifier: Apache-2.0 */
/* DER key reference to key. There is one such decoder per key type, as OpenSSL collects decoders by
 * type, but the first to see a reference opens it whatever its type, so that the custodian is
 * contacted once. */
#include "openssl-provider/keymgmt.h"
#include "openssl-provider/wrapper.h"

#include <openssl/core_object.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <string.h>

static struct kp_key *open_key(struct kp_provider *provider, struct kyok_bytes der,
                               enum kyok_origin origin)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer uri = {.limit = KP_REFERENCE_LIMIT};
    struct kyok_pem_reference parsed;
    struct kyok_reference *reference;
    struct kyok_error err = {0};
    struct kp_key *key;

    if (kp_wrapper_read(provider, &der))
        origin = KYOK_FROM_CONFIGURATION;
    if (kyok_pem_reference_parse(der, &parsed, &err) != KYOK_OK) {
        kp_raise_error(provider, &err);
        return NULL;
    }
    if (memchr(parsed.uri.data, '\0', parsed.uri.size) != NULL ||
        !kyok_buffer_append(&uri, parsed.uri.data, parsed.uri.size) ||
        !kyok_buffer_append(&uri, "", 1)) {
        kp_raise(provider, KP_R_BAD_REFERENCE, "the reference's URI has a NUL in it");
        return NULL;
    }
    reference = kp_reference(provider, (const char *)uri.data, origin);
    if (reference == NULL)
        return NULL;
    key = kp_token_open(provider, reference, parsed.public_key);
    kyok_reference_free(reference);
    return key;
}

static int hand_over(struct kp_key *key, OSSL_CALLBACK *callback, void *argument)
{
    int type = OSSL_OBJECT_PKEY, ok;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE,
                                         (char *)(uintptr_t)key->type->name, 0),
        OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_REFERENCE, &key, sizeof(key)),
        OSSL_PARAM_construct_end(),
    };

    ok = callback(params, argument);
    kp_key_free(key); /* NULL when it was taken */
    return ok;
}

/* 1 with nothing handed on: no reference. 0 ends the search: it is one, and cannot be opened. */
static int decode(void *ctx, OSSL_CORE_BIO *core, int selection, OSSL_CALLBACK *callback,
                  void *argument, OSSL_PASSPHRASE_CALLBACK *passphrase, void *passphrase_argument)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer der = {.limit = 2 * KP_REFERENCE_LIMIT};
    struct kp_provider *provider = ctx;
    BIO *in = BIO_new_from_core_bio(provider->host, core);
    enum kyok_origin origin;
    struct kp_key *key;
    bool candidate;

    (void)selection;
    (void)passphrase;
    (void)passphrase_argument;
    if (in == NULL)
        return 0;
    ERR_set_mark();
    candidate = kp_wrapper_read_candidate(in, &der);
    ERR_pop_to_mark();
    origin = candidate ? kp_origin(in) : KYOK_FROM_DATA;
    BIO_free(in);
    if (!candidate)
        return 1;
    key = open_key(provider, kyok_buffer_bytes(&der), origin);
    if (key == NULL) {
        kp_failure_note();
        return 0;
    }
    kp_failure_forget();
    return hand_over(key, callback, argument);
}

const OSSL_DISPATCH kp_decoder_der[] = {
    KP_FUNCTION(OSSL_FUNC_DECODER_NEWCTX, kp_decoder_new),
    KP_FUNCTION(OSSL_FUNC_DECODER_FREECTX, kp_decoder_free),
    KP_FUNCTION(OSSL_FUNC_DECODER_DOES_SELECTION, kp_decoder_does_selection),
    KP_FUNCTION(OSSL_FUNC_DECODER_DECODE, decode),
    KP_FUNCTION(OSSL_FUNC_DECODER_EXPORT_OBJECT, kp_decoder_export),
    KP_END,
};
