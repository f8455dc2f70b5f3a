/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a structure by its shape. */
#include "common/kmip/message_shape.h"

#include <stdio.h>
#include <string.h>

/* Every KYOK_KMIP_LIST looks like this. */
struct list {
    void *items;
    size_t count;
};

enum kyok_status kyok_kmip_malformed(struct kyok_kmip_reading *reading, const uint8_t *at,
                                     uint32_t tag, const char *complaint)
{
    const char *name = kyok_kmip_tag_name(tag);
    char place[64], number[16];

    snprintf(place, sizeof(place), "byte %zu of the message", (size_t)(at - reading->start));
    snprintf(number, sizeof(number), "tag %06lX", (unsigned long)(tag & 0xFFFFFF));
    return kyok_fail(reading->err, KYOK_FAULT, place, "Malformed KMIP message: %s: %s",
                     name != NULL ? name : number, complaint);
}

void *kyok_kmip_take(struct kyok_kmip_reading *reading, size_t count, size_t size)
{
    void *taken = kyok_kmip_arena_take(reading->arena, count, size);
    if (taken == NULL)
        kyok_fail(reading->err, KYOK_BUSY, NULL,
                  "A KMIP message needs more than the limit of %zu bytes to be read",
                  reading->arena->limit);
    return taken;
}

enum kyok_status kyok_kmip_next(struct kyok_kmip_reading *reading, struct kyok_ttlv_reader *reader,
                                struct kyok_ttlv_item *item, bool *more)
{
    enum kyok_ttlv_result result = kyok_ttlv_next(reader, item);
    *more = result == KYOK_TTLV_ITEM;
    if (result == KYOK_TTLV_ITEM || result == KYOK_TTLV_END)
        return KYOK_OK;
    struct kyok_cursor cursor = reader->cursor;
    uint32_t tag = 0;
    kyok_cursor_u32(&cursor, &tag);
    return kyok_kmip_malformed(reading, reader->cursor.at, tag >> 8,
                               kyok_ttlv_result_text(result));
}

enum kyok_status kyok_kmip_expect(struct kyok_kmip_reading *reading,
                                  const struct kyok_ttlv_item *item, enum kyok_ttlv_type type)
{
    char complaint[64];
    if (item->type == type)
        return KYOK_OK;
    snprintf(complaint, sizeof(complaint), "a %s is not a %s", kyok_ttlv_type_name(item->type),
             kyok_ttlv_type_name(type));
    return kyok_kmip_malformed(reading, item->value.data, item->tag, complaint);
}

enum kyok_status kyok_kmip_enter(struct kyok_kmip_reading *reading,
                                 const struct kyok_ttlv_reader *outer,
                                 const struct kyok_ttlv_item *item, struct kyok_ttlv_reader *inner)
{
    KYOK_TRY(kyok_kmip_expect(reading, item, KYOK_TTLV_STRUCTURE));
    if (!kyok_ttlv_enter(outer, item, inner))
        return kyok_kmip_malformed(reading, item->value.data, item->tag,
                                   kyok_ttlv_result_text(KYOK_TTLV_TOO_DEEP));
    return KYOK_OK;
}

enum kyok_status kyok_kmip_read_content(struct kyok_kmip_reading *reading,
                                        const struct kyok_ttlv_reader *reader,
                                        const struct kyok_ttlv_item *item,
                                        struct kyok_bytes *content)
{
    struct kyok_ttlv_reader inner;

    KYOK_TRY(kyok_kmip_enter(reading, reader, item, &inner));
    enum kyok_ttlv_result result = kyok_ttlv_check(inner);
    if (result != KYOK_TTLV_END)
        return kyok_kmip_malformed(reading, item->value.data, item->tag,
                                   kyok_ttlv_result_text(result));
    *content = item->value;
    return KYOK_OK;
}

enum kyok_status kyok_kmip_read_structure(struct kyok_kmip_reading *reading,
                                          const struct kyok_ttlv_reader *reader,
                                          const struct kyok_ttlv_item *item,
                                          const struct kyok_kmip_shape *shape, void *target)
{
    struct kyok_ttlv_reader inner;

    KYOK_TRY(kyok_kmip_enter(reading, reader, item, &inner));
    return kyok_kmip_read_fields(reading, &inner, item->tag, shape, target);
}

enum kyok_status kyok_kmip_read_pointer(struct kyok_kmip_reading *reading,
                                        const struct kyok_ttlv_reader *reader,
                                        const struct kyok_ttlv_item *item,
                                        const struct kyok_kmip_shape *shape, const void **pointer)
{
    void *target = kyok_kmip_take(reading, 1, shape->size);
    if (target == NULL)
        return reading->err->status;
    *pointer = target;
    return kyok_kmip_read_structure(reading, reader, item, shape, target);
}

