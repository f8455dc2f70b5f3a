/* SPDX-License-Identifier: Apache-2.0 */
/* DER key reference to key. There is one such decoder per key type, as OpenSSL collects decoders by
 * type, but the first to see a reference opens it whatever its type, so that the custodian is
 * contacted once. */
#include "openssl-provider/keymgmt.h"
#include "openssl-provider/wrapper.h"

#include <openssl/asn1.h>
#include <openssl/core_object.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <string.h>

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

/* The element at the front of in, if it may be a reference: a SEQUENCE whose first member is a
 * VisibleString, which no key format begins with. */
static bool read_candidate(BIO *in, struct kyok_buffer *der)
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
    if (!kyok_buffer_append(der, head, 2 + lengths) ||
        (rest = kyok_buffer_reserve(der, body)) == NULL || !read_exactly(in, rest, 1) ||
        *rest != VISIBLE_STRING || !read_exactly(in, rest + 1, body - 1))
        return false;
    der->size += body;
    return true;
}

static struct kp_key *open_key(struct kp_provider *provider, struct kyok_bytes der,
                               enum kyok_origin origin)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer uri = {.limit = KP_REFERENCE_LIMIT};
    struct kyok_pem_reference parsed;
    struct kyok_reference *reference;
    struct kyok_error err = {0};
    struct kp_key *key;

    if (kp_wrapper_read(provider, &der))
        origin = KYOK_FROM_CONFIGURATION;
    if (kyok_pem_reference_parse(der, &parsed, &err) != KYOK_OK) {
        kp_raise_error(provider, &err);
        return NULL;
    }
    if (memchr(parsed.uri.data, '\0', parsed.uri.size) != NULL ||
        !kyok_buffer_append(&uri, parsed.uri.data, parsed.uri.size) ||
        !kyok_buffer_append(&uri, "", 1)) {
        kp_raise(provider, KP_R_BAD_REFERENCE, "the reference's URI has a NUL in it");
        return NULL;
    }
    reference = kp_reference(provider, (const char *)uri.data, origin);
    if (reference == NULL)
        return NULL;
    key = kp_token_open(provider, reference, parsed.public_key);
    kyok_reference_free(reference);
    return key;
}

static int hand_over(struct kp_key *key, OSSL_CALLBACK *callback, void *argument)
{
    int type = OSSL_OBJECT_PKEY, ok;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE,
                                         (char *)(uintptr_t)key->type->name, 0),
        OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_REFERENCE, &key, sizeof(key)),
        OSSL_PARAM_construct_end(),
    };

    ok = callback(params, argument);
    kp_key_free(key); /* NULL when it was taken */
    return ok;
}

/* 1 with nothing handed on: no reference. 0 ends the search: it is one, and cannot be opened. */
static int decode(void *ctx, OSSL_CORE_BIO *core, int selection, OSSL_CALLBACK *callback,
                  void *argument, OSSL_PASSPHRASE_CALLBACK *passphrase, void *passphrase_argument)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer der = {.limit = 2 * KP_REFERENCE_LIMIT};
    struct kp_provider *provider = ctx;
    BIO *in = BIO_new_from_core_bio(provider->host, core);
    enum kyok_origin origin;
    struct kp_key *key;
    bool candidate;

    (void)selection;
    (void)passphrase;
    (void)passphrase_argument;
    if (in == NULL)
        return 0;
    ERR_set_mark();
    candidate = read_candidate(in, &der);
    ERR_pop_to_mark();
    origin = candidate ? kp_origin(in) : KYOK_FROM_DATA;
    BIO_free(in);
    if (!candidate)
        return 1;
    key = open_key(provider, kyok_buffer_bytes(&der), origin);
    if (key == NULL) {
        kp_failure_note();
        return 0;
    }
    kp_failure_forget();
    return hand_over(key, callback, argument);
}

const OSSL_DISPATCH kp_decoder_der[] = {
    KP_FUNCTION(OSSL_FUNC_DECODER_NEWCTX, kp_decoder_new),
    KP_FUNCTION(OSSL_FUNC_DECODER_FREECTX, kp_decoder_free),
    KP_FUNCTION(OSSL_FUNC_DECODER_DOES_SELECTION, kp_decoder_does_selection),
    KP_FUNCTION(OSSL_FUNC_DECODER_DECODE, decode),
    KP_FUNCTION(OSSL_FUNC_DECODER_EXPORT_OBJECT, kp_decoder_export),
    KP_END,
};
