/* SPDX-License-Identifier: Apache-2.0 */
#include "common/disk/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- owner --- */

enum kyok_status kyok_record_owner(const struct kyok_record_binding *binding,
                                   char owner[KYOK_RECORD_OWNER_TEXT], struct kyok_error *err)
{
    const char *volume = binding->luks_uuid ? binding->luks_uuid : binding->vtpm_uuid;
    char volume_text[KYOK_UUID_TEXT], vm_text[KYOK_UUID_TEXT];
    strcpy(vm_text, binding->any_vm ? "any" : "none");
    if (!kyok_uuid_canonical(volume, volume_text) ||
        (binding->vm_uuid && !kyok_uuid_canonical(binding->vm_uuid, vm_text)))
        return kyok_fail(err, KYOK_INVALID, volume, "a disk record is bound to UUIDs");
    snprintf(owner, KYOK_RECORD_OWNER_TEXT, "%s:%s vm:%s", binding->luks_uuid ? "luks" : "vtpm",
             volume_text, vm_text);
    return KYOK_OK;
}

/* "luks:" or "vtpm:", a UUID, " vm:", and a UUID or word. */
#define OWNER_VOLUME 5
#define OWNER_VM (OWNER_VOLUME + KYOK_UUID_TEXT - 1 + 4)

bool kyok_record_owner_parse(const char *owner, bool *vtpm, char volume[KYOK_UUID_TEXT],
                             char vm[KYOK_UUID_TEXT])
{
    char text[KYOK_UUID_TEXT] = "";
    *vtpm = strncmp(owner, "vtpm:", OWNER_VOLUME) == 0;
    if ((!*vtpm && strncmp(owner, "luks:", OWNER_VOLUME) != 0) || strlen(owner) <= OWNER_VM)
        return false;
    memcpy(text, owner + OWNER_VOLUME, KYOK_UUID_TEXT - 1);
    if (!kyok_uuid_canonical(text, volume) || strncmp(owner + OWNER_VM - 4, " vm:", 4) != 0)
        return false;
    const char *name = owner + OWNER_VM;
    if (strcmp(name, "any") != 0 && strcmp(name, "none") != 0)
        return kyok_uuid_canonical(name, vm);
    strcpy(vm, name);
    return true;
}

/* --- candidates: copies that may be tried at all --- */

struct candidate {
    size_t copy;
    bool pending;
    char vm[KYOK_UUID_TEXT];
    struct kyok_envelope *envelope;
    const struct kyok_envelope_claims *claims;
};

struct candidates {
    struct candidate list[KYOK_RECORD_MAX_COPIES];
    size_t count;
};

static void candidates_free(struct candidates *candidates)
{
    for (size_t i = 0; i < candidates->count; i++)
        kyok_envelope_free(candidates->list[i].envelope);
}

static enum kyok_status wrong_vm(const char *where, const char *vm, struct kyok_error *err)
{
    if (strcmp(vm, "none") == 0)
        kyok_fail(err, KYOK_REFUSED, where, "the record is bound to no VM yet");
    else
        kyok_fail(err, KYOK_REFUSED, where, "the record belongs to another VM, %s", vm);
    return kyok_remedy(err, "kyok disk bind gives it to a VM, if the custodians agree");
}

static enum kyok_status check_owner(const struct kyok_record_binding *binding, const char *where,
                                    struct candidate *candidate, struct kyok_error *err)
{
    const char *wanted = binding->luks_uuid ? binding->luks_uuid : binding->vtpm_uuid;
    bool vtpm;
    char volume[KYOK_UUID_TEXT];
    if (!kyok_record_owner_parse(candidate->claims->owner, &vtpm, volume, candidate->vm))
        return kyok_fail(err, KYOK_REFUSED, where, "the record is bound to no disk");
    if (vtpm != !binding->luks_uuid || strcasecmp(volume, wanted) != 0) {
        kyok_fail(err, KYOK_REFUSED, where, "the record belongs to another %s, %s",
                  vtpm ? "vTPM" : "volume", volume);
        return kyok_remedy(err, "put the record of %s there", wanted);
    }
    if (!binding->vm_uuid || strcmp(candidate->vm, "any") == 0 ||
        strcasecmp(candidate->vm, binding->vm_uuid) == 0)
        return KYOK_OK;
    return wrong_vm(where, candidate->vm, err);
}

