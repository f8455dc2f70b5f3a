/* SPDX-License-Identifier: Apache-2.0 */
/* A look at each endpoint: is it there, does it let us in, what does it speak and offer. */
#include "common/kmip/client_call.h"

#include <stdio.h>

struct visit {
    kyok_kmip_endpoint_visitor *visit;
    void *caller;
    struct kyok_kmip_endpoint_report report;
    unsigned versions[KYOK_KMIP_VERSIONS];
    char server[256];
    const char *identity;
};

static double since_ms(int64_t began)
{
    return (double)(kyok_now_ns() - began) / 1e6;
}

/* Servers without one of these are no worse servers: only the connection itself can fail here. */
static enum kyok_status question(struct kyok_kmip_connection *connection,
                                 const struct kyok_kmip_request_item *item,
                                 struct kyok_deadline deadline, struct kyok_kmip_reply *reply,
                                 double *ms, struct kyok_error *err)
{
    enum kyok_kmip_progress progress;
    int64_t began = kyok_now_ns();
    enum kyok_status status =
        kyok_kmip_exchange(connection, connection->version, item, deadline, reply, &progress, err);

    *ms = since_ms(began);
    return status;
}

static bool succeeded(const struct kyok_kmip_reply *reply)
{
    return reply->item->status == KYOK_KMIP_RESULT_STATUS_SUCCESS;
}

static enum kyok_status ask_versions(struct kyok_kmip_connection *connection,
                                     struct kyok_deadline deadline, struct visit *visit,
                                     struct kyok_error *err)
{
    static const struct kyok_kmip_request_item item = {.operation =
                                                           KYOK_KMIP_OPERATION_DISCOVER_VERSIONS};
    KYOK_KMIP_AUTO_REPLY(reply);

    visit->report.version = connection->version;
    visit->report.versions = visit->versions;
    visit->versions[0] = connection->version;
    visit->report.version_count = 1;
    if (connection->version == KYOK_KMIP_1_0) /* which has no Discover Versions */
        return KYOK_OK;
    KYOK_TRY(question(connection, &item, deadline, &reply, &visit->report.latency_ms, err));
    if (succeeded(&reply))
        visit->report.version_count =
            kyok_kmip_known_versions(&reply.item->payload.versions, visit->versions);
    return KYOK_OK;
}

static enum kyok_status ask_query(struct kyok_kmip_connection *connection,
                                  struct kyok_deadline deadline, struct visit *visit,
                                  struct kyok_kmip_reply *reply, struct kyok_error *err)
{
    static const enum kyok_kmip_query_function functions[] = {
        KYOK_KMIP_QUERY_FUNCTION_QUERY_OPERATIONS, KYOK_KMIP_QUERY_FUNCTION_QUERY_OBJECTS,
        KYOK_KMIP_QUERY_FUNCTION_QUERY_SERVER_INFORMATION};
    struct kyok_kmip_request_item item = {.operation = KYOK_KMIP_OPERATION_QUERY};
    double ms;

    item.payload.query.functions.items = functions;
    item.payload.query.functions.count = sizeof functions / sizeof *functions;
    KYOK_TRY(question(connection, &item, deadline, reply, &ms, err));
    if (visit->report.latency_ms == 0)
        visit->report.latency_ms = ms;
    if (succeeded(reply))
        visit->report.query = &reply->item->payload.query;
    return KYOK_OK;
}

static void describe(struct kyok_kmip_connection *connection, struct visit *visit)
{
    struct kyok_kmip_endpoint_report *report = &visit->report;

    report->tls = kyok_tls_stream_version(connection->stream);
    report->cipher = kyok_tls_stream_cipher(connection->stream);
    report->server_certificate =
        kyok_tls_stream_peer_name(connection->stream, visit->server, sizeof visit->server);
    report->identity = visit->identity;
}

/* The report's views live as long as connection and reply do, so it is handed over here. */
static enum kyok_status look(struct kyok_kmip_connection *connection, struct kyok_deadline deadline,
                             struct visit *visit, struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);

    describe(connection, visit);
    KYOK_TRY(ask_versions(connection, deadline, visit, err));
    KYOK_TRY(ask_query(connection, deadline, visit, &reply, err));
    visit->visit(visit->caller, &visit->report);
    return KYOK_OK;
}

static void ping_endpoint(struct kyok_kmip_endpoint *endpoint, struct kyok_deadline deadline,
                          struct visit *visit)
{
    struct kyok_kmip_connection *connection = NULL;
    struct kyok_error err = {0};
    int64_t began = kyok_now_ns();

    visit->report = (struct kyok_kmip_endpoint_report){.url = endpoint->peer.url};
    atomic_store(&endpoint->version, 0); /* a ping looks afresh */
    enum kyok_status status = kyok_kmip_connect(endpoint, deadline, &connection, &err);
    visit->report.handshake_ms = since_ms(began);
    if (status == KYOK_OK)
        status = look(connection, deadline, visit, &err);
    if (connection != NULL)
        kyok_kmip_pool_drop(connection);
    if (status == KYOK_OK) {
        kyok_kmip_endpoint_worked(endpoint, began);
        return;
    }
    kyok_kmip_endpoint_failed(endpoint, &err);
    visit->report.status = status;
    visit->report.error = &err;
    visit->visit(visit->caller, &visit->report);
}

enum kyok_status kyok_kmip_ping(struct kyok_kmip_client *client, kyok_kmip_endpoint_visitor *visit,
                                void *caller, struct kyok_error *err)
{
    struct visit state = {.visit = visit, .caller = caller};
    struct kyok_kmip_live *live;
    struct kyok_tls *tls;

    KYOK_TRY(kyok_kmip_client_live(client, &live, err));
    KYOK_TRY(kyok_kmip_live_tls(live, kyok_kmip_client_deadline(client), &tls, err));
    state.identity = kyok_tls_identity(tls);
    for (size_t i = 0; i < live->endpoint_count; i++)
        ping_endpoint(&live->endpoints[i], kyok_kmip_client_deadline(client), &state);
    kyok_tls_free(tls);
    return KYOK_OK;
}
