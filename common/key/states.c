/* SPDX-License-Identifier: Apache-2.0 */
/* States of a key in a token: set by hand, or by dates. */
#include "common/key/life.h"

#include <string.h>
#include <time.h>

/* --- the token's part --- */

static enum kyok_status apply_usage(const struct kyok_life *life,
                                    const struct kyok_key_version *version,
                                    enum kyok_key_state state, struct kyok_error *err)
{
    KYOK_AUTO_KEY struct kyok_key *key = NULL;

    if (version->wrapped_size > 0) /* what is unwrapped gets its usage each time */
        return KYOK_OK;
    KYOK_TRY(kyok_life_open(life, &version->name, &key, err));
    return kyok_life_set_usage(life, key, kyok_key_state_usage(state, version->usage), err);
}

static enum kyok_status to_state(const struct kyok_life *life, struct kyok_key_record *record,
                                 struct kyok_key_version *version, enum kyok_key_state state,
                                 struct kyok_error *err)
{
    /* A token that keeps no records, any more, says so before anything changes. */
    enum kyok_status status = kyok_life_write(life, record, err);

    if (status == KYOK_OK)
        status = apply_usage(life, version, state, err);
    if (status == KYOK_OK) {
        version->state = state;
        status = kyok_life_write(life, record, err);
    }
    kyok_life_event("state", life, &version->name, kyok_key_state_name(state), status);
    return status;
}

/* --- dates --- */

enum kyok_status kyok_life_settle(const struct kyok_life *life, struct kyok_key_record *record,
                                  struct kyok_error *err)
{
    int64_t now = time(NULL);

    for (size_t i = 0; i < record->count; i++) {
        struct kyok_key_version *version = &record->versions[i];
        enum kyok_key_state state = kyok_key_version_state(version, now);

        if (state != version->state && to_state(life, record, version, state, err) != KYOK_OK &&
            state == KYOK_STATE_ACTIVE)
            return err->status;
    }
    return KYOK_OK;
}

enum kyok_status kyok_key_settle(struct kyok_context *context,
                                 const struct kyok_reference *reference, struct kyok_error *err)
{
    KYOK_AUTO_RECORD record = kyok_life_record_new(err);
    struct kyok_life life;
    enum kyok_status status;

    if (record == NULL)
        return err->status;
    if (reference->kind == KYOK_REFERENCE_KMIP) /* the server looks at its dates itself */
        return KYOK_OK;
    KYOK_TRY(kyok_life_begin(context, reference, &life, err));
    KYOK_TRY(kyok_life_need_name(&life, err));
    status = kyok_life_read(&life, life.base, record, err);
    if (status == KYOK_NOT_FOUND)
        return KYOK_OK;
    KYOK_TRY(status);
    return kyok_life_settle(&life, record, err);
}

static enum kyok_status check_dates(const struct kyok_key_version *version, struct kyok_error *err)
{
    if (version->activate == 0 || version->deactivate == 0 ||
        version->activate < version->deactivate)
        return KYOK_OK;
    return kyok_fail(err, KYOK_INVALID, version->name.label,
                     "a key is deactivated after it is activated, not before");
}

enum kyok_status kyok_key_set_dates(struct kyok_context *context,
                                    const struct kyok_reference *reference, const int64_t *activate,
                                    const int64_t *deactivate, struct kyok_error *err)
{
    KYOK_AUTO_RECORD record = kyok_life_record_new(err);
    struct kyok_key_version *version;
    struct kyok_life life;

    if (record == NULL)
        return err->status;
    if (reference->kind == KYOK_REFERENCE_KMIP)
        return kyok_life_kmip_set_dates(context, reference, activate, deactivate, err);
    KYOK_TRY(kyok_life_begin(context, reference, &life, err));
    KYOK_TRY(kyok_life_record(&life, record, err));
    KYOK_TRY(kyok_life_version(&life, record, &version, err));
    if (activate != NULL && version->state != KYOK_STATE_PRE_ACTIVE)
        return kyok_fail(err, KYOK_REFUSED, version->name.label,
                         "a key that is %s is not activated by a date",
                         kyok_key_state_name(version->state));
    if (deactivate != NULL && version->state >= KYOK_STATE_DEACTIVATED)
        return kyok_fail(err, KYOK_REFUSED, version->name.label,
                         "a key that is %s is not deactivated by a date",
                         kyok_key_state_name(version->state));
    version->activate = activate != NULL ? *activate : version->activate;
    version->deactivate = deactivate != NULL ? *deactivate : version->deactivate;
    KYOK_TRY(check_dates(version, err));
    return kyok_life_write(&life, record, err);
}

/* --- by hand --- */

enum kyok_status kyok_key_set_state(struct kyok_context *context,
                                    const struct kyok_reference *reference,
                                    enum kyok_key_state state, struct kyok_error *err)
{
    KYOK_AUTO_RECORD record = kyok_life_record_new(err);
    struct kyok_key_version *version;
    enum kyok_key_state before;
    struct kyok_life life;

