/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at objects: Get, Get Attributes, Locate, and whether what came is what was meant. */
#include "common/kmip/client_call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(struct kyok_bytes bytes, char *text, size_t size)
{
    size_t room = size - 1 < bytes.size ? size - 1 : bytes.size;

    memcpy(text, bytes.data, room);
    text[room] = '\0';
    return text;
}

/* --- what an object should be ---------------------------------------------------------------- */

static enum kyok_status mismatch(const struct kyok_kmip_reply *reply, const char *what,
                                 const char *got, const char *wanted, struct kyok_error *err)
{
    kyok_fail(err, KYOK_FAULT, reply->endpoint, "the object's %s is %s, not %s as asked for", what,
              got, wanted);
    return kyok_remedy(err, "check the reference, and that this server may be trusted");
}

static const char *name_or_number(uint32_t tag, uint32_t value, char text[16])
{
    const char *name = kyok_kmip_enum_name(tag, value);

    snprintf(text, 16, "0x%08X", (unsigned)value);
    return name != NULL ? name : text;
}

static enum kyok_status check_enumeration(const struct kyok_kmip_reply *reply, const char *what,
                                          uint32_t tag, uint32_t got, uint32_t wanted,
                                          struct kyok_error *err)
{
    char a[16], b[16];

    if (got == 0 || wanted == 0 || got == wanted)
        return KYOK_OK;
    return mismatch(reply, what, name_or_number(tag, got, a), name_or_number(tag, wanted, b), err);
}

static enum kyok_status check_bits(const struct kyok_kmip_reply *reply, unsigned got,
                                   unsigned wanted, struct kyok_error *err)
{
    char a[24], b[24];

    if (got == 0 || wanted == 0 || got == wanted)
        return KYOK_OK;
    snprintf(a, sizeof a, "%u bits", got);
    snprintf(b, sizeof b, "%u", wanted);
    return mismatch(reply, "length", a, b, err);
}

/* EC and ECDSA are two names for one algorithm, as servers of different versions have it. */
static uint32_t plain_algorithm(enum kyok_kmip_cryptographic_algorithm algorithm)
{
    return algorithm == KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_ECDSA
               ? KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_EC
               : algorithm;
}

static enum kyok_status check_kind(const struct kyok_kmip_reply *reply, uint32_t type,
                                   enum kyok_kmip_cryptographic_algorithm algorithm, unsigned bits,
                                   const struct kyok_kmip_expectation *expected,
                                   struct kyok_error *err)
{
    KYOK_TRY(check_enumeration(reply, "type", KYOK_KMIP_TAG_OBJECT_TYPE, type,
                               expected->object_type, err));
    KYOK_TRY(check_enumeration(reply, "algorithm", KYOK_KMIP_TAG_CRYPTOGRAPHIC_ALGORITHM,
                               plain_algorithm(algorithm), plain_algorithm(expected->algorithm),
                               err));
    return check_bits(reply, bits, expected->bits, err);
}

/* --- Get ------------------------------------------------------------------------------------- */

/* A raw symmetric key has exactly the bytes that its length says. */
static enum kyok_status check_material(const struct kyok_kmip_reply *reply,
                                       const struct kyok_kmip_get_response *got,
                                       const struct kyok_kmip_expectation *expected,
                                       struct kyok_error *err)
{
    const struct kyok_kmip_key_block *key = &got->object.key;
    unsigned bits = key->length.set && key->length.value > 0 ? (unsigned)key->length.value : 0;

    if (key->wrapping != NULL)
        return kyok_fail(err, KYOK_FAULT, reply->endpoint,
                         "the server wrapped a key that was to come in the clear");
    if (got->object_type != KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY ||
        key->format != KYOK_KMIP_KEY_FORMAT_TYPE_RAW)
        return KYOK_OK;
    if (key->value.material.size == 0)
        return kyok_fail(err, KYOK_FAULT, reply->endpoint, "the server sent a key without bytes");
    KYOK_TRY(check_bits(reply, (unsigned)key->value.material.size * 8, bits, err));
    return check_bits(reply, (unsigned)key->value.material.size * 8, expected->bits, err);
}

