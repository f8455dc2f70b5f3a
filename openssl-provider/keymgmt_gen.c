/* SPDX-License-Identifier: Apache-2.0 */
/* Generation: in the custodian when a reference says where, else by the default provider (TLS makes
 * its ephemeral keys here when this provider was activated first). */
#include "openssl-provider/keymgmt.h"

#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/params.h>
#include <string.h>

struct kp_gen {
    struct kp_provider *provider;
    const struct kp_type *type;
    int selection;
    EVP_PKEY_CTX *soft;
    char *uri;
    char curve[40];
    size_t bits;
    unsigned uses;
    bool other_exponent;
    char pss_digest[64], pss_mgf1[64];
    int pss_salt;
    bool pss_salt_set;
};

static bool wants_key(const struct kp_gen *gen)
{
    return (gen->selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0;
}

static bool start(struct kp_gen *gen, EVP_PKEY_CTX *soft)
{
    EVP_PKEY_CTX_free(gen->soft);
    gen->soft = soft;
    if (soft == NULL)
        return false;
    return (wants_key(gen) ? EVP_PKEY_keygen_init(soft) : EVP_PKEY_paramgen_init(soft)) == 1;
}

void *kp_gen_init(struct kp_provider *provider, const struct kp_type *type, int selection,
                  const OSSL_PARAM params[])
{
    struct kp_gen *gen = OPENSSL_zalloc(sizeof(*gen));

    if (gen == NULL)
        return NULL;
    gen->provider = provider;
    gen->type = type;
    gen->selection = selection;
    if (start(gen, EVP_PKEY_CTX_new_from_name(provider->host, type->name, NULL)) &&
        kp_gen_set_params(gen, params))
        return gen;
    kp_gen_cleanup(gen);
    return NULL;
}

int kp_gen_set_template(void *data, void *template)
{
    struct kp_gen *gen = data;
    const struct kp_key *key = template;

    if (key->host == NULL)
        return 0;
    return start(gen, EVP_PKEY_CTX_new_from_pkey(gen->provider->host, key->host, NULL));
}

/* kyok's words, and X.509's key usages as pkcs11-provider takes them. */
static int read_uses(struct kp_gen *gen, const char *text)
{
    static const struct {
        const char *word;
        unsigned use;
    } words[] = {
        {"sign", KYOK_USE_SIGN},
        {"decrypt", KYOK_USE_DECRYPT},
        {"derive", KYOK_USE_DERIVE},
        {"wrap", KYOK_USE_WRAP},
        {"digitalSignature", KYOK_USE_SIGN},
        {"nonRepudiation", KYOK_USE_SIGN},
        {"keyEncipherment", KYOK_USE_DECRYPT | KYOK_USE_WRAP},
        {"dataEncipherment", KYOK_USE_DECRYPT},
        {"keyAgreement", KYOK_USE_DERIVE},
        {"keyCertSign", KYOK_USE_SIGN},
        {"cRLSign", KYOK_USE_SIGN},
    };
    size_t length, i;

    gen->uses = 0;
    for (text += strspn(text, " ,"); *text != '\0'; text += length + strspn(text + length, " ,")) {
        length = strcspn(text, " ,");
        for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
            if (strlen(words[i].word) == length && strncmp(words[i].word, text, length) == 0)
                break;
        }
        if (i == sizeof(words) / sizeof(words[0])) {
            kp_raise(gen->provider, KP_R_BAD_PARAMETER,
                     "%.*s: unknown key use; known are sign, decrypt, derive, wrap and X.509's key "
                     "usages",
                     (int)length, text);
            return 0;
        }
        gen->uses |= words[i].use;
    }
    return 1;
}

/* A copy of the text, which need not end in a NUL in the parameter. Absent: true and NULL. */
static bool text_of(const OSSL_PARAM params[], const char *name, const char *other, char **text)
{
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, name);

    *text = NULL;
    if (p == NULL)
        p = OSSL_PARAM_locate_const(params, other);
    return p == NULL || OSSL_PARAM_get_utf8_string(p, text, 0) == 1;
}

