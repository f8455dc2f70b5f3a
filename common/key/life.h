/* SPDX-License-Identifier: Apache-2.0 */
/* Private to key/: what the files of a key's life share. */
#ifndef KYOK_KEY_LIFE_H
#define KYOK_KEY_LIFE_H

#include "common/key/context.h"
#include "common/key/lifecycle.h"
#include "common/pkcs11/pkcs11.h"

#include <stdlib.h>

/* The token group behind a reference. */
struct kyok_life {
    struct kyok_context *context;
    const struct kyok_reference *reference;
    struct kyok_custodian *custodian;
    char base[KYOK_RECORD_LABEL_MAX + 1]; /* the key's name */
};
enum kyok_status kyok_life_begin(struct kyok_context *context,
                                 const struct kyok_reference *reference, struct kyok_life *life,
                                 struct kyok_error *err);
/* Opens the key of exactly this version. */
enum kyok_status kyok_life_open(const struct kyok_life *life, const struct kyok_key_name *name,
                                struct kyok_key **key, struct kyok_error *err);
/* token, object and id of a version. */
enum kyok_status kyok_life_reference(const struct kyok_life *life, const struct kyok_key_name *name,
                                     struct kyok_reference **reference, struct kyok_error *err);
enum kyok_status kyok_life_record(const struct kyok_life *life, struct kyok_key_record *record,
                                  struct kyok_error *err);
/* The version that the reference names: by label and id, or by label alone. */
enum kyok_status kyok_life_version(const struct kyok_life *life, struct kyok_key_record *record,
                                   struct kyok_key_version **version, struct kyok_error *err);
/* Writes down what the dates have made of the versions, and brings usage attributes after it. An
 * activation that cannot be carried out is an error; a deactivation holds for kyok whatever the
 * token says. */
enum kyok_status kyok_life_settle(const struct kyok_life *life, struct kyok_key_record *record,
                                  struct kyok_error *err);
enum kyok_status kyok_life_need_name(const struct kyok_life *life, struct kyok_error *err);
/* Of a key to be made: a label that is no version's, and no key's yet. */
enum kyok_status kyok_life_need_new_name(const struct kyok_life *life, struct kyok_error *err);
enum kyok_status kyok_life_refuse_existing(const struct kyok_life *life, struct kyok_error *err);
enum kyok_status kyok_life_new_id(struct kyok_key_name *name, struct kyok_error *err);
/* A new version in every token of the group, after old (spread.c): in the record as pre-active
 * first, so that a run that is killed is taken back by the next. */
enum kyok_status kyok_life_add_everywhere(const struct kyok_life *life,
                                          struct kyok_key_record *record,
                                          const struct kyok_key_version *old, bool allow_sha1,
                                          struct kyok_error *err);
/* What such a run has left, if the record tells of one: out of the tokens, then of the record. */
enum kyok_status kyok_life_take_back(const struct kyok_life *life, struct kyok_key_record *record,
                                     struct kyok_error *err);
void kyok_life_event(const char *type, const struct kyok_life *life,
                     const struct kyok_key_name *name, const char *detail, enum kyok_status status);

/* Tries what a token is asked to do with RSA-OAEP: with SHA-256, then with SHA-1 where that is
 * allowed and another hash may help. */
typedef enum kyok_status kyok_life_oaep_attempt(const struct kyok_life *life, void *arg,
                                                enum kyok_hash hash, struct kyok_error *err);
enum kyok_status kyok_life_try_oaep(const struct kyok_life *life, kyok_life_oaep_attempt *attempt,
                                    void *arg, bool allow_sha1, struct kyok_error *err);

/* What is asked of the group (life_call.c): as kyok_group_*(), each call under the group's timeout
 * and, with isolate, on its executor. KYOK_TIMEOUT: it may still be under way, and whoever tries
 * again looks first. */
enum kyok_status kyok_life_read(const struct kyok_life *life, const char *name,
                                struct kyok_key_record *record, struct kyok_error *err);
enum kyok_status kyok_life_write(const struct kyok_life *life, struct kyok_key_record *record,
                                 struct kyok_error *err);
/* Destroys the record in every token. */
enum kyok_status kyok_life_forget_record(const struct kyok_life *life, const char *name,
                                         struct kyok_error *err);
enum kyok_status kyok_life_list(const struct kyok_life *life, kyok_record_visitor *visit,
                                void *caller, struct kyok_error *err);
