/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descendant keys: a key that exists only wrapped by its parent, in the parent's token. It is made,
 * wrapped, rewrapped and unwrapped inside the token; in use it is a session object that cannot
 * leave.
 */
#include "common/pkcs11/life.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEY_SIZE 32

/* --- wrapping --- */

static const CK_MECHANISM_TYPE wrappings[] = {CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD};

CK_RV kyok_wrap_object(const struct kyok_lease *lease, CK_OBJECT_HANDLE by, CK_OBJECT_HANDLE object,
                       uint8_t *wrapped, size_t *size)
{
    CK_RV rv = CKR_MECHANISM_INVALID;

    for (size_t i = 0; i < 2 && rv != CKR_OK; i++) {
        CK_MECHANISM mechanism = {wrappings[i], NULL, 0};
        CK_ULONG length = *size;

        if (!kyok_token_can(lease, wrappings[i], CKF_WRAP))
            continue;
        rv = lease->f->C_WrapKey(lease->handle, &mechanism, by, object, wrapped, &length);
        if (rv == CKR_OK && length > *size)
            return CKR_GENERAL_ERROR;
        if (rv == CKR_OK)
            *size = length;
    }
    return rv;
}

/* Both forms have the same length: the one that does not fit fails on its check. */
CK_RV kyok_unwrap_object(const struct kyok_lease *lease, CK_OBJECT_HANDLE by,
                         struct kyok_bytes wrapped, const struct kyok_template *template,
                         CK_OBJECT_HANDLE *object)
{
    CK_RV rv = CKR_MECHANISM_INVALID;

    for (size_t i = 0; i < 2 && rv != CKR_OK; i++) {
        CK_MECHANISM mechanism = {wrappings[i], NULL, 0};

        if (kyok_token_can(lease, wrappings[i], CKF_UNWRAP))
            rv = lease->f->C_UnwrapKey(lease->handle, &mechanism, by, (CK_BYTE *)wrapped.data,
                                       wrapped.size, (CK_ATTRIBUTE *)template->fields,
                                       template->count, object);
    }
    return rv == CKR_GENERAL_ERROR ? CKR_WRAPPED_KEY_INVALID : rv;
}

static enum kyok_status cannot_wrap(const struct kyok_call *call, struct kyok_error *err)
{
    kyok_fail(err, KYOK_UNSUPPORTED, call->key->reference->text,
              "this token cannot wrap a key by another inside");
    return kyok_remedy(err, "make a key of its own instead: kyok key generate");
}

/* A new key as its version keeps it; the session object that it was is gone, whatever comes of it.
 */
static CK_RV wrap_away(const struct kyok_call *call, CK_OBJECT_HANDLE object,
                       struct kyok_key_version *version)
{
    CK_RV rv;

    version->wrapped_size = sizeof(version->wrapped);
    rv = kyok_wrap_object(call->lease, call->object, object, version->wrapped,
                          &version->wrapped_size);
    (void)call->lease->f->C_DestroyObject(call->lease->handle, object);
    return rv;
}

/* --- making --- */

static CK_RV descend_on(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    static const CK_ULONG size = KEY_SIZE;
    const struct kyok_lease *lease = call->lease;
    struct kyok_key_version *version = arg;
    CK_MECHANISM generation = {CKM_AES_KEY_GEN, NULL, 0};
    struct kyok_template template = {.count = 0};
    CK_OBJECT_HANDLE object;
    CK_RV rv;

    kyok_template_aes(&template, false, true);
    kyok_template_put(&template, CKA_VALUE_LEN, &size, sizeof(size));
    rv = lease->f->C_GenerateKey(lease->handle, &generation, template.fields, template.count,
                                 &object);
    if (rv != CKR_OK)
        return rv;
    rv = wrap_away(call, object, version);
    if (rv != CKR_MECHANISM_INVALID)
        return rv;
    cannot_wrap(call, err);
    return CKR_OK;
}

enum kyok_status kyok_group_descend(struct kyok_group_key *parent, struct kyok_key_version *version,
                                    struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_plan plan = {
        .verb = "make a descendant", .attempt = descend_on, .arg = version, .login = true};

    if (parent->type != KYOK_KEY_AES || (parent->bits != 0 && parent->bits != 256))
        return kyok_fail(err, KYOK_UNSUPPORTED, parent->reference->text,
                         "only an AES key of 256 bits can have descendants");
    return kyok_group_call(parent->group, parent, &plan, deadline, err);
}

/* --- another parent --- */

static CK_RV find_named(const struct kyok_lease *lease, const struct kyok_key_name *name,
                        CK_OBJECT_HANDLE *object)
{
    CK_OBJECT_HANDLE found[2];
    size_t count;
    CK_RV rv = kyok_objects_find(lease, CKO_SECRET_KEY, name->label, name->id, name->id_size, found,
                                 2, &count);

    *object = rv == CKR_OK && count == 1 ? found[0] : 0;
    return rv;
}

static enum kyok_status no_parent(const struct kyok_key_name *name, struct kyok_error *err)
{
    kyok_fail(err, KYOK_NOT_FOUND, name->label,
              "the key that wraps this descendant is not in the token");
    return kyok_remedy(err, "without its parent a descendant is lost for good");
}

