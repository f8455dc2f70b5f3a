/* SPDX-License-Identifier: Apache-2.0 */
/* What the provider offers, as tables. Their property is the name that the provider was activated
 * under, so that "?provider=pkcs11" survives a change of the module's path. */
#include "openssl-provider/provider.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

struct row {
    int operation;
    const char *names;
    const char *properties; /* beyond provider= */
    const OSSL_DISPATCH *functions;
    const char *description;
};

static const struct row fixed[] = {
    {OSSL_OP_SIGNATURE, "RSA:rsaEncryption:1.2.840.113549.1.1.1", "", kp_signature_rsa,
     "RSA signature by a custodian"},
    {OSSL_OP_SIGNATURE, "ECDSA", "", kp_signature_ecdsa, "ECDSA by a custodian"},
    {OSSL_OP_SIGNATURE, "ED25519:1.3.101.112", "", kp_signature_ed25519, "Ed25519 by a custodian"},
    {OSSL_OP_SIGNATURE, "ED448:1.3.101.113", "", kp_signature_ed448, "Ed448 by a custodian"},
    {OSSL_OP_ASYM_CIPHER, "RSA:rsaEncryption:1.2.840.113549.1.1.1", "", kp_asym_cipher_rsa,
     "RSA decryption by a custodian"},
    {OSSL_OP_KEYEXCH, "ECDH", "", kp_exchange_ecdh, "ECDH by a custodian"},
    {OSSL_OP_KEYEXCH, "X25519:1.3.101.110", "", kp_exchange_x25519, "X25519 by a custodian"},
    {OSSL_OP_KEYEXCH, "X448:1.3.101.111", "", kp_exchange_x448, "X448 by a custodian"},
    {OSSL_OP_STORE, "pkcs11", "", kp_store, "RFC 7512 references"},
    {OSSL_OP_DECODER, "DER", ",input=pem", kp_decoder_pem, "PEM key references"},
};
static const struct row kmip_store = {OSSL_OP_STORE, "kmip", "", kp_store, "KMIP references"};
static const struct row rand_row = {OSSL_OP_RAND, "KYOK-RAND:PKCS11-RAND", "", kp_rand,
                                    "random numbers of a custodian"};

/* For each key type. */
static const struct row typed[] = {
    {OSSL_OP_DECODER, NULL, ",input=der,structure=" KP_STRUCTURE, kp_decoder_der,
     "PEM key references"},
    {OSSL_OP_ENCODER, NULL, ",output=text", kp_encoder_text, "keys as text"},
    {OSSL_OP_ENCODER, NULL, ",output=pem,structure=PrivateKeyInfo", kp_encoder_pem,
     "private keys as PEM references"},
    {OSSL_OP_ENCODER, NULL, ",output=der,structure=PrivateKeyInfo", kp_encoder_der,
     "private keys as references"},
    {OSSL_OP_ENCODER, NULL, ",output=pem,structure=SubjectPublicKeyInfo", kp_encoder_public_pem,
     "public halves"},
    {OSSL_OP_ENCODER, NULL, ",output=der,structure=SubjectPublicKeyInfo", kp_encoder_public_der,
     "public halves"},
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define LARGEST_TABLE (COUNT(typed) * 8 + COUNT(fixed) + 8)

static bool add(struct kp_provider *provider, const struct row *row, const char *names,
                const OSSL_DISPATCH *functions)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    OSSL_ALGORITHM **table = &provider->tables[row->operation];
    size_t used = 0;

    if ((provider->settings.blocked & (1u << row->operation)) != 0)
        return true;
    if (*table == NULL && (*table = calloc(LARGEST_TABLE, sizeof(**table))) == NULL)
        return false;
    while ((*table)[used].algorithm_names != NULL)
        used++;
    if (!kyok_buffer_printf(&text, "%s%s", provider->properties, row->properties))
        return false;
    (*table)[used].property_definition = strndup((const char *)text.data, text.size);
    if ((*table)[used].property_definition == NULL)
        return false;
    (*table)[used].algorithm_names = names;
    (*table)[used].implementation = functions;
    (*table)[used].algorithm_description = row->description;
    return true;
}

static bool is_reference_encoder(const struct row *row)
{
    return row->functions == kp_encoder_pem || row->functions == kp_encoder_der;
}

static bool add_type(struct kp_provider *provider, const struct kp_type *type)
{
    static const struct row keymgmt = {OSSL_OP_KEYMGMT, NULL, "", NULL, "keys of a custodian"};

    if (!add(provider, &keymgmt, type->names, type->keymgmt))
        return false;
    for (size_t i = 0; i < COUNT(typed); i++) {
        if (is_reference_encoder(&typed[i]) && !provider->settings.encode_references)
            continue;
        if (!add(provider, &typed[i], type->names, typed[i].functions))
            return false;
    }
    return true;
}

int kp_algorithms_build(struct kp_provider *provider)
{
    for (size_t i = 0; i < COUNT(fixed); i++) {
        if (!add(provider, &fixed[i], fixed[i].names, fixed[i].functions))
            return 0;
    }
    for (size_t i = 0; kp_types[i] != NULL; i++) {
        if (!add_type(provider, kp_types[i]))
            return 0;
    }
    if (provider->settings.kmip && !add(provider, &kmip_store, kmip_store.names, kp_store))
        return 0;
    return !provider->settings.rand || add(provider, &rand_row, rand_row.names, kp_rand);
}

void kp_algorithms_free(struct kp_provider *provider)
{
    for (size_t i = 0; i < KP_OPERATIONS; i++) {
        for (OSSL_ALGORITHM *at = provider->tables[i]; at != NULL && at->algorithm_names != NULL;
             at++)
            free((char *)at->property_definition);
        free(provider->tables[i]);
    }
}
