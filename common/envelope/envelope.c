/* SPDX-License-Identifier: Apache-2.0 */
/* Sealing, opening and inspecting: layers from the inside out, and back. */
#include "common/envelope/envelope.h"
#include "common/envelope/keyholder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct kyok_envelope_options no_options;

/* --- one layer ------------------------------------------------------------------------------- */

enum kyok_status kyok_layer_open(const struct kyok_jwe *jwe, struct kyok_bytes cek,
                                 struct kyok_secret **plaintext, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer aad = {.limit = 2 * KYOK_ENVELOPE_MAX};
    KYOK_AUTO_SECRET struct kyok_secret *made = kyok_secret_new(jwe->ciphertext_size);
    enum kyok_status status;

    *plaintext = NULL;
    if (made == NULL)
        return kyok_no_memory(err);
    if (cek.size != KYOK_CEK_SIZE)
        return kyok_fail(err, KYOK_TAMPERED, NULL,
                         "an envelope's content key has %zu bytes instead of 32", cek.size);
    KYOK_TRY(kyok_jwe_aad(jwe, &aad, err));
    status = kyok_gcm_open(cek, jwe->iv, kyok_buffer_bytes(&aad),
                           kyok_bytes(jwe->ciphertext, jwe->ciphertext_size), jwe->tag,
                           kyok_secret_data(made), err);
    if (status == KYOK_TAMPERED)
        kyok_fail(err, status, NULL, "the envelope's content or protected header was altered");
    KYOK_TRY(status);
    *plaintext = made;
    made = NULL;
    return KYOK_OK;
}

enum kyok_status kyok_layer_seal(struct kyok_jwe *jwe, struct kyok_bytes cek,
                                 struct kyok_bytes plaintext, struct kyok_error *err)
{
    free(jwe->protected_text);
    free(jwe->ciphertext);
    jwe->ciphertext_size = plaintext.size;
    jwe->ciphertext = malloc(plaintext.size + 1);
    jwe->protected_text = NULL;
    if (jwe->ciphertext == NULL)
        return kyok_no_memory(err);
    KYOK_TRY(kyok_jwe_write_protected(jwe->envelope, &jwe->recipients, &jwe->protected_text, err));
    KYOK_TRY(kyok_crypto_random(jwe->iv, sizeof(jwe->iv), err));
    return kyok_gcm_seal(cek, jwe->iv, kyok_bytes_of_text(jwe->protected_text), plaintext,
                         jwe->ciphertext, jwe->tag, err);
}

/* --- sealing --------------------------------------------------------------------------------- */

static bool has_kid(const struct kyok_jwe_recipients *recipients, const char *kid)
{
    for (size_t i = 0; i < recipients->count; i++)
        if (strcmp(recipients->list[i].kid, kid) == 0)
            return true;
    return false;
}

/* Two references may name one key: it becomes one recipient. */
enum kyok_status kyok_layer_wrap(const struct kyok_keyholder *holder,
                                 const struct kyok_reference *reference,
                                 enum kyok_envelope_algorithm algorithm, struct kyok_bytes cek,
                                 struct kyok_jwe_recipients *recipients, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_jwe_recipient_free) struct kyok_jwe_recipient recipient = {0};

    KYOK_TRY(holder->type->wrap(holder->self, reference, algorithm, cek, &recipient, err));
    if (has_kid(recipients, recipient.kid))
        return KYOK_OK;
    return kyok_jwe_recipients_add(recipients, &recipient, err);
}

static enum kyok_status new_layer(struct kyok_jwe **jwe, struct kyok_secret **cek,
                                  struct kyok_error *err)
{
    *jwe = calloc(1, sizeof(**jwe));
    *cek = kyok_secret_new(KYOK_CEK_SIZE);
    if (*jwe == NULL || *cek == NULL)
        return kyok_no_memory(err);
    return kyok_crypto_random(kyok_secret_data(*cek), KYOK_CEK_SIZE, err);
}

struct sealing {
    const struct kyok_keyholder *holder;
    const struct kyok_policy *policy;
    const struct kyok_envelope_claims *claims;
    enum kyok_envelope_content content;
    enum kyok_envelope_algorithm algorithm;
    struct kyok_envelope *inner; /* layers made so far, outermost first */
    struct kyok_buffer json;     /* their JSON */
};

