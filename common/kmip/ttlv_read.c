/* SPDX-License-Identifier: Apache-2.0 */
/* Reading TTLV: 1.4 specification, section 9.1.1. */
#include "common/kmip/tags.h"
#include "common/kmip/ttlv.h"

#include <string.h>

/* Section 9.1.1.3: the length that each type has, or the multiple that it must be. */
static const struct {
    const char *name;
    uint8_t exact, multiple;
} types[] = {
    [KYOK_TTLV_STRUCTURE] = {"Structure", 0, 8},
    [KYOK_TTLV_INTEGER] = {"Integer", 4, 1},
    [KYOK_TTLV_LONG_INTEGER] = {"LongInteger", 8, 1},
    [KYOK_TTLV_BIG_INTEGER] = {"BigInteger", 0, 8},
    [KYOK_TTLV_ENUMERATION] = {"Enumeration", 4, 1},
    [KYOK_TTLV_BOOLEAN] = {"Boolean", 8, 1},
    [KYOK_TTLV_TEXT_STRING] = {"TextString", 0, 1},
    [KYOK_TTLV_BYTE_STRING] = {"ByteString", 0, 1},
    [KYOK_TTLV_DATE_TIME] = {"DateTime", 8, 1},
    [KYOK_TTLV_INTERVAL] = {"Interval", 4, 1},
    [KYOK_TTLV_DATE_TIME_EXTENDED] = {"DateTimeExtended", 8, 1},
};
#define TYPE_COUNT (sizeof(types) / sizeof(types[0]))

const char *kyok_ttlv_type_name(unsigned type)
{
    return type < TYPE_COUNT ? types[type].name : NULL;
}

bool kyok_ttlv_type_by_name(const char *name, enum kyok_ttlv_type *type)
{
    for (unsigned i = 1; i < TYPE_COUNT; i++)
        if (strcmp(types[i].name, name) == 0) {
            *type = (enum kyok_ttlv_type)i;
            return true;
        }
    return false;
}

const char *kyok_ttlv_result_text(enum kyok_ttlv_result result)
{
    static const char *const texts[] = {
        [KYOK_TTLV_ITEM] = "an item",
        [KYOK_TTLV_END] = "the end",
        [KYOK_TTLV_TRUNCATED] = "an item runs past its structure",
        [KYOK_TTLV_BAD_TAG] = "the tag is not KMIP's",
        [KYOK_TTLV_BAD_TYPE] = "there is no such item type",
        [KYOK_TTLV_BAD_LENGTH] = "the length does not fit the type",
        [KYOK_TTLV_BAD_PADDING] = "padding is not zero",
        [KYOK_TTLV_BAD_BOOLEAN] = "a boolean is neither 0 nor 1",
        [KYOK_TTLV_BAD_TEXT] = "text is not UTF-8",
        [KYOK_TTLV_TOO_DEEP] = "structures are nested too deep",
    };
    return texts[result];
}

static uint64_t big_endian(const uint8_t *bytes, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | bytes[i];
    return value;
}

struct kyok_ttlv_reader kyok_ttlv_reader(struct kyok_bytes bytes)
{
    return (struct kyok_ttlv_reader){kyok_cursor(bytes), 0};
}

/* How many bytes follow the first of a UTF-8 sequence (RFC 3629), and the least code point. */
static int utf8_tail(uint8_t first, uint32_t *least)
{
    if (first >= 0xC2 && first <= 0xDF)
        return *least = 0x80, 1;
    if (first >= 0xE0 && first <= 0xEF)
        return *least = 0x800, 2;
    if (first >= 0xF0 && first <= 0xF4)
        return *least = 0x10000, 3;
    return -1;
}

static bool is_utf8(struct kyok_bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint32_t least = 0, point;
        if (text.data[i] < 0x80)
            continue;
        int tail = utf8_tail(text.data[i], &least);
        if (tail < 0 || (size_t)tail >= text.size - i)
            return false;
        point = text.data[i] & (0x3Fu >> tail);
        for (; tail > 0; tail--) {
            if ((text.data[++i] & 0xC0) != 0x80)
                return false;
            point = point << 6 | (text.data[i] & 0x3F);
        }
        if (point < least || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF))
            return false;
    }
    return true;
}

static enum kyok_ttlv_result check_header(uint32_t tag, unsigned type, uint32_t length)
{
    if (tag >> 16 != 0x42 && tag >> 16 != 0x54)
        return KYOK_TTLV_BAD_TAG;
    if (type == 0 || type >= TYPE_COUNT)
        return KYOK_TTLV_BAD_TYPE;
    if (types[type].exact != 0 ? length != types[type].exact : length % types[type].multiple != 0)
        return KYOK_TTLV_BAD_LENGTH;
    if (type == KYOK_TTLV_BIG_INTEGER && length == 0)
        return KYOK_TTLV_BAD_LENGTH;
    return KYOK_TTLV_ITEM;
}

