/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The faulty HSM: a PKCS#11 module in front of a real one (SoftHSM), which counts, delays, hangs,
 * forgets, refuses and lies as the control file asks. See faulty_control.h, and faulty_tool for the
 * shell. For tests only: it is never installed.
 *
 * Every call goes: count, delay, hang, restart, removal, injected failure, then to the real module
 * with its handles translated. Handles carry the number of the start they belong to above bit 40,
 * so that those from before a restart or a fork are told apart; SoftHSM itself reuses small
 * numbers.
 */
#include "tests/support/faulty_control.h"
#include "tests/support/faulty_montgomery.h"
#include "tests/support/faulty_profile.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define HANDLE_BITS 40
#define HUGE_LENGTH (1UL << 60)
#define TEMPLATE_MAX 64

static struct {
    pthread_once_t once;
    struct faulty_control *control; /* NULL: this module cannot work */
    CK_FUNCTION_LIST *real;
    pthread_rwlock_t lock; /* held for reading around every real call, for writing by a (re)start */
    bool started;
    unsigned long start; /* number of this process's starts: the handles' upper bits */
    uint32_t epoch;      /* the control file's, when this process started */
    CK_FLAGS init_flags;
    char *init_reserved;
    _Atomic int process_pid; /* whose entry process_index is; differs in a forked child */
    int process_index;
} module = {.once = PTHREAD_ONCE_INIT, .lock = PTHREAD_RWLOCK_INITIALIZER};

/* --- loading -----------------------------------------------------------------------------------
 */

static void after_fork_in_child(void)
{
    /* A thread that this process lacks may have held it. */
    pthread_rwlock_init(&module.lock, NULL);
}

static struct faulty_control *find_control(void)
{
    Dl_info self;
    char path[FAULTY_PATH_SIZE + 16];
    if (dladdr((void *)(uintptr_t)find_control, &self) != 0 && self.dli_fname != NULL) {
        snprintf(path, sizeof(path), "%s.control", self.dli_fname);
        if (access(path, F_OK) == 0)
            return faulty_control_open(path);
    }
    const char *named = getenv("KYOK_FAULTY_CONTROL");
    return named == NULL ? NULL : faulty_control_open(named);
}

static CK_FUNCTION_LIST *load_real(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "faulty HSM: %s\n", dlerror());
        return NULL;
    }
    CK_C_GetFunctionList get;
    *(void **)&get = dlsym(library, "C_GetFunctionList");
    CK_FUNCTION_LIST *list = NULL;
    if (get == NULL || get(&list) != CKR_OK)
        return NULL;
    return list;
}

static void load(void)
{
    struct faulty_control *control = find_control();
    if (control == NULL) {
        fprintf(stderr, "faulty HSM: no control file (NAME.so.control or KYOK_FAULTY_CONTROL)\n");
        return;
    }
    const char *path = control->module[0] != '\0' ? control->module : getenv("KYOK_FAULTY_MODULE");
    if (path == NULL) {
        fprintf(stderr, "faulty HSM: no real module (control file or KYOK_FAULTY_MODULE)\n");
        return;
    }
    module.real = load_real(path);
    if (module.real == NULL)
        return;
    pthread_atfork(NULL, NULL, after_fork_in_child);
    module.control = control;
}

/* --- handles -----------------------------------------------------------------------------------
 */

static unsigned long outer(unsigned long handle)
{
    return handle + (module.start << HANDLE_BITS);
}

static bool inner(unsigned long *handle)
{
    if (*handle >> HANDLE_BITS != module.start)
        return false;
    *handle -= module.start << HANDLE_BITS;
    return true;
}

/* --- sessions ----------------------------------------------------------------------------------
 */

