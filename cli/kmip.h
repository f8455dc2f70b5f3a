/* SPDX-License-Identifier: Apache-2.0 */
/* What the kmip verbs share. */
#ifndef KYOK_CLI_KMIP_H
#define KYOK_CLI_KMIP_H

#include "cli/cli.h"
#include "common/kmip/kmip.h"

/* The client of the group that the first operand names. */
enum kyok_status cli_kmip_client(struct cli *cli, struct kyok_kmip_client **client);
/* The second operand. */
struct kyok_bytes cli_kmip_identifier(const struct cli *cli);
void cli_kmip_client_auto_free(struct kyok_kmip_client **client);
#define CLI_KMIP_AUTO_CLIENT KYOK_CLEANUP(cli_kmip_client_auto_free)

/* The value of an option whose words are an enumeration's ("aes", "AES", "SymmetricKey"): in any
 * letter case, hyphens ignored. 0 when the option was not given. */
enum kyok_status cli_kmip_enum(struct cli *cli, const char *option, uint32_t tag, uint32_t *value);
/* "encrypt,decrypt" as a usage mask. */
enum kyok_status cli_kmip_usage(struct cli *cli, const char *text, uint32_t *mask);
/* A length or a limit. Leaves *number when the option was not given. */
enum kyok_status cli_kmip_number(struct cli *cli, const char *option, unsigned least, unsigned most,
                                 unsigned *number);

/* What revoking a key means on the group's servers: their own word where they are known, else how
 * to find out. Asked of the server at most once per call of the command. */
const char *cli_kmip_revocation(struct kyok_kmip_client *client);
/* Adds it to a result. */
void cli_kmip_say_revocation(const struct cli *cli, struct kyok_kmip_client *client,
                             json_t *result);
/* The same words, once they have been measured on a revoked object. */
const char *cli_kmip_revocation_measured(struct kyok_kmip_client *client,
                                         struct kyok_bytes identifier);

/* One attribute as text (name "Cryptographic Length", value "256"). */
enum kyok_status cli_kmip_attribute_text(const struct kyok_kmip_attribute *attribute,
                                         struct kyok_buffer *name, struct kyok_buffer *value,
                                         struct kyok_error *err);

#endif
