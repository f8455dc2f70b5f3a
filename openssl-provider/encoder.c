/* SPDX-License-Identifier: Apache-2.0 */
/* Private keys are written as key references (a file that any program can be given where it wants a
 * private key), and as text. Public halves are the default provider's to write: it asks for them.
 */
#include "openssl-provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/encoder.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>
#include <strings.h>

struct kp_encoder {
    struct kp_provider *provider;
    char cipher[64]; /* for software keys; a reference holds nothing to encrypt */
};

static void *new_encoder(void *provctx)
{
    struct kp_encoder *ctx = OPENSSL_zalloc(sizeof(*ctx));

    if (ctx != NULL)
        ctx->provider = provctx;
    return ctx;
}

static void free_encoder(void *ctx)
{
    OPENSSL_free(ctx);
}

static int set_params(void *data, const OSSL_PARAM params[])
{
    struct kp_encoder *ctx = data;
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_ENCODER_PARAM_CIPHER);
    const char *name = NULL;

    if (p == NULL)
        return 1;
    if (!OSSL_PARAM_get_utf8_string_ptr(p, &name))
        return 0;
    OPENSSL_strlcpy(ctx->cipher, name == NULL ? "" : name, sizeof(ctx->cipher));
    return 1;
}

static const OSSL_PARAM *settable_params(void *provctx)
{
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_utf8_string(OSSL_ENCODER_PARAM_CIPHER, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_ENCODER_PARAM_PROPERTIES, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return settable;
}

static int private_only(void *provctx, int selection)
{
    (void)provctx;
    return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0;
}

/* --- references ------------------------------------------------------------------------------ */

/* The third member: always for kmip:, whose servers are slow to ask, else when the section says. */
static bool public_half(const struct kp_key *key, uint8_t **spki, struct kyok_bytes *half)
{
    int size;

    *half = kyok_bytes(NULL, 0);
    if (!key->provider->settings.with_public && strncasecmp(key->uri, "kmip:", 5) != 0)
        return true;
    if (key->host == NULL) {
        kp_raise(key->provider, KP_R_KEY_UNFIT, "%s: the key's public half is not known", key->uri);
        return false;
    }
    size = i2d_PUBKEY(key->host, spki);
    if (size <= 0)
        return false;
    *half = kyok_bytes(*spki, (size_t)size);
    return true;
}

static int write_reference(const struct kp_key *key, BIO *out, bool pem)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    struct kyok_error err = {0};
    struct kyok_bytes half;
    uint8_t *spki = NULL;
    enum kyok_status status;
    size_t written;

    if (!public_half(key, &spki, &half))
        return 0;
    status = pem ? kyok_pem_reference_write_pem(key->uri, half, &text, &err)
                 : kyok_pem_reference_write(key->uri, half, &text, &err);
    OPENSSL_free(spki);
    if (status != KYOK_OK) {
        kp_raise_error(key->provider, &err);
        return 0;
    }
    return BIO_write_ex(out, text.data, text.size, &written) == 1 && written == text.size;
}

/* A software key that came here by import or generation: as the default provider writes it. */
static int write_software(const struct kp_encoder *ctx, const struct kp_key *key, BIO *out,
                          const char *format, int selection, OSSL_PASSPHRASE_CALLBACK *passphrase,
                          void *argument)
{
    OSSL_ENCODER_CTX *encoder =
        OSSL_ENCODER_CTX_new_for_pkey(key->host, selection, format, "PrivateKeyInfo", NULL);
    int ok = encoder != NULL && OSSL_ENCODER_CTX_get_num_encoders(encoder) > 0;

    if (ok && ctx->cipher[0] != '\0')
        ok = OSSL_ENCODER_CTX_set_cipher(encoder, ctx->cipher, NULL) == 1 &&
             OSSL_ENCODER_CTX_set_passphrase_cb(encoder, passphrase, argument) == 1;
    ok = ok && OSSL_ENCODER_to_bio(encoder, out) == 1;
    OSSL_ENCODER_CTX_free(encoder);
    return ok;
}

