/* SPDX-License-Identifier: Apache-2.0 */
/* Making, finding, fetching and ending managed objects: 1.4 specification, sections 4.1
 * to 4.4, 4.6, 4.9, 4.11, 4.19 to 4.21. */
#include "common/kmip/message_inline.h"
#include "common/kmip/message_operations.h"

/* Template-Attribute in 1.x, Attributes in 2.x: two forms of one member. */
#define TEMPLATE(structure, need, kind, tag_1, tag_2, member)                                      \
    KYOK_KMIP_UNTIL(structure, (need) | KYOK_KMIP_FORMS, kind, tag_1, member,                      \
                    &kyok_kmip_template_shape, 1_0, 1_4),                                          \
        KYOK_KMIP_UNTIL(structure, (need) | KYOK_KMIP_OR, kind, tag_2, member,                     \
                        &kyok_kmip_template_2_shape, 2_0, 2_1)
/* What a server set besides what was asked for; 2.x answers with the identifier alone. */
#define TEMPLATE_SET(structure, tag, member)                                                       \
    KYOK_KMIP_UNTIL(structure, KYOK_KMIP_OPTIONAL, POINTER, tag, member,                           \
                    &kyok_kmip_template_shape, 1_0, 1_4)

/* The object, under the tag of its type. */
#define OBJECT(structure)                                                                          \
    OBJECT_FORM(structure, KYOK_KMIP_REQUIRED | KYOK_KMIP_FORMS, SYMMETRIC_KEY),                   \
        OBJECT_FORM(structure, OTHER, CERTIFICATE), OBJECT_FORM(structure, OTHER, PUBLIC_KEY),     \
        OBJECT_FORM(structure, OTHER, PRIVATE_KEY), OBJECT_FORM(structure, OTHER, SECRET_DATA),    \
        OBJECT_FORM(structure, OTHER, OPAQUE_OBJECT), OBJECT_FORM(structure, OTHER, SPLIT_KEY),    \
        OBJECT_FORM(structure, OTHER, PGP_KEY), OBJECT_FORM(structure, OTHER, TEMPLATE),           \
        OBJECT_FORM(structure, OTHER, CERTIFICATE_REQUEST)
#define OTHER (KYOK_KMIP_OR | KYOK_KMIP_ALIAS)
#define OBJECT_FORM(structure, need, tag)                                                          \
    KYOK_KMIP_ROW(structure, need, SPECIAL, tag, object, 1_0, 2_1, NULL, &kyok_kmip_object_special)

/* 4.1 Create */
static const struct kyok_kmip_field create_request_fields[] = {
    KYOK_KMIP_FIELD(create_request, REQUIRED, ENUM, OBJECT_TYPE, object_type, 1_0),
    TEMPLATE(create_request, KYOK_KMIP_REQUIRED, STRUCT, TEMPLATE_ATTRIBUTE, ATTRIBUTES,
             attributes),
};
static const struct kyok_kmip_field create_response_fields[] = {
    KYOK_KMIP_FIELD(create_response, REQUIRED, ENUM, OBJECT_TYPE, object_type, 1_0),
    KYOK_KMIP_FIELD(create_response, REQUIRED, TEXT, UNIQUE_IDENTIFIER, unique_identifier, 1_0),
    TEMPLATE_SET(create_response, TEMPLATE_ATTRIBUTE, attributes),
};
KYOK_KMIP_DEFINE(kyok_kmip_create_request_shape, create_request, create_request_fields);
KYOK_KMIP_DEFINE(kyok_kmip_create_response_shape, create_response, create_response_fields);

/* 4.2 Create Key Pair */
static const struct kyok_kmip_field create_key_pair_request_fields[] = {
    TEMPLATE(create_key_pair_request, KYOK_KMIP_OPTIONAL, POINTER, COMMON_TEMPLATE_ATTRIBUTE,
             COMMON_ATTRIBUTES, common),
    TEMPLATE(create_key_pair_request, KYOK_KMIP_OPTIONAL, POINTER, PRIVATE_KEY_TEMPLATE_ATTRIBUTE,
             PRIVATE_KEY_ATTRIBUTES, private_key),
    TEMPLATE(create_key_pair_request, KYOK_KMIP_OPTIONAL, POINTER, PUBLIC_KEY_TEMPLATE_ATTRIBUTE,
             PUBLIC_KEY_ATTRIBUTES, public_key),
};
static const struct kyok_kmip_field create_key_pair_response_fields[] = {
    KYOK_KMIP_FIELD(create_key_pair_response, REQUIRED, TEXT, PRIVATE_KEY_UNIQUE_IDENTIFIER,
                    private_key, 1_0),
    KYOK_KMIP_FIELD(create_key_pair_response, REQUIRED, TEXT, PUBLIC_KEY_UNIQUE_IDENTIFIER,
                    public_key, 1_0),
    TEMPLATE_SET(create_key_pair_response, PRIVATE_KEY_TEMPLATE_ATTRIBUTE, private_key_attributes),
    TEMPLATE_SET(create_key_pair_response, PUBLIC_KEY_TEMPLATE_ATTRIBUTE, public_key_attributes),
};
KYOK_KMIP_DEFINE(kyok_kmip_create_key_pair_request_shape, create_key_pair_request,
                 create_key_pair_request_fields);
