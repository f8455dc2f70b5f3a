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
#include "tests/support/faulty_self.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct faulty_self faulty_self = {.once = PTHREAD_ONCE_INIT, .lock = PTHREAD_RWLOCK_INITIALIZER};

static void after_fork_in_child(void)
{
    /* A thread that this process lacks may have held it. */
    pthread_rwlock_init(&faulty_self.lock, NULL);
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
    faulty_self.real = load_real(path);
    if (faulty_self.real == NULL)
        return;
    pthread_atfork(NULL, NULL, after_fork_in_child);
    faulty_self.control = control;
}

#define FAULTY_ENTRY(name) .name = faulty_##name,
static CK_FUNCTION_LIST faulty_list = {.version = {2, 40}, FAULTY_FUNCTIONS(FAULTY_ENTRY)};

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    pthread_once(&faulty_self.once, load);
    if (faulty_self.control == NULL)
        return CKR_GENERAL_ERROR;
    atomic_fetch_add(&faulty_self.control->functions[FAULTY_C_GetFunctionList].calls, 1);
    *list = &faulty_list;
    return CKR_OK;
}

CK_RV faulty_C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    return C_GetFunctionList(list);
}