static struct faulty_process_control *own_process(void)
{
    int pid = (int)getpid();
    struct faulty_process_control *processes = module.control->processes;
    if (atomic_load(&module.process_pid) == pid)
        return &processes[module.process_index];
    faulty_control_sessions(module.control); /* frees the entries of the dead */
    for (int i = 0; i < FAULTY_PROCESSES; i++) {
        int32_t free_entry = 0;
        bool mine = atomic_load(&processes[i].pid) == pid;
        if (mine || atomic_compare_exchange_strong(&processes[i].pid, &free_entry, pid)) {
            module.process_index = i;
            atomic_store(&module.process_pid, pid);
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

static bool session_reserve(void)
{
    struct faulty_process_control *own = own_process();
    atomic_fetch_add(&own->sessions, 1);
    uint32_t sum = faulty_control_sessions(module.control);
    uint32_t limit = atomic_load(&module.control->session_limit);
    if (limit != 0 && sum > limit) {
        atomic_fetch_sub(&own->sessions, 1);
        return false;
    }
    raise_peak(&module.control->session_peak, sum);
    return true;
}

static void sessions_gone(void)
{
    atomic_store(&own_process()->sessions, 0);
}

/* --- starting and restarting -------------------------------------------------------------------
 */

static void export_environment(void)
{
    const char *name = module.control->environment_name;
    const char *value = module.control->environment_value;
    if (name[0] == '\0')
        return;
    const char *present = getenv(name);
    if (present == NULL || strcmp(present, value) != 0)
        setenv(name, value, 1);
}

static CK_RV start_real(void)
{
    export_environment();
    CK_C_INITIALIZE_ARGS args = {.flags = module.init_flags, .pReserved = module.init_reserved};
    CK_RV rv = module.real->C_Initialize(&args);
    module.epoch = atomic_load(&module.control->epoch);
    if (rv == CKR_OK) {
        module.start++;
        module.started = true;
        sessions_gone();
    }
    return rv;
}

/* The HSM lost power and is back: nothing that this process holds is valid any more. */
static void restart_if_asked(void)
{
    if (atomic_load(&module.control->epoch) == module.epoch)
        return;
    pthread_rwlock_wrlock(&module.lock);
    uint32_t epoch = atomic_load(&module.control->epoch);
    if (epoch != module.epoch) {
        module.epoch = epoch;
        if (module.started && module.real->C_Finalize(NULL) == CKR_OK)
            start_real();
    }
    pthread_rwlock_unlock(&module.lock);
}

/* --- one call ----------------------------------------------------------------------------------
 */

struct call {
    enum faulty_function function;
    bool locked;
    CK_RV rv;
};

static struct faulty_function_control *control_of(const struct call *call)
{
    return &module.control->functions[call->function];
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
    uint32_t seen = atomic_load(&module.control->release);
    if (!take_one(&function->hang_calls))
        return;
    atomic_fetch_add(&module.control->hanging, 1);
    faulty_control_wait_release(module.control, seen);
    atomic_fetch_sub(&module.control->hanging, 1);
}

static const struct faulty_profile *profile(void)
{
    return &faulty_profiles[atomic_load(&module.control->profile)];
}

static bool lies(enum faulty_lie lie)
{
    return (atomic_load(&module.control->hostile) & lie) != 0;
}

static CK_RV removal(enum faulty_function function)
{
    if (atomic_load(&module.control->removed) == 0)
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

/* Everything before the real call but its lock. */
static bool approach(struct call *call, enum faulty_function function)
{
    *call = (struct call){.function = function};
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
    if (call->rv == CKR_OK && faulty_profile_lacks(profile(), function))
        call->rv = CKR_FUNCTION_NOT_SUPPORTED;
    return call->rv == CKR_OK;
}

static bool enter(struct call *call, enum faulty_function function)
{
    if (!approach(call, function))
        return false;
    restart_if_asked();
    pthread_rwlock_rdlock(&module.lock);
    call->locked = true;
    return true;
}

/* The same for a call on a session, whose handle becomes the real module's. */
static bool enter_session(struct call *call, enum faulty_function function,
                          CK_SESSION_HANDLE *session)
{
    if (!enter(call, function))
        return false;
    if (!module.started)
        call->rv = CKR_CRYPTOKI_NOT_INITIALIZED;
    else if (!inner(session))
        call->rv = CKR_SESSION_HANDLE_INVALID;
    return call->rv == CKR_OK;
}

/* ... on a session and a key, with a mechanism that the profile must have for this use. */
static bool enter_key(struct call *call, enum faulty_function function, CK_SESSION_HANDLE *session,
                      const CK_MECHANISM *mechanism, CK_FLAGS use, CK_OBJECT_HANDLE *key)
{
    if (!enter_session(call, function, session))
        return false;
    if (mechanism != NULL && !faulty_profile_has_mechanism(profile(), mechanism->mechanism, use))
        call->rv = CKR_MECHANISM_INVALID;
    else if (key != NULL && !inner(key))
        call->rv = CKR_KEY_HANDLE_INVALID;
    return call->rv == CKR_OK;
}

static CK_RV leave(struct call *call)
{
    if (call->locked)
        pthread_rwlock_unlock(&module.lock);
    struct faulty_function_control *control = control_of(call);
    if (call->rv == CKR_OK && take_one(&control->lose_calls))
        call->rv = atomic_load(&control->fail_rv);
    if (call->rv != CKR_OK)
        atomic_fetch_add(&control->failures, 1);
    atomic_fetch_sub(&control->in_flight, 1);
    return call->rv;
}

static CK_RV check_template(const CK_ATTRIBUTE *template, CK_ULONG count)
{
    for (CK_ULONG i = 0; i < count; i++) {
        if (!faulty_profile_knows(profile(), template[i].type))
            return CKR_ATTRIBUTE_TYPE_INVALID;
    }
    return CKR_OK;
}

static CK_RV check_generation(const CK_ATTRIBUTE *template, CK_ULONG count)
{
    CK_ATTRIBUTE_TYPE needed = profile()->generation_needs;
    bool given = needed == 0;
    for (CK_ULONG i = 0; i < count; i++)
        given = given || template[i].type == needed;
    return given ? check_template(template, count) : CKR_TEMPLATE_INCOMPLETE;
}

/* --- module, slots, token ----------------------------------------------------------------------
 */

static CK_RV faulty_C_Initialize(void *arguments)
{
    struct call call;
    if (!approach(&call, FAULTY_C_Initialize))
        return leave(&call);
    const CK_C_INITIALIZE_ARGS *args = arguments;
    pthread_rwlock_wrlock(&module.lock);
    call.locked = true;
    free(module.init_reserved);
    module.init_reserved = args != NULL && args->pReserved != NULL ? strdup(args->pReserved) : NULL;
    /* One thread or many is the caller's choice; locks of its own are not passed on. */
    module.init_flags = CKF_OS_LOCKING_OK;
    call.rv = start_real();
    return leave(&call);
}

static CK_RV faulty_C_Finalize(void *reserved)
{
    struct call call;
    if (!approach(&call, FAULTY_C_Finalize))
        return leave(&call);
    pthread_rwlock_wrlock(&module.lock);
    call.locked = true;
    call.rv = module.real->C_Finalize(reserved);
    if (call.rv == CKR_OK) {
        module.started = false;
        sessions_gone();
    }
    return leave(&call);
}

static CK_RV faulty_C_GetInfo(CK_INFO *info)
{
    struct call call;
    if (enter(&call, FAULTY_C_GetInfo))
        call.rv = module.real->C_GetInfo(info);
    return leave(&call);
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list); /* below */

static CK_RV faulty_C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    return C_GetFunctionList(list);
}

static CK_RV faulty_C_GetSlotList(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count)
{
    struct call call;
    if (!enter(&call, FAULTY_C_GetSlotList))
        return leave(&call);
    if (present && atomic_load(&module.control->removed) != 0)
        *count = 0;
    else
        call.rv = module.real->C_GetSlotList(present, slots, count);
    if (call.rv == CKR_OK && lies(FAULTY_LIE_SLOT_COUNT))
        *count = HUGE_LENGTH;
    return leave(&call);
}

static CK_RV faulty_C_GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
    struct call call;
    if (enter(&call, FAULTY_C_GetSlotInfo))
        call.rv = module.real->C_GetSlotInfo(slot, info);
    if (call.rv == CKR_OK && atomic_load(&module.control->removed) != 0)
        info->flags &= ~CKF_TOKEN_PRESENT;
    return leave(&call);
}

static CK_FLAGS pin_flags(void)
{
    uint32_t limit = atomic_load(&module.control->pin_limit);
    uint32_t failures = atomic_load(&module.control->pin_failures);
    if (limit == 0 || failures == 0)
        return 0;
    if (failures >= limit)
        return CKF_USER_PIN_LOCKED;
    return failures + 1 == limit ? CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY
                                 : CKF_USER_PIN_COUNT_LOW;
}

static CK_RV faulty_C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    struct call call;
    if (enter(&call, FAULTY_C_GetTokenInfo))
        call.rv = module.real->C_GetTokenInfo(slot, info);
    if (call.rv != CKR_OK)
        return leave(&call);
    uint32_t limit = atomic_load(&module.control->session_limit);
    if (limit != 0) {
        info->ulMaxSessionCount = info->ulMaxRwSessionCount = limit;
        info->ulSessionCount = faulty_control_sessions(module.control);
    }
    info->flags |= pin_flags();
    return leave(&call);
}

static CK_RV faulty_C_GetMechanismList(CK_SLOT_ID slot, CK_MECHANISM_TYPE *types, CK_ULONG *count)
{
    struct call call;
    if (!enter(&call, FAULTY_C_GetMechanismList))
        return leave(&call);
    CK_MECHANISM_TYPE all[512];
    CK_ULONG all_count = sizeof(all) / sizeof(all[0]);
    CK_ULONG kept = 0;
    call.rv = module.real->C_GetMechanismList(slot, all, &all_count);
    for (CK_ULONG i = 0; call.rv == CKR_OK && i < all_count; i++) {
        if (!faulty_profile_has_mechanism(profile(), all[i], 0))
            continue;
        if (types != NULL && kept < *count)
            types[kept] = all[i];
        kept++;
    }
    if (call.rv == CKR_OK && types != NULL && kept > *count)
        call.rv = CKR_BUFFER_TOO_SMALL;
    *count = lies(FAULTY_LIE_MECHANISM_COUNT) ? HUGE_LENGTH : kept;
    return leave(&call);
}

/* What SoftHSM calls a mechanism. */
static CK_MECHANISM_TYPE known_as(CK_MECHANISM_TYPE type)
{
    return lies(FAULTY_LIE_MONTGOMERY) && faulty_is_montgomery(type) ? faulty_edwards_generation()
                                                                     : type;
}

static CK_RV faulty_C_GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE type,
                                       CK_MECHANISM_INFO *info)
{
    static const CK_FLAGS uses[] = {CKF_SIGN,   CKF_VERIFY,           CKF_ENCRYPT, CKF_DECRYPT,
                                    CKF_WRAP,   CKF_UNWRAP,           CKF_DERIVE,  CKF_GENERATE,
                                    CKF_DIGEST, CKF_GENERATE_KEY_PAIR};
    struct call call;
    if (!enter(&call, FAULTY_C_GetMechanismInfo))
        return leave(&call);
    if (!faulty_profile_has_mechanism(profile(), type, 0))
        call.rv = CKR_MECHANISM_INVALID;
    else
        call.rv = module.real->C_GetMechanismInfo(slot, known_as(type), info);
    for (size_t i = 0; call.rv == CKR_OK && i < sizeof(uses) / sizeof(uses[0]); i++) {
        if (!faulty_profile_has_mechanism(profile(), type, uses[i]))
            info->flags &= ~uses[i];
    }
    return leave(&call);
}

