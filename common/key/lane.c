/* SPDX-License-Identifier: Apache-2.0 */
/* This process's executor lanes, one per custodian. */
#include "common/key/context.h"

#include <pthread.h>
#include <stdlib.h>

struct lane_entry {
    struct lane_entry *next;
    uint64_t custodian;
    struct kyok_lane *lane;
};

struct key_state {
    pthread_mutex_t lock;
    struct lane_entry *lanes;
};

static void *create(void)
{
    struct key_state *state = calloc(1, sizeof(*state));

    if (state != NULL)
        pthread_mutex_init(&state->lock, NULL);
    return state;
}

static struct lane_entry *new_entry(const struct kyok_custodian *custodian)
{
    struct lane_entry *entry = calloc(1, sizeof(*entry));

    if (entry == NULL)
        return NULL;
    entry->custodian = custodian->serial;
    entry->lane = kyok_lane_new(custodian->name);
    if (entry->lane != NULL)
        return entry;
    free(entry);
    return NULL;
}

struct kyok_lane *kyok_custodian_lane(const struct kyok_custodian *custodian)
{
    struct key_state *state = kyok_process_state(KYOK_PROCESS_KEY, create, free);
    struct lane_entry *entry;

    if (state == NULL)
        return NULL;
    pthread_mutex_lock(&state->lock);
    for (entry = state->lanes; entry != NULL && entry->custodian != custodian->serial;)
        entry = entry->next;
    if (entry == NULL && (entry = new_entry(custodian)) != NULL) {
        entry->next = state->lanes;
        state->lanes = entry;
    }
    pthread_mutex_unlock(&state->lock);
    return entry == NULL ? NULL : entry->lane;
}

struct kyok_deadline kyok_custodian_deadline(const struct kyok_custodian *custodian)
{
    unsigned override = kyok_work_timeout_ms();

    return kyok_deadline_in_ms(override != 0 ? override : custodian->timeout_ms);
}
