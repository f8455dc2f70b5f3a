/* SPDX-License-Identifier: Apache-2.0 */
#include "libvirt-hook/worker/marks.h"
#include "libvirt-hook/age.h"
#include "libvirt-hook/hook.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MARK_PATH 256

int marks_lock(struct kyok_error *err)
{
    static const char *const folders[] = {HOOK_RUN, HOOK_STARTING, HOOK_HELD, HOOK_OPENED};
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
        if (mkdir(folders[i], 0700) != 0 && errno != EEXIST) {
            kyok_fail_errno(err, folders[i], "the folder cannot be made");
            return -1;
        }
    int lock = open(HOOK_RUN "/lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) != 0) {
        kyok_fail_errno(err, HOOK_RUN "/lock", "the lock cannot be taken");
        if (lock >= 0)
            close(lock);
        return -1;
    }
    return lock;
}

void marks_unlock(int *lock)
{
    if (*lock >= 0)
        close(*lock);
    *lock = -1;
}

static void mark_path(const char *folder, const struct mark *mark, char path[MARK_PATH])
{
    snprintf(path, MARK_PATH, "%s/%s.%s", folder, mark->secret, mark->vm);
}

enum kyok_status mark_make(const char *folder, const struct mark *mark, const char *volume,
                           struct kyok_error *err)
{
    char path[MARK_PATH];
    mark_path(folder, mark, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool good = fd >= 0 && write(fd, volume, strlen(volume)) == (ssize_t)strlen(volume) &&
                mark_stamp(fd) == 0;
    if (fd >= 0)
        close(fd);
    return good ? KYOK_OK : kyok_fail_errno(err, path, "the mark cannot be written");
}

void mark_opened(const char *volume)
{
    char path[MARK_PATH];
    snprintf(path, MARK_PATH, "%s/%s", HOOK_OPENED, volume);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return; /* only kyok vm list shows it */
    futimens(fd, NULL);
    close(fd);
}

void mark_drop(const char *folder, const struct mark *mark)
{
    char path[MARK_PATH];
    mark_path(folder, mark, path);
    unlink(path);
}

bool mark_is(const char *folder, const struct mark *mark, const char *volume)
{
    char path[MARK_PATH], text[KYOK_UUID_TEXT] = "";
    mark_path(folder, mark, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t got = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (fd >= 0)
        close(fd);
    return got == KYOK_UUID_TEXT - 1 && strcmp(text, volume) == 0;
}

static bool parse_name(const char *name, struct mark *mark)
{
    char secret[KYOK_UUID_TEXT];
    if (strlen(name) != 2 * (KYOK_UUID_TEXT - 1) + 1 || name[KYOK_UUID_TEXT - 1] != '.')
        return false;
    memcpy(secret, name, KYOK_UUID_TEXT - 1);
    secret[KYOK_UUID_TEXT - 1] = 0;
    return kyok_uuid_canonical(secret, mark->secret) &&
           kyok_uuid_canonical(name + KYOK_UUID_TEXT, mark->vm);
}

void marks_each(const char *folder, long older_than, mark_visitor *visit, void *caller)
{
    DIR *list = opendir(folder);
    for (struct dirent *entry; list && (entry = readdir(list));) {
        struct stat status;
        struct mark mark;
        if (!parse_name(entry->d_name, &mark) ||
            fstatat(dirfd(list), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (mark_age(&status) >= older_than)
            visit(caller, &mark);
    }
    if (list)
        closedir(list);
}

struct search {
    const char *secret;
    bool found;
};

static void match_secret(void *caller, const struct mark *mark)
{
    struct search *search = caller;
    search->found = search->found || strcmp(search->secret, mark->secret) == 0;
}

bool mark_any(const char *folder, const char *secret)
{
    struct search search = {.secret = secret};
    marks_each(folder, INT32_MIN, match_secret, &search);
    return search.found;
}

struct count {
    const struct mark *mark;
    size_t marks;
};

static void count_secret(void *caller, const struct mark *mark)
{
    struct count *count = caller;
    count->marks += strcmp(count->mark->secret, mark->secret) == 0;
}

bool mark_is_last(const char *folder, const struct mark *mark)
{
    struct count count = {.mark = mark};
    marks_each(folder, INT32_MIN, count_secret, &count);
    return count.marks <= 1 &&
           !mark_any(strcmp(folder, HOOK_HELD) == 0 ? HOOK_STARTING : HOOK_HELD, mark->secret);
}

/* Twice forked, so that libvirtd waits for nothing; exec, so that it holds neither secret nor lock.
 */
void guard_ensure(void)
{
    int guard = open(HOOK_RUN "/guard", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool stands = guard < 0 || flock(guard, LOCK_EX | LOCK_NB) != 0;
    if (guard >= 0)
        close(guard);
    if (stands)
        return;
    pid_t child = fork();
    if (child == 0) {
        if (setsid() < 0 || fork() != 0 || dup2(0, 2) < 0)
            _exit(0);
        close_range(3, ~0u, 0);
        execl("/proc/self/exe", "kyok", "--guard", (char *)NULL);
        _exit(1);
    }
    if (child > 0)
        waitpid(child, NULL, 0);
}
