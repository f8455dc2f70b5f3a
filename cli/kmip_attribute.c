/* SPDX-License-Identifier: Apache-2.0 */
/* An attribute of a KMIP object as text, for people and JSON. */
#include "cli/kmip.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

static bool add_enum(struct kyok_buffer *value, uint32_t tag, uint32_t number)
{
    const char *name = kyok_kmip_enum_name(tag, number);

    if (name != NULL)
        return kyok_buffer_append_text(value, name);
    return kyok_buffer_printf(value, "0x%08" PRIX32, number);
}

static bool add_mask(struct kyok_buffer *value, uint32_t mask)
{
    bool done = true;

    for (uint32_t bit = 1; bit != 0; bit <<= 1) {
        const char *name = kyok_kmip_mask_name(KYOK_KMIP_TAG_CRYPTOGRAPHIC_USAGE_MASK, bit);
        if ((mask & bit) == 0)
            continue;
        done = done && kyok_buffer_append_text(value, value->size != 0 ? "," : "") &&
               (name != NULL ? kyok_buffer_append_text(value, name)
                             : kyok_buffer_printf(value, "0x%" PRIX32, bit));
    }
    return done;
}

static bool add_integer(struct kyok_buffer *value, const struct kyok_kmip_attribute *attribute)
{
    if (attribute->name.id == KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK)
        return add_mask(value, (uint32_t)attribute->value.integer);
    return kyok_buffer_printf(value, "%" PRId32, attribute->value.integer);
}

static bool add_date(struct kyok_buffer *value, int64_t seconds)
{
    time_t when = (time_t)seconds;
    struct tm parts;
    char text[40];

    if (gmtime_r(&when, &parts) == NULL ||
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        return kyok_buffer_printf(value, "%" PRId64, seconds);
    return kyok_buffer_append_text(value, text);
}

static bool add_hex(struct kyok_buffer *value, struct kyok_bytes bytes)
{
    bool done = true;

    for (size_t i = 0; i < bytes.size; i++)
        done = done && kyok_buffer_printf(value, "%02x", bytes.data[i]);
    return done;
}

static bool add_bytes(struct kyok_buffer *value, struct kyok_bytes bytes)
{
    return kyok_buffer_append(value, bytes.data, bytes.size);
}

static bool add_digest(struct kyok_buffer *value, const struct kyok_kmip_digest *digest)
{
    return add_enum(value, KYOK_KMIP_TAG_HASHING_ALGORITHM, digest->hashing_algorithm) &&
           kyok_buffer_append_text(value, " ") && add_hex(value, digest->value);
}

static bool add_link(struct kyok_buffer *value, const struct kyok_kmip_link *link)
{
    return add_enum(value, KYOK_KMIP_TAG_LINK_TYPE, link->type) &&
           kyok_buffer_append_text(value, " ") && add_bytes(value, link->identifier);
}

static bool add_structure(struct kyok_buffer *value, const struct kyok_kmip_attribute *attribute)
{
    if (attribute->raw)
        return kyok_buffer_printf(value, "structure of %zu bytes", attribute->value.bytes.size);
    switch (attribute->name.id) {
    case KYOK_KMIP_ATTRIBUTE_NAME:
        return add_bytes(value, attribute->value.name->value);
    case KYOK_KMIP_ATTRIBUTE_LINK:
        return add_link(value, attribute->value.link);
    case KYOK_KMIP_ATTRIBUTE_DIGEST:
        return add_digest(value, attribute->value.digest);
    case KYOK_KMIP_ATTRIBUTE_REVOCATION_REASON:
        return add_enum(value, KYOK_KMIP_TAG_REVOCATION_REASON_CODE,
                        attribute->value.revocation_reason->code);
    case KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_DOMAIN_PARAMETERS:
        return add_enum(value, KYOK_KMIP_TAG_RECOMMENDED_CURVE,
                        attribute->value.domain_parameters->recommended_curve);
    case KYOK_KMIP_ATTRIBUTE_APPLICATION_SPECIFIC_INFORMATION:
        return add_bytes(value, attribute->value.application->space) &&
               kyok_buffer_append_text(value, " ") &&
               add_bytes(value, attribute->value.application->data);
    default:
        return kyok_buffer_append_text(value, "structure");
    }
}

static bool add_value(struct kyok_buffer *value, const struct kyok_kmip_attribute *attribute)
{
    switch (attribute->type) {
    case KYOK_TTLV_INTEGER:
        return add_integer(value, attribute);
    case KYOK_TTLV_LONG_INTEGER:
        return kyok_buffer_printf(value, "%" PRId64, attribute->value.long_integer);
    case KYOK_TTLV_ENUMERATION:
        return add_enum(value, kyok_kmip_attribute_tag(attribute->name.id),
                        attribute->value.enumeration);
    case KYOK_TTLV_BOOLEAN:
        return kyok_buffer_append_text(value, attribute->value.boolean ? "true" : "false");
    case KYOK_TTLV_DATE_TIME:
        return add_date(value, attribute->value.date_time);
    case KYOK_TTLV_INTERVAL:
        return kyok_buffer_printf(value, "%" PRIu32 " s", attribute->value.interval);
    case KYOK_TTLV_TEXT_STRING:
        return add_bytes(value, attribute->value.bytes);
    case KYOK_TTLV_STRUCTURE:
        return add_structure(value, attribute);
    default:
        return add_hex(value, attribute->value.bytes);
    }
}

static bool add_name(struct kyok_buffer *name, const struct kyok_kmip_attribute_name *from)
{
    if (from->id != KYOK_KMIP_ATTRIBUTE_OTHER)
        return kyok_buffer_append_text(name, kyok_kmip_attribute_text(from->id));
    if (from->tag != 0)
        return kyok_buffer_printf(name, "0x%06" PRIX32, from->tag);
    if (from->vendor.size == 0)
        return add_bytes(name, from->name);
    return add_bytes(name, from->vendor) && kyok_buffer_append_text(name, "-") &&
           add_bytes(name, from->name);
}

enum kyok_status cli_kmip_attribute_text(const struct kyok_kmip_attribute *attribute,
                                         struct kyok_buffer *name, struct kyok_buffer *value,
                                         struct kyok_error *err)
{
    if (add_name(name, &attribute->name) && add_value(value, attribute) &&
        kyok_buffer_append(name, "", 1) && kyok_buffer_append(value, "", 1))
        return KYOK_OK;
    return kyok_fail(err, KYOK_SYSTEM, NULL, "memory is short");
}
