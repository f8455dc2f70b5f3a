/* SPDX-License-Identifier: Apache-2.0 */
/* The scripted KMIP server's operations that make objects. */
#include "tests/support/kmip_server_work.h"

#include <string.h>

static void set_attributes(struct server_object *object, const struct kyok_kmip_template *template)
{
    for (size_t i = 0; template != NULL && i < template->attributes.count; i++)
        server_set_attribute(object, &template->attributes.items[i]);
}

void server_create(struct server_work *work)
{
    const struct kyok_kmip_create_request *request = &work->item->payload.create;
    struct server_object *object = server_add(work->server, "", work->client);

    if (object == NULL || request->object_type != KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY) {
        server_refuse(work, KYOK_KMIP_RESULT_REASON_INVALID_FIELD, "symmetric keys only");
        return;
    }
    object->type = request->object_type;
    set_attributes(object, &request->attributes);
    if (!server_make_secret(object, object->bits)) {
        server_refuse(work, KYOK_KMIP_RESULT_REASON_INVALID_FIELD, "no such length");
        return;
    }
    work->answer->payload.create.object_type = object->type;
    work->answer->payload.create.unique_identifier = server_id_of(object);
}

/* 4.4: the replacement takes the name over, and both are linked. */
void server_re_key(struct server_work *work)
{
    struct server_object *old =
        server_object_for(work, work->item->payload.re_key.unique_identifier);
    struct server_object *object;

    if (old == NULL)
        return;
    object = server_add(work->server, "", old->owner);
    if (object == NULL || old->type != KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY ||
        old->replacement[0] != '\0') {
        server_refuse(work, KYOK_KMIP_RESULT_REASON_INVALID_FIELD, "cannot be re-keyed");
        return;
    }
    object->type = old->type;
    object->algorithm = old->algorithm;
    object->usage = old->usage;
    object->bits = old->bits;
    memcpy(object->name, old->name, sizeof object->name);
    old->name[0] = '\0';
    memcpy(object->replaced, old->id, sizeof object->replaced);
    memcpy(old->replacement, object->id, sizeof old->replacement);
    server_make_secret(object, object->bits);
    work->answer->payload.identifier.unique_identifier = server_id_of(object);
}

void server_create_key_pair(struct server_work *work)
{
    const struct kyok_kmip_create_key_pair_request *request = &work->item->payload.create_key_pair;
    struct server_object *private_key = server_add(work->server, "", work->client);
    struct server_object *public_key = server_add(work->server, "", work->client);

    if (private_key == NULL || public_key == NULL) {
        server_refuse(work, KYOK_KMIP_RESULT_REASON_GENERAL_FAILURE, "full");
        return;
    }
    set_attributes(private_key, request->common);
    set_attributes(private_key, request->private_key);
    set_attributes(public_key, request->common);
    set_attributes(public_key, request->public_key);
    if (!server_make_pair(private_key, public_key, private_key->algorithm, private_key->bits,
                          private_key->curve)) {
        server_refuse(work, KYOK_KMIP_RESULT_REASON_INVALID_FIELD, "no such key pair");
        return;
    }
    work->answer->payload.create_key_pair.private_key = server_id_of(private_key);
    work->answer->payload.create_key_pair.public_key = server_id_of(public_key);
}

void server_derive_key(struct server_work *work)
{
    const struct kyok_kmip_derive_key_request *request = &work->item->payload.derive_key;
    struct server_object *base = server_active_for(work, request->unique_identifiers.items[0]);

    if (base == NULL)
        return;
    struct server_object *object = server_add(work->server, "", work->client);
    if (object == NULL) {
        server_refuse(work, KYOK_KMIP_RESULT_REASON_GENERAL_FAILURE, "full");
        return;
    }
    object->type = request->object_type;
    set_attributes(object, &request->attributes);
    if (!server_derive(base, request, object)) {
        server_refuse(work, KYOK_KMIP_RESULT_REASON_INVALID_FIELD, "cannot derive that");
        return;
    }
    work->answer->payload.identifier.unique_identifier = server_id_of(object);
}

static struct kyok_bytes content_of(const struct kyok_kmip_object *object)
{
    return object->value.size != 0 ? object->value : object->key.value.material;
}

void server_register(struct server_work *work)
{
    const struct kyok_kmip_register_request *request = &work->item->payload.register_object;
    struct kyok_bytes content = content_of(&request->object);
    struct server_object *object = server_add(work->server, "", work->client);

    if (object == NULL || content.size == 0) {
        server_refuse(work, KYOK_KMIP_RESULT_REASON_INVALID_FIELD, "nothing to register");
        return;
    }
    object->type = request->object_type;
    object->algorithm = request->object.key.algorithm;
    object->bits = (unsigned)request->object.key.length.value;
    set_attributes(object, &request->attributes);
    kyok_buffer_append(&object->raw, content.data, content.size);
    work->answer->payload.identifier.unique_identifier = server_id_of(object);
}
