/* SPDX-License-Identifier: Apache-2.0 */
/* TTLV for people, without anything secret. */
#include "common/kmip/message.h"

#include <stdio.h>
#include <time.h>

struct dump {
    struct kyok_buffer *text;
    const uint8_t *start; /* of the bytes, for places */
    uint32_t name;        /* tag that the latest Attribute Name stands for: types its value */
    bool full;            /* text cannot grow */
};

#define SHOWN_BYTES 64 /* of a Byte String, of text, of a Big Integer */

/*
 * Shown as lengths only: what is a key, opens something, or is data under a key's protection. Tags
 * that are not the specification's are hidden too, since nobody can say what they hold. Everything
 * inside Key Material and Credential Value is hidden but names and enumerations.
 */
static bool is_secret(uint32_t tag)
{
    switch (tag) {
    case KYOK_KMIP_TAG_KEY_MATERIAL:
    case KYOK_KMIP_TAG_KEY_VALUE: /* as a Byte String: wrapped, with the wrapping key near */
    case KYOK_KMIP_TAG_KEY:
    case KYOK_KMIP_TAG_PRIVATE_EXPONENT:
    case KYOK_KMIP_TAG_P:
    case KYOK_KMIP_TAG_Q:
    case KYOK_KMIP_TAG_PRIME_EXPONENT_P:
    case KYOK_KMIP_TAG_PRIME_EXPONENT_Q:
    case KYOK_KMIP_TAG_CRT_COEFFICIENT:
    case KYOK_KMIP_TAG_X:
    case KYOK_KMIP_TAG_D:
    case KYOK_KMIP_TAG_OPAQUE_DATA_VALUE:
    case KYOK_KMIP_TAG_PASSWORD:
    case KYOK_KMIP_TAG_ONE_TIME_PASSWORD:
    case KYOK_KMIP_TAG_HASHED_PASSWORD:
    case KYOK_KMIP_TAG_SERVER_HASHED_PASSWORD:
    case KYOK_KMIP_TAG_TICKET_VALUE:
    case KYOK_KMIP_TAG_DATA:
    case KYOK_KMIP_TAG_DERIVATION_DATA:
    case KYOK_KMIP_TAG_SALT:
    case KYOK_KMIP_TAG_PKCS11_INPUT_PARAMETERS:
    case KYOK_KMIP_TAG_PKCS11_OUTPUT_PARAMETERS:
        return true;
    default:
        return kyok_kmip_tag_name(tag) == NULL;
    }
}

static void put(struct dump *dump, const char *text)
{
    if (!kyok_buffer_append_text(dump->text, text))
        dump->full = true;
}

#define PUT(dump, ...)                                                                             \
    do {                                                                                           \
        if (!kyok_buffer_printf((dump)->text, __VA_ARGS__))                                        \
            (dump)->full = true;                                                                   \
    } while (0)

/* Terminals must not act on what a server sends: C0 and (as UTF-8) C1 control characters. */
static bool is_control(struct kyok_bytes text, size_t at)
{
    uint8_t byte = text.data[at];
    return byte < ' ' || byte == 0x7F ||
           (byte == 0xC2 && at + 1 < text.size && text.data[at + 1] < 0xA0);
}

static void put_text(struct dump *dump, struct kyok_bytes text)
{
    char shown[SHOWN_BYTES + 1];
    size_t size = text.size < SHOWN_BYTES ? text.size : SHOWN_BYTES, used = 0;

    while (size < text.size && size > 0 && (text.data[size] & 0xC0) == 0x80)
        size--; /* whole characters only */
    for (size_t i = 0; i < size; i++) {
        bool control = is_control(text, i);
        shown[used++] = control ? '.' : (char)text.data[i];
        i += control && text.data[i] == 0xC2;
    }
    shown[used] = '\0';
    PUT(dump, "\"%s\"%s", shown, size < text.size ? "..." : "");
}

static void put_bytes(struct dump *dump, struct kyok_bytes bytes)
{
    char hex[2 * SHOWN_BYTES + 1];
    size_t size = bytes.size < SHOWN_BYTES ? bytes.size : SHOWN_BYTES;

    kyok_hex_encode(kyok_bytes(bytes.data, size), hex);
    PUT(dump, "%s%s", hex, size < bytes.size ? "..." : "");
    PUT(dump, " (%zu bytes)", bytes.size);
}

