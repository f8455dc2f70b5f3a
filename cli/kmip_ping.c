/* SPDX-License-Identifier: Apache-2.0 */
/* kyok kmip ping: is every endpoint there, what does it speak, and may this identity take keys out.
 */
#include "cli/kmip.h"

#include <string.h>

struct ping {
    struct cli *cli;
    json_t *endpoints;
    size_t count, reached;
    struct kyok_error error; /* of the last that was not reached */
};

static void version_text(unsigned version, char text[8])
{
    snprintf(text, 8, "%u.%u", version >> 8 & 0xff, version & 0xff);
}

/* --- JSON ------------------------------------------------------------------------------------ */

static json_t *versions_json(const struct kyok_kmip_endpoint_report *report)
{
    json_t *list = json_array();
    char text[8];

    for (size_t i = 0; i < report->version_count; i++) {
        version_text(report->versions[i], text);
        json_array_append_new(list, json_string(text));
    }
    return list;
}

static json_t *operations_json(const struct kyok_kmip_query_response *query)
{
    json_t *list = json_array();

    for (size_t i = 0; i < query->operations.count; i++) {
        const char *name = kyok_kmip_enum_name(KYOK_KMIP_TAG_OPERATION, query->operations.items[i]);
        json_array_append_new(list, name != NULL ? json_string(name)
                                                 : json_integer(query->operations.items[i]));
    }
    return list;
}

static json_t *report_json(const struct kyok_kmip_endpoint_report *report)
{
    char text[8];
    json_t *json =
        json_pack("{s:s, s:b}", "endpoint", report->url, "ok", report->status == KYOK_OK);

    if (report->status != KYOK_OK) {
        json_object_set_new(json, "error", cli_json_error(report->error));
        return json;
    }
    version_text(report->version, text);
    json_object_set_new(json, "tls", json_string(report->tls));
    json_object_set_new(json, "cipher", json_string(report->cipher));
    json_object_set_new(json, "certificate", cli_json_text(report->server_certificate));
    json_object_set_new(json, "identity", cli_json_text(report->identity));
    json_object_set_new(json, "version", json_string(text));
    json_object_set_new(json, "versions", versions_json(report));
    json_object_set_new(json, "connect_ms", json_real(report->handshake_ms));
    json_object_set_new(json, "latency_ms", json_real(report->latency_ms));
    if (report->query != NULL)
        json_object_set_new(json, "operations", operations_json(report->query));
    return json;
}

/* --- text ------------------------------------------------------------------------------------ */

static void print_versions(const struct kyok_kmip_endpoint_report *report)
{
    char text[8];

    version_text(report->version, text);
    printf("  speaks      KMIP %s (offers", text);
    for (size_t i = 0; i < report->version_count; i++) {
        version_text(report->versions[i], text);
        printf(" %s", text);
    }
    printf(")\n");
}

static void print_operations(const struct kyok_kmip_query_response *query)
{
    char room[256];

    if (query == NULL) {
        printf("  operations  not told: the server answers no Query\n");
        return;
    }
    printf("  operations ");
    for (size_t i = 0; i < query->operations.count; i++) {
        const char *name = kyok_kmip_enum_name(KYOK_KMIP_TAG_OPERATION, query->operations.items[i]);
        printf(" %s", name != NULL ? name : "?");
    }
    printf("\n");
    if (query->vendor_identification.size != 0) {
        char vendor[200];
        snprintf(vendor, sizeof vendor, "%.*s", (int)query->vendor_identification.size,
                 (const char *)query->vendor_identification.data);
        printf("  server      %s\n", cli_safe(vendor, room, sizeof room));
    }
}

static void print_report(const struct kyok_kmip_endpoint_report *report)
{
    char room[1200], text[1200];

    cli_paint(stdout, report->status == KYOK_OK ? CLI_GOOD : CLI_BAD,
              report->status == KYOK_OK ? "up   " : "down ");
    printf("%s\n", report->url);
    if (report->status != KYOK_OK) {
        kyok_error_text(report->error, text, sizeof text);
        printf("  %s\n", cli_safe(text, room, sizeof room));
        return;
    }
    printf("  TLS         %s, %s\n", report->tls, report->cipher);
    printf("  certificate %s\n", cli_safe(report->server_certificate, room, sizeof room));
    printf("  identity    %s\n", cli_safe(report->identity, room, sizeof room));
    print_versions(report);
    print_operations(report->query);
    printf("  time        %.1f ms to connect, %.1f ms per request\n", report->handshake_ms,
           report->latency_ms);
}

static void visit(void *caller, const struct kyok_kmip_endpoint_report *report)
{
    struct ping *ping = caller;

    ping->count++;
    if (report->status == KYOK_OK)
        ping->reached++;
    else
        ping->error = *report->error;
    if (ping->cli->json)
        json_array_append_new(ping->endpoints, report_json(report));
    else
        print_report(report);
}

