/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to every call before and after it reaches the real module. */
#include "tests/support/faulty_montgomery.h"
#include "tests/support/faulty_self.h"

#include <time.h>

#define HANDLE_BITS 40

unsigned long faulty_outer(unsigned long handle)
{
    return handle + (faulty_self.start << HANDLE_BITS);
}

bool faulty_inner(unsigned long *handle)
{
    if (*handle >> HANDLE_BITS != faulty_self.start)
        return false;
    *handle -= faulty_self.start << HANDLE_BITS;
    if (*handle == FAULTY_ONE_NUMBER)
        *handle = atomic_load(&faulty_self.one_number);
    return true;
}

static struct faulty_function_control *control_of(const struct faulty_call *call)
{
    return &faulty_self.control->functions[call->function];
}

static bool take_one(_Atomic int32_t *left)
{
    int32_t seen = atomic_load(left);
    while (seen > 0 && !atomic_compare_exchange_weak(left, &seen, seen - 1))
        ;
    return seen != 0;
}

static void delay(uint32_t us)
{
    if (us == 0)
        return;
    struct timespec left = {us / 1000000, (long)(us % 1000000) * 1000};
    while (nanosleep(&left, &left) != 0)
        ;
}

static void hang(struct faulty_function_control *function)
{
    uint32_t seen = atomic_load(&faulty_self.control->release);
    if (!take_one(&function->hang_calls))
        return;
    struct faulty_process_control *own = faulty_own_process();
    atomic_fetch_add(&own->hanging, 1);
    faulty_control_wait_release(faulty_self.control, seen);
    atomic_fetch_sub(&own->hanging, 1);
}

const struct faulty_profile *faulty_current_profile(void)
{
    return &faulty_profiles[atomic_load(&faulty_self.control->profile)];
}

bool faulty_lies(enum faulty_lie lie)
{
    return (atomic_load(&faulty_self.control->hostile) & lie) != 0;
}

static CK_RV removal(enum faulty_function function)
{
    if (atomic_load(&faulty_self.control->removed) == 0)
        return CKR_OK;
    switch (function) {
    case FAULTY_C_Initialize:
    case FAULTY_C_Finalize:
    case FAULTY_C_GetInfo:
    case FAULTY_C_GetSlotList:
    case FAULTY_C_GetSlotInfo:
    case FAULTY_C_WaitForSlotEvent:
        return CKR_OK;
    case FAULTY_C_GetTokenInfo:
    case FAULTY_C_GetMechanismList:
    case FAULTY_C_GetMechanismInfo:
    case FAULTY_C_InitToken:
    case FAULTY_C_OpenSession:
    case FAULTY_C_CloseAllSessions:
        return CKR_TOKEN_NOT_PRESENT;
    default:
        return CKR_DEVICE_REMOVED;
    }
}

bool faulty_approach(struct faulty_call *call, enum faulty_function function)
{
    *call = (struct faulty_call){.function = function};
    struct faulty_function_control *control = control_of(call);
    atomic_fetch_add(&control->calls, 1);
    int32_t now = atomic_fetch_add(&control->in_flight, 1) + 1;
    int32_t peak = atomic_load(&control->peak);
    while (now > peak && !atomic_compare_exchange_weak(&control->peak, &peak, now))
        ;
    delay(atomic_load(&control->delay_us));
    hang(control);
    call->rv = removal(function);
    if (call->rv == CKR_OK && take_one(&control->fail_calls))
        call->rv = atomic_load(&control->fail_rv);
    if (call->rv == CKR_OK && faulty_profile_lacks(faulty_current_profile(), function))
        call->rv = CKR_FUNCTION_NOT_SUPPORTED;
    return call->rv == CKR_OK;
}

bool faulty_enter(struct faulty_call *call, enum faulty_function function)
{
    if (!faulty_approach(call, function))
        return false;
    faulty_restart_if_asked();
    pthread_rwlock_rdlock(&faulty_self.lock);
    call->locked = true;
    return true;
}

bool faulty_enter_session(struct faulty_call *call, enum faulty_function function,
                          CK_SESSION_HANDLE *session)
{
    if (!faulty_enter(call, function))
        return false;
    if (!faulty_self.started)
        call->rv = CKR_CRYPTOKI_NOT_INITIALIZED;
    else if (!faulty_inner(session))
        call->rv = CKR_SESSION_HANDLE_INVALID;
    return call->rv == CKR_OK;
}

bool faulty_enter_key(struct faulty_call *call, enum faulty_function function,
                      CK_SESSION_HANDLE *session, const CK_MECHANISM *mechanism, CK_FLAGS use,
                      CK_OBJECT_HANDLE *key)
{
    if (!faulty_enter_session(call, function, session))
        return false;
    if (mechanism != NULL &&
        !faulty_profile_has_mechanism(faulty_current_profile(), mechanism->mechanism, use))
        call->rv = CKR_MECHANISM_INVALID;
    else if (key != NULL && !faulty_inner(key))
        call->rv = CKR_KEY_HANDLE_INVALID;
    return call->rv == CKR_OK;
}

CK_RV faulty_leave(struct faulty_call *call)
{
    if (call->locked)
        pthread_rwlock_unlock(&faulty_self.lock);
    struct faulty_function_control *control = control_of(call);
    if (call->rv == CKR_OK && take_one(&control->lose_calls))
        call->rv = atomic_load(&control->fail_rv);
    if (call->rv != CKR_OK)
        atomic_fetch_add(&control->failures, 1);
    atomic_fetch_sub(&control->in_flight, 1);
    return call->rv;
}

CK_RV faulty_check_template(const CK_ATTRIBUTE *template, CK_ULONG count)
{
    for (CK_ULONG i = 0; i < count; i++) {
        if (!faulty_profile_knows(faulty_current_profile(), template[i].type))
            return CKR_ATTRIBUTE_TYPE_INVALID;
    }
    return CKR_OK;
}

CK_RV faulty_check_generation(const CK_ATTRIBUTE *template, CK_ULONG count)
{
    CK_ATTRIBUTE_TYPE needed = faulty_current_profile()->generation_needs;
    bool given = needed == 0;
    for (CK_ULONG i = 0; i < count; i++)
        given = given || template[i].type == needed;
    return given ? faulty_check_template(template, count) : CKR_TEMPLATE_INCOMPLETE;
}

CK_MECHANISM_TYPE faulty_known_as(CK_MECHANISM_TYPE type)
{
    return faulty_lies(FAULTY_LIE_MONTGOMERY) && faulty_is_montgomery(type)
               ? faulty_edwards_generation()
               : type;
}
