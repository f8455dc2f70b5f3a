/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KMIP messages without input or output: requests and responses, batches, errors, both directions
 * of each, for KMIP 1.0 to 1.4 and 2.0 (2.1 where it is the same). Section numbers are those of
 * the 1.4 specification. It never connects, never keeps state, never copies key material.
 *
 * One set of structures serves both directions and all versions:
 *
 *   to send      fill a struct kyok_kmip_request (zeroed; absent fields stay zero), write it for
 * the version in its header with kyok_kmip_request_write() or _append(); to receive
 * kyok_kmip_response_read() fills a struct kyok_kmip_response. Text, bytes and key material are
 * views into the received bytes; lists and optional structures lie in the caller's arena. Both must
 * outlive the structure.
 *
 * A server does the same with read and write exchanged. What differs between versions (templates,
 * attributes, references, fields that came later) lives here and nowhere else. Writing a field or
 * an attribute that the version does not have is KYOK_UNSUPPORTED, never a silent omission. Reading
 * is by tag and accepts every version's form whatever the header says, since servers answer errors
 * with 1.0 headers (PyKMIP) and lower versions; items that a structure does not have are checked by
 * the reader's rules and skipped; a missing, doubled or wrongly typed field is KYOK_FAULT.
 */
#ifndef KYOK_KMIP_MESSAGE_H
#define KYOK_KMIP_MESSAGE_H

#include "common/kmip/attributes.h"

#include <stdalign.h>

/* --- versions --- */

struct kyok_kmip_version { /* 6.1 Protocol Version */
    int32_t major, minor;
};

/* 0x104 for 1.4: comparable with these. A header may carry any version; writing needs one of these.
 */
enum {
    KYOK_KMIP_1_0 = 0x100,
    KYOK_KMIP_1_1 = 0x101,
    KYOK_KMIP_1_2 = 0x102,
    KYOK_KMIP_1_3 = 0x103,
    KYOK_KMIP_1_4 = 0x104,
    KYOK_KMIP_2_0 = 0x200,
    KYOK_KMIP_2_1 = 0x201,
};
/* 0 for a version whose parts are outside 0 to 255. */
unsigned kyok_kmip_version_number(struct kyok_kmip_version version);
struct kyok_kmip_version kyok_kmip_version(unsigned number);

/* --- arena --- */

/* What a message's lists and optional structures lie in: never key material. The first block is
 * inside, so that small messages allocate nothing; more are bounded by a multiple of the message.
 */
#define KYOK_KMIP_ARENA_FIRST 4096
struct kyok_kmip_arena {
    unsigned char *at, *end;
    struct kyok_kmip_arena_block *blocks;
    size_t total, limit; /* bytes in blocks, and the most there may be */
    alignas(16) unsigned char first[KYOK_KMIP_ARENA_FIRST];
};
#define KYOK_KMIP_ARENA_LIMIT ((size_t)64 << 20)

/* Does not touch the first block. limit 0: KYOK_KMIP_ARENA_LIMIT. */
void kyok_kmip_arena_init(struct kyok_kmip_arena *arena, size_t limit);
/* Zeroed, aligned for any type; NULL beyond the limit or without memory. */
void *kyok_kmip_arena_take(struct kyok_kmip_arena *arena, size_t count, size_t size);
/* Frees what was taken; the arena can be used again. */
void kyok_kmip_arena_free(struct kyok_kmip_arena *arena);

/* --- base objects --- */

typedef KYOK_KMIP_LIST(struct kyok_kmip_attribute) kyok_kmip_attributes;
typedef KYOK_KMIP_LIST(struct kyok_kmip_attribute_name) kyok_kmip_attribute_names;

/* 2.1.8 Template-Attribute; Attributes from 2.0, which have no names (of templates). */
struct kyok_kmip_template {
    KYOK_KMIP_LIST(struct kyok_kmip_name) names;
    kyok_kmip_attributes attributes;
};

