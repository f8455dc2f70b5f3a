/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes, modelled once and encoded per negotiated version: in KMIP 1.x as Attribute (name,
 * index, value), from 2.0 as an item under the attribute's own tag. 1.4 specification, section 3;
 * 2.0, section 4.
 */
#ifndef KYOK_KMIP_ATTRIBUTES_H
#define KYOK_KMIP_ATTRIBUTES_H

#include "common/kmip/enums.h"
#include "common/kmip/tags.h"
#include "common/kmip/ttlv.h"

/* --- optional scalars: an enumeration is absent when 0, text and bytes when data is NULL -------
 */

struct kyok_kmip_integer {
    int32_t value;
    bool set;
};
struct kyok_kmip_long { /* Long Integer, Date-Time */
    int64_t value;
    bool set;
};
enum kyok_kmip_boolean { KYOK_KMIP_UNSET, KYOK_KMIP_FALSE, KYOK_KMIP_TRUE };

static inline struct kyok_kmip_integer kyok_kmip_integer(int32_t value)
{
    return (struct kyok_kmip_integer){value, true};
}
static inline struct kyok_kmip_long kyok_kmip_long(int64_t value)
{
    return (struct kyok_kmip_long){value, true};
}
static inline enum kyok_kmip_boolean kyok_kmip_boolean(bool value)
{
    return value ? KYOK_KMIP_TRUE : KYOK_KMIP_FALSE;
}

/* A list that was read lives in the message's arena; one to be written is the caller's array. */
#define KYOK_KMIP_LIST(type)                                                                       \
    struct {                                                                                       \
        const type *items;                                                                         \
        size_t count;                                                                              \
    }

/* --- values that are structures --- */

struct kyok_kmip_name { /* 3.2 */
    struct kyok_bytes value;
    enum kyok_kmip_name_type type;
};
struct kyok_kmip_cryptographic_parameters { /* 3.6; below the line since 1.2, then since 1.4 */
    enum kyok_kmip_block_cipher_mode block_cipher_mode;
    enum kyok_kmip_padding_method padding_method;
    enum kyok_kmip_hashing_algorithm hashing_algorithm;
    enum kyok_kmip_key_role_type key_role_type;
    /* 1.2 */
    enum kyok_kmip_digital_signature_algorithm digital_signature_algorithm;
    enum kyok_kmip_cryptographic_algorithm cryptographic_algorithm;
    enum kyok_kmip_boolean random_iv;
    struct kyok_kmip_integer iv_length; /* lengths in bits or bytes as section 3.6 says */
    struct kyok_kmip_integer tag_length;
    struct kyok_kmip_integer fixed_field_length;
    struct kyok_kmip_integer invocation_field_length;
    struct kyok_kmip_integer counter_length;
    struct kyok_kmip_integer initial_counter_value;
    /* 1.4 */
    struct kyok_kmip_integer salt_length;
    enum kyok_kmip_mask_generator mask_generator;
    enum kyok_kmip_hashing_algorithm mask_generator_hashing_algorithm;
    struct kyok_bytes p_source;
    struct kyok_kmip_integer trailer_field;
};
struct kyok_kmip_domain_parameters { /* 3.7 */
    struct kyok_kmip_integer qlength;
    enum kyok_kmip_recommended_curve recommended_curve;
};
struct kyok_kmip_certificate_identifier { /* 3.13, until 1.4 */
    struct kyok_bytes issuer, serial_number;
};
struct kyok_kmip_certificate_name { /* 3.14 Certificate Subject, 3.15 Certificate Issuer */
    struct kyok_bytes distinguished_name;
    KYOK_KMIP_LIST(struct kyok_bytes) alternative_names;
};
struct kyok_kmip_x509_identifier { /* 3.10 */
    struct kyok_bytes issuer_distinguished_name, serial_number;
};
struct kyok_kmip_x509_name { /* 3.11, 3.12: X.509 Certificate Subject, Issuer */
    struct kyok_bytes distinguished_name;
    KYOK_KMIP_LIST(struct kyok_bytes) alternative_names;
};
struct kyok_kmip_digest { /* 3.17 */
    enum kyok_kmip_hashing_algorithm hashing_algorithm;
    struct kyok_bytes value;
    enum kyok_kmip_key_format_type key_format_type; /* 1.1 */
};
struct kyok_kmip_usage_limits { /* 3.21 */
    struct kyok_kmip_long total, count;
    enum kyok_kmip_usage_limits_unit unit;
};
struct kyok_kmip_revocation_reason { /* 3.31 */
    enum kyok_kmip_revocation_reason_code code;
    struct kyok_bytes message;
};
struct kyok_kmip_link { /* 3.35 */
    enum kyok_kmip_link_type type;
    struct kyok_bytes identifier;
};
struct kyok_kmip_application { /* 3.36 Application Specific Information */
    struct kyok_bytes space, data;
};
struct kyok_kmip_alternative_name { /* 3.40 */
    struct kyok_bytes value;
    enum kyok_kmip_alternative_name_type type;
};
struct kyok_kmip_key_value_location { /* 3.42 */
    struct kyok_bytes value;
    enum kyok_kmip_key_value_location_type type;
};
struct kyok_kmip_rng_parameters { /* 2.1.18, attribute 3.44 */
    enum kyok_kmip_rng_algorithm rng_algorithm;
    enum kyok_kmip_cryptographic_algorithm cryptographic_algorithm;
    struct kyok_kmip_integer cryptographic_length;
    enum kyok_kmip_hashing_algorithm hashing_algorithm;
    enum kyok_kmip_drbg_algorithm drbg_algorithm;
    enum kyok_kmip_recommended_curve recommended_curve;
    enum kyok_kmip_fips186_variation fips186_variation;
    enum kyok_kmip_boolean prediction_resistance;
};

