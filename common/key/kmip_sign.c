/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures made by a KMIP server. Each is verified under the public half before it is given away:
 * KMIP leaves much to the server (salt, encoding of ECDSA), and an answer is only as good as its
 * check. */
#include "common/base/library_context.h"
#include "common/base/public_key.h"
#include "common/key/kmip_key.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

/* --- the public half --- */

static EVP_PKEY *verifier_of(const struct kyok_key *key)
{
    struct kyok_kmip_key *own = kyok_kmip_own(key);
    EVP_PKEY *known = atomic_load(&own->verifier), *none = NULL;
    const unsigned char *at = key->info.public_key;

    if (known != NULL || at == NULL)
        return known;
    EVP_PKEY *fresh =
        d2i_PUBKEY_ex(NULL, &at, (long)key->info.public_key_size, kyok_library_context(), NULL);
    if (atomic_compare_exchange_strong(&own->verifier, &none, fresh))
        return fresh;
    EVP_PKEY_free(fresh);
    return none;
}

/* --- verification --- */

static bool set_padding(EVP_PKEY_CTX *context, const struct kyok_sign_request *request, int salt)
{
    if (request->scheme == KYOK_SIGN_ECDSA)
        return true;
    if (request->scheme == KYOK_SIGN_RSA_PKCS1)
        return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1;
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(context, salt) == 1 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md_name(context, kyok_hash_name(request->mgf1_hash), NULL) ==
               1;
}

static bool verify(EVP_PKEY *public_key, const struct kyok_sign_request *request,
                   struct kyok_bytes digest, struct kyok_bytes signature, int salt)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(kyok_library_context(), public_key, NULL);
    EVP_MD *hash = EVP_MD_fetch(kyok_library_context(), kyok_hash_name(request->hash), NULL);

    ERR_set_mark();
    bool good =
        context != NULL && hash != NULL && EVP_PKEY_verify_init(context) == 1 &&
        set_padding(context, request, salt) && EVP_PKEY_CTX_set_signature_md(context, hash) == 1 &&
        EVP_PKEY_verify(context, signature.data, signature.size, digest.data, digest.size) == 1;
    ERR_pop_to_mark();
    EVP_MD_free(hash);
    EVP_PKEY_CTX_free(context);
    return good;
}

static enum kyok_status wrong_signature(const struct kyok_kmip_reply *reply, EVP_PKEY *public_key,
                                        const struct kyok_sign_request *request,
                                        struct kyok_bytes digest, struct kyok_bytes signature,
                                        struct kyok_error *err)
{
    if (request->scheme == KYOK_SIGN_RSA_PSS &&
        verify(public_key, request, digest, signature, RSA_PSS_SALTLEN_AUTO)) {
        kyok_fail(err, KYOK_UNSUPPORTED, reply->endpoint,
                  "Sign: the server chose another PSS salt length than the %zu bytes asked for",
                  request->salt_size);
        return kyok_remedy(err, "use RSA PKCS#1 signatures (TLS 1.2) with this server, or another "
                                "server; PyKMIP always takes the longest salt");
    }
    kyok_fail(err, KYOK_FAULT, reply->endpoint,
              "Sign: the server's signature is not one of the key's");
    return kyok_remedy(err, "check that the public half belongs to this key");
}

static enum kyok_status check(const struct kyok_key *key, const struct kyok_kmip_reply *reply,
                              const struct kyok_sign_request *request, struct kyok_bytes digest,
                              struct kyok_bytes signature, struct kyok_error *err)
{
    EVP_PKEY *public_key = verifier_of(key);

    if (public_key == NULL)
        return kyok_fail(err, KYOK_INVALID, key->reference->text,
                         "the key's public half cannot be read");
    if (verify(public_key, request, digest, signature, (int)request->salt_size))
        return KYOK_OK;
    return wrong_signature(reply, public_key, request, digest, signature, err);
}

/* --- encoding --- */

#define ECDSA_MOST 160 /* bytes of a P-521 signature, and some */

/* KMIP does not say how an ECDSA signature is encoded: most servers send DER, some r || s. The
 * length says that it may be the latter, and only the verification that it is: r || s may look like
 * DER. */
static bool take_raw(const struct kyok_key *key, const struct kyok_sign_request *request,
                     struct kyok_bytes digest, struct kyok_bytes sent, uint8_t *signature,
                     size_t *size)
{
    EVP_PKEY *public_key = verifier_of(key);
    uint8_t der[ECDSA_MOST];
    size_t der_size = sizeof der;

    if (request->scheme != KYOK_SIGN_ECDSA || sent.size != 2 * ((key->info.bits + 7) / 8) ||
        public_key == NULL || !kyok_ecdsa_der_from_raw(sent, der, &der_size) || der_size > *size ||
        !verify(public_key, request, digest, kyok_bytes(der, der_size), 0))
        return false;
    memcpy(signature, der, der_size);
    *size = der_size;
    return true;
}

static enum kyok_status take_as_it_is(const struct kyok_key *key,
                                      const struct kyok_kmip_reply *reply,
                                      const struct kyok_sign_request *request,
                                      struct kyok_bytes digest, uint8_t *signature, size_t *size,
                                      struct kyok_error *err)
{
    struct kyok_bytes sent = reply->item->payload.sign.signature;

    if (sent.size > *size)
        return kyok_fail(err, KYOK_FAULT, reply->endpoint,
                         "Sign: the server's signature of %zu bytes is too long", sent.size);
    KYOK_TRY(check(key, reply, request, digest, sent, err));
    memcpy(signature, sent.data, sent.size);
    *size = sent.size;
    return KYOK_OK;
}

/* --- signing --- */

static enum kyok_status digest_of(const struct kyok_sign_request *request, uint8_t *room,
                                  struct kyok_bytes *digest, struct kyok_error *err)
{
    size_t size = 0;

    *digest = request->digest;
    if (digest->size != 0)
        return KYOK_OK;
    if (request->data.data == NULL || kyok_hash_size(request->hash) == 0 ||
        EVP_Q_digest(kyok_library_context(), kyok_hash_name(request->hash), NULL,
                     request->data.data, request->data.size, room, &size) != 1)
        return kyok_fail(err, KYOK_INVALID, NULL, "nothing to sign");
    *digest = kyok_bytes(room, size);
    return KYOK_OK;
}

enum kyok_status kyok_kmip_key_sign(struct kyok_key *key, const struct kyok_sign_request *request,
                                    uint8_t *signature, size_t *size, struct kyok_deadline deadline,
                                    struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);
    struct kyok_sign_request asked = *request;
    const struct kyok_kmip_found *found;
    uint8_t room[EVP_MAX_MD_SIZE];

    KYOK_TRY(kyok_kmip_key_find(key, deadline, &found, err));
    KYOK_TRY(kyok_kmip_key_is_for(
        key, found, request->scheme == KYOK_SIGN_ECDSA ? KYOK_KEY_EC : KYOK_KEY_RSA, err));
    if (found->usage_known && (found->usage & KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_SIGN) == 0)
        return kyok_fail(err, KYOK_REFUSED, key->reference->text,
                         "the key's usage mask does not allow Sign");
    KYOK_TRY(digest_of(request, room, &asked.digest, err));
    KYOK_TRY(kyok_kmip_sign(kyok_kmip_own(key)->client, kyok_bytes_of_text(found->identifier),
                            &asked, deadline, &reply, err));
    if (take_raw(key, request, asked.digest, reply.item->payload.sign.signature, signature, size))
        return KYOK_OK;
    return take_as_it_is(key, &reply, request, asked.digest, signature, size, err);
}
