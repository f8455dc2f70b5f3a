/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PEM key references. The DER is two or three members deep, so a strict reader of its own is
 * shorter than templates, and (unlike OpenSSL's) takes no BER: one file has one spelling.
 */
#include "common/config/pem_reference.h"

#include "common/config/reference.h"
#include "common/config/text.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <string.h>
#include <strings.h>

/* X.690 8.1.2 */
#define TAG_UTF8_STRING 0x0c
#define TAG_BIT_STRING 0x03
#define TAG_VISIBLE_STRING 0x1a
#define TAG_SEQUENCE 0x30

#define DER_MAX ((size_t)65535) /* lengths of at most two bytes */
#define URI_MAX ((size_t)4096)

#define MARK_URI "PKCS#11 Provider URI v1.0"
#define MARK_REFERENCE "kyok key reference v1"

/* --- reading (X.690 8.1.3, 10.1) -------------------------------------------------------------- */

static bool read_length(struct kyok_cursor *cursor, size_t *length)
{
    uint8_t first = 0, byte = 0;
    uint16_t two = 0;
    if (!kyok_cursor_u8(cursor, &first))
        return false;
    if (first < 0x80) {
        *length = first;
        return true;
    }
    if (first == 0x81 && kyok_cursor_u8(cursor, &byte) && byte >= 0x80) {
        *length = byte;
        return true;
    }
    if (first == 0x82 && kyok_cursor_u16(cursor, &two) && two >= 0x100) {
        *length = two;
        return true;
    }
    return false;
}

static bool read_element(struct kyok_cursor *cursor, uint8_t tag, struct kyok_bytes *content)
{
    uint8_t found = 0;
    size_t length = 0;
    return kyok_cursor_u8(cursor, &found) && found == tag && read_length(cursor, &length) &&
           kyok_cursor_take(cursor, length, content);
}

/* SEQUENCE { SEQUENCE, BIT STRING } and nothing after (RFC 5280 4.1); the key itself is for the
 * caller to decode. */
static bool is_public_key(struct kyok_bytes der)
{
    struct kyok_cursor whole = kyok_cursor(der), inner;
    struct kyok_bytes content, part;
    if (!read_element(&whole, TAG_SEQUENCE, &content) || kyok_cursor_left(&whole) != 0)
        return false;
    inner = kyok_cursor(content);
    return read_element(&inner, TAG_SEQUENCE, &part) &&
           read_element(&inner, TAG_BIT_STRING, &part) && part.size > 1 &&
           kyok_cursor_left(&inner) == 0;
}

static bool is_kmip(struct kyok_bytes uri)
{
    return uri.size > 5 && strncasecmp((const char *)uri.data, "kmip:", 5) == 0;
}

static bool is_pkcs11(struct kyok_bytes uri)
{
    return uri.size > 7 && strncasecmp((const char *)uri.data, "pkcs11:", 7) == 0;
}

static enum kyok_status check_uri(struct kyok_bytes uri, bool with_public, struct kyok_error *err)
{
    static const char *const where = "PEM key reference";
    if (uri.size > URI_MAX || !kyok_text_is_utf8(uri) || memchr(uri.data, 0, uri.size) != NULL)
        return kyok_fail(err, KYOK_INVALID, where, "its URI is no text of at most 4096 bytes");
    if (is_pkcs11(uri) || (is_kmip(uri) && with_public))
        return KYOK_OK;
    if (!is_kmip(uri))
        return kyok_fail(err, KYOK_INVALID, where, "its URI is neither pkcs11: nor kmip:");
    kyok_fail(err, KYOK_INVALID, where, "a kmip: URI without its public key");
    return kyok_remedy(err, "write it again with \"kyok key reference --with-public\"");
}

static enum kyok_status malformed(struct kyok_error *err, const char *what)
{
    kyok_fail(err, KYOK_INVALID, "PEM key reference", "%s", what);
    return kyok_remedy(err, "write it again with \"kyok key reference\"");
}

enum kyok_status kyok_pem_reference_parse(struct kyok_bytes der,
                                          struct kyok_pem_reference *reference,
                                          struct kyok_error *err)
{
    struct kyok_cursor whole = kyok_cursor(der), members;
    struct kyok_bytes content, mark, uri, public_key = {NULL, 0};
    if (der.size > DER_MAX)
        return malformed(err, "it is longer than 64 KiB");
    if (!read_element(&whole, TAG_SEQUENCE, &content) || kyok_cursor_left(&whole) != 0)
        return malformed(err, "it is not one DER sequence");
    members = kyok_cursor(content);
    if (!read_element(&members, TAG_VISIBLE_STRING, &mark))
        return malformed(err, "its first member is no VisibleString");
    bool with_public = kyok_text_is(mark, MARK_REFERENCE);
    if (!with_public && !kyok_text_is(mark, MARK_URI))
        return malformed(err, "its first member names no version that kyok knows");
    if (!read_element(&members, TAG_UTF8_STRING, &uri))
        return malformed(err, "its second member is no UTF8String");
    if (with_public) {
        public_key = kyok_bytes(members.at, kyok_cursor_left(&members));
        if (!is_public_key(public_key))
            return malformed(err, "its third member is no public key");
    } else if (kyok_cursor_left(&members) != 0) {
        return malformed(err, "there is something behind its URI");
    }
    KYOK_TRY(check_uri(uri, with_public, err));
    *reference = (struct kyok_pem_reference){uri, public_key};
    return KYOK_OK;
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool write_header(struct kyok_buffer *der, uint8_t tag, size_t length)
{
    uint8_t header[4] = {tag, (uint8_t)length, 0, 0};
    size_t size = 2;
    if (length >= 0x100) {
        header[1] = 0x82;
        header[2] = (uint8_t)(length >> 8);
        header[3] = (uint8_t)length;
        size = 4;
    } else if (length >= 0x80) {
        header[1] = 0x81;
        header[2] = (uint8_t)length;
        size = 3;
    }
    return kyok_buffer_append(der, header, size);
}

static bool write_text(struct kyok_buffer *der, uint8_t tag, const char *text)
{
    return write_header(der, tag, strlen(text)) && kyok_buffer_append_text(der, text);
}

enum kyok_status kyok_pem_reference_write(const char *uri, struct kyok_bytes public_key,
                                          struct kyok_buffer *der, struct kyok_error *err)
{
    bool with_public = public_key.size > 0;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer members = {.limit = DER_MAX - 4};
    KYOK_TRY(check_uri(kyok_bytes_of_text(uri), with_public, err));
    if (with_public && !is_public_key(public_key))
        return kyok_fail(err, KYOK_INVALID, uri, "its public key is no SubjectPublicKeyInfo");
    bool done = write_text(&members, TAG_VISIBLE_STRING, with_public ? MARK_REFERENCE : MARK_URI) &&
                write_text(&members, TAG_UTF8_STRING, uri);
    if (done && with_public)
        done = kyok_buffer_append(&members, public_key.data, public_key.size);
    if (!done || !write_header(der, TAG_SEQUENCE, members.size) ||
        !kyok_buffer_append(der, members.data, members.size))
        return kyok_text_no_memory(err);
    return KYOK_OK;
}

static void bio_auto_free(BIO **bio)
{
    BIO_free(*bio);
}

enum kyok_status kyok_pem_reference_write_pem(const char *uri, struct kyok_bytes public_key,
                                              struct kyok_buffer *pem, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer der = {.limit = DER_MAX};
    KYOK_CLEANUP(bio_auto_free) BIO *bio = BIO_new(BIO_s_mem());
    const char *label = public_key.size > 0 ? KYOK_PEM_LABEL_REFERENCE : KYOK_PEM_LABEL_URI;
    char *text = NULL;
    KYOK_TRY(kyok_pem_reference_write(uri, public_key, &der, err));
    if (bio == NULL || PEM_write_bio(bio, label, "", der.data, (long)der.size) <= 0)
        return kyok_text_no_memory(err);
    long size = BIO_get_mem_data(bio, &text);
    if (size <= 0 || !kyok_buffer_append(pem, text, (size_t)size))
        return kyok_text_no_memory(err);
    return KYOK_OK;
}
