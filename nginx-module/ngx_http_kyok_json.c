
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The same figures as JSON.
 */


#include "ngx_http_kyok_status.h"


static void ngx_http_kyok_json_member(ngx_http_kyok_page_t *page,
    ngx_kyok_member_t *member, ngx_kyok_gauges_t *gauges);


void
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
                            ngx_http_kyok_gauge(sum, m));
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

    ngx_http_kyok_certificates(page);

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
                        "\"seconds\":%uA.%09uA,"
                        "\"latency_quarter_ms_doubled\":[",
                        ngx_http_kyok_escape(page, member->custodian),
                        ngx_http_kyok_escape(page, member->member),
                        gauges->state[0] ? (char *) gauges->state : "unused",
                        member->counters[NGX_KYOK_MEMBER_OPERATIONS],
                        member->counters[NGX_KYOK_MEMBER_FAILURES],
                        member->counters[NGX_KYOK_MEMBER_TIMEOUTS],
                        member->counters[NGX_KYOK_MEMBER_FAILOVERS],
                        member->counters[NGX_KYOK_MEMBER_LOGINS],
                        gauges->in_flight, gauges->sessions,
                        member->took / 1000000000,
                        member->took % 1000000000);

    for (i = 0; i < KYOK_WORK_BUCKETS; i++) {
        ngx_http_kyok_print(page, "%s%uA", i ? "," : "", member->latency[i]);
    }

    ngx_http_kyok_print(page, "]}");
}