static void free_text(char **text)
{
    OPENSSL_free(*text);
}

static bool usual_exponent(const OSSL_PARAM *p)
{
    BIGNUM *e = NULL;
    bool usual = p == NULL || (OSSL_PARAM_get_BN(p, &e) == 1 && BN_is_word(e, 65537));

    BN_free(e);
    return usual;
}

static bool set_own(struct kp_gen *gen, const OSSL_PARAM params[])
{
    KYOK_CLEANUP(free_text) char *uri = NULL;
    KYOK_CLEANUP(free_text) char *uses = NULL;
    KYOK_CLEANUP(free_text) char *curve = NULL;

    if (!text_of(params, "kyok_uri", "pkcs11_uri", &uri) ||
        !text_of(params, "kyok_use", "pkcs11_key_usage", &uses) ||
        !text_of(params, OSSL_PKEY_PARAM_GROUP_NAME, OSSL_PKEY_PARAM_GROUP_NAME, &curve))
        return false;
    if (uri != NULL) {
        OPENSSL_free(gen->uri);
        gen->uri = uri;
        uri = NULL;
    }
    if (curve != NULL)
        OPENSSL_strlcpy(gen->curve, curve, sizeof(gen->curve));
    return uses == NULL || read_uses(gen, uses);
}

/* RFC 4055: what a key with id-RSASSA-PSS is restricted to; kept for its public half. */
static bool set_restriction(struct kp_gen *gen, const OSSL_PARAM params[])
{
    KYOK_CLEANUP(free_text) char *digest = NULL;
    KYOK_CLEANUP(free_text) char *mgf1 = NULL;
    const OSSL_PARAM *salt = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_RSA_PSS_SALTLEN);

    if (!text_of(params, OSSL_PKEY_PARAM_RSA_DIGEST, OSSL_PKEY_PARAM_RSA_DIGEST, &digest) ||
        !text_of(params, OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, &mgf1))
        return false;
    if (digest != NULL)
        OPENSSL_strlcpy(gen->pss_digest, digest, sizeof(gen->pss_digest));
    if (mgf1 != NULL)
        OPENSSL_strlcpy(gen->pss_mgf1, mgf1, sizeof(gen->pss_mgf1));
    if (salt == NULL)
        return true;
    gen->pss_salt_set = true;
    return OSSL_PARAM_get_int(salt, &gen->pss_salt) == 1;
}

int kp_gen_set_params(void *data, const OSSL_PARAM params[])
{
    struct kp_gen *gen = data;
    const OSSL_PARAM *bits;

    if (params == NULL)
        return 1;
    if (!set_own(gen, params) || (gen->type->pss && !set_restriction(gen, params)))
        return 0;
    bits = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_RSA_BITS);
    if (bits != NULL && !OSSL_PARAM_get_size_t(bits, &gen->bits))
        return 0;
    if (!usual_exponent(OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_RSA_E)))
        gen->other_exponent = true;
    /* The default provider knows the rest, and whether the values are sound. */
    return EVP_PKEY_CTX_set_params(gen->soft, params);
}

/* Size in bits of what is to be made in the token; 0: raised. */
static unsigned token_bits(const struct kp_gen *gen)
{
    static const struct {
        const char *name;
        unsigned bits;
    } curves[] = {{"P-256", 256},     {"prime256v1", 256}, {"secp256r1", 256}, {"P-384", 384},
                  {"secp384r1", 384}, {"P-521", 521},      {"secp521r1", 521}};

    if (gen->type->kind == KYOK_KEY_RSA && !gen->other_exponent)
        return gen->bits == 0 ? 2048 : (unsigned)gen->bits;
    if (gen->type->kind == KYOK_KEY_RSA) {
        kp_raise(gen->provider, KP_R_BAD_PARAMETER,
                 "a token's RSA key is made with the public exponent 65537 only");
        return 0;
    }
    if (gen->type->kind != KYOK_KEY_EC)
        return gen->type->kind == KYOK_KEY_ED448 || gen->type->kind == KYOK_KEY_X448 ? 448 : 255;
    for (size_t i = 0; i < sizeof(curves) / sizeof(curves[0]); i++) {
        if (OPENSSL_strcasecmp(curves[i].name, gen->curve) == 0)
            return curves[i].bits;
    }
    kp_raise(gen->provider, KP_R_BAD_PARAMETER,
             "curve \"%s\": a token's EC key is made on P-256, P-384 or P-521 (-pkeyopt "
             "group:P-256)",
             gen->curve);
    return 0;
}

