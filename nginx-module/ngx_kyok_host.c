
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A host runs the handlers of one connection in a fiber until its TLS
 * handshake is over.  While a key operation suspends the fiber, the
 * connection's events come here; then nginx goes on right behind
 * SSL_do_handshake().  What follows a handshake runs on the worker's own
 * stack, so that content handlers never see a fiber.
 */


#include "ngx_kyok.h"


/*
 * Operations that complete together go on one after the other: other events
 * of the worker have their turn in between.
 */
#define NGX_KYOK_RESUMED_AT_ONCE  4


typedef enum {
    NGX_KYOK_ACCEPT = 0,
    NGX_KYOK_READ,
    NGX_KYOK_WRITE
} ngx_kyok_entry_e;


struct ngx_kyok_host_s {
    ngx_connection_t            *connection;
    ngx_connection_handler_pt    accept;

    /* nginx's own, while the connection has ours */
    ngx_event_handler_pt         read;
    ngx_event_handler_pt         write;
    void                       (*ssl_handler)(ngx_connection_t *c);

    ngx_kyok_fiber_t            *fiber;
    ngx_kyok_entry_e             entry;

    /* held from the first suspension on: who closes the connection frees it */
    ngx_ssl_connection_t        *ssl;
    ngx_ssl_conn_t              *ssl_conn;

    /* from where SSL reads, while it is not to */
    BIO                         *rbio;

    enum kyok_wait_result        result;
    struct kyok_deadline         until;
    ngx_event_t                  deadline;
    ngx_event_t                  connected;
    int64_t                      since;

    ngx_pool_cleanup_t          *cleanup;
    ngx_kyok_host_t             *next;

    unsigned                     http:1;
    unsigned                     upstream:1;
    unsigned                     running:1;
    unsigned                     suspended:1;
    /* SSL handler was called in the fiber: to be called on the main stack */
    unsigned                     bounce:1;
    /* connection's pool was destroyed by what runs in the fiber */
    unsigned                     dead:1;
    /* connection's pool is being destroyed by others, the fiber unwinds */
    unsigned                     dying:1;
    /* the fiber can never go on */
    unsigned                     orphan:1;
};


static void ngx_kyok_host_run(ngx_kyok_host_t *host, ngx_kyok_entry_e entry);
static void ngx_kyok_host_main(void *data);
static void ngx_kyok_host_switched(ngx_kyok_host_t *host);
static void ngx_kyok_host_finished(ngx_kyok_host_t *host);
static void ngx_kyok_host_keep(ngx_kyok_host_t *host);
static void ngx_kyok_host_let_read(ngx_kyok_host_t *host);
static void ngx_kyok_host_detach(ngx_kyok_host_t *host);
static void ngx_kyok_host_count(ngx_kyok_host_t *host,
    ngx_ssl_connection_t *ssl);
static void ngx_kyok_host_release(ngx_kyok_host_t *host);
static void ngx_kyok_host_suspended(ngx_kyok_host_t *host);
static void ngx_kyok_host_set_deadline(ngx_kyok_host_t *host);
static void ngx_kyok_host_resume(ngx_kyok_host_t *host,
    enum kyok_wait_result result);
static void ngx_kyok_host_watch_peer(ngx_connection_t *c);
static void ngx_kyok_host_peer_gone(ngx_kyok_host_t *host);
static void ngx_kyok_host_cleanup(void *data);
static void ngx_kyok_host_unwind(ngx_kyok_host_t *host);
static void ngx_kyok_event_handler(ngx_event_t *ev);
static void ngx_kyok_suspended_handler(ngx_event_t *ev);
static void ngx_kyok_deadline_handler(ngx_event_t *ev);
static void ngx_kyok_connected_handler(ngx_event_t *ev);
static void ngx_kyok_ssl_handler(ngx_connection_t *c);
static bool ngx_kyok_can_suspend(void *data);
static enum kyok_wait_result ngx_kyok_suspend(void *data, struct kyok_job *job,
    struct kyok_deadline deadline);


