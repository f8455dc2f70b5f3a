/* SPDX-License-Identifier: Apache-2.0 */
/* Setup: the tokens that are there, as groups. */
#include "cli/setup.h"
#include "cli/spawn.h"

#include <stdlib.h>
#include <string.h>

static bool is_wanted(const struct cli *cli, const char *label)
{
    const char *wanted = cli_option_at(cli, "--token", 0);
    for (size_t i = 0; wanted != NULL; wanted = cli_option_at(cli, "--token", ++i)) {
        if (strcmp(wanted, label) == 0)
            return true;
    }
    return cli_option(cli, "--token") == NULL;
}

static bool is_name_taken(const struct setup *setup, const char *name)
{
    for (size_t i = 0; i < setup->group_count; i++) {
        if (strcmp(setup->groups[i].name, name) == 0)
            return true;
    }
    return false;
}

/* The label as a section's name: what may not stand in one becomes "-". */
static void make_name(const struct setup *setup, const char *label, char *name, size_t size)
{
    char base[48];
    size_t used = 0;
    for (const char *at = label; *at != '\0' && used + 1 < sizeof(base); at++) {
        bool good = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                    (*at >= '0' && *at <= '9') || (used > 0 && strchr("._-", *at) != NULL);
        if (good || (used > 0 && base[used - 1] != '-'))
            base[used++] = good ? *at : '-';
    }
    base[used] = '\0';
    snprintf(name, size, "%s", used > 0 ? base : "token");
    for (unsigned i = 2; is_name_taken(setup, name); i++)
        snprintf(name, size, "%s-%u", used > 0 ? base : "token", i);
}

bool setup_has_word(const json_t *words, const char *word)
{
    size_t index;
    json_t *value;
    json_array_foreach(words, index, value)
    {
        if (strcmp(json_string_value(value), word) == 0)
            return true;
    }
    return false;
}

/* A group can do what all its members can. */
static void keep_common(json_t *words, const json_t *others)
{
    for (size_t i = json_array_size(words); i-- > 0;) {
        if (!setup_has_word(others, json_string_value(json_array_get(words, i))))
            json_array_remove(words, i);
    }
}

static struct setup_group *find_group(struct setup *setup, const char *module, const char *label)
{
    for (size_t i = 0; i < setup->group_count; i++) {
        if (strcmp(setup->groups[i].module, module) == 0 &&
            strcmp(setup->groups[i].label, label) == 0)
            return &setup->groups[i];
    }
    return NULL;
}

static enum kyok_status add_group(struct setup *setup, const char *module, const char *label,
                                  const json_t *mechanisms)
{
    struct setup_group *group = &setup->groups[setup->group_count];
    const char *pin_source = cli_option(setup->cli, "--pin-source");
    if (setup->group_count == SETUP_GROUPS_MAX)
        return kyok_fail(&setup->cli->error, KYOK_UNSUPPORTED, NULL,
                         "there are more than %d tokens; choose some with --token",
                         SETUP_GROUPS_MAX);
    make_name(setup, label, group->name, sizeof(group->name));
    group->module = strdup(module);
    group->label = strdup(label);
    group->mechanisms = json_deep_copy(mechanisms);
    if (pin_source != NULL)
        group->pin_source = strdup(pin_source);
    else if (asprintf(&group->pin_source, "credential:kyok-%.57s", group->name) < 0)
        group->pin_source = NULL;
    group->tokens = 1;
    setup->group_count++;
    return group->module && group->label && group->mechanisms && group->pin_source
               ? KYOK_OK
               : setup_no_memory(setup);
}

/* Tokens of one module with one label are replicas: vendors clone them so. */
static enum kyok_status take_token(struct setup *setup, const char *module, const json_t *token)
{
    const char *label = json_string_value(json_object_get(token, "token"));
    const json_t *mechanisms = json_object_get(token, "mechanisms");
    if (!json_is_true(json_object_get(token, "initialised")) || label == NULL || label[0] == '\0' ||
        !is_wanted(setup->cli, label))
        return KYOK_OK;
    struct setup_group *group = find_group(setup, module, label);
    if (group == NULL)
        return add_group(setup, module, label, mechanisms);
    group->tokens++;
    keep_common(group->mechanisms, mechanisms);
    return KYOK_OK;
}

static enum kyok_status take_module(struct setup *setup, const char *path)
{
    enum kyok_status status = KYOK_OK;
    struct kyok_error err;
    json_t *answer = NULL, *token;
    size_t index;
    if (cli_probe_module(path, CLI_PROBE_TIMEOUT_MS, &answer, &err) != KYOK_OK) {
        json_array_append_new(setup->problems, cli_json_error(&err));
        return KYOK_OK;
    }
    json_array_foreach(json_object_get(answer, "tokens"), index, token)
    {
        if (status == KYOK_OK)
            status = take_token(setup, path, token);
    }
    json_decref(answer);
    return status;
}

static enum kyok_status take_known(struct setup *setup)
{
    enum kyok_status status = KYOK_OK;
    json_t *modules = cli_known_modules(true), *module;
    size_t index;
    json_array_foreach(modules, index, module)
    {
        if (status == KYOK_OK)
            status = take_module(setup, json_string_value(json_object_get(module, "path")));
    }
    json_decref(modules);
    return status;
}

/* What works, in place of what the token's list promises. */
static enum kyok_status test_group(struct setup *setup, struct setup_group *group)
{
    json_t *answers = NULL, *answer;
    const char *word;
    KYOK_TRY(cli_test_token(group->module, group->label, group->pin_source, &answers,
                            &setup->cli->error));
    json_array_clear(group->mechanisms);
    json_object_foreach(json_object_get(answers, "answers"), word, answer)
    {
        if (strcmp(json_string_value(answer), "CKR_OK") == 0)
            json_array_append_new(group->mechanisms, json_string(word));
    }
    json_decref(answers);
    return KYOK_OK;
}

static enum kyok_status test_groups(struct setup *setup)
{
    if (cli_option(setup->cli, "--test") == NULL)
        return KYOK_OK;
    if (cli_option(setup->cli, "--pin-source") == NULL)
        return cli_usage(setup->cli, "--test logs in: it needs --pin-source");
    for (size_t i = 0; i < setup->group_count; i++)
        KYOK_TRY(test_group(setup, &setup->groups[i]));
    return KYOK_OK;
}

enum kyok_status setup_find_tokens(struct setup *setup)
{
    struct cli *cli = setup->cli;
    const char *path = cli_option(cli, "--module");
    if (path == NULL && setup->kmip != NULL)
        return KYOK_OK;
    if (path == NULL)
        KYOK_TRY(take_known(setup));
    for (size_t i = 0; path != NULL; path = cli_option_at(cli, "--module", ++i))
        KYOK_TRY(take_module(setup, path));
    if (setup->group_count > 0)
        return test_groups(setup);
    const json_t *problem = json_array_get(setup->problems, 0);
    kyok_fail(&cli->error, KYOK_NOT_FOUND, NULL, "no token was found that could hold keys");
    if (problem != NULL)
        kyok_because(&cli->error, "%s", json_string_value(json_object_get(problem, "what")));
    return kyok_remedy(&cli->error, "initialise a token with the vendor's tool, or name the "
                                    "module: --module PATH");
}