enum kyok_status kyok_kmip_get(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                               enum kyok_kmip_key_format_type format,
                               const struct kyok_kmip_expectation *expected,
                               struct kyok_deadline deadline, struct kyok_kmip_reply *reply,
                               struct kyok_error *err)
{
    struct kyok_kmip_request_item item;

    kyok_kmip_request_item_init(&item, KYOK_KMIP_OPERATION_GET);
    item.payload.get.unique_identifier = identifier;
    item.payload.get.key_format_type = format;
    KYOK_TRY(kyok_kmip_call(client, &item, deadline, reply, err));
    const struct kyok_kmip_get_response *got = &reply->item->payload.get;
    const struct kyok_kmip_key_block *key = &got->object.key;
    unsigned bits = key->length.set && key->length.value > 0 ? (unsigned)key->length.value : 0;
    enum kyok_status status =
        check_kind(reply, got->object_type, key->algorithm, bits, expected, err);
    if (status == KYOK_OK && format != 0)
        status = check_enumeration(reply, "key format", KYOK_KMIP_TAG_KEY_FORMAT_TYPE, key->format,
                                   format, err);
    if (status == KYOK_OK)
        status = check_material(reply, got, expected, err);
    return status == KYOK_OK ? KYOK_OK : kyok_kmip_name_operation(err, "Get");
}

/* --- Get Attributes -------------------------------------------------------------------------- */

static enum kyok_answer answer_of(const struct kyok_kmip_attribute *attribute)
{
    if (attribute == NULL || attribute->type != KYOK_TTLV_BOOLEAN)
        return KYOK_NOT_KNOWN;
    return attribute->value.boolean ? KYOK_YES : KYOK_NO;
}

/* Numbers only: an attribute that is absent, or of another type than the specification's, is 0. */
static uint32_t number_of(const kyok_kmip_attributes *list, enum kyok_kmip_attribute_id id)
{
    const struct kyok_kmip_attribute *attribute =
        kyok_kmip_attribute_find_id(list->items, list->count, id);

    if (attribute == NULL)
        return 0;
    if (attribute->type == KYOK_TTLV_ENUMERATION)
        return attribute->value.enumeration;
    return attribute->type == KYOK_TTLV_INTEGER ? (uint32_t)attribute->value.integer : 0;
}

static struct kyok_bytes link_of(const kyok_kmip_attributes *list, enum kyok_kmip_link_type type)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct kyok_kmip_attribute *attribute = &list->items[i];
        if (attribute->name.id == KYOK_KMIP_ATTRIBUTE_LINK &&
            attribute->type == KYOK_TTLV_STRUCTURE && attribute->value.link->type == type)
            return attribute->value.link->identifier;
    }
    return kyok_bytes(NULL, 0);
}

static enum kyok_answer flag_of(const kyok_kmip_attributes *list, enum kyok_kmip_attribute_id id)
{
    return answer_of(kyok_kmip_attribute_find_id(list->items, list->count, id));
}

static int64_t date_of(const kyok_kmip_attributes *list, enum kyok_kmip_attribute_id id)
{
    const struct kyok_kmip_attribute *attribute =
        kyok_kmip_attribute_find_id(list->items, list->count, id);

    return attribute != NULL && attribute->type == KYOK_TTLV_DATE_TIME ? attribute->value.date_time
                                                                       : 0;
}

/* Each change of state that KMIP has no word for is one more value, "NUMBER WORD": Add Attribute is
 * all that the smallest servers have. The highest number counts. */
static void take_words(const kyok_kmip_attributes *list, struct kyok_kmip_facts *facts)
{
    static const char suspended[] = " suspended";
    const struct kyok_kmip_attribute_name word =
        kyok_kmip_attribute_name(kyok_bytes_of_text(KYOK_KMIP_STATE_WORD));
    const struct kyok_kmip_attribute_name parent =
        kyok_kmip_attribute_name(kyok_bytes_of_text(KYOK_KMIP_PARENT));
    unsigned long highest = 0;

    for (size_t i = 0; i < list->count; i++) {
        const struct kyok_kmip_attribute *attribute = &list->items[i];
        char text[32], *end;

        if (attribute->type != KYOK_TTLV_TEXT_STRING)
            continue;
        if (kyok_kmip_attribute_name_equal(&attribute->name, &parent))
            facts->parent = attribute->value.bytes;
        if (!kyok_kmip_attribute_name_equal(&attribute->name, &word))
            continue;
        unsigned long number =
            strtoul(text_of(attribute->value.bytes, text, sizeof text), &end, 10);
        if (number >= UINT32_MAX || number < highest)
            continue;
        highest = number;
        facts->suspended = strcmp(end, suspended) == 0;
    }
    facts->words = (unsigned)highest;
}

