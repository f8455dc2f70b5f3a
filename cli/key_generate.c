/* SPDX-License-Identifier: Apache-2.0 */
/* kyok key generate */
#include "cli/key_life.h"

#include <string.h>
#include <time.h>

static const char *const type_words[] = {"rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384",
                                         "ec-p521",  "ed25519",  "aes-256",  NULL};
static const char *const use_words[] = {"sign", "decrypt", "derive", "wrap", NULL};

static const struct cli_option generate_options[] = {
    {.name = "--type",
     .argument = "TYPE",
     .summary = "kind and size of the key",
     .choices = type_words,
     .required = true},
    {.name = "--use",
     .argument = "USE",
     .summary = "what it may do, instead of the usual for its type",
     .choices = use_words,
     .repeatable = true},
    {.name = "--id",
     .argument = "HEX",
     .summary = "its CKA_ID, instead of the reference's or a random one"},
    {.name = "--replicate",
     .summary = "in every token of the group, as a key that cannot leave but once did, wrapped"},
    {.name = "--allow-oaep-sha1",
     .summary = "with --replicate: where the tokens take RSA-OAEP with SHA-1 only"},
    {.name = "--pre-active", .summary = "not to be used before kyok key state REF active"},
    {.name = "--activate-on",
     .argument = "TIME",
     .summary = "not to be used before TIME: 2026-11-21, 2026-11-21T18:30 (UTC), 12h, 90d"},
    {.name = "--deactivate-on",
     .argument = "TIME",
     .summary = "from TIME on it opens what it has sealed, and seals nothing"},
};

static unsigned read_uses(const struct cli *cli)
{
    static const unsigned bits[] = {KYOK_USE_SIGN, KYOK_USE_DECRYPT, KYOK_USE_DERIVE,
                                    KYOK_USE_WRAP};
    unsigned uses = 0;
    const char *word;
    for (size_t at = 0; (word = cli_option_at(cli, "--use", at)) != NULL; at++) {
        for (size_t i = 0; use_words[i] != NULL; i++)
            uses |= strcmp(word, use_words[i]) == 0 ? bits[i] : 0;
    }
    return uses;
}

static enum kyok_status read_id(struct cli *cli, uint8_t *id, size_t room,
                                struct kyok_generate_request *request)
{
    const char *hex = cli_option(cli, "--id");
    size_t length = hex != NULL ? strlen(hex) : 0;
    if (hex == NULL)
        return KYOK_OK;
    if (length == 0 || length % 2 != 0 || length / 2 > room ||
        !kyok_hex_decode(hex, length, id, length / 2))
        return cli_usage(cli, "--id must be 1 to %zu bytes in hexadecimal", room);
    request->id = kyok_bytes(id, length / 2);
    return KYOK_OK;
}

static enum kyok_status print_key(struct cli *cli, const struct kyok_key_info *info)
{
    char room[2048];
    if (cli->json)
        return cli_json(cli, cli_key_json(info));
    printf("%s\n", info->reference != NULL ? cli_safe(info->reference, room, sizeof(room)) : "");
    return KYOK_OK;
}

/* Whether the key's life is to be recorded from its beginning. */
static enum kyok_status read_dates(struct cli *cli, struct kyok_generate_request *request,
                                   bool *recorded)
{
    KYOK_TRY(cli_date(cli, "--activate-on", &request->activate));
    KYOK_TRY(cli_date(cli, "--deactivate-on", &request->deactivate));
    if (request->activate <= time(NULL))
        request->activate = 0;
    request->dormant = cli_option(cli, "--pre-active") != NULL || request->activate != 0;
    *recorded = request->dormant || request->deactivate != 0;
    if (*recorded && cli_option(cli, "--replicate") != NULL)
        return cli_usage(cli, "--replicate makes an active key: give its dates or its state "
                              "afterwards, with kyok key state");
    if (request->deactivate == 0 || request->deactivate > time(NULL))
        return KYOK_OK;
    return cli_usage(cli, "--deactivate-on is in the past");
}

static enum kyok_status generate_recorded(struct cli *cli, struct kyok_context *context,
                                          const struct kyok_reference *reference,
                                          const struct kyok_generate_request *request)
{
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *made = NULL;

    KYOK_TRY(kyok_key_generate_recorded(context, reference, request, &made, &cli->error));
    return cli_print_reference(cli, made);
}

static enum kyok_status generate_everywhere(struct cli *cli, struct kyok_context *context,
                                            const struct kyok_reference *reference,
                                            const struct kyok_generate_request *request)
{
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *made = NULL;

    KYOK_TRY(kyok_key_generate_everywhere(context, reference, request,
                                          cli_option(cli, "--allow-oaep-sha1") != NULL, &made,
                                          &cli->error));
    return cli_print_reference(cli, made);
}

static enum kyok_status run_generate(struct cli *cli)
{
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *reference = NULL;
    KYOK_CLEANUP(cli_key_auto_free) struct kyok_key *key = NULL;
    struct kyok_generate_request request = {0};
    struct kyok_context *context;
    uint8_t id[64];
    bool recorded;
    cli_key_kind_read(cli_option(cli, "--type"), &request.type, &request.bits);
    request.uses = read_uses(cli);
    KYOK_TRY(read_id(cli, id, sizeof(id), &request));
    KYOK_TRY(read_dates(cli, &request, &recorded));
    KYOK_TRY(cli_reference(cli, 0, &reference));
    KYOK_TRY(cli_context(cli, &context));
    if (cli_option(cli, "--replicate") != NULL)
        return generate_everywhere(cli, context, reference, &request);
    if (recorded)
        return generate_recorded(cli, context, reference, &request);
    KYOK_TRY(kyok_key_generate(context, reference, &request, &key, &cli->error));
    return print_key(cli, kyok_key_info(key));
}

const struct cli_verb cli_key_generate_verbs[] = {
    {.words = "key generate",
     .operands = "REF",
     .least = 1,
     .most = 1,
     .summary = "make a key inside its custodian",
     .description =
         "Makes a key inside the token or server that REF names, and prints its exact reference. A "
         "pkcs11: REF needs a token (or kyok-group=NAME) and a label, object=NAME; a kmip: REF is "
         "kmip://GROUP?name=NAME. The key is born sensitive and never extractable; where the "
         "custodian cannot do that, nothing is made. A label that exists is refused. In a group of "
         "several tokens REF must name one of them, since a key that never leaves its token gets "
         "into another by the vendor's tool alone; with --replicate each gets an AES, RSA or EC "
         "key "
         "that was wrapped in one for the others: it cannot leave any of them, and meets require = "
         "non-extractable, not never-extractable. A key that is not to be used yet is "
         "pre-active: in "
         "a token it is made without any use, which is given to it when it becomes active; a KMIP "
         "server keeps the state. See \"key state\" for who enforces the dates.",
     CLI_OPTIONS(generate_options),
     .run = run_generate},
    {0},
};
