/* SPDX-License-Identifier: Apache-2.0 */
/* For programs that are told a key by name: a PEM file, or the URI of a key in custody. */
#ifndef KYOK_TESTS_KEY_LOAD_H
#define KYOK_TESTS_KEY_LOAD_H

#include <openssl/pem.h>
#include <openssl/store.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static EVP_PKEY *key_load_uri(const char *uri)
{
    EVP_PKEY *key = NULL;
    OSSL_STORE_CTX *store = OSSL_STORE_open(uri, NULL, NULL, NULL, NULL);

    if (store != NULL)
        OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY);
    while (store != NULL && key == NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        if (info != NULL)
            key = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    return key;
}

static EVP_PKEY *key_load_file(const char *path)
{
    FILE *file = fopen(path, "r");
    EVP_PKEY *key = file == NULL ? NULL : PEM_read_PrivateKey(file, NULL, NULL, NULL);

    if (file != NULL)
        fclose(file);
    return key;
}

/* NULL: OpenSSL's error queue says why. */
static EVP_PKEY *key_load(const char *name)
{
    bool uri = strncmp(name, "pkcs11:", 7) == 0 || strncmp(name, "kmip:", 5) == 0;

    return uri ? key_load_uri(name) : key_load_file(name);
}

/* That libssl signs with by this key; NULL for Edwards curves, which have none. */
static const char *key_load_digest(EVP_PKEY *key)
{
    return EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448") ? NULL : "SHA256";
}

#endif
