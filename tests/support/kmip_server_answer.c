/* SPDX-License-Identifier: Apache-2.0 */
/* The scripted KMIP server's operations. */
#include "tests/support/kmip_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One item being answered. */
struct work {
    struct server *server;
    const char *client;
    unsigned version;
    struct kyok_kmip_arena *arena;
    const struct kyok_kmip_request_item *item;
    struct kyok_kmip_response_item *answer;
};

static void refuse(struct work *work, enum kyok_kmip_result_reason reason, const char *message)
{
    work->answer->status = KYOK_KMIP_RESULT_STATUS_OPERATION_FAILED;
    work->answer->reason = reason;
    work->answer->message = kyok_bytes_of_text(message);
}

/* --- permissions ----------------------------------------------------------------------------- */

static bool denied(const struct work *work)
{
    const char *operation = server_operation_name(work->item->operation);

    for (size_t i = 0; i < work->server->denial_count; i++) {
        const struct server_denial *denial = &work->server->denials[i];
        if (strcmp(denial->client, work->client) == 0 &&
            (strcmp(denial->operation, operation) == 0 || strcmp(denial->operation, "any") == 0))
            return true;
    }
    return false;
}

static bool may_see(const struct work *work, const struct server_object *object)
{
    return strcmp(object->owner, "*") == 0 || strcmp(object->owner, work->client) == 0;
}

/* The object, or NULL with the answer filled. */
static struct server_object *object_for(struct work *work, struct kyok_bytes id)
{
    struct server_object *object = server_find(work->server, id);

    if (object == NULL)
        refuse(work, KYOK_KMIP_RESULT_REASON_ITEM_NOT_FOUND, "no such object");
    else if (!may_see(work, object))
        refuse(work, KYOK_KMIP_RESULT_REASON_PERMISSION_DENIED, "not yours");
    else
        return object;
    return NULL;
}

static struct server_object *active_for(struct work *work, struct kyok_bytes id)
{
    struct server_object *object = object_for(work, id);

    if (object != NULL && object->state != KYOK_KMIP_STATE_ACTIVE) {
        refuse(work, KYOK_KMIP_RESULT_REASON_PERMISSION_DENIED, "the object is not active");
        return NULL;
    }
    return object;
}

static struct kyok_bytes id_of(const struct server_object *object)
{
    return kyok_bytes_of_text(object->id);
}

/* --- server operations ----------------------------------------------------------------------- */

static void discover_versions(struct work *work)
{
    struct kyok_kmip_version *list =
        kyok_kmip_arena_take(work->arena, work->server->version_count, sizeof *list);

    for (size_t i = 0; i < work->server->version_count; i++)
        list[i] = kyok_kmip_version(work->server->versions[i]);
    work->answer->payload.versions.versions.items = list;
    work->answer->payload.versions.versions.count = work->server->version_count;
}

static void query(struct work *work)
{
    static const enum kyok_kmip_operation operations[] = {
        KYOK_KMIP_OPERATION_CREATE,   KYOK_KMIP_OPERATION_CREATE_KEY_PAIR,
        KYOK_KMIP_OPERATION_REGISTER, KYOK_KMIP_OPERATION_LOCATE,
        KYOK_KMIP_OPERATION_GET,      KYOK_KMIP_OPERATION_GET_ATTRIBUTES,
        KYOK_KMIP_OPERATION_ACTIVATE, KYOK_KMIP_OPERATION_REVOKE,
        KYOK_KMIP_OPERATION_DESTROY,  KYOK_KMIP_OPERATION_ENCRYPT,
        KYOK_KMIP_OPERATION_DECRYPT,  KYOK_KMIP_OPERATION_SIGN};

    work->answer->payload.query.operations.items = operations;
    work->answer->payload.query.operations.count = sizeof operations / sizeof *operations;
    work->answer->payload.query.vendor_identification =
        kyok_bytes_of_text("kyok scripted test server");
}

/* --- making objects -------------------------------------------------------------------------- */

static void set_attributes(struct server_object *object, const struct kyok_kmip_template *template)
{
    for (size_t i = 0; template != NULL && i < template->attributes.count; i++)
        server_set_attribute(object, &template->attributes.items[i]);
}

