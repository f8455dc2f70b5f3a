/* SPDX-License-Identifier: Apache-2.0 */
/* RSA signatures: PKCS#1 v1.5 (with MD5-SHA1 for TLS 1.0 and 1.1), PSS, raw. */
#include "openssl-provider/signature.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct name_number {
    const char *name;
    int number;
};

static const struct name_number paddings[] = {
    {OSSL_PKEY_RSA_PAD_MODE_PKCSV15, RSA_PKCS1_PADDING},
    {OSSL_PKEY_RSA_PAD_MODE_PSS, RSA_PKCS1_PSS_PADDING},
    {OSSL_PKEY_RSA_PAD_MODE_NONE, RSA_NO_PADDING},
    {NULL, 0},
};

#ifndef RSA_PSS_SALTLEN_AUTO_DIGEST_MAX
#define RSA_PSS_SALTLEN_AUTO_DIGEST_MAX -4 /* since 3.1 */
#endif

static const struct name_number salts[] = {
    {OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST, RSA_PSS_SALTLEN_DIGEST},
    {OSSL_PKEY_RSA_PSS_SALT_LEN_MAX, RSA_PSS_SALTLEN_MAX},
    {OSSL_PKEY_RSA_PSS_SALT_LEN_AUTO, RSA_PSS_SALTLEN_AUTO},
    {"auto-digestmax", RSA_PSS_SALTLEN_AUTO_DIGEST_MAX},
    {NULL, 0},
};

/* A parameter that OpenSSL allows as a number or as a name. */
static bool read_number(const OSSL_PARAM *p, const struct name_number *names, int *number)
{
    const char *text;
    char *end;

    if (p->data_type != OSSL_PARAM_UTF8_STRING)
        return OSSL_PARAM_get_int(p, number) == 1;
    if (!OSSL_PARAM_get_utf8_string_ptr(p, &text) || text == NULL)
        return false;
    for (; names->name != NULL; names++) {
        if (strcasecmp(names->name, text) == 0) {
            *number = names->number;
            return true;
        }
    }
    *number = (int)strtol(text, &end, 10);
    return end != text && *end == '\0';
}

static int write_number(OSSL_PARAM *p, const struct name_number *names, int number)
{
    char text[16];

    if (p->data_type != OSSL_PARAM_UTF8_STRING)
        return OSSL_PARAM_set_int(p, number);
    for (; names->name != NULL; names++) {
        if (names->number == number)
            return OSSL_PARAM_set_utf8_string(p, names->name);
    }
    snprintf(text, sizeof(text), "%d", number);
    return OSSL_PARAM_set_utf8_string(p, text);
}

/* Largest salt that fits: RFC 8017 9.1.1, emLen - hLen - 2. */
static int largest_salt(const struct kp_signature *ctx)
{
    int em = ((int)kp_key_bits(ctx->key) - 1 + 7) / 8;

    return em - (int)EVP_MD_get_size(ctx->digest) - 2;
}

/* Bytes of salt when signing; negative: the key is too small for the digest. */
static int salt_size(const struct kp_signature *ctx)
{
    int digest = EVP_MD_get_size(ctx->digest), largest = largest_salt(ctx), size = ctx->salt;

    if (ctx->salt == RSA_PSS_SALTLEN_DIGEST)
        size = digest;
    else if (ctx->salt == RSA_PSS_SALTLEN_MAX)
        size = largest;
    /* Many HSMs allow no salt longer than the digest (FIPS 186-4 5.5), and any verifier finds it.
     */
    else if (ctx->salt < 0)
        size = digest < largest ? digest : largest;
    if (size < ctx->least_salt)
        size = ctx->least_salt;
    return size > largest ? -1 : size;
}

static enum kyok_hash mgf1_hash(const struct kp_signature *ctx)
{
    return ctx->mgf1_set ? ctx->mgf1 : ctx->hash;
}

static int sign_pss(struct kp_signature *ctx, struct kyok_sign_request *request)
{
    int salt;

    if (ctx->hash == KYOK_HASH_NONE) {
        kp_raise(ctx->provider, KP_R_BAD_PARAMETER,
                 "PSS needs a digest that tokens know (SHA-1, "
                 "SHA-2, SHA-3)");
        return 0;
    }
    salt = salt_size(ctx);
    if (salt < 0) {
        kp_raise(ctx->provider, KP_R_BAD_PARAMETER,
                 "PSS with %s and a salt length of %d does not fit a key of %u bits",
                 kyok_hash_name(ctx->hash), ctx->salt, kp_key_bits(ctx->key));
        return 0;
    }
    request->scheme = KYOK_SIGN_RSA_PSS;
    request->mgf1_hash = mgf1_hash(ctx);
    request->salt_size = (size_t)salt;
    return 1;
}

