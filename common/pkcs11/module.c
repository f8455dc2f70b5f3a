/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pkcs11/live.h"
#include "common/pkcs11/state.h"

#include <dlfcn.h>
#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef KYOK_MODULE_DIRECTORY
#define KYOK_MODULE_DIRECTORY "/usr/lib/x86_64-linux-gnu/pkcs11"
#endif

/* Between two looks for a token that another process may be writing. */
#define PAUSE_MS 50

static _Thread_local unsigned inside;

bool kyok_inside_module(void)
{
    return inside > 0;
}

/* --- loading --- */

void kyok_condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static enum kyok_status module_open(struct kyok_module *module, struct kyok_error *err)
{
    CK_C_GetFunctionList get_list;
    struct stat file;
    CK_RV rv;

    /* A pipe or a device would hold the caller in dlopen() for ever. */
    if (stat(module->path, &file) == 0 && !S_ISREG(file.st_mode)) {
        kyok_fail(err, KYOK_INVALID, module->path, "is no PKCS#11 module: it is no regular file");
        return kyok_remedy(err, "name the vendor's PKCS#11 library");
    }
    module->library = dlopen(module->path, RTLD_NOW | RTLD_LOCAL);
    if (module->library == NULL) {
        kyok_fail(err, KYOK_INVALID, module->path, "cannot load the PKCS#11 module");
        kyok_because(err, "%s", dlerror());
        return kyok_remedy(err, "check the module's path and that its own libraries are installed");
    }
    get_list = (CK_C_GetFunctionList)dlsym(module->library, "C_GetFunctionList");
    if (get_list == NULL) {
        kyok_fail(err, KYOK_INVALID, module->path,
                  "is no PKCS#11 module: it has no "
                  "C_GetFunctionList");
        return kyok_remedy(err, "name the vendor's PKCS#11 library");
    }
    rv = get_list(&module->f);
    if (rv != CKR_OK || module->f == NULL)
        return kyok_rv_fail(err, rv, module->path, "C_GetFunctionList failed");
    if (module->f->version.major < 2)
        return kyok_fail(err, KYOK_UNSUPPORTED, module->path, "PKCS#11 version %u.%u is too old",
                         module->f->version.major, module->f->version.minor);
    kyok_module_await_exit();
    return KYOK_OK;
}

static void module_free(struct kyok_module *module)
{
    if (module->library != NULL)
        dlclose(module->library);
    free(module->path);
    free(module->init_args);
    free(module);
}

static struct kyok_module *module_new(const char *path, const char *init_args)
{
    struct kyok_module *module = calloc(1, sizeof(*module));

    if (module == NULL)
        return NULL;
    /* A bare name is looked for where p11-kit keeps modules. */
    if (strchr(path, '/') == NULL &&
        asprintf(&module->path, "%s/%s", KYOK_MODULE_DIRECTORY, path) < 0)
        module->path = NULL;
    else if (strchr(path, '/') != NULL)
        module->path = strdup(path);
    module->init_args = init_args == NULL ? NULL : strdup(init_args);
    pthread_mutex_init(&module->lock, NULL);
    kyok_condition_init(&module->changed);
    module->epoch = 1;
    return module;
}

bool kyok_module_is_named(const struct kyok_module *module, const char *path)
{
    const size_t folder = sizeof(KYOK_MODULE_DIRECTORY);

    if (strchr(path, '/') != NULL)
        return strcmp(module->path, path) == 0;
    /* A bare name means the one file where p11-kit keeps modules, not its namesakes elsewhere. */
    return strncmp(module->path, KYOK_MODULE_DIRECTORY "/", folder) == 0 &&
           strcmp(module->path + folder, path) == 0;
}

enum kyok_status kyok_module_get(const char *path, const char *init_args,
                                 struct kyok_module **module, struct kyok_error *err)
{
    struct kyok_pkcs11_state *state = kyok_pkcs11_state();
    struct kyok_module *fresh;
    enum kyok_status status = KYOK_OK;

