/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pkcs11: URIs (RFC 7512). p11-kit decodes them; but it drops unknown attributes with a flag that
 * names none, lets the last of two duplicates win, and keeps pin-value in memory that nobody wipes.
 * So a pass of our own comes first: every attribute is looked up in the table below, checked, and
 * pin-value is taken out before p11-kit sees the rest. (Its URI functions take no lock and may be
 * called in a forked child.)
 */
#include "common/config/uri.h"

#include "common/config/text.h"

#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>
#include <stdlib.h>
#include <string.h>

enum attribute_kind {
    KIND_TEXT,
    KIND_ID,
    KIND_TYPE,
    KIND_VERSION,
    KIND_SLOT,
    KIND_PIN,
    KIND_GROUP
};

enum attribute_place { PLACE_PATH, PLACE_QUERY };

struct attribute {
    const char *name;
    enum attribute_place place;
    enum attribute_kind kind;
    size_t most; /* bytes that a token can hold (PKCS#11 CK_TOKEN_INFO, CK_SLOT_INFO, CK_INFO) */
    bool configuration_only;
};

/* RFC 7512 2.3 and 2.4; object-type is the drafts' spelling of type, which pkcs11-provider and
 * libp11 read as well; kyok-group is kyok's vendor-specific query attribute. */
static const struct attribute attributes[] = {
    {"token", PLACE_PATH, KIND_TEXT, 32, false},
    {"manufacturer", PLACE_PATH, KIND_TEXT, 32, false},
    {"model", PLACE_PATH, KIND_TEXT, 16, false},
    {"serial", PLACE_PATH, KIND_TEXT, 16, false},
    {"object", PLACE_PATH, KIND_TEXT, KYOK_REFERENCE_MAX, false},
    {"id", PLACE_PATH, KIND_ID, KYOK_REFERENCE_MAX, false},
    {"type", PLACE_PATH, KIND_TYPE, 16, false},
    {"object-type", PLACE_PATH, KIND_TYPE, 16, false},
    {"slot-id", PLACE_PATH, KIND_SLOT, 19, false},
    {"slot-description", PLACE_PATH, KIND_TEXT, 64, false},
    {"slot-manufacturer", PLACE_PATH, KIND_TEXT, 32, false},
    {"library-description", PLACE_PATH, KIND_TEXT, 32, false},
    {"library-manufacturer", PLACE_PATH, KIND_TEXT, 32, false},
    {"library-version", PLACE_PATH, KIND_VERSION, 7, false},
    {"pin-source", PLACE_QUERY, KIND_TEXT, KYOK_REFERENCE_MAX, true},
    {"pin-value", PLACE_QUERY, KIND_PIN, KYOK_REFERENCE_MAX, true},
    {"module-name", PLACE_QUERY, KIND_TEXT, KYOK_REFERENCE_MAX, true},
    {"module-path", PLACE_QUERY, KIND_TEXT, KYOK_REFERENCE_MAX, true},
    {"kyok-group", PLACE_QUERY, KIND_GROUP, 64, false},
};
#define ATTRIBUTES (sizeof(attributes) / sizeof(attributes[0]))

struct parse {
    const struct kyok_uri *uri;
    struct kyok_buffer stripped; /* the URI without pin-value, what p11-kit reads */
    uint32_t seen;               /* bit per entry of attributes[] */
};

static void parse_clear(struct parse *parse)
{
    kyok_buffer_free(&parse->stripped);
}

/* --- checks on one attribute ------------------------------------------------------------------ */

static enum kyok_status refuse(const struct parse *parse, const char *name, const char *why)
{
    return kyok_uri_refuse(parse->uri, name, why);
}

static enum kyok_status check_version(const struct parse *parse, const char *name,
                                      struct kyok_bytes value)
{
    uint64_t major = 0, minor = 0;
    size_t dot = kyok_text_find(value, ".");
    bool good = kyok_text_number(kyok_bytes(value.data, dot), 254, &major);
    if (good && dot < value.size)
        good =
            kyok_text_number(kyok_bytes(value.data + dot + 1, value.size - dot - 1), 254, &minor);
    return good ? KYOK_OK : refuse(parse, name, "is not a version: expected MAJOR or MAJOR.MINOR");
}

