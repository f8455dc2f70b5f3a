/* SPDX-License-Identifier: Apache-2.0 */
/* Callers inside a host's fibers, which common/work suspends through the host's hook. */
#include "tests/support/work_step.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include <cmocka.h>

#define FIBERS 32

struct fiber {
    ucontext_t context;
    char *stack;
    struct kyok_lane *lane;
    struct kyok_job *job;
    enum kyok_wait_result result;
    enum kyok_status status;
    int64_t timeout_ms;
    bool suspended, finished;
    struct kyok_error err;
};

struct fiber_host {
    ucontext_t main;
    struct fiber *current;
    struct kyok_wait_hook hook;
};

static struct fiber_host host;

static bool host_can_suspend(void *data)
{
    return ((struct fiber_host *)data)->current != NULL;
}

static enum kyok_wait_result host_suspend(void *data, struct kyok_job *job,
                                          struct kyok_deadline deadline)
{
    struct fiber_host *this = data;
    struct fiber *fiber = this->current;

    (void)deadline;
    kyok_job_set_host_data(job, fiber);
    fiber->suspended = true;
    this->current = NULL;
    swapcontext(&fiber->context, &this->main);
    return fiber->result;
}

static void fiber_main(void)
{
    struct fiber *fiber = host.current;

    assert_true(kyok_work_can_suspend());
    fiber->status = kyok_job_run(fiber->job, fiber->lane, KYOK_WORK_ANY,
                                 kyok_deadline_in_ms(fiber->timeout_ms), &fiber->err);
    fiber->finished = true;
    host.current = NULL;
}

static void fiber_resume(struct fiber *fiber, enum kyok_wait_result result)
{
    fiber->result = result;
    fiber->suspended = false;
    host.current = fiber;
    swapcontext(&host.main, &fiber->context);
}

static void fiber_start(struct fiber *fiber, struct kyok_lane *lane, struct kyok_job *job)
{
    *fiber = (struct fiber){.lane = lane, .job = job, .timeout_ms = 20000, .stack = malloc(65536)};
    assert_non_null(fiber->stack);
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = 65536;
    fiber->context.uc_link = &host.main;
    makecontext(&fiber->context, fiber_main, 0);
    fiber_resume(fiber, KYOK_WAIT_DONE);
}

static void fiber_release(struct fiber *fiber)
{
    kyok_job_free(fiber->job);
    free(fiber->stack);
}

static int host_set_up(void)
{
    struct kyok_error err;

    host.hook = (struct kyok_wait_hook){host_can_suspend, host_suspend, &host};
    kyok_work_set_hook(&host.hook);
    return kyok_work_fd(&err);
}

static void resume_done(void)
{
    struct kyok_job *job;

    while ((job = kyok_work_next_done()) != NULL)
        fiber_resume(kyok_job_host_data(job), KYOK_WAIT_DONE);
}

static void fibers_are_suspended_and_resumed_by_one_descriptor(void **state)
{
    struct kyok_lane *lane = kyok_lane_new("fibers");
    struct gate *gate = gate_new();
    struct fiber fibers[FIBERS];
    int fd = host_set_up(), i, finished = 0;

    (void)state;
    assert_true(fd >= 0);
    work_set(8, 0, 0);
    for (i = 0; i < FIBERS; i++) {
        fiber_start(&fibers[i], lane, step_new(gate, i % 2 ? KYOK_OK : KYOK_REFUSED));
        assert_true(fibers[i].suspended);
    }
    assert_int_equal(work_figures_now().suspended, FIBERS);
    assert_false(work_readable(fd, 20));
    gate_open(gate);
    while (finished < FIBERS) {
        assert_true(work_readable(fd, 20000));
        resume_done();
        for (finished = 0, i = 0; i < FIBERS; i++)
            finished += fibers[i].finished;
    }
    for (i = 0; i < FIBERS; i++) {
        assert_int_equal(fibers[i].status, i % 2 ? KYOK_OK : KYOK_REFUSED);
        fiber_release(&fibers[i]);
    }
    assert_false(work_readable(fd, 0));
    assert_int_equal(work_figures_now().suspended, 0);
    gate_await(gate, &gate->destroyed, FIBERS);
    free(gate);
}

