/* SPDX-License-Identifier: Apache-2.0 */
/* What an envelope says of itself: claims, and per layer the names of its recipients. */
#include "common/envelope/jwe.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum kyok_status kyok_no_memory(struct kyok_error *err)
{
    return kyok_fail(err, KYOK_SYSTEM, NULL, "out of memory");
}

/* --- algorithms ------------------------------------------------------------------------------ */

static const char *const algorithm_names[] = {
    [KYOK_ENVELOPE_AUTOMATIC] = "automatic",
    [KYOK_ENVELOPE_A256GCMKW] = "A256GCMKW",
    [KYOK_ENVELOPE_A256KW] = "A256KW",
    [KYOK_ENVELOPE_RSA_OAEP_256] = "RSA-OAEP-256",
};

const char *kyok_envelope_algorithm_name(enum kyok_envelope_algorithm algorithm)
{
    return algorithm_names[algorithm];
}

enum kyok_envelope_algorithm kyok_envelope_algorithm_by_name(const char *name)
{
    for (int i = KYOK_ENVELOPE_A256GCMKW; i <= KYOK_ENVELOPE_RSA_OAEP_256; i++)
        if (strcmp(name, algorithm_names[i]) == 0)
            return (enum kyok_envelope_algorithm)i;
    return KYOK_ENVELOPE_AUTOMATIC;
}

/* --- claims ---------------------------------------------------------------------------------- */

#define USE_MAX 64
#define OWNER_MAX 512

static bool is_use(const char *use)
{
    size_t length = strlen(use);

    return length >= 1 && length <= USE_MAX &&
           strspn(use, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
               length;
}

static bool is_owner(const char *owner)
{
    size_t length = strlen(owner);
    json_t *utf8;

    if (length > OWNER_MAX)
        return false;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)owner[i] < 0x20 || owner[i] == 0x7f)
            return false;
    utf8 = json_stringn(owner, length); /* NULL unless it is UTF-8 */
    json_decref(utf8);
    return utf8 != NULL;
}

enum kyok_status kyok_envelope_check_claims(const struct kyok_envelope_claims *claims,
                                            struct kyok_error *err)
{
    if (claims->use == NULL || !is_use(claims->use))
        return kyok_fail(err, KYOK_INVALID, NULL,
                         "an envelope's use is 1 to 64 letters, digits, '.', '_' or '-'");
    if (claims->owner == NULL || !is_owner(claims->owner))
        return kyok_fail(
            err, KYOK_INVALID, NULL,
            "an envelope's owner is UTF-8 of at most 512 bytes without control characters");
    if (claims->generation >= KYOK_ENVELOPE_MAX_GENERATION)
        return kyok_fail(err, KYOK_INVALID, NULL, "an envelope's generation is below 2^53");
    return KYOK_OK;
}

enum kyok_status kyok_envelope_expect(const struct kyok_envelope_claims *claims,
                                      const struct kyok_envelope_expected *expected,
                                      struct kyok_error *err)
{
    if (expected == NULL)
        return kyok_fail(err, KYOK_INVALID, NULL, "opening an envelope needs its expected claims");
    if (claims == NULL && (expected->use != NULL || expected->owner != NULL ||
                           expected->least_generation > 0 || expected->most_generation > 0))
        return kyok_fail(err, KYOK_REFUSED, NULL,
                         "the envelope says nothing of its use, owner and generation");
    if (claims == NULL)
        return KYOK_OK;
    if (expected->use != NULL && strcmp(expected->use, claims->use) != 0)
        return kyok_fail(err, KYOK_REFUSED, NULL, "the envelope's use is \"%s\", not \"%s\"",
                         claims->use, expected->use);
    if (expected->owner != NULL && strcmp(expected->owner, claims->owner) != 0)
        return kyok_fail(err, KYOK_REFUSED, NULL,
                         "the envelope's owner is \"%.120s\", not \"%.120s\"", claims->owner,
                         expected->owner);
    if (claims->generation < expected->least_generation)
        return kyok_fail(err, KYOK_REFUSED, NULL,
                         "the envelope's generation is %llu, older than the expected %llu",
                         (unsigned long long)claims->generation,
                         (unsigned long long)expected->least_generation);
    if (expected->most_generation > 0 && claims->generation > expected->most_generation)
        return kyok_fail(err, KYOK_REFUSED, NULL,
                         "the envelope's generation is %llu, newer than the expected %llu",
                         (unsigned long long)claims->generation,
                         (unsigned long long)expected->most_generation);
    return KYOK_OK;
}

/* --- recipients ------------------------------------------------------------------------------ */

void kyok_jwe_recipient_free(struct kyok_jwe_recipient *recipient)
{
    free(recipient->kid);
    free(recipient->encrypted_key);
    *recipient = (struct kyok_jwe_recipient){0};
}

enum kyok_status kyok_jwe_recipient_copy(const struct kyok_jwe_recipient *recipient,
                                         struct kyok_jwe_recipient *copy, struct kyok_error *err)
{
    *copy = *recipient;
    copy->kid = recipient->kid != NULL ? strdup(recipient->kid) : NULL;
    copy->encrypted_key = malloc(recipient->encrypted_key_size + 1);
    if (copy->encrypted_key == NULL || (recipient->kid != NULL && copy->kid == NULL)) {
        kyok_jwe_recipient_free(copy);
        return kyok_no_memory(err);
    }
    memcpy(copy->encrypted_key, recipient->encrypted_key, recipient->encrypted_key_size);
    return KYOK_OK;
}

