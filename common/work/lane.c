/* SPDX-License-Identifier: Apache-2.0 */
#include "common/work/internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local bool in_executor;

bool kyok_in_executor(void)
{
    return in_executor;
}

struct kyok_lane *kyok_lane_new(const char *name)
{
    struct kyok_work *work = kyok_work_state();
    struct kyok_lane *lane = calloc(1, sizeof(*lane));
    pthread_condattr_t monotonic;

    if (lane == NULL || work == NULL || (lane->name = strdup(name)) == NULL) {
        free(lane);
        return NULL;
    }
    lane->work = work;
    pthread_mutex_init(&lane->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&lane->more, &monotonic);
    pthread_cond_init(&lane->returned, &monotonic);
    pthread_condattr_destroy(&monotonic);
    lane->next_lane = atomic_load(&work->lanes);
    while (!atomic_compare_exchange_weak(&work->lanes, &lane->next_lane, lane))
        continue;
    return lane;
}

/* --- the queue; the lane's lock is held in all of these --------------------------------------- */

static void append(struct kyok_lane *lane, struct kyok_job *job)
{
    job->previous = lane->last;
    job->next = NULL;
    if (lane->last != NULL)
        lane->last->next = job;
    else
        lane->first = job;
    lane->last = job;
    lane->queued++;
}

static void unlink_job(struct kyok_lane *lane, struct kyok_job *job)
{
    if (job->previous != NULL)
        job->previous->next = job->next;
    else
        lane->first = job->next;
    if (job->next != NULL)
        job->next->previous = job->previous;
    else
        lane->last = job->previous;
    lane->queued--;
}

static unsigned working_threads(const struct kyok_lane *lane)
{
    return lane->threads - lane->written_off;
}

/* --- the threads --------------------------------------------------------------------------------
 */

static void finish(struct kyok_lane *lane, struct kyok_job *job, enum kyok_status status)
{
    if (job->state == KYOK_JOB_ABANDONED)
        return;
    job->status = status;
    job->state = KYOK_JOB_DONE;
    switch (job->notify) {
    case KYOK_NOTIFY_NOBODY:
        if (!job->aside)
            kyok_work_leave(lane->work);
        break;
    case KYOK_NOTIFY_THREAD:
        pthread_cond_signal(&job->finished);
        break;
    case KYOK_NOTIFY_FIBER:
        kyok_done_put(lane->work, job);
        break;
    case KYOK_NOTIFY_ASYNC:
        kyok_async_fd_fire(job->async_fd);
        break;
    }
}

static void run_one(struct kyok_lane *lane, struct kyok_executor *self, struct kyok_job *job)
{
    enum kyok_status status;

    unlink_job(lane, job);
    job->state = KYOK_JOB_RUNNING;
    self->job = job;
    pthread_mutex_unlock(&lane->lock);
    status = job->type->run(job->body, &job->error);
    pthread_mutex_lock(&lane->lock);
    self->job = NULL;
    if (lane->ended)
        pthread_cond_broadcast(&lane->returned);
    if (self->written_off) {
        self->written_off = false;
        lane->written_off--;
    }
    finish(lane, job, status);
    pthread_mutex_unlock(&lane->lock);
    kyok_job_unref(job); /* may release a session: not under the lock */
    pthread_mutex_lock(&lane->lock);
}

/* False when the thread is to end: too long without work, or one too many since a thread that was
 * written off has come back. */
static bool wait_for_work(struct kyok_lane *lane)
{
    struct timespec until = kyok_deadline_timespec(kyok_deadline_in_ms(KYOK_WORK_IDLE_MS));
    int rc = 0;

    if (working_threads(lane) > kyok_work_thread_limit(lane->work))
        return false;
    while (lane->first == NULL && !lane->ended && rc == 0) {
        lane->idle++;
        rc = pthread_cond_timedwait(&lane->more, &lane->lock, &until);
        lane->idle--;
    }
    return lane->first != NULL && !lane->ended;
}

static void unlink_executor(struct kyok_lane *lane, const struct kyok_executor *self)
{
    struct kyok_executor **at = &lane->executors;

    while (*at != self)
        at = &(*at)->next;
    *at = self->next;
    lane->threads--;
}

static void *executor_main(void *argument)
{
    struct kyok_lane *lane = argument;
    struct kyok_executor self = {0};
    char title[16];

    in_executor = true;
    snprintf(title, sizeof(title), "kyok %s", lane->name);
    pthread_setname_np(pthread_self(), title);
    pthread_mutex_lock(&lane->lock);
    self.next = lane->executors;
    lane->executors = &self;
    while (wait_for_work(lane))
        run_one(lane, &self, lane->first);
    unlink_executor(lane, &self);
    pthread_mutex_unlock(&lane->lock);
    return NULL;
}

/* Signals are the host's business: none may interrupt a module, or run a handler on its thread. */
static int start_thread(struct kyok_lane *lane)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_t thread;
    int rc;

    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&thread, &attributes, executor_main, lane);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (rc == 0)
        lane->threads++;
    return rc;
}

static bool overdue(const struct kyok_executor *executor)
{
    return executor->job != NULL && !executor->written_off &&
           kyok_deadline_passed(executor->job->deadline);
}

