/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing one JWE. The writer defines the canonical form: members in the order below,
 * no white space, no escape but \" and \\. The reader builds the structure, writes it again, and
 * compares.
 *
 * protected: {"cty":"jose+json" (outer layers), "enc":"A256GCM", "kyok":{"v":1, "use", "owner",
 *   "generation", "content":"stream-key" (streams), "recipients":[{"alg","kid"}], "wrapped":
 * SHA-256 of the recipients member below, "inner":[[{"alg","kid"}]] (outer layers)}} JWE:
 * {"protected", "recipients":[{"header":{"alg","kid","iv","tag"},"encrypted_key"}], "iv",
 *   "ciphertext", "tag"}
 */
#include "common/envelope/jwe.h"
#include "common/envelope/base64url.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define NESTED_TYPE "jose+json"
#define STREAM_CONTENT "stream-key"

static void json_auto_free(json_t **json)
{
    json_decref(*json);
}

#define AUTO_JSON KYOK_CLEANUP(json_auto_free)

void kyok_jwe_free(struct kyok_jwe *jwe)
{
    if (jwe == NULL)
        return;
    free(jwe->protected_text);
    free(jwe->aad_text);
    kyok_envelope_free(jwe->envelope);
    kyok_jwe_recipients_free(&jwe->recipients);
    free(jwe->ciphertext);
    free(jwe);
}

void kyok_jwe_auto_free(struct kyok_jwe **jwe)
{
    kyok_jwe_free(*jwe);
}

/* --- writing --------------------------------------------------------------------------------- */

static bool write_string(struct kyok_buffer *json, const char *text)
{
    bool good = kyok_buffer_append(json, "\"", 1);

    for (; good && *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            good = kyok_buffer_append(json, "\\", 1);
        good = good && kyok_buffer_append(json, text, 1);
    }
    return good && kyok_buffer_append(json, "\"", 1);
}

static bool write_base64url(struct kyok_buffer *json, const void *data, size_t size)
{
    return kyok_buffer_append(json, "\"", 1) &&
           kyok_base64url_append(json, kyok_bytes(data, size)) && kyok_buffer_append(json, "\"", 1);
}

static bool write_names(struct kyok_buffer *json, const struct kyok_envelope_layer *layer)
{
    bool good = kyok_buffer_append_text(json, "[");

    for (size_t i = 0; good && i < layer->count; i++)
        good = kyok_buffer_printf(json, "%s{\"alg\":\"%s\",\"kid\":", i > 0 ? "," : "",
                                  kyok_envelope_algorithm_name(layer->recipients[i].algorithm)) &&
               write_string(json, layer->recipients[i].kid) && kyok_buffer_append_text(json, "}");
    return good && kyok_buffer_append_text(json, "]");
}

static bool write_recipient(struct kyok_buffer *json, const struct kyok_jwe_recipient *recipient)
{
    if (!kyok_buffer_printf(json, "{\"header\":{\"alg\":\"%s\",\"kid\":",
                            kyok_envelope_algorithm_name(recipient->algorithm)) ||
        !write_string(json, recipient->kid))
        return false;
    if (recipient->algorithm == KYOK_ENVELOPE_A256GCMKW &&
        !(kyok_buffer_append_text(json, ",\"iv\":") &&
          write_base64url(json, recipient->iv, sizeof(recipient->iv)) &&
          kyok_buffer_append_text(json, ",\"tag\":") &&
          write_base64url(json, recipient->tag, sizeof(recipient->tag))))
        return false;
    return kyok_buffer_append_text(json, "},\"encrypted_key\":") &&
           write_base64url(json, recipient->encrypted_key, recipient->encrypted_key_size) &&
           kyok_buffer_append_text(json, "}");
}

static bool write_recipients(struct kyok_buffer *json, const struct kyok_jwe_recipients *recipients)
{
    bool good = kyok_buffer_append_text(json, "[");

    for (size_t i = 0; good && i < recipients->count; i++)
        good = (i == 0 || kyok_buffer_append_text(json, ",")) &&
               write_recipient(json, &recipients->list[i]);
    return good && kyok_buffer_append_text(json, "]");
}

/* SHA-256 of the recipients member: JWE itself authenticates no wrapped key. */
static enum kyok_status digest_recipients(const struct kyok_jwe_recipients *recipients,
                                          uint8_t digest[32], struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {.limit = KYOK_ENVELOPE_MAX};

    if (!write_recipients(&json, recipients))
        return kyok_no_memory(err);
    return kyok_crypto_sha256(kyok_buffer_bytes(&json), digest, err);
}