struct kyok_kmip_key_information { /* Encryption and MAC/Signature Key Information, 2.1.5 */
    struct kyok_bytes unique_identifier;
    const struct kyok_kmip_cryptographic_parameters *parameters;
};
struct kyok_kmip_key_wrapping_data { /* 2.1.5 */
    enum kyok_kmip_wrapping_method method;
    const struct kyok_kmip_key_information *encryption_key, *mac_key;
    struct kyok_bytes mac_signature;
    struct kyok_bytes iv_counter_nonce;
    enum kyok_kmip_encoding_option encoding; /* 1.1; absent means TTLV encoding */
};
struct kyok_kmip_key_wrapping_specification { /* 2.1.6 */
    enum kyok_kmip_wrapping_method method;
    const struct kyok_kmip_key_information *encryption_key, *mac_key;
    KYOK_KMIP_LIST(struct kyok_bytes) attribute_names;
    enum kyok_kmip_encoding_option encoding; /* 1.1 */
};

/* 2.1.7: the members that the key format's own table has. Big Integers are two's complement; see
 * kyok_ttlv_magnitude(). */
struct kyok_kmip_transparent_key {
    struct kyok_bytes key; /* symmetric: bytes, not a Big Integer */
    struct kyok_bytes modulus, private_exponent, public_exponent;
    struct kyok_bytes p, q, prime_exponent_p, prime_exponent_q, crt_coefficient;
    struct kyok_bytes g, j, x, y;
    enum kyok_kmip_recommended_curve recommended_curve;
    struct kyok_bytes d;        /* Big Integer */
    struct kyok_bytes q_string; /* bytes */
};

/* 2.1.4 Key Value: one of wrapped (the whole Key Value as wrapped bytes), material and transparent.
 * Secret unless the object is public: views only, wiped by whoever owns the message. */
struct kyok_kmip_key_value {
    struct kyok_bytes wrapped;
    struct kyok_bytes material;
    const struct kyok_kmip_transparent_key *transparent;
    kyok_kmip_attributes attributes;
};

struct kyok_kmip_key_block { /* 2.1.3 */
    enum kyok_kmip_key_format_type format;
    enum kyok_kmip_key_compression_type compression;
    struct kyok_kmip_key_value value;
    bool has_value; /* 1.2: a key's value may be elsewhere; writing takes it from the members */
    enum kyok_kmip_cryptographic_algorithm algorithm;
    struct kyok_kmip_integer length; /* bits */
    const struct kyok_kmip_key_wrapping_data *wrapping;
};

/* 2.2 Managed Objects. type says which members count; an object type that has no structure here
 * (Template) is kept as its TTLV content in raw. */
struct kyok_kmip_object {
    enum kyok_kmip_object_type type; /* 0: no object */
    struct kyok_kmip_key_block key;  /* symmetric, public, private, split, PGP key, secret data */
    enum kyok_kmip_certificate_type certificate_type;
    enum kyok_kmip_secret_data_type secret_data_type;
    enum kyok_kmip_opaque_data_type opaque_data_type;
    struct kyok_bytes value; /* of a certificate or an opaque object */
    struct kyok_kmip_integer split_key_parts, key_part_identifier, split_key_threshold;
    enum kyok_kmip_split_key_method split_key_method;
    struct kyok_bytes prime_field_size;
    struct kyok_kmip_integer pgp_key_version;
    struct kyok_bytes raw;
};

/* --- operations: request and response of each (4.x) --- */

/* Streams of one cryptographic operation over several requests (1.3). */
struct kyok_kmip_stream {
    struct kyok_bytes correlation_value;
    enum kyok_kmip_boolean init, final;
};

struct kyok_kmip_create_request { /* 4.1 */
    enum kyok_kmip_object_type object_type;
    struct kyok_kmip_template attributes;
};
struct kyok_kmip_create_response {
    enum kyok_kmip_object_type object_type;
    struct kyok_bytes unique_identifier;
    const struct kyok_kmip_template *attributes;
};

struct kyok_kmip_create_key_pair_request { /* 4.2 */
    const struct kyok_kmip_template *common, *private_key, *public_key;
};
struct kyok_kmip_create_key_pair_response {
    struct kyok_bytes private_key, public_key; /* identifiers */
    const struct kyok_kmip_template *private_key_attributes, *public_key_attributes;
};

struct kyok_kmip_register_request { /* 4.3 */
    enum kyok_kmip_object_type object_type;
    struct kyok_kmip_template attributes;
    struct kyok_kmip_object object;
};
/* Responses that name one object, and (1.x) attributes that the server set: 4.3, 4.4, 4.6. */
struct kyok_kmip_identifier_response {
    struct kyok_bytes unique_identifier;
    const struct kyok_kmip_template *attributes;
};

