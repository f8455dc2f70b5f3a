/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte views, a bounded reading cursor, and a growing buffer that wipes what it frees.
 * Parsers read untrusted bytes only through the cursor.
 */
#ifndef KYOK_BASE_BYTES_H
#define KYOK_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A view; owns nothing. */
struct kyok_bytes {
    const uint8_t *data;
    size_t size;
};

static inline struct kyok_bytes kyok_bytes(const void *data, size_t size)
{
    return (struct kyok_bytes){(const uint8_t *)data, size};
}
struct kyok_bytes kyok_bytes_of_text(const char *text);
bool kyok_bytes_equal(struct kyok_bytes a, struct kyok_bytes b);
/* Same, in time that depends on the sizes alone. */
bool kyok_bytes_equal_secret(struct kyok_bytes a, struct kyok_bytes b);

/* Reads front to back; never past end. All reads return false and leave the cursor where it was
 * when too little is left. */
struct kyok_cursor {
    const uint8_t *at;
    const uint8_t *end;
};

struct kyok_cursor kyok_cursor(struct kyok_bytes bytes);
size_t kyok_cursor_left(const struct kyok_cursor *cursor);
bool kyok_cursor_take(struct kyok_cursor *cursor, size_t size, struct kyok_bytes *taken);
bool kyok_cursor_u8(struct kyok_cursor *cursor, uint8_t *value);
bool kyok_cursor_u16(struct kyok_cursor *cursor, uint16_t *value); /* big-endian */
bool kyok_cursor_u32(struct kyok_cursor *cursor, uint32_t *value);
bool kyok_cursor_u64(struct kyok_cursor *cursor, uint64_t *value);

/* Grows up to limit bytes; every block it leaves is wiped. Starts as {0} plus a limit. */
struct kyok_buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t limit; /* 0: KYOK_BUFFER_LIMIT */
};

#define KYOK_BUFFER_LIMIT ((size_t)64 << 20)

bool kyok_buffer_append(struct kyok_buffer *buffer, const void *data, size_t size);
bool kyok_buffer_append_text(struct kyok_buffer *buffer, const char *text);
bool kyok_buffer_printf(struct kyok_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Room for size more bytes at the returned address, or NULL; commit by adding to buffer->size. */
uint8_t *kyok_buffer_reserve(struct kyok_buffer *buffer, size_t size);
struct kyok_bytes kyok_buffer_bytes(const struct kyok_buffer *buffer);
void kyok_buffer_free(struct kyok_buffer *buffer);

/* Wipe that a compiler does not remove. */
void kyok_wipe(void *data, size_t size);

/* Lower-case hexadecimal; text needs 2 * size + 1 bytes. */
void kyok_hex_encode(struct kyok_bytes bytes, char *text);
/* Decodes exactly 2 * size digits of either case; false on anything else. */
bool kyok_hex_decode(const char *text, size_t length, uint8_t *data, size_t size);

/* Scope-bound release: KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer b = {0}; */
#define KYOK_CLEANUP(function) __attribute__((cleanup(function)))
/* KYOK_AUTO_FREE char *text = ...; */
void kyok_auto_free(void *pointer_to_pointer);
#define KYOK_AUTO_FREE KYOK_CLEANUP(kyok_auto_free)

#endif
