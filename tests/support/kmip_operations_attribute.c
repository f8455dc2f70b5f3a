/* SPDX-License-Identifier: Apache-2.0 */
/* Get Attribute List, Modify, Delete and Set Attribute. */
#include "tests/support/kmip_operations.h"

#include <stdio.h>
#include <string.h>

enum kyok_status operations_get_attribute_list(struct operations_run *run, struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);
    struct kyok_kmip_request_item item = {.operation = KYOK_KMIP_OPERATION_GET_ATTRIBUTE_LIST,
                                          .payload.identifier = {operations_id(&run->secret)}};

    KYOK_TRY(operations_call(run, &item, &reply, err));
    const kyok_kmip_attribute_names *names = &reply.item->payload.get_attribute_list.names;
    for (size_t i = 0; i < names->count; i++)
        if (names->items[i].id == KYOK_KMIP_ATTRIBUTE_STATE)
            return KYOK_OK;
    return operations_wrong(err, "State is not among the attributes");
}

static struct kyok_kmip_attribute name_attribute(struct kyok_kmip_name *name, const char *text)
{
    *name = (struct kyok_kmip_name){kyok_bytes_of_text(text),
                                    KYOK_KMIP_NAME_TYPE_UNINTERPRETED_TEXT_STRING};
    return kyok_kmip_attribute_structure(KYOK_KMIP_ATTRIBUTE_NAME, name);
}

static enum kyok_status expect_name(struct operations_run *run, const char *wanted,
                                    struct kyok_error *err)
{
    static const struct kyok_kmip_expectation anything;
    struct kyok_kmip_facts facts;
    KYOK_KMIP_AUTO_REPLY(reply);

    KYOK_TRY(kyok_kmip_get_facts(run->client, operations_id(&run->secret), &anything,
                                 kyok_kmip_client_deadline(run->client), &reply, &facts, err));
    return kyok_bytes_equal(facts.name, kyok_bytes_of_text(wanted))
               ? KYOK_OK
               : operations_wrong(err, "the name is not what it was changed to");
}

enum kyok_status operations_modify_attribute(struct operations_run *run, struct kyok_error *err)
{
    struct kyok_kmip_name old_name, new_name;
    struct kyok_kmip_attribute old = name_attribute(&old_name, run->secret.name);
    struct kyok_kmip_attribute new = name_attribute(&new_name, "renamed");
    struct kyok_kmip_request_item item = {.operation = KYOK_KMIP_OPERATION_MODIFY_ATTRIBUTE};
    KYOK_KMIP_AUTO_REPLY(reply);

    item.payload.attribute.unique_identifier = operations_id(&run->secret);
    item.payload.attribute.attribute = &new;
    if (run->version >= 20)
        item.payload.attribute.current = &old;
    else
        new.index = kyok_kmip_integer(0);
    KYOK_TRY(operations_call(run, &item, &reply, err));
    return expect_name(run, "renamed", err);
}

enum kyok_status operations_delete_attribute(struct operations_run *run, struct kyok_error *err)
{
    struct kyok_kmip_request_item item = {.operation = KYOK_KMIP_OPERATION_DELETE_ATTRIBUTE};
    KYOK_KMIP_AUTO_REPLY(reply);

    item.payload.delete_attribute.unique_identifier = operations_id(&run->secret);
    item.payload.delete_attribute.name = kyok_kmip_attribute_named(KYOK_KMIP_ATTRIBUTE_NAME);
    item.payload.delete_attribute.index = kyok_kmip_integer(0);
    KYOK_TRY(operations_call(run, &item, &reply, err));
    return expect_name(run, "", err);
}