static void take_facts(const kyok_kmip_attributes *list, struct kyok_kmip_facts *facts)
{
    const struct kyok_kmip_attribute *name =
        kyok_kmip_attribute_find_id(list->items, list->count, KYOK_KMIP_ATTRIBUTE_NAME);

    memset(facts, 0, sizeof *facts);
    facts->object_type = number_of(list, KYOK_KMIP_ATTRIBUTE_OBJECT_TYPE);
    facts->algorithm = number_of(list, KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM);
    facts->bits = number_of(list, KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH);
    facts->usage = number_of(list, KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK);
    facts->usage_known =
        kyok_kmip_attribute_find_id(list->items, list->count,
                                    KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK) != NULL;
    facts->state = number_of(list, KYOK_KMIP_ATTRIBUTE_STATE);
    facts->sensitive = flag_of(list, KYOK_KMIP_ATTRIBUTE_SENSITIVE);
    facts->always_sensitive = flag_of(list, KYOK_KMIP_ATTRIBUTE_ALWAYS_SENSITIVE);
    facts->extractable = flag_of(list, KYOK_KMIP_ATTRIBUTE_EXTRACTABLE);
    facts->never_extractable = flag_of(list, KYOK_KMIP_ATTRIBUTE_NEVER_EXTRACTABLE);
    facts->public_key = link_of(list, KYOK_KMIP_LINK_TYPE_PUBLIC_KEY_LINK);
    facts->replacement = link_of(list, KYOK_KMIP_LINK_TYPE_REPLACEMENT_OBJECT_LINK);
    facts->replaced = link_of(list, KYOK_KMIP_LINK_TYPE_REPLACED_OBJECT_LINK);
    facts->activation = date_of(list, KYOK_KMIP_ATTRIBUTE_ACTIVATION_DATE);
    facts->deactivation = date_of(list, KYOK_KMIP_ATTRIBUTE_DEACTIVATION_DATE);
    take_words(list, facts);
    if (name != NULL && name->type == KYOK_TTLV_STRUCTURE)
        facts->name = name->value.name->value;
}

static enum kyok_status check_usage(const struct kyok_kmip_reply *reply,
                                    const struct kyok_kmip_facts *facts,
                                    const struct kyok_kmip_expectation *expected,
                                    struct kyok_error *err)
{
    uint32_t missing = expected->usage & ~facts->usage;
    const char *name;

    if (!facts->usage_known || missing == 0)
        return KYOK_OK;
    name = kyok_kmip_mask_name(KYOK_KMIP_TAG_CRYPTOGRAPHIC_USAGE_MASK, missing & -missing);
    kyok_fail(err, KYOK_REFUSED, reply->endpoint, "the key's usage mask does not allow %s",
              name != NULL ? name : "this use");
    return kyok_remedy(err, "use another key, or create one with that usage");
}

/* Servers answer "all attributes" most reliably; one that insists on names gets the basic ones. */
static enum kyok_status ask_attributes(struct kyok_kmip_client *client,
                                       struct kyok_bytes identifier, struct kyok_deadline deadline,
                                       struct kyok_kmip_reply *reply, struct kyok_error *err)
{
    const struct kyok_kmip_attribute_name basic[] = {
        kyok_kmip_attribute_named(KYOK_KMIP_ATTRIBUTE_OBJECT_TYPE),
        kyok_kmip_attribute_named(KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM),
        kyok_kmip_attribute_named(KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH),
        kyok_kmip_attribute_named(KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK),
        kyok_kmip_attribute_named(KYOK_KMIP_ATTRIBUTE_STATE),
        kyok_kmip_attribute_named(KYOK_KMIP_ATTRIBUTE_NAME),
    };
    struct kyok_kmip_request_item item = {
        .operation = KYOK_KMIP_OPERATION_GET_ATTRIBUTES,
        .payload.get_attributes = {.unique_identifier = identifier}};

