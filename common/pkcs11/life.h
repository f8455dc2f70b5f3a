/* SPDX-License-Identifier: Apache-2.0 */
/* Private to pkcs11/: records, descendants, and what is done on every member. */
#ifndef KYOK_PKCS11_LIFE_H
#define KYOK_PKCS11_LIFE_H

#include "common/pkcs11/live.h"

#define KYOK_RECORD_APPLICATION "kyok"
#define KYOK_TEMPLATE_ROOM 20

/* A template whose values live elsewhere. */
struct kyok_template {
    CK_ATTRIBUTE fields[KYOK_TEMPLATE_ROOM];
    CK_ULONG count;
};
void kyok_template_put(struct kyok_template *template, CK_ATTRIBUTE_TYPE type, const void *value,
                       size_t size);
void kyok_template_bool(struct kyok_template *template, CK_ATTRIBUTE_TYPE type, bool value);
void kyok_template_name(struct kyok_template *template, const struct kyok_key_name *name);
/* ENCRYPT, DECRYPT, WRAP, UNWRAP. */
void kyok_template_usage(struct kyok_template *template, unsigned usage);
/* A secret AES key: sensitive, private, extractable or not, of the token or the session. */
void kyok_template_aes(struct kyok_template *template, bool token, bool extractable);

/* The newest record of name on the lease's token; *found false when there is none. */
CK_RV kyok_record_on_token(const struct kyok_lease *lease, const char *name,
                           struct kyok_key_record *record, bool *found, struct kyok_error *err);

/* A token need not know the length of what it has unwrapped (SoftHSM): an import has recorded it.
 * Fills info->bits where that is so. */
CK_RV kyok_recorded_length(const struct kyok_lease *lease, struct kyok_key_info *info);

#define KYOK_DESCENDANT_BITS 256 /* no other wrapped key is made, or unwrapped */
/* If reference names a descendant: its session object, which is unwrapped (*fresh) unless this
 * process has one from before. *object 0 otherwise. */
CK_RV kyok_descendant_unwrap(const struct kyok_lease *lease, const struct kyok_group *group,
                             const struct kyok_reference *reference, CK_OBJECT_HANDLE *object,
                             bool *fresh, struct kyok_error *err);
/* A session object of that name; 0: none. */
CK_RV kyok_session_object_find(const struct kyok_lease *lease, CK_OBJECT_CLASS object_class,
                               const struct kyok_key_name *name, CK_OBJECT_HANDLE *object);

/* What the group's require means for a key that was unwrapped. */
enum kyok_require kyok_require_of_unwrapped(const struct kyok_group *group);

/* Runs plan on every member, each of which must answer; with key, on those that have it, one at
 * least. */
enum kyok_status kyok_group_every_member(struct kyok_group *group, struct kyok_group_key *key,
                                         const struct kyok_reference *reference,
                                         const struct kyok_plan *plan,
                                         struct kyok_deadline deadline, struct kyok_error *err);

/* RSA or EC, by its public half's SubjectPublicKeyInfo. */
CK_KEY_TYPE kyok_import_key_type(enum kyok_key_type type);
/* An AES key of the session that unwraps, from under transport. */
CK_RV kyok_unwrap_carrier(const struct kyok_lease *lease, CK_OBJECT_HANDLE transport,
                          enum kyok_hash hash, struct kyok_bytes wrapped,
                          CK_OBJECT_HANDLE *carrier);
/* What request describes, from under carrier; a pair's public half goes in first. */
CK_RV kyok_unwrap_material(const struct kyok_lease *lease, CK_OBJECT_HANDLE carrier,
                           const struct kyok_import_request *request, CK_OBJECT_HANDLE *object);

/* A key on its way from one token (the source) into another, inside both (replicate.c). */
#define KYOK_PASSAGE_MODULUS_MOST 512
#define KYOK_PASSAGE_MATERIAL_MOST 8192 /* PKCS#8 of RSA with 8192 bits: 5 KiB */
struct kyok_passage {
    enum kyok_key_type type;
    struct kyok_bytes public_key; /* a pair's SubjectPublicKeyInfo */
    enum kyok_hash hash;          /* of RSA-OAEP */
    struct kyok_key_name name;    /* at the target */
    unsigned usage, withheld;
    /* The target's transport key. */
    uint8_t modulus[KYOK_PASSAGE_MODULUS_MOST], exponent[8];
    CK_ULONG modulus_size, exponent_size;
    uint8_t wrapped[KYOK_PASSAGE_MODULUS_MOST]; /* an AES key of the moment under that */
    size_t wrapped_size;
    uint8_t material[KYOK_PASSAGE_MATERIAL_MOST]; /* the key under this one */
    size_t material_size;
};
/* To make a pair takes some tokens longer than all else: each token has time of its own. Not where
 * the caller is released at the deadline: what it gave up must not go on for long. */
struct kyok_deadline kyok_passage_deadline(const struct kyok_group *group,
                                           struct kyok_deadline whole);
/* At the target: a transport pair of the session, public half first. */
CK_RV kyok_passage_offer(const struct kyok_lease *lease, struct kyok_passage *passage,
                         CK_OBJECT_HANDLE pair[2]);
void kyok_passage_close(const struct kyok_lease *lease, const CK_OBJECT_HANDLE pair[2]);
/* At the source: object under what the target offers. A key that may not leave: *err says so. */
CK_RV kyok_passage_wrap(const struct kyok_lease *lease, CK_OBJECT_HANDLE object,
                        struct kyok_passage *passage, struct kyok_error *err);
/* At the target again: as an object of the token that cannot leave. */
CK_RV kyok_passage_unwrap(const struct kyok_lease *lease, const struct kyok_passage *passage,
                          CK_OBJECT_HANDLE transport);

/* RFC 3394 where the token has it, else RFC 5649. */
CK_RV kyok_wrap_object(const struct kyok_lease *lease, CK_OBJECT_HANDLE by, CK_OBJECT_HANDLE object,
                       uint8_t *wrapped, size_t *size);
CK_RV kyok_unwrap_object(const struct kyok_lease *lease, CK_OBJECT_HANDLE by,
                         struct kyok_bytes wrapped, const struct kyok_template *template,
                         CK_OBJECT_HANDLE *object);

#endif
