
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Figures of all workers in shared memory.  Counters outlive their worker:
 * each adds what has come since it last did.  Gauges are per worker, and of
 * living ones only.
 */


#include "ngx_kyok.h"

#include <signal.h>


#define NGX_KYOK_STATS_SIZE    (1024 * 1024)
#define NGX_KYOK_STATS_PERIOD  1000


static ngx_int_t ngx_kyok_stats_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static void ngx_kyok_stats_handler(ngx_event_t *ev);
static void ngx_kyok_stats_count(ngx_atomic_t *total, ngx_uint_t *told,
    ngx_uint_t now);
static void ngx_kyok_stats_member(void *data,
    const struct kyok_custodian_figures *figures);
static ngx_int_t ngx_kyok_stats_find(const struct kyok_custodian_figures *f);
static ngx_uint_t ngx_kyok_stats_is(ngx_kyok_member_t *member,
    const struct kyok_custodian_figures *figures);


/* what this worker has already added */

typedef struct {
    ngx_uint_t   counters[NGX_KYOK_COUNTERS];
    ngx_uint_t   members[NGX_KYOK_MEMBERS][NGX_KYOK_MEMBER_COUNTERS];
    ngx_uint_t   latency[NGX_KYOK_MEMBERS][KYOK_WORK_BUCKETS];
    ngx_uint_t   took[NGX_KYOK_MEMBERS];
} ngx_kyok_told_t;


static ngx_kyok_stats_t   *ngx_kyok_stats;
static ngx_kyok_worker_t  *ngx_kyok_worker;
static ngx_kyok_told_t     ngx_kyok_told;
static ngx_uint_t          ngx_kyok_handshakes[3];
static ngx_event_t         ngx_kyok_stats_event;
static ngx_connection_t    ngx_kyok_stats_dummy;


ngx_int_t
ngx_kyok_stats_add_zone(ngx_conf_t *cf)
{
    ngx_shm_zone_t    *shm_zone;

    static ngx_str_t   name = ngx_string("kyok_status");

    shm_zone = ngx_shared_memory_add(cf, &name, NGX_KYOK_STATS_SIZE,
                                     &ngx_kyok_module);
    if (shm_zone == NULL) {
        return NGX_ERROR;
    }

    shm_zone->init = ngx_kyok_stats_init_zone;

    return NGX_OK;
}


static ngx_int_t
ngx_kyok_stats_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (data) {
        shm_zone->data = data;
        return NGX_OK;
    }

    if (!shm_zone->shm.exists) {
        shpool->data = ngx_slab_calloc(shpool, sizeof(ngx_kyok_stats_t));
        if (shpool->data == NULL) {
            return NGX_ERROR;
        }
    }

    shm_zone->data = shpool->data;

    return NGX_OK;
}


/* A reload may have taken the zone away, or failed after it had made one. */

static ngx_kyok_stats_t *
ngx_kyok_stats_of(ngx_cycle_t *cycle)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_shm_zone_t   *shm_zone;

    for (part = &cycle->shared_memory.part; part; part = part->next) {
        shm_zone = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (shm_zone[i].tag == &ngx_kyok_module) {
                return shm_zone[i].data;
            }
        }
    }

    return NULL;
}


void
ngx_kyok_stats_init(ngx_cycle_t *cycle)
{
    ngx_kyok_stats = ngx_kyok_stats_of(cycle);

    if (ngx_kyok_stats == NULL) {
        return;
    }

    ngx_kyok_worker = &ngx_kyok_stats->workers[ngx_process_slot
                                               % NGX_KYOK_WORKERS];

    ngx_memzero(ngx_kyok_worker, sizeof(ngx_kyok_worker_t));
    ngx_kyok_worker->pid = ngx_pid;

    ngx_kyok_stats_dummy.fd = (ngx_socket_t) -1;
    ngx_kyok_stats_event.data = &ngx_kyok_stats_dummy;
    ngx_kyok_stats_event.log = cycle->log;
    ngx_kyok_stats_event.handler = ngx_kyok_stats_handler;
    ngx_kyok_stats_event.cancelable = 1;

    ngx_add_timer(&ngx_kyok_stats_event, NGX_KYOK_STATS_PERIOD);
}


static void
ngx_kyok_stats_handler(ngx_event_t *ev)
{
    ngx_kyok_stats_publish();

    ngx_add_timer(ev, NGX_KYOK_STATS_PERIOD);
}


void
ngx_kyok_stats_exit(void)
{
    if (ngx_kyok_worker) {
        ngx_kyok_stats_publish();
        ngx_kyok_worker->pid = 0;
    }
}


void
ngx_kyok_stats_handshake(ngx_ssl_conn_t *ssl_conn)
{
    ngx_uint_t  i;

    i = (ssl_conn == NULL) ? 2 : SSL_session_reused(ssl_conn) ? 1 : 0;

    ngx_kyok_handshakes[i]++;
}


void
ngx_kyok_stats_publish(void)
{
    ngx_uint_t                 i, now[NGX_KYOK_COUNTERS];
    struct kyok_work_figures   figures;

    if (ngx_kyok_worker == NULL) {
        return;
    }

    kyok_work_figures(&figures);

    now[NGX_KYOK_TIMEOUTS] = figures.timeouts;
    now[NGX_KYOK_CANCELLATIONS] = figures.cancellations;
    now[NGX_KYOK_REFUSED] = figures.refused;
    now[NGX_KYOK_FULL] = ngx_kyok_handshakes[0];
    now[NGX_KYOK_RESUMED] = ngx_kyok_handshakes[1];
    now[NGX_KYOK_FAILED] = ngx_kyok_handshakes[2];

    for (i = 0; i < NGX_KYOK_COUNTERS; i++) {
        ngx_kyok_stats_count(&ngx_kyok_stats->counters[i],
                             &ngx_kyok_told.counters[i], now[i]);
    }

    ngx_kyok_worker->in_flight = figures.in_flight;
    ngx_kyok_worker->suspended = figures.suspended;
    ngx_kyok_worker->threads = figures.threads;
    ngx_kyok_worker->written_off = figures.written_off;

    ngx_kyok_keys_count(&ngx_kyok_worker->keys);

    if (kyok_context_host()) {
        kyok_context_figures(kyok_context_host(), ngx_kyok_stats_member, NULL);
    }
}


