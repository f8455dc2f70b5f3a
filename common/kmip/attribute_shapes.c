/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes that are structures: 1.4 specification, section 3. */
#include "common/kmip/message_shape.h"

/* 3.2 Name */
static const struct kyok_kmip_field name_fields[] = {
    KYOK_KMIP_FIELD(name, REQUIRED, TEXT, NAME_VALUE, value, 1_0),
    KYOK_KMIP_FIELD(name, REQUIRED, ENUM, NAME_TYPE, type, 1_0),
};
KYOK_KMIP_DEFINE(kyok_kmip_name_shape, name, name_fields);

/* 3.6 Cryptographic Parameters */
#define FIELD(kind, tag, member, since)                                                            \
    KYOK_KMIP_FIELD(cryptographic_parameters, OPTIONAL, kind, tag, member, since)
static const struct kyok_kmip_field cryptographic_parameters_fields[] = {
    FIELD(ENUM, BLOCK_CIPHER_MODE, block_cipher_mode, 1_0),
    FIELD(ENUM, PADDING_METHOD, padding_method, 1_0),
    FIELD(ENUM, HASHING_ALGORITHM, hashing_algorithm, 1_0),
    FIELD(ENUM, KEY_ROLE_TYPE, key_role_type, 1_0),
    FIELD(ENUM, DIGITAL_SIGNATURE_ALGORITHM, digital_signature_algorithm, 1_2),
    FIELD(ENUM, CRYPTOGRAPHIC_ALGORITHM, cryptographic_algorithm, 1_2),
    FIELD(BOOLEAN, RANDOM_IV, random_iv, 1_2),
    FIELD(INTEGER, IV_LENGTH, iv_length, 1_2),
    FIELD(INTEGER, TAG_LENGTH, tag_length, 1_2),
    FIELD(INTEGER, FIXED_FIELD_LENGTH, fixed_field_length, 1_2),
    FIELD(INTEGER, INVOCATION_FIELD_LENGTH, invocation_field_length, 1_2),
    FIELD(INTEGER, COUNTER_LENGTH, counter_length, 1_2),
    FIELD(INTEGER, INITIAL_COUNTER_VALUE, initial_counter_value, 1_2),
    FIELD(INTEGER, SALT_LENGTH, salt_length, 1_4),
    FIELD(ENUM, MASK_GENERATOR, mask_generator, 1_4),
    FIELD(ENUM, MASK_GENERATOR_HASHING_ALGORITHM, mask_generator_hashing_algorithm, 1_4),
    FIELD(BYTES, P_SOURCE, p_source, 1_4),
    FIELD(INTEGER, TRAILER_FIELD, trailer_field, 1_4),
};
#undef FIELD
KYOK_KMIP_DEFINE(kyok_kmip_cryptographic_parameters_shape, cryptographic_parameters,
                 cryptographic_parameters_fields);

/* 3.7 Cryptographic Domain Parameters */
static const struct kyok_kmip_field domain_parameters_fields[] = {
    KYOK_KMIP_FIELD(domain_parameters, OPTIONAL, INTEGER, QLENGTH, qlength, 1_0),
    KYOK_KMIP_FIELD(domain_parameters, OPTIONAL, ENUM, RECOMMENDED_CURVE, recommended_curve, 1_0),
};
KYOK_KMIP_DEFINE(kyok_kmip_domain_parameters_shape, domain_parameters, domain_parameters_fields);

/* 3.10 X.509 Certificate Identifier */
static const struct kyok_kmip_field x509_identifier_fields[] = {
    KYOK_KMIP_FIELD(x509_identifier, REQUIRED, BYTES, ISSUER_DISTINGUISHED_NAME,
                    issuer_distinguished_name, 1_1),
    KYOK_KMIP_FIELD(x509_identifier, REQUIRED, BYTES, CERTIFICATE_SERIAL_NUMBER, serial_number,
                    1_1),
};
KYOK_KMIP_DEFINE(kyok_kmip_x509_identifier_shape, x509_identifier, x509_identifier_fields);

