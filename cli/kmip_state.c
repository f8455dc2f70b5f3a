/* SPDX-License-Identifier: Apache-2.0 */
/* kyok kmip activate, revoke, destroy. */
#include "cli/kmip.h"

#include <ctype.h>
#include <string.h>

static enum kyok_status print_done(struct cli *cli, const char *state, const char *revocation)
{
    char room[300];

    if (cli->json)
        return cli_json(cli,
                        json_pack("{s:o, s:s, s:s*}", "identifier", cli_json_text(cli->operands[1]),
                                  "state", state, "revocation", revocation));
    printf("%s: %s\n", cli_safe(cli->operands[1], room, sizeof room), state);
    if (revocation != NULL)
        fprintf(stderr, "note: %s\n", revocation);
    return KYOK_OK;
}

/* As the server has it now: a revoked key may be Deactivated or Compromised, whatever was asked
 * for. "revoked" where it does not say. */
static const char *state_now(struct kyok_kmip_client *client, struct kyok_bytes id, char room[40])
{
    KYOK_KMIP_AUTO_REPLY(reply);
    static const struct kyok_kmip_expectation anything;
    struct kyok_kmip_facts facts;
    struct kyok_error err;

    if (kyok_kmip_get_facts(client, id, &anything, kyok_kmip_client_deadline(client), &reply,
                            &facts, &err) != KYOK_OK)
        return "revoked";
    const char *name = kyok_kmip_enum_name(KYOK_KMIP_TAG_STATE, facts.state);
    if (name == NULL)
        return "revoked";
    snprintf(room, 40, "%s", name);
    for (char *at = room; *at != '\0'; at++)
        *at = (char)tolower((unsigned char)*at);
    return room;
}

static enum kyok_status run_activate(struct cli *cli)
{
    CLI_KMIP_AUTO_CLIENT struct kyok_kmip_client *client = NULL;

    KYOK_TRY(cli_kmip_client(cli, &client));
    KYOK_TRY(kyok_kmip_activate(client, cli_kmip_identifier(cli), kyok_kmip_client_deadline(client),
                                &cli->error));
    return print_done(cli, "active", cli_kmip_revocation(client));
}

static enum kyok_status run_revoke(struct cli *cli)
{
    CLI_KMIP_AUTO_CLIENT struct kyok_kmip_client *client = NULL;
    struct kyok_bytes id = cli_kmip_identifier(cli);
    uint32_t reason;
    char room[40];

    KYOK_TRY(cli_kmip_enum(cli, "--reason", KYOK_KMIP_TAG_REVOCATION_REASON_CODE, &reason));
    if (reason == 0)
        reason = KYOK_KMIP_REVOCATION_REASON_CODE_CESSATION_OF_OPERATION;
    KYOK_TRY(cli_kmip_client(cli, &client));
    KYOK_TRY(kyok_kmip_revoke(client, id, reason, cli_option(cli, "--message"),
                              kyok_kmip_client_deadline(client), &cli->error));
    return print_done(cli, state_now(client, id, room), cli_kmip_revocation_measured(client, id));
}

static enum kyok_status run_destroy(struct cli *cli)
{
    CLI_KMIP_AUTO_CLIENT struct kyok_kmip_client *client = NULL;

    if (cli_option(cli, "--yes") == NULL &&
        !cli_confirm(
            "Destroying the key destroys everything encrypted under it. Type its identifier",
            cli->operands[1])) {
        kyok_fail(&cli->error, KYOK_REFUSED, cli->operands[1], "not confirmed");
        return kyok_remedy(&cli->error, "give --yes if you mean it");
    }
    KYOK_TRY(cli_kmip_client(cli, &client));
    KYOK_TRY(kyok_kmip_destroy(client, cli_kmip_identifier(cli), kyok_kmip_client_deadline(client),
                               &cli->error));
    return print_done(cli, "destroyed",
                      "the server keeps no key material of a destroyed object; copies that were "
                      "taken out by Get before are out of its reach");
}

static const char *const reasons[] = {
    "unspecified", "key-compromise",         "ca-compromise",       "affiliation-changed",
    "superseded",  "cessation-of-operation", "privilege-withdrawn", NULL};

static const struct cli_option revoke_options[] = {
    {.name = "--reason",
     .argument = "REASON",
     .summary = "cessation-of-operation if not given",
     .choices = reasons},
    {.name = "--message", .argument = "TEXT", .summary = "what the server is to record"},
};

static const struct cli_option destroy_options[] = {
    {.name = "--yes", .summary = "do not ask"},
};

const struct cli_verb cli_kmip_state_verbs[] = {
    {.words = "kmip activate",
     .operands = "GROUP ID",
     .least = 2,
     .most = 2,
     .summary = "Activate an object in a KMIP server",
     .description = "An object that is active already is left as it is, and that is no error.",
     .run = run_activate},
    {.words = "kmip revoke",
     .operands = "GROUP ID",
     .least = 2,
     .most = 2,
     .summary = "Revoke an object in a KMIP server, and say what that means there",
     .description =
         "Revocation takes a key out of use; whether it also stops the server from handing it out "
         "depends on the server. The command finds out with a Get, whose answer is wiped at once, "
         "and "
         "prints the state that the object has then: deactivated, or compromised (--reason "
         "key-compromise, ca-compromise).",
     CLI_OPTIONS(revoke_options),
     .run = run_revoke},
    {.words = "kmip destroy",
     .operands = "GROUP ID",
     .least = 2,
     .most = 2,
     .summary = "Destroy an object in a KMIP server, for good",
     .description =
         "Asks for the identifier again, unless --yes is given. An active object must be "
         "revoked first.",
     CLI_OPTIONS(destroy_options),
     .run = run_destroy},
    {0}};
