/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pkcs11/life.h"

#include <stdlib.h>
#include <string.h>

#define FIND_STEP 64

static CK_RV find_all(const struct kyok_lease *lease, CK_ATTRIBUTE *template, CK_ULONG fields,
                      CK_OBJECT_HANDLE *found, size_t room, size_t *count)
{
    CK_ULONG got = 0;
    bool enough;
    CK_RV rv, final;

    *count = 0;
    rv = lease->f->C_FindObjectsInit(lease->handle, template, fields);
    if (rv != CKR_OK)
        return rv;
    do {
        CK_ULONG step = room - *count < FIND_STEP ? room - *count : FIND_STEP;

        got = 0;
        rv = lease->f->C_FindObjects(lease->handle, found + *count, step, &got);
        if (got > step)
            rv = CKR_GENERAL_ERROR; /* a token that claims more than there was room for */
        if (rv == CKR_OK)
            *count += got;
        /* Few were asked for and fewer given: there are no more, and asking again is one more call.
         */
        enough = room < FIND_STEP && got < step;
    } while (rv == CKR_OK && got > 0 && *count < room && !enough);
    final = lease->f->C_FindObjectsFinal(lease->handle);
    return rv != CKR_OK ? rv : final;
}

/* Session objects are never what a search is for: copies of keys (copy.c) and unwrapped descendants
 * have a key's name, and other users of a module may have some, too. */
CK_RV kyok_objects_find(const struct kyok_lease *lease, CK_OBJECT_CLASS object_class,
                        const char *label, const uint8_t *id, size_t id_size,
                        CK_OBJECT_HANDLE *found, size_t room, size_t *count)
{
    struct kyok_template template = {.count = 0};
    uint64_t begun = kyok_copies_begun(lease->token);
    CK_RV rv;

    kyok_template_bool(&template, CKA_TOKEN, true);
    if (object_class != CK_UNAVAILABLE_INFORMATION)
        kyok_template_put(&template, CKA_CLASS, &object_class, sizeof(object_class));
    if (label != NULL)
        kyok_template_put(&template, CKA_LABEL, label, strlen(label));
    if (id != NULL)
        kyok_template_put(&template, CKA_ID, id, id_size);
    rv = find_all(lease, template.fields, template.count, found, room, count);
    if (rv != CKR_OK || *count < 2 || kyok_copies_none_since(lease->token, begun))
        return rv;
    kyok_copies_stop(lease->token);
    rv = find_all(lease, template.fields, template.count, found, room, count);
    kyok_copies_go_on(lease->token);
    return rv;
}

CK_RV kyok_session_object_find(const struct kyok_lease *lease, CK_OBJECT_CLASS object_class,
                               const struct kyok_key_name *name, CK_OBJECT_HANDLE *object)
{
    struct kyok_template template = {.count = 0};
    size_t count;
    CK_RV rv;

    kyok_template_bool(&template, CKA_TOKEN, false);
    kyok_template_put(&template, CKA_CLASS, &object_class, sizeof(object_class));
    kyok_template_name(&template, name);
    rv = find_all(lease, template.fields, template.count, object, 1, &count);
    if (rv != CKR_OK || count == 0)
        *object = 0;
    return rv;
}

CK_RV kyok_objects_find_surely(const struct kyok_lease *lease, CK_OBJECT_CLASS object_class,
                               const struct kyok_reference *reference, CK_OBJECT_HANDLE found[2],
                               size_t *count)
{
    const uint8_t *id = reference->has_id ? reference->id : NULL;
    CK_RV rv = kyok_objects_find(lease, object_class, reference->object, id, reference->id_size,
                                 found, 2, count);

    if (rv != CKR_OK || *count > 0)
        return rv;
    rv = kyok_session_sees_all(lease);
    return rv != CKR_OK ? rv
                        : kyok_objects_find(lease, object_class, reference->object, id,
                                            reference->id_size, found, 2, count);
}

