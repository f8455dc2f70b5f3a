
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Private to ngx_kyok_host.c, ngx_kyok_run.c and ngx_kyok_suspend.c: a host
 * runs the handlers of one connection in a fiber until its TLS handshake is
 * over.  What follows a handshake runs on the worker's own stack, so that
 * content handlers never see a fiber.
 */


#ifndef _NGX_KYOK_HOST_H_INCLUDED_
#define _NGX_KYOK_HOST_H_INCLUDED_


#include "ngx_kyok.h"


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

    /* of SSL, while it is to read nothing but the ClientHello */
    BIO                         *rbio;
    int                          read_ahead;

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


/* ngx_kyok_host.c */

/* from here on the connection costs nothing more */
void ngx_kyok_host_detach(ngx_kyok_host_t *host);
/* the handshake is over; NULL: it failed */
void ngx_kyok_host_count(ngx_kyok_host_t *host, ngx_ssl_connection_t *ssl);
void ngx_kyok_host_release(ngx_kyok_host_t *host);


/* ngx_kyok_run.c */

/* the host whose fiber runs */
extern ngx_kyok_host_t  *ngx_kyok_current;

/* the fiber has come back: suspended, or at its end */
void ngx_kyok_host_switched(ngx_kyok_host_t *host);
void ngx_kyok_host_give_back(ngx_kyok_host_t *host);
void ngx_kyok_host_let_read(ngx_kyok_host_t *host);
void ngx_kyok_event_handler(ngx_event_t *ev);
void ngx_kyok_ssl_handler(ngx_connection_t *c);


/* ngx_kyok_suspend.c */

void ngx_kyok_suspend_init(ngx_cycle_t *cycle);
void ngx_kyok_host_suspended(ngx_kyok_host_t *host);
/* others close the connection: the fiber goes on, fails, and comes back */
void ngx_kyok_host_unwind(ngx_kyok_host_t *host);


#endif /* _NGX_KYOK_HOST_H_INCLUDED_ */