struct kyok_kmip_re_key_request { /* 4.4 */
    struct kyok_bytes unique_identifier;
    struct kyok_kmip_integer offset; /* Interval, seconds */
    const struct kyok_kmip_template *attributes;
};

/* 4.6: which members count is the method's business (PBKDF2: salt and iteration count). Secret:
 * views only. */
struct kyok_kmip_derivation_parameters {
    const struct kyok_kmip_cryptographic_parameters *parameters;
    struct kyok_bytes initialization_vector;
    struct kyok_bytes data;
    struct kyok_bytes salt;
    struct kyok_kmip_integer iteration_count;
};
struct kyok_kmip_derive_key_request { /* 4.6 */
    enum kyok_kmip_object_type object_type;
    KYOK_KMIP_LIST(struct kyok_bytes) unique_identifiers; /* the key, then what goes with it */
    enum kyok_kmip_derivation_method method;
    struct kyok_kmip_derivation_parameters parameters;
    struct kyok_kmip_template attributes;
};

/* Requests that name one object: 4.13, 4.19, 4.21. An empty identifier means the batch's last. */
struct kyok_kmip_identifier_request {
    struct kyok_bytes unique_identifier;
};

struct kyok_kmip_locate_request { /* 4.9 */
    struct kyok_kmip_integer maximum_items;
    struct kyok_kmip_integer offset_items; /* 1.3 */
    struct kyok_kmip_integer storage_status_mask;
    enum kyok_kmip_object_group_member object_group_member; /* 1.1 */
    kyok_kmip_attributes attributes;
};
struct kyok_kmip_locate_response {
    struct kyok_kmip_integer located_items; /* 1.3: all that match, whatever the page */
    KYOK_KMIP_LIST(struct kyok_bytes) unique_identifiers;
};

struct kyok_kmip_get_request { /* 4.11 */
    struct kyok_bytes unique_identifier;
    enum kyok_kmip_key_format_type key_format_type;
    enum kyok_kmip_key_wrap_type key_wrap_type; /* 1.4 */
    enum kyok_kmip_key_compression_type key_compression_type;
    const struct kyok_kmip_key_wrapping_specification *wrapping;
};
struct kyok_kmip_get_response {
    enum kyok_kmip_object_type object_type;
    struct kyok_bytes unique_identifier;
    struct kyok_kmip_object object; /* its type equals object_type */
};

struct kyok_kmip_get_attributes_request { /* 4.12; no names: all */
    struct kyok_bytes unique_identifier;
    kyok_kmip_attribute_names names;
};
struct kyok_kmip_get_attributes_response {
    struct kyok_bytes unique_identifier;
    kyok_kmip_attributes attributes;
};
struct kyok_kmip_get_attribute_list_response { /* 4.13 */
    struct kyok_bytes unique_identifier;
    kyok_kmip_attribute_names names;
};

/* 4.14 Add, 4.15 Modify, and (2.0) Set Attribute. current (Modify, 2.0): which value to change. */
struct kyok_kmip_attribute_request {
    struct kyok_bytes unique_identifier;
    const struct kyok_kmip_attribute *current;
    const struct kyok_kmip_attribute *attribute;
};
struct kyok_kmip_delete_attribute_request { /* 4.16 */
    struct kyok_bytes unique_identifier;
    struct kyok_kmip_attribute_name name;      /* 2.0: an Attribute Reference, unless current */
    struct kyok_kmip_integer index;            /* 1.x */
    const struct kyok_kmip_attribute *current; /* 2.0 */
};
/* 1.x echoes the attribute, 2.0 does not. */
struct kyok_kmip_attribute_response {
    struct kyok_bytes unique_identifier;
    const struct kyok_kmip_attribute *attribute;
};

struct kyok_kmip_revoke_request { /* 4.20 */
    struct kyok_bytes unique_identifier;
    struct kyok_kmip_revocation_reason reason;
    struct kyok_kmip_long compromise_occurrence_date;
};

