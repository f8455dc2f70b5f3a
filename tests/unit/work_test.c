/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs that run directly, block, queue, hang; many callers; forks; the end. */
#include "tests/support/work_step.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/child.h"

/* --- direct and blocking --- */

static void runs_directly_when_it_cannot_suspend(void **state)
{
    struct kyok_lane *lane = kyok_lane_new("direct");
    struct kyok_job *job = step_new(NULL, KYOK_OK);
    struct kyok_error err;

    (void)state;
    assert_false(kyok_work_can_suspend());
    assert_int_equal(kyok_job_run(job, lane, KYOK_WORK_ANY, kyok_deadline_in_ms(1000), &err),
                     KYOK_OK);
    assert_int_equal(step_of(job)->result, 42);
    assert_true(pthread_equal(step_of(job)->thread, pthread_self()));
    assert_int_equal(lane->threads, 0);
    kyok_job_free(job);
}

static void isolated_job_runs_in_a_thread_without_signals(void **state)
{
    struct kyok_lane *lane = kyok_lane_new("isolated");
    struct kyok_job *job = step_new(NULL, KYOK_REFUSED);
    struct kyok_error err;

    (void)state;
    assert_int_equal(kyok_job_run(job, lane, KYOK_WORK_ISOLATE, kyok_deadline_in_ms(9000), &err),
                     KYOK_REFUSED);
    assert_string_equal(err.what, "step failed");
    assert_string_equal(err.object, "thing");
    assert_true(step_of(job)->signals_blocked);
    assert_false(pthread_equal(step_of(job)->thread, pthread_self()));
    kyok_job_free(job);
}

static void waiter_leaves_a_hung_call_at_its_deadline(void **state)
{
    struct kyok_lane *lane = kyok_lane_new("hung");
    struct gate *gate = gate_new();
    struct kyok_job *job = step_new(gate, KYOK_OK), *other = step_new(NULL, KYOK_OK);
    struct kyok_work_figures before = work_figures_now();
    int64_t start = kyok_now_ns();
    struct kyok_error err;

    (void)state;
    work_set(1, 0, 0);
    assert_int_equal(kyok_job_run(job, lane, KYOK_WORK_ISOLATE, kyok_deadline_in_ms(1000), &err),
                     KYOK_TIMEOUT);
    assert_true(kyok_now_ns() - start >= 1000000000);
    assert_string_equal(err.object, "hung");
    assert_int_equal(work_figures_now().written_off, 1);
    assert_int_equal(work_figures_now().timeouts, before.timeouts + 1);
    assert_int_equal(work_figures_now().in_flight, 0);

    /* The only thread hangs; another has taken its place. */
    assert_int_equal(kyok_job_run(other, lane, KYOK_WORK_ISOLATE, kyok_deadline_in_ms(9000), &err),
                     KYOK_OK);
    kyok_job_free(other);

    /* The waiter's reference goes first; the body lives until the thread returns. */
    kyok_job_free(job);
    assert_int_equal(gate->destroyed, 0);
    gate_open(gate);
    gate_await(gate, &gate->destroyed, 1);
    work_settle();
    free(gate);
}

static void queued_job_is_dropped_at_its_deadline(void **state)
{
    struct kyok_lane *lane = kyok_lane_new("queue");
    struct gate *gate = gate_new();
    struct kyok_job *queued = step_new(gate, KYOK_OK);
    struct kyok_error err;

    (void)state;
    work_set(1, 0, 0);
    assert_int_equal(kyok_job_start(step_new(gate, KYOK_OK), lane, &err), KYOK_OK);
    gate_await(gate, &gate->inside, 1);
    assert_int_equal(kyok_job_run(queued, lane, KYOK_WORK_ISOLATE, kyok_deadline_in_ms(30), &err),
                     KYOK_TIMEOUT);
    assert_non_null(strstr(err.what, "no free executor thread"));
    assert_int_equal(lane->queued, 0);
    kyok_job_free(queued);
    assert_int_equal(gate->destroyed, 1);
    gate_open(gate);
    gate_await(gate, &gate->destroyed, 2);
    assert_int_equal(gate->inside, 1);
    work_settle();
    free(gate);
}

