/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the faulty HSM: what its files share. faulty_module.c loads, faulty_start.c starts and
 * restarts, faulty_call.c is what happens before and after each call; the functions themselves are
 * in faulty_token.c, faulty_object.c, faulty_key.c and faulty_operation.c.
 */
#ifndef KYOK_TESTS_FAULTY_SELF_H
#define KYOK_TESTS_FAULTY_SELF_H

#include "tests/support/faulty_control.h"
#include "tests/support/faulty_profile.h"

#include <pthread.h>

#define FAULTY_HUGE_LENGTH (1UL << 60)
#define FAULTY_TEMPLATE_MAX 64
#define FAULTY_ONE_NUMBER (1UL << 39) /* of the key found last (the lie "one-number") */

struct faulty_self {
    pthread_once_t once;
    struct faulty_control *control; /* NULL: this module cannot work */
    CK_FUNCTION_LIST *real;
    pthread_rwlock_t lock; /* held for reading around every real call, for writing by a (re)start */
    bool started;
    unsigned long start;    /* number of this process's starts: the handles' upper bits */
    _Atomic uint32_t epoch; /* the control file's, when this process started */
    CK_FLAGS init_flags;
    char *init_reserved;
    _Atomic int process_pid; /* whose entry process_index is; differs in a forked child */
    int process_index;
    _Atomic unsigned long one_number, first_copy; /* the real module's handles, for lies */
};
extern struct faulty_self faulty_self;

/* Each function of the module. */
#define FAULTY_DECLARE(name) extern __typeof__(*((CK_FUNCTION_LIST *)NULL)->name) faulty_##name;
FAULTY_FUNCTIONS(FAULTY_DECLARE)
#undef FAULTY_DECLARE

/* --- faulty_start.c --- */

struct faulty_process_control *faulty_own_process(void);
bool faulty_session_reserve(void);
void faulty_sessions_gone(void);
void faulty_restart_if_asked(void);

/* --- faulty_call.c --- */

/* A handle of the real module as the caller sees it, and back: false for one of another start. */
unsigned long faulty_outer(unsigned long handle);
bool faulty_inner(unsigned long *handle);

struct faulty_call {
    enum faulty_function function;
    bool locked;
    CK_RV rv;
};
/* Everything before the real call but its lock. */
bool faulty_approach(struct faulty_call *call, enum faulty_function function);
bool faulty_enter(struct faulty_call *call, enum faulty_function function);
/* The same for a call on a session, whose handle becomes the real module's. */
bool faulty_enter_session(struct faulty_call *call, enum faulty_function function,
                          CK_SESSION_HANDLE *session);
/* ... on a session and a key, with a mechanism that the profile must have for this use. */
bool faulty_enter_key(struct faulty_call *call, enum faulty_function function,
                      CK_SESSION_HANDLE *session, const CK_MECHANISM *mechanism, CK_FLAGS use,
                      CK_OBJECT_HANDLE *key);
CK_RV faulty_leave(struct faulty_call *call);

const struct faulty_profile *faulty_current_profile(void);
bool faulty_lies(enum faulty_lie lie);
/* What SoftHSM calls a mechanism. */
CK_MECHANISM_TYPE faulty_known_as(CK_MECHANISM_TYPE type);
CK_RV faulty_check_template(const CK_ATTRIBUTE *template, CK_ULONG count);
CK_RV faulty_check_generation(const CK_ATTRIBUTE *template, CK_ULONG count);

#endif
