/* SPDX-License-Identifier: Apache-2.0 */
/* Callers inside an ASYNC_JOB, and those that can have no thread. */
#include "tests/support/work_step.h"

#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/child.h"

/* --- ASYNC_JOB --- */

struct async_call {
    struct kyok_lane *lane;
    struct kyok_job *job;
    enum kyok_status status;
    int64_t timeout_ms;
    bool no_pauses;
    unsigned long first_error, last_error;
    struct kyok_error err;
};

static int call_in_async_job(void *argument)
{
    struct async_call *call = *(struct async_call **)argument;
    bool popped;

    ERR_raise_data(ERR_LIB_USER, 7, "before %d", 1);
    ERR_set_mark();
    if (call->no_pauses)
        ASYNC_block_pause();
    call->status = kyok_job_run(call->job, call->lane, KYOK_WORK_ANY,
                                kyok_deadline_in_ms(call->timeout_ms), &call->err);
    if (call->no_pauses)
        ASYNC_unblock_pause();
    ERR_raise(ERR_LIB_USER, 8);
    popped = ERR_pop_to_mark() == 1;
    call->first_error = ERR_get_error();
    call->last_error = popped ? ERR_get_error() : 1;
    return 1;
}

static int wait_descriptor(ASYNC_WAIT_CTX *context)
{
    OSSL_ASYNC_FD fds[4];
    size_t count = 0;

    assert_true(ASYNC_WAIT_CTX_get_all_fds(context, NULL, &count));
    assert_int_equal(count, 1);
    assert_true(ASYNC_WAIT_CTX_get_all_fds(context, fds, &count));
    return fds[0];
}

static int start_or_resume(ASYNC_JOB **async, ASYNC_WAIT_CTX *context, struct async_call *call)
{
    int result;

    return ASYNC_start_job(async, context, &result, call_in_async_job, &call, sizeof(call));
}

static void async_job_pauses_until_done(void **state)
{
    struct gate *gate = gate_new();
    struct async_call call = {
        .lane = kyok_lane_new("async"), .job = step_new(gate, KYOK_OK), .timeout_ms = 20000};
    ASYNC_WAIT_CTX *context = ASYNC_WAIT_CTX_new();
    ASYNC_JOB *async = NULL;
    int fd;

    (void)state;
    ERR_clear_error();
    assert_int_equal(start_or_resume(&async, context, &call), ASYNC_PAUSE);
    assert_int_equal(work_figures_now().suspended, 1);
    assert_int_equal(ERR_peek_error(), 0); /* the paused caller's errors are its own */
    ERR_raise(ERR_LIB_USER, 99);           /* and so are the host's */
    fd = wait_descriptor(context);
    assert_false(work_readable(fd, 20));
    assert_int_equal(start_or_resume(&async, context, &call), ASYNC_PAUSE); /* resumed too early */
    gate_open(gate);
    assert_true(work_readable(fd, 20000));
    assert_int_equal(start_or_resume(&async, context, &call), ASYNC_FINISH);
    assert_int_equal(call.status, KYOK_OK);
    assert_int_equal(ERR_GET_REASON(call.first_error), 7);
    assert_int_equal(call.last_error, 0);
    assert_false(work_readable(fd, 0));
    kyok_job_free(call.job);

    /* The context keeps its descriptor for the connection's next operation. */
    call.job = step_new(NULL, KYOK_REFUSED);
    async = NULL;
    while (start_or_resume(&async, context, &call) == ASYNC_PAUSE) {
        assert_int_equal(wait_descriptor(context), fd);
        assert_true(work_readable(fd, 20000));
    }
    assert_int_equal(call.status, KYOK_REFUSED);
    assert_string_equal(call.err.what, "step failed");
    kyok_job_free(call.job);
    ASYNC_WAIT_CTX_free(context);
    gate_await(gate, &gate->destroyed, 1);
    free(gate);
}

static void async_descriptor_tells_of_the_deadline(void **state)
{
    struct gate *gate = gate_new();
    struct async_call call = {
        .lane = kyok_lane_new("late"), .job = step_new(gate, KYOK_OK), .timeout_ms = 40};
    ASYNC_WAIT_CTX *context = ASYNC_WAIT_CTX_new();
    ASYNC_JOB *async = NULL;

    (void)state;
    assert_int_equal(start_or_resume(&async, context, &call), ASYNC_PAUSE);
    assert_true(work_readable(wait_descriptor(context), 20000));
    assert_int_equal(start_or_resume(&async, context, &call), ASYNC_FINISH);
    assert_int_equal(call.status, KYOK_TIMEOUT);
    kyok_job_free(call.job);
    gate_open(gate);
    gate_await(gate, &gate->destroyed, 1);
    work_settle();
    assert_false(work_readable(wait_descriptor(context), 0)); /* the late thread told nobody */
    ASYNC_WAIT_CTX_free(context);
    free(gate);
}

