/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/bytes.h"

#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kyok_bytes kyok_bytes_of_text(const char *text)
{
    return kyok_bytes(text, strlen(text));
}

bool kyok_bytes_equal(struct kyok_bytes a, struct kyok_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool kyok_bytes_equal_secret(struct kyok_bytes a, struct kyok_bytes b)
{
    return a.size == b.size && CRYPTO_memcmp(a.data, b.data, a.size) == 0;
}

struct kyok_cursor kyok_cursor(struct kyok_bytes bytes)
{
    return (struct kyok_cursor){bytes.data, bytes.data + bytes.size};
}

size_t kyok_cursor_left(const struct kyok_cursor *cursor)
{
    return (size_t)(cursor->end - cursor->at);
}

bool kyok_cursor_take(struct kyok_cursor *cursor, size_t size, struct kyok_bytes *taken)
{
    if (kyok_cursor_left(cursor) < size)
        return false;
    *taken = kyok_bytes(cursor->at, size);
    cursor->at += size;
    return true;
}

static bool take_big_endian(struct kyok_cursor *cursor, size_t size, uint64_t *value)
{
    struct kyok_bytes bytes;

    if (!kyok_cursor_take(cursor, size, &bytes))
        return false;
    *value = 0;
    for (size_t i = 0; i < size; i++)
        *value = *value << 8 | bytes.data[i];
    return true;
}

bool kyok_cursor_u8(struct kyok_cursor *cursor, uint8_t *value)
{
    uint64_t wide;

    if (!take_big_endian(cursor, sizeof(*value), &wide))
        return false;
    *value = (uint8_t)wide;
    return true;
}

bool kyok_cursor_u16(struct kyok_cursor *cursor, uint16_t *value)
{
    uint64_t wide;

    if (!take_big_endian(cursor, sizeof(*value), &wide))
        return false;
    *value = (uint16_t)wide;
    return true;
}

bool kyok_cursor_u32(struct kyok_cursor *cursor, uint32_t *value)
{
    uint64_t wide;

    if (!take_big_endian(cursor, sizeof(*value), &wide))
        return false;
    *value = (uint32_t)wide;
    return true;
}

bool kyok_cursor_u64(struct kyok_cursor *cursor, uint64_t *value)
{
    return take_big_endian(cursor, sizeof(*value), value);
}

/* realloc() would leave an unwiped copy behind. */
static bool grow(struct kyok_buffer *buffer, size_t capacity)
{
    uint8_t *data = malloc(capacity);

    if (data == NULL)
        return false;
    if (buffer->size > 0)
        memcpy(data, buffer->data, buffer->size);
    if (buffer->data != NULL) {
        kyok_wipe(buffer->data, buffer->capacity);
        free(buffer->data);
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

uint8_t *kyok_buffer_reserve(struct kyok_buffer *buffer, size_t size)
{
    size_t limit = buffer->limit ? buffer->limit : KYOK_BUFFER_LIMIT;
    size_t capacity = buffer->capacity ? buffer->capacity : 256;

    if (size > limit || buffer->size > limit - size)
        return NULL;
    while (capacity < buffer->size + size)
        capacity *= 2;
    if ((capacity != buffer->capacity || buffer->data == NULL) && !grow(buffer, capacity))
        return NULL;
    return buffer->data + buffer->size;
}

bool kyok_buffer_append(struct kyok_buffer *buffer, const void *data, size_t size)
{
    uint8_t *room = kyok_buffer_reserve(buffer, size);

    if (room == NULL)
        return false;
    if (size > 0)
        memcpy(room, data, size);
    buffer->size += size;
    return true;
}

bool kyok_buffer_append_text(struct kyok_buffer *buffer, const char *text)
{
    return kyok_buffer_append(buffer, text, strlen(text));
}

bool kyok_buffer_printf(struct kyok_buffer *buffer, const char *format, ...)
{
    va_list arguments;
    uint8_t *room;
    int size;

    va_start(arguments, format);
    size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (size < 0 || (room = kyok_buffer_reserve(buffer, (size_t)size + 1)) == NULL)
        return false;
    va_start(arguments, format);
    vsnprintf((char *)room, (size_t)size + 1, format, arguments);
    va_end(arguments);
    buffer->size += (size_t)size;
    return true;
}

struct kyok_bytes kyok_buffer_bytes(const struct kyok_buffer *buffer)
{
    return kyok_bytes(buffer->data, buffer->size);
}

void kyok_buffer_free(struct kyok_buffer *buffer)
{
    if (buffer->data != NULL) {
        kyok_wipe(buffer->data, buffer->capacity);
        free(buffer->data);
    }
    buffer->data = NULL;
    buffer->size = buffer->capacity = 0;
}

void kyok_wipe(void *data, size_t size)
{
    OPENSSL_cleanse(data, size);
}

void kyok_hex_encode(struct kyok_bytes bytes, char *text)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < bytes.size; i++) {
        *text++ = digits[bytes.data[i] >> 4];
        *text++ = digits[bytes.data[i] & 15];
    }
    *text = '\0';
}

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

bool kyok_hex_decode(const char *text, size_t length, uint8_t *data, size_t size)
{
    if (length / 2 != size || length % 2 != 0)
        return false;
    for (size_t i = 0; i < size; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        data[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

void kyok_auto_free(void *pointer_to_pointer)
{
    free(*(void **)pointer_to_pointer);
}