static enum kyok_status take_type(const struct parse *parse, const char *name,
                                  struct kyok_bytes value)
{
    for (size_t i = 0; i < KYOK_OBJECT_WORDS; i++) {
        if (kyok_text_is(value, kyok_object_words[i].word)) {
            parse->uri->reference->type = kyok_object_words[i].type;
            return KYOK_OK;
        }
    }
    return refuse(parse, name, "must be one of private, public, cert, secret-key, data");
}

static enum kyok_status check_text(const struct parse *parse, const struct attribute *attribute,
                                   struct kyok_bytes decoded)
{
    if (decoded.size > attribute->most)
        return refuse(parse, attribute->name, "is longer than a token can hold: no token has it");
    if (attribute->kind == KIND_ID)
        return decoded.size > 0 ? KYOK_OK : refuse(parse, attribute->name, "is empty");
    KYOK_TRY(kyok_uri_check_text(parse->uri, attribute->name, decoded));
    if (attribute->kind == KIND_GROUP && !kyok_text_is_name(decoded))
        return refuse(parse, attribute->name,
                      "is no group name: expected letters, digits, \".\", \"_\", \"-\"");
    if (attribute->place == PLACE_QUERY && decoded.size == 0)
        return refuse(parse, attribute->name, "is empty");
    return KYOK_OK;
}

static enum kyok_status check_decoded(const struct parse *parse, const struct attribute *attribute,
                                      struct kyok_bytes value)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer decoded = {.limit = KYOK_REFERENCE_MAX + 1};
    struct kyok_reference *reference = parse->uri->reference;
    KYOK_TRY(kyok_uri_decode(parse->uri, attribute->name, value, &decoded));
    if (attribute->kind != KIND_PIN)
        return check_text(parse, attribute, kyok_buffer_bytes(&decoded));
    reference->pin_value = kyok_secret_copy(kyok_buffer_bytes(&decoded));
    return reference->pin_value != NULL ? KYOK_OK : kyok_text_no_memory(parse->uri->err);
}

static enum kyok_status check_value(const struct parse *parse, const struct attribute *attribute,
                                    struct kyok_bytes value)
{
    uint64_t slot = 0;
    switch (attribute->kind) {
    case KIND_TYPE:
        return take_type(parse, attribute->name, value);
    case KIND_VERSION:
        return check_version(parse, attribute->name, value);
    case KIND_SLOT:
        /* p11-kit's own reading of a longer number overflows. */
        if (!kyok_text_number(value, (uint64_t)INT64_MAX, &slot))
            return refuse(parse, attribute->name, "is not a slot number");
        return KYOK_OK;
    default:
        return check_decoded(parse, attribute, value);
    }
}

static enum kyok_status check_origin(const struct parse *parse, const struct attribute *attribute)
{
    if (!attribute->configuration_only || parse->uri->reference->origin != KYOK_FROM_DATA)
        return KYOK_OK;
    kyok_fail(parse->uri->err, KYOK_REFUSED, parse->uri->shown,
              "attribute %s is refused in a reference that comes from data", attribute->name);
    return kyok_remedy(parse->uri->err, "name the module and the PIN source in a [token] section");
}

/* --- the pass over all attributes ------------------------------------------------------------- */

static const struct attribute *find_attribute(struct kyok_bytes name, enum attribute_place place,
                                              const struct attribute **elsewhere)
{
    *elsewhere = NULL;
    for (size_t i = 0; i < ATTRIBUTES; i++) {
        if (!kyok_text_is(name, attributes[i].name))
            continue;
        if (attributes[i].place == place)
            return &attributes[i];
        *elsewhere = &attributes[i];
    }
    return NULL;
}

static enum kyok_status fail_unknown(struct parse *parse, struct kyok_bytes name,
                                     const struct attribute *elsewhere)
{
    if (elsewhere != NULL)
        return refuse(parse, elsewhere->name,
                      elsewhere->place == PLACE_QUERY ? "belongs behind \"?\""
                                                      : "belongs before \"?\"");
    kyok_fail(parse->uri->err, KYOK_INVALID, parse->uri->shown, "unknown attribute \"%s\"",
              kyok_text_quote(name).text);
    return kyok_remedy(parse->uri->err, "RFC 7512 2.3 and 2.4 list the names; %s",
                       "kyok adds the query attribute kyok-group");
}

