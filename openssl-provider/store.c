/* SPDX-License-Identifier: Apache-2.0 */
/* OSSL_STORE for pkcs11: and kmip: references: private keys, public keys, certificates. Nothing is
 * contacted before the first object is asked for, so that what the program expects is known. */
#include "openssl-provider/store.h"

#include <openssl/core_names.h>
#include <openssl/core_object.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/store.h>
#include <stdlib.h>
#include <string.h>

#define OBJECT_LIMIT 65536

struct kp_store {
    struct kp_provider *provider;
    struct kyok_reference *reference;
    char *uri;
    int expect; /* OSSL_STORE_INFO_*; 0: anything */
    struct kp_search search;
    bool listed;
    struct kp_object *objects;
    size_t count, next;
};

static void *open_store(void *provctx, const char *uri)
{
    struct kp_store *ctx = OPENSSL_zalloc(sizeof(*ctx));

    if (ctx == NULL)
        return NULL;
    ctx->provider = provctx;
    ctx->reference = kp_reference(provctx, uri, KYOK_FROM_CONFIGURATION);
    if (ctx->reference != NULL && (ctx->uri = OPENSSL_strdup(ctx->reference->text)) != NULL)
        return ctx;
    kyok_reference_free(ctx->reference);
    OPENSSL_free(ctx);
    return NULL;
}

static void free_object(struct kp_object *object)
{
    OPENSSL_free(object->reference);
    OPENSSL_free(object->label);
    OPENSSL_free(object->der);
}

static int close_store(void *data)
{
    struct kp_store *ctx = data;

    if (ctx == NULL)
        return 1;
    for (size_t i = 0; i < ctx->count; i++)
        free_object(&ctx->objects[i]);
    OPENSSL_free(ctx->objects);
    kp_search_free(&ctx->search);
    kyok_reference_free(ctx->reference);
    OPENSSL_free(ctx->uri);
    OPENSSL_free(ctx);
    return 1;
}

static const OSSL_PARAM *settable_params(void *provctx)
{
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_int(OSSL_STORE_PARAM_EXPECT, NULL),
        OSSL_PARAM_octet_string(OSSL_STORE_PARAM_SUBJECT, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_STORE_PARAM_ISSUER, NULL, 0),
        OSSL_PARAM_BN(OSSL_STORE_PARAM_SERIAL, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_ALIAS, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_PROPERTIES, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return settable;
}

static int set_params(void *data, const OSSL_PARAM params[])
{
    struct kp_store *ctx = data;
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_EXPECT);

    if (p != NULL && !OSSL_PARAM_get_int(p, &ctx->expect))
        return 0;
    return kp_search_set_params(&ctx->search, params);
}

/* --- listing --------------------------------------------------------------------------------- */

/* Is this among what the program expects? A private key stands for its public half too. */
static bool expected(const struct kp_store *ctx, enum kyok_object_type kind)
{
    switch (kind) {
    case KYOK_OBJECT_PRIVATE:
        return ctx->expect == 0 || ctx->expect == OSSL_STORE_INFO_PKEY ||
               ctx->expect == OSSL_STORE_INFO_PUBKEY;
    case KYOK_OBJECT_PUBLIC:
        return ctx->expect == 0 || ctx->expect == OSSL_STORE_INFO_PUBKEY;
    case KYOK_OBJECT_CERTIFICATE:
        return ctx->expect == 0 || ctx->expect == OSSL_STORE_INFO_CERT;
    default:
        return false;
    }
}

static bool copy_object(struct kp_object *object, const struct kyok_key_info *info)
{
    bool certificate = info->object == KYOK_OBJECT_CERTIFICATE;
    const uint8_t *der = certificate ? info->certificate : info->public_key;
    size_t size = certificate ? info->certificate_size : info->public_key_size;

    *object = (struct kp_object){.kind = info->object, .type = info->type, .der_size = size};
    object->reference = OPENSSL_strdup(info->reference);
    object->label = info->label == NULL ? NULL : OPENSSL_strdup(info->label);
    object->der = size == 0 ? NULL : OPENSSL_memdup(der, size);
    if (object->reference != NULL && (info->label == NULL || object->label != NULL) &&
        (size == 0 || object->der != NULL))
        return true;
    free_object(object);
    return false;
}

