/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The primitives of ttlv.h as inline functions, for the loops over a message's fields: a message
 * has many small items, and calls would cost more than the items. Private to this folder; everyone
 * else uses ttlv.h, whose functions are these.
 */
#ifndef KYOK_KMIP_TTLV_INLINE_H
#define KYOK_KMIP_TTLV_INLINE_H

#include "common/kmip/ttlv.h"

#include <endian.h>
#include <string.h>

static inline uint64_t kyok_ttlv_load64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return be64toh(value);
}

static inline uint32_t kyok_ttlv_load32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return be32toh(value);
}

static inline void kyok_ttlv_store64(uint8_t *at, uint64_t value)
{
    value = htobe64(value);
    memcpy(at, &value, sizeof(value));
}

static inline void kyok_ttlv_store32(uint8_t *at, uint32_t value)
{
    value = htobe32(value);
    memcpy(at, &value, sizeof(value));
}

/* --- reading --- */

/* Section 9.1.1.3: the length of each type, with the bits that may differ: none for those of a
 * fixed length, multiples of 8 for structures and Big Integers, any for strings. */
struct kyok_ttlv_length {
    uint32_t exact, any;
};
extern const struct kyok_ttlv_length kyok_ttlv_lengths[KYOK_TTLV_DATE_TIME_EXTENDED + 1];

bool kyok_ttlv_is_utf8(struct kyok_bytes text);

/* The rules that the length alone does not settle. */
static inline enum kyok_ttlv_result kyok_ttlv_check_value(const struct kyok_ttlv_item *item)
{
    switch (item->type) {
    case KYOK_TTLV_BOOLEAN:
        return kyok_ttlv_load64(item->value.data) > 1 ? KYOK_TTLV_BAD_BOOLEAN : KYOK_TTLV_ITEM;
    case KYOK_TTLV_TEXT_STRING:
        return kyok_ttlv_is_utf8(item->value) ? KYOK_TTLV_ITEM : KYOK_TTLV_BAD_TEXT;
    case KYOK_TTLV_BIG_INTEGER:
        return item->value.size == 0 ? KYOK_TTLV_BAD_LENGTH : KYOK_TTLV_ITEM;
    default:
        return KYOK_TTLV_ITEM;
    }
}

/* The one place that reads untrusted bytes: bounds are checked here, before use, in 64 bits. */
static inline enum kyok_ttlv_result kyok_ttlv_next_inline(struct kyok_ttlv_reader *reader,
                                                          struct kyok_ttlv_item *item)
{
    const uint8_t *at = reader->cursor.at;
    uint64_t left = (uint64_t)(reader->cursor.end - at);

    if (left < KYOK_TTLV_HEADER_SIZE)
        return left == 0 ? KYOK_TTLV_END : KYOK_TTLV_TRUNCATED;
    uint64_t header = kyok_ttlv_load64(at);
    uint32_t tag = (uint32_t)(header >> 40), length = (uint32_t)header;
    unsigned type = (unsigned)(header >> 32) & 0xFF;
    uint64_t padded = ((uint64_t)length + 7) & ~UINT64_C(7);
    if (tag >> 16 != 0x42 && tag >> 16 != 0x54)
        return KYOK_TTLV_BAD_TAG;
    if (type < KYOK_TTLV_STRUCTURE || type > KYOK_TTLV_DATE_TIME_EXTENDED)
        return KYOK_TTLV_BAD_TYPE;
    if ((length & ~kyok_ttlv_lengths[type].any) != kyok_ttlv_lengths[type].exact)
        return KYOK_TTLV_BAD_LENGTH;
    if (padded > left - KYOK_TTLV_HEADER_SIZE)
        return KYOK_TTLV_TRUNCATED;
    at += KYOK_TTLV_HEADER_SIZE;
    unsigned padding = (unsigned)(padded - length);
    if (padding != 0 && kyok_ttlv_load64(at + padded - 8) & ((UINT64_C(1) << 8 * padding) - 1))
        return KYOK_TTLV_BAD_PADDING;
    item->tag = tag;
    item->type = (enum kyok_ttlv_type)type;
    item->value = kyok_bytes(at, length);
    enum kyok_ttlv_result result = kyok_ttlv_check_value(item);
    if (result == KYOK_TTLV_ITEM)
        reader->cursor.at = at + padded;
    return result;
}

