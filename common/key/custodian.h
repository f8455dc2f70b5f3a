/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to key/: what the key layer asks of a custodian. Each call is synchronous and may run in
 * an executor thread or directly in the caller; waiting is key.c's and work's business. One table
 * per kind: pkcs11_custodian.c, kmip_custodian.c.
 */
#ifndef KYOK_KEY_CUSTODIAN_H
#define KYOK_KEY_CUSTODIAN_H

#include "common/key/key.h"
#include "common/work/work.h"

#include <stdatomic.h>

struct kyok_custodian;

/* Signatures since the last event of a key in this process. */
struct kyok_tally {
    _Atomic uint64_t process; /* generation that the counts belong to */
    _Atomic uint64_t count, failures;
    _Atomic int64_t told_ns;
};

struct kyok_key {
    _Atomic unsigned references;
    struct kyok_context *context;
    struct kyok_custodian *custodian;
    struct kyok_reference *reference;
    struct kyok_key_info info; /* filled by open; with a deferred key from its PEM reference */
    void *own;                 /* the custodian's, per key; survives fork */
    struct kyok_tally signatures;
};

struct kyok_custodian_ops {
    /* Finds the one key that fits key->reference (private or secret), checks require, fills
     * key->info (all strings on the heap; what is set already, such as a public half, must agree).
     */
    enum kyok_status (*open)(struct kyok_key *key, struct kyok_deadline deadline,
                             struct kyok_error *err);
    /* Prepares a key whose public half is known, contacting nothing. */
    enum kyok_status (*defer)(struct kyok_key *key, struct kyok_error *err);
    enum kyok_status (*check)(struct kyok_key *key, struct kyok_deadline deadline,
                              struct kyok_error *err);
    void (*release)(struct kyok_key *key); /* frees key->own */
    bool (*wants_data)(const struct kyok_key *key);
    enum kyok_status (*sign)(struct kyok_key *key, const struct kyok_sign_request *request,
                             uint8_t *signature, size_t *size, struct kyok_deadline deadline,
                             struct kyok_error *err);
    enum kyok_status (*decrypt)(struct kyok_key *key, const struct kyok_cipher_request *request,
                                struct kyok_secret **output, struct kyok_deadline deadline,
                                struct kyok_error *err);
    enum kyok_status (*encrypt)(struct kyok_key *key, struct kyok_cipher_request *request,
                                struct kyok_buffer *output, struct kyok_deadline deadline,
                                struct kyok_error *err);
    enum kyok_status (*derive)(struct kyok_key *key, struct kyok_bytes peer,
                               struct kyok_secret **secret, struct kyok_deadline deadline,
                               struct kyok_error *err);
    /* The key's bytes, which the custodian gives out; NULL: it never does. */
    enum kyok_status (*value)(struct kyok_key *key, struct kyok_secret **value,
                              struct kyok_deadline deadline, struct kyok_error *err);
    enum kyok_status (*list)(struct kyok_custodian *custodian,
                             const struct kyok_reference *reference, bool login,
                             kyok_key_visitor *visit, void *caller, struct kyok_deadline deadline,
                             struct kyok_error *err);
    enum kyok_status (*generate)(struct kyok_custodian *custodian,
                                 const struct kyok_reference *reference,
                                 const struct kyok_generate_request *request,
                                 struct kyok_deadline deadline, struct kyok_error *err);
    enum kyok_status (*random)(struct kyok_custodian *custodian, uint8_t *data, size_t size,
                               struct kyok_deadline deadline, struct kyok_error *err);
    void (*figures)(struct kyok_custodian *custodian, kyok_figures_visitor *visit, void *caller);
    /* Closes what this process holds open there, but for what kept (NULL: nothing) uses as well;
     * NULL: it holds nothing for long. */
    void (*leave)(struct kyok_custodian *custodian, struct kyok_context *kept,
                  struct kyok_deadline deadline);
    void (*free)(struct kyok_custodian *custodian);
};

/* One group. Immutable after creation but for what own holds; survives fork. */
struct kyok_custodian {
    const struct kyok_custodian_ops *ops;
    char *name;
    uint64_t serial; /* unique in the process and its children: names the lane and live state */
    unsigned timeout_ms;
    bool isolate;
    void *own; /* struct kyok_group, struct kyok_kmip_group */
    struct kyok_custodian *next;
    struct kyok_context *context; /* holds the custodian */
};

/* Makers; *config outlives the custodian (the context holds both). */
/* pin: a reference's pin-value, taken; or NULL. */
enum kyok_status kyok_pkcs11_custodian_new(const struct kyok_token_config *config,
                                           struct kyok_secret *pin,
                                           struct kyok_custodian **custodian,
                                           struct kyok_error *err);
enum kyok_status kyok_kmip_custodian_new(const struct kyok_kmip_config *config,
                                         struct kyok_custodian **custodian, struct kyok_error *err);

/* The custodians that a reference may mean, best first, at most room; none is an error. */
enum kyok_status kyok_custodians_find(struct kyok_context *context,
                                      const struct kyok_reference *reference,
                                      struct kyok_custodian **found, size_t room, size_t *count,
                                      struct kyok_deadline deadline, struct kyok_error *err);
#define KYOK_CUSTODIANS_MOST 32
/* The one that it means, where there must be no choice. */
enum kyok_status kyok_custodian_find(struct kyok_context *context,
                                     const struct kyok_reference *reference,
                                     struct kyok_custodian **custodian, struct kyok_error *err);

/* This process's executor lane of a custodian; NULL: no memory. */
struct kyok_lane *kyok_custodian_lane(const struct kyok_custodian *custodian);
/* From now, by the custodian's timeout or the host's override. */
struct kyok_deadline kyok_custodian_deadline(const struct kyok_custodian *custodian);

#endif
