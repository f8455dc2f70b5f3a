/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KYOK_CLI_SPAWN_H
#define KYOK_CLI_SPAWN_H

#include "cli/cli.h"

/* Runs this very program with arguments (NULL-terminated, the first its name), which should print
 * one JSON object; *answer is that object. A child that is not done at the deadline is killed.
 * object stands in messages. */
enum kyok_status cli_spawn(const char *const *arguments, const char *object,
                           struct kyok_deadline deadline, json_t **answer, struct kyok_error *err);

/* {"module": {...}, "tokens": [...]} of the module at path, asked in a child; or the error. */
enum kyok_status cli_probe_module(const char *path, unsigned timeout_ms, json_t **answer,
                                  struct kyok_error *err);
#define CLI_PROBE_TIMEOUT_MS 15000
/* {"answers": {word: "CKR_OK" or another}} of the token, tried in a child. */
enum kyok_status cli_test_token(const char *path, const char *label, const char *pin_source,
                                json_t **answer, struct kyok_error *err);
/* An array of {"name", "path"}: modules of p11-kit's configuration, which are those that a group
 * without module uses; with_known: also known vendors' ones that are installed. Never fails: what
 * cannot be listed is left out. */
json_t *cli_known_modules(bool with_known);

#endif