    if (record == NULL)
        return err->status;
    if (state == KYOK_STATE_DESTROYED || state == KYOK_STATE_PRE_ACTIVE)
        return kyok_fail(err, KYOK_INVALID, reference->text,
                         state == KYOK_STATE_DESTROYED ? "destroying is a command of its own"
                                                       : "no key becomes pre-active again");
    if (reference->kind == KYOK_REFERENCE_KMIP)
        return kyok_life_kmip_set_state(context, reference, state, err);
    KYOK_TRY(kyok_life_begin(context, reference, &life, err));
    KYOK_TRY(kyok_life_record(&life, record, err));
    KYOK_TRY(kyok_life_version(&life, record, &version, err));
    before = kyok_key_version_state(version, time(NULL));
    if (before != state && !kyok_key_state_may_follow(before, state))
        return kyok_fail(err, KYOK_REFUSED, version->name.label,
                         "a key that is %s cannot become %s", kyok_key_state_name(before),
                         kyok_key_state_name(state));
    if (record->serial == 0) /* a token that keeps no records says so before anything changes */
        KYOK_TRY(kyok_life_write(&life, record, err));
    return to_state(&life, record, version, state, err);
}

/* --- born with a recorded life --- */

/* The record comes first, so that no key is ever there without it: a run that was killed in between
 * has left a record of one version whose key is missing. */
static enum kyok_status record_to_be(const struct kyok_life *life,
                                     const struct kyok_generate_request *request,
                                     struct kyok_key_record *record, struct kyok_error *err)
{
    struct kyok_key_version *version = &record->versions[0];
    enum kyok_status status = kyok_life_read(life, life->base, record, err);
    uint64_t serial = status == KYOK_OK ? record->serial : 0;

    if (status != KYOK_OK && status != KYOK_NOT_FOUND)
        return status;
    if (status == KYOK_OK &&
        (record->count != 1 || version->wrapped_size > 0 || version->state > KYOK_STATE_ACTIVE))
        return kyok_fail(err, KYOK_REFUSED, life->base, "there is a key of this name already");
    *record = (struct kyok_key_record){.serial = serial, .count = 1};
    strcpy(record->name, life->base);
    *version = (struct kyok_key_version){
        .state = request->dormant ? KYOK_STATE_PRE_ACTIVE : KYOK_STATE_ACTIVE,
        .usage = kyok_generated_usage(request->type, request->uses),
        .made = time(NULL),
        .activate = request->activate,
        .deactivate = request->deactivate};
    strcpy(version->name.label, life->base);
    if (request->id.size > KYOK_RECORD_ID_MAX || life->reference->id_size > KYOK_RECORD_ID_MAX)
        return kyok_fail(err, KYOK_INVALID, life->reference->text, "the id is too long");
    version->name.id_size = request->id.size;
    if (request->id.size > 0)
        memcpy(version->name.id, request->id.data, request->id.size);
    else
        KYOK_TRY(kyok_life_new_id(&version->name, err));
    return check_dates(version, err);
}

enum kyok_status kyok_life_need_new_name(const struct kyok_life *life, struct kyok_error *err)
{
    KYOK_TRY(kyok_life_need_name(life, err));
    if (strcmp(life->base, life->reference->object) == 0)
        return KYOK_OK;
    return kyok_fail(err, KYOK_INVALID, life->reference->text,
                     "a name that ends with .vN means a version");
}

enum kyok_status kyok_life_refuse_existing(const struct kyok_life *life, struct kyok_error *err)
{
    struct kyok_key_name by_label = {.id_size = 0};
    KYOK_AUTO_KEY struct kyok_key *key = NULL;
    enum kyok_status status;

    strcpy(by_label.label, life->base);
    status = kyok_life_open(life, &by_label, &key, err);
    if (status == KYOK_NOT_FOUND)
        return KYOK_OK;
    if (status != KYOK_OK && status != KYOK_AMBIGUOUS)
        return status;
    kyok_fail(err, KYOK_REFUSED, life->reference->text, "the token already has a key of this name");
    return kyok_remedy(err, "choose another object= name");
}

static enum kyok_status generate_in_token(struct kyok_context *context,
                                          const struct kyok_reference *reference,
                                          const struct kyok_generate_request *request,
                                          struct kyok_reference **made, struct kyok_error *err)
{
    KYOK_AUTO_RECORD record = kyok_life_record_new(err);
    struct kyok_generate_request with_id = *request;
    KYOK_AUTO_KEY struct kyok_key *key = NULL;
    struct kyok_life life;

    if (record == NULL)
        return err->status;
    KYOK_TRY(kyok_life_begin(context, reference, &life, err));
    KYOK_TRY(kyok_life_need_new_name(&life, err));
    KYOK_TRY(kyok_life_refuse_existing(&life, err));
    if (with_id.id.size == 0 && reference->has_id)
        with_id.id = kyok_bytes(reference->id, reference->id_size);
    KYOK_TRY(record_to_be(&life, &with_id, record, err));
    KYOK_TRY(kyok_life_write(&life, record, err));
    with_id.id = kyok_bytes(record->versions[0].name.id, record->versions[0].name.id_size);
    KYOK_TRY(kyok_key_generate(context, reference, &with_id, &key, err));
    return kyok_life_reference(&life, &record->versions[0].name, made, err);
}

enum kyok_status kyok_key_generate_recorded(struct kyok_context *context,
                                            const struct kyok_reference *reference,
                                            const struct kyok_generate_request *request,
                                            struct kyok_reference **made, struct kyok_error *err)
{
    *made = NULL;
    if (reference->kind == KYOK_REFERENCE_KMIP)
        return kyok_life_kmip_generate(context, reference, request, made, err);
    return generate_in_token(context, reference, request, made, err);
}
