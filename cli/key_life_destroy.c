/* SPDX-License-Identifier: Apache-2.0 */
/* kyok key destroy: asks for the name, and first looks for what would be lost. */
#include "cli/key_life.h"
#include "cli/uses.h"

#include <stdlib.h>
#include <string.h>

static const struct cli_option destroy_options[] = {
    {.name = "--confirm",
     .argument = "NAME",
     .summary = "the key's name, instead of typing it when asked"},
    {.name = "--in",
     .argument = "PATH",
     .summary = "look here for what uses the key, instead of in the usual folders",
     .repeatable = true},
    {.name = "--force", .summary = "even if something uses the key"},
};

#define PATHS_MAX 64

static enum kyok_status check_uses(struct cli *cli, struct cli_uses *uses)
{
    const char *paths[PATHS_MAX];
    size_t count = 0;

    while (count < PATHS_MAX && (paths[count] = cli_option_at(cli, "--in", count)) != NULL)
        count++;
    if (cli_option_at(cli, "--in", PATHS_MAX) != NULL)
        return cli_usage(cli, "at most %d --in at once", PATHS_MAX);
    KYOK_TRY(cli_uses_find(uses, paths, count, &cli->error));
    if (cli_option(cli, "--force") != NULL)
        return KYOK_OK;
    if (uses->count == 0)
        return cli_uses_check(uses, &cli->error);
    if (!cli->json)
        cli_uses_print(stderr, uses);
    kyok_fail(&cli->error, KYOK_REFUSED, cli->operands[0],
              "%zu place%s would lose this key, the first in %.120s", uses->count,
              uses->count == 1 ? "" : "s", uses->list[0].path);
    return kyok_remedy(&cli->error, "rewrap or remove them first, or add --force");
}

static enum kyok_status confirm(struct cli *cli, const char *name)
{
    const char *given = cli_option(cli, "--confirm");
    bool agreed = given != NULL ? strcmp(given, name) == 0
                                : cli_confirm("What only this key opens is lost for good. "
                                              "Type the key's name to destroy it",
                                              name);

    if (agreed)
        return KYOK_OK;
    kyok_fail(&cli->error, KYOK_REFUSED, name, "not destroyed: its name was not given");
    return kyok_remedy(&cli->error, "type it when asked, or add --confirm NAME");
}

static enum kyok_status run_destroy(struct cli *cli)
{
    KYOK_CLEANUP(cli_uses_free) struct cli_uses uses = {0};
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *reference = NULL;
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *exact = NULL;
    struct kyok_context *context;
    const char *name;

    KYOK_TRY(cli_config(cli, &uses.config));
    KYOK_TRY(cli_reference(cli, 0, &reference));
    name = reference->identifier != NULL ? reference->identifier
           : reference->name != NULL     ? reference->name
                                         : reference->object;
    if (name == NULL)
        return cli_usage(cli, "REF must name the key: object=NAME, or a KMIP identifier or name");
    KYOK_TRY(cli_context(cli, &context));
    KYOK_TRY(kyok_key_exact(context, reference, &exact, &cli->error)); /* as envelopes name it */
    uses.wanted = exact;
    KYOK_TRY(check_uses(cli, &uses));
    KYOK_TRY(confirm(cli, name));
    KYOK_TRY(kyok_key_destroy(context, exact, cli_option(cli, "--force") != NULL, &cli->error));
    return cli->json ? cli_json(cli, json_pack("{s:o}", "destroyed", cli_json_text(name)))
                     : KYOK_OK;
}

const struct cli_verb cli_key_life_destroy_verbs[] = {
    {.words = "key destroy",
     .operands = "REF",
     .least = 1,
     .most = 1,
     .summary = "destroy a key for good",
     .description =
         "Destroys the version of the key that REF names, on every token of its group, after "
         "asking "
         "for its name. Refused while an envelope, stream, record, PEM reference or configuration "
         "in the usual folders (or those given with --in) rests on it, or while other keys descend "
         "from it, unless forced. kyok cannot know of copies elsewhere: suspend a key for a while "
         "before destroying it.",
     CLI_OPTIONS(destroy_options),
     .run = run_destroy},
    {0},
};
