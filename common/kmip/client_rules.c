/* SPDX-License-Identifier: Apache-2.0 */
/* Which operations may go where and be repeated, and whether an answer is one to the question. */
#include "common/kmip/client_call.h"

#include <stdio.h>
#include <string.h>

#define READS KYOK_KMIP_READ, true
#define WRITES_AGAIN KYOK_KMIP_WRITE, true /* doing it twice ends as doing it once */
#define WRITES_ONCE KYOK_KMIP_WRITE, false

static const struct kyok_kmip_rule rules[] = {
    {KYOK_KMIP_OPERATION_CREATE, WRITES_ONCE, "Create"},
    {KYOK_KMIP_OPERATION_CREATE_KEY_PAIR, WRITES_ONCE, "Create Key Pair"},
    {KYOK_KMIP_OPERATION_REGISTER, WRITES_ONCE, "Register"},
    {KYOK_KMIP_OPERATION_RE_KEY, WRITES_ONCE, "Re-key"},
    {KYOK_KMIP_OPERATION_DERIVE_KEY, WRITES_ONCE, "Derive Key"},
    {KYOK_KMIP_OPERATION_LOCATE, READS, "Locate"},
    {KYOK_KMIP_OPERATION_GET, READS, "Get"},
    {KYOK_KMIP_OPERATION_GET_ATTRIBUTES, READS, "Get Attributes"},
    {KYOK_KMIP_OPERATION_GET_ATTRIBUTE_LIST, READS, "Get Attribute List"},
    {KYOK_KMIP_OPERATION_ADD_ATTRIBUTE, WRITES_ONCE, "Add Attribute"},
    {KYOK_KMIP_OPERATION_MODIFY_ATTRIBUTE, WRITES_AGAIN, "Modify Attribute"},
    {KYOK_KMIP_OPERATION_SET_ATTRIBUTE, WRITES_AGAIN, "Set Attribute"},
    {KYOK_KMIP_OPERATION_DELETE_ATTRIBUTE, WRITES_ONCE, "Delete Attribute"},
    {KYOK_KMIP_OPERATION_ACTIVATE, WRITES_ONCE, "Activate"},
    {KYOK_KMIP_OPERATION_REVOKE, WRITES_ONCE, "Revoke"},
    {KYOK_KMIP_OPERATION_DESTROY, WRITES_ONCE, "Destroy"},
    {KYOK_KMIP_OPERATION_QUERY, READS, "Query"},
    {KYOK_KMIP_OPERATION_DISCOVER_VERSIONS, READS, "Discover Versions"},
    {KYOK_KMIP_OPERATION_ENCRYPT, READS, "Encrypt"},
    {KYOK_KMIP_OPERATION_DECRYPT, READS, "Decrypt"},
    {KYOK_KMIP_OPERATION_SIGN, READS, "Sign"},
    {KYOK_KMIP_OPERATION_SIGNATURE_VERIFY, READS, "Signature Verify"},
    {KYOK_KMIP_OPERATION_MAC, READS, "MAC"},
    {KYOK_KMIP_OPERATION_RNG_RETRIEVE, READS, "RNG Retrieve"},
    {KYOK_KMIP_OPERATION_HASH, READS, "Hash"},
};

const struct kyok_kmip_rule *kyok_kmip_rule(enum kyok_kmip_operation operation)
{
    static const struct kyok_kmip_rule other = {0, WRITES_ONCE, "operation"};

    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].operation == operation)
            return &rules[i];
    return &other;
}

enum kyok_status kyok_kmip_name_operation(struct kyok_error *err, const char *operation)
{
    char what[sizeof err->what];

    snprintf(what, sizeof what, "%s: %.*s", operation,
             (int)(sizeof what - sizeof ": " - strnlen(operation, 40)), err->what);
    memcpy(err->what, what, sizeof what);
    return err->status;
}

/* --- identifiers ----------------------------------------------------------------------------- */

static struct kyok_bytes asked_identifier(const struct kyok_kmip_request_item *asked)
{
    const union kyok_kmip_request_payload *payload = &asked->payload;

    switch (asked->operation) {
    case KYOK_KMIP_OPERATION_GET:
        return payload->get.unique_identifier;
    case KYOK_KMIP_OPERATION_GET_ATTRIBUTES:
        return payload->get_attributes.unique_identifier;
    case KYOK_KMIP_OPERATION_ADD_ATTRIBUTE:
    case KYOK_KMIP_OPERATION_MODIFY_ATTRIBUTE:
    case KYOK_KMIP_OPERATION_SET_ATTRIBUTE:
        return payload->attribute.unique_identifier;
    case KYOK_KMIP_OPERATION_DELETE_ATTRIBUTE:
        return payload->delete_attribute.unique_identifier;
    case KYOK_KMIP_OPERATION_GET_ATTRIBUTE_LIST:
    case KYOK_KMIP_OPERATION_ACTIVATE:
    case KYOK_KMIP_OPERATION_DESTROY:
        return payload->identifier.unique_identifier;
    case KYOK_KMIP_OPERATION_REVOKE:
        return payload->revoke.unique_identifier;
    case KYOK_KMIP_OPERATION_ENCRYPT:
    case KYOK_KMIP_OPERATION_DECRYPT:
        return payload->cipher.unique_identifier;
    case KYOK_KMIP_OPERATION_SIGN:
    case KYOK_KMIP_OPERATION_SIGNATURE_VERIFY:
        return payload->sign.unique_identifier;
    case KYOK_KMIP_OPERATION_MAC:
        return payload->mac.unique_identifier;
    default: /* none, or a new one that the server gives */
        return kyok_bytes(NULL, 0);
    }
}

