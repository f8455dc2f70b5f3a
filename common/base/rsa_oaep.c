/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/rsa_oaep.h"

#include <openssl/decoder.h>
#include <openssl/rsa.h>

EVP_PKEY *kyok_rsa_public_key(OSSL_LIB_CTX *library, struct kyok_bytes spki)
{
    EVP_PKEY *key = NULL;
    OSSL_DECODER_CTX *decoder = OSSL_DECODER_CTX_new_for_pkey(
        &key, "DER", "SubjectPublicKeyInfo", "RSA", EVP_PKEY_PUBLIC_KEY, library, NULL);
    const unsigned char *at = spki.data;
    size_t left = spki.size;

    if (decoder == NULL || OSSL_DECODER_from_data(decoder, &at, &left) != 1 || left != 0) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    OSSL_DECODER_CTX_free(decoder);
    return key;
}

EVP_PKEY_CTX *kyok_rsa_oaep_new(OSSL_LIB_CTX *library, EVP_PKEY *key, const char *hash)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(library, key, NULL);

    if (context != NULL && EVP_PKEY_encrypt_init(context) == 1 &&
        EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1 &&
        EVP_PKEY_CTX_set_rsa_oaep_md_name(context, hash, NULL) == 1 &&
        EVP_PKEY_CTX_set_rsa_mgf1_md_name(context, hash, NULL) == 1)
        return context;
    EVP_PKEY_CTX_free(context);
    return NULL;
}
