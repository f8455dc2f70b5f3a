/* SPDX-License-Identifier: Apache-2.0 */
/* The module, its slots and tokens, sessions and logins. */
#include "tests/support/faulty_self.h"

CK_RV faulty_C_GetInfo(CK_INFO *info)
{
    struct faulty_call call;
    if (faulty_enter(&call, FAULTY_C_GetInfo))
        call.rv = faulty_self.real->C_GetInfo(info);
    return faulty_leave(&call);
}

CK_RV faulty_C_GetSlotList(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count)
{
    struct faulty_call call;
    if (!faulty_enter(&call, FAULTY_C_GetSlotList))
        return faulty_leave(&call);
    if (present && atomic_load(&faulty_self.control->removed) != 0)
        *count = 0;
    else
        call.rv = faulty_self.real->C_GetSlotList(present, slots, count);
    if (call.rv == CKR_OK && faulty_lies(FAULTY_LIE_SLOT_COUNT))
        *count = FAULTY_HUGE_LENGTH;
    return faulty_leave(&call);
}

CK_RV faulty_C_GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
    struct faulty_call call;
    if (faulty_enter(&call, FAULTY_C_GetSlotInfo))
        call.rv = faulty_self.real->C_GetSlotInfo(slot, info);
    if (call.rv == CKR_OK && atomic_load(&faulty_self.control->removed) != 0)
        info->flags &= ~CKF_TOKEN_PRESENT;
    return faulty_leave(&call);
}

static CK_FLAGS pin_flags(void)
{
    uint32_t limit = atomic_load(&faulty_self.control->pin_limit);
    uint32_t failures = atomic_load(&faulty_self.control->pin_failures);
    if (limit == 0 || failures == 0)
        return 0;
    if (failures >= limit)
        return CKF_USER_PIN_LOCKED;
    return failures + 1 == limit ? CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY
                                 : CKF_USER_PIN_COUNT_LOW;
}

CK_RV faulty_C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    struct faulty_call call;
    if (faulty_enter(&call, FAULTY_C_GetTokenInfo))
        call.rv = faulty_self.real->C_GetTokenInfo(slot, info);
    if (call.rv != CKR_OK)
        return faulty_leave(&call);
    uint32_t limit = atomic_load(&faulty_self.control->session_limit);
    if (limit != 0) {
        info->ulMaxSessionCount = info->ulMaxRwSessionCount = limit;
        info->ulSessionCount = faulty_control_sessions(faulty_self.control);
    }
    info->flags |= pin_flags();
    return faulty_leave(&call);
}

CK_RV faulty_C_GetMechanismList(CK_SLOT_ID slot, CK_MECHANISM_TYPE *types, CK_ULONG *count)
{
    struct faulty_call call;
    if (!faulty_enter(&call, FAULTY_C_GetMechanismList))
        return faulty_leave(&call);
    CK_MECHANISM_TYPE all[512];
    CK_ULONG all_count = sizeof(all) / sizeof(all[0]);
    CK_ULONG kept = 0;
    call.rv = faulty_self.real->C_GetMechanismList(slot, all, &all_count);
    for (CK_ULONG i = 0; call.rv == CKR_OK && i < all_count; i++) {
        if (!faulty_profile_has_mechanism(faulty_current_profile(), all[i], 0))
            continue;
        if (types != NULL && kept < *count)
            types[kept] = all[i];
        kept++;
    }
    if (call.rv == CKR_OK && types != NULL && kept > *count)
        call.rv = CKR_BUFFER_TOO_SMALL;
    *count = faulty_lies(FAULTY_LIE_MECHANISM_COUNT) ? FAULTY_HUGE_LENGTH : kept;
    return faulty_leave(&call);
}