struct kyok_kmip_query_request { /* 4.25 */
    KYOK_KMIP_LIST(enum kyok_kmip_query_function) functions;
};
struct kyok_kmip_extension_information { /* 2.1.9, 1.1 */
    struct kyok_bytes name;
    struct kyok_kmip_integer tag, type;
};
struct kyok_kmip_query_response {
    KYOK_KMIP_LIST(enum kyok_kmip_operation) operations;
    KYOK_KMIP_LIST(enum kyok_kmip_object_type) object_types;
    struct kyok_bytes vendor_identification;
    struct kyok_bytes server_information; /* TTLV content of the vendor's own making */
    KYOK_KMIP_LIST(struct kyok_bytes) application_namespaces;
    KYOK_KMIP_LIST(struct kyok_kmip_extension_information) extensions;
    KYOK_KMIP_LIST(enum kyok_kmip_attestation_type) attestation_types;       /* 1.2 */
    KYOK_KMIP_LIST(struct kyok_kmip_rng_parameters) rng_parameters;          /* 1.3 */
    KYOK_KMIP_LIST(struct kyok_bytes) profiles;                              /* 1.3; content */
    KYOK_KMIP_LIST(struct kyok_bytes) validations;                           /* 1.3; content */
    KYOK_KMIP_LIST(struct kyok_bytes) capabilities;                          /* 1.3; content */
    KYOK_KMIP_LIST(enum kyok_kmip_client_registration_method) registrations; /* 1.3 */
    KYOK_KMIP_LIST(struct kyok_bytes) defaults_information;                  /* 2.0; content */
    KYOK_KMIP_LIST(struct kyok_bytes) protection_storage_masks;              /* 2.0; content */
};

struct kyok_kmip_versions { /* 4.26 Discover Versions, both ways; 1.1 */
    KYOK_KMIP_LIST(struct kyok_kmip_version) versions;
};

/* 4.29 Encrypt, 4.30 Decrypt; 1.2. Additional data and tag: 1.4. */
struct kyok_kmip_cipher_request {
    struct kyok_bytes unique_identifier;
    const struct kyok_kmip_cryptographic_parameters *parameters;
    struct kyok_bytes data;
    struct kyok_bytes iv_counter_nonce;
    struct kyok_kmip_stream stream;
    struct kyok_bytes additional_data;
    struct kyok_bytes tag; /* Decrypt */
};
struct kyok_kmip_cipher_response {
    struct kyok_bytes unique_identifier;
    struct kyok_bytes data;
    struct kyok_bytes iv_counter_nonce; /* Encrypt, when the server chose it */
    struct kyok_bytes correlation_value;
    struct kyok_bytes tag; /* Encrypt */
};

/* 4.31 Sign, 4.32 Signature Verify; 1.2. Digested data: 1.4. */
struct kyok_kmip_sign_request {
    struct kyok_bytes unique_identifier;
    const struct kyok_kmip_cryptographic_parameters *parameters;
    struct kyok_bytes data, digested_data; /* one of them */
    struct kyok_bytes signature;           /* Signature Verify */
    struct kyok_kmip_stream stream;
};
struct kyok_kmip_sign_response {
    struct kyok_bytes unique_identifier;
    struct kyok_bytes signature;
    struct kyok_bytes correlation_value;
};
struct kyok_kmip_verify_response {
    struct kyok_bytes unique_identifier;
    enum kyok_kmip_validity_indicator validity;
    struct kyok_bytes data; /* recovered */
    struct kyok_bytes correlation_value;
};

/* 4.33 MAC, 4.34 MAC Verify, 4.37 Hash (no identifier, no mac); 1.2. */
struct kyok_kmip_mac_request {
    struct kyok_bytes unique_identifier;
    const struct kyok_kmip_cryptographic_parameters *parameters;
    struct kyok_bytes data;
    struct kyok_bytes mac; /* MAC Verify */
    struct kyok_kmip_stream stream;
};
struct kyok_kmip_mac_response { /* of MAC and Hash; mac is the digest */
    struct kyok_bytes unique_identifier;
    struct kyok_bytes mac;
    struct kyok_bytes correlation_value;
};

/* 4.35 RNG Retrieve asks for a length and gets data, 4.36 RNG Seed the other way round; 1.2. */
struct kyok_kmip_rng_length {
    int32_t data_length;
};
struct kyok_kmip_rng_data {
    struct kyok_bytes data;
};

/* --- messages --- */

/* Which member an operation uses is in the table of message_operations.c and plain from the names.
 */
