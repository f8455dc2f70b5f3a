/* SPDX-License-Identifier: Apache-2.0 */
/* The operations whose payloads have structures. */
#include "common/kmip/message_operations.h"

#define ROW(operation, request, response, since)                                                   \
    {KYOK_KMIP_OPERATION_##operation, &kyok_kmip_##request##_shape, &kyok_kmip_##response##_shape, \
     KYOK_KMIP_##since},
static const struct kyok_kmip_operation_shapes operations[] = {
    /* operation, request, response, since */
    ROW(GET, get_request, get_response, 1_0) ROW(CREATE, create_request, create_response, 1_0)
        ROW(CREATE_KEY_PAIR, create_key_pair_request, create_key_pair_response,
            1_0) ROW(REGISTER, register_request, identifier_response,
                     1_0) ROW(RE_KEY, re_key_request, identifier_response,
                              1_0) ROW(LOCATE, locate_request, locate_response, 1_0)
            ROW(GET_ATTRIBUTES, get_attributes_request, get_attributes_response,
                1_0) ROW(GET_ATTRIBUTE_LIST, identifier_request, get_attribute_list_response,
                         1_0) ROW(ADD_ATTRIBUTE, attribute_request, attribute_response, 1_0)
                ROW(MODIFY_ATTRIBUTE, attribute_request, attribute_response,
                    1_0) ROW(DELETE_ATTRIBUTE, delete_attribute_request, attribute_response,
                             1_0) ROW(SET_ATTRIBUTE, attribute_request, attribute_response, 2_0)
                    ROW(ACTIVATE, identifier_request, identifier_response,
                        1_0) ROW(REVOKE, revoke_request, identifier_response,
                                 1_0) ROW(DESTROY, identifier_request, identifier_response, 1_0)
                        ROW(ARCHIVE, identifier_request, identifier_response,
                            1_0) ROW(RECOVER, identifier_request, identifier_response,
                                     1_0) ROW(QUERY, query_request, query_response,
                                              1_0) ROW(DISCOVER_VERSIONS, versions, versions, 1_0)
                            ROW(ENCRYPT, cipher_request, cipher_response,
                                1_2) ROW(DECRYPT, cipher_request, cipher_response,
                                         1_2) ROW(SIGN, sign_request, sign_response, 1_2)
                                ROW(SIGNATURE_VERIFY, sign_request, verify_response, 1_2)
                                    ROW(MAC, mac_request, mac_response, 1_2)
                                        ROW(MAC_VERIFY, mac_request, verify_response, 1_2)
                                            ROW(RNG_RETRIEVE, rng_length, rng_data, 1_2)
                                                ROW(RNG_SEED, rng_data, rng_length, 1_2)
                                                    ROW(HASH, hash_request, hash_response, 1_2)};

const struct kyok_kmip_operation_shapes *kyok_kmip_operation_shapes(uint32_t operation)
{
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
        if ((uint32_t)operations[i].operation == operation)
            return &operations[i];
    return NULL;
}
