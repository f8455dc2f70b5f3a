/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a structure by its shape. */
#include "common/kmip/message_inline.h"

#include <stdio.h>
#include <string.h>

enum kyok_status kyok_kmip_malformed(struct kyok_kmip_reading *reading, const uint8_t *at,
                                     uint32_t tag, const char *complaint)
{
    const char *name = kyok_kmip_tag_name(tag);
    char place[64], number[16];

    snprintf(place, sizeof(place), "byte %zu of the message", (size_t)(at - reading->start));
    snprintf(number, sizeof(number), "tag %06lX", (unsigned long)(tag & 0xFFFFFF));
    return kyok_fail(reading->err, KYOK_FAULT, place, "malformed KMIP message: %s: %s",
                     name != NULL ? name : number, complaint);
}

void *kyok_kmip_take(struct kyok_kmip_reading *reading, size_t count, size_t size)
{
    void *taken = kyok_kmip_arena_take(reading->arena, count, size);
    if (taken == NULL)
        kyok_fail(reading->err, KYOK_BUSY, NULL,
                  "a KMIP message needs more than the limit of %zu bytes to be read",
                  reading->arena->limit);
    return taken;
}

enum kyok_status kyok_kmip_broken_rule(struct kyok_kmip_reading *reading,
                                       const struct kyok_ttlv_reader *reader,
                                       enum kyok_ttlv_result result)
{
    struct kyok_cursor cursor = reader->cursor;
    uint32_t word = 0;

    kyok_cursor_u32(&cursor, &word);
    return kyok_kmip_malformed(reading, reader->cursor.at, word >> 8,
                               kyok_ttlv_result_text(result));
}

enum kyok_status kyok_kmip_next(struct kyok_kmip_reading *reading, struct kyok_ttlv_reader *reader,
                                struct kyok_ttlv_item *item, bool *more)
{
    enum kyok_ttlv_result result = kyok_ttlv_next(reader, item);
    *more = result == KYOK_TTLV_ITEM;
    if (result == KYOK_TTLV_ITEM || result == KYOK_TTLV_END)
        return KYOK_OK;
    return kyok_kmip_broken_rule(reading, reader, result);
}

enum kyok_status kyok_kmip_expect(struct kyok_kmip_reading *reading,
                                  const struct kyok_ttlv_item *item, enum kyok_ttlv_type type)
{
    char complaint[64];
    if (item->type == type)
        return KYOK_OK;
    snprintf(complaint, sizeof(complaint), "it is a %s where %s is due",
             kyok_ttlv_type_name(item->type), kyok_ttlv_type_name(type));
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
    return kyok_kmip_read_structure_inline(reading, reader, item, shape, target);
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
enum kyok_status kyok_kmip_read_element(struct kyok_kmip_reading *reading,
                                        const struct kyok_ttlv_reader *reader,
                                        const struct kyok_ttlv_item *item,
                                        const struct kyok_kmip_field *field,
                                        struct kyok_kmip_list *list)
{
    size_t size = kyok_kmip_element_size(field);
    if (list->count == 0)
        list->items = kyok_kmip_take(reading, count_alike(*reader, item), size);
    if (list->items == NULL)
        return reading->err->status;
    return kyok_kmip_read_value(reading, reader, item, field,
                                (char *)list->items + size * list->count++);
}

/* --- fields --- */

enum kyok_status kyok_kmip_missing(struct kyok_kmip_reading *reading,
                                   const struct kyok_ttlv_reader *reader, uint32_t tag,
                                   const struct kyok_kmip_field *field)
{
    char complaint[64];

    snprintf(complaint, sizeof(complaint), "%s is missing", kyok_kmip_tag_name(field->tag));
    return kyok_kmip_malformed(reading, reader->cursor.at, tag, complaint);
}

/* Items that a structure does not have are no error; what is inside them must still be TTLV. */
enum kyok_status kyok_kmip_skip(struct kyok_kmip_reading *reading,
                                const struct kyok_ttlv_reader *reader,
                                const struct kyok_ttlv_item *item)
{
    struct kyok_bytes content;

    if (item->type != KYOK_TTLV_STRUCTURE)
        return KYOK_OK;
    return kyok_kmip_read_content(reading, reader, item, &content);
}

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

/* The same as kyok_kmip_read_rows() without a constant table. */
static enum kyok_status read_rows(struct kyok_kmip_reading *reading,
                                  struct kyok_ttlv_reader *reader, uint32_t tag,
                                  const struct kyok_kmip_shape *shape, void *target)
{
    struct kyok_ttlv_item item;
    enum kyok_ttlv_result result;
    unsigned index = 0;
    uint32_t seen = 0;

    while ((result = kyok_ttlv_next_inline(reader, &item)) == KYOK_TTLV_ITEM) {
        unsigned found = find_field(shape, item.tag, index);
        if (found == shape->count) {
            KYOK_TRY(kyok_kmip_skip(reading, reader, &item));
            continue;
        }
        KYOK_TRY(kyok_kmip_read_row(reading, reader, &item, &shape->fields[found],
                                    kyok_kmip_others(shape->fields, shape->count, found), seen,
                                    target));
        index = found;
        seen |= UINT32_C(1) << found;
    }
    if (result != KYOK_TTLV_END)
        return kyok_kmip_broken_rule(reading, reader, result);
    return kyok_kmip_check_required(reading, reader, tag, shape->fields, shape->count, seen);
}

enum kyok_status kyok_kmip_read_fields(struct kyok_kmip_reading *reading,
                                       struct kyok_ttlv_reader *reader, uint32_t tag,
                                       const struct kyok_kmip_shape *shape, void *target)
{
    if (shape->read != NULL)
        return shape->read(reading, reader, tag, target);
    return read_rows(reading, reader, tag, shape, target);
}