    if (state == NULL)
        return kyok_fail(err, KYOK_SYSTEM, path, "no memory");
    pthread_mutex_lock(&state->lock);
    for (*module = state->modules; *module != NULL; *module = (*module)->next) {
        if (kyok_module_is_named(*module, path))
            break;
    }
    if (*module == NULL) {
        fresh = module_new(path, init_args);
        inside++; /* its constructors may ask libcrypto for random numbers */
        if (fresh == NULL || fresh->path == NULL)
            status = kyok_fail(err, KYOK_SYSTEM, path, "no memory");
        else
            status = module_open(fresh, err);
        inside--;
        if (status == KYOK_OK) {
            fresh->next = state->modules;
            state->modules = *module = fresh;
        } else if (fresh != NULL) {
            module_free(fresh);
        }
    }
    pthread_mutex_unlock(&state->lock);
    return status;
}

/* --- being inside ------------------------------------------------------------------------------
 */

bool kyok_module_wait(struct kyok_module *module, pthread_cond_t *condition,
                      struct kyok_deadline deadline)
{
    struct timespec until;

    if (deadline.at_ns == INT64_MAX)
        return pthread_cond_wait(condition, &module->lock) == 0;
    until = kyok_deadline_timespec(deadline);
    return pthread_cond_timedwait(condition, &module->lock, &until) != ETIMEDOUT;
}

/* p11-kit's remote client dies of SIGPIPE when its server is killed. */
static void block_sigpipe(struct kyok_guard *guard)
{
    sigset_t pipe_only;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    guard->blocked = pthread_sigmask(SIG_BLOCK, &pipe_only, &guard->before) == 0 &&
                     !sigismember(&guard->before, SIGPIPE);
}

static void unblock_sigpipe(struct kyok_guard *guard)
{
    struct timespec now = {0, 0};
    sigset_t pipe_only, pending;

    if (!guard->blocked)
        return;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    if (sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE))
        sigtimedwait(&pipe_only, NULL, &now);
    pthread_sigmask(SIG_SETMASK, &guard->before, NULL);
}

bool kyok_module_enter(struct kyok_module *module, struct kyok_guard *guard,
                       struct kyok_deadline deadline)
{
    bool entered = true;

    pthread_mutex_lock(&module->lock);
    while (module->restarting && !module->leaving && entered)
        entered = kyok_module_wait(module, &module->changed, deadline);
    entered = !module->restarting && !module->leaving;
    if (entered)
        module->calls++;
    pthread_mutex_unlock(&module->lock);
    if (!entered)
        return false;
    guard->module = module;
    block_sigpipe(guard);
    ERR_set_mark();
    inside++;
    return true;
}

void kyok_module_leave(struct kyok_guard *guard)
{
    struct kyok_module *module = guard->module;

    inside--;
    ERR_pop_to_mark();
    unblock_sigpipe(guard);
    pthread_mutex_lock(&module->lock);
    module->calls--;
    if (module->calls == 0 && (module->restarting || module->leaving))
        pthread_cond_broadcast(&module->changed);
    pthread_mutex_unlock(&module->lock);
}

/* --- initialising --------------------------------------------------------------------------------
 */

static CK_RV initialise(struct kyok_module *module, bool *ours)
{
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK, .pReserved = module->init_args};
    CK_RV rv = module->f->C_Initialize(&arguments);

    *ours = rv == CKR_OK;
    if (rv == CKR_CRYPTOKI_ALREADY_INITIALIZED)
        rv = CKR_OK; /* somebody else in this process did; it is theirs to finalise */
    if (rv == CKR_OK && module->f->C_GetInfo(&module->info) != CKR_OK)
        memset(&module->info, 0, sizeof(module->info));
    return rv;
}

