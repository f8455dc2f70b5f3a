/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/provider_tool.h"

#include <openssl/pem.h>
#include <openssl/x509.h>

EVP_PKEY *provider_load(OSSL_LIB_CTX *library, const char *path)
{
    BIO *in = BIO_new_file(path, "r");
    EVP_PKEY *key =
        in == NULL ? NULL : PEM_read_bio_PrivateKey_ex(in, NULL, NULL, NULL, library, NULL);

    BIO_free(in);
    return key;
}

EVP_PKEY *provider_public_half(EVP_PKEY *key)
{
    unsigned char *der = NULL;
    const unsigned char *at;
    int size = i2d_PUBKEY(key, &der);
    EVP_PKEY *half = NULL;

    at = der;
    if (size > 0)
        half = d2i_PUBKEY_ex(NULL, &at, size, NULL, "provider=default");
    OPENSSL_free(der);
    return half;
}

bool provider_sign(EVP_PKEY *key, const char *digest, const void *data, size_t size, uint8_t *sig,
                   size_t *siglen)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = EVP_DigestSignInit_ex(ctx, NULL, digest, NULL, NULL, key, NULL) == 1 &&
                EVP_DigestSign(ctx, sig, siglen, data, size) == 1;

    EVP_MD_CTX_free(ctx);
    return good;
}

bool provider_verify(EVP_PKEY *half, const char *digest, const void *data, size_t size,
                     const uint8_t *sig, size_t siglen)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = EVP_DigestVerifyInit_ex(ctx, NULL, digest, NULL, NULL, half, NULL) == 1 &&
                EVP_DigestVerify(ctx, sig, siglen, data, size) == 1;

    EVP_MD_CTX_free(ctx);
    return good;
}
