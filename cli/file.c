/* SPDX-License-Identifier: Apache-2.0 */
/* Files that the command reads and writes. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void close_file(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static bool write_all(int fd, struct kyok_bytes bytes)
{
    while (bytes.size > 0) {
        ssize_t done = write(fd, bytes.data, bytes.size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return false;
        bytes = kyok_bytes(bytes.data + done, bytes.size - (size_t)done);
    }
    return true;
}

/* So that the new name survives a loss of power too. */
static bool sync_folder(const char *path)
{
    KYOK_AUTO_FREE char *copy = strdup(path);
    KYOK_CLEANUP(close_file) int fd = copy == NULL ? -1 : open(dirname(copy), O_RDONLY | O_CLOEXEC);
    return fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
}

static enum kyok_status fill_file(int fd, const char *temporary, const char *path,
                                  struct kyok_bytes bytes, unsigned mode, struct kyok_error *err)
{
    mode_t mask = umask(0);
    umask(mask);
    if (fchmod(fd, mode & ~mask) != 0 || !write_all(fd, bytes) || fsync(fd) != 0)
        return kyok_fail_errno(err, path, "the file cannot be written");
    if (rename(temporary, path) != 0 || !sync_folder(path))
        return kyok_fail_errno(err, path, "the file cannot be put in place");
    return KYOK_OK;
}

enum kyok_status cli_write_file(const char *path, struct kyok_bytes bytes, unsigned mode,
                                struct kyok_error *err)
{
    KYOK_AUTO_FREE char *temporary = NULL;
    if (strcmp(path, "-") == 0) {
        fwrite(bytes.data, 1, bytes.size, stdout);
        return KYOK_OK;
    }
    if (asprintf(&temporary, "%s.XXXXXX", path) < 0) {
        temporary = NULL;
        return kyok_fail(err, KYOK_SYSTEM, path, "memory is short");
    }
    KYOK_CLEANUP(close_file) int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return kyok_fail_errno(err, path, "the file cannot be made");
    enum kyok_status status = fill_file(fd, temporary, path, bytes, mode, err);
    if (status != KYOK_OK)
        unlink(temporary);
    return status;
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
