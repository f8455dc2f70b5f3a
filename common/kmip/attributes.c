/* SPDX-License-Identifier: Apache-2.0 */
/* The table of attributes: names, tags, and making and finding them. */
#include "common/kmip/attributes.h"
#include "common/kmip/message_attribute.h"

#include <string.h>

#define TYPE_(constant, name_, type_, shape_, since_, until_)                                      \
    [KYOK_KMIP_ATTRIBUTE_##constant] = {.tag = KYOK_KMIP_TAG_##constant,                           \
                                        .name = (name_),                                           \
                                        .name_size = sizeof(name_) - 1,                            \
                                        .type = KYOK_TTLV_##type_,                                 \
                                        .since = KYOK_KMIP_##since_,                               \
                                        .until = KYOK_KMIP_##until_,                               \
                                        .shape = KYOK_KMIP_SHAPE_##shape_},
#define KYOK_KMIP_SHAPE_NONE NULL
#define KYOK_KMIP_SHAPE_NAME &kyok_kmip_name_shape
#define KYOK_KMIP_SHAPE_CRYPTOGRAPHIC_PARAMETERS &kyok_kmip_cryptographic_parameters_shape
#define KYOK_KMIP_SHAPE_DOMAIN_PARAMETERS &kyok_kmip_domain_parameters_shape
#define KYOK_KMIP_SHAPE_X509_IDENTIFIER &kyok_kmip_x509_identifier_shape
#define KYOK_KMIP_SHAPE_X509_SUBJECT &kyok_kmip_x509_subject_shape
#define KYOK_KMIP_SHAPE_X509_ISSUER &kyok_kmip_x509_issuer_shape
#define KYOK_KMIP_SHAPE_CERTIFICATE_IDENTIFIER &kyok_kmip_certificate_identifier_shape
#define KYOK_KMIP_SHAPE_CERTIFICATE_SUBJECT &kyok_kmip_certificate_subject_shape
#define KYOK_KMIP_SHAPE_CERTIFICATE_ISSUER &kyok_kmip_certificate_issuer_shape
#define KYOK_KMIP_SHAPE_DIGEST &kyok_kmip_digest_shape
#define KYOK_KMIP_SHAPE_USAGE_LIMITS &kyok_kmip_usage_limits_shape
#define KYOK_KMIP_SHAPE_REVOCATION_REASON &kyok_kmip_revocation_reason_shape
#define KYOK_KMIP_SHAPE_LINK &kyok_kmip_link_shape
#define KYOK_KMIP_SHAPE_APPLICATION &kyok_kmip_application_shape
#define KYOK_KMIP_SHAPE_ALTERNATIVE_NAME &kyok_kmip_alternative_name_shape
#define KYOK_KMIP_SHAPE_KEY_VALUE_LOCATION &kyok_kmip_key_value_location_shape
#define KYOK_KMIP_SHAPE_RNG_PARAMETERS &kyok_kmip_rng_parameters_shape

const struct kyok_kmip_attribute_type kyok_kmip_attribute_types[KYOK_KMIP_ATTRIBUTES] = {
    KYOK_KMIP_ATTRIBUTE_LIST(TYPE_)};

const char *kyok_kmip_attribute_text(enum kyok_kmip_attribute_id id)
{
    return id != KYOK_KMIP_ATTRIBUTE_OTHER ? kyok_kmip_attribute_types[id].name : "";
}

uint32_t kyok_kmip_attribute_tag(enum kyok_kmip_attribute_id id)
{
    return kyok_kmip_attribute_types[id].tag;
}

static enum kyok_kmip_attribute_id id_by_name(struct kyok_bytes text)
{
    for (unsigned id = 1; id < KYOK_KMIP_ATTRIBUTES; id++) {
        const struct kyok_kmip_attribute_type *type = &kyok_kmip_attribute_types[id];
        if (type->name_size == text.size && memcmp(type->name, text.data, text.size) == 0)
            return (enum kyok_kmip_attribute_id)id;
    }
    return KYOK_KMIP_ATTRIBUTE_OTHER;
}

/* 3.39 Custom Attribute: the prefixes that clients and servers give to names of their own. */
static bool is_custom(struct kyok_bytes text)
{
    return text.size >= 2 && (text.data[0] == 'x' || text.data[0] == 'y') && text.data[1] == '-';
}

struct kyok_kmip_attribute_name kyok_kmip_attribute_name(struct kyok_bytes text)
{
    struct kyok_kmip_attribute_name name = {.id = id_by_name(text)};

    if (name.id != KYOK_KMIP_ATTRIBUTE_OTHER)
        return name;
    name.name = text;
    if (is_custom(text)) {
        name.vendor = kyok_bytes(text.data, 1);
        name.name = kyok_bytes(text.data + 2, text.size - 2);
    }
    return name;
}

struct kyok_kmip_attribute_name kyok_kmip_attribute_named(enum kyok_kmip_attribute_id id)
{
    return (struct kyok_kmip_attribute_name){.id = id};
}

struct kyok_kmip_attribute_name kyok_kmip_attribute_by_tag(uint32_t tag)
{
    for (unsigned id = 1; id < KYOK_KMIP_ATTRIBUTES; id++)
        if (kyok_kmip_attribute_types[id].tag == tag)
            return kyok_kmip_attribute_named((enum kyok_kmip_attribute_id)id);
    return (struct kyok_kmip_attribute_name){.tag = tag};
}

bool kyok_kmip_attribute_name_equal(const struct kyok_kmip_attribute_name *a,
                                    const struct kyok_kmip_attribute_name *b)
{
    return a->id == b->id && a->tag == b->tag && kyok_bytes_equal(a->vendor, b->vendor) &&
           kyok_bytes_equal(a->name, b->name);
}

static struct kyok_kmip_attribute make(enum kyok_kmip_attribute_id id)
{
    return (struct kyok_kmip_attribute){.name = {.id = id},
                                        .type = kyok_kmip_attribute_types[id].type};
}

struct kyok_kmip_attribute kyok_kmip_attribute_integer(enum kyok_kmip_attribute_id id,
                                                       int32_t value)
{
    struct kyok_kmip_attribute attribute = make(id);
    attribute.value.integer = value;
    return attribute;
}

struct kyok_kmip_attribute kyok_kmip_attribute_enumeration(enum kyok_kmip_attribute_id id,
                                                           uint32_t value)
{
    struct kyok_kmip_attribute attribute = make(id);
    attribute.value.enumeration = value;
    return attribute;
}

struct kyok_kmip_attribute kyok_kmip_attribute_boolean(enum kyok_kmip_attribute_id id, bool value)
{
    struct kyok_kmip_attribute attribute = make(id);
    attribute.value.boolean = value;
    return attribute;
}

struct kyok_kmip_attribute kyok_kmip_attribute_date_time(enum kyok_kmip_attribute_id id,
                                                         int64_t seconds)
{
    struct kyok_kmip_attribute attribute = make(id);
    attribute.value.date_time = seconds;
    return attribute;
}

struct kyok_kmip_attribute kyok_kmip_attribute_of_text(enum kyok_kmip_attribute_id id,
                                                       struct kyok_bytes value)
{
    struct kyok_kmip_attribute attribute = make(id);
    attribute.value.bytes = value;
    return attribute;
}

struct kyok_kmip_attribute kyok_kmip_attribute_structure(enum kyok_kmip_attribute_id id,
                                                         const void *structure)
{
    struct kyok_kmip_attribute attribute = make(id);
    attribute.value.structure = structure;
    return attribute;
}

struct kyok_kmip_attribute kyok_kmip_attribute_custom(struct kyok_bytes name,
                                                      struct kyok_bytes value)
{
    return (struct kyok_kmip_attribute){.name = kyok_kmip_attribute_name(name),
                                        .type = KYOK_TTLV_TEXT_STRING,
                                        .value.bytes = value};
}

const struct kyok_kmip_attribute *
kyok_kmip_attribute_find(const struct kyok_kmip_attribute *items, size_t count,
                         const struct kyok_kmip_attribute_name *name)
{
    for (size_t i = 0; i < count; i++)
        if (kyok_kmip_attribute_name_equal(&items[i].name, name))
            return &items[i];
    return NULL;
}

const struct kyok_kmip_attribute *
kyok_kmip_attribute_find_id(const struct kyok_kmip_attribute *items, size_t count,
                            enum kyok_kmip_attribute_id id)
{
    struct kyok_kmip_attribute_name name = kyok_kmip_attribute_named(id);
    return kyok_kmip_attribute_find(items, count, &name);
}