/* An envelope does not know where it lies. */
static enum kyok_status at_place(const char *where, struct kyok_error *err)
{
    if (!*err->object)
        snprintf(err->object, sizeof(err->object), "%s", where);
    if (!*err->remedy && (err->status == KYOK_TAMPERED || err->status == KYOK_INVALID))
        kyok_remedy(err, "restore the record from a backup");
    return err->status;
}

static enum kyok_status check_copy(const struct kyok_record_copy *copy,
                                   const struct kyok_record_binding *binding,
                                   struct candidate *candidate, struct kyok_error *err)
{
    if (kyok_envelope_inspect(kyok_buffer_bytes(&copy->json), NULL, &candidate->envelope, err) !=
        KYOK_OK)
        return at_place(copy->where, err);
    candidate->claims = kyok_envelope_claims(candidate->envelope);
    candidate->pending = copy->pending;
    if (!candidate->claims || strcmp(candidate->claims->use, KYOK_RECORD_USE) != 0)
        return kyok_fail(err, KYOK_REFUSED, copy->where, "this envelope is no disk record");
    KYOK_TRY(check_owner(binding, copy->where, candidate, err));
    if (!kyok_envelope_proves_maker(candidate->envelope)) {
        kyok_fail(err, KYOK_REFUSED, copy->where,
                  "the record is sealed to public keys only, so anybody may have made it");
        return kyok_remedy(err, "kyok disk rewrap with an AES key in at least one layer");
    }
    return KYOK_OK;
}

/* Pending first, then by falling generation. */
static int compare_candidates(const void *left, const void *right)
{
    const struct candidate *a = left, *b = right;
    if (a->pending != b->pending)
        return a->pending ? -1 : 1;
    if (a->claims->generation != b->claims->generation)
        return a->claims->generation > b->claims->generation ? -1 : 1;
    return a->copy < b->copy ? -1 : 1;
}

/* The first refusal stays in *err for when nothing is left. */
static void collect(const struct kyok_record_copies *copies,
                    const struct kyok_record_binding *binding, struct candidates *candidates,
                    struct kyok_error *err)
{
    struct kyok_error other;
    bool told = false;
    for (size_t i = 0; i < copies->count; i++) {
        struct candidate *candidate = &candidates->list[candidates->count];
        *candidate = (struct candidate){.copy = i};
        if (check_copy(&copies->list[i], binding, candidate, told ? &other : err) == KYOK_OK) {
            candidates->count++;
            continue;
        }
        told = true;
        kyok_envelope_free(candidate->envelope);
    }
    qsort(candidates->list, candidates->count, sizeof(candidates->list[0]), compare_candidates);
}

/* --- opening --- */

static void name_key(const struct kyok_envelope *envelope, char *text, size_t size)
{
    const struct kyok_envelope_layer *layer = kyok_envelope_layer(envelope, 0);
    const char *kid = layer && layer->count ? layer->recipients[0].kid : NULL;
    snprintf(text, size, "%s", kid ? kid : "");
}

static enum kyok_status prove(const struct kyok_volume *volume, const struct candidate *candidate,
                              const char *where, struct kyok_record_opened *opened,
                              struct kyok_error *err)
{
    if (!volume)
        return KYOK_OK;
    enum kyok_status status =
        kyok_volume_unlock(volume, kyok_secret_bytes(opened->passphrase), &opened->slot, NULL, err);
    if (status != KYOK_REFUSED)
        return status;
    kyok_fail(err, KYOK_REFUSED, where, "the record's generation %llu does not open the volume",
              (unsigned long long)candidate->claims->generation);
    return kyok_remedy(err, "the volume was re-keyed, or its header replaced: restore the newest "
                            "record, or header and record of one backup");
}

