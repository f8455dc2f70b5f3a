/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a key object: opened, deferred, checked, shared, freed. */
#include "common/key/kept.h"
#include "common/pkcs11/pkcs11.h"

#include <stdlib.h>
#include <string.h>

bool kyok_inside_custodian(void)
{
    return kyok_inside_module();
}

/* --- making --- */

/* Until the custodian has been asked; 0 would say "no". */
static void nothing_known(struct kyok_key_info *info)
{
    info->sensitive = info->always_sensitive = info->never_extractable = info->extractable =
        info->local = info->may_sign = info->may_decrypt = info->may_derive = info->may_wrap =
            info->may_unwrap = info->may_encrypt = info->always_authenticate = KYOK_NOT_KNOWN;
}

static enum kyok_status key_new(struct kyok_custodian *custodian,
                                const struct kyok_reference *reference,
                                struct kyok_bytes public_key, struct kyok_key **key,
                                struct kyok_error *err)
{
    struct kyok_key *fresh = calloc(1, sizeof(*fresh));

    if (fresh == NULL)
        return kyok_fail(err, KYOK_SYSTEM, reference->text, "no memory");
    *key = fresh;
    fresh->references = 1;
    fresh->custodian = custodian;
    fresh->context = custodian->context;
    kyok_context_up_ref(fresh->context);
    KYOK_TRY(kyok_reference_copy(reference, &fresh->reference, err));
    if (public_key.size == 0)
        return KYOK_OK;
    nothing_known(&fresh->info);
    fresh->info.object = KYOK_OBJECT_PRIVATE;
    fresh->info.type = kyok_spki_type(public_key, &fresh->info.bits);
    fresh->info.public_key = malloc(public_key.size);
    fresh->info.reference = strdup(reference->text);
    fresh->info.custodian = strdup(custodian->name);
    if (fresh->info.public_key == NULL || fresh->info.reference == NULL ||
        fresh->info.custodian == NULL)
        return kyok_fail(err, KYOK_SYSTEM, reference->text, "no memory");
    memcpy(fresh->info.public_key, public_key.data, public_key.size);
    fresh->info.public_key_size = public_key.size;
    return KYOK_OK;
}

void kyok_key_up_ref(struct kyok_key *key)
{
    atomic_fetch_add(&key->references, 1);
}

void kyok_key_free(struct kyok_key *key)
{
    if (key == NULL || atomic_fetch_sub(&key->references, 1) != 1)
        return;
    kyok_key_tally_end(key);
    if (key->own != NULL)
        key->custodian->ops->release(key);
    kyok_key_info_clear(&key->info);
    kyok_reference_free(key->reference);
    kyok_context_free(key->context);
    free(key);
}

const struct kyok_key_info *kyok_key_info(const struct kyok_key *key)
{
    return &key->info;
}

/* --- opening and checking, which may wait --- */

struct visit {
    struct kyok_key *key; /* a reference of its own */
    struct kyok_deadline deadline;
};

static enum kyok_status run_open(void *body, struct kyok_error *err)
{
    struct visit *visit = body;

    return visit->key->custodian->ops->open(visit->key, visit->deadline, err);
}

static enum kyok_status run_check(void *body, struct kyok_error *err)
{
    struct visit *visit = body;

    return visit->key->custodian->ops->check(visit->key, visit->deadline, err);
}

static void end_visit(void *body)
{
    kyok_key_free(((struct visit *)body)->key);
}

static const struct kyok_job_type open_type = {"open", sizeof(struct visit), run_open, end_visit};
static const struct kyok_job_type check_type = {"check", sizeof(struct visit), run_check,
                                                end_visit};

static enum kyok_status run_visit(const struct kyok_job_type *type, struct kyok_key *key,
                                  struct kyok_deadline deadline, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_job_auto_free) struct kyok_job *job = NULL;
    struct visit visit = {key, deadline};

    if (!kyok_key_needs_job(key->custodian))
        return type->run(&visit, err);
    job = kyok_key_job_new(type, err);
    if (job == NULL)
        return err->status;
    kyok_key_up_ref(key);
    *(struct visit *)kyok_job_body(job) = visit;
    return kyok_key_job_run(job, key->custodian, key->reference->text, deadline, err);
}

static enum kyok_status open_on(struct kyok_custodian *custodian,
                                const struct kyok_reference *reference,
                                struct kyok_bytes public_key, struct kyok_key **key,
                                struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_key *fresh = NULL;
    enum kyok_status status = key_new(custodian, reference, public_key, &fresh, err);

    if (status == KYOK_OK && public_key.size > 0)
        status = custodian->ops->defer(fresh, err);
    else if (status == KYOK_OK)
        status = run_visit(&open_type, fresh, deadline, err);
    if (status != KYOK_OK) {
        kyok_key_free(fresh);
        return status;
    }
    *key = fresh;
    return KYOK_OK;
}

static enum kyok_status in_two_groups(const struct kyok_reference *reference,
                                      const struct kyok_custodian *a,
                                      const struct kyok_custodian *b, struct kyok_error *err)
{
    kyok_fail(err, KYOK_AMBIGUOUS, reference->text, "groups %s and %s both have such a key",
              a->name, b->name);
    return kyok_remedy(err, "add ?kyok-group=%s or token= to the reference", a->name);
}

static enum kyok_status open_at_custodian(struct kyok_context *context,
                                          const struct kyok_reference *reference,
                                          struct kyok_bytes public_key, struct kyok_key **key,
                                          struct kyok_error *err)
{
    struct kyok_deadline looking = kyok_deadline_in_ms(KYOK_DEFAULT_TIMEOUT_MS);
    struct kyok_custodian *found[KYOK_CUSTODIANS_MOST];
    struct kyok_key *opened = NULL;
    struct kyok_error later;
    size_t count;

    KYOK_TRY(kyok_custodians_find(context, reference, found, KYOK_CUSTODIANS_MOST, &count, looking,
                                  err));
    err->status = KYOK_NOT_FOUND;
    for (size_t i = 0; i < count; i++) {
        struct kyok_deadline deadline = kyok_custodian_deadline(found[i]);
        struct kyok_key *one = NULL;
        enum kyok_status status =
            open_on(found[i], reference, public_key, &one, deadline, opened == NULL ? err : &later);

        if (status != KYOK_OK)
            continue;
        if (opened != NULL) {
            in_two_groups(reference, opened->custodian, found[i], err);
            kyok_key_free(one);
            kyok_key_free(opened);
            return err->status;
        }
        opened = one;
    }
    if (opened == NULL)
        return err->status;
    *key = opened;
    return KYOK_OK;
}

enum kyok_status kyok_key_open(struct kyok_context *context, const struct kyok_reference *reference,
                               struct kyok_bytes public_key, struct kyok_key **key,
                               struct kyok_error *err)
{
    struct kyok_key *kept = kyok_key_kept(context, reference, public_key);

    if (kept != NULL) {
        *key = kept;
        return KYOK_OK;
    }
    KYOK_TRY(open_at_custodian(context, reference, public_key, key, err));
    kyok_key_keep(*key, public_key);
    return KYOK_OK;
}

enum kyok_status kyok_key_check(struct kyok_key *key, struct kyok_error *err)
{
    return run_visit(&check_type, key, kyok_custodian_deadline(key->custodian), err);
}

/* --- figures --- */

void kyok_context_figures(struct kyok_context *context, kyok_figures_visitor *visit, void *caller)
{
    struct kyok_custodian *custodian = atomic_load(&context->custodians);

    for (; custodian != NULL; custodian = custodian->next)
        custodian->ops->figures(custodian, visit, caller);
}