static CK_RV faulty_C_InitToken(CK_SLOT_ID slot, unsigned char *pin, CK_ULONG size,
                                unsigned char *label)
{
    struct call call;
    if (enter(&call, FAULTY_C_InitToken))
        call.rv = module.real->C_InitToken(slot, pin, size, label);
    return leave(&call);
}

static CK_RV faulty_C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID *slot, void *reserved)
{
    struct call call;
    if (enter(&call, FAULTY_C_WaitForSlotEvent))
        call.rv = module.real->C_WaitForSlotEvent(flags, slot, reserved);
    return leave(&call);
}

/* --- sessions and login ------------------------------------------------------------------------
 */

static CK_RV faulty_C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void *application,
                                  CK_NOTIFY notify, CK_SESSION_HANDLE *session)
{
    struct call call;
    if (!enter(&call, FAULTY_C_OpenSession))
        return leave(&call);
    if (!session_reserve()) {
        call.rv = CKR_SESSION_COUNT;
        return leave(&call);
    }
    call.rv = module.real->C_OpenSession(slot, flags, application, notify, session);
    if (call.rv == CKR_OK)
        *session = outer(*session);
    else
        atomic_fetch_sub(&own_process()->sessions, 1);
    return leave(&call);
}

static CK_RV faulty_C_CloseSession(CK_SESSION_HANDLE session)
{
    struct call call;
    if (enter_session(&call, FAULTY_C_CloseSession, &session))
        call.rv = module.real->C_CloseSession(session);
    if (call.locked && call.rv == CKR_OK)
        atomic_fetch_sub(&own_process()->sessions, 1);
    return leave(&call);
}

