/* SPDX-License-Identifier: Apache-2.0 */
/* A library context of kyok's own, with the default provider alone: what kyok computes itself never
 * depends on the host program's configuration, nor comes back to kyok's provider. */
#ifndef KYOK_BASE_LIBRARY_CONTEXT_H
#define KYOK_BASE_LIBRARY_CONTEXT_H

#include <openssl/types.h>

/* Made on first use, kept for the life of the process (children share it). NULL: no memory, or no
 * default provider. */
OSSL_LIB_CTX *kyok_library_context(void);

#endif
