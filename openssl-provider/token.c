/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to the key layer. Modules that use this libcrypto leave errors in the thread's queue: it is
 * marked before each call and brought back after it, and a failure is raised once. */
#include "openssl-provider/provider.h"

#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

/* Ends a marked call: 1, or 0 and the error raised behind whatever was in the queue before. */
static int finish(struct kp_provider *provider, enum kyok_status status,
                  const struct kyok_error *err)
{
    ERR_pop_to_mark();
    if (status == KYOK_OK)
        return 1;
    kp_raise_error(provider, err);
    return 0;
}

struct kyok_reference *kp_reference(struct kp_provider *provider, const char *text,
                                    enum kyok_origin origin)
{
    struct kyok_context *context = kp_context(provider);
    struct kyok_reference *reference = NULL;
    struct kyok_error err = {0};

    if (context == NULL)
        return NULL;
    if (kyok_reference_parse(text, origin, kyok_context_config(context), &reference, &err) !=
        KYOK_OK) {
        kp_raise_error(provider, &err);
        return NULL;
    }
    if (reference->kind != KYOK_REFERENCE_KMIP || provider->settings.kmip)
        return reference;
    kp_raise(provider, KP_R_BAD_PARAMETER, "%s: kmip: references are switched off here (kmip = no)",
             text);
    kyok_reference_free(reference);
    return NULL;
}

static void move_text(char **to, char **from)
{
    free(*to);
    *to = *from;
    *from = NULL;
}

/* What names the object is the exact reference's; how to get there is the opener's. */
static void move_object(struct kyok_reference *to, struct kyok_reference *from)
{
    move_text(&to->token, &from->token);
    move_text(&to->object, &from->object);
    move_text(&to->identifier, &from->identifier);
    move_text(&to->name, &from->name);
    free(to->id);
    to->id = from->id;
    to->id_size = from->id_size;
    to->has_id = from->has_id;
    from->id = NULL;
    from->has_id = false;
}

struct kyok_reference *kp_reference_exact(struct kp_provider *provider,
                                          const struct kyok_reference *reference, const char *exact)
{
    struct kyok_reference *copy = NULL, *object = NULL;
    struct kyok_error err = {0};

    if (kyok_reference_copy(reference, &copy, &err) != KYOK_OK ||
        kyok_reference_parse(exact, KYOK_FROM_DATA, NULL, &object, &err) != KYOK_OK) {
        kp_raise_error(provider, &err);
        kyok_reference_free(copy);
        return NULL;
    }
    move_object(copy, object);
    kyok_reference_free(object);
    return copy;
}

/* A restricted RSA key is an ordinary RSA key to a custodian: its half without the restriction. */
static int plain_rsa(struct kp_provider *provider, EVP_PKEY *pss, uint8_t **spki)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(provider->host, "RSA", NULL);
    OSSL_PARAM *params = NULL;
    EVP_PKEY *plain = NULL;
    int size = -1;

    if (ctx != NULL && EVP_PKEY_todata(pss, OSSL_KEYMGMT_SELECT_PUBLIC_KEY, &params) == 1 &&
        EVP_PKEY_fromdata_init(ctx) == 1 &&
        EVP_PKEY_fromdata(ctx, &plain, OSSL_KEYMGMT_SELECT_PUBLIC_KEY, params) == 1)
        size = i2d_PUBKEY(plain, spki);
    EVP_PKEY_free(plain);
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    return size;
}

/* What the custodian is to compare with: the third member as it is, or without RSA-PSS's OID. */
static bool custodian_half(struct kp_provider *provider, struct kyok_bytes spki,
                           struct kyok_bytes *half, uint8_t **owned)
{
    EVP_PKEY *key;
    int size = 0;

    *half = spki;
    if (spki.size == 0)
        return true;
    key = kp_host_public(provider, spki);
    if (key == NULL)
        return false;
    if (EVP_PKEY_is_a(key, "RSA-PSS"))
        size = plain_rsa(provider, key, owned);
    EVP_PKEY_free(key);
    if (size > 0)
        *half = kyok_bytes(*owned, (size_t)size);
    return size >= 0;
}

