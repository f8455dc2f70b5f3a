/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing the rows of a shape, for inlining: where the table is constant and in sight,
 * the compiler turns the loop into straight code. Shapes that every message has say
 * KYOK_KMIP_DEFINE_INLINE.
 */
#ifndef KYOK_KMIP_MESSAGE_INLINE_H
#define KYOK_KMIP_MESSAGE_INLINE_H

#include "common/kmip/message_shape.h"
#include "common/kmip/ttlv_inline.h"

#define KYOK_KMIP_INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define KYOK_KMIP_UNROLL
#else
#define KYOK_KMIP_UNROLL _Pragma("GCC unroll 32")
#endif

/* --- reading --- */

/* The item type of each kind; special ones see to it themselves. */
static const uint8_t kyok_kmip_kind_types[] = {
    [KYOK_KMIP_KIND_INT] = KYOK_TTLV_INTEGER,
    [KYOK_KMIP_KIND_INTEGER] = KYOK_TTLV_INTEGER,
    [KYOK_KMIP_KIND_INTERVAL] = KYOK_TTLV_INTERVAL,
    [KYOK_KMIP_KIND_LONG] = KYOK_TTLV_LONG_INTEGER,
    [KYOK_KMIP_KIND_DATE] = KYOK_TTLV_DATE_TIME,
    [KYOK_KMIP_KIND_ENUM] = KYOK_TTLV_ENUMERATION,
    [KYOK_KMIP_KIND_RESULT] = KYOK_TTLV_ENUMERATION,
    [KYOK_KMIP_KIND_BOOLEAN] = KYOK_TTLV_BOOLEAN,
    [KYOK_KMIP_KIND_TEXT] = KYOK_TTLV_TEXT_STRING,
    [KYOK_KMIP_KIND_BYTES] = KYOK_TTLV_BYTE_STRING,
    [KYOK_KMIP_KIND_BIG] = KYOK_TTLV_BIG_INTEGER,
    [KYOK_KMIP_KIND_CONTENT] = KYOK_TTLV_STRUCTURE,
    [KYOK_KMIP_KIND_STRUCT] = KYOK_TTLV_STRUCTURE,
    [KYOK_KMIP_KIND_POINTER] = KYOK_TTLV_STRUCTURE,
    [KYOK_KMIP_KIND_SPECIAL] = 0,
};

KYOK_KMIP_INLINE enum kyok_status kyok_kmip_read_structure_inline(
    struct kyok_kmip_reading *reading, const struct kyok_ttlv_reader *reader,
    const struct kyok_ttlv_item *item, const struct kyok_kmip_shape *shape, void *target)
{
    struct kyok_ttlv_reader inner = {{item->value.data, item->value.data + item->value.size},
                                     reader->depth + 1};

    if (item->type != KYOK_TTLV_STRUCTURE || reader->depth >= KYOK_TTLV_DEPTH_MAX)
        return kyok_kmip_enter(reading, reader, item, &inner); /* says which */
    if (shape->read != NULL)
        return shape->read(reading, &inner, item->tag, target);
    return kyok_kmip_read_fields(reading, &inner, item->tag, shape, target);
}

KYOK_KMIP_INLINE enum kyok_status kyok_kmip_read_value(struct kyok_kmip_reading *reading,
                                                       const struct kyok_ttlv_reader *reader,
                                                       const struct kyok_ttlv_item *item,
                                                       const struct kyok_kmip_field *field,
                                                       void *target)
{
    uint32_t word;

    if (kyok_kmip_kind_types[field->kind] != item->type && kyok_kmip_kind_types[field->kind] != 0)
        return kyok_kmip_expect(reading, item,
                                (enum kyok_ttlv_type)kyok_kmip_kind_types[field->kind]);
    switch ((enum kyok_kmip_kind)field->kind) {
    case KYOK_KMIP_KIND_INT:
    case KYOK_KMIP_KIND_ENUM:
    case KYOK_KMIP_KIND_RESULT:
        word = kyok_ttlv_load32(item->value.data);
        memcpy(target, &word, sizeof(word));
        return KYOK_OK;
    case KYOK_KMIP_KIND_INTEGER:
    case KYOK_KMIP_KIND_INTERVAL:
        word = kyok_ttlv_load32(item->value.data);
        *(struct kyok_kmip_integer *)target = kyok_kmip_integer((int32_t)word);
        return KYOK_OK;
    case KYOK_KMIP_KIND_LONG:
    case KYOK_KMIP_KIND_DATE:
        *(struct kyok_kmip_long *)target =
            kyok_kmip_long((int64_t)kyok_ttlv_load64(item->value.data));
        return KYOK_OK;
    case KYOK_KMIP_KIND_BOOLEAN:
        *(enum kyok_kmip_boolean *)target =
            kyok_kmip_boolean(kyok_ttlv_load64(item->value.data) == 1);
        return KYOK_OK;
    case KYOK_KMIP_KIND_TEXT:
    case KYOK_KMIP_KIND_BYTES:
    case KYOK_KMIP_KIND_BIG:
        *(struct kyok_bytes *)target = item->value;
        return KYOK_OK;
    case KYOK_KMIP_KIND_CONTENT:
        return kyok_kmip_read_content(reading, reader, item, target);
    case KYOK_KMIP_KIND_STRUCT:
        return kyok_kmip_read_structure_inline(reading, reader, item, field->shape, target);
    case KYOK_KMIP_KIND_POINTER:
        return kyok_kmip_read_pointer(reading, reader, item, field->shape, target);
    case KYOK_KMIP_KIND_SPECIAL:
        return field->special->read(reading, reader, item, target);
    }
    return KYOK_FAULT;
}