static void sealing_free(struct sealing *sealing)
{
    kyok_envelope_free(sealing->inner);
    kyok_buffer_free(&sealing->json);
}

/* The description of a layer: its own recipients first, then the layers inside. */
enum kyok_status kyok_layer_describe(struct kyok_jwe *jwe,
                                     const struct kyok_envelope_claims *claims,
                                     enum kyok_envelope_content content,
                                     const struct kyok_envelope_layer *inner, size_t inner_count,
                                     struct kyok_error *err)
{
    struct kyok_envelope *envelope;
    enum kyok_status status;

    KYOK_TRY(kyok_envelope_new(claims, content, &envelope, err));
    status = kyok_envelope_add_recipients(envelope, &jwe->recipients, err);
    for (size_t i = 0; status == KYOK_OK && i < inner_count; i++)
        status = kyok_envelope_add_layer(envelope, &inner[i], err);
    envelope->nested = inner_count > 0;
    kyok_envelope_free(jwe->envelope); /* claims may be views of it, hence last */
    jwe->envelope = envelope;
    return status;
}

static enum kyok_status seal_layer(struct sealing *sealing, const struct kyok_policy_clause *clause,
                                   struct kyok_bytes plaintext, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_jwe_auto_free) struct kyok_jwe *jwe = NULL;
    KYOK_AUTO_SECRET struct kyok_secret *cek = NULL;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {.limit = KYOK_ENVELOPE_MAX};
    struct kyok_envelope *inner = sealing->inner;

    KYOK_TRY(new_layer(&jwe, &cek, err));
    for (size_t i = 0; i < clause->count; i++)
        KYOK_TRY(kyok_layer_wrap(sealing->holder, clause->alternatives[i], sealing->algorithm,
                                 kyok_secret_bytes(cek), &jwe->recipients, err));
    KYOK_TRY(kyok_layer_describe(jwe, sealing->claims, sealing->content,
                                 inner != NULL ? inner->layers : NULL,
                                 inner != NULL ? inner->layer_count : 0, err));
    KYOK_TRY(kyok_layer_seal(jwe, kyok_secret_bytes(cek), plaintext, err));
    KYOK_TRY(kyok_jwe_write(jwe, &json, err));
    kyok_buffer_free(&sealing->json);
    sealing->json = json;
    json = (struct kyok_buffer){0};
    kyok_envelope_free(sealing->inner);
    sealing->inner = jwe->envelope;
    jwe->envelope = NULL;
    return KYOK_OK;
}

enum kyok_status kyok_envelope_seal_with(const struct kyok_keyholder *holder,
                                         const struct kyok_policy *policy,
                                         const struct kyok_envelope_claims *claims,
                                         enum kyok_envelope_content content,
                                         struct kyok_bytes secret,
                                         const struct kyok_envelope_options *options,
                                         struct kyok_buffer *json, struct kyok_error *err)
{
    KYOK_CLEANUP(sealing_free)
    struct sealing sealing = {holder,
                              policy,
                              claims,
                              content,
                              options != NULL ? options->algorithm : KYOK_ENVELOPE_AUTOMATIC,
                              NULL,
                              {0}};

    KYOK_TRY(kyok_envelope_check_claims(claims, err));
    if (secret.size > KYOK_ENVELOPE_SECRET_MAX)
        return kyok_fail(err, KYOK_INVALID, NULL, "a secret of more than %zu bytes needs a stream",
                         KYOK_ENVELOPE_SECRET_MAX);
    if (policy->count == 0 || policy->count > KYOK_ENVELOPE_MAX_LAYERS)
        return kyok_fail(err, KYOK_INVALID, NULL, "a policy has 1 to %d clauses",
                         KYOK_ENVELOPE_MAX_LAYERS);
    for (size_t i = policy->count; i-- > 0;)
        KYOK_TRY(seal_layer(&sealing, &policy->clauses[i],
                            sealing.inner == NULL ? secret : kyok_buffer_bytes(&sealing.json),
                            err));
    return kyok_buffer_append(json, sealing.json.data, sealing.json.size) ? KYOK_OK
                                                                          : kyok_no_memory(err);
}

/* --- opening --------------------------------------------------------------------------------- */

