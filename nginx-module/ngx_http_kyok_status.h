
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Private to ngx_http_kyok_*.c: a page with the figures of all workers, and
 * what it is made of.
 */


#ifndef _NGX_HTTP_KYOK_STATUS_H_INCLUDED_
#define _NGX_HTTP_KYOK_STATUS_H_INCLUDED_


#include "ngx_kyok.h"

#include <ngx_http.h>


#define NGX_HTTP_KYOK_PROMETHEUS  1
#define NGX_HTTP_KYOK_JSON        2


typedef struct {
    ngx_str_t    name;
    const char  *help;
    size_t       offset;
} ngx_http_kyok_metric_t;


typedef struct {
    ngx_http_request_t  *request;
    ngx_chain_t         *first;
    ngx_chain_t        **last;
    ngx_buf_t           *tail;
    size_t               size;
    ngx_uint_t           items;
    ngx_uint_t           failed;
    ngx_uint_t           format;
} ngx_http_kyok_page_t;


/* ngx_http_kyok_page.c */

extern ngx_http_kyok_metric_t  ngx_http_kyok_counters[];
extern ngx_http_kyok_metric_t  ngx_http_kyok_gauges[];
extern const char             *ngx_http_kyok_key_states[];

ngx_uint_t ngx_http_kyok_gauge(ngx_kyok_worker_t *sum,
    ngx_http_kyok_metric_t *m);
void ngx_http_kyok_print(ngx_http_kyok_page_t *page, const char *fmt, ...);
/* for a label's value, and for a string of JSON */
u_char *ngx_http_kyok_escape(ngx_http_kyok_page_t *page, u_char *text);
/* a line for each certificate of the configuration */
void ngx_http_kyok_certificates(ngx_http_kyok_page_t *page);


/* ngx_http_kyok_prometheus.c, ngx_http_kyok_json.c */

void ngx_http_kyok_prometheus(ngx_http_kyok_page_t *page,
    ngx_kyok_stats_t *stats, ngx_kyok_worker_t *sum);
void ngx_http_kyok_json(ngx_http_kyok_page_t *page, ngx_kyok_stats_t *stats,
    ngx_kyok_worker_t *sum);


#endif /* _NGX_HTTP_KYOK_STATUS_H_INCLUDED_ */
