/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PEM key references: a file that stands where a program wants a private key file.
 * Two-member form, label "PKCS#11 PROVIDER URI": SEQUENCE { VisibleString "PKCS#11 Provider URI
 * v1.0", UTF8String URI } (what pkcs11-provider reads and writes). Three-member form, label "KYOK
 * KEY REFERENCE": SEQUENCE { VisibleString "kyok key reference v1", UTF8String URI,
 * SubjectPublicKeyInfo }.
 */
#ifndef KYOK_CONFIG_PEM_REFERENCE_H
#define KYOK_CONFIG_PEM_REFERENCE_H

#include "common/base/base.h"

#define KYOK_PEM_LABEL_URI "PKCS#11 PROVIDER URI"
#define KYOK_PEM_LABEL_REFERENCE "KYOK KEY REFERENCE"

/* Views into the parsed DER. */
struct kyok_pem_reference {
    struct kyok_bytes uri;
    struct kyok_bytes public_key; /* SubjectPublicKeyInfo DER; empty in the two-member form */
};

/* Either form, by its first member. Strict DER, nothing after. Fuzzed. */
enum kyok_status kyok_pem_reference_parse(struct kyok_bytes der,
                                          struct kyok_pem_reference *reference,
                                          struct kyok_error *err);
/* DER of the two-member form, or the three-member one when public_key is not empty. */
enum kyok_status kyok_pem_reference_write(const char *uri, struct kyok_bytes public_key,
                                          struct kyok_buffer *der, struct kyok_error *err);
/* The whole PEM text of the same. */
enum kyok_status kyok_pem_reference_write_pem(const char *uri, struct kyok_bytes public_key,
                                              struct kyok_buffer *pem, struct kyok_error *err);

#endif
