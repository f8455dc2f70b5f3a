
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * kyok_status: figures of all workers in a location, as Prometheus text or
 * JSON; and $kyok_key_time for logs.
 */


#include "ngx_kyok.h"

#include <ngx_http.h>


#define NGX_HTTP_KYOK_PROMETHEUS  1
#define NGX_HTTP_KYOK_JSON        2


typedef struct {
    ngx_uint_t   format;
} ngx_http_kyok_loc_conf_t;


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


static void *ngx_http_kyok_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_kyok_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_kyok_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_kyok_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_kyok_handler(ngx_http_request_t *r);
static void ngx_http_kyok_print(ngx_http_kyok_page_t *page, const char *fmt,
    ...);
static u_char *ngx_http_kyok_escape(ngx_http_kyok_page_t *page, u_char *text);
static void ngx_http_kyok_prometheus(ngx_http_kyok_page_t *page,
    ngx_kyok_stats_t *stats, ngx_kyok_worker_t *sum);
static void ngx_http_kyok_prometheus_members(ngx_http_kyok_page_t *page,
    ngx_kyok_stats_t *stats, ngx_kyok_worker_t *sum);
static void ngx_http_kyok_prometheus_latency(ngx_http_kyok_page_t *page,
    ngx_kyok_stats_t *stats);
static void ngx_http_kyok_json(ngx_http_kyok_page_t *page,
    ngx_kyok_stats_t *stats, ngx_kyok_worker_t *sum);
static void ngx_http_kyok_json_member(ngx_http_kyok_page_t *page,
    ngx_kyok_member_t *member, ngx_kyok_gauges_t *gauges);
static ngx_int_t ngx_http_kyok_certificate(ngx_cycle_t *cycle, X509 *x509,
    EVP_PKEY *pkey, void *data);
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


static ngx_http_kyok_metric_t  ngx_http_kyok_counters[] = {

    { ngx_string("kyok_waits_timed_out_total"),
      "Operations not answered by their deadline.", NGX_KYOK_TIMEOUTS },

    { ngx_string("kyok_cancellations_total"),
      "Operations whose peer went away.", NGX_KYOK_CANCELLATIONS },

    { ngx_string("kyok_refused_total"),
      "Operations beyond kyok_max_inflight.", NGX_KYOK_REFUSED },

    { ngx_string("kyok_full_handshakes_total"),
      "TLS handshakes that used a key.", NGX_KYOK_FULL },

    { ngx_string("kyok_resumed_handshakes_total"),
      "TLS handshakes that resumed a session.", NGX_KYOK_RESUMED },

    { ngx_string("kyok_failed_handshakes_total"),
      "TLS handshakes that were not completed.", NGX_KYOK_FAILED },

    { ngx_null_string, NULL, 0 }
};


static ngx_http_kyok_metric_t  ngx_http_kyok_gauges[] = {

    { ngx_string("kyok_in_flight"),
      "Operations in flight, queued ones included.",
      offsetof(ngx_kyok_worker_t, in_flight) },

    { ngx_string("kyok_suspended"),
      "Handshakes suspended for an operation.",
      offsetof(ngx_kyok_worker_t, suspended) },

    { ngx_string("kyok_threads"),
      "Executor threads.",
      offsetof(ngx_kyok_worker_t, threads) },

    { ngx_string("kyok_threads_written_off"),
      "Executor threads in a call beyond its deadline.",
      offsetof(ngx_kyok_worker_t, written_off) },

    { ngx_null_string, NULL, 0 }
};


static ngx_http_kyok_metric_t  ngx_http_kyok_member_counters[] = {

    { ngx_string("kyok_operations_total"),
      "Operations by custodian and member.", NGX_KYOK_MEMBER_OPERATIONS },

    { ngx_string("kyok_operation_failures_total"),
      "Operations that failed.", NGX_KYOK_MEMBER_FAILURES },

    { ngx_string("kyok_operation_timeouts_total"),
      "Operations that timed out.", NGX_KYOK_MEMBER_TIMEOUTS },

    { ngx_string("kyok_failovers_total"),
      "Operations that went on to another member.",
      NGX_KYOK_MEMBER_FAILOVERS },

    { ngx_string("kyok_logins_total"),
      "Logins.", NGX_KYOK_MEMBER_LOGINS },

    { ngx_null_string, NULL, 0 }
};


