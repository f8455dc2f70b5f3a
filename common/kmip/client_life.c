/* SPDX-License-Identifier: Apache-2.0 */
/* Creating, activating, revoking, destroying: what must not happen twice, or must not be left in
 * doubt when an answer is lost. */
#include "common/kmip/client_call.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* --- names ----------------------------------------------------------------------------------- */

#define PUBLIC_SUFFIX ".pub"

static enum kyok_status choose_name(const struct kyok_kmip_creation *creation,
                                    struct kyok_kmip_created *created, struct kyok_error *err)
{
    uint8_t random[12];
    char digits[2 * sizeof random + 1];
    size_t room = sizeof created->name - sizeof PUBLIC_SUFFIX;

    if (creation->name == NULL) {
        if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
            return kyok_fail_errno(err, NULL, "no random name");
        kyok_hex_encode(kyok_bytes(random, sizeof random), digits);
        snprintf(created->name, sizeof created->name, "kyok-%s", digits);
        return KYOK_OK;
    }
    if (creation->name[0] == '\0' || strlen(creation->name) > room)
        return kyok_fail(err, KYOK_INVALID, creation->name, "a name has 1 to %zu bytes", room);
    memcpy(created->name, creation->name, strlen(creation->name) + 1);
    return KYOK_OK;
}

static enum kyok_status refuse_taken_name(struct kyok_kmip_client *client,
                                          const struct kyok_kmip_creation *creation,
                                          const struct kyok_kmip_created *created,
                                          struct kyok_deadline deadline, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer id = {0};
    enum kyok_status status = kyok_kmip_locate_name(client, kyok_bytes_of_text(created->name),
                                                    creation->object_type, deadline, &id, err);

    if (status == KYOK_NOT_FOUND)
        return KYOK_OK;
    if (status != KYOK_OK && status != KYOK_AMBIGUOUS)
        return status;
    kyok_fail(err, KYOK_REFUSED, kyok_kmip_client_config(client)->name,
              "an object named \"%s\" exists", created->name);
    return kyok_remedy(err, "choose another name, or use that object");
}

/* --- requests -------------------------------------------------------------------------------- */

/* What a request's views point into. */
struct creation_parts {
    struct kyok_kmip_name name, public_name;
    char public_text[sizeof((struct kyok_kmip_created *)0)->name + sizeof PUBLIC_SUFFIX];
    struct kyok_kmip_domain_parameters domain;
    struct kyok_kmip_attribute common[5], own[6], other[4];
    struct kyok_kmip_template common_template, own_template, other_template;
};

static bool is_pair(const struct kyok_kmip_creation *creation)
{
    return creation->object == NULL && creation->object_type == KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY;
}

static void add(struct kyok_kmip_template *template, struct kyok_kmip_attribute *array,
                struct kyok_kmip_attribute attribute)
{
    array[template->attributes.count++] = attribute;
    template->attributes.items = array;
}

static void fill_template(struct kyok_kmip_template *template, struct kyok_kmip_attribute *array,
                          const struct kyok_kmip_creation *creation)
{
    if (creation->algorithm != 0)
        add(template, array,
            kyok_kmip_attribute_enumeration(KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM,
                                            creation->algorithm));
    if (creation->bits != 0)
        add(template, array,
            kyok_kmip_attribute_integer(KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH,
                                        (int32_t)creation->bits));
    if (creation->activation != 0)
        add(template, array,
            kyok_kmip_attribute_date_time(KYOK_KMIP_ATTRIBUTE_ACTIVATION_DATE,
                                          creation->activation));
    if (creation->deactivation != 0)
        add(template, array,
            kyok_kmip_attribute_date_time(KYOK_KMIP_ATTRIBUTE_DEACTIVATION_DATE,
                                          creation->deactivation));
}

#define NO_USAGE                                                                                   \
    UINT32_MAX /* opaque objects have no usage mask (3.19), and PyKMIP insists on it               \
                */

static void add_identity(struct kyok_kmip_template *template, struct kyok_kmip_attribute *array,
                         uint32_t usage, struct kyok_kmip_name *name, const char *text)
{
    name->value = kyok_bytes_of_text(text);
    name->type = KYOK_KMIP_NAME_TYPE_UNINTERPRETED_TEXT_STRING;
    if (usage != NO_USAGE)
        add(template, array,
            kyok_kmip_attribute_integer(KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK,
                                        (int32_t)usage));
    add(template, array, kyok_kmip_attribute_structure(KYOK_KMIP_ATTRIBUTE_NAME, name));
}

