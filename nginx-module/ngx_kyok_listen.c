
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Which accepted connections are hosted: those to addresses that speak TLS,
 * or may come to (mail).  Other listening sockets keep their handlers.
 */


#include "ngx_kyok.h"

#include <ngx_http.h>
#include <ngx_mail.h>
#include <ngx_stream.h>

#include <dlfcn.h>


/* The three protocols describe a port alike, except for these types. */

typedef struct {
    const char                 *init_connection;
    ngx_connection_handler_pt   handler;
    size_t                      in_size;
    size_t                      in6_size;
    ngx_uint_t                (*in_ssl)(void *addr);
    ngx_uint_t                (*in6_ssl)(void *addr);
    ngx_uint_t                  http;
} ngx_kyok_protocol_t;


typedef struct {
    ngx_connection_handler_pt   handler;
    ngx_kyok_protocol_t        *protocol;
} ngx_kyok_listener_t;


static ngx_uint_t ngx_kyok_http_in_ssl(void *addr);
static ngx_uint_t ngx_kyok_http_in6_ssl(void *addr);
static ngx_uint_t ngx_kyok_stream_in_ssl(void *addr);
static ngx_uint_t ngx_kyok_stream_in6_ssl(void *addr);
static ngx_uint_t ngx_kyok_mail_in_ssl(void *addr);
static ngx_uint_t ngx_kyok_mail_in6_ssl(void *addr);
static ngx_kyok_protocol_t *ngx_kyok_listen_protocol(ngx_listening_t *ls);
static ngx_uint_t ngx_kyok_listen_some_ssl(ngx_listening_t *ls,
    ngx_kyok_protocol_t *protocol);
static ngx_uint_t ngx_kyok_listen_ssl(ngx_kyok_protocol_t *protocol,
    void *addrs, ngx_int_t family, ngx_uint_t i);
static ngx_uint_t ngx_kyok_listen_is_ssl(ngx_connection_t *c,
    ngx_kyok_protocol_t *protocol);
static ngx_uint_t ngx_kyok_listen_is_local(ngx_kyok_protocol_t *protocol,
    void *addrs, struct sockaddr *local, ngx_uint_t i);
static void ngx_kyok_accept(ngx_connection_t *c);


static ngx_kyok_protocol_t  ngx_kyok_protocols[] = {

    { "ngx_http_init_connection", NULL,
      sizeof(ngx_http_in_addr_t), sizeof(ngx_http_in6_addr_t),
      ngx_kyok_http_in_ssl, ngx_kyok_http_in6_ssl, 1 },

    { "ngx_stream_init_connection", NULL,
      sizeof(ngx_stream_in_addr_t), sizeof(ngx_stream_in6_addr_t),
      ngx_kyok_stream_in_ssl, ngx_kyok_stream_in6_ssl, 0 },

    { "ngx_mail_init_connection", NULL,
      sizeof(ngx_mail_in_addr_t), sizeof(ngx_mail_in6_addr_t),
      ngx_kyok_mail_in_ssl, ngx_kyok_mail_in6_ssl, 0 },

    { NULL, NULL, 0, 0, NULL, NULL, 0 }
};


static ngx_kyok_listener_t  *ngx_kyok_listeners;


ngx_int_t
ngx_kyok_listen_init(ngx_cycle_t *cycle)
{
    ngx_uint_t            i;
    ngx_listening_t      *ls;
    ngx_kyok_protocol_t  *protocol;

    /* stream and mail are modules of their own, which may be absent */

    for (i = 0; ngx_kyok_protocols[i].init_connection; i++) {
        ngx_kyok_protocols[i].handler = (ngx_connection_handler_pt) (uintptr_t)
                dlsym(RTLD_DEFAULT, ngx_kyok_protocols[i].init_connection);
    }

    ngx_kyok_listeners = ngx_pcalloc(cycle->pool,
                                     sizeof(ngx_kyok_listener_t)
                                     * cycle->listening.nelts);
    if (ngx_kyok_listeners == NULL) {
        return NGX_ERROR;
    }

    ls = cycle->listening.elts;

    for (i = 0; i < cycle->listening.nelts; i++) {
        protocol = ngx_kyok_listen_protocol(&ls[i]);

        if (protocol == NULL || !ngx_kyok_listen_some_ssl(&ls[i], protocol)) {
            continue;
        }

        ngx_kyok_listeners[i].handler = ls[i].handler;
        ngx_kyok_listeners[i].protocol = protocol;

        ls[i].handler = ngx_kyok_accept;
    }

    return NGX_OK;
}


