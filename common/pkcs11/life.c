/* SPDX-License-Identifier: Apache-2.0 */
/* What changes a key's life on every member of its group: usage, destruction. */
#include "common/pkcs11/life.h"

#include <string.h>

/* --- templates --- */

void kyok_template_put(struct kyok_template *template, CK_ATTRIBUTE_TYPE type, const void *value,
                       size_t size)
{
    template->fields[template->count++] = (CK_ATTRIBUTE){type, (void *)value, size};
}

void kyok_template_bool(struct kyok_template *template, CK_ATTRIBUTE_TYPE type, bool value)
{
    static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

    kyok_template_put(template, type, value ? &yes : &no, sizeof(CK_BBOOL));
}

void kyok_template_name(struct kyok_template *template, const struct kyok_key_name *name)
{
    kyok_template_put(template, CKA_LABEL, name->label, strlen(name->label));
    kyok_template_put(template, CKA_ID, name->id, name->id_size);
}

void kyok_template_usage(struct kyok_template *template, unsigned usage)
{
    kyok_template_bool(template, CKA_ENCRYPT, usage & KYOK_USAGE_ENCRYPT);
    kyok_template_bool(template, CKA_DECRYPT, usage & KYOK_USAGE_DECRYPT);
    kyok_template_bool(template, CKA_WRAP, usage & KYOK_USAGE_WRAP);
    kyok_template_bool(template, CKA_UNWRAP, usage & KYOK_USAGE_UNWRAP);
}

void kyok_template_aes(struct kyok_template *template, bool token, bool extractable)
{
    static const CK_OBJECT_CLASS secret = CKO_SECRET_KEY;
    static const CK_KEY_TYPE aes = CKK_AES;

    kyok_template_put(template, CKA_CLASS, &secret, sizeof(secret));
    kyok_template_put(template, CKA_KEY_TYPE, &aes, sizeof(aes));
    kyok_template_bool(template, CKA_TOKEN, token);
    kyok_template_bool(template, CKA_PRIVATE, true);
    kyok_template_bool(template, CKA_SENSITIVE, true);
    kyok_template_bool(template, CKA_EXTRACTABLE, extractable);
    kyok_template_bool(template, CKA_SIGN, false); /* SoftHSM's default for both is true */
    kyok_template_bool(template, CKA_VERIFY, false);
}

/* --- every member --- */

/* A member that has no such key has nothing to do: the key was destroyed there by a run that was
 * killed, or is not replicated there yet. One at least must have it. */
static enum kyok_status on_each(struct kyok_token *const *members, size_t count,
                                struct kyok_group *group, struct kyok_group_key *key,
                                const struct kyok_plan *plan, struct kyok_deadline deadline,
                                struct kyok_error *err)
{
    struct kyok_error missing = {.status = KYOK_OK};
    size_t done = 0;

    for (size_t i = 0; i < count; i++) {
        bool next_member;
        enum kyok_status status;

        if (kyok_call_is_late(deadline, plan->verb, members[i]->label, err))
            return err->status;
        status = kyok_token_call(members[i], group, key, plan, deadline, &next_member, err);
        if (status == KYOK_OK)
            done++;
        else if (key != NULL && status == KYOK_NOT_FOUND)
            missing = *err;
        else
            return status;
    }
    if (done > 0)
        *err = (struct kyok_error){.status = KYOK_OK};
    else
        *err = missing;
    return err->status;
}

enum kyok_status kyok_group_every_member(struct kyok_group *group, struct kyok_group_key *key,
                                         const struct kyok_reference *reference,
                                         const struct kyok_plan *plan,
                                         struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_token *members[KYOK_GROUP_MEMBERS];
    size_t count;

    KYOK_TRY(kyok_group_discover(group, true, deadline, err));
    count = kyok_group_members(group, reference, members, KYOK_GROUP_MEMBERS);
    if (count == 0)
        return kyok_group_call(group, key, plan, deadline, err);
    if (count < group->uri_count) {
        kyok_fail(err, KYOK_UNREACHABLE, group->config->name,
                  "only %zu of %zu tokens of the group are there, and all must be told", count,
                  group->uri_count);
        return kyok_remedy(err, "bring the others back first");
    }
    return on_each(members, count, group, key, plan, deadline, err);
}

/* --- usage --- */

static CK_RV set_usage_on(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    unsigned usage = *(const unsigned *)arg;
    struct kyok_template template = {.count = 0};

    (void)err;
    if (call->key->object == KYOK_OBJECT_SECRET) {
        kyok_template_usage(&template, usage);
    } else {
        kyok_template_bool(&template, CKA_SIGN, usage & KYOK_USAGE_SIGN);
        kyok_template_bool(&template, CKA_DECRYPT, usage & KYOK_USAGE_DECRYPT);
        kyok_template_bool(&template, CKA_UNWRAP, usage & KYOK_USAGE_UNWRAP);
        kyok_template_bool(&template, CKA_DERIVE, usage & KYOK_USAGE_DERIVE);
    }
    return call->lease->f->C_SetAttributeValue(call->lease->handle, call->object, template.fields,
                                               template.count);
}

enum kyok_status kyok_group_set_usage(struct kyok_group_key *key, unsigned usage,
                                      struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_plan plan = {
        .verb = "change what a key may do", .attempt = set_usage_on, .arg = &usage, .login = true};

    return kyok_group_every_member(key->group, key, key->reference, &plan, deadline, err);
}

/* --- destruction --- */

static CK_RV destroy_public_half(const struct kyok_call *call, const struct kyok_facts *facts)
{
    CK_OBJECT_HANDLE found[8];
    char label[sizeof(facts->label) + 1] = "";
    size_t count;
    CK_RV rv;

    if (facts->id_size == 0 || facts->object_class != CKO_PRIVATE_KEY)
        return CKR_OK;
    memcpy(label, facts->label, facts->label_size);
    rv = kyok_objects_find(call->lease, CKO_PUBLIC_KEY, label, facts->id, facts->id_size, found, 8,
                           &count);
    for (size_t i = 0; rv == CKR_OK && i < count; i++)
        rv = call->lease->f->C_DestroyObject(call->lease->handle, found[i]);
    return rv;
}

static CK_RV destroy_on(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    struct kyok_facts facts;
    CK_RV rv = kyok_facts_read(call->lease, call->object, &facts);

    (void)arg;
    (void)err;
    if (rv == CKR_OK)
        rv = destroy_public_half(call, &facts);
    return rv != CKR_OK ? rv : call->lease->f->C_DestroyObject(call->lease->handle, call->object);
}

enum kyok_status kyok_group_destroy(struct kyok_group_key *key, struct kyok_deadline deadline,
                                    struct kyok_error *err)
{
    struct kyok_plan plan = {
        .verb = "destroy", .attempt = destroy_on, .login = true, .write = true};

    return kyok_group_every_member(key->group, key, key->reference, &plan, deadline, err);
}
