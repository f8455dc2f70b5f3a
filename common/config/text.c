/* SPDX-License-Identifier: Apache-2.0 */
#include "common/config/text.h"

#include <stdlib.h>
#include <string.h>

char *kyok_text_copy(struct kyok_bytes bytes)
{
    char *text = malloc(bytes.size + 1);
    if (text == NULL)
        return NULL;
    if (bytes.size > 0)
        memcpy(text, bytes.data, bytes.size);
    text[bytes.size] = '\0';
    return text;
}

enum kyok_status kyok_text_no_memory(struct kyok_error *err)
{
    return kyok_fail(err, KYOK_SYSTEM, NULL, "memory is short");
}

size_t kyok_text_find(struct kyok_bytes bytes, const char *set)
{
    for (size_t i = 0; i < bytes.size; i++) {
        if (bytes.data[i] != 0 && strchr(set, bytes.data[i]) != NULL)
            return i;
    }
    return bytes.size;
}

bool kyok_text_is(struct kyok_bytes bytes, const char *text)
{
    return bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0;
}

/* Not isalnum(): the locale has no say in names. */
static bool is_alphanumeric(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool kyok_text_is_name(struct kyok_bytes bytes)
{
    if (bytes.size == 0 || bytes.size > 64 || !is_alphanumeric(bytes.data[0]))
        return false;
    for (size_t i = 0; i < bytes.size; i++) {
        uint8_t c = bytes.data[i];
        if (!is_alphanumeric(c) && c != '.' && c != '_' && c != '-')
            return false;
    }
    return true;
}

/* Length of the sequence that lead begins and the smallest code point it may encode (RFC 3629 3).
 */
static size_t utf8_length(uint8_t lead, uint32_t *bits, uint32_t *least)
{
    static const struct {
        uint8_t mask, mark;
        uint32_t least;
    } leads[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t i = 0; i < sizeof(leads) / sizeof(leads[0]); i++) {
        if ((lead & leads[i].mask) == leads[i].mark) {
            *bits = lead & (uint8_t)~leads[i].mask;
            *least = leads[i].least;
            return i + 1;
        }
    }
    return 0;
}

bool kyok_text_is_utf8(struct kyok_bytes bytes)
{
    size_t at = 0;
    while (at < bytes.size) {
        uint32_t code = 0, least = 0;
        size_t length = utf8_length(bytes.data[at], &code, &least);
        if (length == 0 || length > bytes.size - at)
            return false;
        for (size_t i = 1; i < length; i++) {
            if ((bytes.data[at + i] & 0xc0) != 0x80)
                return false;
            code = (code << 6) | (bytes.data[at + i] & 0x3f);
        }
        if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
            return false;
        at += length;
    }
    return true;
}

bool kyok_text_number(struct kyok_bytes bytes, uint64_t limit, uint64_t *number)
{
    uint64_t value = 0;
    if (bytes.size == 0 || bytes.size > 19)
        return false;
    for (size_t i = 0; i < bytes.size; i++) {
        if (bytes.data[i] < '0' || bytes.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(bytes.data[i] - '0');
    }
    if (value > limit)
        return false;
    *number = value;
    return true;
}

bool kyok_percent_decode(struct kyok_bytes bytes, uint8_t *decoded, size_t *size)
{
    size_t out = 0;
    for (size_t i = 0; i < bytes.size; i++) {
        if (bytes.data[i] != '%') {
            decoded[out++] = bytes.data[i];
            continue;
        }
        if (bytes.size - i < 3 ||
            !kyok_hex_decode((const char *)bytes.data + i + 1, 2, &decoded[out], 1))
            return false;
        out++;
        i += 2;
    }
    *size = out;
    return true;
}

bool kyok_percent_encode(struct kyok_buffer *buffer, struct kyok_bytes bytes, bool all)
{
    for (size_t i = 0; i < bytes.size; i++) {
        uint8_t c = bytes.data[i];
        bool unreserved = is_alphanumeric(c) || (c != 0 && strchr("-._~", c) != NULL);
        bool done = unreserved && !all ? kyok_buffer_append(buffer, &c, 1)
                                       : kyok_buffer_printf(buffer, "%%%02X", c);
        if (!done)
            return false;
    }
    return true;
}

struct kyok_quote kyok_text_quote(struct kyok_bytes bytes)
{
    struct kyok_quote quote = {{0}};
    size_t shown = bytes.size <= 48 ? bytes.size : 48;
    for (size_t i = 0; i < shown; i++) {
        uint8_t c = bytes.data[i];
        quote.text[i] = (char)(c >= 0x20 && c < 0x7f ? c : '?');
    }
    if (shown < bytes.size)
        memcpy(quote.text + shown, "...", 4);
    return quote;
}
