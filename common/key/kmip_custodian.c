/* SPDX-License-Identifier: Apache-2.0 */
/* The key layer's half of a KMIP server group. */
#include "common/key/custodian.h"

enum kyok_status kyok_kmip_custodian_new(const struct kyok_kmip_config *config,
                                         struct kyok_custodian **custodian, struct kyok_error *err)
{
    (void)custodian;
    return kyok_fail(err, KYOK_UNSUPPORTED, config->where, "this build has no KMIP client");
}
