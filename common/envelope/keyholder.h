/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What envelopes ask of a custodian: wrap a content key for a recipient, and unwrap it. The real
 * one (key_keyholder.c) goes through the key layer; unit tests and fuzzers bring one with keys in
 * memory.
 */
#ifndef KYOK_ENVELOPE_KEYHOLDER_H
#define KYOK_ENVELOPE_KEYHOLDER_H

#include "common/envelope/jwe.h"

struct kyok_keyholder {
    const struct kyok_keyholder_type *type;
    void
        *self; /* reference-counted by the two functions below: losers of a race outlive the call */
};

struct kyok_keyholder_type {
    /* Wraps cek for the key that reference names; fills *recipient, exact kid included. */
    enum kyok_status (*wrap)(void *self, const struct kyok_reference *reference,
                             enum kyok_envelope_algorithm algorithm, struct kyok_bytes cek,
                             struct kyok_jwe_recipient *recipient, struct kyok_error *err);
    /* The same for a recipient known by its kid only. */
    enum kyok_status (*wrap_kid)(void *self, const char *kid,
                                 enum kyok_envelope_algorithm algorithm, struct kyok_bytes cek,
                                 struct kyok_jwe_recipient *recipient, struct kyok_error *err);
    /* The exact kid that wrap() would give. */
    enum kyok_status (*name)(void *self, const struct kyok_reference *reference, char **kid,
                             struct kyok_error *err);
    /* kid overrides the recipient's (foreign JSON) unless NULL. Called in any thread. */
    enum kyok_status (*unwrap)(void *self, const struct kyok_jwe_recipient *recipient,
                               const char *kid, struct kyok_secret **cek, struct kyok_error *err);
    /* Lower is asked first: 0 known to be well, 1 not known, 2 known to be away. *custodian: name
     * of the executor lane, so that a hanging custodian holds up no other. */
    int (*rank)(void *self, const char *kid, const char **custodian);
    /* How long one custodian may take. */
    unsigned (*timeout_ms)(void *self);
    void (*up_ref)(void *self);
    void (*free)(void *self);
};

/* Takes a reference to context until freed. */
struct kyok_keyholder kyok_key_keyholder(struct kyok_context *context);
void kyok_keyholder_free(struct kyok_keyholder *holder);

/* The content key of a layer from whichever of its recipients gives it first. The best-ranked is
 * asked at once, the next when one failed or has been silent for KYOK_RACE_HEAD_START_MS; a silent
 * one is left behind. *opened_by (may be NULL): the recipient that gave it. */
#define KYOK_RACE_HEAD_START_MS 250
enum kyok_status kyok_race_unwrap(const struct kyok_keyholder *holder,
                                  const struct kyok_jwe_recipients *recipients, const char *kid,
                                  struct kyok_deadline deadline, struct kyok_secret **cek,
                                  size_t *opened_by, struct kyok_error *err);

/* The key that options name for foreign JSON, as a kid; NULL otherwise. */
enum kyok_status kyok_opening_kid(const struct kyok_keyholder *holder,
                                  const struct kyok_envelope_options *options, char **kid,
                                  struct kyok_error *err);
struct kyok_deadline kyok_opening_deadline(const struct kyok_envelope_options *options);

/* The event of an opening: "open", or "refuse" when status is not KYOK_OK. envelope may be NULL. */
void kyok_envelope_tell(const struct kyok_envelope *envelope, enum kyok_status status,
                        const char *detail);
/* Tells of a refusal, returns its status. */
enum kyok_status kyok_envelope_refuse(const struct kyok_envelope *envelope,
                                      const struct kyok_error *err);

/* The public functions, with the custodian passed in. */
enum kyok_status kyok_envelope_seal_with(const struct kyok_keyholder *holder,
                                         const struct kyok_policy *policy,
                                         const struct kyok_envelope_claims *claims,
                                         enum kyok_envelope_content content,
                                         struct kyok_bytes secret,
                                         const struct kyok_envelope_options *options,
                                         struct kyok_buffer *json, struct kyok_error *err);
enum kyok_status kyok_envelope_open_with(const struct kyok_keyholder *holder,
                                         struct kyok_bytes json,
                                         const struct kyok_envelope_expected *expected,
                                         enum kyok_envelope_content content,
                                         const struct kyok_envelope_options *options,
                                         struct kyok_secret **secret, struct kyok_envelope **opened,
                                         struct kyok_error *err);
enum kyok_status kyok_envelope_change_with(const struct kyok_keyholder *holder,
                                           struct kyok_bytes json,
                                           const struct kyok_envelope_expected *expected,
                                           const struct kyok_envelope_change *changes, size_t count,
                                           const struct kyok_envelope_options *options,
                                           struct kyok_buffer *changed, struct kyok_error *err);
enum kyok_status kyok_envelope_rewrap_with(const struct kyok_keyholder *holder,
                                           struct kyok_bytes json,
                                           const struct kyok_envelope_expected *expected,
                                           const struct kyok_policy *policy,
                                           const struct kyok_envelope_options *options,
                                           struct kyok_buffer *rewrapped, struct kyok_error *err);
enum kyok_status kyok_stream_seal_with(const struct kyok_keyholder *holder,
                                       const struct kyok_policy *policy,
                                       const struct kyok_envelope_claims *claims, int in, int out,
                                       const struct kyok_envelope_options *options,
                                       struct kyok_error *err);
enum kyok_status kyok_stream_open_with(const struct kyok_keyholder *holder, int in, int out,
                                       const struct kyok_envelope_expected *expected,
                                       const struct kyok_envelope_options *options,
                                       struct kyok_envelope **opened, struct kyok_error *err);

/* One layer: opens content with cek into plaintext, or encrypts it anew (jwe->envelope and
 * recipients set; iv, tag, protected_text and ciphertext filled). */
enum kyok_status kyok_layer_open(const struct kyok_jwe *jwe, struct kyok_bytes cek,
                                 struct kyok_secret **plaintext, struct kyok_error *err);
enum kyok_status kyok_layer_wrap(const struct kyok_keyholder *holder,
                                 const struct kyok_reference *reference,
                                 enum kyok_envelope_algorithm algorithm, struct kyok_bytes cek,
                                 struct kyok_jwe_recipients *recipients, struct kyok_error *err);
/* Replaces jwe->envelope: the claims, the present recipients, and the layers inside. */
enum kyok_status kyok_layer_describe(struct kyok_jwe *jwe,
                                     const struct kyok_envelope_claims *claims,
                                     enum kyok_envelope_content content,
                                     const struct kyok_envelope_layer *inner, size_t inner_count,
                                     struct kyok_error *err);
enum kyok_status kyok_layer_seal(struct kyok_jwe *jwe, struct kyok_bytes cek,
                                 struct kyok_bytes plaintext, struct kyok_error *err);
/* A layer against what the layer around it says: same claims, and the tail of its recipients. */
enum kyok_status kyok_layer_agrees(const struct kyok_envelope *outer,
                                   const struct kyok_envelope *inner, struct kyok_error *err);

#endif
