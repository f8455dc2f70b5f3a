/* SPDX-License-Identifier: Apache-2.0 */
/* Processes and library contexts that end while the provider's keys are there. */
#include "tests/support/provider_tool.h"

#include <openssl/err.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- leaving --- */

static EVP_PKEY *late_key;

static const char *usual_digest(EVP_PKEY *key)
{
    return EVP_PKEY_is_a(key, "ED25519") ? NULL : "SHA256";
}

static void free_late(void)
{
    EVP_PKEY_free(late_key);
}

static void sign_late(void)
{
    uint8_t sig[512];
    size_t size = sizeof(sig);

    (void)provider_sign(late_key, usual_digest(late_key), "x", 1, sig, &size);
}

int provider_leave(const char *way, const char *path)
{
    uint8_t sig[512];
    size_t size = sizeof(sig);

    if (strcmp(way, "atexit-first") == 0)
        atexit(free_late); /* before OpenSSL's own handler is there: runs after it */
    late_key = provider_load(NULL, path);
    if (late_key == NULL || !provider_sign(late_key, usual_digest(late_key), "x", 1, sig, &size)) {
        ERR_print_errors_fp(stderr);
        return 1;
    }
    if (strcmp(way, "free") == 0)
        EVP_PKEY_free(late_key);
    else if (strcmp(way, "cleanup") == 0)
        OPENSSL_cleanup();
    else if (strcmp(way, "atexit") == 0)
        atexit(free_late);
    else if (strcmp(way, "sign-at-exit") == 0)
        atexit(sign_late);
    else if (strcmp(way, "quick") == 0)
        quick_exit(0);
    else if (strcmp(way, "keep") != 0 && strcmp(way, "atexit-first") != 0)
        return 2;
    exit(0);
}

/* --- library contexts of one's own --- */

static struct {
    const char *modules, *key;
    _Atomic int failed;
} shared;

/* In odd threads the provider goes before the key that it made. */
static void *own_context(void *argument)
{
    bool odd = ((uintptr_t)argument & 1) != 0;
    OSSL_LIB_CTX *library = OSSL_LIB_CTX_new();
    OSSL_PROVIDER *kyok, *fallback;
    EVP_PKEY *key;
    uint8_t sig[512];
    size_t size = sizeof(sig);

    OSSL_PROVIDER_set_default_search_path(library, shared.modules);
    fallback = OSSL_PROVIDER_load(library, "default");
    kyok = OSSL_PROVIDER_load(library, "kyok");
    key = kyok == NULL ? NULL : provider_load(library, shared.key);
    if (key != NULL) {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();

        if (EVP_DigestSignInit_ex(ctx, NULL, "SHA256", library, NULL, key, NULL) != 1 ||
            EVP_DigestSign(ctx, sig, &size, (const uint8_t *)"x", 1) != 1)
            shared.failed++;
        EVP_MD_CTX_free(ctx);
    } else {
        shared.failed++;
        ERR_print_errors_fp(stderr);
    }
    if (odd)
        OSSL_PROVIDER_unload(kyok);
    EVP_PKEY_free(key);
    if (!odd)
        OSSL_PROVIDER_unload(kyok);
    OSSL_PROVIDER_unload(fallback);
    OSSL_LIB_CTX_free(library);
    return NULL;
}

int provider_contexts(const char *modules, const char *key, int count)
{
    pthread_t threads[64];

    shared.modules = modules;
    shared.key = key;
    if (count < 1 || count > 64)
        return 2;
    for (int i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, own_context, (void *)(uintptr_t)i);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    printf("failed=%d\n", shared.failed);
    return shared.failed != 0;
}
