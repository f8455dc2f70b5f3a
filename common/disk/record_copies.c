/* SPDX-License-Identifier: Apache-2.0 */
/* Where a record's copies lie, and reading them. */
#include "common/disk/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *joined(const char *first, const char *second, const char *third)
{
    char *text = NULL;
    return asprintf(&text, "%s%s%s", first, second, third) < 0 ? NULL : text;
}

char *kyok_record_sidecar_path(const char *image)
{
    return joined(image, KYOK_RECORD_SUFFIX, "");
}

char *kyok_record_store_path(const char *uuid)
{
    return joined(KYOK_RECORD_STORE "/", uuid, KYOK_RECORD_SUFFIX);
}

enum kyok_status kyok_record_copies_add(struct kyok_record_copies *copies, const char *where,
                                        bool pending, struct kyok_bytes bytes,
                                        struct kyok_error *err)
{
    if (copies->count == KYOK_RECORD_MAX_COPIES)
        return kyok_fail(err, KYOK_INVALID, where, "the disk has more than %d copies of its record",
                         KYOK_RECORD_MAX_COPIES);
    if (bytes.size > KYOK_RECORD_MAX)
        return kyok_fail(err, KYOK_INVALID, where, "a disk record has at most %zu bytes",
                         KYOK_RECORD_MAX);
    struct kyok_record_copy *copy = &copies->list[copies->count];
    *copy = (struct kyok_record_copy){.where = strdup(where), .pending = pending};
    copies->count++;
    if (!copy->where || !kyok_buffer_append(&copy->json, bytes.data, bytes.size))
        return kyok_fail(err, KYOK_SYSTEM, where, "no memory for a disk record");
    return KYOK_OK;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* An absent file is no error. Editors and echo leave a final newline; an envelope has none. */
static enum kyok_status read_one(struct kyok_record_copies *copies, const char *path, bool pending,
                                 struct kyok_error *err)
{
    /* Opening some devices is a command to them: what it is comes first. */
    KYOK_CLEANUP(close_fd) int found = open(path, O_PATH | O_CLOEXEC);
    struct stat status;
    char name[32];
    if (found < 0 && (errno == ENOENT || errno == ENOTDIR))
        return KYOK_OK;
    if (found < 0 || fstat(found, &status) != 0)
        return kyok_fail_errno(err, path, "the disk record cannot be read");
    if (!S_ISREG(status.st_mode))
        return kyok_fail(err, KYOK_INVALID, path, "the disk record is no regular file");
    snprintf(name, sizeof(name), "/proc/self/fd/%d", found);
    KYOK_CLEANUP(close_fd) int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kyok_fail_errno(err, path, "the disk record cannot be read");
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    uint8_t *room = kyok_buffer_reserve(&text, KYOK_RECORD_MAX + 1);
    ssize_t got = room ? read(fd, room, KYOK_RECORD_MAX + 1) : -1;
    if (got < 0)
        return kyok_fail_errno(err, path, "the disk record cannot be read");
    size_t size = (size_t)got;
    while (size > 0 && room[size - 1] == '\n')
        size--;
    return kyok_record_copies_add(copies, path, pending, kyok_bytes(room, size), err);
}

enum kyok_status kyok_record_copies_read(struct kyok_record_copies *copies, const char *path,
                                         struct kyok_error *err)
{
    KYOK_AUTO_FREE char *pending = joined(path, KYOK_RECORD_PENDING_SUFFIX, "");
    if (!pending)
        return kyok_fail(err, KYOK_SYSTEM, path, "no memory for a path");
    KYOK_TRY(read_one(copies, path, false, err));
    return read_one(copies, pending, true, err);
}

enum kyok_status kyok_record_copies_find(struct kyok_record_copies *copies, const char *image,
                                         const char *uuid, struct kyok_error *err)
{
    KYOK_AUTO_FREE char *sidecar = image ? kyok_record_sidecar_path(image) : NULL;
    KYOK_AUTO_FREE char *store = kyok_record_store_path(uuid);
    if ((image && !sidecar) || !store)
        return kyok_fail(err, KYOK_SYSTEM, image, "no memory for a path");
    if (sidecar)
        KYOK_TRY(kyok_record_copies_read(copies, sidecar, err));
    return kyok_record_copies_read(copies, store, err);
}

void kyok_record_copies_free(struct kyok_record_copies *copies)
{
    for (size_t i = 0; i < copies->count; i++) {
        free(copies->list[i].where);
        kyok_buffer_free(&copies->list[i].json);
    }
    copies->count = 0;
}
