/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to common/work. One lock per lane guards its queue, its threads and the state of every
 * job in it; the done list of the process has a lock of its own, taken after a lane's.
 */
#ifndef KYOK_WORK_INTERNAL_H
#define KYOK_WORK_INTERNAL_H

#include "common/work/work.h"

#include <openssl/async.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>

#define KYOK_WORK_IDLE_MS 30000  /* a thread without work ends after this */
#define KYOK_WORK_START_MS 60000 /* a job that nobody waits for counts as hung after this */

/* NEW -> QUEUED -> RUNNING -> DONE; a waiter that leaves turns QUEUED or RUNNING into ABANDONED;
 * UNSERVED: no thread could be started for it, so it was never in the queue. */
enum kyok_job_state {
    KYOK_JOB_NEW,
    KYOK_JOB_QUEUED,
    KYOK_JOB_RUNNING,
    KYOK_JOB_DONE,
    KYOK_JOB_ABANDONED,
    KYOK_JOB_UNSERVED
};

/* Who is told when the job is done. */
enum kyok_job_notify {
    KYOK_NOTIFY_NOBODY,
    KYOK_NOTIFY_THREAD,
    KYOK_NOTIFY_FIBER,
    KYOK_NOTIFY_ASYNC
};

struct kyok_async_fd;
struct kyok_work;

struct kyok_job {
    const struct kyok_job_type *type;
    atomic_uint references; /* the caller's, and the lane's while it is in there */
    enum kyok_job_state state;
    enum kyok_job_notify notify;
    struct kyok_lane *lane;
    struct kyok_deadline deadline;
    struct kyok_job *previous, *next; /* in the lane's queue */
    struct kyok_job *next_done;
    bool in_done_list;
    bool aside;              /* was not admitted, need not leave */
    pthread_cond_t finished; /* for KYOK_NOTIFY_THREAD, with the lane's lock */
    struct kyok_async_fd *async_fd;
    void *host_data;
    enum kyok_status status; /* of the run, valid in DONE */
    struct kyok_error error;
    alignas(max_align_t) unsigned char body[];
};

struct kyok_executor { /* on its thread's stack */
    struct kyok_executor *next;
    struct kyok_job *job; /* in the call, or NULL */
    bool written_off;
};

struct kyok_lane {
    char *name;
    struct kyok_work *work;
    struct kyok_lane *next_lane; /* of the process */
    pthread_mutex_t lock;
    pthread_cond_t more, returned;
    bool ended; /* kyok_work_end(): nothing is begun any more */
    struct kyok_job *first, *last;
    unsigned queued, idle, threads, written_off;
    struct kyok_executor *executors;
};

/* This process's state. */
struct kyok_work {
    uint64_t generation;
    atomic_uint threads, max_inflight, timeout_ms;
    atomic_bool isolate, without_threads; /* has been told */
    _Atomic(const struct kyok_wait_hook *) hook;
    _Atomic uint64_t in_flight, suspended, timeouts, cancellations, refused;
    _Atomic(struct kyok_lane *) lanes;
    pthread_mutex_t done_lock;
    struct kyok_job *first_done, *last_done;
    int done_fd; /* -1 until somebody asks */
    pthread_mutex_t pool_lock;
    struct kyok_async_fd *pool;
    unsigned pooled;
};

/* state.c */
struct kyok_work *kyok_work_state(void); /* NULL: no memory */
enum kyok_status kyok_work_admit(struct kyok_work *work, const struct kyok_job *job,
                                 struct kyok_error *err);
void kyok_work_leave(struct kyok_work *work);
void kyok_work_count(struct kyok_work *work, enum kyok_status status);
unsigned kyok_work_thread_limit(const struct kyok_work *work);

/* done.c: the list behind the eventfd */
void kyok_done_put(struct kyok_work *work, struct kyok_job *job);
void kyok_done_remove(struct kyok_work *work, struct kyok_job *job);

/* job.c */
void kyok_job_unref(struct kyok_job *job);
enum kyok_status kyok_job_run_here(struct kyok_job *job, struct kyok_error *err);

/* stack.c: the same, for a caller whose stack is an ASYNC_JOB's. */
enum kyok_status kyok_job_run_on_own_stack(struct kyok_job *job, struct kyok_error *err);

/* lane.c */
bool kyok_in_executor(void);
enum kyok_status kyok_lane_put(struct kyok_lane *lane, struct kyok_job *job,
                               struct kyok_error *err);
bool kyok_lane_finished(struct kyok_lane *lane, struct kyok_job *job);
/* Blocks until the job is done or the deadline has passed. */
void kyok_lane_wait(struct kyok_lane *lane, struct kyok_job *job);
/* Ends a wait: the job's own result when it is done, else it is abandoned and why tells the rest.
 */
enum kyok_status kyok_lane_leave(struct kyok_lane *lane, struct kyok_job *job,
                                 enum kyok_wait_result why, struct kyok_error *err);
void kyok_lane_figures(struct kyok_lane *lane, struct kyok_work_figures *figures);

/* wait.c: the three ways */
enum kyok_status kyok_wait_in_fiber(const struct kyok_wait_hook *hook, struct kyok_job *job,
                                    struct kyok_error *err);
enum kyok_status kyok_wait_in_async_job(ASYNC_JOB *async, struct kyok_job *job,
                                        struct kyok_error *err);
enum kyok_status kyok_wait_blocking(struct kyok_job *job, struct kyok_error *err);

/* async_fd.c: descriptors of wait contexts */
/* *fresh: the context had none before. Such a one must not stay where no pause tells the host. */
struct kyok_async_fd *kyok_async_fd_of(struct kyok_work *work, ASYNC_WAIT_CTX *context,
                                       bool *fresh);
void kyok_async_fd_withdraw(ASYNC_WAIT_CTX *context, struct kyok_async_fd *fd);
void kyok_async_fd_arm(struct kyok_async_fd *fd, struct kyok_job *job);
void kyok_async_fd_fire(struct kyok_async_fd *fd);
void kyok_async_fd_disarm(struct kyok_async_fd *fd);
void kyok_async_fd_poll(const struct kyok_async_fd *fd, struct kyok_deadline deadline);

/* error_queue.c: OpenSSL keeps one error queue per thread, which suspended callers share */
struct kyok_error_queue;
struct kyok_error_queue *kyok_error_queue_take(void); /* NULL: it was empty */
void kyok_error_queue_put_back(struct kyok_error_queue *queue);

#endif
