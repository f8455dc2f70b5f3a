/* SPDX-License-Identifier: Apache-2.0 */
/* Cryptography at the server: 1.4 specification, sections 4.29 to 4.37. */
#include "common/kmip/message_operations.h"

#define IDENTIFIER(structure, need)                                                                \
    KYOK_KMIP_FIELD(structure, need, TEXT, UNIQUE_IDENTIFIER, unique_identifier, 1_2)
#define PARAMETERS(structure, need)                                                                \
    KYOK_KMIP_NESTED(structure, need, POINTER, CRYPTOGRAPHIC_PARAMETERS, parameters,               \
                     &kyok_kmip_cryptographic_parameters_shape, 1_2)
#define BYTES(structure, tag, member, since)                                                       \
    KYOK_KMIP_FIELD(structure, OPTIONAL, BYTES, tag, member, since)
#define STREAM(structure)                                                                          \
    BYTES(structure, CORRELATION_VALUE, stream.correlation_value, 1_3),                            \
        KYOK_KMIP_FIELD(structure, OPTIONAL, BOOLEAN, INIT_INDICATOR, stream.init, 1_3),           \
        KYOK_KMIP_FIELD(structure, OPTIONAL, BOOLEAN, FINAL_INDICATOR, stream.final, 1_3)

/* 4.29 Encrypt (without a tag), 4.30 Decrypt */
static const struct kyok_kmip_field cipher_request_fields[] = {
    IDENTIFIER(cipher_request, OPTIONAL),
    PARAMETERS(cipher_request, OPTIONAL),
    BYTES(cipher_request, DATA, data, 1_2),
    BYTES(cipher_request, IV_COUNTER_NONCE, iv_counter_nonce, 1_2),
    STREAM(cipher_request),
    BYTES(cipher_request, AUTHENTICATED_ENCRYPTION_ADDITIONAL_DATA, additional_data, 1_4),
    BYTES(cipher_request, AUTHENTICATED_ENCRYPTION_TAG, tag, 1_4),
};
/* 4.30's has neither nonce nor tag. */
static const struct kyok_kmip_field cipher_response_fields[] = {
    IDENTIFIER(cipher_response, REQUIRED),
    BYTES(cipher_response, DATA, data, 1_2),
    BYTES(cipher_response, IV_COUNTER_NONCE, iv_counter_nonce, 1_2),
    BYTES(cipher_response, CORRELATION_VALUE, correlation_value, 1_3),
    BYTES(cipher_response, AUTHENTICATED_ENCRYPTION_TAG, tag, 1_4),
};
KYOK_KMIP_DEFINE(kyok_kmip_cipher_request_shape, cipher_request, cipher_request_fields);
KYOK_KMIP_DEFINE(kyok_kmip_cipher_response_shape, cipher_response, cipher_response_fields);

/* 4.31 Sign (without a signature), 4.32 Signature Verify */
static const struct kyok_kmip_field sign_request_fields[] = {
    IDENTIFIER(sign_request, OPTIONAL),
    PARAMETERS(sign_request, OPTIONAL),
    BYTES(sign_request, DATA, data, 1_2),
    BYTES(sign_request, DIGESTED_DATA, digested_data, 1_4),
    BYTES(sign_request, SIGNATURE_DATA, signature, 1_2),
    STREAM(sign_request),
};
static const struct kyok_kmip_field sign_response_fields[] = {
    IDENTIFIER(sign_response, REQUIRED),
    BYTES(sign_response, SIGNATURE_DATA, signature, 1_2),
    BYTES(sign_response, CORRELATION_VALUE, correlation_value, 1_3),
};
static const struct kyok_kmip_field verify_response_fields[] = {
    IDENTIFIER(verify_response, REQUIRED),
    KYOK_KMIP_FIELD(verify_response, OPTIONAL, ENUM, VALIDITY_INDICATOR, validity, 1_2),
    BYTES(verify_response, DATA, data, 1_2),
    BYTES(verify_response, CORRELATION_VALUE, correlation_value, 1_3),
};
KYOK_KMIP_DEFINE(kyok_kmip_sign_request_shape, sign_request, sign_request_fields);
KYOK_KMIP_DEFINE(kyok_kmip_sign_response_shape, sign_response, sign_response_fields);
KYOK_KMIP_DEFINE(kyok_kmip_verify_response_shape, verify_response, verify_response_fields);

/* 4.33 MAC (without a MAC), 4.34 MAC Verify */
static const struct kyok_kmip_field mac_request_fields[] = {
    IDENTIFIER(mac_request, OPTIONAL),
    PARAMETERS(mac_request, OPTIONAL),
    BYTES(mac_request, DATA, data, 1_2),
    BYTES(mac_request, MAC_DATA, mac, 1_2),
    STREAM(mac_request),
};
static const struct kyok_kmip_field mac_response_fields[] = {
    IDENTIFIER(mac_response, REQUIRED),
    BYTES(mac_response, MAC_DATA, mac, 1_2),
    BYTES(mac_response, CORRELATION_VALUE, correlation_value, 1_3),
};
KYOK_KMIP_DEFINE(kyok_kmip_mac_request_shape, mac_request, mac_request_fields);
KYOK_KMIP_DEFINE(kyok_kmip_mac_response_shape, mac_response, mac_response_fields);

/* 4.35 RNG Retrieve, 4.36 RNG Seed */
static const struct kyok_kmip_field rng_length_fields[] = {
    KYOK_KMIP_FIELD(rng_length, REQUIRED, INT, DATA_LENGTH, data_length, 1_2),
};
static const struct kyok_kmip_field rng_data_fields[] = {
    KYOK_KMIP_FIELD(rng_data, REQUIRED, BYTES, DATA, data, 1_2),
};
KYOK_KMIP_DEFINE(kyok_kmip_rng_length_shape, rng_length, rng_length_fields);
KYOK_KMIP_DEFINE(kyok_kmip_rng_data_shape, rng_data, rng_data_fields);

/* 4.37 Hash */
static const struct kyok_kmip_field hash_request_fields[] = {
    PARAMETERS(mac_request, REQUIRED),
    BYTES(mac_request, DATA, data, 1_2),
    STREAM(mac_request),
};
static const struct kyok_kmip_field hash_response_fields[] = {
    BYTES(mac_response, DATA, mac, 1_2),
    BYTES(mac_response, CORRELATION_VALUE, correlation_value, 1_3),
};
KYOK_KMIP_DEFINE(kyok_kmip_hash_request_shape, mac_request, hash_request_fields);
KYOK_KMIP_DEFINE(kyok_kmip_hash_response_shape, mac_response, hash_response_fields);
