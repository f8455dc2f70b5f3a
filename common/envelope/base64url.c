/* SPDX-License-Identifier: Apache-2.0 */
#include "common/envelope/base64url.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

bool kyok_base64url_append(struct kyok_buffer *text, struct kyok_bytes bytes)
{
    size_t length = bytes.size / 3 * 4 + (bytes.size % 3 ? bytes.size % 3 + 1 : 0);
    uint8_t *room = kyok_buffer_reserve(text, length);

    if (room == NULL)
        return false;
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        uint32_t group = (uint32_t)bytes.data[i] << 16;

        if (left > 1)
            group |= (uint32_t)bytes.data[i + 1] << 8;
        if (left > 2)
            group |= bytes.data[i + 2];
        for (size_t digit = 0; digit < (left > 2 ? 4 : left + 1); digit++)
            *room++ = (uint8_t)alphabet[group >> (18 - 6 * digit) & 63];
    }
    text->size += length;
    return true;
}

static int digit_value(uint8_t digit)
{
    if (digit >= 'A' && digit <= 'Z')
        return digit - 'A';
    if (digit >= 'a' && digit <= 'z')
        return digit - 'a' + 26;
    if (digit >= '0' && digit <= '9')
        return digit - '0' + 52;
    return digit == '-' ? 62 : digit == '_' ? 63 : -1;
}

/* Decodes one group of 2 to 4 digits; the bits beyond its last byte must be zero. */
static bool decode_group(const uint8_t *digits, size_t count, uint8_t *data)
{
    uint32_t group = 0;

    for (size_t i = 0; i < count; i++) {
        int value = digit_value(digits[i]);

        if (value < 0)
            return false;
        group |= (uint32_t)value << (18 - 6 * i);
    }
    for (size_t i = 0; i < count - 1; i++)
        data[i] = (uint8_t)(group >> (16 - 8 * i));
    return (group & ((1u << (8 * (4 - count))) - 1)) == 0;
}

static bool decode(struct kyok_bytes text, uint8_t *data)
{
    for (size_t i = 0; i < text.size; i += 4) {
        size_t count = text.size - i < 4 ? text.size - i : 4;

        if (count == 1 || !decode_group(text.data + i, count, data))
            return false;
        data += count - 1;
    }
    return true;
}

static size_t decoded_size(size_t length)
{
    return length / 4 * 3 + (length % 4 ? length % 4 - 1 : 0);
}

bool kyok_base64url_decode(struct kyok_bytes text, struct kyok_buffer *bytes)
{
    size_t size = decoded_size(text.size);
    uint8_t *room = kyok_buffer_reserve(bytes, size);

    if (room == NULL || !decode(text, room))
        return false;
    bytes->size += size;
    return true;
}

bool kyok_base64url_decode_exact(struct kyok_bytes text, uint8_t *data, size_t size)
{
    return text.size % 4 != 1 && decoded_size(text.size) == size && decode(text, data);
}