static void async_job_waits_where_pauses_are_forbidden(void **state)
{
    struct async_call call = {
        .lane = kyok_lane_new("forbidden"), .job = step_new(NULL, KYOK_OK), .timeout_ms = 20000};
    ASYNC_WAIT_CTX *context = ASYNC_WAIT_CTX_new();
    ASYNC_JOB *async = NULL;

    (void)state;
    call.no_pauses = true;
    assert_int_equal(start_or_resume(&async, context, &call), ASYNC_FINISH);
    assert_int_equal(call.status, KYOK_OK);
    kyok_job_free(call.job);
    ASYNC_WAIT_CTX_free(context);
}

/* Run in a child, as OpenSSL itself never takes back a paused job whose connection is freed. */
static int free_paused_connection(void)
{
    struct gate *gate = gate_new();
    struct async_call call = {
        .lane = kyok_lane_new("lost"), .job = step_new(gate, KYOK_OK), .timeout_ms = 20000};
    ASYNC_WAIT_CTX *context = ASYNC_WAIT_CTX_new();
    ASYNC_JOB *async = NULL;

    if (start_or_resume(&async, context, &call) != ASYNC_PAUSE)
        return 1;
    gate_await(gate, &gate->inside, 1);
    ASYNC_WAIT_CTX_free(context);
    if (work_figures_now().in_flight != 0 || work_figures_now().suspended != 0 ||
        work_figures_now().cancellations != 1 || gate->destroyed != 0)
        return 2;
    gate_open(gate);
    gate_await(gate, &gate->destroyed, 1);
    return 0;
}

static void freed_connection_releases_its_operation(void **state)
{
    pid_t child = fork();

    (void)state;
    if (child == 0)
        _exit(free_paused_connection());
    child_ended_well(child);
}

/* --- no threads --- */

/* Root may have them whatever the limit says. */
static bool forbid_threads(void)
{
    const uid_t nobody = 65534;

    return (geteuid() != 0 || setresuid(nobody, nobody, nobody) == 0) &&
           setrlimit(RLIMIT_NPROC, &(struct rlimit){0, 0}) == 0;
}

/* What a module may take of a thread's stack; sanitizers leave the job on the one that it has. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DEEP 1024
#else
#define DEEP (1 << 20)
#endif

struct deep {
    struct kyok_lane *lane;
    struct kyok_job *inner; /* as a KMIP identity in an HSM asks that for a signature */
};

static enum kyok_status go_deep(void *body, struct kyok_error *err)
{
    struct deep *deep = body;
    volatile char room[DEEP];

    for (size_t i = 0; i < sizeof(room); i += 512)
        room[i] = 1;
    return deep->inner == NULL ? KYOK_OK
                               : kyok_job_run(deep->inner, deep->lane, KYOK_WORK_ANY,
                                              kyok_deadline_in_ms(20000), err);
}

static const struct kyok_job_type deep_type = {
    .name = "deep", .body_size = sizeof(struct deep), .run = go_deep};

/* Gives the step that went wrong. */
static int works_without_threads(void)
{
    struct async_call call = {.lane = kyok_lane_new("alone"), .timeout_ms = 20000};
    ASYNC_WAIT_CTX *context = ASYNC_WAIT_CTX_new();
    ASYNC_JOB *async = NULL;
    struct kyok_job *isolated = step_new(NULL, KYOK_OK);
    struct kyok_error err = {0};

    call.job = step_new(NULL, KYOK_OK);
    if (!forbid_threads())
        return 1;
    if (start_or_resume(&async, context, &call) != ASYNC_FINISH || call.status != KYOK_OK)
        return 2;
    if (!pthread_equal(((struct step *)kyok_job_body(call.job))->thread, pthread_self()))
        return 3;
    if (kyok_job_run(isolated, call.lane, KYOK_WORK_ISOLATE, kyok_deadline_in_ms(20000), &err) !=
        KYOK_SYSTEM)
        return 4;
    if (strstr(err.remedy, "insecure-fork-wanted") == NULL)
        return 5;
    call.job = kyok_job_new(&deep_type);
    *(struct deep *)kyok_job_body(call.job) =
        (struct deep){.lane = call.lane, .inner = kyok_job_new(&deep_type)};
    if (start_or_resume(&async, context, &call) != ASYNC_FINISH || call.status != KYOK_OK)
        return 7;
    return work_figures_now().in_flight == 0 && work_figures_now().suspended == 0 ? 0 : 6;
}

/* As haproxy forbids them. Who may block is served all the same; who wants the deadline is told. */
static void without_threads_callers_run_their_jobs_themselves(void **state)
{
    pid_t child = fork();

    (void)state;
    if (child == 0)
        _exit(works_without_threads());
    child_ended_well(child);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, work_restore)
    const struct CMUnitTest tests[] = {
        TEST(async_job_pauses_until_done),
        TEST(without_threads_callers_run_their_jobs_themselves),
        TEST(async_descriptor_tells_of_the_deadline),
        TEST(async_job_waits_where_pauses_are_forbidden),
        TEST(freed_connection_releases_its_operation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
