/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a host process: no job begins any more, and calls that run get a while to return. Exit
 * handlers (libcrypto's, a module's destructors) would pull the ground from under such a call. */
#include "common/work/internal.h"

static void begin(struct kyok_lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    lane->ended = true;
    pthread_cond_broadcast(&lane->more);
    pthread_mutex_unlock(&lane->lock);
}

static bool is_running(const struct kyok_lane *lane)
{
    const struct kyok_executor *executor = lane->executors;

    while (executor != NULL && executor->job == NULL)
        executor = executor->next;
    return executor != NULL;
}

static bool wait_for(struct kyok_lane *lane, struct kyok_deadline deadline)
{
    struct timespec until = kyok_deadline_timespec(deadline);
    bool running;
    int rc = 0;

    pthread_mutex_lock(&lane->lock);
    while ((running = is_running(lane)) && rc == 0)
        rc = pthread_cond_timedwait(&lane->returned, &lane->lock, &until);
    pthread_mutex_unlock(&lane->lock);
    return !running;
}

bool kyok_work_end(struct kyok_deadline deadline)
{
    struct kyok_work *work = kyok_work_state();
    bool all = true;

    if (work == NULL)
        return true;
    for (struct kyok_lane *lane = atomic_load(&work->lanes); lane != NULL; lane = lane->next_lane)
        begin(lane);
    for (struct kyok_lane *lane = atomic_load(&work->lanes); lane != NULL; lane = lane->next_lane)
        all = wait_for(lane, deadline) && all;
    return all;
}