static bool write_inner(struct kyok_buffer *json, const struct kyok_envelope *envelope)
{
    bool good = kyok_buffer_append_text(json, ",\"inner\":[");

    for (size_t i = 1; good && i < envelope->layer_count; i++)
        good = (i == 1 || kyok_buffer_append_text(json, ",")) &&
               write_names(json, &envelope->layers[i]);
    return good && kyok_buffer_append_text(json, "]");
}

static bool write_header(struct kyok_buffer *json, const struct kyok_envelope *envelope,
                         const uint8_t digest[32])
{
    const struct kyok_envelope_claims *claims = &envelope->claims;
    bool nested = envelope->layer_count > 1;

    return kyok_buffer_append_text(json, nested ? "{\"cty\":\"" NESTED_TYPE "\"," : "{") &&
           kyok_buffer_append_text(json, "\"enc\":\"A256GCM\",\"kyok\":{\"v\":1,\"use\":") &&
           write_string(json, claims->use) && kyok_buffer_append_text(json, ",\"owner\":") &&
           write_string(json, claims->owner) &&
           kyok_buffer_printf(json, ",\"generation\":%llu",
                              (unsigned long long)claims->generation) &&
           (envelope->content != KYOK_ENVELOPE_STREAM_KEY ||
            kyok_buffer_append_text(json, ",\"content\":\"" STREAM_CONTENT "\"")) &&
           kyok_buffer_append_text(json, ",\"recipients\":") &&
           write_names(json, &envelope->layers[0]) &&
           kyok_buffer_append_text(json, ",\"wrapped\":") && write_base64url(json, digest, 32) &&
           (!nested || write_inner(json, envelope)) && kyok_buffer_append_text(json, "}}");
}

enum kyok_status kyok_jwe_write_protected(const struct kyok_envelope *envelope,
                                          const struct kyok_jwe_recipients *recipients,
                                          char **protected_text, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {.limit = KYOK_ENVELOPE_MAX};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {.limit = KYOK_ENVELOPE_MAX};
    uint8_t digest[32];

    *protected_text = NULL;
    KYOK_TRY(digest_recipients(recipients, digest, err));
    if (!write_header(&json, envelope, digest) ||
        !kyok_base64url_append(&text, kyok_buffer_bytes(&json)) ||
        (*protected_text = strndup((const char *)text.data, text.size)) == NULL)
        return kyok_no_memory(err);
    return KYOK_OK;
}

enum kyok_status kyok_jwe_write(const struct kyok_jwe *jwe, struct kyok_buffer *json,
                                struct kyok_error *err)
{
    if (kyok_buffer_append_text(json, "{\"protected\":\"") &&
        kyok_buffer_append_text(json, jwe->protected_text) &&
        kyok_buffer_append_text(json, "\",\"recipients\":") &&
        write_recipients(json, &jwe->recipients) && kyok_buffer_append_text(json, ",\"iv\":") &&
        write_base64url(json, jwe->iv, sizeof(jwe->iv)) &&
        kyok_buffer_append_text(json, ",\"ciphertext\":") &&
        write_base64url(json, jwe->ciphertext, jwe->ciphertext_size) &&
        kyok_buffer_append_text(json, ",\"tag\":") &&
        write_base64url(json, jwe->tag, sizeof(jwe->tag)) && kyok_buffer_append_text(json, "}"))
        return KYOK_OK;
    return kyok_fail(err, KYOK_INVALID, NULL, "the envelope would exceed %zu bytes",
                     KYOK_ENVELOPE_MAX);
}

enum kyok_status kyok_jwe_aad(const struct kyok_jwe *jwe, struct kyok_buffer *aad,
                              struct kyok_error *err)
{
    if (!kyok_buffer_append_text(aad, jwe->protected_text) ||
        (jwe->aad_text != NULL &&
         !(kyok_buffer_append_text(aad, ".") && kyok_buffer_append_text(aad, jwe->aad_text))))
        return kyok_no_memory(err);
    return KYOK_OK;
}

/* --- reading --------------------------------------------------------------------------------- */

static enum kyok_status malformed(struct kyok_error *err, const char *what)
{
    return kyok_fail(err, KYOK_INVALID, NULL, "not an envelope: %s", what);
}