static CK_RV faulty_C_CloseAllSessions(CK_SLOT_ID slot)
{
    struct call call;
    if (enter(&call, FAULTY_C_CloseAllSessions))
        call.rv = module.real->C_CloseAllSessions(slot);
    if (call.locked && call.rv == CKR_OK)
        sessions_gone();
    return leave(&call);
}

static CK_RV faulty_C_Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, unsigned char *pin,
                            CK_ULONG size)
{
    struct call call;
    if (!enter_session(&call, FAULTY_C_Login, &session))
        return leave(&call);
    uint32_t limit = atomic_load(&module.control->pin_limit);
    if (limit != 0 && atomic_load(&module.control->pin_failures) >= limit) {
        call.rv = CKR_PIN_LOCKED;
        return leave(&call);
    }
    call.rv = module.real->C_Login(session, user, pin, size);
    if (call.rv == CKR_PIN_INCORRECT)
        atomic_fetch_add(&module.control->pin_failures, 1);
    if (call.rv == CKR_OK)
        atomic_store(&module.control->pin_failures, 0);
    return leave(&call);
}

/* --- objects -----------------------------------------------------------------------------------
 */

static CK_RV faulty_C_CreateObject(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template,
                                   CK_ULONG count, CK_OBJECT_HANDLE *object)
{
    struct call call;
    if (!enter_session(&call, FAULTY_C_CreateObject, &session))
        return leave(&call);
    call.rv = check_template(template, count);
    if (call.rv == CKR_OK)
        call.rv = module.real->C_CreateObject(session, template, count, object);
    if (call.rv == CKR_OK)
        *object = outer(*object);
    return leave(&call);
}

