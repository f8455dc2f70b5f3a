/* SPDX-License-Identifier: Apache-2.0 */
/* Managed objects and what they are made of: 1.4 specification, sections 2.1 and 2.2. */
#include "common/kmip/message_inline.h"

/* --- 2.1.5 Key Wrapping Data, 2.1.6 Key Wrapping Specification --- */

static const struct kyok_kmip_field key_information_fields[] = {
    KYOK_KMIP_FIELD(key_information, REQUIRED, TEXT, UNIQUE_IDENTIFIER, unique_identifier, 1_0),
    KYOK_KMIP_NESTED(key_information, OPTIONAL, POINTER, CRYPTOGRAPHIC_PARAMETERS, parameters,
                     &kyok_kmip_cryptographic_parameters_shape, 1_0),
};
static KYOK_KMIP_DEFINE(key_information_shape, key_information, key_information_fields);

static const struct kyok_kmip_field wrapping_data_fields[] = {
    KYOK_KMIP_FIELD(key_wrapping_data, REQUIRED, ENUM, WRAPPING_METHOD, method, 1_0),
    KYOK_KMIP_NESTED(key_wrapping_data, OPTIONAL, POINTER, ENCRYPTION_KEY_INFORMATION,
                     encryption_key, &key_information_shape, 1_0),
    KYOK_KMIP_NESTED(key_wrapping_data, OPTIONAL, POINTER, MAC_SIGNATURE_KEY_INFORMATION, mac_key,
                     &key_information_shape, 1_0),
    KYOK_KMIP_FIELD(key_wrapping_data, OPTIONAL, BYTES, MAC_SIGNATURE, mac_signature, 1_0),
    KYOK_KMIP_FIELD(key_wrapping_data, OPTIONAL, BYTES, IV_COUNTER_NONCE, iv_counter_nonce, 1_0),
    KYOK_KMIP_FIELD(key_wrapping_data, OPTIONAL, ENUM, ENCODING_OPTION, encoding, 1_1),
};
static KYOK_KMIP_DEFINE(wrapping_data_shape, key_wrapping_data, wrapping_data_fields);

static const struct kyok_kmip_field wrapping_specification_fields[] = {
    KYOK_KMIP_FIELD(key_wrapping_specification, REQUIRED, ENUM, WRAPPING_METHOD, method, 1_0),
    KYOK_KMIP_NESTED(key_wrapping_specification, OPTIONAL, POINTER, ENCRYPTION_KEY_INFORMATION,
                     encryption_key, &key_information_shape, 1_0),
    KYOK_KMIP_NESTED(key_wrapping_specification, OPTIONAL, POINTER, MAC_SIGNATURE_KEY_INFORMATION,
                     mac_key, &key_information_shape, 1_0),
    KYOK_KMIP_FIELD(key_wrapping_specification, REPEATED, TEXT, ATTRIBUTE_NAME, attribute_names,
                    1_0),
    KYOK_KMIP_FIELD(key_wrapping_specification, OPTIONAL, ENUM, ENCODING_OPTION, encoding, 1_1),
};
KYOK_KMIP_DEFINE(kyok_kmip_key_wrapping_specification_shape, key_wrapping_specification,
                 wrapping_specification_fields);

/* --- 2.1.7 Transparent Key Structures --- */

/* One table for all: the order of each format's own table is kept (2.1.7.1 to 2.1.7.15). */
#define FIELD(kind, tag, member) KYOK_KMIP_FIELD(transparent_key, OPTIONAL, kind, tag, member, 1_0)
static const struct kyok_kmip_field transparent_fields[] = {
    FIELD(BYTES, KEY, key),
    FIELD(BIG, MODULUS, modulus),
    FIELD(BIG, PRIVATE_EXPONENT, private_exponent),
    FIELD(BIG, PUBLIC_EXPONENT, public_exponent),
    FIELD(BIG, P, p),
    FIELD(BIG, Q, q),
    FIELD(BIG, PRIME_EXPONENT_P, prime_exponent_p),
    FIELD(BIG, PRIME_EXPONENT_Q, prime_exponent_q),
    FIELD(BIG, CRT_COEFFICIENT, crt_coefficient),
    FIELD(BIG, G, g),
    FIELD(BIG, J, j),
    FIELD(BIG, X, x),
    FIELD(BIG, Y, y),
    FIELD(ENUM, RECOMMENDED_CURVE, recommended_curve),
    FIELD(BIG, D, d),
    FIELD(BYTES, Q_STRING, q_string),
};
#undef FIELD
static KYOK_KMIP_DEFINE(transparent_shape, transparent_key, transparent_fields);

