/* SPDX-License-Identifier: Apache-2.0 */
#include "common/envelope/crypto.h"
#include "common/base/rsa_oaep.h"

#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <stdlib.h>

static void crypto_discard(void *state)
{
    struct kyok_crypto *crypto = state;

    EVP_CIPHER_free(crypto->gcm);
    EVP_MD_free(crypto->sha256);
    OSSL_LIB_CTX_free(crypto->library);
    free(crypto);
}

/* The default provider stays loaded for as long as the context lives. */
static void *crypto_create(void)
{
    struct kyok_crypto *crypto = calloc(1, sizeof(*crypto));

    if (crypto == NULL)
        return NULL;
    crypto->library = OSSL_LIB_CTX_new();
    if (crypto->library != NULL && OSSL_PROVIDER_load(crypto->library, "default") != NULL) {
        crypto->gcm = EVP_CIPHER_fetch(crypto->library, "AES-256-GCM", NULL);
        crypto->sha256 = EVP_MD_fetch(crypto->library, "SHA256", NULL);
    }
    if (crypto->gcm == NULL || crypto->sha256 == NULL) {
        crypto_discard(crypto);
        return NULL;
    }
    return crypto;
}

static enum kyok_status crypto_failed(struct kyok_error *err, const char *what)
{
    unsigned long code = ERR_peek_last_error();

    kyok_fail(err, KYOK_SYSTEM, "OpenSSL", "%s failed", what);
    if (code != 0)
        kyok_because(err, "%s", ERR_reason_error_string(code));
    ERR_clear_error();
    return KYOK_SYSTEM;
}

const struct kyok_crypto *kyok_crypto(struct kyok_error *err)
{
    const struct kyok_crypto *crypto =
        kyok_process_state(KYOK_PROCESS_ENVELOPE, crypto_create, crypto_discard);

    if (crypto == NULL)
        crypto_failed(err, "preparing AES-256-GCM and SHA-256");
    return crypto;
}

enum kyok_status kyok_crypto_random(uint8_t *data, size_t size, struct kyok_error *err)
{
    const struct kyok_crypto *crypto = kyok_crypto(err);

    if (crypto == NULL)
        return err->status;
    if (RAND_priv_bytes_ex(crypto->library, data, size, 256) != 1)
        return crypto_failed(err, "making random bytes");
    return KYOK_OK;
}

enum kyok_status kyok_crypto_sha256(struct kyok_bytes data, uint8_t digest[32],
                                    struct kyok_error *err)
{
    const struct kyok_crypto *crypto = kyok_crypto(err);

    if (crypto == NULL)
        return err->status;
    if (EVP_Digest(data.data, data.size, digest, NULL, crypto->sha256, NULL) != 1)
        return crypto_failed(err, "SHA-256");
    return KYOK_OK;
}

static void cipher_free(EVP_CIPHER_CTX **context)
{
    EVP_CIPHER_CTX_free(*context);
}

#define GCM_INPUT_MAX ((size_t)1 << 30) /* EVP counts in int */

static enum kyok_status gcm_begin(struct kyok_bytes key, struct kyok_bytes aad,
                                  struct kyok_bytes input, const struct kyok_crypto **crypto,
                                  struct kyok_error *err)
{
    *crypto = kyok_crypto(err);
    if (*crypto == NULL)
        return err->status;
    if (key.size != KYOK_CEK_SIZE || input.size > GCM_INPUT_MAX || aad.size > GCM_INPUT_MAX)
        return kyok_fail(err, KYOK_FAULT, NULL, "AES-256-GCM was given a wrong size");
    return KYOK_OK;
}

