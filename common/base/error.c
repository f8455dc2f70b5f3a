/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int exit_code;
} statuses[] = {
    [KYOK_OK] = {"ok", 0},
    [KYOK_INVALID] = {"invalid", 2},
    [KYOK_NOT_FOUND] = {"not-found", 1},
    [KYOK_AMBIGUOUS] = {"ambiguous", 1},
    [KYOK_REFUSED] = {"refused", 1},
    [KYOK_UNSUPPORTED] = {"unsupported", 1},
    [KYOK_PIN] = {"pin", 1},
    [KYOK_UNREACHABLE] = {"unreachable", 3},
    [KYOK_TIMEOUT] = {"timeout", 3},
    [KYOK_BUSY] = {"busy", 1},
    [KYOK_CANCELLED] = {"cancelled", 1},
    [KYOK_TAMPERED] = {"tampered", 1},
    [KYOK_INCOMPLETE] = {"incomplete", 4},
    [KYOK_SYSTEM] = {"system", 1},
    [KYOK_FAULT] = {"fault", 1},
};

static void fill(char *field, size_t size, const char *format, va_list arguments)
{
    vsnprintf(field, size, format, arguments);
}

static void clear_for(struct kyok_error *err, enum kyok_status status, const char *object)
{
    err->status = status;
    err->what[0] = err->reason[0] = err->remedy[0] = '\0';
    /* object may point into *err itself when an error is raised again with more context. */
    if (object != err->object)
        snprintf(err->object, sizeof(err->object), "%s", object ? object : "");
}

enum kyok_status kyok_fail(struct kyok_error *err, enum kyok_status status, const char *object,
                           const char *format, ...)
{
    va_list arguments;

    clear_for(err, status, object);
    va_start(arguments, format);
    fill(err->what, sizeof(err->what), format, arguments);
    va_end(arguments);
    return status;
}

enum kyok_status kyok_because(struct kyok_error *err, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fill(err->reason, sizeof(err->reason), format, arguments);
    va_end(arguments);
    return err->status;
}

enum kyok_status kyok_remedy(struct kyok_error *err, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fill(err->remedy, sizeof(err->remedy), format, arguments);
    va_end(arguments);
    return err->status;
}

enum kyok_status kyok_fail_errno(struct kyok_error *err, const char *object, const char *format,
                                 ...)
{
    int saved = errno;
    va_list arguments;

    clear_for(err, KYOK_SYSTEM, object);
    va_start(arguments, format);
    fill(err->what, sizeof(err->what), format, arguments);
    va_end(arguments);
    return kyok_because(err, "%s: %s", strerrorname_np(saved), strerrordesc_np(saved));
}

const char *kyok_error_text(const struct kyok_error *err, char *text, size_t size)
{
    snprintf(text, size, "%s%s%s%s%s%s%s%s", err->object, err->object[0] ? ": " : "", err->what,
             err->reason[0] ? " (" : "", err->reason, err->reason[0] ? ")" : "",
             err->remedy[0] ? "; " : "", err->remedy);
    /* Objects come from configuration and data: no control character may reach a log or terminal.
     */
    for (char *at = text; size > 0 && *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    }
    return text;
}

const char *kyok_status_name(enum kyok_status status)
{
    return (size_t)status < sizeof(statuses) / sizeof(statuses[0]) ? statuses[status].name
                                                                   : "unknown";
}

int kyok_status_exit_code(enum kyok_status status)
{
    return (size_t)status < sizeof(statuses) / sizeof(statuses[0]) ? statuses[status].exit_code : 1;
}