enum kyok_status kyok_jwe_recipients_add(struct kyok_jwe_recipients *recipients,
                                         struct kyok_jwe_recipient *recipient,
                                         struct kyok_error *err)
{
    struct kyok_jwe_recipient *list;

    if (recipients->count == KYOK_ENVELOPE_MAX_RECIPIENTS)
        return kyok_fail(err, KYOK_INVALID, NULL, "more than %d recipients in one layer",
                         KYOK_ENVELOPE_MAX_RECIPIENTS);
    list = realloc(recipients->list, (recipients->count + 1) * sizeof(*list));
    if (list == NULL)
        return kyok_no_memory(err);
    recipients->list = list;
    list[recipients->count++] = *recipient;
    *recipient = (struct kyok_jwe_recipient){0};
    return KYOK_OK;
}

void kyok_jwe_recipients_free(struct kyok_jwe_recipients *recipients)
{
    for (size_t i = 0; i < recipients->count; i++)
        kyok_jwe_recipient_free(&recipients->list[i]);
    free(recipients->list);
    *recipients = (struct kyok_jwe_recipients){0};
}

/* --- envelope -------------------------------------------------------------------------------- */

enum kyok_status kyok_envelope_new(const struct kyok_envelope_claims *claims,
                                   enum kyok_envelope_content content,
                                   struct kyok_envelope **envelope, struct kyok_error *err)
{
    struct kyok_envelope *made = calloc(1, sizeof(*made));

    *envelope = NULL;
    if (made == NULL)
        return kyok_no_memory(err);
    made->content = content;
    if (claims != NULL) {
        made->has_claims = true;
        made->use = strdup(claims->use);
        made->owner = strdup(claims->owner);
        if (made->use == NULL || made->owner == NULL) {
            kyok_envelope_free(made);
            return kyok_no_memory(err);
        }
        made->claims = (struct kyok_envelope_claims){made->use, made->owner, claims->generation};
    }
    *envelope = made;
    return KYOK_OK;
}

static void layer_free(const struct kyok_envelope_layer *layer)
{
    for (size_t i = 0; i < layer->count; i++)
        free((char *)layer->recipients[i].kid);
    free((struct kyok_envelope_recipient *)layer->recipients);
}

void kyok_envelope_free(struct kyok_envelope *envelope)
{
    if (envelope == NULL)
        return;
    for (size_t i = 0; i < envelope->layer_count; i++)
        layer_free(&envelope->layers[i]);
    free(envelope->use);
    free(envelope->owner);
    free(envelope);
}

void kyok_envelope_auto_free(struct kyok_envelope **envelope)
{
    kyok_envelope_free(*envelope);
}

enum kyok_status kyok_envelope_add_layer(struct kyok_envelope *envelope,
                                         const struct kyok_envelope_layer *layer,
                                         struct kyok_error *err)
{
    struct kyok_envelope_recipient *list;
    struct kyok_envelope_layer copy = {0};

    if (envelope->layer_count == KYOK_ENVELOPE_MAX_LAYERS)
        return kyok_fail(err, KYOK_INVALID, NULL, "more than %d layers", KYOK_ENVELOPE_MAX_LAYERS);
    list = calloc(layer->count + 1, sizeof(*list));
    if (list == NULL)
        return kyok_no_memory(err);
    copy.recipients = list;
    for (; copy.count < layer->count; copy.count++) {
        const struct kyok_envelope_recipient *from = &layer->recipients[copy.count];

        list[copy.count].algorithm = from->algorithm;
        if (from->kid != NULL && (list[copy.count].kid = strdup(from->kid)) == NULL) {
            layer_free(&copy);
            return kyok_no_memory(err);
        }
    }
    envelope->layers[envelope->layer_count++] = copy;
    return KYOK_OK;
}

enum kyok_status kyok_envelope_add_recipients(struct kyok_envelope *envelope,
                                              const struct kyok_jwe_recipients *recipients,
                                              struct kyok_error *err)
{
    struct kyok_envelope_recipient names[KYOK_ENVELOPE_MAX_RECIPIENTS];

    for (size_t i = 0; i < recipients->count; i++)
        names[i] = (struct kyok_envelope_recipient){recipients->list[i].algorithm,
                                                    recipients->list[i].kid};
    return kyok_envelope_add_layer(envelope,
                                   &(struct kyok_envelope_layer){names, recipients->count}, err);
}

const struct kyok_envelope_claims *kyok_envelope_claims(const struct kyok_envelope *envelope)
{
    return envelope->has_claims ? &envelope->claims : NULL;
}

enum kyok_envelope_content kyok_envelope_content(const struct kyok_envelope *envelope)
{
    return envelope->content;
}

size_t kyok_envelope_layer_count(const struct kyok_envelope *envelope)
{
    return envelope->layer_count;
}

const struct kyok_envelope_layer *kyok_envelope_layer(const struct kyok_envelope *envelope,
                                                      size_t layer)
{
    return layer < envelope->layer_count ? &envelope->layers[layer] : NULL;
}

bool kyok_envelope_proves_maker(const struct kyok_envelope *envelope)
{
    for (size_t i = 0; i < envelope->layer_count; i++) {
        const struct kyok_envelope_layer *layer = &envelope->layers[i];
        size_t symmetric = 0;

        while (symmetric < layer->count &&
               layer->recipients[symmetric].algorithm != KYOK_ENVELOPE_RSA_OAEP_256)
            symmetric++;
        if (symmetric == layer->count)
            return true;
    }
    return false;
}