static OSSL_PARAM *restriction(const struct kp_gen *gen)
{
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    bool ok = builder != NULL;

    if (ok && gen->pss_digest[0] != '\0')
        ok = OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_RSA_DIGEST, gen->pss_digest,
                                             0) == 1;
    if (ok && gen->pss_mgf1[0] != '\0')
        ok = OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_RSA_MGF1_DIGEST,
                                             gen->pss_mgf1, 0) == 1;
    if (ok && gen->pss_salt_set)
        ok = OSSL_PARAM_BLD_push_int(builder, OSSL_PKEY_PARAM_RSA_PSS_SALTLEN, gen->pss_salt) == 1;
    if (ok)
        params = OSSL_PARAM_BLD_to_param(builder);
    OSSL_PARAM_BLD_free(builder);
    return params;
}

/* An RSA-PSS key is an RSA key in the token; what restricts it lives in its public half. */
static bool restrict_to_pss(const struct kp_gen *gen, struct kp_key *key)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(key->provider->host, "RSA-PSS", NULL);
    OSSL_PARAM *numbers = NULL, *limits = restriction(gen), *params = NULL;
    EVP_PKEY *restricted = NULL;

    if (ctx != NULL && limits != NULL &&
        EVP_PKEY_todata(key->host, OSSL_KEYMGMT_SELECT_PUBLIC_KEY, &numbers) == 1 &&
        (params = OSSL_PARAM_merge(numbers, limits)) != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
        EVP_PKEY_fromdata(ctx, &restricted,
                          OSSL_KEYMGMT_SELECT_PUBLIC_KEY | OSSL_KEYMGMT_SELECT_ALL_PARAMETERS,
                          params) == 1) {
        EVP_PKEY_free(key->host);
        key->host = restricted;
    }
    OPENSSL_free(params);
    OSSL_PARAM_free(numbers);
    OSSL_PARAM_free(limits);
    EVP_PKEY_CTX_free(ctx);
    return restricted != NULL;
}

static struct kp_key *generate_in_token(struct kp_gen *gen)
{
    struct kyok_generate_request request = {
        .type = gen->type->kind, .bits = token_bits(gen), .uses = gen->uses};
    struct kp_key *key;

    if (request.bits == 0)
        return NULL;
    key = kp_token_generate(gen->provider, gen->type, gen->uri, &request);
    if (key == NULL || !gen->type->pss || key->host == NULL || restrict_to_pss(gen, key))
        return key;
    kp_key_free(key);
    return NULL;
}

static struct kp_key *generate_on_host(struct kp_gen *gen)
{
    struct kp_key *key;

    if (!kp_default_present(gen->provider))
        return NULL;
    key = kp_key_new(gen->provider, gen->type);
    if (key == NULL)
        return NULL;
    key->parts =
        OSSL_KEYMGMT_SELECT_ALL_PARAMETERS | (wants_key(gen) ? OSSL_KEYMGMT_SELECT_KEYPAIR : 0);
    if (EVP_PKEY_generate(gen->soft, &key->host) == 1)
        return key;
    kp_key_free(key);
    return NULL;
}

void *kp_gen(void *data, OSSL_CALLBACK *callback, void *argument)
{
    struct kp_gen *gen = data;

    (void)callback;
    (void)argument;
    if (gen->uri != NULL && wants_key(gen))
        return generate_in_token(gen);
    return generate_on_host(gen);
}

void kp_gen_cleanup(void *data)
{
    struct kp_gen *gen = data;

    if (gen == NULL)
        return;
    EVP_PKEY_CTX_free(gen->soft);
    OPENSSL_free(gen->uri);
    OPENSSL_free(gen);
}