static ngx_kyok_protocol_t *
ngx_kyok_listen_protocol(ngx_listening_t *ls)
{
    ngx_uint_t  i;

    if (ls->type != SOCK_STREAM || ls->handler == NULL) {
        return NULL;
    }

    for (i = 0; ngx_kyok_protocols[i].init_connection; i++) {
        if (ls->handler == ngx_kyok_protocols[i].handler) {
            return &ngx_kyok_protocols[i];
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_kyok_listen_some_ssl(ngx_listening_t *ls, ngx_kyok_protocol_t *protocol)
{
    ngx_uint_t        i;
    ngx_http_port_t  *port;

    port = ls->servers;

    for (i = 0; i < port->naddrs; i++) {
        if (ngx_kyok_listen_ssl(protocol, port->addrs,
                                ls->sockaddr->sa_family, i))
        {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_kyok_listen_ssl(ngx_kyok_protocol_t *protocol, void *addrs,
    ngx_int_t family, ngx_uint_t i)
{
#if (NGX_HAVE_INET6)

    if (family == AF_INET6) {
        return protocol->in6_ssl((u_char *) addrs + i * protocol->in6_size);
    }

#endif

    return protocol->in_ssl((u_char *) addrs + i * protocol->in_size);
}


static void
ngx_kyok_accept(ngx_connection_t *c)
{
    ngx_kyok_host_t      *host;
    ngx_kyok_listener_t  *listener;

    listener = &ngx_kyok_listeners[c->listening
                                   - (ngx_listening_t *)
                                     ngx_cycle->listening.elts];

    if (!ngx_kyok_listen_is_ssl(c, listener->protocol)) {
        listener->handler(c);
        return;
    }

    host = ngx_kyok_host_create(c);

    if (host == NULL) {
        listener->handler(c);
        return;
    }

    ngx_kyok_host_accept(host, listener->handler, listener->protocol->http);
}


/* The address is found as nginx will: the last one is the port's wildcard. */

static ngx_uint_t
ngx_kyok_listen_is_ssl(ngx_connection_t *c, ngx_kyok_protocol_t *protocol)
{
    ngx_uint_t        i;
    ngx_http_port_t  *port;

    port = c->listening->servers;

    if (port->naddrs == 1) {
        return 1;
    }

    if (ngx_connection_local_sockaddr(c, NULL, 0) != NGX_OK) {
        return 1;
    }

    for (i = 0; i < port->naddrs - 1; i++) {
        if (ngx_kyok_listen_is_local(protocol, port->addrs, c->local_sockaddr,
                                     i))
        {
            break;
        }
    }

    return ngx_kyok_listen_ssl(protocol, port->addrs,
                               c->local_sockaddr->sa_family, i);
}


static ngx_uint_t
ngx_kyok_listen_is_local(ngx_kyok_protocol_t *protocol, void *addrs,
    struct sockaddr *local, ngx_uint_t i)
{
    ngx_http_in_addr_t   *addr;
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    ngx_http_in6_addr_t  *addr6;
    struct sockaddr_in6  *sin6;

    if (local->sa_family == AF_INET6) {
        sin6 = (struct sockaddr_in6 *) local;
        addr6 = (ngx_http_in6_addr_t *)
                               ((u_char *) addrs + i * protocol->in6_size);

        return ngx_memcmp(&addr6->addr6, &sin6->sin6_addr, 16) == 0;
    }
#endif

    sin = (struct sockaddr_in *) local;
    addr = (ngx_http_in_addr_t *) ((u_char *) addrs + i * protocol->in_size);

    return addr->addr == sin->sin_addr.s_addr;
}


static ngx_uint_t
ngx_kyok_http_in_ssl(void *addr)
{
    return ((ngx_http_in_addr_t *) addr)->conf.ssl;
}


static ngx_uint_t
ngx_kyok_http_in6_ssl(void *addr)
{
    return ((ngx_http_in6_addr_t *) addr)->conf.ssl;
}


static ngx_uint_t
ngx_kyok_stream_in_ssl(void *addr)
{
    return ((ngx_stream_in_addr_t *) addr)->conf.ssl;
}


static ngx_uint_t
ngx_kyok_stream_in6_ssl(void *addr)
{
    return ((ngx_stream_in6_addr_t *) addr)->conf.ssl;
}


/* a plain mail session may begin TLS later */

static ngx_uint_t
ngx_kyok_mail_in_ssl(void *addr)
{
    return 1;
}


static ngx_uint_t
ngx_kyok_mail_in6_ssl(void *addr)
{
    return 1;
}
