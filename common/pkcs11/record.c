/* SPDX-License-Identifier: Apache-2.0 */
/* Life records as private data objects on the token. */
#include "common/pkcs11/life.h"

#include <stdlib.h>
#include <string.h>

#define RECORDS_MOST 512

static CK_RV find_records(const struct kyok_lease *lease, const char *name, CK_OBJECT_HANDLE *found,
                          size_t room, size_t *count)
{
    static const CK_OBJECT_CLASS data = CKO_DATA;
    struct kyok_template template = {.count = 0};
    CK_ULONG got = 0;
    CK_RV rv, final;

    *count = 0;
    kyok_template_put(&template, CKA_CLASS, &data, sizeof(data));
    kyok_template_put(&template, CKA_APPLICATION, KYOK_RECORD_APPLICATION,
                      strlen(KYOK_RECORD_APPLICATION));
    if (name != NULL)
        kyok_template_put(&template, CKA_LABEL, name, strlen(name));
    rv = lease->f->C_FindObjectsInit(lease->handle, template.fields, template.count);
    if (rv != CKR_OK)
        return rv;
    do {
        rv = lease->f->C_FindObjects(lease->handle, found + *count, room - *count, &got);
        if (got > room - *count)
            rv = CKR_GENERAL_ERROR;
        if (rv == CKR_OK)
            *count += got;
    } while (rv == CKR_OK && got > 0 && *count < room);
    final = lease->f->C_FindObjectsFinal(lease->handle);
    return rv != CKR_OK ? rv : final;
}

/* A value that is no record of ours is passed over: others may call themselves kyok too. */
static CK_RV read_record(const struct kyok_lease *lease, CK_OBJECT_HANDLE object,
                         struct kyok_key_record *record, bool *good)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer value = {0};
    struct kyok_error ignored;
    CK_RV rv = kyok_object_value(lease, object, KYOK_RECORD_SIZE_MAX, &value);

    *good = rv == CKR_OK &&
            kyok_key_record_parse(kyok_buffer_bytes(&value), record, &ignored) == KYOK_OK;
    return rv != CKR_OK && kyok_rv_rung(rv) != KYOK_RUNG_NONE ? rv : CKR_OK;
}

static CK_RV newest_record(const struct kyok_lease *lease, const CK_OBJECT_HANDLE *handles,
                           size_t count, struct kyok_key_record *record, bool *found)
{
    KYOK_AUTO_FREE struct kyok_key_record *one = malloc(sizeof(*one));
    CK_RV rv = one != NULL ? CKR_OK : CKR_HOST_MEMORY;

    *found = false;
    for (size_t i = 0; rv == CKR_OK && i < count; i++) {
        bool good;

        rv = read_record(lease, handles[i], one, &good);
        if (rv != CKR_OK || !good || (*found && one->serial < record->serial))
            continue;
        *record = *one;
        *found = true;
    }
    return rv;
}

CK_RV kyok_record_on_token(const struct kyok_lease *lease, const char *name,
                           struct kyok_key_record *record, bool *found, struct kyok_error *err)
{
    CK_OBJECT_HANDLE handles[8];
    size_t count;
    CK_RV rv = find_records(lease, name, handles, 8, &count);

    (void)err;
    *found = false;
    return rv == CKR_OK ? newest_record(lease, handles, count, record, found) : rv;
}

/* --- one group --- */

struct reading {
    const char *name;
    struct kyok_key_record *record;
};

static CK_RV read_on(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    struct reading *reading = arg;
    bool found;
    CK_RV rv = kyok_record_on_token(call->lease, reading->name, reading->record, &found, err);

    if (rv == CKR_OK && !found)
        kyok_fail(err, KYOK_NOT_FOUND, reading->name, "the token keeps no record of this key");
    return rv;
}

enum kyok_status kyok_group_record_read(struct kyok_group *group,
                                        const struct kyok_reference *reference, const char *name,
                                        struct kyok_key_record *record,
                                        struct kyok_deadline deadline, struct kyok_error *err)
{
    struct reading reading = {name, record};
    struct kyok_plan plan = {.verb = "read a key's record",
                             .attempt = read_on,
                             .arg = &reading,
                             .login = true,
                             .ask_all = true,
                             .reference = reference};

    return kyok_group_call(group, NULL, &plan, deadline, err);
}

struct writing {
    const char *name;
    struct kyok_bytes value;
    struct kyok_deadline deadline;
};

/* SoftHSM 2.6.1 on a full disk says CKR_OK and has kept nothing: believed, it would cost the old
 * record too. */
static CK_RV check_kept(const struct kyok_lease *lease, CK_OBJECT_HANDLE object,
                        const struct writing *writing, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer kept = {0};
    CK_RV rv = kyok_object_value(lease, object, KYOK_RECORD_SIZE_MAX, &kept);

    if (rv != CKR_OK && kyok_rv_rung(rv) >= KYOK_RUNG_SESSION)
        return rv;
    if (rv == CKR_OK && kept.size == writing->value.size &&
        memcmp(kept.data, writing->value.data, kept.size) == 0)
        return CKR_OK;
    (void)lease->f->C_DestroyObject(lease->handle, object);
    kyok_fail(err, KYOK_SYSTEM, writing->name,
              "the token took the key's record and did not keep it");
    kyok_remedy(err, "see whether its storage is full");
    return CKR_OK;
}

