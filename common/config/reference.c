/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key references. p11-kit decodes pkcs11: URIs; but it drops unknown attributes with a flag that
 * names none, lets the last of two duplicates win, and keeps pin-value in memory that nobody wipes.
 * So a pass of our own comes first: every attribute is looked up in the table below, checked, and
 * pin-value is taken out before p11-kit sees the rest. (Its URI functions take no lock and may be
 * called in a forked child.)
 */
#include "common/config/reference.h"

#include "common/config/kyok_conf.h"
#include "common/config/text.h"

#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PKCS11_SCHEME "pkcs11:"
#define KMIP_SCHEME "kmip://"
#define REFERENCE_MAX ((size_t)4096)

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
    {"object", PLACE_PATH, KIND_TEXT, REFERENCE_MAX, false},
    {"id", PLACE_PATH, KIND_ID, REFERENCE_MAX, false},
    {"type", PLACE_PATH, KIND_TYPE, 16, false},
    {"object-type", PLACE_PATH, KIND_TYPE, 16, false},
    {"slot-id", PLACE_PATH, KIND_SLOT, 19, false},
    {"slot-description", PLACE_PATH, KIND_TEXT, 64, false},
    {"slot-manufacturer", PLACE_PATH, KIND_TEXT, 32, false},
    {"library-description", PLACE_PATH, KIND_TEXT, 32, false},
    {"library-manufacturer", PLACE_PATH, KIND_TEXT, 32, false},
    {"library-version", PLACE_PATH, KIND_VERSION, 7, false},
    {"pin-source", PLACE_QUERY, KIND_TEXT, REFERENCE_MAX, true},
    {"pin-value", PLACE_QUERY, KIND_PIN, REFERENCE_MAX, true},
    {"module-name", PLACE_QUERY, KIND_TEXT, REFERENCE_MAX, true},
    {"module-path", PLACE_QUERY, KIND_TEXT, REFERENCE_MAX, true},
    {"kyok-group", PLACE_QUERY, KIND_GROUP, 64, false},
};
#define ATTRIBUTES (sizeof(attributes) / sizeof(attributes[0]))

static const struct {
    const char *word;
    enum kyok_object_type type;
    CK_OBJECT_CLASS class;
} object_types[] = {
    {"private", KYOK_OBJECT_PRIVATE, CKO_PRIVATE_KEY},
    {"public", KYOK_OBJECT_PUBLIC, CKO_PUBLIC_KEY},
    {"cert", KYOK_OBJECT_CERTIFICATE, CKO_CERTIFICATE},
    {"secret-key", KYOK_OBJECT_SECRET, CKO_SECRET_KEY},
    {"data", KYOK_OBJECT_DATA, CKO_DATA},
};
#define OBJECT_TYPES (sizeof(object_types) / sizeof(object_types[0]))

struct parse {
    struct kyok_reference *reference;
    const char *shown;            /* for messages, without pin-value */
    struct kyok_buffer *stripped; /* the URI without pin-value, what p11-kit reads */
    uint32_t seen;                /* bit per entry of attributes[] */
    struct kyok_error *err;
};

static void reference_auto_free(struct kyok_reference **reference)
{
    kyok_reference_free(*reference);
}

bool kyok_reference_is(const char *text)
{
    return strncasecmp(text, PKCS11_SCHEME, strlen(PKCS11_SCHEME)) == 0 ||
           strncasecmp(text, "kmip:", 5) == 0;
}

/* --- checks on one attribute ------------------------------------------------------------------ */

static enum kyok_status refuse(struct parse *parse, const char *name, const char *why)
{
    return kyok_fail(parse->err, KYOK_INVALID, parse->shown, "attribute %s %s", name, why);
}

/* RFC 3986 lets only printable ASCII stand in a URI; "#" would begin a fragment. */
static bool printable(struct kyok_bytes value)
{
    for (size_t i = 0; i < value.size; i++) {
        uint8_t c = value.data[i];
        if (c <= 0x20 || c >= 0x7f || strchr("#\"<>\\^`{}", c) != NULL)
            return false;
    }
    return true;
}

