/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a key of a group: found on one member, believed of the others until they show theirs. */
#include "common/pkcs11/life.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint64_t last_serial;

/* So that two keys are told apart at once; FNV-1a. */
static uint64_t fingerprint_of(struct kyok_bytes text)
{
    uint64_t mark = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < text.size; i++)
        mark = (mark ^ text.data[i]) * UINT64_C(1099511628211);
    return mark;
}

static enum kyok_status keep_public(struct kyok_group_key *key, struct kyok_bytes public_key,
                                    struct kyok_error *err)
{
    key->public_key = malloc(public_key.size);
    if (key->public_key == NULL)
        return kyok_fail(err, KYOK_SYSTEM, key->reference->text, "no memory");
    memcpy(key->public_key, public_key.data, public_key.size);
    key->public_key_size = public_key.size;
    key->fingerprint = fingerprint_of(public_key);
    return KYOK_OK;
}

static enum kyok_status key_new(struct kyok_group *group, const struct kyok_reference *reference,
                                struct kyok_bytes public_key, struct kyok_group_key **key,
                                struct kyok_error *err)
{
    struct kyok_group_key *fresh = calloc(1, sizeof(*fresh));

    if (fresh == NULL)
        return kyok_fail(err, KYOK_SYSTEM, reference->text, "no memory");
    *key = fresh;
    fresh->group = group;
    fresh->serial = atomic_fetch_add(&last_serial, 1) + 1;
    fresh->object =
        reference->type == KYOK_OBJECT_SECRET ? KYOK_OBJECT_SECRET : KYOK_OBJECT_PRIVATE;
    KYOK_TRY(kyok_reference_copy(reference, &fresh->reference, err));
    if (public_key.size == 0)
        return KYOK_OK;
    fresh->type = kyok_spki_type(public_key, &fresh->bits);
    if (fresh->type == KYOK_KEY_UNKNOWN)
        return kyok_fail(err, KYOK_INVALID, reference->text,
                         "the public half given with the reference is not a key that kyok knows");
    return keep_public(fresh, public_key, err);
}

void kyok_group_key_free(struct kyok_group_key *key)
{
    if (key == NULL)
        return;
    kyok_reference_free(key->reference);
    kyok_secret_free(atomic_load(&key->rejection));
    free(key->public_key);
    free(key);
}

/* --- finding it the first time --- */

struct opening {
    const struct kyok_group_key *key;
    const struct kyok_reference *reference;
    struct kyok_key_info *info;
    bool found;
};

static bool wanted_class(const struct kyok_reference *reference, CK_OBJECT_CLASS object_class)
{
    if (reference->type == KYOK_OBJECT_ANY)
        return object_class == CKO_PRIVATE_KEY || object_class == CKO_SECRET_KEY;
    return object_class ==
           (reference->type == KYOK_OBJECT_SECRET ? CKO_SECRET_KEY : CKO_PRIVATE_KEY);
}

/* Without a type, a private key and then a secret key of that name is looked for. */
static CK_RV look(const struct kyok_lease *lease, const struct kyok_reference *reference,
                  CK_OBJECT_HANDLE found[2], size_t *count)
{
    static const CK_OBJECT_CLASS classes[] = {CKO_PRIVATE_KEY, CKO_SECRET_KEY};
    const uint8_t *id = reference->has_id ? reference->id : NULL;
    CK_RV rv = CKR_OK;

    *count = 0;
    for (size_t i = 0; i < 2 && rv == CKR_OK && *count == 0; i++) {
        if (wanted_class(reference, classes[i]))
            rv = kyok_objects_find(lease, classes[i], reference->object, id, reference->id_size,
                                   found, 2, count);
    }
    return rv;
}

/* Nothing is believed only of a session that is logged in: another thread's login may come between.
 */
static CK_RV seek(const struct kyok_lease *lease, const struct kyok_reference *reference,
                  CK_OBJECT_HANDLE found[2], size_t *count)
{
    CK_RV rv = look(lease, reference, found, count);

    if (rv != CKR_OK || *count > 0)
        return rv;
    rv = kyok_session_sees_all(lease);
    return rv != CKR_OK ? rv : look(lease, reference, found, count);
}

static enum kyok_status not_one(const struct kyok_call *call, size_t count,
                                const struct kyok_reference *reference, struct kyok_error *err)
{
    char text[128];

    kyok_token_text(call->lease->token, text, sizeof(text));
    if (count == 0) {
        kyok_fail(err, KYOK_NOT_FOUND, reference->text, "%s has no such key", text);
        return kyok_remedy(err, "see kyok key list %s", call->group->config->name);
    }
    kyok_fail(err, KYOK_AMBIGUOUS, reference->text, "%s has more than one such key", text);
    return kyok_remedy(err, "add id= or object= to the reference; see kyok key list %s",
                       call->group->config->name);
}

