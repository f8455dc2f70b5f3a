/* SPDX-License-Identifier: Apache-2.0 */
/* Key management that all types share. A token's private half never leaves; whatever is public goes
 * to other providers when they ask, so that public operations are theirs. */
#include "openssl-provider/keymgmt.h"

#include <openssl/err.h>
#include <openssl/params.h>
#include <string.h>

#define PRIVATE OSSL_KEYMGMT_SELECT_PRIVATE_KEY
#define PUBLIC OSSL_KEYMGMT_SELECT_PUBLIC_KEY
#define PARAMETERS OSSL_KEYMGMT_SELECT_ALL_PARAMETERS

/* reference is a struct kp_key * that a store or decoder of this provider hands over. */
void *kp_keymgmt_load(const void *reference, size_t size)
{
    struct kp_key *key, **from = (struct kp_key **)(uintptr_t)reference;

    if (size != sizeof(key))
        return NULL;
    key = *from;
    *from = NULL;
    return key;
}

int kp_keymgmt_has(const void *data, int selection)
{
    const struct kp_key *key = data;
    int wanted = selection & (PRIVATE | PUBLIC);

    if (key == NULL)
        return 0;
    /* Only EC keys have parameters to lack. */
    if (key->type->kind == KYOK_KEY_EC)
        wanted |= selection & OSSL_KEYMGMT_SELECT_DOMAIN_PARAMETERS;
    return (key->parts & wanted) == wanted;
}

int kp_keymgmt_match(const void *a, const void *b, int selection)
{
    const struct kp_key *one = a, *two = b;

    if (one == two || (one->token != NULL && one->token == two->token))
        return 1;
    if (one->host == NULL || two->host == NULL)
        return 0;
    if ((selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0)
        return EVP_PKEY_eq(one->host, two->host) == 1;
    return EVP_PKEY_parameters_eq(one->host, two->host) == 1;
}

static int validate_host(const struct kp_key *key, int selection)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(key->provider->host, key->host, NULL);
    int ok;

    if (ctx == NULL)
        return 0;
    if ((selection & PRIVATE) != 0 && !kp_key_is_token(key))
        ok = EVP_PKEY_check(ctx) == 1;
    else if ((selection & PUBLIC) != 0)
        ok = EVP_PKEY_public_check(ctx) == 1;
    else
        ok = EVP_PKEY_param_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

int kp_keymgmt_validate(const void *data, int selection, int check)
{
    const struct kp_key *key = data;

    (void)check;
    if ((selection & PRIVATE) != 0 && kp_key_is_token(key) && !kp_token_check(key))
        return 0;
    return key->host == NULL ? kp_key_is_token(key) : validate_host(key, selection);
}

/* Parameters alone: what libssl copies before it sets a peer's public value. */
static EVP_PKEY *host_parameters(EVP_PKEY *from)
{
    EVP_PKEY *copy = EVP_PKEY_new();

    if (copy != NULL && EVP_PKEY_copy_parameters(copy, from) == 1)
        return copy;
    EVP_PKEY_free(copy);
    return NULL;
}

void *kp_keymgmt_dup(const void *data, int selection)
{
    const struct kp_key *key = data;
    struct kp_key *copy = kp_key_new(key->provider, key->type);
    bool whole = (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0;

    if (copy == NULL)
        return NULL;
    copy->parts = whole ? key->parts : key->parts & PARAMETERS;
    if (key->host != NULL)
        copy->host = whole ? EVP_PKEY_dup(key->host) : host_parameters(key->host);
    if (key->host != NULL && copy->host == NULL) {
        kp_key_free(copy);
        return NULL;
    }
    if (whole && key->token != NULL) {
        kyok_key_up_ref(key->token);
        copy->token = key->token;
        copy->uri = OPENSSL_strdup(key->uri);
    }
    return copy;
}

static int parts_in(const struct kp_type *type, int selection, const OSSL_PARAM params[])
{
    int parts = selection & PARAMETERS;
    bool private = OSSL_PARAM_locate_const(params, type->private_param) != NULL;

    if ((selection & PRIVATE) != 0 && private)
        parts |= PRIVATE;
    /* The default provider computes the public half of a Montgomery or Edwards key. */
    if ((selection & PUBLIC) != 0 &&
        (OSSL_PARAM_locate_const(params, type->public_param) != NULL || private))
        parts |= PUBLIC;
    return parts;
}

int kp_keymgmt_import(void *data, int selection, const OSSL_PARAM params[])
{
    struct kp_key *key = data;
    EVP_PKEY_CTX *ctx;
    int ok;

    if (key == NULL || key->host != NULL)
        return 0;
    ctx = EVP_PKEY_CTX_new_from_name(key->provider->host, key->type->name, NULL);
    ok = ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
         EVP_PKEY_fromdata(ctx, &key->host, selection, (OSSL_PARAM *)(uintptr_t)params) == 1;
    EVP_PKEY_CTX_free(ctx);
    if (ok)
        key->parts = parts_in(key->type, selection, params);
    return ok;
}

/* Quiet when it refuses: the core asks for everything before each private operation, and turns to
 * this provider when it does not get it. */
int kp_keymgmt_export(void *data, int selection, OSSL_CALLBACK *callback, void *argument)
{
    struct kp_key *key = data;

    if (key == NULL || key->host == NULL)
        return 0;
    if (kp_key_is_token(key) &&
        ((selection & PRIVATE) != 0 || !key->provider->settings.allow_export))
        return 0;
    return EVP_PKEY_export(key->host, selection, callback, argument);
}

/* --- parameters ------------------------------------------------------------------------------ */

static const char *curve_name(unsigned bits)
{
    switch (bits) {
    case 256:
        return "prime256v1";
    case 384:
        return "secp384r1";
    case 521:
        return "secp521r1";
    default:
        return NULL;
    }
}

/* SP 800-57 part 1, table 2. */
static int security_bits(const struct kp_key *key, unsigned bits)
{
    if (key->type->kind != KYOK_KEY_RSA)
        return (int)(bits / 2);
    return bits >= 15360 ? 256 : bits >= 7680 ? 192 : bits >= 3072 ? 128 : bits >= 2048 ? 112 : 80;
}

/* A private key whose public half nobody knows: what the custodian says of it must do. */
static int bare_params(const struct kp_key *key, OSSL_PARAM params[])
{
    unsigned bits = kp_key_bits(key);
    const char *curve = key->type->kind == KYOK_KEY_EC ? curve_name(bits) : NULL;
    OSSL_PARAM *p;

    if ((p = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_BITS)) != NULL &&
        !OSSL_PARAM_set_int(p, (int)bits))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_SECURITY_BITS)) != NULL &&
        !OSSL_PARAM_set_int(p, security_bits(key, bits)))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_MAX_SIZE)) != NULL &&
        !OSSL_PARAM_set_int(p, (int)kyok_key_signature_size(key->token)))
        return 0;
    if ((p = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_DEFAULT_DIGEST)) != NULL &&
        (key->type->kind == KYOK_KEY_RSA || key->type->kind == KYOK_KEY_EC) &&
        !OSSL_PARAM_set_utf8_string(p, "SHA256"))
        return 0;
    p = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_GROUP_NAME);
    return p == NULL || curve == NULL || OSSL_PARAM_set_utf8_string(p, curve);
}

