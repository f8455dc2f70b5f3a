/* SPDX-License-Identifier: Apache-2.0 */
/* Asking what a server is and can: 1.4 specification, sections 4.25 and 4.26. */
#include "common/kmip/message_operations.h"

/* 4.25 Query */
static const struct kyok_kmip_field query_request_fields[] = {
    KYOK_KMIP_FIELD(query_request, REPEATED, ENUM, QUERY_FUNCTION, functions, 1_0),
};
KYOK_KMIP_DEFINE(kyok_kmip_query_request_shape, query_request, query_request_fields);

/* 2.1.9 Extension Information */
static const struct kyok_kmip_field extension_fields[] = {
    KYOK_KMIP_FIELD(extension_information, REQUIRED, TEXT, EXTENSION_NAME, name, 1_1),
    KYOK_KMIP_FIELD(extension_information, OPTIONAL, INTEGER, EXTENSION_TAG, tag, 1_1),
    KYOK_KMIP_FIELD(extension_information, OPTIONAL, INTEGER, EXTENSION_TYPE, type, 1_1),
};
static KYOK_KMIP_DEFINE(extension_shape, extension_information, extension_fields);

#define LIST(kind, tag, member, since)                                                             \
    KYOK_KMIP_FIELD(query_response, REPEATED, kind, tag, member, since)
#define ONE(kind, tag, member, since)                                                              \
    KYOK_KMIP_FIELD(query_response, OPTIONAL, kind, tag, member, since)
static const struct kyok_kmip_field query_response_fields[] = {
    LIST(ENUM, OPERATION, operations, 1_0),
    LIST(ENUM, OBJECT_TYPE, object_types, 1_0),
    ONE(TEXT, VENDOR_IDENTIFICATION, vendor_identification, 1_0),
    ONE(CONTENT, SERVER_INFORMATION, server_information, 1_0),
    LIST(TEXT, APPLICATION_NAMESPACE, application_namespaces, 1_0),
    KYOK_KMIP_NESTED(query_response, REPEATED, STRUCT, EXTENSION_INFORMATION, extensions,
                     &extension_shape, 1_1),
    LIST(ENUM, ATTESTATION_TYPE, attestation_types, 1_2),
    KYOK_KMIP_NESTED(query_response, REPEATED, STRUCT, RNG_PARAMETERS, rng_parameters,
                     &kyok_kmip_rng_parameters_shape, 1_3),
    LIST(CONTENT, PROFILE_INFORMATION, profiles, 1_3),
    LIST(CONTENT, VALIDATION_INFORMATION, validations, 1_3),
    LIST(CONTENT, CAPABILITY_INFORMATION, capabilities, 1_3),
    LIST(ENUM, CLIENT_REGISTRATION_METHOD, registrations, 1_3),
    LIST(CONTENT, DEFAULTS_INFORMATION, defaults_information, 2_0),
    LIST(CONTENT, PROTECTION_STORAGE_MASKS, protection_storage_masks, 2_0),
};
KYOK_KMIP_DEFINE(kyok_kmip_query_response_shape, query_response, query_response_fields);

/* 4.26 Discover Versions, question and answer */
static const struct kyok_kmip_field versions_fields[] = {
    KYOK_KMIP_NESTED(versions, REPEATED, STRUCT, PROTOCOL_VERSION, versions,
                     &kyok_kmip_version_shape, 1_0),
};
KYOK_KMIP_DEFINE(kyok_kmip_versions_shape, versions, versions_fields);
