/* SPDX-License-Identifier: Apache-2.0 */
/* kyok.conf: INI sections [token NAME], [kmip NAME], [key NAME]. Every error names file:line and
 * what was expected. */
#ifndef KYOK_CONFIG_KYOK_CONF_H
#define KYOK_CONFIG_KYOK_CONF_H

#include "common/base/base.h"

/* KYOK_DEFAULT_CONFIG: the file read when neither a parameter nor $KYOK_CONF names one. */
#ifndef KYOK_DEFAULT_CONFIG
#define KYOK_DEFAULT_CONFIG "/etc/kyok/kyok.conf"
#endif

enum kyok_require {
    KYOK_REQUIRE_NONE,
    KYOK_REQUIRE_NON_EXTRACTABLE,
    KYOK_REQUIRE_NEVER_EXTRACTABLE
};

#define KYOK_DEFAULT_TIMEOUT_MS 10000
#define KYOK_CACHE_KEYS_MS 1000 /* where a program says only that keys are to be cached */

struct kyok_token_config { /* [token NAME] */
    char *name;
    char *where;  /* "FILE:LINE" of the section, for messages */
    char *module; /* path; NULL: p11-kit's configured modules are searched */
    char **uris;  /* pkcs11: URIs; each token that one of them matches is a member */
    size_t uri_count;
    char *pin_source;        /* NULL: none */
    struct kyok_secret *pin; /* the PIN itself: pkcs11-module-token-pin alone, never in the file */
    unsigned sessions;       /* most sessions per member; 0: the token's own limit */
    unsigned timeout_ms;     /* "timeout", seconds or with unit ms/s in the file */
    enum kyok_require require;
    bool isolate;
    unsigned cache_keys_ms; /* how long a key's copy in a session may stand for it; 0: no copies */
    char *init_args;        /* C_Initialize pReserved (pkcs11-module-init-args); NULL usually */
};

struct kyok_kmip_config { /* [kmip NAME] */
    char *name;
    char *where;
    char **servers; /* "kmips://host:port" in order */
    size_t server_count;
    char *ca;          /* PEM file */
    char *certificate; /* PEM file */
    char *key;         /* PEM file, or pkcs11: reference */
    char *crl;         /* PEM file or NULL */
    unsigned timeout_ms;
    unsigned version; /* highest to offer, major * 10 + minor, 0: negotiate freely */
    bool release;     /* "release = yes": keys may leave by Get */
    enum kyok_require require;
};

struct kyok_named_key { /* [key NAME] */
    char *name;
    char *where;
    char *uri;
};

/* Read-only once loaded. */
struct kyok_config {
    char *path; /* file it came from, or NULL */
    struct kyok_token_config *tokens;
    size_t token_count;
    struct kyok_kmip_config *kmips;
    size_t kmip_count;
    struct kyok_named_key *keys;
    size_t key_count;
    /* Of the groups that a reference makes up, which no section defines. timeout 0: the default. */
    unsigned reference_timeout_ms;
    bool reference_isolate;
    unsigned reference_cache_keys_ms;
};

/* path NULL: $KYOK_CONF (ignored in set-user-ID programs), else KYOK_DEFAULT_CONFIG, and there an
 * absent file is an empty configuration. */
enum kyok_status kyok_config_load(const char *path, struct kyok_config **config,
                                  struct kyok_error *err);
/* The same from memory; name stands for the file in messages. Fuzzed. */
enum kyok_status kyok_config_parse(struct kyok_bytes text, const char *name,
                                   struct kyok_config **config, struct kyok_error *err);
struct kyok_config *kyok_config_new(void); /* empty */
/* Adds a copy of *token (for pkcs11-module-* parameters). */
enum kyok_status kyok_config_add_token(struct kyok_config *config,
                                       const struct kyok_token_config *token,
                                       struct kyok_error *err);
const struct kyok_token_config *kyok_config_token(const struct kyok_config *config,
                                                  const char *name);
const struct kyok_kmip_config *kyok_config_kmip(const struct kyok_config *config, const char *name);
const struct kyok_named_key *kyok_config_key(const struct kyok_config *config, const char *name);
void kyok_config_free(struct kyok_config *config);

#endif
