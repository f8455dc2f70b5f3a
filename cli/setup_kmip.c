/* SPDX-License-Identifier: Apache-2.0 */
/* Setup: a KMIP server, as its administrator describes it: nothing on the network is searched. */
#include "cli/kmip.h"
#include "cli/setup.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *option, *setting;
    bool path, repeatable;
} settings[] = {
    {"--server", "server", false, true},
    {"--ca", "ca", true, false},
    {"--certificate", "certificate", true, false},
    {"--key", "key", true, false},
};
#define SETTINGS (sizeof(settings) / sizeof(settings[0]))

enum kyok_status setup_check_kmip(struct setup *setup)
{
    struct cli *cli = setup->cli;

    setup->kmip = cli_option(cli, "--kmip");
    for (size_t i = 0; i < SETTINGS; i++) {
        bool given = cli_option(cli, settings[i].option) != NULL;

        if (given && setup->kmip == NULL)
            return cli_usage(cli, "%s describes a KMIP server: name its group with --kmip",
                             settings[i].option);
        if (!given && setup->kmip != NULL)
            return cli_usage(cli, "--kmip needs --server, --ca, --certificate and --key");
    }
    return KYOK_OK;
}

/* --- the section ------------------------------------------------------------------------------ */

/* A line break would begin a setting of its own. */
static enum kyok_status append_setting(struct setup *setup, const char *name, const char *value)
{
    if (strpbrk(value, "\r\n") != NULL)
        return kyok_fail(&setup->cli->error, KYOK_INVALID, name, "the value has a line break");
    return kyok_buffer_printf(&setup->conf, "%s = %s\n", name, value) ? KYOK_OK
                                                                      : setup_no_memory(setup);
}

/* kyok.conf is read from any folder. */
static enum kyok_status append_path(struct setup *setup, const char *name, const char *path)
{
    KYOK_AUTO_FREE char *whole = NULL;

    if (kyok_reference_is(path))
        return append_setting(setup, name, path);
    whole = realpath(path, NULL);
    if (whole == NULL)
        return kyok_fail_errno(&setup->cli->error, path, "the file cannot be found");
    return append_setting(setup, name, whole);
}

enum kyok_status setup_write_kmip(struct setup *setup)
{
    struct cli *cli = setup->cli;

    if (setup->kmip == NULL)
        return KYOK_OK;
    if (strpbrk(setup->kmip, "\r\n]") != NULL)
        return cli_usage(cli, "--kmip takes the name of a group");
    if (!kyok_buffer_printf(&setup->conf, "\n[kmip %s]\n", setup->kmip))
        return setup_no_memory(setup);
    for (size_t i = 0; i < SETTINGS; i++) {
        const char *value = cli_option_at(cli, settings[i].option, 0);

        for (size_t j = 0; value != NULL;
             value = settings[i].repeatable ? cli_option_at(cli, settings[i].option, ++j) : NULL)
            KYOK_TRY(settings[i].path ? append_path(setup, settings[i].setting, value)
                                      : append_setting(setup, settings[i].setting, value));
    }
    return KYOK_OK;
}

/* --- what the server can do ------------------------------------------------------------------- */

static const struct {
    const char *use;
    uint32_t needs, and_needs;
    const char *otherwise;
} uses[] = {
    {"signing (TLS keys)", KYOK_KMIP_OPERATION_SIGN, KYOK_KMIP_OPERATION_SIGN, NULL},
    {"envelopes under a key that stays there", KYOK_KMIP_OPERATION_ENCRYPT,
     KYOK_KMIP_OPERATION_DECRYPT, "set release = yes: the key then leaves the server to be used"},
    {"making keys", KYOK_KMIP_OPERATION_CREATE, KYOK_KMIP_OPERATION_ACTIVATE,
     "its administrator makes them"},
};
#define USES (sizeof(uses) / sizeof(uses[0]))

static bool offers(const struct kyok_kmip_query_response *query, uint32_t operation)
{
    for (size_t i = 0; i < query->operations.count; i++)
        if (query->operations.items[i] == operation)
            return true;
    return false;
}

static void take_endpoint(void *caller, const struct kyok_kmip_endpoint_report *report)
{
    struct setup *setup = caller;
    json_t *endpoint =
        json_pack("{s:s, s:b}", "server", report->url, "answers", report->status == KYOK_OK);

    if (report->status != KYOK_OK) {
        setup->cli->error = *report->error;
        json_object_set_new(endpoint, "error", cli_json_error(report->error));
    }
    for (size_t i = 0; report->query != NULL && i < USES; i++)
        json_object_set_new(endpoint, uses[i].use,
                            json_boolean(offers(report->query, uses[i].needs) &&
                                         offers(report->query, uses[i].and_needs)));
    json_array_append_new(setup->endpoints, endpoint);
}

/* One server that answers is enough to go on: the others may be down today. */
static bool one_answers(const struct setup *setup)
{
    size_t index;
    json_t *endpoint;

    json_array_foreach(setup->endpoints, index, endpoint)
    {
        if (json_is_true(json_object_get(endpoint, "answers")))
            return true;
    }
    return false;
}

enum kyok_status setup_test_kmip(struct setup *setup, const struct kyok_config *config)
{
    CLI_KMIP_AUTO_CLIENT struct kyok_kmip_client *client = NULL;
    struct kyok_error *err = &setup->cli->error;

    if (setup->kmip == NULL || cli_option(setup->cli, "--test") == NULL)
        return KYOK_OK;
    KYOK_TRY(kyok_kmip_client_new(kyok_config_kmip(config, setup->kmip), &client, err));
    KYOK_TRY(kyok_kmip_ping(client, take_endpoint, setup, err));
    return one_answers(setup) ? KYOK_OK : err->status;
}

void setup_print_kmip(const struct setup *setup)
{
    size_t index;
    json_t *endpoint;

    if (setup->kmip == NULL)
        return;
    cli_paint(stdout, CLI_STRONG, setup->kmip);
    printf("  KMIP%s\n", json_array_size(setup->endpoints) == 0 ? ", not tried (--test)" : "");
    json_array_foreach(setup->endpoints, index, endpoint)
    {
        bool answers = json_is_true(json_object_get(endpoint, "answers"));

        printf("  %s  ", json_string_value(json_object_get(endpoint, "server")));
        cli_paint(stdout, answers ? CLI_GOOD : CLI_BAD,
                  answers ? "answers\n" : "does not answer\n");
        for (size_t i = 0; i < USES; i++) {
            const json_t *able = json_object_get(endpoint, uses[i].use);

            if (able != NULL)
                printf("    %s  %s%s%s\n", json_is_true(able) ? "yes" : "no ", uses[i].use,
                       !json_is_true(able) && uses[i].otherwise != NULL ? ": " : "",
                       !json_is_true(able) && uses[i].otherwise != NULL ? uses[i].otherwise : "");
        }
    }
}
