/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the verbs that ask what rests on a key. */
#ifndef KYOK_CLI_USES_H
#define KYOK_CLI_USES_H

#include "cli/cli.h"

#define CLI_USE_PEM "pem-reference"

struct cli_use {
    char *path;
    const char *kind; /* "envelope", "stream", "record", CLI_USE_PEM, "configuration" */
    char *what;       /* the kid, URI or file name that names the key */
    size_t line;      /* 0: the whole file */
};

/* Fill config and wanted, find, free. */
struct cli_uses {
    const struct kyok_config *config;
    const struct kyok_reference *wanted;
    struct cli_use *list;
    size_t count;
    size_t files;  /* looked at */
    size_t unread; /* of them: might be envelopes, and cannot be read or are damaged */
    char *first_unread;
    char **texts; /* of them, text files */
    size_t text_count;
};

/* count 0: the usual places. */
enum kyok_status cli_uses_find(struct cli_uses *uses, const char *const *paths, size_t count,
                               struct kyok_error *err);
/* True unless something that text, a reference, and the wanted key both name differs. */
bool cli_uses_match(const struct cli_uses *uses, const char *text, enum kyok_origin origin);
json_t *cli_uses_json(const struct cli_uses *uses);
void cli_uses_print(FILE *stream, const struct cli_uses *uses);
/* KYOK_INCOMPLETE when there were unread ones: what is not known to use the key may do so. */
enum kyok_status cli_uses_check(const struct cli_uses *uses, struct kyok_error *err);
void cli_uses_free(struct cli_uses *uses);

#endif