static const char  *ngx_http_kyok_key_states[] = { "untried", "good", "bad" };


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


/* A buffer per piece: none is longer than its names and one line. */

static void
ngx_http_kyok_print(ngx_http_kyok_page_t *page, const char *fmt, ...)
{
    u_char       *p, *last, line[1024];
    va_list       args;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    va_start(args, fmt);
    last = ngx_vslprintf(line, line + sizeof(line), fmt, args);
    va_end(args);

    if (last == line) {
        return;
    }

    b = ngx_calloc_buf(page->request->pool);
    cl = ngx_alloc_chain_link(page->request->pool);
    p = ngx_pnalloc(page->request->pool, last - line);

    if (b == NULL || cl == NULL || p == NULL || last == line + sizeof(line)) {
        page->failed = 1;
        return;
    }

    b->pos = p;
    b->last = ngx_cpymem(p, line, last - line);
    b->memory = 1;

    cl->buf = b;
    cl->next = NULL;

    page->tail = b;
    page->size += last - line;

    *page->last = cl;
    page->last = &cl->next;
}


/* For a label's value, and for a string of JSON. */

static u_char *
ngx_http_kyok_escape(ngx_http_kyok_page_t *page, u_char *text)
{
    u_char  *p, *escaped;

    escaped = ngx_pnalloc(page->request->pool, 2 * ngx_strlen(text) + 1);
    if (escaped == NULL) {
        page->failed = 1;
        return (u_char *) "";
    }

    for (p = escaped; *text; text++) {
        if (*text == '"' || *text == '\\') {
            *p++ = '\\';
        }

        *p++ = (*text < 0x20) ? '?' : *text;
    }

    *p = '\0';

    return escaped;
}


static void
ngx_http_kyok_prometheus(ngx_http_kyok_page_t *page, ngx_kyok_stats_t *stats,
    ngx_kyok_worker_t *sum)
{
    ngx_uint_t               i;
    ngx_http_kyok_metric_t  *m;

    for (m = ngx_http_kyok_counters; m->name.len; m++) {
        ngx_http_kyok_print(page, "# HELP %V %s\n# TYPE %V counter\n%V %uA\n",
                            &m->name, m->help, &m->name, &m->name,
                            stats->counters[m->offset]);
    }

    for (m = ngx_http_kyok_gauges; m->name.len; m++) {
        ngx_http_kyok_print(page, "# HELP %V %s\n# TYPE %V gauge\n%V %ui\n",
                            &m->name, m->help, &m->name, &m->name,
                            *(ngx_uint_t *) ((u_char *) sum + m->offset));
    }

    ngx_http_kyok_print(page, "# HELP kyok_keys Keys by the result of the "
                        "workers' self-tests.\n# TYPE kyok_keys gauge\n");

    for (i = 0; i < NGX_KYOK_KEY_STATES; i++) {
        ngx_http_kyok_print(page, "kyok_keys{state=\"%s\"} %ui\n",
                            ngx_http_kyok_key_states[i], sum->keys.state[i]);
    }

    ngx_http_kyok_prometheus_members(page, stats, sum);
    ngx_http_kyok_prometheus_latency(page, stats);

    ngx_http_kyok_print(page, "# HELP kyok_certificate_expiry_seconds When "
                        "the certificate expires, since the epoch.\n"
                        "# TYPE kyok_certificate_expiry_seconds gauge\n");

    (void) ngx_kyok_keys_visit((ngx_cycle_t *) ngx_cycle,
                               ngx_http_kyok_certificate, page);
}