/* --- may this identity take out what it signs with? ------------------------------------------ */

#define KEYS_LOOKED_AT 16

static bool signs_and_gets(struct kyok_kmip_client *client, const char *id)
{
    KYOK_KMIP_AUTO_REPLY(reply);
    static const struct kyok_kmip_expectation anything;
    struct kyok_deadline deadline = kyok_kmip_client_deadline(client);
    struct kyok_bytes identifier = kyok_bytes_of_text(id);
    struct kyok_kmip_facts facts;
    struct kyok_error err;

    if (kyok_kmip_get_facts(client, identifier, &anything, deadline, &reply, &facts, &err) !=
            KYOK_OK ||
        (facts.usage & KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_SIGN) == 0)
        return false;
    return kyok_kmip_may_get(client, identifier, &facts, deadline) == KYOK_YES;
}

static void say_takes_out(const struct cli *cli, const char *group, const char *id, json_t *list)
{
    char room[300];

    if (cli->json) {
        json_array_append_new(list, cli_json_text(id));
        return;
    }
    cli_paint(stdout, CLI_WARNING, "warning: ");
    printf("this identity may Sign with kmip://%s/%s and Get the private key as well\n", group,
           cli_safe(id, room, sizeof room));
}

static json_t *look_at_keys(const struct cli *cli, struct kyok_kmip_client *client)
{
    struct kyok_kmip_attribute type = kyok_kmip_attribute_enumeration(
        KYOK_KMIP_ATTRIBUTE_OBJECT_TYPE, KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY);
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer found = {0};
    json_t *list = cli->json ? json_array() : NULL;
    struct kyok_error err;
    size_t count = 0;
    bool more;

    if (kyok_kmip_locate(client, &type, 1, KEYS_LOOKED_AT, kyok_kmip_client_deadline(client),
                         &found, &count, &more, &err) != KYOK_OK)
        return list;
    const char *id = (const char *)found.data;
    for (size_t i = 0; i < count; i++, id += strlen(id) + 1)
        if (signs_and_gets(client, id))
            say_takes_out(cli, cli->operands[0], id, list);
    return list;
}

/* --- the verb -------------------------------------------------------------------------------- */

static enum kyok_status verdict(struct cli *cli, const struct ping *ping)
{
    if (ping->reached == ping->count)
        return KYOK_OK;
    cli->error = ping->error;
    if (ping->reached != 0) {
        kyok_fail(&cli->error, KYOK_INCOMPLETE, cli->operands[0], "%zu of %zu endpoints answer",
                  ping->reached, ping->count);
        return KYOK_INCOMPLETE;
    }
    return cli->error.status;
}

static enum kyok_status run(struct cli *cli)
{
    struct ping ping = {.cli = cli};
    CLI_KMIP_AUTO_CLIENT struct kyok_kmip_client *client = NULL;
    json_t *keys = NULL;

    KYOK_TRY(cli_kmip_client(cli, &client));
    ping.endpoints = cli->json ? json_array() : NULL;
    enum kyok_status status = kyok_kmip_ping(client, visit, &ping, &cli->error);
    if (status == KYOK_OK && ping.reached != 0 && cli_option(cli, "--no-keys") == NULL)
        keys = look_at_keys(cli, client);
    json_t *result = cli->json ? json_pack("{s:s, s:o, s:o*}", "group", cli->operands[0],
                                           "endpoints", ping.endpoints, "sign_and_get", keys)
                               : NULL;
    if (status == KYOK_OK && ping.reached != 0)
        cli_kmip_say_revocation(cli, client, result);
    if (cli->json)
        KYOK_TRY(cli_json(cli, result));
    return status != KYOK_OK ? status : verdict(cli, &ping);
}

static const struct cli_option options[] = {
    {.name = "--no-keys",
     .summary = "do not look for private keys that this identity may both use and take out"},
};

const struct cli_verb cli_kmip_ping_verbs[] = {
    {.words = "kmip ping",
     .operands = "GROUP",
     .least = 1,
     .most = 1,
     .summary = "Show each endpoint of a KMIP group: TLS, identity, versions, operations, latency",
     .description =
         "Connects to every server of the group on a new connection, and reports what the TLS "
         "handshake, Discover Versions and (where the server has it) Query say. It then looks at "
         "up "
         "to 16 private keys that this identity sees, and warns of each that it may both Sign with "
         "and Get: such a key can be taken out of the server by whoever has this identity. For "
         "keys "
         "whose attributes do not tell, that is found out by a Get whose answer is wiped at once.",
     CLI_OPTIONS(options),
     .run = run},
    {0}};