/* jansson recurses to a depth of 2048; an envelope needs 6. */
static bool depth_is_bounded(struct kyok_bytes json)
{
    unsigned depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < json.size; i++) {
        uint8_t byte = json.data[i];

        if (in_string && byte == '\\')
            i++;
        else if (byte == '"')
            in_string = !in_string;
        else if (!in_string && (byte == '{' || byte == '[') && ++depth > KYOK_JWE_MAX_DEPTH)
            return false;
        else if (!in_string && (byte == '}' || byte == ']') && depth-- == 0)
            return false;
    }
    return true;
}

static enum kyok_status read_json(struct kyok_bytes text, json_t **json, struct kyok_error *err)
{
    json_error_t fault;

    *json = NULL;
    if (text.size > KYOK_ENVELOPE_MAX)
        return malformed(err, "too large");
    if (!depth_is_bounded(text))
        return malformed(err, "JSON nested too deeply");
    *json = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &fault);
    if (*json == NULL) {
        malformed(err, "not JSON, or a member twice");
        return kyok_because(err, "%.80s at byte %d", fault.text, fault.position);
    }
    return json_is_object(*json) ? KYOK_OK : malformed(err, "not a JSON object");
}

/* False when absent or not a string. */
static bool text_member(const json_t *object, const char *name, struct kyok_bytes *text)
{
    const json_t *member = json_object_get(object, name);

    if (!json_is_string(member))
        return false;
    *text = kyok_bytes(json_string_value(member), json_string_length(member));
    return true;
}

static bool text_member_is(const json_t *object, const char *name, const char *value)
{
    struct kyok_bytes text;

    return text_member(object, name, &text) && kyok_bytes_equal(text, kyok_bytes_of_text(value));
}

static bool exact_member(const json_t *object, const char *name, uint8_t *data, size_t size)
{
    struct kyok_bytes text;

    return text_member(object, name, &text) && kyok_base64url_decode_exact(text, data, size);
}

/* Decodes into a block of its own. An empty member gives an empty block. */
static bool bytes_member(const json_t *object, const char *name, uint8_t **data, size_t *size)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer bytes = {.limit = KYOK_ENVELOPE_MAX};
    struct kyok_bytes text;

    if (!text_member(object, name, &text) || !kyok_base64url_decode(text, &bytes) ||
        (*data = malloc(bytes.size + 1)) == NULL)
        return false;
    if (bytes.size > 0)
        memcpy(*data, bytes.data, bytes.size);
    *size = bytes.size;
    return true;
}

/* Where a recipient's parameters may stand: its own header, and in foreign JSON also the shared
 * unprotected and the protected one (RFC 7516 4.: the names in them are disjoint). */
struct parameters {
    const json_t *headers[3];
    size_t count;
};

static const json_t *parameter_holder(const struct parameters *parameters, const char *name)
{
    const json_t *holder = NULL;

    for (size_t i = 0; i < parameters->count; i++)
        if (json_object_get(parameters->headers[i], name) != NULL) {
            if (holder != NULL)
                return NULL;
            holder = parameters->headers[i];
        }
    return holder;
}

static bool read_algorithm(const json_t *object, enum kyok_envelope_algorithm *algorithm)
{
    const char *name = json_string_value(json_object_get(object, "alg"));

    *algorithm = name != NULL ? kyok_envelope_algorithm_by_name(name) : KYOK_ENVELOPE_AUTOMATIC;
    return *algorithm != KYOK_ENVELOPE_AUTOMATIC;
}

/* Printable ASCII, so that it needs no escape and no terminal is confused. */
static bool is_kid(const char *kid)
{
    size_t length = strlen(kid);

    for (size_t i = 0; i < length; i++)
        if (kid[i] <= ' ' || kid[i] > '~' || kid[i] == '"' || kid[i] == '\\')
            return false;
    return length > 0 && length <= KYOK_JWE_MAX_KID;
}

static enum kyok_status read_kid(const json_t *object, bool foreign, char **kid,
                                 struct kyok_error *err)
{
    const char *text = json_string_value(json_object_get(object, "kid"));

    *kid = NULL;
    if (text == NULL || !is_kid(text))
        return foreign ? KYOK_OK : malformed(err, "a recipient without a usable \"kid\"");
    *kid = strdup(text);
    return *kid != NULL ? KYOK_OK : kyok_no_memory(err);
}

