/* SPDX-License-Identifier: Apache-2.0 */
#include "common/work/internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <cmocka.h>

/* --- a job that the test holds in the call until it lets go -------------------------------------
 */

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

static struct gate *gate_new(void)
{
    struct gate *gate = calloc(1, sizeof(*gate));

    assert_non_null(gate);
    pthread_mutex_init(&gate->lock, NULL);
    pthread_cond_init(&gate->changed, NULL);
    return gate;
}

static void gate_open(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->open = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

/* Until count calls are inside (or, destroyed set, that many bodies have been destroyed). */
static void gate_await(struct gate *gate, unsigned *what, unsigned count)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
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

static struct kyok_job *step_new(struct gate *gate, enum kyok_status status)
{
    struct kyok_job *job = kyok_job_new(&step_type);

    assert_non_null(job);
    ((struct step *)kyok_job_body(job))->gate = gate;
    ((struct step *)kyok_job_body(job))->status = status;
    return job;
}

static struct step *step_of(struct kyok_job *job)
{
    return kyok_job_body(job);
}

static struct kyok_work_figures figures_now(void)
{
    struct kyok_work_figures figures;

    kyok_work_figures(&figures);
    return figures;
}

/* Written-off threads and jobs in flight come back a moment after their gate opens. */
static void settle(void)
{
    int i;

    for (i = 0; i < 2000; i++) {
        if (figures_now().written_off == 0 && figures_now().in_flight == 0)
            return;
        usleep(5000);
    }
    fail_msg("written-off threads have not come back");
}

static unsigned threads_of(struct kyok_lane *lane)
{
    struct kyok_work_figures figures = {0};

    kyok_lane_figures(lane, &figures);
    return (unsigned)figures.threads;
}

static void configure(unsigned threads, unsigned max_inflight, unsigned timeout_ms)
{
    const struct kyok_work_settings settings = {threads, max_inflight, timeout_ms, false};

    kyok_work_configure(&settings);
}

static int restore(void **state)
{
    (void)state;
    kyok_work_set_hook(NULL);
    configure(0, 0, 0);
    settle();
    return 0;
}

/* --- direct and blocking ------------------------------------------------------------------------
 */

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
    struct kyok_work_figures before = figures_now();
    int64_t start = kyok_now_ns();
    struct kyok_error err;

    (void)state;
    configure(1, 0, 0);
    assert_int_equal(kyok_job_run(job, lane, KYOK_WORK_ISOLATE, kyok_deadline_in_ms(1000), &err),
                     KYOK_TIMEOUT);
    assert_true(kyok_now_ns() - start >= 1000000000);
    assert_string_equal(err.object, "hung");
    assert_int_equal(figures_now().written_off, 1);
    assert_int_equal(figures_now().timeouts, before.timeouts + 1);
    assert_int_equal(figures_now().in_flight, 0);

    /* The only thread hangs; another has taken its place. */
    assert_int_equal(kyok_job_run(other, lane, KYOK_WORK_ISOLATE, kyok_deadline_in_ms(9000), &err),
                     KYOK_OK);
    kyok_job_free(other);

    /* The waiter's reference goes first; the body lives until the thread returns. */
    kyok_job_free(job);
    assert_int_equal(gate->destroyed, 0);
    gate_open(gate);
    gate_await(gate, &gate->destroyed, 1);
    settle();
    free(gate);
}

static void queued_job_is_dropped_at_its_deadline(void **state)
{
    struct kyok_lane *lane = kyok_lane_new("queue");
    struct gate *gate = gate_new();
    struct kyok_job *queued = step_new(gate, KYOK_OK);
    struct kyok_error err;

    (void)state;
    configure(1, 0, 0);
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
    settle();
    free(gate);
}

static void refuses_beyond_the_limit_in_flight(void **state)
{
    struct kyok_lane *lane = kyok_lane_new("limit");
    struct gate *gate = gate_new();
    struct kyok_job *job = step_new(NULL, KYOK_OK);
    uint64_t refused = figures_now().refused;
    struct kyok_error err;

    (void)state;
    configure(1, 2, 0);
    assert_int_equal(kyok_job_start(step_new(gate, KYOK_OK), lane, &err), KYOK_OK);
    assert_int_equal(kyok_job_start(step_new(gate, KYOK_OK), lane, &err), KYOK_OK); /* queued */
    assert_int_equal(kyok_job_run(job, lane, KYOK_WORK_ANY, kyok_deadline_in_ms(1000), &err),
                     KYOK_BUSY);
    assert_int_equal(figures_now().refused, refused + 1);
    assert_int_equal(kyok_job_start_aside(step_new(gate, KYOK_OK), lane, &err), KYOK_OK);
    assert_int_equal(figures_now().in_flight, 2);
    kyok_job_free(job);
    gate_open(gate);
    gate_await(gate, &gate->destroyed, 3);
    settle();
    free(gate);
}

