/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a key's life asks of its token group, each call a job: with isolate its caller is released
 * at the deadline as in any operation, and what the thread still uses is the job's.
 */
#include "common/key/job.h"
#include "common/key/life.h"

#include <stdio.h>
#include <string.h>

struct deed {
    struct kyok_context *context;
    struct kyok_group *group;
    struct kyok_reference *reference;
    struct kyok_key *key; /* a reference of its own, or NULL */
    struct kyok_deadline deadline;
    struct kyok_key_record *records; /* one, or as many as were listed */
    size_t count;
    struct kyok_key_version version;
    struct kyok_key_name name;
    struct kyok_import_request import; /* its views are copies */
    struct kyok_spread_request spread;
    enum kyok_hash hash;
    unsigned usage, withheld;
    char target[KYOK_RECORD_LABEL_MAX + 1];
};

static void end_deed(void *body)
{
    struct deed *deed = body;

    kyok_key_job_drop(&deed->import.key_wrapped);
    kyok_key_job_drop(&deed->import.material);
    kyok_key_job_drop(&deed->import.public_key);
    free(deed->records);
    kyok_key_free(deed->key);
    kyok_reference_free(deed->reference);
    kyok_context_free(deed->context);
}

#define DEED_TYPE(verb, text)                                                                      \
    static const struct kyok_job_type verb##_type = {text, sizeof(struct deed), run_##verb,        \
                                                     end_deed}

static enum kyok_status no_memory(const struct kyok_life *life, struct kyok_error *err)
{
    return kyok_fail(err, KYOK_SYSTEM, life->reference->text, "no memory");
}

/* Its body is the deed, or NULL and *err. key may be NULL. */
static struct deed *begin(const struct kyok_job_type *type, const struct kyok_life *life,
                          struct kyok_key *key, struct kyok_job **job, struct kyok_error *err)
{
    struct deed *deed;

    *job = kyok_key_job_new(type, err);
    if (*job == NULL)
        return NULL;
    deed = kyok_job_body(*job);
    deed->context = life->context;
    kyok_context_up_ref(deed->context);
    deed->group = life->custodian->own;
    deed->deadline = kyok_custodian_deadline(life->custodian);
    if (key != NULL)
        kyok_key_up_ref(key);
    deed->key = key;
    return kyok_reference_copy(life->reference, &deed->reference, err) == KYOK_OK ? deed : NULL;
}

static enum kyok_status carry_out(const struct kyok_life *life, struct kyok_job *job,
                                  const struct deed *deed, struct kyok_error *err)
{
    return kyok_key_job_run(job, life->custodian, life->reference->text, deed->deadline, err);
}

#define AUTO_JOB KYOK_CLEANUP(kyok_job_auto_free) struct kyok_job *

/* --- records --- */

static enum kyok_status run_read(void *body, struct kyok_error *err)
{
    struct deed *d = body;

    return kyok_group_record_read(d->group, d->reference, d->name.label, d->records, d->deadline,
                                  err);
}
DEED_TYPE(read, "reading a key's record");

enum kyok_status kyok_life_read(const struct kyok_life *life, const char *name,
                                struct kyok_key_record *record, struct kyok_error *err)
{
    AUTO_JOB job = NULL;
    struct deed *d = begin(&read_type, life, NULL, &job, err);

    if (d == NULL)
        return err->status;
    snprintf(d->name.label, sizeof(d->name.label), "%s", name);
    d->records = calloc(1, sizeof(*d->records));
    if (d->records == NULL)
        return no_memory(life, err);
    KYOK_TRY(carry_out(life, job, d, err));
    *record = *d->records;
    return KYOK_OK;
}

static enum kyok_status run_write(void *body, struct kyok_error *err)
{
    struct deed *d = body;

    return kyok_group_record_write(d->group, d->reference, d->records, d->deadline, err);
}
DEED_TYPE(write, "writing a key's record");

enum kyok_status kyok_life_write(const struct kyok_life *life, struct kyok_key_record *record,
                                 struct kyok_error *err)
{
    AUTO_JOB job = NULL;
    struct deed *d = begin(&write_type, life, NULL, &job, err);

    if (d == NULL)
        return err->status;
    d->records = malloc(sizeof(*d->records));
    if (d->records == NULL)
        return no_memory(life, err);
    *d->records = *record;
    record->serial++; /* as the write does, also when it may still be under way */
    return carry_out(life, job, d, err);
}

static bool keep(void *caller, const struct kyok_key_record *record)
{
    struct deed *d = caller;
    struct kyok_key_record *more = realloc(d->records, (d->count + 1) * sizeof(*d->records));

    if (more == NULL)
        return false;
    d->records = more;
    more[d->count++] = *record;
    return true;
}

static enum kyok_status run_list(void *body, struct kyok_error *err)
{
    struct deed *d = body;

