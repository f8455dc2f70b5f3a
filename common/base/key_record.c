/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/key_record.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* --- states --- */

static const struct {
    const char *name;
    unsigned followers; /* bits of enum kyok_key_state */
    unsigned leaves;    /* bits of enum kyok_key_usage */
} states[] = {
#define TO(state) (1u << KYOK_STATE_##state)
    [KYOK_STATE_PRE_ACTIVE] = {"pre-active", TO(ACTIVE) | TO(DESTROYED), 0},
    [KYOK_STATE_ACTIVE] = {"active", TO(SUSPENDED) | TO(DEACTIVATED), ~0u},
    [KYOK_STATE_SUSPENDED] = {"suspended", TO(ACTIVE) | TO(DEACTIVATED), 0},
    [KYOK_STATE_DEACTIVATED] = {"deactivated", TO(DESTROYED),
                                KYOK_USAGE_DECRYPT | KYOK_USAGE_UNWRAP | KYOK_USAGE_DERIVE},
    [KYOK_STATE_DESTROYED] = {"destroyed", 0, 0},
#undef TO
};
#define STATE_COUNT (sizeof(states) / sizeof(states[0]))

const char *kyok_key_state_name(enum kyok_key_state state)
{
    return states[state].name;
}

bool kyok_key_state_by_name(const char *name, enum kyok_key_state *state)
{
    for (size_t i = 0; i < STATE_COUNT; i++)
        if (strcmp(states[i].name, name) == 0) {
            *state = (enum kyok_key_state)i;
            return true;
        }
    return false;
}

bool kyok_key_state_may_follow(enum kyok_key_state from, enum kyok_key_state to)
{
    return (states[from].followers >> to & 1) != 0;
}

unsigned kyok_key_state_usage(enum kyok_key_state state, unsigned usage)
{
    return usage & states[state].leaves;
}

/* --- names --- */

bool kyok_key_name_equal(const struct kyok_key_name *a, const struct kyok_key_name *b)
{
    return strcmp(a->label, b->label) == 0 && a->id_size == b->id_size &&
           memcmp(a->id, b->id, a->id_size) == 0;
}

void kyok_key_record_base_name(const char *label, char base[KYOK_RECORD_LABEL_MAX + 1])
{
    size_t length = strnlen(label, KYOK_RECORD_LABEL_MAX), digits = length;

    memcpy(base, label, length);
    base[length] = '\0';
    while (digits > 0 && isdigit((unsigned char)base[digits - 1]))
        digits--;
    if (digits < length && digits > 2 && strncmp(base + digits - 2, ".v", 2) == 0)
        base[digits - 2] = '\0';
}

struct kyok_key_version *kyok_key_record_version(struct kyok_key_record *record, const char *label,
                                                 const uint8_t *id, size_t id_size)
{
    for (size_t i = 0; i < record->count; i++) {
        struct kyok_key_version *version = &record->versions[i];

        if (label != NULL && strcmp(label, version->name.label) != 0)
            continue;
        if (id_size == 0 ||
            (id_size == version->name.id_size && memcmp(id, version->name.id, id_size) == 0))
            return version;
    }
    return NULL;
}

enum kyok_key_state kyok_key_version_state(const struct kyok_key_version *version, int64_t now)
{
    enum kyok_key_state state = version->state;

    if (state == KYOK_STATE_PRE_ACTIVE && version->activate != 0 && version->activate <= now)
        state = KYOK_STATE_ACTIVE;
    if ((state == KYOK_STATE_ACTIVE || state == KYOK_STATE_SUSPENDED) && version->deactivate != 0 &&
        version->deactivate <= now)
        state = KYOK_STATE_DEACTIVATED;
    return state;
}

struct kyok_key_version *kyok_key_record_current(struct kyok_key_record *record, int64_t now)
{
    for (size_t i = record->count; i-- > 0;)
        if (kyok_key_version_state(&record->versions[i], now) == KYOK_STATE_ACTIVE)
            return &record->versions[i];
    return NULL;
}

/* --- reading --- */

static enum kyok_status malformed(struct kyok_error *err, const char *what)
{
    return kyok_fail(err, KYOK_INVALID, NULL, "a key's life record is broken: %s", what);
}

static bool read_text(const json_t *object, const char *name, char *text, size_t room)
{
    const char *value = json_string_value(json_object_get(object, name));

    if (value == NULL || value[0] == '\0' || strlen(value) >= room)
        return false;
    strcpy(text, value);
    return true;
}

static bool read_hex(const json_t *object, const char *name, uint8_t *data, size_t room,
                     size_t *size)
{
    const char *value = json_string_value(json_object_get(object, name));

    *size = value != NULL ? strlen(value) / 2 : 0;
    return value != NULL && *size <= room && kyok_hex_decode(value, strlen(value), data, *size);
}

static bool read_name(const json_t *object, struct kyok_key_name *name)
{
    return read_text(object, "label", name->label, sizeof(name->label)) &&
           read_hex(object, "id", name->id, sizeof(name->id), &name->id_size);
}

