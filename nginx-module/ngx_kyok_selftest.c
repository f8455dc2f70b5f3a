
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Each worker signs once with each key, in the background: "nginx -t" runs as
 * root, and may reach a token that workers cannot.  A custodian that has just
 * come up is not to be flooded, so that all workers together have a few such
 * signatures under way there.  One that fails is tried again, less and less
 * often: tokens are away for a moment when another process logs in, and
 * custodians come up later than nginx.
 */


#include "ngx_kyok.h"

#include <pthread.h>
#include <sys/mman.h>


/* under way at a custodian, of all workers */
#define NGX_KYOK_TESTS_AT_ONCE   4
/* custodians, by a hash of their names: those that share one share its limit */
#define NGX_KYOK_GATES           61
/* a test that takes longer is reported (ms) */
#define NGX_KYOK_TEST_PATIENCE   15000
/* and one that has not had its turn is given up (s) */
#define NGX_KYOK_TEST_TURN       300
/* after a failure (ms), doubled with each */
#define NGX_KYOK_TEST_AGAIN      1000
#define NGX_KYOK_TEST_AGAIN_MOST 60000
/* failures in a row that are told */
#define NGX_KYOK_TEST_BAD        2


/*
 * In memory of all workers, also of those of the next configuration.  A lock
 * is held for the time of a test; a worker that is killed leaves it to others.
 */

typedef struct {
    pthread_mutex_t  turns[NGX_KYOK_TESTS_AT_ONCE];
} ngx_kyok_gate_t;


typedef struct {
    ngx_kyok_key_t  *key;
} ngx_kyok_test_t;


static ngx_int_t ngx_kyok_gate_init(ngx_kyok_gate_t *gate);
static ngx_uint_t ngx_kyok_key_gate(ngx_kyok_key_t *key);
static void ngx_kyok_keys_test_more(void);
static ngx_int_t ngx_kyok_key_begin(ngx_kyok_key_t *key);
static enum kyok_status ngx_kyok_key_test(void *body, struct kyok_error *err);
static enum kyok_status ngx_kyok_key_take_turn(ngx_kyok_key_t *key,
    struct kyok_error *err);
static enum kyok_status ngx_kyok_key_sign(ngx_kyok_key_t *key,
    struct kyok_error *err);
static void ngx_kyok_key_fail(struct kyok_error *err, ngx_kyok_key_t *key);
static void ngx_kyok_key_tested(ngx_kyok_key_t *key, ngx_log_t *log);
static void ngx_kyok_keys_try_again(void);
static void ngx_kyok_test_again_handler(ngx_event_t *ev);
static void ngx_kyok_test_patience_handler(ngx_event_t *ev);


static const struct kyok_job_type  ngx_kyok_test_type = {
    "self-test",
    sizeof(ngx_kyok_test_t),
    ngx_kyok_key_test,
    NULL
};


static ngx_kyok_gate_t   *ngx_kyok_gates;

static ngx_array_t        ngx_kyok_keys;
static struct kyok_lane  *ngx_kyok_test_lane;
static int                ngx_kyok_test_notice;
static ngx_event_t        ngx_kyok_test_patience;
static ngx_event_t        ngx_kyok_test_again;
static ngx_connection_t   ngx_kyok_test_dummy;


/* In the master, before it forks: once, for all configurations. */

