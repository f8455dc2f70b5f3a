/* SPDX-License-Identifier: Apache-2.0 */
#include "libvirt-hook/worker/staging.h"
#include "libvirt-hook/age.h"
#include "libvirt-hook/hook.h"

#include "common/disk/uuid.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* The folder on disk, reachable while it is covered. */
#define STORED HOOK_RUN "/stored"
#define FILE_MAX ((size_t)1 << 20)

/* --- files --- */

static bool write_all(int folder, const char *name, struct kyok_bytes bytes)
{
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool good =
        fd >= 0 && write(fd, bytes.data, bytes.size) == (ssize_t)bytes.size && fsync(fd) == 0;
    if (fd >= 0)
        good = close(fd) == 0 && good;
    return good;
}

static bool read_all(int folder, const char *name, struct kyok_buffer *text)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    uint8_t *room = kyok_buffer_reserve(text, FILE_MAX);
    ssize_t got = fd >= 0 && room ? read(fd, room, FILE_MAX) : -1;
    if (fd >= 0)
        close(fd);
    if (got < 0 || (size_t)got == FILE_MAX)
        return false;
    text->size += (size_t)got;
    return true;
}

/* Whole or not at all, whatever stops it. */
static bool replace(int folder, const char *name, struct kyok_bytes bytes)
{
    char temporary[300];
    snprintf(temporary, sizeof(temporary), ".%.255s.kyok", name);
    if (write_all(folder, temporary, bytes) && renameat(folder, temporary, folder, name) == 0)
        return fsync(folder) == 0;
    int reason = errno;
    unlinkat(folder, temporary, 0);
    errno = reason;
    return false;
}

static bool same(int folder, const char *name, struct kyok_bytes bytes)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer there = {0};
    return read_all(folder, name, &there) && there.size == bytes.size &&
           memcmp(there.data, bytes.data, bytes.size) == 0;
}

static bool copy(int from, int to, const char *name)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    return read_all(from, name, &text) && (same(to, name, kyok_buffer_bytes(&text)) ||
                                           replace(to, name, kyok_buffer_bytes(&text)));
}

/* --- folders --- */

static int open_folder(const char *path)
{
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void close_folder(int *folder)
{
    if (*folder >= 0)
        close(*folder);
}

static bool is_file(int folder, const char *name)
{
    struct stat status;
    return name[0] != '.' && fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(status.st_mode);
}

/* One of kyok's: it never goes to a disk, whatever became of its mark. */
static bool is_ours(int folder, const char *name)
{
    char xml[KYOK_UUID_TEXT + 4];
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    snprintf(xml, sizeof(xml), "%.36s.xml", name);
    return read_all(folder, xml, &text) && kyok_buffer_append(&text, "", 1) &&
           strstr((const char *)text.data, "<description>kyok: ") &&
           strstr((const char *)text.data, "ephemeral='yes'");
}

typedef bool file_function(int from, int to, const char *name);

static bool each_file(const char *from_path, const char *to_path, file_function *function)
{
    KYOK_CLEANUP(close_folder) int from = open_folder(from_path);
    KYOK_CLEANUP(close_folder) int to = open_folder(to_path);
    DIR *list = from >= 0 && to >= 0 ? fdopendir(dup(from)) : NULL;
    bool good = list != NULL;
    for (struct dirent *entry; list && (entry = readdir(list));)
        if (is_file(from, entry->d_name))
            good = function(from, to, entry->d_name) && good;
    if (list)
        closedir(list);
    return good;
}

static bool copy_stored(int from, int to, const char *name)
{
    return is_ours(from, name) || copy(from, to, name);
}

/* libvirt removed it from the cover. */
static bool remove_gone(int disk, int cover, const char *name)
{
    return faccessat(cover, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT ||
           unlinkat(disk, name, 0) == 0;
}

/* --- mounts --- */

static bool is_other(const char *path, const char *than)
{
    struct stat one, other;
    return stat(path, &one) == 0 && stat(than, &other) == 0 && one.st_dev != other.st_dev;
}

bool staging_exists(void)
{
    return is_other(STAGING, HOOK_RUN);
}

static bool is_exposed(void)
{
    return staging_exists() && !is_other(STAGING, HOOK_SECRETS);
}

void staging_discard(void)
{
    while (is_other(STORED, HOOK_RUN) && umount2(STORED, MNT_DETACH) == 0)
        ;
    while (staging_exists() && umount2(STAGING, MNT_DETACH) == 0)
        ;
}

static bool make_folder(const char *path)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

/* Memory that is never swapped: tmpfs since Linux 6.4, else ramfs. */
enum kyok_status staging_make(struct kyok_error *err)
{
    unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (!make_folder(STAGING) || !make_folder(HOOK_SECRETS))
        return kyok_fail_errno(err, STAGING, "the folder cannot be made");
    if (mount("kyok", STAGING, "tmpfs", flags, "mode=0700,size=16m,noswap") != 0 &&
        mount("kyok", STAGING, "ramfs", flags, "mode=0700") != 0)
        return kyok_fail_errno(err, STAGING, "no memory file system can be mounted");
    if (!each_file(HOOK_SECRETS, STAGING, copy))
        return kyok_fail_errno(err, HOOK_SECRETS, "the stored secrets cannot be copied");
    return KYOK_OK;
}

/* The mark first: whoever dies after it is cleared away by preload_end(). */
enum kyok_status staging_expose(struct kyok_error *err)
{
    int mark = open(HOOK_PRELOADED, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (mark < 0)
        return kyok_fail_errno(err, HOOK_PRELOADED, "the mark cannot be written");
    int stamped = mark_stamp(mark);
    close(mark);
    if (stamped != 0)
        return kyok_fail_errno(err, HOOK_PRELOADED, "the mark cannot be written");
    if (!make_folder(STORED) || mount(HOOK_SECRETS, STORED, NULL, MS_BIND, NULL) != 0 ||
        mount(STAGING, HOOK_SECRETS, NULL, MS_BIND, NULL) != 0)
        return kyok_fail_errno(err, HOOK_SECRETS, "the memory file system cannot be mounted there");
    return KYOK_OK;
}

bool staging_write(const char *name, const char *suffix, struct kyok_bytes bytes)
{
    char file[128];
    KYOK_CLEANUP(close_folder) int folder = open_folder(STAGING);
    snprintf(file, sizeof(file), "%s%s", name, suffix);
    return folder >= 0 && write_all(folder, file, bytes);
}

enum kyok_status staging_withdraw(struct kyok_error *err)
{
    if (is_exposed()) {
        if (!each_file(STAGING, STORED, copy_stored) || !each_file(STORED, STAGING, remove_gone)) {
            kyok_fail_errno(err, HOOK_SECRETS, "the stored secrets cannot be carried to the disk");
            return kyok_remedy(err, "make room there and run --preload-end again");
        }
        if (umount2(HOOK_SECRETS, MNT_DETACH) != 0)
            return kyok_fail_errno(err, HOOK_SECRETS, "the memory file system cannot be removed");
        /* What libvirt stored between the two. */
        if (!each_file(STAGING, HOOK_SECRETS, copy_stored))
            return kyok_fail_errno(err, HOOK_SECRETS, "a stored secret cannot be carried over");
    }
    staging_discard();
    return KYOK_OK;
}