/* A private key that its token can do nothing with is refused where it is configured. An AES key
 * is also opened to be suspended or destroyed, and sealing says by itself what is missing. */
static enum kyok_status check_usable(const struct kyok_call *call, const struct kyok_facts *facts,
                                     const struct opening *opening, struct kyok_error *err)
{
    unsigned bits;
    enum kyok_key_type type = kyok_facts_type(facts, &bits);

    return type == KYOK_KEY_AES ? KYOK_OK
                                : kyok_key_usable(call->lease, type, opening->reference->text, err);
}

static CK_RV describe(const struct kyok_call *call, CK_OBJECT_HANDLE object,
                      enum kyok_require require, struct opening *opening, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer spki = {0};
    KYOK_AUTO_FREE struct kyok_facts *facts = malloc(sizeof(*facts));
    CK_RV rv = facts == NULL ? CKR_HOST_MEMORY : kyok_facts_read(call->lease, object, facts);

    if (rv == CKR_OK && facts->object_class == CKO_PRIVATE_KEY)
        rv = kyok_object_public_key(call->lease, facts, &spki);
    if (rv != CKR_OK)
        return rv;
    if (kyok_facts_require(facts, require, opening->reference->text, err) == KYOK_OK &&
        check_usable(call, facts, opening, err) == KYOK_OK &&
        kyok_facts_info(facts, call->lease->token, call->group->config->name,
                        kyok_buffer_bytes(&spki), opening->info, err) == KYOK_OK) {
        opening->found = true;
        if (facts->check_value_size == 3)
            memcpy(opening->info->check_value, facts->check_value, 3);
        opening->info->has_check_value = facts->check_value_size == 3;
    }
    return CKR_OK;
}

/* A descendant exists wrapped only; what is unwrapped to describe it is let go again. */
static CK_RV describe_descendant(const struct kyok_call *call, struct opening *opening,
                                 struct kyok_error *err)
{
    const struct kyok_lease *lease = call->lease;
    CK_OBJECT_HANDLE object;
    bool fresh;
    CK_RV rv = kyok_descendant_unwrap(lease, call->group, opening->reference, &object, &fresh, err);

    if (rv != CKR_OK || err->status != KYOK_OK)
        return rv;
    if (object == 0) {
        not_one(call, 0, opening->reference, err);
        return CKR_OK;
    }
    kyok_key_info_clear(opening->info);
    rv = describe(call, object, kyok_require_of_unwrapped(call->group), opening, err);
    opening->info->bits = KYOK_DESCENDANT_BITS; /* SoftHSM tells no length of what it unwraps */
    if (fresh)
        (void)lease->f->C_DestroyObject(lease->handle, object);
    return rv;
}

CK_RV kyok_recorded_length(const struct kyok_lease *lease, struct kyok_key_info *info)
{
    KYOK_AUTO_FREE struct kyok_key_record *record = malloc(sizeof(*record));
    const struct kyok_key_version *version;
    char base[KYOK_RECORD_LABEL_MAX + 1];
    struct kyok_error ignored;
    bool found;
    CK_RV rv;

    if (info->type != KYOK_KEY_AES || info->bits != 0 || info->label == NULL)
        return CKR_OK;
    if (record == NULL)
        return CKR_HOST_MEMORY;
    kyok_key_record_base_name(info->label, base);
    rv = kyok_record_on_token(lease, base, record, &found, &ignored);
    if (rv != CKR_OK || !found)
        return rv;
    version = kyok_key_record_version(record, info->label, info->id, info->id_size);
    if (version != NULL)
        info->bits = version->bits;
    return CKR_OK;
}

static CK_RV open_on(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    struct opening *opening = arg;
    CK_OBJECT_HANDLE found[2];
    size_t count;
    CK_RV rv = seek(call->lease, opening->reference, found, &count);

    if (rv != CKR_OK)
        return rv;
    if (count == 0 && wanted_class(opening->reference, CKO_SECRET_KEY))
        return describe_descendant(call, opening, err);
    if (count != 1) {
        not_one(call, count, opening->reference, err);
        return CKR_OK;
    }
    kyok_key_info_clear(opening->info);
    rv = describe(call, found[0], call->group->config->require, opening, err);
    if (rv == CKR_OK && opening->found)
        rv = kyok_recorded_length(call->lease, opening->info);
    /* What comes next need not seek and compare it again: the key becomes what was described. */
    if (rv == CKR_OK && opening->found)
        kyok_token_remember(call->lease, opening->key, found[0]);
    return rv;
}

