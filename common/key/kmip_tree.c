/* SPDX-License-Identifier: Apache-2.0 */
/* The keys at a KMIP server with their versions, and of which key each is a descendant. */
#include "common/key/life_kmip.h"

#include <stdio.h>
#include <string.h>

#define KEYS_MOST 10000

struct objects {
    struct kyok_life_version *list;
    size_t count;
};

static void objects_free(struct objects *objects)
{
    free(objects->list);
}

static enum kyok_status read_objects(struct kyok_kmip_life *life, struct objects *objects,
                                     struct kyok_error *err)
{
    struct kyok_kmip_attribute filter = kyok_kmip_attribute_enumeration(
        KYOK_KMIP_ATTRIBUTE_OBJECT_TYPE, KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY);
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer ids = {0};
    size_t found;
    bool more;

    KYOK_TRY(kyok_kmip_locate(life->client, &filter, 1, KEYS_MOST, life->deadline, &ids, &found,
                              &more, err));
    objects->list = calloc(found + 1, sizeof(*objects->list));
    if (objects->list == NULL)
        return kyok_fail(err, KYOK_SYSTEM, NULL, "no memory");
    const char *id = (const char *)ids.data;
    for (size_t i = 0; i < found; i++, id += strlen(id) + 1) {
        enum kyok_status status =
            kyok_kmip_life_read(life, id, &objects->list[objects->count], err);

        objects->count += status == KYOK_OK;
        if (status != KYOK_OK && status != KYOK_NOT_FOUND && status != KYOK_REFUSED)
            return status; /* gone meanwhile, or another's: passed over */
    }
    return KYOK_OK;
}

/* Re-key moves the name on: a version without one goes by the name of what replaced it. */
static const char *name_of(const struct objects *objects, const struct kyok_life_version *version)
{
    for (size_t steps = 0; version->name[0] == '\0' && steps < KYOK_RECORD_VERSIONS_MAX; steps++) {
        const struct kyok_life_version *next = NULL;

        for (size_t i = 0; i < objects->count && version->replacement[0] != '\0'; i++)
            if (strcmp(objects->list[i].identifier, version->replacement) == 0)
                next = &objects->list[i];
        if (next == NULL)
            return version->identifier;
        version = next;
    }
    return version->name;
}

struct records {
    struct kyok_key_record *list;
    size_t count;
};

static void records_free(struct records *records)
{
    free(records->list);
}

static struct kyok_key_record *record_for(struct records *records, const char *name)
{
    struct kyok_key_record *more;

    for (size_t i = 0; i < records->count; i++)
        if (strcmp(records->list[i].name, name) == 0)
            return &records->list[i];
    more = realloc(records->list, (records->count + 1) * sizeof(*more));
    if (more == NULL)
        return NULL;
    records->list = more;
    more[records->count] = (struct kyok_key_record){.kmip = true};
    strcpy(more[records->count].name, name);
    return &more[records->count++];
}

/* Oldest first: those that lost their name, NAME, NAME.v2, ... */
static unsigned rank(const struct kyok_key_version *version)
{
    const char *suffix = strrchr(version->name.label, '.');
    unsigned number = 1;

    if (strcmp(version->name.label, version->identifier) == 0)
        return 0;
    return suffix != NULL && sscanf(suffix, ".v%u", &number) == 1 ? number : 1;
}

static void add_version(struct kyok_key_record *record, const struct kyok_key_version *version)
{
    size_t at = record->count;

    if (record->count == KYOK_RECORD_VERSIONS_MAX)
        return;
    while (at > 0 && rank(&record->versions[at - 1]) > rank(version))
        at--;
    memmove(&record->versions[at + 1], &record->versions[at],
            (record->count - at) * sizeof(*version));
    record->versions[at] = *version;
    record->count++;
}

enum kyok_status kyok_life_kmip_records(struct kyok_context *context,
                                        const struct kyok_reference *reference,
                                        kyok_key_record_visitor *visit, void *caller,
                                        struct kyok_error *err)
{
    KYOK_CLEANUP(objects_free) struct objects objects = {0};
    KYOK_CLEANUP(records_free) struct records records = {0};
    KYOK_AUTO_KMIP_LIFE life;

    KYOK_TRY(kyok_kmip_life_begin(context, reference, &life, err));
    KYOK_TRY(read_objects(&life, &objects, err));
    for (size_t i = 0; i < objects.count; i++) {
        char base[KYOK_RECORD_LABEL_MAX + 1];
        struct kyok_key_version version;
        struct kyok_key_record *record;

        kyok_key_record_base_name(name_of(&objects, &objects.list[i]), base);
        record = record_for(&records, base);
        if (record == NULL)
            return kyok_fail(err, KYOK_SYSTEM, NULL, "no memory");
        kyok_life_kmip_version(&objects.list[i], &version);
        add_version(record, &version);
    }
    for (size_t i = 0; i < records.count; i++)
        if (!visit(caller, &records.list[i]))
            break;
    return KYOK_OK;
}
