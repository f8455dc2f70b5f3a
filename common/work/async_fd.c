/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The descriptor of a wait context. Hosts own descriptors per connection, so a context keeps its
 * own until it is freed, and none is shared between two. It is a timerfd: it becomes readable by
 * itself at the deadline, and at once when the job is done.
 */
#include "common/work/internal.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define POOL_MAX 256 /* descriptors kept for later contexts */

struct kyok_async_fd {
    struct kyok_async_fd *next;
    struct kyok_work *work;
    uint64_t generation;
    struct kyok_job *job; /* whose caller is paused */
    int fd;
};

static const char context_key; /* its address names kyok in a wait context */

static struct kyok_async_fd *take(struct kyok_work *work)
{
    struct kyok_async_fd *entry;

    pthread_mutex_lock(&work->pool_lock);
    entry = work->pool;
    if (entry != NULL) {
        work->pool = entry->next;
        work->pooled--;
    }
    pthread_mutex_unlock(&work->pool_lock);
    if (entry != NULL)
        return entry;
    entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return NULL;
    entry->work = work;
    entry->generation = work->generation;
    entry->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (entry->fd >= 0)
        return entry;
    free(entry);
    return NULL;
}

static void give_back(struct kyok_async_fd *entry)
{
    struct kyok_work *work = entry->work;
    bool keep;

    pthread_mutex_lock(&work->pool_lock);
    keep = work->pooled < POOL_MAX;
    if (keep) {
        entry->next = work->pool;
        work->pool = entry;
        work->pooled++;
    }
    pthread_mutex_unlock(&work->pool_lock);
    if (keep)
        return;
    close(entry->fd);
    free(entry);
}

/* The caller's stack is gone for good (a host may free a paused connection), so what it held is
 * released here: the wait, and its reference to the job. */
static void abandon_for_lost_caller(struct kyok_work *work, struct kyok_job *job)
{
    struct kyok_error ignored;

    kyok_work_count(work, kyok_lane_leave(job->lane, job, KYOK_WAIT_CANCELLED, &ignored));
    atomic_fetch_sub(&work->suspended, 1);
    kyok_work_leave(work);
    kyok_job_unref(job);
}

static void context_freed(ASYNC_WAIT_CTX *context, const void *key, int fd, void *data)
{
    struct kyok_async_fd *entry = data;
    struct kyok_job *job = entry->job;

    (void)context;
    (void)key;
    (void)fd;
    if (entry->generation != kyok_process_generation())
        return; /* the parent's: its locks and its descriptor's state are not ours to touch */
    if (job != NULL)
        abandon_for_lost_caller(entry->work, job);
    kyok_async_fd_disarm(entry);
    give_back(entry);
}

struct kyok_async_fd *kyok_async_fd_of(struct kyok_work *work, ASYNC_WAIT_CTX *context, bool *fresh)
{
    struct kyok_async_fd *entry;
    void *data = NULL;
    int fd;

    *fresh = false;
    if (context == NULL)
        return NULL;
    if (ASYNC_WAIT_CTX_get_fd(context, &context_key, &fd, &data)) {
        entry = data;
        if (entry->generation == work->generation)
            return entry;
        ASYNC_WAIT_CTX_clear_fd(context, &context_key);
    }
    entry = take(work);
    if (entry == NULL)
        return NULL;
    *fresh = ASYNC_WAIT_CTX_set_wait_fd(context, &context_key, entry->fd, entry, context_freed);
    if (*fresh)
        return entry;
    give_back(entry);
    return NULL;
}

void kyok_async_fd_withdraw(ASYNC_WAIT_CTX *context, struct kyok_async_fd *entry)
{
    ASYNC_WAIT_CTX_clear_fd(context, &context_key);
    kyok_async_fd_disarm(entry);
    give_back(entry);
}

static void set_timer(const struct kyok_async_fd *entry, int flags, struct timespec when)
{
    const struct itimerspec timer = {.it_value = when};

    /* Fails only for a bad descriptor or time; then the deadline's poll still ends the wait. */
    if (timerfd_settime(entry->fd, flags, &timer, NULL) != 0)
        kyok_log(KYOK_LOG_ERROR, "cannot set the timer of a paused operation");
}

void kyok_async_fd_arm(struct kyok_async_fd *entry, struct kyok_job *job)
{
    entry->job = job;
    if (job->deadline.at_ns == INT64_MAX)
        set_timer(entry, 0, (struct timespec){0});
    else
        set_timer(entry, TFD_TIMER_ABSTIME, kyok_deadline_timespec(job->deadline));
}

void kyok_async_fd_fire(struct kyok_async_fd *entry)
{
    set_timer(entry, 0, (struct timespec){.tv_nsec = 1});
}

/* Setting a timer also forgets an expiry that nobody has read. */
void kyok_async_fd_disarm(struct kyok_async_fd *entry)
{
    entry->job = NULL;
    set_timer(entry, 0, (struct timespec){0});
}

void kyok_async_fd_poll(const struct kyok_async_fd *entry, struct kyok_deadline deadline)
{
    struct pollfd wanted = {.fd = entry->fd, .events = POLLIN};

    (void)poll(&wanted, 1, kyok_deadline_left_ms(deadline));
}
