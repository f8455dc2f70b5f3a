/* SPDX-License-Identifier: Apache-2.0 */
/* RSA decryption by the custodian; encryption needs the public half alone and is the default
 * provider's. The key layer unpads in constant time: a fault of PKCS#1 v1.5 padding is no error
 * here but another plaintext, in TLS (RFC 5246 7.4.7.1) and outside. */
#include "openssl-provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <string.h>
#include <strings.h>

#define TLS_PREMASTER 48
/* Since 3.2. */
#define PARAM_IMPLICIT_REJECTION "implicit-rejection"

struct kp_cipher {
    struct kp_provider *provider;
    struct kp_key *key;
    EVP_PKEY_CTX *soft; /* the default provider's, for encryption and software keys */
    int padding;
    enum kyok_hash oaep, mgf1;
    bool mgf1_set;
    struct kyok_buffer label;
    unsigned tls_version, tls_alt_version;
    bool implicit_rejection;
};

static void *new_cipher(void *provctx)
{
    struct kp_provider *provider = provctx;
    struct kp_cipher *ctx = OPENSSL_zalloc(sizeof(*ctx));

    if (ctx == NULL)
        return NULL;
    ctx->provider = provider;
    ctx->padding = RSA_PKCS1_PADDING;
    ctx->oaep = KYOK_HASH_SHA1;
    ctx->implicit_rejection = provider->settings.implicit_rejection;
    return ctx;
}

static void free_cipher(void *data)
{
    struct kp_cipher *ctx = data;

    if (ctx == NULL)
        return;
    EVP_PKEY_CTX_free(ctx->soft);
    kp_key_free(ctx->key);
    kyok_buffer_free(&ctx->label);
    OPENSSL_free(ctx);
}

static void *dup_cipher(void *data)
{
    const struct kp_cipher *ctx = data;
    struct kp_cipher *copy = OPENSSL_memdup(ctx, sizeof(*ctx));

    if (copy == NULL)
        return NULL;
    copy->label = (struct kyok_buffer){0};
    copy->soft = ctx->soft == NULL ? NULL : EVP_PKEY_CTX_dup(ctx->soft);
    if (copy->key != NULL)
        kp_key_up_ref(copy->key);
    if ((ctx->soft == NULL || copy->soft != NULL) &&
        kyok_buffer_append(&copy->label, ctx->label.data, ctx->label.size))
        return copy;
    free_cipher(copy);
    return NULL;
}

static int take_key(struct kp_cipher *ctx, struct kp_key *key)
{
    if (key != NULL) {
        kp_key_up_ref(key);
        kp_key_free(ctx->key);
        ctx->key = key;
    }
    EVP_PKEY_CTX_free(ctx->soft);
    ctx->soft = NULL;
    return ctx->key != NULL;
}

static int start_soft(struct kp_cipher *ctx, int (*init)(EVP_PKEY_CTX *, const OSSL_PARAM *),
                      const OSSL_PARAM params[])
{
    if (ctx->key->host == NULL) {
        kp_raise(ctx->provider, KP_R_KEY_UNFIT, "the key's public half is not known");
        return 0;
    }
    ctx->soft = EVP_PKEY_CTX_new_from_pkey(ctx->provider->host, ctx->key->host, NULL);
    return ctx->soft != NULL && init(ctx->soft, params) == 1;
}

static int encrypt_init(void *data, void *key, const OSSL_PARAM params[])
{
    struct kp_cipher *ctx = data;

    return take_key(ctx, key) && start_soft(ctx, EVP_PKEY_encrypt_init_ex, params);
}

static int encrypt(void *data, unsigned char *out, size_t *outlen, size_t outsize,
                   const unsigned char *in, size_t inlen)
{
    struct kp_cipher *ctx = data;

    *outlen = outsize;
    return EVP_PKEY_encrypt(ctx->soft, out, outlen, in, inlen) == 1;
}

static int set_params(void *data, const OSSL_PARAM params[]);

static int decrypt_init(void *data, void *key, const OSSL_PARAM params[])
{
    struct kp_cipher *ctx = data;

    if (!take_key(ctx, key))
        return 0;
    if (!kp_key_is_token(ctx->key))
        return start_soft(ctx, EVP_PKEY_decrypt_init_ex, params);
    return set_params(ctx, params);
}

static bool request_of(const struct kp_cipher *ctx, struct kyok_cipher_request *request)
{
    switch (ctx->padding) {
    case RSA_PKCS1_PADDING:
        request->scheme = KYOK_CIPHER_RSA_PKCS1;
        request->strict_padding = !ctx->implicit_rejection;
        return true;
    case RSA_PKCS1_WITH_TLS_PADDING:
        request->scheme = KYOK_CIPHER_RSA_PKCS1_TLS;
        request->tls_version = ctx->tls_version;
        request->tls_alt_version = ctx->tls_alt_version;
        return ctx->tls_version != 0;
    case RSA_PKCS1_OAEP_PADDING:
        request->scheme = KYOK_CIPHER_RSA_OAEP;
        request->hash = ctx->oaep;
        request->mgf1_hash = ctx->mgf1_set ? ctx->mgf1 : ctx->oaep;
        request->label = kyok_buffer_bytes(&ctx->label);
        return true;
    default:
        request->scheme = KYOK_CIPHER_RSA_RAW;
        return true;
    }
}

