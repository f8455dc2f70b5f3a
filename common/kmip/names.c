/* SPDX-License-Identifier: Apache-2.0 */
/* Names of tags, enumeration values and mask bits, from the lists of tags.h and enums.h. */
#include "common/kmip/enums.h"
#include "common/kmip/tags.h"

#include <stdlib.h>
#include <string.h>

struct name {
    uint32_t value;
    const char *text;
};

#define NAME_(constant, value, text) {value, text},

static const struct name tag_names[] = {KYOK_KMIP_TAGS(NAME_)};

/* One table per enumeration, then the table of the tables. */
#define VALUES_(list, type, tag)                                                                   \
    static const struct name type##_names[] = {KYOK_KMIP_##list(NAME_)};
KYOK_KMIP_ENUMERATIONS(VALUES_)
KYOK_KMIP_MASKS(VALUES_)

struct enumeration {
    uint32_t tag;
    const struct name *names;
    size_t count;
};

#define TABLE_(list, type, tag)                                                                    \
    {KYOK_KMIP_TAG_##tag, type##_names, sizeof(type##_names) / sizeof(type##_names[0])},
static const struct enumeration enumerations[] = {
    KYOK_KMIP_ENUMERATIONS(TABLE_)
    /* 1.4, section 3.6: it holds a Hashing Algorithm under a tag of its own */
    TABLE_(, hashing_algorithm, MASK_GENERATOR_HASHING_ALGORITHM)};
static const struct enumeration masks[] = {KYOK_KMIP_MASKS(TABLE_)};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int by_value(const void *key, const void *name)
{
    uint32_t wanted = *(const uint32_t *)key, value = ((const struct name *)name)->value;
    return wanted < value ? -1 : wanted > value;
}

static const char *text_of(const struct name *names, size_t count, uint32_t value)
{
    if (count == 0)
        return NULL;
    const struct name *found = bsearch(&value, names, count, sizeof(*names), by_value);
    return found != NULL ? found->text : NULL;
}

static bool value_of(const struct name *names, size_t count, const char *text, uint32_t *value)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i].text, text) == 0)
            return *value = names[i].value, true;
    return *value = 0, false;
}

static const struct enumeration *table_of(const struct enumeration *tables, size_t count,
                                          uint32_t tag)
{
    static const struct enumeration none;
    for (size_t i = 0; i < count; i++)
        if (tables[i].tag == tag)
            return &tables[i];
    return &none;
}

const char *kyok_kmip_tag_name(uint32_t tag)
{
    return text_of(tag_names, COUNT(tag_names), tag);
}

uint32_t kyok_kmip_tag_by_name(const char *name)
{
    uint32_t tag;
    value_of(tag_names, COUNT(tag_names), name, &tag);
    return tag;
}

const char *kyok_kmip_enum_name(uint32_t tag, uint32_t value)
{
    const struct enumeration *table = table_of(enumerations, COUNT(enumerations), tag);
    return text_of(table->names, table->count, value);
}

bool kyok_kmip_enum_by_name(uint32_t tag, const char *name, uint32_t *value)
{
    const struct enumeration *table = table_of(enumerations, COUNT(enumerations), tag);
    if (strncmp(name, "0x", 2) != 0 || strlen(name) != 10)
        return value_of(table->names, table->count, name, value);
    char *end;
    *value = (uint32_t)strtoul(name + 2, &end, 16);
    return *end == '\0';
}

const char *kyok_kmip_mask_name(uint32_t tag, uint32_t bit)
{
    const struct enumeration *table = table_of(masks, COUNT(masks), tag);
    return text_of(table->names, table->count, bit);
}

bool kyok_kmip_mask_by_name(uint32_t tag, const char *name, uint32_t *bit)
{
    const struct enumeration *table = table_of(masks, COUNT(masks), tag);
    return value_of(table->names, table->count, name, bit);
}