static int rsa_sign(struct kp_signature *ctx, const struct kyok_sign_request *input, uint8_t *sig,
                    size_t *siglen, size_t sigsize)
{
    struct kyok_sign_request request = *input;

    switch (ctx->padding) {
    case RSA_PKCS1_PADDING:
        request.scheme = KYOK_SIGN_RSA_PKCS1;
        if (ctx->digest == NULL || ctx->hash != KYOK_HASH_NONE)
            break;
        kp_raise(ctx->provider, KP_R_BAD_PARAMETER, "RSA signatures over %s are not supported",
                 EVP_MD_get0_name(ctx->digest));
        return 0;
    case RSA_PKCS1_PSS_PADDING:
        if (!sign_pss(ctx, &request))
            return 0;
        break;
    default:
        request.scheme = KYOK_SIGN_RSA_RAW;
        request.hash = KYOK_HASH_NONE;
    }
    return kp_token_sign(ctx->key, &request, sig, siglen, sigsize);
}

/* --- keys restricted to PSS ------------------------------------------------------------------ */

static bool host_text(const struct kp_key *key, const char *name, char *text, size_t size)
{
    return EVP_PKEY_get_utf8_string_param(key->host, name, text, size, NULL) == 1;
}

/* RFC 4055 1.2: a key with id-RSASSA-PSS is for PSS alone, and its parameters bind. */
static int rsa_bind(struct kp_signature *ctx)
{
    char digest[64], mgf1[64];
    int salt = -1;

    ctx->least_salt = -1;
    if (!ctx->key->type->pss)
        return 1;
    ctx->padding = RSA_PKCS1_PSS_PADDING;
    ctx->restricted = ctx->key->host != NULL &&
                      host_text(ctx->key, OSSL_PKEY_PARAM_RSA_DIGEST, digest, sizeof(digest));
    if (!ctx->restricted)
        return 1;
    if (!host_text(ctx->key, OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, mgf1, sizeof(mgf1)))
        OPENSSL_strlcpy(mgf1, "SHA1", sizeof(mgf1)); /* RFC 4055 3.1: the default */
    if (EVP_PKEY_get_int_param(ctx->key->host, OSSL_PKEY_PARAM_RSA_PSS_SALTLEN, &salt) == 1)
        ctx->least_salt = salt;
    ctx->mgf1 = kyok_hash_by_name(mgf1);
    ctx->mgf1_set = true;
    return kp_signature_set_digest(ctx, digest);
}

/* --- parameters ------------------------------------------------------------------------------ */

static int set_digest(struct kp_signature *ctx, const OSSL_PARAM *p)
{
    enum kyok_hash before = ctx->hash;
    const char *name;

    if (!OSSL_PARAM_get_utf8_string_ptr(p, &name))
        return 0;
    if (ctx->digest_fixed || ctx->restricted) {
        if (kyok_hash_by_name(name) == before)
            return 1;
        kp_raise(ctx->provider, KP_R_BAD_PARAMETER, "digest %s: this operation has %s", name,
                 kyok_hash_name(before));
        return 0;
    }
    return kp_signature_set_digest(ctx, name);
}

static int set_padding(struct kp_signature *ctx, const OSSL_PARAM *p)
{
    int padding;

    if (!read_number(p, paddings, &padding) ||
        (padding != RSA_PKCS1_PADDING && padding != RSA_PKCS1_PSS_PADDING &&
         padding != RSA_NO_PADDING)) {
        kp_raise(ctx->provider, KP_R_BAD_PARAMETER,
                 "padding: pkcs1, pss and none are what a token's key signs with");
        return 0;
    }
    if (padding != RSA_PKCS1_PSS_PADDING && ctx->key->type->pss) {
        kp_raise(ctx->provider, KP_R_BAD_PARAMETER, "an RSA-PSS key signs with PSS only");
        return 0;
    }
    ctx->padding = padding;
    return 1;
}

static int set_mgf1(struct kp_signature *ctx, const OSSL_PARAM *p)
{
    const char *name;
    enum kyok_hash hash;

    if (!OSSL_PARAM_get_utf8_string_ptr(p, &name) ||
        (hash = kyok_hash_by_name(name)) == KYOK_HASH_NONE ||
        (ctx->restricted && hash != ctx->mgf1)) {
        kp_raise(ctx->provider, KP_R_BAD_PARAMETER, "MGF1 digest not known, or not this key's");
        return 0;
    }
    ctx->mgf1 = hash;
    ctx->mgf1_set = true;
    return 1;
}

