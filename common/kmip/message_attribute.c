/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes in messages. KMIP 1.x (1.4 specification, section 2.1.1): an Attribute has a name, an
 * index and a value. KMIP 2.x (section 2.1): an attribute is an item under its own tag, a vendor's
 * is an Attribute of vendor, name and value, and a reference is a tag or a vendor and name.
 */
#include "common/kmip/message_attribute.h"

#include <stdio.h>
#include <string.h>

/* --- values --- */

static enum kyok_status read_known_structure(struct kyok_kmip_reading *reading,
                                             const struct kyok_ttlv_reader *reader,
                                             const struct kyok_ttlv_item *item,
                                             struct kyok_kmip_attribute *attribute)
{
    const struct kyok_kmip_shape *shape = kyok_kmip_attribute_types[attribute->name.id].shape;

    if (shape != NULL)
        return kyok_kmip_read_pointer(reading, reader, item, shape, &attribute->value.structure);
    attribute->raw = true;
    return kyok_kmip_read_content(reading, reader, item, &attribute->value.bytes);
}

/* A known attribute has its own type; any other may have any. */
static enum kyok_status read_value(struct kyok_kmip_reading *reading,
                                   const struct kyok_ttlv_reader *reader,
                                   const struct kyok_ttlv_item *item,
                                   struct kyok_kmip_attribute *attribute)
{
    if (attribute->name.id != KYOK_KMIP_ATTRIBUTE_OTHER)
        KYOK_TRY(
            kyok_kmip_expect(reading, item, kyok_kmip_attribute_types[attribute->name.id].type));
    attribute->type = item->type;
    switch (item->type) {
    case KYOK_TTLV_STRUCTURE:
        return read_known_structure(reading, reader, item, attribute);
    case KYOK_TTLV_INTEGER:
        attribute->value.integer = kyok_ttlv_integer(item);
        return KYOK_OK;
    case KYOK_TTLV_LONG_INTEGER:
    case KYOK_TTLV_DATE_TIME:
    case KYOK_TTLV_DATE_TIME_EXTENDED:
        attribute->value.long_integer = kyok_ttlv_long_integer(item);
        return KYOK_OK;
    case KYOK_TTLV_ENUMERATION:
    case KYOK_TTLV_INTERVAL:
        attribute->value.enumeration = kyok_ttlv_enumeration(item);
        return KYOK_OK;
    case KYOK_TTLV_BOOLEAN:
        attribute->value.boolean = kyok_ttlv_boolean(item);
        return KYOK_OK;
    case KYOK_TTLV_TEXT_STRING:
    case KYOK_TTLV_BYTE_STRING:
    case KYOK_TTLV_BIG_INTEGER:
        attribute->value.bytes = item->value;
        return KYOK_OK;
    }
    return KYOK_FAULT;
}

static enum kyok_status lacks_value(struct kyok_kmip_writing *writing,
                                    const struct kyok_kmip_attribute *attribute)
{
    return kyok_fail(writing->err, KYOK_INVALID, NULL, "the attribute %s has no value",
                     kyok_kmip_attribute_text(attribute->name.id));
}

static enum kyok_status write_structure_value(struct kyok_kmip_writing *writing, uint32_t tag,
                                              const struct kyok_kmip_attribute *attribute)
{
    const struct kyok_kmip_shape *shape = kyok_kmip_attribute_types[attribute->name.id].shape;

    if (attribute->raw || shape == NULL)
        return kyok_ttlv_write_structure(writing->writer, tag, attribute->value.bytes), KYOK_OK;
    if (attribute->value.structure == NULL)
        return lacks_value(writing, attribute);
    return kyok_kmip_write_structure(writing, tag, shape, attribute->value.structure);
}

