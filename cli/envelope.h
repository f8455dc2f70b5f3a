/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the envelope verbs: where bytes come from and go to, and which files are envelopes. */
#ifndef KYOK_CLI_ENVELOPE_H
#define KYOK_CLI_ENVELOPE_H

#include "cli/cli.h"
#include "common/envelope/envelope.h"

/* An input file, "-" for standard input, with what was read ahead of it. */
struct cli_input {
    const char *path;
    int fd;
    bool regular;
    uint64_t size;            /* of a regular file; 0: not known */
    struct kyok_secret *head; /* read so far */
};

/* Opens path and reads up to ahead bytes of it. */
enum kyok_status cli_input_open(struct cli *cli, const char *path, size_t ahead,
                                struct cli_input *input);
/* Reads on until size bytes are in head, or the end. */
enum kyok_status cli_input_more(struct cli *cli, struct cli_input *input, size_t size);
struct kyok_bytes cli_input_head(const struct cli_input *input);
void cli_input_close(struct cli_input *input);

/* A file that appears whole or not at all; "-" or none: standard output. */
struct cli_output {
    struct kyok_new_file file;
    int fd;
    int special; /* a device or named pipe, or 0 */
};

enum kyok_status cli_output_open(struct cli *cli, const char *path, unsigned mode,
                                 struct cli_output *output);
bool cli_output_is_standard(const struct cli_output *output);
enum kyok_status cli_output_write(struct cli *cli, struct cli_output *output,
                                  struct kyok_bytes bytes);
enum kyok_status cli_output_commit(struct cli *cli, struct cli_output *output);
void cli_output_discard(struct cli_output *output);

/* The claims that --use, --owner and --generation insist on; what is not given is not insisted on.
 */
enum kyok_status cli_expected(struct cli *cli, struct kyok_envelope_expected *expected);
/* A whole number option, or otherwise when it is absent. */
enum kyok_status cli_number(struct cli *cli, const char *option, uint64_t otherwise,
                            uint64_t *number);
enum kyok_status cli_policy(struct cli *cli, const char *text, struct kyok_policy **policy);
void cli_policy_free(struct kyok_policy **policy);
void cli_envelope_free(struct kyok_envelope **envelope);

/* What the progress callback of a stream needs. */
struct cli_stream_progress {
    const struct cli *cli;
    const char *what;
    uint64_t total, shown;
};
void cli_stream_progress(void *caller, uint64_t done);
void cli_stream_progress_end(struct cli_stream_progress *progress);

/* An envelope in a file: JSON, or the head of a stream. */
struct cli_envelope_file {
    struct kyok_buffer json;
    bool stream;
};
/* KYOK_NOT_FOUND, silently cheap, when the file is something else. */
enum kyok_status cli_envelope_file_read(const char *path, struct cli_envelope_file *file,
                                        struct kyok_error *err);
void cli_envelope_file_free(struct cli_envelope_file *file);

/* Every regular file at and below path, in order of names; folders of other file systems too, links
 * not followed. The visitor returns false to stop. */
typedef bool cli_file_visitor(void *caller, const char *path);
enum kyok_status cli_each_file(const char *path, cli_file_visitor *visit, void *caller,
                               struct kyok_error *err);

json_t *cli_envelope_json(const struct kyok_envelope *envelope, const struct kyok_config *config);
/* True if kid's key leaves its custodian: a KMIP group with release = yes. */
bool cli_kid_is_released(const char *kid, const struct kyok_config *config);

#endif