/* Without a buffer: how much there may be. */
static int decrypted_size(const struct kp_cipher *ctx, size_t *outlen)
{
    *outlen = ctx->padding == RSA_PKCS1_WITH_TLS_PADDING ? TLS_PREMASTER
                                                         : (kp_key_bits(ctx->key) + 7) / 8;
    return 1;
}

static int decrypt(void *data, unsigned char *out, size_t *outlen, size_t outsize,
                   const unsigned char *in, size_t inlen)
{
    struct kp_cipher *ctx = data;
    struct kyok_cipher_request request = {.input = kyok_bytes(in, inlen)};
    KYOK_AUTO_SECRET struct kyok_secret *plain = NULL;

    if (ctx->soft != NULL) {
        *outlen = outsize;
        return EVP_PKEY_decrypt(ctx->soft, out, outlen, in, inlen) == 1;
    }
    if (out == NULL)
        return decrypted_size(ctx, outlen);
    if (!request_of(ctx, &request)) {
        kp_raise(ctx->provider, KP_R_BAD_PARAMETER, "TLS padding needs the client's version");
        return 0;
    }
    if (!kp_token_decrypt(ctx->key, &request, &plain))
        return 0;
    if (kyok_secret_size(plain) > outsize) {
        kp_raise(ctx->provider, KP_R_BUFFER_TOO_SMALL, "room for %zu bytes, %zu needed", outsize,
                 kyok_secret_size(plain));
        return 0;
    }
    *outlen = kyok_secret_size(plain);
    memcpy(out, kyok_secret_data(plain), *outlen);
    return 1;
}

/* --- parameters ------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    int padding;
} paddings[] = {
    {OSSL_PKEY_RSA_PAD_MODE_PKCSV15, RSA_PKCS1_PADDING},
    {OSSL_PKEY_RSA_PAD_MODE_OAEP, RSA_PKCS1_OAEP_PADDING},
    {"oeap", RSA_PKCS1_OAEP_PADDING}, /* OpenSSL takes its old misspelling too */
    {OSSL_PKEY_RSA_PAD_MODE_NONE, RSA_NO_PADDING},
};

static bool read_padding(const OSSL_PARAM *p, int *padding)
{
    const char *text;

    if (p->data_type != OSSL_PARAM_UTF8_STRING)
        return OSSL_PARAM_get_int(p, padding) == 1 &&
               (*padding == RSA_PKCS1_PADDING || *padding == RSA_PKCS1_OAEP_PADDING ||
                *padding == RSA_NO_PADDING || *padding == RSA_PKCS1_WITH_TLS_PADDING);
    if (!OSSL_PARAM_get_utf8_string_ptr(p, &text) || text == NULL)
        return false;
    for (size_t i = 0; i < sizeof(paddings) / sizeof(paddings[0]); i++) {
        if (strcasecmp(text, paddings[i].name) == 0) {
            *padding = paddings[i].padding;
            return true;
        }
    }
    return false;
}

static bool read_hash(const OSSL_PARAM *p, enum kyok_hash *hash)
{
    const char *name;

    if (!OSSL_PARAM_get_utf8_string_ptr(p, &name))
        return false;
    *hash = kyok_hash_by_name(name);
    return *hash != KYOK_HASH_NONE;
}

static int set_padding_params(struct kp_cipher *ctx, const OSSL_PARAM params[])
{
    const OSSL_PARAM *p;

    p = OSSL_PARAM_locate_const(params, OSSL_ASYM_CIPHER_PARAM_PAD_MODE);
    if (p != NULL && !read_padding(p, &ctx->padding)) {
        kp_raise(ctx->provider, KP_R_BAD_PARAMETER,
                 "padding: pkcs1, oaep and none are what a token's key decrypts");
        return 0;
    }
    p = OSSL_PARAM_locate_const(params, OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST);
    if (p != NULL && !read_hash(p, &ctx->oaep)) {
        kp_raise(ctx->provider, KP_R_BAD_PARAMETER, "OAEP digest not known");
        return 0;
    }
    p = OSSL_PARAM_locate_const(params, OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST);
    if (p != NULL && !(ctx->mgf1_set = read_hash(p, &ctx->mgf1))) {
        kp_raise(ctx->provider, KP_R_BAD_PARAMETER, "MGF1 digest not known");
        return 0;
    }
    return 1;
}

static int set_label(struct kp_cipher *ctx, const OSSL_PARAM *p)
{
    if (p == NULL)
        return 1;
    ctx->label.size = 0;
    return p->data_type == OSSL_PARAM_OCTET_STRING &&
           kyok_buffer_append(&ctx->label, p->data, p->data_size);
}