/* --- one value --- */

static enum kyok_status read_integer(struct kyok_kmip_reading *reading,
                                     const struct kyok_ttlv_item *item, enum kyok_ttlv_type type,
                                     struct kyok_kmip_integer *target)
{
    KYOK_TRY(kyok_kmip_expect(reading, item, type));
    *target = kyok_kmip_integer(kyok_ttlv_integer(item));
    return KYOK_OK;
}

static enum kyok_status read_long(struct kyok_kmip_reading *reading,
                                  const struct kyok_ttlv_item *item, enum kyok_ttlv_type type,
                                  struct kyok_kmip_long *target)
{
    KYOK_TRY(kyok_kmip_expect(reading, item, type));
    *target = kyok_kmip_long(kyok_ttlv_long_integer(item));
    return KYOK_OK;
}

static enum kyok_status read_bytes(struct kyok_kmip_reading *reading,
                                   const struct kyok_ttlv_item *item, enum kyok_ttlv_type type,
                                   struct kyok_bytes *target)
{
    KYOK_TRY(kyok_kmip_expect(reading, item, type));
    *target = item->value;
    return KYOK_OK;
}

static enum kyok_status read_word(struct kyok_kmip_reading *reading,
                                  const struct kyok_ttlv_item *item, enum kyok_ttlv_type type,
                                  void *target)
{
    KYOK_TRY(kyok_kmip_expect(reading, item, type));
    uint32_t value = kyok_ttlv_enumeration(item);
    memcpy(target, &value, sizeof(value));
    return KYOK_OK;
}

static enum kyok_status read_boolean(struct kyok_kmip_reading *reading,
                                     const struct kyok_ttlv_item *item,
                                     enum kyok_kmip_boolean *target)
{
    KYOK_TRY(kyok_kmip_expect(reading, item, KYOK_TTLV_BOOLEAN));
    *target = kyok_kmip_boolean(kyok_ttlv_boolean(item));
    return KYOK_OK;
}

static enum kyok_status read_value(struct kyok_kmip_reading *reading,
                                   const struct kyok_ttlv_reader *reader,
                                   const struct kyok_ttlv_item *item,
                                   const struct kyok_kmip_field *field, void *target)
{
    switch ((enum kyok_kmip_kind)field->kind) {
    case KYOK_KMIP_KIND_INT:
        return read_word(reading, item, KYOK_TTLV_INTEGER, target);
    case KYOK_KMIP_KIND_INTEGER:
        return read_integer(reading, item, KYOK_TTLV_INTEGER, target);
    case KYOK_KMIP_KIND_INTERVAL:
        return read_integer(reading, item, KYOK_TTLV_INTERVAL, target);
    case KYOK_KMIP_KIND_LONG:
        return read_long(reading, item, KYOK_TTLV_LONG_INTEGER, target);
    case KYOK_KMIP_KIND_DATE:
        return read_long(reading, item, KYOK_TTLV_DATE_TIME, target);
    case KYOK_KMIP_KIND_ENUM:
        return read_word(reading, item, KYOK_TTLV_ENUMERATION, target);
    case KYOK_KMIP_KIND_BOOLEAN:
        return read_boolean(reading, item, target);
    case KYOK_KMIP_KIND_TEXT:
        return read_bytes(reading, item, KYOK_TTLV_TEXT_STRING, target);
    case KYOK_KMIP_KIND_BYTES:
        return read_bytes(reading, item, KYOK_TTLV_BYTE_STRING, target);
    case KYOK_KMIP_KIND_BIG:
        return read_bytes(reading, item, KYOK_TTLV_BIG_INTEGER, target);
    case KYOK_KMIP_KIND_CONTENT:
        return kyok_kmip_read_content(reading, reader, item, target);
    case KYOK_KMIP_KIND_STRUCT:
        return kyok_kmip_read_structure(reading, reader, item, field->shape, target);
    case KYOK_KMIP_KIND_POINTER:
        return kyok_kmip_read_pointer(reading, reader, item, field->shape, target);
    case KYOK_KMIP_KIND_SPECIAL:
        return field->special->read(reading, reader, item, target);
    }
    return KYOK_FAULT;
}

/* --- lists --- */

size_t kyok_kmip_element_size(const struct kyok_kmip_field *field)
{
    switch ((enum kyok_kmip_kind)field->kind) {
    case KYOK_KMIP_KIND_STRUCT:
        return field->shape->size;
    case KYOK_KMIP_KIND_SPECIAL:
        return field->special->size;
    case KYOK_KMIP_KIND_ENUM:
        return sizeof(uint32_t);
    default:
        return sizeof(struct kyok_bytes);
    }
}

