/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TTLV, the encoding of KMIP (1.4 specification, section 9.1): a bounded reader whose items are
 * views into the message, and a writer over the caller's buffer. It allocates nothing, does no
 * input or output, and knows no message.
 */
#ifndef KYOK_KMIP_TTLV_H
#define KYOK_KMIP_TTLV_H

#include "common/base/base.h"

#define KYOK_TTLV_HEADER_SIZE 8 /* tag 3, type 1, length 4 */
#define KYOK_TTLV_DEPTH_MAX 16  /* structures inside each other, the message included */
#define KYOK_TTLV_SIZE_MAX ((size_t)16 << 20) /* of a message, unless the caller sets less */

enum kyok_ttlv_type {
    KYOK_TTLV_STRUCTURE = 0x01,
    KYOK_TTLV_INTEGER = 0x02,
    KYOK_TTLV_LONG_INTEGER = 0x03,
    KYOK_TTLV_BIG_INTEGER = 0x04,
    KYOK_TTLV_ENUMERATION = 0x05,
    KYOK_TTLV_BOOLEAN = 0x06,
    KYOK_TTLV_TEXT_STRING = 0x07,
    KYOK_TTLV_BYTE_STRING = 0x08,
    KYOK_TTLV_DATE_TIME = 0x09,
    KYOK_TTLV_INTERVAL = 0x0A,
    KYOK_TTLV_DATE_TIME_EXTENDED = 0x0B, /* 2.0 */
};
/* "TextString"; NULL for no type. */
const char *kyok_ttlv_type_name(unsigned type);
bool kyok_ttlv_type_by_name(const char *name, enum kyok_ttlv_type *type);

/* The reader's rules. Everything but ITEM and END is a malformed message. */
enum kyok_ttlv_result {
    KYOK_TTLV_ITEM,      /* an item was read */
    KYOK_TTLV_END,       /* the structure is used up */
    KYOK_TTLV_TRUNCATED, /* a header or a value runs past its structure */
    KYOK_TTLV_BAD_TAG,   /* neither KMIP's 42xxxx nor an extension's 54xxxx */
    KYOK_TTLV_BAD_TYPE,
    KYOK_TTLV_BAD_LENGTH,  /* not the type's length, or not a multiple of 8 where that is due */
    KYOK_TTLV_BAD_PADDING, /* not zero */
    KYOK_TTLV_BAD_BOOLEAN, /* neither 0 nor 1 */
    KYOK_TTLV_BAD_TEXT,    /* not UTF-8 */
    KYOK_TTLV_TOO_DEEP,
};
/* A few words ("padding is not zero"). */
const char *kyok_ttlv_result_text(enum kyok_ttlv_result result);

struct kyok_ttlv_item {
    uint32_t tag;
    enum kyok_ttlv_type type;
    struct kyok_bytes value; /* into the message, without padding; a structure's content */
};

struct kyok_ttlv_reader {
    struct kyok_cursor cursor;
    unsigned depth; /* structures that are open around the cursor */
};

/* Reads the items of bytes (a whole message is one item). bytes must outlive reader and items. */
struct kyok_ttlv_reader kyok_ttlv_reader(struct kyok_bytes bytes);

/* The next item, checked by every rule for its own header, value and padding; a structure's content
 * is checked as it is read. The cursor stays where it was unless KYOK_TTLV_ITEM is returned. */
enum kyok_ttlv_result kyok_ttlv_next(struct kyok_ttlv_reader *reader, struct kyok_ttlv_item *item);

/* inner reads the content of a structure that outer gave. False: too deep. */
bool kyok_ttlv_enter(const struct kyok_ttlv_reader *outer, const struct kyok_ttlv_item *structure,
                     struct kyok_ttlv_reader *inner);

/* Everything that is left in reader, at all depths, obeys the rules: KYOK_TTLV_END, else the rule
 * that is broken. */
enum kyok_ttlv_result kyok_ttlv_check(struct kyok_ttlv_reader reader);

