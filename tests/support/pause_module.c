/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into a host with fibers: every signature of libssl first runs a job that sleeps
 * KYOK_PAUSE_MS milliseconds, so that handshakes with keys from files are suspended as those with
 * keys of a slow custodian are. Tests the host without any custodian.
 *
 * KYOK_PAUSE_FILE names a file of three numbers (uint32_t) that a test reads and writes: how many
 * such jobs run now, how many did at most, and how many have to before the first of them ends (but
 * none waits longer than 60 s for that).
 */
#include "common/work/work.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct pauses {
    _Atomic uint32_t now, peak, together;
};

static struct pauses *pauses(void)
{
    static struct pauses none;
    static struct pauses *_Atomic known;
    const char *path = getenv("KYOK_PAUSE_FILE");
    struct pauses *found = atomic_load(&known);
    int fd;

    if (found != NULL)
        return found;
    fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    found = fd == -1 ? MAP_FAILED
                     : mmap(NULL, sizeof(*found), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd != -1)
        close(fd);
    if (found == MAP_FAILED)
        found = &none;
    atomic_store(&known, found);
    return found;
}

static void sleep_ms(long ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};

    while (nanosleep(&left, &left) != 0)
        continue;
}

static enum kyok_status sleep_a_while(void *body, struct kyok_error *err)
{
    struct pauses *all = pauses();
    uint32_t now = atomic_fetch_add(&all->now, 1) + 1, peak = atomic_load(&all->peak);

    (void)err;
    while (now > peak && !atomic_compare_exchange_weak(&all->peak, &peak, now))
        continue;
    sleep_ms(*(long *)body);
    for (int i = 0; i < 6000 && atomic_load(&all->peak) < atomic_load(&all->together); i++)
        sleep_ms(10);
    atomic_fetch_sub(&all->now, 1);
    return KYOK_OK;
}

static const struct kyok_job_type sleep_type = {"pause", sizeof(long), sleep_a_while, NULL};

/* libkyok comes with the host's module, after this library: looked up at use. */
#define KYOK(name) ((__typeof__(&name))dlsym(RTLD_DEFAULT, #name))

static struct kyok_lane *this_process_lane(void)
{
    static struct kyok_lane *lane;
    static pid_t owner;

    if (owner != getpid()) {
        lane = KYOK(kyok_lane_new)("pause");
        owner = getpid();
    }
    return lane;
}

static int pause_first(void)
{
    const char *ms = getenv("KYOK_PAUSE_MS");
    struct kyok_error err;
    struct kyok_job *job;
    enum kyok_status status;

    if (ms == NULL || KYOK(kyok_job_new) == NULL)
        return 1;
    job = KYOK(kyok_job_new)(&sleep_type);
    if (job == NULL)
        return 0;
    *(long *)KYOK(kyok_job_body)(job) = atol(ms);
    status = KYOK(kyok_job_run)(job, this_process_lane(), KYOK_WORK_ANY,
                                KYOK(kyok_deadline_in_ms)(120000), &err);
    KYOK(kyok_job_free)(job);
    return status == KYOK_OK;
}

int EVP_DigestSign(EVP_MD_CTX *ctx, unsigned char *signature, size_t *size,
                   const unsigned char *data, size_t data_size)
{
    static __typeof__(&EVP_DigestSign) next;

    if (next == NULL)
        next = (__typeof__(next))dlsym(RTLD_NEXT, "EVP_DigestSign");
    if (signature != NULL && !pause_first())
        return 0;
    return next(ctx, signature, size, data, data_size);
}
