/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/kmip.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum kyok_status cli_kmip_client(struct cli *cli, struct kyok_kmip_client **client)
{
    const struct kyok_config *config;
    const struct kyok_kmip_config *section;

    KYOK_TRY(cli_config(cli, &config));
    for (size_t i = 0; i < cli->operand_count; i++)
        if (cli->operands[i][0] == '\0') /* to KMIP it means "the one before" */
            return cli_usage(cli, "an empty name or identifier means nothing");
    section = kyok_config_kmip(config, cli->operands[0]);
    if (section == NULL) {
        kyok_fail(&cli->error, KYOK_INVALID, config->path, "there is no [kmip %s]",
                  cli->operands[0]);
        return kyok_remedy(&cli->error, "add the section with server, ca, certificate and key");
    }
    return kyok_kmip_client_new(section, client, &cli->error);
}

void cli_kmip_client_auto_free(struct kyok_kmip_client **client)
{
    kyok_kmip_client_free(*client);
}

struct kyok_bytes cli_kmip_identifier(const struct cli *cli)
{
    return kyok_bytes_of_text(cli->operands[1]);
}

/* --- words ----------------------------------------------------------------------------------- */

/* Letters and digits only, lower case. */
static void plain(const char *text, char *room, size_t size)
{
    size_t out = 0;

    for (; *text != '\0' && out + 1 < size; text++)
        if (isalnum((unsigned char)*text))
            room[out++] = (char)tolower((unsigned char)*text);
    room[out] = '\0';
}

#define MOST_VALUE 0x200u /* link types are the highest */

static bool enum_of_word(uint32_t tag, const char *word, uint32_t *value)
{
    char wanted[64], have[64];

    plain(word, wanted, sizeof wanted);
    for (uint32_t i = 1; i < MOST_VALUE; i++) {
        const char *name = kyok_kmip_enum_name(tag, i);
        plain(name != NULL ? name : "", have, sizeof have);
        if (name != NULL && strcmp(wanted, have) == 0) {
            *value = i;
            return true;
        }
    }
    return false;
}

enum kyok_status cli_kmip_enum(struct cli *cli, const char *option, uint32_t tag, uint32_t *value)
{
    const char *word = cli_option(cli, option);

    *value = 0;
    if (word == NULL || enum_of_word(tag, word, value))
        return KYOK_OK;
    return cli_usage(cli, "%s: KMIP knows no \"%s\"", option, word);
}

static bool mask_of_word(const char *word, size_t size, uint32_t *mask)
{
    char copy[64], wanted[64], have[64];

    snprintf(copy, sizeof copy, "%.*s", (int)size, word);
    plain(copy, wanted, sizeof wanted);
    for (uint32_t bit = 1; bit != 0; bit <<= 1) {
        const char *name = kyok_kmip_mask_name(KYOK_KMIP_TAG_CRYPTOGRAPHIC_USAGE_MASK, bit);
        plain(name != NULL ? name : "", have, sizeof have);
        if (name != NULL && strcmp(wanted, have) == 0) {
            *mask |= bit;
            return true;
        }
    }
    return false;
}

enum kyok_status cli_kmip_usage(struct cli *cli, const char *text, uint32_t *mask)
{
    if (*text == '\0')
        return cli_usage(cli, "--usage names no use");
    for (*mask = 0; *text != '\0';) {
        size_t size = strcspn(text, ",");
        if (!mask_of_word(text, size, mask))
            return cli_usage(cli, "--usage: KMIP knows no use \"%.*s\"", (int)size, text);
        text += size;
        text += *text == ',';
    }
    return KYOK_OK;
}

enum kyok_status cli_kmip_number(struct cli *cli, const char *option, unsigned least, unsigned most,
                                 unsigned *number)
{
    const char *text = cli_option(cli, option);
    char *end = NULL;

    if (text == NULL)
        return KYOK_OK;
    unsigned long value = strtoul(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || value < least || value > most)
        return cli_usage(cli, "%s is a number from %u to %u", option, least, most);
    *number = (unsigned)value;
    return KYOK_OK;
}

/* --- what revocation means ------------------------------------------------------------------- */

/* Measured on the servers, or said by their makers. */
static const struct {
    const char *vendor; /* part of the Vendor Identification */
    const char *meaning;
} servers[] = {
    {"PyKMIP",
     "a revoked key is not used by this server any more, but Get still hands it out: only "
     "Destroy takes it back"},
};

static const char *const unknown_meaning =
    "what revocation means on this server is not known; \"kyok kmip revoke\" says what it did";

const char *cli_kmip_revocation(struct kyok_kmip_client *client)
{
    static const enum kyok_kmip_query_function function =
        KYOK_KMIP_QUERY_FUNCTION_QUERY_SERVER_INFORMATION;
    KYOK_KMIP_AUTO_REPLY(reply);
    struct kyok_kmip_request_item item = {.operation = KYOK_KMIP_OPERATION_QUERY};
    struct kyok_error err;

    item.payload.query.functions.items = &function;
    item.payload.query.functions.count = 1;
    if (kyok_kmip_call(client, &item, kyok_kmip_client_deadline(client), &reply, &err) != KYOK_OK)
        return unknown_meaning;
    struct kyok_bytes vendor = reply.item->payload.query.vendor_identification;
    for (size_t i = 0; i < sizeof servers / sizeof *servers; i++)
        if (vendor.size != 0 &&
            memmem(vendor.data, vendor.size, servers[i].vendor, strlen(servers[i].vendor)) != NULL)
            return servers[i].meaning;
    return unknown_meaning;
}

const char *cli_kmip_revocation_measured(struct kyok_kmip_client *client,
                                         struct kyok_bytes identifier)
{
    static const struct kyok_kmip_facts nothing_known = {.sensitive = KYOK_NOT_KNOWN,
                                                         .extractable = KYOK_NOT_KNOWN};

    switch (
        kyok_kmip_may_get(client, identifier, &nothing_known, kyok_kmip_client_deadline(client))) {
    case KYOK_YES:
        return "the server still hands the revoked key out by Get: only Destroy takes it back";
    case KYOK_NO:
        return "the server does not hand the revoked key out to this identity";
    default:
        return unknown_meaning;
    }
}

void cli_kmip_say_revocation(const struct cli *cli, struct kyok_kmip_client *client, json_t *result)
{
    const char *meaning = cli_kmip_revocation(client);

    if (cli->json)
        json_object_set_new(result, "revocation", json_string(meaning));
    else
        fprintf(stderr, "note: %s\n", meaning);
}
