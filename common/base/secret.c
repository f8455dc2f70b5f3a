/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/secret.h"

#include "common/base/process.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Header and bytes share the locked pages, so that one mapping is one secret. */
struct kyok_secret {
    size_t mapped;
    size_t capacity;
    size_t size;
    uint64_t locked_in; /* the process's generation */
    uint8_t data[];
};

struct kyok_secret *kyok_secret_new(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct kyok_secret *secret;
    size_t mapped;

    if (size > SIZE_MAX - sizeof(*secret) - page)
        return NULL;
    mapped = (sizeof(*secret) + size + page - 1) / page * page;
    secret = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (secret == MAP_FAILED)
        return NULL;
    /* Best effort: RLIMIT_MEMLOCK may be small, and an unlocked secret still serves. */
    (void)mlock(secret, mapped);
    secret->locked_in = kyok_process_generation();
    (void)madvise(secret, mapped, MADV_DONTDUMP);
    secret->mapped = mapped;
    secret->capacity = secret->size = size;
    return secret;
}

struct kyok_secret *kyok_secret_copy(struct kyok_bytes bytes)
{
    struct kyok_secret *secret = kyok_secret_new(bytes.size);

    if (secret != NULL && bytes.size > 0)
        memcpy(secret->data, bytes.data, bytes.size);
    return secret;
}

uint8_t *kyok_secret_data(struct kyok_secret *secret)
{
    return secret->data;
}

size_t kyok_secret_size(const struct kyok_secret *secret)
{
    return secret->size;
}

struct kyok_bytes kyok_secret_bytes(const struct kyok_secret *secret)
{
    return kyok_bytes(secret->data, secret->size);
}

void kyok_secret_truncate(struct kyok_secret *secret, size_t size)
{
    if (size >= secret->size)
        return;
    kyok_wipe(secret->data + size, secret->size - size);
    secret->size = size;
}

void kyok_secret_relock(struct kyok_secret *secret)
{
    uint64_t now = kyok_process_generation();

    if (secret->locked_in == now)
        return;
    (void)mlock(secret, secret->mapped);
    secret->locked_in = now;
}

void kyok_secret_free(struct kyok_secret *secret)
{
    if (secret == NULL)
        return;
    kyok_wipe(secret->data, secret->capacity);
    munmap(secret, secret->mapped);
}

void kyok_secret_auto_free(struct kyok_secret **secret)
{
    kyok_secret_free(*secret);
}

void kyok_secret_harden_process(void)
{
    struct rlimit none = {0, 0};

    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0);
}
