/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new key in every token of a group. One token makes it as an object of the session, the only
 * one that may be wrapped, and each token, the first too, unwraps it as an object that cannot
 * leave. With the session ends what could be wrapped.
 */
#include "common/pkcs11/life.h"
#include "common/pkcs11/mechanism.h"

#include <string.h>

/* --- the tokens --- */

static enum kyok_status fitting(struct kyok_group *group, const struct kyok_reference *reference,
                                struct kyok_token *tokens[KYOK_GROUP_MEMBERS], size_t *count,
                                struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_token *members[KYOK_GROUP_MEMBERS];
    size_t present;

    *count = 0;
    KYOK_TRY(kyok_group_discover(group, true, deadline, err));
    present = kyok_group_members(group, reference, members, KYOK_GROUP_MEMBERS);
    for (size_t i = 0; i < present; i++)
        if (kyok_token_fits(members[i], reference))
            tokens[(*count)++] = members[i];
    if (present >= group->uri_count)
        return KYOK_OK;
    kyok_fail(err, KYOK_UNREACHABLE, group->config->name,
              "only %zu of %zu tokens of the group are there, and all must get the key", present,
              group->uri_count);
    return kyok_remedy(err, "bring the others back first");
}

enum kyok_status kyok_group_tokens(struct kyok_group *group, const struct kyok_reference *reference,
                                   size_t *count, struct kyok_deadline deadline,
                                   struct kyok_error *err)
{
    struct kyok_token *tokens[KYOK_GROUP_MEMBERS];

    return fitting(group, reference, tokens, count, deadline, err);
}

/* --- the key of the session --- */

struct spreading {
    struct kyok_group *group;
    const struct kyok_spread_request *request;
    struct kyok_token *tokens[KYOK_GROUP_MEMBERS];
    size_t count;
    struct kyok_deadline deadline;
    const struct kyok_lease *source;
    bool begun;               /* some tokens may have the key already */
    CK_OBJECT_HANDLE made[2]; /* a secret key alone is the second */
    struct kyok_passage passage;
};

static CK_RV make_secret(const struct kyok_lease *lease, struct spreading *s)
{
    CK_MECHANISM generation = {CKM_AES_KEY_GEN, NULL, 0};
    struct kyok_template template = {.count = 0};
    CK_ULONG size = s->request->bits / 8;

    kyok_template_aes(&template, false, true);
    kyok_template_put(&template, CKA_VALUE_LEN, &size, sizeof(size));
    return lease->f->C_GenerateKey(lease->handle, &generation, template.fields, template.count,
                                   &s->made[1]);
}

static CK_RV make_pair(const struct kyok_lease *lease, struct spreading *s)
{
    static const CK_BYTE f4[] = {1, 0, 1};
    bool rsa = s->request->type == KYOK_KEY_RSA;
    CK_MECHANISM generation = {rsa ? CKM_RSA_PKCS_KEY_PAIR_GEN : CKM_EC_KEY_PAIR_GEN, NULL, 0};
    struct kyok_template outside = {.count = 0}, inside = {.count = 0};
    struct kyok_bytes parameters;
    CK_ULONG bits = s->request->bits;

    kyok_template_bool(&outside, CKA_TOKEN, false);
    if (rsa) {
        kyok_template_put(&outside, CKA_MODULUS_BITS, &bits, sizeof(bits));
        kyok_template_put(&outside, CKA_PUBLIC_EXPONENT, f4, sizeof(f4));
    } else if (kyok_ec_parameters(s->request->type, s->request->bits, &parameters)) {
        kyok_template_put(&outside, CKA_EC_PARAMS, parameters.data, parameters.size);
    } else {
        return CKR_DOMAIN_PARAMS_INVALID;
    }
    kyok_template_bool(&inside, CKA_TOKEN, false);
    kyok_template_bool(&inside, CKA_PRIVATE, true);
    kyok_template_bool(&inside, CKA_SENSITIVE, true);
    kyok_template_bool(&inside, CKA_EXTRACTABLE, true);
    return lease->f->C_GenerateKeyPair(lease->handle, &generation, outside.fields, outside.count,
                                       inside.fields, inside.count, &s->made[0], &s->made[1]);
}

/* --- into each token --- */

static CK_RV receive_on(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    struct spreading *s = arg;
    CK_OBJECT_HANDLE pair[2];
    CK_RV rv = kyok_passage_offer(call->lease, &s->passage, pair);

    if (rv != CKR_OK)
        return rv;
    rv = kyok_passage_wrap(s->source, s->made[1], &s->passage, err);
    if (rv == CKR_OK && err->status == KYOK_OK)
        rv = kyok_passage_unwrap(call->lease, &s->passage, pair[1]);
    kyok_passage_close(call->lease, pair);
    return rv;
}

