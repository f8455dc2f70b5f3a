
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Fibers: stacks of their own, with a guard page, touched only as deep as
 * they are used, and kept for reuse.  A fiber is only ever resumed until its
 * function returns; one that is suspended is never freed.
 */


#include "ngx_kyok.h"

#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define NGX_KYOK_ASAN  1
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#define NGX_KYOK_VALGRIND  1
#include <valgrind/valgrind.h>
#endif
#endif


/*
 * Address space, as much as a main stack has: nginx's own handlers touch some
 * 16 KiB of it, but certificates may be chosen by Lua.
 */
#define NGX_KYOK_STACK_SIZE   (8 * 1024 * 1024)
#define NGX_KYOK_FIBERS_KEPT  512


struct ngx_kyok_fiber_s {
    ucontext_t          own;
    ucontext_t          caller;
    ngx_kyok_fiber_pt   function;
    void               *data;
    ngx_kyok_fiber_t   *next;
    u_char             *stack;
#if (NGX_KYOK_ASAN)
    void               *own_fake;
    void               *caller_fake;
    const void         *caller_stack;
    size_t              caller_size;
#endif
#if (NGX_KYOK_VALGRIND)
    unsigned            valgrind;
#endif
};


static ngx_kyok_fiber_t *ngx_kyok_fiber_create(ngx_log_t *log);
static void ngx_kyok_fiber_destroy(ngx_kyok_fiber_t *fiber);
static void ngx_kyok_fiber_main(void);
static void ngx_kyok_fiber_entered(ngx_kyok_fiber_t *fiber);


static ngx_kyok_fiber_t  *ngx_kyok_free_fibers;
static ngx_kyok_fiber_t  *ngx_kyok_new_fiber;
static ngx_uint_t         ngx_kyok_nfree_fibers;
static ngx_uint_t         ngx_kyok_fibers_failed;


ngx_kyok_fiber_t *
ngx_kyok_fiber_get(ngx_log_t *log)
{
    ngx_kyok_fiber_t  *fiber;

    fiber = ngx_kyok_free_fibers;

    if (fiber == NULL) {
        return ngx_kyok_fiber_create(log);
    }

    ngx_kyok_free_fibers = fiber->next;
    ngx_kyok_nfree_fibers--;

    return fiber;
}


void
ngx_kyok_fiber_put(ngx_kyok_fiber_t *fiber)
{
    if (ngx_kyok_nfree_fibers == NGX_KYOK_FIBERS_KEPT) {
        ngx_kyok_fiber_destroy(fiber);
        return;
    }

    fiber->next = ngx_kyok_free_fibers;
    ngx_kyok_free_fibers = fiber;
    ngx_kyok_nfree_fibers++;
}


static ngx_kyok_fiber_t *
ngx_kyok_fiber_create(ngx_log_t *log)
{
    ngx_kyok_fiber_t  *fiber;

    fiber = ngx_calloc(sizeof(ngx_kyok_fiber_t), log);
    if (fiber == NULL) {
        return NULL;
    }

    fiber->stack = mmap(NULL, ngx_pagesize + NGX_KYOK_STACK_SIZE, PROT_NONE,
                        MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE|MAP_STACK,
                        -1, 0);

    if (fiber->stack == MAP_FAILED) {
        goto failed;
    }

    if (mprotect(fiber->stack + ngx_pagesize, NGX_KYOK_STACK_SIZE,
                 PROT_READ|PROT_WRITE)
        == -1)
    {
        munmap(fiber->stack, ngx_pagesize + NGX_KYOK_STACK_SIZE);
        goto failed;
    }

    if (getcontext(&fiber->own) == -1) {
        munmap(fiber->stack, ngx_pagesize + NGX_KYOK_STACK_SIZE);
        goto failed;
    }

    fiber->own.uc_stack.ss_sp = fiber->stack + ngx_pagesize;
    fiber->own.uc_stack.ss_size = NGX_KYOK_STACK_SIZE;
    fiber->own.uc_link = NULL;

#if (NGX_KYOK_VALGRIND)
    fiber->valgrind = VALGRIND_STACK_REGISTER(fiber->stack + ngx_pagesize,
                                              fiber->stack + ngx_pagesize
                                              + NGX_KYOK_STACK_SIZE);
#endif

    makecontext(&fiber->own, ngx_kyok_fiber_main, 0);

    ngx_kyok_new_fiber = fiber;
    ngx_kyok_fiber_resume(fiber);

    return fiber;

failed:

    if (!ngx_kyok_fibers_failed) {
        ngx_kyok_fibers_failed = 1;
        ngx_log_error(NGX_LOG_WARN, log, ngx_errno,
                      "kyok: no stack for a fiber, key operations block the "
                      "worker where that happens (said once)");
    }

    ngx_free(fiber);

    return NULL;
}


static void
ngx_kyok_fiber_destroy(ngx_kyok_fiber_t *fiber)
{
#if (NGX_KYOK_VALGRIND)
    VALGRIND_STACK_DEREGISTER(fiber->valgrind);
#endif

    munmap(fiber->stack, ngx_pagesize + NGX_KYOK_STACK_SIZE);
    ngx_free(fiber);
}


/* Makecontext() hands over no pointers: the first resume leaves one behind. */

static void
ngx_kyok_fiber_main(void)
{
    ngx_kyok_fiber_t  *fiber;

    fiber = ngx_kyok_new_fiber;

    ngx_kyok_fiber_entered(fiber);

    for ( ;; ) {
        ngx_kyok_fiber_yield(fiber);
        fiber->function(fiber->data);
    }
}


void
ngx_kyok_fiber_start(ngx_kyok_fiber_t *fiber, ngx_kyok_fiber_pt function,
    void *data)
{
    fiber->function = function;
    fiber->data = data;

    ngx_kyok_fiber_resume(fiber);
}


void
ngx_kyok_fiber_resume(ngx_kyok_fiber_t *fiber)
{
#if (NGX_KYOK_ASAN)
    __sanitizer_start_switch_fiber(&fiber->caller_fake,
                                   fiber->stack + ngx_pagesize,
                                   NGX_KYOK_STACK_SIZE);
#endif

    (void) swapcontext(&fiber->caller, &fiber->own);

#if (NGX_KYOK_ASAN)
    __sanitizer_finish_switch_fiber(fiber->caller_fake, NULL, NULL);
#endif
}


void
ngx_kyok_fiber_yield(ngx_kyok_fiber_t *fiber)
{
#if (NGX_KYOK_ASAN)
    __sanitizer_start_switch_fiber(&fiber->own_fake, fiber->caller_stack,
                                   fiber->caller_size);
#endif

    (void) swapcontext(&fiber->own, &fiber->caller);

    ngx_kyok_fiber_entered(fiber);
}


static void
ngx_kyok_fiber_entered(ngx_kyok_fiber_t *fiber)
{
#if (NGX_KYOK_ASAN)
    __sanitizer_finish_switch_fiber(fiber->own_fake, &fiber->caller_stack,
                                    &fiber->caller_size);
#endif
}