    return kyok_group_record_list(d->group, d->reference, keep, d, d->deadline, err);
}
DEED_TYPE(list, "listing the keys' records");

enum kyok_status kyok_life_list(const struct kyok_life *life, kyok_record_visitor *visit,
                                void *caller, struct kyok_error *err)
{
    AUTO_JOB job = NULL;
    struct deed *d = begin(&list_type, life, NULL, &job, err);
    bool go_on = true;

    if (d == NULL)
        return err->status;
    KYOK_TRY(carry_out(life, job, d, err));
    for (size_t i = 0; go_on && i < d->count; i++)
        go_on = visit(caller, &d->records[i]);
    return KYOK_OK;
}

/* --- one key --- */

static enum kyok_status run_usage(void *body, struct kyok_error *err)
{
    struct deed *d = body;

    return kyok_group_set_usage(d->key->own, d->usage, d->deadline, err);
}
DEED_TYPE(usage, "changing what a key may do");

enum kyok_status kyok_life_set_usage(const struct kyok_life *life, struct kyok_key *key,
                                     unsigned usage, struct kyok_error *err)
{
    AUTO_JOB job = NULL;
    struct deed *d = begin(&usage_type, life, key, &job, err);

    if (d == NULL)
        return err->status;
    d->usage = usage;
    return carry_out(life, job, d, err);
}

static enum kyok_status run_destroy(void *body, struct kyok_error *err)
{
    struct deed *d = body;

    return kyok_group_destroy(d->key->own, d->deadline, err);
}
DEED_TYPE(destroy, "destroy");

enum kyok_status kyok_life_destroy(const struct kyok_life *life, struct kyok_key *key,
                                   struct kyok_error *err)
{
    AUTO_JOB job = NULL;
    struct deed *d = begin(&destroy_type, life, key, &job, err);

    return d == NULL ? err->status : carry_out(life, job, d, err);
}

/* --- descendants --- */

static enum kyok_status run_descend(void *body, struct kyok_error *err)
{
    struct deed *d = body;

    return kyok_group_descend(d->key->own, &d->version, d->deadline, err);
}
DEED_TYPE(descend, "making a descendant");

enum kyok_status kyok_life_descend(const struct kyok_life *life, struct kyok_key *parent,
                                   struct kyok_key_version *version, struct kyok_error *err)
{
    AUTO_JOB job = NULL;
    struct deed *d = begin(&descend_type, life, parent, &job, err);

    if (d == NULL)
        return err->status;
    d->version = *version;
    KYOK_TRY(carry_out(life, job, d, err));
    *version = d->version;
    return KYOK_OK;
}

static enum kyok_status run_rewrap(void *body, struct kyok_error *err)
{
    struct deed *d = body;

    return kyok_group_rewrap(d->key->own, &d->name, &d->version, d->deadline, err);
}
DEED_TYPE(rewrap, "wrapping a descendant anew");

enum kyok_status kyok_life_rewrap(const struct kyok_life *life, struct kyok_key *parent,
                                  const struct kyok_key_name *name,
                                  struct kyok_key_version *version, struct kyok_error *err)
{
    AUTO_JOB job = NULL;
    struct deed *d = begin(&rewrap_type, life, parent, &job, err);

    if (d == NULL)
        return err->status;
    d->name = *name;
    d->version = *version;
    KYOK_TRY(carry_out(life, job, d, err));
    *version = d->version;
    return KYOK_OK;
}

/* --- import --- */

static enum kyok_status run_check_value(void *body, struct kyok_error *err)
{
    struct deed *d = body;

    return kyok_group_check_value(d->key->own, d->import.check_value, d->deadline, err);
}
DEED_TYPE(check_value, "reading a check value");

enum kyok_status kyok_life_check_value(const struct kyok_life *life, struct kyok_key *key,
                                       uint8_t check_value[3], struct kyok_error *err)
{
    AUTO_JOB job = NULL;
    struct deed *d = begin(&check_value_type, life, key, &job, err);

    if (d == NULL)
        return err->status;
    KYOK_TRY(carry_out(life, job, d, err));
    memcpy(check_value, d->import.check_value, 3);
    return KYOK_OK;
}

static enum kyok_status run_try_carrier(void *body, struct kyok_error *err)
{
    struct deed *d = body;

    return kyok_group_try_carrier(d->key->own, d->hash, d->import.key_wrapped, d->deadline, err);
}
DEED_TYPE(try_carrier, "trying the transport key");

enum kyok_status kyok_life_try_carrier(const struct kyok_life *life, struct kyok_key *transport,
                                       enum kyok_hash hash, struct kyok_bytes key_wrapped,
                                       struct kyok_error *err)
{
    AUTO_JOB job = NULL;
    struct deed *d = begin(&try_carrier_type, life, transport, &job, err);

    if (d == NULL)
        return err->status;
    d->hash = hash;
    if (!kyok_key_job_copy(key_wrapped, &d->import.key_wrapped))
        return no_memory(life, err);
    return carry_out(life, job, d, err);
}

