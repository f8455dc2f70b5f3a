/* SPDX-License-Identifier: Apache-2.0 */
/* Ed25519 and Ed448: pure, over the whole message, so one call and no digest. */
#include "openssl-provider/signature.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

static int eddsa_sign(struct kp_signature *ctx, const struct kyok_sign_request *input, uint8_t *sig,
                      size_t *siglen, size_t sigsize)
{
    return kp_token_sign(ctx->key, input, sig, siglen, sigsize);
}

static int eddsa_get_params(struct kp_signature *ctx, OSSL_PARAM params[])
{
    OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_ALGORITHM_ID);

    return p == NULL || kp_algorithm_id(p, NULL, ctx->key->type->name);
}

static int eddsa_set_params(struct kp_signature *ctx, const OSSL_PARAM params[])
{
    (void)ctx;
    (void)params;
    return 1;
}

static int eddsa_digest_sign_init(void *data, const char *digest, void *key,
                                  const OSSL_PARAM params[])
{
    struct kp_signature *ctx = data;

    if (digest != NULL && *digest != '\0') {
        kp_raise(ctx->provider, KP_R_BAD_PARAMETER,
                 "digest %s: Ed25519 and Ed448 sign the message itself, without one", digest);
        return 0;
    }
    if (!kp_signature_bind(ctx, key))
        return 0;
    if (!kp_key_is_token(ctx->key))
        return kp_digest_sign_init(ctx, NULL, NULL, params);
    return 1;
}

static int eddsa_digest_sign(void *data, unsigned char *sig, size_t *siglen, size_t sigsize,
                             const unsigned char *tbs, size_t tbslen)
{
    struct kp_signature *ctx = data;
    struct kyok_sign_request request = {.scheme = KYOK_SIGN_EDDSA, .data = kyok_bytes(tbs, tbslen)};
    bool done;

    if (ctx->soft_digest != NULL)
        return kp_digest_sign(ctx, sig, siglen, sigsize, tbs, tbslen);
    if (!kp_signature_room(ctx, sig, siglen, sigsize, &done))
        return 0;
    return done || ctx->family->sign(ctx, &request, sig, siglen, sigsize);
}

static const OSSL_PARAM *eddsa_gettable(void *ctx, void *provctx)
{
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)ctx;
    (void)provctx;
    return gettable;
}

static const struct kp_signature_family eddsa_family = {
    .name = "EdDSA",
    .sign = eddsa_sign,
    .set_params = eddsa_set_params,
    .get_params = eddsa_get_params,
};

static void *eddsa_new(void *provctx, const char *properties)
{
    (void)properties;
    return kp_signature_new(provctx, &eddsa_family);
}

#define EDDSA_TABLE                                                                                \
    {                                                                                              \
        KP_FUNCTION(OSSL_FUNC_SIGNATURE_NEWCTX, eddsa_new),                                        \
            KP_FUNCTION(OSSL_FUNC_SIGNATURE_FREECTX, kp_signature_free),                           \
            KP_FUNCTION(OSSL_FUNC_SIGNATURE_DUPCTX, kp_signature_dup),                             \
            KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, eddsa_digest_sign_init),             \
            KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN, eddsa_digest_sign),                       \
            KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_INIT, kp_digest_verify_init),            \
            KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_VERIFY, kp_digest_verify),                      \
            KP_FUNCTION(OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, kp_signature_get_params),              \
            KP_FUNCTION(OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS, eddsa_gettable), KP_END,          \
    }

const OSSL_DISPATCH kp_signature_ed25519[] = EDDSA_TABLE;
const OSSL_DISPATCH kp_signature_ed448[] = EDDSA_TABLE;