static bool enter_object(struct call *call, enum faulty_function function,
                         CK_SESSION_HANDLE *session, CK_OBJECT_HANDLE *object)
{
    if (enter_session(call, function, session) && !inner(object))
        call->rv = CKR_OBJECT_HANDLE_INVALID;
    return call->rv == CKR_OK;
}

static CK_RV faulty_C_CopyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                                 CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *copy)
{
    struct call call;
    if (enter_object(&call, FAULTY_C_CopyObject, &session, &object))
        call.rv = module.real->C_CopyObject(session, object, template, count, copy);
    if (call.rv == CKR_OK)
        *copy = outer(*copy);
    return leave(&call);
}

static CK_RV faulty_C_DestroyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
    struct call call;
    if (enter_object(&call, FAULTY_C_DestroyObject, &session, &object))
        call.rv = module.real->C_DestroyObject(session, object);
    return leave(&call);
}

static CK_RV faulty_C_GetObjectSize(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                                    CK_ULONG *size)
{
    struct call call;
    if (enter_object(&call, FAULTY_C_GetObjectSize, &session, &object))
        call.rv = module.real->C_GetObjectSize(session, object, size);
    return leave(&call);
}

/* Lies about one value; room is what the caller's buffer has. */
static void falsify(CK_ATTRIBUTE *attribute, CK_ULONG room)
{
    bool sizing = attribute->pValue == NULL;
    if (attribute->ulValueLen == CK_UNAVAILABLE_INFORMATION)
        return;
    if (lies(FAULTY_LIE_ATTRIBUTE_NOISE) && !sizing && attribute->ulValueLen <= 256 &&
        getrandom(attribute->pValue, attribute->ulValueLen, 0) < 0)
        attribute->ulValueLen = 0;
    if (lies(FAULTY_LIE_ATTRIBUTE_LENGTH) && sizing)
        attribute->ulValueLen = HUGE_LENGTH;
    if (lies(FAULTY_LIE_ATTRIBUTE_GROWS) && !sizing)
        attribute->ulValueLen = room + 4096;
    if (lies(FAULTY_LIE_ATTRIBUTE_EMPTY))
        attribute->ulValueLen = 0;
}

/* The real module sees the attributes that the profile knows; the others are "not available". */
static CK_RV get_known(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template,
                       CK_ULONG count)
{
    CK_ATTRIBUTE known[TEMPLATE_MAX] = {{0}};
    CK_ULONG index[TEMPLATE_MAX];
    CK_ULONG room[TEMPLATE_MAX];
    CK_ULONG known_count = 0;
    if (count > TEMPLATE_MAX)
        return CKR_ARGUMENTS_BAD;
    for (CK_ULONG i = 0; i < count; i++) {
        room[i] = template[i].ulValueLen;
        if (faulty_profile_knows(profile(), template[i].type)) {
            index[known_count] = i;
            known[known_count++] = template[i];
        } else {
            template[i].ulValueLen = CK_UNAVAILABLE_INFORMATION;
        }
    }
    CK_RV rv = CKR_OK;
    if (known_count > 0)
        rv = module.real->C_GetAttributeValue(session, object, known, known_count);
    if (lies(FAULTY_LIE_MONTGOMERY))
        faulty_montgomery_from_edwards(module.real, session, object, known, known_count);
    for (CK_ULONG i = 0; i < known_count; i++) {
        template[index[i]] = known[i];
        falsify(&template[index[i]], room[index[i]]);
    }
    return rv == CKR_OK && known_count < count ? CKR_ATTRIBUTE_TYPE_INVALID : rv;
}

/* The rest of the template stays as the caller made it. */
static CK_RV get_until(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template,
                       CK_ULONG count)
{
    CK_RV rv = CKR_OK;
    for (CK_ULONG i = 0; i < count && rv == CKR_OK; i++)
        rv = get_known(session, object, &template[i], 1);
    return rv;
}