/* --- 2.1.4 Key Value --- */

/* Key Material is a Byte String, or a structure for the transparent formats. target is the Key
 * Value's first member. */
static enum kyok_status read_material(struct kyok_kmip_reading *reading,
                                      const struct kyok_ttlv_reader *reader,
                                      const struct kyok_ttlv_item *item, void *target)
{
    struct kyok_kmip_key_value *value = target;

    if (item->type != KYOK_TTLV_STRUCTURE) {
        KYOK_TRY(kyok_kmip_expect(reading, item, KYOK_TTLV_BYTE_STRING));
        value->material = item->value;
        return KYOK_OK;
    }
    const void *transparent;
    KYOK_TRY(kyok_kmip_read_pointer(reading, reader, item, &transparent_shape, &transparent));
    value->transparent = transparent;
    return KYOK_OK;
}

static bool material_present(const void *source)
{
    const struct kyok_kmip_key_value *value = source;
    return value->material.data != NULL || value->transparent != NULL;
}

static enum kyok_status write_material(struct kyok_kmip_writing *writing, uint32_t tag,
                                       const void *source)
{
    const struct kyok_kmip_key_value *value = source;

    if (value->transparent != NULL)
        return kyok_kmip_write_structure(writing, tag, &transparent_shape, value->transparent);
    kyok_ttlv_write_bytes(writing->writer, tag, value->material);
    return KYOK_OK;
}

static const struct kyok_kmip_special material_special = {
    .read = read_material, .present = material_present, .write = write_material};

/* The member of Key Material is wrapped, the first, so that the functions see the whole. */
static const struct kyok_kmip_field key_value_fields[] = {
    KYOK_KMIP_PECULIAR(key_value, REQUIRED, KEY_MATERIAL, wrapped, &material_special, 1_0),
    KYOK_KMIP_UNTIL(key_value, KYOK_KMIP_REPEATED | KYOK_KMIP_FORMS, STRUCT, ATTRIBUTE, attributes,
                    &kyok_kmip_attribute_shape, 1_0, 1_4),
    KYOK_KMIP_ROW(key_value, KYOK_KMIP_OR, SPECIAL, ATTRIBUTES, attributes, 2_0, 2_1, NULL,
                  &kyok_kmip_optional_attributes_2_special),
};
KYOK_KMIP_DEFINE_INLINE(static, key_value_shape, key_value, key_value_fields);

/* --- 2.1.3 Key Block --- */

static struct kyok_kmip_key_block *block_of(void *value)
{
    return (struct kyok_kmip_key_block *)((char *)value -
                                          offsetof(struct kyok_kmip_key_block, value));
}

/* The whole Key Value is a Byte String when it is wrapped in its TTLV encoding. */
static enum kyok_status read_key_value(struct kyok_kmip_reading *reading,
                                       const struct kyok_ttlv_reader *reader,
                                       const struct kyok_ttlv_item *item, void *target)
{
    struct kyok_kmip_key_value *value = target;

    block_of(value)->has_value = true;
    if (item->type == KYOK_TTLV_STRUCTURE)
        return kyok_kmip_read_structure_inline(reading, reader, item, &key_value_shape, value);
    KYOK_TRY(kyok_kmip_expect(reading, item, KYOK_TTLV_BYTE_STRING));
    value->wrapped = item->value;
    return KYOK_OK;
}

static bool key_value_present(const void *source)
{
    const struct kyok_kmip_key_value *value = source;
    return value->wrapped.data != NULL || material_present(source);
}