static void fill_pair(const struct kyok_kmip_creation *creation,
                      const struct kyok_kmip_created *created, struct creation_parts *parts,
                      struct kyok_kmip_request_item *item)
{
    struct kyok_kmip_create_key_pair_request *pair = &item->payload.create_key_pair;

    fill_template(&parts->common_template, parts->common, creation);
    if (creation->curve != 0) {
        parts->domain.recommended_curve = creation->curve;
        add(&parts->common_template, parts->common,
            kyok_kmip_attribute_structure(KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_DOMAIN_PARAMETERS,
                                          &parts->domain));
    }
    snprintf(parts->public_text, sizeof parts->public_text, "%s" PUBLIC_SUFFIX, created->name);
    add_identity(&parts->own_template, parts->own, creation->usage, &parts->name, created->name);
    add_identity(&parts->other_template, parts->other, creation->public_usage, &parts->public_name,
                 parts->public_text);
    item->operation = KYOK_KMIP_OPERATION_CREATE_KEY_PAIR;
    pair->common = &parts->common_template;
    pair->private_key = &parts->own_template;
    pair->public_key = &parts->other_template;
}

static void fill_derivation(const struct kyok_kmip_creation *creation,
                            const struct creation_parts *parts, struct kyok_kmip_request_item *item)
{
    struct kyok_kmip_derive_key_request *derive = &item->payload.derive_key;

    item->operation = KYOK_KMIP_OPERATION_DERIVE_KEY;
    derive->object_type = creation->object_type;
    derive->unique_identifiers.items = creation->derivation->bases;
    derive->unique_identifiers.count = creation->derivation->base_count;
    derive->method = creation->derivation->method;
    derive->parameters = creation->derivation->parameters;
    derive->attributes = parts->own_template;
}

static void fill_request(const struct kyok_kmip_creation *creation,
                         const struct kyok_kmip_created *created, struct creation_parts *parts,
                         struct kyok_kmip_request_item *item)
{
    memset(parts, 0, sizeof *parts);
    memset(item, 0, sizeof *item);
    if (is_pair(creation)) {
        fill_pair(creation, created, parts, item);
        return;
    }
    fill_template(&parts->own_template, parts->own, creation);
    bool opaque = creation->object_type == KYOK_KMIP_OBJECT_TYPE_OPAQUE_OBJECT;
    add_identity(&parts->own_template, parts->own, opaque ? NO_USAGE : creation->usage,
                 &parts->name, created->name);
    if (creation->derivation != NULL) {
        fill_derivation(creation, parts, item);
        return;
    }
    if (creation->object == NULL) {
        item->operation = KYOK_KMIP_OPERATION_CREATE;
        item->payload.create.object_type = creation->object_type;
        item->payload.create.attributes = parts->own_template;
        return;
    }
    item->operation = KYOK_KMIP_OPERATION_REGISTER;
    item->payload.register_object.object_type = creation->object_type;
    item->payload.register_object.attributes = parts->own_template;
    item->payload.register_object.object = *creation->object;
}

/* --- answers --------------------------------------------------------------------------------- */

static enum kyok_status keep_identifier(struct kyok_bytes id, const char *endpoint, char *to,
                                        size_t room, struct kyok_error *err)
{
    if (id.size == 0 || id.size >= room || memchr(id.data, '\0', id.size) != NULL)
        return kyok_fail(err, KYOK_FAULT, endpoint,
                         "the server gave the new object an identifier that cannot be used");
    memcpy(to, id.data, id.size);
    to[id.size] = '\0';
    return KYOK_OK;
}

static enum kyok_status take_created(const struct kyok_kmip_request_item *item,
                                     const struct kyok_kmip_reply *reply,
                                     struct kyok_kmip_created *created, struct kyok_error *err)
{
    const union kyok_kmip_response_payload *payload = &reply->item->payload;
    struct kyok_bytes id = payload->identifier.unique_identifier;

