/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and changing attributes: 1.4 specification, sections 4.12 to 4.16; 2.0 adds Set
 * Attribute. */
#include "common/kmip/message_operations.h"

/* Attribute Names in 1.x, Attribute References in 2.x. */
#define NAMES(structure, need, member)                                                             \
    KYOK_KMIP_ROW(structure, (need) | KYOK_KMIP_FORMS, SPECIAL, ATTRIBUTE_NAME, member, 1_0, 1_4,  \
                  NULL, &kyok_kmip_attribute_name_special),                                        \
        KYOK_KMIP_ROW(structure, (need) | KYOK_KMIP_OR, SPECIAL, ATTRIBUTE_REFERENCE, member, 2_0, \
                      2_1, NULL, &kyok_kmip_attribute_reference_special)

/* 4.12 Get Attributes */
static const struct kyok_kmip_field get_attributes_request_fields[] = {
    KYOK_KMIP_FIELD(get_attributes_request, OPTIONAL, TEXT, UNIQUE_IDENTIFIER, unique_identifier,
                    1_0),
    NAMES(get_attributes_request, KYOK_KMIP_REPEATED, names),
};
static const struct kyok_kmip_field get_attributes_response_fields[] = {
    KYOK_KMIP_FIELD(get_attributes_response, REQUIRED, TEXT, UNIQUE_IDENTIFIER, unique_identifier,
                    1_0),
    KYOK_KMIP_UNTIL(get_attributes_response, KYOK_KMIP_REPEATED | KYOK_KMIP_FORMS, STRUCT,
                    ATTRIBUTE, attributes, &kyok_kmip_attribute_shape, 1_0, 1_4),
    KYOK_KMIP_UNTIL(get_attributes_response, KYOK_KMIP_OR, STRUCT, ATTRIBUTES, attributes,
                    &kyok_kmip_attributes_2_shape, 2_0, 2_1),
};
KYOK_KMIP_DEFINE(kyok_kmip_get_attributes_request_shape, get_attributes_request,
                 get_attributes_request_fields);
KYOK_KMIP_DEFINE(kyok_kmip_get_attributes_response_shape, get_attributes_response,
                 get_attributes_response_fields);

/* 4.13 Get Attribute List; its question is an identifier. */
static const struct kyok_kmip_field get_attribute_list_response_fields[] = {
    KYOK_KMIP_FIELD(get_attribute_list_response, REQUIRED, TEXT, UNIQUE_IDENTIFIER,
                    unique_identifier, 1_0),
    NAMES(get_attribute_list_response, KYOK_KMIP_REPEATED, names),
};
KYOK_KMIP_DEFINE(kyok_kmip_get_attribute_list_response_shape, get_attribute_list_response,
                 get_attribute_list_response_fields);

/* 4.14 Add Attribute, 4.15 Modify Attribute; Set Attribute of 2.0 */
static const struct kyok_kmip_field attribute_request_fields[] = {
    KYOK_KMIP_FIELD(attribute_request, OPTIONAL, TEXT, UNIQUE_IDENTIFIER, unique_identifier, 1_0),
    KYOK_KMIP_NESTED(attribute_request, OPTIONAL, POINTER, CURRENT_ATTRIBUTE, current,
                     &kyok_kmip_attribute_2_shape, 2_0),
    KYOK_KMIP_UNTIL(attribute_request, KYOK_KMIP_REQUIRED | KYOK_KMIP_FORMS, POINTER, ATTRIBUTE,
                    attribute, &kyok_kmip_attribute_shape, 1_0, 1_4),
    KYOK_KMIP_UNTIL(attribute_request, KYOK_KMIP_OR, POINTER, NEW_ATTRIBUTE, attribute,
                    &kyok_kmip_attribute_2_shape, 2_0, 2_1),
};
KYOK_KMIP_DEFINE(kyok_kmip_attribute_request_shape, attribute_request, attribute_request_fields);

/* The answer of 4.14 Add, 4.15 Modify, 4.16 Delete Attribute: 2.x has the identifier alone. */
static const struct kyok_kmip_field attribute_response_fields[] = {
    KYOK_KMIP_FIELD(attribute_response, REQUIRED, TEXT, UNIQUE_IDENTIFIER, unique_identifier, 1_0),
    KYOK_KMIP_UNTIL(attribute_response, KYOK_KMIP_OPTIONAL, POINTER, ATTRIBUTE, attribute,
                    &kyok_kmip_attribute_shape, 1_0, 1_4),
};
KYOK_KMIP_DEFINE(kyok_kmip_attribute_response_shape, attribute_response, attribute_response_fields);

/* 4.16 Delete Attribute */
static const struct kyok_kmip_field delete_attribute_request_fields[] = {
    KYOK_KMIP_FIELD(delete_attribute_request, OPTIONAL, TEXT, UNIQUE_IDENTIFIER, unique_identifier,
                    1_0),
    KYOK_KMIP_NESTED(delete_attribute_request, OPTIONAL, POINTER, CURRENT_ATTRIBUTE, current,
                     &kyok_kmip_attribute_2_shape, 2_0),
    NAMES(delete_attribute_request, KYOK_KMIP_OPTIONAL, name),
    KYOK_KMIP_UNTIL(delete_attribute_request, KYOK_KMIP_OPTIONAL, INTEGER, ATTRIBUTE_INDEX, index,
                    NULL, 1_0, 1_4),
};
KYOK_KMIP_DEFINE(kyok_kmip_delete_attribute_request_shape, delete_attribute_request,
                 delete_attribute_request_fields);
