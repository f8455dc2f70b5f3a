/* SPDX-License-Identifier: Apache-2.0 */
/* Errors at OpenSSL's edge: own reasons. */
#include "openssl-provider/provider.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    unsigned long reason;
    const char *text;
} reasons[] = {
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
};

#define REASONS (sizeof(reasons) / sizeof(reasons[0]))

/* The core would load and unload the strings, but it also unloads them when a program frees its
 * last key after OPENSSL_cleanup(), and crashes there [3.0]. Loaded here they stay; the list holds
 * them. */
static struct strings {
    struct strings *next;
    ERR_STRING_DATA data[1 + REASONS + 1];
} * _Atomic loaded;

/* code: the first error that was raised; it tells the library number that the core gave. */
static void load_strings(struct kp_provider *provider, unsigned long code)
{
    struct strings *strings;
    int library = ERR_GET_LIB(code);

    if (library < ERR_LIB_USER || atomic_exchange(&provider->strings_loaded, true))
        return;
    strings = calloc(1, sizeof(*strings));
    if (strings == NULL)
        return;
    strings->data[0].error = ERR_PACK(library, 0, 0);
    strings->data[0].string = strdup(provider->name);
    for (size_t i = 0; i < REASONS; i++)
        strings->data[1 + i] = (ERR_STRING_DATA){reasons[i].reason, reasons[i].text};
    strings->next = atomic_load(&loaded);
    while (!atomic_compare_exchange_weak(&loaded, &strings->next, strings))
        continue;
    ERR_load_strings(library, strings->data);
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
    if (!atomic_load(&provider->strings_loaded))
        load_strings((struct kp_provider *)(uintptr_t)provider, ERR_peek_last_error());
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
