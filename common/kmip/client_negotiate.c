/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which version an endpoint speaks: asked by Discover Versions, never by Query, which the smallest
 * real servers do not have. A server that refuses the version of the question itself is asked again
 * in another one; one that knows no Discover Versions at all speaks the version it refused it in,
 * or 1.0, which had none.
 */
#include "common/kmip/client_call.h"

static const unsigned known[KYOK_KMIP_VERSIONS] = {
    KYOK_KMIP_2_1, KYOK_KMIP_2_0, KYOK_KMIP_1_4, KYOK_KMIP_1_3,
    KYOK_KMIP_1_2, KYOK_KMIP_1_1, KYOK_KMIP_1_0,
};

unsigned kyok_kmip_version_limit(const struct kyok_kmip_config *config)
{
    return config->version == 0 ? 0 : config->version / 10 << 8 | config->version % 10;
}

size_t kyok_kmip_known_versions(const struct kyok_kmip_versions *answer,
                                unsigned versions[KYOK_KMIP_VERSIONS])
{
    size_t count = 0;

    for (size_t i = 0; i < KYOK_KMIP_VERSIONS; i++)
        for (size_t j = 0; j < answer->versions.count; j++)
            if (kyok_kmip_version_number(answer->versions.items[j]) == known[i]) {
                versions[count++] = known[i];
                break;
            }
    return count;
}

/* Left to itself kyok speaks 1.4, in which servers are best tested; 2.x is for servers that have
 * nothing else, and for administrators who ask for it. */
unsigned kyok_kmip_choose_version(const unsigned *versions, size_t count, unsigned limit)
{
    unsigned preferred = limit != 0 ? limit : KYOK_KMIP_1_4;
    unsigned best = 0, next = 0;

    for (size_t i = 0; i < count; i++) {
        if (versions[i] <= preferred && versions[i] > best)
            best = versions[i];
        if (limit == 0 && versions[i] > preferred && (next == 0 || versions[i] < next))
            next = versions[i];
    }
    return best != 0 ? best : next;
}

static enum kyok_status no_common_version(const struct kyok_kmip_endpoint *endpoint,
                                          struct kyok_error *err)
{
    kyok_fail(err, KYOK_UNSUPPORTED, endpoint->peer.url,
              "Discover Versions: the server offers no version of KMIP that may be used");
    return kyok_remedy(err, "kyok speaks 1.0 to 1.4, 2.0 and 2.1; look at version in [kmip %s]",
                       endpoint->live->config.name);
}

/* What an answer means: the version, or 0 when the question must be put in another version. */
static enum kyok_status judge(const struct kyok_kmip_endpoint *endpoint,
                              const struct kyok_kmip_reply *reply, unsigned asked_in,
                              unsigned *version, struct kyok_error *err)
{
    unsigned versions[KYOK_KMIP_VERSIONS];
    unsigned limit = kyok_kmip_version_limit(&endpoint->live->config);
    unsigned answered_in = kyok_kmip_version_number(reply->response.version);

    *version = 0;
    if (reply->item->status == KYOK_KMIP_RESULT_STATUS_SUCCESS) {
        size_t count = kyok_kmip_known_versions(&reply->item->payload.versions, versions);
        *version = kyok_kmip_choose_version(versions, count, limit);
        return *version != 0 ? KYOK_OK : no_common_version(endpoint, err);
    }
    if (reply->item->reason == KYOK_KMIP_RESULT_REASON_OPERATION_NOT_SUPPORTED)
        *version = answered_in < asked_in ? answered_in : asked_in;
    return KYOK_OK;
}

static enum kyok_status ask(struct kyok_kmip_connection *connection, unsigned asked_in,
                            struct kyok_deadline deadline, unsigned *version,
                            struct kyok_error *err)
{
    static const struct kyok_kmip_request_item item = {.operation =
                                                           KYOK_KMIP_OPERATION_DISCOVER_VERSIONS};
    KYOK_KMIP_AUTO_REPLY(reply);
    enum kyok_kmip_progress progress;

    enum kyok_status status =
        kyok_kmip_exchange(connection, asked_in, &item, deadline, &reply, &progress, err);
    if (status != KYOK_OK)
        return kyok_kmip_name_operation(err, "Discover Versions");
    return judge(connection->endpoint, &reply, asked_in, version, err);
}

#define QUESTIONS 3

/* The versions in which to put the question, first to last. Returns how many. */
static size_t list_questions(unsigned limit, unsigned questions[QUESTIONS])
{
    size_t count = 0;

    if (limit == KYOK_KMIP_1_0)
        return 0;
    questions[count++] = limit != 0 && limit < KYOK_KMIP_1_4 ? limit : KYOK_KMIP_1_4;
    if (questions[0] > KYOK_KMIP_1_1)
        questions[count++] = KYOK_KMIP_1_1;
    if (limit == 0 || limit >= KYOK_KMIP_2_0)
        questions[count++] = KYOK_KMIP_2_0;
    return count;
}

/* A server may close the connection over a version that it does not know; then the next question
 * goes out on a new one. */
static enum kyok_status negotiate(struct kyok_kmip_endpoint *endpoint,
                                  struct kyok_deadline deadline,
                                  struct kyok_kmip_connection **connection, struct kyok_error *err)
{
    unsigned questions[QUESTIONS], version = 0;
    size_t count = list_questions(kyok_kmip_version_limit(&endpoint->live->config), questions);

    for (size_t i = 0; i < count && version == 0; i++) {
        if (*connection == NULL)
            KYOK_TRY(kyok_kmip_pool_open(endpoint, deadline, connection, err));
        enum kyok_status status = ask(*connection, questions[i], deadline, &version, err);
        if (status == KYOK_OK)
            continue;
        kyok_kmip_pool_drop(*connection);
        *connection = NULL;
        if (status != KYOK_UNREACHABLE || i + 1 == count)
            return status;
    }
    (*connection)->version = version != 0 ? version : KYOK_KMIP_1_0;
    atomic_store(&endpoint->version, (*connection)->version);
    return KYOK_OK;
}

enum kyok_status kyok_kmip_connect(struct kyok_kmip_endpoint *endpoint,
                                   struct kyok_deadline deadline,
                                   struct kyok_kmip_connection **connection, struct kyok_error *err)
{
    *connection = NULL;
    KYOK_TRY(kyok_kmip_pool_open(endpoint, deadline, connection, err));
    (*connection)->version = atomic_load(&endpoint->version);
    if ((*connection)->version != 0)
        return KYOK_OK;
    return negotiate(endpoint, deadline, connection, err);
}