static enum kyok_status write_key_value(struct kyok_kmip_writing *writing, uint32_t tag,
                                        const void *source)
{
    const struct kyok_kmip_key_value *value = source;

    if (value->wrapped.data == NULL)
        return kyok_kmip_write_structure_inline(writing, tag, &key_value_shape, value);
    kyok_ttlv_write_bytes(writing->writer, tag, value->wrapped);
    return KYOK_OK;
}

static const struct kyok_kmip_special key_value_special = {
    .read = read_key_value, .present = key_value_present, .write = write_key_value};

static const struct kyok_kmip_field key_block_fields[] = {
    KYOK_KMIP_FIELD(key_block, REQUIRED, ENUM, KEY_FORMAT_TYPE, format, 1_0),
    KYOK_KMIP_FIELD(key_block, OPTIONAL, ENUM, KEY_COMPRESSION_TYPE, compression, 1_0),
    KYOK_KMIP_PECULIAR(key_block, OPTIONAL, KEY_VALUE, value, &key_value_special, 1_0),
    KYOK_KMIP_FIELD(key_block, OPTIONAL, ENUM, CRYPTOGRAPHIC_ALGORITHM, algorithm, 1_0),
    KYOK_KMIP_FIELD(key_block, OPTIONAL, INTEGER, CRYPTOGRAPHIC_LENGTH, length, 1_0),
    KYOK_KMIP_NESTED(key_block, OPTIONAL, POINTER, KEY_WRAPPING_DATA, wrapping,
                     &wrapping_data_shape, 1_0),
};
KYOK_KMIP_DEFINE_INLINE(static, key_block_shape, key_block, key_block_fields);

/* --- 2.2 Managed Objects --- */

#define KEY_BLOCK(need)                                                                            \
    KYOK_KMIP_NESTED(object, need, STRUCT, KEY_BLOCK, key, &key_block_shape, 1_0)

static const struct kyok_kmip_field certificate_fields[] = {
    /* 2.2.1 */
    KYOK_KMIP_FIELD(object, REQUIRED, ENUM, CERTIFICATE_TYPE, certificate_type, 1_0),
    KYOK_KMIP_FIELD(object, REQUIRED, BYTES, CERTIFICATE_VALUE, value, 1_0),
};
static const struct kyok_kmip_field key_fields[] = {
    /* 2.2.2 to 2.2.4 */
    KEY_BLOCK(REQUIRED),
};
static const struct kyok_kmip_field split_key_fields[] = {
    /* 2.2.5 */
    KYOK_KMIP_FIELD(object, OPTIONAL, INTEGER, SPLIT_KEY_PARTS, split_key_parts, 1_0),
    KYOK_KMIP_FIELD(object, OPTIONAL, INTEGER, KEY_PART_IDENTIFIER, key_part_identifier, 1_0),
    KYOK_KMIP_FIELD(object, OPTIONAL, INTEGER, SPLIT_KEY_THRESHOLD, split_key_threshold, 1_0),
    KYOK_KMIP_FIELD(object, OPTIONAL, ENUM, SPLIT_KEY_METHOD, split_key_method, 1_0),
    KYOK_KMIP_FIELD(object, OPTIONAL, BIG, PRIME_FIELD_SIZE, prime_field_size, 1_0),
    KEY_BLOCK(REQUIRED),
};
static const struct kyok_kmip_field secret_data_fields[] = {
    /* 2.2.7 */
    KYOK_KMIP_FIELD(object, REQUIRED, ENUM, SECRET_DATA_TYPE, secret_data_type, 1_0),
    KEY_BLOCK(REQUIRED),
};
static const struct kyok_kmip_field opaque_fields[] = {
    /* 2.2.8 */
    KYOK_KMIP_FIELD(object, REQUIRED, ENUM, OPAQUE_DATA_TYPE, opaque_data_type, 1_0),
    KYOK_KMIP_FIELD(object, REQUIRED, BYTES, OPAQUE_DATA_VALUE, value, 1_0),
};
static const struct kyok_kmip_field pgp_key_fields[] = {
    /* 2.2.9 */
    KYOK_KMIP_FIELD(object, REQUIRED, INTEGER, PGP_KEY_VERSION, pgp_key_version, 1_2),
    KEY_BLOCK(REQUIRED),
};