static int set_params(void *data, const OSSL_PARAM params[])
{
    struct kp_cipher *ctx = data;
    const OSSL_PARAM *p;
    unsigned implicit;

    if (params == NULL)
        return 1;
    if (ctx->soft != NULL)
        return EVP_PKEY_CTX_set_params(ctx->soft, params);
    if (!set_padding_params(ctx, params) ||
        !set_label(ctx, OSSL_PARAM_locate_const(params, OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL)))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION);
    if (p != NULL && !OSSL_PARAM_get_uint(p, &ctx->tls_version))
        return 0;
    p = OSSL_PARAM_locate_const(params, OSSL_ASYM_CIPHER_PARAM_TLS_NEGOTIATED_VERSION);
    if (p != NULL && !OSSL_PARAM_get_uint(p, &ctx->tls_alt_version))
        return 0;
    p = OSSL_PARAM_locate_const(params, PARAM_IMPLICIT_REJECTION);
    if (p == NULL)
        return 1;
    if (!OSSL_PARAM_get_uint(p, &implicit))
        return 0;
    ctx->implicit_rejection = implicit != 0;
    return 1;
}

static int get_padding(const struct kp_cipher *ctx, OSSL_PARAM *p)
{
    if (p->data_type != OSSL_PARAM_UTF8_STRING)
        return OSSL_PARAM_set_int(p, ctx->padding);
    for (size_t i = 0; i < sizeof(paddings) / sizeof(paddings[0]); i++) {
        if (paddings[i].padding == ctx->padding)
            return OSSL_PARAM_set_utf8_string(p, paddings[i].name);
    }
    return 0;
}

static int get_params(void *data, OSSL_PARAM params[])
{
    struct kp_cipher *ctx = data;
    OSSL_PARAM *p;

    if (ctx->soft != NULL)
        return EVP_PKEY_CTX_get_params(ctx->soft, params);
    p = OSSL_PARAM_locate(params, OSSL_ASYM_CIPHER_PARAM_PAD_MODE);
    if (p != NULL && !get_padding(ctx, p))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST);
    if (p != NULL && !OSSL_PARAM_set_utf8_string(p, kyok_hash_name(ctx->oaep)))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST);
    if (p != NULL &&
        !OSSL_PARAM_set_utf8_string(p, kyok_hash_name(ctx->mgf1_set ? ctx->mgf1 : ctx->oaep)))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL);
    if (p != NULL && !OSSL_PARAM_set_octet_ptr(p, ctx->label.data, ctx->label.size))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION);
    if (p != NULL && !OSSL_PARAM_set_uint(p, ctx->tls_version))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_ASYM_CIPHER_PARAM_TLS_NEGOTIATED_VERSION);
    return p == NULL || OSSL_PARAM_set_uint(p, ctx->tls_alt_version);
}

static const OSSL_PARAM *gettable_params(void *ctx, void *provctx)
{
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, NULL, 0),
        OSSL_PARAM_octet_ptr(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, NULL, 0),
        OSSL_PARAM_uint(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, NULL),
        OSSL_PARAM_uint(OSSL_ASYM_CIPHER_PARAM_TLS_NEGOTIATED_VERSION, NULL),
        OSSL_PARAM_END,
    };

    (void)ctx;
    (void)provctx;
    return gettable;
}

static const OSSL_PARAM *settable_params(void *ctx, void *provctx)
{
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST_PROPS, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST_PROPS, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, NULL, 0),
        OSSL_PARAM_uint(OSSL_ASYM_CIPHER_PARAM_TLS_CLIENT_VERSION, NULL),
        OSSL_PARAM_uint(OSSL_ASYM_CIPHER_PARAM_TLS_NEGOTIATED_VERSION, NULL),
        OSSL_PARAM_uint(PARAM_IMPLICIT_REJECTION, NULL),
        OSSL_PARAM_END,
    };

    (void)ctx;
    (void)provctx;
    return settable;
}

const OSSL_DISPATCH kp_asym_cipher_rsa[] = {
    KP_FUNCTION(OSSL_FUNC_ASYM_CIPHER_NEWCTX, new_cipher),
    KP_FUNCTION(OSSL_FUNC_ASYM_CIPHER_FREECTX, free_cipher),
    KP_FUNCTION(OSSL_FUNC_ASYM_CIPHER_DUPCTX, dup_cipher),
    KP_FUNCTION(OSSL_FUNC_ASYM_CIPHER_ENCRYPT_INIT, encrypt_init),
    KP_FUNCTION(OSSL_FUNC_ASYM_CIPHER_ENCRYPT, encrypt),
    KP_FUNCTION(OSSL_FUNC_ASYM_CIPHER_DECRYPT_INIT, decrypt_init),
    KP_FUNCTION(OSSL_FUNC_ASYM_CIPHER_DECRYPT, decrypt),
    KP_FUNCTION(OSSL_FUNC_ASYM_CIPHER_GET_CTX_PARAMS, get_params),
    KP_FUNCTION(OSSL_FUNC_ASYM_CIPHER_GETTABLE_CTX_PARAMS, gettable_params),
    KP_FUNCTION(OSSL_FUNC_ASYM_CIPHER_SET_CTX_PARAMS, set_params),
    KP_FUNCTION(OSSL_FUNC_ASYM_CIPHER_SETTABLE_CTX_PARAMS, settable_params),
    KP_END,
};
