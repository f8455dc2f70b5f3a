/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes that are added to an object, and the version that replaces it. */
#include "common/kmip/client_call.h"

#include <string.h>

static bool lacks_operation(enum kyok_status status, const struct kyok_kmip_reply *reply)
{
    if (status == KYOK_OK)
        return false;
    if (reply->item == NULL) /* this version of KMIP has no such request */
        return status == KYOK_UNSUPPORTED;
    /* PyKMIP cannot even parse what it does not offer. */
    return reply->item->reason == KYOK_KMIP_RESULT_REASON_OPERATION_NOT_SUPPORTED ||
           reply->item->reason == KYOK_KMIP_RESULT_REASON_INVALID_MESSAGE;
}

static enum kyok_status
send_attribute(struct kyok_kmip_client *client, enum kyok_kmip_operation operation,
               struct kyok_bytes identifier, const struct kyok_kmip_attribute *attribute,
               struct kyok_deadline deadline, struct kyok_kmip_reply *reply, struct kyok_error *err)
{
    struct kyok_kmip_request_item item = {
        .operation = operation,
        .payload.attribute = {.unique_identifier = identifier, .attribute = attribute}};
    enum kyok_status status = kyok_kmip_call(client, &item, deadline, reply, err);

    if (!lacks_operation(status, reply))
        return status;
    err->status = KYOK_UNSUPPORTED;
    return kyok_remedy(err, "this server lets its clients change no attributes");
}

enum kyok_status kyok_kmip_add_attribute(struct kyok_kmip_client *client,
                                         struct kyok_bytes identifier,
                                         const struct kyok_kmip_attribute *attribute,
                                         struct kyok_deadline deadline, struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);

    return send_attribute(client, KYOK_KMIP_OPERATION_ADD_ATTRIBUTE, identifier, attribute,
                          deadline, &reply, err);
}

enum kyok_status kyok_kmip_put_attribute(struct kyok_kmip_client *client,
                                         struct kyok_bytes identifier,
                                         const struct kyok_kmip_attribute *attribute,
                                         struct kyok_deadline deadline, struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);
    struct kyok_error first;

    if (send_attribute(client, KYOK_KMIP_OPERATION_MODIFY_ATTRIBUTE, identifier, attribute,
                       deadline, &reply, &first) == KYOK_OK)
        return KYOK_OK;
    return kyok_kmip_add_attribute(client, identifier, attribute, deadline, err);
}

enum kyok_status kyok_kmip_re_key(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                                  struct kyok_deadline deadline, struct kyok_buffer *replacement,
                                  struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);
    struct kyok_kmip_request_item item = {.operation = KYOK_KMIP_OPERATION_RE_KEY,
                                          .payload.re_key = {.unique_identifier = identifier}};
    enum kyok_status status = kyok_kmip_call(client, &item, deadline, &reply, err);

    if (lacks_operation(status, &reply)) {
        err->status = KYOK_UNSUPPORTED;
        return kyok_remedy(err, "make the new version with Create");
    }
    KYOK_TRY(status);
    struct kyok_bytes id = reply.item->payload.identifier.unique_identifier;
    if (id.size == 0 || memchr(id.data, '\0', id.size) != NULL || kyok_bytes_equal(id, identifier))
        return kyok_fail(err, KYOK_FAULT, reply.endpoint,
                         "the server gave the new version an identifier that cannot be used");
    return kyok_buffer_append(replacement, id.data, id.size) &&
                   kyok_buffer_append(replacement, "", 1)
               ? KYOK_OK
               : kyok_fail(err, KYOK_SYSTEM, reply.endpoint, "no memory");
}
