/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration as a value: made, extended, looked up, freed. */
#include "common/config/settings.h"
#include "common/config/text.h"

#include <stdlib.h>
#include <string.h>

struct kyok_config *kyok_config_new(void)
{
    return calloc(1, sizeof(struct kyok_config));
}

/* items with room for one more than count elements of size bytes, the new one zeroed. */
static void *grow(void *items, size_t count, size_t size)
{
    char *more = realloc(items, (count + 1) * size);
    if (more != NULL)
        memset(more + count * size, 0, size);
    return more;
}

char **kyok_conf_add_text(char ***list, size_t *count)
{
    char **more = grow(*list, *count, sizeof(char *));
    if (more == NULL)
        return NULL;
    *list = more;
    return &more[(*count)++];
}

struct kyok_token_config *kyok_conf_add_token(struct kyok_config *config)
{
    struct kyok_token_config *more = grow(config->tokens, config->token_count, sizeof(*more));
    if (more == NULL)
        return NULL;
    config->tokens = more;
    more += config->token_count++;
    more->timeout_ms = KYOK_DEFAULT_TIMEOUT_MS;
    return more;
}

struct kyok_kmip_config *kyok_conf_add_kmip(struct kyok_config *config)
{
    struct kyok_kmip_config *more = grow(config->kmips, config->kmip_count, sizeof(*more));
    if (more == NULL)
        return NULL;
    config->kmips = more;
    more += config->kmip_count++;
    more->timeout_ms = KYOK_DEFAULT_TIMEOUT_MS;
    return more;
}

struct kyok_named_key *kyok_conf_add_key(struct kyok_config *config)
{
    struct kyok_named_key *more = grow(config->keys, config->key_count, sizeof(*more));
    if (more == NULL)
        return NULL;
    config->keys = more;
    return more + config->key_count++;
}

const char *kyok_conf_where_taken(const struct kyok_config *config, enum kyok_section_kind kind,
                                  const char *name)
{
    const struct kyok_token_config *token = kyok_config_token(config, name);
    const struct kyok_kmip_config *kmip = kyok_config_kmip(config, name);
    const struct kyok_named_key *key = kyok_config_key(config, name);
    if (kind == KYOK_SECTION_KEY)
        return key != NULL ? key->where : NULL;
    if (token != NULL)
        return token->where != NULL ? token->where : "the program's own parameters";
    return kmip != NULL ? kmip->where : NULL;
}

static void free_list(char **list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i]);
    free(list);
}

static void clear_token(struct kyok_token_config *token)
{
    free(token->name);
    free(token->where);
    free(token->module);
    free_list(token->uris, token->uri_count);
    free(token->pin_source);
    kyok_secret_free(token->pin);
    free(token->init_args);
}

static void clear_kmip(struct kyok_kmip_config *kmip)
{
    free(kmip->name);
    free(kmip->where);
    free_list(kmip->servers, kmip->server_count);
    free(kmip->ca);
    free(kmip->certificate);
    free(kmip->key);
    free(kmip->crl);
}

void kyok_config_free(struct kyok_config *config)
{
    if (config == NULL)
        return;
    for (size_t i = 0; i < config->token_count; i++)
        clear_token(&config->tokens[i]);
    for (size_t i = 0; i < config->kmip_count; i++)
        clear_kmip(&config->kmips[i]);
    for (size_t i = 0; i < config->key_count; i++) {
        free(config->keys[i].name);
        free(config->keys[i].where);
        free(config->keys[i].uri);
    }
    free(config->tokens);
    free(config->kmips);
    free(config->keys);
    free(config->path);
    free(config);
}

static bool copy_text(char **copy, const char *text)
{
    *copy = text != NULL ? strdup(text) : NULL;
    return text == NULL || *copy != NULL;
}

/* copy has the plain fields already and owns nothing yet. */
static bool copy_token_texts(struct kyok_token_config *copy, const struct kyok_token_config *token)
{
    bool done = copy_text(&copy->name, token->name) && copy_text(&copy->where, token->where) &&
                copy_text(&copy->module, token->module) &&
                copy_text(&copy->pin_source, token->pin_source) &&
                copy_text(&copy->init_args, token->init_args) &&
                (token->pin == NULL ||
                 (copy->pin = kyok_secret_copy(kyok_secret_bytes(token->pin))) != NULL);
    for (size_t i = 0; done && i < token->uri_count; i++) {
        char **uri = kyok_conf_add_text(&copy->uris, &copy->uri_count);
        done = uri != NULL && copy_text(uri, token->uris[i]);
    }
    return done;
}

enum kyok_status kyok_config_add_token(struct kyok_config *config,
                                       const struct kyok_token_config *token,
                                       struct kyok_error *err)
{
    if (token->name == NULL || !kyok_text_is_name(kyok_bytes_of_text(token->name)))
        return kyok_fail(err, KYOK_INVALID, token->where, "a token group without a proper name");
    const char *taken = kyok_conf_where_taken(config, KYOK_SECTION_TOKEN, token->name);
    if (taken != NULL)
        return kyok_fail(err, KYOK_INVALID, token->where, "group \"%s\" exists already, at %s",
                         token->name, taken);
    struct kyok_token_config *added = kyok_conf_add_token(config);
    if (added == NULL)
        return kyok_text_no_memory(err);
    added->sessions = token->sessions;
    added->timeout_ms = token->timeout_ms != 0 ? token->timeout_ms : KYOK_DEFAULT_TIMEOUT_MS;
    added->require = token->require;
    added->isolate = token->isolate;
    added->cache_keys_ms = token->cache_keys_ms;
    if (copy_token_texts(added, token))
        return KYOK_OK;
    clear_token(added);
    config->token_count--;
    return kyok_text_no_memory(err);
}

const struct kyok_token_config *kyok_config_token(const struct kyok_config *config,
                                                  const char *name)
{
    for (size_t i = 0; i < config->token_count; i++) {
        if (config->tokens[i].name != NULL && strcmp(config->tokens[i].name, name) == 0)
            return &config->tokens[i];
    }
    return NULL;
}

const struct kyok_kmip_config *kyok_config_kmip(const struct kyok_config *config, const char *name)
{
    for (size_t i = 0; i < config->kmip_count; i++) {
        if (config->kmips[i].name != NULL && strcmp(config->kmips[i].name, name) == 0)
            return &config->kmips[i];
    }
    return NULL;
}

const struct kyok_named_key *kyok_config_key(const struct kyok_config *config, const char *name)
{
    for (size_t i = 0; i < config->key_count; i++) {
        if (config->keys[i].name != NULL && strcmp(config->keys[i].name, name) == 0)
            return &config->keys[i];
    }
    return NULL;
}
