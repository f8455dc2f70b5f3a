/* SPDX-License-Identifier: Apache-2.0 */
#include "common/work/internal.h"

#include <stdlib.h>

static void *create(void)
{
    struct kyok_work *work = calloc(1, sizeof(*work));

    if (work == NULL)
        return NULL;
    work->generation = kyok_process_generation();
    work->done_fd = -1;
    pthread_mutex_init(&work->done_lock, NULL);
    pthread_mutex_init(&work->pool_lock, NULL);
    return work;
}

static void discard(void *state)
{
    struct kyok_work *work = state;

    pthread_mutex_destroy(&work->done_lock);
    pthread_mutex_destroy(&work->pool_lock);
    free(work);
}

struct kyok_work *kyok_work_state(void)
{
    return kyok_process_state(KYOK_PROCESS_WORK, create, discard);
}

void kyok_work_configure(const struct kyok_work_settings *settings)
{
    struct kyok_work *work = kyok_work_state();

    if (work == NULL)
        return;
    atomic_store(&work->threads, settings->threads);
    atomic_store(&work->max_inflight, settings->max_inflight);
    atomic_store(&work->timeout_ms, settings->timeout_ms);
    atomic_store(&work->isolate, settings->isolate);
}

bool kyok_work_isolates(void)
{
    struct kyok_work *work = kyok_work_state();

    return work != NULL && atomic_load(&work->isolate);
}

unsigned kyok_work_timeout_ms(void)
{
    struct kyok_work *work = kyok_work_state();

    return work == NULL ? 0 : atomic_load(&work->timeout_ms);
}

unsigned kyok_work_thread_limit(const struct kyok_work *work)
{
    unsigned threads = atomic_load(&work->threads);

    return threads != 0 ? threads : KYOK_WORK_THREADS;
}

enum kyok_status kyok_work_admit(struct kyok_work *work, const struct kyok_job *job,
                                 struct kyok_error *err)
{
    unsigned limit = atomic_load(&work->max_inflight);

    if (atomic_fetch_add(&work->in_flight, 1) < limit || limit == 0)
        return KYOK_OK;
    kyok_work_leave(work);
    atomic_fetch_add(&work->refused, 1);
    kyok_fail(err, KYOK_BUSY, NULL, "%s refused: %u operations are in flight", job->type->name,
              limit);
    return kyok_remedy(err, "raise the limit of operations in flight, or the custodian's capacity");
}

void kyok_work_leave(struct kyok_work *work)
{
    atomic_fetch_sub(&work->in_flight, 1);
}

void kyok_work_count(struct kyok_work *work, enum kyok_status status)
{
    if (status == KYOK_TIMEOUT)
        atomic_fetch_add(&work->timeouts, 1);
    if (status == KYOK_CANCELLED)
        atomic_fetch_add(&work->cancellations, 1);
}

void kyok_work_set_hook(const struct kyok_wait_hook *hook)
{
    struct kyok_work *work = kyok_work_state();

    if (work != NULL)
        atomic_store(&work->hook, hook);
}

bool kyok_work_can_suspend(void)
{
    struct kyok_work *work = kyok_work_state();
    const struct kyok_wait_hook *hook;

    if (work == NULL || kyok_in_executor())
        return false;
    if (ASYNC_get_current_job() != NULL)
        return true;
    hook = atomic_load(&work->hook);
    return hook != NULL && hook->can_suspend(hook->host);
}

void kyok_work_figures(struct kyok_work_figures *figures)
{
    struct kyok_work *work = kyok_work_state();
    struct kyok_lane *lane;

    *figures = (struct kyok_work_figures){0};
    if (work == NULL)
        return;
    figures->in_flight = atomic_load(&work->in_flight);
    figures->suspended = atomic_load(&work->suspended);
    figures->timeouts = atomic_load(&work->timeouts);
    figures->cancellations = atomic_load(&work->cancellations);
    figures->refused = atomic_load(&work->refused);
    for (lane = atomic_load(&work->lanes); lane != NULL; lane = lane->next_lane)
        kyok_lane_figures(lane, figures);
}
