/* SPDX-License-Identifier: Apache-2.0 */
/* One item of a request while the scripted KMIP server answers it: what its operations share. */
#ifndef KYOK_TESTS_KMIP_SERVER_WORK_H
#define KYOK_TESTS_KMIP_SERVER_WORK_H

#include "tests/support/kmip_server.h"

struct server_work {
    struct server *server;
    const char *client;
    unsigned version;
    struct kyok_kmip_arena *arena;
    const struct kyok_kmip_request_item *item;
    struct kyok_kmip_response_item *answer;
};

void server_refuse(struct server_work *work, enum kyok_kmip_result_reason reason,
                   const char *message);
/* The object (an active one), or NULL with the answer filled. */
struct server_object *server_object_for(struct server_work *work, struct kyok_bytes id);
struct server_object *server_active_for(struct server_work *work, struct kyok_bytes id);
struct kyok_bytes server_id_of(const struct server_object *object);

/* Operations that make objects. */
void server_create(struct server_work *work);
void server_re_key(struct server_work *work);
void server_create_key_pair(struct server_work *work);
void server_derive_key(struct server_work *work);
void server_register(struct server_work *work);

#endif
