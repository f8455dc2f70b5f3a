/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job that runs in its caller, inside an ASYNC_JOB: OpenSSL gives that a stack of 32 KiB, and
 * modules are written for a thread's. So it runs on a stack of its own meanwhile.
 */
#include "common/work/internal.h"

#include <stdint.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define STACK_SIZE ((size_t)8 << 20) /* of address space: little of it is ever touched */

/* Sanitizers want to be told of every switch, and have their own idea of a stack. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MAY_SWITCH false
#else
#define MAY_SWITCH true
#endif

struct visit {
    struct kyok_job *job;
    struct kyok_error *err;
    ucontext_t there, back;
};

/* makecontext() hands over no pointers. */
static _Thread_local struct visit *entering;
static _Thread_local uintptr_t lowest; /* of the stack that this thread switched to last */

static bool is_there(void)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);

    return lowest != 0 && here >= lowest && here - lowest < STACK_SIZE;
}

static void enter(void)
{
    struct visit *visit = entering;

    (void)kyok_job_run_here(visit->job, visit->err);
}

static void switch_to(char *stack, struct kyok_job *job, struct kyok_error *err)
{
    uintptr_t before = lowest;
    struct visit visit = {.job = job, .err = err};

    if (getcontext(&visit.there) != 0) {
        (void)kyok_job_run_here(job, err);
        return;
    }
    visit.there.uc_stack.ss_sp = stack;
    visit.there.uc_stack.ss_size = STACK_SIZE;
    visit.there.uc_link = &visit.back;
    makecontext(&visit.there, enter, 0);
    entering = &visit;
    lowest = (uintptr_t)stack;
    (void)swapcontext(&visit.back, &visit.there);
    entering = NULL;
    lowest = before;
}

enum kyok_status kyok_job_run_on_own_stack(struct kyok_job *job, struct kyok_error *err)
{
    size_t guard = (size_t)sysconf(_SC_PAGESIZE);
    char *stack;

    if (!MAY_SWITCH || is_there())
        return kyok_job_run_here(job, err);
    stack = mmap(NULL, guard + STACK_SIZE, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return kyok_job_run_here(job, err);
    if (mprotect(stack + guard, STACK_SIZE, PROT_READ | PROT_WRITE) == 0)
        switch_to(stack + guard, job, err);
    else
        (void)kyok_job_run_here(job, err);
    (void)munmap(stack, guard + STACK_SIZE);
    return job->status;
}
