/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to pkcs11/: RSA decryption padding taken off on the host, in time that depends on public
 * sizes alone, so that a token's raw decryption is no oracle.
 */
#ifndef KYOK_PKCS11_UNPAD_H
#define KYOK_PKCS11_UNPAD_H

#include "common/base/base.h"

/* RFC 5246 7.4.7.1: the 48-byte premaster, or random when the block is bad or its version is
 * neither. alt_version 0: none. block is the whole modulus. False: no randomness. */
bool kyok_unpad_tls(struct kyok_bytes block, unsigned version, unsigned alt_version,
                    uint8_t premaster[48]);
/* PKCS#1 v1.5 with implicit rejection (draft-irtf-cfrg-rsa-guidance): a bad block gives a message
 * that only rejection (a secret of the key) and the ciphertext determine. *size: room, then length.
 */
bool kyok_unpad_pkcs1_implicit(struct kyok_bytes block, struct kyok_bytes ciphertext,
                               struct kyok_bytes rejection, uint8_t *message, size_t *size);
/* PKCS#1 v1.5 that tells: -1 bad padding. */
int kyok_unpad_pkcs1_strict(struct kyok_bytes block, uint8_t *message, size_t room);
/* OAEP; -1 bad padding. */
int kyok_unpad_oaep(struct kyok_bytes block, enum kyok_hash hash, enum kyok_hash mgf1_hash,
                    struct kyok_bytes label, uint8_t *message, size_t room);

#endif