static enum kyok_status mark_seen(struct parse *parse, const struct attribute *attribute)
{
    uint32_t bit = UINT32_C(1) << (attribute - attributes);
    if (parse->seen & bit)
        return refuse(parse, attribute->name, "is given twice");
    parse->seen |= bit;
    for (size_t i = 0; i < ATTRIBUTES; i++) {
        if (&attributes[i] != attribute && attributes[i].kind == KIND_TYPE &&
            attribute->kind == KIND_TYPE && (parse->seen & (UINT32_C(1) << i)))
            return refuse(parse, attribute->name, "is given twice (type, object-type)");
    }
    return KYOK_OK;
}

static enum kyok_status append_stripped(struct parse *parse, char separator,
                                        struct kyok_bytes attribute)
{
    if ((separator != 0 && !kyok_buffer_append(&parse->stripped, &separator, 1)) ||
        !kyok_buffer_append(&parse->stripped, attribute.data, attribute.size))
        return kyok_text_no_memory(parse->uri->err);
    return KYOK_OK;
}

static enum kyok_status take_attribute(struct parse *parse, enum attribute_place place,
                                       char separator, struct kyok_bytes text)
{
    const struct attribute *elsewhere;
    size_t equals = kyok_text_find(text, "=");
    if (text.size == 0)
        return kyok_fail(parse->uri->err, KYOK_INVALID, parse->uri->shown,
                         "an attribute is missing between separators");
    if (equals == text.size)
        return kyok_fail(parse->uri->err, KYOK_INVALID, parse->uri->shown,
                         "an attribute is not NAME=VALUE");
    struct kyok_bytes name = kyok_bytes(text.data, equals);
    const struct attribute *attribute = find_attribute(name, place, &elsewhere);
    if (attribute == NULL)
        return fail_unknown(parse, name, elsewhere);
    KYOK_TRY(mark_seen(parse, attribute));
    KYOK_TRY(check_origin(parse, attribute));
    KYOK_TRY(
        check_value(parse, attribute, kyok_bytes(text.data + equals + 1, text.size - equals - 1)));
    return attribute->kind == KIND_PIN ? KYOK_OK : append_stripped(parse, separator, text);
}

static enum kyok_status take_attributes(struct parse *parse, enum attribute_place place,
                                        struct kyok_bytes text)
{
    const char *separator = place == PLACE_PATH ? ";" : "&";
    char before = place == PLACE_PATH ? 0 : '?';
    bool last = false;
    while (!last) {
        size_t size = kyok_text_find(text, separator), before_size = parse->stripped.size;
        KYOK_TRY(take_attribute(parse, place, before, kyok_bytes(text.data, size)));
        if (parse->stripped.size != before_size)
            before = *separator;
        last = size == text.size;
        text = last ? text : kyok_bytes(text.data + size + 1, text.size - size - 1);
    }
    return KYOK_OK;
}

/* --- what p11-kit decoded --------------------------------------------------------------------- */

/* Fields of PKCS#11 structures are padded with spaces; p11-kit leaves an absent one all zero. */
static bool take_padded(char **text, const unsigned char *field, size_t size)
{
    if (field[0] == 0)
        return true;
    while (size > 0 && field[size - 1] == ' ')
        size--;
    *text = kyok_text_copy(kyok_bytes(field, size));
    return *text != NULL;
}

static bool take_text(char **text, const char *value)
{
    if (value == NULL)
        return true;
    *text = strdup(value);
    return *text != NULL;
}

static bool take_token(struct kyok_reference *reference, P11KitUri *uri)
{
    CK_TOKEN_INFO *token = p11_kit_uri_get_token_info(uri);
    CK_SLOT_INFO *slot = p11_kit_uri_get_slot_info(uri);
    CK_INFO *module = p11_kit_uri_get_module_info(uri);
    CK_SLOT_ID slot_id = p11_kit_uri_get_slot_id(uri);
    reference->has_slot_id = slot_id != (CK_SLOT_ID)-1;
    reference->slot_id = reference->has_slot_id ? slot_id : 0;
    if (module->libraryVersion.major != (CK_BYTE)-1) {
        reference->library_major = module->libraryVersion.major;
        reference->library_minor = module->libraryVersion.minor;
    }
    return take_padded(&reference->token, token->label, sizeof(token->label)) &&
           take_padded(&reference->manufacturer, token->manufacturerID,
                       sizeof(token->manufacturerID)) &&
           take_padded(&reference->model, token->model, sizeof(token->model)) &&
           take_padded(&reference->serial, token->serialNumber, sizeof(token->serialNumber)) &&
           take_padded(&reference->slot_description, slot->slotDescription,
                       sizeof(slot->slotDescription)) &&
           take_padded(&reference->slot_manufacturer, slot->manufacturerID,
                       sizeof(slot->manufacturerID)) &&
           take_padded(&reference->library_description, module->libraryDescription,
                       sizeof(module->libraryDescription)) &&
           take_padded(&reference->library_manufacturer, module->manufacturerID,
                       sizeof(module->manufacturerID));
}

