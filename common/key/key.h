/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key: one interface over both custodians (PKCS#11 token groups, KMIP server groups): find, open,
 * check, sign, decrypt, derive, wrap. Plugins use this, envelope and work; never pkcs11 or kmip.
 */
#ifndef KYOK_KEY_H
#define KYOK_KEY_H

#include "common/base/base.h"
#include "common/config/config.h"

/* The custodians of one configuration. Reference-counted; keys hold it. Thread-safe, survives fork. */
struct kyok_context;

/* Takes config. Contacts nothing. */
enum kyok_status kyok_context_new(struct kyok_config *config, struct kyok_context **context,
                                  struct kyok_error *err);
void kyok_context_up_ref(struct kyok_context *context);
const struct kyok_config *kyok_context_config(const struct kyok_context *context);
void kyok_context_free(struct kyok_context *context);

enum kyok_key_type {
    KYOK_KEY_UNKNOWN,
    KYOK_KEY_RSA,
    KYOK_KEY_EC, /* P-256, P-384, P-521: see bits */
    KYOK_KEY_ED25519,
    KYOK_KEY_ED448,
    KYOK_KEY_X25519,
    KYOK_KEY_X448,
    KYOK_KEY_AES,
    KYOK_KEY_GENERIC, /* KMIP Secret Data, CKK_GENERIC_SECRET */
};
const char *kyok_key_type_name(enum kyok_key_type type);

enum kyok_hash {
    KYOK_HASH_NONE,
    KYOK_HASH_MD5_SHA1, /* TLS 1.0/1.1 RSA */
    KYOK_HASH_SHA1,
    KYOK_HASH_SHA224,
    KYOK_HASH_SHA256,
    KYOK_HASH_SHA384,
    KYOK_HASH_SHA512,
    KYOK_HASH_SHA3_224,
    KYOK_HASH_SHA3_256,
    KYOK_HASH_SHA3_384,
    KYOK_HASH_SHA3_512,
};
size_t kyok_hash_size(enum kyok_hash hash);
const char *kyok_hash_name(enum kyok_hash hash); /* OpenSSL's name, "SHA2-256" style accepted below */
enum kyok_hash kyok_hash_by_name(const char *name);

enum kyok_answer { KYOK_NO, KYOK_YES, KYOK_NOT_KNOWN /* the token does not know the attribute */ };

/* What a custodian says of one object. */
struct kyok_key_info {
    enum kyok_object_type object;
    enum kyok_key_type type;
    unsigned bits; /* modulus, field or key size */
    char *reference; /* exact reference: token, object, id; or kmip://GROUP/ID */
    char *label;
    uint8_t *id;
    size_t id_size;
    uint8_t *public_key; /* SubjectPublicKeyInfo DER, named curve; NULL when none is known */
    size_t public_key_size;
    uint8_t *certificate; /* DER, certificates only */
    size_t certificate_size;
    char *custodian; /* group name */
    enum kyok_answer sensitive, always_sensitive, never_extractable, extractable, local;
    enum kyok_answer may_sign, may_decrypt, may_derive, may_wrap, may_unwrap, may_encrypt;
    enum kyok_answer always_authenticate;
};

struct kyok_key; /* a private or secret key; reference-counted, thread-safe, survives fork */

/* Opens a key. With public_key given (the PEM reference's third member) nothing is contacted until
 * first use, and then the halves are compared; else the custodian is asked now. require is checked
 * whenever the custodian is contacted, before any private operation. */
enum kyok_status kyok_key_open(struct kyok_context *context, const struct kyok_reference *reference,
                               struct kyok_bytes public_key, struct kyok_key **key,
                               struct kyok_error *err);
void kyok_key_up_ref(struct kyok_key *key);
void kyok_key_free(struct kyok_key *key);
const struct kyok_key_info *kyok_key_info(const struct kyok_key *key);
/* Contacts the custodian now: present, require met, halves match on every reachable member. */
enum kyok_status kyok_key_check(struct kyok_key *key, struct kyok_error *err);

/* Every object that fits reference (object attributes may be absent: all of the group's). The visitor
 * returns false to stop. login: log in first, so that private objects are seen. */
typedef bool kyok_key_visitor(void *caller, const struct kyok_key_info *info);
enum kyok_status kyok_key_list(struct kyok_context *context, const struct kyok_reference *reference,
                               bool login, kyok_key_visitor *visit, void *caller,
                               struct kyok_error *err);

/* --- operations: inputs are copied, so a waiter may leave; outputs as each says ------------------ */

enum kyok_sign_scheme {
    KYOK_SIGN_RSA_PKCS1, /* hash NONE: digest is the DigestInfo or raw block, padded type 1 as is */
    KYOK_SIGN_RSA_PSS,
    KYOK_SIGN_RSA_RAW,
    KYOK_SIGN_ECDSA, /* result: DER ECDSA-Sig-Value */
    KYOK_SIGN_EDDSA, /* pure; data is the message */
};

struct kyok_sign_request {
    enum kyok_sign_scheme scheme;
    enum kyok_hash hash;      /* of the digest */
    enum kyok_hash mgf1_hash; /* PSS */
    size_t salt_size;         /* PSS, bytes */
    struct kyok_bytes digest; /* hash's output; empty for EdDSA */
    struct kyok_bytes data;   /* the whole message: EdDSA always; else when kyok_key_wants_data() */
};

/* True when this custodian can sign only whole messages (KMIP before 1.4): pass data, at most
 * KYOK_SIGN_DATA_MAX bytes. */
bool kyok_key_wants_data(const struct kyok_key *key);
#define KYOK_SIGN_DATA_MAX ((size_t)64 << 10)

/* *size: room in signature on entry, bytes written on return. kyok_key_signature_size() is enough. */
size_t kyok_key_signature_size(const struct kyok_key *key);
enum kyok_status kyok_key_sign(struct kyok_key *key, const struct kyok_sign_request *request,
                               uint8_t *signature, size_t *size, struct kyok_error *err);

enum kyok_cipher_scheme {
    KYOK_CIPHER_RSA_RAW,
    KYOK_CIPHER_RSA_PKCS1,     /* implicit rejection unless strict_padding */
    KYOK_CIPHER_RSA_PKCS1_TLS, /* 48-byte premaster; random on any fault (RFC 5246 7.4.7.1) */
    KYOK_CIPHER_RSA_OAEP,
    KYOK_CIPHER_AES_GCM,
    KYOK_CIPHER_AES_KW,  /* RFC 3394 */
    KYOK_CIPHER_AES_KWP, /* RFC 5649 */
};

struct kyok_cipher_request {
    enum kyok_cipher_scheme scheme;
    struct kyok_bytes input;
    enum kyok_hash hash, mgf1_hash;    /* OAEP */
    struct kyok_bytes label;           /* OAEP */
    unsigned tls_version, tls_alt_version; /* PKCS1_TLS: client's offer, and the negotiated one or 0 */
    bool strict_padding;
    uint8_t iv[16]; /* GCM: 12 bytes used; on encryption the token's own is written back */
    size_t iv_size;
    struct kyok_bytes aad;
    uint8_t tag[16]; /* GCM: in for decryption, out for encryption */
};

/* Result in a secret of exactly its size. */
enum kyok_status kyok_key_decrypt(struct kyok_key *key, const struct kyok_cipher_request *request,
                                  struct kyok_secret **output, struct kyok_error *err);
/* AES schemes; ciphertext appended to output. iv and tag of *request are filled. */
enum kyok_status kyok_key_encrypt(struct kyok_key *key, struct kyok_cipher_request *request,
                                  struct kyok_buffer *output, struct kyok_error *err);
/* ECDH (cofactor-less) and X25519/X448: peer is the uncompressed point or the raw public value. */
enum kyok_status kyok_key_derive(struct kyok_key *key, struct kyok_bytes peer,
                                 struct kyok_secret **secret, struct kyok_error *err);
enum kyok_status kyok_random(struct kyok_context *context, const char *group, uint8_t *data,
                             size_t size, struct kyok_error *err);

/* --- life: generation and destruction; more in lifecycle.h -------------------------------------- */

enum kyok_key_use { /* bits */
    KYOK_USE_SIGN = 1,
    KYOK_USE_DECRYPT = 2, /* encrypt and decrypt */
    KYOK_USE_DERIVE = 4,
    KYOK_USE_WRAP = 8, /* wrap and unwrap */
};

struct kyok_generate_request {
    enum kyok_key_type type;
    unsigned bits;
    unsigned uses; /* 0: the type's usual ones */
    struct kyok_bytes id; /* CKA_ID; empty: the reference's, else random */
};

/* In the custodian: sensitive, never extractable, private, on the token. The reference must name a
 * group (and for a group of several, a member) and an object label; an existing one is refused. */
enum kyok_status kyok_key_generate(struct kyok_context *context,
                                   const struct kyok_reference *reference,
                                   const struct kyok_generate_request *request,
                                   struct kyok_key **key, struct kyok_error *err);

/* --- figures for status pages ---------------------------------------------------------------------- */

struct kyok_custodian_figures {
    const char *custodian; /* group */
    const char *member;
    const char *state; /* "healthy", "down", "hung", "quarantined", "absent", "unused" */
    uint64_t operations, failures, timeouts, failovers, logins, in_flight, sessions;
    uint64_t latency[16]; /* bucket i: below 2^i * 0.25 ms; the last: all others */
};
typedef void kyok_figures_visitor(void *caller, const struct kyok_custodian_figures *figures);
void kyok_custodian_figures(kyok_figures_visitor *visit, void *caller);

#endif
