/* SPDX-License-Identifier: Apache-2.0 */
/* One operation: on a token with recovery, on a group with failover. */
#include "common/pkcs11/live.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MISSING_AGAIN_NS INT64_C(3000000000)
#define MISSING_FIRST_NS INT64_C(100000000)

/* --- the key on the leased session's token --- */

/* One wrong answer of a token costs little; one that goes on lacking the key, or has another
 * (refused), is seldom asked. */
static void pause_search(struct kyok_handle *fresh, const struct kyok_handle *before, bool refused)
{
    int64_t now = kyok_now_ns();
    int64_t pause = MISSING_AGAIN_NS;

    if (!refused && before->epoch == fresh->epoch)
        fresh->misses = before->misses + (now >= before->retry_ns ? 1 : 0);
    if (!refused && fresh->misses < 5)
        pause = MISSING_FIRST_NS << fresh->misses;
    fresh->retry_ns = now + pause;
}

static void store_handle(const struct kyok_lease *lease, uint64_t key, struct kyok_handle *fresh,
                         const struct kyok_error *why)
{
    struct kyok_token *token = lease->token;
    struct kyok_handle *entry;

    pthread_mutex_lock(&token->module->lock);
    entry = kyok_token_handle(token, key, true);
    if (entry != NULL) {
        struct kyok_error *text = entry->why;

        if (fresh->found != KYOK_FOUND)
            pause_search(fresh, entry, why->status == KYOK_REFUSED);
        *entry = *fresh;
        entry->why = text;
        if (fresh->found != KYOK_FOUND &&
            (text != NULL || (text = malloc(sizeof(*text))) != NULL)) {
            *text = *why;
            entry->why = text;
        }
    }
    pthread_mutex_unlock(&token->module->lock);
}

void kyok_token_remember(const struct kyok_lease *lease, const struct kyok_group_key *key,
                         CK_OBJECT_HANDLE object)
{
    struct kyok_handle handle = {
        .key = key->serial, .epoch = lease->epoch, .handle = object, .found = KYOK_FOUND};

    store_handle(lease, key->serial, &handle, NULL);
}

/* What is known of key there: false when it has to be sought. */
static bool known_handle(const struct kyok_lease *lease, uint64_t key, struct kyok_handle *known,
                         struct kyok_error *err)
{
    struct kyok_token *token = lease->token;
    struct kyok_handle *entry;
    bool usable;

    pthread_mutex_lock(&token->module->lock);
    entry = kyok_token_handle(token, key, false);
    usable = entry != NULL && entry->epoch == lease->epoch && entry->found != KYOK_NOT_SOUGHT &&
             (entry->found == KYOK_FOUND || kyok_now_ns() < entry->retry_ns);
    if (usable) {
        *known = *entry;
        if (entry->found != KYOK_FOUND && entry->why != NULL)
            *err = *entry->why;
        else if (entry->found != KYOK_FOUND)
            kyok_fail(err, KYOK_NOT_FOUND, token->label, "the token lacks the key");
    }
    pthread_mutex_unlock(&token->module->lock);
    return usable;
}

static CK_RV find_key(const struct kyok_lease *lease, const struct kyok_group_key *key,
                      CK_OBJECT_HANDLE *object, bool *next_member, struct kyok_error *err)
{
    struct kyok_handle handle = {.key = key->serial, .epoch = lease->epoch};
    CK_RV rv = CKR_OK;

    if (!known_handle(lease, key->serial, &handle, err)) {
        rv = kyok_key_resolve(lease, key, &handle.handle, &handle.found, err);
        if (rv != CKR_OK)
            return rv;
        store_handle(lease, key->serial, &handle, err);
    }
    *object = handle.handle;
    *next_member = handle.found != KYOK_FOUND;
    return CKR_OK;
}

static CK_RV attempt(const struct kyok_lease *lease, struct kyok_group *group,
                     const struct kyok_group_key *key, const struct kyok_plan *plan,
                     bool *next_member, struct kyok_error *err)
{
    struct kyok_call call = {.lease = lease, .group = group, .key = key};
    CK_RV rv = CKR_OK;

    err->status = KYOK_OK;
    if (key != NULL)
        rv = find_key(lease, key, &call.object, next_member, err);
    if (rv != CKR_OK || err->status != KYOK_OK)
        return rv;
    return plan->attempt(&call, plan->arg, err);
}

