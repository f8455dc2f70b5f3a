/* SPDX-License-Identifier: Apache-2.0 */
/* ECDSA signatures. */
#include "openssl-provider/signature.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

static int ecdsa_sign(struct kp_signature *ctx, const struct kyok_sign_request *input, uint8_t *sig,
                      size_t *siglen, size_t sigsize)
{
    struct kyok_sign_request request = *input;

    request.scheme = KYOK_SIGN_ECDSA;
    return kp_token_sign(ctx->key, &request, sig, siglen, sigsize);
}

static int ecdsa_set_params(struct kp_signature *ctx, const OSSL_PARAM params[])
{
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_DIGEST);
    const char *name;

    if (p == NULL)
        return 1;
    if (!OSSL_PARAM_get_utf8_string_ptr(p, &name))
        return 0;
    if (!ctx->digest_fixed)
        return kp_signature_set_digest(ctx, name);
    if (EVP_MD_is_a(ctx->digest, name))
        return 1;
    kp_raise(ctx->provider, KP_R_BAD_PARAMETER, "digest %s: this operation has %s", name,
             EVP_MD_get0_name(ctx->digest));
    return 0;
}

static int ecdsa_get_params(struct kp_signature *ctx, OSSL_PARAM params[])
{
    OSSL_PARAM *p;

    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_ALGORITHM_ID);
    if (p != NULL && (ctx->digest == NULL || !kp_algorithm_id(p, ctx->digest, "id-ecPublicKey")))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_DIGEST_SIZE);
    if (p != NULL &&
        (ctx->digest == NULL || !OSSL_PARAM_set_size_t(p, (size_t)EVP_MD_get_size(ctx->digest))))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_DIGEST);
    return p == NULL ||
           OSSL_PARAM_set_utf8_string(p, ctx->digest == NULL ? "" : EVP_MD_get0_name(ctx->digest));
}

static const OSSL_PARAM *ecdsa_gettable(void *ctx, void *provctx)
{
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, NULL, 0),
        OSSL_PARAM_size_t(OSSL_SIGNATURE_PARAM_DIGEST_SIZE, NULL),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)ctx;
    (void)provctx;
    return gettable;
}

static const OSSL_PARAM *ecdsa_settable(void *ctx, void *provctx)
{
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_size_t(OSSL_SIGNATURE_PARAM_DIGEST_SIZE, NULL),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PROPERTIES, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)ctx;
    (void)provctx;
    return settable;
}

static const struct kp_signature_family ecdsa_family = {
    .name = "ECDSA",
    .sign = ecdsa_sign,
    .set_params = ecdsa_set_params,
    .get_params = ecdsa_get_params,
};

static void *ecdsa_new(void *provctx, const char *properties)
{
    (void)properties;
    return kp_signature_new(provctx, &ecdsa_family);
}

const OSSL_DISPATCH kp_signature_ecdsa[] = {
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_NEWCTX, ecdsa_new),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_FREECTX, kp_signature_free),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_DUPCTX, kp_signature_dup),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_SIGN_INIT, kp_sign_init),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_SIGN, kp_sign),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_VERIFY_INIT, kp_verify_init),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_VERIFY, kp_verify),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, kp_digest_sign_init),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE, kp_digest_sign_update),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL, kp_digest_sign_final),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN, kp_digest_sign),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_INIT, kp_digest_verify_init),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_UPDATE, kp_digest_verify_update),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_FINAL, kp_digest_verify_final),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_VERIFY, kp_digest_verify),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, kp_signature_get_params),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS, ecdsa_gettable),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, kp_signature_set_params),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, ecdsa_settable),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_GET_CTX_MD_PARAMS, kp_signature_get_md_params),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_GETTABLE_CTX_MD_PARAMS, kp_signature_gettable_md),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_SET_CTX_MD_PARAMS, kp_signature_set_md_params),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_MD_PARAMS, kp_signature_settable_md),
    KP_END,
};