CK_RV kyok_object_value(const struct kyok_lease *lease, CK_OBJECT_HANDLE object, size_t limit,
                        struct kyok_buffer *value)
{
    CK_ATTRIBUTE asked = {CKA_VALUE, NULL, 0};
    CK_RV rv = lease->f->C_GetAttributeValue(lease->handle, object, &asked, 1);
    CK_ULONG claimed = asked.ulValueLen;

    if (rv != CKR_OK)
        return rv;
    if (claimed > limit) /* also CK_UNAVAILABLE_INFORMATION */
        return CKR_ATTRIBUTE_VALUE_INVALID;
    asked.pValue = kyok_buffer_reserve(value, claimed);
    if (asked.pValue == NULL)
        return CKR_HOST_MEMORY;
    rv = lease->f->C_GetAttributeValue(lease->handle, object, &asked, 1);
    if (rv == CKR_OK && asked.ulValueLen > claimed)
        return CKR_GENERAL_ERROR;
    if (rv == CKR_OK)
        value->size += asked.ulValueLen;
    return rv;
}

/* --- public halves --- */

static bool same_modulus(const struct kyok_facts *a, const struct kyok_facts *b)
{
    return a->modulus_size == b->modulus_size &&
           memcmp(a->modulus, b->modulus, a->modulus_size) == 0;
}

static CK_RV from_public_object(const struct kyok_lease *lease, const struct kyok_facts *facts,
                                struct kyok_buffer *spki)
{
    KYOK_AUTO_FREE struct kyok_facts *other = malloc(sizeof(*other));
    CK_OBJECT_HANDLE found[8];
    size_t count = 0;
    CK_RV rv = other == NULL ? CKR_HOST_MEMORY
                             : kyok_objects_find(lease, CKO_PUBLIC_KEY, NULL, facts->id,
                                                 facts->id_size, found, 8, &count);

    for (size_t i = 0; rv == CKR_OK && i < count && spki->size == 0; i++) {
        rv = kyok_facts_read(lease, found[i], other);
        if (rv == CKR_OK && other->key_type == facts->key_type &&
            (facts->modulus_size == 0 || same_modulus(facts, other)))
            (void)kyok_facts_public_key(other, spki);
    }
    return rv;
}

static CK_RV from_certificate_object(const struct kyok_lease *lease, const struct kyok_facts *facts,
                                     struct kyok_buffer *spki)
{
    CK_OBJECT_HANDLE found[8];
    size_t count;
    CK_RV rv = kyok_objects_find(lease, CKO_CERTIFICATE, NULL, facts->id, facts->id_size, found, 8,
                                 &count);

    for (size_t i = 0; rv == CKR_OK && i < count && spki->size == 0; i++) {
        KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer der = {0};

        rv = kyok_object_value(lease, found[i], 65536, &der);
        if (rv == CKR_OK)
            (void)kyok_spki_from_certificate(kyok_buffer_bytes(&der), spki);
    }
    return rv;
}

CK_RV kyok_object_public_key(const struct kyok_lease *lease, const struct kyok_facts *facts,
                             struct kyok_buffer *spki)
{
    CK_RV rv = CKR_OK;

    if (kyok_facts_public_key(facts, spki) || facts->id_size == 0)
        return CKR_OK;
    rv = from_public_object(lease, facts, spki);
    if (rv == CKR_OK && spki->size == 0)
        rv = from_certificate_object(lease, facts, spki);
    return rv;
}

/* --- one key on one token --- */

static enum kyok_status differs(const struct kyok_lease *lease, const struct kyok_group_key *key,
                                const char *which, struct kyok_error *err)
{
    char text[128];
    struct kyok_event event = {.type = "quarantine",
                               .key = key->reference->text,
                               .custodian = key->group->config->name,
                               .detail = kyok_token_text(lease->token, text, sizeof(text))};

    kyok_event_emit(&event);
    kyok_fail(err, KYOK_REFUSED, key->reference->text,
              "%s holds another key under this name: its %s differs", text, which);
    return kyok_remedy(err, "clone the right key into that token, or take it out of the group");
}

