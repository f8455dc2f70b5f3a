/* SPDX-License-Identifier: Apache-2.0 */
/* Other recipients for the same secret: only the layers down to the innermost changed one are
 * opened, and only their small contents are encrypted again. */
#include "common/envelope/keyholder.h"

#include <stdlib.h>
#include <string.h>

static const struct kyok_envelope_options no_options;

struct changing {
    const struct kyok_keyholder *holder;
    const struct kyok_envelope_options *options;
    const struct kyok_envelope_change *changes;
    size_t count;
    size_t deepest; /* innermost layer with a change */
    struct kyok_deadline deadline;
};

static const struct kyok_envelope_change *change_of(const struct changing *changing, size_t layer)
{
    for (size_t i = 0; i < changing->count; i++)
        if (changing->changes[i].layer == layer)
            return &changing->changes[i];
    return NULL;
}

/* --- one layer's recipients ------------------------------------------------------------------ */

static bool is_removed(const struct kyok_envelope_change *change, const char *kid)
{
    for (size_t i = 0; i < change->remove_count; i++)
        if (strcmp(change->remove[i], kid) == 0)
            return true;
    return false;
}

/* Wraps a new content key for the recipients that stay, so that a removed one cannot open what is
 * sealed from now on even if it kept the old content key. */
static enum kyok_status rewrap_staying(const struct changing *changing,
                                       const struct kyok_envelope_change *change,
                                       const struct kyok_jwe_recipients *old, struct kyok_bytes cek,
                                       struct kyok_jwe_recipients *recipients,
                                       struct kyok_error *err)
{
    for (size_t i = 0; i < old->count; i++) {
        KYOK_CLEANUP(kyok_jwe_recipient_free) struct kyok_jwe_recipient recipient = {0};

        if (is_removed(change, old->list[i].kid))
            continue;
        KYOK_TRY(changing->holder->type->wrap_kid(changing->holder->self, old->list[i].kid,
                                                  old->list[i].algorithm, cek, &recipient, err));
        KYOK_TRY(kyok_jwe_recipients_add(recipients, &recipient, err));
    }
    return KYOK_OK;
}

static enum kyok_status keep_recipients(const struct kyok_jwe_recipients *old,
                                        struct kyok_jwe_recipients *recipients,
                                        struct kyok_error *err)
{
    for (size_t i = 0; i < old->count; i++) {
        KYOK_CLEANUP(kyok_jwe_recipient_free) struct kyok_jwe_recipient recipient = {0};

        KYOK_TRY(kyok_jwe_recipient_copy(&old->list[i], &recipient, err));
        KYOK_TRY(kyok_jwe_recipients_add(recipients, &recipient, err));
    }
    return KYOK_OK;
}

static enum kyok_status check_removed(const struct kyok_jwe *jwe,
                                      const struct kyok_envelope_change *change,
                                      struct kyok_error *err)
{
    for (size_t i = 0; i < change->remove_count; i++) {
        size_t at = 0;

        while (at < jwe->recipients.count &&
               strcmp(jwe->recipients.list[at].kid, change->remove[i]) != 0)
            at++;
        if (at == jwe->recipients.count)
            return kyok_fail(err, KYOK_NOT_FOUND, change->remove[i],
                             "layer %zu has no such recipient", change->layer + 1);
    }
    return KYOK_OK;
}

static enum kyok_status change_recipients(const struct changing *changing,
                                          const struct kyok_envelope_change *change,
                                          struct kyok_jwe *jwe, struct kyok_secret *cek,
                                          struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_jwe_recipients_free) struct kyok_jwe_recipients recipients = {0};
    struct kyok_jwe_recipients old = jwe->recipients;

    KYOK_TRY(check_removed(jwe, change, err));
    if (change->remove_count > 0 || change->refresh) {
        KYOK_TRY(kyok_crypto_random(kyok_secret_data(cek), KYOK_CEK_SIZE, err));
        KYOK_TRY(rewrap_staying(changing, change, &old, kyok_secret_bytes(cek), &recipients, err));
    } else {
        KYOK_TRY(keep_recipients(&old, &recipients, err));
    }
    for (size_t i = 0; i < change->add_count; i++)
        KYOK_TRY(kyok_layer_wrap(changing->holder, change->add[i], changing->options->algorithm,
                                 kyok_secret_bytes(cek), &recipients, err));
    if (recipients.count == 0)
        return kyok_fail(err, KYOK_INVALID, NULL, "layer %zu would be left without a recipient",
                         change->layer + 1);
    jwe->recipients = recipients;
    recipients = old;
    return KYOK_OK;
}

/* --- layers ---------------------------------------------------------------------------------- */

struct changed_layer {
    struct kyok_envelope *envelope; /* as now described */
    struct kyok_buffer json;
};

static void changed_layer_free(struct changed_layer *layer)
{
    kyok_envelope_free(layer->envelope);
    kyok_buffer_free(&layer->json);
}

static enum kyok_status change_layer(const struct changing *changing, struct kyok_jwe *jwe,
                                     size_t depth, struct changed_layer *changed,
                                     struct kyok_error *err);