KYOK_KMIP_DEFINE(kyok_kmip_create_key_pair_response_shape, create_key_pair_response,
                 create_key_pair_response_fields);

/* 4.3 Register */
static const struct kyok_kmip_field register_request_fields[] = {
    KYOK_KMIP_FIELD(register_request, REQUIRED, ENUM, OBJECT_TYPE, object_type, 1_0),
    TEMPLATE(register_request, KYOK_KMIP_REQUIRED, STRUCT, TEMPLATE_ATTRIBUTE, ATTRIBUTES,
             attributes),
    OBJECT(register_request),
};
KYOK_KMIP_DEFINE(kyok_kmip_register_request_shape, register_request, register_request_fields);

/* The answer of 4.3 Register, 4.4 Re-key, 4.6 Derive Key, 4.19 Activate, 4.20 Revoke, 4.21 Destroy
 */
static const struct kyok_kmip_field identifier_response_fields[] = {
    KYOK_KMIP_FIELD(identifier_response, REQUIRED, TEXT, UNIQUE_IDENTIFIER, unique_identifier, 1_0),
    TEMPLATE_SET(identifier_response, TEMPLATE_ATTRIBUTE, attributes),
};
KYOK_KMIP_DEFINE(kyok_kmip_identifier_response_shape, identifier_response,
                 identifier_response_fields);

/* 4.4 Re-key */
static const struct kyok_kmip_field re_key_request_fields[] = {
    KYOK_KMIP_FIELD(re_key_request, OPTIONAL, TEXT, UNIQUE_IDENTIFIER, unique_identifier, 1_0),
    KYOK_KMIP_FIELD(re_key_request, OPTIONAL, INTERVAL, OFFSET, offset, 1_0),
    TEMPLATE(re_key_request, KYOK_KMIP_OPTIONAL, POINTER, TEMPLATE_ATTRIBUTE, ATTRIBUTES,
             attributes),
};
KYOK_KMIP_DEFINE(kyok_kmip_re_key_request_shape, re_key_request, re_key_request_fields);

/* 4.6 Derive Key */
static const struct kyok_kmip_field derivation_parameters_fields[] = {
    KYOK_KMIP_NESTED(derivation_parameters, OPTIONAL, POINTER, CRYPTOGRAPHIC_PARAMETERS, parameters,
                     &kyok_kmip_cryptographic_parameters_shape, 1_0),
    KYOK_KMIP_FIELD(derivation_parameters, OPTIONAL, BYTES, INITIALIZATION_VECTOR,
                    initialization_vector, 1_0),
    KYOK_KMIP_FIELD(derivation_parameters, OPTIONAL, BYTES, DERIVATION_DATA, data, 1_0),
    KYOK_KMIP_FIELD(derivation_parameters, OPTIONAL, BYTES, SALT, salt, 1_0),
    KYOK_KMIP_FIELD(derivation_parameters, OPTIONAL, INTEGER, ITERATION_COUNT, iteration_count,
                    1_0),
};
static KYOK_KMIP_DEFINE(derivation_parameters_shape, derivation_parameters,
                        derivation_parameters_fields);
static const struct kyok_kmip_field derive_key_request_fields[] = {
    KYOK_KMIP_FIELD(derive_key_request, REQUIRED, ENUM, OBJECT_TYPE, object_type, 1_0),
    KYOK_KMIP_ROW(derive_key_request, KYOK_KMIP_REQUIRED | KYOK_KMIP_REPEATED, TEXT,
                  UNIQUE_IDENTIFIER, unique_identifiers, 1_0, 2_1, NULL, NULL),
    KYOK_KMIP_FIELD(derive_key_request, REQUIRED, ENUM, DERIVATION_METHOD, method, 1_0),
    KYOK_KMIP_NESTED(derive_key_request, REQUIRED, STRUCT, DERIVATION_PARAMETERS, parameters,
                     &derivation_parameters_shape, 1_0),
    TEMPLATE(derive_key_request, KYOK_KMIP_REQUIRED, STRUCT, TEMPLATE_ATTRIBUTE, ATTRIBUTES,
             attributes),
};
KYOK_KMIP_DEFINE(kyok_kmip_derive_key_request_shape, derive_key_request, derive_key_request_fields);

