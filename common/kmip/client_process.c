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

static struct kyok_secret *take_spare(struct kyok_kmip_process *process)
{
    struct kyok_secret *memory = NULL;

    pthread_mutex_lock(&process->lock);
    if (process->spare_count > 0)
        memory = process->spare[--process->spare_count];
    pthread_mutex_unlock(&process->lock);
    return memory;
}

struct kyok_secret *kyok_kmip_memory_take(size_t size)
{
    struct kyok_kmip_process *process = kyok_kmip_process();

    if (process == NULL || size > KYOK_KMIP_SPARE_SIZE)
        return kyok_secret_new(size);
    struct kyok_secret *memory = take_spare(process);
    return memory != NULL ? memory : kyok_secret_new(KYOK_KMIP_SPARE_SIZE);
}

static bool keep_spare(struct kyok_kmip_process *process, struct kyok_secret *memory)
{
    pthread_mutex_lock(&process->lock);
    bool kept = process->spare_count < KYOK_KMIP_SPARE;
    if (kept)
        process->spare[process->spare_count++] = memory;
    pthread_mutex_unlock(&process->lock);
    return kept;
}

/* A reply that a parent process left in a child is locked no more: it is kept no longer either. */
void kyok_kmip_memory_give(struct kyok_secret *memory, size_t used)
{
    struct kyok_kmip_process *process = kyok_kmip_process();

    if (memory == NULL)
        return;
    if (process != NULL && kyok_secret_size(memory) == KYOK_KMIP_SPARE_SIZE) {
        kyok_wipe(kyok_secret_data(memory), used);
        kyok_secret_relock(memory);
        if (keep_spare(process, memory))
            return;
    }
    kyok_secret_free(memory);
}
