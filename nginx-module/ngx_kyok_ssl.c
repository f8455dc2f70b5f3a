
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What the module keeps with each SSL object: how long its handshake waited
 * for key operations; and the notices that a client's handshake begins, as
 * nginx has no hook of its own for upstream connections, that a server has
 * answered the ClientHello, and that its handshake has failed.
 */


#include "ngx_kyok.h"


static void ngx_kyok_ssl_new(void *parent, void *ptr, CRYPTO_EX_DATA *ad,
    int index, long argl, void *argp);
static void ngx_kyok_ssl_info(const ngx_ssl_conn_t *ssl_conn, int where,
    int ret);
static void ngx_kyok_ssl_connect(ngx_connection_t *c);


static int         ngx_kyok_ssl_index = -1;
static ngx_uint_t  ngx_kyok_ssl_watched;


ngx_int_t
ngx_kyok_ssl_init(ngx_log_t *log)
{
    if (ngx_kyok_ssl_index != -1) {
        return NGX_OK;
    }

    ngx_kyok_ssl_index = SSL_get_ex_new_index(0, NULL, ngx_kyok_ssl_new, NULL,
                                              NULL);

    if (ngx_kyok_ssl_index == -1) {
        ngx_log_error(NGX_LOG_EMERG, log, 0, "SSL_get_ex_new_index() failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_kyok_ssl_watch(ngx_uint_t on)
{
    ngx_kyok_ssl_watched = on;
}


static void
ngx_kyok_ssl_new(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index,
    long argl, void *argp)
{
    if (ngx_kyok_ssl_watched) {
        SSL_set_info_callback(parent, ngx_kyok_ssl_info);
    }
}


/* An SSL object's callback replaces that of its context: nginx has one. */

static void
ngx_kyok_ssl_info(const ngx_ssl_conn_t *ssl_conn, int where, int ret)
{
    void              (*next)(const SSL *ssl_conn, int where, int ret);
    ngx_connection_t   *c;

    next = SSL_CTX_get_info_callback(SSL_get_SSL_CTX(ssl_conn));

    if (next) {
        next(ssl_conn, where, ret);
    }

    if (where == SSL_CB_ACCEPT_LOOP) {
        if (SSL_get_state(ssl_conn) == TLS_ST_SW_SRVR_HELLO) {
            c = ngx_ssl_get_connection(ssl_conn);

            if (c) {
                ngx_kyok_host_server_hello(c);
            }
        }

        return;
    }

    if (where == SSL_CB_ACCEPT_EXIT) {
        if (ret <= 0 && ERR_peek_error()) {
            c = ngx_ssl_get_connection(ssl_conn);

            if (c) {
                ngx_kyok_log_failure(c);
            }
        }

        return;
    }

    if (!(where & SSL_CB_HANDSHAKE_START)) {
        return;
    }

    c = ngx_ssl_get_connection(ssl_conn);

    if (c == NULL) {
        return;
    }

    if (SSL_is_server(ssl_conn)) {
        ngx_kyok_host_handshake(c);
        return;
    }

    ngx_kyok_ssl_connect(c);
}


static void
ngx_kyok_ssl_connect(ngx_connection_t *c)
{
    ngx_kyok_host_t  *host;

    if (c->ssl == NULL || c->ssl->handshaked
        || SSL_get_privatekey(c->ssl->connection) == NULL
        || ngx_kyok_host_of(c))
    {
        return;
    }

    host = ngx_kyok_host_create(c);

    if (host) {
        ngx_kyok_host_connect(host);
    }
}


/* The value itself is kept in the pointer. */

void
ngx_kyok_ssl_add_key_time(ngx_ssl_conn_t *ssl_conn, int64_t ns)
{
    ns += ngx_kyok_ssl_key_time(ssl_conn);

    (void) SSL_set_ex_data(ssl_conn, ngx_kyok_ssl_index,
                           (void *) (intptr_t) ns);
}


int64_t
ngx_kyok_ssl_key_time(ngx_ssl_conn_t *ssl_conn)
{
    return (intptr_t) SSL_get_ex_data(ssl_conn, ngx_kyok_ssl_index);
}