static enum kyok_status write_value(struct kyok_kmip_writing *writing, uint32_t tag,
                                    const struct kyok_kmip_attribute *attribute)
{
    struct kyok_ttlv_writer *writer = writing->writer;

    switch (attribute->type) {
    case KYOK_TTLV_STRUCTURE:
        return write_structure_value(writing, tag, attribute);
    case KYOK_TTLV_INTEGER:
        return kyok_ttlv_write_integer(writer, tag, attribute->value.integer), KYOK_OK;
    case KYOK_TTLV_LONG_INTEGER:
        return kyok_ttlv_write_long_integer(writer, tag, attribute->value.long_integer), KYOK_OK;
    case KYOK_TTLV_DATE_TIME:
        return kyok_ttlv_write_date_time(writer, tag, attribute->value.date_time), KYOK_OK;
    case KYOK_TTLV_DATE_TIME_EXTENDED:
        return kyok_ttlv_write_date_time_extended(writer, tag, attribute->value.date_time), KYOK_OK;
    case KYOK_TTLV_ENUMERATION:
        return kyok_ttlv_write_enumeration(writer, tag, attribute->value.enumeration), KYOK_OK;
    case KYOK_TTLV_INTERVAL:
        return kyok_ttlv_write_interval(writer, tag, attribute->value.interval), KYOK_OK;
    case KYOK_TTLV_BOOLEAN:
        return kyok_ttlv_write_boolean(writer, tag, attribute->value.boolean), KYOK_OK;
    case KYOK_TTLV_TEXT_STRING:
        return kyok_ttlv_write_text(writer, tag, attribute->value.bytes), KYOK_OK;
    case KYOK_TTLV_BYTE_STRING:
        return kyok_ttlv_write_bytes(writer, tag, attribute->value.bytes), KYOK_OK;
    case KYOK_TTLV_BIG_INTEGER:
        return kyok_ttlv_write_big_integer(writer, tag, attribute->value.bytes), KYOK_OK;
    }
    return lacks_value(writing, attribute);
}

static int shown(struct kyok_bytes text)
{
    return text.size < 48 ? (int)text.size : 48;
}

/* "attribute Link" for errors; names that are not the list's are the caller's own. */
static enum kyok_status lacks_attribute(struct kyok_kmip_writing *writing,
                                        const struct kyok_kmip_attribute_name *name)
{
    char what[160];

    if (name->id != KYOK_KMIP_ATTRIBUTE_OTHER)
        snprintf(what, sizeof(what), "attribute %s", kyok_kmip_attribute_text(name->id));
    else
        snprintf(what, sizeof(what), "form for the attribute %.*s %.*s (tag %06lX)",
                 shown(name->vendor), (const char *)name->vendor.data, shown(name->name),
                 (const char *)name->name.data, (unsigned long)name->tag);
    return kyok_kmip_not_in_version(writing, what);
}

static bool in_version(const struct kyok_kmip_writing *writing, enum kyok_kmip_attribute_id id)
{
    const struct kyok_kmip_attribute_type *type = &kyok_kmip_attribute_types[id];
    return writing->version >= type->since && writing->version <= type->until;
}

/* --- 1.x --- */

static enum kyok_status write_name(struct kyok_kmip_writing *writing,
                                   const struct kyok_kmip_attribute_name *name)
{
    struct kyok_ttlv_writer *writer = writing->writer;
    const struct kyok_kmip_attribute_type *type = &kyok_kmip_attribute_types[name->id];

    if (name->id != KYOK_KMIP_ATTRIBUTE_OTHER && in_version(writing, name->id))
        return kyok_ttlv_write_text(writer, KYOK_KMIP_TAG_ATTRIBUTE_NAME,
                                    kyok_bytes(type->name, type->name_size)),
               KYOK_OK;
    if (name->id != KYOK_KMIP_ATTRIBUTE_OTHER || name->name.data == NULL)
        return lacks_attribute(writing, name);
    if (name->vendor.size == 0)
        return kyok_ttlv_write_text(writer, KYOK_KMIP_TAG_ATTRIBUTE_NAME, name->name), KYOK_OK;
    if (name->vendor.size != 1 || (name->vendor.data[0] != 'x' && name->vendor.data[0] != 'y'))
        return lacks_attribute(writing, name);
    kyok_ttlv_write_joined_text(writer, KYOK_KMIP_TAG_ATTRIBUTE_NAME, name->vendor, '-',
                                name->name);
    return KYOK_OK;
}

static enum kyok_status read_name(struct kyok_kmip_reading *reading,
                                  const struct kyok_ttlv_reader *reader,
                                  const struct kyok_ttlv_item *item, void *target)
{
    (void)reader;
    KYOK_TRY(kyok_kmip_expect(reading, item, KYOK_TTLV_TEXT_STRING));
    *(struct kyok_kmip_attribute_name *)target = kyok_kmip_attribute_name(item->value);
    return KYOK_OK;
}

static bool name_present(const void *source)
{
    const struct kyok_kmip_attribute_name *name = source;
    return name->id != KYOK_KMIP_ATTRIBUTE_OTHER || name->tag != 0 || name->name.data != NULL;
}

static enum kyok_status write_name_row(struct kyok_kmip_writing *writing, uint32_t tag,
                                       const void *source)
{
    (void)tag;
    return write_name(writing, source);
}

