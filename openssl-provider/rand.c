/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers of a custodian, when the section says rand = yes. A module that uses this
 * libcrypto asks it for random numbers while it makes some: that inner request is the kernel's. */
#include "openssl-provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <sys/random.h>

#define MAX_REQUEST 4096

struct kp_random {
    struct kp_provider *provider;
    int state;
};

static void *new_rand(void *provctx, void *parent, const OSSL_DISPATCH *parent_functions)
{
    struct kp_random *ctx = OPENSSL_zalloc(sizeof(*ctx));

    (void)parent;
    (void)parent_functions;
    if (ctx == NULL)
        return NULL;
    ctx->provider = provctx;
    ctx->state = EVP_RAND_STATE_UNINITIALISED;
    return ctx;
}

static void free_rand(void *ctx)
{
    OPENSSL_free(ctx);
}

static int instantiate(void *data, unsigned strength, int resistance,
                       const unsigned char *personalisation, size_t size, const OSSL_PARAM params[])
{
    struct kp_random *ctx = data;

    (void)strength;
    (void)resistance;
    (void)personalisation;
    (void)size;
    (void)params;
    ctx->state = EVP_RAND_STATE_READY;
    return 1;
}

static int uninstantiate(void *data)
{
    struct kp_random *ctx = data;

    ctx->state = EVP_RAND_STATE_UNINITIALISED;
    return 1;
}

static int from_kernel(unsigned char *out, size_t size)
{
    ssize_t got;

    for (; size > 0; out += got, size -= (size_t)got) {
        got = getrandom(out, size, 0);
        if (got < 0)
            return 0;
    }
    return 1;
}

static int generate(void *data, unsigned char *out, size_t size, unsigned strength, int resistance,
                    const unsigned char *additional, size_t additional_size)
{
    struct kp_random *ctx = data;

    (void)strength;
    (void)resistance;
    (void)additional;
    (void)additional_size;
    /* Asked of the module layer: a mark of this thread would still stand while a fiber waits, and
     * send the others' requests to the kernel. */
    return kyok_inside_custodian() ? from_kernel(out, size)
                                   : kp_token_random(ctx->provider, out, size);
}

static int enable_locking(void *ctx)
{
    (void)ctx;
    return 1;
}

static int get_params(void *data, OSSL_PARAM params[])
{
    struct kp_random *ctx = data;
    OSSL_PARAM *p;

    p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_STATE);
    if (p != NULL && !OSSL_PARAM_set_int(p, ctx->state))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_STRENGTH);
    if (p != NULL && !OSSL_PARAM_set_int(p, 256))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_RAND_PARAM_MAX_REQUEST);
    return p == NULL || OSSL_PARAM_set_size_t(p, MAX_REQUEST);
}

static const OSSL_PARAM *gettable_params(void *ctx, void *provctx)
{
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_int(OSSL_RAND_PARAM_STATE, NULL),
        OSSL_PARAM_uint(OSSL_RAND_PARAM_STRENGTH, NULL),
        OSSL_PARAM_size_t(OSSL_RAND_PARAM_MAX_REQUEST, NULL),
        OSSL_PARAM_END,
    };

    (void)ctx;
    (void)provctx;
    return gettable;
}

const OSSL_DISPATCH kp_rand[] = {
    KP_FUNCTION(OSSL_FUNC_RAND_NEWCTX, new_rand),
    KP_FUNCTION(OSSL_FUNC_RAND_FREECTX, free_rand),
    KP_FUNCTION(OSSL_FUNC_RAND_INSTANTIATE, instantiate),
    KP_FUNCTION(OSSL_FUNC_RAND_UNINSTANTIATE, uninstantiate),
    KP_FUNCTION(OSSL_FUNC_RAND_GENERATE, generate),
    KP_FUNCTION(OSSL_FUNC_RAND_ENABLE_LOCKING, enable_locking),
    KP_FUNCTION(OSSL_FUNC_RAND_GET_CTX_PARAMS, get_params),
    KP_FUNCTION(OSSL_FUNC_RAND_GETTABLE_CTX_PARAMS, gettable_params),
    KP_END,
};
