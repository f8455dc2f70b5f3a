/* SPDX-License-Identifier: Apache-2.0 */
/* Files that the command reads and writes. */
#include "cli/cli.h"
#include "common/envelope/envelope.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void close_file(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

enum kyok_status cli_write_file(const char *path, struct kyok_bytes bytes, unsigned mode,
                                struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_new_file_discard) struct kyok_new_file file = {.fd = -1};
    mode_t mask;
    if (strcmp(path, "-") == 0) {
        fwrite(bytes.data, 1, bytes.size, stdout);
        return KYOK_OK;
    }
    mask = umask(0);
    umask(mask);
    KYOK_TRY(kyok_new_file_create(path, mode & ~mask, &file, err));
    KYOK_TRY(kyok_new_file_write(&file, bytes, err));
    return kyok_new_file_commit(&file, err);
}

enum kyok_status cli_read_file(const char *path, size_t limit, struct kyok_buffer *bytes,
                               struct kyok_error *err)
{
    struct stat state;
    KYOK_CLEANUP(close_file) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &state) != 0)
        return kyok_fail_errno(err, path, "the file cannot be opened");
    if (!S_ISREG(state.st_mode))
        return kyok_fail(err, KYOK_INVALID, path, "this is not a regular file");
    for (;;) {
        uint8_t *room = kyok_buffer_reserve(bytes, 4096);
        ssize_t got = room == NULL ? -1 : read(fd, room, 4096);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return kyok_fail_errno(err, path, "the file cannot be read");
        if (got == 0)
            return KYOK_OK;
        bytes->size += (size_t)got;
        if (bytes->size > limit)
            return kyok_fail(err, KYOK_INVALID, path, "the file is larger than %zu bytes", limit);
    }
}