const struct kyok_kmip_special kyok_kmip_attribute_name_special = {
    .read = read_name,
    .present = name_present,
    .write = write_name_row,
    .size = sizeof(struct kyok_kmip_attribute_name),
};

/* The parts of an Attribute, in whichever order they come: the value needs the name. */
struct parts {
    struct kyok_ttlv_item name, index, value;
};

static enum kyok_status read_parts(struct kyok_kmip_reading *reading,
                                   struct kyok_ttlv_reader *reader, struct parts *parts)
{
    for (;;) {
        struct kyok_ttlv_item item, *part;
        bool more;
        KYOK_TRY(kyok_kmip_next(reading, reader, &item, &more));
        if (!more)
            break;
        part = item.tag == KYOK_KMIP_TAG_ATTRIBUTE_NAME    ? &parts->name
               : item.tag == KYOK_KMIP_TAG_ATTRIBUTE_INDEX ? &parts->index
               : item.tag == KYOK_KMIP_TAG_ATTRIBUTE_VALUE ? &parts->value
                                                           : NULL;
        if (part == NULL || part->tag != 0)
            return kyok_kmip_malformed(reading, item.value.data, item.tag,
                                       "an Attribute has a name, an index and a value, once");
        *part = item;
    }
    if (parts->name.tag == 0)
        return kyok_kmip_malformed(reading, reader->cursor.at, KYOK_KMIP_TAG_ATTRIBUTE,
                                   "AttributeName is missing");
    if (parts->value.tag == 0) /* only Notify may leave it out, and nobody here reads that */
        return kyok_kmip_malformed(reading, reader->cursor.at, KYOK_KMIP_TAG_ATTRIBUTE,
                                   "AttributeValue is missing");
    return KYOK_OK;
}

static enum kyok_status read_attribute(struct kyok_kmip_reading *reading,
                                       struct kyok_ttlv_reader *reader, uint32_t tag, void *target)
{
    struct kyok_kmip_attribute *attribute = target;
    struct parts parts = {0};

    (void)tag;
    KYOK_TRY(read_parts(reading, reader, &parts));
    KYOK_TRY(read_name(reading, reader, &parts.name, &attribute->name));
    if (parts.index.tag != 0) {
        KYOK_TRY(kyok_kmip_expect(reading, &parts.index, KYOK_TTLV_INTEGER));
        attribute->index = kyok_kmip_integer(kyok_ttlv_integer(&parts.index));
    }
    return read_value(reading, reader, &parts.value, attribute);
}

static enum kyok_status write_attribute(struct kyok_kmip_writing *writing, uint32_t tag,
                                        const void *source)
{
    const struct kyok_kmip_attribute *attribute = source;

    (void)tag;
    KYOK_TRY(write_name(writing, &attribute->name));
    if (attribute->index.set)
        kyok_ttlv_write_integer(writing->writer, KYOK_KMIP_TAG_ATTRIBUTE_INDEX,
                                attribute->index.value);
    return write_value(writing, KYOK_KMIP_TAG_ATTRIBUTE_VALUE, attribute);
}

const struct kyok_kmip_shape kyok_kmip_attribute_shape = {
    .size = sizeof(struct kyok_kmip_attribute), .read = read_attribute, .write = write_attribute};

/* --- 2.x --- */

static const struct kyok_kmip_field vendor_fields[] = {
    KYOK_KMIP_FIELD(attribute_name, REQUIRED, TEXT, VENDOR_IDENTIFICATION, vendor, 2_0),
    KYOK_KMIP_FIELD(attribute_name, REQUIRED, TEXT, ATTRIBUTE_NAME, name, 2_0),
};
static KYOK_KMIP_DEFINE(vendor_shape, attribute_name, vendor_fields);

/* The value is read apart, since the shape of vendor and name skips it. */
static enum kyok_status read_vendor_attribute(struct kyok_kmip_reading *reading,
                                              const struct kyok_ttlv_reader *reader,
                                              const struct kyok_ttlv_item *item,
                                              struct kyok_kmip_attribute *attribute)
{
    struct kyok_ttlv_reader inner;
    struct kyok_ttlv_item part;
    bool more = true;