static enum kyok_status try_candidate(struct kyok_context *context,
                                      const struct kyok_record_copies *copies,
                                      const struct candidate *candidate,
                                      const struct kyok_volume *volume,
                                      struct kyok_deadline deadline,
                                      struct kyok_record_opened *opened, struct kyok_error *err)
{
    const struct kyok_record_copy *copy = &copies->list[candidate->copy];
    const struct kyok_envelope_expected expected = {
        .use = KYOK_RECORD_USE,
        .owner = candidate->claims->owner,
        .least_generation = candidate->claims->generation,
        .most_generation = candidate->claims->generation,
    };
    int left = kyok_deadline_left_ms(deadline);
    const struct kyok_envelope_options options = {.timeout_ms = left > 0 ? (unsigned)left : 0};
    if (left == 0)
        return kyok_fail(err, KYOK_TIMEOUT, copy->where, "the deadline passed");
    name_key(candidate->envelope, opened->key, sizeof(opened->key));
    if (kyok_envelope_open(context, kyok_buffer_bytes(&copy->json), &expected, &options,
                           &opened->passphrase, NULL, err) != KYOK_OK)
        return at_place(copy->where, err);
    opened->generation = candidate->claims->generation;
    memcpy(opened->vm, candidate->vm, sizeof(opened->vm));
    opened->copy = candidate->copy;
    enum kyok_status status = prove(volume, candidate, copy->where, opened, err);
    if (status != KYOK_OK) {
        kyok_secret_free(opened->passphrase);
        opened->passphrase = NULL;
    }
    return status;
}

enum kyok_status kyok_record_open(struct kyok_context *context,
                                  const struct kyok_record_copies *copies,
                                  const struct kyok_record_binding *binding,
                                  const struct kyok_volume *volume, unsigned timeout_ms,
                                  struct kyok_record_opened *opened, struct kyok_error *err)
{
    KYOK_CLEANUP(candidates_free) struct candidates candidates = {.count = 0};
    struct kyok_deadline deadline =
        timeout_ms ? kyok_deadline_in_ms(timeout_ms) : kyok_deadline_never();
    struct kyok_error other;
    uint64_t floor = 0; /* lower generations are out */
    bool told = false;
    *opened = (struct kyok_record_opened){0};
    kyok_fail(err, KYOK_NOT_FOUND, binding->luks_uuid, "the disk has no record");
    collect(copies, binding, &candidates, err);
    for (size_t i = 0; i < candidates.count; i++) {
        const struct candidate *candidate = &candidates.list[i];
        if (!candidate->pending && candidate->claims->generation < floor)
            break;
        enum kyok_status status = try_candidate(context, copies, candidate, volume, deadline,
                                                opened, told ? &other : err);
        if (status == KYOK_OK)
            return KYOK_OK;
        if (candidate->pending)
            continue;
        told = true;
        /* A copy that is not authentic says nothing; any other answer is about its generation. */
        if (status != KYOK_TAMPERED && status != KYOK_INVALID)
            floor = candidate->claims->generation;
    }
    return err->status;
}

void kyok_record_opened_free(struct kyok_record_opened *opened)
{
    kyok_secret_free(opened->passphrase);
    opened->passphrase = NULL;
}

enum kyok_status kyok_record_seal(struct kyok_context *context, const struct kyok_policy *policy,
                                  const struct kyok_record_binding *binding, uint64_t generation,
                                  struct kyok_bytes passphrase, struct kyok_buffer *json,
                                  struct kyok_error *err)
{
    char owner[KYOK_RECORD_OWNER_TEXT];
    KYOK_TRY(kyok_record_owner(binding, owner, err));
    const struct kyok_envelope_claims claims = {
        .use = KYOK_RECORD_USE, .owner = owner, .generation = generation};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer sealed = {0};
    KYOK_TRY(kyok_envelope_seal(context, policy, &claims, passphrase, NULL, &sealed, err));
    struct kyok_envelope *envelope = NULL;
    KYOK_TRY(kyok_envelope_inspect(kyok_buffer_bytes(&sealed), NULL, &envelope, err));
    bool proves = kyok_envelope_proves_maker(envelope);
    kyok_envelope_free(envelope);
    if (!proves) {
        kyok_fail(err, KYOK_INVALID, NULL, "a disk record needs a layer of AES keys only");
        return kyok_remedy(err, "add one: all-of(RSA-KEY, AES-KEY)");
    }
    if (!kyok_buffer_append(json, sealed.data, sealed.size))
        return kyok_fail(err, KYOK_SYSTEM, NULL, "no memory for a disk record");
    return KYOK_OK;
}
