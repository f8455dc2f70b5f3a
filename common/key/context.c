/* SPDX-License-Identifier: Apache-2.0 */
/* The custodians of one configuration, and which of them a reference means. */
#include "common/key/job.h"
#include "common/pkcs11/pkcs11.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint64_t last_serial;

/* --- making --- */

/* Lock-free, since a child may inherit the list in any state. */
static void add_custodian(struct kyok_context *context, struct kyok_custodian *custodian)
{
    custodian->context = context;
    custodian->serial = atomic_fetch_add(&last_serial, 1) + 1;
    custodian->next = atomic_load(&context->custodians);
    while (!atomic_compare_exchange_weak(&context->custodians, &custodian->next, custodian))
        ;
}

static enum kyok_status add_configured(struct kyok_context *context, struct kyok_error *err)
{
    const struct kyok_config *config = context->config;
    struct kyok_custodian *custodian;

    for (size_t i = 0; i < config->token_count; i++) {
        KYOK_TRY(kyok_pkcs11_custodian_new(&config->tokens[i], NULL, &custodian, err));
        add_custodian(context, custodian);
    }
    for (size_t i = 0; i < config->kmip_count; i++) {
        KYOK_TRY(kyok_kmip_custodian_new(&config->kmips[i], &custodian, err));
        add_custodian(context, custodian);
    }
    return KYOK_OK;
}

enum kyok_status kyok_context_new(struct kyok_config *config, struct kyok_context **context,
                                  struct kyok_error *err)
{
    struct kyok_context *fresh = calloc(1, sizeof(*fresh));

    if (fresh == NULL) {
        kyok_config_free(config);
        return kyok_fail(err, KYOK_SYSTEM, NULL, "no memory");
    }
    fresh->references = 1;
    fresh->config = config;
    if (add_configured(fresh, err) != KYOK_OK) {
        kyok_context_free(fresh);
        return err->status;
    }
    *context = fresh;
    return KYOK_OK;
}

void kyok_context_up_ref(struct kyok_context *context)
{
    atomic_fetch_add(&context->references, 1);
}

const struct kyok_config *kyok_context_config(const struct kyok_context *context)
{
    return context->config;
}

static void free_adhoc(struct kyok_adhoc *adhoc)
{
    free(adhoc->config.name);
    free(adhoc->config.module);
    free(adhoc->config.pin_source);
    free(adhoc);
}

void kyok_context_free(struct kyok_context *context)
{
    struct kyok_custodian *custodian;
    struct kyok_adhoc *adhoc;

    if (context == NULL || atomic_fetch_sub(&context->references, 1) != 1)
        return;
    while ((custodian = atomic_load(&context->custodians)) != NULL) {
        atomic_store(&context->custodians, custodian->next);
        custodian->ops->free(custodian);
    }
    while ((adhoc = atomic_load(&context->adhoc)) != NULL) {
        atomic_store(&context->adhoc, adhoc->next);
        free_adhoc(adhoc);
    }
    kyok_config_free(context->config);
    free(context);
}

/* --- groups that only a reference names --- */

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_pin(const struct kyok_secret *a, const struct kyok_secret *b)
{
    return a == NULL || b == NULL
               ? a == b
               : kyok_bytes_equal_secret(kyok_secret_bytes(a), kyok_secret_bytes(b));
}

static struct kyok_adhoc *find_adhoc(struct kyok_context *context, const char *module,
                                     const struct kyok_reference *reference,
                                     const struct kyok_token_config *base)
{
    struct kyok_adhoc *adhoc = atomic_load(&context->adhoc);

    while (adhoc != NULL && !(adhoc->base == base && same_text(adhoc->config.module, module) &&
                              same_text(adhoc->config.pin_source, reference->pin_source) &&
                              same_pin(adhoc->pin, reference->pin_value)))
        adhoc = adhoc->next;
    return adhoc;
}

static struct kyok_adhoc *new_adhoc(const struct kyok_config *config, const char *module,
                                    const struct kyok_reference *reference,
                                    const struct kyok_token_config *base)
{
    struct kyok_adhoc *adhoc = calloc(1, sizeof(*adhoc));
    bool copied = true;

    if (adhoc == NULL)
        return NULL;
    adhoc->base = base;
    adhoc->config.timeout_ms =
        config->reference_timeout_ms != 0 ? config->reference_timeout_ms : KYOK_DEFAULT_TIMEOUT_MS;
    adhoc->config.isolate = config->reference_isolate;
    adhoc->config.cache_keys_ms = config->reference_cache_keys_ms;
    if (base != NULL)
        adhoc->config = *base;
    adhoc->config.name = strdup(base != NULL ? base->name : "reference");
    adhoc->config.where = base != NULL ? base->where : (char *)"the key reference";
    adhoc->config.module = module == NULL ? NULL : strdup(module);
    adhoc->config.pin_source = reference->pin_source == NULL ? NULL : strdup(reference->pin_source);
    copied = adhoc->config.name != NULL && (module == NULL || adhoc->config.module != NULL) &&
             (reference->pin_source == NULL || adhoc->config.pin_source != NULL);
    if (copied)
        return adhoc;
    free_adhoc(adhoc);
    return NULL;
}