    KYOK_TRY(kyok_kmip_read_structure(reading, reader, item, &vendor_shape, &attribute->name));
    KYOK_TRY(kyok_kmip_enter(reading, reader, item, &inner));
    while (more) {
        KYOK_TRY(kyok_kmip_next(reading, &inner, &part, &more));
        if (!more || part.tag != KYOK_KMIP_TAG_ATTRIBUTE_VALUE)
            continue;
        if (attribute->type != 0)
            return kyok_kmip_malformed(reading, part.value.data, part.tag, "it is there twice");
        KYOK_TRY(read_value(reading, &inner, &part, attribute));
    }
    if (attribute->type == 0)
        return kyok_kmip_malformed(reading, item->value.data, item->tag,
                                   "AttributeValue is missing");
    return KYOK_OK;
}

static enum kyok_status read_one_2(struct kyok_kmip_reading *reading,
                                   const struct kyok_ttlv_reader *reader,
                                   const struct kyok_ttlv_item *item,
                                   struct kyok_kmip_attribute *attribute)
{
    if (item->tag == KYOK_KMIP_TAG_ATTRIBUTE)
        return read_vendor_attribute(reading, reader, item, attribute);
    attribute->name = kyok_kmip_attribute_by_tag(item->tag);
    return read_value(reading, reader, item, attribute);
}

static enum kyok_status write_vendor_attribute(struct kyok_kmip_writing *writing,
                                               const struct kyok_kmip_attribute *attribute)
{
    kyok_ttlv_begin(writing->writer, KYOK_KMIP_TAG_ATTRIBUTE);
    KYOK_TRY(
        kyok_kmip_write_fields(writing, KYOK_KMIP_TAG_ATTRIBUTE, &vendor_shape, &attribute->name));
    KYOK_TRY(write_value(writing, KYOK_KMIP_TAG_ATTRIBUTE_VALUE, attribute));
    kyok_ttlv_end(writing->writer);
    return KYOK_OK;
}

static enum kyok_status write_one_2(struct kyok_kmip_writing *writing,
                                    const struct kyok_kmip_attribute *attribute)
{
    const struct kyok_kmip_attribute_name *name = &attribute->name;

    if (attribute->index.set && attribute->index.value != 0)
        return kyok_kmip_not_in_version(writing, "attribute index");
    if (name->id != KYOK_KMIP_ATTRIBUTE_OTHER && in_version(writing, name->id))
        return write_value(writing, kyok_kmip_attribute_tag(name->id), attribute);
    if (name->id == KYOK_KMIP_ATTRIBUTE_OTHER && name->tag != 0)
        return write_value(writing, name->tag, attribute);
    if (name->vendor.size == 0)
        return lacks_attribute(writing, name);
    return write_vendor_attribute(writing, attribute);
}

/* All that a structure holds, as one array. */
static enum kyok_status read_attributes_2(struct kyok_kmip_reading *reading,
                                          struct kyok_ttlv_reader *reader, uint32_t tag,
                                          void *target)
{
    kyok_kmip_attributes *attributes = target;
    struct kyok_ttlv_reader rest = *reader;
    struct kyok_ttlv_item item;
    size_t count = 0;
    bool more = true;

    (void)tag;
    while (kyok_ttlv_next(&rest, &item) == KYOK_TTLV_ITEM)
        count++;
    struct kyok_kmip_attribute *items =
        kyok_kmip_take(reading, count > 0 ? count : 1, sizeof(*items));
    if (items == NULL)
        return reading->err->status;
    attributes->items = items;
    for (;;) {
        KYOK_TRY(kyok_kmip_next(reading, reader, &item, &more));
        if (!more)
            return KYOK_OK;
        KYOK_TRY(read_one_2(reading, reader, &item, &items[attributes->count++]));
    }
}

static enum kyok_status write_attributes_2(struct kyok_kmip_writing *writing, uint32_t tag,
                                           const void *source)
{
    const kyok_kmip_attributes *attributes = source;

    (void)tag;
    for (size_t i = 0; i < attributes->count; i++)
        KYOK_TRY(write_one_2(writing, &attributes->items[i]));
    return KYOK_OK;
}

const struct kyok_kmip_shape kyok_kmip_attributes_2_shape = {
    .size = sizeof(kyok_kmip_attributes), .read = read_attributes_2, .write = write_attributes_2};

/* The same where it may be left out: absent when there are none. */
static enum kyok_status read_optional_2(struct kyok_kmip_reading *reading,
                                        const struct kyok_ttlv_reader *reader,
                                        const struct kyok_ttlv_item *item, void *target)
{
    return kyok_kmip_read_structure(reading, reader, item, &kyok_kmip_attributes_2_shape, target);
}

