/* SPDX-License-Identifier: Apache-2.0 */
/* The host's software cryptography of envelopes, in a library context of its own that only ever
 * holds OpenSSL's default provider: never a token, never this project's provider. */
#ifndef KYOK_ENVELOPE_CRYPTO_H
#define KYOK_ENVELOPE_CRYPTO_H

#include "common/base/base.h"

#include <openssl/evp.h>

#define KYOK_GCM_IV_SIZE 12
#define KYOK_GCM_TAG_SIZE 16
#define KYOK_CEK_SIZE 32

struct kyok_crypto {
    OSSL_LIB_CTX *library;
    EVP_CIPHER *gcm; /* AES-256-GCM */
    EVP_MD *sha256;
};

/* This process's, or NULL and *err. */
const struct kyok_crypto *kyok_crypto(struct kyok_error *err);

enum kyok_status kyok_crypto_random(uint8_t *data, size_t size, struct kyok_error *err);
enum kyok_status kyok_crypto_sha256(struct kyok_bytes data, uint8_t digest[32],
                                    struct kyok_error *err);
/* AES-256-GCM: output has input's size and may be input. */
enum kyok_status kyok_gcm_seal(struct kyok_bytes key, const uint8_t iv[KYOK_GCM_IV_SIZE],
                               struct kyok_bytes aad, struct kyok_bytes input, uint8_t *output,
                               uint8_t tag[KYOK_GCM_TAG_SIZE], struct kyok_error *err);
/* KYOK_TAMPERED, with output wiped, when the tag does not fit. */
enum kyok_status kyok_gcm_open(struct kyok_bytes key, const uint8_t iv[KYOK_GCM_IV_SIZE],
                               struct kyok_bytes aad, struct kyok_bytes input,
                               const uint8_t tag[KYOK_GCM_TAG_SIZE], uint8_t *output,
                               struct kyok_error *err);
/* RSA-OAEP with SHA-256 for hash and MGF1 to a SubjectPublicKeyInfo (RFC 7518 4.3). Appends. */
enum kyok_status kyok_rsa_oaep_seal(struct kyok_bytes public_key, struct kyok_bytes input,
                                    struct kyok_buffer *output, struct kyok_error *err);

#endif
