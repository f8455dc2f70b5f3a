/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's secret driver, and nothing else of libvirt. */
#ifndef KYOK_HOOK_SECRETS_H
#define KYOK_HOOK_SECRETS_H

#include "common/base/base.h"
#include "common/disk/uuid.h"

struct secrets; /* a connection */

/* What the domain's XML calls a secret. */
struct secret_name {
    char uuid[KYOK_UUID_TEXT]; /* "" when only usage is given */
    const char *usage;         /* NULL when the UUID is given */
    bool vtpm;
};

enum secret_state {
    SECRET_ABSENT,
    SECRET_OURS,   /* ephemeral, private, and described as kyok's */
    SECRET_FOREIGN /* anything else: never touched */
};

enum kyok_status secrets_connect(struct secrets **secrets, struct kyok_error *err);
void secrets_close(struct secrets *secrets); /* NULL is allowed */

/* Fills name->uuid from libvirt for one that exists. */
enum kyok_status secrets_find(struct secrets *secrets, struct secret_name *name,
                              enum secret_state *state, struct kyok_error *err);
/* Defines it ephemeral and private, and sets its value. name->uuid must be set. */
enum kyok_status secrets_set(struct secrets *secrets, const struct secret_name *name,
                             const char *description, struct kyok_bytes value,
                             struct kyok_error *err);
/* libvirt's XML of it, ephemeral and private, NUL-terminated. */
bool secrets_xml(const struct secret_name *name, const char *description, struct kyok_buffer *xml);
/* Removes one of kyok's; leaves what is absent or foreign. */
enum kyok_status secrets_remove(struct secrets *secrets, const char *uuid, struct kyok_error *err);

#endif