ngx_int_t
ngx_kyok_keys_gates(ngx_log_t *log)
{
    ngx_uint_t  i;

    if (ngx_kyok_gates) {
        return NGX_OK;
    }

    ngx_kyok_gates = mmap(NULL, sizeof(ngx_kyok_gate_t) * NGX_KYOK_GATES,
                          PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS,
                          -1, 0);

    if (ngx_kyok_gates == MAP_FAILED) {
        ngx_kyok_gates = NULL;
        ngx_log_error(NGX_LOG_EMERG, log, ngx_errno, "mmap() failed");
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_KYOK_GATES; i++) {
        if (ngx_kyok_gate_init(&ngx_kyok_gates[i]) != NGX_OK) {
            ngx_log_error(NGX_LOG_EMERG, log, 0,
                          "kyok: no lock can be shared by workers");
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_kyok_gate_init(ngx_kyok_gate_t *gate)
{
    int                  rc;
    ngx_uint_t           i;
    pthread_mutexattr_t  attr;

    if (pthread_mutexattr_init(&attr) != 0) {
        return NGX_ERROR;
    }

    rc = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);

    if (rc == 0) {
        rc = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    }

    for (i = 0; i < NGX_KYOK_TESTS_AT_ONCE && rc == 0; i++) {
        rc = pthread_mutex_init(&gate->turns[i], &attr);
    }

    (void) pthread_mutexattr_destroy(&attr);

    return rc ? NGX_ERROR : NGX_OK;
}


static ngx_uint_t
ngx_kyok_key_gate(ngx_kyok_key_t *key)
{
    return key->custodian % NGX_KYOK_GATES;
}


/* In each worker, in the background, on executor threads. */

void
ngx_kyok_keys_test(ngx_cycle_t *cycle)
{
    struct kyok_error  ignored;

    if (ngx_kyok_keys_collect(cycle, &ngx_kyok_keys) != NGX_OK
        || ngx_kyok_keys.nelts == 0)
    {
        return;
    }

    ngx_kyok_test_notice = kyok_work_fd(&ignored);
    ngx_kyok_test_lane = kyok_lane_new("self-test");

    if (ngx_kyok_test_lane == NULL || ngx_kyok_test_notice == -1) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, 0,
                      "kyok: keys are not tested, no executor can be had");
        return;
    }

    ngx_kyok_test_dummy.fd = (ngx_socket_t) -1;
    ngx_kyok_test_patience.data = &ngx_kyok_test_dummy;
    ngx_kyok_test_patience.log = cycle->log;
    ngx_kyok_test_patience.handler = ngx_kyok_test_patience_handler;
    ngx_kyok_test_patience.cancelable = 1;

    ngx_kyok_test_again.data = &ngx_kyok_test_dummy;
    ngx_kyok_test_again.log = cycle->log;
    ngx_kyok_test_again.handler = ngx_kyok_test_again_handler;
    ngx_kyok_test_again.cancelable = 1;

    ngx_add_timer(&ngx_kyok_test_patience, NGX_KYOK_TEST_PATIENCE);

    ngx_kyok_keys_test_more();
    ngx_kyok_keys_try_again();
}


/* Custodians do not wait for each other: one of them may hang. */

static void
ngx_kyok_keys_test_more(void)
{
    ngx_uint_t       i, gate, running[NGX_KYOK_GATES];
    ngx_kyok_key_t  *key;

    ngx_memzero(running, sizeof(running));

    key = ngx_kyok_keys.elts;

    for (i = 0; i < ngx_kyok_keys.nelts; i++) {
        if (key[i].running) {
            running[ngx_kyok_key_gate(&key[i])]++;
        }
    }

    for (i = 0; i < ngx_kyok_keys.nelts; i++) {
        gate = ngx_kyok_key_gate(&key[i]);

        if (key[i].running
            || key[i].state == NGX_KYOK_KEY_GOOD
            || (ngx_msec_int_t) (key[i].again - ngx_current_msec) > 0
            || running[gate] >= NGX_KYOK_TESTS_AT_ONCE)
        {
            continue;
        }

        key[i].turn = (ngx_worker + i) % NGX_KYOK_TESTS_AT_ONCE;

        if (ngx_kyok_key_begin(&key[i]) == NGX_OK) {
            running[gate]++;

        } else {
            key[i].again = ngx_current_msec + NGX_KYOK_TEST_AGAIN;
        }
    }
}