static enum kyok_status check_version(struct parse *parse, const char *name,
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

static enum kyok_status check_type(struct parse *parse, const char *name, struct kyok_bytes value)
{
    for (size_t i = 0; i < OBJECT_TYPES; i++) {
        if (kyok_text_is(value, object_types[i].word))
            return KYOK_OK;
    }
    return refuse(parse, name, "must be one of private, public, cert, secret-key, data");
}

static enum kyok_status check_text(struct parse *parse, const struct attribute *attribute,
                                   struct kyok_bytes decoded)
{
    if (decoded.size > attribute->most)
        return refuse(parse, attribute->name, "is longer than a token can hold: no token has it");
    if (attribute->kind == KIND_ID)
        return decoded.size > 0 ? KYOK_OK : refuse(parse, attribute->name, "is empty");
    if (memchr(decoded.data, 0, decoded.size) != NULL)
        return refuse(parse, attribute->name, "holds a NUL (%00)");
    if (!kyok_text_is_utf8(decoded))
        return refuse(parse, attribute->name, "is not UTF-8 when decoded");
    if (attribute->kind == KIND_GROUP && !kyok_text_is_name(decoded))
        return refuse(parse, attribute->name,
                      "is no group name: expected letters, digits, \".\", \"_\", \"-\"");
    if (attribute->place == PLACE_QUERY && decoded.size == 0)
        return refuse(parse, attribute->name, "is empty");
    return KYOK_OK;
}

static enum kyok_status check_decoded(struct parse *parse, const struct attribute *attribute,
                                      struct kyok_bytes value)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer decoded = {.limit = REFERENCE_MAX + 1};
    uint8_t *room = kyok_buffer_reserve(&decoded, value.size + 1);
    if (room == NULL)
        return kyok_text_no_memory(parse->err);
    if (!printable(value) || !kyok_percent_decode(value, room, &decoded.size)) {
        refuse(parse, attribute->name, "holds a character that must be percent-encoded");
        return kyok_remedy(parse->err, "write a space as %%20, a percent sign as %%25");
    }
    if (attribute->kind != KIND_PIN)
        return check_text(parse, attribute, kyok_buffer_bytes(&decoded));
    parse->reference->pin_value = kyok_secret_copy(kyok_buffer_bytes(&decoded));
    return parse->reference->pin_value != NULL ? KYOK_OK : kyok_text_no_memory(parse->err);
}

