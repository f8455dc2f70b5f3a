/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recipients whose keys are in memory, for unit tests, fuzzers and interoperation: software AES and
 * RSA in the place of a custodian, with custodians that are away, refuse, hang or are slow.
 */
#ifndef KYOK_TESTS_MEMORY_KEYHOLDER_H
#define KYOK_TESTS_MEMORY_KEYHOLDER_H

#include "common/envelope/keyholder.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum memory_behaviour { MEMORY_WELL, MEMORY_AWAY, MEMORY_REFUSES, MEMORY_HANGS };

struct memory_key {
    const char *kid;
    const char *custodian; /* NULL: one of its own */
    bool rsa;
    bool no_gcm;
    uint8_t aes[32];
    EVP_PKEY *pkey;
    _Atomic(enum memory_behaviour) behaviour;
    int rank;
    _Atomic unsigned calls;
};

#define MEMORY_KEYS_MAX 80
#define MEMORY_HANG_MS 5000

struct memory_keys {
    struct memory_key keys[MEMORY_KEYS_MAX];
    size_t count;
    _Atomic unsigned references;
    _Atomic bool release; /* lets the hanging go */
};

static inline struct memory_key *memory_find(struct memory_keys *keys, const char *kid)
{
    for (size_t i = 0; kid != NULL && i < keys->count; i++)
        if (strcmp(keys->keys[i].kid, kid) == 0)
            return &keys->keys[i];
    return NULL;
}

static inline void memory_hang(struct memory_keys *keys)
{
    struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};

    for (int i = 0; i < MEMORY_HANG_MS / 5 && !atomic_load(&keys->release); i++)
        nanosleep(&pause, NULL);
}

static inline enum kyok_status memory_ask(struct memory_keys *keys, const char *kid,
                                          struct memory_key **key, struct kyok_error *err)
{
    *key = memory_find(keys, kid);
    if (*key == NULL)
        return kyok_fail(err, KYOK_NOT_FOUND, kid, "no such key");
    atomic_fetch_add(&(*key)->calls, 1);
    if ((*key)->behaviour == MEMORY_AWAY)
        return kyok_fail(err, KYOK_UNREACHABLE, kid, "the custodian is away");
    if ((*key)->behaviour == MEMORY_REFUSES)
        return kyok_fail(err, KYOK_REFUSED, kid, "the custodian refused");
    if ((*key)->behaviour == MEMORY_HANGS) {
        memory_hang(keys);
        return kyok_fail(err, KYOK_TIMEOUT, kid, "the custodian hung");
    }
    return KYOK_OK;
}

/* RFC 3394 with the default IV; true on success. */
static inline bool memory_kw(const struct memory_key *key, struct kyok_bytes input, uint8_t *output,
                             int *size, int encrypt)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    bool good;

    EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    good = EVP_CipherInit_ex(context, EVP_aes_256_wrap(), NULL, key->aes, NULL, encrypt) == 1 &&
           EVP_CipherUpdate(context, output, size, input.data, (int)input.size) == 1;
    EVP_CIPHER_CTX_free(context);
    return good;
}

static inline bool memory_oaep_open(const struct memory_key *key, struct kyok_bytes input,
                                    uint8_t *output, size_t *size)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key->pkey, NULL);
    bool good = EVP_PKEY_decrypt_init(context) == 1 &&
                EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1 &&
                EVP_PKEY_CTX_set_rsa_oaep_md_name(context, "SHA256", NULL) == 1 &&
                EVP_PKEY_CTX_set_rsa_mgf1_md_name(context, "SHA256", NULL) == 1 &&
                EVP_PKEY_decrypt(context, output, size, input.data, input.size) == 1;

    EVP_PKEY_CTX_free(context);
    return good;
}

static inline enum kyok_status memory_wrap_bytes(struct memory_key *key, bool gcm,
                                                 struct kyok_bytes cek,
                                                 struct kyok_jwe_recipient *recipient,
                                                 struct kyok_buffer *wrapped,
                                                 struct kyok_error *err)
{
    uint8_t *room;
    int size = 0;

    if (key->rsa) {
        unsigned char *der = NULL;
        int der_size = i2d_PUBKEY(key->pkey, &der);
        enum kyok_status status =
            kyok_rsa_oaep_seal(kyok_bytes(der, (size_t)der_size), cek, wrapped, err);

        OPENSSL_free(der);
        recipient->algorithm = KYOK_ENVELOPE_RSA_OAEP_256;
        return status;
    }
    room = kyok_buffer_reserve(wrapped, 48);
    if (room == NULL)
        return kyok_fail(err, KYOK_SYSTEM, NULL, "out of memory");
    if (gcm) {
        recipient->algorithm = KYOK_ENVELOPE_A256GCMKW;
        KYOK_TRY(kyok_crypto_random(recipient->iv, sizeof(recipient->iv), err));
        KYOK_TRY(kyok_gcm_seal(kyok_bytes(key->aes, 32), recipient->iv, kyok_bytes("", 0), cek,
                               room, recipient->tag, err));
        wrapped->size += cek.size;
        return KYOK_OK;
    }
    recipient->algorithm = KYOK_ENVELOPE_A256KW;
    if (!memory_kw(key, cek, room, &size, 1))
        return kyok_fail(err, KYOK_FAULT, key->kid, "RFC 3394 failed");
    wrapped->size += (size_t)size;
    return KYOK_OK;
}