    if (item->operation == KYOK_KMIP_OPERATION_CREATE) {
        id = payload->create.unique_identifier;
        if (payload->create.object_type != item->payload.create.object_type)
            return kyok_fail(err, KYOK_FAULT, reply->endpoint,
                             "the server created an object of another type");
    }
    if (item->operation == KYOK_KMIP_OPERATION_CREATE_KEY_PAIR) {
        KYOK_TRY(keep_identifier(payload->create_key_pair.public_key, reply->endpoint,
                                 created->public_identifier, sizeof created->public_identifier,
                                 err));
        id = payload->create_key_pair.private_key;
    }
    return keep_identifier(id, reply->endpoint, created->identifier, sizeof created->identifier,
                           err);
}

/* --- a lost answer --------------------------------------------------------------------------- */

static enum kyok_status look_up(struct kyok_kmip_client *client, const char *name,
                                enum kyok_kmip_object_type type, char *to, size_t room,
                                struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer id = {0};

    KYOK_TRY(kyok_kmip_locate_name(client, kyok_bytes_of_text(name), type,
                                   kyok_kmip_client_deadline(client), &id, err));
    return keep_identifier(kyok_bytes(id.data, id.size - 1), kyok_kmip_client_config(client)->name,
                           to, room, err);
}

static enum kyok_status check_adopted(struct kyok_kmip_client *client,
                                      const struct kyok_kmip_creation *creation,
                                      const struct kyok_kmip_created *created,
                                      struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);
    struct kyok_kmip_expectation expected = {creation->object_type, creation->algorithm,
                                             creation->bits, creation->usage};
    struct kyok_kmip_facts facts;

    return kyok_kmip_get_facts(client, kyok_bytes_of_text(created->identifier), &expected,
                               kyok_kmip_client_deadline(client), &reply, &facts, err);
}

/* The first error stays: what became of the request is said in its remedy. */
static enum kyok_status adopt(struct kyok_kmip_client *client,
                              const struct kyok_kmip_creation *creation,
                              struct kyok_kmip_created *created, struct kyok_error *err)
{
    struct kyok_error second;
    char public_name[sizeof created->name + sizeof PUBLIC_SUFFIX];

    snprintf(public_name, sizeof public_name, "%s" PUBLIC_SUFFIX, created->name);
    enum kyok_status status = look_up(client, created->name, creation->object_type,
                                      created->identifier, sizeof created->identifier, &second);
    if (status == KYOK_OK && is_pair(creation))
        status = look_up(client, public_name, KYOK_KMIP_OBJECT_TYPE_PUBLIC_KEY,
                         created->public_identifier, sizeof created->public_identifier, &second);
    if (status == KYOK_OK)
        status = check_adopted(client, creation, created, &second);
    if (status == KYOK_OK) {
        created->found = true;
        return KYOK_OK;
    }
    return kyok_remedy(
        err,
        "it is not known whether the object was made: look for the name \"%s\" (kyok "
        "kmip locate GROUP --name) before you try again",
        created->name);
}

static void say_created(struct kyok_kmip_client *client, const struct kyok_kmip_created *created,
                        const char *endpoint)
{
    char key[400];

    snprintf(key, sizeof key, "kmip://%s/%s", kyok_kmip_client_config(client)->name,
             created->identifier);
    struct kyok_event event = {.type = "create", .key = key, .custodian = endpoint, .result = "ok"};
    kyok_event_emit(&event);
}

enum kyok_status kyok_kmip_create(struct kyok_kmip_client *client,
                                  const struct kyok_kmip_creation *creation,
                                  struct kyok_deadline deadline, struct kyok_kmip_created *created,
                                  struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);
    struct kyok_kmip_request_item item;
    struct creation_parts parts;

    memset(created, 0, sizeof *created);
    KYOK_TRY(choose_name(creation, created, err));
    if (creation->name != NULL)
        KYOK_TRY(refuse_taken_name(client, creation, created, deadline, err));
    fill_request(creation, created, &parts, &item);
    enum kyok_status status = kyok_kmip_call(client, &item, deadline, &reply, err);
    if (status == KYOK_OK)
        status = take_created(&item, &reply, created, err);
    else if (reply.doubtful)
        status = adopt(client, creation, created, err);
    if (status == KYOK_OK)
        say_created(client, created, reply.endpoint);
    return status;
}

/* --- states ---------------------------------------------------------------------------------- */

typedef bool state_is_reached(enum kyok_kmip_state state);

static bool is_active(enum kyok_kmip_state state)
{
    return state == KYOK_KMIP_STATE_ACTIVE;
}

static bool is_destroyed(enum kyok_kmip_state state)
{
    return state == KYOK_KMIP_STATE_DESTROYED || state == KYOK_KMIP_STATE_DESTROYED_COMPROMISED;
}

