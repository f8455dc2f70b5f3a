/* SPDX-License-Identifier: Apache-2.0 */
/* The scripted KMIP server's objects and their attributes. */
#include "tests/support/kmip_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void server_text(char to[SERVER_TEXT], struct kyok_bytes from)
{
    size_t size = from.size < SERVER_TEXT - 1 ? from.size : SERVER_TEXT - 1;

    memcpy(to, from.size == 0 ? "" : (const char *)from.data, size);
    to[size] = '\0';
}

static bool text_is(const char *text, struct kyok_bytes bytes)
{
    return kyok_bytes_equal(kyok_bytes_of_text(text), bytes);
}

struct server_object *server_find(struct server *server, struct kyok_bytes id)
{
    for (size_t i = 0; i < server->object_count; i++)
        if (text_is(server->objects[i]->id, id))
            return server->objects[i];
    return NULL;
}

struct server_object *server_add(struct server *server, const char *id, const char *owner)
{
    struct server_object *object;

    if (server->object_count == SERVER_OBJECTS)
        return NULL;
    object = calloc(1, sizeof *object);
    if (object == NULL)
        abort();
    if (id[0] != '\0')
        snprintf(object->id, sizeof object->id, "%s", id);
    else
        snprintf(object->id, sizeof object->id, "%08x-kyok-test", ++server->next_id);
    snprintf(object->owner, sizeof object->owner, "%s", owner);
    object->state = KYOK_KMIP_STATE_PRE_ACTIVE;
    object->show_link = true;
    server->objects[server->object_count++] = object;
    return object;
}

void server_settle(struct server *server)
{
    int64_t now = time(NULL) + server->clock;

    for (size_t i = 0; i < server->object_count; i++) {
        struct server_object *object = server->objects[i];

        if (object->state == KYOK_KMIP_STATE_PRE_ACTIVE && object->activation != 0 &&
            object->activation <= now)
            object->state = KYOK_KMIP_STATE_ACTIVE;
        if (object->state == KYOK_KMIP_STATE_ACTIVE && object->deactivation != 0 &&
            object->deactivation <= now)
            object->state = KYOK_KMIP_STATE_DEACTIVATED;
    }
}

/* --- attributes ------------------------------------------------------------------------------ */

/* 3.39: a custom attribute may have several values. */
static bool set_custom(struct server_object *object, const struct kyok_kmip_attribute *attribute)
{
    size_t at = object->customs;

    if (at == SERVER_CUSTOM || attribute->type != KYOK_TTLV_TEXT_STRING)
        return false;
    object->customs++;
    server_text(object->custom_name[at], attribute->name.name);
    server_text(object->custom_value[at], attribute->value.bytes);
    return true;
}

bool server_set_attribute(struct server_object *object, const struct kyok_kmip_attribute *attribute)
{
    switch (attribute->name.id) {
    case KYOK_KMIP_ATTRIBUTE_NAME:
        server_text(object->name, attribute->value.name->value);
        return true;
    case KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM:
        object->algorithm = attribute->value.enumeration;
        return true;
    case KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH:
        object->bits = (unsigned)attribute->value.integer;
        return true;
    case KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK:
        object->usage = (uint32_t)attribute->value.integer;
        return true;
    case KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_DOMAIN_PARAMETERS:
        object->curve = attribute->value.domain_parameters->recommended_curve;
        return true;
    case KYOK_KMIP_ATTRIBUTE_SENSITIVE:
        object->sensitive = kyok_kmip_boolean(attribute->value.boolean);
        return true;
    case KYOK_KMIP_ATTRIBUTE_EXTRACTABLE:
        object->extractable = kyok_kmip_boolean(attribute->value.boolean);
        return true;
    case KYOK_KMIP_ATTRIBUTE_ACTIVATION_DATE:
        object->activation = attribute->value.date_time;
        return true;
    case KYOK_KMIP_ATTRIBUTE_DEACTIVATION_DATE:
        object->deactivation = attribute->value.date_time;
        return true;
    case KYOK_KMIP_ATTRIBUTE_OTHER:
        return set_custom(object, attribute);
    default:
        return false;
    }
}

static bool custom_matches(const struct server_object *object,
                           const struct kyok_kmip_attribute *attribute)
{
    for (size_t i = 0; i < object->customs; i++)
        if (text_is(object->custom_name[i], attribute->name.name) &&
            text_is(object->custom_value[i], attribute->value.bytes))
            return true;
    return false;
}

bool server_matches(const struct server_object *object, const struct kyok_kmip_attribute *attribute)
{
    switch (attribute->name.id) {
    case KYOK_KMIP_ATTRIBUTE_NAME:
        return text_is(object->name, attribute->value.name->value);
    case KYOK_KMIP_ATTRIBUTE_OBJECT_TYPE:
        return object->type == (enum kyok_kmip_object_type)attribute->value.enumeration;
    case KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM:
        return object->algorithm ==
               (enum kyok_kmip_cryptographic_algorithm)attribute->value.enumeration;
    case KYOK_KMIP_ATTRIBUTE_STATE:
        return object->state == (enum kyok_kmip_state)attribute->value.enumeration;
    case KYOK_KMIP_ATTRIBUTE_OTHER:
        return custom_matches(object, attribute);
    default:
        return false;
    }
}

