/* SPDX-License-Identifier: Apache-2.0 */
/* Key agreement: ECDH, X25519 and X448. The custodian computes the shared secret; a KDF over it
 * (CMS uses X9.63's) runs on the host. */
#include "openssl-provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>
#include <strings.h>

struct kp_exchange {
    struct kp_provider *provider;
    struct kp_key *key, *peer;
    EVP_PKEY_CTX *soft; /* the default provider's, for software keys */
    bool kdf;
    char digest[64];
    size_t out_size;
    struct kyok_buffer shared_info;
};

static void *new_exchange(void *provctx)
{
    struct kp_exchange *ctx = OPENSSL_zalloc(sizeof(*ctx));

    if (ctx != NULL)
        ctx->provider = provctx;
    return ctx;
}

static void free_exchange(void *data)
{
    struct kp_exchange *ctx = data;

    if (ctx == NULL)
        return;
    EVP_PKEY_CTX_free(ctx->soft);
    kp_key_free(ctx->key);
    kp_key_free(ctx->peer);
    kyok_buffer_free(&ctx->shared_info);
    OPENSSL_free(ctx);
}

static void *dup_exchange(void *data)
{
    const struct kp_exchange *ctx = data;
    struct kp_exchange *copy = OPENSSL_memdup(ctx, sizeof(*ctx));

    if (copy == NULL)
        return NULL;
    copy->shared_info = (struct kyok_buffer){0};
    copy->soft = ctx->soft == NULL ? NULL : EVP_PKEY_CTX_dup(ctx->soft);
    if (copy->key != NULL)
        kp_key_up_ref(copy->key);
    if (copy->peer != NULL)
        kp_key_up_ref(copy->peer);
    if ((ctx->soft == NULL || copy->soft != NULL) &&
        kyok_buffer_append(&copy->shared_info, ctx->shared_info.data, ctx->shared_info.size))
        return copy;
    free_exchange(copy);
    return NULL;
}

static int set_params(void *data, const OSSL_PARAM params[]);

static int init(void *data, void *key, const OSSL_PARAM params[])
{
    struct kp_exchange *ctx = data;

    kp_key_up_ref(key);
    kp_key_free(ctx->key);
    ctx->key = key;
    EVP_PKEY_CTX_free(ctx->soft);
    ctx->soft = NULL;
    if (kp_key_is_token(ctx->key))
        return set_params(ctx, params);
    if (ctx->key->host == NULL)
        return 0;
    ctx->soft = EVP_PKEY_CTX_new_from_pkey(ctx->provider->host, ctx->key->host, NULL);
    return ctx->soft != NULL && EVP_PKEY_derive_init_ex(ctx->soft, params) == 1;
}

static int set_peer(void *data, void *peer)
{
    struct kp_exchange *ctx = data;

    if (((struct kp_key *)peer)->host == NULL)
        return 0;
    kp_key_up_ref(peer);
    kp_key_free(ctx->peer);
    ctx->peer = peer;
    return ctx->soft == NULL || EVP_PKEY_derive_set_peer(ctx->soft, ctx->peer->host) == 1;
}

static int derive_in_token(struct kp_exchange *ctx, struct kyok_secret **secret)
{
    unsigned char *point = NULL;
    size_t size;
    int ok;

    if (ctx->peer == NULL) {
        kp_raise(ctx->provider, KP_R_NO_KEY, "no peer key set");
        return 0;
    }
    size = EVP_PKEY_get1_encoded_public_key(ctx->peer->host, &point);
    ok = size != 0 && kp_token_derive(ctx->key, kyok_bytes(point, size), secret);
    OPENSSL_free(point);
    return ok;
}

/* X9.63 (SEC 1, 3.6.1), the KDF of CMS with EC keys (RFC 5753). */
static int run_kdf(const struct kp_exchange *ctx, struct kyok_secret *secret, unsigned char *out)
{
    EVP_KDF *kdf = EVP_KDF_fetch(ctx->provider->host, OSSL_KDF_NAME_X963KDF, NULL);
    EVP_KDF_CTX *run = kdf == NULL ? NULL : EVP_KDF_CTX_new(kdf);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)ctx->digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, kyok_secret_data(secret),
                                          kyok_secret_size(secret)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, ctx->shared_info.data,
                                          ctx->shared_info.size),
        OSSL_PARAM_construct_end(),
    };
    int ok = run != NULL && EVP_KDF_derive(run, out, ctx->out_size, params) == 1;

    EVP_KDF_CTX_free(run);
    EVP_KDF_free(kdf);
    return ok;
}

static size_t derived_size(const struct kp_exchange *ctx)
{
    if (ctx->kdf)
        return ctx->out_size;
    if (ctx->key->type->kind == KYOK_KEY_EC)
        return (kp_key_bits(ctx->key) + 7) / 8;
    return ctx->key->type->kind == KYOK_KEY_X448 ? 56 : 32;
}

static int derive(void *data, unsigned char *out, size_t *outlen, size_t outsize)
{
    struct kp_exchange *ctx = data;
    KYOK_AUTO_SECRET struct kyok_secret *secret = NULL;

    if (ctx->soft != NULL) {
        *outlen = outsize;
        return EVP_PKEY_derive(ctx->soft, out, outlen) == 1;
    }
    if (out != NULL && outsize < derived_size(ctx)) {
        kp_raise(ctx->provider, KP_R_BUFFER_TOO_SMALL, "room for %zu bytes, %zu needed", outsize,
                 derived_size(ctx));
        return 0;
    }
    *outlen = derived_size(ctx);
    if (out == NULL)
        return 1;
    if (!derive_in_token(ctx, &secret))
        return 0;
    if (ctx->kdf)
        return run_kdf(ctx, secret, out);
    if (kyok_secret_size(secret) != *outlen) {
        kp_raise(ctx->provider, KYOK_FAULT, "the custodian derived %zu bytes where %zu were due",
                 kyok_secret_size(secret), *outlen);
        return 0;
    }
    memcpy(out, kyok_secret_data(secret), *outlen);
    return 1;
}