static void refuses_beyond_the_limit_in_flight(void **state)
{
    struct kyok_lane *lane = kyok_lane_new("limit");
    struct gate *gate = gate_new();
    struct kyok_job *job = step_new(NULL, KYOK_OK);
    uint64_t refused = work_figures_now().refused;
    struct kyok_error err;

    (void)state;
    work_set(1, 2, 0);
    assert_int_equal(kyok_job_start(step_new(gate, KYOK_OK), lane, &err), KYOK_OK);
    assert_int_equal(kyok_job_start(step_new(gate, KYOK_OK), lane, &err), KYOK_OK); /* queued */
    assert_int_equal(kyok_job_run(job, lane, KYOK_WORK_ANY, kyok_deadline_in_ms(1000), &err),
                     KYOK_BUSY);
    assert_int_equal(work_figures_now().refused, refused + 1);
    assert_int_equal(kyok_job_start_aside(step_new(gate, KYOK_OK), lane, &err), KYOK_OK);
    assert_int_equal(work_figures_now().in_flight, 2);
    kyok_job_free(job);
    gate_open(gate);
    gate_await(gate, &gate->destroyed, 3);
    work_settle();
    free(gate);
}

static void configured_timeout_overrides_the_callers(void **state)
{
    struct kyok_lane *lane = kyok_lane_new("override");
    struct gate *gate = gate_new();
    struct kyok_job *job = step_new(gate, KYOK_OK);
    struct kyok_error err;

    (void)state;
    work_set(0, 0, 30);
    assert_int_equal(kyok_job_run(job, lane, KYOK_WORK_ISOLATE, kyok_deadline_never(), &err),
                     KYOK_TIMEOUT);
    kyok_job_free(job);
    gate_open(gate);
    gate_await(gate, &gate->destroyed, 1);
    work_settle();
    free(gate);
}

struct outer {
    struct kyok_lane *lane;
    bool could_suspend, same_thread;
};

static enum kyok_status outer_run(void *body, struct kyok_error *err)
{
    struct outer *outer = body;
    struct kyok_job *inner = step_new(NULL, KYOK_OK);
    enum kyok_status status;

    outer->could_suspend = kyok_work_can_suspend();
    status = kyok_job_run(inner, outer->lane, KYOK_WORK_ISOLATE, kyok_deadline_in_ms(9000), err);
    outer->same_thread = pthread_equal(step_of(inner)->thread, pthread_self());
    kyok_job_free(inner);
    return status;
}

static void nested_job_runs_on_the_executors_own_thread(void **state)
{
    static const struct kyok_job_type outer_type = {"outer", sizeof(struct outer), outer_run, NULL};
    struct kyok_job *job = kyok_job_new(&outer_type);
    struct outer *outer = kyok_job_body(job);
    struct kyok_error err;

    (void)state;
    work_set(1, 1, 0);
    outer->lane = kyok_lane_new("nested");
    assert_int_equal(
        kyok_job_run(job, outer->lane, KYOK_WORK_ISOLATE, kyok_deadline_in_ms(9000), &err),
        KYOK_OK);
    assert_true(outer->same_thread);
    assert_false(outer->could_suspend);
    kyok_job_free(job);
}

/* --- many threads --- */

#define CALLERS 64
#define CALLS 200

struct caller {
    pthread_t thread;
    struct kyok_lane *lane;
    unsigned failed;
    unsigned seed;
};

static void *call_repeatedly(void *argument)
{
    struct caller *caller = argument;
    struct kyok_error err;
    int i;

    for (i = 0; i < CALLS; i++) {
        bool fails = rand_r(&caller->seed) % 4 == 0;
        struct kyok_job *job = step_new(NULL, fails ? KYOK_REFUSED : KYOK_OK);
        int64_t ms = rand_r(&caller->seed) % 8 == 0 ? 0 : 20000;
        enum kyok_status status =
            kyok_job_run(job, caller->lane, KYOK_WORK_ISOLATE, kyok_deadline_in_ms(ms), &err);

        if (status != KYOK_TIMEOUT &&
            (status != (fails ? KYOK_REFUSED : KYOK_OK) || step_of(job)->result != 42))
            caller->failed++;
        if (status == KYOK_TIMEOUT && ms != 0)
            caller->failed++;
        kyok_job_free(job);
    }
    return NULL;
}