static enum kyok_status read_recipient_fields(const json_t *holder,
                                              const struct parameters *parameters, bool foreign,
                                              struct kyok_jwe_recipient *recipient,
                                              struct kyok_error *err)
{
    if (!read_algorithm(parameter_holder(parameters, "alg"), &recipient->algorithm))
        return malformed(err, "a recipient's \"alg\" is none of A256GCMKW, A256KW, RSA-OAEP-256");
    KYOK_TRY(read_kid(parameter_holder(parameters, "kid"), foreign, &recipient->kid, err));
    if (recipient->algorithm == KYOK_ENVELOPE_A256GCMKW &&
        (!exact_member(parameter_holder(parameters, "iv"), "iv", recipient->iv,
                       sizeof(recipient->iv)) ||
         !exact_member(parameter_holder(parameters, "tag"), "tag", recipient->tag,
                       sizeof(recipient->tag))))
        return malformed(err,
                         "an A256GCMKW recipient without \"iv\" of 12 and \"tag\" of 16 bytes");
    if (!bytes_member(holder, "encrypted_key", &recipient->encrypted_key,
                      &recipient->encrypted_key_size) ||
        recipient->encrypted_key_size == 0 ||
        recipient->encrypted_key_size > KYOK_JWE_MAX_ENCRYPTED_KEY)
        return malformed(err, "a recipient without a usable \"encrypted_key\"");
    return KYOK_OK;
}

/* holder: a member of "recipients", or the whole object in the flattened form. */
static enum kyok_status read_recipient(const json_t *holder, const json_t *jwe,
                                       const json_t *header, bool foreign,
                                       struct kyok_jwe_recipients *recipients,
                                       struct kyok_error *err)
{
    struct parameters parameters = {.headers = {json_object_get(holder, "header")}, .count = 1};
    KYOK_CLEANUP(kyok_jwe_recipient_free) struct kyok_jwe_recipient recipient = {0};

    if (foreign) {
        parameters.headers[parameters.count++] = json_object_get(jwe, "unprotected");
        parameters.headers[parameters.count++] = header;
    }
    KYOK_TRY(read_recipient_fields(holder, &parameters, foreign, &recipient, err));
    return kyok_jwe_recipients_add(recipients, &recipient, err);
}

static enum kyok_status read_recipients(const json_t *jwe, const json_t *header, bool foreign,
                                        struct kyok_jwe_recipients *recipients,
                                        struct kyok_error *err)
{
    const json_t *list = json_object_get(jwe, "recipients");

    if (list == NULL && foreign)
        return read_recipient(jwe, jwe, header, foreign, recipients, err);
    if (!json_is_array(list) || json_array_size(list) == 0)
        return malformed(err, "no \"recipients\"");
    for (size_t i = 0; i < json_array_size(list); i++)
        KYOK_TRY(read_recipient(json_array_get(list, i), jwe, header, foreign, recipients, err));
    return KYOK_OK;
}

/* --- reading the protected header ------------------------------------------------------------ */

static enum kyok_status read_name(const json_t *object, struct kyok_envelope_recipient *name,
                                  struct kyok_error *err)
{
    name->kid = json_string_value(json_object_get(object, "kid"));
    if (!read_algorithm(object, &name->algorithm) || name->kid == NULL || !is_kid(name->kid))
        return malformed(err, "the protected header names a recipient without \"alg\" and \"kid\"");
    return KYOK_OK;
}

static enum kyok_status read_names(const json_t *list, struct kyok_envelope *envelope,
                                   struct kyok_error *err)
{
    struct kyok_envelope_recipient names[KYOK_ENVELOPE_MAX_RECIPIENTS];
    size_t count = json_array_size(list);

    if (count == 0 || count > KYOK_ENVELOPE_MAX_RECIPIENTS)
        return malformed(err, "the protected header's \"recipients\" or \"inner\"");
    for (size_t i = 0; i < count; i++) {
        KYOK_TRY(read_name(json_array_get(list, i), &names[i], err));
        for (size_t before = 0; before < i; before++)
            if (strcmp(names[before].kid, names[i].kid) == 0)
                return malformed(err, "a recipient twice in one layer");
    }
    return kyok_envelope_add_layer(envelope, &(struct kyok_envelope_layer){names, count}, err);
}

