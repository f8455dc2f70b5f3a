/* SPDX-License-Identifier: Apache-2.0 */
/* A client key that is a pkcs11: reference. */
#include "common/kmip/tls_context.h"

enum kyok_status kyok_kmip_nested_load(struct kyok_kmip_nested *nested, OSSL_LIB_CTX *library,
                                       struct kyok_error *err)
{
    nested->library = library;
    return kyok_fail(err, KYOK_UNSUPPORTED, NULL, "a pkcs11: client key is not supported");
}

enum kyok_status kyok_kmip_nested_use_key(struct kyok_kmip_nested *nested, SSL_CTX *context,
                                          const struct kyok_kmip_config *config,
                                          struct kyok_error *err)
{
    (void)nested;
    (void)context;
    return kyok_fail(err, KYOK_UNSUPPORTED, config->key, "a pkcs11: client key is not supported");
}

void kyok_kmip_nested_unload(struct kyok_kmip_nested *nested)
{
    nested->library = NULL;
}