/* --- the table --- */

/* X(constant and tag, name in 1.x, type of the value, member of the structure's shape or NONE,
 * since, until). Names are those of the 1.4 specification; an attribute that came with 2.0 has the
 * name that its section bears. In the order of 1.4, section 3. */
/* clang-format off */
#define KYOK_KMIP_ATTRIBUTE_LIST(X) \
    X(UNIQUE_IDENTIFIER, "Unique Identifier", TEXT_STRING, NONE, 1_0, 2_1) \
    X(NAME, "Name", STRUCTURE, NAME, 1_0, 2_1) \
    X(OBJECT_TYPE, "Object Type", ENUMERATION, NONE, 1_0, 2_1) \
    X(CRYPTOGRAPHIC_ALGORITHM, "Cryptographic Algorithm", ENUMERATION, NONE, 1_0, 2_1) \
    X(CRYPTOGRAPHIC_LENGTH, "Cryptographic Length", INTEGER, NONE, 1_0, 2_1) \
    X(CRYPTOGRAPHIC_PARAMETERS, "Cryptographic Parameters", STRUCTURE, CRYPTOGRAPHIC_PARAMETERS, 1_0, 2_1) \
    X(CRYPTOGRAPHIC_DOMAIN_PARAMETERS, "Cryptographic Domain Parameters", STRUCTURE, DOMAIN_PARAMETERS, 1_0, 2_1) \
    X(CERTIFICATE_TYPE, "Certificate Type", ENUMERATION, NONE, 1_0, 2_1) \
    X(CERTIFICATE_LENGTH, "Certificate Length", INTEGER, NONE, 1_1, 2_1) \
    X(X_509_CERTIFICATE_IDENTIFIER, "X.509 Certificate Identifier", STRUCTURE, X509_IDENTIFIER, 1_1, 2_1) \
    X(X_509_CERTIFICATE_SUBJECT, "X.509 Certificate Subject", STRUCTURE, X509_SUBJECT, 1_1, 2_1) \
    X(X_509_CERTIFICATE_ISSUER, "X.509 Certificate Issuer", STRUCTURE, X509_ISSUER, 1_1, 2_1) \
    X(CERTIFICATE_IDENTIFIER, "Certificate Identifier", STRUCTURE, CERTIFICATE_IDENTIFIER, 1_0, 1_4) \
    X(CERTIFICATE_SUBJECT, "Certificate Subject", STRUCTURE, CERTIFICATE_SUBJECT, 1_0, 1_4) \
    X(CERTIFICATE_ISSUER, "Certificate Issuer", STRUCTURE, CERTIFICATE_ISSUER, 1_0, 1_4) \
    X(DIGITAL_SIGNATURE_ALGORITHM, "Digital Signature Algorithm", ENUMERATION, NONE, 1_1, 2_1) \
    X(DIGEST, "Digest", STRUCTURE, DIGEST, 1_0, 2_1) \
    X(OPERATION_POLICY_NAME, "Operation Policy Name", TEXT_STRING, NONE, 1_0, 1_4) \
    X(CRYPTOGRAPHIC_USAGE_MASK, "Cryptographic Usage Mask", INTEGER, NONE, 1_0, 2_1) \
    X(LEASE_TIME, "Lease Time", INTERVAL, NONE, 1_0, 2_1) \
    X(USAGE_LIMITS, "Usage Limits", STRUCTURE, USAGE_LIMITS, 1_0, 2_1) \
    X(STATE, "State", ENUMERATION, NONE, 1_0, 2_1) \
    X(INITIAL_DATE, "Initial Date", DATE_TIME, NONE, 1_0, 2_1) \
    X(ACTIVATION_DATE, "Activation Date", DATE_TIME, NONE, 1_0, 2_1) \
    X(PROCESS_START_DATE, "Process Start Date", DATE_TIME, NONE, 1_0, 2_1) \
    X(PROTECT_STOP_DATE, "Protect Stop Date", DATE_TIME, NONE, 1_0, 2_1) \
    X(DEACTIVATION_DATE, "Deactivation Date", DATE_TIME, NONE, 1_0, 2_1) \
    X(DESTROY_DATE, "Destroy Date", DATE_TIME, NONE, 1_0, 2_1) \
    X(COMPROMISE_OCCURRENCE_DATE, "Compromise Occurrence Date", DATE_TIME, NONE, 1_0, 2_1) \
    X(COMPROMISE_DATE, "Compromise Date", DATE_TIME, NONE, 1_0, 2_1) \
    X(REVOCATION_REASON, "Revocation Reason", STRUCTURE, REVOCATION_REASON, 1_0, 2_1) \
    X(ARCHIVE_DATE, "Archive Date", DATE_TIME, NONE, 1_0, 2_1) \
    X(OBJECT_GROUP, "Object Group", TEXT_STRING, NONE, 1_0, 2_1) \
    X(FRESH, "Fresh", BOOLEAN, NONE, 1_1, 2_1) \
    X(LINK, "Link", STRUCTURE, LINK, 1_0, 2_1) \
    X(APPLICATION_SPECIFIC_INFORMATION, "Application Specific Information", STRUCTURE, APPLICATION, 1_0, 2_1) \
    X(CONTACT_INFORMATION, "Contact Information", TEXT_STRING, NONE, 1_0, 2_1) \
    X(LAST_CHANGE_DATE, "Last Change Date", DATE_TIME, NONE, 1_0, 2_1) \
    X(ALTERNATIVE_NAME, "Alternative Name", STRUCTURE, ALTERNATIVE_NAME, 1_2, 2_1) \
    X(KEY_VALUE_PRESENT, "Key Value Present", BOOLEAN, NONE, 1_2, 2_1) \
    X(KEY_VALUE_LOCATION, "Key Value Location", STRUCTURE, KEY_VALUE_LOCATION, 1_2, 2_1) \
    X(ORIGINAL_CREATION_DATE, "Original Creation Date", DATE_TIME, NONE, 1_2, 2_1) \
    X(RANDOM_NUMBER_GENERATOR, "Random Number Generator", STRUCTURE, RNG_PARAMETERS, 1_3, 2_1) \
    X(PKCS12_FRIENDLY_NAME, "PKCS#12 Friendly Name", TEXT_STRING, NONE, 1_4, 2_1) \
    X(DESCRIPTION, "Description", TEXT_STRING, NONE, 1_4, 2_1) \
    X(COMMENT, "Comment", TEXT_STRING, NONE, 1_4, 2_1) \
    X(SENSITIVE, "Sensitive", BOOLEAN, NONE, 1_4, 2_1) \
    X(ALWAYS_SENSITIVE, "Always Sensitive", BOOLEAN, NONE, 1_4, 2_1) \
    X(EXTRACTABLE, "Extractable", BOOLEAN, NONE, 1_4, 2_1) \
    X(NEVER_EXTRACTABLE, "Never Extractable", BOOLEAN, NONE, 1_4, 2_1) \
    X(KEY_FORMAT_TYPE, "Key Format Type", ENUMERATION, NONE, 2_0, 2_1) \
    X(NIST_KEY_TYPE, "NIST Key Type", ENUMERATION, NONE, 2_0, 2_1) \
    X(OPAQUE_DATA_TYPE, "Opaque Data Type", ENUMERATION, NONE, 2_0, 2_1) \
    X(PROTECTION_LEVEL, "Protection Level", ENUMERATION, NONE, 2_0, 2_1) \
    X(PROTECTION_PERIOD, "Protection Period", INTERVAL, NONE, 2_0, 2_1) \
    X(PROTECTION_STORAGE_MASK, "Protection Storage Mask", INTEGER, NONE, 2_0, 2_1) \
    X(QUANTUM_SAFE, "Quantum Safe", BOOLEAN, NONE, 2_0, 2_1) \
    X(SHORT_UNIQUE_IDENTIFIER, "Short Unique Identifier", BYTE_STRING, NONE, 2_0, 2_1)