/* --- recovery --- */

static void forget_handle(struct kyok_token *token, const struct kyok_group_key *key,
                          uint64_t epoch)
{
    struct kyok_handle *entry = key == NULL ? NULL : kyok_token_handle(token, key->serial, false);

    if (entry != NULL && entry->epoch == epoch)
        entry->found = KYOK_NOT_SOUGHT;
}

/* Renews what the rung says, once for all threads that saw the same epoch. */
static void climb(enum kyok_rung rung, const struct kyok_lease *seen,
                  const struct kyok_group_key *key, CK_RV rv, struct kyok_deadline deadline)
{
    struct kyok_token *token = seen->token;
    struct kyok_module *module = token->module;
    bool restarted = rung == KYOK_RUNG_MODULE && rv != CKR_CRYPTOKI_NOT_INITIALIZED &&
                     kyok_module_restart(module, token, seen->module_epoch, deadline);

    pthread_mutex_lock(&module->lock);
    if (rv == CKR_CRYPTOKI_NOT_INITIALIZED && module->epoch == seen->module_epoch &&
        module->state == KYOK_MODULE_READY) {
        module->state = KYOK_MODULE_COLD; /* somebody finalised it: the next lease initialises */
        module->epoch++;
    }
    /* A login that is lost is the first sign of a restart to some threads, a session to others:
     * both end the epoch, so that whoever comes second finds it renewed and logs in no second time.
     */
    if (rung >= KYOK_RUNG_LOGIN && !restarted)
        kyok_token_renew(token, seen->epoch, deadline);
    if (rung <= KYOK_RUNG_LOGIN)
        forget_handle(token, key, seen->epoch);
    pthread_mutex_unlock(&module->lock);
}

static enum kyok_rung next_rung(CK_RV rv, enum kyok_rung climbed)
{
    enum kyok_rung rung = kyok_rv_rung(rv);

    if (rung == KYOK_RUNG_NONE || rung > climbed)
        return rung;
    return climbed == KYOK_RUNG_MODULE ? KYOK_RUNG_NONE : climbed + 1;
}

static enum kyok_status lost(struct kyok_token *token, const struct kyok_group_key *key,
                             const struct kyok_plan *plan, CK_RV rv, bool *next_member,
                             struct kyok_error *err)
{
    char text[128], what[200];
    enum kyok_status status = kyok_rv_status(rv);

    kyok_token_text(token, text, sizeof(text));
    snprintf(what, sizeof(what), "%s failed on %s", plan->verb, text);
    kyok_rv_fail(err, rv, key == NULL ? NULL : key->reference->text, what);
    if (status == KYOK_UNREACHABLE) {
        pthread_mutex_lock(&token->module->lock);
        kyok_token_down(token);
        pthread_mutex_unlock(&token->module->lock);
    }
    *next_member = status == KYOK_UNREACHABLE || status == KYOK_UNSUPPORTED || status == KYOK_BUSY;
    return status;
}

enum kyok_status kyok_token_call(struct kyok_token *token, struct kyok_group *group,
                                 const struct kyok_group_key *key, const struct kyok_plan *plan,
                                 struct kyok_deadline deadline, bool *next_member,
                                 struct kyok_error *err)
{
    enum kyok_rung climbed = KYOK_RUNG_NONE, rung;
    struct kyok_lease lease;
    bool begun;
    CK_RV rv;