static struct kyok_bytes answered_identifier(const struct kyok_kmip_response_item *item,
                                             enum kyok_kmip_operation operation)
{
    const union kyok_kmip_response_payload *payload = &item->payload;

    switch (operation) {
    case KYOK_KMIP_OPERATION_GET:
        return payload->get.unique_identifier;
    case KYOK_KMIP_OPERATION_GET_ATTRIBUTES:
        return payload->get_attributes.unique_identifier;
    case KYOK_KMIP_OPERATION_GET_ATTRIBUTE_LIST:
        return payload->get_attribute_list.unique_identifier;
    case KYOK_KMIP_OPERATION_ADD_ATTRIBUTE:
    case KYOK_KMIP_OPERATION_MODIFY_ATTRIBUTE:
    case KYOK_KMIP_OPERATION_SET_ATTRIBUTE:
    case KYOK_KMIP_OPERATION_DELETE_ATTRIBUTE:
        return payload->attribute.unique_identifier;
    case KYOK_KMIP_OPERATION_ENCRYPT:
    case KYOK_KMIP_OPERATION_DECRYPT:
        return payload->cipher.unique_identifier;
    case KYOK_KMIP_OPERATION_SIGN:
        return payload->sign.unique_identifier;
    case KYOK_KMIP_OPERATION_SIGNATURE_VERIFY:
        return payload->verify.unique_identifier;
    case KYOK_KMIP_OPERATION_MAC:
        return payload->mac.unique_identifier;
    default: /* Activate, Revoke, Destroy */
        return payload->identifier.unique_identifier;
    }
}

static enum kyok_status check_identifier(const struct kyok_kmip_request_item *asked,
                                         const struct kyok_kmip_reply *reply,
                                         struct kyok_error *err)
{
    struct kyok_bytes wanted = asked_identifier(asked);
    const struct kyok_kmip_response_item *item = reply->response.items.items;

    if (wanted.size == 0 || item->status != KYOK_KMIP_RESULT_STATUS_SUCCESS)
        return KYOK_OK;
    struct kyok_bytes got = answered_identifier(item, asked->operation);
    if (kyok_bytes_equal(wanted, got))
        return KYOK_OK;
    kyok_fail(err, KYOK_FAULT, reply->endpoint,
              "the server answered about another object than \"%.*s\"",
              (int)(wanted.size < 128 ? wanted.size : 128), (const char *)wanted.data);
    return kyok_remedy(err, "do not trust this server before you know why");
}

/* --- the answer as a whole ------------------------------------------------------------------- */

enum kyok_status kyok_kmip_check_answer(const struct kyok_kmip_request_item *asked,
                                        const struct kyok_kmip_reply *reply, struct kyok_error *err)
{
    const struct kyok_kmip_response *response = &reply->response;
    const struct kyok_kmip_response_item *item = response->items.items;
    unsigned version = kyok_kmip_version_number(response->version);

    if (version == 0 || version > reply->version)
        return kyok_fail(err, KYOK_FAULT, reply->endpoint,
                         "the server answered in KMIP %d.%d, which was not asked for",
                         response->version.major, response->version.minor);
    if (response->items.count != 1)
        return kyok_fail(err, KYOK_FAULT, reply->endpoint,
                         "the server answered one question with %zu items", response->items.count);
    /* PyKMIP leaves out the operation and the batch id in answers to what it cannot parse. */
    bool failed = item->status != KYOK_KMIP_RESULT_STATUS_SUCCESS;
    if (item->operation != asked->operation && !(failed && item->operation == 0))
        return kyok_fail(err, KYOK_FAULT, reply->endpoint,
                         "the server answered another operation than the one asked for");
    if (item->batch_id.size != 0 && !kyok_bytes_equal(item->batch_id, asked->batch_id))
        return kyok_fail(err, KYOK_FAULT, reply->endpoint,
                         "the server answered another request than this one (batch id)");
    if (!failed && !item->has_payload)
        return kyok_fail(err, KYOK_FAULT, reply->endpoint,
                         "the server reports success without an answer");
    return check_identifier(asked, reply, err);
}