/* Adds and updates tokens; slots are asked without the lock. */
static void note_token(struct kyok_module *module, CK_SLOT_ID slot)
{
    struct kyok_token *token;
    CK_TOKEN_INFO info;
    CK_SLOT_INFO slot_info;

    if (module->f->C_GetTokenInfo(slot, &info) != CKR_OK || !(info.flags & CKF_TOKEN_INITIALIZED))
        return;
    if (module->f->C_GetSlotInfo(slot, &slot_info) != CKR_OK)
        memset(&slot_info, ' ', sizeof(slot_info));
    pthread_mutex_lock(&module->lock);
    for (token = module->tokens; token != NULL && !kyok_token_same(token, &info);)
        token = token->next;
    if (token == NULL && (token = kyok_token_new(module, &info)) != NULL) {
        kyok_condition_init(&token->changed);
        token->next = module->tokens;
        module->tokens = token;
    }
    if (token != NULL)
        kyok_token_update(token, slot, &info, &slot_info);
    pthread_mutex_unlock(&module->lock);
}

static CK_RV scan(struct kyok_module *module)
{
    CK_SLOT_ID slots[KYOK_TOKENS_PER_MODULE];
    CK_ULONG count = KYOK_TOKENS_PER_MODULE;
    struct kyok_token *token;
    CK_RV rv;

    /* The first call with NULL makes a module look for changed slots (PKCS#11 2.40 5.5). */
    rv = module->f->C_GetSlotList(CK_TRUE, NULL, &count);
    if (rv != CKR_OK)
        return rv;
    count = KYOK_TOKENS_PER_MODULE;
    rv = module->f->C_GetSlotList(CK_TRUE, slots, &count);
    if (rv != CKR_OK)
        return rv;
    pthread_mutex_lock(&module->lock);
    for (token = module->tokens; token != NULL; token = token->next)
        token->seen = false;
    pthread_mutex_unlock(&module->lock);
    for (CK_ULONG i = 0; i < count && i < KYOK_TOKENS_PER_MODULE; i++)
        note_token(module, slots[i]);
    /* Other groups look at the tokens meanwhile: none may be away for a moment. */
    pthread_mutex_lock(&module->lock);
    for (token = module->tokens; token != NULL; token = token->next)
        token->present = token->seen;
    module->scanned_ns = kyok_now_ns();
    pthread_mutex_unlock(&module->lock);
    return CKR_OK;
}

/* A worker that has dropped its privileges is the usual reason, and modules do not say so. */
static enum kyok_status start_failed(struct kyok_module *module, CK_RV rv, struct kyok_error *err)
{
    kyok_rv_fail(err, rv, module->path, "C_Initialize failed");
    return kyok_remedy(err, "check that user %u may read what the module reads; see its own log",
                       (unsigned)geteuid());
}

static enum kyok_status start(struct kyok_module *module, struct kyok_error *err)
{
    struct kyok_guard guard;
    bool ours = false;
    CK_RV rv = CKR_FUNCTION_CANCELED;

    if (kyok_module_enter(module, &guard, kyok_deadline_never())) {
        rv = initialise(module, &ours);
        kyok_module_leave(&guard);
    }
    pthread_mutex_lock(&module->lock);
    module->state = rv == CKR_OK ? KYOK_MODULE_READY : KYOK_MODULE_COLD;
    module->ours = ours;
    pthread_cond_broadcast(&module->changed);
    pthread_mutex_unlock(&module->lock);
    return rv == CKR_OK ? KYOK_OK : start_failed(module, rv, err);
}

/* However it ended: others wait for it. */
static void scan_ended(struct kyok_module *module)
{
    pthread_mutex_lock(&module->lock);
    module->scanning = false;
    pthread_cond_broadcast(&module->changed);
    pthread_mutex_unlock(&module->lock);
}

static enum kyok_status scan_once(struct kyok_module *module, struct kyok_deadline deadline,
                                  struct kyok_error *err)
{
    struct kyok_guard guard;
    CK_RV rv;

    if (!kyok_module_enter(module, &guard, deadline)) {
        scan_ended(module);
        return kyok_fail(err, KYOK_TIMEOUT, module->path, "the module is being restarted");
    }
    rv = scan(module);
    kyok_module_leave(&guard);
    scan_ended(module);
    return rv == CKR_OK ? KYOK_OK : kyok_rv_fail(err, rv, module->path, "C_GetSlotList failed");
}

enum kyok_status kyok_module_ready(struct kyok_module *module, bool again,
                                   struct kyok_deadline deadline, struct kyok_error *err)
{
    bool waited = true, must_start, must_scan;

