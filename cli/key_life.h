/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the verbs of a key's life. */
#ifndef KYOK_CLI_KEY_LIFE_H
#define KYOK_CLI_KEY_LIFE_H

#include "cli/cli.h"
#include "common/key/lifecycle.h"

enum kyok_status cli_print_reference(struct cli *cli, const struct kyok_reference *reference);
/* The recorded keys of a token group and what descends from them (key list --tree). */
enum kyok_status cli_key_tree(struct cli *cli, struct kyok_context *context, const char *group);

#endif
