/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record that a token keeps of a key's life: its versions, the state of each, and for a
 * descendant the wrapped key itself. A private data object with CKA_APPLICATION "kyok" and the
 * key's name as label; its value is one line of JSON. A key without a record has one version, in
 * use.
 */
#ifndef KYOK_BASE_KEY_RECORD_H
#define KYOK_BASE_KEY_RECORD_H

#include "common/base/bytes.h"
#include "common/base/error.h"

/* NIST SP 800-57 part 1, section 7; also KMIP's State. */
enum kyok_key_state {
    KYOK_STATE_PRE_ACTIVE,
    KYOK_STATE_ACTIVE,
    KYOK_STATE_SUSPENDED,
    KYOK_STATE_DEACTIVATED,
    KYOK_STATE_DESTROYED,
};
const char *kyok_key_state_name(enum kyok_key_state state);
bool kyok_key_state_by_name(const char *name, enum kyok_key_state *state);
bool kyok_key_state_may_follow(enum kyok_key_state from, enum kyok_key_state to);

/* What a version may do when active; bits, as the token's usage attributes. */
enum kyok_key_usage {
    KYOK_USAGE_ENCRYPT = 1,
    KYOK_USAGE_DECRYPT = 2,
    KYOK_USAGE_WRAP = 4,
    KYOK_USAGE_UNWRAP = 8,
    KYOK_USAGE_SIGN = 16,
    KYOK_USAGE_DERIVE = 32,
};
/* The part of usage that a state leaves: suspended nothing, deactivated what reads old data. */
unsigned kyok_key_state_usage(enum kyok_key_state state, unsigned usage);

#define KYOK_RECORD_LABEL_MAX 200
#define KYOK_RECORD_ID_MAX 64
#define KYOK_RECORD_WRAPPED_MAX 64
#define KYOK_RECORD_VERSIONS_MAX 64
#define KYOK_RECORD_SIZE_MAX ((size_t)64 << 10)

struct kyok_key_name { /* of one version: CKA_LABEL and CKA_ID */
    char label[KYOK_RECORD_LABEL_MAX + 1];
    uint8_t id[KYOK_RECORD_ID_MAX];
    size_t id_size;
};
bool kyok_key_name_equal(const struct kyok_key_name *a, const struct kyok_key_name *b);

struct kyok_key_version {
    struct kyok_key_name name;
    enum kyok_key_state state;
    unsigned usage;
    unsigned bits; /* where the token does not tell them (of an imported key); 0: not kept */
    int64_t made;  /* seconds since 1970; 0: not known */
    /* When a pre-active version becomes active, and an active or suspended one deactivated; 0:
     * never by itself. */
    int64_t activate, deactivate;
    char identifier[KYOK_RECORD_LABEL_MAX + 1]; /* at a KMIP server, never stored */
    /* A descendant: wrapped by parent (RFC 3394 or 5649). */
    size_t wrapped_size; /* 0: an object of its own */
    uint8_t wrapped[KYOK_RECORD_WRAPPED_MAX];
    struct kyok_key_name parent;
};

struct kyok_key_record {
    uint64_t
        serial; /* counted up by each write; of two records that a crash left, the higher counts */
    bool kmip;  /* made up from what a KMIP server says, never stored */
    char name[KYOK_RECORD_LABEL_MAX + 1];
    struct kyok_key_version versions[KYOK_RECORD_VERSIONS_MAX]; /* oldest first */
    size_t count;
};

/* Bounded; refuses what kyok_key_record_write() would not write. Fuzzed. */
enum kyok_status kyok_key_record_parse(struct kyok_bytes json, struct kyok_key_record *record,
                                       struct kyok_error *err);
enum kyok_status kyok_key_record_write(const struct kyok_key_record *record,
                                       struct kyok_buffer *json, struct kyok_error *err);
/* NULL when there is none. id_size 0: by label alone. */
struct kyok_key_version *kyok_key_record_version(struct kyok_key_record *record, const char *label,
                                                 const uint8_t *id, size_t id_size);
/* The newest version in use at a time (seconds since 1970), or NULL. */
struct kyok_key_version *kyok_key_record_current(struct kyok_key_record *record, int64_t now);
/* Its state once its dates are counted in, which nobody may have written down yet. */
enum kyok_key_state kyok_key_version_state(const struct kyok_key_version *version, int64_t now);
/* The name without ".vN", which later versions' labels end with. */
void kyok_key_record_base_name(const char *label, char base[KYOK_RECORD_LABEL_MAX + 1]);

#endif
