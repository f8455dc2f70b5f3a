/* SPDX-License-Identifier: Apache-2.0 */
#include "common/envelope/descriptor.h"
#include "common/envelope/envelope.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

enum kyok_status kyok_new_file_create(const char *path, unsigned mode, struct kyok_new_file *file,
                                      struct kyok_error *err)
{
    struct stat about;
    int length = asprintf(&file->temporary, "%s" KYOK_NEW_FILE_MARK "XXXXXX", path);

    file->fd = -1;
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
    file->fd = mkostemp(file->temporary, O_CLOEXEC);
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
    if (rename(file->temporary, file->path) != 0)
        return kyok_fail_errno(err, file->path, "cannot give the finished file its name");
    free(file->temporary);
    file->temporary = NULL;
    return sync_folder(file->path, err);
}

void kyok_new_file_discard(struct kyok_new_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    if (file->temporary != NULL && file->fd >= 0)
        unlink(file->temporary);
    free(file->temporary);
    free(file->path);
    *file = (struct kyok_new_file){.fd = -1};
}