/* base: a configured group without a PIN source, which the reference brings; or NULL. */
static enum kyok_status adhoc_custodian(struct kyok_context *context, const char *module,
                                        const struct kyok_reference *reference,
                                        const struct kyok_token_config *base,
                                        struct kyok_custodian **custodian, struct kyok_error *err)
{
    struct kyok_adhoc *adhoc = find_adhoc(context, module, reference, base);
    struct kyok_secret *pin = NULL;

    if (adhoc != NULL) {
        *custodian = adhoc->custodian;
        return KYOK_OK;
    }
    adhoc = new_adhoc(context->config, module, reference, base);
    if (reference->pin_value != NULL)
        pin = kyok_secret_copy(kyok_secret_bytes(reference->pin_value));
    if (adhoc == NULL || (reference->pin_value != NULL && pin == NULL)) {
        kyok_secret_free(pin);
        return kyok_fail(err, KYOK_SYSTEM, reference->text, "no memory");
    }
    adhoc->pin = pin; /* owned by the group, which lives as long */
    if (kyok_pkcs11_custodian_new(&adhoc->config, pin, custodian, err) != KYOK_OK) {
        free_adhoc(adhoc);
        return err->status;
    }
    add_custodian(context, *custodian);
    adhoc->custodian = *custodian;
    adhoc->next = atomic_load(&context->adhoc);
    while (!atomic_compare_exchange_weak(&context->adhoc, &adhoc->next, adhoc))
        ;
    return KYOK_OK;
}

/* --- finding --- */

static struct kyok_custodian *configured(struct kyok_context *context, const void *config_name,
                                         enum kyok_reference_kind kind)
{
    const struct kyok_custodian_ops *pkcs11 = kyok_pkcs11_custodian_ops();
    struct kyok_custodian *custodian = atomic_load(&context->custodians);

    while (custodian != NULL && (strcmp(custodian->name, config_name) != 0 ||
                                 (custodian->ops == pkcs11) != (kind == KYOK_REFERENCE_PKCS11)))
        custodian = custodian->next;
    return custodian;
}

static enum kyok_status no_group(const struct kyok_reference *reference, struct kyok_error *err)
{
    const char *section = reference->kind == KYOK_REFERENCE_KMIP ? "kmip" : "token";

    kyok_fail(err, KYOK_NOT_FOUND, reference->text, "the configuration has no group [%s %s]",
              section, reference->group);
    return kyok_remedy(err, "add the section to kyok.conf, or correct the reference");
}

static enum kyok_status named_group(struct kyok_context *context,
                                    const struct kyok_reference *reference,
                                    struct kyok_custodian **found, size_t *count,
                                    struct kyok_error *err)
{
    *found = configured(context, reference->group, reference->kind);
    if (*found == NULL)
        return no_group(reference, err);
    *count = 1;
    return KYOK_OK;
}

/* A reference may bring the PIN for a configured group that has none. */
static enum kyok_status with_pin(struct kyok_context *context,
                                 const struct kyok_reference *reference,
                                 const struct kyok_token_config *token,
                                 struct kyok_custodian **custodian, struct kyok_error *err)
{
    if (token->pin_source != NULL || token->pin != NULL ||
        (reference->pin_source == NULL && reference->pin_value == NULL))
        return KYOK_OK;
    return adhoc_custodian(context, token->module, reference, token, custodian, err);
}

/* Looks at a group's tokens, which may wait as long as any other call to them. */
struct look {
    struct kyok_context *context;
    struct kyok_custodian *custodian;
    struct kyok_reference *reference;
    struct kyok_deadline deadline;
    bool matches;
};

static enum kyok_status run_look(void *body, struct kyok_error *err)
{
    struct look *look = body;

    return kyok_group_matches(look->custodian->own, look->reference, &look->matches, look->deadline,
                              err);
}

static void end_look(void *body)
{
    struct look *look = body;

    kyok_reference_free(look->reference);
    kyok_context_free(look->context);
}

