/* SPDX-License-Identifier: Apache-2.0 */
/* New versions, and the end of old ones. */
#include "common/key/life.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* --- all records of a group --- */

struct records {
    struct kyok_key_record *list;
    size_t count;
    bool failed;
};

static bool keep_record(void *caller, const struct kyok_key_record *record)
{
    struct records *records = caller;
    struct kyok_key_record *list =
        realloc(records->list, (records->count + 1) * sizeof(*records->list));

    records->failed = list == NULL;
    if (list == NULL)
        return false;
    records->list = list;
    list[records->count++] = *record;
    return true;
}

static void records_free(struct records *records)
{
    free(records->list);
}

static enum kyok_status all_records(const struct kyok_life *life, struct records *records,
                                    struct kyok_error *err)
{
    KYOK_TRY(kyok_life_list(life, keep_record, records, err));
    return records->failed ? kyok_fail(err, KYOK_SYSTEM, NULL, "no memory") : KYOK_OK;
}

/* --- descendants follow their parent --- */

static bool is_child_of(const struct kyok_key_version *version,
                        const struct kyok_key_record *parent, const struct kyok_key_name *except)
{
    for (size_t i = 0; i < parent->count && version->wrapped_size > 0; i++)
        if (kyok_key_name_equal(&version->parent, &parent->versions[i].name))
            return !kyok_key_name_equal(&version->parent, except);
    return false;
}

static enum kyok_status rewrap_descendants(const struct kyok_life *life,
                                           const struct kyok_key_record *parent,
                                           const struct kyok_key_version *newest,
                                           struct kyok_error *err)
{
    KYOK_CLEANUP(records_free) struct records records = {0};
    KYOK_AUTO_KEY struct kyok_key *key = NULL;

    KYOK_TRY(all_records(life, &records, err));
    KYOK_TRY(kyok_life_open(life, &newest->name, &key, err));
    for (size_t i = 0; i < records.count; i++) {
        bool changed = false;

        for (size_t j = 0; j < records.list[i].count; j++) {
            struct kyok_key_version *version = &records.list[i].versions[j];

            if (!is_child_of(version, parent, &newest->name))
                continue;
            KYOK_TRY(kyok_life_rewrap(life, key, &newest->name, version, err));
            changed = true;
        }
        if (changed)
            KYOK_TRY(kyok_life_write(life, &records.list[i], err));
    }
    return KYOK_OK;
}

/* --- rotation --- */

struct rotation {
    size_t tokens; /* that get the new version */
    bool allow_sha1;
};

static bool is_aes_usage(unsigned usage)
{
    return (usage & (KYOK_USAGE_ENCRYPT | KYOK_USAGE_WRAP)) != 0; /* no private key has these */
}

/* Of AES versions one is active; a second means that a rotation was cut short. */
static bool is_unfinished(const struct kyok_key_record *record)
{
    size_t active = 0;

    for (size_t i = 0; i < record->count; i++)
        active += record->versions[i].state == KYOK_STATE_ACTIVE &&
                  is_aes_usage(record->versions[i].usage);
    return active > 1;
}

static struct kyok_generate_request like(const struct kyok_key_info *info, unsigned usage,
                                         const struct kyok_key_name *name)
{
    struct kyok_generate_request request = {
        .type = info->type, .bits = info->bits, .id = kyok_bytes(name->id, name->id_size)};

    if (usage & KYOK_USAGE_SIGN)
        request.uses |= KYOK_USE_SIGN;
    if (usage & KYOK_USAGE_DECRYPT)
        request.uses |= KYOK_USE_DECRYPT;
    if (usage & KYOK_USAGE_DERIVE)
        request.uses |= KYOK_USE_DERIVE;
    if (usage & KYOK_USAGE_UNWRAP)
        request.uses |= KYOK_USE_WRAP;
    return request;
}

/* An object of that label which no record names is what a killed run left: it is taken over. */
static enum kyok_status adopt(const struct kyok_life *life, struct kyok_key_version *version,
                              struct kyok_error *err)
{
    struct kyok_key_name by_label = version->name;
    KYOK_AUTO_KEY struct kyok_key *key = NULL;
    const struct kyok_key_info *info;

