
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * What both forms of the status page share: names, text, certificates.
 */


#include "ngx_http_kyok_status.h"


static ngx_int_t ngx_http_kyok_certificate(ngx_cycle_t *cycle, X509 *x509,
    EVP_PKEY *pkey, void *data);


ngx_http_kyok_metric_t  ngx_http_kyok_counters[] = {

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


ngx_http_kyok_metric_t  ngx_http_kyok_gauges[] = {

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


const char  *ngx_http_kyok_key_states[] = { "untried", "good", "bad" };


ngx_uint_t
ngx_http_kyok_gauge(ngx_kyok_worker_t *sum, ngx_http_kyok_metric_t *m)
{
    return *(ngx_uint_t *) ((u_char *) sum + m->offset);
}


/* A buffer per piece: none is longer than its names and one line. */

void
ngx_http_kyok_print(ngx_http_kyok_page_t *page, const char *fmt, ...)
{
    u_char       *p, *last, line[2 * NGX_MAX_PATH + 1024];
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


u_char *
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


void
ngx_http_kyok_certificates(ngx_http_kyok_page_t *page)
{
    (void) ngx_kyok_keys_visit((ngx_cycle_t *) ngx_cycle,
                               ngx_http_kyok_certificate, page);
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