static void put_date(struct dump *dump, int64_t seconds)
{
    char text[40] = "";
    struct tm parts;
    time_t when = (time_t)seconds;

    if (gmtime_r(&when, &parts) != NULL)
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
    PUT(dump, "%s (%lld)", text, (long long)seconds);
}

static void put_enumeration(struct dump *dump, uint32_t tag, uint32_t value)
{
    const char *name = tag == KYOK_KMIP_TAG_ATTRIBUTE_REFERENCE ? kyok_kmip_tag_name(value)
                                                                : kyok_kmip_enum_name(tag, value);
    if (name != NULL)
        put(dump, name);
    else
        PUT(dump, "0x%08lX", (unsigned long)value);
}

/* A mask by its bits' names, any other integer as a number. */
static void put_integer(struct dump *dump, uint32_t tag, int32_t value)
{
    uint32_t rest = (uint32_t)value;
    const char *space = "";

    if (rest == 0 || kyok_kmip_mask_name(tag, 1) == NULL) {
        PUT(dump, "%ld", (long)value);
        return;
    }
    for (uint32_t bit = 1; bit != 0; bit <<= 1) {
        const char *name = kyok_kmip_mask_name(tag, bit);
        if (!(rest & bit))
            continue;
        if (name != NULL)
            PUT(dump, "%s%s", space, name);
        else
            PUT(dump, "%s0x%08lX", space, (unsigned long)bit);
        space = " ";
    }
}

/* tag is the item's own, or of the attribute whose value it is. */
static void put_value(struct dump *dump, uint32_t tag, const struct kyok_ttlv_item *item)
{
    switch (item->type) {
    case KYOK_TTLV_STRUCTURE:
        return;
    case KYOK_TTLV_INTEGER:
        put_integer(dump, tag, kyok_ttlv_integer(item));
        return;
    case KYOK_TTLV_LONG_INTEGER:
    case KYOK_TTLV_DATE_TIME_EXTENDED:
        PUT(dump, "%lld", (long long)kyok_ttlv_long_integer(item));
        return;
    case KYOK_TTLV_ENUMERATION:
        put_enumeration(dump, tag, kyok_ttlv_enumeration(item));
        return;
    case KYOK_TTLV_BOOLEAN:
        put(dump, kyok_ttlv_boolean(item) ? "true" : "false");
        return;
    case KYOK_TTLV_TEXT_STRING:
        put_text(dump, item->value);
        return;
    case KYOK_TTLV_BIG_INTEGER:
    case KYOK_TTLV_BYTE_STRING:
        put_bytes(dump, item->value);
        return;
    case KYOK_TTLV_DATE_TIME:
        put_date(dump, kyok_ttlv_long_integer(item));
        return;
    case KYOK_TTLV_INTERVAL:
        PUT(dump, "%lu s", (unsigned long)kyok_ttlv_enumeration(item));
        return;
    }
}

/* Names and enumerations tell no secret wherever they stand. */
static bool hides(const struct kyok_ttlv_item *item, bool inside_secret)
{
    if (item->type == KYOK_TTLV_STRUCTURE || item->type == KYOK_TTLV_ENUMERATION ||
        item->tag == KYOK_KMIP_TAG_USERNAME)
        return false;
    return inside_secret || is_secret(item->tag);
}

static void put_item(struct dump *dump, const struct kyok_ttlv_item *item, unsigned depth,
                     bool inside_secret)
{
    const char *name = kyok_kmip_tag_name(item->tag);
    uint32_t name_before = dump->name;
    bool value_of = item->tag == KYOK_KMIP_TAG_ATTRIBUTE_VALUE && dump->name != 0;

    PUT(dump, "%*s", 2 * (int)depth, "");
    if (name != NULL)
        put(dump, name);
    else
        PUT(dump, "%06lX", (unsigned long)item->tag);
    if (item->type != KYOK_TTLV_STRUCTURE)
        PUT(dump, " %s ", kyok_ttlv_type_name(item->type));
    if (hides(item, inside_secret))
        PUT(dump, "(%zu bytes, not shown)", item->value.size);
    else
        put_value(dump, value_of ? dump->name : item->tag, item);
    put(dump, "\n");
    dump->name = 0;
    if (item->tag == KYOK_KMIP_TAG_ATTRIBUTE_NAME && item->type == KYOK_TTLV_TEXT_STRING)
        dump->name = kyok_kmip_attribute_tag(kyok_kmip_attribute_name(item->value).id);
    else if (item->tag == KYOK_KMIP_TAG_ATTRIBUTE_INDEX)
        dump->name = name_before;
}

