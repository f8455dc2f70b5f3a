/* SPDX-License-Identifier: Apache-2.0 */
/* Key data: a token's key with its public half, or a key that the default provider handles. */
#include "openssl-provider/provider.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <string.h>

const struct kp_type *const kp_types[] = {&kp_rsa,   &kp_rsa_pss, &kp_ec,   &kp_ed25519,
                                          &kp_ed448, &kp_x25519,  &kp_x448, NULL};

const struct kp_type *kp_type_of(enum kyok_key_type kind, bool pss)
{
    for (size_t i = 0; kp_types[i] != NULL; i++) {
        if (kp_types[i]->kind == kind && kp_types[i]->pss == pss)
            return kp_types[i];
    }
    return NULL;
}

struct kp_key *kp_key_new(struct kp_provider *provider, const struct kp_type *type)
{
    struct kp_key *key = OPENSSL_zalloc(sizeof(*key));

    if (key == NULL)
        return NULL;
    key->references = 1;
    key->provider = provider;
    key->type = type;
    return key;
}

void kp_key_up_ref(struct kp_key *key)
{
    atomic_fetch_add(&key->references, 1);
}

void kp_key_free(void *data)
{
    struct kp_key *key = data;

    if (key == NULL || atomic_fetch_sub(&key->references, 1) != 1)
        return;
    kyok_key_free(key->token);
    EVP_PKEY_free(key->host);
    OPENSSL_free(key->uri);
    OPENSSL_free(key);
}

bool kp_key_is_token(const struct kp_key *key)
{
    return key->token != NULL;
}

unsigned kp_key_bits(const struct kp_key *key)
{
    if (key->host != NULL)
        return (unsigned)EVP_PKEY_get_bits(key->host);
    return key->token == NULL ? 0 : kyok_key_info(key->token)->bits;
}

/* The public half from the PEM reference, or as the custodian knows it. */
static bool set_host(struct kp_key *key, struct kyok_bytes spki)
{
    const struct kyok_key_info *info = kyok_key_info(key->token);

    if (spki.size == 0)
        spki = kyok_bytes(info->public_key, info->public_key_size);
    if (spki.size == 0)
        return true;
    key->host = kp_host_public(key->provider, spki);
    return key->host != NULL;
}

/* The reference that leads here again: the exact object, by way of what the opener named. */
static bool set_uri(struct kp_key *key, const struct kyok_reference *reference)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    struct kyok_reference *exact =
        kp_reference_exact(key->provider, reference, kyok_key_info(key->token)->reference);
    struct kyok_error err = {0};
    enum kyok_status status;

    if (exact == NULL)
        return false;
    /* A reader may take whichever object it finds first: the key's own kind belongs in the text. */
    if (exact->kind == KYOK_REFERENCE_PKCS11)
        exact->type = kyok_key_info(key->token)->object;
    status = kyok_reference_format(exact, &text, &err);
    kyok_reference_free(exact);
    if (status != KYOK_OK) {
        kp_raise_error(key->provider, &err);
        return false;
    }
    key->uri = OPENSSL_strndup((const char *)text.data, text.size);
    return key->uri != NULL;
}

struct kp_key *kp_key_of_token(struct kp_provider *provider, struct kyok_key *token,
                               const struct kyok_reference *reference, struct kyok_bytes spki)
{
    const struct kyok_key_info *info = kyok_key_info(token);
    const struct kp_type *type = kp_type_of(info->type, false);
    struct kp_key *key = NULL;

    if (type == NULL)
        kp_raise(provider, KP_R_KEY_UNFIT,
                 "%s: a key of type %s is not one that OpenSSL can use through this provider",
                 info->reference, kyok_key_type_name(info->type));
    else if ((key = kp_key_new(provider, type)) == NULL)
        kp_raise(provider, KP_R_MEMORY, "no memory for a key");
    if (key == NULL) {
        kyok_key_free(token);
        return NULL;
    }
    key->token = token;
    key->parts = OSSL_KEYMGMT_SELECT_PRIVATE_KEY;
    if (!set_uri(key, reference) || !set_host(key, spki)) {
        kp_key_free(key);
        return NULL;
    }
    if (key->host != NULL)
        key->parts |= OSSL_KEYMGMT_SELECT_PUBLIC_KEY | OSSL_KEYMGMT_SELECT_ALL_PARAMETERS;
    if (key->host != NULL && EVP_PKEY_is_a(key->host, "RSA-PSS"))
        key->type = &kp_rsa_pss;
    return key;
}