enum kyok_status kyok_gcm_seal(struct kyok_bytes key, const uint8_t iv[KYOK_GCM_IV_SIZE],
                               struct kyok_bytes aad, struct kyok_bytes input, uint8_t *output,
                               uint8_t tag[KYOK_GCM_TAG_SIZE], struct kyok_error *err)
{
    KYOK_CLEANUP(cipher_free) EVP_CIPHER_CTX *context = NULL;
    const struct kyok_crypto *crypto;
    int written = 0;

    KYOK_TRY(gcm_begin(key, aad, input, &crypto, err));
    context = EVP_CIPHER_CTX_new();
    if (context == NULL || EVP_EncryptInit_ex2(context, crypto->gcm, key.data, iv, NULL) != 1 ||
        EVP_EncryptUpdate(context, NULL, &written, aad.data, (int)aad.size) != 1 ||
        EVP_EncryptUpdate(context, output, &written, input.data, (int)input.size) != 1 ||
        EVP_EncryptFinal_ex(context, output + written, &written) != 1 ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, KYOK_GCM_TAG_SIZE, tag) != 1)
        return crypto_failed(err, "AES-256-GCM encryption");
    return KYOK_OK;
}

enum kyok_status kyok_gcm_open(struct kyok_bytes key, const uint8_t iv[KYOK_GCM_IV_SIZE],
                               struct kyok_bytes aad, struct kyok_bytes input,
                               const uint8_t tag[KYOK_GCM_TAG_SIZE], uint8_t *output,
                               struct kyok_error *err)
{
    KYOK_CLEANUP(cipher_free) EVP_CIPHER_CTX *context = NULL;
    const struct kyok_crypto *crypto;
    int written = 0;

    KYOK_TRY(gcm_begin(key, aad, input, &crypto, err));
    context = EVP_CIPHER_CTX_new();
    if (context == NULL || EVP_DecryptInit_ex2(context, crypto->gcm, key.data, iv, NULL) != 1 ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, KYOK_GCM_TAG_SIZE, (void *)tag) != 1 ||
        EVP_DecryptUpdate(context, NULL, &written, aad.data, (int)aad.size) != 1 ||
        EVP_DecryptUpdate(context, output, &written, input.data, (int)input.size) != 1)
        return crypto_failed(err, "AES-256-GCM decryption");
    if (EVP_DecryptFinal_ex(context, output + written, &written) == 1)
        return KYOK_OK;
    kyok_wipe(output, input.size);
    ERR_clear_error();
    return kyok_fail(err, KYOK_TAMPERED, NULL, "the AES-256-GCM tag does not fit");
}

static void pkey_free(EVP_PKEY **pkey)
{
    EVP_PKEY_free(*pkey);
}

static void pkey_context_free(EVP_PKEY_CTX **context)
{
    EVP_PKEY_CTX_free(*context);
}

enum kyok_status kyok_rsa_oaep_seal(struct kyok_bytes public_key, struct kyok_bytes input,
                                    struct kyok_buffer *output, struct kyok_error *err)
{
    const struct kyok_crypto *crypto = kyok_crypto(err);
    KYOK_CLEANUP(pkey_free) EVP_PKEY *pkey = NULL;
    KYOK_CLEANUP(pkey_context_free) EVP_PKEY_CTX *context = NULL;
    size_t size;
    uint8_t *room;

    if (crypto == NULL)
        return err->status;
    pkey = kyok_rsa_public_key(crypto->library, public_key);
    if (pkey == NULL)
        return crypto_failed(err, "reading an RSA public key");
    if (EVP_PKEY_get_bits(pkey) < 2048)
        return kyok_fail(err, KYOK_REFUSED, NULL, "RSA-OAEP-256 needs a key of 2048 bits or more");
    context = kyok_rsa_oaep_new(crypto->library, pkey, "SHA256");
    if (context == NULL || EVP_PKEY_encrypt(context, NULL, &size, input.data, input.size) != 1)
        return crypto_failed(err, "preparing RSA-OAEP-256");
    room = kyok_buffer_reserve(output, size);
    if (room == NULL)
        return kyok_fail(err, KYOK_SYSTEM, NULL, "out of memory");
    if (EVP_PKEY_encrypt(context, room, &size, input.data, input.size) != 1)
        return crypto_failed(err, "RSA-OAEP-256 encryption");
    output->size += size;
    return KYOK_OK;
}