/* The rows that are forms of one field, as bits: they share its member. A loop without early end,
 * so that it is a constant where the table is one. */
KYOK_KMIP_INLINE uint32_t kyok_kmip_forms(const struct kyok_kmip_field *fields, unsigned count,
                                          unsigned index)
{
    uint32_t forms = UINT32_C(1) << index;

    if (!(fields[index].need & (KYOK_KMIP_OR | KYOK_KMIP_FORMS)))
        return forms;
    KYOK_KMIP_UNROLL
    for (unsigned i = 0; i < count; i++)
        if (fields[i].need & (KYOK_KMIP_OR | KYOK_KMIP_FORMS) &&
            fields[i].offset == fields[index].offset)
            forms |= UINT32_C(1) << i;
    return forms;
}

KYOK_KMIP_INLINE enum kyok_status kyok_kmip_check_required(struct kyok_kmip_reading *reading,
                                                           const struct kyok_ttlv_reader *reader,
                                                           uint32_t tag,
                                                           const struct kyok_kmip_field *fields,
                                                           unsigned count, uint32_t seen)
{
    KYOK_KMIP_UNROLL
    for (unsigned i = 0; i < count; i++)
        if (fields[i].need & KYOK_KMIP_REQUIRED && !(seen & kyok_kmip_forms(fields, count, i)))
            return kyok_kmip_missing(reading, reader, tag, &fields[i]);
    return KYOK_OK;
}

KYOK_KMIP_INLINE enum kyok_status kyok_kmip_read_row(struct kyok_kmip_reading *reading,
                                                     const struct kyok_ttlv_reader *reader,
                                                     const struct kyok_ttlv_item *item,
                                                     const struct kyok_kmip_field *field,
                                                     uint32_t others, uint32_t seen, void *target)
{
    void *member = (char *)target + field->offset;

    if (seen & others)
        return kyok_kmip_malformed(reading, item->value.data, item->tag, "it is there twice");
    if (field->need & KYOK_KMIP_REPEATED)
        return kyok_kmip_read_element(reading, reader, item, field, member);
    return kyok_kmip_read_value(reading, reader, item, field, member);
}

/* Which rows must not have been seen before this one: a repeated one may have been. */
KYOK_KMIP_INLINE uint32_t kyok_kmip_others(const struct kyok_kmip_field *fields, unsigned count,
                                           unsigned index)
{
    uint32_t own = fields[index].need & KYOK_KMIP_REPEATED ? UINT32_C(1) << index : 0;
    return kyok_kmip_forms(fields, count, index) & ~own;
}

KYOK_KMIP_INLINE enum kyok_status kyok_kmip_read_rows(struct kyok_kmip_reading *reading,
                                                      struct kyok_ttlv_reader *reader, uint32_t tag,
                                                      const struct kyok_kmip_field *fields,
                                                      unsigned count, void *target)
{
    struct kyok_ttlv_item item;
    enum kyok_ttlv_result result;
    uint32_t seen = 0;

    while ((result = kyok_ttlv_next_inline(reader, &item)) == KYOK_TTLV_ITEM) {
        bool known = false;
        KYOK_KMIP_UNROLL /* to the end, so that each row gets code of its own */
            for (unsigned i = 0; i < count; i++) if (!known && item.tag == fields[i].tag)
        {
            KYOK_TRY(kyok_kmip_read_row(reading, reader, &item, &fields[i],
                                        kyok_kmip_others(fields, count, i), seen, target));
            seen |= UINT32_C(1) << i;
            known = true;
        }
        if (!known)
            KYOK_TRY(kyok_kmip_skip(reading, reader, &item));
    }
    if (result != KYOK_TTLV_END)
        return kyok_kmip_broken_rule(reading, reader, result);
    return kyok_kmip_check_required(reading, reader, tag, fields, count, seen);
}

