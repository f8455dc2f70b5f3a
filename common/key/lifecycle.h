/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of keys in a token group: versions, states, descendants, import, destruction. At a KMIP
 * server these are the server's own operations (kyok kmip). Every step leaves a state from which a
 * second run completes, and no version that an envelope names stops opening it before it is
 * destroyed on purpose.
 */
#ifndef KYOK_KEY_LIFECYCLE_H
#define KYOK_KEY_LIFECYCLE_H

#include "common/base/key_record.h"
#include "common/key/key.h"

/* The record of the key that reference names, by any of its versions' labels. Without one, what the
 * token's attributes say of its one version. record->serial 0: there is none yet. */
enum kyok_status kyok_key_record(struct kyok_context *context,
                                 const struct kyok_reference *reference,
                                 struct kyok_key_record *record, struct kyok_error *err);
/* Every record of the group that reference names. */
typedef bool kyok_key_record_visitor(void *caller, const struct kyok_key_record *record);
enum kyok_status kyok_key_records(struct kyok_context *context,
                                  const struct kyok_reference *reference,
                                  kyok_key_record_visitor *visit, void *caller,
                                  struct kyok_error *err);

/* The version to protect new data with: reference itself when it names an exact one (id) or there
 * is no record, else the newest active one. kyok_key_newest() also looks on from an exact one. */
enum kyok_status kyok_key_current(struct kyok_context *context,
                                  const struct kyok_reference *reference,
                                  struct kyok_reference **current, struct kyok_error *err);
enum kyok_status kyok_key_newest(struct kyok_context *context,
                                 const struct kyok_reference *reference,
                                 struct kyok_reference **newest, struct kyok_error *err);

/* The reference of exactly the version that reference names: at a KMIP server by its identifier. */
enum kyok_status kyok_key_exact(struct kyok_context *context,
                                const struct kyok_reference *reference,
                                struct kyok_reference **exact, struct kyok_error *err);

/* The usage attributes on every member, then the word in the record. A reference without id means
 * the version with exactly that label. */
enum kyok_status kyok_key_set_state(struct kyok_context *context,
                                    const struct kyok_reference *reference,
                                    enum kyok_key_state state, struct kyok_error *err);

/* When a version changes its state by itself; seconds since 1970, 0: never. */
struct kyok_key_dates {
    int64_t activate, deactivate;
};
/* Of the version that reference names: a pre-active one's activation, any living one's
 * deactivation. NULL: as it is. */
enum kyok_status kyok_key_set_dates(struct kyok_context *context,
                                    const struct kyok_reference *reference, const int64_t *activate,
                                    const int64_t *deactivate, struct kyok_error *err);
/* What the dates have made of a key's versions is written down and told its custodian. */
enum kyok_status kyok_key_settle(struct kyok_context *context,
                                 const struct kyok_reference *reference, struct kyok_error *err);
/* kyok_key_generate() of a key with a recorded life: pre-active, with dates, or both. *made: its
 * reference. A run that was killed is completed by a second one. */
enum kyok_status kyok_key_generate_recorded(struct kyok_context *context,
                                            const struct kyok_reference *reference,
                                            const struct kyok_generate_request *request,
                                            struct kyok_reference **made, struct kyok_error *err);

/* A key in every token of the group that reference fits, two at least: made in one for the moment,
 * wrapped for each. It cannot leave any, but meets non-extractable only; where the group requires
 * never-extractable it is refused. All get it or none; a run that was killed is made up for by the
 * next. allow_sha1: as for kyok_key_rotate(). */
enum kyok_status kyok_key_generate_everywhere(struct kyok_context *context,
                                              const struct kyok_reference *reference,
                                              const struct kyok_generate_request *request,
                                              bool allow_sha1, struct kyok_reference **made,
                                              struct kyok_error *err);

/* A new version; descendants of an AES key are rewrapped to it and older AES versions deactivated.
 * A rotation that was interrupted is completed instead. *made: its reference. In a group of several
 * tokens each gets the version, wrapped from one to the others, or none does; allow_sha1: where the
 * tokens know RSA-OAEP with SHA-1 only. A key that never leaves its token is refused. */
enum kyok_status kyok_key_rotate(struct kyok_context *context,
                                 const struct kyok_reference *reference, bool allow_sha1,
                                 struct kyok_reference **made, struct kyok_error *err);

/* A key named name that exists only wrapped by root. */
enum kyok_status kyok_key_descend(struct kyok_context *context, const struct kyok_reference *root,
                                  const char *name, struct kyok_reference **made,
                                  struct kyok_error *err);

/* Destroys the version that reference names. Refused while it has descendants, unless forced. */
enum kyok_status kyok_key_destroy(struct kyok_context *context,
                                  const struct kyok_reference *reference, bool force,
                                  struct kyok_error *err);

/* The same AES key into another token of its group, by its label; members are compared afterwards.
 * A key that may not leave its token is refused. */
enum kyok_status kyok_key_replicate(struct kyok_context *context,
                                    const struct kyok_reference *reference, const char *token,
                                    bool allow_sha1, struct kyok_error *err);

/* Makes the transport key pair for importing a key as reference names it, finds the best OAEP hash
 * that the token takes, and gives the public half (SubjectPublicKeyInfo, appended). */
enum kyok_status kyok_key_import_begin(struct kyok_context *context,
                                       const struct kyok_reference *reference, bool allow_sha1,
                                       enum kyok_hash *hash, struct kyok_buffer *public_key,
                                       struct kyok_error *err);
/* A key on its way into a token. */
struct kyok_sealed_key {
    enum kyok_hash hash;                      /* of RSA-OAEP */
    struct kyok_buffer key_wrapped, material; /* RSA-OAEP around a key of the moment; AES-KWP */
    enum kyok_key_type type;                  /* AES, RSA, EC */
    struct kyok_buffer public_key;            /* a pair's SubjectPublicKeyInfo */
    /* The first bytes of an encrypted zero block, or of SHA-256 of a pair's public_key. */
    uint8_t check_value[3];
};
void kyok_sealed_key_free(struct kyok_sealed_key *sealed);
/* On another machine: wraps material (an AES key of 16, 24 or 32 bytes, or an RSA or EC private key
 * in PEM or DER) for the transport key. sealed->hash is set by the caller. */
enum kyok_status kyok_key_import_seal(struct kyok_bytes transport, struct kyok_bytes material,
                                      struct kyok_sealed_key *sealed, struct kyok_error *err);
/* Unwraps inside the token, destroys the transport key. sealed->check_value: in what the other
 * machine told, out what the token's key has. A second run of one that was killed completes it. */
enum kyok_status kyok_key_import(struct kyok_context *context,
                                 const struct kyok_reference *reference,
                                 struct kyok_sealed_key *sealed, struct kyok_error *err);

#endif