static CK_RV faulty_C_GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                                        CK_ATTRIBUTE *template, CK_ULONG count)
{
    struct call call;
    if (enter_object(&call, FAULTY_C_GetAttributeValue, &session, &object))
        call.rv = (lies(FAULTY_LIE_ATTRIBUTE_STOPS) ? get_until : get_known)(session, object,
                                                                             template, count);
    return leave(&call);
}

static CK_RV faulty_C_SetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                                        CK_ATTRIBUTE *template, CK_ULONG count)
{
    struct call call;
    if (enter_object(&call, FAULTY_C_SetAttributeValue, &session, &object))
        call.rv = check_template(template, count);
    if (call.rv == CKR_OK)
        call.rv = module.real->C_SetAttributeValue(session, object, template, count);
    return leave(&call);
}

static CK_RV faulty_C_FindObjectsInit(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template,
                                      CK_ULONG count)
{
    struct call call;
    if (enter_session(&call, FAULTY_C_FindObjectsInit, &session))
        call.rv = check_template(template, count);
    if (call.rv == CKR_OK)
        call.rv = module.real->C_FindObjectsInit(session, template, count);
    return leave(&call);
}

static CK_RV faulty_C_FindObjects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects,
                                  CK_ULONG room, CK_ULONG *count)
{
    struct call call;
    if (!enter_session(&call, FAULTY_C_FindObjects, &session))
        return leave(&call);
    call.rv = module.real->C_FindObjects(session, objects, room, count);
    for (CK_ULONG i = 0; call.rv == CKR_OK && i < *count; i++)
        objects[i] = outer(objects[i]);
    if (call.rv == CKR_OK && lies(FAULTY_LIE_OBJECT_COUNT))
        *count = room + 4096;
    return leave(&call);
}

/* --- key management ----------------------------------------------------------------------------
 */

static CK_RV faulty_C_GenerateKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                                  CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *key)
{
    struct call call;
    if (enter_key(&call, FAULTY_C_GenerateKey, &session, mechanism, CKF_GENERATE, NULL))
        call.rv = check_generation(template, count);
    if (call.rv == CKR_OK)
        call.rv = module.real->C_GenerateKey(session, mechanism, template, count, key);
    if (call.rv == CKR_OK)
        *key = outer(*key);
    return leave(&call);
}

static CK_RV generate_pair(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                           CK_ATTRIBUTE *public_template, CK_ULONG public_count,
                           CK_ATTRIBUTE *private_template, CK_ULONG private_count,
                           CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
    CK_MECHANISM known = {known_as(mechanism->mechanism), mechanism->pParameter,
                          mechanism->ulParameterLen};
    CK_ATTRIBUTE public_copy[TEMPLATE_MAX], private_copy[TEMPLATE_MAX];
    if (public_count > TEMPLATE_MAX || private_count > TEMPLATE_MAX)
        return CKR_ARGUMENTS_BAD;
    memcpy(public_copy, public_template, public_count * sizeof(*public_copy));
    memcpy(private_copy, private_template, private_count * sizeof(*private_copy));
    if (known.mechanism != mechanism->mechanism) {
        faulty_montgomery_to_edwards(public_copy, public_count);
        faulty_montgomery_to_edwards(private_copy, private_count);
    }
    return module.real->C_GenerateKeyPair(session, &known, public_copy, public_count, private_copy,
                                          private_count, public_key, private_key);
}

static CK_RV faulty_C_GenerateKeyPair(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                                      CK_ATTRIBUTE *public_template, CK_ULONG public_count,
                                      CK_ATTRIBUTE *private_template, CK_ULONG private_count,
                                      CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
    struct call call;
    if (enter_key(&call, FAULTY_C_GenerateKeyPair, &session, mechanism, CKF_GENERATE_KEY_PAIR,
                  NULL))
        call.rv = check_template(public_template, public_count);
    if (call.rv == CKR_OK)
        call.rv = check_generation(private_template, private_count);
    if (call.rv == CKR_OK)
        call.rv = generate_pair(session, mechanism, public_template, public_count, private_template,
                                private_count, public_key, private_key);
    if (call.rv == CKR_OK) {
        *public_key = outer(*public_key);
        *private_key = outer(*private_key);
    }
    return leave(&call);
}