static void configured_timeout_overrides_the_callers(void **state)
{
    struct kyok_lane *lane = kyok_lane_new("override");
    struct gate *gate = gate_new();
    struct kyok_job *job = step_new(gate, KYOK_OK);
    struct kyok_error err;

    (void)state;
    configure(0, 0, 30);
    assert_int_equal(kyok_job_run(job, lane, KYOK_WORK_ISOLATE, kyok_deadline_never(), &err),
                     KYOK_TIMEOUT);
    kyok_job_free(job);
    gate_open(gate);
    gate_await(gate, &gate->destroyed, 1);
    settle();
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
    configure(1, 1, 0);
    outer->lane = kyok_lane_new("nested");
    assert_int_equal(
        kyok_job_run(job, outer->lane, KYOK_WORK_ISOLATE, kyok_deadline_in_ms(9000), &err),
        KYOK_OK);
    assert_true(outer->same_thread);
    assert_false(outer->could_suspend);
    kyok_job_free(job);
}

/* --- many threads -------------------------------------------------------------------------------
 */

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
    configure(16, 0, 0);
    for (i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.lane = lane, .seed = (unsigned)i + 1};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call_repeatedly, &callers[i]), 0);
    }
    for (i = 0; i < CALLERS; i++) {
        pthread_join(callers[i].thread, NULL);
        assert_int_equal(callers[i].failed, 0);
    }
    settle();
    pthread_mutex_lock(&lane->lock);
    assert_in_range(lane->threads, 1, 16);
    assert_int_equal(lane->queued, 0);
    pthread_mutex_unlock(&lane->lock);
}

/* --- fork
 * ------------------------------------------------------------------------------------------- */

static int child_works_anew(struct kyok_lane *parents_lane)
{
    struct kyok_lane *lane = kyok_lane_new("child");
    struct kyok_job *job = step_new(NULL, KYOK_OK), *stale = step_new(NULL, KYOK_OK);
    struct kyok_error err;

    if (figures_now().threads != 0 || figures_now().in_flight != 0)
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
    int status;
    pid_t child;

    (void)state;
    assert_int_equal(kyok_job_start(step_new(gate, KYOK_OK), lane, &err), KYOK_OK);
    gate_await(gate, &gate->inside, 1);
    child = fork();
    if (child == 0)
        _exit(child_works_anew(lane));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    gate_open(gate);
    gate_await(gate, &gate->destroyed, 1);
    settle();
    free(gate);
}

/* One call runs, another job waits for its thread: the process ends. */
static int ends_while_a_call_runs(void)
{
    struct kyok_lane *lane = kyok_lane_new("ending");
    struct gate *running = gate_new(), *queued = gate_new();
    struct kyok_error err;

    configure(1, 0, 0);
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
    int status;
    pid_t child = fork();

    (void)state;
    if (child == 0)
        _exit(ends_while_a_call_runs());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* --- ASYNC_JOB
 * -------------------------------------------------------------------------------------- */

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

static bool readable(int fd, int timeout_ms)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};

    return poll(&wanted, 1, timeout_ms) == 1;
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
    assert_int_equal(figures_now().suspended, 1);
    assert_int_equal(ERR_peek_error(), 0); /* the paused caller's errors are its own */
    ERR_raise(ERR_LIB_USER, 99);           /* and so are the host's */
    fd = wait_descriptor(context);
    assert_false(readable(fd, 20));
    assert_int_equal(start_or_resume(&async, context, &call), ASYNC_PAUSE); /* resumed too early */
    gate_open(gate);
    assert_true(readable(fd, 20000));
    assert_int_equal(start_or_resume(&async, context, &call), ASYNC_FINISH);
    assert_int_equal(call.status, KYOK_OK);
    assert_int_equal(ERR_GET_REASON(call.first_error), 7);
    assert_int_equal(call.last_error, 0);
    assert_false(readable(fd, 0));
    kyok_job_free(call.job);

    /* The context keeps its descriptor for the connection's next operation. */
    call.job = step_new(NULL, KYOK_REFUSED);
    async = NULL;
    while (start_or_resume(&async, context, &call) == ASYNC_PAUSE) {
        assert_int_equal(wait_descriptor(context), fd);
        assert_true(readable(fd, 20000));
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
    assert_true(readable(wait_descriptor(context), 20000));
    assert_int_equal(start_or_resume(&async, context, &call), ASYNC_FINISH);
    assert_int_equal(call.status, KYOK_TIMEOUT);
    kyok_job_free(call.job);
    gate_open(gate);
    gate_await(gate, &gate->destroyed, 1);
    settle();
    assert_false(readable(wait_descriptor(context), 0)); /* the late thread told nobody */
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
    if (figures_now().in_flight != 0 || figures_now().suspended != 0 ||
        figures_now().cancellations != 1 || gate->destroyed != 0)
        return 2;
    gate_open(gate);
    gate_await(gate, &gate->destroyed, 1);
    return 0;
}

