/* SPDX-License-Identifier: Apache-2.0 */
#include "common/envelope/descriptor.h"
#include "common/envelope/envelope.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static enum kyok_status no_memory(struct kyok_error *err)
{
    return kyok_fail(err, KYOK_SYSTEM, NULL, "out of memory");
}

/* The folder, with the name after it left out. */
static char *folder_of(const char *path)
{
    KYOK_AUTO_FREE char *copy = strdup(path);

    return copy != NULL ? strdup(dirname(copy)) : NULL;
}

static void descriptor_path(int fd, char path[32])
{
    snprintf(path, 32, "/proc/self/fd/%d", fd);
}

/* -1 where the file system has no such files, or /proc is not there to give it a name later. */
static int open_unnamed(const char *path)
{
    KYOK_AUTO_FREE char *folder = folder_of(path);
    int fd = folder != NULL ? open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
    char own[32];

    if (fd < 0)
        return -1;
    descriptor_path(fd, own);
    if (access(own, F_OK) == 0)
        return fd;
    close(fd);
    return -1;
}

static void open_temporary(struct kyok_new_file *file)
{
    file->fd = open_unnamed(file->path);
    file->named = file->fd < 0;
    if (file->named)
        file->fd = mkostemp(file->temporary, O_CLOEXEC);
    file->named = file->named && file->fd >= 0;
}

/* What mkstemp(3) does, for a file that is there already. */
static bool link_temporary(struct kyok_new_file *file)
{
    static const char letters[32] = "abcdefghijkmnpqrstuvwxyz23456789";
    char *end = file->temporary + strlen(file->temporary) - 6;
    char own[32];

    descriptor_path(file->fd, own);
    for (int tries = 0; tries < 100; tries++) {
        uint8_t random[6];

        if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
            return false;
        for (size_t i = 0; i < sizeof(random); i++)
            end[i] = letters[random[i] % sizeof(letters)];
        if (linkat(AT_FDCWD, own, AT_FDCWD, file->temporary, AT_SYMLINK_FOLLOW) == 0) {
            file->named = true;
            return true;
        }
        if (errno != EEXIST)
            return false;
    }
    return false;
}

enum kyok_status kyok_new_file_create(const char *path, unsigned mode, struct kyok_new_file *file,
                                      struct kyok_error *err)
{
    struct stat about;
    int length = asprintf(&file->temporary, "%s" KYOK_NEW_FILE_MARK "XXXXXX", path);

    file->fd = -1;
    file->named = false;
    file->path = strdup(path);
    if (length < 0)
        file->temporary = NULL;
    if (file->path == NULL || file->temporary == NULL) {
        kyok_new_file_discard(file);
        return no_memory(err);
    }
    if (stat(path, &about) == 0 && !S_ISREG(about.st_mode)) {
        kyok_new_file_discard(file);
        return kyok_fail(err, KYOK_INVALID, path, "exists and is not a regular file");
    }
    open_temporary(file);
    if (file->fd < 0 || fchmod(file->fd, (mode_t)mode) != 0) {
        kyok_fail_errno(err, path, "cannot create a temporary file beside it");
        kyok_new_file_discard(file);
        return err->status;
    }
    return KYOK_OK;
}

enum kyok_status kyok_new_file_write(struct kyok_new_file *file, struct kyok_bytes bytes,
                                     struct kyok_error *err)
{
    return kyok_descriptor_write(file->fd, bytes, err);
}

static enum kyok_status sync_folder(const char *path, struct kyok_error *err)
{
    KYOK_AUTO_FREE char *folder = folder_of(path);
    int fd = folder != NULL ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (fd < 0 || fsync(fd) != 0)
        kyok_fail_errno(err, path, "cannot make its new name durable");
    else
        err->status = KYOK_OK;
    if (fd >= 0)
        close(fd);
    return err->status;
}

enum kyok_status kyok_new_file_commit(struct kyok_new_file *file, struct kyok_error *err)
{
    if (fsync(file->fd) != 0)
        return kyok_fail_errno(err, file->path, "cannot make its content durable");
    if ((!file->named && !link_temporary(file)) || rename(file->temporary, file->path) != 0)
        return kyok_fail_errno(err, file->path, "cannot give the finished file its name");
    file->named = false;
    return sync_folder(file->path, err);
}

void kyok_new_file_discard(struct kyok_new_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    if (file->named)
        unlink(file->temporary);
    free(file->temporary);
    free(file->path);
    *file = (struct kyok_new_file){.fd = -1};
}
