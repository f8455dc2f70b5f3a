/* SPDX-License-Identifier: Apache-2.0 */
/* kyok key list */
#include "cli/cli.h"
#include "cli/key_life.h"

#include <stdlib.h>
#include <string.h>

static const struct cli_option list_options[] = {
    {.name = "--all", .summary = "also public keys and data objects"},
    {.name = "--no-login",
     .summary = "log in nowhere: only what a token shows to anyone is listed"},
    {.name = "--tree", .summary = "the recorded keys of GROUP, and what descends from each"},
};

static bool is_wanted(const struct cli *cli, const struct kyok_key_info *info)
{
    return cli_option(cli, "--all") != NULL ||
           (info->object != KYOK_OBJECT_PUBLIC && info->object != KYOK_OBJECT_DATA);
}

static void print_row(const struct kyok_key_info *info)
{
    char room[1024], kind[CLI_KIND_SIZE];
    const char *words[CLI_KEY_FLAGS];
    size_t count = cli_key_flags(info, words, CLI_KEY_FLAGS);
    printf("  %-10s  %-9s  %s", cli_object_word(info->object), cli_key_kind(info, kind),
           info->reference != NULL ? cli_safe(info->reference, room, sizeof(room)) : "-");
    for (size_t i = 0; i < count; i++) {
        printf("%s", i == 0 ? "  " : ", ");
        cli_paint(stdout, CLI_WARNING, words[i]);
    }
    printf("\n");
}

/* What one group answered. */
struct listing {
    const char *group;
    bool released; /* a KMIP group that gives its keys away */
    struct cli_keys keys;
    enum kyok_status status;
    struct kyok_error error;
};

static void list_group(struct cli *cli, struct kyok_context *context, const char *reference_text,
                       struct listing *listing)
{
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *reference = NULL;
    listing->status =
        kyok_reference_parse(reference_text, KYOK_FROM_CONFIGURATION, kyok_context_config(context),
                             &reference, &listing->error);
    if (listing->status == KYOK_OK)
        listing->status = kyok_key_list(context, reference, cli_option(cli, "--no-login") == NULL,
                                        cli_keys_visit, &listing->keys, &listing->error);
    if (listing->status == KYOK_OK && listing->keys.failed)
        listing->status =
            kyok_fail(&listing->error, KYOK_SYSTEM, listing->group, "memory is short");
}

static json_t *json_listing(const struct cli *cli, const struct listing *listing)
{
    json_t *keys = json_array();
    json_t *object = json_pack("{s:s, s:o}", "group", listing->group, "keys", keys);
    if (listing->released)
        json_object_set_new(object, "leaves-the-custodian", json_true());
    if (listing->status != KYOK_OK)
        json_object_set_new(object, "error", cli_json_error(&listing->error));
    for (size_t i = 0; i < listing->keys.count; i++) {
        if (is_wanted(cli, &listing->keys.items[i]))
            json_array_append_new(keys, cli_key_json(&listing->keys.items[i]));
    }
    return object;
}

static void print_listing(struct cli *cli, const struct listing *listing)
{
    cli_paint(stdout, CLI_STRONG, listing->group);
    if (listing->released) {
        printf("  ");
        cli_paint(stdout, CLI_WARNING, "release = yes: keys leave this custodian");
    }
    printf("\n");
    for (size_t i = 0; i < listing->keys.count; i++) {
        if (is_wanted(cli, &listing->keys.items[i]))
            print_row(&listing->keys.items[i]);
    }
    if (listing->status != KYOK_OK) {
        cli->error = listing->error;
        cli_print_error(cli);
    }
}

struct listings {
    struct listing *items;
    size_t count;
};

static void listings_free(struct listings *listings)
{
    for (size_t i = 0; i < listings->count; i++)
        cli_keys_free(&listings->items[i].keys);
    free(listings->items);
}

