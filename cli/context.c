/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration and its custodians, made when a verb first asks. */
#include "cli/cli.h"

enum kyok_status cli_config(struct cli *cli, const struct kyok_config **config)
{
    if (cli->context != NULL) {
        *config = kyok_context_config(cli->context);
        return KYOK_OK;
    }
    if (cli->config == NULL)
        KYOK_TRY(kyok_config_load(cli->config_path, &cli->config, &cli->error));
    *config = cli->config;
    return KYOK_OK;
}

enum kyok_status cli_context(struct cli *cli, struct kyok_context **context)
{
    const struct kyok_config *config;
    if (cli->context == NULL) {
        KYOK_TRY(cli_config(cli, &config));
        struct kyok_config *given = cli->config;
        cli->config = NULL;
        KYOK_TRY(kyok_context_new(given, &cli->context, &cli->error));
    }
    *context = cli->context;
    return KYOK_OK;
}

enum kyok_status cli_reference(struct cli *cli, size_t index, struct kyok_reference **reference)
{
    const struct kyok_config *config;
    KYOK_TRY(cli_config(cli, &config));
    return kyok_reference_parse(cli->operands[index], KYOK_FROM_CONFIGURATION, config, reference,
                                &cli->error);
}

void cli_reference_auto_free(struct kyok_reference **reference)
{
    kyok_reference_free(*reference);
}

void cli_key_auto_free(struct kyok_key **key)
{
    if (*key != NULL)
        kyok_key_free(*key);
}
