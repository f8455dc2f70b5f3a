/* SPDX-License-Identifier: Apache-2.0 */
/* Private to key/: the versions of a key at a KMIP server, as its links and names tell them. */
#ifndef KYOK_KEY_LIFE_KMIP_H
#define KYOK_KEY_LIFE_KMIP_H

#include "common/key/life.h"
#include "common/kmip/kmip.h"

struct kyok_life_version {
    char identifier[KYOK_RECORD_LABEL_MAX + 1];
    char name[KYOK_RECORD_LABEL_MAX + 1]; /* "": none, or its replacement took it over */
    char parent[KYOK_RECORD_LABEL_MAX + 1];
    enum kyok_kmip_object_type object_type;
    enum kyok_kmip_cryptographic_algorithm algorithm;
    unsigned bits;
    uint32_t usage;
    enum kyok_key_state state; /* a server that tells none is believed to mean active */
    int64_t activate, deactivate;
    unsigned words; /* values of x-kyok-state */
    char replacement[KYOK_RECORD_LABEL_MAX + 1], replaced[KYOK_RECORD_LABEL_MAX + 1];
    char public_key[KYOK_RECORD_LABEL_MAX + 1];
};

struct kyok_kmip_life {
    struct kyok_context *context;
    struct kyok_custodian *custodian;
    struct kyok_kmip_client *client;
    const struct kyok_reference *reference;
    struct kyok_deadline deadline;
    char base[KYOK_RECORD_LABEL_MAX + 1]; /* the key's name; "" */
    struct kyok_life_version *versions;   /* oldest first */
    size_t count;
    size_t meant; /* the one that the reference names */
};

/* The server behind a reference; no version is looked at. */
enum kyok_status kyok_kmip_life_begin(struct kyok_context *context,
                                      const struct kyok_reference *reference,
                                      struct kyok_kmip_life *life, struct kyok_error *err);
/* The version that the reference names, alone. */
enum kyok_status kyok_kmip_life_one(struct kyok_kmip_life *life, struct kyok_error *err);
/* All versions. Those of a Re-key are found by their links; those that kyok made by their names,
 * NAME, NAME.v2, ...: a gap of more than four that were destroyed, above an active one, hides what
 * is above. */
enum kyok_status kyok_kmip_life_versions(struct kyok_kmip_life *life, struct kyok_error *err);
void kyok_kmip_life_end(struct kyok_kmip_life *life);
#define KYOK_AUTO_KMIP_LIFE KYOK_CLEANUP(kyok_kmip_life_end) struct kyok_kmip_life

/* Facts as a version. */
enum kyok_status kyok_kmip_life_read(const struct kyok_kmip_life *life, const char *identifier,
                                     struct kyok_life_version *version, struct kyok_error *err);
void kyok_life_kmip_version(const struct kyok_life_version *from, struct kyok_key_version *to);
/* The newest active one; NULL: none. */
struct kyok_life_version *kyok_kmip_life_current(const struct kyok_kmip_life *life);
enum kyok_status kyok_kmip_life_reference(const struct kyok_kmip_life *life,
                                          const struct kyok_life_version *version,
                                          struct kyok_reference **reference,
                                          struct kyok_error *err);
/* Activate, also a pair's public half. */
enum kyok_status kyok_kmip_life_activate(const struct kyok_kmip_life *life,
                                         const struct kyok_life_version *version,
                                         struct kyok_error *err);

#endif