    enum kyok_status status = kyok_kmip_call(client, &item, deadline, reply, err);
    bool wants_names = status != KYOK_OK && reply->item != NULL &&
                       (reply->item->reason == KYOK_KMIP_RESULT_REASON_MISSING_DATA ||
                        reply->item->reason == KYOK_KMIP_RESULT_REASON_INVALID_FIELD ||
                        reply->item->reason == KYOK_KMIP_RESULT_REASON_INVALID_MESSAGE);
    if (!wants_names)
        return status;
    item.payload.get_attributes.names.items = basic;
    item.payload.get_attributes.names.count = sizeof basic / sizeof *basic;
    return kyok_kmip_call(client, &item, deadline, reply, err);
}

enum kyok_status kyok_kmip_get_facts(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                                     const struct kyok_kmip_expectation *expected,
                                     struct kyok_deadline deadline, struct kyok_kmip_reply *reply,
                                     struct kyok_kmip_facts *facts, struct kyok_error *err)
{
    KYOK_TRY(ask_attributes(client, identifier, deadline, reply, err));
    take_facts(&reply->item->payload.get_attributes.attributes, facts);
    enum kyok_status status =
        check_kind(reply, facts->object_type, facts->algorithm, facts->bits, expected, err);
    if (status == KYOK_OK)
        status = check_usage(reply, facts, expected, err);
    return status == KYOK_OK ? KYOK_OK : kyok_kmip_name_operation(err, "Get Attributes");
}

enum kyok_status kyok_kmip_facts_usable(const struct kyok_kmip_facts *facts, const char *object,
                                        struct kyok_error *err)
{
    char text[16];

    if (facts->suspended) {
        kyok_fail(err, KYOK_REFUSED, object, "the key is suspended, by kyok's word at the server");
        return kyok_remedy(err, "wake it: kyok key state REF active");
    }
    if (facts->state == 0 || facts->state == KYOK_KMIP_STATE_ACTIVE)
        return KYOK_OK;
    kyok_fail(err, KYOK_REFUSED, object, "the key's state is %s, not Active",
              name_or_number(KYOK_KMIP_TAG_STATE, facts->state, text));
    if (facts->state == KYOK_KMIP_STATE_PRE_ACTIVE)
        return kyok_remedy(err, "activate it: kyok kmip activate GROUP ID");
    return kyok_remedy(err, "it has been revoked or destroyed: use another key");
}

/* The reasons that speak of this identity and key; any other failure leaves it open whether the
 * next Get is let through. */
static bool is_denial(enum kyok_kmip_result_reason reason)
{
    switch (reason) {
    case KYOK_KMIP_RESULT_REASON_PERMISSION_DENIED:
    case KYOK_KMIP_RESULT_REASON_NOT_AUTHORISED:
    case KYOK_KMIP_RESULT_REASON_SENSITIVE:
    case KYOK_KMIP_RESULT_REASON_NOT_EXTRACTABLE:
    case KYOK_KMIP_RESULT_REASON_KEY_VALUE_NOT_PRESENT:
    case KYOK_KMIP_RESULT_REASON_ILLEGAL_OPERATION:
    case KYOK_KMIP_RESULT_REASON_OPERATION_NOT_SUPPORTED:
    case KYOK_KMIP_RESULT_REASON_FEATURE_NOT_SUPPORTED:
    case KYOK_KMIP_RESULT_REASON_ITEM_NOT_FOUND: /* as some hide what is another's */
    case KYOK_KMIP_RESULT_REASON_OBJECT_NOT_FOUND:
        return true;
    default:
        return false;
    }
}

enum kyok_answer kyok_kmip_may_get(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                                   const struct kyok_kmip_facts *facts,
                                   struct kyok_deadline deadline)
{
    KYOK_KMIP_AUTO_REPLY(reply);
    static const struct kyok_kmip_expectation anything;
    struct kyok_error err;

    bool wrapped = facts->sensitive == KYOK_YES && facts->extractable == KYOK_YES;

