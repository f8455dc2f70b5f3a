/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all signatures share. A context is bound to a token's private key, and then hashes on the
 * host and sends one digest; or it stands for a context of the default provider (verification, and
 * software keys), and hands everything on.
 */
#ifndef KYOK_PROVIDER_SIGNATURE_H
#define KYOK_PROVIDER_SIGNATURE_H

#include "openssl-provider/provider.h"

struct kp_signature;

/* What differs between the families. */
struct kp_signature_family {
    const char *name;
    /* The digest (or raw block) is in; the custodian signs. */
    int (*sign)(struct kp_signature *ctx, const struct kyok_sign_request *input, uint8_t *sig,
                size_t *siglen, size_t sigsize);
    /* May this key be used, and how: defaults for the context. */
    int (*bind)(struct kp_signature *ctx);
    int (*set_params)(struct kp_signature *ctx, const OSSL_PARAM params[]);
    int (*get_params)(struct kp_signature *ctx, OSSL_PARAM params[]);
};

struct kp_signature {
    struct kp_provider *provider;
    const struct kp_signature_family *family;
    struct kp_key *key;

    /* The default provider's, when this context only stands for it. */
    EVP_PKEY_CTX *soft;
    EVP_MD_CTX *soft_digest; /* owns soft when there */

    /* A token's key. */
    const EVP_MD *digest; /* NULL: what comes is signed as it is */
    EVP_MD *fetched;      /* owned, when digest is not one of the provider's */
    enum kyok_hash hash;
    EVP_MD_CTX *hashing;
    bool hashing_fresh; /* initialised, and nothing put in */
    bool digest_fixed;  /* digest-sign: the digest may not change any more */
    bool whole;         /* the custodian wants the message, gathered here */
    struct kyok_buffer message;

    /* RSA */
    int padding;
    enum kyok_hash mgf1;
    bool mgf1_set;
    int salt;
    int least_salt; /* restricted key; -1: none */
    bool restricted;
};

void *kp_signature_new(struct kp_provider *provider, const struct kp_signature_family *family);
void kp_signature_free(void *data);
void *kp_signature_dup(void *data);

int kp_sign_init(void *data, void *key, const OSSL_PARAM params[]);
int kp_sign(void *data, unsigned char *sig, size_t *siglen, size_t sigsize,
            const unsigned char *tbs, size_t tbslen);
int kp_verify_init(void *data, void *key, const OSSL_PARAM params[]);
int kp_verify(void *data, const unsigned char *sig, size_t siglen, const unsigned char *tbs,
              size_t tbslen);
int kp_verify_recover_init(void *data, void *key, const OSSL_PARAM params[]);
int kp_verify_recover(void *data, unsigned char *out, size_t *outlen, size_t outsize,
                      const unsigned char *sig, size_t siglen);
int kp_digest_sign_init(void *data, const char *digest, void *key, const OSSL_PARAM params[]);
int kp_digest_sign_update(void *data, const unsigned char *bytes, size_t size);
int kp_digest_sign_final(void *data, unsigned char *sig, size_t *siglen, size_t sigsize);
int kp_digest_sign(void *data, unsigned char *sig, size_t *siglen, size_t sigsize,
                   const unsigned char *tbs, size_t tbslen);
int kp_digest_verify_init(void *data, const char *digest, void *key, const OSSL_PARAM params[]);
int kp_digest_verify_update(void *data, const unsigned char *bytes, size_t size);
int kp_digest_verify_final(void *data, const unsigned char *sig, size_t siglen);
int kp_digest_verify(void *data, const unsigned char *sig, size_t siglen, const unsigned char *tbs,
                     size_t tbslen);
int kp_signature_get_params(void *data, OSSL_PARAM params[]);
int kp_signature_set_params(void *data, const OSSL_PARAM params[]);
int kp_signature_get_md_params(void *data, OSSL_PARAM params[]);
const OSSL_PARAM *kp_signature_gettable_md(void *data);
int kp_signature_set_md_params(void *data, const OSSL_PARAM params[]);
const OSSL_PARAM *kp_signature_settable_md(void *data);

/* Binds a token's key for signing; 0: raised. */
int kp_signature_bind(struct kp_signature *ctx, struct kp_key *key);
/* Sets the digest by its name; 0: raised. */
int kp_signature_set_digest(struct kp_signature *ctx, const char *name);
/* Room for the largest signature, or its size when sig is NULL (then *done). */
int kp_signature_room(const struct kp_signature *ctx, const uint8_t *sig, size_t *siglen,
                      size_t sigsize, bool *done);

#endif