static inline enum kyok_status
memory_wrap_kid(void *self, const char *kid, enum kyok_envelope_algorithm algorithm,
                struct kyok_bytes cek, struct kyok_jwe_recipient *recipient, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer wrapped = {0};
    struct memory_key *key;

    KYOK_TRY(memory_ask(self, kid, &key, err));
    KYOK_TRY(memory_wrap_bytes(key, algorithm != KYOK_ENVELOPE_A256KW && !key->no_gcm, cek,
                               recipient, &wrapped, err));
    recipient->kid = strdup(kid);
    recipient->encrypted_key = malloc(wrapped.size);
    memcpy(recipient->encrypted_key, wrapped.data, wrapped.size);
    recipient->encrypted_key_size = wrapped.size;
    return KYOK_OK;
}

static inline enum kyok_status memory_wrap(void *self, const struct kyok_reference *reference,
                                           enum kyok_envelope_algorithm algorithm,
                                           struct kyok_bytes cek,
                                           struct kyok_jwe_recipient *recipient,
                                           struct kyok_error *err)
{
    return memory_wrap_kid(self, reference->text, algorithm, cek, recipient, err);
}

static inline enum kyok_status memory_name(void *self, const struct kyok_reference *reference,
                                           char **kid, struct kyok_error *err)
{
    *kid = NULL;
    if (memory_find(self, reference->text) == NULL)
        return kyok_fail(err, KYOK_NOT_FOUND, reference->text, "no such key");
    *kid = strdup(reference->text);
    return KYOK_OK;
}

static inline enum kyok_status memory_unwrap(void *self, const struct kyok_jwe_recipient *recipient,
                                             const char *kid, struct kyok_secret **cek,
                                             struct kyok_error *err)
{
    struct kyok_bytes input = kyok_bytes(recipient->encrypted_key, recipient->encrypted_key_size);
    struct kyok_secret *out = kyok_secret_new(KYOK_JWE_MAX_ENCRYPTED_KEY);
    size_t size = kyok_secret_size(out);
    struct memory_key *key = NULL;
    enum kyok_status status = memory_ask(self, kid != NULL ? kid : recipient->kid, &key, err);
    int written = 0;
    bool good = true;

    if (status == KYOK_OK && key->rsa != (recipient->algorithm == KYOK_ENVELOPE_RSA_OAEP_256))
        status = kyok_fail(err, KYOK_REFUSED, key->kid, "the key is of another type");
    if (status == KYOK_OK && key->rsa) {
        good = memory_oaep_open(key, input, kyok_secret_data(out), &size);
    } else if (status == KYOK_OK && recipient->algorithm == KYOK_ENVELOPE_A256KW) {
        good = memory_kw(key, input, kyok_secret_data(out), &written, 0);
        size = (size_t)written;
    } else if (status == KYOK_OK) {
        size = input.size;
        status = kyok_gcm_open(kyok_bytes(key->aes, 32), recipient->iv, kyok_bytes("", 0), input,
                               recipient->tag, kyok_secret_data(out), err);
    }
    if (status == KYOK_OK && !good)
        status = kyok_fail(err, KYOK_TAMPERED, key->kid, "the wrapped key was altered");
    if (status != KYOK_OK) {
        kyok_secret_free(out);
        return status;
    }
    kyok_secret_truncate(out, size);
    *cek = out;
    return KYOK_OK;
}

static inline int memory_rank(void *self, const char *kid, const char **custodian)
{
    struct memory_key *key = memory_find(self, kid);

    *custodian = key == NULL ? "" : key->custodian != NULL ? key->custodian : key->kid;
    return key == NULL ? 1 : key->rank;
}

static inline unsigned memory_timeout_ms(void *self)
{
    (void)self;
    return 2000;
}

static inline void memory_up_ref(void *self)
{
    atomic_fetch_add(&((struct memory_keys *)self)->references, 1);
}

static inline void memory_drop(void *self)
{
    atomic_fetch_sub(&((struct memory_keys *)self)->references, 1);
}

static const struct kyok_keyholder_type memory_type = {
    .wrap = memory_wrap,
    .wrap_kid = memory_wrap_kid,
    .name = memory_name,
    .unwrap = memory_unwrap,
    .rank = memory_rank,
    .timeout_ms = memory_timeout_ms,
    .up_ref = memory_up_ref,
    .free = memory_drop,
};

static inline struct kyok_keyholder memory_keyholder(struct memory_keys *keys)
{
    return (struct kyok_keyholder){&memory_type, keys};
}

/* An AES-256 key whose bytes all are `fill`, or with pkey an RSA key. */
static inline struct memory_key *memory_add(struct memory_keys *keys, const char *kid, int fill,
                                            EVP_PKEY *pkey)
{
    struct memory_key *key = &keys->keys[keys->count++];

    key->kid = kid;
    key->rsa = pkey != NULL;
    key->pkey = pkey;
    memset(key->aes, fill, sizeof(key->aes));
    return key;
}

#endif
