/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The enumerations and bit masks of KMIP 1.0 to 2.1 (1.4 specification, section 9.1.3; 2.1, section
 * 11), once: the constants and the names that errors, dumps and the tests' XML print. Values from
 * 0x80000000 are vendors' own; a message may carry any value, so switch with a default.
 */
#ifndef KYOK_KMIP_ENUMS_H
#define KYOK_KMIP_ENUMS_H

#include "common/kmip/enums_crypto.h"
#include "common/kmip/enums_message.h"
#include "common/kmip/enums_object.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off */
/* Each list of the three files with the tag that it gives values to: X(list, type, tag). */
#define KYOK_KMIP_ENUMERATIONS(X) \
    X(OBJECT_TYPES, object_type, OBJECT_TYPE) \
    X(OPERATIONS, operation, OPERATION) \
    X(RESULT_STATUSS, result_status, RESULT_STATUS) \
    X(RESULT_REASONS, result_reason, RESULT_REASON) \
    X(CRYPTOGRAPHIC_ALGORITHMS, cryptographic_algorithm, CRYPTOGRAPHIC_ALGORITHM) \
    X(KEY_FORMAT_TYPES, key_format_type, KEY_FORMAT_TYPE) \
    X(BLOCK_CIPHER_MODES, block_cipher_mode, BLOCK_CIPHER_MODE) \
    X(PADDING_METHODS, padding_method, PADDING_METHOD) \
    X(HASHING_ALGORITHMS, hashing_algorithm, HASHING_ALGORITHM) \
    X(DIGITAL_SIGNATURE_ALGORITHMS, digital_signature_algorithm, DIGITAL_SIGNATURE_ALGORITHM) \
    X(MASK_GENERATORS, mask_generator, MASK_GENERATOR) \
    X(STATES, state, STATE) \
    X(REVOCATION_REASON_CODES, revocation_reason_code, REVOCATION_REASON_CODE) \
    X(LINK_TYPES, link_type, LINK_TYPE) \
    X(NAME_TYPES, name_type, NAME_TYPE) \
    X(QUERY_FUNCTIONS, query_function, QUERY_FUNCTION) \
    X(WRAPPING_METHODS, wrapping_method, WRAPPING_METHOD) \
    X(ENCODING_OPTIONS, encoding_option, ENCODING_OPTION) \
    X(CERTIFICATE_TYPES, certificate_type, CERTIFICATE_TYPE) \
    X(SECRET_DATA_TYPES, secret_data_type, SECRET_DATA_TYPE) \
    X(OPAQUE_DATA_TYPES, opaque_data_type, OPAQUE_DATA_TYPE) \
    X(RECOMMENDED_CURVES, recommended_curve, RECOMMENDED_CURVE) \
    X(CREDENTIAL_TYPES, credential_type, CREDENTIAL_TYPE) \
    X(KEY_COMPRESSION_TYPES, key_compression_type, KEY_COMPRESSION_TYPE) \
    X(KEY_ROLE_TYPES, key_role_type, KEY_ROLE_TYPE) \
    X(SPLIT_KEY_METHODS, split_key_method, SPLIT_KEY_METHOD) \
    X(BATCH_ERROR_CONTINUATION_OPTIONS, batch_error_continuation_option, BATCH_ERROR_CONTINUATION_OPTION) \
    X(USAGE_LIMITS_UNITS, usage_limits_unit, USAGE_LIMITS_UNIT) \
    X(OBJECT_GROUP_MEMBERS, object_group_member, OBJECT_GROUP_MEMBER) \
    X(ALTERNATIVE_NAME_TYPES, alternative_name_type, ALTERNATIVE_NAME_TYPE) \
    X(KEY_VALUE_LOCATION_TYPES, key_value_location_type, KEY_VALUE_LOCATION_TYPE) \
    X(VALIDITY_INDICATORS, validity_indicator, VALIDITY_INDICATOR) \
    X(CANCELLATION_RESULTS, cancellation_result, CANCELLATION_RESULT) \
    X(PUT_FUNCTIONS, put_function, PUT_FUNCTION) \
    X(CERTIFICATE_REQUEST_TYPES, certificate_request_type, CERTIFICATE_REQUEST_TYPE) \
    X(DERIVATION_METHODS, derivation_method, DERIVATION_METHOD) \
    X(ATTESTATION_TYPES, attestation_type, ATTESTATION_TYPE) \
    X(RNG_ALGORITHMS, rng_algorithm, RNG_ALGORITHM) \
    X(DRBG_ALGORITHMS, drbg_algorithm, DRBG_ALGORITHM) \
    X(FIPS186_VARIATIONS, fips186_variation, FIPS186_VARIATION) \
    X(VALIDATION_AUTHORITY_TYPES, validation_authority_type, VALIDATION_AUTHORITY_TYPE) \
    X(VALIDATION_TYPES, validation_type, VALIDATION_TYPE) \
    X(UNWRAP_MODES, unwrap_mode, UNWRAP_MODE) \
    X(DESTROY_ACTIONS, destroy_action, DESTROY_ACTION) \
    X(SHREDDING_ALGORITHMS, shredding_algorithm, SHREDDING_ALGORITHM) \
    X(RNG_MODES, rng_mode, RNG_MODE) \
    X(CLIENT_REGISTRATION_METHODS, client_registration_method, CLIENT_REGISTRATION_METHOD) \
    X(KEY_WRAP_TYPES, key_wrap_type, KEY_WRAP_TYPE) \
    X(PROTECTION_LEVELS, protection_level, PROTECTION_LEVEL) \
    X(ENDPOINT_ROLES, endpoint_role, ENDPOINT_ROLE) \
    X(ADJUSTMENT_TYPES, adjustment_type, ADJUSTMENT_TYPE) \
    X(INTEROP_FUNCTIONS, interop_function, INTEROP_FUNCTION) \
    X(TICKET_TYPES, ticket_type, TICKET_TYPE) \
    X(NIST_KEY_TYPES, nist_key_type, NIST_KEY_TYPE)

