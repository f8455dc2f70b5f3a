/* SPDX-License-Identifier: Apache-2.0 */
/* Doctor: token groups: modules, members, PIN sources. */
#include "cli/doctor.h"
#include "cli/spawn.h"

#include <stdlib.h>
#include <string.h>

#define LEAST_TIMEOUT_MS 3000

/* --- modules ---------------------------------------------------------------------------------- */

/* The module's answer, or NULL: each module is asked, and reported, once. failure: how bad it is
 * when it cannot be asked. */
static const json_t *probe(struct doctor *doctor, const char *path, unsigned timeout_ms,
                           enum doctor_level failure)
{
    json_t *answer = json_object_get(doctor->probes, path);
    struct kyok_error err;
    if (answer != NULL)
        return json_object_get(answer, "error") == NULL ? answer : NULL;
    /* Starting a client of a network HSM takes longer than an operation. */
    timeout_ms = timeout_ms < LEAST_TIMEOUT_MS ? LEAST_TIMEOUT_MS : timeout_ms;
    if (!doctor_check_file(doctor, "module", path, false)) {
        json_object_set_new(doctor->probes, path, json_pack("{s:b}", "error", 1));
        return NULL;
    }
    if (cli_probe_module(path, timeout_ms, &answer, &err) == KYOK_OK) {
        doctor_find(doctor, DOCTOR_GOOD, "module", path, NULL, "it loads and has %zu slots",
                    json_array_size(json_object_get(answer, "tokens")));
        json_object_set_new(doctor->probes, path, answer);
        return answer;
    }
    kyok_remedy(&err, "check the path, the vendor's client software and its own configuration");
    doctor_find_error(doctor, failure, "module", &err);
    json_object_set_new(doctor->probes, path, json_pack("{s:b}", "error", 1));
    return NULL;
}

/* --- members ---------------------------------------------------------------------------------- */

static bool text_fits(const char *wanted, const json_t *object, const char *name)
{
    const char *found = json_string_value(json_object_get(object, name));
    return wanted == NULL || (found != NULL && strcmp(wanted, found) == 0);
}

static bool version_fits(const struct kyok_reference *reference, const json_t *module)
{
    char version[16];
    if (reference->library_major < 0)
        return true;
    snprintf(version, sizeof(version), "%d.%d", reference->library_major, reference->library_minor);
    return text_fits(version, module, "version");
}

/* RFC 7512 2.5: every attribute that is named must be equal. */
static bool token_fits(const struct kyok_reference *reference, const json_t *module,
                       const json_t *token)
{
    json_int_t slot = json_integer_value(json_object_get(token, "slot"));
    return json_is_true(json_object_get(token, "initialised")) &&
           text_fits(reference->token, token, "token") &&
           text_fits(reference->manufacturer, token, "manufacturer") &&
           text_fits(reference->model, token, "model") &&
           text_fits(reference->serial, token, "serial") &&
           text_fits(reference->slot_description, token, "slot-description") &&
           text_fits(reference->slot_manufacturer, token, "slot-manufacturer") &&
           text_fits(reference->library_description, module, "description") &&
           text_fits(reference->library_manufacturer, module, "manufacturer") &&
           version_fits(reference, module) &&
           (!reference->has_slot_id || (json_int_t)reference->slot_id == slot);
}

/* What the tokens of one group have in common. */
struct group {
    const struct kyok_token_config *config;
    char check[80];
    size_t members;
    bool login_needed, near_lock;
    bool own_pins; /* members with a pin-source of their own */
};

static bool flag(const json_t *token, const char *name)
{
    return json_is_true(json_object_get(token, name));
}

static void judge_token(struct doctor *doctor, struct group *group, const json_t *token)
{
    const char *label = json_string_value(json_object_get(token, "token"));
    group->members++;
    group->login_needed |= flag(token, "login-required") && !flag(token, "protected-path");
    group->near_lock |= flag(token, "pin-locked") || flag(token, "pin-final-try");
    if (!flag(token, "user-pin-set") && flag(token, "login-required"))
        doctor_find(doctor, DOCTOR_BAD, group->check, label, "set it with the vendor's tool",
                    "the token has no user PIN yet");
    else if (flag(token, "pin-locked"))
        doctor_find(doctor, DOCTOR_BAD, group->check, label,
                    "have its security officer set a new PIN, and correct the PIN source",
                    "the user PIN is locked");
    else if (flag(token, "pin-final-try"))
        doctor_find(doctor, DOCTOR_BAD, group->check, label,
                    "make sure of the PIN source before anything logs in",
                    "the next wrong PIN locks the token");
    else if (flag(token, "pin-count-low"))
        doctor_find(doctor, DOCTOR_WARNING, group->check, label, "check the PIN source",
                    "a wrong PIN was tried");
    else
        doctor_find(doctor, DOCTOR_GOOD, group->check, label, NULL, "the token is there");
}

static size_t judge_module(struct doctor *doctor, struct group *group,
                           const struct kyok_reference *reference, const char *path,
                           enum doctor_level failure)
{
    const json_t *answer = probe(doctor, path, group->config->timeout_ms, failure);
    const json_t *module = json_object_get(answer, "module");
    size_t index, found = 0;
    json_t *token;
    json_array_foreach(json_object_get(answer, "tokens"), index, token)
    {
        if (token_fits(reference, module, token)) {
            judge_token(doctor, group, token);
            found++;
        }
    }
    return found;
}