/* An object with an Object Group, which no verb of kyok gives one. */
static enum kyok_status create_grouped(struct operations_run *run, char id[64],
                                       struct kyok_error *err)
{
    const struct kyok_kmip_attribute attributes[] = {
        kyok_kmip_attribute_enumeration(KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM,
                                        KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES),
        kyok_kmip_attribute_integer(KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH, 128),
        kyok_kmip_attribute_integer(KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK,
                                    KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT),
        kyok_kmip_attribute_of_text(KYOK_KMIP_ATTRIBUTE_OBJECT_GROUP, kyok_bytes_of_text("red")),
    };
    struct kyok_kmip_request_item item = {
        .operation = KYOK_KMIP_OPERATION_CREATE,
        .payload.create = {KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                           {.attributes = {attributes, sizeof attributes / sizeof *attributes}}}};
    KYOK_KMIP_AUTO_REPLY(reply);

    KYOK_TRY(operations_call(run, &item, &reply, err));
    struct kyok_bytes made = reply.item->payload.create.unique_identifier;
    if (made.size >= 64)
        return operations_wrong(err, "a long identifier");
    memcpy(id, made.data, made.size);
    id[made.size] = '\0';
    return KYOK_OK;
}

/* State is asked for too: PyKMIP cannot answer with no attribute at all. */
static enum kyok_status expect_groups(struct operations_run *run, const char *id, size_t count,
                                      struct kyok_error *err)
{
    static const struct kyok_kmip_attribute_name names[] = {
        {.id = KYOK_KMIP_ATTRIBUTE_OBJECT_GROUP}, {.id = KYOK_KMIP_ATTRIBUTE_STATE}};
    struct kyok_kmip_request_item item = {
        .operation = KYOK_KMIP_OPERATION_GET_ATTRIBUTES,
        .payload.get_attributes = {kyok_bytes_of_text(id), {names, 2}}};
    KYOK_KMIP_AUTO_REPLY(reply);

    KYOK_TRY(operations_call(run, &item, &reply, err));
    return reply.item->payload.get_attributes.attributes.count == count + 1
               ? KYOK_OK
               : operations_wrong(err, "another number of Object Groups");
}

/* In 2.0 by value. (By value of a Name PyKMIP fails by itself: it compares the Name with its text;
 * and a reference by tag, as 2.0 has it for its own attributes, it cannot read.) */
enum kyok_status operations_delete_current(struct operations_run *run, struct kyok_error *err)
{
    const struct kyok_kmip_attribute red =
        kyok_kmip_attribute_of_text(KYOK_KMIP_ATTRIBUTE_OBJECT_GROUP, kyok_bytes_of_text("red"));
    const struct kyok_kmip_attribute blue =
        kyok_kmip_attribute_of_text(KYOK_KMIP_ATTRIBUTE_OBJECT_GROUP, kyok_bytes_of_text("blue"));
    char id[64];
    struct kyok_kmip_request_item item = {
        .operation = KYOK_KMIP_OPERATION_DELETE_ATTRIBUTE,
        .payload.delete_attribute = {.unique_identifier = kyok_bytes(id, 0), .current = &blue}};
    KYOK_KMIP_AUTO_REPLY(reply);

    KYOK_TRY(create_grouped(run, id, err));
    item.payload.delete_attribute.unique_identifier = kyok_bytes_of_text(id);
    KYOK_TRY(expect_groups(run, id, 1, err));
    if (operations_call(run, &item, &reply, err) == KYOK_OK)
        return operations_wrong(err, "a group was deleted that the object is not in");
    KYOK_TRY(expect_groups(run, id, 1, err));
    item.payload.delete_attribute.current = &red;
    KYOK_TRY(operations_call(run, &item, &reply, err));
    return expect_groups(run, id, 0, err);
}

enum kyok_status operations_set_attribute(struct operations_run *run, struct kyok_error *err)
{
    struct kyok_kmip_attribute sensitive =
        kyok_kmip_attribute_boolean(KYOK_KMIP_ATTRIBUTE_SENSITIVE, true);
    struct kyok_kmip_request_item item = {.operation = KYOK_KMIP_OPERATION_SET_ATTRIBUTE};
    KYOK_KMIP_AUTO_REPLY(reply);

    item.payload.attribute.unique_identifier = operations_id(&run->target);
    item.payload.attribute.attribute = &sensitive;
    return operations_call(run, &item, &reply, err);
}
