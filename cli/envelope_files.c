/* SPDX-License-Identifier: Apache-2.0 */
/* Inputs, outputs, and finding envelopes in folders. */
#include "cli/envelope.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- input ----------------------------------------------------------------------------------- */

enum kyok_status cli_input_open(struct cli *cli, const char *path, size_t ahead,
                                struct cli_input *input)
{
    struct stat about;

    *input = (struct cli_input){.path = path, .fd = STDIN_FILENO};
    if (strcmp(path, "-") != 0)
        input->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (input->fd < 0 || fstat(input->fd, &about) != 0)
        return kyok_fail_errno(&cli->error, path, "the file cannot be opened");
    if (S_ISDIR(about.st_mode))
        return kyok_fail(&cli->error, KYOK_INVALID, path, "this is a folder");
    input->regular = S_ISREG(about.st_mode);
    input->size = input->regular ? (uint64_t)about.st_size : 0;
    return cli_input_more(cli, input, ahead);
}

static ssize_t read_some(int fd, uint8_t *data, size_t size)
{
    ssize_t count;

    do
        count = read(fd, data, size);
    while (count < 0 && errno == EINTR);
    return count;
}

enum kyok_status cli_input_more(struct cli *cli, struct cli_input *input, size_t size)
{
    struct kyok_secret *head = kyok_secret_new(size);
    struct kyok_bytes before = cli_input_head(input);
    size_t have = before.size;
    ssize_t count = 1;

    if (head == NULL)
        return kyok_fail(&cli->error, KYOK_SYSTEM, NULL, "memory is short");
    if (have > 0)
        memcpy(kyok_secret_data(head), before.data, have);
    kyok_secret_free(input->head);
    input->head = head;
    while (have < size && count > 0) {
        count = read_some(input->fd, kyok_secret_data(head) + have, size - have);
        have += count > 0 ? (size_t)count : 0;
    }
    kyok_secret_truncate(head, have);
    return count < 0 ? kyok_fail_errno(&cli->error, input->path, "the file cannot be read")
                     : KYOK_OK;
}

struct kyok_bytes cli_input_head(const struct cli_input *input)
{
    return input->head != NULL ? kyok_secret_bytes(input->head) : (struct kyok_bytes){0};
}

void cli_input_close(struct cli_input *input)
{
    kyok_secret_free(input->head);
    if (input->fd > STDIN_FILENO)
        close(input->fd);
}

/* --- output ---------------------------------------------------------------------------------- */

/* A device or a named pipe is written as it is. */
static bool is_special(const char *path)
{
    struct stat about;

    return stat(path, &about) == 0 && !S_ISREG(about.st_mode) && !S_ISDIR(about.st_mode);
}

enum kyok_status cli_output_open(struct cli *cli, const char *path, unsigned mode,
                                 struct cli_output *output)
{
    mode_t mask = umask(0);

    umask(mask);
    *output = (struct cli_output){.file = {.fd = -1}, .fd = STDOUT_FILENO};
    if (path == NULL || strcmp(path, "-") == 0)
        return KYOK_OK;
    if (is_special(path)) {
        output->fd = output->special = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
        return output->fd >= 0 ? KYOK_OK
                               : kyok_fail_errno(&cli->error, path, "the file cannot be opened");
    }
    KYOK_TRY(kyok_new_file_create(path, mode & ~mask, &output->file, &cli->error));
    output->fd = output->file.fd;
    return KYOK_OK;
}

bool cli_output_is_standard(const struct cli_output *output)
{
    return output->file.fd < 0;
}

enum kyok_status cli_output_write(struct cli *cli, struct cli_output *output,
                                  struct kyok_bytes bytes)
{
    struct kyok_new_file standard = {.fd = output->fd};

    return kyok_new_file_write(&standard, bytes, &cli->error);
}

enum kyok_status cli_output_commit(struct cli *cli, struct cli_output *output)
{
    return cli_output_is_standard(output) ? KYOK_OK
                                          : kyok_new_file_commit(&output->file, &cli->error);
}

void cli_output_discard(struct cli_output *output)
{
    if (output->special > 0)
        close(output->special);
    kyok_new_file_discard(&output->file);
}

/* --- options --------------------------------------------------------------------------------- */

enum kyok_status cli_number(struct cli *cli, const char *option, uint64_t otherwise,
                            uint64_t *number)
{
    const char *text = cli_option(cli, option);
    char *end = NULL;

    *number = otherwise;
    if (text == NULL)
        return KYOK_OK;
    errno = 0;
    *number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0)
        return cli_usage(cli, "%s must be a whole number", option);
    return KYOK_OK;
}

