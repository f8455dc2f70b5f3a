/* SPDX-License-Identifier: Apache-2.0 */
/* Reading TTLV: 1.4 specification, section 9.1.1. */
#include "common/kmip/tags.h"
#include "common/kmip/ttlv_inline.h"

static const char *const names[] = {
    [KYOK_TTLV_STRUCTURE] = "Structure",
    [KYOK_TTLV_INTEGER] = "Integer",
    [KYOK_TTLV_LONG_INTEGER] = "LongInteger",
    [KYOK_TTLV_BIG_INTEGER] = "BigInteger",
    [KYOK_TTLV_ENUMERATION] = "Enumeration",
    [KYOK_TTLV_BOOLEAN] = "Boolean",
    [KYOK_TTLV_TEXT_STRING] = "TextString",
    [KYOK_TTLV_BYTE_STRING] = "ByteString",
    [KYOK_TTLV_DATE_TIME] = "DateTime",
    [KYOK_TTLV_INTERVAL] = "Interval",
    [KYOK_TTLV_DATE_TIME_EXTENDED] = "DateTimeExtended",
};
#define TYPE_COUNT (sizeof(names) / sizeof(names[0]))

const struct kyok_ttlv_length kyok_ttlv_lengths[] = {
    [KYOK_TTLV_STRUCTURE] = {0, ~UINT32_C(7)},
    [KYOK_TTLV_INTEGER] = {4, 0},
    [KYOK_TTLV_LONG_INTEGER] = {8, 0},
    [KYOK_TTLV_BIG_INTEGER] = {0, ~UINT32_C(7)},
    [KYOK_TTLV_ENUMERATION] = {4, 0},
    [KYOK_TTLV_BOOLEAN] = {8, 0},
    [KYOK_TTLV_TEXT_STRING] = {0, UINT32_MAX},
    [KYOK_TTLV_BYTE_STRING] = {0, UINT32_MAX},
    [KYOK_TTLV_DATE_TIME] = {8, 0},
    [KYOK_TTLV_INTERVAL] = {4, 0},
    [KYOK_TTLV_DATE_TIME_EXTENDED] = {8, 0},
};

const char *kyok_ttlv_type_name(unsigned type)
{
    return type < TYPE_COUNT ? names[type] : NULL;
}

bool kyok_ttlv_type_by_name(const char *name, enum kyok_ttlv_type *type)
{
    for (unsigned i = 1; i < TYPE_COUNT; i++)
        if (strcmp(names[i], name) == 0) {
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

bool kyok_ttlv_is_utf8(struct kyok_bytes text)
{
    size_t i = 0;

    while (text.size - i >= 8 && !(kyok_ttlv_load64(text.data + i) & UINT64_C(0x8080808080808080)))
        i += 8; /* ASCII, as nearly all text is */
    for (; i < text.size; i++) {
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

enum kyok_ttlv_result kyok_ttlv_next(struct kyok_ttlv_reader *reader, struct kyok_ttlv_item *item)
{
    return kyok_ttlv_next_inline(reader, item);
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
    return (int64_t)kyok_ttlv_load64(item->value.data);
}

uint32_t kyok_ttlv_enumeration(const struct kyok_ttlv_item *item)
{
    return kyok_ttlv_load32(item->value.data);
}

bool kyok_ttlv_boolean(const struct kyok_ttlv_item *item)
{
    return kyok_ttlv_load64(item->value.data) == 1;
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
        return kyok_fail(err, KYOK_FAULT, NULL, "what arrived is not a KMIP %s",
                         kyok_kmip_tag_name(root));
    if (max == 0)
        max = KYOK_TTLV_SIZE_MAX;
    if (max < KYOK_TTLV_HEADER_SIZE || length > max - KYOK_TTLV_HEADER_SIZE)
        return kyok_fail(err, KYOK_BUSY, NULL, "a %s of %lu bytes is longer than the limit of %zu",
                         kyok_kmip_tag_name(root), (unsigned long)length, max);
    *size = KYOK_TTLV_HEADER_SIZE + (size_t)length;
    return KYOK_OK;
}
