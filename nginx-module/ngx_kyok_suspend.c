
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A key operation suspends the fiber that asks for it: meanwhile the
 * connection's events come here, and then nginx goes on right behind
 * SSL_do_handshake().
 */


#include "ngx_kyok_host.h"


/*
 * Operations that complete together go on one after the other: other events
 * of the worker have their turn in between.
 */
#define NGX_KYOK_RESUMED_AT_ONCE  4


static bool ngx_kyok_can_suspend(void *data);
static enum kyok_wait_result ngx_kyok_suspend(void *data, struct kyok_job *job,
    struct kyok_deadline deadline);
static void ngx_kyok_host_set_deadline(ngx_kyok_host_t *host);
static void ngx_kyok_host_resume(ngx_kyok_host_t *host,
    enum kyok_wait_result result);
static void ngx_kyok_host_watch_peer(ngx_connection_t *c);
static void ngx_kyok_host_peer_gone(ngx_kyok_host_t *host);
static void ngx_kyok_suspended_handler(ngx_event_t *ev);
static void ngx_kyok_deadline_handler(ngx_event_t *ev);


const struct kyok_wait_hook  ngx_kyok_wait_hook = {
    ngx_kyok_can_suspend,
    ngx_kyok_suspend,
    NULL
};


static ngx_uint_t  ngx_kyok_lua;


void
ngx_kyok_suspend_init(ngx_cycle_t *cycle)
{
    ngx_uint_t  i;

    for (i = 0; cycle->modules[i]; i++) {
        if (ngx_strcmp(cycle->modules[i]->name, "ngx_http_lua_module") == 0
            || ngx_strcmp(cycle->modules[i]->name, "ngx_stream_lua_module")
               == 0)
        {
            ngx_kyok_lua = 1;
        }
    }
}


/* The wait hook: these two run in fibers. */

static bool
ngx_kyok_can_suspend(void *data)
{
    ngx_kyok_host_t   *host;
    ngx_connection_t  *c;

    host = ngx_kyok_current;

    if (host == NULL || host->dead || host->dying || host->bounce) {
        return false;
    }

    c = host->connection;

    if (c->ssl == NULL || c->ssl->handshaked) {
        return false;
    }

    /*
     * Certificates may be chosen by Lua, whose frames must not be left; the
     * messages that need a key are made without them.
     */

    return !ngx_kyok_lua
           || SSL_get_state(c->ssl->connection) != TLS_ST_SR_CLNT_HELLO;
}


static enum kyok_wait_result
ngx_kyok_suspend(void *data, struct kyok_job *job,
    struct kyok_deadline deadline)
{
    ngx_kyok_host_t  *host;

    host = ngx_kyok_current;

    kyok_job_set_host_data(job, host);

    host->until = deadline;
    host->since = kyok_now_ns();
    host->suspended = 1;

    ngx_kyok_fiber_yield(host->fiber);

    return host->result;
}


/* And these on the main stack. */

void
ngx_kyok_host_suspended(ngx_kyok_host_t *host)
{
    ngx_connection_t  *c;

    c = host->connection;

    host->read = c->read->handler;
    host->write = c->write->handler;

    c->read->handler = ngx_kyok_suspended_handler;
    c->write->handler = ngx_kyok_suspended_handler;

    if (host->ssl_conn == NULL) {
        host->ssl = c->ssl;
        host->ssl_conn = c->ssl->connection;
        SSL_up_ref(host->ssl_conn);
    }

    if (c->close || c->error) {
        ngx_kyok_host_resume(host, KYOK_WAIT_CANCELLED);
        return;
    }

    if (c->read->pending_eof) {
        ngx_kyok_host_peer_gone(host);
        return;
    }

    host->deadline.data = c;
    host->deadline.log = c->log;
    host->deadline.handler = ngx_kyok_deadline_handler;

    ngx_kyok_host_set_deadline(host);
    ngx_kyok_host_watch_peer(c);
}


/* Not cancelable: it keeps a worker that quits until it has passed. */

static void
ngx_kyok_host_set_deadline(ngx_kyok_host_t *host)
{
    int  left;

    left = kyok_deadline_left_ms(host->until);

    if (left >= 0) {
        ngx_add_timer(&host->deadline, (ngx_msec_t) left);
    }
}


static void
ngx_kyok_host_resume(ngx_kyok_host_t *host, enum kyok_wait_result result)
{
    ngx_kyok_host_t   *outer;
    ngx_connection_t  *c;

    c = host->connection;

    c->read->handler = host->read;
    c->write->handler = host->write;

    if (host->deadline.timer_set) {
        ngx_del_timer(&host->deadline);
    }

    ngx_kyok_ssl_add_key_time(host->ssl_conn, kyok_now_ns() - host->since);

    host->result = result;
    host->suspended = 0;
    host->running = 1;

    outer = ngx_kyok_current;
    ngx_kyok_current = host;

    ngx_kyok_fiber_resume(host->fiber);

    ngx_kyok_current = outer;

    ngx_kyok_host_switched(host);
}


