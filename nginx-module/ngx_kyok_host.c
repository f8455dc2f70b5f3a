
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Hosts by connection: made at accept or connect, found through the
 * connection's number, and gone once its handshake is over or its pool is
 * destroyed.
 */


#include "ngx_kyok_host.h"


static void ngx_kyok_host_cleanup(void *data);


static ngx_kyok_host_t   *ngx_kyok_free_hosts;
static ngx_kyok_host_t  **ngx_kyok_hosts;
static ngx_connection_t  *ngx_kyok_connections;
static ngx_uint_t         ngx_kyok_nconnections;


ngx_int_t
ngx_kyok_hosts_init(ngx_cycle_t *cycle)
{
    ngx_kyok_connections = cycle->connections;
    ngx_kyok_nconnections = cycle->connection_n;

    ngx_kyok_hosts = ngx_calloc(sizeof(ngx_kyok_host_t *)
                                * ngx_kyok_nconnections, cycle->log);
    if (ngx_kyok_hosts == NULL) {
        return NGX_ERROR;
    }

    ngx_kyok_suspend_init(cycle);

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


ngx_kyok_host_t *
ngx_kyok_host_of(ngx_connection_t *c)
{
    ngx_kyok_host_t  **slot;

    slot = ngx_kyok_host_slot(c);

    return slot ? *slot : NULL;
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
ngx_kyok_host_detach(ngx_kyok_host_t *host)
{
    ngx_connection_t  *c;

    c = host->connection;

    ngx_kyok_host_count(host, c->ssl);

    if (c->ssl) {
        ngx_kyok_host_let_read(host);
    }

    ngx_kyok_host_give_back(host);

    if (c->ssl && c->ssl->handler == ngx_kyok_ssl_handler) {
        c->ssl->handler = host->ssl_handler;
    }

    host->cleanup->handler = NULL;
    *ngx_kyok_host_slot(c) = NULL;

    ngx_kyok_host_release(host);
}


/* A mail session may end without any. */

void
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


void
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
