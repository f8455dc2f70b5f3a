/* SPDX-License-Identifier: Apache-2.0 */
/* RSA-OAEP by a public key that comes as SubjectPublicKeyInfo: how kyok seals for a token or for a
 * recipient. Never opens anything: that is the custodian's. */
#ifndef KYOK_BASE_RSA_OAEP_H
#define KYOK_BASE_RSA_OAEP_H

#include "common/base/base.h"

#include <openssl/evp.h>

/* DER of an RSA key and nothing after it. NULL: it is none; OpenSSL's error queue says more. */
EVP_PKEY *kyok_rsa_public_key(OSSL_LIB_CTX *library, struct kyok_bytes spki);
/* Ready for EVP_PKEY_encrypt(), with that hash for the label and for MGF1. NULL as above. */
EVP_PKEY_CTX *kyok_rsa_oaep_new(OSSL_LIB_CTX *library, EVP_PKEY *key, const char *hash);

#endif