    for (;;) {
        *next_member = false;
        begun = kyok_session_lease(token, group, plan->login || key != NULL, deadline, &lease, &rv,
                                   err) == KYOK_OK;
        if (!begun && rv == CKR_OK) {
            *next_member = true;
            return err->status;
        }
        if (begun) {
            rv = attempt(&lease, group, key, plan, next_member, err);
            kyok_session_release(&lease, rv);
            if (rv == CKR_OK) {
                *next_member |= plan->ask_all && err->status == KYOK_NOT_FOUND;
                return err->status;
            }
        }
        /* The login of one operation has said more than its CK_RV does. */
        if (begun && kyok_rv_status(rv) == KYOK_PIN && err->status != KYOK_OK) {
            *next_member = true;
            return err->status;
        }
        rung = next_rung(rv, climbed);
        if (begun && plan->write && rung >= KYOK_RUNG_SESSION)
            rung = KYOK_RUNG_NONE;
        if (!begun && kyok_rv_status(rv) == KYOK_PIN) {
            *next_member = true;
            return err->status;
        }
        if (rung == KYOK_RUNG_NONE || kyok_deadline_passed(deadline))
            return lost(token, key, plan, rv, next_member, err);
        climb(rung, &lease, key, rv, deadline);
        climbed = rung;
    }
}

bool kyok_call_is_late(struct kyok_deadline deadline, const char *verb, const char *object,
                       struct kyok_error *err)
{
    if (!kyok_deadline_passed(deadline))
        return false;
    kyok_fail(err, KYOK_TIMEOUT, object, "%s given up at its deadline, before anything was changed",
              verb);
    kyok_remedy(err, "see whether the custodian answers, or raise its timeout");
    return true;
}

/* --- the group --- */

enum fitness { READY, AWAY, HUNG };

static enum fitness fitness_of(struct kyok_token *token, unsigned timeout_ms, unsigned *leased)
{
    enum fitness fitness = READY;

    pthread_mutex_lock(&token->module->lock);
    *leased = token->leased;
    if (kyok_token_hung(token, timeout_ms))
        fitness = HUNG;
    else if (token->health == KYOK_DOWN || !token->present)
        fitness = AWAY;
    pthread_mutex_unlock(&token->module->lock);
    return fitness;
}

struct choice {
    struct kyok_token *members[KYOK_GROUP_MEMBERS];
    size_t count;
    bool tried[KYOK_GROUP_MEMBERS];
    bool hung, away;
};

/* The least busy healthy member; else one that is away, since it may be back. Never a hanging one.
 */
static struct kyok_token *choose(struct kyok_group *group, struct choice *choice)
{
    unsigned least = 0, leased, turn = atomic_fetch_add(&group->turn, 1);
    enum fitness best_fitness = HUNG;
    size_t best = choice->count;

    for (size_t n = 0; n < choice->count; n++) {
        size_t i = (n + turn) % choice->count;
        enum fitness fitness;

        if (choice->tried[i])
            continue;
        fitness = fitness_of(choice->members[i], group->config->timeout_ms, &leased);
        choice->hung |= fitness == HUNG;
        choice->away |= fitness == AWAY;
        if (fitness < best_fitness ||
            (fitness == best_fitness && fitness != HUNG && leased < least)) {
            best_fitness = fitness;
            best = i;
            least = leased;
        }
    }
    if (best == choice->count)
        return NULL;
    choice->tried[best] = true;
    return choice->members[best];
}

static void tell_failover(struct kyok_group *group, const struct kyok_group_key *key,
                          struct kyok_token *token, const struct kyok_error *err)
{
    struct kyok_event event = {.type = "failover",
                               .key = key == NULL ? NULL : key->reference->text,
                               .custodian = group->config->name,
                               .result = kyok_status_name(err->status),
                               .detail = err->what};

    pthread_mutex_lock(&token->module->lock);
    token->failovers++;
    pthread_mutex_unlock(&token->module->lock);
    kyok_event_emit(&event);
}

static enum kyok_status nobody(struct kyok_group *group, const struct choice *choice,
                               const struct kyok_plan *plan, struct kyok_error *err)
{
    if (choice->hung) {
        kyok_fail(err, KYOK_TIMEOUT, group->config->name,
                  "%s not tried: a call to every reachable token has been pending for more than "
                  "%u ms",
                  plan->verb, group->config->timeout_ms);
        return kyok_remedy(err, "check the HSM and its client daemon");
    }
    kyok_fail(err, KYOK_UNREACHABLE, group->config->name, "no token of the group is present");
    return kyok_remedy(err, "check module and uri in %s", group->config->where);
}

static bool is_present(struct kyok_token *token)
{
    bool present;

    pthread_mutex_lock(&token->module->lock);
    present = token->present;
    pthread_mutex_unlock(&token->module->lock);
    return present;
}