static bool same_layer(const struct kyok_envelope_layer *a, const struct kyok_envelope_layer *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (a->recipients[i].algorithm != b->recipients[i].algorithm ||
            strcmp(a->recipients[i].kid, b->recipients[i].kid) != 0)
            return false;
    return true;
}

static enum kyok_status foreign_layer(struct kyok_error *err, const char *what)
{
    return kyok_fail(err, KYOK_TAMPERED, NULL, "a layer of another envelope: its %s differs", what);
}

enum kyok_status kyok_layer_agrees(const struct kyok_envelope *outer,
                                   const struct kyok_envelope *inner, struct kyok_error *err)
{
    if (outer->has_claims != inner->has_claims)
        return foreign_layer(err, "\"kyok\" member");
    if (!outer->has_claims)
        return KYOK_OK;
    if (strcmp(outer->use, inner->use) != 0)
        return foreign_layer(err, "use");
    if (strcmp(outer->owner, inner->owner) != 0)
        return foreign_layer(err, "owner");
    if (outer->claims.generation != inner->claims.generation)
        return foreign_layer(err, "generation");
    if (outer->content != inner->content)
        return foreign_layer(err, "content");
    if (outer->layer_count == 1) /* foreign JSON without "inner" */
        return KYOK_OK;
    if (outer->layer_count != inner->layer_count + 1)
        return foreign_layer(err, "number of layers");
    for (size_t i = 0; i < inner->layer_count; i++)
        if (!same_layer(&outer->layers[i + 1], &inner->layers[i]))
            return foreign_layer(err, "list of recipients");
    return KYOK_OK;
}

struct opening {
    const struct kyok_keyholder *holder;
    const struct kyok_envelope_options *options;
    struct kyok_deadline deadline;
    char *kid;     /* options->key, for foreign JSON */
    char by[1024]; /* the keys that opened layers, outermost first, for the event */
};

static void opening_free(struct opening *opening)
{
    free(opening->kid);
}

enum kyok_status kyok_opening_kid(const struct kyok_keyholder *holder,
                                  const struct kyok_envelope_options *options, char **kid,
                                  struct kyok_error *err)
{
    *kid = NULL;
    if (!options->foreign || options->key == NULL)
        return KYOK_OK;
    return holder->type->name(holder->self, options->key, kid, err);
}

struct kyok_deadline kyok_opening_deadline(const struct kyok_envelope_options *options)
{
    return options->timeout_ms > 0 ? kyok_deadline_in_ms(options->timeout_ms)
                                   : kyok_deadline_never();
}

static void note_key(struct opening *opening, const char *kid)
{
    size_t used = strlen(opening->by);

    if (kid != NULL)
        snprintf(opening->by + used, sizeof(opening->by) - used, "%s%s", used > 0 ? " and " : "by ",
                 kid);
}

static enum kyok_status open_layer(struct opening *opening, const struct kyok_jwe *jwe,
                                   struct kyok_secret **plaintext, struct kyok_error *err)
{
    KYOK_AUTO_SECRET struct kyok_secret *cek = NULL;
    size_t opened_by;

    KYOK_TRY(kyok_race_unwrap(opening->holder, &jwe->recipients, opening->kid, opening->deadline,
                              &cek, &opened_by, err));
    note_key(opening, opening->kid != NULL ? opening->kid : jwe->recipients.list[opened_by].kid);
    return kyok_layer_open(jwe, kyok_secret_bytes(cek), plaintext, err);
}

/* A foreign envelope's description grows with each layer opened. */
static enum kyok_status note_inner_layer(struct kyok_envelope *outermost,
                                         const struct kyok_envelope *inner, size_t depth,
                                         struct kyok_error *err)
{
    if (depth < outermost->layer_count)
        return KYOK_OK;
    return kyok_envelope_add_layer(outermost, &inner->layers[0], err);
}

