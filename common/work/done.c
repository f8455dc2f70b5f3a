/* SPDX-License-Identifier: Apache-2.0 */
/* The jobs of suspended fibers that are done, and the descriptor that tells their host. */
#include "common/work/internal.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

int kyok_work_fd(struct kyok_error *err)
{
    struct kyok_work *work = kyok_work_state();
    int fd;

    if (work == NULL) {
        errno = ENOMEM;
        kyok_fail_errno(err, NULL, "cannot set up the executor");
        return -1;
    }
    pthread_mutex_lock(&work->done_lock);
    if (work->done_fd < 0)
        work->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    fd = work->done_fd;
    pthread_mutex_unlock(&work->done_lock);
    if (fd < 0)
        kyok_fail_errno(err, NULL, "cannot make the descriptor that reports finished operations");
    return fd;
}

void kyok_done_put(struct kyok_work *work, struct kyok_job *job)
{
    const uint64_t one = 1;

    pthread_mutex_lock(&work->done_lock);
    job->in_done_list = true;
    job->next_done = NULL;
    if (work->last_done != NULL) {
        work->last_done->next_done = job;
    } else {
        work->first_done = job;
        /* Cannot fail for a counter below its maximum; a host without a descriptor polls the list.
         */
        if (work->done_fd >= 0 && write(work->done_fd, &one, sizeof(one)) < 0)
            kyok_log(KYOK_LOG_ERROR, "cannot report a finished operation");
    }
    work->last_done = job;
    pthread_mutex_unlock(&work->done_lock);
}

static struct kyok_job *take_first(struct kyok_work *work)
{
    struct kyok_job *job = work->first_done;

    if (job == NULL)
        return NULL;
    work->first_done = job->next_done;
    if (work->first_done == NULL)
        work->last_done = NULL;
    job->in_done_list = false;
    return job;
}

struct kyok_job *kyok_work_next_done(void)
{
    struct kyok_work *work = kyok_work_state();
    struct kyok_job *job;
    uint64_t count;

    if (work == NULL)
        return NULL;
    pthread_mutex_lock(&work->done_lock);
    job = take_first(work);
    if (job == NULL && work->done_fd >= 0)
        while (read(work->done_fd, &count, sizeof(count)) < 0 && errno == EINTR)
            continue;
    pthread_mutex_unlock(&work->done_lock);
    return job;
}

void kyok_done_remove(struct kyok_work *work, struct kyok_job *job)
{
    struct kyok_job **at, *previous = NULL;

    pthread_mutex_lock(&work->done_lock);
    if (job->in_done_list) {
        for (at = &work->first_done; *at != job; at = &(*at)->next_done)
            previous = *at;
        *at = job->next_done;
        if (work->last_done == job)
            work->last_done = previous;
        job->in_done_list = false;
    }
    pthread_mutex_unlock(&work->done_lock);
}
