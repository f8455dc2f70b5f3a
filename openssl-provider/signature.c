/* SPDX-License-Identifier: Apache-2.0 */
/* Signing with a token's key: hash on the host, one call with the digest. */
#include "openssl-provider/signature.h"

#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <string.h>

void *kp_signature_new(struct kp_provider *provider, const struct kp_signature_family *family)
{
    struct kp_signature *ctx = OPENSSL_zalloc(sizeof(*ctx));

    if (ctx == NULL)
        return NULL;
    ctx->provider = provider;
    ctx->family = family;
    ctx->padding = RSA_PKCS1_PADDING;
    ctx->salt = RSA_PSS_SALTLEN_AUTO;
    ctx->message.limit = KYOK_SIGN_DATA_MAX;
    return ctx;
}

static void drop_soft(struct kp_signature *ctx)
{
    if (ctx->soft_digest != NULL)
        EVP_MD_CTX_free(ctx->soft_digest);
    else
        EVP_PKEY_CTX_free(ctx->soft);
    ctx->soft_digest = NULL;
    ctx->soft = NULL;
}

void kp_signature_free(void *data)
{
    struct kp_signature *ctx = data;

    if (ctx == NULL)
        return;
    drop_soft(ctx);
    kp_key_free(ctx->key);
    EVP_MD_CTX_free(ctx->hashing);
    EVP_MD_free(ctx->fetched);
    kyok_buffer_free(&ctx->message);
    OPENSSL_free(ctx);
}

static bool dup_soft(struct kp_signature *copy, const struct kp_signature *ctx)
{
    if (ctx->soft == NULL)
        return true;
    if (ctx->soft_digest == NULL) {
        copy->soft = EVP_PKEY_CTX_dup(ctx->soft);
        return copy->soft != NULL;
    }
    copy->soft_digest = EVP_MD_CTX_new();
    if (copy->soft_digest == NULL || EVP_MD_CTX_copy_ex(copy->soft_digest, ctx->soft_digest) != 1)
        return false;
    copy->soft = EVP_MD_CTX_get_pkey_ctx(copy->soft_digest);
    return true;
}

static bool dup_hashing(struct kp_signature *copy, const struct kp_signature *ctx)
{
    if (ctx->hashing == NULL)
        return true;
    copy->hashing = EVP_MD_CTX_new();
    return copy->hashing != NULL && EVP_MD_CTX_copy_ex(copy->hashing, ctx->hashing) == 1;
}

void *kp_signature_dup(void *data)
{
    const struct kp_signature *ctx = data;
    struct kp_signature *copy = OPENSSL_memdup(ctx, sizeof(*ctx));

    if (copy == NULL)
        return NULL;
    copy->soft = NULL;
    copy->soft_digest = NULL;
    copy->hashing = NULL;
    copy->message = (struct kyok_buffer){.limit = KYOK_SIGN_DATA_MAX};
    if (copy->key != NULL)
        kp_key_up_ref(copy->key);
    if (copy->fetched != NULL)
        EVP_MD_up_ref(copy->fetched);
    if (dup_soft(copy, ctx) && dup_hashing(copy, ctx) &&
        kyok_buffer_append(&copy->message, ctx->message.data, ctx->message.size))
        return copy;
    kp_signature_free(copy);
    return NULL;
}

/* --- binding --------------------------------------------------------------------------------- */

/* Takes a new key, or keeps the one of the last use. */
static int take_key(struct kp_signature *ctx, struct kp_key *key)
{
    if (key != NULL) {
        kp_key_up_ref(key);
        kp_key_free(ctx->key);
        ctx->key = key;
    }
    if (ctx->key != NULL)
        return 1;
    kp_raise(ctx->provider, KP_R_NO_KEY, "no key set");
    return 0;
}

int kp_signature_bind(struct kp_signature *ctx, struct kp_key *key)
{
    if (!take_key(ctx, key))
        return 0;
    drop_soft(ctx);
    ctx->digest_fixed = false;
    if (!kp_key_is_token(ctx->key))
        return 1;
    ctx->whole = kyok_key_wants_data(ctx->key->token);
    return ctx->family->bind == NULL || ctx->family->bind(ctx);
}

