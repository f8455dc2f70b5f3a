/* SPDX-License-Identifier: Apache-2.0 */
/* Private to key/: what a context holds. */
#ifndef KYOK_KEY_CONTEXT_H
#define KYOK_KEY_CONTEXT_H

#include "common/key/custodian.h"

/* A group that no section defines: from module-path, or p11-kit's modules, and the reference's PIN.
 */
struct kyok_adhoc {
    struct kyok_adhoc *next;
    const struct kyok_token_config *base; /* shares its texts when not NULL */
    struct kyok_token_config config;
    const struct kyok_secret *pin;
    struct kyok_custodian *custodian;
};

struct kyok_context {
    _Atomic unsigned references;
    struct kyok_config *config;
    _Atomic(struct kyok_custodian *) custodians;
    _Atomic(struct kyok_adhoc *) adhoc;
};

const struct kyok_custodian_ops *kyok_pkcs11_custodian_ops(void);

#endif
