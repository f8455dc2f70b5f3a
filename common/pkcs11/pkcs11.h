/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pkcs11: modules, token groups, sessions, objects, mechanisms. The only code that calls C_*
 * functions (PKCS#11 2.40; the 3.0 Edwards mechanisms). It never decides how a caller waits: every
 * call here is synchronous, under a deadline that bounds all of kyok's own waiting.
 */
#ifndef KYOK_PKCS11_H
#define KYOK_PKCS11_H

#include "common/base/base.h"
#include "common/base/key_record.h"
#include "common/config/config.h"

/* The definition of a group of replica tokens: survives fork; its live state is per process. */
struct kyok_group;
/* One private or secret key in a group, and what must hold for it. Survives fork. */
struct kyok_group_key;

/* *config must outlive the group. pin may be NULL; else it is used instead of config->pin_source (a
 * reference's pin-value), and is taken. */
enum kyok_status kyok_group_new(const struct kyok_token_config *config, struct kyok_secret *pin,
                                struct kyok_group **group, struct kyok_error *err);
void kyok_group_free(struct kyok_group *group);
/* Closes this process's idle sessions at those members that no group of kept has as well: the last
 * one takes the login along. */
void kyok_group_leave(struct kyok_group *group, struct kyok_group *const *kept, size_t kept_count,
                      struct kyok_deadline deadline);
/* As kyok.conf has it. */
const char *kyok_group_name(const struct kyok_group *group);

/* Runs work(arg) soon on another thread, for probing members that are away; false when it cannot.
 */
typedef bool kyok_group_background(void *host, void (*work)(void *arg), void *arg);
void kyok_group_set_background(struct kyok_group *group, kyok_group_background *background,
                               void *host);

/* Whether reference's token, slot and library attributes mean this group: KYOK_YES and KYOK_NO by
 * the group's own URIs, KYOK_NOT_KNOWN when only its tokens can tell. Contacts nothing. */
enum kyok_answer kyok_group_fits(const struct kyok_group *group,
                                 const struct kyok_reference *reference);
/* True when reference's token, slot and library attributes fit a present member. */
enum kyok_status kyok_group_matches(struct kyok_group *group,
                                    const struct kyok_reference *reference, bool *matches,
                                    struct kyok_deadline deadline, struct kyok_error *err);

/* Finds the key, on the first member that has it, and fills info. expected: the public half that it
 * must have, or empty. */
enum kyok_status kyok_group_key_open(struct kyok_group *group,
                                     const struct kyok_reference *reference,
                                     struct kyok_bytes expected, struct kyok_key_info *info,
                                     struct kyok_group_key **key, struct kyok_deadline deadline,
                                     struct kyok_error *err);
/* The same without contact: public_key is believed until first use. */
enum kyok_status kyok_group_key_defer(struct kyok_group *group,
                                      const struct kyok_reference *reference,
                                      struct kyok_bytes public_key, struct kyok_group_key **key,
                                      struct kyok_error *err);
void kyok_group_key_free(struct kyok_group_key *key);
/* Every reachable member: present, require met, same public half or check value. */
enum kyok_status kyok_group_key_check(struct kyok_group_key *key, struct kyok_deadline deadline,
                                      struct kyok_error *err);

enum kyok_status kyok_group_sign(struct kyok_group_key *key,
                                 const struct kyok_sign_request *request, uint8_t *signature,
                                 size_t *size, struct kyok_deadline deadline,
                                 struct kyok_error *err);
enum kyok_status kyok_group_decrypt(struct kyok_group_key *key,
                                    const struct kyok_cipher_request *request,
                                    struct kyok_secret **output, struct kyok_deadline deadline,
                                    struct kyok_error *err);
enum kyok_status kyok_group_encrypt(struct kyok_group_key *key, struct kyok_cipher_request *request,
                                    struct kyok_buffer *output, struct kyok_deadline deadline,
                                    struct kyok_error *err);
enum kyok_status kyok_group_derive(struct kyok_group_key *key, struct kyok_bytes peer,
                                   struct kyok_secret **secret, struct kyok_deadline deadline,
                                   struct kyok_error *err);
enum kyok_status kyok_group_random(struct kyok_group *group, uint8_t *data, size_t size,
                                   struct kyok_deadline deadline, struct kyok_error *err);
enum kyok_status kyok_group_generate(struct kyok_group *group,
                                     const struct kyok_reference *reference,
                                     const struct kyok_generate_request *request,
                                     struct kyok_deadline deadline, struct kyok_error *err);

/* What a key that is generated for these uses (0: the usual ones) may do when active: bits of enum
 * kyok_key_usage. */
unsigned kyok_generated_usage(enum kyok_key_type type, unsigned uses);

typedef bool kyok_object_visitor(void *caller, const struct kyok_key_info *info);
/* Objects of the first healthy member that fit reference. */
enum kyok_status kyok_group_list(struct kyok_group *group, const struct kyok_reference *reference,
                                 bool login, kyok_object_visitor *visit, void *caller,
                                 struct kyok_deadline deadline, struct kyok_error *err);

typedef void kyok_member_visitor(void *caller, const struct kyok_custodian_figures *figures);
void kyok_group_figures(struct kyok_group *group, kyok_member_visitor *visit, void *caller);

/* --- the life of keys (record.c, life.c, descendant.c) --- */

/* The record of a key's name, from the first member that has one; KYOK_NOT_FOUND without. */
enum kyok_status kyok_group_record_read(struct kyok_group *group,
                                        const struct kyok_reference *reference, const char *name,
                                        struct kyok_key_record *record,
                                        struct kyok_deadline deadline, struct kyok_error *err);
/* Counts record->serial up and writes to every member, each of which must answer. A crash leaves
 * the old record, the new one, or both, of which the newer counts. */
enum kyok_status kyok_group_record_write(struct kyok_group *group,
                                         const struct kyok_reference *reference,
                                         struct kyok_key_record *record,
                                         struct kyok_deadline deadline, struct kyok_error *err);
typedef bool kyok_record_visitor(void *caller, const struct kyok_key_record *record);
enum kyok_status kyok_group_record_list(struct kyok_group *group,
                                        const struct kyok_reference *reference,
                                        kyok_record_visitor *visit, void *caller,
                                        struct kyok_deadline deadline, struct kyok_error *err);

/* The usage attributes of an object of its own (enum kyok_key_usage), on every member. */
enum kyok_status kyok_group_set_usage(struct kyok_group_key *key, unsigned usage,
                                      struct kyok_deadline deadline, struct kyok_error *err);
/* On every member, with its public half. */
enum kyok_status kyok_group_destroy(struct kyok_group_key *key, struct kyok_deadline deadline,
                                    struct kyok_error *err);

/* A new AES-256 key that exists nowhere but wrapped by parent; made and wrapped in the token. */
enum kyok_status kyok_group_descend(struct kyok_group_key *parent, struct kyok_key_version *version,
                                    struct kyok_deadline deadline, struct kyok_error *err);
/* The same key wrapped by another parent, in the token; *version is changed. */
enum kyok_status kyok_group_rewrap(struct kyok_group_key *parent, const struct kyok_key_name *name,
                                   struct kyok_key_version *version, struct kyok_deadline deadline,
                                   struct kyok_error *err);

/* A key that comes in wrapped: key_wrapped is a key under transport (RSA-OAEP with hash), material
 * is under that (RFC 5649) an AES key, or the PKCS#8 of an RSA or EC key whose public half is
 * public_key. Becomes a token object of this name, not extractable; a pair's public half too. */
struct kyok_import_request {
    enum kyok_hash hash;
    struct kyok_bytes key_wrapped, material;
    enum kyok_key_type type;
    struct kyok_bytes public_key; /* SubjectPublicKeyInfo of a pair */
    struct kyok_key_name name;
    unsigned usage;
    unsigned withheld;      /* of usage: what the key's state takes from it for now */
    uint8_t check_value[3]; /* AES: in what is expected, out of the key that came in */
};
/* The first three bytes of an encrypted zero block, as paper keeps it. */
enum kyok_status kyok_group_check_value(struct kyok_group_key *key, uint8_t check_value[3],
                                        struct kyok_deadline deadline, struct kyok_error *err);
/* Whether the token unwraps a key with this hash; nothing stays there. */
enum kyok_status kyok_group_try_carrier(struct kyok_group_key *transport, enum kyok_hash hash,
                                        struct kyok_bytes key_wrapped,
                                        struct kyok_deadline deadline, struct kyok_error *err);
enum kyok_status kyok_group_import(struct kyok_group_key *transport,
                                   struct kyok_import_request *request,
                                   struct kyok_deadline deadline, struct kyok_error *err);

/* Destroys the record of this name in every token. */
enum kyok_status kyok_group_record_forget(struct kyok_group *group,
                                          const struct kyok_reference *reference, const char *name,
                                          struct kyok_deadline deadline, struct kyok_error *err);

/* The same AES, RSA or EC key into the group's token that is labelled target, wrapped from token to
 * token under RSA-OAEP with hash. KYOK_REFUSED for a key that may not leave its token. */
struct kyok_replicate_request {
    const char *target;
    const struct kyok_key_name *name;
    unsigned usage, withheld; /* as for an import */
    enum kyok_hash hash;
};
enum kyok_status kyok_group_replicate(struct kyok_group_key *key,
                                      const struct kyok_replicate_request *request,
                                      struct kyok_deadline deadline, struct kyok_error *err);

/* How many tokens of the group reference fits, all of which must be there. */
enum kyok_status kyok_group_tokens(struct kyok_group *group, const struct kyok_reference *reference,
                                   size_t *count, struct kyok_deadline deadline,
                                   struct kyok_error *err);
/* A new AES, RSA or EC key in every token of the group that reference fits: made in the first of
 * them as an object of the session, and unwrapped in each under name. Whoever is interrupted calls
 * kyok_group_forget(). */
struct kyok_spread_request {
    enum kyok_key_type type;
    unsigned bits;
    unsigned usage; /* enum kyok_key_usage */
    enum kyok_hash hash;
    const struct kyok_key_name *name;
};
enum kyok_status kyok_group_spread(struct kyok_group *group, const struct kyok_reference *reference,
                                   const struct kyok_spread_request *request,
                                   struct kyok_deadline deadline, struct kyok_error *err);
/* Destroys the keys of exactly this label and id in every token of the group that has them. */
enum kyok_status kyok_group_forget(struct kyok_group *group, const struct kyok_reference *reference,
                                   const struct kyok_key_name *name, struct kyok_deadline deadline,
                                   struct kyok_error *err);

/* True in a thread that is inside a module's function: a module that uses this process's libcrypto
 * must not be led back to kyok. */
bool kyok_inside_module(void);

#endif
