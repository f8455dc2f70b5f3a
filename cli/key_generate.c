/* SPDX-License-Identifier: Apache-2.0 */
/* kyok key generate */
#include "cli/cli.h"

#include <string.h>

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

static enum kyok_status run_generate(struct cli *cli)
{
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *reference = NULL;
    KYOK_CLEANUP(cli_key_auto_free) struct kyok_key *key = NULL;
    struct kyok_generate_request request = {0};
    struct kyok_context *context;
    uint8_t id[64];
    cli_key_kind_read(cli_option(cli, "--type"), &request.type, &request.bits);
    request.uses = read_uses(cli);
    KYOK_TRY(read_id(cli, id, sizeof(id), &request));
    KYOK_TRY(cli_reference(cli, 0, &reference));
    KYOK_TRY(cli_context(cli, &context));
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
         "several tokens REF must name one of them.",
     CLI_OPTIONS(generate_options),
     .run = run_generate},
    {0},
};