static enum kyok_status run_import(void *body, struct kyok_error *err)
{
    struct deed *d = body;

    return kyok_group_import(d->key->own, &d->import, d->deadline, err);
}
DEED_TYPE(import, "import");

enum kyok_status kyok_life_import(const struct kyok_life *life, struct kyok_key *transport,
                                  struct kyok_import_request *request, struct kyok_error *err)
{
    AUTO_JOB job = NULL;
    struct deed *d = begin(&import_type, life, transport, &job, err);

    if (d == NULL)
        return err->status;
    d->import = *request;
    d->import.key_wrapped = d->import.material = d->import.public_key = kyok_bytes(NULL, 0);
    if (!kyok_key_job_copy(request->key_wrapped, &d->import.key_wrapped) ||
        !kyok_key_job_copy(request->material, &d->import.material) ||
        !kyok_key_job_copy(request->public_key, &d->import.public_key))
        return no_memory(life, err);
    KYOK_TRY(carry_out(life, job, d, err));
    memcpy(request->check_value, d->import.check_value, 3);
    return KYOK_OK;
}

/* --- several tokens --- */

static enum kyok_status run_replicate(void *body, struct kyok_error *err)
{
    struct deed *d = body;

    struct kyok_replicate_request request = {.target = d->target,
                                             .name = &d->name,
                                             .usage = d->usage,
                                             .withheld = d->withheld,
                                             .hash = d->hash};

    return kyok_group_replicate(d->key->own, &request, d->deadline, err);
}
DEED_TYPE(replicate, "replicate");

enum kyok_status kyok_life_replicate(const struct kyok_life *life, struct kyok_key *key,
                                     const char *target, const struct kyok_key_version *version,
                                     enum kyok_hash hash, struct kyok_error *err)
{
    AUTO_JOB job = NULL;
    struct deed *d = begin(&replicate_type, life, key, &job, err);

    if (d == NULL)
        return err->status;
    snprintf(d->target, sizeof(d->target), "%s", target);
    d->name = version->name;
    d->usage = version->usage;
    d->withheld = ~kyok_key_state_usage(version->state, version->usage);
    d->hash = hash;
    return carry_out(life, job, d, err);
}

static enum kyok_status run_tokens(void *body, struct kyok_error *err)
{
    struct deed *d = body;

    return kyok_group_tokens(d->group, d->reference, &d->count, d->deadline, err);
}
DEED_TYPE(tokens, "looking at the group's tokens");

enum kyok_status kyok_life_tokens(const struct kyok_life *life, size_t *count,
                                  struct kyok_error *err)
{
    AUTO_JOB job = NULL;
    struct deed *d = begin(&tokens_type, life, NULL, &job, err);

    if (d == NULL)
        return err->status;
    KYOK_TRY(carry_out(life, job, d, err));
    *count = d->count;
    return KYOK_OK;
}

static enum kyok_status run_spread(void *body, struct kyok_error *err)
{
    struct deed *d = body;

    return kyok_group_spread(d->group, d->reference, &d->spread, d->deadline, err);
}
DEED_TYPE(spread, "generate");

enum kyok_status kyok_life_spread(const struct kyok_life *life,
                                  const struct kyok_spread_request *request, struct kyok_error *err)
{
    AUTO_JOB job = NULL;
    struct deed *d = begin(&spread_type, life, NULL, &job, err);

    if (d == NULL)
        return err->status;
    d->name = *request->name;
    d->spread = *request;
    d->spread.name = &d->name;
    return carry_out(life, job, d, err);
}

static enum kyok_status run_forget(void *body, struct kyok_error *err)
{
    struct deed *d = body;

    return kyok_group_forget(d->group, d->reference, &d->name, d->deadline, err);
}
DEED_TYPE(forget, "taking back a key");

enum kyok_status kyok_life_forget(const struct kyok_life *life, const struct kyok_key_name *name,
                                  struct kyok_error *err)
{
    AUTO_JOB job = NULL;
    struct deed *d = begin(&forget_type, life, NULL, &job, err);

    if (d == NULL)
        return err->status;
    d->name = *name;
    return carry_out(life, job, d, err);
}

static enum kyok_status run_forget_record(void *body, struct kyok_error *err)
{
    struct deed *d = body;

    return kyok_group_record_forget(d->group, d->reference, d->name.label, d->deadline, err);
}
DEED_TYPE(forget_record, "taking back a key's record");

enum kyok_status kyok_life_forget_record(const struct kyok_life *life, const char *name,
                                         struct kyok_error *err)
{
    AUTO_JOB job = NULL;
    struct deed *d = begin(&forget_record_type, life, NULL, &job, err);

    if (d == NULL)
        return err->status;
    snprintf(d->name.label, sizeof(d->name.label), "%s", name);
    return carry_out(life, job, d, err);
}
