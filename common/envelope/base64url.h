/* SPDX-License-Identifier: Apache-2.0 */
/* base64url without padding (RFC 7515 section 2). Decoding takes the one canonical encoding only.
 */
#ifndef KYOK_ENVELOPE_BASE64URL_H
#define KYOK_ENVELOPE_BASE64URL_H

#include "common/base/base.h"

bool kyok_base64url_append(struct kyok_buffer *text, struct kyok_bytes bytes);
/* Appends the bytes; false on padding, other alphabets, an impossible length or loose last bits. */
bool kyok_base64url_decode(struct kyok_bytes text, struct kyok_buffer *bytes);
/* The same into exactly size bytes. */
bool kyok_base64url_decode_exact(struct kyok_bytes text, uint8_t *data, size_t size);

#endif
