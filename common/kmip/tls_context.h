/* SPDX-License-Identifier: Apache-2.0 */
/* Between tls_context.c, tls_stream.c and tls_nested.c only. */
#ifndef KYOK_KMIP_TLS_CONTEXT_H
#define KYOK_KMIP_TLS_CONTEXT_H

#include "common/config/config.h"
#include "common/kmip/tls.h"

#include <stdatomic.h>

/* The library context's copy of kyok's provider, for a client key that is a pkcs11: reference. */
struct kyok_kmip_nested {
    OSSL_LIB_CTX *library;
};

/* Loads default and, by its path beside libkyok, kyok's provider with kmip: references disabled. */
enum kyok_status kyok_kmip_nested_load(struct kyok_kmip_nested *nested, OSSL_LIB_CTX *library,
                                       struct kyok_error *err);
enum kyok_status kyok_kmip_nested_use_key(struct kyok_kmip_nested *nested, SSL_CTX *context,
                                          const struct kyok_kmip_config *config,
                                          struct kyok_error *err);
void kyok_kmip_nested_unload(struct kyok_kmip_nested *nested);

SSL *kyok_tls_session_new(struct kyok_tls *tls);

#endif
