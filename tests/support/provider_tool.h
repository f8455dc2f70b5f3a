/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of provider_tool share. */
#ifndef KYOK_TESTS_PROVIDER_TOOL_H
#define KYOK_TESTS_PROVIDER_TOOL_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Keys (provider_key.c). */
EVP_PKEY *provider_load(OSSL_LIB_CTX *library, const char *path);
/* The public half as the default provider has it. */
EVP_PKEY *provider_public_half(EVP_PKEY *key);
bool provider_sign(EVP_PKEY *key, const char *digest, const void *data, size_t size, uint8_t *sig,
                   size_t *siglen);
bool provider_verify(EVP_PKEY *half, const char *digest, const void *data, size_t size,
                     const uint8_t *sig, size_t siglen);

/* Ends (provider_leave.c): the program's commands of these names. */
int provider_leave(const char *way, const char *path);
int provider_contexts(const char *modules, const char *key, int count);

#endif