static bool attributes_present(const void *source)
{
    return ((const kyok_kmip_attributes *)source)->count > 0;
}

static enum kyok_status write_optional_2(struct kyok_kmip_writing *writing, uint32_t tag,
                                         const void *source)
{
    return kyok_kmip_write_structure(writing, tag, &kyok_kmip_attributes_2_shape, source);
}

const struct kyok_kmip_special kyok_kmip_optional_attributes_2_special = {
    .read = read_optional_2, .present = attributes_present, .write = write_optional_2};

/* Current Attribute and New Attribute hold exactly one. */
static enum kyok_status read_single_2(struct kyok_kmip_reading *reading,
                                      struct kyok_ttlv_reader *reader, uint32_t tag, void *target)
{
    struct kyok_ttlv_item item;
    bool more;

    KYOK_TRY(kyok_kmip_next(reading, reader, &item, &more));
    if (more) {
        KYOK_TRY(read_one_2(reading, reader, &item, target));
        KYOK_TRY(kyok_kmip_next(reading, reader, &item, &more));
        if (!more)
            return KYOK_OK;
    }
    return kyok_kmip_malformed(reading, reader->cursor.at, tag, "it does not hold one attribute");
}

static enum kyok_status write_single_2(struct kyok_kmip_writing *writing, uint32_t tag,
                                       const void *source)
{
    (void)tag;
    return write_one_2(writing, source);
}

const struct kyok_kmip_shape kyok_kmip_attribute_2_shape = {
    .size = sizeof(struct kyok_kmip_attribute), .read = read_single_2, .write = write_single_2};

/* Attribute Reference: a tag as enumeration, or vendor and name. */
static enum kyok_status read_reference(struct kyok_kmip_reading *reading,
                                       const struct kyok_ttlv_reader *reader,
                                       const struct kyok_ttlv_item *item, void *target)
{
    struct kyok_kmip_attribute_name *name = target;

    if (item->type != KYOK_TTLV_ENUMERATION)
        return kyok_kmip_read_structure(reading, reader, item, &vendor_shape, name);
    *name = kyok_kmip_attribute_by_tag(kyok_ttlv_enumeration(item));
    return KYOK_OK;
}

static enum kyok_status write_reference(struct kyok_kmip_writing *writing, uint32_t tag,
                                        const void *source)
{
    const struct kyok_kmip_attribute_name *name = source;
    uint32_t own =
        name->id != KYOK_KMIP_ATTRIBUTE_OTHER ? kyok_kmip_attribute_tag(name->id) : name->tag;

    if (name->id != KYOK_KMIP_ATTRIBUTE_OTHER && !in_version(writing, name->id))
        return lacks_attribute(writing, name);
    if (own != 0)
        return kyok_ttlv_write_enumeration(writing->writer, tag, own), KYOK_OK;
    if (name->vendor.size == 0)
        return lacks_attribute(writing, name);
    return kyok_kmip_write_structure(writing, tag, &vendor_shape, name);
}

const struct kyok_kmip_special kyok_kmip_attribute_reference_special = {
    .read = read_reference,
    .present = name_present,
    .write = write_reference,
    .size = sizeof(struct kyok_kmip_attribute_name),
};

/* --- templates --- */

/* 2.1.8 Template-Attribute */
static const struct kyok_kmip_field template_fields[] = {
    KYOK_KMIP_NESTED(template, REPEATED, STRUCT, NAME, names, &kyok_kmip_name_shape, 1_0),
    KYOK_KMIP_NESTED(template, REPEATED, STRUCT, ATTRIBUTE, attributes, &kyok_kmip_attribute_shape,
                     1_0),
};
KYOK_KMIP_DEFINE(kyok_kmip_template_shape, template, template_fields);

static enum kyok_status read_template_2(struct kyok_kmip_reading *reading,
                                        struct kyok_ttlv_reader *reader, uint32_t tag, void *target)
{
    return read_attributes_2(reading, reader, tag,
                             &((struct kyok_kmip_template *)target)->attributes);
}

static enum kyok_status write_template_2(struct kyok_kmip_writing *writing, uint32_t tag,
                                         const void *source)
{
    const struct kyok_kmip_template *template = source;

    if (template->names.count > 0)
        return kyok_kmip_not_in_version(writing, "templates");
    return write_attributes_2(writing, tag, &template->attributes);
}

const struct kyok_kmip_shape kyok_kmip_template_2_shape = {
    .size = sizeof(struct kyok_kmip_template), .read = read_template_2, .write = write_template_2};