/* A failure at another token is told in *err, not as the source's own. */
static CK_RV into_each(const struct kyok_call *call, struct spreading *s, struct kyok_error *err)
{
    struct kyok_plan plan = {.verb = "put the new key into each token",
                             .attempt = receive_on,
                             .arg = s,
                             .login = true,
                             .write = true};
    bool next_member;
    CK_RV rv = CKR_OK;

    s->source = call->lease;
    for (size_t i = 0; i < s->count && rv == CKR_OK && err->status == KYOK_OK; i++) {
        struct kyok_deadline deadline = kyok_passage_deadline(s->group, s->deadline);

        if (s->tokens[i] == call->lease->token)
            rv = receive_on(call, s, err);
        else
            (void)kyok_token_call(s->tokens[i], s->group, NULL, &plan, deadline, &next_member, err);
    }
    return rv;
}

static CK_RV spread_on(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer spki = {0};
    struct spreading *s = arg;
    bool secret = s->request->type == KYOK_KEY_AES;
    struct kyok_facts facts;
    CK_RV rv;

    if (s->begun) { /* another key under the name of one that tokens have */
        kyok_fail(err, KYOK_UNREACHABLE, s->request->name->label,
                  "the token in which the key was made has lost it on the way");
        return CKR_OK;
    }
    rv = secret ? make_secret(call->lease, s) : make_pair(call->lease, s);
    if (rv != CKR_OK)
        return rv;
    s->begun = true;
    if (!secret) {
        rv = kyok_facts_read(call->lease, s->made[0], &facts);
        if (rv == CKR_OK && !kyok_facts_public_key(&facts, &spki))
            rv = CKR_GENERAL_ERROR;
        s->passage.public_key = kyok_buffer_bytes(&spki);
    }
    if (rv == CKR_OK)
        rv = into_each(call, s, err);
    for (size_t i = secret ? 1 : 0; i < 2; i++)
        (void)call->lease->f->C_DestroyObject(call->lease->handle, s->made[i]);
    return rv;
}

enum kyok_status kyok_group_spread(struct kyok_group *group, const struct kyok_reference *reference,
                                   const struct kyok_spread_request *request,
                                   struct kyok_deadline deadline, struct kyok_error *err)
{
    struct spreading s = {.group = group,
                          .request = request,
                          .deadline = deadline,
                          .passage = {.type = request->type,
                                      .hash = request->hash,
                                      .name = *request->name,
                                      .usage = request->usage}};
    struct kyok_plan plan = {.verb = "generate",
                             .attempt = spread_on,
                             .arg = &s,
                             .login = true,
                             .write = true,
                             .reference = reference};
    bool next_member;

    KYOK_TRY(fitting(group, reference, s.tokens, &s.count, deadline, err));
    if (s.count == 0)
        return kyok_fail(err, KYOK_NOT_FOUND, reference->text, "no present token of group %s fits",
                         group->config->name);
    return kyok_token_call(s.tokens[0], group, NULL, &plan, deadline, &next_member, err);
}

/* --- out of each --- */

static CK_RV forget_on(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    static const CK_OBJECT_CLASS classes[] = {CKO_SECRET_KEY, CKO_PRIVATE_KEY, CKO_PUBLIC_KEY};
    const struct kyok_key_name *name = arg;
    CK_RV rv = CKR_OK;

    (void)err;
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]) && rv == CKR_OK; i++) {
        CK_OBJECT_HANDLE found[4];
        size_t count = 0;

        rv = kyok_objects_find(call->lease, classes[i], name->label, name->id, name->id_size, found,
                               4, &count);
        for (size_t n = 0; n < count && rv == CKR_OK; n++)
            rv = call->lease->f->C_DestroyObject(call->lease->handle, found[n]);
    }
    return rv;
}

enum kyok_status kyok_group_forget(struct kyok_group *group, const struct kyok_reference *reference,
                                   const struct kyok_key_name *name, struct kyok_deadline deadline,
                                   struct kyok_error *err)
{
    struct kyok_plan plan = {.verb = "take back a key",
                             .attempt = forget_on,
                             .arg = (void *)name,
                             .login = true,
                             .write = true};

    if (name->label[0] == '\0' || name->id_size == 0) /* anything would fit */
        return kyok_fail(err, KYOK_INVALID, name->label, "a key without id is not taken back");
    return kyok_group_every_member(group, NULL, reference, &plan, deadline, err);
}