static void sixty_four_callers_share_a_lane(void **state)
{
    struct kyok_lane *lane = kyok_lane_new("crowd");
    struct caller callers[CALLERS];
    int i;

    (void)state;
    work_set(16, 0, 0);
    for (i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.lane = lane, .seed = (unsigned)i + 1};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call_repeatedly, &callers[i]), 0);
    }
    for (i = 0; i < CALLERS; i++) {
        pthread_join(callers[i].thread, NULL);
        assert_int_equal(callers[i].failed, 0);
    }
    work_settle();
    pthread_mutex_lock(&lane->lock);
    assert_in_range(lane->threads, 1, 16);
    assert_int_equal(lane->queued, 0);
    pthread_mutex_unlock(&lane->lock);
}

/* --- fork, and the end --- */

static int child_works_anew(struct kyok_lane *parents_lane)
{
    struct kyok_lane *lane = kyok_lane_new("child");
    struct kyok_job *job = step_new(NULL, KYOK_OK), *stale = step_new(NULL, KYOK_OK);
    struct kyok_error err;

    if (work_figures_now().threads != 0 || work_figures_now().in_flight != 0)
        return 1;
    if (kyok_job_run(job, lane, KYOK_WORK_ISOLATE, kyok_deadline_in_ms(9000), &err) != KYOK_OK)
        return 2;
    if (kyok_job_run(stale, parents_lane, KYOK_WORK_ANY, kyok_deadline_in_ms(9000), &err) !=
        KYOK_FAULT)
        return 3;
    kyok_job_free(job);
    kyok_job_free(stale);
    return 0;
}

static void forked_child_starts_with_nothing(void **state)
{
    struct kyok_lane *lane = kyok_lane_new("parent");
    struct gate *gate = gate_new();
    struct kyok_error err;
    pid_t child;

    (void)state;
    assert_int_equal(kyok_job_start(step_new(gate, KYOK_OK), lane, &err), KYOK_OK);
    gate_await(gate, &gate->inside, 1);
    child = fork();
    if (child == 0)
        _exit(child_works_anew(lane));
    child_ended_well(child);
    gate_open(gate);
    gate_await(gate, &gate->destroyed, 1);
    work_settle();
    free(gate);
}

/* One call runs, another job waits for its thread: the process ends. */
static int ends_while_a_call_runs(void)
{
    struct kyok_lane *lane = kyok_lane_new("ending");
    struct gate *running = gate_new(), *queued = gate_new();
    struct kyok_error err;

    work_set(1, 0, 0);
    if (kyok_job_start(step_new(running, KYOK_OK), lane, &err) != KYOK_OK)
        return 1;
    gate_await(running, &running->inside, 1);
    if (kyok_job_start(step_new(queued, KYOK_OK), lane, &err) != KYOK_OK)
        return 2;
    if (kyok_work_end(kyok_deadline_in_ms(20)))
        return 3;
    gate_open(running);
    if (!kyok_work_end(kyok_deadline_in_ms(20000)))
        return 4;
    gate_await(running, &running->destroyed, 1);
    return queued->inside == 0 ? 0 : 5;
}

static void the_end_waits_for_calls_and_begins_none(void **state)
{
    pid_t child = fork();

    (void)state;
    if (child == 0)
        _exit(ends_while_a_call_runs());
    child_ended_well(child);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, work_restore)
    const struct CMUnitTest tests[] = {
        TEST(runs_directly_when_it_cannot_suspend),
        TEST(isolated_job_runs_in_a_thread_without_signals),
        TEST(waiter_leaves_a_hung_call_at_its_deadline),
        TEST(queued_job_is_dropped_at_its_deadline),
        TEST(refuses_beyond_the_limit_in_flight),
        TEST(configured_timeout_overrides_the_callers),
        TEST(nested_job_runs_on_the_executors_own_thread),
        TEST(sixty_four_callers_share_a_lane),
        TEST(forked_child_starts_with_nothing),
        TEST(the_end_waits_for_calls_and_begins_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
