/* SPDX-License-Identifier: Apache-2.0 */
/* The scripted KMIP server's operations. */
#include "tests/support/kmip_server_work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void server_refuse(struct server_work *work, enum kyok_kmip_result_reason reason,
                   const char *message)
{
    work->answer->status = KYOK_KMIP_RESULT_STATUS_OPERATION_FAILED;
    work->answer->reason = reason;
    work->answer->message = kyok_bytes_of_text(message);
}

/* --- permissions ----------------------------------------------------------------------------- */

static bool denied(const struct server_work *work)
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

static bool may_see(const struct server_work *work, const struct server_object *object)
{
    return strcmp(object->owner, "*") == 0 || strcmp(object->owner, work->client) == 0;
}

struct server_object *server_object_for(struct server_work *work, struct kyok_bytes id)
{
    struct server_object *object = server_find(work->server, id);

    if (object == NULL)
        server_refuse(work, KYOK_KMIP_RESULT_REASON_ITEM_NOT_FOUND, "no such object");
    else if (!may_see(work, object))
        server_refuse(work, KYOK_KMIP_RESULT_REASON_PERMISSION_DENIED, "not yours");
    else
        return object;
    return NULL;
}

struct server_object *server_active_for(struct server_work *work, struct kyok_bytes id)
{
    struct server_object *object = server_object_for(work, id);

    if (object != NULL && object->state != KYOK_KMIP_STATE_ACTIVE) {
        server_refuse(work, KYOK_KMIP_RESULT_REASON_PERMISSION_DENIED, "the object is not active");
        return NULL;
    }
    return object;
}

struct kyok_bytes server_id_of(const struct server_object *object)
{
    return kyok_bytes_of_text(object->id);
}

/* --- server operations ----------------------------------------------------------------------- */

static void discover_versions(struct server_work *work)
{
    struct kyok_kmip_version *list =
        kyok_kmip_arena_take(work->arena, work->server->version_count, sizeof *list);

    for (size_t i = 0; i < work->server->version_count; i++)
        list[i] = kyok_kmip_version(work->server->versions[i]);
    work->answer->payload.versions.versions.items = list;
    work->answer->payload.versions.versions.count = work->server->version_count;
}

static void query(struct server_work *work)
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

/* --- looking at objects ---------------------------------------------------------------------- */

static bool all_match(const struct server_object *object, const kyok_kmip_attributes *wanted)
{
    for (size_t i = 0; i < wanted->count; i++)
        if (!server_matches(object, &wanted->items[i]))
            return false;
    return true;
}

static void locate(struct server_work *work)
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
            list[count++] = server_id_of(object);
    }
    work->answer->payload.locate.unique_identifiers.items = list;
    work->answer->payload.locate.unique_identifiers.count = count;
}