static void
ngx_http_kyok_prometheus_members(ngx_http_kyok_page_t *page,
    ngx_kyok_stats_t *stats, ngx_kyok_worker_t *sum)
{
    ngx_uint_t               n;
    ngx_kyok_member_t       *member;
    ngx_http_kyok_metric_t  *m;

    member = stats->members;

    for (m = ngx_http_kyok_member_counters; m->name.len; m++) {
        ngx_http_kyok_print(page, "# HELP %V %s\n# TYPE %V counter\n",
                            &m->name, m->help, &m->name);

        for (n = 0; n < NGX_KYOK_MEMBERS && member[n].taken == 2; n++) {
            ngx_http_kyok_print(page,
                                "%V{custodian=\"%s\",member=\"%s\"} %uA\n",
                                &m->name,
                                ngx_http_kyok_escape(page,
                                                     member[n].custodian),
                                ngx_http_kyok_escape(page, member[n].member),
                                member[n].counters[m->offset]);
        }
    }

    ngx_http_kyok_print(page, "# HELP kyok_sessions Sessions that are open.\n"
                        "# TYPE kyok_sessions gauge\n");

    for (n = 0; n < NGX_KYOK_MEMBERS && member[n].taken == 2; n++) {
        ngx_http_kyok_print(page, "kyok_sessions{custodian=\"%s\","
                            "member=\"%s\"} %ui\n",
                            ngx_http_kyok_escape(page, member[n].custodian),
                            ngx_http_kyok_escape(page, member[n].member),
                            sum->gauges[n].sessions);
    }

    ngx_http_kyok_print(page, "# HELP kyok_member_state 1 for the state that "
                        "the member is in.\n# TYPE kyok_member_state gauge\n");

    for (n = 0; n < NGX_KYOK_MEMBERS && member[n].taken == 2; n++) {
        ngx_http_kyok_print(page, "kyok_member_state{custodian=\"%s\","
                            "member=\"%s\",state=\"%s\"} 1\n",
                            ngx_http_kyok_escape(page, member[n].custodian),
                            ngx_http_kyok_escape(page, member[n].member),
                            sum->gauges[n].state[0] ? (char *)
                                sum->gauges[n].state : "unused");
    }
}


static void
ngx_http_kyok_prometheus_latency(ngx_http_kyok_page_t *page,
    ngx_kyok_stats_t *stats)
{
    u_char             *custodian, *name;
    ngx_uint_t          i, n, below;
    ngx_kyok_member_t  *member;

    ngx_http_kyok_print(page, "# HELP kyok_operation_seconds Time that the "
                        "member took.\n"
                        "# TYPE kyok_operation_seconds histogram\n");

    for (n = 0; n < NGX_KYOK_MEMBERS; n++) {
        member = &stats->members[n];

        if (member->taken != 2) {
            return;
        }

        custodian = ngx_http_kyok_escape(page, member->custodian);
        name = ngx_http_kyok_escape(page, member->member);
        below = 0;

        for (i = 0; i < KYOK_WORK_BUCKETS; i++) {
            below += member->latency[i];

            if (i == KYOK_WORK_BUCKETS - 1) {
                ngx_http_kyok_print(page, "kyok_operation_seconds_bucket{"
                                    "custodian=\"%s\",member=\"%s\","
                                    "le=\"+Inf\"} %ui\n",
                                    custodian, name, below);
                break;
            }

            /* a quarter of a millisecond, doubled */

            ngx_http_kyok_print(page, "kyok_operation_seconds_bucket{"
                                "custodian=\"%s\",member=\"%s\","
                                "le=\"%ui.%05ui\"} %ui\n",
                                custodian, name,
                                (((ngx_uint_t) 25 << i) / 100000),
                                (((ngx_uint_t) 25 << i) % 100000), below);
        }

        ngx_http_kyok_print(page, "kyok_operation_seconds_count{"
                            "custodian=\"%s\",member=\"%s\"} %ui\n",
                            custodian, name, below);
    }
}


