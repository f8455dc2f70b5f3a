/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/disk_attributes.h"

#include <errno.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LABELS "security."

/* Of the content: the kernel makes them anew. */
static bool is_measurement(const char *name)
{
    return strcmp(name, LABELS "ima") == 0 || strcmp(name, LABELS "evm") == 0;
}

static bool has_already(int fd, const char *name, const void *value, size_t size)
{
    KYOK_AUTO_FREE void *now = malloc(XATTR_SIZE_MAX);
    return now && fgetxattr(fd, name, now, XATTR_SIZE_MAX) == (ssize_t)size &&
           memcmp(now, value, size) == 0;
}

static enum kyok_status copy_one(struct cli *cli, int from, int to, const char *name,
                                 const char *path)
{
    KYOK_AUTO_FREE void *value = malloc(XATTR_SIZE_MAX);
    ssize_t size = value ? fgetxattr(from, name, value, XATTR_SIZE_MAX) : -1;
    if (size < 0)
        return kyok_fail_errno(&cli->error, name, "the image's attribute cannot be read");
    if (fsetxattr(to, name, value, (size_t)size, 0) == 0)
        return KYOK_OK;
    int why = errno;
    /* A file system without labels has them by its mount. */
    if ((why == ENOTSUP && strncmp(name, LABELS, strlen(LABELS)) == 0) ||
        has_already(to, name, value, (size_t)size))
        return KYOK_OK;
    errno = why;
    kyok_fail_errno(&cli->error, path, "the new image cannot get the attribute");
    return kyok_remedy(&cli->error,
                       "run as root, in a file system that knows %s; or setfattr -x %s from the "
                       "old image",
                       name, name);
}

/* ACLs are among them: system.posix_acl_access. */
static enum kyok_status copy_extended(struct cli *cli, int from, int to, const char *path)
{
    KYOK_AUTO_FREE char *names = malloc(XATTR_LIST_MAX);
    ssize_t size = names ? flistxattr(from, names, XATTR_LIST_MAX) : -1;
    if (size < 0 && errno == ENOTSUP)
        return KYOK_OK;
    if (size < 0)
        return kyok_fail_errno(&cli->error, path, "the image's attributes cannot be read");
    for (const char *name = names; name < names + size; name += strlen(name) + 1)
        if (!is_measurement(name))
            KYOK_TRY(copy_one(cli, from, to, name, path));
    return KYOK_OK;
}

enum kyok_status disk_copy_attributes(struct cli *cli, int from, int to, const char *path)
{
    struct stat status;
    if (fstat(from, &status) != 0)
        return kyok_fail_errno(&cli->error, path, "the image's owner cannot be read");
    if (!S_ISREG(status.st_mode))
        return KYOK_OK;
    /* Changing the owner may clear mode bits, and an ACL is written over the mode's. */
    if (fchown(to, status.st_uid, status.st_gid) != 0 || fchmod(to, status.st_mode & 07777) != 0)
        return kyok_fail_errno(&cli->error, path, "the new image cannot get its owner");
    return copy_extended(cli, from, to, path);
}
