/* SPDX-License-Identifier: Apache-2.0 */
/* Key references as values: reading one (pkcs11_uri.c, kmip_uri.c), whose it is, copies. */
#include "common/config/reference.h"

#include "common/config/kyok_conf.h"
#include "common/config/text.h"
#include "common/config/uri.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void reference_auto_free(struct kyok_reference **reference)
{
    kyok_reference_free(*reference);
}

static bool is_pkcs11(const char *text)
{
    return strncasecmp(text, KYOK_PKCS11_SCHEME, strlen(KYOK_PKCS11_SCHEME)) == 0;
}

bool kyok_reference_is(const char *text)
{
    return is_pkcs11(text) || strncasecmp(text, "kmip:", 5) == 0;
}

/* A group must be one of kyok.conf, whoever names it; from data that is a refusal. */
static enum kyok_status check_group(const struct kyok_reference *reference,
                                    const struct kyok_config *config, struct kyok_error *err)
{
    if (reference->group == NULL || config == NULL)
        return KYOK_OK;
    bool kmip = reference->kind == KYOK_REFERENCE_KMIP;
    if (kmip ? kyok_config_kmip(config, reference->group) != NULL
             : kyok_config_token(config, reference->group) != NULL)
        return KYOK_OK;
    kyok_fail(err, reference->origin == KYOK_FROM_DATA ? KYOK_REFUSED : KYOK_INVALID,
              reference->text, "group \"%s\" is not configured", reference->group);
    return kyok_remedy(err, "add a section [%s %s] to %s", kmip ? "kmip" : "token",
                       reference->group, config->path != NULL ? config->path : KYOK_DEFAULT_CONFIG);
}

/* text up to where a PIN may stand, however its name is spelt: the query, or a path attribute
 * "pin". */
static char *shown_text(struct kyok_bytes text)
{
    size_t end = kyok_text_find(text, "?");
    const uint8_t *pin = memmem(text.data, end, ";pin", 4);
    if (pin == NULL)
        pin = memmem(text.data, end, ":pin", 4);
    return kyok_text_copy(kyok_bytes(text.data, pin != NULL ? (size_t)(pin - text.data) : end));
}

static enum kyok_status parse_text(const char *text, enum kyok_origin origin,
                                   struct kyok_reference **result, struct kyok_error *err)
{
    struct kyok_bytes bytes = kyok_bytes(text, strnlen(text, KYOK_REFERENCE_MAX + 1));
    if (bytes.size > KYOK_REFERENCE_MAX)
        return kyok_fail(err, KYOK_INVALID, NULL, "a reference is longer than %zu bytes",
                         KYOK_REFERENCE_MAX);
    KYOK_AUTO_FREE char *shown = shown_text(bytes);
    KYOK_CLEANUP(reference_auto_free)
    struct kyok_reference *reference = calloc(1, sizeof(*reference));
    if (shown == NULL || reference == NULL)
        return kyok_text_no_memory(err);
    reference->origin = origin;
    reference->library_major = reference->library_minor = -1;
    struct kyok_uri uri = {reference, shown, err};
    KYOK_TRY(is_pkcs11(text) ? kyok_pkcs11_uri_parse(&uri, bytes)
                             : kyok_kmip_uri_parse(&uri, bytes));
    *result = reference;
    reference = NULL;
    return KYOK_OK;
}

static enum kyok_status resolve_name(const char *name, const struct kyok_config *config,
                                     struct kyok_reference **reference, struct kyok_error *err)
{
    struct kyok_quote shown = kyok_text_quote(kyok_bytes_of_text(name));
    const struct kyok_named_key *key = config != NULL ? kyok_config_key(config, name) : NULL;
    if (key != NULL)
        return kyok_reference_parse(key->uri, KYOK_FROM_CONFIGURATION, config, reference, err);
    kyok_fail(err, KYOK_INVALID, shown.text, "neither a key reference nor the name of a key");
    return kyok_remedy(err, "give a pkcs11: or kmip: URI, or add a section [key %s] to %s",
                       shown.text,
                       config != NULL && config->path != NULL ? config->path : KYOK_DEFAULT_CONFIG);
}