/* --- writing --- */

/* Room for size bytes of the message, NULL when they are only counted. Each size is at most
 * KYOK_TTLV_SIZE_MAX, so that a sum of them cannot wrap; structures check the sum. */
static inline uint8_t *kyok_ttlv_advance(struct kyok_ttlv_writer *writer, size_t size)
{
    size_t at = writer->size;
    writer->size = at + size;
    return writer->size <= writer->capacity ? writer->data + at : NULL;
}

static inline void kyok_ttlv_store_header(uint8_t *at, uint32_t tag, enum kyok_ttlv_type type,
                                          size_t length)
{
    kyok_ttlv_store64(at, (uint64_t)tag << 40 | (uint64_t)type << 32 | (uint32_t)length);
}

/* Types of 8 bytes; those of 4 stand left of their padding. */
static inline void kyok_ttlv_put_large(struct kyok_ttlv_writer *writer, uint32_t tag,
                                       enum kyok_ttlv_type type, uint64_t value)
{
    uint8_t *at = kyok_ttlv_advance(writer, 16);
    if (at == NULL)
        return;
    kyok_ttlv_store_header(at, tag, type, 8);
    kyok_ttlv_store64(at + 8, value);
}

static inline void kyok_ttlv_put_small(struct kyok_ttlv_writer *writer, uint32_t tag,
                                       enum kyok_ttlv_type type, uint32_t value)
{
    uint8_t *at = kyok_ttlv_advance(writer, 16);
    if (at == NULL)
        return;
    kyok_ttlv_store_header(at, tag, type, 4);
    kyok_ttlv_store64(at + 8, (uint64_t)value << 32);
}

/* Identifiers and keys are short: words, then bytes, cost less than a call. */
static inline void kyok_ttlv_copy(uint8_t *to, const uint8_t *from, size_t size)
{
    if (size > 64) {
        memcpy(to, from, size);
        return;
    }
    for (; size >= 8; size -= 8, to += 8, from += 8)
        memcpy(to, from, 8);
    for (; size > 0; size--)
        *to++ = *from++;
}

static inline void kyok_ttlv_put_string(struct kyok_ttlv_writer *writer, uint32_t tag,
                                        enum kyok_ttlv_type type, struct kyok_bytes value)
{
    size_t padded = (value.size + 7) & ~(size_t)7;
    if (value.size > KYOK_TTLV_SIZE_MAX) {
        writer->broken = true;
        return;
    }
    uint8_t *at = kyok_ttlv_advance(writer, KYOK_TTLV_HEADER_SIZE + padded);
    if (at == NULL)
        return;
    kyok_ttlv_store_header(at, tag, type, value.size);
    if (value.size == 0)
        return;
    at += KYOK_TTLV_HEADER_SIZE;
    kyok_ttlv_store64(at + padded - 8, 0); /* the padding, and what the value covers again */
    kyok_ttlv_copy(at, value.data, value.size);
}

/* A structure's header; its place, for kyok_ttlv_close(). Code that nests as its functions do needs
 * no record of what is open. */
static inline size_t kyok_ttlv_open(struct kyok_ttlv_writer *writer, uint32_t tag)
{
    size_t start = writer->size;
    uint8_t *at = kyok_ttlv_advance(writer, KYOK_TTLV_HEADER_SIZE);

    if (at != NULL)
        kyok_ttlv_store_header(at, tag, KYOK_TTLV_STRUCTURE, 0);
    return start;
}

static inline void kyok_ttlv_close(struct kyok_ttlv_writer *writer, size_t start)
{
    if (writer->size > KYOK_TTLV_SIZE_MAX)
        writer->broken = true;
    else if (writer->size <= writer->capacity)
        kyok_ttlv_store32(writer->data + start + 4,
                          (uint32_t)(writer->size - start - KYOK_TTLV_HEADER_SIZE));
}

#endif
