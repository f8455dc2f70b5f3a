/* SPDX-License-Identifier: Apache-2.0 */
/* What the command prints: results as JSON, errors, paint, progress, and one question. */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool cli_color(FILE *stream)
{
    const char *term = getenv("TERM");
    const char *no_color = getenv("NO_COLOR");
    return isatty(fileno(stream)) && (no_color == NULL || no_color[0] == '\0') && term != NULL &&
           strcmp(term, "dumb") != 0;
}

void cli_paint(FILE *stream, enum cli_paint paint, const char *text)
{
    static const char *const codes[] = {
        [CLI_GOOD] = "32", [CLI_WARNING] = "33", [CLI_BAD] = "1;31", [CLI_STRONG] = "1"};
    if (cli_color(stream))
        fprintf(stream, "\033[%sm%s\033[0m", codes[paint], text);
    else
        fputs(text, stream);
}

/* The length of the UTF-8 sequence at text, or 0 where there is none or a control character. */
static size_t printable_length(const char *text)
{
    const uint8_t *at = (const uint8_t *)text;
    size_t length = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (length == 0 || at[0] > 0xf4 || at[0] < 0x20 || at[0] == 0x7f)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    }
    if (length == 2 && at[0] == 0xc2 && at[1] < 0xa0) /* C1 control characters */
        return 0;
    bool surrogate = at[0] == 0xed && at[1] >= 0xa0;
    bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    return surrogate || overlong || (at[0] == 0xf4 && at[1] >= 0x90) ? 0 : length;
}

const char *cli_safe(const char *text, char *room, size_t size)
{
    size_t out = 0;
    while (*text != '\0' && out + 1 < size) {
        size_t length = printable_length(text);
        if (length == 0) {
            room[out++] = '?';
            text++;
            continue;
        }
        if (length >= size - out)
            break;
        memcpy(room + out, text, length);
        out += length;
        text += length;
    }
    room[out] = '\0';
    return room;
}

json_t *cli_json_text(const char *text)
{
    size_t size = strlen(text) + 1;
    KYOK_AUTO_FREE char *room = malloc(size);
    if (room == NULL)
        return NULL;
    json_t *json = json_string(text);
    return json != NULL ? json : json_string(cli_safe(text, room, size));
}

static void add_text(json_t *object, const char *name, const char *text)
{
    if (text[0] != '\0')
        json_object_set_new(object, name, cli_json_text(text));
}

json_t *cli_json_error(const struct kyok_error *err)
{
    json_t *error = json_object();
    if (error == NULL)
        return NULL;
    add_text(error, "status", kyok_status_name(err->status));
    add_text(error, "object", err->object);
    add_text(error, "what", err->what);
    add_text(error, "reason", err->reason);
    add_text(error, "remedy", err->remedy);
    return error;
}

enum kyok_status cli_json(struct cli *cli, json_t *value)
{
    if (value == NULL)
        return kyok_fail(&cli->error, KYOK_SYSTEM, NULL, "memory is short");
    cli->json_written = true;
    json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
    putchar('\n');
    json_decref(value);
    return KYOK_OK;
}

static void print_json_error(const struct cli *cli)
{
    json_t *error = json_pack("{s:o}", "error", cli_json_error(&cli->error));
    if (error != NULL)
        json_dumpf(error, cli->json_written ? stderr : stdout, JSON_INDENT(2));
    fputc('\n', cli->json_written ? stderr : stdout);
    json_decref(error);
}

/* "kyok: object: what (reason)", and the remedy on a line of its own. */
void cli_print_error(const struct cli *cli)
{
    const struct kyok_error *err = &cli->error;
    char room[1024];
    if (cli->json) {
        print_json_error(cli);
        return;
    }
    fflush(stdout);
    cli_paint(stderr, CLI_BAD, "kyok:");
    if (err->object[0] != '\0')
        fprintf(stderr, " %s:", cli_safe(err->object, room, sizeof(room)));
    fprintf(stderr, " %s", cli_safe(err->what, room, sizeof(room)));
    if (err->reason[0] != '\0')
        fprintf(stderr, " (%s)", cli_safe(err->reason, room, sizeof(room)));
    fputc('\n', stderr);
    if (err->remedy[0] != '\0')
        fprintf(stderr, "      %s\n", cli_safe(err->remedy, room, sizeof(room)));
}

void cli_progress(const struct cli *cli, const char *what, uint64_t done, uint64_t total)
{
    if (cli->json || !isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r%s: %" PRIu64 " of %" PRIu64 "%s", what, done, total,
            done == total ? "\n" : "");
    fflush(stderr);
}

bool cli_confirm(const char *question, const char *name)
{
    char line[512], safe[512];
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return false;
    fprintf(stderr, "%s\nType \"%s\" to go on: ", question, cli_safe(name, safe, sizeof(safe)));
    fflush(stderr);
    if (fgets(line, sizeof(line), stdin) == NULL)
        return false;
    line[strcspn(line, "\n")] = '\0';
    return strcmp(line, name) == 0;
}
