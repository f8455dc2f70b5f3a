/* SPDX-License-Identifier: Apache-2.0 */
#include "common/key/key.h"

#include <stdatomic.h>

/* Set by the host before it forks and read by its children, so not in the process object. */
static _Atomic(struct kyok_context *) host_context;

void kyok_context_set_host(struct kyok_context *context)
{
    atomic_store(&host_context, context);
}

struct kyok_context *kyok_context_host(void)
{
    return atomic_load(&host_context);
}