const struct kyok_wait_hook  ngx_kyok_wait_hook = {
    ngx_kyok_can_suspend,
    ngx_kyok_suspend,
    NULL
};


static ngx_kyok_host_t   *ngx_kyok_current;
static ngx_kyok_host_t   *ngx_kyok_free_hosts;
static ngx_kyok_host_t  **ngx_kyok_hosts;
static ngx_connection_t  *ngx_kyok_connections;
static ngx_uint_t         ngx_kyok_nconnections;
static ngx_uint_t         ngx_kyok_lua;


ngx_int_t
ngx_kyok_hosts_init(ngx_cycle_t *cycle)
{
    ngx_uint_t  i;

    ngx_kyok_connections = cycle->connections;
    ngx_kyok_nconnections = cycle->connection_n;

    ngx_kyok_hosts = ngx_calloc(sizeof(ngx_kyok_host_t *)
                                * ngx_kyok_nconnections, cycle->log);
    if (ngx_kyok_hosts == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; cycle->modules[i]; i++) {
        if (ngx_strcmp(cycle->modules[i]->name, "ngx_http_lua_module") == 0
            || ngx_strcmp(cycle->modules[i]->name, "ngx_stream_lua_module")
               == 0)
        {
            ngx_kyok_lua = 1;
        }
    }

    return NGX_OK;
}


static ngx_kyok_host_t **
ngx_kyok_host_slot(ngx_connection_t *c)
{
    if (c < ngx_kyok_connections
        || c >= ngx_kyok_connections + ngx_kyok_nconnections)
    {
        return NULL;
    }

    return &ngx_kyok_hosts[c - ngx_kyok_connections];
}


ngx_uint_t
ngx_kyok_hosted(ngx_connection_t *c)
{
    ngx_kyok_host_t  **slot;

    slot = ngx_kyok_host_slot(c);

    return slot == NULL || *slot != NULL;
}