static ngx_int_t
ngx_kyok_key_begin(ngx_kyok_key_t *key)
{
    struct kyok_job    *job;
    ngx_kyok_test_t    *test;
    struct kyok_error   err;

    job = kyok_job_new(&ngx_kyok_test_type);
    if (job == NULL) {
        return NGX_ERROR;
    }

    test = kyok_job_body(job);
    test->key = key;

    key->result = NGX_KYOK_KEY_UNTRIED;
    key->running = 1;

    /* not of kyok_max_inflight: a custodian that hangs is not to use it up */

    if (kyok_job_start_aside(job, ngx_kyok_test_lane, &err) != KYOK_OK) {
        key->running = 0;
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* On an executor thread, where the operation itself runs directly. */

static enum kyok_status
ngx_kyok_key_test(void *body, struct kyok_error *err)
{
    ngx_kyok_test_t *test = body;

    uint64_t          one;
    ngx_kyok_key_t   *key;
    enum kyok_status  status;

    key = test->key;

    ngx_memzero(&key->error, sizeof(struct kyok_error));

    status = ngx_kyok_key_take_turn(key, &key->error);

    if (status == KYOK_OK) {
        status = ngx_kyok_key_sign(key, &key->error);

        pthread_mutex_unlock(
                     &ngx_kyok_gates[ngx_kyok_key_gate(key)].turns[key->turn]);
    }

    ngx_memory_barrier();

    key->result = (status == KYOK_OK) ? NGX_KYOK_KEY_GOOD : NGX_KYOK_KEY_BAD;

    one = 1;

    if (write(ngx_kyok_test_notice, &one, sizeof(uint64_t)) == -1) {
        return KYOK_SYSTEM;
    }

    return KYOK_OK;
}


static enum kyok_status
ngx_kyok_key_take_turn(ngx_kyok_key_t *key, struct kyok_error *err)
{
    int               rc;
    struct timespec   until;
    pthread_mutex_t  *turn;

    turn = &ngx_kyok_gates[ngx_kyok_key_gate(key)].turns[key->turn];

    until = kyok_deadline_timespec(
                              kyok_deadline_in_ms(NGX_KYOK_TEST_TURN * 1000));

    rc = pthread_mutex_clocklock(turn, CLOCK_MONOTONIC, &until);

    if (rc == EOWNERDEAD) {
        rc = pthread_mutex_consistent(turn);
    }

    if (rc == 0) {
        return KYOK_OK;
    }

    return kyok_fail(err, KYOK_TIMEOUT, (char *) key->uri.data,
                     "not tried: self-tests of other workers at this "
                     "custodian have not ended for %d s", NGX_KYOK_TEST_TURN);
}


static enum kyok_status
ngx_kyok_key_sign(ngx_kyok_key_t *key, struct kyok_error *err)
{
    int            rc;
    size_t         len;
    u_char         sig[1024];
    EVP_MD_CTX    *ctx;

    static u_char  text[] = "kyok: self-test of an nginx worker";

    ERR_clear_error();

    len = sizeof(sig);
    ctx = EVP_MD_CTX_new();

    rc = ctx
         && EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, key->pkey, NULL)
            == 1
         && EVP_DigestSign(ctx, sig, &len, text, sizeof(text)) == 1;

    EVP_MD_CTX_free(ctx);

    if (!rc) {
        ngx_kyok_key_fail(err, key);
        return KYOK_REFUSED;
    }

    ctx = EVP_MD_CTX_new();

    rc = ctx
         && EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL,
                                    X509_get0_pubkey(key->x509), NULL)
            == 1
         && EVP_DigestVerify(ctx, sig, len, text, sizeof(text)) == 1;

    EVP_MD_CTX_free(ctx);

    if (!rc) {
        kyok_fail(err, KYOK_FAULT, (char *) key->uri.data,
                  "its signature does not fit the certificate");
    }

    ERR_clear_error();

    return rc ? KYOK_OK : KYOK_FAULT;
}


static void
ngx_kyok_key_fail(struct kyok_error *err, ngx_kyok_key_t *key)
{
    int            flags;
    const char    *data;
    unsigned long  code;

    code = ERR_peek_last_error_all(NULL, NULL, NULL, &data, &flags);

    kyok_fail(err, KYOK_REFUSED, (char *) key->uri.data, "%s",
              (code && (flags & ERR_TXT_STRING)) ? data
                                                 : "the signature failed");
    ERR_clear_error();
}