    by_label.id_size = 0;
    KYOK_TRY(kyok_life_open(life, &by_label, &key, err));
    info = kyok_key_info(key);
    if (info->id_size == 0 || info->id_size > KYOK_RECORD_ID_MAX)
        return kyok_fail(err, KYOK_REFUSED, version->name.label, "there is such a key already");
    memcpy(version->name.id, info->id, info->id_size);
    version->name.id_size = info->id_size;
    return KYOK_OK;
}

static enum kyok_status generate_version(const struct kyok_life *life,
                                         const struct kyok_key_version *old,
                                         struct kyok_key_version *version, struct kyok_error *err)
{
    KYOK_AUTO_KEY struct kyok_key *old_key = NULL, *key = NULL;
    KYOK_AUTO_REFERENCE struct kyok_reference *reference = NULL;
    struct kyok_generate_request request;

    KYOK_TRY(kyok_life_open(life, &old->name, &old_key, err));
    if (old->wrapped_size > 0) {
        KYOK_AUTO_KEY struct kyok_key *parent = NULL;

        KYOK_TRY(kyok_life_open(life, &old->parent, &parent, err));
        version->parent = old->parent;
        return kyok_life_descend(life, parent, version, err);
    }
    if (adopt(life, version, err) == KYOK_OK)
        return KYOK_OK;
    if (err->status != KYOK_NOT_FOUND)
        return err->status;
    request = like(kyok_key_info(old_key), old->usage, &version->name);
    KYOK_TRY(kyok_life_reference(life, &version->name, &reference, err));
    return kyok_key_generate(life->context, reference, &request, &key, err);
}

static enum kyok_status add_version(const struct kyok_life *life, struct kyok_key_record *record,
                                    const struct rotation *how, struct kyok_error *err)
{
    struct kyok_key_version *old = kyok_key_record_current(record, time(NULL));
    struct kyok_key_version *version;

    KYOK_TRY(kyok_life_take_back(life, record, err));
    version = &record->versions[record->count];

    if (old == NULL)
        return kyok_fail(err, KYOK_REFUSED, record->name, "no version of this key is active");
    if (record->count == KYOK_RECORD_VERSIONS_MAX)
        return kyok_fail(err, KYOK_REFUSED, record->name, "a key has at most %d versions",
                         KYOK_RECORD_VERSIONS_MAX);
    *version = (struct kyok_key_version){
        .state = KYOK_STATE_ACTIVE, .usage = old->usage, .made = time(NULL)};
    snprintf(version->name.label, sizeof(version->name.label), "%.190s.v%zu", record->name,
             record->count + 1);
    KYOK_TRY(kyok_life_new_id(&version->name, err));
    if (how->tokens > 1 && old->wrapped_size == 0)
        return kyok_life_add_everywhere(life, record, old, how->allow_sha1, err);
    KYOK_TRY(generate_version(life, old, version, err));
    record->count++;
    return kyok_life_write(life, record, err);
}

static enum kyok_status retire_older(const struct kyok_life *life, struct kyok_key_record *record,
                                     const struct kyok_key_version *newest, struct kyok_error *err)
{
    for (size_t i = 0; i < record->count; i++) {
        struct kyok_key_version *version = &record->versions[i];
        KYOK_AUTO_KEY struct kyok_key *key = NULL;

        if (version == newest || version->state != KYOK_STATE_ACTIVE ||
            !is_aes_usage(version->usage))
            continue;
        KYOK_TRY(kyok_life_open(life, &version->name, &key, err));
        if (version->wrapped_size == 0)
            KYOK_TRY(kyok_life_set_usage(
                life, key, kyok_key_state_usage(KYOK_STATE_DEACTIVATED, version->usage), err));
        version->state = KYOK_STATE_DEACTIVATED;
        KYOK_TRY(kyok_life_write(life, record, err));
    }
    return KYOK_OK;
}

static enum kyok_status rotate(const struct kyok_life *life, struct kyok_key_record *record,
                               const struct rotation *how, struct kyok_error *err)
{
    const struct kyok_key_version *newest;

    /* A token that keeps no records, any more, says so before anything is made. */
    KYOK_TRY(kyok_life_write(life, record, err));
    if (!is_unfinished(record))
        KYOK_TRY(add_version(life, record, how, err));
    newest = kyok_key_record_current(record, time(NULL));
    KYOK_TRY(rewrap_descendants(life, record, newest, err));
    return retire_older(life, record, newest, err);
}