struct kp_key *kp_token_open(struct kp_provider *provider, const struct kyok_reference *reference,
                             struct kyok_bytes spki)
{
    struct kyok_context *context = kp_context(provider);
    struct kyok_key *token = NULL;
    struct kyok_error err = {0};
    struct kyok_bytes half;
    uint8_t *owned = NULL;
    enum kyok_status status;

    if (context == NULL || !custodian_half(provider, spki, &half, &owned))
        return NULL;
    ERR_set_mark();
    status = kyok_key_open(context, reference, half, &token, &err);
    OPENSSL_free(owned);
    if (!finish(provider, status, &err))
        return NULL;
    return kp_key_of_token(provider, token, reference, spki);
}

int kp_token_check(const struct kp_key *key)
{
    struct kyok_error err = {0};

    ERR_set_mark();
    return finish(key->provider, kyok_key_check(key->token, &err), &err);
}

int kp_token_sign(const struct kp_key *key, const struct kyok_sign_request *request, uint8_t *sig,
                  size_t *siglen, size_t sigsize)
{
    struct kyok_error err = {0};
    enum kyok_status status;

    *siglen = sigsize;
    ERR_set_mark();
    status = kyok_key_sign(key->token, request, sig, siglen, &err);
    return finish(key->provider, status, &err);
}

int kp_token_decrypt(const struct kp_key *key, const struct kyok_cipher_request *request,
                     struct kyok_secret **output)
{
    struct kyok_error err = {0};

    ERR_set_mark();
    return finish(key->provider, kyok_key_decrypt(key->token, request, output, &err), &err);
}

int kp_token_derive(const struct kp_key *key, struct kyok_bytes peer, struct kyok_secret **secret)
{
    struct kyok_error err = {0};

    ERR_set_mark();
    return finish(key->provider, kyok_key_derive(key->token, peer, secret, &err), &err);
}

struct kp_key *kp_token_generate(struct kp_provider *provider, const struct kp_type *type,
                                 const char *uri, const struct kyok_generate_request *request)
{
    struct kyok_context *context = kp_context(provider);
    struct kyok_reference *reference = kp_reference(provider, uri, KYOK_FROM_CONFIGURATION);
    struct kyok_key *token = NULL;
    struct kyok_error err = {0};
    enum kyok_status status;
    struct kp_key *key = NULL;

    if (context == NULL || reference == NULL)
        return NULL;
    ERR_set_mark();
    status = kyok_key_generate(context, reference, request, &token, &err);
    if (finish(provider, status, &err))
        key = kp_key_of_token(provider, token, reference, kyok_bytes(NULL, 0));
    kyok_reference_free(reference);
    if (key != NULL)
        key->type = type;
    return key;
}

int kp_token_list(struct kp_provider *provider, const struct kyok_reference *reference, bool login,
                  kyok_key_visitor *visit, void *caller)
{
    struct kyok_context *context = kp_context(provider);
    struct kyok_error err = {0};
    enum kyok_status status;

    if (context == NULL)
        return 0;
    ERR_set_mark();
    status = kyok_key_list(context, reference, login, visit, caller, &err);
    return finish(provider, status, &err);
}

int kp_token_random(struct kp_provider *provider, uint8_t *data, size_t size)
{
    struct kyok_context *context = kp_context(provider);
    const char *group = provider->settings.rand_group;
    const struct kyok_config *config;
    struct kyok_error err = {0};

    if (context == NULL)
        return 0;
    config = kyok_context_config(context);
    if (group == NULL && config->token_count != 0)
        group = config->tokens[0].name;
    if (group == NULL) {
        kp_raise(provider, KYOK_INVALID,
                 "rand = yes, but kyok.conf has no [token] group to make random numbers");
        return 0;
    }
    ERR_set_mark();
    return finish(provider, kyok_random(context, group, data, size, &err), &err);
}