static enum kyok_ttlv_result dump_items(struct dump *dump, struct kyok_ttlv_reader *reader,
                                        bool inside_secret, const uint8_t **at);

/* Everything in a secret structure is hidden; so is what is in one that nobody knows. A Key Value's
 * attributes are not secret, its material is by itself. */
static bool hides_content(const struct kyok_ttlv_item *structure, bool inside_secret)
{
    if (structure->tag == KYOK_KMIP_TAG_KEY_VALUE)
        return inside_secret;
    return inside_secret || structure->tag == KYOK_KMIP_TAG_CREDENTIAL_VALUE ||
           is_secret(structure->tag);
}

/* A message that was cut off: the structure that runs past the end is shown as far as it is there.
 */
static void dump_rest(struct dump *dump, const struct kyok_ttlv_reader *reader, bool inside_secret,
                      const uint8_t **at)
{
    struct kyok_cursor cursor = reader->cursor;
    struct kyok_ttlv_item item = {.type = KYOK_TTLV_STRUCTURE};
    struct kyok_ttlv_reader inner;
    uint32_t word, length;

    *at = cursor.at;
    if (!kyok_cursor_u32(&cursor, &word) || !kyok_cursor_u32(&cursor, &length) ||
        (word & 0xFF) != KYOK_TTLV_STRUCTURE)
        return;
    item.tag = word >> 8;
    item.value = kyok_bytes(cursor.at, kyok_cursor_left(&cursor));
    if (!kyok_ttlv_enter(reader, &item, &inner))
        return;
    put_item(dump, &item, reader->depth, inside_secret);
    if (dump_items(dump, &inner, hides_content(&item, inside_secret), at) == KYOK_TTLV_END)
        *at = inner.cursor.at;
}

static enum kyok_ttlv_result dump_items(struct dump *dump, struct kyok_ttlv_reader *reader,
                                        bool inside_secret, const uint8_t **at)
{
    struct kyok_ttlv_item item;
    enum kyok_ttlv_result result;

    while ((result = kyok_ttlv_next(reader, &item)) == KYOK_TTLV_ITEM) {
        struct kyok_ttlv_reader inner;
        put_item(dump, &item, reader->depth, inside_secret);
        if (item.type != KYOK_TTLV_STRUCTURE)
            continue;
        if (!kyok_ttlv_enter(reader, &item, &inner))
            return *at = item.value.data, KYOK_TTLV_TOO_DEEP;
        result = dump_items(dump, &inner, hides_content(&item, inside_secret), at);
        if (result != KYOK_TTLV_END)
            return result;
    }
    if (result == KYOK_TTLV_TRUNCATED)
        dump_rest(dump, reader, inside_secret, at);
    else if (result != KYOK_TTLV_END)
        *at = reader->cursor.at;
    return result;
}

enum kyok_status kyok_kmip_dump(struct kyok_bytes bytes, struct kyok_buffer *text,
                                struct kyok_error *err)
{
    struct dump dump = {.text = text, .start = bytes.data};
    struct kyok_ttlv_reader reader = kyok_ttlv_reader(bytes);
    const uint8_t *at = bytes.data;
    char place[40];

    enum kyok_ttlv_result result = dump_items(&dump, &reader, false, &at);
    if (result != KYOK_TTLV_END)
        PUT(&dump, "! byte %zu: %s\n", (size_t)(at - bytes.data), kyok_ttlv_result_text(result));
    if (dump.full)
        return kyok_fail(err, KYOK_SYSTEM, NULL, "no memory for the dump");
    if (result == KYOK_TTLV_END)
        return KYOK_OK;
    snprintf(place, sizeof(place), "byte %zu", (size_t)(at - bytes.data));
    return kyok_fail(err, KYOK_FAULT, place, "malformed TTLV: %s", kyok_ttlv_result_text(result));
}
