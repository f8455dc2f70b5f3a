/* SPDX-License-Identifier: Apache-2.0 */
/* Private to config: percent coding, UTF-8, and quoting of untrusted text in messages. */
#ifndef KYOK_CONFIG_TEXT_H
#define KYOK_CONFIG_TEXT_H

#include "common/base/base.h"

/* A NUL-terminated copy; NULL when memory is short. */
char *kyok_text_copy(struct kyok_bytes bytes);
/* Fills *err for a failed allocation. */
enum kyok_status kyok_text_no_memory(struct kyok_error *err);

/* First byte of bytes that is one of set, as an offset; bytes.size when there is none. */
size_t kyok_text_find(struct kyok_bytes bytes, const char *set);
bool kyok_text_is(struct kyok_bytes bytes, const char *text);
/* 1 to 64 characters of [A-Za-z0-9._-], the first a letter or digit: names of sections. */
bool kyok_text_is_name(struct kyok_bytes bytes);
bool kyok_text_is_utf8(struct kyok_bytes bytes);
/* The unsigned decimal number that bytes are, at most limit; no sign, no blanks. */
bool kyok_text_number(struct kyok_bytes bytes, uint64_t limit, uint64_t *number);

/* Decodes into room of bytes.size bytes; false on a broken "%XX". */
bool kyok_percent_decode(struct kyok_bytes bytes, uint8_t *decoded, size_t *size);
/* Appends bytes with all but RFC 3986's unreserved characters encoded (all: those too). */
bool kyok_percent_encode(struct kyok_buffer *buffer, struct kyok_bytes bytes, bool all);

/* bytes made fit for a message: printable ASCII, at most 48 characters and then "...". */
#define KYOK_QUOTE_SIZE 56
struct kyok_quote {
    char text[KYOK_QUOTE_SIZE];
};
struct kyok_quote kyok_text_quote(struct kyok_bytes bytes);

#endif
