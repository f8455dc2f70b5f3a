/* SPDX-License-Identifier: Apache-2.0 */
/* The header's cryptography: key derivation, anti-forensic splitting (specification 2.4), key
 * material. */
#include "common/disk/luks.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

enum iv_kind { IV_PLAIN, IV_PLAIN64, IV_ESSIV_SHA256 };

static const struct luks_mode {
    const char *mode;
    enum iv_kind iv;
    bool xts;
} luks_modes[] = {
    {"xts-plain64", IV_PLAIN64, true},
    {"xts-plain", IV_PLAIN, true},
    {"cbc-plain64", IV_PLAIN64, false},
    {"cbc-plain", IV_PLAIN, false},
    {"cbc-essiv:sha256", IV_ESSIV_SHA256, false},
};

static const char *const luks_hashes[] = {"sha1", "sha224", "sha256", "sha384", "sha512"};

static const struct luks_mode *find_mode(const struct kyok_luks *luks)
{
    if (strcmp(luks->cipher, "aes") != 0)
        return NULL;
    for (size_t i = 0; i < sizeof(luks_modes) / sizeof(luks_modes[0]); i++)
        if (strcmp(luks_modes[i].mode, luks->mode) == 0)
            return &luks_modes[i];
    return NULL;
}

static const EVP_CIPHER *find_cipher(const struct kyok_luks *luks, const struct luks_mode *mode)
{
    if (mode->xts)
        return luks->key_size == 64   ? EVP_aes_256_xts()
               : luks->key_size == 32 ? EVP_aes_128_xts()
                                      : NULL;
    return luks->key_size == 32   ? EVP_aes_256_cbc()
           : luks->key_size == 16 ? EVP_aes_128_cbc()
                                  : NULL;
}

static const EVP_MD *find_hash(const struct kyok_luks *luks)
{
    for (size_t i = 0; i < sizeof(luks_hashes) / sizeof(luks_hashes[0]); i++)
        if (strcmp(luks_hashes[i], luks->hash) == 0)
            return EVP_get_digestbyname(luks_hashes[i]);
    return NULL;
}

static enum kyok_status unsupported(const struct kyok_luks *luks, const char *name,
                                    struct kyok_error *err)
{
    kyok_fail(err, KYOK_UNSUPPORTED, name, "kyok does not read LUKS with %s-%s, %zu-bit key and %s",
              luks->cipher, luks->mode, luks->key_size * 8, luks->hash);
    return kyok_remedy(err, "use aes-xts-plain64 with sha256 (kyok disk reencrypt makes it so)");
}

/* --- sectors of key material --- */

struct sector_cipher {
    const struct luks_mode *mode;
    EVP_CIPHER_CTX *data, *essiv;
    bool encrypt;
};

static void sector_cipher_free(struct sector_cipher *cipher)
{
    EVP_CIPHER_CTX_free(cipher->data);
    EVP_CIPHER_CTX_free(cipher->essiv);
}

static bool sector_cipher_init(struct sector_cipher *cipher, const struct kyok_luks *luks,
                               const EVP_CIPHER *evp, struct kyok_bytes key)
{
    cipher->data = EVP_CIPHER_CTX_new();
    if (!cipher->data ||
        EVP_CipherInit_ex(cipher->data, evp, NULL, key.data, NULL, cipher->encrypt) != 1 ||
        EVP_CIPHER_CTX_set_padding(cipher->data, 0) != 1)
        return false;
    if (cipher->mode->iv != IV_ESSIV_SHA256)
        return true;
    uint8_t digest[32];
    unsigned size;
    cipher->essiv = EVP_CIPHER_CTX_new();
    bool good = cipher->essiv &&
                EVP_Digest(key.data, luks->key_size, digest, &size, EVP_sha256(), NULL) == 1 &&
                EVP_EncryptInit_ex(cipher->essiv, EVP_aes_256_ecb(), NULL, digest, NULL) == 1 &&
                EVP_CIPHER_CTX_set_padding(cipher->essiv, 0) == 1;
    kyok_wipe(digest, sizeof(digest));
    return good;
}

static bool sector_iv(struct sector_cipher *cipher, uint64_t sector, uint8_t iv[16])
{
    unsigned bytes = cipher->mode->iv == IV_PLAIN ? 4 : 8;
    memset(iv, 0, 16);
    for (unsigned i = 0; i < bytes; i++)
        iv[i] = (uint8_t)(sector >> (8 * i));
    int size;
    uint8_t out[16];
    if (!cipher->essiv)
        return true;
    if (EVP_EncryptUpdate(cipher->essiv, out, &size, iv, 16) != 1 || size != 16)
        return false;
    memcpy(iv, out, 16);
    return true;
}

