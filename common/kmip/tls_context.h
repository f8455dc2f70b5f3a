/* SPDX-License-Identifier: Apache-2.0 */
/* Between tls_context.c, tls_stream.c and tls_nested.c only. */
#ifndef KYOK_KMIP_TLS_CONTEXT_H
#define KYOK_KMIP_TLS_CONTEXT_H

#include "common/config/config.h"
#include "common/kmip/tls.h"

#include <stdatomic.h>

/* For a client key that is a pkcs11: reference (tls_nested.c). Loads default and kyok's provider,
 * the latter with kmip: references disabled. */
enum kyok_status kyok_kmip_nested_load(OSSL_LIB_CTX *library, const struct kyok_kmip_config *config,
                                       struct kyok_error *err);
enum kyok_status kyok_kmip_nested_use_key(OSSL_LIB_CTX *library, SSL_CTX *context,
                                          const struct kyok_kmip_config *config,
                                          struct kyok_error *err);

SSL *kyok_tls_session_new(struct kyok_tls *tls);

#endif
