/* SPDX-License-Identifier: Apache-2.0 */
/* The operations whose payloads have structures. */
#include "common/kmip/message_operations.h"

/* X(operation, request, response, since) */
/* clang-format off */
#define OPERATIONS(X) \
    X(GET, get_request, get_response, 1_0) \
    X(CREATE, create_request, create_response, 1_0) \
    X(CREATE_KEY_PAIR, create_key_pair_request, create_key_pair_response, 1_0) \
    X(REGISTER, register_request, identifier_response, 1_0) \
    X(RE_KEY, re_key_request, identifier_response, 1_0) \
    X(DERIVE_KEY, derive_key_request, identifier_response, 1_0) \
    X(LOCATE, locate_request, locate_response, 1_0) \
    X(GET_ATTRIBUTES, get_attributes_request, get_attributes_response, 1_0) \
    X(GET_ATTRIBUTE_LIST, identifier_request, get_attribute_list_response, 1_0) \
    X(ADD_ATTRIBUTE, attribute_request, attribute_response, 1_0) \
    X(MODIFY_ATTRIBUTE, attribute_request, attribute_response, 1_0) \
    X(DELETE_ATTRIBUTE, delete_attribute_request, attribute_response, 1_0) \
    X(SET_ATTRIBUTE, attribute_request, attribute_response, 2_0) \
    X(ACTIVATE, identifier_request, identifier_response, 1_0) \
    X(REVOKE, revoke_request, identifier_response, 1_0) \
    X(DESTROY, identifier_request, identifier_response, 1_0) \
    X(ARCHIVE, identifier_request, identifier_response, 1_0) \
    X(RECOVER, identifier_request, identifier_response, 1_0) \
    X(QUERY, query_request, query_response, 1_0) \
    X(DISCOVER_VERSIONS, versions, versions, 1_0) \
    X(ENCRYPT, cipher_request, cipher_response, 1_2) \
    X(DECRYPT, cipher_request, cipher_response, 1_2) \
    X(SIGN, sign_request, sign_response, 1_2) \
    X(SIGNATURE_VERIFY, sign_request, verify_response, 1_2) \
    X(MAC, mac_request, mac_response, 1_2) \
    X(MAC_VERIFY, mac_request, verify_response, 1_2) \
    X(RNG_RETRIEVE, rng_length, rng_data, 1_2) \
    X(RNG_SEED, rng_data, rng_length, 1_2) \
    X(HASH, hash_request, hash_response, 1_2)
/* clang-format on */

#define ROW(operation, request, response, since)                                                   \
    {KYOK_KMIP_OPERATION_##operation, &kyok_kmip_##request##_shape, &kyok_kmip_##response##_shape, \
     KYOK_KMIP_##since},
static const struct kyok_kmip_operation_shapes operations[] = {OPERATIONS(ROW)};

const struct kyok_kmip_operation_shapes *kyok_kmip_operation_shapes(uint32_t operation)
{
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
        if ((uint32_t)operations[i].operation == operation)
            return &operations[i];
    return NULL;
}
