/* SPDX-License-Identifier: Apache-2.0 */
/* Writing TTLV: 1.4 specification, section 9.1.1. */
#include "common/kmip/ttlv_inline.h"

struct kyok_ttlv_writer kyok_ttlv_writer(uint8_t *data, size_t capacity)
{
    struct kyok_ttlv_writer writer;
    writer.data = data;
    writer.capacity = capacity;
    writer.size = 0;
    writer.broken = false;
    writer.depth = 0;
    return writer;
}

bool kyok_ttlv_written(const struct kyok_ttlv_writer *writer)
{
    return !writer->broken && writer->depth == 0 && writer->size <= writer->capacity &&
           writer->size <= KYOK_TTLV_SIZE_MAX;
}

void kyok_ttlv_begin(struct kyok_ttlv_writer *writer, uint32_t tag)
{
    size_t start = writer->size;

    if (start > KYOK_TTLV_SIZE_MAX || writer->depth == KYOK_TTLV_DEPTH_MAX) {
        writer->broken = true;
        return;
    }
    writer->open[writer->depth++] = (uint32_t)kyok_ttlv_open(writer, tag);
}

void kyok_ttlv_end(struct kyok_ttlv_writer *writer)
{
    if (writer->depth == 0)
        writer->broken = true;
    else
        kyok_ttlv_close(writer, writer->open[--writer->depth]);
}

void kyok_ttlv_write_integer(struct kyok_ttlv_writer *writer, uint32_t tag, int32_t value)
{
    kyok_ttlv_put_small(writer, tag, KYOK_TTLV_INTEGER, (uint32_t)value);
}

void kyok_ttlv_write_long_integer(struct kyok_ttlv_writer *writer, uint32_t tag, int64_t value)
{
    kyok_ttlv_put_large(writer, tag, KYOK_TTLV_LONG_INTEGER, (uint64_t)value);
}

void kyok_ttlv_write_big_integer(struct kyok_ttlv_writer *writer, uint32_t tag,
                                 struct kyok_bytes value)
{
    size_t extension = value.size == 0 ? 8 : -value.size % 8;
    if (value.size > KYOK_TTLV_SIZE_MAX) {
        writer->broken = true;
        return;
    }
    uint8_t *at = kyok_ttlv_advance(writer, KYOK_TTLV_HEADER_SIZE + extension + value.size);
    if (at == NULL)
        return;
    kyok_ttlv_store_header(at, tag, KYOK_TTLV_BIG_INTEGER, extension + value.size);
    bool negative = value.size > 0 && value.data[0] & 0x80;
    memset(at + KYOK_TTLV_HEADER_SIZE, negative ? 0xFF : 0, extension);
    if (value.size > 0)
        memcpy(at + KYOK_TTLV_HEADER_SIZE + extension, value.data, value.size);
}

void kyok_ttlv_write_enumeration(struct kyok_ttlv_writer *writer, uint32_t tag, uint32_t value)
{
    kyok_ttlv_put_small(writer, tag, KYOK_TTLV_ENUMERATION, value);
}

void kyok_ttlv_write_boolean(struct kyok_ttlv_writer *writer, uint32_t tag, bool value)
{
    kyok_ttlv_put_large(writer, tag, KYOK_TTLV_BOOLEAN, value);
}

void kyok_ttlv_write_text(struct kyok_ttlv_writer *writer, uint32_t tag, struct kyok_bytes value)
{
    kyok_ttlv_put_string(writer, tag, KYOK_TTLV_TEXT_STRING, value);
}

void kyok_ttlv_write_joined_text(struct kyok_ttlv_writer *writer, uint32_t tag,
                                 struct kyok_bytes head, char between, struct kyok_bytes tail)
{
    size_t size = head.size + 1 + tail.size, padding = -size % 8;
    if (head.size > KYOK_TTLV_SIZE_MAX || tail.size > KYOK_TTLV_SIZE_MAX) {
        writer->broken = true;
        return;
    }
    uint8_t *at = kyok_ttlv_advance(writer, KYOK_TTLV_HEADER_SIZE + size + padding);
    if (at == NULL)
        return;
    kyok_ttlv_store_header(at, tag, KYOK_TTLV_TEXT_STRING, size);
    at += KYOK_TTLV_HEADER_SIZE;
    if (head.size > 0)
        memcpy(at, head.data, head.size);
    at[head.size] = (uint8_t)between;
    if (tail.size > 0)
        memcpy(at + head.size + 1, tail.data, tail.size);
    memset(at + size, 0, padding);
}

void kyok_ttlv_write_bytes(struct kyok_ttlv_writer *writer, uint32_t tag, struct kyok_bytes value)
{
    kyok_ttlv_put_string(writer, tag, KYOK_TTLV_BYTE_STRING, value);
}

void kyok_ttlv_write_date_time(struct kyok_ttlv_writer *writer, uint32_t tag, int64_t value)
{
    kyok_ttlv_put_large(writer, tag, KYOK_TTLV_DATE_TIME, (uint64_t)value);
}

void kyok_ttlv_write_date_time_extended(struct kyok_ttlv_writer *writer, uint32_t tag,
                                        int64_t value)
{
    kyok_ttlv_put_large(writer, tag, KYOK_TTLV_DATE_TIME_EXTENDED, (uint64_t)value);
}

void kyok_ttlv_write_interval(struct kyok_ttlv_writer *writer, uint32_t tag, uint32_t value)
{
    kyok_ttlv_put_small(writer, tag, KYOK_TTLV_INTERVAL, value);
}

void kyok_ttlv_write_structure(struct kyok_ttlv_writer *writer, uint32_t tag,
                               struct kyok_bytes content)
{
    if (content.size % 8 != 0)
        writer->broken = true;
    else
        kyok_ttlv_put_string(writer, tag, KYOK_TTLV_STRUCTURE, content);
}

void kyok_ttlv_write_item(struct kyok_ttlv_writer *writer, const struct kyok_ttlv_item *item)
{
    kyok_ttlv_put_string(writer, item->tag, item->type, item->value);
}
