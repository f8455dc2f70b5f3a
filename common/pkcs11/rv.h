/* SPDX-License-Identifier: Apache-2.0 */
/* CK_RV values by name, what each means to a caller, and which rung of recovery it calls for. */
#ifndef KYOK_PKCS11_RV_H
#define KYOK_PKCS11_RV_H

#include "common/base/error.h"
#include "common/pkcs11/cryptoki.h"

/* What has to be renewed before the call can succeed; higher includes lower. */
enum kyok_rung {
    KYOK_RUNG_NONE,    /* nothing helps: the answer is an answer */
    KYOK_RUNG_OBJECT,  /* find the object again, in another session */
    KYOK_RUNG_LOGIN,   /* log in again */
    KYOK_RUNG_SESSION, /* all sessions of the token are gone */
    KYOK_RUNG_MODULE,  /* the device or the module is lost */
};

const char *kyok_rv_name(CK_RV rv);
enum kyok_rung kyok_rv_rung(CK_RV rv);
enum kyok_status kyok_rv_status(CK_RV rv);
/* Fills *err: what failed on object, the CK_RV by name, the remedy. */
enum kyok_status kyok_rv_fail(struct kyok_error *err, CK_RV rv, const char *object,
                              const char *what);

#endif