enum kyok_status cli_expected(struct cli *cli, struct kyok_envelope_expected *expected)
{
    *expected = (struct kyok_envelope_expected){.use = cli_option(cli, "--use"),
                                                .owner = cli_option(cli, "--owner")};
    KYOK_TRY(cli_number(cli, "--generation", 0, &expected->least_generation));
    expected->most_generation = expected->least_generation;
    if (cli_option(cli, "--generation") != NULL && expected->most_generation == 0)
        return cli_usage(cli, "--generation: 0 cannot be insisted on, as it stands for any");
    return KYOK_OK;
}

enum kyok_status cli_policy(struct cli *cli, const char *text, struct kyok_policy **policy)
{
    const struct kyok_config *config;

    KYOK_TRY(cli_config(cli, &config));
    return kyok_policy_parse(text, KYOK_FROM_CONFIGURATION, config, policy, &cli->error);
}

void cli_policy_free(struct kyok_policy **policy)
{
    if (*policy != NULL)
        kyok_policy_free(*policy);
}

void cli_envelope_free(struct kyok_envelope **envelope)
{
    kyok_envelope_free(*envelope);
}

/* --- progress -------------------------------------------------------------------------------- */

#define PROGRESS_STEP ((uint64_t)16 << 20)

void cli_stream_progress(void *caller, uint64_t done)
{
    struct cli_stream_progress *progress = caller;

    if (done < progress->shown + PROGRESS_STEP || done >= progress->total)
        return;
    progress->shown = done;
    cli_progress(progress->cli, progress->what, done >> 20, progress->total >> 20);
}

void cli_stream_progress_end(struct cli_stream_progress *progress)
{
    if (progress->shown > 0)
        cli_progress(progress->cli, progress->what, progress->total >> 20, progress->total >> 20);
}

/* --- envelopes in files ---------------------------------------------------------------------- */

static void close_descriptor(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static bool begins_as_json(const uint8_t *head, size_t size)
{
    static const char start[] = "{\"protected\":\"";

    return size >= sizeof(start) - 1 && memcmp(head, start, sizeof(start) - 1) == 0;
}

static enum kyok_status read_json(int fd, const char *path, struct cli_envelope_file *file,
                                  struct kyok_error *err)
{
    ssize_t count = 1;

    file->json.limit = KYOK_ENVELOPE_MAX + 4096;
    while (count > 0 && file->json.size <= KYOK_ENVELOPE_MAX) {
        uint8_t *room = kyok_buffer_reserve(&file->json, 4096);

        if (room == NULL)
            return kyok_fail(err, KYOK_SYSTEM, path, "memory is short");
        count = read_some(fd, room, 4096);
        file->json.size += count > 0 ? (size_t)count : 0;
    }
    return count < 0 ? kyok_fail_errno(err, path, "the file cannot be read") : KYOK_OK;
}

enum kyok_status cli_envelope_file_read(const char *path, struct cli_envelope_file *file,
                                        struct kyok_error *err)
{
    KYOK_CLEANUP(close_descriptor)
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat about;
    uint8_t head[32];
    ssize_t count;

    *file = (struct cli_envelope_file){0};
    if (fd < 0 || fstat(fd, &about) != 0)
        return kyok_fail_errno(err, path, "the file cannot be opened");
    if (!S_ISREG(about.st_mode))
        return kyok_fail(err, KYOK_NOT_FOUND, path, "not an envelope: not a regular file");
    count = pread(fd, head, sizeof(head), 0);
    if (count < 0)
        return kyok_fail_errno(err, path, "the file cannot be read");
    file->stream = kyok_stream_is(kyok_bytes(head, (size_t)count));
    if (file->stream)
        return kyok_stream_read_envelope(fd, &file->json, err);
    if (!begins_as_json(head, (size_t)count))
        return kyok_fail(err, KYOK_NOT_FOUND, path, "neither an envelope nor a stream");
    return read_json(fd, path, file, err);
}

void cli_envelope_file_free(struct cli_envelope_file *file)
{
    kyok_buffer_free(&file->json);
}

/* --- folders --------------------------------------------------------------------------------- */

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void close_tree(FTS **tree)
{
    if (*tree != NULL)
        fts_close(*tree);
}

enum kyok_status cli_each_file(const char *path, cli_file_visitor *visit, void *caller,
                               struct kyok_error *err)
{
    char *const roots[] = {(char *)path, NULL};
    KYOK_CLEANUP(close_tree)
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_COMFOLLOW, by_name);
    FTSENT *entry;

    if (tree == NULL)
        return kyok_fail_errno(err, path, "the folder cannot be read");
    while ((entry = fts_read(tree)) != NULL) {
        if (entry->fts_info == FTS_NS || entry->fts_info == FTS_ERR || entry->fts_info == FTS_DNR) {
            errno = entry->fts_errno;
            return kyok_fail_errno(err, entry->fts_path, "cannot be read");
        }
        if (entry->fts_info == FTS_F && !visit(caller, entry->fts_path))
            return KYOK_OK;
    }
    return KYOK_OK;
}
