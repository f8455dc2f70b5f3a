/* SPDX-License-Identifier: Apache-2.0 */
/*
 * openssl-provider, private: what its files share. The provider translates between OpenSSL's
 * provider interface and common/key; it never talks to a token or a server itself, and it never
 * handles a software key other than by handing it to the default provider.
 */
#ifndef KYOK_PROVIDER_H
#define KYOK_PROVIDER_H

#include "common/key/key.h"

#include <openssl/bio.h>
#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdatomic.h>

#define KP_HASHES (KYOK_HASH_SHA3_512 + 1)
#define KP_OPERATIONS (OSSL_OP_STORE + 1)

/* What the PEM decoder hands to the DER decoders. */
#define KP_STRUCTURE "kyok-key-reference"
#define KP_NONCE_SIZE 32

/* --- params.c: what openssl.cnf says in the provider's section ------------------------------- */

enum kp_login { KP_LOGIN_AUTO, KP_LOGIN_ALWAYS, KP_LOGIN_NEVER };

struct kp_settings {
    char *config;        /* kyok.conf; NULL: the usual place */
    unsigned timeout_ms; /* 0: each group's own */
    bool isolate, isolate_given;
    unsigned cache_keys_ms;
    bool cache_keys_given;
    bool kmip;        /* offer kmip: references */
    bool rand;        /* offer a custodian's random numbers */
    char *rand_group; /* whose; NULL: the first token group's */
    bool implicit_rejection;
    bool encode_references; /* private keys may be written as PEM references */
    bool with_public;       /* ... always with their public half */
    bool allow_export;      /* public halves may go to other providers */
    bool assume_fips;
    enum kp_login login;
    unsigned blocked; /* bit per OSSL_OP_* */
    /* pkcs11-provider's token, when pkcs11-module-path is there. */
    char *module;
    char *init_args;
    struct kyok_secret *pin;
    char *pin_source;
    char *invalid; /* what is wrong with the section; reported at first use */
};

struct kp_provider {
    const OSSL_CORE_HANDLE *core;
    OSSL_LIB_CTX *host; /* the provider's own library context; holds the default provider alone */
    OSSL_PROVIDER *host_default;
    OSSL_LIB_CTX *caller; /* the core's context, where that is the same libcrypto; else NULL */
    char *name;           /* activated under; the provider= property */
    char *properties;
    uint8_t nonce[KP_NONCE_SIZE]; /* seals what the PEM decoder tells the DER decoders */
    struct kp_settings settings;
    OSSL_ALGORITHM *tables[KP_OPERATIONS];
    _Atomic bool strings_loaded;
    _Atomic(struct kyok_context *) context;
    _Atomic(EVP_MD *) digests[KP_HASHES];

    OSSL_FUNC_core_get_params_fn *get_params;
    OSSL_FUNC_core_new_error_fn *new_error;
    OSSL_FUNC_core_set_error_debug_fn *set_error_debug;
    OSSL_FUNC_core_vset_error_fn *vset_error;
};

int kp_settings_read(struct kp_provider *provider);
void kp_settings_free(struct kp_settings *settings);
/* The custodians, read from kyok.conf and the section at first use (the program may be one that
 * never touches a key, and may not be allowed to read the file). NULL: raised. */
struct kyok_context *kp_context(struct kp_provider *provider);

/* --- error.c --------------------------------------------------------------------------------- */

/* Reasons: kyok_status's values, then these. */
enum kp_reason {
    KP_R_DEFAULT_MISSING = 64,
    KP_R_BAD_PARAMETER,
    KP_R_KEY_UNFIT,
    KP_R_BUFFER_TOO_SMALL,
    KP_R_MEMORY,
    KP_R_HOST,
    KP_R_NO_KEY,
    KP_R_BAD_REFERENCE,
};

