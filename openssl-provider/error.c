/* SPDX-License-Identifier: Apache-2.0 */
/* Errors at OpenSSL's edge: own reasons. */
#include "openssl-provider/provider.h"

#include <string.h>

static const OSSL_ITEM reasons[] = {
    {KYOK_INVALID, "invalid configuration or request"},
    {KYOK_NOT_FOUND, "key or token not found"},
    {KYOK_AMBIGUOUS, "reference fits several keys"},
    {KYOK_REFUSED, "refused"},
    {KYOK_UNSUPPORTED, "not supported by the custodian"},
    {KYOK_PIN, "login failed"},
    {KYOK_UNREACHABLE, "custodian not reachable"},
    {KYOK_TIMEOUT, "deadline passed"},
    {KYOK_BUSY, "limit reached"},
    {KYOK_CANCELLED, "cancelled"},
    {KYOK_TAMPERED, "authentication failed"},
    {KYOK_INCOMPLETE, "incomplete"},
    {KYOK_SYSTEM, "system error"},
    {KYOK_FAULT, "custodian fault"},
    {KP_R_DEFAULT_MISSING, "default provider missing"},
    {KP_R_BAD_PARAMETER, "bad parameter"},
    {KP_R_KEY_UNFIT, "key cannot do this"},
    {KP_R_BUFFER_TOO_SMALL, "buffer too small"},
    {KP_R_MEMORY, "out of memory"},
    {KP_R_HOST, "default provider failed"},
    {KP_R_NO_KEY, "no key set"},
    {KP_R_BAD_REFERENCE, "broken PEM key reference"},
    {0, NULL},
};

const OSSL_ITEM *kp_reason_strings(void *provctx)
{
    (void)provctx;
    return reasons;
}

static void vset_error(const struct kp_provider *provider, unsigned reason, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    provider->vset_error(provider->core, reason, format, arguments);
    va_end(arguments);
}

static void raise_text(const struct kp_provider *provider, const char *file, int line,
                       const char *function, unsigned reason, const char *text)
{
    if (provider->new_error == NULL || provider->vset_error == NULL)
        return;
    provider->new_error(provider->core);
    if (provider->set_error_debug != NULL)
        provider->set_error_debug(provider->core, file, line, function);
    vset_error(provider, reason, "%s", text);
}

void kp_raise_at(const struct kp_provider *provider, const char *file, int line,
                 const char *function, unsigned reason, const char *format, ...)
{
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    raise_text(provider, file, line, function, reason, text);
}

void kp_raise_error_at(const struct kp_provider *provider, const char *file, int line,
                       const char *function, const struct kyok_error *err)
{
    char text[1024];

    raise_text(provider, file, line, function, err->status,
               kyok_error_text(err, text, sizeof(text)));
}
