/* SPDX-License-Identifier: Apache-2.0 */
/* A process that goes on without a group: what it holds open at the group's tokens is closed. */
#include "common/pkcs11/live.h"

static bool has_member(struct kyok_group *group, const struct kyok_token *token)
{
    struct kyok_token *members[KYOK_GROUP_MEMBERS];
    size_t count = kyok_group_members(group, NULL, members, KYOK_GROUP_MEMBERS);

    while (count > 0 && members[count - 1] != token)
        count--;
    return count > 0;
}

static void close_idle(struct kyok_token *token, struct kyok_deadline deadline)
{
    pthread_mutex_lock(&token->module->lock);
    kyok_token_renew(token, token->epoch, deadline);
    pthread_mutex_unlock(&token->module->lock);
}

void kyok_group_leave(struct kyok_group *group, struct kyok_group *const *kept, size_t kept_count,
                      struct kyok_deadline deadline)
{
    struct kyok_token *members[KYOK_GROUP_MEMBERS];
    size_t count = kyok_group_members(group, NULL, members, KYOK_GROUP_MEMBERS);

    for (size_t i = 0; i < count; i++) {
        bool wanted = false;

        for (size_t k = 0; k < kept_count; k++)
            wanted |= has_member(kept[k], members[i]);
        if (!wanted)
            close_idle(members[i], deadline);
    }
}