/* The new object first: whoever reads in between finds both, and takes the newer. */
static CK_RV write_on(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    static const CK_OBJECT_CLASS data = CKO_DATA;
    const struct kyok_lease *lease = call->lease;
    struct writing *writing = arg;
    struct kyok_template template = {.count = 0};
    CK_OBJECT_HANDLE old[8], new_object;
    size_t count;
    CK_RV rv = find_records(lease, writing->name, old, 8, &count);

    if (rv != CKR_OK || kyok_call_is_late(writing->deadline, "write a key's record", writing->name,
                                          err)) /* a late one might undo another's */
        return rv;
    kyok_template_put(&template, CKA_CLASS, &data, sizeof(data));
    kyok_template_bool(&template, CKA_TOKEN, true);
    kyok_template_bool(&template, CKA_PRIVATE, true);
    kyok_template_put(&template, CKA_APPLICATION, KYOK_RECORD_APPLICATION,
                      strlen(KYOK_RECORD_APPLICATION));
    kyok_template_put(&template, CKA_LABEL, writing->name, strlen(writing->name));
    kyok_template_put(&template, CKA_VALUE, writing->value.data, writing->value.size);
    rv = lease->f->C_CreateObject(lease->handle, template.fields, template.count, &new_object);
    if (rv == CKR_OK)
        rv = check_kept(lease, new_object, writing, err);
    for (size_t i = 0; rv == CKR_OK && err->status == KYOK_OK && i < count; i++)
        rv = lease->f->C_DestroyObject(lease->handle, old[i]);
    return rv;
}

enum kyok_status kyok_group_record_write(struct kyok_group *group,
                                         const struct kyok_reference *reference,
                                         struct kyok_key_record *record,
                                         struct kyok_deadline deadline, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {0};
    struct writing writing = {.name = record->name, .deadline = deadline};
    struct kyok_plan plan = {.verb = "write a key's record",
                             .attempt = write_on,
                             .arg = &writing,
                             .login = true,
                             .write = true};

    record->serial++;
    KYOK_TRY(kyok_key_record_write(record, &json, err));
    writing.value = kyok_buffer_bytes(&json);
    return kyok_group_every_member(group, NULL, reference, &plan, deadline, err);
}

static CK_RV forget_record_on(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    CK_OBJECT_HANDLE found[8];
    size_t count;
    CK_RV rv = find_records(call->lease, arg, found, 8, &count);

    (void)err;
    for (size_t i = 0; rv == CKR_OK && i < count; i++)
        rv = call->lease->f->C_DestroyObject(call->lease->handle, found[i]);
    return rv;
}

enum kyok_status kyok_group_record_forget(struct kyok_group *group,
                                          const struct kyok_reference *reference, const char *name,
                                          struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_plan plan = {.verb = "take back a key's record",
                             .attempt = forget_record_on,
                             .arg = (void *)name,
                             .login = true,
                             .write = true};

    return kyok_group_every_member(group, NULL, reference, &plan, deadline, err);
}

/* --- all of them --- */

struct gathering {
    struct kyok_key_record *records;
    size_t count;
};

static void gather(struct gathering *gathering, const struct kyok_key_record *record)
{
    for (size_t i = 0; i < gathering->count; i++)
        if (strcmp(gathering->records[i].name, record->name) == 0) {
            if (gathering->records[i].serial < record->serial)
                gathering->records[i] = *record;
            return;
        }
    gathering->records[gathering->count++] = *record;
}

static CK_RV gather_on(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    struct gathering *gathering = arg;
    KYOK_AUTO_FREE struct kyok_key_record *one = malloc(sizeof(*one));
    CK_OBJECT_HANDLE handles[RECORDS_MOST];
    size_t count;
    CK_RV rv = find_records(call->lease, NULL, handles, RECORDS_MOST, &count);

    (void)err;
    if (rv != CKR_OK)
        return rv;
    free(gathering->records);
    gathering->count = 0;
    gathering->records = calloc(count + 1, sizeof(*gathering->records));
    if (gathering->records == NULL || one == NULL)
        return CKR_HOST_MEMORY;
    for (size_t i = 0; rv == CKR_OK && i < count; i++) {
        bool good;

        rv = read_record(call->lease, handles[i], one, &good);
        if (rv == CKR_OK && good)
            gather(gathering, one);
    }
    return rv;
}

enum kyok_status kyok_group_record_list(struct kyok_group *group,
                                        const struct kyok_reference *reference,
                                        kyok_record_visitor *visit, void *caller,
                                        struct kyok_deadline deadline, struct kyok_error *err)
{
    struct gathering gathering = {0};
    struct kyok_plan plan = {.verb = "list the keys' records",
                             .attempt = gather_on,
                             .arg = &gathering,
                             .login = true,
                             .reference = reference};
    enum kyok_status status = kyok_group_call(group, NULL, &plan, deadline, err);
    bool go_on = status == KYOK_OK;

    for (size_t i = 0; go_on && i < gathering.count; i++)
        go_on = visit(caller, &gathering.records[i]);
    free(gathering.records);
    return status;
}