void kp_raise_at(const struct kp_provider *provider, const char *file, int line,
                 const char *function, unsigned reason, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
/* kp_raise(provider, reason, format, ...) */
#define kp_raise(provider, ...) kp_raise_at(provider, __FILE__, __LINE__, __func__, __VA_ARGS__)
void kp_raise_error_at(const struct kp_provider *provider, const char *file, int line,
                       const char *function, const struct kyok_error *err);
#define kp_raise_error(provider, err) kp_raise_error_at(provider, __FILE__, __LINE__, __func__, err)

/* --- host.c: the default provider, through the provider's own library context ---------------- */

/* Borrowed from the provider; NULL: raised. */
EVP_MD *kp_digest(struct kp_provider *provider, enum kyok_hash hash);
/* SubjectPublicKeyInfo to a key of the default provider, NULL: raised. */
EVP_PKEY *kp_host_public(struct kp_provider *provider, struct kyok_bytes spki);
/* True, and quiet, if the caller's context has a provider for everything that kyok leaves to
 * others; else raises the message that names it. */
bool kp_default_present(const struct kp_provider *provider);

/* --- object.c: what OpenSSL holds as key data ------------------------------------------------ */

struct kp_type {
    const char *names; /* for OSSL_ALGORITHM */
    const char *name;
    enum kyok_key_type kind;
    bool pss;
    const char *signature, *exchange; /* operation names */
    const char *public_param, *private_param;
    const OSSL_DISPATCH *keymgmt;
};

extern const struct kp_type kp_rsa, kp_rsa_pss, kp_ec, kp_ed25519, kp_ed448, kp_x25519, kp_x448;
extern const struct kp_type *const kp_types[];
const struct kp_type *kp_type_of(enum kyok_key_type kind, bool pss);

/* A token's key (token set; host is its public half, NULL where none is known), or a software or
 * public key that came by import or generation (token NULL; the default provider does all work). */
struct kp_key {
    _Atomic unsigned references;
    struct kp_provider *provider;
    const struct kp_type *type;
    struct kyok_key *token;
    char *uri; /* of a token's key: what a PEM reference to it says */
    EVP_PKEY *host;
    int parts; /* OSSL_KEYMGMT_SELECT_* that are there */
};

struct kp_key *kp_key_new(struct kp_provider *provider, const struct kp_type *type);
/* Takes token. reference is what it was opened by; spki: the PEM reference's third member, empty:
 * the custodian's. */
struct kp_key *kp_key_of_token(struct kp_provider *provider, struct kyok_key *token,
                               const struct kyok_reference *reference, struct kyok_bytes spki);
void kp_key_up_ref(struct kp_key *key);
void kp_key_free(void *key);
bool kp_key_is_token(const struct kp_key *key);
unsigned kp_key_bits(const struct kp_key *key);

/* --- token.c: calls to the key layer; 1, or 0 and raised ------------------------------------- */

struct kyok_reference *kp_reference(struct kp_provider *provider, const char *text,
                                    enum kyok_origin origin);
/* The exact object, reached the way that reference says (module, PIN source, group). */
struct kyok_reference *kp_reference_exact(struct kp_provider *provider,
                                          const struct kyok_reference *reference,
                                          const char *exact);
struct kp_key *kp_token_open(struct kp_provider *provider, const struct kyok_reference *reference,
                             struct kyok_bytes spki);
int kp_token_check(const struct kp_key *key);
int kp_token_sign(const struct kp_key *key, const struct kyok_sign_request *request, uint8_t *sig,
                  size_t *siglen, size_t sigsize);
int kp_token_decrypt(const struct kp_key *key, const struct kyok_cipher_request *request,
                     struct kyok_secret **output);
int kp_token_derive(const struct kp_key *key, struct kyok_bytes peer, struct kyok_secret **secret);
struct kp_key *kp_token_generate(struct kp_provider *provider, const struct kp_type *type,
                                 const char *uri, const struct kyok_generate_request *request);
int kp_token_list(struct kp_provider *provider, const struct kyok_reference *reference, bool login,
                  kyok_key_visitor *visit, void *caller);
int kp_token_random(struct kp_provider *provider, uint8_t *data, size_t size);

/* --- algorithm_id.c -------------------------------------------------------------------------- */

/* DER AlgorithmIdentifier, as get_ctx_params hands it to X.509 and CMS; p->return_size set. */
int kp_algorithm_id(OSSL_PARAM *p, const EVP_MD *md, const char *key_name);
int kp_algorithm_id_pss(OSSL_PARAM *p, const EVP_MD *md, const EVP_MD *mgf1, int salt);

/* --- dispatch tables ------------------------------------------------------------------------- */

extern const OSSL_DISPATCH kp_signature_rsa[], kp_signature_ecdsa[], kp_signature_ed25519[],
    kp_signature_ed448[];
extern const OSSL_DISPATCH kp_asym_cipher_rsa[];
extern const OSSL_DISPATCH kp_exchange_ecdh[], kp_exchange_x25519[], kp_exchange_x448[];
extern const OSSL_DISPATCH kp_rand[];
extern const OSSL_DISPATCH kp_store[];
extern const OSSL_DISPATCH kp_decoder_pem[], kp_decoder_der[];
extern const OSSL_DISPATCH kp_encoder_pem[], kp_encoder_der[], kp_encoder_text[];
extern const OSSL_DISPATCH kp_encoder_public_pem[], kp_encoder_public_der[];

/* --- decoder.c: what both decoders share ----------------------------------------------------- */

void *kp_decoder_new(void *provctx);
void kp_decoder_free(void *ctx);
int kp_decoder_does_selection(void *provctx, int selection);
int kp_decoder_export(void *ctx, const void *reference, size_t size, OSSL_CALLBACK *callback,
                      void *argument);
/* Why a reference could not be opened. OSSL_STORE's file loader discards the errors of the decoders
 * that it calls; the PEM decoder, which called the loader, tells them again. */
void kp_failure_forget(void);
void kp_failure_note(void);                               /* the last error in the queue */
bool kp_failure_tell(const struct kp_provider *provider); /* false: there was none */
/* May a reference that is read from this BIO name modules and PIN sources? Only one in a file that
 * belongs to root or the caller; anything else (memory, a pipe) may be whatever someone sent. */
enum kyok_origin kp_origin(BIO *in);

/* algorithms.c: builds the tables with the activation name in their properties. */
int kp_algorithms_build(struct kp_provider *provider);
void kp_algorithms_free(struct kp_provider *provider);

#define KP_FUNCTION(number, function)                                                              \
    {                                                                                              \
        number, (void (*)(void))(function)                                                         \
    }
#define KP_END                                                                                     \
    {                                                                                              \
        0, NULL                                                                                    \
    }

#endif