static enum kyok_status print_listings(struct cli *cli, const struct listings *listings)
{
    size_t failed = 0;
    json_t *groups = cli->json ? json_array() : NULL;
    for (size_t i = 0; i < listings->count; i++) {
        const struct listing *listing = &listings->items[i];
        failed += listing->status != KYOK_OK;
        if (cli->json)
            json_array_append_new(groups, json_listing(cli, listing));
        else
            print_listing(cli, listing);
    }
    if (cli->json)
        KYOK_TRY(cli_json(cli, json_pack("{s:o}", "groups", groups)));
    if (failed == 0)
        return KYOK_OK;
    return kyok_fail(&cli->error, KYOK_INCOMPLETE, NULL, "%zu of %zu groups did not answer", failed,
                     listings->count);
}

static bool is_asked(const struct cli *cli, const char *name)
{
    return cli->operand_count == 0 || strcmp(cli->operands[0], name) == 0;
}

static void list_tokens(struct cli *cli, struct kyok_context *context, struct listings *listings)
{
    const struct kyok_config *config = kyok_context_config(context);
    for (size_t i = 0; i < config->token_count; i++) {
        char text[128];
        if (!is_asked(cli, config->tokens[i].name))
            continue;
        struct listing *listing = &listings->items[listings->count++];
        listing->group = config->tokens[i].name;
        snprintf(text, sizeof(text), "pkcs11:?kyok-group=%s", listing->group);
        list_group(cli, context, text, listing);
    }
}

static void list_kmips(struct cli *cli, struct kyok_context *context, struct listings *listings)
{
    const struct kyok_config *config = kyok_context_config(context);
    for (size_t i = 0; i < config->kmip_count; i++) {
        char text[128];
        if (!is_asked(cli, config->kmips[i].name))
            continue;
        struct listing *listing = &listings->items[listings->count++];
        listing->group = config->kmips[i].name;
        listing->released = config->kmips[i].release;
        snprintf(text, sizeof(text), "kmip://%s", listing->group);
        list_group(cli, context, text, listing);
    }
}

static enum kyok_status run_list(struct cli *cli)
{
    struct kyok_context *context;
    KYOK_TRY(cli_context(cli, &context));
    if (cli_option(cli, "--tree") != NULL)
        return cli->operand_count == 1 ? cli_key_tree(cli, context, cli->operands[0])
                                       : cli_usage(cli, "--tree needs the GROUP");
    const struct kyok_config *config = kyok_context_config(context);
    size_t most = config->token_count + config->kmip_count;
    KYOK_CLEANUP(listings_free)
    struct listings listings = {calloc(most + 1, sizeof(struct listing)), 0};
    if (listings.items == NULL)
        return kyok_fail(&cli->error, KYOK_SYSTEM, NULL, "memory is short");
    list_tokens(cli, context, &listings);
    list_kmips(cli, context, &listings);
    if (listings.count == 0) {
        kyok_fail(&cli->error, KYOK_INVALID,
                  cli->operand_count > 0 ? cli->operands[0] : config->path,
                  "no such group is configured");
        return kyok_remedy(&cli->error,
                           "add a section [token NAME] or [kmip NAME], or run \"kyok setup\"");
    }
    if (listings.count == 1 && listings.items[0].status != KYOK_OK) {
        cli->error = listings.items[0].error;
        return cli->error.status;
    }
    return print_listings(cli, &listings);
}

const struct cli_verb cli_key_list_verbs[] = {
    {.words = "key list",
     .operands = "[GROUP]",
     .most = 1,
     .summary = "list keys and certificates, and flag keys that could leave",
     .description =
         "Lists the private and secret keys and certificates of GROUP, or of every group of "
         "kyok.conf, each with its exact reference. A key that can be, or could once be, read out "
         "of its custodian is flagged: extractable; not sensitive; was extractable or imported; "
         "was "
         "not always sensitive. A KMIP group with release = yes is marked, since its keys leave "
         "the server. When some of several groups do not answer, the others are listed and the "
         "exit "
         "code is 4.",
     CLI_OPTIONS(list_options),
     .run = run_list},
    {0},
};