/* --- parameters ------------------------------------------------------------------------------ */

static int set_kdf(struct kp_exchange *ctx, const OSSL_PARAM *p)
{
    const char *name;

    if (!OSSL_PARAM_get_utf8_string_ptr(p, &name) || name == NULL)
        return 0;
    if (*name != '\0' && strcasecmp(name, OSSL_KDF_NAME_X963KDF) != 0) {
        kp_raise(ctx->provider, KP_R_BAD_PARAMETER, "KDF %s: X963KDF or none", name);
        return 0;
    }
    ctx->kdf = *name != '\0';
    return 1;
}

static int set_shared_info(struct kp_exchange *ctx, const OSSL_PARAM *p)
{
    ctx->shared_info.size = 0;
    return p->data_type == OSSL_PARAM_OCTET_STRING &&
           kyok_buffer_append(&ctx->shared_info, p->data, p->data_size);
}

static int set_params(void *data, const OSSL_PARAM params[])
{
    struct kp_exchange *ctx = data;
    const OSSL_PARAM *p;
    const char *name;

    if (params == NULL)
        return 1;
    if (ctx->soft != NULL)
        return EVP_PKEY_CTX_set_params(ctx->soft, params);
    /* All of the custodians' curves have the cofactor 1, so its mode changes nothing. */
    p = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_KDF_TYPE);
    if (p != NULL && !set_kdf(ctx, p))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_KDF_DIGEST);
    if (p != NULL) {
        if (!OSSL_PARAM_get_utf8_string_ptr(p, &name))
            return 0;
        OPENSSL_strlcpy(ctx->digest, name, sizeof(ctx->digest));
    }
    p = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_KDF_OUTLEN);
    if (p != NULL && !OSSL_PARAM_get_size_t(p, &ctx->out_size))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_EXCHANGE_PARAM_KDF_UKM);
    return p == NULL || set_shared_info(ctx, p);
}

static int get_params(void *data, OSSL_PARAM params[])
{
    struct kp_exchange *ctx = data;
    OSSL_PARAM *p;

    if (ctx->soft != NULL)
        return EVP_PKEY_CTX_get_params(ctx->soft, params);
    p = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE);
    if (p != NULL && !OSSL_PARAM_set_int(p, 0))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_KDF_TYPE);
    if (p != NULL && !OSSL_PARAM_set_utf8_string(p, ctx->kdf ? OSSL_KDF_NAME_X963KDF : ""))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_KDF_DIGEST);
    if (p != NULL && !OSSL_PARAM_set_utf8_string(p, ctx->digest))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_KDF_OUTLEN);
    if (p != NULL && !OSSL_PARAM_set_size_t(p, ctx->out_size))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_EXCHANGE_PARAM_KDF_UKM);
    return p == NULL || OSSL_PARAM_set_octet_ptr(p, ctx->shared_info.data, ctx->shared_info.size);
}

static const OSSL_PARAM *settable_params(void *ctx, void *provctx)
{
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_int(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE, NULL),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST_PROPS, NULL, 0),
        OSSL_PARAM_size_t(OSSL_EXCHANGE_PARAM_KDF_OUTLEN, NULL),
        OSSL_PARAM_octet_string(OSSL_EXCHANGE_PARAM_KDF_UKM, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)ctx;
    (void)provctx;
    return settable;
}

static const OSSL_PARAM *gettable_params(void *ctx, void *provctx)
{
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_int(OSSL_EXCHANGE_PARAM_EC_ECDH_COFACTOR_MODE, NULL),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST, NULL, 0),
        OSSL_PARAM_size_t(OSSL_EXCHANGE_PARAM_KDF_OUTLEN, NULL),
        OSSL_PARAM_octet_ptr(OSSL_EXCHANGE_PARAM_KDF_UKM, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)ctx;
    (void)provctx;
    return gettable;
}

#define EXCHANGE_TABLE                                                                             \
    {                                                                                              \
        KP_FUNCTION(OSSL_FUNC_KEYEXCH_NEWCTX, new_exchange),                                       \
            KP_FUNCTION(OSSL_FUNC_KEYEXCH_FREECTX, free_exchange),                                 \
            KP_FUNCTION(OSSL_FUNC_KEYEXCH_DUPCTX, dup_exchange),                                   \
            KP_FUNCTION(OSSL_FUNC_KEYEXCH_INIT, init),                                             \
            KP_FUNCTION(OSSL_FUNC_KEYEXCH_SET_PEER, set_peer),                                     \
            KP_FUNCTION(OSSL_FUNC_KEYEXCH_DERIVE, derive),                                         \
            KP_FUNCTION(OSSL_FUNC_KEYEXCH_SET_CTX_PARAMS, set_params),                             \
            KP_FUNCTION(OSSL_FUNC_KEYEXCH_SETTABLE_CTX_PARAMS, settable_params),                   \
            KP_FUNCTION(OSSL_FUNC_KEYEXCH_GET_CTX_PARAMS, get_params),                             \
            KP_FUNCTION(OSSL_FUNC_KEYEXCH_GETTABLE_CTX_PARAMS, gettable_params), KP_END,           \
    }

const OSSL_DISPATCH kp_exchange_ecdh[] = EXCHANGE_TABLE;
const OSSL_DISPATCH kp_exchange_x25519[] = EXCHANGE_TABLE;
const OSSL_DISPATCH kp_exchange_x448[] = EXCHANGE_TABLE;
