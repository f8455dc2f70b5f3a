/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A monolithic libvirtd that starts VMs by itself answers no call before it is done, so the hook
 * cannot give it secrets then. Before it starts, the records of those VMs are opened by one
 * process, with one login per custodian, and laid into libvirtd's secrets folder: a memory file
 * system that hides the folder on disk until libvirtd has read it.
 */
#include "libvirt-hook/worker/work.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define PRELOAD_THREADS 8
#define STAGING HOOK_RUN "/secrets"

/* --- files --- */

static bool write_file(const char *folder, const char *name, const char *suffix,
                       struct kyok_bytes bytes)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s%s", folder, name, suffix);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool good = fd >= 0 && write(fd, bytes.data, bytes.size) == (ssize_t)bytes.size;
    if (fd >= 0)
        good = close(fd) == 0 && good;
    return good;
}

static bool copy_file(const char *from, const char *to, const char *name)
{
    char path[512];
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    snprintf(path, sizeof(path), "%s/%s", from, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    uint8_t *room = kyok_buffer_reserve(&text, 1 << 20);
    ssize_t got = fd >= 0 && room ? read(fd, room, 1 << 20) : -1;
    if (fd >= 0)
        close(fd);
    return got >= 0 && write_file(to, name, "", kyok_bytes(room, (size_t)got));
}

/* Copies every file that is not one of kyok's. */
static bool copy_folder(const char *from, const char *to, bool skip_held)
{
    DIR *list = opendir(from);
    bool good = list != NULL || errno == ENOENT;
    for (struct dirent *entry; list && (entry = readdir(list));) {
        char uuid[KYOK_UUID_TEXT] = "";
        if (entry->d_type != DT_REG)
            continue;
        memcpy(uuid, entry->d_name, strnlen(entry->d_name, KYOK_UUID_TEXT - 1));
        if (!skip_held || !mark_any(HOOK_HELD, uuid))
            good = copy_file(from, to, entry->d_name) && good;
    }
    if (list)
        closedir(list);
    return good;
}

/* Memory that is never swapped: tmpfs since Linux 6.4, else ramfs. */
static enum kyok_status stage(struct kyok_error *err)
{
    unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (mkdir(STAGING, 0700) != 0 && errno != EEXIST)
        return kyok_fail_errno(err, STAGING, "the folder cannot be made");
    if (mount("kyok", STAGING, "tmpfs", flags, "mode=0700,size=16m,noswap") != 0 &&
        mount("kyok", STAGING, "ramfs", flags, "mode=0700") != 0)
        return kyok_fail_errno(err, STAGING, "no memory file system can be mounted");
    if (!copy_folder(HOOK_SECRETS, STAGING, false))
        return kyok_fail_errno(err, HOOK_SECRETS, "the stored secrets cannot be copied");
    return KYOK_OK;
}

/* The mark first: whoever dies after it is cleared away by preload_end(). */
static enum kyok_status expose(struct kyok_error *err)
{
    if (mkdir(HOOK_SECRETS, 0700) != 0 && errno != EEXIST)
        return kyok_fail_errno(err, HOOK_SECRETS, "the folder cannot be made");
    if (!write_file(HOOK_RUN, "preloaded", "", kyok_bytes(NULL, 0)))
        return kyok_fail_errno(err, HOOK_PRELOADED, "the mark cannot be written");
    return mount(STAGING, HOOK_SECRETS, NULL, MS_BIND, NULL) == 0
               ? KYOK_OK
               : kyok_fail_errno(err, HOOK_SECRETS,
                                 "the memory file system cannot be mounted there");
}

static bool device_of(const char *path, dev_t *device)
{
    struct stat status;
    bool good = stat(path, &status) == 0;
    *device = good ? status.st_dev : 0;
    return good;
}

static bool is_staged(void)
{
    dev_t staging, run;
    return device_of(STAGING, &staging) && device_of(HOOK_RUN, &run) && staging != run;
}

static bool is_exposed(void)
{
    dev_t staging, secrets;
    return is_staged() && device_of(STAGING, &staging) && device_of(HOOK_SECRETS, &secrets) &&
           staging == secrets;
}

/* Of a preload that was killed before it exposed anything. */
static void unstage(void)
{
    while (is_staged() && umount2(STAGING, MNT_DETACH) == 0)
        ;
}

/* --- one secret --- */

static enum kyok_status write_secret(const struct need *need, struct kyok_bytes passphrase,
                                     struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer xml = {0};
    char description[256];
    snprintf(description, sizeof(description), "%s, volume %s", need->what, need->volume_uuid);
    KYOK_AUTO_SECRET struct kyok_secret *text = kyok_secret_new((passphrase.size + 2) / 3 * 4 + 1);
    if (!text || !secrets_xml(&need->secret, description, &xml))
        return kyok_fail(err, KYOK_SYSTEM, need->path, "no memory for a secret");
    int size = EVP_EncodeBlock(kyok_secret_data(text), passphrase.data, (int)passphrase.size);
    if (!write_file(STAGING, need->secret.uuid, ".xml", kyok_bytes(xml.data, xml.size - 1)) ||
        !write_file(STAGING, need->secret.uuid, ".base64",
                    kyok_bytes(kyok_secret_data(text), (size_t)size)))
        return kyok_fail_errno(err, STAGING, "the secret cannot be written");
    return KYOK_OK;
}

static bool is_stored(const struct need *need)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s.xml", STAGING, need->secret.uuid);
    return access(path, F_OK) == 0 && !mark_any(HOOK_HELD, need->secret.uuid);
}

