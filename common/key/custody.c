/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of a custodian rather than of a key: list, generate, random. */
#include "common/key/job.h"
#include "common/key/life.h"

#include <stdlib.h>
#include <string.h>

/* --- list: a job collects, so that the visitor runs in the caller --- */

struct listing {
    struct kyok_context *context;
    struct kyok_custodian *custodian;
    struct kyok_reference *reference;
    struct kyok_deadline deadline;
    bool login;
    struct kyok_key_info *infos;
    size_t count, room;
};

static bool collect(void *caller, const struct kyok_key_info *info)
{
    struct listing *l = caller;

    if (l->count == l->room) {
        size_t room = l->room == 0 ? 64 : l->room * 2;
        struct kyok_key_info *more = realloc(l->infos, room * sizeof(*more));

        if (more == NULL)
            return false;
        l->infos = more;
        l->room = room;
    }
    if (!kyok_key_info_copy(info, &l->infos[l->count]))
        return false;
    l->count++;
    return true;
}

static enum kyok_status run_list(void *body, struct kyok_error *err)
{
    struct listing *l = body;

    return l->custodian->ops->list(l->custodian, l->reference, l->login, collect, l, l->deadline,
                                   err);
}

static void end_list(void *body)
{
    struct listing *l = body;

    for (size_t i = 0; i < l->count; i++)
        kyok_key_info_clear(&l->infos[i]);
    free(l->infos);
    kyok_reference_free(l->reference);
    kyok_context_free(l->context);
}

static const struct kyok_job_type list_type = {"list", sizeof(struct listing), run_list, end_list};

static enum kyok_status list_by_job(struct kyok_custodian *custodian,
                                    const struct kyok_reference *reference, bool login,
                                    kyok_key_visitor *visit, void *caller, bool *go_on,
                                    struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_job_auto_free) struct kyok_job *job = kyok_key_job_new(&list_type, err);
    struct listing *l;

    if (job == NULL)
        return err->status;
    l = kyok_job_body(job);
    l->context = custodian->context;
    kyok_context_up_ref(l->context);
    l->custodian = custodian;
    l->login = login;
    l->deadline = kyok_custodian_deadline(custodian);
    KYOK_TRY(kyok_reference_copy(reference, &l->reference, err));
    KYOK_TRY(kyok_key_job_run(job, custodian, reference->text, l->deadline, err));
    for (size_t i = 0; *go_on && i < l->count; i++)
        *go_on = visit(caller, &l->infos[i]);
    return KYOK_OK;
}

struct passing {
    kyok_key_visitor *visit;
    void *caller;
    bool *go_on;
};

static bool pass(void *caller, const struct kyok_key_info *info)
{
    struct passing *passing = caller;

    *passing->go_on = passing->visit(passing->caller, info);
    return *passing->go_on;
}

enum kyok_status kyok_key_list(struct kyok_context *context, const struct kyok_reference *reference,
                               bool login, kyok_key_visitor *visit, void *caller,
                               struct kyok_error *err)
{
    struct kyok_deadline looking = kyok_deadline_in_ms(KYOK_DEFAULT_TIMEOUT_MS);
    struct kyok_custodian *found[KYOK_CUSTODIANS_MOST];
    bool go_on = true, any = false;
    size_t count;

    KYOK_TRY(kyok_custodians_find(context, reference, found, KYOK_CUSTODIANS_MOST, &count, looking,
                                  err));
    for (size_t i = 0; go_on && i < count; i++) {
        struct passing passing = {visit, caller, &go_on};
        enum kyok_status status;

        if (kyok_key_needs_job(found[i]))
            status = list_by_job(found[i], reference, login, visit, caller, &go_on, err);
        else
            status = found[i]->ops->list(found[i], reference, login, pass, &passing,
                                         kyok_custodian_deadline(found[i]), err);
        any |= status == KYOK_OK;
    }
    return any ? KYOK_OK : err->status;
}

/* --- generate and random --- */

struct making {
    struct kyok_context *context;
    struct kyok_custodian *custodian;
    struct kyok_reference *reference;
    struct kyok_generate_request request;
    struct kyok_deadline deadline;
    struct kyok_secret *random;
};

static enum kyok_status run_generate(void *body, struct kyok_error *err)
{
    struct making *m = body;

    return m->custodian->ops->generate(m->custodian, m->reference, &m->request, m->deadline, err);
}

static enum kyok_status run_random(void *body, struct kyok_error *err)
{
    struct making *m = body;

    return m->custodian->ops->random(m->custodian, kyok_secret_data(m->random),
                                     kyok_secret_size(m->random), m->deadline, err);
}

static void end_making(void *body)
{
    struct making *m = body;

    kyok_key_job_drop(&m->request.id);
    kyok_reference_free(m->reference);
    kyok_secret_free(m->random);
    kyok_context_free(m->context);
}