/* --- writing --- */

static inline uint32_t kyok_kmip_word_at(const void *source)
{
    uint32_t value;
    memcpy(&value, source, sizeof(value));
    return value;
}

KYOK_KMIP_INLINE bool kyok_kmip_is_present(const struct kyok_kmip_field *field, const void *source)
{
    if (field->need & KYOK_KMIP_REPEATED)
        return ((const struct kyok_kmip_any_list *)source)->count > 0;
    switch ((enum kyok_kmip_kind)field->kind) {
    case KYOK_KMIP_KIND_INTEGER:
    case KYOK_KMIP_KIND_INTERVAL:
        return ((const struct kyok_kmip_integer *)source)->set;
    case KYOK_KMIP_KIND_LONG:
    case KYOK_KMIP_KIND_DATE:
        return ((const struct kyok_kmip_long *)source)->set;
    case KYOK_KMIP_KIND_ENUM:
    case KYOK_KMIP_KIND_BOOLEAN:
        return kyok_kmip_word_at(source) != 0;
    case KYOK_KMIP_KIND_TEXT:
    case KYOK_KMIP_KIND_BYTES:
    case KYOK_KMIP_KIND_BIG:
    case KYOK_KMIP_KIND_CONTENT:
        return ((const struct kyok_bytes *)source)->data != NULL;
    case KYOK_KMIP_KIND_POINTER:
        return *(const void *const *)source != NULL;
    case KYOK_KMIP_KIND_SPECIAL:
        return field->special->present == NULL || field->special->present(source);
    case KYOK_KMIP_KIND_INT:
    case KYOK_KMIP_KIND_RESULT:
    case KYOK_KMIP_KIND_STRUCT:
        return true;
    }
    return false;
}

KYOK_KMIP_INLINE enum kyok_status
kyok_kmip_write_structure_inline(struct kyok_kmip_writing *writing, uint32_t tag,
                                 const struct kyok_kmip_shape *shape, const void *source)
{
    size_t start = kyok_ttlv_open(writing->writer, tag);

    if (shape->write != NULL)
        KYOK_TRY(shape->write(writing, tag, source));
    else
        KYOK_TRY(kyok_kmip_write_fields(writing, tag, shape, source));
    kyok_ttlv_close(writing->writer, start);
    return KYOK_OK;
}

KYOK_KMIP_INLINE enum kyok_status kyok_kmip_write_value(struct kyok_kmip_writing *writing,
                                                        const struct kyok_kmip_field *field,
                                                        const void *source)
{
    struct kyok_ttlv_writer *writer = writing->writer;
    uint32_t tag = field->tag;
    const struct kyok_kmip_integer *integer = source;
    const struct kyok_kmip_long *large = source;
    const struct kyok_bytes *bytes = source;

    switch ((enum kyok_kmip_kind)field->kind) {
    case KYOK_KMIP_KIND_INT:
        return kyok_ttlv_put_small(writer, tag, KYOK_TTLV_INTEGER, kyok_kmip_word_at(source)),
               KYOK_OK;
    case KYOK_KMIP_KIND_INTEGER:
        return kyok_ttlv_put_small(writer, tag, KYOK_TTLV_INTEGER, (uint32_t)integer->value),
               KYOK_OK;
    case KYOK_KMIP_KIND_INTERVAL:
        return kyok_ttlv_put_small(writer, tag, KYOK_TTLV_INTERVAL, (uint32_t)integer->value),
               KYOK_OK;
    case KYOK_KMIP_KIND_LONG:
        return kyok_ttlv_put_large(writer, tag, KYOK_TTLV_LONG_INTEGER, (uint64_t)large->value),
               KYOK_OK;
    case KYOK_KMIP_KIND_DATE:
        return kyok_ttlv_put_large(writer, tag, KYOK_TTLV_DATE_TIME, (uint64_t)large->value),
               KYOK_OK;
    case KYOK_KMIP_KIND_ENUM:
    case KYOK_KMIP_KIND_RESULT:
        return kyok_ttlv_put_small(writer, tag, KYOK_TTLV_ENUMERATION, kyok_kmip_word_at(source)),
               KYOK_OK;
    case KYOK_KMIP_KIND_BOOLEAN:
        return kyok_ttlv_put_large(writer, tag, KYOK_TTLV_BOOLEAN,
                                   kyok_kmip_word_at(source) == KYOK_KMIP_TRUE),
               KYOK_OK;
    case KYOK_KMIP_KIND_TEXT:
        return kyok_ttlv_put_string(writer, tag, KYOK_TTLV_TEXT_STRING, *bytes), KYOK_OK;
    case KYOK_KMIP_KIND_BYTES:
        return kyok_ttlv_put_string(writer, tag, KYOK_TTLV_BYTE_STRING, *bytes), KYOK_OK;
    case KYOK_KMIP_KIND_BIG:
        return kyok_ttlv_write_big_integer(writer, tag, *bytes), KYOK_OK;
    case KYOK_KMIP_KIND_CONTENT:
        return kyok_ttlv_write_structure(writer, tag, *bytes), KYOK_OK;
    case KYOK_KMIP_KIND_STRUCT:
        return kyok_kmip_write_structure_inline(writing, tag, field->shape, source);
    case KYOK_KMIP_KIND_POINTER:
        return kyok_kmip_write_structure(writing, tag, field->shape, *(const void *const *)source);
    case KYOK_KMIP_KIND_SPECIAL:
        return field->special->write(writing, tag, source);
    }
    return KYOK_FAULT;
}

