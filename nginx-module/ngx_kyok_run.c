
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Nginx's own handlers of a connection, run in its fiber: from accept or
 * connect on, event after event, until the handshake is over.
 */


#include "ngx_kyok_host.h"

#include <ngx_http.h>


static void ngx_kyok_host_run(ngx_kyok_host_t *host, ngx_kyok_entry_e entry);
static void ngx_kyok_host_main(void *data);
static void ngx_kyok_host_finished(ngx_kyok_host_t *host);
static void ngx_kyok_host_keep(ngx_kyok_host_t *host);
static void ngx_kyok_host_connected(ngx_kyok_host_t *host);
static ngx_uint_t ngx_kyok_host_is_plain(ngx_connection_t *c);
static u_char *ngx_kyok_host_after_proxy(u_char *p, u_char *last);
static ngx_uint_t ngx_kyok_host_is_first_call(ngx_kyok_host_t *host);
static void ngx_kyok_host_stop_reading(ngx_kyok_host_t *host);
static void ngx_kyok_connected_handler(ngx_event_t *ev);


ngx_kyok_host_t  *ngx_kyok_current;


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

    ngx_kyok_host_connected(host);
}


static void
ngx_kyok_host_connected(ngx_kyok_host_t *host)
{
    if (host->connected.posted) {
        return;
    }

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
    host = ngx_kyok_host_of(c);

    if (c->ssl == NULL || c->ssl->handshaked || c->ssl->handler == NULL) {
        ngx_kyok_host_detach(host);
        return;
    }

    host->ssl_handler = c->ssl->handler;
    c->ssl->handler = ngx_kyok_ssl_handler;

    ngx_kyok_host_keep(host);
    ngx_kyok_host_let_read(host);
}


static void
ngx_kyok_host_run(ngx_kyok_host_t *host, ngx_kyok_entry_e entry)
{
    ngx_kyok_host_t   *outer;
    ngx_connection_t  *c;

    c = host->connection;

    ngx_kyok_host_give_back(host);

    if (host->http && entry == NGX_KYOK_READ && ngx_kyok_host_is_plain(c)) {
        ngx_kyok_host_detach(host);
        c->read->handler(c->read);
        return;
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


/*
 * A request in plain HTTP is answered in the handler that would begin the
 * handshake, and is not to see the fiber: nginx's own test of the first byte.
 */

static ngx_uint_t
ngx_kyok_host_is_plain(ngx_connection_t *c)
{
    u_char                  buf[NGX_PROXY_PROTOCOL_MAX_HEADER + 1];
    u_char                 *first, *last;
    ssize_t                 n;
    ngx_http_connection_t  *hc;

    if (c->ssl || c->read->timedout || c->close) {
        return 0;
    }

    n = recv(c->fd, buf, sizeof(buf), MSG_PEEK);
    if (n <= 0) {
        return 0;
    }

    hc = c->data;
    first = buf;
    last = buf + n;

    if (hc->proxy_protocol) {
        first = ngx_kyok_host_after_proxy(buf, last);
    }

    return first < last && !(*first & 0x80) && *first != 0x16;
}


/* Either version of the PROXY protocol's header; last: it is not complete. */

static u_char *
ngx_kyok_host_after_proxy(u_char *p, u_char *last)
{
    static const u_char  signature[] = "\r\n\r\n\0\r\nQUIT\n";

    if (last - p >= 16 && ngx_memcmp(p, signature, sizeof(signature) - 1) == 0)
    {
        p += 16 + (p[14] << 8 | p[15]);
        return ngx_min(p, last);
    }

    p = ngx_strlchr(p, last, '\n');

    return p ? p + 1 : last;
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


void
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
 * What a quick client sends behind its ClientHello, early data or the end of
 * the handshake, could end the handshake in the very call that began it, and
 * nginx would go on with the request there, in the fiber.  So that call reads
 * the ClientHello alone; a later one reads the rest, and its end is told to
 * our SSL handler.
 */

void
ngx_kyok_host_handshake(ngx_connection_t *c)
{
    ngx_kyok_host_t  *host;

    host = ngx_kyok_current;

    if (host && host->connection == c) {
        if (ngx_kyok_host_is_first_call(host)
            && SSL_get_read_ahead(c->ssl->connection))
        {
            host->read_ahead = 1;
            SSL_set_read_ahead(c->ssl->connection, 0);
        }

        return;
    }

    /*
     * Begun in an event that was not ours, as by an SMTP greeting that waited
     * for a resolver: this call is to read nothing, and the next is ours.
     */

    host = ngx_kyok_host_of(c);

    if (host && !host->upstream && !host->running && !host->suspended
        && c->ssl->handler != ngx_kyok_ssl_handler)
    {
        ngx_kyok_host_stop_reading(host);
        ngx_kyok_host_connected(host);
    }
}


void
ngx_kyok_host_server_hello(ngx_connection_t *c)
{
    ngx_kyok_host_t  *host;

    host = ngx_kyok_current;

    if (host && host->connection == c && ngx_kyok_host_is_first_call(host)) {
        ngx_kyok_host_stop_reading(host);
    }
}


static ngx_uint_t
ngx_kyok_host_is_first_call(ngx_kyok_host_t *host)
{
    ngx_connection_t  *c;

    c = host->connection;

    return c->ssl && c->ssl->handler != ngx_kyok_ssl_handler;
}


static void
ngx_kyok_host_stop_reading(ngx_kyok_host_t *host)
{
    BIO             *none;
    ngx_ssl_conn_t  *ssl_conn;

    if (host->rbio) {
        return;
    }

    none = BIO_new(BIO_s_mem());
    if (none == NULL) {
        return;
    }

    ssl_conn = host->connection->ssl->connection;
    host->rbio = SSL_get_rbio(ssl_conn);

    BIO_up_ref(host->rbio);
    SSL_set0_rbio(ssl_conn, none);
}


void
ngx_kyok_host_let_read(ngx_kyok_host_t *host)
{
    ngx_connection_t  *c;

    c = host->connection;

    if (host->read_ahead) {
        SSL_set_read_ahead(c->ssl->connection, 1);
        host->read_ahead = 0;
    }

    if (host->rbio == NULL) {
        return;
    }

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

    /* still ours: nginx has set only the other one anew */

    if (c->read->handler != ngx_kyok_event_handler) {
        host->read = c->read->handler;
        c->read->handler = ngx_kyok_event_handler;
    }

    if (c->write->handler != ngx_kyok_event_handler) {
        host->write = c->write->handler;
        c->write->handler = ngx_kyok_event_handler;
    }
}


/* Events that were not ours may have set a handler: then it stays. */

void
ngx_kyok_host_give_back(ngx_kyok_host_t *host)
{
    ngx_connection_t  *c;

    c = host->connection;

    if (c->read->handler == ngx_kyok_event_handler) {
        c->read->handler = host->read;
    }

    if (c->write->handler == ngx_kyok_event_handler) {
        c->write->handler = host->write;
    }
}


void
ngx_kyok_event_handler(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    ngx_kyok_host_run(ngx_kyok_host_of(c),
                      ev->write ? NGX_KYOK_WRITE : NGX_KYOK_READ);
}


/*
 * Called by nginx when the handshake is over, failed or timed out, always as
 * the last thing that it does.
 */

void
ngx_kyok_ssl_handler(ngx_connection_t *c)
{
    ngx_kyok_host_t            *host;
    ngx_connection_handler_pt   handler;

    host = ngx_kyok_host_of(c);

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
