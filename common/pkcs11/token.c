/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pkcs11/live.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BACKOFF_FIRST_MS 250
#define BACKOFF_MOST_MS 15000
#define NS_PER_MS INT64_C(1000000)
/* How long a session that was denied is known to be from after the loss. */
#define OUTLIVES_NS INT64_C(10000000000)

/* PKCS#11 texts are blank-padded and not terminated. */
static void copy_padded(char *to, const CK_UTF8CHAR *from, size_t size)
{
    while (size > 0 && (from[size - 1] == ' ' || from[size - 1] == '\0'))
        size--;
    memcpy(to, from, size);
    to[size] = '\0';
}

bool kyok_token_same(const struct kyok_token *token, const CK_TOKEN_INFO *info)
{
    char label[33], serial[17], model[17], manufacturer[33];

    copy_padded(label, info->label, sizeof(info->label));
    copy_padded(serial, info->serialNumber, sizeof(info->serialNumber));
    copy_padded(model, info->model, sizeof(info->model));
    copy_padded(manufacturer, info->manufacturerID, sizeof(info->manufacturerID));
    return strcmp(label, token->label) == 0 && strcmp(serial, token->serial) == 0 &&
           strcmp(model, token->model) == 0 && strcmp(manufacturer, token->manufacturer) == 0;
}

struct kyok_token *kyok_token_new(struct kyok_module *module, const CK_TOKEN_INFO *info)
{
    struct kyok_token *token = calloc(1, sizeof(*token));

    if (token == NULL)
        return NULL;
    token->module = module;
    token->epoch = 1;
    copy_padded(token->label, info->label, sizeof(info->label));
    copy_padded(token->serial, info->serialNumber, sizeof(info->serialNumber));
    copy_padded(token->model, info->model, sizeof(info->model));
    copy_padded(token->manufacturer, info->manufacturerID, sizeof(info->manufacturerID));
    return token;
}

void kyok_token_update(struct kyok_token *token, CK_SLOT_ID slot, const CK_TOKEN_INFO *info,
                       const CK_SLOT_INFO *slot_info)
{
    /* 0 and all-ones both mean "no limit told" (CK_EFFECTIVELY_INFINITE, CK_UNAVAILABLE_...). */
    bool told = info->ulMaxSessionCount != 0 &&
                info->ulMaxSessionCount != CK_UNAVAILABLE_INFORMATION &&
                info->ulMaxSessionCount < 1U << 20;

    token->own_limit = told ? (unsigned)info->ulMaxSessionCount : 0;
    token->full_until_ns = 0;
    token->slot = slot;
    token->flags = info->flags;
    token->flags_ns = kyok_now_ns();
    token->present = true;
    token->seen = true;
    copy_padded(token->slot_description, slot_info->slotDescription,
                sizeof(slot_info->slotDescription));
    copy_padded(token->slot_manufacturer, slot_info->manufacturerID,
                sizeof(slot_info->manufacturerID));
}

static bool text_fits(const char *wanted, const char *is)
{
    return wanted == NULL || strcmp(wanted, is) == 0;
}

static bool library_fits(const CK_INFO *info, const struct kyok_reference *reference)
{
    char description[33], manufacturer[33];

    copy_padded(description, info->libraryDescription, sizeof(info->libraryDescription));
    copy_padded(manufacturer, info->manufacturerID, sizeof(info->manufacturerID));
    return text_fits(reference->library_description, description) &&
           text_fits(reference->library_manufacturer, manufacturer) &&
           (reference->library_major < 0 ||
            reference->library_major == info->libraryVersion.major) &&
           (reference->library_minor < 0 || reference->library_minor == info->libraryVersion.minor);
}

bool kyok_token_fits(const struct kyok_token *token, const struct kyok_reference *reference)
{
    return text_fits(reference->token, token->label) &&
           text_fits(reference->serial, token->serial) &&
           text_fits(reference->model, token->model) &&
           text_fits(reference->manufacturer, token->manufacturer) &&
           text_fits(reference->slot_description, token->slot_description) &&
           text_fits(reference->slot_manufacturer, token->slot_manufacturer) &&
           (!reference->has_slot_id || reference->slot_id == token->slot) &&
           library_fits(&token->module->info, reference);
}

void kyok_token_wake(struct kyok_token *token)
{
    if (token->waiters != NULL)
        pthread_cond_signal(&token->waiters->turn);
}

/* A session that the token took when it had lost login and objects already is none of those lost
 * with them. */
static bool outlives(const struct kyok_session *session, int64_t now)
{
    return session->denied_ns != 0 && now - session->denied_ns < OUTLIVES_NS;
}

/* Detaches the idle sessions: all, or those that may be lost. */
static struct kyok_session *next_epoch(struct kyok_token *token, bool all)
{
    struct kyok_session *idle = token->idle, *lost = NULL, *next;
    int64_t now = kyok_now_ns();

    token->epoch++;
    token->login = KYOK_LOGGED_OUT;
    token->idle = NULL;
    for (struct kyok_session *session = idle; session != NULL; session = next) {
        struct kyok_session **list = !all && outlives(session, now) ? &token->idle : &lost;

        next = session->next;
        session->next = *list;
        *list = session;
        if (list != &lost) {
            session->epoch = token->epoch;
            continue;
        }
        token->open--;
        token->live--;
    }
    pthread_cond_broadcast(&token->changed);
    kyok_token_wake(token);
    return lost;
}