static CK_RV rewrap_on(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    const struct kyok_lease *lease = call->lease;
    struct kyok_key_version *version = arg;
    struct kyok_template template = {.count = 0};
    CK_OBJECT_HANDLE old_parent, object;
    CK_RV rv = find_named(lease, &version->parent, &old_parent);

    if (rv == CKR_OK && old_parent == 0) {
        no_parent(&version->parent, err);
        return CKR_OK;
    }
    kyok_template_aes(&template, false, true);
    if (rv == CKR_OK)
        rv = kyok_unwrap_object(lease, old_parent,
                                kyok_bytes(version->wrapped, version->wrapped_size), &template,
                                &object);
    if (rv != CKR_OK)
        return rv;
    return wrap_away(call, object, version);
}

enum kyok_status kyok_group_rewrap(struct kyok_group_key *parent, const struct kyok_key_name *name,
                                   struct kyok_key_version *version, struct kyok_deadline deadline,
                                   struct kyok_error *err)
{
    struct kyok_key_version rewrapped = *version;
    struct kyok_plan plan = {
        .verb = "rewrap a descendant", .attempt = rewrap_on, .arg = &rewrapped, .login = true};

    KYOK_TRY(kyok_group_call(parent->group, parent, &plan, deadline, err));
    rewrapped.parent = *name;
    *version = rewrapped;
    return KYOK_OK;
}

/* --- use --- */

/* Whoever unwrapped it before may have asked less of the parent. */
static CK_RV worthy_parent(const struct kyok_lease *lease, const struct kyok_group *group,
                           const struct kyok_key_version *version, CK_OBJECT_HANDLE *parent,
                           struct kyok_error *err)
{
    KYOK_AUTO_FREE struct kyok_facts *facts = malloc(sizeof(*facts));
    CK_RV rv = facts == NULL ? CKR_HOST_MEMORY : find_named(lease, &version->parent, parent);

    if (rv == CKR_OK && *parent == 0) {
        no_parent(&version->parent, err);
        return CKR_OK;
    }
    if (rv == CKR_OK)
        rv = kyok_facts_read(lease, *parent, facts);
    if (rv == CKR_OK)
        (void)kyok_facts_require(facts, group->config->require, version->parent.label, err);
    return rv;
}

static CK_RV unwrap_version(const struct kyok_lease *lease, const struct kyok_group *group,
                            const struct kyok_key_version *version, enum kyok_key_state state,
                            CK_OBJECT_HANDLE *object, bool *fresh, struct kyok_error *err)
{
    struct kyok_template template = {.count = 0};
    CK_OBJECT_HANDLE parent;
    CK_RV rv = worthy_parent(lease, group, version, &parent, err);

    if (rv != CKR_OK || err->status != KYOK_OK)
        return rv;
    if (atomic_exchange(&lease->token->unwrapped, true))
        rv = kyok_session_object_find(lease, CKO_SECRET_KEY, &version->name, object);
    if (rv != CKR_OK || *object != 0)
        return rv;
    kyok_template_aes(&template, false, false);
    kyok_template_name(&template, &version->name);
    kyok_template_usage(&template, kyok_key_state_usage(state, version->usage));
    *fresh = true;
    return kyok_unwrap_object(lease, parent, kyok_bytes(version->wrapped, version->wrapped_size),
                              &template, object);
}

CK_RV kyok_descendant_unwrap(const struct kyok_lease *lease, const struct kyok_group *group,
                             const struct kyok_reference *reference, CK_OBJECT_HANDLE *object,
                             bool *fresh, struct kyok_error *err)
{
    KYOK_AUTO_FREE struct kyok_key_record *record = malloc(sizeof(*record));
    char base[KYOK_RECORD_LABEL_MAX + 1];
    struct kyok_key_version *version;
    enum kyok_key_state state;
    bool found = false;
    CK_RV rv;

    *object = 0;
    *fresh = false;
    if (record == NULL)
        return CKR_HOST_MEMORY;
    if (reference->object == NULL || strlen(reference->object) > KYOK_RECORD_LABEL_MAX)
        return CKR_OK;
    kyok_key_record_base_name(reference->object, base);
    rv = kyok_record_on_token(lease, base, record, &found, err);
    if (rv != CKR_OK || !found)
        return rv;
    version =
        kyok_key_record_version(record, reference->object, reference->has_id ? reference->id : NULL,
                                reference->has_id ? reference->id_size : 0);
    if (version == NULL || version->wrapped_size == 0)
        return CKR_OK;
    if (version->wrapped_size != KEY_SIZE + 8) { /* RFC 3394 and 5649 alike */
        kyok_fail(err, KYOK_INVALID, reference->text, "its record holds no wrapped AES-256 key");
        return CKR_OK;
    }
    state = kyok_key_version_state(version, time(NULL));
    if (state == KYOK_STATE_ACTIVE || state == KYOK_STATE_DEACTIVATED)
        return unwrap_version(lease, group, version, state, object, fresh, err);
    kyok_fail(err, KYOK_REFUSED, reference->text, "this key is %s", kyok_key_state_name(state));
    return CKR_OK;
}
