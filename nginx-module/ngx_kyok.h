
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * ngx_kyok: nginx whose TLS keys stay in an HSM or at a key management
 * server, and whose workers go on while such a key is used.  It runs nginx's
 * own accept and handshake handlers in fibers, which libkyok's key operations
 * suspend.  It never holds a key, and never copies nginx's TLS code.
 */


#ifndef _NGX_KYOK_H_INCLUDED_
#define _NGX_KYOK_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <stdbool.h>
#include "common/key/key.h"
#include "common/work/work.h"


typedef struct {
    ngx_flag_t   enable;
    ngx_str_t    config;
    ngx_msec_t   timeout;
    ngx_int_t    threads;
    ngx_int_t    max_inflight;
    /* of kyok_config */
    void        *host;
} ngx_kyok_conf_t;


/* ngx_kyok_fiber.c */

typedef struct ngx_kyok_fiber_s  ngx_kyok_fiber_t;

typedef void (*ngx_kyok_fiber_pt)(void *data);

/* NULL: none can be had; said once in the log */
ngx_kyok_fiber_t *ngx_kyok_fiber_get(ngx_log_t *log);
/* only a fiber whose function has returned */
void ngx_kyok_fiber_put(ngx_kyok_fiber_t *fiber);
void ngx_kyok_fiber_start(ngx_kyok_fiber_t *fiber, ngx_kyok_fiber_pt function,
    void *data);
void ngx_kyok_fiber_resume(ngx_kyok_fiber_t *fiber);
void ngx_kyok_fiber_yield(ngx_kyok_fiber_t *fiber);


/* ngx_kyok_host.c, _run.c, _suspend.c: handlers that run in fibers */

typedef struct ngx_kyok_host_s  ngx_kyok_host_t;

ngx_int_t ngx_kyok_hosts_init(ngx_cycle_t *cycle);
/* NULL: the connection has one, or there is no memory */
ngx_kyok_host_t *ngx_kyok_host_create(ngx_connection_t *c);
void ngx_kyok_host_accept(ngx_kyok_host_t *host,
    ngx_connection_handler_pt handler, ngx_uint_t http);
void ngx_kyok_host_connect(ngx_kyok_host_t *host);
/* NULL: it has none */
ngx_kyok_host_t *ngx_kyok_host_of(ngx_connection_t *c);
/* within SSL_do_handshake(), before it reads, and with the ServerHello written */
void ngx_kyok_host_handshake(ngx_connection_t *c);
void ngx_kyok_host_server_hello(ngx_connection_t *c);
extern const struct kyok_wait_hook  ngx_kyok_wait_hook;
/* resumes some of what has completed */
void ngx_kyok_hosts_completed(void);


/* ngx_kyok_listen.c */

ngx_int_t ngx_kyok_listen_init(ngx_cycle_t *cycle);


/* ngx_kyok_ssl.c: what is kept with each SSL object */

ngx_int_t ngx_kyok_ssl_init(ngx_log_t *log);
void ngx_kyok_ssl_add_key_time(ngx_ssl_conn_t *ssl_conn, int64_t ns);
/* nanoseconds that its handshake was suspended */
int64_t ngx_kyok_ssl_key_time(ngx_ssl_conn_t *ssl_conn);
void ngx_kyok_ssl_watch(ngx_uint_t on);


/* ngx_kyok_config.c */