/* How many items with the tag of item are left, item included. */
static size_t count_alike(struct kyok_ttlv_reader rest, const struct kyok_ttlv_item *item)
{
    struct kyok_ttlv_item other;
    size_t count = 1;
    while (kyok_ttlv_next(&rest, &other) == KYOK_TTLV_ITEM)
        count += other.tag == item->tag;
    return count;
}

/* The first element makes room for all, so that a list is one array. */
static enum kyok_status read_element(struct kyok_kmip_reading *reading,
                                     const struct kyok_ttlv_reader *reader,
                                     const struct kyok_ttlv_item *item,
                                     const struct kyok_kmip_field *field, struct list *list)
{
    size_t size = kyok_kmip_element_size(field);
    if (list->count == 0)
        list->items = kyok_kmip_take(reading, count_alike(*reader, item), size);
    if (list->items == NULL)
        return reading->err->status;
    return read_value(reading, reader, item, field, (char *)list->items + size * list->count++);
}

/* --- fields --- */

/* Fields come in the order of the rows, so that the search begins where the last one was found;
 * peers that mix up the order are read all the same. */
static unsigned find_field(const struct kyok_kmip_shape *shape, uint32_t tag, unsigned from)
{
    for (unsigned i = from; i < shape->count; i++)
        if (shape->fields[i].tag == tag)
            return i;
    for (unsigned i = 0; i < from; i++)
        if (shape->fields[i].tag == tag)
            return i;
    return shape->count;
}

/* The rows that are forms of one field, as bits. */
static uint32_t forms_of(const struct kyok_kmip_shape *shape, unsigned index)
{
    unsigned first = index, last = index;
    while (shape->fields[first].need & KYOK_KMIP_OR)
        first--;
    while (last + 1 < shape->count && shape->fields[last + 1].need & KYOK_KMIP_OR)
        last++;
    return (uint32_t)((UINT64_C(2) << last) - (UINT64_C(1) << first));
}

static enum kyok_status check_required(struct kyok_kmip_reading *reading,
                                       const struct kyok_ttlv_reader *reader, uint32_t tag,
                                       const struct kyok_kmip_shape *shape, uint32_t seen)
{
    char complaint[64];

    for (unsigned i = 0; i < shape->count; i++) {
        const struct kyok_kmip_field *field = &shape->fields[i];
        if (!(field->need & KYOK_KMIP_REQUIRED) || seen & forms_of(shape, i))
            continue;
        snprintf(complaint, sizeof(complaint), "%s is missing", kyok_kmip_tag_name(field->tag));
        return kyok_kmip_malformed(reading, reader->cursor.at, tag, complaint);
    }
    return KYOK_OK;
}

static enum kyok_status read_field(struct kyok_kmip_reading *reading,
                                   const struct kyok_ttlv_reader *reader,
                                   const struct kyok_ttlv_item *item,
                                   const struct kyok_kmip_shape *shape, unsigned index,
                                   uint32_t seen, void *target)
{
    const struct kyok_kmip_field *field = &shape->fields[index];
    uint32_t others = forms_of(shape, index);

    if (field->need & KYOK_KMIP_REPEATED)
        others &= ~(UINT32_C(1) << index);
    if (seen & others)
        return kyok_kmip_malformed(reading, item->value.data, item->tag, "it is there twice");
    void *member = (char *)target + field->offset;
    if (field->need & KYOK_KMIP_REPEATED)
        return read_element(reading, reader, item, field, member);
    return read_value(reading, reader, item, field, member);
}

enum kyok_status kyok_kmip_read_fields(struct kyok_kmip_reading *reading,
                                       struct kyok_ttlv_reader *reader, uint32_t tag,
                                       const struct kyok_kmip_shape *shape, void *target)
{
    struct kyok_ttlv_item item;
    unsigned at = 0;
    uint32_t seen = 0;

    if (shape->read != NULL)
        return shape->read(reading, reader, target);
    for (;;) {
        struct kyok_bytes skipped;
        bool more;
        KYOK_TRY(kyok_kmip_next(reading, reader, &item, &more));
        if (!more)
            return check_required(reading, reader, tag, shape, seen);
        unsigned index = find_field(shape, item.tag, at);
        if (index == shape->count) {
            if (item.type == KYOK_TTLV_STRUCTURE)
                KYOK_TRY(kyok_kmip_read_content(reading, reader, &item, &skipped));
            continue;
        }
        KYOK_TRY(read_field(reading, reader, &item, shape, index, seen, target));
        seen |= UINT32_C(1) << index;
        at = index;
    }
}