static enum kyok_status read_claims(const json_t *kyok, struct kyok_envelope **envelope,
                                    struct kyok_error *err)
{
    const json_t *generation = json_object_get(kyok, "generation");
    struct kyok_envelope_claims claims = {
        .use = json_string_value(json_object_get(kyok, "use")),
        .owner = json_string_value(json_object_get(kyok, "owner")),
        .generation = (uint64_t)json_integer_value(generation),
    };
    const json_t *content = json_object_get(kyok, "content");
    bool stream = text_member_is(kyok, "content", STREAM_CONTENT);

    if (json_integer_value(json_object_get(kyok, "v")) != 1)
        return malformed(err, "\"kyok\" is not of version 1");
    if (!json_is_integer(generation) || json_integer_value(generation) < 0)
        return malformed(err, "\"generation\" is not a whole number");
    if (content != NULL && !stream)
        return malformed(err, "unknown \"content\"");
    if (kyok_envelope_check_claims(&claims, err) != KYOK_OK)
        return malformed(err, "\"use\", \"owner\" or \"generation\" is missing or not allowed");
    return kyok_envelope_new(&claims, stream ? KYOK_ENVELOPE_STREAM_KEY : KYOK_ENVELOPE_SECRET,
                             envelope, err);
}

static enum kyok_status read_inner(const json_t *kyok, bool foreign, struct kyok_envelope *envelope,
                                   struct kyok_error *err)
{
    const json_t *inner = json_object_get(kyok, "inner");

    if (inner == NULL && (foreign || !envelope->nested))
        return KYOK_OK;
    if (!envelope->nested || json_array_size(inner) == 0)
        return malformed(err, "\"cty\" and \"inner\" do not fit each other");
    for (size_t i = 0; i < json_array_size(inner); i++)
        KYOK_TRY(read_names(json_array_get(inner, i), envelope, err));
    return KYOK_OK;
}

static bool is_nested(const json_t *header, bool foreign)
{
    return text_member_is(header, "cty", NESTED_TYPE) ||
           (foreign && (text_member_is(header, "cty", "JOSE+JSON") ||
                        text_member_is(header, "cty", "application/jose+json")));
}

static enum kyok_status read_envelope(const json_t *header, bool foreign, struct kyok_jwe *jwe,
                                      struct kyok_error *err)
{
    const json_t *kyok = json_object_get(header, "kyok");

    if (kyok == NULL && foreign) {
        KYOK_TRY(kyok_envelope_new(NULL, KYOK_ENVELOPE_SECRET, &jwe->envelope, err));
        jwe->envelope->nested = is_nested(header, foreign);
        return kyok_envelope_add_recipients(jwe->envelope, &jwe->recipients, err);
    }
    if (!json_is_object(kyok))
        return malformed(err, "the protected header has no \"kyok\"");
    KYOK_TRY(read_claims(kyok, &jwe->envelope, err));
    jwe->envelope->nested = is_nested(header, foreign);
    KYOK_TRY(read_names(json_object_get(kyok, "recipients"), jwe->envelope, err));
    return read_inner(kyok, foreign, jwe->envelope, err);
}

/* The names in the protected header against the recipients that are there. */
static enum kyok_status check_recipients(const struct kyok_jwe *jwe, struct kyok_error *err)
{
    const struct kyok_envelope_layer *named = &jwe->envelope->layers[0];

    if (named->count != jwe->recipients.count)
        return kyok_fail(err, KYOK_TAMPERED, NULL,
                         "the envelope has %zu recipients, its protected header names %zu",
                         jwe->recipients.count, named->count);
    for (size_t i = 0; i < named->count; i++) {
        const struct kyok_jwe_recipient *present = &jwe->recipients.list[i];

        if (named->recipients[i].algorithm != present->algorithm || present->kid == NULL ||
            strcmp(named->recipients[i].kid, present->kid) != 0)
            return kyok_fail(err, KYOK_TAMPERED, present->kid,
                             "recipient %zu is not the one that the protected header names", i + 1);
    }
    return KYOK_OK;
}

static enum kyok_status check_wrapped(const json_t *header, const struct kyok_jwe *jwe,
                                      struct kyok_error *err)
{
    uint8_t said[32], present[32];