/* 4.9 Locate */
static const struct kyok_kmip_field locate_request_fields[] = {
    KYOK_KMIP_FIELD(locate_request, OPTIONAL, INTEGER, MAXIMUM_ITEMS, maximum_items, 1_0),
    KYOK_KMIP_FIELD(locate_request, OPTIONAL, INTEGER, OFFSET_ITEMS, offset_items, 1_3),
    KYOK_KMIP_FIELD(locate_request, OPTIONAL, INTEGER, STORAGE_STATUS_MASK, storage_status_mask,
                    1_0),
    KYOK_KMIP_FIELD(locate_request, OPTIONAL, ENUM, OBJECT_GROUP_MEMBER, object_group_member, 1_1),
    KYOK_KMIP_UNTIL(locate_request, KYOK_KMIP_REPEATED | KYOK_KMIP_FORMS, STRUCT, ATTRIBUTE,
                    attributes, &kyok_kmip_attribute_shape, 1_0, 1_4),
    KYOK_KMIP_UNTIL(locate_request, KYOK_KMIP_OR, STRUCT, ATTRIBUTES, attributes,
                    &kyok_kmip_attributes_2_shape, 2_0, 2_1),
};
static const struct kyok_kmip_field locate_response_fields[] = {
    KYOK_KMIP_FIELD(locate_response, OPTIONAL, INTEGER, LOCATED_ITEMS, located_items, 1_3),
    KYOK_KMIP_FIELD(locate_response, REPEATED, TEXT, UNIQUE_IDENTIFIER, unique_identifiers, 1_0),
};
KYOK_KMIP_DEFINE(kyok_kmip_locate_request_shape, locate_request, locate_request_fields);
KYOK_KMIP_DEFINE(kyok_kmip_locate_response_shape, locate_response, locate_response_fields);

/* 4.11 Get */
static const struct kyok_kmip_field get_request_fields[] = {
    KYOK_KMIP_FIELD(get_request, OPTIONAL, TEXT, UNIQUE_IDENTIFIER, unique_identifier, 1_0),
    KYOK_KMIP_FIELD(get_request, OPTIONAL, ENUM, KEY_FORMAT_TYPE, key_format_type, 1_0),
    KYOK_KMIP_FIELD(get_request, OPTIONAL, ENUM, KEY_WRAP_TYPE, key_wrap_type, 1_4),
    KYOK_KMIP_FIELD(get_request, OPTIONAL, ENUM, KEY_COMPRESSION_TYPE, key_compression_type, 1_0),
    KYOK_KMIP_NESTED(get_request, OPTIONAL, POINTER, KEY_WRAPPING_SPECIFICATION, wrapping,
                     &kyok_kmip_key_wrapping_specification_shape, 1_0),
};
static const struct kyok_kmip_field get_response_fields[] = {
    KYOK_KMIP_FIELD(get_response, REQUIRED, ENUM, OBJECT_TYPE, object_type, 1_0),
    KYOK_KMIP_FIELD(get_response, REQUIRED, TEXT, UNIQUE_IDENTIFIER, unique_identifier, 1_0),
    OBJECT(get_response),
};
KYOK_KMIP_DEFINE_INLINE(, kyok_kmip_get_request_shape, get_request, get_request_fields);
KYOK_KMIP_DEFINE_INLINE(, kyok_kmip_get_response_shape, get_response, get_response_fields);

/* The question of 4.13 Get Attribute List, 4.19 Activate, 4.21 Destroy */
static const struct kyok_kmip_field identifier_request_fields[] = {
    KYOK_KMIP_FIELD(identifier_request, OPTIONAL, TEXT, UNIQUE_IDENTIFIER, unique_identifier, 1_0),
};
KYOK_KMIP_DEFINE(kyok_kmip_identifier_request_shape, identifier_request, identifier_request_fields);

/* 4.20 Revoke */
static const struct kyok_kmip_field revoke_request_fields[] = {
    KYOK_KMIP_FIELD(revoke_request, OPTIONAL, TEXT, UNIQUE_IDENTIFIER, unique_identifier, 1_0),
    KYOK_KMIP_NESTED(revoke_request, REQUIRED, STRUCT, REVOCATION_REASON, reason,
                     &kyok_kmip_revocation_reason_shape, 1_0),
    KYOK_KMIP_FIELD(revoke_request, OPTIONAL, DATE, COMPROMISE_OCCURRENCE_DATE,
                    compromise_occurrence_date, 1_0),
};
KYOK_KMIP_DEFINE(kyok_kmip_revoke_request_shape, revoke_request, revoke_request_fields);
