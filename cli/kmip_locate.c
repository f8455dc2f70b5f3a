/* SPDX-License-Identifier: Apache-2.0 */
/* kyok kmip locate, attributes: looking for objects, and at one. */
#include "cli/kmip.h"

#include <string.h>

/* --- locate ---------------------------------------------------------------------------------- */

#define FILTERS 20

struct filters {
    struct kyok_kmip_attribute items[FILTERS];
    size_t count;
    struct kyok_kmip_name name;
};

static enum kyok_status add_enum_filter(struct cli *cli, struct filters *filters,
                                        const char *option, enum kyok_kmip_attribute_id id)
{
    uint32_t value;

    KYOK_TRY(cli_kmip_enum(cli, option, kyok_kmip_attribute_tag(id), &value));
    if (value != 0)
        filters->items[filters->count++] = kyok_kmip_attribute_enumeration(id, value);
    return KYOK_OK;
}

/* x-Product=vSphere */
static enum kyok_status add_custom_filters(struct cli *cli, struct filters *filters)
{
    const char *text;

    for (size_t i = 0; (text = cli_option_at(cli, "--attribute", i)) != NULL; i++) {
        const char *equals = strchr(text, '=');
        if (strncmp(text, "x-", 2) != 0 || equals == NULL || filters->count == FILTERS)
            return cli_usage(cli, "--attribute is x-NAME=VALUE, at most %d times", FILTERS - 4);
        filters->items[filters->count++] = kyok_kmip_attribute_custom(
            kyok_bytes(text, (size_t)(equals - text)), kyok_bytes_of_text(equals + 1));
    }
    return KYOK_OK;
}

static enum kyok_status fill_filters(struct cli *cli, struct filters *filters)
{
    const char *name = cli_option(cli, "--name");

    if (name != NULL) {
        filters->name = (struct kyok_kmip_name){kyok_bytes_of_text(name),
                                                KYOK_KMIP_NAME_TYPE_UNINTERPRETED_TEXT_STRING};
        filters->items[filters->count++] =
            kyok_kmip_attribute_structure(KYOK_KMIP_ATTRIBUTE_NAME, &filters->name);
    }
    KYOK_TRY(add_enum_filter(cli, filters, "--type", KYOK_KMIP_ATTRIBUTE_OBJECT_TYPE));
    KYOK_TRY(add_enum_filter(cli, filters, "--state", KYOK_KMIP_ATTRIBUTE_STATE));
    KYOK_TRY(
        add_enum_filter(cli, filters, "--algorithm", KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM));
    return add_custom_filters(cli, filters);
}

static enum kyok_status print_found(struct cli *cli, struct kyok_kmip_client *client,
                                    const struct kyok_buffer *found, size_t count, bool more)
{
    const char *id = (const char *)found->data;
    json_t *list = cli->json ? json_array() : NULL, *result = NULL;
    char room[300];

    for (size_t i = 0; i < count; i++, id += strlen(id) + 1) {
        if (cli->json)
            json_array_append_new(list, cli_json_text(id));
        else
            printf("%s\n", cli_safe(id, room, sizeof room));
    }
    if (cli->json)
        result = json_pack("{s:o, s:b}", "identifiers", list, "more", more);
    else if (more)
        fprintf(stderr, "note: there are more than %zu; see --limit\n", count);
    cli_kmip_say_revocation(cli, client, result);
    return cli->json ? cli_json(cli, result) : KYOK_OK;
}

static enum kyok_status run_locate(struct cli *cli)
{
    CLI_KMIP_AUTO_CLIENT struct kyok_kmip_client *client = NULL;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer found = {0};
    struct filters filters = {.count = 0};
    unsigned limit = 1000;
    size_t count;
    bool more;

