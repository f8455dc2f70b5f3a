/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SubjectPublicKeyInfo (RFC 5280 4.1.2.7) as both custodians need it: built from what a token says
 * of a key, and read for its kind. ASN.1 only: no provider, no library context.
 */
#ifndef KYOK_BASE_PUBLIC_KEY_H
#define KYOK_BASE_PUBLIC_KEY_H

#include "common/base/key_types.h"

/* Each appends the DER and returns false on nonsense (zero modulus, unknown curve, wrong size). */
bool kyok_spki_from_rsa(struct kyok_bytes modulus, struct kyok_bytes exponent,
                        struct kyok_buffer *spki);
/* parameters: DER of ECParameters (named curve, or SoftHSM's and PKCS#11 3.0's PrintableString
 * curve name); point: the raw encoding (04 X Y for EC; the bare bytes for Edwards and Montgomery).
 */
bool kyok_spki_from_ec(struct kyok_bytes parameters, struct kyok_bytes point,
                       struct kyok_buffer *spki);

/* The kind and size of the key that a SubjectPublicKeyInfo holds; KYOK_KEY_UNKNOWN when kyok has no
 * use for it. rsa_encryption-pss keys count as KYOK_KEY_RSA. */
enum kyok_key_type kyok_spki_type(struct kyok_bytes spki, unsigned *bits);
/* What a token's public key object holds, appended: of an RSA key modulus and exponent, of the
 * others point (an OCTET STRING, as CKA_EC_POINT has it). False for what is none. */
bool kyok_spki_parts(struct kyok_bytes spki, struct kyok_buffer *modulus_or_point,
                     struct kyok_buffer *exponent);
/* The SubjectPublicKeyInfo of a certificate, appended. */
bool kyok_spki_from_certificate(struct kyok_bytes certificate, struct kyok_buffer *spki);
/* DER ECParameters of P-256, P-384, P-521, and of the Edwards and Montgomery curves (as OID). */
bool kyok_ec_parameters(enum kyok_key_type type, unsigned bits, struct kyok_bytes *parameters);

/* DER ECDSA-Sig-Value (RFC 3279 2.2.3) from r || s. *size: room, then length. */
bool kyok_ecdsa_der_from_raw(struct kyok_bytes raw, uint8_t *der, size_t *size);

#endif
