/* SPDX-License-Identifier: Apache-2.0 */
/* Which tokens are a group's members in this process: modules searched, tokens joined. */
#include "common/pkcs11/live.h"
#include "common/pkcs11/state.h"

#include <p11-kit/p11-kit.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* --- this process's view --- */

struct kyok_live_group *kyok_group_live(struct kyok_group *group)
{
    struct kyok_pkcs11_state *state = kyok_pkcs11_state();
    struct kyok_live_group *live;

    if (state == NULL)
        return NULL;
    pthread_mutex_lock(&state->lock);
    for (live = state->groups; live != NULL && live->group != group->serial;)
        live = live->next;
    if (live == NULL && (live = calloc(1, sizeof(*live))) != NULL) {
        live->group = group->serial;
        live->members = calloc(KYOK_GROUP_MEMBERS, sizeof(struct kyok_token *));
        pthread_mutex_init(&live->lock, NULL);
        live->next = state->groups;
        state->groups = live;
    }
    pthread_mutex_unlock(&state->lock);
    return live;
}

/* p11-kit is asked once, before any fork if possible: its lock may be held in a child. */
static char **search_modules(void)
{
    CK_FUNCTION_LIST **list = p11_kit_modules_load(NULL, P11_KIT_MODULE_UNMANAGED);
    size_t count = 0;
    char **paths;

    while (list != NULL && list[count] != NULL)
        count++;
    paths = calloc(count + 1, sizeof(*paths));
    for (size_t i = 0, n = 0; paths != NULL && i < count; i++) {
        char *path = p11_kit_module_get_filename(list[i]);

        if (path != NULL)
            paths[n++] = path;
    }
    if (list != NULL)
        p11_kit_modules_release(list);
    return paths;
}

static char **searched_modules(struct kyok_group *group)
{
    char **known = atomic_load(&group->searched), **none = NULL;

    if (known != NULL)
        return known;
    known = search_modules();
    if (known == NULL || atomic_compare_exchange_strong(&group->searched, &none, known))
        return known;
    for (size_t i = 0; known[i] != NULL; i++)
        free(known[i]);
    free(known);
    return none;
}

/* The module of one member URI: its own (a group of several vendors), else the section's. */
static const char *module_of(const struct kyok_group *group, const struct kyok_reference *uri)
{
    if (uri != NULL && uri->module_path != NULL)
        return uri->module_path;
    if (uri != NULL && uri->module_name != NULL)
        return uri->module_name;
    return group->config->module;
}

/* The paths to look through: each module once, NULL-ended. Borrowed texts in an array of the
 * caller. */
static char **list_modules(struct kyok_group *group)
{
    char **searched = NULL, **paths;
    size_t count = 0, more = 0;

    for (size_t i = 0; i < group->uri_count || i == 0; i++) {
        if (module_of(group, group->uri_count == 0 ? NULL : group->uris[i]) == NULL)
            searched = searched_modules(group);
    }
    while (searched != NULL && searched[more] != NULL)
        more++;
    paths = calloc(group->uri_count + more + 2, sizeof(*paths));
    for (size_t i = 0; paths != NULL && (i < group->uri_count || i == 0); i++) {
        const char *path = module_of(group, group->uri_count == 0 ? NULL : group->uris[i]);
        bool known = path == NULL;

        for (size_t j = 0; j < count && !known; j++)
            known = strcmp(paths[j], path) == 0;
        if (!known)
            paths[count++] = (char *)path;
    }
    for (size_t i = 0; paths != NULL && i < more; i++)
        paths[count++] = searched[i];
    return paths;
}

const struct kyok_reference *kyok_group_uri_of(const struct kyok_group *group,
                                               const struct kyok_token *token)
{
    for (size_t i = 0; i < group->uri_count; i++) {
        const char *path = module_of(group, group->uris[i]);

        if ((path == NULL || kyok_module_is_named(token->module, path)) &&
            kyok_token_fits(token, group->uris[i]))
            return group->uris[i];
    }
    return NULL;
}

static bool is_member(const struct kyok_group *group, const struct kyok_token *token)
{
    return group->uri_count == 0 || kyok_group_uri_of(group, token) != NULL;
}

static void join(struct kyok_group *group, struct kyok_live_group *live, struct kyok_token *token)
{
    unsigned limit = group->config->sessions;

    for (size_t i = 0; i < live->member_count; i++) {
        if (live->members[i] == token)
            return;
    }
    if (live->member_count == KYOK_GROUP_MEMBERS)
        return;
    live->members[live->member_count++] = token;
    if (limit != 0 && (token->limit == 0 || limit < token->limit))
        token->limit = limit;
}

static void join_all(struct kyok_group *group, struct kyok_live_group *live,
                     struct kyok_module *module)
{
    pthread_mutex_lock(&live->lock);
    pthread_mutex_lock(&module->lock);
    for (struct kyok_token *token = module->tokens; token != NULL; token = token->next) {
        if (token->present && is_member(group, token))
            join(group, live, token);
    }
    pthread_mutex_unlock(&module->lock);
    pthread_mutex_unlock(&live->lock);
}

static bool has_members(struct kyok_live_group *live)
{
    bool has;

    pthread_mutex_lock(&live->lock);
    has = live->member_count > 0;
    pthread_mutex_unlock(&live->lock);
    return has;
}

/* SoftHSM looks for tokens in C_Initialize alone, and passes over one that another process's login
 * is just writing [2.6.1]: with no member at all the module is started a few times more. */