static enum kyok_status change_inner(const struct changing *changing, const struct kyok_jwe *outer,
                                     struct kyok_bytes json, size_t depth,
                                     struct changed_layer *changed, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_jwe_auto_free) struct kyok_jwe *inner = NULL;

    KYOK_TRY(kyok_jwe_parse(json, false, &inner, err));
    KYOK_TRY(kyok_layer_agrees(outer->envelope, inner->envelope, err));
    return change_layer(changing, inner, depth, changed, err);
}

/* Seals the layer again around its plaintext: the changed inner layer, or what it held before. */
static enum kyok_status reseal(struct kyok_jwe *jwe, struct kyok_secret *cek,
                               struct kyok_bytes plaintext, const struct kyok_envelope_layer *inner,
                               size_t inner_count, struct changed_layer *changed,
                               struct kyok_error *err)
{
    changed->json.limit = KYOK_ENVELOPE_MAX;
    KYOK_TRY(kyok_layer_describe(jwe, &jwe->envelope->claims, jwe->envelope->content, inner,
                                 inner_count, err));
    KYOK_TRY(kyok_layer_seal(jwe, kyok_secret_bytes(cek), plaintext, err));
    KYOK_TRY(kyok_jwe_write(jwe, &changed->json, err));
    changed->envelope = jwe->envelope;
    jwe->envelope = NULL;
    return KYOK_OK;
}

static enum kyok_status change_layer(const struct changing *changing, struct kyok_jwe *jwe,
                                     size_t depth, struct changed_layer *changed,
                                     struct kyok_error *err)
{
    const struct kyok_envelope_change *change = change_of(changing, depth);
    KYOK_AUTO_SECRET struct kyok_secret *cek = NULL;
    KYOK_AUTO_SECRET struct kyok_secret *plaintext = NULL;
    KYOK_CLEANUP(changed_layer_free) struct changed_layer inner = {0};

    KYOK_TRY(kyok_race_unwrap(changing->holder, &jwe->recipients, NULL, changing->deadline, &cek,
                              NULL, err));
    KYOK_TRY(kyok_layer_open(jwe, kyok_secret_bytes(cek), &plaintext, err));
    if (depth < changing->deepest)
        KYOK_TRY(change_inner(changing, jwe, kyok_secret_bytes(plaintext), depth + 1, &inner, err));
    if (change != NULL)
        KYOK_TRY(change_recipients(changing, change, jwe, cek, err));
    if (inner.envelope != NULL)
        return reseal(jwe, cek, kyok_buffer_bytes(&inner.json), inner.envelope->layers,
                      inner.envelope->layer_count, changed, err);
    return reseal(jwe, cek, kyok_secret_bytes(plaintext), jwe->envelope->layers + 1,
                  jwe->envelope->layer_count - 1, changed, err);
}

static enum kyok_status check_changes(struct changing *changing,
                                      const struct kyok_envelope *envelope, struct kyok_error *err)
{
    for (size_t i = 0; i < changing->count; i++) {
        const struct kyok_envelope_change *change = &changing->changes[i];

        if (change->layer >= envelope->layer_count)
            return kyok_fail(err, KYOK_INVALID, NULL, "the envelope has no layer %zu, only %zu",
                             change->layer + 1, envelope->layer_count);
        if (change_of(changing, change->layer) != change)
            return kyok_fail(err, KYOK_INVALID, NULL, "two changes for layer %zu",
                             change->layer + 1);
        if (change->layer > changing->deepest)
            changing->deepest = change->layer;
    }
    return KYOK_OK;
}

enum kyok_status kyok_envelope_change_with(const struct kyok_keyholder *holder,
                                           struct kyok_bytes json,
                                           const struct kyok_envelope_expected *expected,
                                           const struct kyok_envelope_change *changes, size_t count,
                                           const struct kyok_envelope_options *options,
                                           struct kyok_buffer *changed, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_jwe_auto_free) struct kyok_jwe *jwe = NULL;
    KYOK_CLEANUP(changed_layer_free) struct changed_layer outermost = {0};
    struct changing changing = {.holder = holder,
                                .options = options != NULL ? options : &no_options,
                                .changes = changes,
                                .count = count};

    changing.deadline = kyok_opening_deadline(changing.options);
    if (kyok_jwe_parse(json, false, &jwe, err) != KYOK_OK)
        return kyok_envelope_refuse(NULL, err);
    if (kyok_envelope_expect(kyok_envelope_claims(jwe->envelope), expected, err) != KYOK_OK ||
        check_changes(&changing, jwe->envelope, err) != KYOK_OK ||
        change_layer(&changing, jwe, 0, &outermost, err) != KYOK_OK)
        return kyok_envelope_refuse(jwe->envelope, err);
    kyok_envelope_tell(jwe->envelope, KYOK_OK, "for other recipients");
    return kyok_buffer_append(changed, outermost.json.data, outermost.json.size)
               ? KYOK_OK
               : kyok_no_memory(err);
}

