/* SPDX-License-Identifier: Apache-2.0 */
/* Private to key/: a key that lives at a KMIP server group. */
#ifndef KYOK_KEY_KMIP_KEY_H
#define KYOK_KEY_KMIP_KEY_H

#include "common/key/custodian.h"
#include "common/kmip/kmip.h"

#include <openssl/types.h>

/* What the servers said of the key. Immutable once published. */
struct kyok_kmip_found {
    char identifier[256];
    char public_identifier[256]; /* from the Link attribute; may be empty */
    char name[256];
    enum kyok_kmip_object_type object_type;
    enum kyok_key_type type;
    bool algorithm_told; /* else type says nothing */
    unsigned bits;
    uint32_t usage;
    bool usage_known;
    enum kyok_answer sensitive, always_sensitive, extractable, never_extractable;
};

struct kyok_kmip_key { /* kyok_key.own */
    struct kyok_kmip_client *client;
    _Atomic(struct kyok_kmip_found *) found; /* NULL: not contacted yet */
    _Atomic int64_t looked_ns;               /* when its state was read last */
    _Atomic(EVP_PKEY *) verifier;            /* the public half, once it was needed */
    uint8_t rejection[32];                   /* behind implicit rejection (PKCS#1 v1.5) */
};

static inline struct kyok_kmip_key *kyok_kmip_own(const struct kyok_key *key)
{
    return key->own;
}

/* --- kmip_open.c --- */

/* The key's facts, asked for when they are not known yet: present, of a usable kind and state,
 * within require, its public half the expected one. */
enum kyok_status kyok_kmip_key_find(struct kyok_key *key, struct kyok_deadline deadline,
                                    const struct kyok_kmip_found **found, struct kyok_error *err);
/* The same, asked again. */
enum kyok_status kyok_kmip_key_look(struct kyok_key *key, struct kyok_deadline deadline,
                                    struct kyok_error *err);
/* Before a released key is used: its state again, when what is known is older than a second. (A key
 * that stays at its server is judged there at each use.) */
#define KYOK_KMIP_STATE_NS INT64_C(1000000000)
enum kyok_status kyok_kmip_key_recheck(struct kyok_key *key, const struct kyok_kmip_found *found,
                                       struct kyok_deadline deadline, struct kyok_error *err);
/* The algorithm that an operation needs is the key's, as far as the server tells it. */
enum kyok_status kyok_kmip_key_is_for(const struct kyok_key *key,
                                      const struct kyok_kmip_found *found,
                                      enum kyok_key_type wanted, struct kyok_error *err);
/* What facts say, as the key layer's info (appended to *info, which holds a public half or
 * nothing). */
enum kyok_status kyok_kmip_key_describe(const struct kyok_custodian *custodian,
                                        const struct kyok_kmip_found *found,
                                        const char *public_identifier, struct kyok_key_info *info,
                                        struct kyok_error *err);
enum kyok_status kyok_kmip_take_found(const struct kyok_kmip_facts *facts,
                                      struct kyok_bytes identifier, struct kyok_kmip_found *found,
                                      struct kyok_error *err);

/* --- kmip_public.c --- */

/* The SubjectPublicKeyInfo of a public key or certificate object, appended. */
enum kyok_status kyok_kmip_get_public(struct kyok_kmip_client *client, const char *identifier,
                                      struct kyok_deadline deadline, struct kyok_buffer *spki,
                                      struct kyok_error *err);

/* --- kmip_sign.c, kmip_cipher.c, kmip_released.c --- */

enum kyok_status kyok_kmip_key_sign(struct kyok_key *key, const struct kyok_sign_request *request,
                                    uint8_t *signature, size_t *size, struct kyok_deadline deadline,
                                    struct kyok_error *err);
enum kyok_status kyok_kmip_key_decrypt(struct kyok_key *key,
                                       const struct kyok_cipher_request *request,
                                       struct kyok_secret **output, struct kyok_deadline deadline,
                                       struct kyok_error *err);
enum kyok_status kyok_kmip_key_encrypt(struct kyok_key *key, struct kyok_cipher_request *request,
                                       struct kyok_buffer *output, struct kyok_deadline deadline,
                                       struct kyok_error *err);
/* AES with a key that the group releases, fetched for this one call and wiped after it. */
enum kyok_status kyok_kmip_released_decrypt(struct kyok_key *key,
                                            const struct kyok_kmip_found *found,
                                            const struct kyok_cipher_request *request,
                                            struct kyok_secret **output,
                                            struct kyok_deadline deadline, struct kyok_error *err);
enum kyok_status kyok_kmip_released_encrypt(struct kyok_key *key,
                                            const struct kyok_kmip_found *found,
                                            struct kyok_cipher_request *request,
                                            struct kyok_buffer *output,
                                            struct kyok_deadline deadline, struct kyok_error *err);
enum kyok_status kyok_kmip_key_value(struct kyok_key *key, struct kyok_secret **value,
                                     struct kyok_deadline deadline, struct kyok_error *err);
/* 12 fresh bytes for GCM. */
enum kyok_status kyok_kmip_new_iv(struct kyok_cipher_request *request, struct kyok_error *err);

#endif
