/* SPDX-License-Identifier: Apache-2.0 */
/* The three ways in which a caller waits for a job in a lane. */
#include "common/work/internal.h"

#include <errno.h>

/* Resumptions without a result after which a paused job blocks instead: a host that resumes at
 * every event of its socket is far below, one that has forbidden pauses (ASYNC_block_pause()) would
 * spin. */
#define PAUSES_IN_VAIN 1000

enum kyok_status kyok_wait_blocking(struct kyok_job *job, struct kyok_error *err)
{
    job->notify = KYOK_NOTIFY_THREAD;
    KYOK_TRY(kyok_lane_put(job->lane, job, err));
    kyok_lane_wait(job->lane, job);
    return kyok_lane_leave(job->lane, job, KYOK_WAIT_TIMEOUT, err);
}

enum kyok_status kyok_wait_in_fiber(const struct kyok_wait_hook *hook, struct kyok_job *job,
                                    struct kyok_error *err)
{
    struct kyok_work *work = job->lane->work;
    struct kyok_error_queue *errors;
    enum kyok_wait_result result;
    int saved_errno = errno;

    job->notify = KYOK_NOTIFY_FIBER;
    KYOK_TRY(kyok_lane_put(job->lane, job, err));
    errors = kyok_error_queue_take();
    atomic_fetch_add(&work->suspended, 1);
    result = hook->suspend(hook->host, job, job->deadline);
    atomic_fetch_sub(&work->suspended, 1);
    kyok_error_queue_put_back(errors);
    errno = saved_errno;
    return kyok_lane_leave(job->lane, job, result, err);
}

/* True when the host has been told to wait. */
static bool pause_until_finished(struct kyok_job *job, struct kyok_async_fd *fd)
{
    bool paused = false;
    unsigned pauses;

    for (pauses = 0; !kyok_lane_finished(job->lane, job); pauses++) {
        if (kyok_deadline_passed(job->deadline))
            return paused;
        if (pauses >= PAUSES_IN_VAIN || ASYNC_pause_job() == 0)
            kyok_async_fd_poll(fd, job->deadline);
        else
            paused = true;
    }
    return paused;
}

enum kyok_status kyok_wait_in_async_job(ASYNC_JOB *async, struct kyok_job *job,
                                        struct kyok_error *err)
{
    struct kyok_work *work = job->lane->work;
    ASYNC_WAIT_CTX *context = ASYNC_get_wait_ctx(async);
    bool fresh, paused = false;
    struct kyok_async_fd *fd = kyok_async_fd_of(work, context, &fresh);
    struct kyok_error_queue *errors;
    int saved_errno = errno;
    enum kyok_status status;

    if (fd == NULL)
        return kyok_wait_blocking(job, err);
    job->notify = KYOK_NOTIFY_ASYNC;
    job->async_fd = fd;
    kyok_async_fd_arm(fd, job);
    status = kyok_lane_put(job->lane, job, err);
    if (status == KYOK_OK) {
        errors = kyok_error_queue_take();
        atomic_fetch_add(&work->suspended, 1);
        paused = pause_until_finished(job, fd);
        atomic_fetch_sub(&work->suspended, 1);
        kyok_error_queue_put_back(errors);
        status = kyok_lane_leave(job->lane, job, KYOK_WAIT_TIMEOUT, err);
    }
    /* haproxy 2.6 aborts at closing when the context holds a descriptor that it never waited for.
     */
    if (fresh && !paused)
        kyok_async_fd_withdraw(context, fd);
    else
        kyok_async_fd_disarm(fd);
    errno = saved_errno;
    return status;
}