    if (!exact_member(json_object_get(header, "kyok"), "wrapped", said, sizeof(said)))
        return malformed(err, "the protected header has no \"wrapped\" digest");
    KYOK_TRY(digest_recipients(&jwe->recipients, present, err));
    if (memcmp(said, present, sizeof(said)) != 0)
        return kyok_fail(err, KYOK_TAMPERED, NULL,
                         "the recipients' wrapped keys are not those of the protected header");
    return KYOK_OK;
}

static enum kyok_status check_canonical(struct kyok_bytes json, const struct kyok_jwe *jwe,
                                        struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer again = {.limit = KYOK_ENVELOPE_MAX};
    KYOK_AUTO_FREE char *protected_text = NULL;
    bool same;

    KYOK_TRY(kyok_jwe_write_protected(jwe->envelope, &jwe->recipients, &protected_text, err));
    same = strcmp(protected_text, jwe->protected_text) == 0;
    if (same) {
        KYOK_TRY(kyok_jwe_write(jwe, &again, err));
        same = kyok_bytes_equal(kyok_buffer_bytes(&again), json);
    }
    if (same)
        return KYOK_OK;
    kyok_fail(err, KYOK_INVALID, NULL, "the envelope is not in its canonical encoding");
    return kyok_remedy(err, "JSON of other programs is read with --foreign");
}

static enum kyok_status read_content(const json_t *json, bool foreign, struct kyok_jwe *jwe,
                                     struct kyok_error *err)
{
    struct kyok_bytes aad;

    if (!exact_member(json, "iv", jwe->iv, sizeof(jwe->iv)) ||
        !exact_member(json, "tag", jwe->tag, sizeof(jwe->tag)))
        return malformed(err, "no \"iv\" of 12 and \"tag\" of 16 bytes");
    if (!bytes_member(json, "ciphertext", &jwe->ciphertext, &jwe->ciphertext_size))
        return malformed(err, "no usable \"ciphertext\"");
    if (foreign && text_member(json, "aad", &aad) &&
        (jwe->aad_text = strndup((const char *)aad.data, aad.size)) == NULL)
        return kyok_no_memory(err);
    return KYOK_OK;
}

static enum kyok_status read_protected(const json_t *json, struct kyok_jwe *jwe, json_t **header,
                                       struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {.limit = KYOK_ENVELOPE_MAX};
    struct kyok_bytes encoded;

    if (!text_member(json, "protected", &encoded) || !kyok_base64url_decode(encoded, &text))
        return malformed(err, "no usable \"protected\"");
    jwe->protected_text = strndup((const char *)encoded.data, encoded.size);
    if (jwe->protected_text == NULL)
        return kyok_no_memory(err);
    KYOK_TRY(read_json(kyok_buffer_bytes(&text), header, err));
    if (!text_member_is(*header, "enc", "A256GCM"))
        return malformed(err, "\"enc\" is not A256GCM");
    if (json_object_get(*header, "crit") != NULL || json_object_get(*header, "zip") != NULL)
        return malformed(err, "\"crit\" and \"zip\" are not supported");
    return KYOK_OK;
}

static enum kyok_status read_jwe(struct kyok_bytes text, bool foreign, struct kyok_jwe *jwe,
                                 struct kyok_error *err)
{
    AUTO_JSON json_t *json = NULL;
    AUTO_JSON json_t *header = NULL;

    KYOK_TRY(read_json(text, &json, err));
    KYOK_TRY(read_protected(json, jwe, &header, err));
    KYOK_TRY(read_recipients(json, header, foreign, &jwe->recipients, err));
    KYOK_TRY(read_content(json, foreign, jwe, err));
    KYOK_TRY(read_envelope(header, foreign, jwe, err));
    if (jwe->envelope->has_claims)
        KYOK_TRY(check_recipients(jwe, err));
    if (!foreign || json_object_get(json_object_get(header, "kyok"), "wrapped") != NULL)
        KYOK_TRY(check_wrapped(header, jwe, err));
    return foreign ? KYOK_OK : check_canonical(text, jwe, err);
}

enum kyok_status kyok_jwe_parse(struct kyok_bytes json, bool foreign, struct kyok_jwe **jwe,
                                struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_jwe_auto_free) struct kyok_jwe *made = calloc(1, sizeof(*made));

    *jwe = NULL;
    if (made == NULL)
        return kyok_no_memory(err);
    KYOK_TRY(read_jwe(json, foreign, made, err));
    *jwe = made;
    made = NULL;
    return KYOK_OK;
}