static int encode(const struct kp_encoder *ctx, OSSL_CORE_BIO *core, const struct kp_key *key,
                  bool pem, int selection, OSSL_PASSPHRASE_CALLBACK *passphrase, void *argument)
{
    BIO *out;
    int ok;

    if (key == NULL || (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0)
        return 0;
    out = BIO_new_from_core_bio(ctx->provider->host, core);
    if (out == NULL)
        return 0;
    ok = kp_key_is_token(key)
             ? write_reference(key, out, pem)
             : write_software(ctx, key, out, pem ? "PEM" : "DER", selection, passphrase, argument);
    BIO_free(out);
    return ok;
}

static int encode_pem(void *ctx, OSSL_CORE_BIO *out, const void *key, const OSSL_PARAM abstract[],
                      int selection, OSSL_PASSPHRASE_CALLBACK *passphrase, void *argument)
{
    return abstract == NULL && encode(ctx, out, key, true, selection, passphrase, argument);
}

static int encode_der(void *ctx, OSSL_CORE_BIO *out, const void *key, const OSSL_PARAM abstract[],
                      int selection, OSSL_PASSPHRASE_CALLBACK *passphrase, void *argument)
{
    return abstract == NULL && encode(ctx, out, key, false, selection, passphrase, argument);
}

/* --- public halves ----------------------------------------------------------------------- */

/* The default provider's own encoder gets the public half by export; this one is for when
 * pkcs11-module-allow-export forbids that. */
static int encode_public(const struct kp_encoder *ctx, OSSL_CORE_BIO *core,
                         const struct kp_key *key, bool pem)
{
    BIO *out;
    int ok;

    if (key == NULL || key->host == NULL)
        return 0;
    out = BIO_new_from_core_bio(ctx->provider->host, core);
    if (out == NULL)
        return 0;
    ok = pem ? PEM_write_bio_PUBKEY(out, key->host) : i2d_PUBKEY_bio(out, key->host);
    BIO_free(out);
    return ok == 1;
}

static int public_pem(void *ctx, OSSL_CORE_BIO *out, const void *key, const OSSL_PARAM abstract[],
                      int selection, OSSL_PASSPHRASE_CALLBACK *passphrase, void *argument)
{
    (void)passphrase;
    (void)argument;
    return abstract == NULL && (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0 &&
           encode_public(ctx, out, key, true);
}

static int public_der(void *ctx, OSSL_CORE_BIO *out, const void *key, const OSSL_PARAM abstract[],
                      int selection, OSSL_PASSPHRASE_CALLBACK *passphrase, void *argument)
{
    (void)passphrase;
    (void)argument;
    return abstract == NULL && (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0 &&
           encode_public(ctx, out, key, false);
}

/* --- text ------------------------------------------------------------------------------------ */

static int print_token(const struct kp_key *key, BIO *out)
{
    return BIO_printf(out, "%s private key (%u bit), in a custodian\n", key->type->name,
                      kp_key_bits(key)) > 0 &&
           BIO_printf(out, "Reference: %s\n", key->uri) > 0;
}

static int print(const struct kp_key *key, BIO *out, int selection)
{
    bool private = (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0;

    if (private && kp_key_is_token(key) && !print_token(key, out))
        return 0;
    if (key->host == NULL)
        return 1;
    if (private && !kp_key_is_token(key))
        return EVP_PKEY_print_private(out, key->host, 0, NULL) == 1;
    if ((selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0)
        return EVP_PKEY_print_public(out, key->host, 0, NULL) == 1;
    return EVP_PKEY_print_params(out, key->host, 0, NULL) == 1;
}

static int encode_text(void *data, OSSL_CORE_BIO *core, const void *key,
                       const OSSL_PARAM abstract[], int selection,
                       OSSL_PASSPHRASE_CALLBACK *passphrase, void *argument)
{
    struct kp_encoder *ctx = data;
    BIO *out;
    int ok;

    (void)passphrase;
    (void)argument;
    if (abstract != NULL || key == NULL)
        return 0;
    out = BIO_new_from_core_bio(ctx->provider->host, core);
    if (out == NULL)
        return 0;
    ok = print(key, out, selection);
    BIO_free(out);
    return ok;
}

/* OpenSSL calls these for keys of other providers when it has to export them here; a private half
 * that leaves its provider is none of ours to write. */
static void *import_object(void *ctx, int selection, const OSSL_PARAM params[])
{
    (void)ctx;
    (void)selection;
    (void)params;
    return NULL;
}

#define ENCODER_TABLE(function, selection_function)                                                \
    {                                                                                              \
        KP_FUNCTION(OSSL_FUNC_ENCODER_NEWCTX, new_encoder),                                        \
            KP_FUNCTION(OSSL_FUNC_ENCODER_FREECTX, free_encoder),                                  \
            KP_FUNCTION(OSSL_FUNC_ENCODER_SET_CTX_PARAMS, set_params),                             \
            KP_FUNCTION(OSSL_FUNC_ENCODER_SETTABLE_CTX_PARAMS, settable_params),                   \
            KP_FUNCTION(OSSL_FUNC_ENCODER_DOES_SELECTION, selection_function),                     \
            KP_FUNCTION(OSSL_FUNC_ENCODER_IMPORT_OBJECT, import_object),                           \
            KP_FUNCTION(OSSL_FUNC_ENCODER_FREE_OBJECT, kp_key_free),                               \
            KP_FUNCTION(OSSL_FUNC_ENCODER_ENCODE, function), KP_END,                               \
    }

static int public_only(void *provctx, int selection)
{
    (void)provctx;
    return (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0 &&
           (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0;
}

static int any_selection(void *provctx, int selection)
{
    (void)provctx;
    (void)selection;
    return 1;
}

const OSSL_DISPATCH kp_encoder_pem[] = ENCODER_TABLE(encode_pem, private_only);
const OSSL_DISPATCH kp_encoder_der[] = ENCODER_TABLE(encode_der, private_only);
const OSSL_DISPATCH kp_encoder_public_pem[] = ENCODER_TABLE(public_pem, public_only);
const OSSL_DISPATCH kp_encoder_public_der[] = ENCODER_TABLE(public_der, public_only);
const OSSL_DISPATCH kp_encoder_text[] = ENCODER_TABLE(encode_text, any_selection);