static bool is_revoked(enum kyok_kmip_state state)
{
    return state == KYOK_KMIP_STATE_DEACTIVATED || state == KYOK_KMIP_STATE_COMPROMISED ||
           is_destroyed(state);
}

static bool is_compromised(enum kyok_kmip_state state)
{
    return state == KYOK_KMIP_STATE_COMPROMISED || state == KYOK_KMIP_STATE_DESTROYED_COMPROMISED;
}

static bool has_reached(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                        state_is_reached *reached)
{
    KYOK_KMIP_AUTO_REPLY(reply);
    static const struct kyok_kmip_expectation anything;
    struct kyok_kmip_facts facts;
    struct kyok_error err;

    enum kyok_status status = kyok_kmip_get_facts(
        client, identifier, &anything, kyok_kmip_client_deadline(client), &reply, &facts, &err);
    if (status == KYOK_NOT_FOUND)
        return reached == is_destroyed;
    return status == KYOK_OK && reached(facts.state);
}

static void say_state(struct kyok_kmip_client *client, const struct kyok_kmip_request_item *item,
                      struct kyok_bytes identifier, enum kyok_status status)
{
    char key[400];

    snprintf(key, sizeof key, "kmip://%s/%.*s", kyok_kmip_client_config(client)->name,
             (int)(identifier.size < 256 ? identifier.size : 256), (const char *)identifier.data);
    struct kyok_event event = {.type = item->operation == KYOK_KMIP_OPERATION_DESTROY ? "destroy"
                                                                                      : "state",
                               .key = key,
                               .custodian = kyok_kmip_client_config(client)->name,
                               .result = kyok_status_name(status),
                               .detail = kyok_kmip_rule(item->operation)->name};
    kyok_event_emit(&event);
}

/* When the answer was lost, the object's state tells whether it must be sent again; when the server
 * refuses because it is so already (PyKMIP's Activate), it is done. A destroyed object that is not
 * found without a doubtful attempt of ours is an error: the identifier may be mistyped. */
static enum kyok_status change_state(struct kyok_kmip_client *client,
                                     const struct kyok_kmip_request_item *item,
                                     struct kyok_bytes identifier, state_is_reached *reached,
                                     struct kyok_deadline deadline, struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);

    enum kyok_status status = kyok_kmip_call(client, item, deadline, &reply, err);
    bool doubtful = reply.doubtful;
    if (status != KYOK_OK && status != KYOK_NOT_FOUND && has_reached(client, identifier, reached))
        status = KYOK_OK;
    if (status != KYOK_OK && doubtful) {
        status = kyok_kmip_call(client, item, kyok_kmip_client_deadline(client), &reply, err);
        if (status != KYOK_OK && has_reached(client, identifier, reached))
            status = KYOK_OK;
    }
    say_state(client, item, identifier, status);
    return status;
}

enum kyok_status kyok_kmip_activate(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                                    struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_kmip_request_item item = {.operation = KYOK_KMIP_OPERATION_ACTIVATE,
                                          .payload.identifier = {identifier}};

    return change_state(client, &item, identifier, is_active, deadline, err);
}

enum kyok_status kyok_kmip_revoke(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                                  enum kyok_kmip_revocation_reason_code reason, const char *message,
                                  struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_kmip_request_item item = {
        .operation = KYOK_KMIP_OPERATION_REVOKE,
        .payload.revoke = {.unique_identifier = identifier, .reason = {.code = reason}}};

    if (message != NULL)
        item.payload.revoke.reason.message = kyok_bytes_of_text(message);
    /* 4.20: the date goes with a compromise; kyok knows no earlier one than the beginning. A key
     * that is merely deactivated is not yet what was asked for. */
    bool compromise = reason == KYOK_KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE ||
                      reason == KYOK_KMIP_REVOCATION_REASON_CODE_CA_COMPROMISE;
    if (compromise)
        item.payload.revoke.compromise_occurrence_date = kyok_kmip_long(0);
    return change_state(client, &item, identifier, compromise ? is_compromised : is_revoked,
                        deadline, err);
}

enum kyok_status kyok_kmip_destroy(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                                   struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_kmip_request_item item = {.operation = KYOK_KMIP_OPERATION_DESTROY,
                                          .payload.identifier = {identifier}};

    return change_state(client, &item, identifier, is_destroyed, deadline, err);
}