enum kyok_status kyok_life_set_usage(const struct kyok_life *life, struct kyok_key *key,
                                     unsigned usage, struct kyok_error *err);
enum kyok_status kyok_life_destroy(const struct kyok_life *life, struct kyok_key *key,
                                   struct kyok_error *err);
enum kyok_status kyok_life_descend(const struct kyok_life *life, struct kyok_key *parent,
                                   struct kyok_key_version *version, struct kyok_error *err);
enum kyok_status kyok_life_rewrap(const struct kyok_life *life, struct kyok_key *parent,
                                  const struct kyok_key_name *name,
                                  struct kyok_key_version *version, struct kyok_error *err);
enum kyok_status kyok_life_check_value(const struct kyok_life *life, struct kyok_key *key,
                                       uint8_t check_value[3], struct kyok_error *err);
enum kyok_status kyok_life_try_carrier(const struct kyok_life *life, struct kyok_key *transport,
                                       enum kyok_hash hash, struct kyok_bytes key_wrapped,
                                       struct kyok_error *err);
enum kyok_status kyok_life_import(const struct kyok_life *life, struct kyok_key *transport,
                                  struct kyok_import_request *request, struct kyok_error *err);
enum kyok_status kyok_life_replicate(const struct kyok_life *life, struct kyok_key *key,
                                     const char *target, const struct kyok_key_version *version,
                                     enum kyok_hash hash, struct kyok_error *err);
enum kyok_status kyok_life_tokens(const struct kyok_life *life, size_t *count,
                                  struct kyok_error *err);
enum kyok_status kyok_life_spread(const struct kyok_life *life,
                                  const struct kyok_spread_request *request,
                                  struct kyok_error *err);
enum kyok_status kyok_life_forget(const struct kyok_life *life, const struct kyok_key_name *name,
                                  struct kyok_error *err);

/* The same at a KMIP server (life_kmip.c, kmip_rotate.c). */
enum kyok_status kyok_life_kmip_record(struct kyok_context *context,
                                       const struct kyok_reference *reference,
                                       struct kyok_key_record *record, struct kyok_error *err);
enum kyok_status kyok_life_kmip_set_state(struct kyok_context *context,
                                          const struct kyok_reference *reference,
                                          enum kyok_key_state state, struct kyok_error *err);
enum kyok_status kyok_life_kmip_set_dates(struct kyok_context *context,
                                          const struct kyok_reference *reference,
                                          const int64_t *activate, const int64_t *deactivate,
                                          struct kyok_error *err);
enum kyok_status kyok_life_kmip_generate(struct kyok_context *context,
                                         const struct kyok_reference *reference,
                                         const struct kyok_generate_request *request,
                                         struct kyok_reference **made, struct kyok_error *err);
enum kyok_status kyok_life_kmip_exact(struct kyok_context *context,
                                      const struct kyok_reference *reference,
                                      struct kyok_reference **exact, struct kyok_error *err);
enum kyok_status kyok_life_kmip_newest(struct kyok_context *context,
                                       const struct kyok_reference *reference,
                                       struct kyok_reference **newest, struct kyok_error *err);
enum kyok_status kyok_life_kmip_rotate(struct kyok_context *context,
                                       const struct kyok_reference *reference,
                                       struct kyok_reference **made, struct kyok_error *err);
enum kyok_status kyok_life_kmip_descend(struct kyok_context *context,
                                        const struct kyok_reference *root, const char *name,
                                        struct kyok_reference **made, struct kyok_error *err);
enum kyok_status kyok_life_kmip_records(struct kyok_context *context,
                                        const struct kyok_reference *reference,
                                        kyok_key_record_visitor *visit, void *caller,
                                        struct kyok_error *err);
enum kyok_status kyok_life_kmip_destroy(struct kyok_context *context,
                                        const struct kyok_reference *reference,
                                        struct kyok_error *err);

void kyok_key_auto_free(struct kyok_key **key);
void kyok_reference_auto_free(struct kyok_reference **reference);
#define KYOK_AUTO_KEY KYOK_CLEANUP(kyok_key_auto_free)
#define KYOK_AUTO_REFERENCE KYOK_CLEANUP(kyok_reference_auto_free)
/* A record is 30 KiB: on the heap. */
#define KYOK_AUTO_RECORD KYOK_AUTO_FREE struct kyok_key_record *
struct kyok_key_record *kyok_life_record_new(struct kyok_error *err);

#endif
