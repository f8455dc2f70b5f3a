/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions are counted, and the real module is started, finished and, when the control file asks,
 * lost. */
#include "tests/support/faulty_self.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct faulty_process_control *faulty_own_process(void)
{
    int pid = (int)getpid();
    struct faulty_process_control *processes = faulty_self.control->processes;
    if (atomic_load(&faulty_self.process_pid) == pid)
        return &processes[faulty_self.process_index];
    faulty_control_sessions(faulty_self.control); /* frees the entries of the dead */
    for (int i = 0; i < FAULTY_PROCESSES; i++) {
        int32_t free_entry = 0;
        bool mine = atomic_load(&processes[i].pid) == pid;
        if (mine || atomic_compare_exchange_strong(&processes[i].pid, &free_entry, pid)) {
            faulty_self.process_index = i;
            atomic_store(&faulty_self.process_pid, pid);
            return &processes[i];
        }
    }
    return &processes[0];
}

static void raise_peak(_Atomic uint32_t *peak, uint32_t value)
{
    uint32_t seen = atomic_load(peak);
    while (value > seen && !atomic_compare_exchange_weak(peak, &seen, value))
        ;
}

bool faulty_session_reserve(void)
{
    struct faulty_process_control *own = faulty_own_process();
    atomic_fetch_add(&own->sessions, 1);
    uint32_t sum = faulty_control_sessions(faulty_self.control);
    uint32_t limit = atomic_load(&faulty_self.control->session_limit);
    if (limit != 0 && sum > limit) {
        atomic_fetch_sub(&own->sessions, 1);
        return false;
    }
    raise_peak(&faulty_self.control->session_peak, sum);
    return true;
}

void faulty_sessions_gone(void)
{
    atomic_store(&faulty_own_process()->sessions, 0);
}

static void export_environment(void)
{
    const char *name = faulty_self.control->environment_name;
    const char *value = faulty_self.control->environment_value;
    if (name[0] == '\0')
        return;
    const char *present = getenv(name);
    if (present == NULL || strcmp(present, value) != 0)
        setenv(name, value, 1);
}

static CK_RV start_real(void)
{
    export_environment();
    CK_C_INITIALIZE_ARGS args = {.flags = faulty_self.init_flags,
                                 .pReserved = faulty_self.init_reserved};
    CK_RV rv = faulty_self.real->C_Initialize(&args);
    faulty_self.epoch = atomic_load(&faulty_self.control->epoch);
    if (rv == CKR_OK) {
        faulty_self.start++;
        faulty_self.started = true;
        faulty_sessions_gone();
    }
    return rv;
}

/* The HSM lost power and is back: nothing that this process holds is valid any more. */
void faulty_restart_if_asked(void)
{
    if (atomic_load(&faulty_self.control->epoch) == faulty_self.epoch)
        return;
    pthread_rwlock_wrlock(&faulty_self.lock);
    uint32_t epoch = atomic_load(&faulty_self.control->epoch);
    if (epoch != faulty_self.epoch) {
        faulty_self.epoch = epoch;
        if (faulty_self.started && faulty_self.real->C_Finalize(NULL) == CKR_OK)
            start_real();
    }
    pthread_rwlock_unlock(&faulty_self.lock);
}

CK_RV faulty_C_Initialize(void *arguments)
{
    struct faulty_call call;
    if (!faulty_approach(&call, FAULTY_C_Initialize))
        return faulty_leave(&call);
    const CK_C_INITIALIZE_ARGS *args = arguments;
    pthread_rwlock_wrlock(&faulty_self.lock);
    call.locked = true;
    free(faulty_self.init_reserved);
    faulty_self.init_reserved =
        args != NULL && args->pReserved != NULL ? strdup(args->pReserved) : NULL;
    /* One thread or many is the caller's choice; locks of its own are not passed on. */
    faulty_self.init_flags = CKF_OS_LOCKING_OK;
    call.rv = start_real();
    return faulty_leave(&call);
}

CK_RV faulty_C_Finalize(void *reserved)
{
    struct faulty_call call;
    if (!faulty_approach(&call, FAULTY_C_Finalize))
        return faulty_leave(&call);
    pthread_rwlock_wrlock(&faulty_self.lock);
    call.locked = true;
    call.rv = faulty_self.real->C_Finalize(reserved);
    if (call.rv == CKR_OK) {
        faulty_self.started = false;
        faulty_sessions_gone();
    }
    return faulty_leave(&call);
}
