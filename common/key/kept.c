/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that stay open for a while, by reference: a host whose connections each open theirs (nginx's
 * certificates by variable) asks the custodian once, and not in every handshake. */
#include "common/key/kept.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct kept {
    struct kyok_key *key; /* a reference of its own; NULL: free */
    struct kyok_bytes half;
    int64_t until_ns, used_ns;
};

struct kept_state {
    pthread_mutex_t lock; /* no custodian is called under it */
    int64_t lasts_ns;
    size_t room;
    struct kept *keys;
};

static void *create(void)
{
    struct kept_state *state = calloc(1, sizeof(*state));

    if (state != NULL)
        pthread_mutex_init(&state->lock, NULL);
    return state;
}

static struct kept_state *this_process(void)
{
    return kyok_process_state(KYOK_PROCESS_KEPT_KEYS, create, free);
}

void kyok_keys_keep(unsigned room, unsigned seconds)
{
    struct kept_state *state = this_process();
    struct kept *keys;

    if (state == NULL)
        return;
    keys = room == 0 ? NULL : calloc(room, sizeof(*keys));
    kyok_keys_forget();
    pthread_mutex_lock(&state->lock);
    free(state->keys);
    state->keys = keys;
    state->room = keys == NULL ? 0 : room;
    state->lasts_ns = seconds * INT64_C(1000000000);
    pthread_mutex_unlock(&state->lock);
}

/* Takes the entry's key, to be freed without the lock: the last reference closes what it holds. */
static struct kyok_key *take(struct kept *entry)
{
    struct kyok_key *key = entry->key;

    free((void *)(uintptr_t)entry->half.data);
    *entry = (struct kept){0};
    return key;
}

static void forget(struct kept_state *state, const struct kyok_key *which)
{
    for (size_t i = 0;; i++) {
        struct kyok_key *key = NULL;

        pthread_mutex_lock(&state->lock);
        while (i < state->room &&
               (state->keys[i].key == NULL || (which != NULL && state->keys[i].key != which)))
            i++;
        if (i < state->room)
            key = take(&state->keys[i]);
        pthread_mutex_unlock(&state->lock);
        if (key == NULL)
            return;
        kyok_key_free(key);
    }
}

void kyok_keys_forget(void)
{
    struct kept_state *state = this_process();

    if (state != NULL)
        forget(state, NULL);
}

void kyok_key_forget(const struct kyok_key *key)
{
    struct kept_state *state = this_process();

    if (state != NULL && state->room > 0)
        forget(state, key);
}

/* A PIN of its own makes a reference more than its text says. */
static bool may_keep(const struct kept_state *state, const struct kyok_reference *reference)
{
    return state != NULL && state->room > 0 && reference->pin_value == NULL &&
           reference->pin_source == NULL;
}

static bool fits(const struct kept *entry, const struct kyok_context *context,
                 const struct kyok_reference *reference, struct kyok_bytes half)
{
    const struct kyok_reference *own;

    if (entry->key == NULL || entry->key->context != context || entry->half.size != half.size)
        return false;
    own = entry->key->reference;
    return own->origin == reference->origin && own->type == reference->type &&
           strcmp(own->text, reference->text) == 0 &&
           (half.size == 0 || memcmp(entry->half.data, half.data, half.size) == 0);
}

struct kyok_key *kyok_key_kept(const struct kyok_context *context,
                               const struct kyok_reference *reference, struct kyok_bytes half)
{
    struct kept_state *state = this_process();
    struct kyok_key *found = NULL, *stale = NULL;
    int64_t now;

    if (!may_keep(state, reference))
        return NULL;
    now = kyok_now_ns();
    pthread_mutex_lock(&state->lock);
    for (size_t i = 0; i < state->room && found == NULL && stale == NULL; i++) {
        struct kept *entry = &state->keys[i];

        if (!fits(entry, context, reference, half))
            continue;
        if (now >= entry->until_ns) {
            stale = take(entry);
            continue;
        }
        entry->used_ns = now;
        found = entry->key;
        kyok_key_up_ref(found);
    }
    pthread_mutex_unlock(&state->lock);
    kyok_key_free(stale);
    return found;
}

/* A free one, or that which has not been used for the longest time. */
static struct kept *place(struct kept_state *state)
{
    struct kept *best = &state->keys[0];

    for (size_t i = 0; i < state->room; i++) {
        if (state->keys[i].key == NULL)
            return &state->keys[i];
        if (state->keys[i].used_ns < best->used_ns)
            best = &state->keys[i];
    }
    return best;
}

void kyok_key_keep(struct kyok_key *key, struct kyok_bytes half)
{
    struct kept_state *state = this_process();
    struct kyok_key *old = NULL;
    struct kyok_bytes copy;

    if (!may_keep(state, key->reference) || !kyok_key_job_copy(half, &copy))
        return;
    pthread_mutex_lock(&state->lock);
    if (state->room > 0) {
        struct kept *entry = place(state);

        old = take(entry);
        kyok_key_up_ref(key);
        entry->key = key;
        entry->half = copy;
        entry->used_ns = kyok_now_ns();
        entry->until_ns = entry->used_ns + state->lasts_ns;
        copy = kyok_bytes(NULL, 0);
    }
    pthread_mutex_unlock(&state->lock);
    kyok_key_job_drop(&copy);
    kyok_key_free(old);
}