static bool take_id(struct kyok_reference *reference, const CK_ATTRIBUTE *id)
{
    if (id == NULL)
        return true;
    reference->id = (uint8_t *)kyok_text_copy(kyok_bytes(id->pValue, id->ulValueLen));
    reference->id_size = id->ulValueLen;
    reference->has_id = true;
    return reference->id != NULL;
}

static bool take_object(struct kyok_reference *reference, P11KitUri *uri)
{
    CK_ATTRIBUTE *label = p11_kit_uri_get_attribute(uri, CKA_LABEL);
    if (label != NULL) {
        reference->object = kyok_text_copy(kyok_bytes(label->pValue, label->ulValueLen));
        if (reference->object == NULL)
            return false;
    }
    return take_id(reference, p11_kit_uri_get_attribute(uri, CKA_ID)) &&
           take_text(&reference->module_path, p11_kit_uri_get_module_path(uri)) &&
           take_text(&reference->module_name, p11_kit_uri_get_module_name(uri)) &&
           take_text(&reference->pin_source, p11_kit_uri_get_pin_source(uri)) &&
           take_text(&reference->group, p11_kit_uri_get_vendor_query(uri, "kyok-group"));
}

static void p11_uri_auto_free(P11KitUri **uri)
{
    p11_kit_uri_free(*uri);
}

static enum kyok_status decode(const struct kyok_uri *parse, const char *stripped)
{
    KYOK_CLEANUP(p11_uri_auto_free) P11KitUri *uri = p11_kit_uri_new();
    if (uri == NULL)
        return kyok_text_no_memory(parse->err);
    int result = p11_kit_uri_parse(stripped, P11_KIT_URI_FOR_ANY, uri);
    if (result != P11_KIT_URI_OK) {
        kyok_fail(parse->err, KYOK_INVALID, parse->shown, "not a PKCS#11 URI");
        return kyok_because(parse->err, "%s", p11_kit_uri_message(result));
    }
    if (!take_token(parse->reference, uri) || !take_object(parse->reference, uri))
        return kyok_text_no_memory(parse->err);
    return KYOK_OK;
}

enum kyok_status kyok_pkcs11_uri_parse(const struct kyok_uri *uri, struct kyok_bytes text)
{
    KYOK_CLEANUP(parse_clear)
    struct parse parse = {.uri = uri, .stripped = {.limit = KYOK_REFERENCE_MAX + 64}};
    size_t scheme = strlen(KYOK_PKCS11_SCHEME);
    struct kyok_bytes rest = kyok_bytes(text.data + scheme, text.size - scheme);
    size_t path = kyok_text_find(rest, "?");
    uri->reference->kind = KYOK_REFERENCE_PKCS11;
    if (!kyok_buffer_append_text(&parse.stripped, KYOK_PKCS11_SCHEME))
        return kyok_text_no_memory(uri->err);
    if (path > 0)
        KYOK_TRY(take_attributes(&parse, PLACE_PATH, kyok_bytes(rest.data, path)));
    if (path < rest.size)
        KYOK_TRY(take_attributes(&parse, PLACE_QUERY,
                                 kyok_bytes(rest.data + path + 1, rest.size - path - 1)));
    uri->reference->text = kyok_text_copy(kyok_buffer_bytes(&parse.stripped));
    if (uri->reference->text == NULL)
        return kyok_text_no_memory(uri->err);
    KYOK_TRY(decode(uri, uri->reference->text));
    /* RFC 7512 2.4: such a URI should be refused as invalid. */
    if (uri->reference->pin_value != NULL && uri->reference->pin_source != NULL)
        return kyok_fail(uri->err, KYOK_INVALID, uri->reference->text,
                         "both pin-value and pin-source are given");
    return KYOK_OK;
}
