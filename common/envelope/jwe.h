/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One JWE in general JSON (RFC 7516 section 7.2.1), and what its protected header says of the
 * envelope. Reading and writing only: nothing here holds a key.
 */
#ifndef KYOK_ENVELOPE_JWE_H
#define KYOK_ENVELOPE_JWE_H

#include "common/envelope/crypto.h"
#include "common/envelope/envelope.h"

#define KYOK_JWE_MAX_DEPTH 8            /* of JSON arrays and objects */
#define KYOK_JWE_MAX_KID 1024           /* bytes */
#define KYOK_JWE_MAX_ENCRYPTED_KEY 1024 /* bytes: RSA of 8192 bits */
#define KYOK_ENVELOPE_MAX_GENERATION ((uint64_t)1 << 53)

/* One recipient with its wrapped content key. Owned, except by kyok_jwe_recipient_move(). */
struct kyok_jwe_recipient {
    enum kyok_envelope_algorithm algorithm;
    char *kid;
    uint8_t *encrypted_key;
    size_t encrypted_key_size;
    uint8_t iv[KYOK_GCM_IV_SIZE];   /* A256GCMKW */
    uint8_t tag[KYOK_GCM_TAG_SIZE]; /* A256GCMKW */
};

enum kyok_status kyok_jwe_recipient_copy(const struct kyok_jwe_recipient *recipient,
                                         struct kyok_jwe_recipient *copy, struct kyok_error *err);
void kyok_jwe_recipient_free(struct kyok_jwe_recipient *recipient);

struct kyok_jwe_recipients {
    struct kyok_jwe_recipient *list;
    size_t count;
};

/* Takes what *recipient owns. */
enum kyok_status kyok_jwe_recipients_add(struct kyok_jwe_recipients *recipients,
                                         struct kyok_jwe_recipient *recipient,
                                         struct kyok_error *err);
void kyok_jwe_recipients_free(struct kyok_jwe_recipients *recipients);

/* What the protected header of a layer says: the claims, and the recipients of this layer and of
 * those inside it. This is also what the public header hands out. */
struct kyok_envelope {
    bool has_claims; /* false only in foreign JSON */
    char *use, *owner;
    struct kyok_envelope_claims claims; /* views of the above */
    enum kyok_envelope_content content;
    bool nested; /* the plaintext is another JWE */
    struct kyok_envelope_layer layers[KYOK_ENVELOPE_MAX_LAYERS];
    size_t layer_count;
};

enum kyok_status kyok_envelope_new(const struct kyok_envelope_claims *claims,
                                   enum kyok_envelope_content content,
                                   struct kyok_envelope **envelope, struct kyok_error *err);
/* Appends a copy of layer. */
enum kyok_status kyok_envelope_add_layer(struct kyok_envelope *envelope,
                                         const struct kyok_envelope_layer *layer,
                                         struct kyok_error *err);
/* Appends the names of recipients as a layer. */
enum kyok_status kyok_envelope_add_recipients(struct kyok_envelope *envelope,
                                              const struct kyok_jwe_recipients *recipients,
                                              struct kyok_error *err);
enum kyok_status kyok_envelope_check_claims(const struct kyok_envelope_claims *claims,
                                            struct kyok_error *err);

struct kyok_jwe {
    char *protected_text; /* base64url as it stands: the content's AAD begins with it */
    char *aad_text;       /* "aad" member of foreign JSON, or NULL */
    struct kyok_envelope *envelope;
    struct kyok_jwe_recipients recipients;
    uint8_t iv[KYOK_GCM_IV_SIZE];
    uint8_t tag[KYOK_GCM_TAG_SIZE];
    uint8_t *ciphertext;
    size_t ciphertext_size;
};

/* Unless foreign: exactly the bytes that kyok_jwe_write() makes, header and recipients agreeing. */
enum kyok_status kyok_jwe_parse(struct kyok_bytes json, bool foreign, struct kyok_jwe **jwe,
                                struct kyok_error *err);
void kyok_jwe_free(struct kyok_jwe *jwe);
void kyok_jwe_auto_free(struct kyok_jwe **jwe);
void kyok_envelope_auto_free(struct kyok_envelope **envelope);

/* The octets that the content's tag covers (RFC 7516 section 5.1, step 14). */
enum kyok_status kyok_jwe_aad(const struct kyok_jwe *jwe, struct kyok_buffer *aad,
                              struct kyok_error *err);
/* The canonical protected header, base64url, for these recipients. */
enum kyok_status kyok_jwe_write_protected(const struct kyok_envelope *envelope,
                                          const struct kyok_jwe_recipients *recipients,
                                          char **protected_text, struct kyok_error *err);
/* The canonical JSON. Appends. */
enum kyok_status kyok_jwe_write(const struct kyok_jwe *jwe, struct kyok_buffer *json,
                                struct kyok_error *err);

enum kyok_status kyok_no_memory(struct kyok_error *err);

#endif