static CK_RV faulty_C_WrapKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                              CK_OBJECT_HANDLE wrapping_key, CK_OBJECT_HANDLE key,
                              unsigned char *wrapped, CK_ULONG *size)
{
    struct call call;
    if (enter_key(&call, FAULTY_C_WrapKey, &session, mechanism, CKF_WRAP, &wrapping_key) &&
        !inner(&key))
        call.rv = CKR_KEY_HANDLE_INVALID;
    if (call.rv == CKR_OK)
        call.rv = module.real->C_WrapKey(session, mechanism, wrapping_key, key, wrapped, size);
    return leave(&call);
}

static CK_RV faulty_C_UnwrapKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                                CK_OBJECT_HANDLE unwrapping_key, unsigned char *wrapped,
                                CK_ULONG size, CK_ATTRIBUTE *template, CK_ULONG count,
                                CK_OBJECT_HANDLE *key)
{
    struct call call;
    if (enter_key(&call, FAULTY_C_UnwrapKey, &session, mechanism, CKF_UNWRAP, &unwrapping_key))
        call.rv = module.real->C_UnwrapKey(session, mechanism, unwrapping_key, wrapped, size,
                                           template, count, key);
    if (call.rv == CKR_OK)
        *key = outer(*key);
    return leave(&call);
}

static CK_RV faulty_C_DeriveKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                                CK_OBJECT_HANDLE base_key, CK_ATTRIBUTE *template, CK_ULONG count,
                                CK_OBJECT_HANDLE *key)
{
    struct call call;
    if (enter_key(&call, FAULTY_C_DeriveKey, &session, mechanism, CKF_DERIVE, &base_key))
        call.rv = module.real->C_DeriveKey(session, mechanism, base_key, template, count, key);
    if (call.rv == CKR_OK)
        *key = outer(*key);
    return leave(&call);
}

/* --- operations --------------------------------------------------------------------------------
 */

static CK_RV faulty_C_DigestInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism)
{
    struct call call;
    if (enter_key(&call, FAULTY_C_DigestInit, &session, mechanism, CKF_DIGEST, NULL))
        call.rv = module.real->C_DigestInit(session, mechanism);
    return leave(&call);
}

static CK_RV faulty_C_DigestKey(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
    struct call call;
    if (enter_key(&call, FAULTY_C_DigestKey, &session, NULL, 0, &key))
        call.rv = module.real->C_DigestKey(session, key);
    return leave(&call);
}

static CK_RV faulty_C_Sign(CK_SESSION_HANDLE session, unsigned char *data, CK_ULONG data_size,
                           unsigned char *signature, CK_ULONG *size)
{
    struct call call;
    CK_ULONG room = size == NULL ? 0 : *size;
    if (enter_session(&call, FAULTY_C_Sign, &session))
        call.rv = module.real->C_Sign(session, data, data_size, signature, size);
    if (call.rv == CKR_OK && size != NULL && signature != NULL && lies(FAULTY_LIE_SIGNATURE_LENGTH))
        *size = room + 4096;
    return leave(&call);
}

static CK_RV faulty_C_Decrypt(CK_SESSION_HANDLE session, unsigned char *input, CK_ULONG input_size,
                              unsigned char *output, CK_ULONG *size)
{
    struct call call;
    CK_ULONG room = size == NULL ? 0 : *size;
    if (enter_session(&call, FAULTY_C_Decrypt, &session))
        call.rv = module.real->C_Decrypt(session, input, input_size, output, size);
    if (call.rv == CKR_OK && size != NULL && output != NULL && lies(FAULTY_LIE_DECRYPTED_LENGTH))
        *size = room + 4096;
    return leave(&call);
}

