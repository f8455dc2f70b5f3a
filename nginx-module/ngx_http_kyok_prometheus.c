
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The figures as Prometheus reads them (text format 0.0.4).
 */


#include "ngx_http_kyok_status.h"


static void ngx_http_kyok_prometheus_members(ngx_http_kyok_page_t *page,
    ngx_kyok_stats_t *stats, ngx_kyok_worker_t *sum);
static void ngx_http_kyok_prometheus_latency(ngx_http_kyok_page_t *page,
    ngx_kyok_stats_t *stats);


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


void
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
                            ngx_http_kyok_gauge(sum, m));
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

    ngx_http_kyok_certificates(page);
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

        ngx_http_kyok_print(page, "kyok_operation_seconds_sum{"
                            "custodian=\"%s\",member=\"%s\"} %uA.%09uA\n"
                            "kyok_operation_seconds_count{"
                            "custodian=\"%s\",member=\"%s\"} %ui\n",
                            custodian, name, member->took / 1000000000,
                            member->took % 1000000000, custodian, name,
                            below);
    }
}
