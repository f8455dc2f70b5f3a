/* SPDX-License-Identifier: Apache-2.0 */
/* kyok kmip dump: KMIP messages for people. */
#include "cli/cli.h"
#include "common/kmip/message.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Hexadecimal of the largest message, with blanks between the digits. */
#define INPUT_MAX (4 * KYOK_TTLV_SIZE_MAX)

static void close_stream(FILE **stream)
{
    if (*stream != NULL && *stream != stdin)
        fclose(*stream);
}

static enum kyok_status read_stream(FILE *stream, const char *name, struct kyok_buffer *bytes,
                                    struct kyok_error *err)
{
    for (;;) {
        uint8_t *room = kyok_buffer_reserve(bytes, 65536);
        if (room == NULL)
            return kyok_fail(err, KYOK_INVALID, name, "the input is longer than %zu bytes",
                             bytes->limit);
        size_t got = fread(room, 1, 65536, stream);
        bytes->size += got;
        if (got == 0)
            break;
    }
    if (ferror(stream))
        return kyok_fail_errno(err, name, "the input cannot be read");
    if (bytes->size == 0)
        return kyok_fail(err, KYOK_INVALID, name, "the input is empty");
    return KYOK_OK;
}

static enum kyok_status read_input(const char *path, struct kyok_buffer *bytes,
                                   struct kyok_error *err)
{
    if (strcmp(path, "-") == 0)
        return read_stream(stdin, "standard input", bytes, err);
    KYOK_CLEANUP(close_stream) FILE *stream = fopen(path, "rbe");
    if (stream == NULL)
        return kyok_fail_errno(err, path, "the file cannot be opened");
    return read_stream(stream, path, bytes, err);
}

/* A message begins with byte 42 or 54, which are the characters B and T; its digits with 4 or 5. */
static bool looks_like_hex(struct kyok_bytes bytes)
{
    for (size_t i = 0; i < bytes.size; i++)
        if (!isxdigit(bytes.data[i]) && !isspace(bytes.data[i]) && bytes.data[i] != ':')
            return false;
    return true;
}

/* Digits of either case; blanks, line ends and colons between them do not count. In place. */
static enum kyok_status decode_hex(struct kyok_buffer *bytes, const char *name,
                                   struct kyok_error *err)
{
    size_t digits = 0;

    for (size_t i = 0; i < bytes->size; i++)
        if (!isspace(bytes->data[i]) && bytes->data[i] != ':')
            bytes->data[digits++] = bytes->data[i];
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer decoded = {.limit = INPUT_MAX};
    uint8_t *room = kyok_buffer_reserve(&decoded, digits / 2 + 1);
    if (room == NULL)
        return kyok_fail(err, KYOK_SYSTEM, name, "no memory for %zu bytes", digits / 2);
    if (digits % 2 != 0 || !kyok_hex_decode((const char *)bytes->data, digits, room, digits / 2)) {
        kyok_fail(err, KYOK_INVALID, name, "the input is not hexadecimal");
        return kyok_remedy(err, "leave out --hex for a binary message");
    }
    memcpy(bytes->data, room, digits / 2);
    bytes->size = digits / 2;
    return KYOK_OK;
}

static enum kyok_status print(struct cli *cli, const struct kyok_buffer *text)
{
    if (!cli->json) {
        fwrite(text->data, 1, text->size, stdout);
        return KYOK_OK;
    }
    json_t *lines = json_array();
    for (size_t at = 0; at < text->size;) {
        const uint8_t *line = text->data + at, *end = memchr(line, '\n', text->size - at);
        size_t size = end != NULL ? (size_t)(end - line) : text->size - at;
        json_array_append_new(lines, json_stringn((const char *)line, size));
        at += size + 1;
    }
    return cli_json(cli, json_pack("{s:o}", "lines", lines));
}

static enum kyok_status dump(struct cli *cli)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer bytes = {.limit = INPUT_MAX}, text = {0};
    const char *path = cli->operand_count > 0 ? cli->operands[0] : "-";
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    struct kyok_error malformed;

    KYOK_TRY(read_input(path, &bytes, &cli->error));
    if (cli_option(cli, "--hex") != NULL || looks_like_hex(kyok_buffer_bytes(&bytes)))
        KYOK_TRY(decode_hex(&bytes, name, &cli->error));
    enum kyok_status status = kyok_kmip_dump(kyok_buffer_bytes(&bytes), &text, &malformed);
    KYOK_TRY(print(cli, &text)); /* what came before the fault, too */
    if (status == KYOK_FAULT)
        return kyok_fail(&cli->error, status, name, "%s at %s", malformed.what, malformed.object);
    if (status != KYOK_OK)
        cli->error = malformed;
    return status;
}

static const struct cli_option dump_options[] = {
    {.name = "--hex", .summary = "the input is hexadecimal, also when it does not look so"},
};

const struct cli_verb cli_kmip_dump_verbs[] = {
    {.words = "kmip dump",
     .operands = "[FILE]",
     .most = 1,
     .summary = "Print KMIP messages readably",
     .description =
         "Prints the items of one or more KMIP messages (TTLV), one per line, with the names of "
         "tags, enumerations and masks. FILE is a message as it went over the wire, or its "
         "hexadecimal digits; without FILE, or with \"-\", standard input is read. Key material, "
         "passwords, secret data and the data of cryptographic operations are never shown, only "
         "their length, so that a dump can be put into a report. A malformed message is printed up "
         "to the fault, which is named with its place, and the exit code is 1.",
     CLI_OPTIONS(dump_options),
     .run = dump},
    {0}};
