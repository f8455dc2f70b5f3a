/* SPDX-License-Identifier: Apache-2.0 */
/* libcrypto's RSA_padding_check_PKCS1_OAEP_mgf1() is constant in time; the newer API offers it only
 * with a private key at hand. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "common/pkcs11/unpad.h"
#include "common/base/library_context.h"
#include "common/pkcs11/hmac.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <string.h>

#define RSA_MOST 2048 /* bytes of a modulus */

/* --- masks: all ones or all zeros, without branches --- */

typedef uint32_t mask_t;

/* Keeps the compiler from seeing that a mask has two values only. */
static mask_t opaque(mask_t mask)
{
    __asm__("" : "+r"(mask));
    return mask;
}

static mask_t mask_zero(uint32_t value)
{
    return opaque(0 - ((~value & (value - 1)) >> 31));
}

static mask_t mask_equal(uint32_t a, uint32_t b)
{
    return mask_zero(a ^ b);
}

static mask_t mask_less(uint32_t a, uint32_t b)
{
    return opaque(0 - ((a ^ ((a ^ b) | ((a - b) ^ b))) >> 31));
}

static uint32_t choose(mask_t mask, uint32_t yes, uint32_t no)
{
    return (mask & yes) | (~mask & no);
}

/* --- PKCS#1 v1.5 --- */

bool kyok_unpad_tls(struct kyok_bytes block, unsigned version, unsigned alt_version,
                    uint8_t premaster[48])
{
    const uint8_t *em = block.data, *told;
    uint8_t random[48];
    mask_t good, fits;

    if (block.size < 48 + 11 || RAND_bytes_ex(kyok_library_context(), random, 48, 0) <= 0)
        return false;
    told = em + block.size - 48;
    good = mask_zero(em[0]) & mask_equal(em[1], 2);
    for (size_t i = 2; i < block.size - 49; i++)
        good &= ~mask_zero(em[i]);
    good &= mask_zero(em[block.size - 49]);
    fits = mask_equal((uint32_t)(told[0] << 8 | told[1]), version);
    if (alt_version != 0)
        fits |= mask_equal((uint32_t)(told[0] << 8 | told[1]), alt_version);
    for (size_t i = 0; i < 48; i++)
        premaster[i] = (uint8_t)choose(good & fits, told[i], random[i]);
    kyok_wipe(random, sizeof(random));
    return true;
}

/* Where the message begins; *good says whether the padding is right. At least 8 bytes of padding.
 */
static uint32_t message_index(struct kyok_bytes block, mask_t *good)
{
    const uint8_t *em = block.data;
    mask_t looking = ~(mask_t)0;
    uint32_t zero_at = 0;

    *good = mask_zero(em[0]) & mask_equal(em[1], 2);
    for (size_t i = 2; i < block.size; i++) {
        mask_t zero = mask_zero(em[i]);

        zero_at = choose(looking & zero, (uint32_t)i, zero_at);
        looking &= ~zero;
    }
    *good &= ~looking & ~mask_less(zero_at, 2 + 8);
    return zero_at + 1;
}

int kyok_unpad_pkcs1_strict(struct kyok_bytes block, uint8_t *message, size_t room)
{
    mask_t good;
    uint32_t at;
    size_t size;

    if (block.size < 11)
        return -1;
    at = message_index(block, &good);
    if (good == 0 || block.size - at > room)
        return -1;
    size = block.size - at;
    memcpy(message, block.data + at, size);
    return (int)size;
}

/* The draft's PRF: HMAC over counter, label and length in bits. */
static bool expand(const uint8_t kdk[32], const char *label, uint8_t *out, size_t size)
{
    uint8_t length[2] = {(uint8_t)(size * 8 >> 8), (uint8_t)(size * 8)}, counter[2], part[32];

    for (size_t done = 0, n = 0; done < size; done += 32, n++) {
        struct kyok_bytes parts[] = {kyok_bytes(counter, 2), kyok_bytes_of_text(label),
                                     kyok_bytes(length, 2)};

        counter[0] = (uint8_t)(n >> 8);
        counter[1] = (uint8_t)n;
        if (!kyok_hmac_sha256(kyok_bytes(kdk, 32), parts, 3, part))
            return false;
        memcpy(out + done, part, size - done < 32 ? size - done : 32);
    }
    kyok_wipe(part, sizeof(part));
    return true;
}

/* Length of the synthetic message: the last of 128 candidates that fits. */
static uint32_t synthetic_size(const uint8_t candidates[256], size_t modulus)
{
    uint32_t most = (uint32_t)modulus - 10, bits = most, size = 0;

    bits |= bits >> 1;
    bits |= bits >> 2;
    bits |= bits >> 4;
    bits |= bits >> 8;
    for (size_t i = 0; i < 256; i += 2) {
        uint32_t candidate = (uint32_t)(candidates[i] << 8 | candidates[i + 1]) & bits;

        size = choose(mask_less(candidate, most), candidate, size);
    }
    return size;
}

bool kyok_unpad_pkcs1_implicit(struct kyok_bytes block, struct kyok_bytes ciphertext,
                               struct kyok_bytes rejection, uint8_t *message, size_t *size)
{
    uint8_t kdk[32], candidates[256], synthetic[RSA_MOST];
    uint32_t at, synthetic_at;
    mask_t good;
    bool done;

    if (block.size < 64 || block.size > RSA_MOST || *size < block.size - 11)
        return false;
    done = kyok_hmac_sha256(rejection, &ciphertext, 1, kdk) &&
           expand(kdk, "length", candidates, 256) && expand(kdk, "message", synthetic, block.size);
    if (done) {
        synthetic_at = (uint32_t)block.size - synthetic_size(candidates, block.size);
        at = message_index(block, &good);
        at = choose(good, at, synthetic_at);
        *size = block.size - at;
        for (size_t i = 0; i < *size; i++)
            message[i] = (uint8_t)choose(good, block.data[at + i], synthetic[at + i]);
    }
    kyok_wipe(kdk, sizeof(kdk));
    kyok_wipe(candidates, sizeof(candidates));
    kyok_wipe(synthetic, sizeof(synthetic));
    return done;
}

/* --- OAEP --- */

int kyok_unpad_oaep(struct kyok_bytes block, enum kyok_hash hash, enum kyok_hash mgf1_hash,
                    struct kyok_bytes label, uint8_t *message, size_t room)
{
    OSSL_LIB_CTX *library = kyok_library_context();
    EVP_MD *digest, *mgf1;
    int size = -1;

    if (library == NULL || block.size < 2 || block.size > RSA_MOST)
        return -1;
    digest = EVP_MD_fetch(library, kyok_hash_name(hash), NULL);
    mgf1 =
        EVP_MD_fetch(library, kyok_hash_name(mgf1_hash == KYOK_HASH_NONE ? hash : mgf1_hash), NULL);
    ERR_set_mark();
    if (digest != NULL && mgf1 != NULL)
        size = RSA_padding_check_PKCS1_OAEP_mgf1(
            message, (int)room, block.data, (int)block.size, (int)block.size,
            label.size == 0 ? NULL : label.data, (int)label.size, digest, mgf1);
    ERR_pop_to_mark();
    EVP_MD_free(digest);
    EVP_MD_free(mgf1);
    return size;
}
