/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pkcs11/live.h"

#include <stdlib.h>

/* How long a limit learnt from CKR_SESSION_COUNT is believed before more sessions are tried. */
#define FULL_NS INT64_C(2000000000)
#define FOREIGN_WAIT_MS 50
#define PASS_NS INT64_C(10000000)

static unsigned limit_of(struct kyok_token *token)
{
    if (token->full_until_ns != 0 && kyok_now_ns() > token->full_until_ns) {
        token->full_until_ns = 0;
        token->own_limit = 0;
    }
    if (token->limit != 0 && (token->own_limit == 0 || token->limit < token->own_limit))
        return token->limit;
    return token->own_limit;
}

static void append_leased(struct kyok_token *token, struct kyok_session *session)
{
    session->since_ns = kyok_now_ns();
    session->next = NULL;
    session->previous = token->newest;
    if (token->newest != NULL)
        token->newest->next = session;
    else
        token->oldest = session;
    token->newest = session;
    token->leased++;
}

static void remove_leased(struct kyok_token *token, struct kyok_session *session)
{
    if (session->previous != NULL)
        session->previous->next = session->next;
    else
        token->oldest = session->next;
    if (session->next != NULL)
        session->next->previous = session->previous;
    else
        token->newest = session->previous;
    token->leased--;
}

static bool has_session(struct kyok_token *token)
{
    unsigned limit;

    if (token->idle != NULL)
        return true;
    limit = limit_of(token);
    return limit == 0 || token->open < limit;
}

/* First come first served; but while the first has not waited long a newcomer may pass, since to
 * wake a thread takes longer than a signature in a quick token. */
static bool may_pass(const struct kyok_token *token)
{
    return token->waiters == NULL || kyok_now_ns() - token->waiters->since_ns < PASS_NS;
}

static void leave_queue(struct kyok_token *token, const struct kyok_waiter *self)
{
    struct kyok_waiter **at = &token->waiters;

    while (*at != self)
        at = &(*at)->next;
    *at = self->next;
    kyok_token_wake(token); /* there may be one for the next, too */
}

/* False when the deadline passed before its turn with a session came. */
static bool wait_for_session(struct kyok_token *token, struct kyok_deadline deadline)
{
    struct kyok_waiter self = {.since_ns = kyok_now_ns()}, **end = &token->waiters;
    bool waited = true, served = false;

    kyok_condition_init(&self.turn);
    while (*end != NULL)
        end = &(*end)->next;
    *end = &self;
    while (!served && waited) {
        waited = kyok_module_wait(token->module, &self.turn, deadline);
        served = token->waiters == &self && has_session(token);
    }
    leave_queue(token, &self);
    pthread_cond_destroy(&self.turn);
    return served;
}

/* Under the lock: an idle session, or room for one more (handle 0), waiting for either. */
static enum kyok_status take(struct kyok_token *token, struct kyok_deadline deadline,
                             struct kyok_session **taken, struct kyok_error *err)
{
    char text[128];

    if (!(may_pass(token) && has_session(token)) && !wait_for_session(token, deadline)) {
        kyok_fail(err, KYOK_BUSY, kyok_token_text(token, text, sizeof(text)),
                  "no session became free: all %u are in use", token->open);
        return kyok_remedy(err, "raise sessions in the [token] section, or the token's limit");
    }
    if ((*taken = token->idle) != NULL) {
        token->idle = (*taken)->next;
    } else {
        *taken = calloc(1, sizeof(**taken));
        if (*taken == NULL)
            return kyok_fail(err, KYOK_SYSTEM, NULL, "no memory");
        token->open++;
    }
    append_leased(token, *taken);
    return KYOK_OK;
}

/* Gives back without the session living on. */
static void drop(struct kyok_token *token, struct kyok_session *session)
{
    remove_leased(token, session);
    token->open--;
    free(session);
    pthread_cond_broadcast(&token->changed);
    kyok_token_wake(token);
}

/* The token has fewer sessions than it told: learn that, and wait for one of ours; with none of
 * ours open other processes hold them all, and only time can tell. */
static bool wait_for_room(struct kyok_token *token, struct kyok_deadline deadline)
{
    struct kyok_deadline pause = kyok_deadline_in_ms(FOREIGN_WAIT_MS);

    if (token->open > 0) {
        token->own_limit = token->open;
        token->full_until_ns = kyok_now_ns() + FULL_NS;
        return !kyok_deadline_passed(deadline);
    }
    kyok_module_wait(token->module, &token->changed, kyok_deadline_sooner(pause, deadline));
    return !kyok_deadline_passed(deadline);
}

static enum kyok_status open_failed(struct kyok_token *token, CK_RV rv, struct kyok_error *err)
{
    char text[128];

    return kyok_rv_fail(err, rv, kyok_token_text(token, text, sizeof(text)),
                        "cannot open a session");
}

static CK_RV open_session(struct kyok_lease *lease, CK_SLOT_ID slot)
{
    CK_RV rv = lease->f->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                                       &lease->session->handle);

    if (rv == CKR_TOKEN_WRITE_PROTECTED)
        rv = lease->f->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &lease->session->handle);
    return rv;
}

