/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a structure by its shape. */
#include "common/kmip/message_shape.h"

#include <string.h>

struct list {
    const void *items;
    size_t count;
};

enum kyok_status kyok_kmip_not_in_version(struct kyok_kmip_writing *writing, const char *what)
{
    kyok_fail(writing->err, KYOK_UNSUPPORTED, NULL, "KMIP %u.%u has no %s", writing->version >> 8,
              writing->version & 0xFF, what);
    return kyok_remedy(writing->err, "Use a server that speaks a version which has it");
}

static uint32_t word_at(const void *source)
{
    uint32_t value;
    memcpy(&value, source, sizeof(value));
    return value;
}

static bool is_present(const struct kyok_kmip_field *field, const void *source)
{
    if (field->need & KYOK_KMIP_REPEATED)
        return ((const struct list *)source)->count > 0;
    switch ((enum kyok_kmip_kind)field->kind) {
    case KYOK_KMIP_KIND_INTEGER:
    case KYOK_KMIP_KIND_INTERVAL:
        return ((const struct kyok_kmip_integer *)source)->set;
    case KYOK_KMIP_KIND_LONG:
    case KYOK_KMIP_KIND_DATE:
        return ((const struct kyok_kmip_long *)source)->set;
    case KYOK_KMIP_KIND_ENUM:
    case KYOK_KMIP_KIND_BOOLEAN:
        /* Result Status is the one enumeration with a value of 0, and it is required. */
        return field->tag == KYOK_KMIP_TAG_RESULT_STATUS || word_at(source) != 0;
    case KYOK_KMIP_KIND_TEXT:
    case KYOK_KMIP_KIND_BYTES:
    case KYOK_KMIP_KIND_BIG:
    case KYOK_KMIP_KIND_CONTENT:
        return ((const struct kyok_bytes *)source)->data != NULL;
    case KYOK_KMIP_KIND_POINTER:
        return *(const void *const *)source != NULL;
    case KYOK_KMIP_KIND_SPECIAL:
        return field->special->present(source);
    case KYOK_KMIP_KIND_INT:
    case KYOK_KMIP_KIND_STRUCT:
        return true;
    }
    return false;
}

enum kyok_status kyok_kmip_write_structure(struct kyok_kmip_writing *writing, uint32_t tag,
                                           const struct kyok_kmip_shape *shape, const void *source)
{
    kyok_ttlv_begin(writing->writer, tag);
    KYOK_TRY(kyok_kmip_write_fields(writing, tag, shape, source));
    kyok_ttlv_end(writing->writer);
    return KYOK_OK;
}

static enum kyok_status write_value(struct kyok_kmip_writing *writing,
                                    const struct kyok_kmip_field *field, const void *source)
{
    struct kyok_ttlv_writer *writer = writing->writer;
    const struct kyok_kmip_integer *integer = source;
    const struct kyok_kmip_long *large = source;
    const struct kyok_bytes *bytes = source;

    switch ((enum kyok_kmip_kind)field->kind) {
    case KYOK_KMIP_KIND_INT:
        return kyok_ttlv_write_integer(writer, field->tag, (int32_t)word_at(source)), KYOK_OK;
    case KYOK_KMIP_KIND_INTEGER:
        return kyok_ttlv_write_integer(writer, field->tag, integer->value), KYOK_OK;
    case KYOK_KMIP_KIND_INTERVAL:
        return kyok_ttlv_write_interval(writer, field->tag, (uint32_t)integer->value), KYOK_OK;
    case KYOK_KMIP_KIND_LONG:
        return kyok_ttlv_write_long_integer(writer, field->tag, large->value), KYOK_OK;
    case KYOK_KMIP_KIND_DATE:
        return kyok_ttlv_write_date_time(writer, field->tag, large->value), KYOK_OK;
    case KYOK_KMIP_KIND_ENUM:
        return kyok_ttlv_write_enumeration(writer, field->tag, word_at(source)), KYOK_OK;
    case KYOK_KMIP_KIND_BOOLEAN:
        return kyok_ttlv_write_boolean(writer, field->tag, word_at(source) == KYOK_KMIP_TRUE),
               KYOK_OK;
    case KYOK_KMIP_KIND_TEXT:
        return kyok_ttlv_write_text(writer, field->tag, *bytes), KYOK_OK;
    case KYOK_KMIP_KIND_BYTES:
        return kyok_ttlv_write_bytes(writer, field->tag, *bytes), KYOK_OK;
    case KYOK_KMIP_KIND_BIG:
        return kyok_ttlv_write_big_integer(writer, field->tag, *bytes), KYOK_OK;
    case KYOK_KMIP_KIND_CONTENT:
        return kyok_ttlv_write_structure(writer, field->tag, *bytes), KYOK_OK;
    case KYOK_KMIP_KIND_STRUCT:
        return kyok_kmip_write_structure(writing, field->tag, field->shape, source);
    case KYOK_KMIP_KIND_POINTER:
        return kyok_kmip_write_structure(writing, field->tag, field->shape,
                                         *(const void *const *)source);
    case KYOK_KMIP_KIND_SPECIAL:
        return field->special->write(writing, field->tag, source);
    }
    return KYOK_FAULT;
}

static enum kyok_status write_field(struct kyok_kmip_writing *writing,
                                    const struct kyok_kmip_field *field, const void *source)
{
    const struct list *list = source;

    if (!(field->need & KYOK_KMIP_REPEATED))
        return write_value(writing, field, source);
    for (size_t i = 0; i < list->count; i++)
        KYOK_TRY(write_value(writing, field, (const char *)list->items + i * kyok_kmip_element_size(field)));
    return KYOK_OK;
}

static bool in_version(const struct kyok_kmip_writing *writing, const struct kyok_kmip_field *field)
{
    return writing->version >= field->since && writing->version <= field->until;
}

/* The first form of a field that the version has. */
static const struct kyok_kmip_field *form_for(const struct kyok_kmip_writing *writing,
                                              const struct kyok_kmip_field *first,
                                              const struct kyok_kmip_field *end)
{
    for (const struct kyok_kmip_field *field = first; field < end; field++)
        if (in_version(writing, field))
            return field;
    return NULL;
}

/* first to end are the forms of one field. */
static enum kyok_status write_forms(struct kyok_kmip_writing *writing, uint32_t tag,
                                    const struct kyok_kmip_field *first,
                                    const struct kyok_kmip_field *end, const void *source)
{
    const struct kyok_kmip_field *field = form_for(writing, first, end);

    if (!is_present(first, (const char *)source + first->offset)) {
        if (!(first->need & KYOK_KMIP_REQUIRED) || field == NULL)
            return KYOK_OK;
        return kyok_fail(writing->err, KYOK_INVALID, NULL, "A KMIP %s needs a %s",
                         kyok_kmip_tag_name(tag), kyok_kmip_tag_name(field->tag));
    }
    if (field == NULL)
        return kyok_kmip_not_in_version(writing, kyok_kmip_tag_name(first->tag));
    return write_field(writing, field, (const char *)source + field->offset);
}

enum kyok_status kyok_kmip_write_fields(struct kyok_kmip_writing *writing, uint32_t tag,
                                        const struct kyok_kmip_shape *shape, const void *source)
{
    if (shape->write != NULL)
        return shape->write(writing, source);
    const struct kyok_kmip_field *field = shape->fields, *all = field + shape->count;
    while (field < all) {
        const struct kyok_kmip_field *end = field + 1;
        while (end < all && end->need & KYOK_KMIP_OR)
            end++;
        KYOK_TRY(write_forms(writing, tag, field, end, source));
        field = end;
    }
    return KYOK_OK;
}
