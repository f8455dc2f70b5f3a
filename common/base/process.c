/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/process.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * The mark lives in a page that the kernel zeroes in a forked child (MADV_WIPEONFORK, Linux 4.14),
 * so a child sees 0 however it was made, with no atfork handler and no lock.
 */
struct process {
    uint64_t generation;
    _Atomic(void *) state[KYOK_PROCESS_SLOTS];
};

static _Atomic(_Atomic(struct process *) *) mark;
static _Atomic uint64_t last_generation;
/* Leak checkers do not look into mapped pages: this keeps the object reachable for them. */
static _Atomic(struct process *) newest;

/* With no memory for one page nothing else will work either, but a library must not abort. */
static _Atomic(struct process *) mark_without_memory;
static struct process process_without_memory = {.generation = 1};

static _Atomic(struct process *) *make_mark(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    _Atomic(struct process *) *fresh =
        mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    _Atomic(struct process *) *expected = NULL;

    if (fresh == MAP_FAILED)
        return &mark_without_memory;
    (void)madvise(fresh, page, MADV_WIPEONFORK);
    if (atomic_compare_exchange_strong(&mark, &expected, fresh))
        return fresh;
    munmap(fresh, page);
    return expected;
}

static struct process *this_process(void)
{
    _Atomic(struct process *) *where = atomic_load_explicit(&mark, memory_order_acquire);
    struct process *now, *fresh;

    if (where == NULL)
        where = make_mark();
    now = atomic_load_explicit(where, memory_order_acquire);
    if (now != NULL)
        return now;
    fresh = calloc(1, sizeof(*fresh));
    if (fresh == NULL)
        return &process_without_memory;
    fresh->generation = atomic_fetch_add(&last_generation, 1) + 1;
    if (atomic_compare_exchange_strong(where, &now, fresh)) {
        atomic_store(&newest, fresh);
        return fresh;
    }
    free(fresh);
    return now;
}

uint64_t kyok_process_generation(void)
{
    return this_process()->generation;
}

void *kyok_process_state(enum kyok_process_slot slot, void *(*create)(void),
                         void (*discard)(void *))
{
    _Atomic(void *) *where = &this_process()->state[slot];
    void *state = atomic_load_explicit(where, memory_order_acquire);
    void *fresh;

    if (state != NULL)
        return state;
    fresh = create();
    if (fresh == NULL)
        return NULL;
    if (atomic_compare_exchange_strong(where, &state, fresh))
        return fresh;
    discard(fresh);
    return state;
}