    if (facts->extractable == KYOK_NO || (facts->sensitive == KYOK_YES && !wrapped))
        return KYOK_NO;
    enum kyok_status status =
        kyok_kmip_get(client, identifier, 0, &anything, deadline, &reply, &err);
    if (status == KYOK_OK)
        return KYOK_YES;
    if (reply.item == NULL)
        return KYOK_NOT_KNOWN;
    if (reply.item->status == KYOK_KMIP_RESULT_STATUS_SUCCESS)
        return KYOK_YES; /* something came, however odd */
    if (wrapped && reply.item->reason == KYOK_KMIP_RESULT_REASON_SENSITIVE)
        return KYOK_YES;
    return is_denial(reply.item->reason) ? KYOK_NO : KYOK_NOT_KNOWN;
}

/* --- Locate ---------------------------------------------------------------------------------- */

#define PAGE ((size_t)1000)

static enum kyok_status take_page(const struct kyok_kmip_reply *reply, size_t limit,
                                  struct kyok_buffer *found, size_t *count, bool *more,
                                  struct kyok_error *err)
{
    const struct kyok_kmip_locate_response *page = &reply->item->payload.locate;

    for (size_t i = 0; i < page->unique_identifiers.count; i++) {
        struct kyok_bytes id = page->unique_identifiers.items[i];
        if (*count == limit) {
            *more = true;
            return KYOK_OK;
        }
        if (memchr(id.data, '\0', id.size) != NULL || id.size == 0)
            return kyok_fail(err, KYOK_FAULT, reply->endpoint,
                             "Locate: the server returned an identifier that is no text");
        if (!kyok_buffer_append(found, id.data, id.size) || !kyok_buffer_append(found, "", 1))
            return kyok_fail(err, KYOK_SYSTEM, reply->endpoint, "no memory for identifiers");
        ++*count;
    }
    return KYOK_OK;
}

enum kyok_status kyok_kmip_locate(struct kyok_kmip_client *client,
                                  const struct kyok_kmip_attribute *attributes, size_t count,
                                  size_t limit, struct kyok_deadline deadline,
                                  struct kyok_buffer *found, size_t *found_count, bool *more,
                                  struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);
    struct kyok_kmip_request_item item = {.operation = KYOK_KMIP_OPERATION_LOCATE};
    size_t page, before;

    *found_count = 0;
    *more = false;
    item.payload.locate.attributes.items = attributes;
    item.payload.locate.attributes.count = count;
    do {
        before = *found_count;
        page = limit - before < PAGE ? limit - before + 1 : PAGE;
        item.payload.locate.maximum_items = kyok_kmip_integer((int32_t)page);
        if (before > 0)
            item.payload.locate.offset_items = kyok_kmip_integer((int32_t)before);
        KYOK_TRY(kyok_kmip_call(client, &item, deadline, &reply, err));
        KYOK_TRY(take_page(&reply, limit, found, found_count, more, err));
    } while (!*more && *found_count - before == page && reply.version >= KYOK_KMIP_1_3);
    return KYOK_OK;
}

enum kyok_status kyok_kmip_locate_name(struct kyok_kmip_client *client, struct kyok_bytes name,
                                       enum kyok_kmip_object_type type,
                                       struct kyok_deadline deadline, struct kyok_buffer *id,
                                       struct kyok_error *err)
{
    struct kyok_kmip_name value = {name, KYOK_KMIP_NAME_TYPE_UNINTERPRETED_TEXT_STRING};
    const struct kyok_kmip_attribute attributes[] = {
        kyok_kmip_attribute_structure(KYOK_KMIP_ATTRIBUTE_NAME, &value),
        kyok_kmip_attribute_enumeration(KYOK_KMIP_ATTRIBUTE_OBJECT_TYPE, type),
    };
    const char *group = kyok_kmip_client_config(client)->name;
    char text[128];
    size_t count;
    bool more;

    KYOK_TRY(kyok_kmip_locate(client, attributes, type != 0 ? 2 : 1, 1, deadline, id, &count, &more,
                              err));
    if (count == 0)
        return kyok_fail(err, KYOK_NOT_FOUND, group, "no object is named \"%s\"",
                         text_of(name, text, sizeof text));
    if (!more)
        return KYOK_OK;
    kyok_fail(err, KYOK_AMBIGUOUS, group, "several objects are named \"%s\"",
              text_of(name, text, sizeof text));
    return kyok_remedy(err, "name the one that is meant by its identifier: kmip://%s/ID", group);
}