/* clang-format on */

enum kyok_kmip_attribute_id {
    KYOK_KMIP_ATTRIBUTE_OTHER, /* a vendor's, a client's (x-), or one that is not in the list */
#define KYOK_KMIP_ATTRIBUTE_(constant, name, type, shape, since, until)                            \
    KYOK_KMIP_ATTRIBUTE_##constant,
    KYOK_KMIP_ATTRIBUTE_LIST(KYOK_KMIP_ATTRIBUTE_)
#undef KYOK_KMIP_ATTRIBUTE_
        KYOK_KMIP_ATTRIBUTES /* how many */
};

/*
 * What identifies an attribute. A client's own "x-Product" in 1.x is vendor "x" and name "Product",
 * as the Vendor Attributes of 2.0 have it; so is a server's "y-". Other names in 1.x that the list
 * lacks have an empty vendor and are kept as they are; other tags in 2.x have only tag.
 */
struct kyok_kmip_attribute_name {
    enum kyok_kmip_attribute_id id;
    uint32_t tag;                   /* OTHER by tag (2.x): the tag, else 0 */
    struct kyok_bytes vendor, name; /* OTHER by name */
};

struct kyok_kmip_attribute {
    struct kyok_kmip_attribute_name name;
    struct kyok_kmip_integer index; /* 1.x; 2.x has none, and refuses to encode one above 0 */
    enum kyok_ttlv_type type;       /* which member holds the value */
    bool raw; /* a structure is not decoded (OTHER only): bytes holds its TTLV content */
    union {
        int32_t integer;
        int64_t long_integer;
        int64_t date_time;
        uint32_t enumeration;
        bool boolean;
        uint32_t interval;
        struct kyok_bytes bytes; /* Text String, Byte String, Big Integer, a raw structure */
        const struct kyok_kmip_name *name;
        const struct kyok_kmip_cryptographic_parameters *cryptographic_parameters;
        const struct kyok_kmip_domain_parameters *domain_parameters;
        const struct kyok_kmip_certificate_identifier *certificate_identifier;
        const struct kyok_kmip_certificate_name *certificate_name;
        const struct kyok_kmip_x509_identifier *x509_identifier;
        const struct kyok_kmip_x509_name *x509_name;
        const struct kyok_kmip_digest *digest;
        const struct kyok_kmip_usage_limits *usage_limits;
        const struct kyok_kmip_revocation_reason *revocation_reason;
        const struct kyok_kmip_link *link;
        const struct kyok_kmip_application *application;
        const struct kyok_kmip_alternative_name *alternative_name;
        const struct kyok_kmip_key_value_location *key_value_location;
        const struct kyok_kmip_rng_parameters *rng_parameters;
        const void *structure; /* whichever of the above; for the codec */
    } value;
};

