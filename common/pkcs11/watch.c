/* SPDX-License-Identifier: Apache-2.0 */
/* Members that are away are looked after beside the callers; what all of them do is told here. */
#include "common/pkcs11/live.h"

#include <string.h>

#define PROBE_MS 5000

/* --- members that are away --- */

static bool needs_probe(struct kyok_token *token)
{
    bool needs;

    pthread_mutex_lock(&token->module->lock);
    needs = (token->health == KYOK_DOWN || !token->present) && kyok_now_ns() >= token->retry_ns;
    pthread_mutex_unlock(&token->module->lock);
    return needs;
}

static CK_RV nothing(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    CK_SESSION_INFO info;

    (void)arg;
    (void)err;
    return call->lease->f->C_GetSessionInfo(call->lease->handle, &info);
}

static void probing_ended(struct kyok_live_group *live)
{
    pthread_mutex_lock(&live->lock);
    live->probing = false;
    pthread_mutex_unlock(&live->lock);
}

/* Runs beside the callers: a lost member costs them nothing. */
static void probe(void *arg)
{
    struct kyok_group *group = arg;
    struct kyok_live_group *live = kyok_group_live(group);
    struct kyok_plan plan = {.verb = "probe", .attempt = nothing, .login = true};
    struct kyok_deadline deadline = kyok_deadline_in_ms(PROBE_MS);
    struct kyok_token *members[KYOK_GROUP_MEMBERS];
    struct kyok_error err;
    bool next_member;
    size_t count;

    (void)kyok_group_discover(group, true, deadline, &err);
    count = kyok_group_members(group, NULL, members, KYOK_GROUP_MEMBERS);
    for (size_t i = 0; i < count; i++) {
        if (needs_probe(members[i]))
            (void)kyok_token_call(members[i], group, NULL, &plan, deadline, &next_member, &err);
    }
    probing_ended(live);
}

static bool someone_is_due(struct kyok_group *group, struct kyok_live_group *live)
{
    struct kyok_token *members[KYOK_GROUP_MEMBERS];
    size_t count = kyok_group_members(group, NULL, members, KYOK_GROUP_MEMBERS);
    bool due = count < group->uri_count && kyok_now_ns() - live->discovered_ns > KYOK_DISCOVER_NS;

    for (size_t i = 0; i < count; i++)
        due |= needs_probe(members[i]);
    return due;
}

void kyok_group_look_after(struct kyok_group *group)
{
    struct kyok_live_group *live = kyok_group_live(group);
    bool begin;

    if (live == NULL || group->background == NULL || !someone_is_due(group, live))
        return;
    pthread_mutex_lock(&live->lock);
    begin = !live->probing;
    live->probing |= begin;
    pthread_mutex_unlock(&live->lock);
    if (begin && !group->background(group->background_host, probe, group))
        probing_ended(live); /* no thread to be had now: the next caller tries again */
}

/* --- figures --- */

static void fill_figures(struct kyok_group *group, struct kyok_token *token,
                         struct kyok_custodian_figures *figures)
{
    pthread_mutex_lock(&token->module->lock);
    *figures = (struct kyok_custodian_figures){
        .custodian = group->config->name,
        .member = token->label,
        .state = kyok_token_hung(token, group->config->timeout_ms) ? "hung"
                 : !token->present                                 ? "absent"
                 : token->health == KYOK_DOWN                      ? "down"
                                                                   : "healthy",
        .operations = token->operations,
        .failures = token->failures,
        .timeouts = token->timeouts,
        .failovers = token->failovers,
        .logins = token->logins,
        .in_flight = token->leased,
        .sessions = token->open,
        .took_ns = token->took_ns,
    };
    memcpy(figures->latency, token->latency, sizeof(token->latency));
    pthread_mutex_unlock(&token->module->lock);
}

void kyok_group_figures(struct kyok_group *group, kyok_member_visitor *visit, void *caller)
{
    struct kyok_token *members[KYOK_GROUP_MEMBERS];
    size_t count = kyok_group_members(group, NULL, members, KYOK_GROUP_MEMBERS);

    for (size_t i = 0; i < count; i++) {
        struct kyok_custodian_figures figures;

        fill_figures(group, members[i], &figures);
        visit(caller, &figures);
    }
}
