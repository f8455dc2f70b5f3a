/* SPDX-License-Identifier: Apache-2.0 */
/* The payloads' shapes, where the operations' files and their table meet. Private to this folder.
 */
#ifndef KYOK_KMIP_MESSAGE_OPERATIONS_H
#define KYOK_KMIP_MESSAGE_OPERATIONS_H

#include "common/kmip/message_shape.h"

extern const struct kyok_kmip_shape kyok_kmip_create_request_shape, kyok_kmip_create_response_shape,
    kyok_kmip_create_key_pair_request_shape, kyok_kmip_create_key_pair_response_shape,
    kyok_kmip_register_request_shape, kyok_kmip_identifier_request_shape,
    kyok_kmip_identifier_response_shape, kyok_kmip_re_key_request_shape,
    kyok_kmip_derive_key_request_shape, kyok_kmip_locate_request_shape,
    kyok_kmip_locate_response_shape, kyok_kmip_get_request_shape, kyok_kmip_get_response_shape,
    kyok_kmip_get_attributes_request_shape, kyok_kmip_get_attributes_response_shape,
    kyok_kmip_get_attribute_list_response_shape, kyok_kmip_attribute_request_shape,
    kyok_kmip_attribute_response_shape, kyok_kmip_delete_attribute_request_shape,
    kyok_kmip_revoke_request_shape, kyok_kmip_query_request_shape, kyok_kmip_query_response_shape,
    kyok_kmip_version_shape, kyok_kmip_versions_shape, kyok_kmip_cipher_request_shape,
    kyok_kmip_cipher_response_shape, kyok_kmip_sign_request_shape, kyok_kmip_sign_response_shape,
    kyok_kmip_verify_response_shape, kyok_kmip_mac_request_shape, kyok_kmip_mac_response_shape,
    kyok_kmip_rng_length_shape, kyok_kmip_rng_data_shape, kyok_kmip_hash_request_shape,
    kyok_kmip_hash_response_shape;

/* An operation, its payloads' shapes, and the version that brought it. */
struct kyok_kmip_operation_shapes {
    enum kyok_kmip_operation operation;
    const struct kyok_kmip_shape *request, *response;
    unsigned since;
};
/* NULL for an operation whose payloads are kept as they are. */
const struct kyok_kmip_operation_shapes *kyok_kmip_operation_shapes(uint32_t operation);

#endif
