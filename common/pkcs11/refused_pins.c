/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pkcs11/refused_pins.h"
#include "common/pkcs11/hmac.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>

#define MARKS 64
#define MARK_SIZE 32
#define TURNS 16
/* A login that takes longer hangs, or its HSM is slower than a try is worth. */
#define PATIENCE_MS 5000

struct kyok_pin_turn {
    pthread_mutex_t mutex;
};

/* In memory that forked processes share. */
struct shared {
    atomic_uint count; /* ever added: the oldest mark makes room */
    struct {
        atomic_bool ready;
        uint8_t mark[MARK_SIZE];
    } entries[MARKS];
    struct kyok_pin_turn turns[TURNS]; /* by a hash of the token's name */
};

struct kyok_refused_pins {
    struct shared *shared;
    struct kyok_secret *key; /* of the marks */
};

static bool share_turns(struct shared *shared)
{
    pthread_mutexattr_t attributes;
    bool done;

    if (pthread_mutexattr_init(&attributes) != 0)
        return false;
    done = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0 &&
           pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0;
    for (size_t i = 0; done && i < TURNS; i++)
        done = pthread_mutex_init(&shared->turns[i].mutex, &attributes) == 0;
    pthread_mutexattr_destroy(&attributes);
    return done;
}

struct kyok_refused_pins *kyok_refused_pins_new(void)
{
    struct kyok_refused_pins *pins = calloc(1, sizeof(*pins));

    if (pins == NULL)
        return NULL;
    pins->shared = mmap(NULL, sizeof(*pins->shared), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (pins->shared == MAP_FAILED)
        pins->shared = NULL;
    pins->key = kyok_secret_new(MARK_SIZE);
    if (pins->shared != NULL && pins->key != NULL && share_turns(pins->shared) &&
        getrandom(kyok_secret_data(pins->key), MARK_SIZE, 0) == MARK_SIZE)
        return pins;
    kyok_refused_pins_free(pins);
    return NULL;
}

void kyok_refused_pins_free(struct kyok_refused_pins *pins)
{
    if (pins == NULL)
        return;
    if (pins->shared != NULL)
        munmap(pins->shared, sizeof(*pins->shared));
    kyok_secret_free(pins->key);
    free(pins);
}

static bool make_mark(const struct kyok_refused_pins *pins, const char *serial, const char *label,
                      const struct kyok_secret *pin, uint8_t mark[MARK_SIZE])
{
    /* With their ends: no two names run together alike. */
    const struct kyok_bytes parts[] = {{(const uint8_t *)serial, strlen(serial) + 1},
                                       {(const uint8_t *)label, strlen(label) + 1},
                                       kyok_secret_bytes(pin)};

    return kyok_hmac_sha256(kyok_secret_bytes(pins->key), parts, 3, mark);
}

bool kyok_refused_pins_have(struct kyok_refused_pins *pins, const char *serial, const char *label,
                            const struct kyok_secret *pin)
{
    struct shared *shared = pins->shared;
    uint8_t mark[MARK_SIZE];
    bool found = false;

    if (atomic_load(&shared->count) == 0 || !make_mark(pins, serial, label, pin, mark))
        return false;
    for (size_t i = 0; i < MARKS && !found; i++)
        found = atomic_load(&shared->entries[i].ready) &&
                CRYPTO_memcmp(shared->entries[i].mark, mark, MARK_SIZE) == 0;
    return found;
}

void kyok_refused_pins_add(struct kyok_refused_pins *pins, const char *serial, const char *label,
                           const struct kyok_secret *pin)
{
    struct shared *shared = pins->shared;
    uint8_t mark[MARK_SIZE];
    size_t i;

    if (!make_mark(pins, serial, label, pin, mark))
        return;
    i = atomic_fetch_add(&shared->count, 1) % MARKS;
    atomic_store(&shared->entries[i].ready, false);
    memcpy(shared->entries[i].mark, mark, MARK_SIZE);
    atomic_store(&shared->entries[i].ready, true);
}

static uint32_t hash(uint32_t seed, const char *text)
{
    for (; *text != '\0'; text++)
        seed = (seed ^ (uint8_t)*text) * UINT32_C(16777619); /* FNV-1a */
    return seed;
}

struct kyok_pin_turn *kyok_refused_pins_enter(struct kyok_refused_pins *pins, const char *serial,
                                              const char *label, struct kyok_deadline deadline)
{
    const uint32_t name = hash(hash(UINT32_C(2166136261), serial), label);
    struct kyok_pin_turn *turn = &pins->shared->turns[name % TURNS];
    const struct timespec until =
        kyok_deadline_timespec(kyok_deadline_sooner(deadline, kyok_deadline_in_ms(PATIENCE_MS)));
    int rc = pthread_mutex_clocklock(&turn->mutex, CLOCK_MONOTONIC, &until);

    if (rc == EOWNERDEAD)
        rc = pthread_mutex_consistent(&turn->mutex);
    return rc == 0 ? turn : NULL;
}

void kyok_refused_pins_leave(struct kyok_pin_turn *turn)
{
    if (turn != NULL)
        pthread_mutex_unlock(&turn->mutex);
}