/* A key may be on some members only (one more is being added): each is asked until one has it. */
static enum kyok_status open_somewhere(struct kyok_group *group, struct opening *opening,
                                       struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_plan plan = {.verb = "find the key",
                             .attempt = open_on,
                             .arg = opening,
                             .login = true,
                             .ask_all = true,
                             .reference = opening->reference};

    return kyok_group_call(group, NULL, &plan, deadline, err);
}

static enum kyok_status learn(struct kyok_group_key *key, const struct kyok_key_info *info,
                              struct kyok_bytes expected, struct kyok_error *err)
{
    struct kyok_bytes told = kyok_bytes(info->public_key, info->public_key_size);

    key->object = info->object;
    key->type = info->type;
    key->bits = info->bits;
    key->always_authenticate = info->always_authenticate == KYOK_YES;
    key->has_check_value = info->has_check_value;
    memcpy(key->check_value, info->check_value, sizeof(key->check_value));
    if (key->type == KYOK_KEY_UNKNOWN)
        return kyok_fail(err, KYOK_UNSUPPORTED, key->reference->text,
                         "kyok has no use for a key of this type");
    if (key->object == KYOK_OBJECT_SECRET)
        return KYOK_OK;
    if (told.size == 0) {
        kyok_fail(err, KYOK_NOT_FOUND, key->reference->text,
                  "the token does not tell the public half of the key");
        return kyok_remedy(err, "store the public key or certificate there with the same CKA_ID");
    }
    if (expected.size > 0) {
        if (kyok_bytes_equal(told, expected))
            return KYOK_OK;
        kyok_fail(err, KYOK_REFUSED, key->reference->text,
                  "the key in the token does not fit the public half in the key reference");
        return kyok_remedy(err, "write the reference anew: kyok key reference");
    }
    return keep_public(key, told, err);
}

enum kyok_status kyok_group_key_open(struct kyok_group *group,
                                     const struct kyok_reference *reference,
                                     struct kyok_bytes expected, struct kyok_key_info *info,
                                     struct kyok_group_key **key, struct kyok_deadline deadline,
                                     struct kyok_error *err)
{
    struct opening opening = {.reference = reference, .info = info};
    struct kyok_group_key *fresh = NULL;
    enum kyok_status status = key_new(group, reference, expected, &fresh, err);

    opening.key = fresh;
    if (status == KYOK_OK)
        status = open_somewhere(group, &opening, deadline, err);
    if (status == KYOK_OK)
        status = learn(fresh, info, expected, err);
    if (status != KYOK_OK) {
        kyok_group_key_free(fresh);
        return status;
    }
    *key = fresh;
    return KYOK_OK;
}

enum kyok_status kyok_group_key_defer(struct kyok_group *group,
                                      const struct kyok_reference *reference,
                                      struct kyok_bytes public_key, struct kyok_group_key **key,
                                      struct kyok_error *err)
{
    struct kyok_group_key *fresh = NULL;
    struct kyok_error ignored;

    if (key_new(group, reference, public_key, &fresh, err) != KYOK_OK) {
        kyok_group_key_free(fresh);
        return err->status;
    }
    /* The first login may be a worker's, who may not read the source. */
    if (group->config->pin_source != NULL)
        (void)kyok_pin_source_keep(group->config->pin_source, &ignored);
    *key = fresh;
    return KYOK_OK;
}

/* --- checking every member --- */

static CK_RV present(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    (void)call;
    (void)arg;
    (void)err;
    return CKR_OK; /* that the call came here says it all: found, require met, same key */
}

enum kyok_status kyok_group_key_check(struct kyok_group_key *key, struct kyok_deadline deadline,
                                      struct kyok_error *err)
{
    struct kyok_plan plan = {.verb = "check", .attempt = present, .login = true};
    struct kyok_token *members[KYOK_GROUP_MEMBERS];
    struct kyok_error away = {.status = KYOK_OK};
    bool next_member, reached = false;
    size_t count;

    KYOK_TRY(kyok_group_discover(key->group, true, deadline, err));
    count = kyok_group_members(key->group, key->reference, members, KYOK_GROUP_MEMBERS);
    if (count == 0)
        return kyok_group_call(key->group, key, &plan, deadline, err);
    for (size_t i = 0; i < count; i++) {
        enum kyok_status status =
            kyok_token_call(members[i], key->group, key, &plan, deadline, &next_member, err);

        if (status == KYOK_UNREACHABLE || status == KYOK_TIMEOUT)
            away = *err;
        else if (status != KYOK_OK)
            return status;
        else
            reached = true;
    }
    if (reached)
        return KYOK_OK;
    *err = away;
    return err->status;
}