static CK_RV compare_public(const struct kyok_lease *lease, const struct kyok_group_key *key,
                            const struct kyok_facts *facts, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer spki = {0};
    CK_RV rv = kyok_object_public_key(lease, facts, &spki);

    if (rv == CKR_OK && spki.size == 0) {
        kyok_fail(err, KYOK_NOT_FOUND, key->reference->text,
                  "the token does not tell the public half of the key");
        kyok_remedy(err, "store the public key or certificate there with the same CKA_ID");
    } else if (rv == CKR_OK && !kyok_bytes_equal(kyok_buffer_bytes(&spki),
                                                 kyok_bytes(key->public_key, key->public_key_size)))
        differs(lease, key, "public key", err);
    return rv;
}

/* What came in by C_UnwrapKey was never "always sensitive" to a token, whatever it is. Its parent
 * must meet the group's require. */
enum kyok_require kyok_require_of_unwrapped(const struct kyok_group *group)
{
    return group->config->require == KYOK_REQUIRE_NEVER_EXTRACTABLE ? KYOK_REQUIRE_NON_EXTRACTABLE
                                                                    : group->config->require;
}

CK_RV kyok_key_verify(const struct kyok_lease *lease, const struct kyok_group_key *key,
                      CK_OBJECT_HANDLE object, enum kyok_require require, struct kyok_error *err)
{
    KYOK_AUTO_FREE struct kyok_facts *facts = malloc(sizeof(*facts));
    CK_RV rv = facts == NULL ? CKR_HOST_MEMORY : kyok_facts_read(lease, object, facts);

    if (rv != CKR_OK)
        return rv;
    if (kyok_facts_require(facts, require, key->reference->text, err) != KYOK_OK)
        return CKR_OK;
    if (key->public_key != NULL)
        return compare_public(lease, key, facts, err);
    if (key->has_check_value && facts->check_value_size == 3 &&
        memcmp(facts->check_value, key->check_value, 3) != 0)
        differs(lease, key, "check value", err);
    return CKR_OK;
}

CK_RV kyok_key_resolve(const struct kyok_lease *lease, const struct kyok_group_key *key,
                       CK_OBJECT_HANDLE *object, enum kyok_found *found, struct kyok_error *err)
{
    const struct kyok_reference *reference = key->reference;
    CK_OBJECT_CLASS object_class =
        key->object == KYOK_OBJECT_SECRET ? CKO_SECRET_KEY : CKO_PRIVATE_KEY;
    CK_OBJECT_HANDLE handles[2];
    enum kyok_require require = key->group->config->require;
    char text[128];
    size_t count;
    bool fresh;
    CK_RV rv;

    err->status = KYOK_OK;
    *found = KYOK_MISSING;
    rv = kyok_objects_find_surely(lease, object_class, reference, handles, &count);
    if (rv == CKR_OK && count == 0 && object_class == CKO_SECRET_KEY) {
        rv = kyok_descendant_unwrap(lease, key->group, reference, &handles[0], &fresh, err);
        count = handles[0] != 0;
        require = kyok_require_of_unwrapped(key->group);
    }
    if (rv != CKR_OK || err->status != KYOK_OK)
        return rv;
    kyok_token_text(lease->token, text, sizeof(text));
    if (count == 0) {
        kyok_fail(err, KYOK_NOT_FOUND, reference->text, "%s has no such key", text);
        kyok_remedy(err, "see kyok key list %s", key->group->config->name);
        return CKR_OK;
    }
    if (count > 1) {
        kyok_fail(err, KYOK_AMBIGUOUS, reference->text, "%s has more than one such key", text);
        kyok_remedy(err, "add id= or object= to the reference; see kyok key list %s",
                    key->group->config->name);
        return CKR_OK;
    }
    *object = handles[0];
    rv = kyok_key_verify(lease, key, handles[0], require, err);
    if (rv == CKR_OK)
        *found = err->status == KYOK_OK ? KYOK_FOUND : KYOK_DIFFERENT;
    return rv;
}
