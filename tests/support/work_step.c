/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/work_step.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct gate *gate_new(void)
{
    struct gate *gate = calloc(1, sizeof(*gate));

    assert_non_null(gate);
    pthread_mutex_init(&gate->lock, NULL);
    pthread_cond_init(&gate->changed, NULL);
    return gate;
}

void gate_open(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->open = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

void gate_await(struct gate *gate, unsigned *what, unsigned count)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    pthread_mutex_lock(&gate->lock);
    while (*what < count)
        assert_int_equal(pthread_cond_timedwait(&gate->changed, &gate->lock, &until), 0);
    pthread_mutex_unlock(&gate->lock);
}

static void gate_pass(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->inside++;
    pthread_cond_broadcast(&gate->changed);
    while (!gate->open)
        pthread_cond_wait(&gate->changed, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
}

static enum kyok_status step_run(void *body, struct kyok_error *err)
{
    struct step *step = body;
    sigset_t blocked;

    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    step->signals_blocked =
        sigismember(&blocked, SIGTERM) == 1 && sigismember(&blocked, SIGUSR1) == 1;
    step->thread = pthread_self();
    if (step->gate != NULL)
        gate_pass(step->gate);
    step->result = 42;
    if (step->status != KYOK_OK)
        return kyok_fail(err, step->status, "thing", "step failed");
    return KYOK_OK;
}

static void step_destroy(void *body)
{
    struct step *step = body;

    if (step->gate == NULL)
        return;
    pthread_mutex_lock(&step->gate->lock);
    step->gate->destroyed++;
    pthread_cond_broadcast(&step->gate->changed);
    pthread_mutex_unlock(&step->gate->lock);
}

static const struct kyok_job_type step_type = {"step", sizeof(struct step), step_run, step_destroy};

struct kyok_job *step_new(struct gate *gate, enum kyok_status status)
{
    struct kyok_job *job = kyok_job_new(&step_type);

    assert_non_null(job);
    ((struct step *)kyok_job_body(job))->gate = gate;
    ((struct step *)kyok_job_body(job))->status = status;
    return job;
}

struct step *step_of(struct kyok_job *job)
{
    return kyok_job_body(job);
}

struct kyok_work_figures work_figures_now(void)
{
    struct kyok_work_figures figures;

    kyok_work_figures(&figures);
    return figures;
}

void work_settle(void)
{
    int i;

    for (i = 0; i < 12000; i++) {
        if (work_figures_now().written_off == 0 && work_figures_now().in_flight == 0)
            return;
        usleep(5000);
    }
    fail_msg("written-off threads have not come back");
}

unsigned work_threads_of(struct kyok_lane *lane)
{
    struct kyok_work_figures figures = {0};

    kyok_lane_figures(lane, &figures);
    return (unsigned)figures.threads;
}

void work_set(unsigned threads, unsigned max_inflight, unsigned timeout_ms)
{
    const struct kyok_work_settings settings = {threads, max_inflight, timeout_ms, false};

    kyok_work_configure(&settings);
}

int work_restore(void **state)
{
    (void)state;
    kyok_work_set_hook(NULL);
    work_set(0, 0, 0);
    work_settle();
    return 0;
}

bool work_readable(int fd, int timeout_ms)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};

    return poll(&wanted, 1, timeout_ms) == 1;
}
