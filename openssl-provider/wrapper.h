/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the PEM decoder tells the DER decoders that a reference came out of a file that belongs to
 * root or the caller: SEQUENCE { VisibleString "kyok origin v1", OCTET STRING nonce, OCTET STRING
 * reference }, the nonce being this process's. Fuzzed.
 */
#ifndef KYOK_PROVIDER_WRAPPER_H
#define KYOK_PROVIDER_WRAPPER_H

#include "openssl-provider/provider.h"

#define KP_WRAPPER_NAME "kyok origin v1"
/* A URI and a SubjectPublicKeyInfo; RSA-16384's is 2 KiB. */
#define KP_REFERENCE_LIMIT ((size_t)32 << 10)

/* OPENSSL_free() it; NULL: no memory. */
uint8_t *kp_wrapper_write(const struct kp_provider *provider, struct kyok_bytes reference,
                          size_t *size);
/* Narrows *der to the reference inside; false: no wrapper of this process. */
bool kp_wrapper_read(const struct kp_provider *provider, struct kyok_bytes *der);
/* Appends the element at the front of in if it may be a reference or a wrapper: a SEQUENCE whose
 * first member is a VisibleString, which no key format begins with. At most der's limit. */
bool kp_wrapper_read_candidate(BIO *in, struct kyok_buffer *der);

#endif