/* --- to a policy ----------------------------------------------------------------------------- */

/* What one layer must lose and gain to fit one clause. */
struct difference {
    char *wanted[KYOK_ENVELOPE_MAX_RECIPIENTS]; /* kids of the clause's alternatives */
    const struct kyok_reference *add[KYOK_ENVELOPE_MAX_RECIPIENTS];
    const char *remove[KYOK_ENVELOPE_MAX_RECIPIENTS];
    struct kyok_envelope_change change;
};

struct differences {
    struct difference layers[KYOK_ENVELOPE_MAX_LAYERS];
};

static void differences_auto_free(struct differences **differences)
{
    if (*differences == NULL)
        return;
    for (size_t i = 0; i < KYOK_ENVELOPE_MAX_LAYERS; i++)
        for (size_t j = 0; j < KYOK_ENVELOPE_MAX_RECIPIENTS; j++)
            free((*differences)->layers[i].wanted[j]);
    free(*differences);
}

static bool layer_has(const struct kyok_envelope_layer *layer, const char *kid)
{
    for (size_t i = 0; i < layer->count; i++)
        if (strcmp(layer->recipients[i].kid, kid) == 0)
            return true;
    return false;
}

static bool is_wanted(const struct difference *difference, size_t count, const char *kid)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(difference->wanted[i], kid) == 0)
            return true;
    return false;
}

static enum kyok_status compare_layer(const struct kyok_keyholder *holder,
                                      const struct kyok_envelope_layer *layer,
                                      const struct kyok_policy_clause *clause,
                                      struct difference *difference, struct kyok_error *err)
{
    struct kyok_envelope_change *change = &difference->change;

    if (clause->count > KYOK_ENVELOPE_MAX_RECIPIENTS)
        return kyok_fail(err, KYOK_INVALID, NULL, "more than %d recipients in one layer",
                         KYOK_ENVELOPE_MAX_RECIPIENTS);
    for (size_t i = 0; i < clause->count; i++) {
        KYOK_TRY(
            holder->type->name(holder->self, clause->alternatives[i], &difference->wanted[i], err));
        if (!layer_has(layer, difference->wanted[i]))
            difference->add[change->add_count++] = clause->alternatives[i];
    }
    for (size_t i = 0; i < layer->count; i++)
        if (!is_wanted(difference, clause->count, layer->recipients[i].kid))
            difference->remove[change->remove_count++] = layer->recipients[i].kid;
    change->add = difference->add;
    change->remove = difference->remove;
    return KYOK_OK;
}

static enum kyok_status rewrap_layers(const struct kyok_keyholder *holder, struct kyok_bytes json,
                                      const struct kyok_envelope *envelope,
                                      const struct kyok_envelope_expected *expected,
                                      const struct kyok_policy *policy,
                                      const struct kyok_envelope_options *options,
                                      struct kyok_buffer *rewrapped, struct kyok_error *err)
{
    KYOK_CLEANUP(differences_auto_free)
    struct differences *differences = calloc(1, sizeof(*differences));
    struct kyok_envelope_change changes[KYOK_ENVELOPE_MAX_LAYERS];
    size_t count = 0;

    if (differences == NULL)
        return kyok_no_memory(err);
    for (size_t i = 0; i < policy->count; i++) {
        struct difference *difference = &differences->layers[i];

        difference->change.layer = i;
        KYOK_TRY(compare_layer(holder, &envelope->layers[i], &policy->clauses[i], difference, err));
        if (difference->change.add_count > 0 || difference->change.remove_count > 0)
            changes[count++] = difference->change;
    }
    if (count == 0)
        return kyok_buffer_append(rewrapped, json.data, json.size) ? KYOK_OK : kyok_no_memory(err);
    return kyok_envelope_change_with(holder, json, expected, changes, count, options, rewrapped,
                                     err);
}

enum kyok_status kyok_envelope_rewrap_with(const struct kyok_keyholder *holder,
                                           struct kyok_bytes json,
                                           const struct kyok_envelope_expected *expected,
                                           const struct kyok_policy *policy,
                                           const struct kyok_envelope_options *options,
                                           struct kyok_buffer *rewrapped, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_envelope_auto_free) struct kyok_envelope *envelope = NULL;
    KYOK_AUTO_SECRET struct kyok_secret *secret = NULL;

    KYOK_TRY(kyok_envelope_inspect(json, options, &envelope, err));
    if (envelope->has_claims && policy->count == envelope->layer_count &&
        (options == NULL || !options->foreign))
        return rewrap_layers(holder, json, envelope, expected, policy, options, rewrapped, err);
    if (!envelope->has_claims)
        return kyok_fail(err, KYOK_UNSUPPORTED, NULL,
                         "an envelope without claims cannot be rewrapped: open and seal it");
    KYOK_TRY(kyok_envelope_open_with(holder, json, expected, envelope->content, options, &secret,
                                     NULL, err));
    return kyok_envelope_seal_with(holder, policy, &envelope->claims, envelope->content,
                                   kyok_secret_bytes(secret), options, rewrapped, err);
}
