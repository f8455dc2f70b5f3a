/* SPDX-License-Identifier: Apache-2.0 */
/* Messages: headers and batches. 1.4 specification, sections 6 and 7. */
#include "common/kmip/message.h"
#include "common/kmip/message_inline.h"
#include "common/kmip/message_operations.h"

#include <stdio.h>
#include <string.h>

/* --- versions --- */

unsigned kyok_kmip_version_number(struct kyok_kmip_version version)
{
    if (version.major < 0 || version.major > 255 || version.minor < 0 || version.minor > 255)
        return 0;
    return (unsigned)version.major << 8 | (unsigned)version.minor;
}

struct kyok_kmip_version kyok_kmip_version(unsigned number)
{
    return (struct kyok_kmip_version){(int32_t)(number >> 8), (int32_t)(number & 0xFF)};
}

static bool can_write(unsigned version)
{
    return (version >= KYOK_KMIP_1_0 && version <= KYOK_KMIP_1_4) || version == KYOK_KMIP_2_0 ||
           version == KYOK_KMIP_2_1;
}

/* --- 6.1 Protocol Version --- */

static const struct kyok_kmip_field version_fields[] = {
    KYOK_KMIP_FIELD(version, REQUIRED, INT, PROTOCOL_VERSION_MAJOR, major, 1_0),
    KYOK_KMIP_FIELD(version, REQUIRED, INT, PROTOCOL_VERSION_MINOR, minor, 1_0),
};
KYOK_KMIP_DEFINE_INLINE(, kyok_kmip_version_shape, version, version_fields);

/* --- 6.7 Asynchronous Indicator: a Boolean, an enumeration from 2.0 --- */

enum { ASYNCHRONOUS_OPTIONAL = 2, ASYNCHRONOUS_PROHIBITED = 3 };

static enum kyok_status read_asynchronous(struct kyok_kmip_reading *reading,
                                          const struct kyok_ttlv_reader *reader,
                                          const struct kyok_ttlv_item *item, void *target)
{
    bool value;

    (void)reader;
    if (item->type == KYOK_TTLV_ENUMERATION) {
        value = kyok_ttlv_enumeration(item) != ASYNCHRONOUS_PROHIBITED;
    } else {
        KYOK_TRY(kyok_kmip_expect(reading, item, KYOK_TTLV_BOOLEAN));
        value = kyok_ttlv_boolean(item);
    }
    *(enum kyok_kmip_boolean *)target = kyok_kmip_boolean(value);
    return KYOK_OK;
}

static bool asynchronous_present(const void *source)
{
    return *(const enum kyok_kmip_boolean *)source != KYOK_KMIP_UNSET;
}

static enum kyok_status write_asynchronous(struct kyok_kmip_writing *writing, uint32_t tag,
                                           const void *source)
{
    bool value = *(const enum kyok_kmip_boolean *)source == KYOK_KMIP_TRUE;

    if (writing->version < KYOK_KMIP_2_0)
        kyok_ttlv_write_boolean(writing->writer, tag, value);
    else
        kyok_ttlv_write_enumeration(writing->writer, tag,
                                    value ? ASYNCHRONOUS_OPTIONAL : ASYNCHRONOUS_PROHIBITED);
    return KYOK_OK;
}

static const struct kyok_kmip_special asynchronous_special = {
    .read = read_asynchronous, .present = asynchronous_present, .write = write_asynchronous};

/* --- 6.14 Batch Count: the number of items; the member is their list --- */

static enum kyok_status read_batch_count(struct kyok_kmip_reading *reading,
                                         const struct kyok_ttlv_reader *reader,
                                         const struct kyok_ttlv_item *item, void *target)
{
    (void)reader;
    (void)target;
    KYOK_TRY(kyok_kmip_expect(reading, item, KYOK_TTLV_INTEGER));
    reading->batch_count = kyok_ttlv_integer(item);
    return KYOK_OK;
}

static enum kyok_status write_batch_count(struct kyok_kmip_writing *writing, uint32_t tag,
                                          const void *source)
{
    const KYOK_KMIP_LIST(void) *items = source;

    if (items->count > INT32_MAX)
        return kyok_fail(writing->err, KYOK_INVALID, NULL, "a KMIP batch of %zu items",
                         items->count);
    kyok_ttlv_put_small(writing->writer, tag, KYOK_TTLV_INTEGER, (uint32_t)items->count);
    return KYOK_OK;
}

static const struct kyok_kmip_special batch_count_special = {.read = read_batch_count,
                                                             .write = write_batch_count};

/* --- 7 headers --- */

