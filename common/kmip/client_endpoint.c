/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoint serves a call, and what becomes of one that fails. */
#include "common/kmip/client_live.h"

/* --- choice ---------------------------------------------------------------------------------- */

static bool is_due(const struct kyok_kmip_endpoint *endpoint, int64_t now)
{
    return endpoint->health == KYOK_KMIP_DOWN && !endpoint->on_trial &&
           now >= endpoint->retry_at_ns;
}

/* Smaller is better; equal ones stay in the configuration's order. */
static unsigned rank(const struct kyok_kmip_endpoint *endpoint, enum kyok_kmip_access access)
{
    if (endpoint->health == KYOK_KMIP_DOWN)
        return UINT_MAX;
    return access == KYOK_KMIP_WRITE ? 0 : atomic_load(&endpoint->in_flight);
}

static void insert(struct kyok_kmip_endpoint **order, unsigned *ranks, size_t count,
                   struct kyok_kmip_endpoint *endpoint, unsigned endpoint_rank)
{
    size_t at = count;

    for (; at > 0 && ranks[at - 1] > endpoint_rank; at--) {
        order[at] = order[at - 1];
        ranks[at] = ranks[at - 1];
    }
    order[at] = endpoint;
    ranks[at] = endpoint_rank;
}

/* How long a lost endpoint is left alone, and how long it then has to answer: twice as long each
 * time, so that one that has become slow is used again, too. */
static int pause_ms(unsigned failures)
{
    int ms = KYOK_KMIP_FIRST_RETRY_MS;

    for (unsigned i = 1; i < failures && ms < KYOK_KMIP_LAST_RETRY_MS; i++)
        ms *= 2;
    return ms < KYOK_KMIP_LAST_RETRY_MS ? ms : KYOK_KMIP_LAST_RETRY_MS;
}

/* The first that is due goes to the front, unless nothing else is healthy: then it is no trial, and
 * may use all the time there is. */
static int bring_trial_to_front(struct kyok_kmip_endpoint **order, size_t count)
{
    int64_t now = kyok_now_ns();
    size_t at = 0;

    while (at < count && !is_due(order[at], now))
        at++;
    if (at == count || order[0]->health == KYOK_KMIP_DOWN)
        return 0;
    struct kyok_kmip_endpoint *due = order[at];
    for (; at > 0; at--)
        order[at] = order[at - 1];
    order[0] = due;
    due->on_trial = true;
    return pause_ms(due->failures);
}

void kyok_kmip_endpoint_order(struct kyok_kmip_live *live, enum kyok_kmip_access access,
                              struct kyok_kmip_endpoint **order, int *trial_ms)
{
    unsigned ranks[KYOK_KMIP_MAX_ENDPOINTS];

    pthread_mutex_lock(&live->lock);
    for (size_t i = 0; i < live->endpoint_count; i++)
        insert(order, ranks, i, &live->endpoints[i], rank(&live->endpoints[i], access));
    *trial_ms = bring_trial_to_front(order, live->endpoint_count);
    pthread_mutex_unlock(&live->lock);
}

/* --- health ---------------------------------------------------------------------------------- */

static void say(const struct kyok_kmip_endpoint *endpoint, const char *type,
                enum kyok_status status, const char *detail)
{
    char custodian[400];

    snprintf(custodian, sizeof custodian, "%s %s", endpoint->live->config.name, endpoint->peer.url);
    struct kyok_event event = {
        .type = type, .custodian = custodian, .result = kyok_status_name(status), .detail = detail};
    kyok_event_emit(&event);
}

static unsigned bucket(int64_t ns)
{
    unsigned i = 0;

    while (i < KYOK_KMIP_BUCKETS - 1 && ns >= (INT64_C(250000) << i))
        i++;
    return i;
}

void kyok_kmip_endpoint_worked(struct kyok_kmip_endpoint *endpoint, int64_t began_ns)
{
    struct kyok_kmip_live *live = endpoint->live;
    int64_t took_ns = kyok_now_ns() - began_ns;

    atomic_fetch_add(&endpoint->operations, 1);
    atomic_fetch_add(&endpoint->latency[bucket(took_ns)], 1);
    atomic_fetch_add(&endpoint->took_ns, (unsigned long long)took_ns);
    pthread_mutex_lock(&live->lock);
    bool returned = endpoint->health == KYOK_KMIP_DOWN;
    endpoint->health = KYOK_KMIP_HEALTHY;
    endpoint->failures = 0;
    endpoint->on_trial = false;
    pthread_mutex_unlock(&live->lock);
    if (returned)
        say(endpoint, "return", KYOK_OK, "the endpoint answers again");
}

void kyok_kmip_endpoint_untried(struct kyok_kmip_endpoint *endpoint)
{
    pthread_mutex_lock(&endpoint->live->lock);
    endpoint->on_trial = false;
    pthread_mutex_unlock(&endpoint->live->lock);
}

void kyok_kmip_endpoint_failed(struct kyok_kmip_endpoint *endpoint, const struct kyok_error *err)
{
    struct kyok_kmip_live *live = endpoint->live;

    atomic_fetch_add(&endpoint->failed, 1);
    if (err->status == KYOK_TIMEOUT)
        atomic_fetch_add(&endpoint->timeouts, 1);
    pthread_mutex_lock(&live->lock);
    bool lost = endpoint->health != KYOK_KMIP_DOWN;
    endpoint->health = KYOK_KMIP_DOWN;
    if (lost || endpoint->on_trial)
        endpoint->failures++; /* many calls that fail at once are one failure */
    endpoint->retry_at_ns = kyok_now_ns() + (int64_t)pause_ms(endpoint->failures) * 1000000;
    endpoint->on_trial = false;
    pthread_mutex_unlock(&live->lock);
    /* It may come back as another server: ask it again what it speaks. */
    atomic_store(&endpoint->version, 0);
    kyok_kmip_pool_drain(endpoint);
    if (lost)
        say(endpoint, "failover", err->status, err->what);
}
