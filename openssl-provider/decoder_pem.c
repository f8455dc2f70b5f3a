/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PEM to DER for the labels of PEM key references. OpenSSL's own PEM decoder passes over labels
 * that it does not know, and this one over all others, so that files with several blocks work.
 *
 * The DER decoders often get their input out of memory (OSSL_STORE's file loader puts it there), so
 * where the file came from is told to them in a wrapper (wrapper.h).
 */
#include "openssl-provider/provider.h"
#include "openssl-provider/wrapper.h"

#include <openssl/core_object.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <string.h>

static bool known_label(const char *label)
{
    return strcmp(label, KYOK_PEM_LABEL_URI) == 0 || strcmp(label, KYOK_PEM_LABEL_REFERENCE) == 0;
}

/* One block, as OpenSSL's decoder reads one; what it cannot read is for others to complain of. */
static bool read_block(BIO *in, char **label, uint8_t **der, long *size)
{
    char *header = NULL;
    bool ok;

    ERR_set_mark();
    ok = PEM_read_bio(in, label, &header, der, size) == 1;
    ERR_pop_to_mark();
    OPENSSL_free(header);
    return ok;
}

static int pass_on(struct kp_provider *provider, struct kyok_bytes reference,
                   enum kyok_origin origin, OSSL_CALLBACK *callback, void *argument)
{
    int type = OSSL_OBJECT_PKEY, ok;
    uint8_t *wrapped = NULL;
    OSSL_PARAM params[4];

    if (origin == KYOK_FROM_CONFIGURATION) {
        wrapped = kp_wrapper_write(provider, reference, &reference.size);
        if (wrapped == NULL)
            return 0;
        reference.data = wrapped;
    }
    params[0] = OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type);
    params[1] =
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE, (char *)KP_STRUCTURE, 0);
    params[2] = OSSL_PARAM_construct_octet_string(
        OSSL_OBJECT_PARAM_DATA, (void *)(uintptr_t)reference.data, reference.size);
    params[3] = OSSL_PARAM_construct_end();
    kp_failure_forget();
    ok = callback(params, argument);
    OPENSSL_free(wrapped);
    return !kp_failure_tell(provider) && ok;
}

static int decode_block(struct kp_provider *provider, const char *label, struct kyok_bytes der,
                        enum kyok_origin origin, OSSL_CALLBACK *callback, void *argument)
{
    struct kyok_pem_reference parsed;
    struct kyok_error err = {0};

    if (!known_label(label))
        return 1;
    if (der.size <= KP_REFERENCE_LIMIT && kyok_pem_reference_parse(der, &parsed, &err) == KYOK_OK)
        return pass_on(provider, der, origin, callback, argument);
    if (der.size > KP_REFERENCE_LIMIT)
        kp_raise(provider, KP_R_BAD_REFERENCE, "\"%s\" of %zu bytes", label, der.size);
    else
        kp_raise_error(provider, &err);
    return 0;
}

/* 1 with nothing handed on: not for this decoder. */
static int decode(void *ctx, OSSL_CORE_BIO *core, int selection, OSSL_CALLBACK *callback,
                  void *argument, OSSL_PASSPHRASE_CALLBACK *passphrase, void *passphrase_argument)
{
    struct kp_provider *provider = ctx;
    BIO *in = BIO_new_from_core_bio(provider->host, core);
    char *label = NULL;
    uint8_t *der = NULL;
    long size = 0;
    int ok = 1;

    (void)selection;
    (void)passphrase;
    (void)passphrase_argument;
    if (in == NULL)
        return 0;
    if (read_block(in, &label, &der, &size))
        ok = decode_block(provider, label, kyok_bytes(der, (size_t)size), kp_origin(in), callback,
                          argument);
    BIO_free(in);
    OPENSSL_free(label);
    /* May have been a private key of another label. */
    OPENSSL_clear_free(der, size > 0 ? (size_t)size : 0);
    return ok;
}

const OSSL_DISPATCH kp_decoder_pem[] = {
    KP_FUNCTION(OSSL_FUNC_DECODER_NEWCTX, kp_decoder_new),
    KP_FUNCTION(OSSL_FUNC_DECODER_FREECTX, kp_decoder_free),
    KP_FUNCTION(OSSL_FUNC_DECODER_DECODE, decode),
    KP_END,
};
