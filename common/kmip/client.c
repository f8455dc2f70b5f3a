/* SPDX-License-Identifier: Apache-2.0 */
/* The handle: a section, and a cached way to this process's state for it. */
#include "common/kmip/client_call.h"
#include "common/kmip/client_process.h"

#include <stdlib.h>
#include <string.h>

struct kyok_kmip_client {
    const struct kyok_kmip_config *config;
    _Atomic(struct kyok_kmip_live *) live;
};

/* What can be said without contacting anybody is said now, not at the first use. */
enum kyok_status kyok_kmip_client_new(const struct kyok_kmip_config *config,
                                      struct kyok_kmip_client **client, struct kyok_error *err)
{
    struct kyok_tls_peer peer;

    if (config->server_count == 0 || config->server_count > KYOK_KMIP_MAX_ENDPOINTS) {
        kyok_fail(err, KYOK_INVALID, config->where, "[kmip %s] names %zu servers", config->name,
                  config->server_count);
        return kyok_remedy(err, "give 1 to %d lines server = kmips://host:port",
                           KYOK_KMIP_MAX_ENDPOINTS);
    }
    for (size_t i = 0; i < config->server_count; i++)
        KYOK_TRY(kyok_tls_peer_parse(config->servers[i], &peer, err));
    struct kyok_kmip_client *made = calloc(1, sizeof *made);
    if (made == NULL)
        return kyok_fail(err, KYOK_SYSTEM, config->name, "no memory for a KMIP client");
    made->config = config;
    *client = made;
    return KYOK_OK;
}

void kyok_kmip_client_free(struct kyok_kmip_client *client)
{
    free(client);
}

const struct kyok_kmip_config *kyok_kmip_client_config(const struct kyok_kmip_client *client)
{
    return client->config;
}

struct kyok_deadline kyok_kmip_client_deadline(const struct kyok_kmip_client *client)
{
    unsigned ms = client->config->timeout_ms;

    return kyok_deadline_in_ms(ms != 0 ? ms : KYOK_DEFAULT_TIMEOUT_MS);
}

enum kyok_status kyok_kmip_client_live(struct kyok_kmip_client *client,
                                       struct kyok_kmip_live **live, struct kyok_error *err)
{
    struct kyok_kmip_live *known = atomic_load(&client->live);

    if (known != NULL && known->generation == kyok_process_generation()) {
        *live = known;
        return KYOK_OK;
    }
    if (known != NULL)
        kyok_kmip_live_abandon(known);
    KYOK_TRY(kyok_kmip_live_find(client->config, live, err));
    atomic_store(&client->live, *live);
    return KYOK_OK;
}

unsigned kyok_kmip_client_version(struct kyok_kmip_client *client)
{
    struct kyok_kmip_live *live;
    struct kyok_error err;
    unsigned version = 0;

    if (kyok_kmip_client_live(client, &live, &err) != KYOK_OK)
        return 0;
    for (size_t i = 0; i < live->endpoint_count && version == 0; i++)
        version = atomic_load(&live->endpoints[i].version);
    return version;
}

void kyok_kmip_reply_init(struct kyok_kmip_reply *reply)
{
    reply->item = NULL;
    reply->endpoint = NULL;
    reply->version = 0;
    reply->doubtful = false;
    reply->memory = NULL;
    reply->size = 0;
    memset(&reply->response, 0, sizeof reply->response);
    kyok_kmip_arena_init(&reply->arena, 0);
}

void kyok_kmip_reply_free(struct kyok_kmip_reply *reply)
{
    reply->item = NULL;
    kyok_kmip_memory_give(reply->memory, reply->size);
    reply->memory = NULL;
    kyok_kmip_arena_free(&reply->arena);
}

static const char *health_name(enum kyok_kmip_health health)
{
    static const char *const names[] = {"unused", "healthy", "down"};

    return names[health];
}

static void visit_endpoint(struct kyok_kmip_endpoint *endpoint, kyok_kmip_figures_visitor *visit,
                           void *caller)
{
    struct kyok_kmip_endpoint_figures figures = {
        .url = endpoint->peer.url,
        .operations = atomic_load(&endpoint->operations),
        .failures = atomic_load(&endpoint->failed),
        .timeouts = atomic_load(&endpoint->timeouts),
        .failovers = atomic_load(&endpoint->failovers),
        .in_flight = atomic_load(&endpoint->in_flight),
        .connections = atomic_load(&endpoint->connections),
        .opened = atomic_load(&endpoint->opened),
        .took_ns = atomic_load(&endpoint->took_ns),
    };

    for (size_t i = 0; i < KYOK_KMIP_BUCKETS; i++)
        figures.latency[i] = atomic_load(&endpoint->latency[i]);
    pthread_mutex_lock(&endpoint->live->lock);
    figures.state = health_name(endpoint->health);
    pthread_mutex_unlock(&endpoint->live->lock);
    visit(caller, &figures);
}

void kyok_kmip_figures(struct kyok_kmip_client *client, kyok_kmip_figures_visitor *visit,
                       void *caller)
{
    struct kyok_kmip_live *live;
    struct kyok_error err;

    if (kyok_kmip_client_live(client, &live, &err) != KYOK_OK)
        return;
    for (size_t i = 0; i < live->endpoint_count; i++)
        visit_endpoint(&live->endpoints[i], visit, caller);
}
