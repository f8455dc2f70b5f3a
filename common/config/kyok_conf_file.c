/* SPDX-License-Identifier: Apache-2.0 */
/* kyok.conf on disk: which file, and who may have written it. */
#include "common/config/settings.h"
#include "common/config/text.h"

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

/* Whoever can write it chooses the modules that this process loads. */
static enum kyok_status check_file(int fd, const char *path, struct stat *status,
                                   struct kyok_error *err)
{
    if (fstat(fd, status) != 0)
        return kyok_fail_errno(err, path, "the configuration cannot be examined");
    if (!S_ISREG(status->st_mode))
        return kyok_fail(err, KYOK_INVALID, path, "the configuration is not a regular file");
    if (status->st_uid != 0 && status->st_uid != geteuid()) {
        kyok_fail(err, KYOK_INVALID, path, "the configuration belongs to user %lu",
                  (unsigned long)status->st_uid);
        return kyok_remedy(err, "it must belong to root or to the user of this process");
    }
    if ((status->st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        kyok_fail(err, KYOK_INVALID, path, "the configuration can be written by others");
        return kyok_remedy(err, "chmod go-w %s", path);
    }
    return KYOK_OK;
}

static enum kyok_status read_file(int fd, const char *path, struct kyok_buffer *text,
                                  struct kyok_error *err)
{
    for (;;) {
        uint8_t *room = kyok_buffer_reserve(text, 16384);
        if (room == NULL)
            return text->size > KYOK_CONF_MAX_SIZE
                       ? kyok_fail(err, KYOK_INVALID, path, "the file is larger than 1 MiB")
                       : kyok_text_no_memory(err);
        ssize_t got = read(fd, room, 16384);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return kyok_fail_errno(err, path, "the configuration cannot be read");
        if (got == 0)
            return KYOK_OK;
        text->size += (size_t)got;
    }
}

static enum kyok_status load_file(const char *path, bool may_be_absent, struct kyok_config **config,
                                  struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free)
    struct kyok_buffer text = {.limit = KYOK_CONF_MAX_SIZE + 32768};
    struct stat status;
    KYOK_CLEANUP(close_file) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno == ENOENT && may_be_absent) {
        *config = kyok_config_new();
        return *config != NULL ? KYOK_OK : kyok_text_no_memory(err);
    }
    if (fd < 0) {
        kyok_fail_errno(err, path, "the configuration cannot be opened");
        err->status = KYOK_INVALID;
        return err->status;
    }
    KYOK_TRY(check_file(fd, path, &status, err));
    KYOK_TRY(read_file(fd, path, &text, err));
    KYOK_TRY(kyok_config_parse(kyok_buffer_bytes(&text), path, config, err));
    (*config)->path = strdup(path);
    if ((*config)->path != NULL)
        return KYOK_OK;
    kyok_config_free(*config);
    *config = NULL;
    return kyok_text_no_memory(err);
}

enum kyok_status kyok_config_load(const char *path, struct kyok_config **config,
                                  struct kyok_error *err)
{
    *config = NULL;
    if (path == NULL)
        path = secure_getenv("KYOK_CONF");
    if (path == NULL || path[0] == '\0')
        return load_file(KYOK_DEFAULT_CONFIG, true, config, err);
    return load_file(path, false, config, err);
}
