/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_hsm.h"

#include <string.h>

struct fake_hsm fake_hsm;

static CK_RV no_slots(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count)
{
    (void)present;
    (void)slots;
    *count = 0;
    return CKR_OK;
}

static CK_RV log_in(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG size)
{
    (void)session;
    (void)user;
    (void)pin;
    (void)size;
    fake_hsm.logins++;
    if (fake_hsm.all_logins != NULL)
        atomic_fetch_add(fake_hsm.all_logins, 1);
    return fake_hsm.login_answer;
}

static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    (void)slot;
    memset(info, 0, sizeof(*info));
    info->flags = CKF_LOGIN_REQUIRED;
    return CKR_OK;
}

static CK_RV close_session(CK_SESSION_HANDLE session)
{
    (void)session;
    fake_hsm.closes++;
    return CKR_OK;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
                          CK_SESSION_HANDLE *session)
{
    (void)slot;
    (void)flags;
    (void)application;
    (void)notify;
    *session = 7;
    return CKR_OK;
}

CK_FUNCTION_LIST fake_hsm_functions = {.version = {2, 40},
                                       .C_GetSlotList = no_slots,
                                       .C_Login = log_in,
                                       .C_GetTokenInfo = token_info,
                                       .C_OpenSession = open_session,
                                       .C_CloseSession = close_session};

struct kyok_module fake_hsm_module(void)
{
    return (struct kyok_module){.path = (char *)"fake.so",
                                .f = &fake_hsm_functions,
                                .lock = PTHREAD_MUTEX_INITIALIZER,
                                .changed = PTHREAD_COND_INITIALIZER,
                                .state = KYOK_MODULE_READY,
                                .epoch = 1};
}

struct kyok_token fake_hsm_token(struct kyok_module *module)
{
    return (struct kyok_token){.module = module,
                               .changed = PTHREAD_COND_INITIALIZER,
                               .label = "fake",
                               .serial = "1",
                               .epoch = 1};
}