#define OPTIONAL(structure, kind, tag, member, since)                                              \
    KYOK_KMIP_FIELD(structure, OPTIONAL, kind, tag, member, since)

static const struct kyok_kmip_field request_header_fields[] = {
    KYOK_KMIP_NESTED(request, REQUIRED, STRUCT, PROTOCOL_VERSION, version, &kyok_kmip_version_shape,
                     1_0),
    OPTIONAL(request, INTEGER, MAXIMUM_RESPONSE_SIZE, maximum_response_size, 1_0),
    OPTIONAL(request, TEXT, CLIENT_CORRELATION_VALUE, client_correlation_value, 1_4),
    OPTIONAL(request, TEXT, SERVER_CORRELATION_VALUE, server_correlation_value, 1_4),
    KYOK_KMIP_PECULIAR(request, OPTIONAL, ASYNCHRONOUS_INDICATOR, asynchronous,
                       &asynchronous_special, 1_0),
    OPTIONAL(request, BOOLEAN, ATTESTATION_CAPABLE_INDICATOR, attestation_capable, 1_2),
    KYOK_KMIP_FIELD(request, REPEATED, ENUM, ATTESTATION_TYPE, attestation_types, 1_2),
    KYOK_KMIP_NESTED(request, OPTIONAL, POINTER, AUTHENTICATION, authentication,
                     &kyok_kmip_authentication_shape, 1_0),
    OPTIONAL(request, ENUM, BATCH_ERROR_CONTINUATION_OPTION, batch_error_continuation, 1_0),
    OPTIONAL(request, BOOLEAN, BATCH_ORDER_OPTION, batch_order, 1_0),
    OPTIONAL(request, DATE, TIME_STAMP, time_stamp, 1_0),
    KYOK_KMIP_PECULIAR(request, REQUIRED, BATCH_COUNT, items, &batch_count_special, 1_0),
};
KYOK_KMIP_DEFINE_INLINE(static, request_header_shape, request, request_header_fields);

/* The Time Stamp is required of servers; one that leaves it out is read all the same. */
static const struct kyok_kmip_field response_header_fields[] = {
    KYOK_KMIP_NESTED(response, REQUIRED, STRUCT, PROTOCOL_VERSION, version,
                     &kyok_kmip_version_shape, 1_0),
    OPTIONAL(response, DATE, TIME_STAMP, time_stamp, 1_0),
    OPTIONAL(response, CONTENT, NONCE, nonce, 1_2),
    OPTIONAL(response, BYTES, SERVER_HASHED_PASSWORD, server_hashed_password, 2_0),
    KYOK_KMIP_FIELD(response, REPEATED, ENUM, ATTESTATION_TYPE, attestation_types, 1_2),
    OPTIONAL(response, TEXT, CLIENT_CORRELATION_VALUE, client_correlation_value, 1_4),
    OPTIONAL(response, TEXT, SERVER_CORRELATION_VALUE, server_correlation_value, 1_4),
    KYOK_KMIP_PECULIAR(response, REQUIRED, BATCH_COUNT, items, &batch_count_special, 1_0),
};
KYOK_KMIP_DEFINE_INLINE(static, response_header_shape, response, response_header_fields);

/* 6.16 Message Extension */
static const struct kyok_kmip_field extension_fields[] = {
    KYOK_KMIP_FIELD(message_extension, REQUIRED, TEXT, VENDOR_IDENTIFICATION, vendor_identification,
                    1_0),
    KYOK_KMIP_FIELD(message_extension, REQUIRED, BOOLEAN, CRITICALITY_INDICATOR, critical, 1_0),
    KYOK_KMIP_FIELD(message_extension, REQUIRED, CONTENT, VENDOR_EXTENSION, content, 1_0),
};
static KYOK_KMIP_DEFINE(extension_shape, message_extension, extension_fields);

/* --- payloads: by operation, which comes before them; an unknown one's is kept raw, and so is what
 * some servers send with a failure: the failure must be told, whatever its payload holds --- */

#define ITEM_OF(structure, payload_)                                                               \
    ((struct kyok_kmip_##structure *)((char *)(payload_)-offsetof(struct kyok_kmip_##structure,    \
                                                                  payload)))