#define KYOK_KMIP_MASKS(X) \
    X(CRYPTOGRAPHIC_USAGE_MASKS, cryptographic_usage_mask, CRYPTOGRAPHIC_USAGE_MASK) \
    X(STORAGE_STATUS_MASKS, storage_status_mask, STORAGE_STATUS_MASK) \
    X(PROTECTION_STORAGE_MASKS, protection_storage_mask, PROTECTION_STORAGE_MASK)
/* clang-format on */

#define KYOK_KMIP_CONSTANT_(constant, value, name) KYOK_KMIP_##constant = value,
#define KYOK_KMIP_ENUM_(list, type, tag)                                                           \
    enum kyok_kmip_##type{KYOK_KMIP_##list(KYOK_KMIP_CONSTANT_)};
KYOK_KMIP_ENUMERATIONS(KYOK_KMIP_ENUM_)
KYOK_KMIP_MASKS(KYOK_KMIP_ENUM_)
#undef KYOK_KMIP_ENUM_
#undef KYOK_KMIP_CONSTANT_

/* "SymmetricKey" for (KYOK_KMIP_TAG_OBJECT_TYPE, 2). NULL for a value or tag that is not listed. */
const char *kyok_kmip_enum_name(uint32_t tag, uint32_t value);
/* The value of a name (as above, or 0x and eight digits), 0 and false when there is none. */
bool kyok_kmip_enum_by_name(uint32_t tag, const char *name, uint32_t *value);
/* Bit of a mask, lowest first, by name: "Encrypt" for (KYOK_KMIP_TAG_CRYPTOGRAPHIC_USAGE_MASK, 4).
 */
const char *kyok_kmip_mask_name(uint32_t tag, uint32_t bit);
bool kyok_kmip_mask_by_name(uint32_t tag, const char *name, uint32_t *bit);

#endif
