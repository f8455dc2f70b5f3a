/* SPDX-License-Identifier: Apache-2.0 */
/* A secret that a KMIP server is to keep as it is (Secret Data, a password). */
#include "common/key/custodian.h"
#include "common/key/key.h"
#include "common/kmip/kmip.h"

enum kyok_status kyok_key_register_secret(struct kyok_context *context,
                                          const struct kyok_reference *reference,
                                          struct kyok_bytes secret, struct kyok_error *err)
{
    struct kyok_custodian *custodian;
    struct kyok_kmip_created created;
    const struct kyok_kmip_object object = {
        .type = KYOK_KMIP_OBJECT_TYPE_SECRET_DATA,
        .secret_data_type = KYOK_KMIP_SECRET_DATA_TYPE_PASSWORD,
        .key = {.format = KYOK_KMIP_KEY_FORMAT_TYPE_OPAQUE, .value.material = secret},
    };
    const struct kyok_kmip_creation creation = {
        .object_type = object.type, .name = reference->name, .object = &object};
    if (reference->kind != KYOK_REFERENCE_KMIP || !reference->name)
        return kyok_fail(err, KYOK_INVALID, reference->text, "a KMIP server keeps secrets by name");
    KYOK_TRY(kyok_custodian_find(context, reference, &custodian, err));
    if (!kyok_kmip_client_config(custodian->own)->release) {
        kyok_fail(err, KYOK_REFUSED, reference->text, "the group does not give secrets out");
        return kyok_remedy(err, "set release = yes in [kmip %s] if they may leave its server",
                           reference->group);
    }
    struct kyok_deadline deadline = kyok_custodian_deadline(custodian);
    KYOK_TRY(kyok_kmip_create(custodian->own, &creation, deadline, &created, err));
    return kyok_kmip_activate(custodian->own, kyok_bytes_of_text(created.identifier), deadline,
                              err);
}
