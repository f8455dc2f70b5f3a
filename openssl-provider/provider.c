/* SPDX-License-Identifier: Apache-2.0 */
/* Entry and exit of the provider. Nothing here contacts a custodian or loads a module: a module
 * that is linked to libcrypto may itself read the openssl.cnf that activates this provider. */
#include "openssl-provider/provider.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const OSSL_PARAM *gettable_params(void *provctx)
{
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_NAME, NULL, 0),
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_VERSION, NULL, 0),
        OSSL_PARAM_utf8_ptr(OSSL_PROV_PARAM_BUILDINFO, NULL, 0),
        OSSL_PARAM_int(OSSL_PROV_PARAM_STATUS, NULL),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return gettable;
}

static int get_params(void *provctx, OSSL_PARAM params[])
{
    static const char *const texts[][2] = {
        {OSSL_PROV_PARAM_NAME, "kyok: keys in an HSM or a key management server"},
        {OSSL_PROV_PARAM_VERSION, KYOK_VERSION},
        {OSSL_PROV_PARAM_BUILDINFO, KYOK_VERSION},
    };
    OSSL_PARAM *p;

    (void)provctx;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        p = OSSL_PARAM_locate(params, texts[i][0]);
        if (p != NULL && !OSSL_PARAM_set_utf8_ptr(p, texts[i][1]))
            return 0;
    }
    p = OSSL_PARAM_locate(params, OSSL_PROV_PARAM_STATUS);
    return p == NULL || OSSL_PARAM_set_int(p, 1);
}

/* The core asks at each fetch that its cache does not answer; without a default provider such a
 * fetch fails for want of it, and here is where the reason can be told. */
static const OSSL_ALGORITHM *query_operation(void *provctx, int operation, int *no_cache)
{
    struct kp_provider *provider = provctx;

    *no_cache = 0;
    kp_default_present(provider);
    if (operation <= 0 || operation >= KP_OPERATIONS)
        return NULL;
    return provider->tables[operation];
}

static void free_provider(struct kp_provider *provider)
{
    for (size_t i = 0; i < KP_HASHES; i++)
        EVP_MD_free(atomic_load(&provider->digests[i]));
    kyok_context_free(atomic_load(&provider->context));
    kp_algorithms_free(provider);
    kp_settings_free(&provider->settings);
    OSSL_PROVIDER_unload(provider->host_default);
    OSSL_LIB_CTX_free(provider->host);
    free(provider->name);
    free(provider->properties);
    free(provider);
}

static void teardown(void *provctx)
{
    free_provider(provctx);
}

static const OSSL_DISPATCH dispatch[] = {
    KP_FUNCTION(OSSL_FUNC_PROVIDER_TEARDOWN, teardown),
    KP_FUNCTION(OSSL_FUNC_PROVIDER_GETTABLE_PARAMS, gettable_params),
    KP_FUNCTION(OSSL_FUNC_PROVIDER_GET_PARAMS, get_params),
    KP_FUNCTION(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query_operation),
    KP_END,
};

struct core_functions {
    OSSL_FUNC_core_get_libctx_fn *get_libctx;
    OSSL_FUNC_CRYPTO_malloc_fn *malloc;
};

static void take_core_functions(struct kp_provider *provider, struct core_functions *core,
                                const OSSL_DISPATCH *in)
{
    for (; in->function_id != 0; in++) {
        switch (in->function_id) {
        case OSSL_FUNC_CORE_GET_PARAMS:
            provider->get_params = OSSL_FUNC_core_get_params(in);
            break;
        case OSSL_FUNC_CORE_NEW_ERROR:
            provider->new_error = OSSL_FUNC_core_new_error(in);
            break;
        case OSSL_FUNC_CORE_SET_ERROR_DEBUG:
            provider->set_error_debug = OSSL_FUNC_core_set_error_debug(in);
            break;
        case OSSL_FUNC_CORE_VSET_ERROR:
            provider->vset_error = OSSL_FUNC_core_vset_error(in);
            break;
        case OSSL_FUNC_CORE_GET_LIBCTX:
            core->get_libctx = OSSL_FUNC_core_get_libctx(in);
            break;
        case OSSL_FUNC_CRYPTO_MALLOC:
            core->malloc = OSSL_FUNC_CRYPTO_malloc(in);
            break;
        default:
            break;
        }
    }
}

/* The core's context means something to this libcrypto only if it is the core's libcrypto, which
 * its own CRYPTO_malloc among the functions that it hands out shows. */
static OSSL_LIB_CTX *caller_context(const struct kp_provider *provider,
                                    const struct core_functions *core)
{
    if (core->get_libctx == NULL || core->malloc != CRYPTO_malloc)
        return NULL;
    return (OSSL_LIB_CTX *)core->get_libctx(provider->core);
}

/* "provider=NAME", NAME being what the provider was activated as. */
static bool name_itself(struct kp_provider *provider)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    char *name = NULL;
    OSSL_PARAM request[] = {
        OSSL_PARAM_construct_utf8_ptr(OSSL_PROV_PARAM_CORE_PROV_NAME, &name, 0),
        OSSL_PARAM_construct_end(),
    };

    if (provider->get_params(provider->core, request) != 1 || name == NULL)
        name = (char *)"kyok";
    provider->name = strdup(name);
    if (provider->name == NULL ||
        !kyok_buffer_printf(&text, "provider=%s%s", provider->name,
                            provider->settings.assume_fips ? ",fips=yes" : ""))
        return false;
    provider->properties = strndup((const char *)text.data, text.size);
    return provider->properties != NULL;
}

static bool open_host(struct kp_provider *provider, const OSSL_DISPATCH *in)
{
    provider->host = OSSL_LIB_CTX_new_from_dispatch(provider->core, in);
    if (provider->host == NULL)
        return false;
    provider->host_default = OSSL_PROVIDER_load(provider->host, "default");
    return provider->host_default != NULL &&
           getrandom(provider->nonce, sizeof(provider->nonce), 0) == sizeof(provider->nonce);
}

int OSSL_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
                       const OSSL_DISPATCH **out, void **provctx)
{
    struct kp_provider *provider = calloc(1, sizeof(*provider));
    struct core_functions core = {0};

    if (provider == NULL)
        return 0;
    provider->core = handle;
    take_core_functions(provider, &core, in);
    if (provider->get_params == NULL || !kp_settings_read(provider) || !name_itself(provider) ||
        !open_host(provider, in) || !kp_algorithms_build(provider)) {
        free_provider(provider);
        return 0;
    }
    provider->caller = caller_context(provider, &core);
    *out = dispatch;
    *provctx = provider;
    return 1;
}