/* 3.11 X.509 Certificate Subject */
static const struct kyok_kmip_field x509_subject_fields[] = {
    KYOK_KMIP_FIELD(x509_name, REQUIRED, BYTES, SUBJECT_DISTINGUISHED_NAME, distinguished_name,
                    1_1),
    KYOK_KMIP_FIELD(x509_name, REPEATED, BYTES, SUBJECT_ALTERNATIVE_NAME, alternative_names, 1_1),
};
KYOK_KMIP_DEFINE(kyok_kmip_x509_subject_shape, x509_name, x509_subject_fields);

/* 3.12 X.509 Certificate Issuer */
static const struct kyok_kmip_field x509_issuer_fields[] = {
    KYOK_KMIP_FIELD(x509_name, REQUIRED, BYTES, ISSUER_DISTINGUISHED_NAME, distinguished_name, 1_1),
    KYOK_KMIP_FIELD(x509_name, REPEATED, BYTES, ISSUER_ALTERNATIVE_NAME, alternative_names, 1_1),
};
KYOK_KMIP_DEFINE(kyok_kmip_x509_issuer_shape, x509_name, x509_issuer_fields);

/* 3.13 Certificate Identifier */
static const struct kyok_kmip_field certificate_identifier_fields[] = {
    KYOK_KMIP_FIELD(certificate_identifier, REQUIRED, TEXT, ISSUER, issuer, 1_0),
    KYOK_KMIP_FIELD(certificate_identifier, OPTIONAL, TEXT, SERIAL_NUMBER, serial_number, 1_0),
};
KYOK_KMIP_DEFINE(kyok_kmip_certificate_identifier_shape, certificate_identifier,
                 certificate_identifier_fields);

/* 3.14 Certificate Subject */
static const struct kyok_kmip_field certificate_subject_fields[] = {
    KYOK_KMIP_FIELD(certificate_name, REQUIRED, TEXT, CERTIFICATE_SUBJECT_DISTINGUISHED_NAME,
                    distinguished_name, 1_0),
    KYOK_KMIP_FIELD(certificate_name, REPEATED, TEXT, CERTIFICATE_SUBJECT_ALTERNATIVE_NAME,
                    alternative_names, 1_0),
};
KYOK_KMIP_DEFINE(kyok_kmip_certificate_subject_shape, certificate_name, certificate_subject_fields);

/* 3.15 Certificate Issuer */
static const struct kyok_kmip_field certificate_issuer_fields[] = {
    KYOK_KMIP_FIELD(certificate_name, REQUIRED, TEXT, CERTIFICATE_ISSUER_DISTINGUISHED_NAME,
                    distinguished_name, 1_0),
    KYOK_KMIP_FIELD(certificate_name, REPEATED, TEXT, CERTIFICATE_ISSUER_ALTERNATIVE_NAME,
                    alternative_names, 1_0),
};
KYOK_KMIP_DEFINE(kyok_kmip_certificate_issuer_shape, certificate_name, certificate_issuer_fields);

/* 3.17 Digest */
static const struct kyok_kmip_field digest_fields[] = {
    KYOK_KMIP_FIELD(digest, REQUIRED, ENUM, HASHING_ALGORITHM, hashing_algorithm, 1_0),
    KYOK_KMIP_FIELD(digest, OPTIONAL, BYTES, DIGEST_VALUE, value, 1_0),
    KYOK_KMIP_FIELD(digest, OPTIONAL, ENUM, KEY_FORMAT_TYPE, key_format_type, 1_1),
};
KYOK_KMIP_DEFINE(kyok_kmip_digest_shape, digest, digest_fields);

/* 3.21 Usage Limits */
static const struct kyok_kmip_field usage_limits_fields[] = {
    KYOK_KMIP_FIELD(usage_limits, REQUIRED, LONG, USAGE_LIMITS_TOTAL, total, 1_0),
    KYOK_KMIP_FIELD(usage_limits, OPTIONAL, LONG, USAGE_LIMITS_COUNT, count, 1_0),
    KYOK_KMIP_FIELD(usage_limits, REQUIRED, ENUM, USAGE_LIMITS_UNIT, unit, 1_0),
};
KYOK_KMIP_DEFINE(kyok_kmip_usage_limits_shape, usage_limits, usage_limits_fields);