/* Opens the leased session if it is new; lock held on entry and return. A failure drops it. */
static enum kyok_status ensure_open(struct kyok_lease *lease, struct kyok_deadline deadline,
                                    CK_RV *rv, struct kyok_error *err)
{
    struct kyok_token *token = lease->token;
    CK_SLOT_ID slot;
    bool waited = true;

    *rv = CKR_OK;
    if (lease->session->handle != 0)
        return KYOK_OK;
    while (token->renewing && waited)
        waited = kyok_module_wait(token->module, &token->changed, deadline);
    slot = token->slot;
    token->opening++;
    pthread_mutex_unlock(&token->module->lock);
    *rv = open_session(lease, slot);
    pthread_mutex_lock(&token->module->lock);
    token->opening--;
    if (token->renewing)
        pthread_cond_broadcast(&token->changed);
    /* Of the epoch that it was opened in; a renewal meanwhile waits for it to be. */
    lease->session->epoch = token->epoch;
    if (*rv == CKR_OK) {
        token->live++;
        return KYOK_OK;
    }
    drop(token, lease->session);
    lease->session = NULL;
    return open_failed(token, *rv, err);
}

static enum kyok_status obtain(struct kyok_lease *lease, struct kyok_deadline deadline, CK_RV *rv,
                               struct kyok_error *err)
{
    enum kyok_status status;

    do {
        KYOK_TRY(take(lease->token, deadline, &lease->session, err));
        status = ensure_open(lease, deadline, rv, err);
    } while (status != KYOK_OK && *rv == CKR_SESSION_COUNT &&
             wait_for_room(lease->token, deadline));
    return status;
}

enum kyok_status kyok_session_lease(struct kyok_token *token, struct kyok_group *group, bool login,
                                    struct kyok_deadline deadline, struct kyok_lease *lease,
                                    CK_RV *rv, struct kyok_error *err)
{
    enum kyok_status status;

    *rv = CKR_OK;
    *lease = (struct kyok_lease){.token = token, .f = token->module->f};
    KYOK_TRY(kyok_module_ready(token->module, false, deadline, err));
    if (!kyok_module_enter(token->module, &lease->guard, deadline))
        return kyok_fail(err, KYOK_TIMEOUT, token->module->path, "the module is being restarted");
    pthread_mutex_lock(&token->module->lock);
    lease->module_epoch = token->module->epoch;
    status = obtain(lease, deadline, rv, err);
    if (status == KYOK_OK) {
        lease->epoch = lease->session->epoch;
        lease->handle = lease->session->handle;
        if (login && token->login != KYOK_LOGGED_IN)
            status = kyok_token_login(lease, group, deadline, rv, err);
    } else {
        lease->epoch = token->epoch;
    }
    pthread_mutex_unlock(&token->module->lock);
    if (status != KYOK_OK)
        kyok_session_release(lease, *rv);
    return status;
}

/* After these the session may hold an active operation, or is gone. */
static bool is_spoiled(CK_RV rv)
{
    return rv != CKR_OK && rv != CKR_KEY_HANDLE_INVALID && rv != CKR_MECHANISM_INVALID &&
           rv != CKR_OBJECT_HANDLE_INVALID && rv != CKR_USER_NOT_LOGGED_IN;
}

static void count(struct kyok_token *token, const struct kyok_session *session)
{
    int64_t took_ns = kyok_now_ns() - session->since_ns;
    unsigned bucket = 0;

    while (bucket < KYOK_LATENCY_BUCKETS - 1 && took_ns / 250000 >= INT64_C(1) << bucket)
        bucket++;
    token->latency[bucket]++;
    token->took_ns += (uint64_t)took_ns;
    token->operations++;
    if (token->health != KYOK_HEALTHY || !token->present)
        kyok_token_up(token);
}

/* Under the lock, before a session is closed or counted as lost. */
static void end_life(struct kyok_token *token)
{
    token->live--;
    if (token->live == 0 && token->login == KYOK_LOGGED_IN)
        token->login = KYOK_LOGGED_OUT; /* PKCS#11 2.40 5.6: the last session takes it along */
}

static void give_back(struct kyok_token *token, struct kyok_session *session, CK_RV rv)
{
    bool denied = rv == CKR_KEY_HANDLE_INVALID || rv == CKR_OBJECT_HANDLE_INVALID ||
                  rv == CKR_USER_NOT_LOGGED_IN;

    remove_leased(token, session);
    session->epoch = token->epoch;
    session->denied_ns = denied ? kyok_now_ns() : 0;
    session->next = token->idle;
    token->idle = session;
    kyok_token_wake(token);
}

static void end_lease(struct kyok_lease *lease, CK_RV rv)
{
    struct kyok_token *token = lease->token;
    struct kyok_session *session = lease->session;
    bool keep;

    pthread_mutex_lock(&token->module->lock);
    if (rv == CKR_OK)
        count(token, session);
    /* The token has just taken it: whatever was renewed meanwhile, it was not this one. */
    keep = !is_spoiled(rv);
    if (keep)
        give_back(token, session, rv);
    else
        end_life(token);
    pthread_mutex_unlock(&token->module->lock);
    if (keep)
        return;
    /* Whatever else failed, a session that was accepted lives on: close it. One that was not may by
     * now be the number of another thread's. */
    if (kyok_rv_rung(rv) < KYOK_RUNG_SESSION)
        (void)lease->f->C_CloseSession(session->handle);
    pthread_mutex_lock(&token->module->lock);
    drop(token, session);
    pthread_mutex_unlock(&token->module->lock);
}

void kyok_session_release(struct kyok_lease *lease, CK_RV rv)
{
    if (lease->session != NULL)
        end_lease(lease, rv);
    lease->session = NULL;
    kyok_module_leave(&lease->guard);
}
