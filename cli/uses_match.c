/* SPDX-License-Identifier: Apache-2.0 */
/* What counts as the same key, for the question what rests on it. */
#include "cli/uses.h"

#include <string.h>

static bool texts_agree(const char *a, const char *b)
{
    return a == NULL || b == NULL || strcmp(a, b) == 0;
}

static bool ids_agree(const struct kyok_reference *a, const struct kyok_reference *b)
{
    return !a->has_id || !b->has_id ||
           (a->id_size == b->id_size && memcmp(a->id, b->id, a->id_size) == 0);
}

/* Both name tokens that one group of kyok.conf holds: replicas under other labels. */
static bool same_group(const struct kyok_config *config, const char *a, const char *b)
{
    for (size_t i = 0; i < config->token_count; i++) {
        const struct kyok_token_config *group = &config->tokens[i];
        bool has_a = false, has_b = false;

        for (size_t j = 0; j < group->uri_count; j++) {
            KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *member = NULL;
            struct kyok_error ignored;

            if (kyok_reference_parse(group->uris[j], KYOK_FROM_CONFIGURATION, NULL, &member,
                                     &ignored) != KYOK_OK ||
                member->token == NULL)
                continue;
            has_a = has_a || strcmp(member->token, a) == 0;
            has_b = has_b || strcmp(member->token, b) == 0;
        }
        if (has_a && has_b)
            return true;
    }
    return false;
}

/* A token's or group's URI in kyok.conf names none. */
static bool names_a_key(const struct kyok_reference *reference)
{
    return reference->object != NULL || reference->has_id || reference->identifier != NULL ||
           reference->name != NULL;
}

/* True unless something that both name differs: a question of "may it break" errs to yes. */
static bool may_be_same(const struct kyok_config *config, const struct kyok_reference *found,
                        const struct kyok_reference *wanted)
{
    if (found->kind != wanted->kind || !names_a_key(found))
        return false;
    if (found->kind == KYOK_REFERENCE_KMIP)
        return texts_agree(found->group, wanted->group) &&
               texts_agree(found->identifier, wanted->identifier) &&
               texts_agree(found->name, wanted->name);
    return texts_agree(found->object, wanted->object) && ids_agree(found, wanted) &&
           (texts_agree(found->token, wanted->token) ||
            same_group(config, found->token, wanted->token));
}

bool cli_uses_match(const struct cli_uses *uses, const char *text, enum kyok_origin origin)
{
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *found = NULL;
    struct kyok_error ignored;

    return kyok_reference_parse(text, origin, uses->config, &found, &ignored) == KYOK_OK &&
           may_be_same(uses->config, found, uses->wanted);
}
