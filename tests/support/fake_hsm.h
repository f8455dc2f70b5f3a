/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of the bookkeeping over PKCS#11: a module of a few functions in the program itself,
 * which no real one is behind, and a token of it. */
#ifndef KYOK_TESTS_FAKE_HSM_H
#define KYOK_TESTS_FAKE_HSM_H

#include "common/pkcs11/live.h"

#include <stdatomic.h>

extern struct fake_hsm {
    CK_RV login_answer;
    unsigned logins, closes; /* of sessions */
    atomic_uint *all_logins; /* of forked processes, too; may be NULL */
} fake_hsm;

extern CK_FUNCTION_LIST fake_hsm_functions;
struct kyok_module fake_hsm_module(void);
struct kyok_token fake_hsm_token(struct kyok_module *module);

#endif