static const struct kyok_job_type look_type = {"look", sizeof(struct look), run_look, end_look};

static enum kyok_status tokens_match(struct kyok_custodian *custodian,
                                     const struct kyok_reference *reference, bool *matches,
                                     struct kyok_deadline looking, struct kyok_error *err)
{
    struct kyok_deadline deadline =
        kyok_deadline_sooner(looking, kyok_custodian_deadline(custodian));
    KYOK_CLEANUP(kyok_job_auto_free) struct kyok_job *job = NULL;
    struct look *look;

    if (!kyok_key_needs_job(custodian))
        return kyok_group_matches(custodian->own, reference, matches, deadline, err);
    job = kyok_key_job_new(&look_type, err);
    if (job == NULL)
        return err->status;
    look = kyok_job_body(job);
    look->context = custodian->context;
    kyok_context_up_ref(look->context);
    look->custodian = custodian;
    look->deadline = deadline;
    KYOK_TRY(kyok_reference_copy(reference, &look->reference, err));
    KYOK_TRY(kyok_key_job_run(job, custodian, custodian->name, deadline, err));
    *matches = look->matches;
    return KYOK_OK;
}

/* missed: why a group could not be asked whether it fits; KYOK_OK when all could. */
static enum kyok_status matching_groups(struct kyok_context *context,
                                        const struct kyok_reference *reference,
                                        struct kyok_custodian **found, size_t room, size_t *count,
                                        struct kyok_deadline deadline, struct kyok_error *missed,
                                        struct kyok_error *err)
{
    const struct kyok_config *config = context->config;

    for (size_t i = 0; i < config->token_count && *count < room; i++) {
        struct kyok_custodian *custodian =
            configured(context, config->tokens[i].name, KYOK_REFERENCE_PKCS11);
        enum kyok_answer fits = kyok_group_fits(custodian->own, reference);
        bool matches = fits == KYOK_YES;

        /* With one group there is nothing to choose: its members are asked when the key is. */
        if (fits == KYOK_NOT_KNOWN && config->token_count == 1)
            matches = true;
        else if (fits == KYOK_NOT_KNOWN &&
                 tokens_match(custodian, reference, &matches, deadline, missed) != KYOK_OK)
            matches = false; /* a group that is away must not hide another */
        if (!matches)
            continue;
        KYOK_TRY(with_pin(context, reference, &config->tokens[i], &custodian, err));
        found[(*count)++] = custodian;
    }
    return KYOK_OK;
}

enum kyok_status kyok_custodians_find(struct kyok_context *context,
                                      const struct kyok_reference *reference,
                                      struct kyok_custodian **found, size_t room, size_t *count,
                                      struct kyok_deadline deadline, struct kyok_error *err)
{
    const char *module =
        reference->module_path != NULL ? reference->module_path : reference->module_name;
    struct kyok_error missed = {.status = KYOK_OK};

    *count = 0;
    if (reference->group != NULL)
        return named_group(context, reference, found, count, err);
    if (module == NULL)
        KYOK_TRY(matching_groups(context, reference, found, room, count, deadline, &missed, err));
    if (*count > 0)
        return KYOK_OK;
    /* p11-kit may know the module that hangs, and would be asked with no deadline. */
    if (missed.status == KYOK_TIMEOUT ||
        (missed.status != KYOK_OK && reference->origin == KYOK_FROM_DATA)) {
        *err = missed;
        return err->status;
    }
    if (reference->origin == KYOK_FROM_DATA) {
        kyok_fail(err, KYOK_NOT_FOUND, reference->text, "no [token] section of kyok.conf fits");
        return kyok_remedy(err, "configure the token's group on this host");
    }
    *count = 1;
    return adhoc_custodian(context, module, reference, NULL, found, err);
}

enum kyok_status kyok_custodian_find(struct kyok_context *context,
                                     const struct kyok_reference *reference,
                                     struct kyok_custodian **custodian, struct kyok_error *err)
{
    struct kyok_custodian *found[KYOK_CUSTODIANS_MOST];
    size_t count;

    KYOK_TRY(kyok_custodians_find(context, reference, found, KYOK_CUSTODIANS_MOST, &count,
                                  kyok_deadline_in_ms(KYOK_DEFAULT_TIMEOUT_MS), err));
    if (count == 1) {
        *custodian = found[0];
        return KYOK_OK;
    }
    kyok_fail(err, KYOK_AMBIGUOUS, reference->text, "groups %s and %s both fit", found[0]->name,
              found[1]->name);
    return kyok_remedy(err, "add ?kyok-group=%s or token= to the reference", found[0]->name);
}