static void fill_key(struct server_work *work, const struct server_object *object,
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

static void get(struct server_work *work)
{
    const struct kyok_kmip_get_request *request = &work->item->payload.get;
    struct kyok_kmip_get_response *response = &work->answer->payload.get;
    struct server_object *object = server_object_for(work, request->unique_identifier);

    if (object == NULL)
        return;
    if (object->extractable == KYOK_KMIP_FALSE || object->sensitive == KYOK_KMIP_TRUE) {
        server_refuse(work, KYOK_KMIP_RESULT_REASON_SENSITIVE, "the key stays here");
        return;
    }
    response->object_type = response->object.type = object->type;
    response->unique_identifier = server_id_of(object);
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

static void get_attributes(struct server_work *work)
{
    const struct kyok_kmip_get_attributes_request *request = &work->item->payload.get_attributes;
    struct server_object *object = server_object_for(work, request->unique_identifier);
    const struct kyok_kmip_attribute *all;
    size_t count = 0;

    if (object == NULL)
        return;
    size_t total = server_attributes(object, work->arena, work->version, &all);
    struct kyok_kmip_attribute *list = kyok_kmip_arena_take(work->arena, total, sizeof *list);
    for (size_t i = 0; i < total; i++)
        if (wanted(request, &all[i]))
            list[count++] = all[i];
    work->answer->payload.get_attributes.unique_identifier = server_id_of(object);
    work->answer->payload.get_attributes.attributes.items = list;
    work->answer->payload.get_attributes.attributes.count = count;
}

static void add_attribute(struct server_work *work)
{
    const struct kyok_kmip_attribute_request *request = &work->item->payload.attribute;
    struct server_object *object = server_object_for(work, request->unique_identifier);

    if (object == NULL)
        return;
    if (!server_set_attribute(object, request->attribute)) {
        server_refuse(work, KYOK_KMIP_RESULT_REASON_INVALID_FIELD, "no such attribute");
        return;
    }
    work->answer->payload.attribute.unique_identifier = server_id_of(object);
    if (work->version < KYOK_KMIP_2_0)
        work->answer->payload.attribute.attribute = request->attribute;
}

/* --- life ------------------------------------------------------------------------------------ */

static void activate(struct server_work *work)
{
    struct server_object *object =
        server_object_for(work, work->item->payload.identifier.unique_identifier);

    if (object == NULL)
        return;
    if (object->state != KYOK_KMIP_STATE_PRE_ACTIVE) {
        server_refuse(work, KYOK_KMIP_RESULT_REASON_PERMISSION_DENIED, "not pre-active");
        return;
    }
    object->state = KYOK_KMIP_STATE_ACTIVE;
    work->answer->payload.identifier.unique_identifier = server_id_of(object);
}

static void revoke(struct server_work *work)
{
    const struct kyok_kmip_revoke_request *request = &work->item->payload.revoke;
    struct server_object *object = server_object_for(work, request->unique_identifier);

    if (object == NULL)
        return;
    if (request->reason.code == KYOK_KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE)
        object->state = KYOK_KMIP_STATE_COMPROMISED;
    else if (object->state == KYOK_KMIP_STATE_ACTIVE)
        object->state = KYOK_KMIP_STATE_DEACTIVATED;
    else
        server_refuse(work, KYOK_KMIP_RESULT_REASON_ILLEGAL_OPERATION, "not active");
    work->answer->payload.identifier.unique_identifier = server_id_of(object);
}

static void destroy(struct server_work *work)
{
    struct server_object *object =
        server_object_for(work, work->item->payload.identifier.unique_identifier);
    size_t at = 0;

    if (object == NULL)
        return;
    if (object->state == KYOK_KMIP_STATE_ACTIVE) {
        server_refuse(work, KYOK_KMIP_RESULT_REASON_PERMISSION_DENIED, "revoke it first");
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

static void sign(struct server_work *work)
{
    const struct kyok_kmip_sign_request *request = &work->item->payload.sign;

    if (request->digested_data.size != 0 && work->server->profile == PROFILE_NO_DIGEST) {
        server_refuse(work, KYOK_KMIP_RESULT_REASON_INVALID_MESSAGE,
                      "Error parsing request message");
        return;
    }
    struct server_object *object = server_active_for(work, request->unique_identifier);
    if (object == NULL)
        return;
    if (!server_sign(object, request, work->arena, &work->answer->payload.sign.signature)) {
        server_refuse(work, KYOK_KMIP_RESULT_REASON_CRYPTOGRAPHIC_FAILURE, "cannot sign that");
        return;
    }
    work->answer->payload.sign.unique_identifier = server_id_of(object);
}

static void cipher(struct server_work *work)
{
    const struct kyok_kmip_cipher_request *request = &work->item->payload.cipher;
    struct server_object *object = server_active_for(work, request->unique_identifier);
    struct kyok_kmip_cipher_response *response = &work->answer->payload.cipher;

    if (object == NULL)
        return;
    bool done = work->item->operation == KYOK_KMIP_OPERATION_ENCRYPT
                    ? server_encrypt(object, request, work->arena, response)
                    : server_decrypt(object, request, work->arena, response);
    if (!done) {
        server_refuse(work, KYOK_KMIP_RESULT_REASON_CRYPTOGRAPHIC_FAILURE, "cannot do that");
        return;
    }
    response->unique_identifier = server_id_of(object);
}

/* --- the table ------------------------------------------------------------------------------- */

static const struct {
    enum kyok_kmip_operation operation;
    const char *name;
    bool smallest; /* among the nine */
    void (*answer)(struct server_work *work);
} operations[] = {
    {KYOK_KMIP_OPERATION_DISCOVER_VERSIONS, "DiscoverVersions", true, discover_versions},
    {KYOK_KMIP_OPERATION_CREATE, "Create", true, server_create},
    {KYOK_KMIP_OPERATION_LOCATE, "Locate", true, locate},
    {KYOK_KMIP_OPERATION_GET, "Get", true, get},
    {KYOK_KMIP_OPERATION_GET_ATTRIBUTES, "GetAttributes", true, get_attributes},
    {KYOK_KMIP_OPERATION_ADD_ATTRIBUTE, "AddAttribute", true, add_attribute},
    {KYOK_KMIP_OPERATION_ACTIVATE, "Activate", true, activate},
    {KYOK_KMIP_OPERATION_REVOKE, "Revoke", true, revoke},
    {KYOK_KMIP_OPERATION_DESTROY, "Destroy", true, destroy},
    {KYOK_KMIP_OPERATION_QUERY, "Query", false, query},
    {KYOK_KMIP_OPERATION_CREATE_KEY_PAIR, "CreateKeyPair", false, server_create_key_pair},
    {KYOK_KMIP_OPERATION_REGISTER, "Register", false, server_register},
    {KYOK_KMIP_OPERATION_DERIVE_KEY, "DeriveKey", false, server_derive_key},
    {KYOK_KMIP_OPERATION_RE_KEY, "ReKey", false, server_re_key},
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

static void answer_item(struct server_work *work)
{
    work->answer->operation = work->item->operation;
    work->answer->batch_id = work->item->batch_id;
    if (denied(work)) {
        server_refuse(work, KYOK_KMIP_RESULT_REASON_PERMISSION_DENIED, "denied by the script");
        return;
    }
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        if (operations[i].operation == work->item->operation &&
            (operations[i].smallest || work->server->profile != PROFILE_NINE)) {
            operations[i].answer(work);
            work->answer->has_payload = work->answer->status == KYOK_KMIP_RESULT_STATUS_SUCCESS;
            return;
        }
    server_refuse(work, KYOK_KMIP_RESULT_REASON_OPERATION_NOT_SUPPORTED, "not offered");
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
        struct server_work work = {server,   client, version, arena, &request->items.items[i],
                                   &items[i]};
        answer_item(&work);
    }
}