static bool read_wrapping(const json_t *object, struct kyok_key_version *version)
{
    const json_t *parent = json_object_get(object, "parent");

    if (parent == NULL)
        return json_object_get(object, "wrapped") == NULL;
    return read_name(parent, &version->parent) &&
           read_hex(object, "wrapped", version->wrapped, sizeof(version->wrapped),
                    &version->wrapped_size) &&
           version->wrapped_size >= 24;
}

/* Absent: none. */
static bool read_date(const json_t *object, const char *name, int64_t *date)
{
    const json_t *value = json_object_get(object, name);

    *date = json_integer_value(value);
    return value == NULL || (json_is_integer(value) && *date > 0);
}

static bool read_version(const json_t *object, struct kyok_key_version *version)
{
    const json_t *usage = json_object_get(object, "usage");
    const char *state = json_string_value(json_object_get(object, "state"));

    version->made = json_integer_value(json_object_get(object, "made"));
    version->usage = (unsigned)(json_integer_value(usage) & 63);
    version->bits = (unsigned)(json_integer_value(json_object_get(object, "bits")) & 1023);
    return json_is_integer(usage) && read_name(object, &version->name) && state != NULL &&
           kyok_key_state_by_name(state, &version->state) &&
           read_date(object, "activate", &version->activate) &&
           read_date(object, "deactivate", &version->deactivate) && read_wrapping(object, version);
}

static enum kyok_status read_record(const json_t *json, struct kyok_key_record *record,
                                    struct kyok_error *err)
{
    const json_t *serial = json_object_get(json, "serial");
    const json_t *list = json_object_get(json, "versions");

    if (json_integer_value(json_object_get(json, "kyok-key")) != 1)
        return malformed(err, "not of version 1");
    if (!json_is_integer(serial) || json_integer_value(serial) < 0)
        return malformed(err, "no serial");
    record->serial = (uint64_t)json_integer_value(serial);
    if (!read_text(json, "name", record->name, sizeof(record->name)))
        return malformed(err, "no name");
    if (json_array_size(list) == 0 || json_array_size(list) > KYOK_RECORD_VERSIONS_MAX)
        return malformed(err, "no versions, or too many");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!read_version(json_array_get(list, i), &record->versions[record->count++]))
            return malformed(err, "a version");
    return KYOK_OK;
}

enum kyok_status kyok_key_record_parse(struct kyok_bytes json, struct kyok_key_record *record,
                                       struct kyok_error *err)
{
    enum kyok_status status;
    json_t *parsed;
    size_t depth = 0;

    *record = (struct kyok_key_record){0};
    if (json.size > KYOK_RECORD_SIZE_MAX)
        return malformed(err, "too large");
    for (size_t i = 0; i < json.size; i++)
        depth += json.data[i] == '[' || json.data[i] == '{';
    if (depth > 2 + 3 * KYOK_RECORD_VERSIONS_MAX) /* jansson recurses */
        return malformed(err, "nested too deeply");
    parsed = json_loadb((const char *)json.data, json.size, JSON_REJECT_DUPLICATES, NULL);
    status = parsed != NULL ? read_record(parsed, record, err) : malformed(err, "not JSON");
    json_decref(parsed);
    return status;
}

/* --- writing --- */

static json_t *hex_json(const uint8_t *data, size_t size)
{
    char text[2 * KYOK_RECORD_WRAPPED_MAX + 1];

    kyok_hex_encode(kyok_bytes(data, size), text);
    return json_string(text);
}

static json_t *name_json(const struct kyok_key_name *name)
{
    return json_pack("{s:s, s:o}", "label", name->label, "id", hex_json(name->id, name->id_size));
}

static json_t *version_json(const struct kyok_key_version *version)
{
    json_t *json = name_json(&version->name);

    json_object_set_new(json, "state", json_string(kyok_key_state_name(version->state)));
    json_object_set_new(json, "usage", json_integer(version->usage));
    json_object_set_new(json, "made", json_integer(version->made));
    if (version->bits != 0)
        json_object_set_new(json, "bits", json_integer(version->bits));
    if (version->activate != 0)
        json_object_set_new(json, "activate", json_integer(version->activate));
    if (version->deactivate != 0)
        json_object_set_new(json, "deactivate", json_integer(version->deactivate));
    if (version->wrapped_size > 0) {
        json_object_set_new(json, "parent", name_json(&version->parent));
        json_object_set_new(json, "wrapped", hex_json(version->wrapped, version->wrapped_size));
    }
    return json;
}

enum kyok_status kyok_key_record_write(const struct kyok_key_record *record,
                                       struct kyok_buffer *json, struct kyok_error *err)
{
    json_t *versions = json_array();
    json_t *whole =
        json_pack("{s:i, s:I, s:s, s:o}", "kyok-key", 1, "serial", (json_int_t)record->serial,
                  "name", record->name, "versions", versions);
    char *text = NULL;
    bool good;

    for (size_t i = 0; whole != NULL && i < record->count; i++)
        json_array_append_new(versions, version_json(&record->versions[i]));
    if (whole != NULL)
        text = json_dumps(whole, JSON_COMPACT);
    good = text != NULL && kyok_buffer_append_text(json, text);
    free(text);
    json_decref(whole);
    return good ? KYOK_OK
                : kyok_fail(err, KYOK_INVALID, record->name,
                            "the key's record cannot be written: the name is not UTF-8");
}