struct attribute_list {
    struct kyok_kmip_attribute items[20 + SERVER_CUSTOM];
    size_t count;
    struct kyok_kmip_name name;
    struct kyok_kmip_link link, replacement, replaced;
};

static void add(struct attribute_list *list, struct kyok_kmip_attribute attribute)
{
    list->items[list->count++] = attribute;
}

static void add_key_attributes(const struct server_object *object, struct attribute_list *list)
{
    if (object->algorithm != 0)
        add(list, kyok_kmip_attribute_enumeration(KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM,
                                                  object->algorithm));
    if (object->bits != 0)
        add(list, kyok_kmip_attribute_integer(KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH,
                                              (int32_t)object->bits));
    add(list, kyok_kmip_attribute_integer(KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK,
                                          (int32_t)object->usage));
    add(list, kyok_kmip_attribute_enumeration(KYOK_KMIP_ATTRIBUTE_STATE, object->state));
}

static void add_link(struct attribute_list *list, struct kyok_kmip_link *link,
                     enum kyok_kmip_link_type type, const char *identifier)
{
    if (identifier[0] == '\0')
        return;
    link->type = type;
    link->identifier = kyok_bytes_of_text(identifier);
    add(list, kyok_kmip_attribute_structure(KYOK_KMIP_ATTRIBUTE_LINK, link));
}

static void add_versions_and_dates(const struct server_object *object, struct attribute_list *list)
{
    add_link(list, &list->replacement, KYOK_KMIP_LINK_TYPE_REPLACEMENT_OBJECT_LINK,
             object->replacement);
    add_link(list, &list->replaced, KYOK_KMIP_LINK_TYPE_REPLACED_OBJECT_LINK, object->replaced);
    if (object->activation != 0)
        add(list,
            kyok_kmip_attribute_date_time(KYOK_KMIP_ATTRIBUTE_ACTIVATION_DATE, object->activation));
    if (object->deactivation != 0)
        add(list, kyok_kmip_attribute_date_time(KYOK_KMIP_ATTRIBUTE_DEACTIVATION_DATE,
                                                object->deactivation));
}

static void add_optional(const struct server_object *object, unsigned version,
                         struct attribute_list *list)
{
    if (object->name[0] != '\0') {
        list->name = (struct kyok_kmip_name){kyok_bytes_of_text(object->name),
                                             KYOK_KMIP_NAME_TYPE_UNINTERPRETED_TEXT_STRING};
        add(list, kyok_kmip_attribute_structure(KYOK_KMIP_ATTRIBUTE_NAME, &list->name));
    }
    if (object->link[0] != '\0' && object->show_link) {
        list->link.type = object->type == KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY
                              ? KYOK_KMIP_LINK_TYPE_PUBLIC_KEY_LINK
                              : KYOK_KMIP_LINK_TYPE_PRIVATE_KEY_LINK;
        list->link.identifier = kyok_bytes_of_text(object->link);
        add(list, kyok_kmip_attribute_structure(KYOK_KMIP_ATTRIBUTE_LINK, &list->link));
    }
    if (version >= KYOK_KMIP_1_4 && object->sensitive != KYOK_KMIP_UNSET)
        add(list, kyok_kmip_attribute_boolean(KYOK_KMIP_ATTRIBUTE_SENSITIVE,
                                              object->sensitive == KYOK_KMIP_TRUE));
    if (version >= KYOK_KMIP_1_4 && object->extractable != KYOK_KMIP_UNSET)
        add(list, kyok_kmip_attribute_boolean(KYOK_KMIP_ATTRIBUTE_EXTRACTABLE,
                                              object->extractable == KYOK_KMIP_TRUE));
}

static void add_customs(const struct server_object *object, struct kyok_kmip_arena *arena,
                        struct attribute_list *list)
{
    for (size_t i = 0; i < object->customs; i++) {
        char *name = kyok_kmip_arena_take(arena, SERVER_TEXT + 3, 1);
        snprintf(name, SERVER_TEXT + 3, "x-%s", object->custom_name[i]);
        add(list, kyok_kmip_attribute_custom(kyok_bytes_of_text(name),
                                             kyok_bytes_of_text(object->custom_value[i])));
    }
}

size_t server_attributes(const struct server_object *object, struct kyok_kmip_arena *arena,
                         unsigned version, const struct kyok_kmip_attribute **items)
{
    struct attribute_list *list = kyok_kmip_arena_take(arena, 1, sizeof *list);

    add(list, kyok_kmip_attribute_of_text(KYOK_KMIP_ATTRIBUTE_UNIQUE_IDENTIFIER,
                                          kyok_bytes_of_text(object->id)));
    add(list, kyok_kmip_attribute_enumeration(KYOK_KMIP_ATTRIBUTE_OBJECT_TYPE, object->type));
    add_key_attributes(object, list);
    add_optional(object, version, list);
    add_versions_and_dates(object, list);
    add_customs(object, arena, list);
    *items = list->items;
    return list->count;
}
