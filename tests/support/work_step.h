/* SPDX-License-Identifier: Apache-2.0 */
/* A job for the tests of common/work, which a gate holds in its call until the test lets go. */
#ifndef KYOK_TESTS_WORK_STEP_H
#define KYOK_TESTS_WORK_STEP_H

#include "common/work/internal.h"

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
    unsigned inside, destroyed;
};

struct step {
    struct gate *gate; /* NULL: returns at once */
    enum kyok_status status;
    int result;
    bool signals_blocked;
    pthread_t thread;
};

struct gate *gate_new(void);
void gate_open(struct gate *gate);
/* Until count calls are inside (or, destroyed set, that many bodies have been destroyed). */
void gate_await(struct gate *gate, unsigned *what, unsigned count);

struct kyok_job *step_new(struct gate *gate, enum kyok_status status);
struct step *step_of(struct kyok_job *job);

struct kyok_work_figures work_figures_now(void);
/* Written-off threads and jobs in flight come back a moment after their gate opens. */
void work_settle(void);
unsigned work_threads_of(struct kyok_lane *lane);
void work_set(unsigned threads, unsigned max_inflight, unsigned timeout_ms);
bool work_readable(int fd, int timeout_ms);
/* After each test: no hook, the usual limits, nothing under way. */
int work_restore(void **state);

#endif
