/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

enum kyok_status cli_config(struct cli *cli, const struct kyok_config **config)
{
    if (cli->config == NULL)
        KYOK_TRY(kyok_config_load(cli->config_path, &cli->config, &cli->error));
    *config = cli->config;
    return KYOK_OK;
}