/* The context stands for one of the default provider. */
static int bind_soft(struct kp_signature *ctx, struct kp_key *key,
                     int (*init)(EVP_PKEY_CTX *, const OSSL_PARAM *), const OSSL_PARAM params[])
{
    if (!take_key(ctx, key))
        return 0;
    drop_soft(ctx);
    if (ctx->key->host == NULL) {
        kp_raise(ctx->provider, KP_R_KEY_UNFIT, "the key's public half is not known");
        return 0;
    }
    ctx->soft = EVP_PKEY_CTX_new_from_pkey(ctx->provider->host, ctx->key->host, NULL);
    return ctx->soft != NULL && init(ctx->soft, params) == 1;
}

static int bind_soft_digest(struct kp_signature *ctx, struct kp_key *key, const char *digest,
                            const OSSL_PARAM params[], bool verify)
{
    if (!take_key(ctx, key))
        return 0;
    drop_soft(ctx);
    if (ctx->key->host == NULL) {
        kp_raise(ctx->provider, KP_R_KEY_UNFIT, "the key's public half is not known");
        return 0;
    }
    ctx->soft_digest = EVP_MD_CTX_new();
    if (ctx->soft_digest == NULL)
        return 0;
    if (digest != NULL && *digest == '\0')
        digest = NULL;
    if (verify)
        return EVP_DigestVerifyInit_ex(ctx->soft_digest, &ctx->soft, digest, ctx->provider->host,
                                       NULL, ctx->key->host, params) == 1;
    return EVP_DigestSignInit_ex(ctx->soft_digest, &ctx->soft, digest, ctx->provider->host, NULL,
                                 ctx->key->host, params) == 1;
}

int kp_signature_set_digest(struct kp_signature *ctx, const char *name)
{
    enum kyok_hash hash = kyok_hash_by_name(name);
    const EVP_MD *digest;

    EVP_MD_free(ctx->fetched);
    ctx->fetched = NULL;
    if (hash == KYOK_HASH_NONE)
        digest = ctx->fetched = EVP_MD_fetch(ctx->provider->host, name, NULL);
    else
        digest = kp_digest(ctx->provider, hash);
    ctx->digest = digest;
    ctx->hash = hash;
    if (digest != NULL)
        return 1;
    kp_raise(ctx->provider, KP_R_BAD_PARAMETER, "digest %s is not known", name);
    return 0;
}

/* --- signing --------------------------------------------------------------------------------- */

int kp_signature_room(const struct kp_signature *ctx, const uint8_t *sig, size_t *siglen,
                      size_t sigsize, bool *done)
{
    size_t size = kyok_key_signature_size(ctx->key->token);

    *done = sig == NULL;
    if (*done) {
        *siglen = size;
        return 1;
    }
    /* An ECDSA signature may be shorter than its largest size; the key layer looks at what it has
     * really got. */
    if (sigsize >= size || ctx->key->type->kind == KYOK_KEY_EC)
        return 1;
    kp_raise(ctx->provider, KP_R_BUFFER_TOO_SMALL, "room for %zu bytes of signature, %zu needed",
             sigsize, size);
    return 0;
}

static int sign_digest(struct kp_signature *ctx, const uint8_t *digest, size_t size,
                       struct kyok_bytes message, uint8_t *sig, size_t *siglen, size_t sigsize)
{
    struct kyok_sign_request request = {
        .hash = ctx->hash, .digest = kyok_bytes(digest, size), .data = message};
    bool done;

    if (!kp_signature_room(ctx, sig, siglen, sigsize, &done))
        return 0;
    return done || ctx->family->sign(ctx, &request, sig, siglen, sigsize);
}

int kp_sign_init(void *data, void *key, const OSSL_PARAM params[])
{
    struct kp_signature *ctx = data;

    if (ctx == NULL || !kp_signature_bind(ctx, key))
        return 0;
    if (!kp_key_is_token(ctx->key))
        return bind_soft(ctx, NULL, EVP_PKEY_sign_init_ex, params);
    return kp_signature_set_params(ctx, params);
}