static void
ngx_kyok_stats_count(ngx_atomic_t *total, ngx_uint_t *told, ngx_uint_t now)
{
    /* a custodian of a new configuration begins at zero */

    if (now < *told) {
        *told = 0;
    }

    (void) ngx_atomic_fetch_add(total, now - *told);
    *told = now;
}


static void
ngx_kyok_stats_member(void *data, const struct kyok_custodian_figures *figures)
{
    ngx_int_t           n;
    ngx_uint_t          i, now[NGX_KYOK_MEMBER_COUNTERS];
    ngx_kyok_gauges_t  *gauges;
    ngx_kyok_member_t  *member;

    n = ngx_kyok_stats_find(figures);
    if (n == NGX_DECLINED) {
        return;
    }

    member = &ngx_kyok_stats->members[n];
    gauges = &ngx_kyok_worker->gauges[n];

    now[NGX_KYOK_MEMBER_OPERATIONS] = figures->operations;
    now[NGX_KYOK_MEMBER_FAILURES] = figures->failures;
    now[NGX_KYOK_MEMBER_TIMEOUTS] = figures->timeouts;
    now[NGX_KYOK_MEMBER_FAILOVERS] = figures->failovers;
    now[NGX_KYOK_MEMBER_LOGINS] = figures->logins;

    for (i = 0; i < NGX_KYOK_MEMBER_COUNTERS; i++) {
        ngx_kyok_stats_count(&member->counters[i],
                             &ngx_kyok_told.members[n][i], now[i]);
    }

    for (i = 0; i < KYOK_WORK_BUCKETS; i++) {
        ngx_kyok_stats_count(&member->latency[i],
                             &ngx_kyok_told.latency[n][i],
                             figures->latency[i]);
    }

    ngx_kyok_stats_count(&member->took, &ngx_kyok_told.took[n],
                         figures->took_ns);

    gauges->in_flight = figures->in_flight;
    gauges->sessions = figures->sessions;
    ngx_cpystrn(gauges->state, (u_char *) figures->state,
                sizeof(gauges->state));
}


static ngx_int_t
ngx_kyok_stats_find(const struct kyok_custodian_figures *figures)
{
    ngx_uint_t          n;
    ngx_kyok_member_t  *member;

    member = ngx_kyok_stats->members;

    for (n = 0; n < NGX_KYOK_MEMBERS; n++) {

        if (member[n].taken == 2) {
            if (ngx_kyok_stats_is(&member[n], figures)) {
                return n;
            }

            continue;
        }

        if (!ngx_atomic_cmp_set(&member[n].taken, 0, 1)) {

            /* another worker is adding one, perhaps this: next time */

            return NGX_DECLINED;
        }

        ngx_cpystrn(member[n].custodian, (u_char *) figures->custodian,
                    NGX_KYOK_NAME);
        ngx_cpystrn(member[n].member, (u_char *) figures->member,
                    NGX_KYOK_NAME);

        ngx_memory_barrier();
        member[n].taken = 2;

        return n;
    }

    return NGX_DECLINED;
}


static ngx_uint_t
ngx_kyok_stats_is(ngx_kyok_member_t *member,
    const struct kyok_custodian_figures *figures)
{
    return ngx_strncmp(member->custodian, figures->custodian,
                       NGX_KYOK_NAME - 1) == 0
           && ngx_strncmp(member->member, figures->member, NGX_KYOK_NAME - 1)
              == 0;
}


ngx_kyok_stats_t *
ngx_kyok_stats_get(void)
{
    return ngx_kyok_stats;
}


void
ngx_kyok_stats_sum(ngx_kyok_worker_t *sum)
{
    ngx_uint_t          i, n;
    ngx_kyok_worker_t  *worker;

    ngx_memzero(sum, sizeof(ngx_kyok_worker_t));

    for (i = 0; i < NGX_KYOK_WORKERS; i++) {
        worker = &ngx_kyok_stats->workers[i];

        if (worker->pid == 0
            || (kill(worker->pid, 0) == -1 && ngx_errno == ESRCH))
        {
            continue;
        }

        sum->in_flight += worker->in_flight;
        sum->suspended += worker->suspended;
        sum->threads += worker->threads;
        sum->written_off += worker->written_off;

        for (n = 0; n < NGX_KYOK_KEY_STATES; n++) {
            sum->keys.state[n] += worker->keys.state[n];
        }

        for (n = 0; n < NGX_KYOK_MEMBERS; n++) {
            sum->gauges[n].in_flight += worker->gauges[n].in_flight;
            sum->gauges[n].sessions += worker->gauges[n].sessions;

            /* "healthy" only if it is for each worker that uses it */

            if (worker->gauges[n].state[0]
                && ngx_strcmp(worker->gauges[n].state, "unused") != 0
                && (sum->gauges[n].state[0] == '\0'
                    || ngx_strcmp(sum->gauges[n].state, "healthy") == 0))
            {
                ngx_cpystrn(sum->gauges[n].state, worker->gauges[n].state,
                            sizeof(sum->gauges[n].state));
            }
        }
    }
}