static void host_cancels_queued_running_and_done_jobs(void **state)
{
    struct kyok_lane *lane = kyok_lane_new("cancel");
    struct gate *gate = gate_new();
    uint64_t before = work_figures_now().cancellations;
    struct fiber running, queued, done[3];
    int fd = host_set_up(), i;

    (void)state;
    work_set(1, 0, 0);
    fiber_start(&running, lane, step_new(gate, KYOK_OK));
    gate_await(gate, &gate->inside, 1);
    fiber_start(&queued, lane, step_new(gate, KYOK_OK));
    fiber_resume(&queued, KYOK_WAIT_CANCELLED);
    fiber_resume(&running, KYOK_WAIT_CANCELLED);
    assert_int_equal(queued.status, KYOK_CANCELLED);
    assert_int_equal(running.status, KYOK_CANCELLED);
    assert_int_equal(work_figures_now().cancellations, before + 2);
    fiber_release(&queued);
    fiber_release(&running);
    assert_int_equal(gate->destroyed, 1);
    gate_open(gate);
    gate_await(gate, &gate->destroyed, 2);

    /* Cancelled when it is already done: the result stands, and it leaves the list from any place.
     */
    for (i = 0; i < 3; i++)
        fiber_start(&done[i], lane, step_new(NULL, KYOK_OK));
    for (i = 0; i < 3; i++)
        while (!kyok_lane_finished(lane, done[i].job))
            usleep(1000);
    fiber_resume(&done[2], KYOK_WAIT_CANCELLED);
    fiber_resume(&done[0], KYOK_WAIT_TIMEOUT);
    assert_true(work_readable(fd, 20000));
    resume_done();
    for (i = 0; i < 3; i++) {
        assert_true(done[i].finished);
        assert_int_equal(done[i].status, KYOK_OK);
        fiber_release(&done[i]);
    }
    assert_false(work_readable(fd, 0));
    free(gate);
}

static void cancelled_calls_that_hang_are_written_off_in_time(void **state)
{
    struct kyok_lane *lane = kyok_lane_new("stuck");
    struct gate *gate = gate_new();
    struct fiber gone, next;
    int fd = host_set_up();

    (void)state;
    work_set(1, 0, 0);
    fiber_start(&gone, lane, step_new(gate, KYOK_OK));
    gate_await(gate, &gate->inside, 1);
    gone.job->deadline = kyok_deadline_in_ms(0);
    fiber_resume(&gone, KYOK_WAIT_CANCELLED);
    fiber_release(&gone);
    fiber_start(&next, lane, step_new(NULL, KYOK_OK));
    assert_true(work_readable(fd, 20000));
    resume_done();
    assert_int_equal(next.status, KYOK_OK);
    fiber_release(&next);
    gate_open(gate);
    gate_await(gate, &gate->destroyed, 1);
    work_settle();
    free(gate);
}

static void time_out(struct fiber *fiber, const char *message)
{
    fiber->job->deadline = kyok_deadline_in_ms(0);
    fiber_resume(fiber, KYOK_WAIT_TIMEOUT);
    assert_int_equal(fiber->status, KYOK_TIMEOUT);
    assert_non_null(strstr(fiber->err.what, message));
    fiber_release(fiber);
}

static void replaces_hung_threads_only_up_to_the_bound(void **state)
{
    struct kyok_lane *lane = kyok_lane_new("bound");
    struct gate *gate = gate_new();
    struct fiber fiber;
    unsigned i;

    (void)state;
    host_set_up();
    work_set(1, 0, 0);
    for (i = 0; i < KYOK_WORK_MAX_WRITTEN_OFF + 1; i++) {
        fiber_start(&fiber, lane, step_new(gate, KYOK_OK));
        gate_await(gate, &gate->inside, i + 1);
        time_out(&fiber, "not answered");
    }
    for (i = 0; i < 2; i++) {
        fiber_start(&fiber, lane, step_new(gate, KYOK_OK));
        time_out(&fiber, "no free executor thread");
    }
    assert_int_equal(lane->threads, KYOK_WORK_MAX_WRITTEN_OFF + 1);
    assert_int_equal(lane->written_off, KYOK_WORK_MAX_WRITTEN_OFF);
    gate_open(gate);
    gate_await(gate, &gate->destroyed, KYOK_WORK_MAX_WRITTEN_OFF + 3);
    for (i = 0; i < 4000 && work_threads_of(lane) > 1; i++)
        usleep(5000);
    assert_in_range(work_threads_of(lane), 0, 1); /* back to what was asked for */
    work_settle();
    free(gate);
}

/* ThreadSanitizer else ends a child that starts a thread. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, work_restore)
    const struct CMUnitTest tests[] = {
        TEST(fibers_are_suspended_and_resumed_by_one_descriptor),
        TEST(host_cancels_queued_running_and_done_jobs),
        TEST(cancelled_calls_that_hang_are_written_off_in_time),
        TEST(replaces_hung_threads_only_up_to_the_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