/* The version is one that kyok writes: a row that all of them have asks for nothing. */
KYOK_KMIP_INLINE bool kyok_kmip_in_version(const struct kyok_kmip_writing *writing,
                                           const struct kyok_kmip_field *field)
{
    return (field->since == KYOK_KMIP_1_0 || writing->version >= field->since) &&
           (field->until == KYOK_KMIP_2_1 || writing->version <= field->until);
}

KYOK_KMIP_INLINE enum kyok_status kyok_kmip_write_structures(struct kyok_kmip_writing *writing,
                                                             const struct kyok_kmip_field *field,
                                                             const struct kyok_kmip_any_list *list)
{
    const char *item = list->items;

    for (size_t i = 0; i < list->count; i++, item += field->shape->size)
        KYOK_TRY(kyok_kmip_write_structure_inline(writing, field->tag, field->shape, item));
    return KYOK_OK;
}

KYOK_KMIP_INLINE enum kyok_status kyok_kmip_write_row(struct kyok_kmip_writing *writing,
                                                      uint32_t tag,
                                                      const struct kyok_kmip_field *field,
                                                      const void *source)
{
    const void *member = (const char *)source + field->offset;

    if (field->need & KYOK_KMIP_ALIAS)
        return KYOK_OK;
    bool present = kyok_kmip_is_present(field, member);
    if (!present && !(field->need & KYOK_KMIP_REQUIRED))
        return KYOK_OK;
    if (!present || !kyok_kmip_in_version(writing, field))
        return kyok_kmip_leave_out(writing, tag, field, present);
    if (field->need & KYOK_KMIP_REPEATED && field->kind == KYOK_KMIP_KIND_STRUCT)
        return kyok_kmip_write_structures(writing, field, member);
    if (field->need & KYOK_KMIP_REPEATED)
        return kyok_kmip_write_list(writing, field, member);
    return kyok_kmip_write_value(writing, field, member);
}

KYOK_KMIP_INLINE enum kyok_status kyok_kmip_write_rows(struct kyok_kmip_writing *writing,
                                                       uint32_t tag,
                                                       const struct kyok_kmip_field *fields,
                                                       unsigned count, const void *source)
{
    KYOK_KMIP_UNROLL
    for (unsigned i = 0; i < count; i++)
        KYOK_TRY(kyok_kmip_write_row(writing, tag, &fields[i], source));
    return KYOK_OK;
}

/* KYOK_KMIP_DEFINE with rows that are read and written by code of their own. storage: static or
 * nothing. */
#define KYOK_KMIP_DEFINE_INLINE(storage, name, structure, fields_)                                 \
    static enum kyok_status fields_##_write(struct kyok_kmip_writing *writing, uint32_t tag,       \
                                            const void *source)                                    \
    {                                                                                              \
        return kyok_kmip_write_rows(writing, tag, fields_, sizeof(fields_) / sizeof((fields_)[0]), \
                                    source);                                                       \
    }                                                                                              \
    static enum kyok_status fields_##_read(struct kyok_kmip_reading *reading,                      \
                                           struct kyok_ttlv_reader *reader, uint32_t tag,          \
                                           void *target)                                           \
    {                                                                                              \
        return kyok_kmip_read_rows(reading, reader, tag, fields_,                                  \
                                   sizeof(fields_) / sizeof((fields_)[0]), target);                \
    }                                                                                              \
    storage const struct kyok_kmip_shape name = {.fields = (fields_),                              \
                                                 .count = sizeof(fields_) / sizeof((fields_)[0]),  \
                                                 .size = sizeof(struct kyok_kmip_##structure),     \
                                                 .read = fields_##_read,                           \
                                                 .write = fields_##_write}

#endif