void
ngx_kyok_hosts_completed(void)
{
    ngx_uint_t        n;
    struct kyok_job  *job;
    ngx_kyok_host_t  *host;

    /* the descriptor stays readable while some are left */

    for (n = 0; n < NGX_KYOK_RESUMED_AT_ONCE; n++) {
        job = kyok_work_next_done();

        if (job == NULL) {
            return;
        }

        host = kyok_job_host_data(job);

        if (!host->orphan) {
            ngx_kyok_host_resume(host, KYOK_WAIT_DONE);
        }
    }
}


/*
 * A connection that was accepted with its ClientHello is not yet known to the
 * event method.  An edge that comes too early is no loss: OpenSSL reads
 * until the socket has no more.
 */

static void
ngx_kyok_host_watch_peer(ngx_connection_t *c)
{
    if (c->read->active || !(ngx_event_flags & NGX_USE_CLEAR_EVENT)) {
        return;
    }

    if (ngx_add_event(c->read, NGX_READ_EVENT, NGX_CLEAR_EVENT) != NGX_OK) {
        ngx_log_error(NGX_LOG_ALERT, c->log, 0,
                      "kyok: a peer that goes away will not be noticed");
    }
}


static void
ngx_kyok_suspended_handler(ngx_event_t *ev)
{
    ngx_connection_t  *c;
    ngx_kyok_host_t   *host;

    c = ev->data;
    host = ngx_kyok_host_of(c);

    if (ev->timedout || c->close || c->error) {
        ngx_kyok_host_resume(host, KYOK_WAIT_CANCELLED);
        return;
    }

    if (c->read->pending_eof) {
        ngx_kyok_host_peer_gone(host);
        return;
    }

    /* data waits for SSL_do_handshake() */

    if (!(ngx_event_flags & NGX_USE_LEVEL_EVENT) || !ev->active) {
        return;
    }

    if (ngx_del_event(ev, ev->write ? NGX_WRITE_EVENT : NGX_READ_EVENT, 0)
        != NGX_OK)
    {
        ngx_kyok_host_resume(host, KYOK_WAIT_CANCELLED);
    }
}


/* The handshake's own message would be critical, and name the operation. */

static void
ngx_kyok_host_peer_gone(ngx_kyok_host_t *host)
{
    ngx_log_t         *log;
    ngx_uint_t         level;
    ngx_connection_t  *c;

    c = host->connection;
    log = c->log;

    ngx_log_error(NGX_LOG_INFO, log, 0,
                  "peer closed connection while its key operation was in "
                  "flight");

    if (host->upstream) {
        ngx_kyok_host_resume(host, KYOK_WAIT_CANCELLED);
        return;
    }

    /* an accepted connection has a log of its own, which ends with it */

    level = log->log_level;
    log->log_level = NGX_LOG_ALERT;

    ngx_kyok_host_resume(host, KYOK_WAIT_CANCELLED);

    if (c->fd != (ngx_socket_t) -1 && c->log == log) {
        log->log_level = level;
    }
}


static void
ngx_kyok_deadline_handler(ngx_event_t *ev)
{
    ngx_connection_t  *c;
    ngx_kyok_host_t   *host;

    c = ev->data;
    host = ngx_kyok_host_of(c);

    /* nginx counts from the time when its loop last looked at the clock */

    if (!kyok_deadline_passed(host->until)) {
        ngx_kyok_host_set_deadline(host);
        return;
    }

    ngx_kyok_host_resume(host, KYOK_WAIT_TIMEOUT);
}


/*
 * Others close a connection in its suspended handshake: the fiber goes on
 * with what nginx has taken away, fails, and comes back.
 */

void
ngx_kyok_host_unwind(ngx_kyok_host_t *host)
{
    BIO                   *none;
    ngx_log_t             *log;
    ngx_uint_t             level;
    ngx_connection_t      *c;
    ngx_ssl_connection_t  *ssl;

    c = host->connection;

    if (!host->upstream) {

        /* nothing but its own handlers closes it; else it would be twice */

        ngx_log_error(NGX_LOG_ALERT, c->log, 0,
                      "kyok: connection closed by others in its suspended "
                      "handshake, its fiber is lost");

        if (host->deadline.timer_set) {
            ngx_del_timer(&host->deadline);
        }

        host->orphan = 1;
        return;
    }

    ssl = c->ssl;
    c->ssl = host->ssl;

    host->dying = 1;

    /* closed before its pool: the descriptor may be another's by now */

    if (c->fd == (ngx_socket_t) -1) {
        none = BIO_new(BIO_s_null());

        if (none) {
            SSL_set_bio(host->ssl_conn, none, none);
        }
    }

    log = c->log;
    level = log->log_level;
    log->log_level = NGX_LOG_ALERT;

    ngx_kyok_host_resume(host, KYOK_WAIT_CANCELLED);

    log->log_level = level;
    c->ssl = ssl;
}
