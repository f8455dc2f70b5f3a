/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A monolithic libvirtd that starts VMs by itself answers no call before it is done, so the hook
 * cannot give it secrets then. Before it starts, the records of those VMs are opened by one
 * process, with one login per custodian, and laid into libvirtd's secrets folder: a memory file
 * system that hides the folder on disk until libvirtd has read it.
 */
#include "libvirt-hook/worker/staging.h"
#include "libvirt-hook/worker/work.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PRELOAD_THREADS 8

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
    if (!staging_write(need->secret.uuid, ".xml", kyok_bytes(xml.data, xml.size - 1)) ||
        !staging_write(need->secret.uuid, ".base64",
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
    staging_discard();
    if (work_ensure_context(&first, &err) != KYOK_OK || staging_make(&err) != KYOK_OK)
        return tell(&err);
    pool.context = first.context;
    run_pool(&pool);
    kyok_context_free(first.context);
    if (staging_expose(&err) != KYOK_OK)
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

/* libvirtd answers: its VMs have their secrets. */
int preload_end(const struct hook_request *request)
{
    struct kyok_error err;
    struct work work = {.request = request, .marks = HOOK_HELD};
    if (access(HOOK_PRELOADED, F_OK) != 0 && !staging_exists())
        return 0;
    if (work_ensure_secrets(&work, &err) != KYOK_OK)
        return tell(&err);
    marks_each(HOOK_HELD, INT32_MIN, unlink_secret, NULL);
    enum kyok_status status = staging_withdraw(&err);
    int result = status == KYOK_OK ? take_back(&work) : tell(&err);
    if (status == KYOK_OK)
        unlink(HOOK_PRELOADED); /* last: until then a second run does it all again */
    secrets_close(work.secrets);
    return result;
}
