/* SPDX-License-Identifier: Apache-2.0 */
/* Private to pkcs11/: HMAC-SHA256 of parts, whatever providers the host has activated. */
#ifndef KYOK_PKCS11_HMAC_H
#define KYOK_PKCS11_HMAC_H

#include "common/base/base.h"

/* False: no memory. */
bool kyok_hmac_sha256(struct kyok_bytes key, const struct kyok_bytes *parts, size_t count,
                      uint8_t out[32]);

#endif
