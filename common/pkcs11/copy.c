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

#include <string.h>

static bool fits(const struct kyok_key_copy *copy, const struct kyok_call *call)
{
    return copy->of == call->object && copy->epoch == call->lease->epoch &&
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

/* One that was never used, or whose copy went with the login or session of an earlier epoch. */
static struct kyok_key_copy *free_entry(const struct kyok_call *call)
{
    struct kyok_key_copy *copies = call->lease->session->copies;

    for (size_t i = 0; i < KYOK_SESSION_COPIES; i++) {
        if (copies[i].epoch != call->lease->epoch)
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

/* What the token made has to be as well kept as the key. */
static bool meets(const struct kyok_call *call, CK_OBJECT_HANDLE object)
{
    struct kyok_facts facts;
    struct kyok_error ignored;

    if (call->group->config->require == KYOK_REQUIRE_NONE)
        return true;
    memset(&facts, 0, sizeof(facts));
    return kyok_facts_read(call->lease, object, &facts) == CKR_OK &&
           kyok_facts_require(&facts, call->group->config->require, NULL, &ignored) == KYOK_OK;
}

static void make(const struct kyok_call *call, struct kyok_key_copy *copy)
{
    CK_BBOOL no = CK_FALSE;
    CK_ATTRIBUTE in_session = {CKA_TOKEN, &no, sizeof(no)};
    CK_OBJECT_HANDLE object = 0;
    CK_RV rv =
        call->lease->f->C_CopyObject(call->lease->handle, call->object, &in_session, 1, &object);

    copy->spent = rv != CKR_OK || object == 0 || !meets(call, object);
    copy->object = object;
}

void kyok_copy_learn(const struct kyok_call *call, CK_RV rv)
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
                                       .of = call->object,
                                       .require = call->group->config->require};
    else if (copy != NULL && copy->object == 0 && !copy->spent && trusted(copy, call))
        make(call, copy);
    if (copy != NULL)
        copy->seen_ns = kyok_now_ns();
}
