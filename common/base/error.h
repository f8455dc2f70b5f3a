/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors are values that the caller owns: what failed, on which object, why, and what to do.
 * Every kyok function that can fail returns enum kyok_status and fills the caller's struct.
 */
#ifndef KYOK_BASE_ERROR_H
#define KYOK_BASE_ERROR_H

#include <stddef.h>

/* Stable classes of failure. kyok_status_exit_code() maps them to the command's exit codes. */
enum kyok_status {
    KYOK_OK = 0,
    KYOK_INVALID,     /* bad input, configuration or usage */
    KYOK_NOT_FOUND,   /* no such key, object, group, token */
    KYOK_AMBIGUOUS,   /* more than one object fits a reference */
    KYOK_REFUSED,     /* a custodian or a policy said no */
    KYOK_UNSUPPORTED, /* the token or server cannot do it */
    KYOK_PIN,         /* a login failed, or no PIN could be had */
    KYOK_UNREACHABLE, /* custodian away, device lost */
    KYOK_TIMEOUT,     /* a deadline passed */
    KYOK_BUSY,        /* a stated limit (in flight, sessions) was reached */
    KYOK_CANCELLED,   /* the waiter went away */
    KYOK_TAMPERED,    /* authentication of data failed */
    KYOK_INCOMPLETE,  /* some of many, or a stream that was cut */
    KYOK_SYSTEM,      /* the operating system refused (memory, file, descriptor) */
    KYOK_FAULT,       /* a custodian broke its protocol, or a bug of kyok */
};

/* Fixed size, so that reporting a failure can never fail itself. All texts are NUL-terminated
 * UTF-8. */
struct kyok_error {
    enum kyok_status status;
    char what[320];   /* what failed, a sentence without a final stop */
    char object[320]; /* on what: reference, token, member, endpoint, file:line; may be empty */
    char reason[128]; /* CK_RV, KMIP reason or errno by name; may be empty */
    char remedy[320]; /* what to do; may be empty */
};

/* Fill *err (clearing what it held) and return status. object may be NULL. */
enum kyok_status kyok_fail(struct kyok_error *err, enum kyok_status status, const char *object,
                           const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Add the underlying reason, or the remedy, to a filled error. Both return err->status. */
enum kyok_status kyok_because(struct kyok_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
enum kyok_status kyok_remedy(struct kyok_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* kyok_fail(KYOK_SYSTEM) with the name and text of errno as reason. */
enum kyok_status kyok_fail_errno(struct kyok_error *err, const char *object, const char *format,
                                 ...) __attribute__((format(printf, 3, 4)));

/* "object: what (reason); remedy" on one line, control characters replaced. Returns text. */
const char *kyok_error_text(const struct kyok_error *err, char *text, size_t size);

/* Stable lower-case word for a status ("not-found"), for events, metrics and JSON. */
const char *kyok_status_name(enum kyok_status status);

/* 0 done, 1 refused or failed, 2 usage or configuration, 3 not reachable, 4 incomplete. */
int kyok_status_exit_code(enum kyok_status status);

/* The one guard idiom: return early with whatever failed. */
#define KYOK_TRY(expression)                                                                       \
    do {                                                                                           \
        enum kyok_status kyok_try_status_ = (expression);                                          \
        if (kyok_try_status_ != KYOK_OK)                                                           \
            return kyok_try_status_;                                                               \
    } while (0)

#endif