/* "Cryptographic Length"; "" for OTHER. */
const char *kyok_kmip_attribute_text(enum kyok_kmip_attribute_id id);
uint32_t kyok_kmip_attribute_tag(enum kyok_kmip_attribute_id id);
/* A name as people and 1.x write it: the list's, else a vendor's ("x-Product"), else as it is. The
 * result points into text. */
struct kyok_kmip_attribute_name kyok_kmip_attribute_name(struct kyok_bytes text);
struct kyok_kmip_attribute_name kyok_kmip_attribute_named(enum kyok_kmip_attribute_id id);
bool kyok_kmip_attribute_name_equal(const struct kyok_kmip_attribute_name *a,
                                    const struct kyok_kmip_attribute_name *b);

/* Attributes to send. Text and structures are referenced, not copied. */
struct kyok_kmip_attribute kyok_kmip_attribute_integer(enum kyok_kmip_attribute_id id,
                                                       int32_t value);
struct kyok_kmip_attribute kyok_kmip_attribute_enumeration(enum kyok_kmip_attribute_id id,
                                                           uint32_t value);
struct kyok_kmip_attribute kyok_kmip_attribute_boolean(enum kyok_kmip_attribute_id id, bool value);
struct kyok_kmip_attribute kyok_kmip_attribute_date_time(enum kyok_kmip_attribute_id id,
                                                         int64_t seconds);
struct kyok_kmip_attribute kyok_kmip_attribute_of_text(enum kyok_kmip_attribute_id id,
                                                       struct kyok_bytes value);
/* The structure must be the one that the attribute's row names. */
struct kyok_kmip_attribute kyok_kmip_attribute_structure(enum kyok_kmip_attribute_id id,
                                                         const void *structure);
/* A client's own attribute with a text: name is "x-Product". */
struct kyok_kmip_attribute kyok_kmip_attribute_custom(struct kyok_bytes name,
                                                      struct kyok_bytes value);

/* The first with that name among count, NULL when there is none. */
const struct kyok_kmip_attribute *
kyok_kmip_attribute_find(const struct kyok_kmip_attribute *items, size_t count,
                         const struct kyok_kmip_attribute_name *name);
const struct kyok_kmip_attribute *
kyok_kmip_attribute_find_id(const struct kyok_kmip_attribute *items, size_t count,
                            enum kyok_kmip_attribute_id id);

#endif
