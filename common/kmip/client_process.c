/* SPDX-License-Identifier: Apache-2.0 */
#include "common/kmip/client_process.h"

#include "common/base/process.h"

#include <stdlib.h>

static void *process_create(void)
{
    struct kyok_kmip_process *process = calloc(1, sizeof *process);

    if (process != NULL)
        pthread_mutex_init(&process->lock, NULL);
    return process;
}

static void process_discard(void *state)
{
    struct kyok_kmip_process *process = state;

    pthread_mutex_destroy(&process->lock);
    free(process);
}

struct kyok_kmip_process *kyok_kmip_process(void)
{
    return kyok_process_state(KYOK_PROCESS_KMIP, process_create, process_discard);
}