enum kyok_status kyok_reference_parse(const char *text, enum kyok_origin origin,
                                      const struct kyok_config *config,
                                      struct kyok_reference **reference, struct kyok_error *err)
{
    *reference = NULL;
    if (!kyok_reference_is(text)) {
        if (origin != KYOK_FROM_DATA)
            return resolve_name(text, config, reference, err);
        return kyok_fail(err, KYOK_REFUSED, kyok_text_quote(kyok_bytes_of_text(text)).text,
                         "data must name a key by a pkcs11: or kmip: reference");
    }
    KYOK_CLEANUP(reference_auto_free) struct kyok_reference *parsed = NULL;
    KYOK_TRY(parse_text(text, origin, &parsed, err));
    KYOK_TRY(check_group(parsed, config, err));
    *reference = parsed;
    parsed = NULL;
    return KYOK_OK;
}

/* --- copy, free ------------------------------------------------------------------------------- */

static bool copy_text(char **copy, const char *text)
{
    *copy = text != NULL ? strdup(text) : NULL;
    return text == NULL || *copy != NULL;
}

/* Every owned text, so that copy and free cannot forget one. */
static const size_t text_fields[] = {
    offsetof(struct kyok_reference, text),
    offsetof(struct kyok_reference, token),
    offsetof(struct kyok_reference, manufacturer),
    offsetof(struct kyok_reference, model),
    offsetof(struct kyok_reference, serial),
    offsetof(struct kyok_reference, slot_description),
    offsetof(struct kyok_reference, slot_manufacturer),
    offsetof(struct kyok_reference, library_description),
    offsetof(struct kyok_reference, library_manufacturer),
    offsetof(struct kyok_reference, object),
    offsetof(struct kyok_reference, module_path),
    offsetof(struct kyok_reference, module_name),
    offsetof(struct kyok_reference, pin_source),
    offsetof(struct kyok_reference, group),
    offsetof(struct kyok_reference, identifier),
    offsetof(struct kyok_reference, name),
    offsetof(struct kyok_reference, public_identifier),
};
#define TEXT_FIELDS (sizeof(text_fields) / sizeof(text_fields[0]))

static char **text_field(struct kyok_reference *reference, size_t index)
{
    return (char **)(void *)((char *)reference + text_fields[index]);
}

enum kyok_status kyok_reference_copy(const struct kyok_reference *reference,
                                     struct kyok_reference **copy, struct kyok_error *err)
{
    KYOK_CLEANUP(reference_auto_free) struct kyok_reference *made = malloc(sizeof(*made));
    if (made == NULL)
        return kyok_text_no_memory(err);
    *made = *reference;
    made->id = NULL;
    made->pin_value = NULL;
    for (size_t i = 0; i < TEXT_FIELDS; i++)
        *text_field(made, i) = NULL;
    for (size_t i = 0; i < TEXT_FIELDS; i++) {
        const char *from = *text_field((struct kyok_reference *)(uintptr_t)reference, i);
        if (!copy_text(text_field(made, i), from))
            return kyok_text_no_memory(err);
    }
    if (reference->has_id && (made->id = (uint8_t *)kyok_text_copy(
                                  kyok_bytes(reference->id, reference->id_size))) == NULL)
        return kyok_text_no_memory(err);
    if (reference->pin_value != NULL &&
        (made->pin_value = kyok_secret_copy(kyok_secret_bytes(reference->pin_value))) == NULL)
        return kyok_text_no_memory(err);
    *copy = made;
    made = NULL;
    return KYOK_OK;
}

void kyok_reference_free(struct kyok_reference *reference)
{
    if (reference == NULL)
        return;
    for (size_t i = 0; i < TEXT_FIELDS; i++)
        free(*text_field(reference, i));
    free(reference->id);
    kyok_secret_free(reference->pin_value);
    free(reference);
}