/* The many that only need their session translated: (name, parameters, arguments). */
#define ON_SESSION(name, parameters, arguments)                                                    \
    static CK_RV faulty_##name parameters                                                          \
    {                                                                                              \
        struct call call;                                                                          \
        if (enter_session(&call, FAULTY_##name, &session))                                         \
            call.rv = module.real->name arguments;                                                 \
        return leave(&call);                                                                       \
    }

/* Those that begin an operation with a mechanism and a key. */
#define BEGINS(name, use)                                                                          \
    static CK_RV faulty_##name(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,                 \
                               CK_OBJECT_HANDLE key)                                               \
    {                                                                                              \
        struct call call;                                                                          \
        if (enter_key(&call, FAULTY_##name, &session, mechanism, use, &key))                       \
            call.rv = module.real->name(session, mechanism, key);                                  \
        return leave(&call);                                                                       \
    }

/* Those with bytes in, bytes out. */
#define IN_OUT(name)                                                                               \
    ON_SESSION(name,                                                                               \
               (CK_SESSION_HANDLE session, unsigned char *input, CK_ULONG input_size,              \
                unsigned char *output, CK_ULONG *size),                                            \
               (session, input, input_size, output, size))
#define IN(name)                                                                                   \
    ON_SESSION(name, (CK_SESSION_HANDLE session, unsigned char *input, CK_ULONG input_size),       \
               (session, input, input_size))
#define OUT(name)                                                                                  \
    ON_SESSION(name, (CK_SESSION_HANDLE session, unsigned char *output, CK_ULONG *size),           \
               (session, output, size))
#define TWO_IN(name)                                                                               \
    ON_SESSION(name,                                                                               \
               (CK_SESSION_HANDLE session, unsigned char *first, CK_ULONG first_size,              \
                unsigned char *second, CK_ULONG second_size),                                      \
               (session, first, first_size, second, second_size))
#define BARE(name) ON_SESSION(name, (CK_SESSION_HANDLE session), (session))

IN(C_InitPIN)
TWO_IN(C_SetPIN)
ON_SESSION(C_GetSessionInfo, (CK_SESSION_HANDLE session, CK_SESSION_INFO *info), (session, info))
OUT(C_GetOperationState)
ON_SESSION(C_SetOperationState,
           (CK_SESSION_HANDLE session, unsigned char *state, CK_ULONG size,
            CK_OBJECT_HANDLE encryption_key, CK_OBJECT_HANDLE authentication_key),
           (session, state, size, encryption_key, authentication_key))
BARE(C_Logout)
BARE(C_FindObjectsFinal)
/* As AWS CloudHSM and others: the IV's buffer must come zeroed, and the HSM fills it. */
static CK_RV own_iv(CK_MECHANISM *mechanism)
{
    CK_GCM_PARAMS *gcm = mechanism->pParameter;

    for (CK_ULONG i = 0; i < gcm->ulIvLen; i++)
        if (gcm->pIv[i] != 0)
            return CKR_MECHANISM_PARAM_INVALID;
    if (getrandom(gcm->pIv, gcm->ulIvLen, 0) != (ssize_t)gcm->ulIvLen)
        return CKR_GENERAL_ERROR;
    return CKR_OK;
}

static CK_RV faulty_C_EncryptInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                                  CK_OBJECT_HANDLE key)
{
    struct call call;
    if (enter_key(&call, FAULTY_C_EncryptInit, &session, mechanism, CKF_ENCRYPT, &key)) {
        if (mechanism != NULL && mechanism->mechanism == CKM_AES_GCM && lies(FAULTY_LIE_OWN_IV))
            call.rv = own_iv(mechanism);
        if (call.rv == CKR_OK)
            call.rv = module.real->C_EncryptInit(session, mechanism, key);
    }
    return leave(&call);
}

IN_OUT(C_Encrypt)
IN_OUT(C_EncryptUpdate)
OUT(C_EncryptFinal)
BEGINS(C_DecryptInit, CKF_DECRYPT)
IN_OUT(C_DecryptUpdate)
OUT(C_DecryptFinal)
IN_OUT(C_Digest)
IN(C_DigestUpdate)
OUT(C_DigestFinal)
BEGINS(C_SignInit, CKF_SIGN)
IN(C_SignUpdate)
OUT(C_SignFinal)
BEGINS(C_SignRecoverInit, CKF_SIGN_RECOVER)
IN_OUT(C_SignRecover)
BEGINS(C_VerifyInit, CKF_VERIFY)
TWO_IN(C_Verify)
IN(C_VerifyUpdate)
IN(C_VerifyFinal)
BEGINS(C_VerifyRecoverInit, CKF_VERIFY_RECOVER)
IN_OUT(C_VerifyRecover)
IN_OUT(C_DigestEncryptUpdate)
IN_OUT(C_DecryptDigestUpdate)
IN_OUT(C_SignEncryptUpdate)
IN_OUT(C_DecryptVerifyUpdate)
IN(C_SeedRandom)
IN(C_GenerateRandom)
BARE(C_GetFunctionStatus)
BARE(C_CancelFunction)

/* --- the list ----------------------------------------------------------------------------------
 */

#define FAULTY_ENTRY(name) .name = faulty_##name,
static CK_FUNCTION_LIST faulty_list = {.version = {2, 40}, FAULTY_FUNCTIONS(FAULTY_ENTRY)};

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    pthread_once(&module.once, load);
    if (module.control == NULL)
        return CKR_GENERAL_ERROR;
    atomic_fetch_add(&module.control->functions[FAULTY_C_GetFunctionList].calls, 1);
    *list = &faulty_list;
    return CKR_OK;
}
