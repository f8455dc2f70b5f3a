/* SPDX-License-Identifier: Apache-2.0 */
/* The default provider, through a library context of the provider's own: digests for digest-sign,
 * public halves, software keys. The application's context is not used, since fetches there could
 * come back to this provider, and a module that uses the same libcrypto waits in it. */
#include "openssl-provider/provider.h"

#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/x509.h>

EVP_MD *kp_digest(struct kp_provider *provider, enum kyok_hash hash)
{
    EVP_MD *expected = NULL, *digest = atomic_load(&provider->digests[hash]);

    if (digest != NULL)
        return digest;
    digest = EVP_MD_fetch(provider->host, kyok_hash_name(hash), NULL);
    if (digest == NULL) {
        kp_raise(provider, KP_R_HOST, "the default provider has no digest %s",
                 kyok_hash_name(hash));
        return NULL;
    }
    if (atomic_compare_exchange_strong(&provider->digests[hash], &expected, digest))
        return digest;
    EVP_MD_free(digest);
    return expected;
}

EVP_PKEY *kp_host_public(struct kp_provider *provider, struct kyok_bytes spki)
{
    const uint8_t *at = spki.data;
    EVP_PKEY *key = NULL;

    if (spki.size <= LONG_MAX)
        key = d2i_PUBKEY_ex(NULL, &at, (long)spki.size, provider->host, NULL);
    if (key != NULL && at == spki.data + spki.size)
        return key;
    EVP_PKEY_free(key);
    kp_raise(provider, KP_R_HOST,
             "the key's public half is no SubjectPublicKeyInfo that the "
             "default provider reads");
    return NULL;
}

static bool has_default(const struct kp_provider *provider)
{
    return provider->caller == NULL || OSSL_PROVIDER_available(provider->caller, "default") == 1 ||
           OSSL_PROVIDER_available(provider->caller, "fips") == 1;
}

bool kp_default_present(const struct kp_provider *provider)
{
    static _Thread_local bool told; /* once until the thread's queue has been read */

    if (has_default(provider))
        return true;
    if (ERR_peek_error() == 0)
        told = false;
    if (told)
        return false;
    told = true;
    kp_raise(provider, KP_R_DEFAULT_MISSING,
             "provider \"%s\" is active but \"default\" is not, and only it has digests, random "
             "numbers and software keys; activate it too: in openssl.cnf \"default = "
             "default_sect\" beside it, and \"activate = 1\" in [default_sect]",
             provider->name);
    return false;
}
