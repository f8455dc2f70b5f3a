/* SPDX-License-Identifier: Apache-2.0 */
/* The scripted KMIP server's faults: what becomes of an answer before, and after, it is bytes. */
#include "tests/support/kmip_server.h"

#include <openssl/ec.h>
#include <string.h>

struct server_fault server_take_fault(struct server *server, enum kyok_kmip_operation operation)
{
    struct server_fault none = {.kind = ""};

    for (size_t i = 0; i < server->fault_count; i++) {
        struct server_fault *fault = &server->faults[i];
        if (fault->count == 0 || (strcmp(fault->operation, "any") != 0 &&
                                  strcmp(fault->operation, server_operation_name(operation)) != 0))
            continue;
        fault->count--;
        return *fault;
    }
    return none;
}

static bool is(const struct server_fault *fault, const char *kind)
{
    return strcmp(fault->kind, kind) == 0;
}

/* --- the answer's structure ------------------------------------------------------------------ */

static void other_identifier(struct kyok_kmip_response_item *item)
{
    struct kyok_bytes other = kyok_bytes_of_text("not-the-one-you-asked-for");

    switch (item->operation) {
    case KYOK_KMIP_OPERATION_GET:
        item->payload.get.unique_identifier = other;
        break;
    case KYOK_KMIP_OPERATION_GET_ATTRIBUTES:
        item->payload.get_attributes.unique_identifier = other;
        break;
    case KYOK_KMIP_OPERATION_SIGN:
        item->payload.sign.unique_identifier = other;
        break;
    case KYOK_KMIP_OPERATION_ENCRYPT:
    case KYOK_KMIP_OPERATION_DECRYPT:
        item->payload.cipher.unique_identifier = other;
        break;
    default:
        item->payload.identifier.unique_identifier = other;
        break;
    }
}

static void other_operation(struct kyok_kmip_response_item *item)
{
    item->operation = KYOK_KMIP_OPERATION_ACTIVATE;
    memset(&item->payload, 0, sizeof item->payload);
    item->payload.identifier.unique_identifier = kyok_bytes_of_text("some-object");
    item->has_payload = true;
}

static void spoil_get(const struct server_fault *fault, struct kyok_kmip_response_item *item)
{
    struct kyok_kmip_get_response *get = &item->payload.get;

    if (item->operation != KYOK_KMIP_OPERATION_GET)
        return;
    if (is(fault, "object-type"))
        get->object_type = get->object.type = KYOK_KMIP_OBJECT_TYPE_SECRET_DATA,
        get->object.secret_data_type = KYOK_KMIP_SECRET_DATA_TYPE_SEED;
    if (is(fault, "length"))
        get->object.key.length = kyok_kmip_integer(128);
    if (is(fault, "algorithm"))
        get->object.key.algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_DES3;
    if (is(fault, "no-length"))
        get->object.key.length.set = false;
    if (is(fault, "empty"))
        get->object.key.value.material = kyok_bytes("", 0), get->object.key.length.set = false;
    if (is(fault, "material") && get->object.key.value.material.size > 1)
        get->object.key.value.material.size--;
}

static void spoil_attribute(const struct server_fault *fault, struct kyok_kmip_attribute *attribute)
{
    enum kyok_kmip_attribute_id id = attribute->name.id;

    if (id == KYOK_KMIP_ATTRIBUTE_OBJECT_TYPE && is(fault, "object-type"))
        attribute->value.enumeration = KYOK_KMIP_OBJECT_TYPE_CERTIFICATE;
    if (id == KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH && is(fault, "length"))
        attribute->value.integer = 128;
    if (id == KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM && is(fault, "algorithm"))
        attribute->value.enumeration = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_DES3;
    if (id == KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK && is(fault, "usage"))
        attribute->value.integer = (int32_t)fault->number;
    if (id == KYOK_KMIP_ATTRIBUTE_STATE && is(fault, "state"))
        attribute->value.enumeration = (uint32_t)fault->number;
}

static void spoil_attributes(const struct server_fault *fault, struct kyok_kmip_arena *arena,
                             struct kyok_kmip_response_item *item)
{
    kyok_kmip_attributes *list = &item->payload.get_attributes.attributes;
    struct kyok_kmip_attribute *copy;
    size_t count = 0;

    if (item->operation != KYOK_KMIP_OPERATION_GET_ATTRIBUTES || !item->has_payload)
        return;
    copy = kyok_kmip_arena_take(arena, list->count + 1, sizeof *copy);
    for (size_t i = 0; i < list->count; i++) {
        if (is(fault, "no-length") &&
            list->items[i].name.id == KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH)
            continue;
        copy[count] = list->items[i];
        spoil_attribute(fault, &copy[count++]);
    }
    list->items = copy;
    list->count = count;
}

/* r || s, each as long as the key. */
static struct kyok_bytes raw_signature(struct kyok_kmip_arena *arena, struct kyok_bytes der)
{
    const unsigned char *at = der.data;
    ECDSA_SIG *parts = d2i_ECDSA_SIG(NULL, &at, (long)der.size);
    int half = der.size > 80 ? 48 : 32;
    unsigned char *raw = kyok_kmip_arena_take(arena, 96, 1);

    BN_bn2binpad(ECDSA_SIG_get0_r(parts), raw, half);
    BN_bn2binpad(ECDSA_SIG_get0_s(parts), raw + half, half);
    ECDSA_SIG_free(parts);
    return kyok_bytes(raw, (size_t)half * 2);
}

static struct kyok_bytes changed(struct kyok_kmip_arena *arena, struct kyok_bytes bytes)
{
    uint8_t *copy = kyok_kmip_arena_take(arena, bytes.size, 1);

