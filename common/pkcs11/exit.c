/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of the process. A module's destructors run in exit() while executor threads may be inside
 * it (a probe of a lost member, an operation that nobody waits for any more), and it crashes then.
 * So exit() waits a moment for those threads, and lets none in after. It calls nothing of the
 * module.
 */
#include "common/pkcs11/live.h"
#include "common/pkcs11/state.h"

#include <stdlib.h>

/* A call that hangs must not keep the program from ending. */
#define LEAVE_MS 1000

static void wait_until_empty(struct kyok_module *module, struct kyok_deadline deadline)
{
    bool waited = true;

    pthread_mutex_lock(&module->lock);
    module->leaving = true;
    pthread_cond_broadcast(&module->changed);
    while ((module->calls > 0 || module->restarting) && waited)
        waited = kyok_module_wait(module, &module->changed, deadline);
    pthread_mutex_unlock(&module->lock);
}

static void leave(void)
{
    struct kyok_deadline deadline = kyok_deadline_in_ms(LEAVE_MS);
    struct kyok_pkcs11_state *state = kyok_pkcs11_state();
    struct kyok_module *module;

    /* Held over the loading of a module, which may itself be what ends the process. */
    if (kyok_inside_module() || state == NULL || pthread_mutex_trylock(&state->lock) != 0)
        return;
    module = state->modules;
    pthread_mutex_unlock(&state->lock);
    for (; module != NULL; module = module->next)
        wait_until_empty(module, deadline);
}

/* Handlers run in reverse order: what is registered after a module was loaded runs before its
 * destructors. */
void kyok_module_await_exit(void)
{
    (void)atexit(leave);
}