static enum kyok_status check_value(struct parse *parse, const struct attribute *attribute,
                                    struct kyok_bytes value)
{
    uint64_t slot = 0;
    switch (attribute->kind) {
    case KIND_TYPE:
        return check_type(parse, attribute->name, value);
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

static enum kyok_status check_origin(struct parse *parse, const struct attribute *attribute)
{
    if (!attribute->configuration_only || parse->reference->origin != KYOK_FROM_DATA)
        return KYOK_OK;
    kyok_fail(parse->err, KYOK_REFUSED, parse->shown,
              "attribute %s is refused in a reference that comes from data", attribute->name);
    return kyok_remedy(parse->err, "name the module and the PIN source in a [token] section");
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
    kyok_fail(parse->err, KYOK_INVALID, parse->shown, "unknown attribute \"%s\"",
              kyok_text_quote(name).text);
    return kyok_remedy(parse->err, "RFC 7512 2.3 and 2.4 list the names; %s",
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
    if ((separator != 0 && !kyok_buffer_append(parse->stripped, &separator, 1)) ||
        !kyok_buffer_append(parse->stripped, attribute.data, attribute.size))
        return kyok_text_no_memory(parse->err);
    return KYOK_OK;
}

static enum kyok_status take_attribute(struct parse *parse, enum attribute_place place,
                                       char separator, struct kyok_bytes text)
{
    const struct attribute *elsewhere;
    size_t equals = kyok_text_find(text, "=");
    if (text.size == 0)
        return kyok_fail(parse->err, KYOK_INVALID, parse->shown,
                         "an attribute is missing between separators");
    if (equals == text.size)
        return kyok_fail(parse->err, KYOK_INVALID, parse->shown, "\"%s\" is not NAME=VALUE",
                         kyok_text_quote(text).text);
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
        size_t size = kyok_text_find(text, separator), before_size = parse->stripped->size;
        KYOK_TRY(take_attribute(parse, place, before, kyok_bytes(text.data, size)));
        if (parse->stripped->size != before_size)
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
    CK_ATTRIBUTE *class = p11_kit_uri_get_attribute(uri, CKA_CLASS);
    CK_ATTRIBUTE *label = p11_kit_uri_get_attribute(uri, CKA_LABEL);
    for (size_t i = 0; class != NULL && i < OBJECT_TYPES; i++) {
        if (memcmp(class->pValue, &object_types[i].class, sizeof(CK_OBJECT_CLASS)) == 0)
            reference->type = object_types[i].type;
    }
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

static enum kyok_status decode(struct parse *parse, const char *stripped)
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

/* --- pkcs11: ---------------------------------------------------------------------------------- */

/* text up to a pin-value, for messages about what is wrong before or in it. */
static char *shown_text(struct kyok_bytes text)
{
    const uint8_t *pin = memmem(text.data, text.size, "pin-value", 9);
    return kyok_text_copy(pin == NULL ? text : kyok_bytes(text.data, (size_t)(pin - text.data)));
}

static enum kyok_status parse_pkcs11(struct parse *parse, struct kyok_bytes text)
{
    size_t scheme = strlen(PKCS11_SCHEME);
    struct kyok_bytes rest = kyok_bytes(text.data + scheme, text.size - scheme);
    size_t path = kyok_text_find(rest, "?");
    parse->reference->kind = KYOK_REFERENCE_PKCS11;
    if (!kyok_buffer_append_text(parse->stripped, PKCS11_SCHEME))
        return kyok_text_no_memory(parse->err);
    if (path > 0)
        KYOK_TRY(take_attributes(parse, PLACE_PATH, kyok_bytes(rest.data, path)));
    if (path < rest.size)
        KYOK_TRY(take_attributes(parse, PLACE_QUERY,
                                 kyok_bytes(rest.data + path + 1, rest.size - path - 1)));
    parse->reference->text = kyok_text_copy(kyok_buffer_bytes(parse->stripped));
    if (parse->reference->text == NULL)
        return kyok_text_no_memory(parse->err);
    return decode(parse, parse->reference->text);
}

/* --- kmip: ------------------------------------------------------------------------------------ */

static enum kyok_status kmip_text(struct parse *parse, const char *what, struct kyok_bytes value,
                                  char **text)
{
    static const struct attribute any = {"value", PLACE_QUERY, KIND_TEXT, REFERENCE_MAX, false};
    struct attribute attribute = any;
    attribute.name = what;
    KYOK_TRY(check_decoded(parse, &attribute, value));
    char *decoded = malloc(value.size + 1);
    size_t size = 0;
    if (decoded == NULL)
        return kyok_text_no_memory(parse->err);
    kyok_percent_decode(value, (uint8_t *)decoded, &size);
    decoded[size] = '\0';
    *text = decoded;
    return KYOK_OK;
}

static enum kyok_status parse_kmip_query(struct parse *parse, struct kyok_bytes query)
{
    struct kyok_reference *reference = parse->reference;
    size_t equals = kyok_text_find(query, "=");
    struct kyok_bytes name = kyok_bytes(query.data, equals);
    if (equals == query.size)
        return kyok_fail(parse->err, KYOK_INVALID, parse->shown,
                         "\"%s\" behind \"?\" is not NAME=VALUE", kyok_text_quote(query).text);
    struct kyok_bytes value = kyok_bytes(query.data + equals + 1, query.size - equals - 1);
    if (kyok_text_find(value, "&") < value.size)
        return kyok_fail(parse->err, KYOK_INVALID, parse->shown,
                         "a kmip: reference has one query attribute");
    if (kyok_text_is(name, "name") && reference->identifier == NULL)
        return kmip_text(parse, "name", value, &reference->name);
    if (kyok_text_is(name, "public") && reference->identifier != NULL)
        return kmip_text(parse, "public", value, &reference->public_identifier);
    kyok_fail(parse->err, KYOK_INVALID, parse->shown, "attribute \"%s\" is unknown here",
              kyok_text_quote(name).text);
    return kyok_remedy(parse->err, "expected kmip://GROUP/IDENTIFIER, "
                                   "kmip://GROUP/IDENTIFIER?public=IDENTIFIER or "
                                   "kmip://GROUP?name=NAME");
}

static enum kyok_status parse_kmip(struct parse *parse, struct kyok_bytes text)
{
    struct kyok_reference *reference = parse->reference;
    size_t scheme = strlen(KMIP_SCHEME);
    reference->kind = KYOK_REFERENCE_KMIP;
    reference->text = kyok_text_copy(text);
    if (reference->text == NULL)
        return kyok_text_no_memory(parse->err);
    if (strncasecmp(parse->shown, KMIP_SCHEME, scheme) != 0)
        return kyok_fail(parse->err, KYOK_INVALID, parse->shown,
                         "expected \"kmip://\" and the name of a [kmip] section");
    struct kyok_bytes rest = kyok_bytes(text.data + scheme, text.size - scheme);
    size_t group = kyok_text_find(rest, "/?"), path = kyok_text_find(rest, "?");
    if (!kyok_text_is_name(kyok_bytes(rest.data, group)))
        return kyok_fail(parse->err, KYOK_INVALID, parse->shown,
                         "\"%s\" is no group name: expected letters, digits, \".\", \"_\", \"-\"",
                         kyok_text_quote(kyok_bytes(rest.data, group)).text);
    reference->group = kyok_text_copy(kyok_bytes(rest.data, group));
    if (reference->group == NULL)
        return kyok_text_no_memory(parse->err);
    if (group < path)
        KYOK_TRY(kmip_text(parse, "identifier", kyok_bytes(rest.data + group + 1, path - group - 1),
                           &reference->identifier));
    if (path == rest.size)
        return KYOK_OK;
    return parse_kmip_query(parse, kyok_bytes(rest.data + path + 1, rest.size - path - 1));
}

/* --- parse ------------------------------------------------------------------------------------ */

/* A group must be one of kyok.conf, whoever names it; from data that is a refusal. */
static enum kyok_status check_group(const struct kyok_reference *reference,
                                    const struct kyok_config *config, struct kyok_error *err)
{
    if (reference->group == NULL || config == NULL)
        return KYOK_OK;
    bool kmip = reference->kind == KYOK_REFERENCE_KMIP;
    if (kmip ? kyok_config_kmip(config, reference->group) != NULL
             : kyok_config_token(config, reference->group) != NULL)
        return KYOK_OK;
    kyok_fail(err, reference->origin == KYOK_FROM_DATA ? KYOK_REFUSED : KYOK_INVALID,
              reference->text, "group \"%s\" is not configured", reference->group);
    return kyok_remedy(err, "add a section [%s %s] to %s", kmip ? "kmip" : "token",
                       reference->group, config->path != NULL ? config->path : KYOK_DEFAULT_CONFIG);
}

static enum kyok_status parse_uri(struct parse *parse, struct kyok_bytes text)
{
    if (strncasecmp((const char *)text.data, PKCS11_SCHEME, strlen(PKCS11_SCHEME)) == 0)
        return parse_pkcs11(parse, text);
    return parse_kmip(parse, text);
}

static enum kyok_status parse_text(const char *text, enum kyok_origin origin,
                                   struct kyok_reference **result, struct kyok_error *err)
{
    size_t size = strnlen(text, REFERENCE_MAX + 1);
    if (size > REFERENCE_MAX)
        return kyok_fail(err, KYOK_INVALID, NULL, "a reference is longer than %zu bytes",
                         REFERENCE_MAX);
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer stripped = {.limit = REFERENCE_MAX + 64};
    KYOK_AUTO_FREE char *shown = shown_text(kyok_bytes(text, size));
    KYOK_CLEANUP(reference_auto_free)
    struct kyok_reference *reference = calloc(1, sizeof(*reference));
    if (shown == NULL || reference == NULL)
        return kyok_text_no_memory(err);
    reference->origin = origin;
    reference->library_major = reference->library_minor = -1;
    struct parse parse = {reference, shown, &stripped, 0, err};
    KYOK_TRY(parse_uri(&parse, kyok_bytes(text, size)));
    *result = reference;
    reference = NULL;
    return KYOK_OK;
}

static enum kyok_status resolve_name(const char *name, const struct kyok_config *config,
                                     struct kyok_reference **reference, struct kyok_error *err)
{
    struct kyok_quote shown = kyok_text_quote(kyok_bytes_of_text(name));
    const struct kyok_named_key *key = config != NULL ? kyok_config_key(config, name) : NULL;
    if (key != NULL)
        return kyok_reference_parse(key->uri, KYOK_FROM_CONFIGURATION, config, reference, err);
    kyok_fail(err, KYOK_INVALID, shown.text, "neither a key reference nor the name of a key");
    return kyok_remedy(err, "give a pkcs11: or kmip: URI, or add a section [key %s] to %s",
                       shown.text,
                       config != NULL && config->path != NULL ? config->path : KYOK_DEFAULT_CONFIG);
}

enum kyok_status kyok_reference_parse(const char *text, enum kyok_origin origin,
                                      const struct kyok_config *config,
                                      struct kyok_reference **reference, struct kyok_error *err)
{
    *reference = NULL;
    if (!kyok_reference_is(text)) {
        if (origin != KYOK_FROM_DATA)
            return resolve_name(text, config, reference, err);
        return kyok_fail(err, KYOK_REFUSED, kyok_text_quote(kyok_bytes_of_text(text)).text,
                         "data must name a key by a pkcs11: or kmip: reference");
    }
    KYOK_CLEANUP(reference_auto_free) struct kyok_reference *parsed = NULL;
    KYOK_TRY(parse_text(text, origin, &parsed, err));
    KYOK_TRY(check_group(parsed, config, err));
    *reference = parsed;
    parsed = NULL;
    return KYOK_OK;
}

/* --- format, copy, free ----------------------------------------------------------------------- */

struct format {
    struct kyok_buffer *text;
    char separator; /* before the next attribute; 0 before the first of the path */
    bool failed;
};

static void put_raw(struct format *format, const char *name, const char *value)
{
    bool done =
        (format->separator == 0 || kyok_buffer_append(format->text, &format->separator, 1)) &&
        kyok_buffer_printf(format->text, "%s=%s", name, value);
    format->failed |= !done;
    format->separator = format->separator == '?' || format->separator == '&' ? '&' : ';';
}

static void put_text(struct format *format, const char *name, const char *value)
{
    if (value == NULL)
        return;
    put_raw(format, name, "");
    format->failed |= !kyok_percent_encode(format->text, kyok_bytes_of_text(value), false);
}

static void put_id(struct format *format, const struct kyok_reference *reference)
{
    if (!reference->has_id)
        return;
    put_raw(format, "id", "");
    format->failed |=
        !kyok_percent_encode(format->text, kyok_bytes(reference->id, reference->id_size), true);
}

static void put_number(struct format *format, const char *name, unsigned long number)
{
    put_raw(format, name, "");
    format->failed |= !kyok_buffer_printf(format->text, "%lu", number);
}

static void format_library_and_slot(struct format *format, const struct kyok_reference *reference)
{
    put_text(format, "library-description", reference->library_description);
    put_text(format, "library-manufacturer", reference->library_manufacturer);
    if (reference->library_major >= 0) {
        put_number(format, "library-version", (unsigned long)reference->library_major);
        format->failed |= !kyok_buffer_printf(
            format->text, ".%d", reference->library_minor < 0 ? 0 : reference->library_minor);
    }
    put_text(format, "slot-description", reference->slot_description);
    put_text(format, "slot-manufacturer", reference->slot_manufacturer);
    if (reference->has_slot_id)
        put_number(format, "slot-id", reference->slot_id);
}

static void format_pkcs11(struct format *format, const struct kyok_reference *reference)
{
    format->failed |= !kyok_buffer_append_text(format->text, PKCS11_SCHEME);
    format_library_and_slot(format, reference);
    put_text(format, "model", reference->model);
    put_text(format, "manufacturer", reference->manufacturer);
    put_text(format, "serial", reference->serial);
    put_text(format, "token", reference->token);
    put_id(format, reference);
    put_text(format, "object", reference->object);
    for (size_t i = 0; i < OBJECT_TYPES; i++) {
        if (object_types[i].type == reference->type)
            put_raw(format, "type", object_types[i].word);
    }
    format->separator = '?';
    put_text(format, "kyok-group", reference->group);
    put_text(format, "module-name", reference->module_name);
    put_text(format, "module-path", reference->module_path);
    put_text(format, "pin-source", reference->pin_source);
}

static void format_kmip(struct format *format, const struct kyok_reference *reference)
{
    format->failed |= !kyok_buffer_printf(format->text, KMIP_SCHEME "%s", reference->group);
    if (reference->identifier != NULL) {
        format->failed |=
            !kyok_buffer_append_text(format->text, "/") ||
            !kyok_percent_encode(format->text, kyok_bytes_of_text(reference->identifier), false);
    }
    format->separator = '?';
    put_text(format, "name", reference->name);
    put_text(format, "public", reference->public_identifier);
}

enum kyok_status kyok_reference_format(const struct kyok_reference *reference,
                                       struct kyok_buffer *text, struct kyok_error *err)
{
    struct format format = {.text = text};
    if (reference->kind == KYOK_REFERENCE_KMIP)
        format_kmip(&format, reference);
    else
        format_pkcs11(&format, reference);
    return format.failed ? kyok_text_no_memory(err) : KYOK_OK;
}

/* Every owned text, so that copy and free cannot forget one. */
static const size_t text_fields[] = {
    offsetof(struct kyok_reference, text),
    offsetof(struct kyok_reference, token),
    offsetof(struct kyok_reference, manufacturer),
    offsetof(struct kyok_reference, model),
    offsetof(struct kyok_reference, serial),
    offsetof(struct kyok_reference, slot_description),
    offsetof(struct kyok_reference, slot_manufacturer),
    offsetof(struct kyok_reference, library_description),
    offsetof(struct kyok_reference, library_manufacturer),
    offsetof(struct kyok_reference, object),
    offsetof(struct kyok_reference, module_path),
    offsetof(struct kyok_reference, module_name),
    offsetof(struct kyok_reference, pin_source),
    offsetof(struct kyok_reference, group),
    offsetof(struct kyok_reference, identifier),
    offsetof(struct kyok_reference, name),
    offsetof(struct kyok_reference, public_identifier),
};
#define TEXT_FIELDS (sizeof(text_fields) / sizeof(text_fields[0]))

static char **text_field(struct kyok_reference *reference, size_t index)
{
    return (char **)(void *)((char *)reference + text_fields[index]);
}

enum kyok_status kyok_reference_copy(const struct kyok_reference *reference,
                                     struct kyok_reference **copy, struct kyok_error *err)
{
    KYOK_CLEANUP(reference_auto_free) struct kyok_reference *made = malloc(sizeof(*made));
    if (made == NULL)
        return kyok_text_no_memory(err);
    *made = *reference;
    made->id = NULL;
    made->pin_value = NULL;
    for (size_t i = 0; i < TEXT_FIELDS; i++)
        *text_field(made, i) = NULL;
    for (size_t i = 0; i < TEXT_FIELDS; i++) {
        const char *from = *text_field((struct kyok_reference *)(uintptr_t)reference, i);
        if (!take_text(text_field(made, i), from))
            return kyok_text_no_memory(err);
    }
    if (reference->has_id && (made->id = (uint8_t *)kyok_text_copy(
                                  kyok_bytes(reference->id, reference->id_size))) == NULL)
        return kyok_text_no_memory(err);
    if (reference->pin_value != NULL &&
        (made->pin_value = kyok_secret_copy(kyok_secret_bytes(reference->pin_value))) == NULL)
        return kyok_text_no_memory(err);
    *copy = made;
    made = NULL;
    return KYOK_OK;
}

void kyok_reference_free(struct kyok_reference *reference)
{
    if (reference == NULL)
        return;
    for (size_t i = 0; i < TEXT_FIELDS; i++)
        free(*text_field(reference, i));
    free(reference->id);
    kyok_secret_free(reference->pin_value);
    free(reference);
}