    memcpy(copy, bytes.data, bytes.size);
    copy[bytes.size - 1] ^= 1;
    return kyok_bytes(copy, bytes.size);
}

static void spoil_crypto(const struct server_fault *fault, struct kyok_kmip_arena *arena,
                         struct kyok_kmip_response_item *item)
{
    if (item->operation == KYOK_KMIP_OPERATION_SIGN && item->has_payload) {
        struct kyok_bytes *signature = &item->payload.sign.signature;
        if (is(fault, "raw"))
            *signature = raw_signature(arena, *signature);
        if (is(fault, "changed"))
            *signature = changed(arena, *signature);
        if (is(fault, "empty"))
            *signature = kyok_bytes("", 0);
        if (is(fault, "material"))
            signature->size--;
    }
    if ((item->operation == KYOK_KMIP_OPERATION_ENCRYPT ||
         item->operation == KYOK_KMIP_OPERATION_DECRYPT) &&
        is(fault, "material") && item->payload.cipher.data.size > 0)
        item->payload.cipher.data.size--;
}

static void big_answer(struct kyok_kmip_arena *arena, struct kyok_kmip_response_item *item)
{
    size_t size = (size_t)2 << 20;
    char *text = kyok_kmip_arena_take(arena, size, 1);

    memset(text, 'x', size);
    item->message = kyok_bytes(text, size);
}

void server_spoil_answer(const struct server_fault *fault, struct kyok_kmip_arena *arena,
                         struct kyok_kmip_response *response)
{
    struct kyok_kmip_response_item *items =
        kyok_kmip_arena_take(arena, response->items.count + 1, sizeof *items);

    memcpy(items, response->items.items, response->items.count * sizeof *items);
    response->items.items = items;
    if (is(fault, "error")) {
        items[0].status = KYOK_KMIP_RESULT_STATUS_OPERATION_FAILED;
        items[0].reason = (enum kyok_kmip_result_reason)fault->number;
        items[0].message = kyok_bytes_of_text("by the script");
        items[0].has_payload = false;
    }
    if (is(fault, "operation"))
        other_operation(&items[0]);
    if (is(fault, "batch"))
        items[0].batch_id = kyok_bytes_of_text("12345678");
    if (is(fault, "items"))
        items[response->items.count++] = items[0];
    if (is(fault, "no-payload"))
        items[0].has_payload = false;
    if (is(fault, "identifier"))
        other_identifier(&items[0]);
    if (is(fault, "big"))
        big_answer(arena, &items[0]);
    if (is(fault, "tag-size") && items[0].operation == KYOK_KMIP_OPERATION_ENCRYPT)
        items[0].payload.cipher.tag.size = 12;
    if (is(fault, "other-iv") && items[0].operation == KYOK_KMIP_OPERATION_ENCRYPT)
        items[0].payload.cipher.iv_counter_nonce = kyok_bytes_of_text("not that one");
    spoil_get(fault, &items[0]);
    spoil_attributes(fault, arena, &items[0]);
    spoil_crypto(fault, arena, &items[0]);
}

/* --- its bytes ------------------------------------------------------------------------------- */

static void put_u32(uint8_t *to, uint32_t value)
{
    for (int i = 3; i >= 0; i--, value >>= 8)
        to[i] = (uint8_t)value;
}

static void replace(struct kyok_buffer *bytes, const uint8_t *data, size_t size)
{
    bytes->size = 0;
    kyok_buffer_append(bytes, data, size);
}

#define DEEP 3000

/* The first ones are a response message and its header, so that only the depth is wrong. */
static void nest(struct kyok_buffer *bytes)
{
    static uint8_t nested[8 * DEEP];

    for (size_t i = 0; i < DEEP; i++) {
        put_u32(nested + 8 * i,
                (i == 0 ? KYOK_KMIP_TAG_RESPONSE_MESSAGE : KYOK_KMIP_TAG_RESPONSE_HEADER) << 8 |
                    KYOK_TTLV_STRUCTURE);
        put_u32(nested + 8 * i + 4, (uint32_t)(8 * (DEEP - 1 - i)));
    }
    replace(bytes, nested, sizeof nested);
}

static void change_length(struct kyok_buffer *bytes, long by)
{
    put_u32(bytes->data + 4, (uint32_t)((long)(bytes->size - 8) + by));
}

void server_spoil_bytes(const struct server_fault *fault, struct kyok_buffer *bytes)
{
    static const uint8_t garbage[64] = {[0 ... 63] = 0xff};

    if (is(fault, "long"))
        change_length(bytes, fault->number);
    if (is(fault, "short"))
        change_length(bytes, -fault->number);
    if (is(fault, "huge"))
        put_u32(bytes->data + 4, 0xfffffff8u);
    if (is(fault, "deep"))
        nest(bytes);
    if (is(fault, "garbage"))
        replace(bytes, garbage, sizeof garbage);
    if (is(fault, "tag"))
        bytes->data[2] = KYOK_KMIP_TAG_REQUEST_MESSAGE & 0xff;
    if (is(fault, "item-type"))
        bytes->data[8 + 3] = 0x0f;
    if (is(fault, "version")) /* 9.0, which the writer would not write */
        bytes->data[8 + 8 + 8 + 8 + 3] = 9;
    if (is(fault, "older")) /* x.2 in the header of an answer in the version asked for */
        bytes->data[8 + 8 + 8 + 16 + 8 + 3] = 2;
    if (is(fault, "trailing"))
        kyok_buffer_append(bytes, garbage, 8);
}