/* A key is made in one token, and which one must be said. */
static enum kyok_status restrict_to_one(struct kyok_group *group, const struct kyok_plan *plan,
                                        struct choice *choice, struct kyok_error *err)
{
    size_t kept = 0;

    for (size_t i = 0; i < choice->count; i++) {
        if (is_present(choice->members[i]) && kyok_token_fits(choice->members[i], plan->reference))
            choice->members[kept++] = choice->members[i];
    }
    choice->count = kept;
    if (kept == 1)
        return KYOK_OK;
    if (kept == 0)
        return kyok_fail(err, KYOK_NOT_FOUND, plan->reference->text,
                         "no present token of group %s fits", group->config->name);
    kyok_fail(err, KYOK_AMBIGUOUS, plan->reference->text, "%zu tokens of group %s fit", kept,
              group->config->name);
    return kyok_remedy(err, "name one of them with token= or serial= in the reference");
}

enum kyok_status kyok_group_call(struct kyok_group *group, const struct kyok_group_key *key,
                                 const struct kyok_plan *plan, struct kyok_deadline deadline,
                                 struct kyok_error *err)
{
    struct choice choice = {.count = 0};
    struct kyok_token *token;
    enum kyok_status status;
    bool next_member = true, any = false;

    KYOK_TRY(kyok_group_discover(group, false, deadline, err));
    choice.count = kyok_group_members(group, key == NULL ? plan->reference : key->reference,
                                      choice.members, KYOK_GROUP_MEMBERS);
    if (plan->one_member)
        KYOK_TRY(restrict_to_one(group, plan, &choice, err));
    else if (key == NULL && plan->reference != NULL && !kyok_group_may_hold(group, plan->reference))
        return kyok_fail(err, KYOK_NOT_FOUND, plan->reference->text,
                         "no token of group %s is as the reference says", group->config->name);
    while (next_member && (token = choose(group, &choice)) != NULL) {
        struct kyok_error earlier = *err;
        bool had_earlier = any;

        any = true;
        status = kyok_token_call(token, group, key, plan, deadline, &next_member, err);
        if (status == KYOK_OK) {
            if (choice.away || had_earlier || choice.count < group->uri_count)
                kyok_group_look_after(group);
            return KYOK_OK;
        }
        if (plan->write || kyok_deadline_passed(deadline))
            return status;
        /* An answer says more than an absence: keep the first error unless this one is one. */
        if (had_earlier && next_member && earlier.status != KYOK_UNREACHABLE)
            *err = earlier;
        if (next_member && choice.count > 1)
            tell_failover(group, key, token, err);
    }
    kyok_group_look_after(group);
    return any ? err->status : nobody(group, &choice, plan, err);
}

/* --- mechanisms --- */

static bool ask_mechanism(const struct kyok_lease *lease, CK_MECHANISM_TYPE mechanism,
                          CK_FLAGS *flags)
{
    CK_MECHANISM_INFO info;

    if (lease->f->C_GetMechanismInfo(lease->token->slot, mechanism, &info) != CKR_OK)
        return false;
    *flags = info.flags;
    return true;
}

bool kyok_token_can(const struct kyok_lease *lease, CK_MECHANISM_TYPE mechanism, CK_FLAGS flags)
{
    struct kyok_token *token = lease->token;
    struct kyok_mechanism_answer answer = {.mechanism = mechanism, .epoch = lease->epoch};
    size_t at = mechanism % KYOK_MECHANISM_CACHE;

    pthread_mutex_lock(&token->module->lock);
    if (token->mechanisms[at].known && token->mechanisms[at].mechanism == mechanism &&
        token->mechanisms[at].epoch == lease->epoch)
        answer = token->mechanisms[at];
    pthread_mutex_unlock(&token->module->lock);
    if (!answer.known) {
        answer.present = ask_mechanism(lease, mechanism, &answer.flags);
        answer.known = true;
        pthread_mutex_lock(&token->module->lock);
        token->mechanisms[at] = answer;
        pthread_mutex_unlock(&token->module->lock);
    }
    return answer.present && (answer.flags & flags) == flags;
}
