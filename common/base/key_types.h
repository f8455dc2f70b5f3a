/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vocabulary that the key layer shares with both custodians below it: kinds of keys and
 * objects, what a custodian says of one, and what it is asked to do. Plain types; inputs are views.
 */
#ifndef KYOK_BASE_KEY_TYPES_H
#define KYOK_BASE_KEY_TYPES_H

#include "common/base/bytes.h"

/* Object class named by "type=" (RFC 7512 2.3). */
enum kyok_object_type {
    KYOK_OBJECT_ANY,
    KYOK_OBJECT_PRIVATE,
    KYOK_OBJECT_PUBLIC,
    KYOK_OBJECT_CERTIFICATE,
    KYOK_OBJECT_SECRET,
    KYOK_OBJECT_DATA,
};

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
const char *
kyok_hash_name(enum kyok_hash hash); /* OpenSSL's name, "SHA2-256" style accepted below */
enum kyok_hash kyok_hash_by_name(const char *name);

enum kyok_answer { KYOK_NO, KYOK_YES, KYOK_NOT_KNOWN /* the token does not know the attribute */ };

/* What a custodian says of one object. */
struct kyok_key_info {
    enum kyok_object_type object;
    enum kyok_key_type type;
    unsigned bits;   /* modulus, field or key size */
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
    bool has_check_value; /* secret keys: first bytes of an encrypted zero block */
    uint8_t check_value[3];
};

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
    enum kyok_hash hash, mgf1_hash; /* OAEP */
    struct kyok_bytes label;        /* OAEP */
    unsigned tls_version,
        tls_alt_version; /* PKCS1_TLS: client's offer, and the negotiated one or 0 */
    bool strict_padding;
    uint8_t iv[16]; /* GCM: 12 bytes used; on encryption the token's own is written back */
    size_t iv_size;
    struct kyok_bytes aad;
    uint8_t tag[16]; /* GCM: in for decryption, out for encryption */
};

enum kyok_key_use { /* bits */
                    KYOK_USE_SIGN = 1,
                    KYOK_USE_DECRYPT = 2, /* encrypt and decrypt */
                    KYOK_USE_DERIVE = 4,
                    KYOK_USE_WRAP = 8, /* wrap and unwrap */
};

struct kyok_generate_request {
    enum kyok_key_type type;
    unsigned bits;
    unsigned uses;        /* 0: the type's usual ones */
    struct kyok_bytes id; /* CKA_ID; empty: the reference's, else random */
    bool dormant;         /* born without any use: pre-active */
    /* When it is to become active and deactivated, seconds since 1970; 0: not set. In a token the
     * dates are a note for people. */
    int64_t activate, deactivate;
};

/* One member (token) or endpoint (server) of a custodian, for status pages. */
struct kyok_custodian_figures {
    const char *custodian; /* group */
    const char *member;
    const char *state; /* "healthy", "down", "hung", "quarantined", "absent", "unused" */
    uint64_t operations, failures, timeouts, failovers, logins, in_flight, sessions;
    uint64_t latency[16]; /* bucket i: below 2^i * 0.25 ms; the last: all others */
    uint64_t took_ns;     /* all of them together */
};
/* Frees what the fields point to. */
void kyok_key_info_clear(struct kyok_key_info *info);
/* Deep; false (and *copy empty) when memory is short. */
bool kyok_key_info_copy(const struct kyok_key_info *info, struct kyok_key_info *copy);

#endif