/* in and out may be the same; the last sector may be a short one (whole AES blocks). */
static bool sector_crypt(struct sector_cipher *cipher, const uint8_t *in, uint8_t *out, size_t size)
{
    for (size_t at = 0; at < size; at += KYOK_LUKS_SECTOR) {
        uint8_t iv[16];
        int done, step = (int)(size - at < KYOK_LUKS_SECTOR ? size - at : KYOK_LUKS_SECTOR);
        if (!sector_iv(cipher, at / KYOK_LUKS_SECTOR, iv) ||
            EVP_CipherInit_ex(cipher->data, NULL, NULL, NULL, iv, cipher->encrypt) != 1 ||
            EVP_CipherUpdate(cipher->data, out + at, &done, in + at, step) != 1 || done != step)
            return false;
    }
    return true;
}

/* --- anti-forensic splitting --- */

static bool diffuse(const EVP_MD *hash, EVP_MD_CTX *context, uint8_t *block, size_t size)
{
    size_t step = (size_t)EVP_MD_get_size(hash);
    uint8_t digest[EVP_MAX_MD_SIZE];
    for (uint32_t i = 0; i * step < size; i++) {
        uint8_t counter[4] = {(uint8_t)(i >> 24), (uint8_t)(i >> 16), (uint8_t)(i >> 8),
                              (uint8_t)i};
        size_t part = size - i * step < step ? size - i * step : step;
        if (EVP_DigestInit_ex(context, hash, NULL) != 1 ||
            EVP_DigestUpdate(context, counter, sizeof(counter)) != 1 ||
            EVP_DigestUpdate(context, block + i * step, part) != 1 ||
            EVP_DigestFinal_ex(context, digest, NULL) != 1)
            return false;
        memcpy(block + i * step, digest, part);
    }
    kyok_wipe(digest, sizeof(digest));
    return true;
}

static void xor_into(uint8_t *to, const uint8_t *from, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[i] ^= from[i];
}

/* block becomes the diffused sum of all stripes but the last. */
static bool sum_stripes(const EVP_MD *hash, const uint8_t *stripes, size_t size, uint8_t *block)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context != NULL;
    memset(block, 0, size);
    for (size_t i = 0; good && i < KYOK_LUKS_STRIPES - 1; i++) {
        xor_into(block, stripes + i * size, size);
        good = diffuse(hash, context, block, size);
    }
    EVP_MD_CTX_free(context);
    return good;
}

static bool af_merge(const EVP_MD *hash, const uint8_t *stripes, size_t size, uint8_t *key)
{
    if (!sum_stripes(hash, stripes, size, key))
        return false;
    xor_into(key, stripes + (KYOK_LUKS_STRIPES - 1) * size, size);
    return true;
}

static bool af_split(const EVP_MD *hash, struct kyok_bytes key, uint8_t *stripes)
{
    uint8_t *last = stripes + (KYOK_LUKS_STRIPES - 1) * key.size;
    if (RAND_priv_bytes(stripes, (int)((KYOK_LUKS_STRIPES - 1) * key.size)) != 1 ||
        !sum_stripes(hash, stripes, key.size, last))
        return false;
    xor_into(last, key.data, key.size);
    return true;
}

/* --- slots --- */

struct slot_key {
    const EVP_MD *hash;
    struct sector_cipher cipher;
};

static void slot_key_free(struct slot_key *key)
{
    sector_cipher_free(&key->cipher);
}

static bool derive(struct kyok_bytes secret, const uint8_t *salt, uint32_t iterations,
                   const EVP_MD *hash, uint8_t *key, size_t size)
{
    return PKCS5_PBKDF2_HMAC((const char *)secret.data, (int)secret.size, salt, KYOK_LUKS_SALT_SIZE,
                             (int)iterations, hash, (int)size, key) == 1;
}

static enum kyok_status slot_key_init(struct slot_key *key, const struct kyok_luks *luks,
                                      unsigned slot, struct kyok_bytes passphrase, bool encrypt,
                                      const char *name, struct kyok_error *err)
{
    key->cipher = (struct sector_cipher){.mode = find_mode(luks), .encrypt = encrypt};
    key->hash = find_hash(luks);
    const EVP_CIPHER *evp = key->cipher.mode ? find_cipher(luks, key->cipher.mode) : NULL;
    if (!key->hash || !evp)
        return unsupported(luks, name, err);
    KYOK_AUTO_SECRET struct kyok_secret *derived = kyok_secret_new(luks->key_size);
    if (!derived ||
        !derive(passphrase, luks->slots[slot].salt, luks->slots[slot].iterations, key->hash,
                kyok_secret_data(derived), luks->key_size) ||
        !sector_cipher_init(&key->cipher, luks, evp, kyok_secret_bytes(derived)))
        return kyok_fail(err, KYOK_SYSTEM, name, "the LUKS slot key cannot be derived");
    return KYOK_OK;
}