static enum kyok_status lay_down(struct work *work, struct need *need, struct kyok_error *err)
{
    struct mark mark;
    KYOK_CLEANUP(kyok_record_opened_free) struct kyok_record_opened opened = {0};
    if (!need->secret.uuid[0] && !kyok_uuid_of_secret(need->volume_uuid, need->secret.uuid))
        return kyok_fail(err, KYOK_FAULT, need->path, "the secret gets no UUID");
    if (is_stored(need))
        return kyok_fail(err, KYOK_REFUSED, need->secret.uuid,
                         "libvirt has a stored secret of this name that kyok did not make");
    KYOK_TRY(work_open_record(work, need, &opened, err));
    if (!opened.passphrase)
        return KYOK_OK;
    KYOK_CLEANUP(marks_unlock) int lock = marks_lock(err);
    if (lock < 0)
        return err->status;
    memcpy(mark.secret, need->secret.uuid, sizeof(mark.secret));
    memcpy(mark.vm, work->vm, sizeof(mark.vm));
    KYOK_TRY(mark_make(HOOK_HELD, &mark, need->volume_uuid, err));
    mark_opened(need->volume_uuid);
    return write_secret(need, kyok_secret_bytes(opened.passphrase), err);
}

/* --- all domains, by a few threads --- */

struct pool {
    const struct hook_request *request;
    struct kyok_context *context;
    struct kyok_deadline deadline;
    atomic_size_t next, failed;
};

static void preload_domain(struct pool *pool, const struct domain *domain)
{
    struct hook_progress progress;
    struct hook_request request = *pool->request;
    request.progress = &progress; /* of this thread */
    struct work work = {.request = &request,
                        .domain = domain,
                        .marks = HOOK_HELD,
                        .deadline = pool->deadline,
                        .context = pool->context};
    if (!domain->name || !kyok_uuid_canonical(domain->uuid, work.vm) ||
        !needs_each(&work, lay_down))
        atomic_fetch_add(&pool->failed, 1);
}

static void *preload_some(void *caller)
{
    struct pool *pool = caller;
    for (;;) {
        size_t index = atomic_fetch_add(&pool->next, 1);
        if (index >= pool->request->domain_count)
            return NULL;
        preload_domain(pool, &pool->request->domains[index]);
    }
}

static void run_pool(struct pool *pool)
{
    pthread_t threads[PRELOAD_THREADS];
    size_t count = 0;
    while (count < PRELOAD_THREADS && count + 1 < pool->request->domain_count &&
           pthread_create(&threads[count], NULL, preload_some, pool) == 0)
        count++;
    preload_some(pool);
    while (count > 0)
        pthread_join(threads[--count], NULL);
}

static int tell(const struct kyok_error *err)
{
    char text[1400];
    fprintf(stderr, "kyok: %s\n", kyok_error_text(err, text, sizeof(text)));
    return 1;
}

/* What could be opened is exposed even if something could not. */
int preload(const struct hook_request *request)
{
    struct kyok_error err;
    struct work first = {.request = request};
    struct pool pool = {.request = request,
                        .deadline = kyok_deadline_in_ms((int64_t)request->timeout_ms * 3 / 4)};
    int lock = marks_lock(&err);
    if (lock < 0)
        return tell(&err);
    marks_unlock(&lock);
    if (access(HOOK_PRELOADED, F_OK) == 0)
        return 0;
    unstage();
    if (work_ensure_context(&first, &err) != KYOK_OK || stage(&err) != KYOK_OK)
        return tell(&err);
    pool.context = first.context;
    run_pool(&pool);
    kyok_context_free(first.context);
    if (expose(&err) != KYOK_OK)
        return tell(&err);
    fprintf(stderr, "kyok: records of %zu of %zu VMs are open\n",
            request->domain_count - atomic_load(&pool.failed), request->domain_count);
    return atomic_load(&pool.failed) ? 1 : 0;
}

/* --- afterwards --- */

static void unlink_secret(void *caller, const struct mark *mark)
{
    char path[256];
    (void)caller;
    snprintf(path, sizeof(path), "%s/%s.base64", STAGING, mark->secret);
    unlink(path);
    snprintf(path, sizeof(path), "%s/%s.xml", STAGING, mark->secret);
    unlink(path);
}

/* libvirtd answers: its VMs have their secrets. A secret that somebody stored meanwhile goes to the
 * folder on disk. */
int preload_end(const struct hook_request *request)
{
    struct kyok_error err;
    struct work work = {.request = request, .marks = HOOK_HELD};
    if (access(HOOK_PRELOADED, F_OK) != 0 && !is_staged())
        return 0;
    if (work_ensure_secrets(&work, &err) != KYOK_OK)
        return tell(&err);
    marks_each(HOOK_HELD, INT32_MIN, unlink_secret, NULL);
    bool good = !is_exposed() || (umount2(HOOK_SECRETS, MNT_DETACH) == 0 &&
                                  copy_folder(STAGING, HOOK_SECRETS, true));
    if (!good)
        tell((kyok_fail_errno(&err, HOOK_SECRETS, "the memory file system cannot be removed"),
              &err));
    unstage();
    int result = take_back(&work);
    unlink(HOOK_PRELOADED); /* last: until then a second run does it all again */
    secrets_close(work.secrets);
    return good ? result : 1;
}