CK_RV faulty_C_GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info)
{
    static const CK_FLAGS uses[] = {CKF_SIGN,   CKF_VERIFY,           CKF_ENCRYPT, CKF_DECRYPT,
                                    CKF_WRAP,   CKF_UNWRAP,           CKF_DERIVE,  CKF_GENERATE,
                                    CKF_DIGEST, CKF_GENERATE_KEY_PAIR};
    struct faulty_call call;
    if (!faulty_enter(&call, FAULTY_C_GetMechanismInfo))
        return faulty_leave(&call);
    if (!faulty_profile_has_mechanism(faulty_current_profile(), type, 0))
        call.rv = CKR_MECHANISM_INVALID;
    else
        call.rv = faulty_self.real->C_GetMechanismInfo(slot, faulty_known_as(type), info);
    for (size_t i = 0; call.rv == CKR_OK && i < sizeof(uses) / sizeof(uses[0]); i++) {
        if (!faulty_profile_has_mechanism(faulty_current_profile(), type, uses[i]))
            info->flags &= ~uses[i];
    }
    return faulty_leave(&call);
}

CK_RV faulty_C_InitToken(CK_SLOT_ID slot, unsigned char *pin, CK_ULONG size, unsigned char *label)
{
    struct faulty_call call;
    if (faulty_enter(&call, FAULTY_C_InitToken))
        call.rv = faulty_self.real->C_InitToken(slot, pin, size, label);
    return faulty_leave(&call);
}

CK_RV faulty_C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID *slot, void *reserved)
{
    struct faulty_call call;
    if (faulty_enter(&call, FAULTY_C_WaitForSlotEvent))
        call.rv = faulty_self.real->C_WaitForSlotEvent(flags, slot, reserved);
    return faulty_leave(&call);
}

CK_RV faulty_C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
                           CK_SESSION_HANDLE *session)
{
    struct faulty_call call;
    if (!faulty_enter(&call, FAULTY_C_OpenSession))
        return faulty_leave(&call);
    if (!faulty_session_reserve()) {
        call.rv = CKR_SESSION_COUNT;
        return faulty_leave(&call);
    }
    call.rv = faulty_self.real->C_OpenSession(slot, flags, application, notify, session);
    if (call.rv == CKR_OK)
        *session = faulty_outer(*session);
    else
        atomic_fetch_sub(&faulty_own_process()->sessions, 1);
    return faulty_leave(&call);
}

CK_RV faulty_C_CloseSession(CK_SESSION_HANDLE session)
{
    struct faulty_call call;
    if (faulty_enter_session(&call, FAULTY_C_CloseSession, &session))
        call.rv = faulty_self.real->C_CloseSession(session);
    if (call.locked && call.rv == CKR_OK)
        atomic_fetch_sub(&faulty_own_process()->sessions, 1);
    return faulty_leave(&call);
}

CK_RV faulty_C_CloseAllSessions(CK_SLOT_ID slot)
{
    struct faulty_call call;
    if (faulty_enter(&call, FAULTY_C_CloseAllSessions))
        call.rv = faulty_self.real->C_CloseAllSessions(slot);
    if (call.locked && call.rv == CKR_OK)
        faulty_sessions_gone();
    return faulty_leave(&call);
}

CK_RV faulty_C_Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, unsigned char *pin,
                     CK_ULONG size)
{
    struct faulty_call call;
    if (!faulty_enter_session(&call, FAULTY_C_Login, &session))
        return faulty_leave(&call);
    uint32_t limit = atomic_load(&faulty_self.control->pin_limit);
    if (limit != 0 && atomic_load(&faulty_self.control->pin_failures) >= limit) {
        call.rv = CKR_PIN_LOCKED;
        return faulty_leave(&call);
    }
    call.rv = faulty_self.real->C_Login(session, user, pin, size);
    if (call.rv == CKR_PIN_INCORRECT)
        atomic_fetch_add(&faulty_self.control->pin_failures, 1);
    if (call.rv == CKR_OK)
        atomic_store(&faulty_self.control->pin_failures, 0);
    return faulty_leave(&call);
}
