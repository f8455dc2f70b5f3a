/* SPDX-License-Identifier: Apache-2.0 */
/* One request and its answer. The answer is read as a whole, its length checked before any of it is
 * kept; how many records or packets it comes in does not matter. */
#include "common/kmip/client_call.h"
#include "common/kmip/client_process.h"

#include <stdio.h>
#include <string.h>

/* The batch id counts the connection's requests: an answer to another one is noticed. */
static void set_batch_id(struct kyok_kmip_connection *connection, uint8_t id[8])
{
    uint64_t sequence = ++connection->sequence;

    for (int i = 7; i >= 0; i--, sequence >>= 8)
        id[i] = (uint8_t)sequence;
}

/* Requests and answers may hold keys: both lie in locked memory that is wiped. */
static enum kyok_status no_memory(const struct kyok_kmip_connection *connection,
                                  struct kyok_error *err)
{
    return kyok_fail(err, KYOK_SYSTEM, connection->endpoint->peer.url, "no memory for a message");
}

static enum kyok_status name_endpoint(const struct kyok_kmip_connection *connection,
                                      enum kyok_status status, struct kyok_error *err)
{
    if (status != KYOK_OK)
        snprintf(err->object, sizeof err->object, "%s", connection->endpoint->peer.url);
    return status;
}

/* A message in locked memory of the process. */
struct message {
    struct kyok_secret *memory;
    size_t size;
};

static void message_free(struct message *message)
{
    kyok_kmip_memory_give(message->memory, message->size);
}

/* A name or identifier that is no text, say: the server would hang up without a word. */
static enum kyok_status check_own(const struct kyok_kmip_connection *connection,
                                  const struct message *message, struct kyok_error *err)
{
    enum kyok_ttlv_result result = kyok_ttlv_check(
        kyok_ttlv_reader(kyok_bytes(kyok_secret_data(message->memory), message->size)));

    if (result == KYOK_TTLV_END)
        return KYOK_OK;
    kyok_fail(err, KYOK_INVALID, connection->endpoint->peer.url, "the request cannot be sent: %s",
              kyok_ttlv_result_text(result));
    return kyok_remedy(err, "names and identifiers are UTF-8");
}

/* Written twice: the first time only to know its length. */
static enum kyok_status write_request(const struct kyok_kmip_connection *connection,
                                      unsigned version, const struct kyok_kmip_request_item *item,
                                      struct message *bytes, struct kyok_error *err)
{
    struct kyok_ttlv_writer writer = kyok_ttlv_writer(NULL, 0);
    struct kyok_kmip_request request;

    kyok_kmip_request_one(&request, version, item);
    KYOK_TRY(name_endpoint(connection, kyok_kmip_request_write(&request, &writer, err), err));
    if (writer.size > KYOK_KMIP_REPLY_MAX)
        return kyok_fail(err, KYOK_INVALID, connection->endpoint->peer.url,
                         "a request of %zu bytes is longer than %zu", writer.size,
                         KYOK_KMIP_REPLY_MAX);
    bytes->size = writer.size;
    bytes->memory = kyok_kmip_memory_take(writer.size);
    if (bytes->memory == NULL)
        return no_memory(connection, err);
    writer = kyok_ttlv_writer(kyok_secret_data(bytes->memory), bytes->size);
    KYOK_TRY(name_endpoint(connection, kyok_kmip_request_write(&request, &writer, err), err));
    return check_own(connection, bytes, err);
}

/* All size bytes; progress says whether any came. */
static enum kyok_status read_all(struct kyok_kmip_connection *connection, uint8_t *data,
                                 size_t size, struct kyok_deadline deadline,
                                 enum kyok_kmip_progress *progress, struct kyok_error *err)
{
    for (size_t got = 0; size > 0; data += got, size -= got) {
        KYOK_TRY(kyok_tls_stream_receive(connection->stream, data, size, &got, deadline, err));
        *progress = KYOK_KMIP_ANSWERING;
    }
    return KYOK_OK;
}

static enum kyok_status read_answer(struct kyok_kmip_connection *connection,
                                    struct kyok_kmip_reply *reply, struct kyok_deadline deadline,
                                    enum kyok_kmip_progress *progress, struct kyok_error *err)
{
    uint8_t header[KYOK_TTLV_HEADER_SIZE];

    KYOK_TRY(read_all(connection, header, sizeof header, deadline, progress, err));
    if (kyok_ttlv_frame(kyok_bytes(header, sizeof header), KYOK_KMIP_TAG_RESPONSE_MESSAGE,
                        KYOK_KMIP_REPLY_MAX, &reply->size, err) != KYOK_OK)
        /* Too long is the server's fault as well, not a limit of ours. */
        return name_endpoint(connection, err->status = KYOK_FAULT, err);
    reply->memory = kyok_kmip_memory_take(reply->size);
    if (reply->memory == NULL)
        return no_memory(connection, err);
    memcpy(kyok_secret_data(reply->memory), header, sizeof header);
    return read_all(connection, kyok_secret_data(reply->memory) + sizeof header,
                    reply->size - sizeof header, deadline, progress, err);
}

static enum kyok_status take_answer(const struct kyok_kmip_connection *connection,
                                    const struct kyok_kmip_request_item *item,
                                    struct kyok_kmip_reply *reply, struct kyok_error *err)
{
    KYOK_TRY(name_endpoint(
        connection,
        kyok_kmip_response_read(kyok_bytes(kyok_secret_data(reply->memory), reply->size),
                                &reply->arena, &reply->response, err),
        err));
    KYOK_TRY(kyok_kmip_check_answer(item, reply, err));
    reply->item = &reply->response.items.items[0];
    return KYOK_OK;
}

enum kyok_status kyok_kmip_exchange(struct kyok_kmip_connection *connection, unsigned version,
                                    const struct kyok_kmip_request_item *item,
                                    struct kyok_deadline deadline, struct kyok_kmip_reply *reply,
                                    enum kyok_kmip_progress *progress, struct kyok_error *err)
{
    KYOK_CLEANUP(message_free) struct message request = {.memory = NULL};
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
    KYOK_TRY(kyok_tls_stream_send(connection->stream,
                                  kyok_bytes(kyok_secret_data(request.memory), request.size),
                                  deadline, err));
    KYOK_TRY(read_answer(connection, reply, deadline, progress, err));
    KYOK_TRY(take_answer(connection, &sent, reply, err));
    *progress = KYOK_KMIP_ANSWERED;
    return KYOK_OK;
}
