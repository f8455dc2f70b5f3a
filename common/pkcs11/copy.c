/* SPDX-License-Identifier: Apache-2.0 */
/*
 * [token] cache-keys: signatures by a copy of the key in a session object, which some tokens reach
 * sooner than their own (SoftHSM reads its files again at each C_SignInit). The copy stands for the
 * key no longer than configured after the key itself signed in that session; so one that is
 * suspended or destroyed signs at most that much longer.
 *
 * A copy belongs to the session that made it, goes with it, and is used under its lease alone.
 * Searches ask for token objects (object.c), since a copy has the key's label and id.
 * Nothing here calls C_DestroyObject: after a restart that kyok has not noticed yet the number may
 * be another object's. What is no longer used stays until the session is closed,
 * KYOK_SESSION_COPIES of them at most.
 */
#include "common/pkcs11/live.h"

static bool fits(const struct kyok_key_copy *copy, const struct kyok_call *call)
{
    return copy->of == call->object && copy->epoch == call->lease->epoch &&
           copy->fingerprint == call->key->fingerprint &&
           copy->require == call->group->config->require;
}

static struct kyok_key_copy *entry_of(const struct kyok_call *call)
{
    struct kyok_key_copy *copies = call->lease->session->copies;

    for (size_t i = 0; i < KYOK_SESSION_COPIES; i++) {
        if (fits(&copies[i], call))
            return &copies[i];
    }
    return NULL;
}

/* Signed lately enough. */
static bool trusted(const struct kyok_key_copy *copy, const struct kyok_call *call)
{
    return kyok_now_ns() - copy->seen_ns <
           (int64_t)call->group->config->cache_keys_ms * INT64_C(1000000);
}

/* One that was never used, whose copy went with the login or session of an earlier epoch, or whose
 * key signed once and not again. */
static struct kyok_key_copy *free_entry(const struct kyok_call *call)
{
    struct kyok_key_copy *copies = call->lease->session->copies;

    for (size_t i = 0; i < KYOK_SESSION_COPIES; i++) {
        const struct kyok_key_copy *copy = &copies[i];

        if (copy->epoch != call->lease->epoch ||
            (copy->object == 0 && !copy->spent && !trusted(copy, call)))
            return &copies[i];
    }
    return NULL;
}

/* Each use of it would want a login of its own. */
static bool may_copy(const struct kyok_call *call)
{
    return call->group->config->cache_keys_ms != 0 && !call->key->always_authenticate;
}

CK_OBJECT_HANDLE kyok_copy_of(const struct kyok_call *call)
{
    const struct kyok_key_copy *copy = may_copy(call) ? entry_of(call) : NULL;

    return copy != NULL && !copy->spent && trusted(copy, call) ? copy->object : 0;
}

void kyok_copy_spent(const struct kyok_call *call)
{
    struct kyok_key_copy *copy = entry_of(call);

    if (copy != NULL)
        copy->spent = true;
}

/* What the token made has to be the key, as far as it tells, and as well kept. */
static bool meets(const struct kyok_call *call, CK_OBJECT_HANDLE object)
{
    struct kyok_error why = {.status = KYOK_OK};

    return kyok_key_verify(call->lease, call->key, object, call->group->config->require, &why) ==
               CKR_OK &&
           why.status == KYOK_OK;
}

static bool begin(struct kyok_token *token)
{
    bool may;

    pthread_mutex_lock(&token->module->lock);
    may = token->searching == 0;
    if (may) {
        token->copying++;
        token->copies++;
    }
    pthread_mutex_unlock(&token->module->lock);
    return may;
}

static void end(struct kyok_token *token)
{
    pthread_mutex_lock(&token->module->lock);
    token->copying--;
    if (token->copying == 0 && token->searching > 0)
        pthread_cond_broadcast(&token->changed);
    pthread_mutex_unlock(&token->module->lock);
}

static void make(const struct kyok_call *call, struct kyok_key_copy *copy)
{
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE in_session = {CKA_TOKEN, &no, sizeof(no)};
    CK_OBJECT_HANDLE object = 0;
    CK_RV rv;

    if (!begin(call->lease->token))
        return; /* the next time that the key signs */
    rv = call->lease->f->C_CopyObject(call->lease->handle, call->object, &in_session, 1, &object);
    end(call->lease->token);
    copy->spent = rv != CKR_OK || object == 0 || !meets(call, object);
    copy->object = object;
}

void kyok_copy_learn(const struct kyok_call *call, CK_RV rv, int64_t since_ns)
{
    struct kyok_key_copy *copy;

    if (!may_copy(call))
        return;
    copy = entry_of(call);
    if (rv != CKR_OK) {
        kyok_copy_spent(call);
        return;
    }
    if (copy == NULL && (copy = free_entry(call)) != NULL)
        *copy = (struct kyok_key_copy){.epoch = call->lease->epoch,
                                       .fingerprint = call->key->fingerprint,
                                       .of = call->object,
                                       .require = call->group->config->require};
    else if (copy != NULL && copy->object == 0 && !copy->spent && trusted(copy, call))
        make(call, copy);
    if (copy != NULL)
        copy->seen_ns = since_ns; /* not since now: it may have been suspended meanwhile */
}

/* --- searches --- */

/* A copy takes a moment; what hangs is not waited for. */
#define COPIES_END_MS 1000
#define COPYING UINT64_MAX

uint64_t kyok_copies_begun(struct kyok_token *token)
{
    uint64_t begun;

    pthread_mutex_lock(&token->module->lock);
    begun = token->copying > 0 ? COPYING : token->copies;
    pthread_mutex_unlock(&token->module->lock);
    return begun;
}

bool kyok_copies_none_since(struct kyok_token *token, uint64_t begun)
{
    return begun != COPYING && kyok_copies_begun(token) == begun;
}

void kyok_copies_stop(struct kyok_token *token)
{
    struct kyok_deadline deadline = kyok_deadline_in_ms(COPIES_END_MS);
    bool waited = true;

    pthread_mutex_lock(&token->module->lock);
    token->searching++;
    while (token->copying > 0 && waited)
        waited = kyok_module_wait(token->module, &token->changed, deadline);
    pthread_mutex_unlock(&token->module->lock);
}

void kyok_copies_go_on(struct kyok_token *token)
{
    pthread_mutex_lock(&token->module->lock);
    token->searching--;
    pthread_mutex_unlock(&token->module->lock);
}