static void
ngx_http_kyok_json(ngx_http_kyok_page_t *page, ngx_kyok_stats_t *stats,
    ngx_kyok_worker_t *sum)
{
    ngx_str_t                name;
    ngx_uint_t               i, n;
    ngx_http_kyok_metric_t  *m;

    ngx_http_kyok_print(page, "{");

    for (m = ngx_http_kyok_counters; m->name.len; m++) {
        name.data = m->name.data + sizeof("kyok_") - 1;
        name.len = m->name.len - (sizeof("kyok_") - 1)
                   - (sizeof("_total") - 1);

        ngx_http_kyok_print(page, "\"%V\":%uA,", &name,
                            stats->counters[m->offset]);
    }

    for (m = ngx_http_kyok_gauges; m->name.len; m++) {
        name.data = m->name.data + sizeof("kyok_") - 1;
        name.len = m->name.len - (sizeof("kyok_") - 1);

        ngx_http_kyok_print(page, "\"%V\":%ui,", &name,
                            *(ngx_uint_t *) ((u_char *) sum + m->offset));
    }

    ngx_http_kyok_print(page, "\"keys\":{");

    for (i = 0; i < NGX_KYOK_KEY_STATES; i++) {
        ngx_http_kyok_print(page, "%s\"%s\":%ui", i ? "," : "",
                            ngx_http_kyok_key_states[i], sum->keys.state[i]);
    }

    ngx_http_kyok_print(page, "},\"members\":[");

    for (n = 0; n < NGX_KYOK_MEMBERS && stats->members[n].taken == 2; n++) {
        ngx_http_kyok_print(page, n ? "," : "");
        ngx_http_kyok_json_member(page, &stats->members[n], &sum->gauges[n]);
    }

    ngx_http_kyok_print(page, "],\"certificates\":[");

    (void) ngx_kyok_keys_visit((ngx_cycle_t *) ngx_cycle,
                               ngx_http_kyok_certificate, page);

    ngx_http_kyok_print(page, "]}\n");
}


static void
ngx_http_kyok_json_member(ngx_http_kyok_page_t *page,
    ngx_kyok_member_t *member, ngx_kyok_gauges_t *gauges)
{
    ngx_uint_t  i;

    ngx_http_kyok_print(page, "{\"custodian\":\"%s\",\"member\":\"%s\","
                        "\"state\":\"%s\",\"operations\":%uA,"
                        "\"failures\":%uA,\"timeouts\":%uA,"
                        "\"failovers\":%uA,\"logins\":%uA,"
                        "\"in_flight\":%ui,\"sessions\":%ui,"
                        "\"latency_quarter_ms_doubled\":[",
                        ngx_http_kyok_escape(page, member->custodian),
                        ngx_http_kyok_escape(page, member->member),
                        gauges->state[0] ? (char *) gauges->state : "unused",
                        member->counters[NGX_KYOK_MEMBER_OPERATIONS],
                        member->counters[NGX_KYOK_MEMBER_FAILURES],
                        member->counters[NGX_KYOK_MEMBER_TIMEOUTS],
                        member->counters[NGX_KYOK_MEMBER_FAILOVERS],
                        member->counters[NGX_KYOK_MEMBER_LOGINS],
                        gauges->in_flight, gauges->sessions);

    for (i = 0; i < KYOK_WORK_BUCKETS; i++) {
        ngx_http_kyok_print(page, "%s%uA", i ? "," : "", member->latency[i]);
    }

    ngx_http_kyok_print(page, "]}");
}


static ngx_int_t
ngx_http_kyok_certificate(ngx_cycle_t *cycle, X509 *x509, EVP_PKEY *pkey,
    void *data)
{
    ngx_http_kyok_page_t *page = data;

    u_char     *file;
    time_t      expiry;
    struct tm   tm;

    if (x509 == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(x509), &tm) != 1) {
        return NGX_OK;
    }

    expiry = timegm(&tm);

    file = X509_get_ex_data(x509, ngx_ssl_certificate_name_index);

    if (file == NULL || ngx_strncmp(file, "data:", 5) == 0) {
        file = (u_char *) "data:";
    }

    file = ngx_http_kyok_escape(page, file);

    if (page->format == NGX_HTTP_KYOK_JSON) {
        ngx_http_kyok_print(page, "%s{\"certificate\":\"%s\",\"expiry\":%T}",
                            page->items++ ? "," : "", file, expiry);
        return NGX_OK;
    }

    ngx_http_kyok_print(page, "kyok_certificate_expiry_seconds{"
                        "certificate=\"%s\",number=\"%ui\"} %T\n",
                        file, page->items++, expiry);

    return NGX_OK;
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
