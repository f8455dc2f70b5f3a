/* SPDX-License-Identifier: Apache-2.0 */
/* What the PEM and the DER decoder share. */
#include "openssl-provider/keymgmt.h"

#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void *kp_decoder_new(void *provctx)
{
    return provctx;
}

void kp_decoder_free(void *ctx)
{
    (void)ctx;
}

int kp_decoder_does_selection(void *provctx, int selection)
{
    (void)provctx;
    return selection == 0 || (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0;
}

int kp_decoder_export(void *ctx, const void *reference, size_t size, OSSL_CALLBACK *callback,
                      void *argument)
{
    struct kp_key *key;

    (void)ctx;
    if (size != sizeof(key))
        return 0;
    key = *(struct kp_key *const *)reference;
    return kp_keymgmt_export(key, OSSL_KEYMGMT_SELECT_ALL, callback, argument);
}

static int descriptor(BIO *in)
{
    FILE *file = NULL;
    int fd = -1;

    if (BIO_get_fp(in, &file) > 0 && file != NULL)
        return fileno(file);
    return BIO_get_fd(in, &fd) > 0 ? fd : -1;
}

enum kyok_origin kp_origin(BIO *in)
{
    int fd = descriptor(in);
    struct stat status;

    if (fd < 0 || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) ||
        (status.st_mode & (S_IWGRP | S_IWOTH)) != 0 ||
        (status.st_uid != 0 && status.st_uid != geteuid()))
        return KYOK_FROM_DATA;
    return KYOK_FROM_CONFIGURATION;
}

/* --- failures -------------------------------------------------------------------------------- */

static struct failure {
    unsigned long code;
    char text[1024];
} * failure(void)
{
    static _Thread_local struct failure last;

    return &last;
}

void kp_failure_forget(void)
{
    failure()->code = 0;
}

void kp_failure_note(void)
{
    const char *text = NULL;
    int flags = 0;

    failure()->code = ERR_peek_last_error_all(NULL, NULL, NULL, &text, &flags);
    OPENSSL_strlcpy(failure()->text, (flags & ERR_TXT_STRING) != 0 ? text : "",
                    sizeof(failure()->text));
}

bool kp_failure_tell(const struct kp_provider *provider)
{
    unsigned long code = failure()->code;
    const char *text = NULL;
    int flags = 0;

    if (code == 0)
        return false;
    failure()->code = 0;
    if (ERR_peek_last_error_all(NULL, NULL, NULL, &text, &flags) != code || text == NULL ||
        strcmp(text, failure()->text) != 0)
        kp_raise(provider, (unsigned)ERR_GET_REASON(code), "%s", failure()->text);
    return true;
}
