/* SPDX-License-Identifier: Apache-2.0 */
/* Public keys as KMIP servers return them, as SubjectPublicKeyInfo. */
#include "common/base/public_key.h"
#include "common/key/kmip_key.h"

#include <openssl/rsa.h>
#include <openssl/x509.h>

static bool from_integers(struct kyok_bytes modulus, struct kyok_bytes exponent,
                          struct kyok_buffer *spki)
{
    return kyok_ttlv_magnitude(modulus, &modulus) && kyok_ttlv_magnitude(exponent, &exponent) &&
           kyok_spki_from_rsa(modulus, exponent, spki);
}

/* RSAPublicKey (RFC 8017 A.1.1): a SEQUENCE of two INTEGERs, read by OpenSSL's ASN.1 alone. */
static bool from_pkcs1(struct kyok_bytes der, struct kyok_buffer *spki)
{
    const unsigned char *at = der.data;
    STACK_OF(ASN1_TYPE) *parts = d2i_ASN1_SEQUENCE_ANY(NULL, &at, (long)der.size);
    bool done = parts != NULL && at == der.data + der.size && sk_ASN1_TYPE_num(parts) == 2;

    for (int i = 0; done && i < 2; i++)
        done = ASN1_TYPE_get(sk_ASN1_TYPE_value(parts, i)) == V_ASN1_INTEGER;
    if (done) {
        const ASN1_INTEGER *modulus = sk_ASN1_TYPE_value(parts, 0)->value.integer;
        const ASN1_INTEGER *exponent = sk_ASN1_TYPE_value(parts, 1)->value.integer;
        done = kyok_spki_from_rsa(kyok_bytes(modulus->data, (size_t)modulus->length),
                                  kyok_bytes(exponent->data, (size_t)exponent->length), spki);
    }
    sk_ASN1_TYPE_pop_free(parts, ASN1_TYPE_free);
    return done;
}

static unsigned curve_bits(enum kyok_kmip_recommended_curve curve)
{
    switch (curve) {
    case KYOK_KMIP_RECOMMENDED_CURVE_P_256:
        return 256;
    case KYOK_KMIP_RECOMMENDED_CURVE_P_384:
        return 384;
    case KYOK_KMIP_RECOMMENDED_CURVE_P_521:
        return 521;
    default:
        return 0;
    }
}

static bool from_point(const struct kyok_kmip_transparent_key *key, struct kyok_buffer *spki)
{
    struct kyok_bytes parameters;

    return kyok_ec_parameters(KYOK_KEY_EC, curve_bits(key->recommended_curve), &parameters) &&
           kyok_spki_from_ec(parameters, key->q_string, spki);
}

static bool from_key_block(const struct kyok_kmip_key_block *block, struct kyok_buffer *spki)
{
    const struct kyok_kmip_transparent_key *parts = block->value.transparent;
    struct kyok_bytes material = block->value.material;

    switch (block->format) {
    case KYOK_KMIP_KEY_FORMAT_TYPE_X_509:
        return material.size != 0 && kyok_buffer_append(spki, material.data, material.size);
    case KYOK_KMIP_KEY_FORMAT_TYPE_PKCS_1:
        return from_pkcs1(material, spki);
    case KYOK_KMIP_KEY_FORMAT_TYPE_TRANSPARENT_RSA_PUBLIC_KEY:
        return parts != NULL && from_integers(parts->modulus, parts->public_exponent, spki);
    case KYOK_KMIP_KEY_FORMAT_TYPE_TRANSPARENT_ECDSA_PUBLIC_KEY:
    case KYOK_KMIP_KEY_FORMAT_TYPE_TRANSPARENT_EC_PUBLIC_KEY:
        return parts != NULL && from_point(parts, spki);
    default:
        return false;
    }
}

static bool from_object(const struct kyok_kmip_object *object, struct kyok_buffer *spki)
{
    if (object->type == KYOK_KMIP_OBJECT_TYPE_CERTIFICATE)
        return kyok_spki_from_certificate(object->value, spki);
    return object->type == KYOK_KMIP_OBJECT_TYPE_PUBLIC_KEY && from_key_block(&object->key, spki);
}

enum kyok_status kyok_kmip_get_public(struct kyok_kmip_client *client, const char *identifier,
                                      struct kyok_deadline deadline, struct kyok_buffer *spki,
                                      struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);
    static const struct kyok_kmip_expectation anything;
    unsigned bits;

    KYOK_TRY(
        kyok_kmip_get(client, kyok_bytes_of_text(identifier), 0, &anything, deadline, &reply, err));
    if (from_object(&reply.item->payload.get.object, spki) &&
        kyok_spki_type(kyok_buffer_bytes(spki), &bits) != KYOK_KEY_UNKNOWN)
        return KYOK_OK;
    return kyok_fail(err, KYOK_FAULT, reply.endpoint,
                     "Get: object \"%.200s\" is no public key or certificate that kyok can use",
                     identifier);
}