static void free_sessions(struct kyok_session *session)
{
    while (session != NULL) {
        struct kyok_session *next = session->next;

        free(session);
        session = next;
    }
}

void kyok_token_forget(struct kyok_token *token)
{
    free_sessions(next_epoch(token, true));
}

static bool is_number_of(const struct kyok_session *list, CK_SESSION_HANDLE handle)
{
    while (list != NULL && list->handle != handle)
        list = list->next;
    return list != NULL;
}

/* A token that has started anew may have given a lost session's number to a new one. */
static void spare_reused(const struct kyok_token *token, struct kyok_session *lost)
{
    for (; lost != NULL; lost = lost->next) {
        if (is_number_of(token->idle, lost->handle) || is_number_of(token->oldest, lost->handle))
            lost->handle = 0;
    }
}

/* Sessions may live on in the token after an error that was not theirs, and would fill its limit.
 * While they are closed no new one is opened, so that a number given out again is not closed by
 * mistake. A restart of the module ends them all: waiting for it here would be waiting in a circle
 * (it waits for the threads inside, and those wait to open a session), and after it their numbers
 * may be other tokens' sessions. */
static void close_sessions(struct kyok_token *token, const struct kyok_session *idle)
{
    const struct kyok_deadline at_once = {0};
    struct kyok_module *module = token->module;
    struct kyok_guard guard;

    pthread_mutex_unlock(&module->lock);
    if (kyok_module_enter(module, &guard, at_once)) {
        for (; idle != NULL; idle = idle->next) {
            if (idle->handle != 0)
                (void)module->f->C_CloseSession(idle->handle);
        }
        kyok_module_leave(&guard);
    }
    pthread_mutex_lock(&module->lock);
}

void kyok_token_renew(struct kyok_token *token, uint64_t seen_epoch, struct kyok_deadline deadline)
{
    struct kyok_session *idle;
    bool waited = true;

    if (token->epoch != seen_epoch || token->renewing)
        return;
    token->renewing = true;
    idle = next_epoch(token, false);
    while (token->opening > 0 && waited)
        waited = kyok_module_wait(token->module, &token->changed, deadline);
    spare_reused(token, idle);
    if (idle != NULL && waited)
        close_sessions(token, idle);
    free_sessions(idle);
    token->renewing = false;
    pthread_cond_broadcast(&token->changed);
}

void kyok_token_down(struct kyok_token *token)
{
    unsigned backoff = token->backoff_ms == 0 ? BACKOFF_FIRST_MS : token->backoff_ms * 2;

    token->backoff_ms = backoff > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : backoff;
    token->retry_ns = kyok_now_ns() + token->backoff_ms * NS_PER_MS;
    token->health = KYOK_DOWN;
    token->failures++;
}

void kyok_token_up(struct kyok_token *token)
{
    token->health = KYOK_HEALTHY;
    token->present = true;
    token->backoff_ms = 0;
    token->retry_ns = 0;
}

bool kyok_token_hung(const struct kyok_token *token, unsigned timeout_ms)
{
    return token->oldest != NULL &&
           kyok_now_ns() - token->oldest->since_ns > (int64_t)timeout_ms * NS_PER_MS;
}

const char *kyok_token_text(const struct kyok_token *token, char *text, size_t size)
{
    snprintf(text, size, "token \"%s\" (%s)", token->label, token->module->path);
    return text;
}

/* --- handles: open addressing by key serial --- */

/* A host may open a key for each of its connections, and serials never come again: what is
 * remembered is bounded, and what is forgotten is sought again. */
#define HANDLES_MOST ((size_t)8192)

static void forget_handles(struct kyok_token *token)
{
    for (size_t i = 0; i < token->handle_room; i++)
        free(token->handles[i].why);
    memset(token->handles, 0, token->handle_room * sizeof(*token->handles));
    token->handle_count = 0;
}

static struct kyok_handle *probe(struct kyok_handle *handles, size_t room, uint64_t key)
{
    size_t i = (size_t)(key * UINT64_C(0x9e3779b97f4a7c15)) & (room - 1);

    while (handles[i].key != 0 && handles[i].key != key)
        i = (i + 1) & (room - 1);
    return &handles[i];
}

static bool grow(struct kyok_token *token)
{
    size_t room = token->handle_room == 0 ? 64 : token->handle_room * 2;
    struct kyok_handle *fresh;

    if (room > HANDLES_MOST) {
        forget_handles(token);
        return true;
    }
    fresh = calloc(room, sizeof(*fresh));
    if (fresh == NULL)
        return false;
    for (size_t i = 0; i < token->handle_room; i++) {
        if (token->handles[i].key != 0)
            *probe(fresh, room, token->handles[i].key) = token->handles[i];
    }
    free(token->handles);
    token->handles = fresh;
    token->handle_room = room;
    return true;
}

struct kyok_handle *kyok_token_handle(struct kyok_token *token, uint64_t key, bool add)
{
    struct kyok_handle *handle;

    if (add && token->handle_count * 2 >= token->handle_room && !grow(token))
        return NULL;
    if (token->handle_room == 0)
        return NULL;
    handle = probe(token->handles, token->handle_room, key);
    if (handle->key == key)
        return handle;
    if (!add)
        return NULL;
    handle->key = key;
    token->handle_count++;
    return handle;
}