ngx_kyok_host_t *
ngx_kyok_host_create(ngx_connection_t *c)
{
    ngx_kyok_host_t     *host, **slot;
    ngx_pool_cleanup_t  *cln;

    slot = ngx_kyok_host_slot(c);

    if (slot == NULL || *slot != NULL || c->pool == NULL) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(c->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    host = ngx_kyok_free_hosts;

    if (host) {
        ngx_kyok_free_hosts = host->next;

    } else {
        host = ngx_alloc(sizeof(ngx_kyok_host_t), c->log);
        if (host == NULL) {
            return NULL;
        }
    }

    ngx_memzero(host, sizeof(ngx_kyok_host_t));

    host->connection = c;
    host->cleanup = cln;

    /* c->pool is gone when a host is: never from a pool */

    cln->handler = ngx_kyok_host_cleanup;
    cln->data = host;

    *slot = host;

    return host;
}


void
ngx_kyok_host_accept(ngx_kyok_host_t *host, ngx_connection_handler_pt handler,
    ngx_uint_t http)
{
    host->accept = handler;
    host->http = http;

    ngx_kyok_host_run(host, NGX_KYOK_ACCEPT);
}


/*
 * A TLS client signs in a later call than its first, which is running: its
 * handlers are taken over once that has returned.
 */

void
ngx_kyok_host_connect(ngx_kyok_host_t *host)
{
    host->upstream = 1;

    host->connected.data = host->connection;
    host->connected.log = host->connection->log;
    host->connected.handler = ngx_kyok_connected_handler;

    ngx_post_event(&host->connected, &ngx_posted_events);
}


static void
ngx_kyok_connected_handler(ngx_event_t *ev)
{
    ngx_connection_t  *c;
    ngx_kyok_host_t   *host;

    c = ev->data;
    host = *ngx_kyok_host_slot(c);

    if (c->ssl == NULL || c->ssl->handshaked || c->ssl->handler == NULL) {
        ngx_kyok_host_detach(host);
        return;
    }

    host->ssl_handler = c->ssl->handler;
    c->ssl->handler = ngx_kyok_ssl_handler;

    ngx_kyok_host_keep(host);
}


static void
ngx_kyok_host_run(ngx_kyok_host_t *host, ngx_kyok_entry_e entry)
{
    ngx_kyok_host_t   *outer;
    ngx_connection_t  *c;

    c = host->connection;

    if (entry != NGX_KYOK_ACCEPT) {
        c->read->handler = host->read;
        c->write->handler = host->write;
    }

    host->entry = entry;
    host->running = 1;
    host->fiber = ngx_kyok_fiber_get(c->log);

    if (host->fiber == NULL) {
        ngx_kyok_host_main(host);
        host->running = 0;
        ngx_kyok_host_finished(host);
        return;
    }

    outer = ngx_kyok_current;
    ngx_kyok_current = host;

    ngx_kyok_fiber_start(host->fiber, ngx_kyok_host_main, host);

    ngx_kyok_current = outer;

    ngx_kyok_host_switched(host);
}


static void
ngx_kyok_host_main(void *data)
{
    ngx_kyok_host_t *host = data;

    ngx_connection_t  *c;

    c = host->connection;

    switch (host->entry) {

    case NGX_KYOK_ACCEPT:
        host->accept(c);
        break;

    case NGX_KYOK_READ:
        c->read->handler(c->read);
        break;

    case NGX_KYOK_WRITE:
        c->write->handler(c->write);
        break;
    }
}


static void
ngx_kyok_host_switched(ngx_kyok_host_t *host)
{
    host->running = 0;

    if (host->suspended) {
        ngx_kyok_host_suspended(host);
        return;
    }

    ngx_kyok_fiber_put(host->fiber);
    host->fiber = NULL;

    ngx_kyok_host_finished(host);
}


static void
ngx_kyok_host_finished(ngx_kyok_host_t *host)
{
    ngx_connection_t           *c;
    ngx_connection_handler_pt   handler;

    c = host->connection;

    if (host->dying) {
        return;
    }

    if (host->dead) {
        ngx_kyok_host_count(host, NULL);
        ngx_kyok_host_release(host);
        return;
    }

    if (host->bounce) {
        handler = host->ssl_handler;
        ngx_kyok_host_detach(host);
        handler(c);
        return;
    }

    if (c->ssl == NULL) {

        /* plain HTTP waits with another handler than that of the handshake */

        if (host->http && host->entry != NGX_KYOK_ACCEPT
            && c->read->handler != host->read)
        {
            ngx_kyok_host_detach(host);
            return;
        }

        ngx_kyok_host_keep(host);
        return;
    }

    if (c->ssl->handshaked) {
        ngx_kyok_host_detach(host);
        return;
    }

    if (c->ssl->handler != ngx_kyok_ssl_handler) {
        host->ssl_handler = c->ssl->handler;
        c->ssl->handler = ngx_kyok_ssl_handler;
    }

    ngx_kyok_host_keep(host);
    ngx_kyok_host_let_read(host);
}


/*
 * A quick client's answer to the server's flight could end the handshake in
 * the very call that began it, and nginx would go on with the request there,
 * in the fiber.  So what comes behind the ClientHello is read by a later call,
 * whose end is told to our SSL handler.
 */

void
ngx_kyok_host_server_hello(ngx_connection_t *c)
{
    BIO              *none;
    ngx_kyok_host_t  *host;

    host = ngx_kyok_current;

    if (host == NULL
        || host->connection != c
        || host->rbio
        || c->ssl == NULL
        || c->ssl->handler == ngx_kyok_ssl_handler)
    {
        return;
    }

    none = BIO_new(BIO_s_mem());
    if (none == NULL) {
        return;
    }

    host->rbio = SSL_get_rbio(c->ssl->connection);

    BIO_up_ref(host->rbio);
    SSL_set0_rbio(c->ssl->connection, none);
}


static void
ngx_kyok_host_let_read(ngx_kyok_host_t *host)
{
    ngx_connection_t  *c;

    if (host->rbio == NULL) {
        return;
    }

    c = host->connection;

    SSL_set0_rbio(c->ssl->connection, host->rbio);
    host->rbio = NULL;

    /* the event method may have told already */

    c->read->ready = 1;

    ngx_post_event(c->read, &ngx_posted_events);
}


static void
ngx_kyok_host_keep(ngx_kyok_host_t *host)
{
    ngx_connection_t  *c;

    c = host->connection;

    host->read = c->read->handler;
    host->write = c->write->handler;

    c->read->handler = ngx_kyok_event_handler;
    c->write->handler = ngx_kyok_event_handler;
}


static void
ngx_kyok_event_handler(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    ngx_kyok_host_run(*ngx_kyok_host_slot(c),
                      ev->write ? NGX_KYOK_WRITE : NGX_KYOK_READ);
}


/* From here on the connection costs nothing more. */

static void
ngx_kyok_host_detach(ngx_kyok_host_t *host)
{
    ngx_connection_t  *c;

    c = host->connection;

    ngx_kyok_host_count(host, c->ssl);

    if (c->read->handler == ngx_kyok_event_handler) {
        c->read->handler = host->read;
        c->write->handler = host->write;
    }

    if (c->ssl && c->ssl->handler == ngx_kyok_ssl_handler) {
        c->ssl->handler = host->ssl_handler;
    }

    host->cleanup->handler = NULL;
    *ngx_kyok_host_slot(c) = NULL;

    ngx_kyok_host_release(host);
}


/* A mail session may end without any. */

static void
ngx_kyok_host_count(ngx_kyok_host_t *host, ngx_ssl_connection_t *ssl)
{
    if (host->upstream) {
        return;
    }

    if (ssl && ssl->handshaked) {
        ngx_kyok_stats_handshake(ssl->connection);

    } else if (host->http || host->ssl_handler) {
        ngx_kyok_stats_handshake(NULL);
    }
}


static void
ngx_kyok_host_release(ngx_kyok_host_t *host)
{
    if (host->deadline.timer_set) {
        ngx_del_timer(&host->deadline);
    }

    if (host->connected.posted) {
        ngx_delete_posted_event(&host->connected);
    }

    if (host->rbio) {
        BIO_free(host->rbio);
    }

    if (host->ssl_conn) {
        SSL_free(host->ssl_conn);
    }

    host->next = ngx_kyok_free_hosts;
    ngx_kyok_free_hosts = host;
}


/*
 * Called by nginx when the handshake is over, failed or timed out, always as
 * the last thing that it does.
 */

static void
ngx_kyok_ssl_handler(ngx_connection_t *c)
{
    ngx_kyok_host_t            *host;
    ngx_connection_handler_pt   handler;

    host = *ngx_kyok_host_slot(c);

    if (host->dying) {
        return;
    }

    if (host->running) {
        host->bounce = 1;
        return;
    }

    /* by an OCSP response, for one */

    handler = host->ssl_handler;
    ngx_kyok_host_detach(host);
    handler(c);
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

static void
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
    host = *ngx_kyok_host_slot(c);

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
    host = *ngx_kyok_host_slot(c);

    /* nginx counts from the time when its loop last looked at the clock */

    if (!kyok_deadline_passed(host->until)) {
        ngx_kyok_host_set_deadline(host);
        return;
    }

    ngx_kyok_host_resume(host, KYOK_WAIT_TIMEOUT);
}


/* The connection's pool is being destroyed. */

static void
ngx_kyok_host_cleanup(void *data)
{
    ngx_kyok_host_t *host = data;

    if (host->suspended) {
        ngx_kyok_host_unwind(host);
    }

    *ngx_kyok_host_slot(host->connection) = NULL;

    if (host->orphan) {
        return;
    }

    if (host->running) {
        host->dead = 1;
        return;
    }

    ngx_kyok_host_release(host);
}


/*
 * Others close a connection in its suspended handshake: the fiber goes on
 * with what nginx has taken away, fails, and comes back.
 */

static void
ngx_kyok_host_unwind(ngx_kyok_host_t *host)
{
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

    log = c->log;
    level = log->log_level;
    log->log_level = NGX_LOG_ALERT;

    ngx_kyok_host_resume(host, KYOK_WAIT_CANCELLED);

    log->log_level = level;
    c->ssl = ssl;
}