union kyok_kmip_request_payload {
    struct kyok_kmip_create_request create;
    struct kyok_kmip_create_key_pair_request create_key_pair;
    struct kyok_kmip_register_request register_object;
    struct kyok_kmip_re_key_request re_key;
    struct kyok_kmip_derive_key_request derive_key;
    struct kyok_kmip_locate_request locate;
    struct kyok_kmip_get_request get;
    struct kyok_kmip_get_attributes_request get_attributes;
    struct kyok_kmip_attribute_request attribute; /* Add, Modify, Set Attribute */
    struct kyok_kmip_delete_attribute_request delete_attribute;
    struct kyok_kmip_identifier_request identifier; /* Get Attribute List, Activate, Destroy */
    struct kyok_kmip_revoke_request revoke;
    struct kyok_kmip_query_request query;
    struct kyok_kmip_versions versions;
    struct kyok_kmip_cipher_request cipher; /* Encrypt, Decrypt */
    struct kyok_kmip_sign_request sign;     /* Sign, Signature Verify */
    struct kyok_kmip_mac_request mac;       /* MAC, Hash */
    struct kyok_kmip_rng_length rng_retrieve;
    struct kyok_kmip_rng_data rng_seed;
};
union kyok_kmip_response_payload {
    struct kyok_kmip_create_response create;
    struct kyok_kmip_create_key_pair_response create_key_pair;
    struct kyok_kmip_locate_response locate;
    struct kyok_kmip_get_response get;
    struct kyok_kmip_get_attributes_response get_attributes;
    struct kyok_kmip_get_attribute_list_response get_attribute_list;
    struct kyok_kmip_attribute_response attribute; /* Add, Modify, Set, Delete Attribute */
    struct kyok_kmip_identifier_response
        identifier; /* Register, Re-key, Derive Key, Activate, Revoke, Destroy */
    struct kyok_kmip_query_response query;
    struct kyok_kmip_versions versions;
    struct kyok_kmip_cipher_response cipher;
    struct kyok_kmip_sign_response sign;
    struct kyok_kmip_verify_response verify;
    struct kyok_kmip_mac_response mac; /* MAC, Hash */
    struct kyok_kmip_rng_data rng_retrieve;
    struct kyok_kmip_rng_length rng_seed;
};

struct kyok_kmip_message_extension { /* 6.16 */
    struct kyok_bytes vendor_identification;
    enum kyok_kmip_boolean critical;
    struct kyok_bytes content; /* TTLV content of the Vendor Extension */
};

struct kyok_kmip_credential { /* 2.1.2 */
    enum kyok_kmip_credential_type type;
    struct kyok_bytes username, password; /* Username and Password; Device has a password too */
    struct kyok_bytes device_serial_number, device_identifier, network_identifier;
    struct kyok_bytes machine_identifier, media_identifier;
    struct kyok_bytes raw; /* other types: TTLV content of the Credential Value */
};
struct kyok_kmip_authentication { /* 6.6 */
    KYOK_KMIP_LIST(struct kyok_kmip_credential) credentials;
};

struct kyok_kmip_request_item { /* 7.1 */
    enum kyok_kmip_operation operation;
    enum kyok_kmip_boolean ephemeral; /* 2.0 */
    struct kyok_bytes batch_id;       /* Unique Batch Item ID: needed in batches of several */
    union kyok_kmip_request_payload payload;
    struct kyok_bytes raw; /* TTLV content of the payload of an operation that is not above */
    const struct kyok_kmip_message_extension *extension;
};

struct kyok_kmip_request {
    struct kyok_kmip_version version;
    struct kyok_kmip_integer maximum_response_size;
    struct kyok_bytes client_correlation_value, server_correlation_value; /* 1.4 */
    enum kyok_kmip_boolean
        asynchronous; /* 2.0's Optional and Mandatory are TRUE, Prohibited FALSE */
    enum kyok_kmip_boolean attestation_capable; /* 1.2 */
    KYOK_KMIP_LIST(enum kyok_kmip_attestation_type) attestation_types;
    const struct kyok_kmip_authentication *authentication;
    enum kyok_kmip_batch_error_continuation_option batch_error_continuation;
    enum kyok_kmip_boolean batch_order;
    struct kyok_kmip_long time_stamp; /* clients: leave it out, servers refuse skewed clocks */
    KYOK_KMIP_LIST(struct kyok_kmip_request_item) items; /* the batch count is their number */
};

