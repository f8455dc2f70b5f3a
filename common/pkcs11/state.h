/* SPDX-License-Identifier: Apache-2.0 */
/* Private to pkcs11/: this process's modules and live groups. */
#ifndef KYOK_PKCS11_STATE_H
#define KYOK_PKCS11_STATE_H

#include "common/pkcs11/live.h"

struct kyok_pkcs11_state {
    pthread_mutex_t lock; /* of the two lists; never held over a C_* call but C_GetFunctionList */
    struct kyok_module *modules;
    struct kyok_live_group *groups;
};

struct kyok_pkcs11_state *kyok_pkcs11_state(void);

#endif