static bool keep(void *data, const struct kyok_key_info *info)
{
    struct kp_store *ctx = data;
    struct kp_object *grown;

    if (!expected(ctx, info->object))
        return true;
    if (ctx->count == OBJECT_LIMIT)
        return false;
    if ((ctx->count & (ctx->count - 1)) == 0) { /* full at each power of two */
        grown =
            OPENSSL_realloc(ctx->objects, (ctx->count == 0 ? 1 : ctx->count * 2) * sizeof(*grown));
        if (grown == NULL)
            return false;
        ctx->objects = grown;
    }
    if (!copy_object(&ctx->objects[ctx->count], info))
        return false;
    if (kp_search_fits(&ctx->search, &ctx->objects[ctx->count]))
        ctx->count++;
    else
        free_object(&ctx->objects[ctx->count]);
    return true;
}

static bool wants_private(const struct kp_store *ctx)
{
    return expected(ctx, KYOK_OBJECT_PRIVATE) && ctx->expect != OSSL_STORE_INFO_PUBKEY &&
           (ctx->reference->type == KYOK_OBJECT_ANY || ctx->reference->type == KYOK_OBJECT_PRIVATE);
}

static int list(struct kp_store *ctx, bool login)
{
    return kp_token_list(ctx->provider, ctx->reference, login, keep, ctx);
}

/* Public objects without login, as far as it goes; private ones need it. Whoever just looks around
 * (nothing expected) and has no PIN sees what there is to see without. */
static int list_all(struct kp_store *ctx)
{
    enum kp_login behavior = ctx->provider->settings.login;
    int ok;

    if (behavior == KP_LOGIN_NEVER)
        return list(ctx, false);
    if (behavior == KP_LOGIN_ALWAYS || wants_private(ctx)) {
        ERR_set_mark();
        ok = list(ctx, true);
        if (!ok && ctx->expect == 0 && ERR_GET_REASON(ERR_peek_last_error()) == KYOK_PIN &&
            list(ctx, false)) {
            ERR_pop_to_mark();
            return 1;
        }
        ERR_clear_last_mark();
        return ok;
    }
    return list(ctx, false) && (ctx->count != 0 || list(ctx, true));
}

static bool names_object(const struct kyok_reference *reference)
{
    return reference->object != NULL || reference->has_id || reference->identifier != NULL ||
           reference->name != NULL;
}

/* --- handing over ---------------------------------------------------------------------------- */

static int give_private(struct kp_store *ctx, const struct kyok_reference *reference,
                        OSSL_CALLBACK *callback, void *argument)
{
    struct kp_key *key = kp_token_open(ctx->provider, reference, kyok_bytes(NULL, 0));
    int type = OSSL_OBJECT_PKEY, ok;
    OSSL_PARAM params[4];

    if (key == NULL)
        return 0;
    params[0] = OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type);
    params[1] = OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE,
                                                 (char *)(uintptr_t)key->type->name, 0);
    params[2] = OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_REFERENCE, &key, sizeof(key));
    params[3] = OSSL_PARAM_construct_end();
    ok = callback(params, argument);
    kp_key_free(key); /* NULL when it was taken */
    return ok;
}

/* Public keys and certificates go as DER, to whichever provider decodes them. */
static int give_der(const struct kp_object *object, OSSL_CALLBACK *callback, void *argument)
{
    bool certificate = object->kind == KYOK_OBJECT_CERTIFICATE;
    const struct kp_type *key = certificate ? NULL : kp_type_of(object->type, false);
    int type = certificate ? OSSL_OBJECT_CERT : OSSL_OBJECT_PKEY;
    OSSL_PARAM params[5], *p = params;

    *p++ = OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type);
    *p++ = OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_DATA, object->der, object->der_size);
    if (key != NULL) {
        *p++ = OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE,
                                                (char *)(uintptr_t)key->name, 0);
        *p++ = OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE,
                                                (char *)"SubjectPublicKeyInfo", 0);
    }
    *p = OSSL_PARAM_construct_end();
    return callback(params, argument);
}