static enum kyok_ttlv_result check_value(const struct kyok_ttlv_item *item, size_t padding)
{
    const uint8_t *end = item->value.data + item->value.size;
    for (size_t i = 0; i < padding; i++)
        if (end[i] != 0)
            return KYOK_TTLV_BAD_PADDING;
    if (item->type == KYOK_TTLV_BOOLEAN && big_endian(item->value.data, 8) > 1)
        return KYOK_TTLV_BAD_BOOLEAN;
    if (item->type == KYOK_TTLV_TEXT_STRING && !is_utf8(item->value))
        return KYOK_TTLV_BAD_TEXT;
    return KYOK_TTLV_ITEM;
}

enum kyok_ttlv_result kyok_ttlv_next(struct kyok_ttlv_reader *reader, struct kyok_ttlv_item *item)
{
    struct kyok_cursor cursor = reader->cursor;
    uint64_t header;
    struct kyok_bytes value;

    if (kyok_cursor_left(&cursor) == 0)
        return KYOK_TTLV_END;
    if (!kyok_cursor_u64(&cursor, &header))
        return KYOK_TTLV_TRUNCATED;
    uint32_t tag = (uint32_t)(header >> 40), length = (uint32_t)header;
    unsigned type = (unsigned)(header >> 32) & 0xFF;
    enum kyok_ttlv_result result = check_header(tag, type, length);
    if (result != KYOK_TTLV_ITEM)
        return result;
    size_t padding = -(size_t)length % 8;
    if (length > kyok_cursor_left(&cursor) || !kyok_cursor_take(&cursor, length + padding, &value))
        return KYOK_TTLV_TRUNCATED;
    *item = (struct kyok_ttlv_item){tag, (enum kyok_ttlv_type)type, kyok_bytes(value.data, length)};
    result = check_value(item, padding);
    if (result == KYOK_TTLV_ITEM)
        reader->cursor = cursor;
    return result;
}

bool kyok_ttlv_enter(const struct kyok_ttlv_reader *outer, const struct kyok_ttlv_item *structure,
                     struct kyok_ttlv_reader *inner)
{
    if (outer->depth >= KYOK_TTLV_DEPTH_MAX)
        return false;
    *inner = (struct kyok_ttlv_reader){kyok_cursor(structure->value), outer->depth + 1};
    return true;
}

enum kyok_ttlv_result kyok_ttlv_check(struct kyok_ttlv_reader reader)
{
    struct kyok_ttlv_item item;
    enum kyok_ttlv_result result;

    while ((result = kyok_ttlv_next(&reader, &item)) == KYOK_TTLV_ITEM) {
        struct kyok_ttlv_reader inner;
        if (item.type != KYOK_TTLV_STRUCTURE)
            continue;
        if (!kyok_ttlv_enter(&reader, &item, &inner))
            return KYOK_TTLV_TOO_DEEP;
        result = kyok_ttlv_check(inner);
        if (result != KYOK_TTLV_END)
            return result;
    }
    return result;
}

int32_t kyok_ttlv_integer(const struct kyok_ttlv_item *item)
{
    return (int32_t)kyok_ttlv_enumeration(item);
}

int64_t kyok_ttlv_long_integer(const struct kyok_ttlv_item *item)
{
    return (int64_t)big_endian(item->value.data, 8);
}

uint32_t kyok_ttlv_enumeration(const struct kyok_ttlv_item *item)
{
    return (uint32_t)big_endian(item->value.data, 4);
}

bool kyok_ttlv_boolean(const struct kyok_ttlv_item *item)
{
    return big_endian(item->value.data, 8) == 1;
}

bool kyok_ttlv_magnitude(struct kyok_bytes big_integer, struct kyok_bytes *magnitude)
{
    *magnitude = kyok_bytes(big_integer.data, 0);
    if (big_integer.size > 0 && big_integer.data[0] & 0x80)
        return false;
    while (big_integer.size > 0 && big_integer.data[0] == 0)
        big_integer = kyok_bytes(big_integer.data + 1, big_integer.size - 1);
    *magnitude = big_integer;
    return true;
}

enum kyok_status kyok_ttlv_frame(struct kyok_bytes received, uint32_t root, size_t max,
                                 size_t *size, struct kyok_error *err)
{
    struct kyok_cursor cursor = kyok_cursor(received);
    uint64_t header;

    *size = KYOK_TTLV_HEADER_SIZE;
    if (!kyok_cursor_u64(&cursor, &header))
        return KYOK_OK;
    uint32_t length = (uint32_t)header;
    if (header >> 32 != (root << 8 | KYOK_TTLV_STRUCTURE) || length % 8 != 0)
        return kyok_fail(err, KYOK_FAULT, NULL, "What arrived is not a KMIP %s",
                         kyok_kmip_tag_name(root));
    if (max == 0)
        max = KYOK_TTLV_SIZE_MAX;
    if (max < KYOK_TTLV_HEADER_SIZE || length > max - KYOK_TTLV_HEADER_SIZE)
        return kyok_fail(err, KYOK_BUSY, NULL, "A %s of %lu bytes is longer than the limit of %zu",
                         kyok_kmip_tag_name(root), (unsigned long)length, max);
    *size = KYOK_TTLV_HEADER_SIZE + (size_t)length;
    return KYOK_OK;
}
