/* SPDX-License-Identifier: Apache-2.0 */
/* The definition of a group, and which references mean it. */
#include "common/pkcs11/live.h"
#include "common/pkcs11/refused_pins.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint64_t last_serial;

/* --- the definition --- */

static enum kyok_status parse_uris(struct kyok_group *group, struct kyok_error *err)
{
    const struct kyok_token_config *config = group->config;

    group->uris = calloc(config->uri_count + 1, sizeof(*group->uris));
    if (group->uris == NULL)
        return kyok_fail(err, KYOK_SYSTEM, config->name, "no memory");
    for (; group->uri_count < config->uri_count; group->uri_count++)
        KYOK_TRY(kyok_reference_parse(config->uris[group->uri_count], KYOK_FROM_CONFIGURATION, NULL,
                                      &group->uris[group->uri_count], err));
    return KYOK_OK;
}

enum kyok_status kyok_group_new(const struct kyok_token_config *config, struct kyok_secret *pin,
                                struct kyok_group **group, struct kyok_error *err)
{
    struct kyok_group *fresh = calloc(1, sizeof(*fresh));

    if (fresh == NULL) {
        kyok_secret_free(pin);
        return kyok_fail(err, KYOK_SYSTEM, config->name, "no memory");
    }
    fresh->config = config;
    fresh->pin = pin;
    if (pin == NULL && config->pin != NULL &&
        (fresh->pin = kyok_secret_copy(kyok_secret_bytes(config->pin))) == NULL) {
        kyok_group_free(fresh);
        return kyok_fail(err, KYOK_SYSTEM, config->name, "no memory");
    }
    if ((fresh->refused = kyok_refused_pins_new()) == NULL) {
        kyok_group_free(fresh);
        return kyok_fail(err, KYOK_SYSTEM, config->name, "no memory");
    }
    fresh->serial = atomic_fetch_add(&last_serial, 1) + 1;
    if (parse_uris(fresh, err) != KYOK_OK) {
        kyok_group_free(fresh);
        return err->status;
    }
    *group = fresh;
    return KYOK_OK;
}

const char *kyok_group_name(const struct kyok_group *group)
{
    return group->config->name;
}

void kyok_group_free(struct kyok_group *group)
{
    char **paths;

    if (group == NULL)
        return;
    kyok_refused_pins_free(group->refused);
    paths = atomic_load(&group->searched);
    for (size_t i = 0; paths != NULL && paths[i] != NULL; i++)
        free(paths[i]);
    free(paths);
    for (size_t i = 0; i < group->uri_count; i++)
        kyok_reference_free(group->uris[i]);
    free(group->uris);
    kyok_secret_free(group->pin);
    free(group);
}

void kyok_group_set_background(struct kyok_group *group, kyok_group_background *background,
                               void *host)
{
    group->background_host = host;
    group->background = background;
}

/* --- which group a reference means --- */

/* KYOK_YES: nothing asked or the same; KYOK_NO: another; KYOK_NOT_KNOWN: the URI does not say. */
static enum kyok_answer compare(const char *asked, const char *said)
{
    if (asked == NULL)
        return KYOK_YES;
    if (said == NULL)
        return KYOK_NOT_KNOWN;
    return strcmp(asked, said) == 0 ? KYOK_YES : KYOK_NO;
}

static enum kyok_answer uri_fits(const struct kyok_reference *uri,
                                 const struct kyok_reference *reference)
{
    const enum kyok_answer answers[] = {
        compare(reference->token, uri->token),
        compare(reference->serial, uri->serial),
        compare(reference->model, uri->model),
        compare(reference->manufacturer, uri->manufacturer),
        compare(reference->slot_description, uri->slot_description),
        compare(reference->slot_manufacturer, uri->slot_manufacturer),
        compare(reference->library_description, uri->library_description),
        compare(reference->library_manufacturer, uri->library_manufacturer),
        reference->has_slot_id || reference->library_major >= 0 ? KYOK_NOT_KNOWN : KYOK_YES,
    };
    enum kyok_answer worst = KYOK_YES;

    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        if (answers[i] == KYOK_NO)
            return KYOK_NO;
        if (answers[i] == KYOK_NOT_KNOWN)
            worst = KYOK_NOT_KNOWN;
    }
    return worst;
}

enum kyok_answer kyok_group_fits(const struct kyok_group *group,
                                 const struct kyok_reference *reference)
{
    enum kyok_answer best = group->uri_count == 0 ? KYOK_NOT_KNOWN : KYOK_NO;

    for (size_t i = 0; i < group->uri_count && best != KYOK_YES; i++) {
        enum kyok_answer answer = uri_fits(group->uris[i], reference);

        if (answer != KYOK_NO)
            best = answer;
    }
    return best;
}
