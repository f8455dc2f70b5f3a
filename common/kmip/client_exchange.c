/* SPDX-License-Identifier: Apache-2.0 */
/* One request and its answer. The answer is read as a whole, its length checked before any of it is
 * kept; how many records or packets it comes in does not matter. */
#include "common/kmip/client_call.h"

#include <stdio.h>

#define READ_AT_ONCE ((size_t)4096)

/* The batch id counts the connection's requests: an answer to another one is noticed. */
static void set_batch_id(struct kyok_kmip_connection *connection, uint8_t id[8])
{
    uint64_t sequence = ++connection->sequence;

    for (int i = 7; i >= 0; i--, sequence >>= 8)
        id[i] = (uint8_t)sequence;
}

static enum kyok_status write_request(const struct kyok_kmip_connection *connection,
                                      unsigned version, const struct kyok_kmip_request_item *item,
                                      struct kyok_buffer *bytes, struct kyok_error *err)
{
    struct kyok_kmip_request request;

    kyok_kmip_request_one(&request, version, item);
    enum kyok_status status = kyok_kmip_request_append(&request, bytes, err);
    if (status != KYOK_OK)
        snprintf(err->object, sizeof err->object, "%s", connection->endpoint->peer.url);
    return status;
}

/* Until bytes holds size bytes; progress says whether any came. */
static enum kyok_status read_until(struct kyok_kmip_connection *connection,
                                   struct kyok_buffer *bytes, size_t size,
                                   struct kyok_deadline deadline, enum kyok_kmip_progress *progress,
                                   struct kyok_error *err)
{
    while (bytes->size < size) {
        size_t wanted = size - bytes->size, got = 0;
        if (wanted > READ_AT_ONCE)
            wanted = READ_AT_ONCE;
        uint8_t *room = kyok_buffer_reserve(bytes, wanted);
        if (room == NULL)
            return kyok_fail(err, KYOK_SYSTEM, connection->endpoint->peer.url,
                             "no memory for the server's answer");
        KYOK_TRY(kyok_tls_stream_receive(connection->stream, room, wanted, &got, deadline, err));
        bytes->size += got;
        *progress = KYOK_KMIP_ANSWERING;
    }
    return KYOK_OK;
}

static enum kyok_status read_answer(struct kyok_kmip_connection *connection,
                                    struct kyok_buffer *bytes, struct kyok_deadline deadline,
                                    enum kyok_kmip_progress *progress, struct kyok_error *err)
{
    const char *url = connection->endpoint->peer.url;
    size_t size = KYOK_TTLV_HEADER_SIZE;

    KYOK_TRY(read_until(connection, bytes, size, deadline, progress, err));
    enum kyok_status status = kyok_ttlv_frame(
        kyok_buffer_bytes(bytes), KYOK_KMIP_TAG_RESPONSE_MESSAGE, KYOK_KMIP_REPLY_MAX, &size, err);
    if (status != KYOK_OK) { /* too long is the server's fault as well, not a limit of ours */
        snprintf(err->object, sizeof err->object, "%s", url);
        return err->status = KYOK_FAULT;
    }
    return read_until(connection, bytes, size, deadline, progress, err);
}

static enum kyok_status take_answer(const struct kyok_kmip_connection *connection,
                                    const struct kyok_kmip_request_item *item,
                                    struct kyok_kmip_reply *reply, struct kyok_error *err)
{
    enum kyok_status status = kyok_kmip_response_read(kyok_buffer_bytes(&reply->bytes),
                                                      &reply->arena, &reply->response, err);

    if (status != KYOK_OK) {
        snprintf(err->object, sizeof err->object, "%s", connection->endpoint->peer.url);
        return status;
    }
    KYOK_TRY(kyok_kmip_check_answer(item, reply, err));
    reply->item = &reply->response.items.items[0];
    return KYOK_OK;
}

enum kyok_status kyok_kmip_exchange(struct kyok_kmip_connection *connection, unsigned version,
                                    const struct kyok_kmip_request_item *item,
                                    struct kyok_deadline deadline, struct kyok_kmip_reply *reply,
                                    enum kyok_kmip_progress *progress, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer request = {.limit = KYOK_KMIP_REPLY_MAX};
    struct kyok_kmip_request_item sent = *item;
    uint8_t id[8];

    *progress = KYOK_KMIP_NOT_SENT;
    set_batch_id(connection, id);
    sent.batch_id = kyok_bytes(id, sizeof id);
    kyok_kmip_reply_free(reply);
    kyok_kmip_reply_init(reply);
    reply->endpoint = connection->endpoint->peer.url;
    reply->version = version;
    KYOK_TRY(write_request(connection, version, &sent, &request, err));
    *progress = KYOK_KMIP_SENT;
    KYOK_TRY(kyok_tls_stream_send(connection->stream, kyok_buffer_bytes(&request), deadline, err));
    KYOK_TRY(read_answer(connection, &reply->bytes, deadline, progress, err));
    KYOK_TRY(take_answer(connection, &sent, reply, err));
    *progress = KYOK_KMIP_ANSWERED;
    return KYOK_OK;
}