int kp_sign(void *data, unsigned char *sig, size_t *siglen, size_t sigsize,
            const unsigned char *tbs, size_t tbslen)
{
    struct kp_signature *ctx = data;

    if (ctx->soft != NULL) {
        *siglen = sigsize;
        return EVP_PKEY_sign(ctx->soft, sig, siglen, tbs, tbslen) == 1;
    }
    if (sig != NULL && ctx->digest != NULL && tbslen != (size_t)EVP_MD_get_size(ctx->digest)) {
        kp_raise(ctx->provider, KP_R_BAD_PARAMETER, "%zu bytes given, %s has %d", tbslen,
                 EVP_MD_get0_name(ctx->digest), EVP_MD_get_size(ctx->digest));
        return 0;
    }
    return sign_digest(ctx, tbs, tbslen, kyok_bytes(NULL, 0), sig, siglen, sigsize);
}

static int start_hashing(struct kp_signature *ctx)
{
    if (ctx->hashing == NULL && (ctx->hashing = EVP_MD_CTX_new()) == NULL)
        return 0;
    ctx->message.size = 0;
    ctx->hashing_fresh = EVP_DigestInit_ex2(ctx->hashing, ctx->digest, NULL) == 1;
    return ctx->hashing_fresh;
}

int kp_digest_sign_init(void *data, const char *digest, void *key, const OSSL_PARAM params[])
{
    struct kp_signature *ctx = data;

    if (ctx == NULL || !kp_signature_bind(ctx, key))
        return 0;
    if (!kp_key_is_token(ctx->key))
        return bind_soft_digest(ctx, NULL, digest, params, false);
    if (digest == NULL || *digest == '\0')
        digest = ctx->digest == NULL ? "SHA256" : NULL;
    if (digest != NULL && ctx->restricted && kyok_hash_by_name(digest) != ctx->hash) {
        kp_raise(ctx->provider, KP_R_BAD_PARAMETER, "digest %s: this RSA-PSS key is for %s", digest,
                 kyok_hash_name(ctx->hash));
        return 0;
    }
    if (digest != NULL && !kp_signature_set_digest(ctx, digest))
        return 0;
    if (!kp_signature_set_params(ctx, params))
        return 0;
    ctx->digest_fixed = true;
    return start_hashing(ctx);
}

int kp_digest_sign_update(void *data, const unsigned char *bytes, size_t size)
{
    struct kp_signature *ctx = data;

    if (ctx->soft_digest != NULL)
        return EVP_DigestSignUpdate(ctx->soft_digest, bytes, size) == 1;
    if (ctx->hashing == NULL)
        return 0;
    if (ctx->whole && !kyok_buffer_append(&ctx->message, bytes, size)) {
        kp_raise(ctx->provider, KYOK_UNSUPPORTED,
                 "this custodian signs whole messages only, of at most %zu bytes",
                 KYOK_SIGN_DATA_MAX);
        return 0;
    }
    ctx->hashing_fresh = false;
    return EVP_DigestUpdate(ctx->hashing, bytes, size) == 1;
}

int kp_digest_sign_final(void *data, unsigned char *sig, size_t *siglen, size_t sigsize)
{
    struct kp_signature *ctx = data;
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;

    if (ctx->soft_digest != NULL) {
        *siglen = sigsize;
        return EVP_DigestSignFinal(ctx->soft_digest, sig, siglen) == 1;
    }
    if (ctx->hashing == NULL)
        return 0;
    if (sig != NULL)
        ctx->hashing_fresh = false;
    if (sig != NULL && EVP_DigestFinal_ex(ctx->hashing, digest, &size) != 1)
        return 0;
    return sign_digest(ctx, digest, size, kyok_buffer_bytes(&ctx->message), sig, siglen, sigsize);
}

/* The initialisation has just started it, unless this context is used again. */
static bool hash_whole(struct kp_signature *ctx, struct kyok_bytes message, uint8_t *digest,
                       unsigned *size)
{
    if (!ctx->hashing_fresh && !start_hashing(ctx))
        return false;
    ctx->hashing_fresh = false;
    return EVP_DigestUpdate(ctx->hashing, message.data, message.size) == 1 &&
           EVP_DigestFinal_ex(ctx->hashing, digest, size) == 1;
}

