/* SPDX-License-Identifier: Apache-2.0 */
/*
 * work: executor threads, and how a caller waits for a key operation: suspended in a fiber of its
 * host, paused in an ASYNC_JOB, or blocking. It knows nothing of keys, tokens or servers.
 *
 * A job is reference-counted and owns everything its thread touches, so that a waiter can leave at
 * its deadline, or be cancelled, while the thread is still inside a call that cannot be
 * interrupted.
 */
#ifndef KYOK_WORK_H
#define KYOK_WORK_H

#include "common/base/base.h"

/* --- for the key layer ------------------------------------------------------------------- */

struct kyok_job;

struct kyok_job_type {
    const char *name; /* "sign", for messages and metrics */
    size_t body_size;
    /* Runs in an executor thread, or directly in the caller. */
    enum kyok_status (*run)(void *body, struct kyok_error *err);
    void (*destroy)(void *body); /* releases and wipes what the body owns; may be NULL */
};

/* A lane is the executor of one custodian: its own queue and threads, so that a hanging custodian
 * holds up no other. Opaque, made on first use of its owner, never freed. */
struct kyok_lane;
struct kyok_lane *kyok_lane_new(const char *name);

/* body (zeroed, type->body_size bytes) is filled by the caller before running. NULL: no memory. */
struct kyok_job *kyok_job_new(const struct kyok_job_type *type);
void *kyok_job_body(struct kyok_job *job);
void kyok_job_free(struct kyok_job *job); /* drops the caller's reference */

/* True if the caller can be suspended here (its host's fiber, or an ASYNC_JOB). A job that is run
 * from inside an executor thread always runs directly. */
bool kyok_work_can_suspend(void);

enum kyok_work_way { KYOK_WORK_ANY /* direct when it cannot suspend */, KYOK_WORK_ISOLATE };

/* Runs the job: suspended, paused, or (ANY) directly in this thread, or (ISOLATE) in the lane while
 * this thread blocks. KYOK_TIMEOUT or KYOK_CANCELLED mean that the job may still be running and its
 * body must not be read any more. */
enum kyok_status kyok_job_run(struct kyok_job *job, struct kyok_lane *lane, enum kyok_work_way way,
                              struct kyok_deadline deadline, struct kyok_error *err);
/* Starts the job in its lane and waits for nothing (probes, self-tests). Takes the reference. */
enum kyok_status kyok_job_start(struct kyok_job *job, struct kyok_lane *lane,
                                struct kyok_error *err);

/* The same, outside the limit of jobs in flight and not counted there: what a process does for its
 * own sake, and what may hang, must not take the place of what somebody waits for. */
enum kyok_status kyok_job_start_aside(struct kyok_job *job, struct kyok_lane *lane,
                                      struct kyok_error *err);

/* --- for hosts with fibers (the nginx module) ---------------------------------------------- */

enum kyok_wait_result { KYOK_WAIT_DONE, KYOK_WAIT_TIMEOUT, KYOK_WAIT_CANCELLED };

struct kyok_wait_hook {
    /* Is the caller in one of the host's fibers, and may it be suspended now? */
    bool (*can_suspend)(void *host);
    /* Suspends the current fiber until the host resumes it: because kyok_work_next_done() gave this
     * job, because the deadline passed, or because the host cancels. */
    enum kyok_wait_result (*suspend)(void *host, struct kyok_job *job,
                                     struct kyok_deadline deadline);
    void *host;
};

/* One hook per process; set it again in each worker process. NULL removes it. Keeps the pointer. */
void kyok_work_set_hook(const struct kyok_wait_hook *hook);
/* One eventfd for this process, readable when jobs of suspended fibers have completed; -1 and *err
 * when it cannot be had. */
int kyok_work_fd(struct kyok_error *err);
/* Takes the completed jobs one by one (NULL: none left, and the descriptor is drained). The job is
 * valid until its fiber has been resumed. */
struct kyok_job *kyok_work_next_done(void);
void kyok_job_set_host_data(struct kyok_job *job, void *data);
void *kyok_job_host_data(const struct kyok_job *job);
const char *kyok_job_name(const struct kyok_job *job);

/* At the end of the process: what is queued does not begin, and calls that run may return until the
 * deadline. False: some have not; their threads would be inside a module while exit handlers run,
 * so that the process had better leave by _exit(). */
bool kyok_work_end(struct kyok_deadline deadline);

/* --- settings and figures -------------------------------------------------------------------- */

struct kyok_work_settings {
    unsigned threads; /* most threads per lane; 0: KYOK_WORK_THREADS */
    unsigned
        max_inflight;    /* jobs accepted at once per process, queued ones included; 0: no limit */
    unsigned timeout_ms; /* overrides every group's timeout when not 0 */
    bool isolate;        /* every group's calls, as if each said isolate = yes: no call outlives its
                            deadline for a caller that can neither be suspended nor wait for ever */
};
#define KYOK_WORK_THREADS 64
#define KYOK_WORK_MAX_WRITTEN_OFF 16 /* hung threads that a lane replaces */

void kyok_work_configure(const struct kyok_work_settings *settings);
/* The timeout override in force; 0: none. */
unsigned kyok_work_timeout_ms(void);
bool kyok_work_isolates(void);

#define KYOK_WORK_BUCKETS                                                                          \
    16 /* latency: bucket i counts jobs below 2^i * 0.25 ms, the last all others */
struct kyok_work_figures {
    uint64_t in_flight, suspended, timeouts, cancellations, refused, threads, written_off;
};
void kyok_work_figures(struct kyok_work_figures *figures);

#endif