static void freed_connection_releases_its_operation(void **state)
{
    pid_t child = fork();
    int status;

    (void)state;
    if (child == 0)
        _exit(free_paused_connection());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* --- a host with fibers
 * ------------------------------------------------------------------------------ */

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
    configure(8, 0, 0);
    for (i = 0; i < FIBERS; i++) {
        fiber_start(&fibers[i], lane, step_new(gate, i % 2 ? KYOK_OK : KYOK_REFUSED));
        assert_true(fibers[i].suspended);
    }
    assert_int_equal(figures_now().suspended, FIBERS);
    assert_false(readable(fd, 20));
    gate_open(gate);
    while (finished < FIBERS) {
        assert_true(readable(fd, 20000));
        resume_done();
        for (finished = 0, i = 0; i < FIBERS; i++)
            finished += fibers[i].finished;
    }
    for (i = 0; i < FIBERS; i++) {
        assert_int_equal(fibers[i].status, i % 2 ? KYOK_OK : KYOK_REFUSED);
        fiber_release(&fibers[i]);
    }
    assert_false(readable(fd, 0));
    assert_int_equal(figures_now().suspended, 0);
    gate_await(gate, &gate->destroyed, FIBERS);
    free(gate);
}

static void host_cancels_queued_running_and_done_jobs(void **state)
{
    struct kyok_lane *lane = kyok_lane_new("cancel");
    struct gate *gate = gate_new();
    uint64_t before = figures_now().cancellations;
    struct fiber running, queued, done[3];
    int fd = host_set_up(), i;

    (void)state;
    configure(1, 0, 0);
    fiber_start(&running, lane, step_new(gate, KYOK_OK));
    gate_await(gate, &gate->inside, 1);
    fiber_start(&queued, lane, step_new(gate, KYOK_OK));
    fiber_resume(&queued, KYOK_WAIT_CANCELLED);
    fiber_resume(&running, KYOK_WAIT_CANCELLED);
    assert_int_equal(queued.status, KYOK_CANCELLED);
    assert_int_equal(running.status, KYOK_CANCELLED);
    assert_int_equal(figures_now().cancellations, before + 2);
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
    assert_true(readable(fd, 20000));
    resume_done();
    for (i = 0; i < 3; i++) {
        assert_true(done[i].finished);
        assert_int_equal(done[i].status, KYOK_OK);
        fiber_release(&done[i]);
    }
    assert_false(readable(fd, 0));
    free(gate);
}

static void cancelled_calls_that_hang_are_written_off_in_time(void **state)
{
    struct kyok_lane *lane = kyok_lane_new("stuck");
    struct gate *gate = gate_new();
    struct fiber gone, next;
    int fd = host_set_up();

    (void)state;
    configure(1, 0, 0);
    fiber_start(&gone, lane, step_new(gate, KYOK_OK));
    gate_await(gate, &gate->inside, 1);
    gone.job->deadline = kyok_deadline_in_ms(0);
    fiber_resume(&gone, KYOK_WAIT_CANCELLED);
    fiber_release(&gone);
    fiber_start(&next, lane, step_new(NULL, KYOK_OK));
    assert_true(readable(fd, 20000));
    resume_done();
    assert_int_equal(next.status, KYOK_OK);
    fiber_release(&next);
    gate_open(gate);
    gate_await(gate, &gate->destroyed, 1);
    settle();
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
    configure(1, 0, 0);
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
    for (i = 0; i < 4000 && threads_of(lane) > 1; i++)
        usleep(5000);
    assert_in_range(threads_of(lane), 0, 1); /* back to what was asked for */
    settle();
    free(gate);
}

/* ThreadSanitizer else ends a child that starts a thread. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}

/* --- no threads ------------------------------------------------------------------------------
 */

/* Root may have them whatever the limit says. */
static bool forbid_threads(void)
{
    const uid_t nobody = 65534;

    return (geteuid() != 0 || setresuid(nobody, nobody, nobody) == 0) &&
           setrlimit(RLIMIT_NPROC, &(struct rlimit){0, 0}) == 0;
}

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
    return figures_now().in_flight == 0 && figures_now().suspended == 0 ? 0 : 6;
}

/* As haproxy forbids them. Who may block is served all the same; who wants the deadline is told. */
static void without_threads_callers_run_their_jobs_themselves(void **state)
{
    int status;
    pid_t child = fork();

    (void)state;
    if (child == 0)
        _exit(works_without_threads());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, restore)
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
        TEST(async_job_pauses_until_done),
        TEST(without_threads_callers_run_their_jobs_themselves),
        TEST(async_descriptor_tells_of_the_deadline),
        TEST(async_job_waits_where_pauses_are_forbidden),
        TEST(freed_connection_releases_its_operation),
        TEST(fibers_are_suspended_and_resumed_by_one_descriptor),
        TEST(host_cancels_queued_running_and_done_jobs),
        TEST(cancelled_calls_that_hang_are_written_off_in_time),
        TEST(replaces_hung_threads_only_up_to_the_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