/* 3.31 Revocation Reason */
static const struct kyok_kmip_field revocation_reason_fields[] = {
    KYOK_KMIP_FIELD(revocation_reason, REQUIRED, ENUM, REVOCATION_REASON_CODE, code, 1_0),
    KYOK_KMIP_FIELD(revocation_reason, OPTIONAL, TEXT, REVOCATION_MESSAGE, message, 1_0),
};
KYOK_KMIP_DEFINE(kyok_kmip_revocation_reason_shape, revocation_reason, revocation_reason_fields);

/* 3.35 Link */
static const struct kyok_kmip_field link_fields[] = {
    KYOK_KMIP_FIELD(link, REQUIRED, ENUM, LINK_TYPE, type, 1_0),
    KYOK_KMIP_FIELD(link, REQUIRED, TEXT, LINKED_OBJECT_IDENTIFIER, identifier, 1_0),
};
KYOK_KMIP_DEFINE(kyok_kmip_link_shape, link, link_fields);

/* 3.36 Application Specific Information */
static const struct kyok_kmip_field application_fields[] = {
    KYOK_KMIP_FIELD(application, REQUIRED, TEXT, APPLICATION_NAMESPACE, space, 1_0),
    KYOK_KMIP_FIELD(application, OPTIONAL, TEXT, APPLICATION_DATA, data, 1_0),
};
KYOK_KMIP_DEFINE(kyok_kmip_application_shape, application, application_fields);

/* 3.40 Alternative Name */
static const struct kyok_kmip_field alternative_name_fields[] = {
    KYOK_KMIP_FIELD(alternative_name, REQUIRED, TEXT, ALTERNATIVE_NAME_VALUE, value, 1_2),
    KYOK_KMIP_FIELD(alternative_name, REQUIRED, ENUM, ALTERNATIVE_NAME_TYPE, type, 1_2),
};
KYOK_KMIP_DEFINE(kyok_kmip_alternative_name_shape, alternative_name, alternative_name_fields);

/* 3.42 Key Value Location */
static const struct kyok_kmip_field key_value_location_fields[] = {
    KYOK_KMIP_FIELD(key_value_location, REQUIRED, TEXT, KEY_VALUE_LOCATION_VALUE, value, 1_2),
    KYOK_KMIP_FIELD(key_value_location, REQUIRED, ENUM, KEY_VALUE_LOCATION_TYPE, type, 1_2),
};
KYOK_KMIP_DEFINE(kyok_kmip_key_value_location_shape, key_value_location, key_value_location_fields);

/* 2.1.18 RNG Parameters, which 3.44 Random Number Generator holds */
#define FIELD(kind, tag, member) KYOK_KMIP_FIELD(rng_parameters, OPTIONAL, kind, tag, member, 1_3)
static const struct kyok_kmip_field rng_parameters_fields[] = {
    KYOK_KMIP_FIELD(rng_parameters, REQUIRED, ENUM, RNG_ALGORITHM, rng_algorithm, 1_3),
    FIELD(ENUM, CRYPTOGRAPHIC_ALGORITHM, cryptographic_algorithm),
    FIELD(INTEGER, CRYPTOGRAPHIC_LENGTH, cryptographic_length),
    FIELD(ENUM, HASHING_ALGORITHM, hashing_algorithm),
    FIELD(ENUM, DRBG_ALGORITHM, drbg_algorithm),
    FIELD(ENUM, RECOMMENDED_CURVE, recommended_curve),
    FIELD(ENUM, FIPS186_VARIATION, fips186_variation),
    FIELD(BOOLEAN, PREDICTION_RESISTANCE, prediction_resistance),
};
#undef FIELD
KYOK_KMIP_DEFINE(kyok_kmip_rng_parameters_shape, rng_parameters, rng_parameters_fields);