static enum kyok_status scan_for(struct kyok_group *group, struct kyok_live_group *live,
                                 struct kyok_module *module, struct kyok_deadline deadline,
                                 struct kyok_error *err)
{
    KYOK_TRY(kyok_module_ready(module, true, deadline, err));
    join_all(group, live, module);
    for (unsigned n = 0;
         n < KYOK_LOOKS && !has_members(live) && kyok_module_look_anew(module, n > 0, deadline);
         n++)
        join_all(group, live, module);
    return KYOK_OK;
}

static bool due(struct kyok_live_group *live, bool again)
{
    int64_t now = kyok_now_ns();
    bool due;

    pthread_mutex_lock(&live->lock);
    due = live->member_count == 0 || (again && now - live->discovered_ns > KYOK_DISCOVER_NS);
    if (due)
        live->discovered_ns = now;
    pthread_mutex_unlock(&live->lock);
    return due;
}

static bool start_afresh_due(struct kyok_live_group *live)
{
    int64_t now = kyok_now_ns();
    bool due;

    pthread_mutex_lock(&live->lock);
    due = live->member_count == 0 &&
          (live->afresh_ns == 0 || now - live->afresh_ns > KYOK_DISCOVER_NS);
    if (due)
        live->afresh_ns = now;
    pthread_mutex_unlock(&live->lock);
    return due;
}

/* A module may read its tokens when it is initialised and never again, and then miss one that
 * another process is just writing (SoftHSM 2.6.1, whose C_Login writes the token: nginx's workers
 * log in at the same time). So where no member is found at all, the module is started once more. */
static void start_afresh(struct kyok_group *group, struct kyok_live_group *live, char **paths,
                         struct kyok_deadline deadline)
{
    struct kyok_module *module;
    struct kyok_error ignored;
    uint64_t epoch;

    for (size_t i = 0; paths[i] != NULL; i++) {
        if (kyok_module_get(paths[i], group->config->init_args, &module, &ignored) != KYOK_OK)
            continue;
        pthread_mutex_lock(&module->lock);
        epoch = module->epoch;
        pthread_mutex_unlock(&module->lock);
        if (kyok_module_restart(module, NULL, epoch, deadline))
            join_all(group, live, module);
    }
}

enum kyok_status kyok_group_discover(struct kyok_group *group, bool again,
                                     struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_live_group *live = kyok_group_live(group);
    struct kyok_error failed = {.status = KYOK_OK};
    KYOK_AUTO_FREE char **paths = NULL;
    enum kyok_status status;
    bool any = false;

    if (live == NULL || live->members == NULL)
        return kyok_fail(err, KYOK_SYSTEM, group->config->name, "no memory");
    if (!due(live, again))
        return KYOK_OK;
    paths = list_modules(group);
    for (size_t i = 0; paths != NULL && paths[i] != NULL; i++) {
        struct kyok_module *module;

        status = kyok_module_get(paths[i], group->config->init_args, &module, err);
        if (status == KYOK_OK)
            status = scan_for(group, live, module, deadline, err);
        if (status != KYOK_OK)
            failed = *err; /* one vendor's absence must not hide the others */
        any |= status == KYOK_OK;
    }
    if (!any && failed.status != KYOK_OK) {
        *err = failed;
        return err->status;
    }
    if (any && start_afresh_due(live))
        start_afresh(group, live, paths, deadline);
    return KYOK_OK;
}

bool kyok_group_look_anew(struct kyok_group *group, struct kyok_deadline deadline)
{
    struct kyok_live_group *live = kyok_group_live(group);
    KYOK_AUTO_FREE char **paths = list_modules(group);
    bool any = false;

    for (size_t i = 0; live != NULL && paths != NULL && paths[i] != NULL; i++) {
        struct kyok_module *module;
        struct kyok_error ignored;

        if (kyok_module_get(paths[i], group->config->init_args, &module, &ignored) != KYOK_OK ||
            !kyok_module_look_anew(module, true, deadline))
            continue;
        join_all(group, live, module);
        any = true;
    }
    return any;
}

size_t kyok_group_members(struct kyok_group *group, const struct kyok_reference *reference,
                          struct kyok_token **members, size_t room)
{
    struct kyok_live_group *live = kyok_group_live(group);
    size_t count = 0;

    if (live == NULL)
        return 0;
    pthread_mutex_lock(&live->lock);
    for (size_t i = 0; i < live->member_count && count < room; i++) {
        if (group->uri_count > 0 || reference == NULL ||
            kyok_token_fits(live->members[i], reference))
            members[count++] = live->members[i];
    }
    pthread_mutex_unlock(&live->lock);
    return count;
}

bool kyok_group_may_hold(struct kyok_group *group, const struct kyok_reference *reference)
{
    struct kyok_token *members[KYOK_GROUP_MEMBERS];
    size_t count = kyok_group_members(group, NULL, members, KYOK_GROUP_MEMBERS);

    if (count == 0 || count < group->uri_count)
        return true;
    for (size_t i = 0; i < count; i++)
        if (kyok_token_fits(members[i], reference))
            return true;
    return group->uri_count == 0;
}

enum kyok_status kyok_group_matches(struct kyok_group *group,
                                    const struct kyok_reference *reference, bool *matches,
                                    struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_token *members[KYOK_GROUP_MEMBERS];
    size_t count;

    *matches = false;
    KYOK_TRY(kyok_group_discover(group, false, deadline, err));
    count = kyok_group_members(group, NULL, members, KYOK_GROUP_MEMBERS);
    for (size_t i = 0; i < count; i++)
        *matches |= kyok_token_fits(members[i], reference);
    return KYOK_OK;
}