static enum kyok_status open_inner(struct opening *opening, struct kyok_jwe *outermost,
                                   struct kyok_secret **secret, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_jwe_auto_free) struct kyok_jwe *inner = NULL;
    KYOK_AUTO_SECRET struct kyok_secret *plaintext = NULL;
    const struct kyok_jwe *layer = outermost;

    for (size_t depth = 1; depth <= KYOK_ENVELOPE_MAX_LAYERS; depth++) {
        struct kyok_jwe *next = NULL;

        KYOK_TRY(open_layer(opening, layer, &plaintext, err));
        if (!layer->envelope->nested) {
            *secret = plaintext;
            plaintext = NULL;
            return KYOK_OK;
        }
        KYOK_TRY(
            kyok_jwe_parse(kyok_secret_bytes(plaintext), opening->options->foreign, &next, err));
        kyok_secret_free(plaintext);
        plaintext = NULL;
        if (kyok_layer_agrees(layer->envelope, next->envelope, err) != KYOK_OK ||
            note_inner_layer(outermost->envelope, next->envelope, depth, err) != KYOK_OK) {
            kyok_jwe_free(next);
            return err->status;
        }
        kyok_jwe_free(inner);
        layer = inner = next;
    }
    return kyok_fail(err, KYOK_INVALID, NULL, "more than %d layers", KYOK_ENVELOPE_MAX_LAYERS);
}

void kyok_envelope_tell(const struct kyok_envelope *envelope, enum kyok_status status,
                        const char *detail)
{
    struct kyok_event event = {
        .type = status == KYOK_OK ? "open" : "refuse",
        .key = envelope != NULL ? envelope->layers[0].recipients[0].kid : NULL,
        .use = envelope != NULL ? envelope->use : NULL,
        .owner = envelope != NULL ? envelope->owner : NULL,
        .result = kyok_status_name(status),
        .detail = detail[0] != '\0' ? detail : NULL,
    };

    kyok_event_emit(&event);
}

/* A refusal before any custodian was asked is one, too. */
enum kyok_status kyok_envelope_refuse(const struct kyok_envelope *envelope,
                                      const struct kyok_error *err)
{
    kyok_envelope_tell(envelope, err->status, err->what);
    return err->status;
}

static enum kyok_status open_parsed(const struct kyok_keyholder *holder, struct kyok_jwe *jwe,
                                    const struct kyok_envelope_expected *expected,
                                    enum kyok_envelope_content content,
                                    const struct kyok_envelope_options *options,
                                    struct kyok_secret **secret, struct kyok_error *err)
{
    KYOK_CLEANUP(opening_free)
    struct opening opening = {
        .holder = holder, .options = options, .deadline = kyok_opening_deadline(options)};

    KYOK_TRY(kyok_envelope_expect(kyok_envelope_claims(jwe->envelope), expected, err));
    if (jwe->envelope->content != content)
        return kyok_fail(err, KYOK_REFUSED, NULL,
                         content == KYOK_ENVELOPE_SECRET
                             ? "the envelope holds the key of a stream, not a secret"
                             : "the stream's envelope does not hold the key of a stream");
    KYOK_TRY(kyok_opening_kid(holder, options, &opening.kid, err));
    KYOK_TRY(open_inner(&opening, jwe, secret, err));
    kyok_envelope_tell(jwe->envelope, KYOK_OK, opening.by);
    return KYOK_OK;
}

enum kyok_status kyok_envelope_open_with(const struct kyok_keyholder *holder,
                                         struct kyok_bytes json,
                                         const struct kyok_envelope_expected *expected,
                                         enum kyok_envelope_content content,
                                         const struct kyok_envelope_options *options,
                                         struct kyok_secret **secret, struct kyok_envelope **opened,
                                         struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_jwe_auto_free) struct kyok_jwe *jwe = NULL;
    enum kyok_status status;

    *secret = NULL;
    if (opened != NULL)
        *opened = NULL;
    if (options == NULL)
        options = &no_options;
    if (kyok_jwe_parse(json, options->foreign, &jwe, err) != KYOK_OK)
        return kyok_envelope_refuse(NULL, err);
    status = open_parsed(holder, jwe, expected, content, options, secret, err);
    if (status != KYOK_OK)
        return kyok_envelope_refuse(jwe->envelope, err);
    if (opened != NULL) {
        *opened = jwe->envelope;
        jwe->envelope = NULL;
    }
    return KYOK_OK;
}

enum kyok_status kyok_envelope_inspect(struct kyok_bytes json,
                                       const struct kyok_envelope_options *options,
                                       struct kyok_envelope **envelope, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_jwe_auto_free) struct kyok_jwe *jwe = NULL;

    *envelope = NULL;
    KYOK_TRY(kyok_jwe_parse(json, options != NULL && options->foreign, &jwe, err));
    *envelope = jwe->envelope;
    jwe->envelope = NULL;
    return KYOK_OK;
}
