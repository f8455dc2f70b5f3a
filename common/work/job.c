/* SPDX-License-Identifier: Apache-2.0 */
#include "common/work/internal.h"

#include <errno.h>
#include <stdlib.h>

struct kyok_job *kyok_job_new(const struct kyok_job_type *type)
{
    struct kyok_job *job = calloc(1, offsetof(struct kyok_job, body) + type->body_size);
    pthread_condattr_t monotonic;

    if (job == NULL)
        return NULL;
    job->type = type;
    atomic_init(&job->references, 1);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&job->finished, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return job;
}

void *kyok_job_body(struct kyok_job *job)
{
    return job->body;
}

void kyok_job_unref(struct kyok_job *job)
{
    if (atomic_fetch_sub(&job->references, 1) != 1)
        return;
    if (job->type->destroy != NULL)
        job->type->destroy(job->body);
    pthread_cond_destroy(&job->finished);
    free(job);
}

void kyok_job_free(struct kyok_job *job)
{
    if (job != NULL)
        kyok_job_unref(job);
}

void kyok_job_set_host_data(struct kyok_job *job, void *data)
{
    job->host_data = data;
}

void *kyok_job_host_data(const struct kyok_job *job)
{
    return job->host_data;
}

const char *kyok_job_name(const struct kyok_job *job)
{
    return job->type->name;
}

enum kyok_status kyok_job_run_here(struct kyok_job *job, struct kyok_error *err)
{
    job->state = KYOK_JOB_RUNNING;
    job->status = job->type->run(job->body, err);
    job->state = KYOK_JOB_DONE;
    return job->status;
}

static enum kyok_status wait_or_run(struct kyok_work *work, struct kyok_job *job,
                                    enum kyok_work_way way, struct kyok_error *err)
{
    const struct kyok_wait_hook *hook = atomic_load(&work->hook);
    ASYNC_JOB *async = ASYNC_get_current_job();

    /* An ASYNC_JOB inside a fiber is the inner one, and must be left before the fiber can be. */
    if (async != NULL)
        return kyok_wait_in_async_job(async, job, err);
    if (hook != NULL && hook->can_suspend(hook->host))
        return kyok_wait_in_fiber(hook, job, err);
    if (way == KYOK_WORK_ISOLATE)
        return kyok_wait_blocking(job, err);
    return kyok_job_run_here(job, err);
}

/* Where no thread can be had a caller that does not insist on one is served all the same:
 * haproxy forbids new processes, and so threads, to the user that it becomes. */
static enum kyok_status run_admitted(struct kyok_work *work, struct kyok_job *job,
                                     enum kyok_work_way way, struct kyok_error *err)
{
    enum kyok_status status = wait_or_run(work, job, way, err);

    if (job->state != KYOK_JOB_UNSERVED || way == KYOK_WORK_ISOLATE)
        return status;
    if (!atomic_exchange(&work->without_threads, true))
        kyok_log(KYOK_LOG_WARNING, "%s: %s (%s); key operations block their callers",
                 job->lane->name, err->what, err->reason);
    *err = (struct kyok_error){0};
    return ASYNC_get_current_job() != NULL ? kyok_job_run_on_own_stack(job, err)
                                           : kyok_job_run_here(job, err);
}

static enum kyok_status prepare(struct kyok_job *job, struct kyok_lane *lane,
                                struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_work *work = kyok_work_state();
    unsigned timeout_ms;

    if (work == NULL) {
        errno = ENOMEM;
        return kyok_fail_errno(err, NULL, "cannot set up the executor");
    }
    if (lane->work != work)
        return kyok_fail(err, KYOK_FAULT, lane->name, "executor belongs to the parent process");
    timeout_ms = atomic_load(&work->timeout_ms);
    job->lane = lane;
    job->deadline = timeout_ms != 0 ? kyok_deadline_in_ms(timeout_ms) : deadline;
    return job->aside ? KYOK_OK : kyok_work_admit(work, job, err);
}

enum kyok_status kyok_job_run(struct kyok_job *job, struct kyok_lane *lane, enum kyok_work_way way,
                              struct kyok_deadline deadline, struct kyok_error *err)
{
    enum kyok_status status;

    if (kyok_in_executor())
        return kyok_job_run_here(job, err);
    KYOK_TRY(prepare(job, lane, deadline, err));
    status = run_admitted(lane->work, job, way, err);
    kyok_work_leave(lane->work);
    kyok_work_count(lane->work, status);
    return status;
}

enum kyok_status kyok_job_start(struct kyok_job *job, struct kyok_lane *lane,
                                struct kyok_error *err)
{
    enum kyok_status status = prepare(job, lane, kyok_deadline_in_ms(KYOK_WORK_START_MS), err);

    if (status == KYOK_OK) {
        status = kyok_lane_put(lane, job, err);
        if (status != KYOK_OK && !job->aside)
            kyok_work_leave(lane->work);
    }
    kyok_job_unref(job);
    return status;
}

enum kyok_status kyok_job_start_aside(struct kyok_job *job, struct kyok_lane *lane,
                                      struct kyok_error *err)
{
    job->aside = true;
    return kyok_job_start(job, lane, err);
}