static void create(struct work *work)
{
    const struct kyok_kmip_create_request *request = &work->item->payload.create;
    struct server_object *object = server_add(work->server, "", work->client);

    if (object == NULL || request->object_type != KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY) {
        refuse(work, KYOK_KMIP_RESULT_REASON_INVALID_FIELD, "symmetric keys only");
        return;
    }
    object->type = request->object_type;
    set_attributes(object, &request->attributes);
    if (!server_make_secret(object, object->bits)) {
        refuse(work, KYOK_KMIP_RESULT_REASON_INVALID_FIELD, "no such length");
        return;
    }
    work->answer->payload.create.object_type = object->type;
    work->answer->payload.create.unique_identifier = id_of(object);
}

/* 4.4: the replacement takes the name over, and both are linked. */
static void re_key(struct work *work)
{
    struct server_object *old = object_for(work, work->item->payload.re_key.unique_identifier);
    struct server_object *object;

    if (old == NULL)
        return;
    object = server_add(work->server, "", old->owner);
    if (object == NULL || old->type != KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY ||
        old->replacement[0] != '\0') {
        refuse(work, KYOK_KMIP_RESULT_REASON_INVALID_FIELD, "cannot be re-keyed");
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
    work->answer->payload.identifier.unique_identifier = id_of(object);
}

static void create_key_pair(struct work *work)
{
    const struct kyok_kmip_create_key_pair_request *request = &work->item->payload.create_key_pair;
    struct server_object *private_key = server_add(work->server, "", work->client);
    struct server_object *public_key = server_add(work->server, "", work->client);

    if (private_key == NULL || public_key == NULL) {
        refuse(work, KYOK_KMIP_RESULT_REASON_GENERAL_FAILURE, "full");
        return;
    }
    set_attributes(private_key, request->common);
    set_attributes(private_key, request->private_key);
    set_attributes(public_key, request->common);
    set_attributes(public_key, request->public_key);
    if (!server_make_pair(private_key, public_key, private_key->algorithm, private_key->bits,
                          private_key->curve)) {
        refuse(work, KYOK_KMIP_RESULT_REASON_INVALID_FIELD, "no such key pair");
        return;
    }
    work->answer->payload.create_key_pair.private_key = id_of(private_key);
    work->answer->payload.create_key_pair.public_key = id_of(public_key);
}

static void derive_key(struct work *work)
{
    const struct kyok_kmip_derive_key_request *request = &work->item->payload.derive_key;
    struct server_object *base = active_for(work, request->unique_identifiers.items[0]);

    if (base == NULL)
        return;
    struct server_object *object = server_add(work->server, "", work->client);
    if (object == NULL) {
        refuse(work, KYOK_KMIP_RESULT_REASON_GENERAL_FAILURE, "full");
        return;
    }
    object->type = request->object_type;
    set_attributes(object, &request->attributes);
    if (!server_derive(base, request, object)) {
        refuse(work, KYOK_KMIP_RESULT_REASON_INVALID_FIELD, "cannot derive that");
        return;
    }
    work->answer->payload.identifier.unique_identifier = id_of(object);
}

static struct kyok_bytes content_of(const struct kyok_kmip_object *object)
{
    return object->value.size != 0 ? object->value : object->key.value.material;
}

static void register_object(struct work *work)
{
    const struct kyok_kmip_register_request *request = &work->item->payload.register_object;
    struct kyok_bytes content = content_of(&request->object);
    struct server_object *object = server_add(work->server, "", work->client);

    if (object == NULL || content.size == 0) {
        refuse(work, KYOK_KMIP_RESULT_REASON_INVALID_FIELD, "nothing to register");
        return;
    }
    object->type = request->object_type;
    object->algorithm = request->object.key.algorithm;
    object->bits = (unsigned)request->object.key.length.value;
    set_attributes(object, &request->attributes);
    kyok_buffer_append(&object->raw, content.data, content.size);
    work->answer->payload.identifier.unique_identifier = id_of(object);
}

/* --- looking at objects ---------------------------------------------------------------------- */

static bool all_match(const struct server_object *object, const kyok_kmip_attributes *wanted)
{
    for (size_t i = 0; i < wanted->count; i++)
        if (!server_matches(object, &wanted->items[i]))
            return false;
    return true;
}

static void locate(struct work *work)
{
    const struct kyok_kmip_locate_request *request = &work->item->payload.locate;
    size_t offset = request->offset_items.set ? (size_t)request->offset_items.value : 0;
    size_t most =
        request->maximum_items.set ? (size_t)request->maximum_items.value : SERVER_OBJECTS;
    size_t count = 0, seen = 0;
    struct kyok_bytes *list =
        kyok_kmip_arena_take(work->arena, work->server->object_count + 1, sizeof *list);

    for (size_t i = 0; i < work->server->object_count && count < most; i++) {
        const struct server_object *object = work->server->objects[i];
        if (may_see(work, object) && all_match(object, &request->attributes) && seen++ >= offset)
            list[count++] = id_of(object);
    }
    work->answer->payload.locate.unique_identifiers.items = list;
    work->answer->payload.locate.unique_identifiers.count = count;
}

static void fill_key(struct work *work, const struct server_object *object,
                     struct kyok_kmip_key_block *key)
{
    key->algorithm = object->algorithm;
    key->length = kyok_kmip_integer((int32_t)object->bits);
    key->has_value = true;
    key->format = KYOK_KMIP_KEY_FORMAT_TYPE_RAW;
    if (object->type == KYOK_KMIP_OBJECT_TYPE_PUBLIC_KEY) {
        key->format = KYOK_KMIP_KEY_FORMAT_TYPE_X_509;
        key->value.material = server_public_der(object, work->arena);
    } else if (object->type == KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY) {
        key->format = KYOK_KMIP_KEY_FORMAT_TYPE_PKCS_8;
        key->value.material = server_private_der(object, work->arena);
    } else {
        key->value.material = kyok_buffer_bytes(&object->raw);
    }
}

static void get(struct work *work)
{
    const struct kyok_kmip_get_request *request = &work->item->payload.get;
    struct kyok_kmip_get_response *response = &work->answer->payload.get;
    struct server_object *object = object_for(work, request->unique_identifier);

    if (object == NULL)
        return;
    if (object->extractable == KYOK_KMIP_FALSE || object->sensitive == KYOK_KMIP_TRUE) {
        refuse(work, KYOK_KMIP_RESULT_REASON_SENSITIVE, "the key stays here");
        return;
    }
    response->object_type = response->object.type = object->type;
    response->unique_identifier = id_of(object);
    if (object->type == KYOK_KMIP_OBJECT_TYPE_CERTIFICATE) {
        response->object.certificate_type = KYOK_KMIP_CERTIFICATE_TYPE_X_509;
        response->object.value = kyok_buffer_bytes(&object->raw);
    } else if (object->type == KYOK_KMIP_OBJECT_TYPE_OPAQUE_OBJECT) {
        response->object.opaque_data_type = 0x80000001;
        response->object.value = kyok_buffer_bytes(&object->raw);
    } else {
        response->object.secret_data_type =
            object->type == KYOK_KMIP_OBJECT_TYPE_SECRET_DATA ? KYOK_KMIP_SECRET_DATA_TYPE_SEED : 0;
        fill_key(work, object, &response->object.key);
    }
}

static bool wanted(const struct kyok_kmip_get_attributes_request *request,
                   const struct kyok_kmip_attribute *attribute)
{
    for (size_t i = 0; i < request->names.count; i++)
        if (kyok_kmip_attribute_name_equal(&request->names.items[i], &attribute->name))
            return true;
    return request->names.count == 0;
}

static void get_attributes(struct work *work)
{
    const struct kyok_kmip_get_attributes_request *request = &work->item->payload.get_attributes;
    struct server_object *object = object_for(work, request->unique_identifier);
    const struct kyok_kmip_attribute *all;
    size_t count = 0;

    if (object == NULL)
        return;
    size_t total = server_attributes(object, work->arena, work->version, &all);
    struct kyok_kmip_attribute *list = kyok_kmip_arena_take(work->arena, total, sizeof *list);
    for (size_t i = 0; i < total; i++)
        if (wanted(request, &all[i]))
            list[count++] = all[i];
    work->answer->payload.get_attributes.unique_identifier = id_of(object);
    work->answer->payload.get_attributes.attributes.items = list;
    work->answer->payload.get_attributes.attributes.count = count;
}

static void add_attribute(struct work *work)
{
    const struct kyok_kmip_attribute_request *request = &work->item->payload.attribute;
    struct server_object *object = object_for(work, request->unique_identifier);

    if (object == NULL)
        return;
    if (!server_set_attribute(object, request->attribute)) {
        refuse(work, KYOK_KMIP_RESULT_REASON_INVALID_FIELD, "no such attribute");
        return;
    }
    work->answer->payload.attribute.unique_identifier = id_of(object);
    if (work->version < KYOK_KMIP_2_0)
        work->answer->payload.attribute.attribute = request->attribute;
}

/* --- life ------------------------------------------------------------------------------------ */

static void activate(struct work *work)
{
    struct server_object *object =
        object_for(work, work->item->payload.identifier.unique_identifier);

    if (object == NULL)
        return;
    if (object->state != KYOK_KMIP_STATE_PRE_ACTIVE) {
        refuse(work, KYOK_KMIP_RESULT_REASON_PERMISSION_DENIED, "not pre-active");
        return;
    }
    object->state = KYOK_KMIP_STATE_ACTIVE;
    work->answer->payload.identifier.unique_identifier = id_of(object);
}

static void revoke(struct work *work)
{
    const struct kyok_kmip_revoke_request *request = &work->item->payload.revoke;
    struct server_object *object = object_for(work, request->unique_identifier);

    if (object == NULL)
        return;
    if (request->reason.code == KYOK_KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE)
        object->state = KYOK_KMIP_STATE_COMPROMISED;
    else if (object->state == KYOK_KMIP_STATE_ACTIVE)
        object->state = KYOK_KMIP_STATE_DEACTIVATED;
    else
        refuse(work, KYOK_KMIP_RESULT_REASON_ILLEGAL_OPERATION, "not active");
    work->answer->payload.identifier.unique_identifier = id_of(object);
}

static void destroy(struct work *work)
{
    struct server_object *object =
        object_for(work, work->item->payload.identifier.unique_identifier);
    size_t at = 0;

    if (object == NULL)
        return;
    if (object->state == KYOK_KMIP_STATE_ACTIVE) {
        refuse(work, KYOK_KMIP_RESULT_REASON_PERMISSION_DENIED, "revoke it first");
        return;
    }
    while (work->server->objects[at] != object)
        at++;
    work->server->objects[at] = work->server->objects[--work->server->object_count];
    work->answer->payload.identifier.unique_identifier =
        work->item->payload.identifier.unique_identifier;
    EVP_PKEY_free(object->pair);
    kyok_buffer_free(&object->raw);
    free(object);
}

/* --- cryptography ---------------------------------------------------------------------------- */

static void sign(struct work *work)
{
    const struct kyok_kmip_sign_request *request = &work->item->payload.sign;

    if (request->digested_data.size != 0 && work->server->profile == PROFILE_NO_DIGEST) {
        refuse(work, KYOK_KMIP_RESULT_REASON_INVALID_MESSAGE, "Error parsing request message");
        return;
    }
    struct server_object *object = active_for(work, request->unique_identifier);
    if (object == NULL)
        return;
    if (!server_sign(object, request, work->arena, &work->answer->payload.sign.signature)) {
        refuse(work, KYOK_KMIP_RESULT_REASON_CRYPTOGRAPHIC_FAILURE, "cannot sign that");
        return;
    }
    work->answer->payload.sign.unique_identifier = id_of(object);
}

static void cipher(struct work *work)
{
    const struct kyok_kmip_cipher_request *request = &work->item->payload.cipher;
    struct server_object *object = active_for(work, request->unique_identifier);
    struct kyok_kmip_cipher_response *response = &work->answer->payload.cipher;

    if (object == NULL)
        return;
    bool done = work->item->operation == KYOK_KMIP_OPERATION_ENCRYPT
                    ? server_encrypt(object, request, work->arena, response)
                    : server_decrypt(object, request, work->arena, response);
    if (!done) {
        refuse(work, KYOK_KMIP_RESULT_REASON_CRYPTOGRAPHIC_FAILURE, "cannot do that");
        return;
    }
    response->unique_identifier = id_of(object);
}

/* --- the table ------------------------------------------------------------------------------- */

static const struct {
    enum kyok_kmip_operation operation;
    const char *name;
    bool smallest; /* among the nine */
    void (*answer)(struct work *work);
} operations[] = {
    {KYOK_KMIP_OPERATION_DISCOVER_VERSIONS, "DiscoverVersions", true, discover_versions},
    {KYOK_KMIP_OPERATION_CREATE, "Create", true, create},
    {KYOK_KMIP_OPERATION_LOCATE, "Locate", true, locate},
    {KYOK_KMIP_OPERATION_GET, "Get", true, get},
    {KYOK_KMIP_OPERATION_GET_ATTRIBUTES, "GetAttributes", true, get_attributes},
    {KYOK_KMIP_OPERATION_ADD_ATTRIBUTE, "AddAttribute", true, add_attribute},
    {KYOK_KMIP_OPERATION_ACTIVATE, "Activate", true, activate},
    {KYOK_KMIP_OPERATION_REVOKE, "Revoke", true, revoke},
    {KYOK_KMIP_OPERATION_DESTROY, "Destroy", true, destroy},
    {KYOK_KMIP_OPERATION_QUERY, "Query", false, query},
    {KYOK_KMIP_OPERATION_CREATE_KEY_PAIR, "CreateKeyPair", false, create_key_pair},
    {KYOK_KMIP_OPERATION_REGISTER, "Register", false, register_object},
    {KYOK_KMIP_OPERATION_DERIVE_KEY, "DeriveKey", false, derive_key},
    {KYOK_KMIP_OPERATION_RE_KEY, "ReKey", false, re_key},
    {KYOK_KMIP_OPERATION_MODIFY_ATTRIBUTE, "ModifyAttribute", false, add_attribute},
    {KYOK_KMIP_OPERATION_SIGN, "Sign", false, sign},
    {KYOK_KMIP_OPERATION_ENCRYPT, "Encrypt", false, cipher},
    {KYOK_KMIP_OPERATION_DECRYPT, "Decrypt", false, cipher},
};

const char *server_operation_name(enum kyok_kmip_operation operation)
{
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        if (operations[i].operation == operation)
            return operations[i].name;
    return "other";
}

static void answer_item(struct work *work)
{
    work->answer->operation = work->item->operation;
    work->answer->batch_id = work->item->batch_id;
    if (denied(work)) {
        refuse(work, KYOK_KMIP_RESULT_REASON_PERMISSION_DENIED, "denied by the script");
        return;
    }
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        if (operations[i].operation == work->item->operation &&
            (operations[i].smallest || work->server->profile != PROFILE_NINE)) {
            operations[i].answer(work);
            work->answer->has_payload = work->answer->status == KYOK_KMIP_RESULT_STATUS_SUCCESS;
            return;
        }
    refuse(work, KYOK_KMIP_RESULT_REASON_OPERATION_NOT_SUPPORTED, "not offered");
}

static bool speaks(const struct server *server, unsigned version)
{
    for (size_t i = 0; i < server->version_count; i++)
        if (server->versions[i] == version)
            return true;
    return false;
}

void server_answer(struct server *server, const char *client,
                   const struct kyok_kmip_request *request, struct kyok_kmip_arena *arena,
                   struct kyok_kmip_response *response)
{
    unsigned version = kyok_kmip_version_number(request->version);

    server_settle(server);
    struct kyok_kmip_response_item *items =
        kyok_kmip_arena_take(arena, request->items.count + 1, sizeof *items);

    memset(response, 0, sizeof *response);
    response->version = request->version;
    response->time_stamp = kyok_kmip_long(1700000000);
    response->items.items = items;
    response->items.count = request->items.count;
    if (!speaks(server, version)) { /* as PyKMIP: a 1.0 header, no operation, no batch id */
        response->version = kyok_kmip_version(KYOK_KMIP_1_0);
        response->items.count = 1;
        items[0].status = KYOK_KMIP_RESULT_STATUS_OPERATION_FAILED;
        items[0].reason = KYOK_KMIP_RESULT_REASON_INVALID_MESSAGE;
        items[0].message = kyok_bytes_of_text("unsupported protocol version");
        return;
    }
    for (size_t i = 0; i < request->items.count; i++) {
        struct work work = {server, client, version, arena, &request->items.items[i], &items[i]};
        answer_item(&work);
    }
}