static int set_salt(struct kp_signature *ctx, const OSSL_PARAM *p)
{
    int salt;

    if (!read_number(p, salts, &salt) || salt < RSA_PSS_SALTLEN_AUTO_DIGEST_MAX ||
        (salt >= 0 && salt < ctx->least_salt)) {
        kp_raise(ctx->provider, KP_R_BAD_PARAMETER,
                 "PSS salt length: expected digest, max, auto or a number that the key allows");
        return 0;
    }
    ctx->salt = salt;
    return 1;
}

static int rsa_set_params(struct kp_signature *ctx, const OSSL_PARAM params[])
{
    static const struct {
        const char *name;
        int (*set)(struct kp_signature *ctx, const OSSL_PARAM *p);
    } setters[] = {
        {OSSL_SIGNATURE_PARAM_DIGEST, set_digest},
        {OSSL_SIGNATURE_PARAM_PAD_MODE, set_padding},
        {OSSL_SIGNATURE_PARAM_MGF1_DIGEST, set_mgf1},
        {OSSL_SIGNATURE_PARAM_PSS_SALTLEN, set_salt},
    };

    for (size_t i = 0; i < sizeof(setters) / sizeof(setters[0]); i++) {
        const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, setters[i].name);

        if (p != NULL && !setters[i].set(ctx, p))
            return 0;
    }
    return 1;
}

static int get_algorithm_id(struct kp_signature *ctx, OSSL_PARAM *p)
{
    EVP_MD *mgf1;
    int salt;

    if (ctx->digest == NULL)
        return 0;
    if (ctx->padding == RSA_PKCS1_PADDING)
        return kp_algorithm_id(p, ctx->digest, "rsaEncryption");
    if (ctx->padding != RSA_PKCS1_PSS_PADDING || ctx->hash == KYOK_HASH_NONE)
        return 0;
    salt = salt_size(ctx);
    mgf1 = kp_digest(ctx->provider, mgf1_hash(ctx));
    return salt >= 0 && mgf1 != NULL && kp_algorithm_id_pss(p, ctx->digest, mgf1, salt);
}

static int rsa_get_params(struct kp_signature *ctx, OSSL_PARAM params[])
{
    OSSL_PARAM *p;

    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_ALGORITHM_ID);
    if (p != NULL && !get_algorithm_id(ctx, p))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
    if (p != NULL && !write_number(p, paddings, ctx->padding))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_DIGEST);
    if (p != NULL &&
        !OSSL_PARAM_set_utf8_string(p, ctx->digest == NULL ? "" : EVP_MD_get0_name(ctx->digest)))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_MGF1_DIGEST);
    if (p != NULL && !OSSL_PARAM_set_utf8_string(p, kyok_hash_name(mgf1_hash(ctx))))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN);
    return p == NULL || write_number(p, salts, ctx->salt);
}

static const OSSL_PARAM *rsa_gettable(void *ctx, void *provctx)
{
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)ctx;
    (void)provctx;
    return gettable;
}

static const OSSL_PARAM *rsa_settable(void *ctx, void *provctx)
{
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PROPERTIES, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_PROPERTIES, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)ctx;
    (void)provctx;
    return settable;
}

static const struct kp_signature_family rsa_family = {
    .name = "RSA",
    .sign = rsa_sign,
    .bind = rsa_bind,
    .set_params = rsa_set_params,
    .get_params = rsa_get_params,
};

static void *rsa_new(void *provctx, const char *properties)
{
    (void)properties;
    return kp_signature_new(provctx, &rsa_family);
}

const OSSL_DISPATCH kp_signature_rsa[] = {
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_NEWCTX, rsa_new),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_FREECTX, kp_signature_free),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_DUPCTX, kp_signature_dup),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_SIGN_INIT, kp_sign_init),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_SIGN, kp_sign),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_VERIFY_INIT, kp_verify_init),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_VERIFY, kp_verify),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_VERIFY_RECOVER_INIT, kp_verify_recover_init),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_VERIFY_RECOVER, kp_verify_recover),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, kp_digest_sign_init),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE, kp_digest_sign_update),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL, kp_digest_sign_final),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN, kp_digest_sign),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_INIT, kp_digest_verify_init),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_UPDATE, kp_digest_verify_update),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_VERIFY_FINAL, kp_digest_verify_final),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_VERIFY, kp_digest_verify),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, kp_signature_get_params),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS, rsa_gettable),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, kp_signature_set_params),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, rsa_settable),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_GET_CTX_MD_PARAMS, kp_signature_get_md_params),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_GETTABLE_CTX_MD_PARAMS, kp_signature_gettable_md),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_SET_CTX_MD_PARAMS, kp_signature_set_md_params),
    KP_FUNCTION(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_MD_PARAMS, kp_signature_settable_md),
    KP_END,
};