static const struct kyok_job_type generate_type = {"generate", sizeof(struct making), run_generate,
                                                   end_making};
static const struct kyok_job_type random_type = {"random", sizeof(struct making), run_random,
                                                 end_making};

static void fill_making(struct making *m, struct kyok_custodian *custodian)
{
    m->context = custodian->context;
    kyok_context_up_ref(m->context);
    m->custodian = custodian;
    m->deadline = kyok_custodian_deadline(custodian);
}

static enum kyok_status generate_on(struct kyok_custodian *custodian,
                                    const struct kyok_reference *reference,
                                    const struct kyok_generate_request *request,
                                    struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_job_auto_free) struct kyok_job *job = kyok_key_job_new(&generate_type, err);
    struct making *m;

    if (job == NULL)
        return err->status;
    m = kyok_job_body(job);
    fill_making(m, custodian);
    m->request = *request;
    m->request.id = kyok_bytes(NULL, 0);
    KYOK_TRY(kyok_reference_copy(reference, &m->reference, err));
    if (!kyok_key_job_copy(request->id, &m->request.id))
        return kyok_fail(err, KYOK_SYSTEM, reference->text, "no memory");
    return kyok_key_job_run(job, custodian, reference->text, m->deadline, err);
}

/* The token may have made the key although nobody waited for the answer: an id that is nobody
 * else's tells. It is never asked for another. */
static enum kyok_status look_for_made(const struct kyok_life *life,
                                      const struct kyok_key_name *name, struct kyok_key **key,
                                      struct kyok_error *err)
{
    struct kyok_error ignored;

    if (name->id_size > 0 && kyok_life_open(life, name, key, &ignored) == KYOK_OK)
        return KYOK_OK;
    kyok_because(err, "whether the key has been made is not known");
    return kyok_remedy(err,
                       "look for it when the token answers again (kyok key list %s) before "
                       "you make another",
                       life->custodian->name);
}

/* Under an id of its own, where the caller leaves that to kyok. */
static enum kyok_status generate_in_token(const struct kyok_life *life,
                                          const struct kyok_generate_request *request,
                                          struct kyok_key **key, struct kyok_error *err)
{
    const struct kyok_reference *reference = life->reference;
    struct kyok_generate_request with_id = *request;
    struct kyok_key_name name = {.id_size = 0};
    enum kyok_status status;

    if (request->id.size == 0 && !reference->has_id && reference->object != NULL &&
        strlen(reference->object) <= KYOK_RECORD_LABEL_MAX) {
        strcpy(name.label, reference->object);
        KYOK_TRY(kyok_life_new_id(&name, err));
        with_id.id = kyok_bytes(name.id, name.id_size);
    }
    status = generate_on(life->custodian, reference, &with_id, err);
    if (status == KYOK_TIMEOUT || status == KYOK_CANCELLED)
        return look_for_made(life, &name, key, err);
    KYOK_TRY(status);
    return kyok_key_open(life->context, reference, kyok_bytes(NULL, 0), key, err);
}

enum kyok_status kyok_key_generate(struct kyok_context *context,
                                   const struct kyok_reference *reference,
                                   const struct kyok_generate_request *request,
                                   struct kyok_key **key, struct kyok_error *err)
{
    struct kyok_custodian *custodian;

    KYOK_TRY(kyok_custodian_find(context, reference, &custodian, err));
    if (custodian->ops == kyok_pkcs11_custodian_ops()) {
        struct kyok_life life = {
            .context = context, .reference = reference, .custodian = custodian};

        return generate_in_token(&life, request, key, err);
    }
    KYOK_TRY(generate_on(custodian, reference, request, err));
    return kyok_key_open(context, reference, kyok_bytes(NULL, 0), key, err);
}

enum kyok_status kyok_random(struct kyok_context *context, const char *group, uint8_t *data,
                             size_t size, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_job_auto_free) struct kyok_job *job = NULL;
    struct kyok_custodian *custodian = atomic_load(&context->custodians);
    struct making *m;

    while (custodian != NULL && strcmp(custodian->name, group) != 0)
        custodian = custodian->next;
    if (custodian == NULL)
        return kyok_fail(err, KYOK_NOT_FOUND, group, "the configuration has no such group");
    job = kyok_key_job_new(&random_type, err);
    if (job == NULL)
        return err->status;
    m = kyok_job_body(job);
    fill_making(m, custodian);
    m->random = kyok_secret_new(size);
    if (m->random == NULL)
        return kyok_fail(err, KYOK_SYSTEM, group, "no memory");
    KYOK_TRY(kyok_key_job_run(job, custodian, group, m->deadline, err));
    memcpy(data, kyok_secret_data(m->random), size);
    return KYOK_OK;
}
