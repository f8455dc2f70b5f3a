/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to config (and to the test that compares kyok.conf.5 with it): the settings of kyok.conf,
 * one table per kind of section.
 */
#ifndef KYOK_CONFIG_SETTINGS_H
#define KYOK_CONFIG_SETTINGS_H

#include "common/config/kyok_conf.h"

struct kyok_setting {
    const char *name;
    /* Writes value (not empty, UTF-8) into the field; says in err what was expected. */
    enum kyok_status (*set)(void *field, const char *value, struct kyok_error *err);
    size_t field; /* offset in the section's struct; of a list: its array */
    size_t count; /* offset of a list's count; 0: no list, given at most once */
    bool required;
};

enum kyok_section_kind { KYOK_SECTION_TOKEN, KYOK_SECTION_KMIP, KYOK_SECTION_KEY };
#define KYOK_SECTION_KINDS 3

struct kyok_section {
    const char *word; /* "token" in [token NAME] */
    const struct kyok_setting *settings;
    size_t setting_count;
};
extern const struct kyok_section kyok_sections[KYOK_SECTION_KINDS];

/* One more, zeroed but for defaults; NULL when memory is short. */
struct kyok_token_config *kyok_conf_add_token(struct kyok_config *config);
struct kyok_kmip_config *kyok_conf_add_kmip(struct kyok_config *config);
struct kyok_named_key *kyok_conf_add_key(struct kyok_config *config);
char **kyok_conf_add_text(char ***list, size_t *count);
/* Where a section has taken the name, or NULL. Token and KMIP groups share one set of names:
 * commands name a group without saying of which kind it is. */
const char *kyok_conf_where_taken(const struct kyok_config *config, enum kyok_section_kind kind,
                                  const char *name);

/* Limits, all refused beyond. */
#define KYOK_CONF_MAX_SIZE ((size_t)1 << 20)
#define KYOK_CONF_MAX_LINE ((size_t)4096)
#define KYOK_CONF_MAX_SECTIONS ((size_t)1024)
#define KYOK_CONF_MAX_LIST ((size_t)64)
#define KYOK_CONF_MAX_SESSIONS 4096
#define KYOK_CONF_MAX_TIMEOUT_MS 3600000
#define KYOK_CONF_MAX_CACHE_KEYS_MS 60000

#endif