/* A thread whose call has outlived its deadline no longer counts, so that another may be started:
 * also when its waiter has left before, so the deadlines themselves are looked at. */
static void write_off_overdue(struct kyok_lane *lane)
{
    struct kyok_executor *executor;

    for (executor = lane->executors; executor != NULL; executor = executor->next) {
        if (lane->written_off == KYOK_WORK_MAX_WRITTEN_OFF)
            return;
        if (!overdue(executor))
            continue;
        executor->written_off = true;
        lane->written_off++;
        kyok_log(KYOK_LOG_WARNING, "%s: %s has not returned by its deadline, thread written off",
                 lane->name, executor->job->type->name);
    }
}

/* Starts what the queue needs. An errno value only if no thread at all could serve it. */
static int staff(struct kyok_lane *lane)
{
    unsigned limit = kyok_work_thread_limit(lane->work);
    int rc;

    if (lane->queued <= lane->idle)
        return 0;
    if (working_threads(lane) >= limit)
        write_off_overdue(lane);
    if (working_threads(lane) >= limit)
        return 0;
    rc = start_thread(lane);
    return working_threads(lane) > 0 ? 0 : rc;
}

/* --- waiters
 * --------------------------------------------------------------------------------------- */

enum kyok_status kyok_lane_put(struct kyok_lane *lane, struct kyok_job *job, struct kyok_error *err)
{
    int rc;

    pthread_mutex_lock(&lane->lock);
    atomic_fetch_add(&job->references, 1);
    job->state = KYOK_JOB_QUEUED;
    append(lane, job);
    rc = staff(lane);
    if (rc != 0) {
        unlink_job(lane, job);
        job->state = KYOK_JOB_UNSERVED;
    } else {
        pthread_cond_signal(&lane->more);
    }
    pthread_mutex_unlock(&lane->lock);
    if (rc == 0)
        return KYOK_OK;
    kyok_job_unref(job);
    errno = rc;
    kyok_fail_errno(err, lane->name, "cannot start an executor thread");
    return kyok_remedy(err, "let the process have threads (RLIMIT_NPROC, memory; haproxy: "
                            "insecure-fork-wanted in global)");
}

bool kyok_lane_finished(struct kyok_lane *lane, struct kyok_job *job)
{
    bool finished;

    pthread_mutex_lock(&lane->lock);
    finished = job->state == KYOK_JOB_DONE;
    pthread_mutex_unlock(&lane->lock);
    return finished;
}

void kyok_lane_wait(struct kyok_lane *lane, struct kyok_job *job)
{
    struct timespec until = kyok_deadline_timespec(job->deadline);
    bool forever = job->deadline.at_ns == INT64_MAX;
    int rc = 0;

    pthread_mutex_lock(&lane->lock);
    while (job->state != KYOK_JOB_DONE && rc == 0)
        rc = forever ? pthread_cond_wait(&job->finished, &lane->lock)
                     : pthread_cond_timedwait(&job->finished, &lane->lock, &until);
    pthread_mutex_unlock(&lane->lock);
}

/* Gives the state that the job was in. */
static enum kyok_job_state abandon(struct kyok_lane *lane, struct kyok_job *job,
                                   enum kyok_wait_result why)
{
    enum kyok_job_state was;

    pthread_mutex_lock(&lane->lock);
    was = job->state;
    if (was == KYOK_JOB_QUEUED)
        unlink_job(lane, job);
    if (was != KYOK_JOB_DONE) {
        job->state = KYOK_JOB_ABANDONED;
        if (why == KYOK_WAIT_TIMEOUT)
            write_off_overdue(lane);
        (void)staff(lane); /* what it cannot start now, the next job or a returning thread will */
    }
    pthread_mutex_unlock(&lane->lock);
    if (was == KYOK_JOB_QUEUED)
        kyok_job_unref(job);
    return was;
}

static enum kyok_status fail_abandoned(const struct kyok_lane *lane, const struct kyok_job *job,
                                       enum kyok_wait_result why, bool ran, struct kyok_error *err)
{
    if (why == KYOK_WAIT_CANCELLED)
        return kyok_fail(err, KYOK_CANCELLED, lane->name, "%s given up, its caller went away",
                         job->type->name);
    kyok_fail(err, KYOK_TIMEOUT, lane->name,
              ran ? "%s was not answered within its deadline"
                  : "%s found no free executor thread within its deadline",
              job->type->name);
    return kyok_remedy(err, "see whether the custodian answers, or raise its timeout");
}

enum kyok_status kyok_lane_leave(struct kyok_lane *lane, struct kyok_job *job,
                                 enum kyok_wait_result why, struct kyok_error *err)
{
    enum kyok_job_state was = abandon(lane, job, why);

    if (job->notify == KYOK_NOTIFY_FIBER)
        kyok_done_remove(lane->work, job);
    if (was != KYOK_JOB_DONE)
        return fail_abandoned(lane, job, why, was == KYOK_JOB_RUNNING, err);
    if (job->status != KYOK_OK)
        *err = job->error;
    return job->status;
}

void kyok_lane_figures(struct kyok_lane *lane, struct kyok_work_figures *figures)
{
    pthread_mutex_lock(&lane->lock);
    figures->threads += lane->threads;
    figures->written_off += lane->written_off;
    pthread_mutex_unlock(&lane->lock);
}