#define CONST_ITEM_OF(structure, payload_)                                                         \
    ((const struct kyok_kmip_##structure *)((const char *)(payload_)-offsetof(                     \
        struct kyok_kmip_##structure, payload)))

static enum kyok_status read_request_payload(struct kyok_kmip_reading *reading,
                                             const struct kyok_ttlv_reader *reader,
                                             const struct kyok_ttlv_item *item, void *target)
{
    struct kyok_kmip_request_item *request = ITEM_OF(request_item, target);
    const struct kyok_kmip_operation_shapes *shapes =
        kyok_kmip_operation_shapes(request->operation);

    if (shapes == NULL)
        return kyok_kmip_read_content(reading, reader, item, &request->raw);
    return kyok_kmip_read_structure_inline(reading, reader, item, shapes->request, target);
}

static enum kyok_status read_response_payload(struct kyok_kmip_reading *reading,
                                              const struct kyok_ttlv_reader *reader,
                                              const struct kyok_ttlv_item *item, void *target)
{
    struct kyok_kmip_response_item *response = ITEM_OF(response_item, target);
    const struct kyok_kmip_operation_shapes *shapes =
        kyok_kmip_operation_shapes(response->operation);

    if (shapes == NULL || response->status != KYOK_KMIP_RESULT_STATUS_SUCCESS)
        return kyok_kmip_read_content(reading, reader, item, &response->raw);
    response->has_payload = true;
    return kyok_kmip_read_structure_inline(reading, reader, item, shapes->response, target);
}

static bool response_payload_present(const void *source)
{
    const struct kyok_kmip_response_item *item = CONST_ITEM_OF(response_item, source);
    return item->has_payload || item->raw.data != NULL;
}

/* Checks that the version has the operation; then its payload, or the raw one. */
static enum kyok_status write_payload(struct kyok_kmip_writing *writing, uint32_t tag,
                                      enum kyok_kmip_operation operation, bool response,
                                      struct kyok_bytes raw, const void *source)
{
    const struct kyok_kmip_operation_shapes *shapes = kyok_kmip_operation_shapes(operation);

    if (shapes == NULL || raw.data != NULL)
        return kyok_ttlv_write_structure(writing->writer, tag, raw), KYOK_OK;
    if (writing->version < shapes->since)
        return kyok_kmip_not_in_version(writing,
                                        kyok_kmip_enum_name(KYOK_KMIP_TAG_OPERATION, operation));
    return kyok_kmip_write_structure_inline(writing, tag,
                                            response ? shapes->response : shapes->request, source);
}

static enum kyok_status write_request_payload(struct kyok_kmip_writing *writing, uint32_t tag,
                                              const void *source)
{
    const struct kyok_kmip_request_item *item = CONST_ITEM_OF(request_item, source);
    return write_payload(writing, tag, item->operation, false, item->raw, source);
}

static enum kyok_status write_response_payload(struct kyok_kmip_writing *writing, uint32_t tag,
                                               const void *source)
{
    const struct kyok_kmip_response_item *item = CONST_ITEM_OF(response_item, source);
    return write_payload(writing, tag, item->operation, true, item->raw, source);
}

static const struct kyok_kmip_special request_payload_special = {.read = read_request_payload,
                                                                 .write = write_request_payload};
static const struct kyok_kmip_special response_payload_special = {.read = read_response_payload,
                                                                  .present =
                                                                      response_payload_present,
                                                                  .write = write_response_payload};

/* --- 7.1, 7.2 batch items and messages --- */

static const struct kyok_kmip_field request_item_fields[] = {
    KYOK_KMIP_FIELD(request_item, REQUIRED, ENUM, OPERATION, operation, 1_0),
    OPTIONAL(request_item, BOOLEAN, EPHEMERAL, ephemeral, 2_0),
    OPTIONAL(request_item, BYTES, UNIQUE_BATCH_ITEM_ID, batch_id, 1_0),
    KYOK_KMIP_PECULIAR(request_item, REQUIRED, REQUEST_PAYLOAD, payload, &request_payload_special,
                       1_0),
    KYOK_KMIP_NESTED(request_item, OPTIONAL, POINTER, MESSAGE_EXTENSION, extension,
                     &extension_shape, 1_0),
};
KYOK_KMIP_DEFINE_INLINE(static, request_item_shape, request_item, request_item_fields);

static const struct kyok_kmip_field response_item_fields[] = {
    OPTIONAL(response_item, ENUM, OPERATION, operation, 1_0),
    OPTIONAL(response_item, BYTES, UNIQUE_BATCH_ITEM_ID, batch_id, 1_0),
    KYOK_KMIP_FIELD(response_item, REQUIRED, RESULT, RESULT_STATUS, status, 1_0),
    OPTIONAL(response_item, ENUM, RESULT_REASON, reason, 1_0),
    OPTIONAL(response_item, TEXT, RESULT_MESSAGE, message, 1_0),
    OPTIONAL(response_item, BYTES, ASYNCHRONOUS_CORRELATION_VALUE, asynchronous_correlation_value,
             1_0),
    KYOK_KMIP_PECULIAR(response_item, OPTIONAL, RESPONSE_PAYLOAD, payload,
                       &response_payload_special, 1_0),
    KYOK_KMIP_NESTED(response_item, OPTIONAL, POINTER, MESSAGE_EXTENSION, extension,
                     &extension_shape, 1_0),
};
KYOK_KMIP_DEFINE_INLINE(static, response_item_shape, response_item, response_item_fields);

/* The header's fields are members of the message itself: the first member stands for all. */
static const struct kyok_kmip_field request_fields[] = {
    KYOK_KMIP_NESTED(request, REQUIRED, STRUCT, REQUEST_HEADER, version, &request_header_shape,
                     1_0),
    KYOK_KMIP_NESTED(request, REPEATED, STRUCT, BATCH_ITEM, items, &request_item_shape, 1_0),
};
KYOK_KMIP_DEFINE_INLINE(, kyok_kmip_request_shape, request, request_fields);

static const struct kyok_kmip_field response_fields[] = {
    KYOK_KMIP_NESTED(response, REQUIRED, STRUCT, RESPONSE_HEADER, version, &response_header_shape,
                     1_0),
    KYOK_KMIP_NESTED(response, REPEATED, STRUCT, BATCH_ITEM, items, &response_item_shape, 1_0),
};
KYOK_KMIP_DEFINE_INLINE(, kyok_kmip_response_shape, response, response_fields);

/* --- reading --- */

static enum kyok_status read_message(struct kyok_kmip_reading *reading, struct kyok_bytes message,
                                     uint32_t tag, const struct kyok_kmip_shape *shape,
                                     void *target)
{
    struct kyok_ttlv_reader reader = kyok_ttlv_reader(message);
    struct kyok_ttlv_item item, after;
    bool more;

    memset(target, 0, shape->size);
    KYOK_TRY(kyok_kmip_next(reading, &reader, &item, &more));
    if (!more || item.tag != tag)
        return kyok_kmip_malformed(reading, message.data, tag, "this is none");
    KYOK_TRY(kyok_kmip_next(reading, &reader, &after, &more));
    if (more)
        return kyok_kmip_malformed(reading, after.value.data, tag, "something follows it");
    return kyok_kmip_read_structure_inline(reading, &reader, &item, shape, target);
}

static enum kyok_status check_batch(struct kyok_kmip_reading *reading, struct kyok_bytes message,
                                    size_t items)
{
    char complaint[64];

    if (reading->batch_count >= 0 && (size_t)reading->batch_count == items)
        return KYOK_OK;
    snprintf(complaint, sizeof(complaint), "it says %ld and there are %zu items",
             (long)reading->batch_count, items);
    return kyok_kmip_malformed(reading, message.data, KYOK_KMIP_TAG_BATCH_COUNT, complaint);
}

/* 4.3, 4.11: the object that Register and Get carry is of the type that they name. */
static enum kyok_status check_object(struct kyok_kmip_reading *reading, struct kyok_bytes message,
                                     enum kyok_kmip_object_type named,
                                     const struct kyok_kmip_object *object)
{
    if (named == object->type)
        return KYOK_OK;
    return kyok_kmip_malformed(reading, message.data, KYOK_KMIP_TAG_OBJECT_TYPE,
                               "the object that follows is of another type");
}

enum kyok_status kyok_kmip_request_read(struct kyok_bytes message, struct kyok_kmip_arena *arena,
                                        struct kyok_kmip_request *request, struct kyok_error *err)
{
    struct kyok_kmip_reading reading = {.arena = arena, .start = message.data, .err = err};

    KYOK_TRY(read_message(&reading, message, KYOK_KMIP_TAG_REQUEST_MESSAGE,
                          &kyok_kmip_request_shape, request));
    KYOK_TRY(check_batch(&reading, message, request->items.count));
    for (size_t i = 0; i < request->items.count; i++) {
        const struct kyok_kmip_request_item *item = &request->items.items[i];
        const struct kyok_kmip_register_request *payload = &item->payload.register_object;
        if (item->operation == KYOK_KMIP_OPERATION_REGISTER)
            KYOK_TRY(check_object(&reading, message, payload->object_type, &payload->object));
    }
    return KYOK_OK;
}

enum kyok_status kyok_kmip_response_read(struct kyok_bytes message, struct kyok_kmip_arena *arena,
                                         struct kyok_kmip_response *response,
                                         struct kyok_error *err)
{
    struct kyok_kmip_reading reading = {.arena = arena, .start = message.data, .err = err};

    KYOK_TRY(read_message(&reading, message, KYOK_KMIP_TAG_RESPONSE_MESSAGE,
                          &kyok_kmip_response_shape, response));
    KYOK_TRY(check_batch(&reading, message, response->items.count));
    for (size_t i = 0; i < response->items.count; i++) {
        const struct kyok_kmip_response_item *item = &response->items.items[i];
        const struct kyok_kmip_get_response *payload = &item->payload.get;
        if (item->operation == KYOK_KMIP_OPERATION_GET && item->has_payload)
            KYOK_TRY(check_object(&reading, message, payload->object_type, &payload->object));
    }
    return KYOK_OK;
}

/* --- writing --- */

static enum kyok_status write_message(struct kyok_ttlv_writer *writer, uint32_t tag,
                                      struct kyok_kmip_version version,
                                      const struct kyok_kmip_shape *shape, const void *source,
                                      struct kyok_error *err)
{
    struct kyok_kmip_writing writing = {writer, kyok_kmip_version_number(version), err};

    if (!can_write(writing.version))
        return kyok_fail(err, KYOK_UNSUPPORTED, NULL, "KMIP %ld.%ld is not a version kyok writes",
                         (long)version.major, (long)version.minor);
    KYOK_TRY(kyok_kmip_write_structure_inline(&writing, tag, shape, source));
    if (writer->broken || writer->size > KYOK_TTLV_SIZE_MAX)
        return kyok_fail(err, KYOK_INVALID, NULL, "a %s would be larger than %zu bytes",
                         kyok_kmip_tag_name(tag), KYOK_TTLV_SIZE_MAX);
    return KYOK_OK;
}

enum kyok_status kyok_kmip_request_write(const struct kyok_kmip_request *request,
                                         struct kyok_ttlv_writer *writer, struct kyok_error *err)
{
    return write_message(writer, KYOK_KMIP_TAG_REQUEST_MESSAGE, request->version,
                         &kyok_kmip_request_shape, request, err);
}

enum kyok_status kyok_kmip_response_write(const struct kyok_kmip_response *response,
                                          struct kyok_ttlv_writer *writer, struct kyok_error *err)
{
    return write_message(writer, KYOK_KMIP_TAG_RESPONSE_MESSAGE, response->version,
                         &kyok_kmip_response_shape, response, err);
}

/* Written to where the buffer has room; once more when that was too little. */
static enum kyok_status append(struct kyok_buffer *buffer, uint32_t tag,
                               struct kyok_kmip_version version,
                               const struct kyok_kmip_shape *shape, const void *source,
                               struct kyok_error *err)
{
    size_t size = 1024;

    for (;;) {
        uint8_t *room = kyok_buffer_reserve(buffer, size);
        if (room == NULL)
            return kyok_fail(err, KYOK_SYSTEM, NULL, "no memory for a %s of %zu bytes",
                             kyok_kmip_tag_name(tag), size);
        struct kyok_ttlv_writer writer = kyok_ttlv_writer(room, size);
        KYOK_TRY(write_message(&writer, tag, version, shape, source, err));
        if (kyok_ttlv_written(&writer)) {
            buffer->size += writer.size;
            return KYOK_OK;
        }
        kyok_wipe(room, size);
        size = writer.size;
    }
}

enum kyok_status kyok_kmip_request_append(const struct kyok_kmip_request *request,
                                          struct kyok_buffer *buffer, struct kyok_error *err)
{
    return append(buffer, KYOK_KMIP_TAG_REQUEST_MESSAGE, request->version, &kyok_kmip_request_shape,
                  request, err);
}

enum kyok_status kyok_kmip_response_append(const struct kyok_kmip_response *response,
                                           struct kyok_buffer *buffer, struct kyok_error *err)
{
    return append(buffer, KYOK_KMIP_TAG_RESPONSE_MESSAGE, response->version,
                  &kyok_kmip_response_shape, response, err);
}

void kyok_kmip_request_item_init(struct kyok_kmip_request_item *item,
                                 enum kyok_kmip_operation operation)
{
    const struct kyok_kmip_operation_shapes *shapes = kyok_kmip_operation_shapes(operation);

    item->operation = operation;
    item->ephemeral = KYOK_KMIP_UNSET;
    item->batch_id = item->raw = kyok_bytes(NULL, 0);
    item->extension = NULL;
    memset(&item->payload, 0, shapes != NULL ? shapes->request->size : sizeof item->payload);
}

void kyok_kmip_request_one(struct kyok_kmip_request *request, unsigned version,
                           const struct kyok_kmip_request_item *item)
{
    memset(request, 0, sizeof(*request));
    request->version = kyok_kmip_version(version);
    request->items.items = item;
    request->items.count = 1;
}