int kp_digest_sign(void *data, unsigned char *sig, size_t *siglen, size_t sigsize,
                   const unsigned char *tbs, size_t tbslen)
{
    struct kp_signature *ctx = data;
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;

    if (ctx->soft_digest != NULL) {
        *siglen = sigsize;
        return EVP_DigestSign(ctx->soft_digest, sig, siglen, tbs, tbslen) == 1;
    }
    if (sig != NULL && !hash_whole(ctx, kyok_bytes(tbs, tbslen), digest, &size))
        return 0;
    return sign_digest(ctx, digest, size,
                       ctx->whole ? kyok_bytes(tbs, tbslen) : kyok_bytes(NULL, 0), sig, siglen,
                       sigsize);
}

/* --- verifying: always the default provider, on the public half ------------------------------ */

int kp_verify_init(void *data, void *key, const OSSL_PARAM params[])
{
    return bind_soft(data, key, EVP_PKEY_verify_init_ex, params);
}

int kp_verify(void *data, const unsigned char *sig, size_t siglen, const unsigned char *tbs,
              size_t tbslen)
{
    struct kp_signature *ctx = data;

    return EVP_PKEY_verify(ctx->soft, sig, siglen, tbs, tbslen) == 1;
}

int kp_verify_recover_init(void *data, void *key, const OSSL_PARAM params[])
{
    return bind_soft(data, key, EVP_PKEY_verify_recover_init_ex, params);
}

int kp_verify_recover(void *data, unsigned char *out, size_t *outlen, size_t outsize,
                      const unsigned char *sig, size_t siglen)
{
    struct kp_signature *ctx = data;

    *outlen = outsize;
    return EVP_PKEY_verify_recover(ctx->soft, out, outlen, sig, siglen) == 1;
}

int kp_digest_verify_init(void *data, const char *digest, void *key, const OSSL_PARAM params[])
{
    return bind_soft_digest(data, key, digest, params, true);
}

int kp_digest_verify_update(void *data, const unsigned char *bytes, size_t size)
{
    struct kp_signature *ctx = data;

    return EVP_DigestVerifyUpdate(ctx->soft_digest, bytes, size) == 1;
}

int kp_digest_verify_final(void *data, const unsigned char *sig, size_t siglen)
{
    struct kp_signature *ctx = data;

    return EVP_DigestVerifyFinal(ctx->soft_digest, sig, siglen) == 1;
}

int kp_digest_verify(void *data, const unsigned char *sig, size_t siglen, const unsigned char *tbs,
                     size_t tbslen)
{
    struct kp_signature *ctx = data;

    return EVP_DigestVerify(ctx->soft_digest, sig, siglen, tbs, tbslen) == 1;
}

/* --- parameters ------------------------------------------------------------------------------ */

int kp_signature_get_params(void *data, OSSL_PARAM params[])
{
    struct kp_signature *ctx = data;

    if (ctx->soft != NULL)
        return EVP_PKEY_CTX_get_params(ctx->soft, params);
    return ctx->family->get_params(ctx, params);
}

int kp_signature_set_params(void *data, const OSSL_PARAM params[])
{
    struct kp_signature *ctx = data;

    if (params == NULL)
        return 1;
    if (ctx->soft != NULL)
        return EVP_PKEY_CTX_set_params(ctx->soft, params);
    return ctx->family->set_params(ctx, params);
}

static EVP_MD_CTX *hashing(const struct kp_signature *ctx)
{
    return ctx->soft_digest != NULL ? ctx->soft_digest : ctx->hashing;
}

int kp_signature_get_md_params(void *data, OSSL_PARAM params[])
{
    struct kp_signature *ctx = data;

    return hashing(ctx) != NULL && EVP_MD_CTX_get_params(hashing(ctx), params);
}

const OSSL_PARAM *kp_signature_gettable_md(void *data)
{
    struct kp_signature *ctx = data;

    return hashing(ctx) == NULL ? NULL : EVP_MD_CTX_gettable_params(hashing(ctx));
}

int kp_signature_set_md_params(void *data, const OSSL_PARAM params[])
{
    struct kp_signature *ctx = data;

    return hashing(ctx) != NULL && EVP_MD_CTX_set_params(hashing(ctx), params);
}

const OSSL_PARAM *kp_signature_settable_md(void *data)
{
    struct kp_signature *ctx = data;

    return hashing(ctx) == NULL ? NULL : EVP_MD_CTX_settable_params(hashing(ctx));
}