    pthread_mutex_lock(&module->lock);
    while (waited && (module->state == KYOK_MODULE_STARTING || module->scanning))
        waited = kyok_module_wait(module, &module->changed, deadline);
    must_start = waited && module->state == KYOK_MODULE_COLD;
    must_scan = waited && (must_start || again || module->scanned_ns == 0);
    if (must_start)
        module->state = KYOK_MODULE_STARTING;
    if (must_scan)
        module->scanning = true;
    pthread_mutex_unlock(&module->lock);
    if (!waited)
        return kyok_fail(err, KYOK_TIMEOUT, module->path, "the module does not answer");
    if (must_start && start(module, err) != KYOK_OK) {
        scan_ended(module);
        return err->status;
    }
    return must_scan ? scan_once(module, deadline, err) : KYOK_OK;
}

/* --- the module rung ---------------------------------------------------------------------------
 */

static bool may_restart(const struct kyok_module *module, const struct kyok_token *lost)
{
    if (!module->ours)
        return false;
    for (const struct kyok_token *token = module->tokens; token != NULL; token = token->next) {
        if (token != lost && token->health == KYOK_HEALTHY &&
            (token->open > 0 || token->leased > 0))
            return false;
    }
    return true;
}

static bool claim_restart(struct kyok_module *module, const struct kyok_token *lost, uint64_t epoch,
                          struct kyok_deadline deadline, bool *done_by_other)
{
    bool waited = true;

    while (module->restarting && waited)
        waited = kyok_module_wait(module, &module->changed, deadline);
    *done_by_other = module->epoch != epoch;
    if (*done_by_other || module->restarting || !may_restart(module, lost))
        return false;
    module->restarting = true;
    while (module->calls > 0 && waited)
        waited = kyok_module_wait(module, &module->changed, deadline);
    if (module->calls == 0 && !module->leaving)
        return true;
    module->restarting = false; /* a call hangs inside: finalising under it would be undefined */
    pthread_cond_broadcast(&module->changed);
    return false;
}

bool kyok_module_restart(struct kyok_module *module, const struct kyok_token *lost, uint64_t epoch,
                         struct kyok_deadline deadline)
{
    struct kyok_guard guard = {.module = module};
    bool done_by_other, claimed;
    CK_RV rv;

    pthread_mutex_lock(&module->lock);
    claimed = claim_restart(module, lost, epoch, deadline, &done_by_other);
    pthread_mutex_unlock(&module->lock);
    if (!claimed)
        return done_by_other;

    block_sigpipe(&guard);
    ERR_set_mark();
    inside++;
    module->f->C_Finalize(NULL);
    rv = initialise(module, &module->ours);
    if (rv == CKR_OK)
        rv = scan(module);
    inside--;
    ERR_pop_to_mark();
    unblock_sigpipe(&guard);

    pthread_mutex_lock(&module->lock);
    module->restarting = false;
    module->epoch++;
    if (rv != CKR_OK)
        module->state = KYOK_MODULE_COLD;
    for (struct kyok_token *token = module->tokens; token != NULL; token = token->next)
        kyok_token_forget(token);
    pthread_cond_broadcast(&module->changed);
    pthread_mutex_unlock(&module->lock);
    return rv == CKR_OK;
}

bool kyok_module_look_anew(struct kyok_module *module, bool again, struct kyok_deadline deadline)
{
    struct kyok_deadline pause = kyok_deadline_sooner(kyok_deadline_in_ms(PAUSE_MS), deadline);
    uint64_t epoch;
    bool due;

    pthread_mutex_lock(&module->lock);
    if (again)
        (void)kyok_module_wait(module, &module->changed, pause);
    epoch = module->epoch;
    due = module->ours && module->state == KYOK_MODULE_READY && !kyok_deadline_passed(deadline) &&
          (again || module->looked_anew_ns == 0 ||
           kyok_now_ns() - module->looked_anew_ns > KYOK_DISCOVER_NS);
    if (due)
        module->looked_anew_ns = kyok_now_ns();
    pthread_mutex_unlock(&module->lock);
    return due && kyok_module_restart(module, NULL, epoch, deadline);
}