/* Values of an item of that type (the reader has checked the length). */
int32_t kyok_ttlv_integer(const struct kyok_ttlv_item *item);
int64_t kyok_ttlv_long_integer(const struct kyok_ttlv_item *item); /* also both date-times */
uint32_t kyok_ttlv_enumeration(const struct kyok_ttlv_item *item); /* also intervals */
bool kyok_ttlv_boolean(const struct kyok_ttlv_item *item);
/* The digits of a Big Integer (two's complement, sign-extended to a multiple of 8 bytes) without
 * leading zeros; empty and false when it is negative. */
bool kyok_ttlv_magnitude(struct kyok_bytes big_integer, struct kyok_bytes *magnitude);

/* --- framing, for a transport --- */

/* How long the message is whose first bytes are these: *size is 8 until 8 are there, then the whole
 * message's length. KYOK_FAULT: not a structure tagged root, or a length that no structure has;
 * KYOK_BUSY: longer than max (0: KYOK_TTLV_SIZE_MAX). Never reads past received. */
enum kyok_status kyok_ttlv_frame(struct kyok_bytes received, uint32_t root, size_t max,
                                 size_t *size, struct kyok_error *err);

/* --- writer --- */

/* Writes front to back. Once something does not fit, nothing more is stored but the size is counted
 * on, so that one pass (data NULL, capacity 0, if need be) tells the size needed. A half-written
 * buffer may hold secrets: its owner wipes it. */
struct kyok_ttlv_writer {
    uint8_t *data;
    size_t capacity;
    size_t size; /* written, or needed */
    bool broken; /* too deep, unbalanced, or an item beyond KYOK_TTLV_SIZE_MAX: a bug of the caller
                  */
    unsigned depth;
    uint32_t open[KYOK_TTLV_DEPTH_MAX]; /* where the open structures begin */
};

struct kyok_ttlv_writer kyok_ttlv_writer(uint8_t *data, size_t capacity);
/* All structures are closed and everything is in the buffer. */
bool kyok_ttlv_written(const struct kyok_ttlv_writer *writer);

void kyok_ttlv_begin(struct kyok_ttlv_writer *writer, uint32_t tag);
void kyok_ttlv_end(struct kyok_ttlv_writer *writer);
void kyok_ttlv_write_integer(struct kyok_ttlv_writer *writer, uint32_t tag, int32_t value);
void kyok_ttlv_write_long_integer(struct kyok_ttlv_writer *writer, uint32_t tag, int64_t value);
/* Two's complement, big-endian, of any length: sign-extended to a multiple of 8. A magnitude with
 * its highest bit set needs a zero byte before it. */
void kyok_ttlv_write_big_integer(struct kyok_ttlv_writer *writer, uint32_t tag,
                                 struct kyok_bytes value);
void kyok_ttlv_write_enumeration(struct kyok_ttlv_writer *writer, uint32_t tag, uint32_t value);
void kyok_ttlv_write_boolean(struct kyok_ttlv_writer *writer, uint32_t tag, bool value);
void kyok_ttlv_write_text(struct kyok_ttlv_writer *writer, uint32_t tag, struct kyok_bytes value);
/* head, one byte, tail as one text. */
void kyok_ttlv_write_joined_text(struct kyok_ttlv_writer *writer, uint32_t tag,
                                 struct kyok_bytes head, char between, struct kyok_bytes tail);
void kyok_ttlv_write_bytes(struct kyok_ttlv_writer *writer, uint32_t tag, struct kyok_bytes value);
/* Seconds since 1970; microseconds for the extended one. */
void kyok_ttlv_write_date_time(struct kyok_ttlv_writer *writer, uint32_t tag, int64_t value);
void kyok_ttlv_write_date_time_extended(struct kyok_ttlv_writer *writer, uint32_t tag,
                                        int64_t value);
void kyok_ttlv_write_interval(struct kyok_ttlv_writer *writer, uint32_t tag, uint32_t value);
/* A whole structure whose content is TTLV already (a multiple of 8 bytes). */
void kyok_ttlv_write_structure(struct kyok_ttlv_writer *writer, uint32_t tag,
                               struct kyok_bytes content);
/* Any item as it was read. */
void kyok_ttlv_write_item(struct kyok_ttlv_writer *writer, const struct kyok_ttlv_item *item);

#endif