int kp_keymgmt_get_params(void *data, OSSL_PARAM params[])
{
    const struct kp_key *key = data;
    OSSL_PARAM *p;

    if (key == NULL)
        return 0;
    p = OSSL_PARAM_locate(params, "pkcs11_uri");
    if (p != NULL && key->token != NULL && !OSSL_PARAM_set_utf8_string(p, key->uri))
        return 0;
    p = OSSL_PARAM_locate(params, "kyok_custodian");
    if (p != NULL && key->token != NULL &&
        !OSSL_PARAM_set_utf8_string(p, kyok_key_info(key->token)->custodian))
        return 0;
    if (key->host != NULL)
        return EVP_PKEY_get_params(key->host, params);
    return key->token == NULL || bare_params(key, params);
}

/* A peer's public value that arrives for parameters copied from a key of ours (TLS key shares).
 * X25519 and X448 have no parameters: there is nothing yet to set it in. */
static int set_encoded_point(struct kp_key *key, const OSSL_PARAM *p)
{
    if (key->host != NULL && EVP_PKEY_get0_provider(key->host) != NULL)
        return EVP_PKEY_set1_encoded_public_key(key->host, p->data, p->data_size);
    EVP_PKEY_free(key->host);
    key->host = EVP_PKEY_new_raw_public_key_ex(key->provider->host, key->type->name, NULL, p->data,
                                               p->data_size);
    return key->host != NULL;
}

int kp_keymgmt_set_params(void *data, const OSSL_PARAM params[])
{
    struct kp_key *key = data;
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY);

    if (p != NULL) {
        if (kp_key_is_token(key) || p->data_type != OSSL_PARAM_OCTET_STRING ||
            !set_encoded_point(key, p))
            return 0;
        key->parts |= PUBLIC;
        return 1;
    }
    return key->host == NULL || EVP_PKEY_set_params(key->host, (OSSL_PARAM *)(uintptr_t)params);
}
