/* SPDX-License-Identifier: Apache-2.0 */
/* Between the kmip_operations_*.c files: one run over the operations that no verb of kyok uses. */
#ifndef KYOK_TESTS_KMIP_OPERATIONS_H
#define KYOK_TESTS_KMIP_OPERATIONS_H

#include "common/kmip/kmip.h"

struct operations_run {
    struct kyok_kmip_client *client;
    unsigned version; /* 14 */
    struct kyok_kmip_created secret, target, pair;
    uint8_t secret_key[32], target_key[32]; /* as Get returns them */
};

typedef enum kyok_status operations_test(struct operations_run *run, struct kyok_error *err);

struct kyok_bytes operations_id(const struct kyok_kmip_created *created);
enum kyok_status operations_call(struct operations_run *run,
                                 const struct kyok_kmip_request_item *item,
                                 struct kyok_kmip_reply *reply, struct kyok_error *err);
/* KYOK_FAULT: the server answered, and not what it should. */
enum kyok_status operations_wrong(struct kyok_error *err, const char *what);

operations_test operations_get_attribute_list, operations_modify_attribute,
    operations_delete_attribute, operations_delete_current, operations_set_attribute,
    operations_derive_key, operations_derive_refused;

#endif