char *ngx_kyok_config(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* the configuration is in force, and the one before will not come back */
void ngx_kyok_config_commit(ngx_kyok_conf_t *kcf);


/* ngx_kyok_keys.c */

typedef enum {
    NGX_KYOK_KEY_UNTRIED = 0,
    NGX_KYOK_KEY_GOOD,
    NGX_KYOK_KEY_BAD,
    NGX_KYOK_KEY_STATES
} ngx_kyok_key_state_e;


typedef struct {
    EVP_PKEY            *pkey;
    X509                *x509;
    ngx_str_t            uri;
    /* hash of its custodian's name */
    ngx_uint_t           custodian;
    ngx_kyok_key_state_e state;
    /* failures in a row, and when to try again */
    ngx_uint_t           failures;
    ngx_msec_t           again;
    ngx_uint_t           running;
    ngx_uint_t           turn;
    /* written by the thread that tries it, result last */
    struct kyok_error    error;
    volatile ngx_uint_t  result;
} ngx_kyok_key_t;


typedef struct {
    ngx_uint_t           state[NGX_KYOK_KEY_STATES];
} ngx_kyok_key_counts_t;


typedef ngx_int_t (*ngx_kyok_certificate_pt)(ngx_cycle_t *cycle, X509 *x509,
    EVP_PKEY *pkey, void *data);

/* a configuration is about to be read, and has been */
ngx_int_t ngx_kyok_keys_begin(ngx_cycle_t *cycle);
ngx_int_t ngx_kyok_keys_check(ngx_cycle_t *cycle);
/* every certificate of the configuration, with its key */
ngx_int_t ngx_kyok_keys_visit(ngx_cycle_t *cycle,
    ngx_kyok_certificate_pt visit, void *data);
/* an array of ngx_kyok_key_t: those that are at custodians */
ngx_int_t ngx_kyok_keys_collect(ngx_cycle_t *cycle, ngx_array_t *keys);


/* ngx_kyok_selftest.c */

ngx_int_t ngx_kyok_keys_gates(ngx_log_t *log);
void ngx_kyok_keys_test(ngx_cycle_t *cycle);
void ngx_kyok_keys_tested(ngx_log_t *log);
void ngx_kyok_keys_count(ngx_kyok_key_counts_t *counts);


/* ngx_kyok_stats.c */

#define NGX_KYOK_WORKERS  256
#define NGX_KYOK_MEMBERS  32
#define NGX_KYOK_NAME     128


enum {
    NGX_KYOK_TIMEOUTS = 0,
    NGX_KYOK_CANCELLATIONS,
    NGX_KYOK_REFUSED,
    NGX_KYOK_FULL,
    NGX_KYOK_RESUMED,
    NGX_KYOK_FAILED,
    NGX_KYOK_COUNTERS
};


enum {
    NGX_KYOK_MEMBER_OPERATIONS = 0,
    NGX_KYOK_MEMBER_FAILURES,
    NGX_KYOK_MEMBER_TIMEOUTS,
    NGX_KYOK_MEMBER_FAILOVERS,
    NGX_KYOK_MEMBER_LOGINS,
    NGX_KYOK_MEMBER_COUNTERS
};


typedef struct {
    /* 0: free, 1: being filled, 2: taken */
    ngx_atomic_t           taken;
    u_char                 custodian[NGX_KYOK_NAME];
    u_char                 member[NGX_KYOK_NAME];
    ngx_atomic_t           counters[NGX_KYOK_MEMBER_COUNTERS];
    ngx_atomic_t           latency[KYOK_WORK_BUCKETS];
    /* all of them together, ns */
    ngx_atomic_t           took;
} ngx_kyok_member_t;


typedef struct {
    ngx_uint_t             in_flight;
    ngx_uint_t             sessions;
    u_char                 state[16];
} ngx_kyok_gauges_t;


typedef struct {
    ngx_pid_t              pid;
    ngx_uint_t             in_flight;
    ngx_uint_t             suspended;
    ngx_uint_t             threads;
    ngx_uint_t             written_off;
    ngx_kyok_key_counts_t  keys;
    ngx_kyok_gauges_t      gauges[NGX_KYOK_MEMBERS];
} ngx_kyok_worker_t;


typedef struct {
    ngx_atomic_t           counters[NGX_KYOK_COUNTERS];
    ngx_kyok_member_t      members[NGX_KYOK_MEMBERS];
    ngx_kyok_worker_t      workers[NGX_KYOK_WORKERS];
} ngx_kyok_stats_t;


ngx_int_t ngx_kyok_stats_add_zone(ngx_conf_t *cf);
void ngx_kyok_stats_init(ngx_cycle_t *cycle);
void ngx_kyok_stats_exit(void);
/* the handshake of an accepted connection is over; NULL: it failed */
void ngx_kyok_stats_handshake(ngx_ssl_conn_t *ssl_conn);
void ngx_kyok_stats_publish(void);
/* in a worker; NULL: no http block */
ngx_kyok_stats_t *ngx_kyok_stats_get(void);
/* gauges of all living workers */
void ngx_kyok_stats_sum(ngx_kyok_worker_t *sum);


/* ngx_kyok_log.c: libkyok's diagnostics in nginx's log */

void ngx_kyok_log_init(ngx_cycle_t *cycle);
void ngx_kyok_log_flush(void);
/* within SSL_do_handshake(), which has failed for want of a key operation:
 * nginx's line about it may be one of very many */
void ngx_kyok_log_failure(ngx_connection_t *c);
void ngx_kyok_log_failures(void);


extern ngx_module_t  ngx_kyok_module;


#endif /* _NGX_KYOK_H_INCLUDED_ */