/* A public half that another object has shown already. */
static bool seen(const struct kp_store *ctx, const struct kp_object *object)
{
    for (size_t i = 0; i < ctx->count; i++) {
        const struct kp_object *other = &ctx->objects[i];

        if (other != object && other->kind != KYOK_OBJECT_CERTIFICATE &&
            other->der_size == object->der_size &&
            memcmp(other->der, object->der, object->der_size) == 0 &&
            (other->kind == KYOK_OBJECT_PUBLIC || other < object))
            return true;
    }
    return false;
}

/* Is there anything to give for this one? */
static bool useful(const struct kp_store *ctx, const struct kp_object *object)
{
    if (object->kind != KYOK_OBJECT_PRIVATE)
        return object->der != NULL;
    if (ctx->expect != OSSL_STORE_INFO_PUBKEY)
        return kp_type_of(object->type, false) != NULL;
    return object->der != NULL && !seen(ctx, object);
}

static void skip_useless(struct kp_store *ctx)
{
    while (ctx->next < ctx->count && !useful(ctx, &ctx->objects[ctx->next]))
        ctx->next++;
}

static int give(struct kp_store *ctx, const struct kp_object *object, OSSL_CALLBACK *callback,
                void *argument)
{
    struct kyok_reference *exact;
    int ok;

    if (object->kind != KYOK_OBJECT_PRIVATE || ctx->expect == OSSL_STORE_INFO_PUBKEY)
        return give_der(object, callback, argument);
    exact = kp_reference_exact(ctx->provider, ctx->reference, object->reference);
    if (exact == NULL)
        return 0;
    exact->type = KYOK_OBJECT_PRIVATE;
    ok = give_private(ctx, exact, callback, argument);
    kyok_reference_free(exact);
    return ok;
}

/* A program that wants one private key and names it gets that one, or hears that several fit. */
static bool is_direct(const struct kp_store *ctx)
{
    return ctx->expect == OSSL_STORE_INFO_PKEY && names_object(ctx->reference) &&
           ctx->search.alias == NULL && ctx->search.subject == NULL && ctx->search.issuer == NULL &&
           ctx->search.serial == NULL;
}

static int begin(struct kp_store *ctx)
{
    ctx->listed = true;
    if (!list_all(ctx))
        return 0;
    skip_useless(ctx);
    if (ctx->next < ctx->count)
        return 1;
    if (names_object(ctx->reference))
        kp_raise(ctx->provider, KYOK_NOT_FOUND, "%s: no object of the kind asked for fits",
                 ctx->uri);
    return 0;
}

static int load(void *data, OSSL_CALLBACK *callback, void *argument,
                OSSL_PASSPHRASE_CALLBACK *passphrase, void *passphrase_argument)
{
    struct kp_store *ctx = data;
    int ok;

    (void)passphrase;
    (void)passphrase_argument;
    if (!ctx->listed && is_direct(ctx)) {
        ctx->listed = true;
        return give_private(ctx, ctx->reference, callback, argument);
    }
    if (!ctx->listed && !begin(ctx))
        return 0;
    if (ctx->next >= ctx->count)
        return 0;
    ok = give(ctx, &ctx->objects[ctx->next], callback, argument);
    ctx->next++;
    skip_useless(ctx);
    return ok;
}

static int at_end(void *data)
{
    struct kp_store *ctx = data;

    return ctx->listed && ctx->next >= ctx->count;
}

const OSSL_DISPATCH kp_store[] = {
    KP_FUNCTION(OSSL_FUNC_STORE_OPEN, open_store),
    KP_FUNCTION(OSSL_FUNC_STORE_SETTABLE_CTX_PARAMS, settable_params),
    KP_FUNCTION(OSSL_FUNC_STORE_SET_CTX_PARAMS, set_params),
    KP_FUNCTION(OSSL_FUNC_STORE_LOAD, load),
    KP_FUNCTION(OSSL_FUNC_STORE_EOF, at_end),
    KP_FUNCTION(OSSL_FUNC_STORE_CLOSE, close_store),
    KP_END,
};