static enum kyok_status check_digest(const struct kyok_luks *luks, struct kyok_bytes volume_key,
                                     const char *name, struct kyok_error *err)
{
    uint8_t digest[KYOK_LUKS_DIGEST_SIZE];
    if (!derive(volume_key, luks->digest_salt, luks->digest_iterations, find_hash(luks), digest,
                sizeof(digest)))
        return kyok_fail(err, KYOK_SYSTEM, name, "the LUKS volume key cannot be checked");
    if (!kyok_bytes_equal_secret(kyok_bytes(digest, sizeof(digest)),
                                 kyok_bytes(luks->digest, sizeof(luks->digest))))
        return kyok_fail(err, KYOK_REFUSED, name, "the passphrase does not open the volume");
    return KYOK_OK;
}

enum kyok_status kyok_luks_open_slot(const struct kyok_luks *luks, unsigned slot,
                                     struct kyok_bytes passphrase, struct kyok_bytes material,
                                     const char *name, struct kyok_secret **volume_key,
                                     struct kyok_error *err)
{
    if (slot >= KYOK_LUKS_SLOTS || material.size != kyok_luks_material_size(luks))
        return kyok_fail(err, KYOK_INVALID, name, "LUKS key slot %u is not whole", slot);
    KYOK_CLEANUP(slot_key_free) struct slot_key key = {0};
    KYOK_TRY(slot_key_init(&key, luks, slot, passphrase, false, name, err));
    KYOK_AUTO_SECRET struct kyok_secret *stripes = kyok_secret_new(material.size);
    KYOK_AUTO_SECRET struct kyok_secret *found = kyok_secret_new(luks->key_size);
    if (!stripes || !found ||
        !sector_crypt(&key.cipher, material.data, kyok_secret_data(stripes), material.size) ||
        !af_merge(key.hash, kyok_secret_data(stripes), luks->key_size, kyok_secret_data(found)))
        return kyok_fail(err, KYOK_SYSTEM, name, "LUKS key slot %u cannot be decrypted", slot);
    KYOK_TRY(check_digest(luks, kyok_secret_bytes(found), name, err));
    *volume_key = found;
    found = NULL;
    return KYOK_OK;
}

enum kyok_status kyok_luks_fill_slot(const struct kyok_luks *luks, unsigned slot,
                                     struct kyok_bytes passphrase, struct kyok_bytes volume_key,
                                     uint8_t *material, const char *name, struct kyok_error *err)
{
    if (slot >= KYOK_LUKS_SLOTS || volume_key.size != luks->key_size)
        return kyok_fail(err, KYOK_INVALID, name, "LUKS key slot %u cannot take this key", slot);
    KYOK_CLEANUP(slot_key_free) struct slot_key key = {0};
    KYOK_TRY(slot_key_init(&key, luks, slot, passphrase, true, name, err));
    size_t size = kyok_luks_material_size(luks);
    KYOK_AUTO_SECRET struct kyok_secret *stripes = kyok_secret_new(size);
    if (!stripes || !af_split(key.hash, volume_key, kyok_secret_data(stripes)) ||
        !sector_crypt(&key.cipher, kyok_secret_data(stripes), material, size))
        return kyok_fail(err, KYOK_SYSTEM, name, "LUKS key slot %u cannot be encrypted", slot);
    return KYOK_OK;
}

#define NEW_KEY_SIZE 64
#define NEW_FIRST_SLOT 8 /* sectors: 4 KiB, as cryptsetup lays it out */
#define NEW_PAYLOAD 4096 /* sectors: 2 MiB */

enum kyok_status kyok_luks_new(struct kyok_luks *luks, const char *uuid, uint32_t iterations,
                               struct kyok_secret **volume_key, struct kyok_error *err)
{
    *luks = (struct kyok_luks){.cipher = "aes",
                               .mode = "xts-plain64",
                               .hash = "sha256",
                               .payload = NEW_PAYLOAD,
                               .key_size = NEW_KEY_SIZE,
                               .digest_iterations = iterations};
    /* A slot's material in whole 4 KiB blocks: 504 sectors for 256 000 bytes. */
    uint32_t step = (uint32_t)((kyok_luks_material_size(luks) + 4095) / 4096 * 8);
    for (unsigned i = 0; i < KYOK_LUKS_SLOTS; i++)
        luks->slots[i].offset = NEW_FIRST_SLOT + i * step;
    KYOK_AUTO_SECRET struct kyok_secret *key = kyok_secret_new(NEW_KEY_SIZE);
    if (!key || RAND_priv_bytes(kyok_secret_data(key), NEW_KEY_SIZE) != 1 ||
        RAND_bytes(luks->digest_salt, sizeof(luks->digest_salt)) != 1 ||
        !(uuid ? kyok_uuid_canonical(uuid, luks->uuid) : kyok_uuid_random(luks->uuid)) ||
        !derive(kyok_secret_bytes(key), luks->digest_salt, iterations, find_hash(luks),
                luks->digest, sizeof(luks->digest)))
        return kyok_fail(err, KYOK_SYSTEM, NULL, "a LUKS volume key cannot be made");
    *volume_key = key;
    key = NULL;
    return KYOK_OK;
}