static KYOK_KMIP_DEFINE(certificate_shape, object, certificate_fields);
KYOK_KMIP_DEFINE_INLINE(static, key_shape, object, key_fields);
static KYOK_KMIP_DEFINE(split_key_shape, object, split_key_fields);
static KYOK_KMIP_DEFINE(secret_data_shape, object, secret_data_fields);
static KYOK_KMIP_DEFINE(opaque_shape, object, opaque_fields);
static KYOK_KMIP_DEFINE(pgp_key_shape, object, pgp_key_fields);

/* Each object has a tag of its own. Those without a shape keep their content. */
static const struct object_kind {
    enum kyok_kmip_object_type type;
    uint32_t tag;
    const struct kyok_kmip_shape *shape;
} kinds[] = {
    {KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY, KYOK_KMIP_TAG_SYMMETRIC_KEY, &key_shape},
    {KYOK_KMIP_OBJECT_TYPE_CERTIFICATE, KYOK_KMIP_TAG_CERTIFICATE, &certificate_shape},
    {KYOK_KMIP_OBJECT_TYPE_PUBLIC_KEY, KYOK_KMIP_TAG_PUBLIC_KEY, &key_shape},
    {KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY, KYOK_KMIP_TAG_PRIVATE_KEY, &key_shape},
    {KYOK_KMIP_OBJECT_TYPE_SECRET_DATA, KYOK_KMIP_TAG_SECRET_DATA, &secret_data_shape},
    {KYOK_KMIP_OBJECT_TYPE_OPAQUE_OBJECT, KYOK_KMIP_TAG_OPAQUE_OBJECT, &opaque_shape},
    {KYOK_KMIP_OBJECT_TYPE_SPLIT_KEY, KYOK_KMIP_TAG_SPLIT_KEY, &split_key_shape},
    {KYOK_KMIP_OBJECT_TYPE_PGP_KEY, KYOK_KMIP_TAG_PGP_KEY, &pgp_key_shape},
    {KYOK_KMIP_OBJECT_TYPE_TEMPLATE, KYOK_KMIP_TAG_TEMPLATE, NULL},
    {KYOK_KMIP_OBJECT_TYPE_CERTIFICATE_REQUEST, KYOK_KMIP_TAG_CERTIFICATE_REQUEST, NULL},
};
#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

static enum kyok_status read_object(struct kyok_kmip_reading *reading,
                                    const struct kyok_ttlv_reader *reader,
                                    const struct kyok_ttlv_item *item, void *target)
{
    struct kyok_kmip_object *object = target;
    const struct object_kind *kind = kinds;

    while (kind->tag != item->tag) /* the rows of the table have no other tags */
        kind++;
    object->type = kind->type;
    if (kind->shape == NULL)
        return kyok_kmip_read_content(reading, reader, item, &object->raw);
    return kyok_kmip_read_structure_inline(reading, reader, item, kind->shape, object);
}

static bool object_present(const void *source)
{
    return ((const struct kyok_kmip_object *)source)->type != 0;
}

static enum kyok_status write_object(struct kyok_kmip_writing *writing, uint32_t tag,
                                     const void *source)
{
    const struct kyok_kmip_object *object = source;

    (void)tag; /* of the first form; the object knows its own */
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (kinds[i].type != object->type)
            continue;
        if (kinds[i].shape != NULL)
            return kyok_kmip_write_structure_inline(writing, kinds[i].tag, kinds[i].shape, object);
        kyok_ttlv_write_structure(writing->writer, kinds[i].tag, object->raw);
        return KYOK_OK;
    }
    return kyok_fail(writing->err, KYOK_INVALID, NULL, "there is no KMIP object type %u",
                     (unsigned)object->type);
}

const struct kyok_kmip_special kyok_kmip_object_special = {
    .read = read_object, .present = object_present, .write = write_object};