struct kyok_kmip_response_item {        /* 7.2 */
    enum kyok_kmip_operation operation; /* 0: none, as in answers to what a server cannot parse */
    struct kyok_bytes batch_id;
    enum kyok_kmip_result_status status;
    enum kyok_kmip_result_reason reason;
    struct kyok_bytes message;
    struct kyok_bytes asynchronous_correlation_value;
    bool has_payload;
    union kyok_kmip_response_payload payload;
    struct kyok_bytes raw; /* TTLV content of a payload of an operation that is absent or not above,
                              or of a failure */
    const struct kyok_kmip_message_extension *extension;
};

struct kyok_kmip_response {
    struct kyok_kmip_version version;
    struct kyok_kmip_long time_stamp;
    struct kyok_bytes nonce;                  /* 1.2; TTLV content */
    struct kyok_bytes server_hashed_password; /* 2.0 */
    KYOK_KMIP_LIST(enum kyok_kmip_attestation_type) attestation_types;
    struct kyok_bytes client_correlation_value, server_correlation_value; /* 1.4 */
    KYOK_KMIP_LIST(struct kyok_kmip_response_item) items;
};

/* Reading: message is exactly one message (see kyok_ttlv_frame()). Errors say which item at which
 * byte. On failure the structure is not to be used; the arena may have grown either way. A batch
 * count that is not the number of items is KYOK_FAULT. */
enum kyok_status kyok_kmip_request_read(struct kyok_bytes message, struct kyok_kmip_arena *arena,
                                        struct kyok_kmip_request *request, struct kyok_error *err);
enum kyok_status kyok_kmip_response_read(struct kyok_bytes message, struct kyok_kmip_arena *arena,
                                         struct kyok_kmip_response *response,
                                         struct kyok_error *err);

/* Writing into the caller's buffer: KYOK_OK also when it is too small; see kyok_ttlv_written() and
 * writer->size. KYOK_UNSUPPORTED: the version lacks a field; KYOK_INVALID: a field is missing. */
enum kyok_status kyok_kmip_request_write(const struct kyok_kmip_request *request,
                                         struct kyok_ttlv_writer *writer, struct kyok_error *err);
enum kyok_status kyok_kmip_response_write(const struct kyok_kmip_response *response,
                                          struct kyok_ttlv_writer *writer, struct kyok_error *err);
/* The same at the end of a buffer that grows (and wipes what it leaves). */
enum kyok_status kyok_kmip_request_append(const struct kyok_kmip_request *request,
                                          struct kyok_buffer *buffer, struct kyok_error *err);
enum kyok_status kyok_kmip_response_append(const struct kyok_kmip_response *response,
                                           struct kyok_buffer *buffer, struct kyok_error *err);

/* An item of that operation that is empty otherwise. Of the payload only what the operation has is
 * cleared: the union's largest member is many times what most need. */
void kyok_kmip_request_item_init(struct kyok_kmip_request_item *item,
                                 enum kyok_kmip_operation operation);
/* One request of one item, for the common case. request->items points to item. */
void kyok_kmip_request_one(struct kyok_kmip_request *request, unsigned version,
                           const struct kyok_kmip_request_item *item);

/* What an item of a response says: KYOK_OK for Success, else *err with operation, reason by name
 * and the server's message (control characters replaced). Not found, not supported, refused and
 * pending are KYOK_NOT_FOUND, KYOK_UNSUPPORTED, KYOK_REFUSED and KYOK_BUSY. object: the endpoint or
 * the key in question. */
enum kyok_status kyok_kmip_item_result(const struct kyok_kmip_response_item *item,
                                       const char *object, struct kyok_error *err);

/* --- dump (dump.c) --- */

/* Prints TTLV, one item per line, indented, tags and enumerations by name, to the end of text. Key
 * material, passwords, secret data, data to be encrypted and unwrapped objects are printed as their
 * length only. A malformed item ends the dump with a line that names the rule and the byte, and
 * KYOK_FAULT; what came before it is printed. bytes may hold several messages. */
enum kyok_status kyok_kmip_dump(struct kyok_bytes bytes, struct kyok_buffer *text,
                                struct kyok_error *err);

#endif
