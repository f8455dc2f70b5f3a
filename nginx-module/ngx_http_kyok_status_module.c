
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * kyok_status: figures of all workers in a location, as Prometheus text or
 * JSON; and $kyok_key_time for logs.
 */


#include "ngx_http_kyok_status.h"


typedef struct {
    ngx_uint_t   format;
} ngx_http_kyok_loc_conf_t;


static void *ngx_http_kyok_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_kyok_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_kyok_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_kyok_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_kyok_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_kyok_key_time_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_command_t  ngx_http_kyok_commands[] = {

    { ngx_string("kyok_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_kyok_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_kyok_status_module_ctx = {
    ngx_http_kyok_preconfiguration,        /* preconfiguration */
    ngx_http_kyok_postconfiguration,       /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_kyok_create_loc_conf,         /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_kyok_status_module = {
    NGX_MODULE_V1,
    &ngx_http_kyok_status_module_ctx,      /* module context */
    ngx_http_kyok_commands,                /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_variable_t  ngx_http_kyok_vars[] = {

    { ngx_string("kyok_key_time"), NULL, ngx_http_kyok_key_time_variable,
      0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static void *
ngx_http_kyok_create_loc_conf(ngx_conf_t *cf)
{
    /*
     * set by ngx_pcalloc():
     *
     *     conf->format = 0;
     */

    return ngx_pcalloc(cf->pool, sizeof(ngx_http_kyok_loc_conf_t));
}


static char *
ngx_http_kyok_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_kyok_loc_conf_t *klcf = conf;

    ngx_str_t                 *value;
    ngx_http_core_loc_conf_t  *clcf;

    if (klcf->format) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 1 || ngx_strcmp(value[1].data, "prometheus") == 0) {
        klcf->format = NGX_HTTP_KYOK_PROMETHEUS;

    } else if (ngx_strcmp(value[1].data, "json") == 0) {
        klcf->format = NGX_HTTP_KYOK_JSON;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"kyok_status\" "
                           "directive, it must be \"prometheus\" or \"json\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_kyok_handler;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_kyok_preconfiguration(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_kyok_vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_kyok_postconfiguration(ngx_conf_t *cf)
{
    return ngx_kyok_stats_add_zone(cf);
}


static ngx_int_t
ngx_http_kyok_handler(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_kyok_stats_t          *stats;
    ngx_kyok_worker_t         *sum;
    ngx_http_kyok_page_t       page;
    ngx_http_kyok_loc_conf_t  *klcf;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    klcf = ngx_http_get_module_loc_conf(r, ngx_http_kyok_status_module);

    stats = ngx_kyok_stats_get();
    sum = ngx_palloc(r->pool, sizeof(ngx_kyok_worker_t));

    if (stats == NULL || sum == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_kyok_stats_publish();
    ngx_kyok_stats_sum(sum);

    ngx_memzero(&page, sizeof(ngx_http_kyok_page_t));

    page.request = r;
    page.last = &page.first;
    page.format = klcf->format;

    if (klcf->format == NGX_HTTP_KYOK_JSON) {
        ngx_str_set(&r->headers_out.content_type, "application/json");
        ngx_http_kyok_json(&page, stats, sum);

    } else {
        ngx_str_set(&r->headers_out.content_type, "text/plain; version=0.0.4");
        ngx_http_kyok_prometheus(&page, stats, sum);
    }

    if (page.failed || page.first == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    page.tail->last_buf = (r == r->main) ? 1 : 0;
    page.tail->last_in_chain = 1;

    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = page.size;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, page.first);
}


/* How long the connection's handshake was suspended for operations. */

static ngx_int_t
ngx_http_kyok_key_time_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char   *p;
    int64_t   us;

    us = 0;

    if (r->connection->ssl) {
        us = ngx_kyok_ssl_key_time(r->connection->ssl->connection) / 1000;
    }

    if (us == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, NGX_INT64_LEN + 8);
    if (p == NULL) {
        return NGX_ERROR;
    }

    v->len = ngx_sprintf(p, "%L.%06L", us / 1000000, us % 1000000) - p;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->data = p;

    return NGX_OK;
}