/* On the main thread, after a notice. */

void
ngx_kyok_keys_tested(ngx_log_t *log)
{
    ngx_uint_t       i, untried, ended;
    ngx_kyok_key_t  *key;

    key = ngx_kyok_keys.elts;

    for (i = 0, untried = 0, ended = 0; i < ngx_kyok_keys.nelts; i++) {

        if (key[i].running && key[i].result != NGX_KYOK_KEY_UNTRIED) {
            key[i].running = 0;
            ngx_kyok_key_tested(&key[i], log);
            ended = 1;
        }

        untried += (key[i].state == NGX_KYOK_KEY_UNTRIED);
    }

    if (untried == 0 && ngx_kyok_test_patience.timer_set) {
        ngx_del_timer(&ngx_kyok_test_patience);
    }

    if (ended) {
        ngx_kyok_keys_test_more();
        ngx_kyok_keys_try_again();
    }
}


static void
ngx_kyok_key_tested(ngx_kyok_key_t *key, ngx_log_t *log)
{
    char        text[1200];
    ngx_uint_t  pause;

    if (key->result == NGX_KYOK_KEY_GOOD) {

        if (key->state == NGX_KYOK_KEY_BAD) {
            ngx_log_error(NGX_LOG_NOTICE, log, 0,
                          "kyok: self-test of key \"%V\" succeeds now",
                          &key->uri);
        }

        key->state = NGX_KYOK_KEY_GOOD;
        return;
    }

    pause = NGX_KYOK_TEST_AGAIN << ngx_min(key->failures, 6);

    key->again = ngx_current_msec + ngx_min(pause, NGX_KYOK_TEST_AGAIN_MOST);
    key->failures++;

    if (key->failures == NGX_KYOK_TEST_BAD) {
        key->state = NGX_KYOK_KEY_BAD;

        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "kyok: self-test of a key failed: %s",
                      kyok_error_text(&key->error, text, sizeof(text)));
    }
}


/* The timer is set for the first of those that wait. */

static void
ngx_kyok_keys_try_again(void)
{
    ngx_uint_t       i;
    ngx_msec_int_t   left, least;
    ngx_kyok_key_t  *key;

    key = ngx_kyok_keys.elts;
    least = -1;

    for (i = 0; i < ngx_kyok_keys.nelts; i++) {
        if (key[i].running || key[i].again == 0
            || key[i].state == NGX_KYOK_KEY_GOOD)
        {
            continue;
        }

        left = (ngx_msec_int_t) (key[i].again - ngx_current_msec);

        /* past: it waits for another test to end */

        if (left > 0 && (least == -1 || left < least)) {
            least = left;
        }
    }

    if (least != -1) {
        ngx_add_timer(&ngx_kyok_test_again, (ngx_msec_t) least);
    }
}


static void
ngx_kyok_test_again_handler(ngx_event_t *ev)
{
    ngx_kyok_keys_test_more();
    ngx_kyok_keys_try_again();
}


static void
ngx_kyok_test_patience_handler(ngx_event_t *ev)
{
    ngx_uint_t       i;
    ngx_kyok_key_t  *key;

    key = ngx_kyok_keys.elts;

    for (i = 0; i < ngx_kyok_keys.nelts; i++) {
        if (key[i].state == NGX_KYOK_KEY_UNTRIED) {
            ngx_log_error(NGX_LOG_EMERG, ev->log, 0,
                          "kyok: self-test of key \"%V\" has not ended yet",
                          &key[i].uri);
        }
    }
}


void
ngx_kyok_keys_count(ngx_kyok_key_counts_t *counts)
{
    ngx_uint_t       i;
    ngx_kyok_key_t  *key;

    ngx_memzero(counts, sizeof(ngx_kyok_key_counts_t));

    key = ngx_kyok_keys.elts;

    for (i = 0; i < ngx_kyok_keys.nelts; i++) {
        counts->state[key[i].state]++;
    }
}
