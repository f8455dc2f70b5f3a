/* SPDX-License-Identifier: Apache-2.0 */
/* What a server answered, as an error. 1.4 specification, section 6.9 and 11. */
#include "common/kmip/message.h"

#include <stdio.h>

/* Reasons that are not simply a refusal. */
static enum kyok_status class_of(enum kyok_kmip_result_reason reason)
{
    switch (reason) {
    case KYOK_KMIP_RESULT_REASON_ITEM_NOT_FOUND:
    case KYOK_KMIP_RESULT_REASON_OBJECT_NOT_FOUND:
    case KYOK_KMIP_RESULT_REASON_OBJECT_DESTROYED:
    case KYOK_KMIP_RESULT_REASON_ATTRIBUTE_NOT_FOUND:
    case KYOK_KMIP_RESULT_REASON_ATTRIBUTE_INSTANCE_NOT_FOUND:
        return KYOK_NOT_FOUND;
    case KYOK_KMIP_RESULT_REASON_OPERATION_NOT_SUPPORTED:
    case KYOK_KMIP_RESULT_REASON_FEATURE_NOT_SUPPORTED:
    case KYOK_KMIP_RESULT_REASON_KEY_FORMAT_TYPE_NOT_SUPPORTED:
    case KYOK_KMIP_RESULT_REASON_KEY_COMPRESSION_TYPE_NOT_SUPPORTED:
    case KYOK_KMIP_RESULT_REASON_KEY_WRAP_TYPE_NOT_SUPPORTED:
    case KYOK_KMIP_RESULT_REASON_UNSUPPORTED_ATTRIBUTE:
    case KYOK_KMIP_RESULT_REASON_UNSUPPORTED_CRYPTOGRAPHIC_PARAMETERS:
    case KYOK_KMIP_RESULT_REASON_UNSUPPORTED_PROTOCOL_VERSION:
        return KYOK_UNSUPPORTED;
    case KYOK_KMIP_RESULT_REASON_SERVER_LIMIT_EXCEEDED:
        return KYOK_BUSY;
    default:
        return KYOK_REFUSED;
    }
}

enum kyok_status kyok_kmip_item_result(const struct kyok_kmip_response_item *item,
                                       const char *object, struct kyok_error *err)
{
    const char *operation = kyok_kmip_enum_name(KYOK_KMIP_TAG_OPERATION, item->operation);
    const char *reason = kyok_kmip_enum_name(KYOK_KMIP_TAG_RESULT_REASON, item->reason);
    char message[160];
    size_t size = item->message.size < sizeof(message) ? item->message.size : sizeof(message) - 1;

    if (item->status == KYOK_KMIP_RESULT_STATUS_SUCCESS)
        return KYOK_OK;
    while (size > 0 && size < item->message.size && (item->message.data[size] & 0xC0) == 0x80)
        size--; /* whole characters only */
    snprintf(message, sizeof(message), "%.*s", (int)size, (const char *)item->message.data);
    for (char *at = message; *at != '\0'; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7F)
            *at = ' ';
    if (operation == NULL)
        operation = "a request";
    if (item->status == KYOK_KMIP_RESULT_STATUS_OPERATION_PENDING)
        return kyok_fail(err, KYOK_BUSY, object, "the server put %s off", operation);
    kyok_fail(err, class_of(item->reason), object, "the server refused %s%s%s", operation,
              message[0] != '\0' ? ": " : "", message);
    if (reason != NULL)
        return kyok_because(err, "%s", reason);
    return kyok_because(err, "result status %u, reason %08X", (unsigned)item->status,
                        (unsigned)item->reason);
}