enum kyok_status kyok_key_rotate(struct kyok_context *context,
                                 const struct kyok_reference *reference, bool allow_sha1,
                                 struct kyok_reference **made, struct kyok_error *err)
{
    KYOK_AUTO_RECORD record = kyok_life_record_new(err);
    struct rotation how = {.allow_sha1 = allow_sha1};
    const struct kyok_key_version *newest;
    struct kyok_life life;
    enum kyok_status status;

    if (record == NULL)
        return err->status;
    if (reference->kind == KYOK_REFERENCE_KMIP)
        return kyok_life_kmip_rotate(context, reference, made, err);
    KYOK_TRY(kyok_life_begin(context, reference, &life, err));
    KYOK_TRY(kyok_life_record(&life, record, err));
    KYOK_TRY(kyok_life_tokens(&life, &how.tokens, err));
    status = rotate(&life, record, &how, err);
    newest = kyok_key_record_current(record, time(NULL));
    if (newest != NULL)
        kyok_life_event("create", &life, &newest->name, "rotation", status);
    KYOK_TRY(status);
    return kyok_life_reference(&life, &newest->name, made, err);
}

/* --- destruction --- */

static enum kyok_status refuse_with_descendants(const struct kyok_life *life,
                                                const struct kyok_key_name *name,
                                                struct kyok_error *err)
{
    KYOK_CLEANUP(records_free) struct records records = {0};

    KYOK_TRY(all_records(life, &records, err));
    for (size_t i = 0; i < records.count; i++)
        for (size_t j = 0; j < records.list[i].count; j++) {
            const struct kyok_key_version *version = &records.list[i].versions[j];

            if (version->wrapped_size == 0 || !kyok_key_name_equal(&version->parent, name))
                continue;
            kyok_fail(err, KYOK_REFUSED, name->label, "%s descends from this key and would be lost",
                      version->name.label);
            return kyok_remedy(err, "rotate the key, destroy its descendants, or force it");
        }
    return KYOK_OK;
}

/* The object first: a run killed before the word is written finds none, and writes the word. */
static enum kyok_status destroy_object(const struct kyok_life *life,
                                       const struct kyok_key_version *version, bool recorded,
                                       struct kyok_error *err)
{
    KYOK_AUTO_KEY struct kyok_key *key = NULL;
    enum kyok_status status;

    if (version->wrapped_size > 0)
        return KYOK_OK;
    status = kyok_life_open(life, &version->name, &key, err);
    if (status == KYOK_NOT_FOUND && recorded)
        return KYOK_OK;
    KYOK_TRY(status);
    return kyok_life_destroy(life, key, err);
}

enum kyok_status kyok_key_destroy(struct kyok_context *context,
                                  const struct kyok_reference *reference, bool force,
                                  struct kyok_error *err)
{
    KYOK_AUTO_RECORD record = kyok_life_record_new(err);
    struct kyok_key_version *version;
    struct kyok_life life;
    enum kyok_status status;
    bool recorded;

    if (record == NULL)
        return err->status;
    if (reference->kind == KYOK_REFERENCE_KMIP)
        return kyok_life_kmip_destroy(context, reference, err);
    KYOK_TRY(kyok_life_begin(context, reference, &life, err));
    KYOK_TRY(kyok_life_record(&life, record, err));
    KYOK_TRY(kyok_life_version(&life, record, &version, err));
    if (!force)
        KYOK_TRY(refuse_with_descendants(&life, &version->name, err));
    recorded = record->serial > 0;
    status = destroy_object(&life, version, recorded, err);
    if (status == KYOK_OK) {
        kyok_wipe(version->wrapped, sizeof(version->wrapped));
        version->wrapped_size = 0;
        version->state = KYOK_STATE_DESTROYED;
        status = kyok_life_write(&life, record, err);
        if (status == KYOK_UNSUPPORTED && !recorded) /* it is gone; only the word cannot be kept */
            status = KYOK_OK;
    }
    kyok_life_event("destroy", &life, &version->name, NULL, status);
    return status;
}