    KYOK_TRY(fill_filters(cli, &filters));
    KYOK_TRY(cli_kmip_number(cli, "--limit", 1, 1000000, &limit));
    KYOK_TRY(cli_kmip_client(cli, &client));
    KYOK_TRY(kyok_kmip_locate(client, filters.items, filters.count, limit,
                              kyok_kmip_client_deadline(client), &found, &count, &more,
                              &cli->error));
    return print_found(cli, client, &found, count, more);
}

/* --- attributes ------------------------------------------------------------------------------ */

static enum kyok_status print_attribute(struct cli *cli,
                                        const struct kyok_kmip_attribute *attribute, json_t *result)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer name = {0}, value = {0};
    char name_room[128], value_room[1024];

    KYOK_TRY(cli_kmip_attribute_text(attribute, &name, &value, &cli->error));
    const char *key = cli_safe((const char *)name.data, name_room, sizeof name_room);
    if (!cli->json) {
        printf("%-32s %s\n", key,
               cli_safe((const char *)value.data, value_room, sizeof value_room));
        return KYOK_OK;
    }
    json_t *values = json_object_get(result, key);
    if (values == NULL) {
        values = json_array();
        json_object_set_new(result, key, values);
    }
    json_array_append_new(values, cli_json_text((const char *)value.data));
    return KYOK_OK;
}

static enum kyok_status run_attributes(struct cli *cli)
{
    CLI_KMIP_AUTO_CLIENT struct kyok_kmip_client *client = NULL;
    KYOK_KMIP_AUTO_REPLY(reply);
    static const struct kyok_kmip_expectation anything;
    struct kyok_kmip_facts facts;

    KYOK_TRY(cli_kmip_client(cli, &client));
    KYOK_TRY(kyok_kmip_get_facts(client, cli_kmip_identifier(cli), &anything,
                                 kyok_kmip_client_deadline(client), &reply, &facts, &cli->error));
    const struct kyok_kmip_get_attributes_response *got = &reply.item->payload.get_attributes;
    json_t *result = cli->json ? json_object() : NULL;
    enum kyok_status status = KYOK_OK;
    for (size_t i = 0; i < got->attributes.count && status == KYOK_OK; i++)
        status = print_attribute(cli, &got->attributes.items[i], result);
    if (status != KYOK_OK) {
        json_decref(result);
        return status;
    }
    json_t *whole = cli->json ? json_pack("{s:o, s:o}", "identifier",
                                          cli_json_text(cli->operands[1]), "attributes", result)
                              : NULL;
    cli_kmip_say_revocation(cli, client, whole);
    return cli->json ? cli_json(cli, whole) : KYOK_OK;
}

static const struct cli_option locate_options[] = {
    {.name = "--name", .argument = "NAME", .summary = "objects with this Name"},
    {.name = "--type", .argument = "TYPE", .summary = "symmetric-key, private-key, secret-data..."},
    {.name = "--state", .argument = "STATE", .summary = "pre-active, active, deactivated..."},
    {.name = "--algorithm", .argument = "NAME", .summary = "AES, RSA..."},
    {.name = "--attribute",
     .argument = "x-NAME=VALUE",
     .summary = "objects with this custom attribute",
     .repeatable = true},
    {.name = "--limit", .argument = "COUNT", .summary = "at most this many (1000)"},
};

const struct cli_verb cli_kmip_locate_verbs[] = {
    {.words = "kmip locate",
     .operands = "GROUP",
     .least = 1,
     .most = 1,
     .summary = "List the identifiers of objects in a KMIP server",
     .description =
         "Prints one identifier per line, in the server's order, of the objects that have "
         "all the given attributes. Servers from KMIP 1.3 on are asked page by page.",
     CLI_OPTIONS(locate_options),
     .run = run_locate},
    {.words = "kmip attributes",
     .operands = "GROUP ID",
     .least = 2,
     .most = 2,
     .summary = "Show the attributes of an object in a KMIP server",
     .description =
         "Prints every attribute that the server returns, names and values as text. Names, "
         "digests and links are shown; no attribute holds key material.",
     .run = run_attributes},
    {0}};
