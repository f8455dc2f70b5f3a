/* SPDX-License-Identifier: Apache-2.0 */
#include "openssl-provider/wrapper.h"

#include <openssl/asn1.h>
#include <openssl/crypto.h>
#include <string.h>

static void put_element(uint8_t **at, int tag, const void *data, size_t size)
{
    ASN1_put_object(at, 0, (int)size, tag, V_ASN1_UNIVERSAL);
    memcpy(*at, data, size);
    *at += size;
}

uint8_t *kp_wrapper_write(const struct kp_provider *provider, struct kyok_bytes reference,
                          size_t *size)
{
    int body = ASN1_object_size(0, sizeof(KP_WRAPPER_NAME) - 1, V_ASN1_VISIBLESTRING) +
               ASN1_object_size(0, KP_NONCE_SIZE, V_ASN1_OCTET_STRING) +
               ASN1_object_size(0, (int)reference.size, V_ASN1_OCTET_STRING);
    int whole = ASN1_object_size(1, body, V_ASN1_SEQUENCE);
    uint8_t *der = OPENSSL_malloc((size_t)whole), *at = der;

    if (der == NULL)
        return NULL;
    ASN1_put_object(&at, 1, body, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
    put_element(&at, V_ASN1_VISIBLESTRING, KP_WRAPPER_NAME, sizeof(KP_WRAPPER_NAME) - 1);
    put_element(&at, V_ASN1_OCTET_STRING, provider->nonce, KP_NONCE_SIZE);
    put_element(&at, V_ASN1_OCTET_STRING, reference.data, reference.size);
    *size = (size_t)whole;
    return der;
}

#define SEQUENCE 0x30
#define VISIBLE_STRING 0x1a
#define OCTET_STRING 0x04

/* One element with a definite length of at most two length bytes, which the limit fits in. */
static bool take_element(struct kyok_cursor *cursor, uint8_t tag, struct kyok_bytes *content)
{
    uint8_t found, length, more;
    uint16_t length16;
    size_t size;

    if (!kyok_cursor_u8(cursor, &found) || found != tag || !kyok_cursor_u8(cursor, &length))
        return false;
    size = length;
    if (length == 0x81 && kyok_cursor_u8(cursor, &more))
        size = more;
    else if (length == 0x82 && kyok_cursor_u16(cursor, &length16))
        size = length16;
    else if (length >= 0x80)
        return false;
    return kyok_cursor_take(cursor, size, content);
}

bool kp_wrapper_read(const struct kp_provider *provider, struct kyok_bytes *der)
{
    struct kyok_cursor cursor = kyok_cursor(*der);
    struct kyok_bytes body, name, nonce, reference;

    if (!take_element(&cursor, SEQUENCE, &body))
        return false;
    cursor = kyok_cursor(body);
    if (!take_element(&cursor, VISIBLE_STRING, &name) ||
        !kyok_bytes_equal(name, kyok_bytes_of_text(KP_WRAPPER_NAME)) ||
        !take_element(&cursor, OCTET_STRING, &nonce) ||
        !take_element(&cursor, OCTET_STRING, &reference) || kyok_cursor_left(&cursor) != 0 ||
        !kyok_bytes_equal_secret(nonce, kyok_bytes(provider->nonce, KP_NONCE_SIZE)))
        return false;
    *der = reference;
    return true;
}

static bool read_exactly(BIO *in, uint8_t *data, size_t size)
{
    size_t done = 0, got;

    while (done < size) {
        if (BIO_read_ex(in, data + done, size - done, &got) != 1 || got == 0)
            return false;
        done += got;
    }
    return true;
}

bool kp_wrapper_read_candidate(BIO *in, struct kyok_buffer *der)
{
    uint8_t head[4];
    size_t body, lengths;
    uint8_t *rest;

    if (!read_exactly(in, head, 2) || head[0] != SEQUENCE)
        return false;
    lengths = head[1] < 0x80 ? 0 : head[1] & 0x7f;
    if (lengths > 2 || (head[1] & 0x7f) == 0 || !read_exactly(in, head + 2, lengths))
        return false;
    body = lengths == 0 ? head[1] : lengths == 1 ? head[2] : (size_t)head[2] << 8 | head[3];
    if (body == 0 || !kyok_buffer_append(der, head, 2 + lengths) ||
        (rest = kyok_buffer_reserve(der, body)) == NULL || !read_exactly(in, rest, 1) ||
        *rest != VISIBLE_STRING || !read_exactly(in, rest + 1, body - 1))
        return false;
    der->size += body;
    return true;
}