/* The module a member lives in: its own, its group's, or any that p11-kit knows. */
static size_t judge_modules(struct doctor *doctor, struct group *group,
                            const struct kyok_reference *reference)
{
    size_t index, found = 0;
    json_t *module;
    if (reference->module_path != NULL)
        return judge_module(doctor, group, reference, reference->module_path, DOCTOR_BAD);
    if (group->config->module != NULL)
        return judge_module(doctor, group, reference, group->config->module, DOCTOR_BAD);
    json_t *modules = cli_known_modules(false);
    json_array_foreach(modules, index, module)
    {
        found += judge_module(doctor, group, reference,
                              json_string_value(json_object_get(module, "path")), DOCTOR_NOTE);
    }
    json_decref(modules);
    return found;
}

/* --- PIN sources: read, never tried ----------------------------------------------------------- */

static void read_pin(struct doctor *doctor, const char *check, const char *source)
{
    struct kyok_secret *pin = NULL;
    struct kyok_error err;
    if (kyok_pin_source_read(source, &pin, &err) != KYOK_OK) {
        doctor_find_error(doctor, DOCTOR_BAD, check, &err);
        return;
    }
    kyok_secret_free(pin);
    if (strncmp(source, "credential:", 11) == 0)
        doctor_find(doctor, DOCTOR_GOOD, check, source, NULL, "the PIN source can be read");
    else
        doctor_find(
            doctor, DOCTOR_WARNING, check, source,
            "use pin-source = credential:NAME with LoadCredentialEncrypted= (systemd-creds)",
            "the PIN stands in a plain file: who copies the disk has it");
}

static void check_pin_source(struct doctor *doctor, const char *check, const char *source)
{
    if (strncmp(source, "fd:", 3) == 0)
        doctor_find(doctor, DOCTOR_NOTE, check, source, NULL,
                    "a descriptor is there in the service alone and is not checked here");
    else if (strncmp(source, "credential:", 11) == 0 && getenv("CREDENTIALS_DIRECTORY") == NULL)
        doctor_find(doctor, DOCTOR_NOTE, check, source,
                    "see that each unit that uses kyok has LoadCredentialEncrypted=",
                    "a credential is there in the service alone and is not checked here");
    else
        read_pin(doctor, check, source);
}

static void check_pin(struct doctor *doctor, const struct group *group)
{
    const char *source = group->config->pin_source;
    if (source != NULL)
        check_pin_source(doctor, group->check, source);
    else if (group->login_needed && !group->own_pins)
        doctor_find(doctor, DOCTOR_WARNING, group->check, NULL, "add pin-source = credential:NAME",
                    "the token wants a login but there is no pin-source: private keys stay unseen");
}

/* --- the group -------------------------------------------------------------------------------- */

static void check_member(struct doctor *doctor, struct group *group, const char *uri)
{
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *reference = NULL;
    struct kyok_error err;
    if (kyok_reference_parse(uri, KYOK_FROM_CONFIGURATION, NULL, &reference, &err) != KYOK_OK) {
        doctor_find_error(doctor, DOCTOR_BAD, group->check, &err);
        return;
    }
    if (reference->pin_source != NULL)
        check_pin_source(doctor, group->check, reference->pin_source);
    group->own_pins |= reference->pin_source != NULL;
    if (judge_modules(doctor, group, reference) > 0)
        return;
    kyok_fail(&err, KYOK_UNREACHABLE, uri, "no token fits it");
    kyok_remedy(&err, "\"kyok module list\" shows the tokens there are");
    doctor_find_error(doctor, group->config->uri_count > 1 ? DOCTOR_WARNING : DOCTOR_BAD,
                      group->check, &err);
}

static void check_group_keys(struct doctor *doctor, const struct group *group)
{
    char text[128];
    if (cli_option(doctor->cli, "--login") == NULL || group->members == 0)
        return;
    if (group->near_lock) {
        doctor->near_lock = true;
        doctor_find(doctor, DOCTOR_WARNING, group->check, NULL, NULL,
                    "not logged in: a wrong PIN would lock the token");
        return;
    }
    snprintf(text, sizeof(text), "pkcs11:?kyok-group=%s", group->config->name);
    doctor_check_keys(doctor, group->check, group->config->require, text);
}

static void check_token(struct doctor *doctor, const struct kyok_token_config *config)
{
    struct group group = {.config = config};
    snprintf(group.check, sizeof(group.check), "token %s", config->name);
    for (size_t i = 0; i < config->uri_count; i++)
        check_member(doctor, &group, config->uris[i]);
    check_pin(doctor, &group);
    if (config->require == KYOK_REQUIRE_NONE)
        doctor_find(doctor, DOCTOR_NOTE, group.check, NULL, "set require = never-extractable",
                    "keys that can be read out of the token are accepted (require = none)");
    if (config->cache_keys_ms != 0)
        doctor_find(
            doctor, DOCTOR_NOTE, group.check, NULL, NULL,
            "a key that is suspended or destroyed signs up to %u ms more where it was in use "
            "(cache-keys)",
            config->cache_keys_ms);
    check_group_keys(doctor, &group);
}

void doctor_check_tokens(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->config->token_count; i++)
        check_token(doctor, &doctor->config->tokens[i]);
}
