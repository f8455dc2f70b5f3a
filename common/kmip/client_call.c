/* SPDX-License-Identifier: Apache-2.0 */
/* One operation over endpoints and connections: choice, one retry on a connection that died idle,
 * failover, and the line between "failed" and "may have happened". */
#include "common/kmip/client_call.h"

/* How an attempt at one endpoint ended. */
enum outcome {
    OUTCOME_ANSWERED, /* a valid answer, good or bad */
    OUTCOME_OWN,      /* this side failed: no other endpoint would help */
    OUTCOME_LOST,     /* the endpoint failed; the request may go elsewhere */
    OUTCOME_DOUBTFUL, /* the endpoint failed and may have done what must not be done twice */
};

struct attempt {
    const struct kyok_kmip_rule *rule;
    const struct kyok_kmip_request_item *item;
    struct kyok_kmip_reply *reply;
};

static bool is_own_failure(enum kyok_status status)
{
    return status == KYOK_INVALID || status == KYOK_SYSTEM;
}

static enum outcome judge(const struct attempt *attempt, enum kyok_kmip_progress progress,
                          enum kyok_status status)
{
    if (progress == KYOK_KMIP_NOT_SENT) /* a field that this server's version lacks is final too */
        return is_own_failure(status) || status == KYOK_UNSUPPORTED ? OUTCOME_OWN : OUTCOME_LOST;
    return attempt->rule->repeatable ? OUTCOME_LOST : OUTCOME_DOUBTFUL;
}

/* On a given connection, which is returned to the pool or dropped. */
static enum kyok_status exchange_on(struct kyok_kmip_connection *connection,
                                    const struct attempt *attempt, struct kyok_deadline deadline,
                                    enum kyok_kmip_progress *progress, struct kyok_error *err)
{
    enum kyok_status status = kyok_kmip_exchange(connection, connection->version, attempt->item,
                                                 deadline, attempt->reply, progress, err);

    if (*progress == KYOK_KMIP_ANSWERED || *progress == KYOK_KMIP_NOT_SENT)
        kyok_kmip_pool_give(connection);
    else
        kyok_kmip_pool_drop(connection);
    return status;
}

/* A connection that the server closed while it was idle: no byte of an answer came. */
static bool died_idle(bool reused, enum kyok_kmip_progress progress, enum kyok_status status)
{
    return reused && progress == KYOK_KMIP_SENT && status == KYOK_UNREACHABLE;
}

static enum outcome try_idle(struct kyok_kmip_endpoint *endpoint, const struct attempt *attempt,
                             struct kyok_deadline deadline, bool *again, struct kyok_error *err)
{
    struct kyok_kmip_connection *connection = kyok_kmip_pool_take(endpoint);
    enum kyok_kmip_progress progress;

    *again = connection == NULL;
    if (connection == NULL)
        return OUTCOME_LOST;
    enum kyok_status status = exchange_on(connection, attempt, deadline, &progress, err);
    if (status == KYOK_OK)
        return OUTCOME_ANSWERED;
    enum outcome outcome = judge(attempt, progress, status);
    *again = outcome == OUTCOME_LOST && died_idle(true, progress, status);
    return outcome;
}

static enum outcome try_new(struct kyok_kmip_endpoint *endpoint, const struct attempt *attempt,
                            struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_kmip_connection *connection;
    enum kyok_kmip_progress progress;

    enum kyok_status status = kyok_kmip_connect(endpoint, deadline, &connection, err);
    if (status != KYOK_OK)
        return is_own_failure(status) ? OUTCOME_OWN : OUTCOME_LOST;
    status = exchange_on(connection, attempt, deadline, &progress, err);
    return status == KYOK_OK ? OUTCOME_ANSWERED : judge(attempt, progress, status);
}

static enum outcome try_endpoint(struct kyok_kmip_endpoint *endpoint, const struct attempt *attempt,
                                 struct kyok_deadline deadline, struct kyok_error *err)
{
    int64_t began = kyok_now_ns();
    bool again;

    atomic_fetch_add(&endpoint->in_flight, 1);
    enum outcome outcome = try_idle(endpoint, attempt, deadline, &again, err);
    if (again)
        outcome = try_new(endpoint, attempt, deadline, err);
    atomic_fetch_sub(&endpoint->in_flight, 1);
    if (outcome == OUTCOME_ANSWERED)
        kyok_kmip_endpoint_worked(endpoint, began);
    if (outcome == OUTCOME_LOST || outcome == OUTCOME_DOUBTFUL)
        kyok_kmip_endpoint_failed(endpoint, err);
    if (outcome == OUTCOME_OWN)
        kyok_kmip_endpoint_untried(endpoint);
    return outcome;
}

/* What one endpoint may use of the time that is left: an equal share, so that a silent server
 * leaves time for one that answers; a trial (trial_ms not 0) no more than it was given. */
static struct kyok_deadline attempt_deadline(struct kyok_deadline deadline, int trial_ms,
                                             size_t endpoints_left)
{
    int left = kyok_deadline_left_ms(deadline);

    if (left < 0)
        left = INT32_MAX;
    int part = endpoints_left > 1 ? left / (int)endpoints_left : left;
    if (trial_ms != 0 && part > trial_ms)
        part = trial_ms;
    return endpoints_left > 1 ? kyok_deadline_in_ms(part) : deadline;
}

static enum kyok_status doubtful(struct kyok_kmip_reply *reply, struct kyok_error *err)
{
    reply->doubtful = true;
    if (err->remedy[0] == '\0' || err->status == KYOK_TIMEOUT)
        kyok_remedy(err, "the server may have carried it out: look before you repeat it");
    return err->status;
}

static enum kyok_status over_endpoints(struct kyok_kmip_live *live, const struct attempt *attempt,
                                       struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_kmip_endpoint *order[KYOK_KMIP_MAX_ENDPOINTS];
    struct kyok_error last;
    int trial_ms;

    kyok_kmip_endpoint_order(live, attempt->rule->access, order, &trial_ms);
    for (size_t i = 0; i < live->endpoint_count; i++) {
        struct kyok_deadline until =
            attempt_deadline(deadline, i == 0 ? trial_ms : 0, live->endpoint_count - i);
        enum outcome outcome = try_endpoint(order[i], attempt, until, &last);
        if (outcome == OUTCOME_ANSWERED)
            return KYOK_OK;
        if (i == 0 || outcome != OUTCOME_LOST || last.status != KYOK_UNREACHABLE)
            *err = last; /* of several failures the one that says most, else the first */
        if (outcome == OUTCOME_DOUBTFUL)
            return doubtful(attempt->reply, err);
        if (outcome == OUTCOME_OWN || kyok_deadline_passed(deadline))
            break;
        atomic_fetch_add(&order[i]->failovers, i + 1 < live->endpoint_count);
    }
    return err->status;
}

enum kyok_status kyok_kmip_call(struct kyok_kmip_client *client,
                                const struct kyok_kmip_request_item *item,
                                struct kyok_deadline deadline, struct kyok_kmip_reply *reply,
                                struct kyok_error *err)
{
    struct attempt attempt = {kyok_kmip_rule(item->operation), item, reply};
    struct kyok_kmip_live *live;

    kyok_kmip_reply_free(reply);
    kyok_kmip_reply_init(reply);
    KYOK_TRY(kyok_kmip_client_live(client, &live, err));
    if (over_endpoints(live, &attempt, deadline, err) != KYOK_OK)
        return kyok_kmip_name_operation(err, attempt.rule->name);
    return kyok_kmip_item_result(reply->item, reply->endpoint, err);
}
