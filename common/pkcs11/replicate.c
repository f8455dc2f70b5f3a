/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same key into another token of its group: the target makes a transport pair for the moment,
 * the source wraps the key with its public half, the target unwraps. The host sees the key wrapped
 * only. A key that was made never to leave its token does not leave this way either.
 */
#include "common/pkcs11/life.h"
#include "common/pkcs11/mechanism.h"

#include <string.h>

#define TRANSPORT_BITS 3072

struct replication {
    struct kyok_group_key *key;
    struct kyok_token *source;
    struct kyok_deadline deadline;
    struct kyok_passage passage;
};

static bool oaep(enum kyok_hash hash, struct kyok_mechanism *mechanism)
{
    struct kyok_cipher_request request = {
        .scheme = KYOK_CIPHER_RSA_OAEP, .hash = hash, .mgf1_hash = hash};

    return kyok_mechanism_oaep(&request, mechanism);
}

/* --- at the source --------------------------------------------------------------------------- */

/* A private key is too long for RSA-OAEP: an AES key goes in between, as CKM_RSA_AES_KEY_WRAP has
 * it.
 */
static CK_RV make_carrier(const struct kyok_lease *lease, CK_OBJECT_HANDLE *carrier)
{
    static const CK_ULONG size = 32;
    CK_MECHANISM generation = {CKM_AES_KEY_GEN, NULL, 0};
    struct kyok_template template = {.count = 0};

    kyok_template_aes(&template, false, true);
    kyok_template_put(&template, CKA_VALUE_LEN, &size, sizeof(size));
    kyok_template_bool(&template, CKA_WRAP, true);
    return lease->f->C_GenerateKey(lease->handle, &generation, template.fields, template.count,
                                   carrier);
}

static CK_RV wrap_under(const struct kyok_lease *lease, struct kyok_passage *r,
                        CK_MECHANISM *mechanism, CK_OBJECT_HANDLE transport,
                        CK_OBJECT_HANDLE object)
{
    CK_MECHANISM kwp = {CKM_AES_KEY_WRAP_PAD, NULL, 0};
    CK_ULONG size = sizeof(r->material);
    CK_OBJECT_HANDLE carrier;
    CK_RV rv = make_carrier(lease, &carrier);

    if (rv != CKR_OK)
        return rv;
    rv = lease->f->C_WrapKey(lease->handle, &kwp, carrier, object, r->material, &size);
    r->material_size = size;
    size = sizeof(r->wrapped);
    if (rv == CKR_OK)
        rv = lease->f->C_WrapKey(lease->handle, mechanism, transport, carrier, r->wrapped, &size);
    r->wrapped_size = size;
    (void)lease->f->C_DestroyObject(lease->handle, carrier);
    return rv == CKR_OK &&
                   (r->wrapped_size > sizeof(r->wrapped) || r->material_size > sizeof(r->material))
               ? CKR_GENERAL_ERROR
               : rv;
}

CK_RV kyok_passage_wrap(const struct kyok_lease *lease, CK_OBJECT_HANDLE object,
                        struct kyok_passage *r, struct kyok_error *err)
{
    static const CK_OBJECT_CLASS public_class = CKO_PUBLIC_KEY;
    static const CK_KEY_TYPE rsa = CKK_RSA;
    struct kyok_template template = {.count = 0};
    struct kyok_mechanism mechanism;
    CK_OBJECT_HANDLE transport;
    CK_RV rv;

    kyok_template_put(&template, CKA_CLASS, &public_class, sizeof(public_class));
    kyok_template_put(&template, CKA_KEY_TYPE, &rsa, sizeof(rsa));
    kyok_template_bool(&template, CKA_TOKEN, false);
    kyok_template_bool(&template, CKA_WRAP, true);
    kyok_template_put(&template, CKA_MODULUS, r->modulus, r->modulus_size);
    kyok_template_put(&template, CKA_PUBLIC_EXPONENT, r->exponent, r->exponent_size);
    if (!oaep(r->hash, &mechanism))
        return CKR_MECHANISM_PARAM_INVALID;
    rv = lease->f->C_CreateObject(lease->handle, template.fields, template.count, &transport);
    if (rv != CKR_OK)
        return rv;
    rv = wrap_under(lease, r, &mechanism.mechanism, transport, object);
    (void)lease->f->C_DestroyObject(lease->handle, transport);
    if (rv != CKR_KEY_UNEXTRACTABLE && rv != CKR_KEY_NOT_WRAPPABLE)
        return rv;
    kyok_fail(err, KYOK_REFUSED, r->name.label, "this key was made never to leave its token");
    kyok_remedy(err, "clone the token with the vendor's tool");
    return CKR_OK;
}

static CK_RV wrap_on_source(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    struct replication *r = arg;

    return kyok_passage_wrap(call->lease, call->object, &r->passage, err);
}

/* --- at the target --------------------------------------------------------------------------- */

static CK_RV read_transport(const struct kyok_lease *lease, CK_OBJECT_HANDLE public_key,
                            struct kyok_passage *r)
{
    CK_ATTRIBUTE asked[] = {{CKA_MODULUS, r->modulus, sizeof(r->modulus)},
                            {CKA_PUBLIC_EXPONENT, r->exponent, sizeof(r->exponent)}};
    CK_RV rv = lease->f->C_GetAttributeValue(lease->handle, public_key, asked, 2);

    if (rv == CKR_OK &&
        (asked[0].ulValueLen > sizeof(r->modulus) || asked[1].ulValueLen > sizeof(r->exponent)))
        return CKR_GENERAL_ERROR;
    r->modulus_size = asked[0].ulValueLen;
    r->exponent_size = asked[1].ulValueLen;
    return rv;
}

static CK_RV make_transport(const struct kyok_lease *lease, CK_OBJECT_HANDLE *public_key,
                            CK_OBJECT_HANDLE *private_key)
{
    static const CK_BYTE f4[] = {1, 0, 1};
    static const CK_ULONG bits = TRANSPORT_BITS;
    CK_MECHANISM generation = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    struct kyok_template outside = {.count = 0}, inside = {.count = 0};

    kyok_template_bool(&outside, CKA_TOKEN, false);
    kyok_template_put(&outside, CKA_MODULUS_BITS, &bits, sizeof(bits));
    kyok_template_put(&outside, CKA_PUBLIC_EXPONENT, f4, sizeof(f4));
    kyok_template_bool(&inside, CKA_TOKEN, false);
    kyok_template_bool(&inside, CKA_PRIVATE, true);
    kyok_template_bool(&inside, CKA_SENSITIVE, true);
    kyok_template_bool(&inside, CKA_EXTRACTABLE, false);
    kyok_template_bool(&inside, CKA_UNWRAP, true);
    return lease->f->C_GenerateKeyPair(lease->handle, &generation, outside.fields, outside.count,
                                       inside.fields, inside.count, public_key, private_key);
}

CK_RV kyok_passage_offer(const struct kyok_lease *lease, struct kyok_passage *r,
                         CK_OBJECT_HANDLE pair[2])
{
    CK_RV rv = make_transport(lease, &pair[0], &pair[1]);

    if (rv != CKR_OK)
        return rv;
    rv = read_transport(lease, pair[0], r);
    if (rv != CKR_OK)
        kyok_passage_close(lease, pair);
    return rv;
}

void kyok_passage_close(const struct kyok_lease *lease, const CK_OBJECT_HANDLE pair[2])
{
    (void)lease->f->C_DestroyObject(lease->handle, pair[0]);
    (void)lease->f->C_DestroyObject(lease->handle, pair[1]);
}

CK_RV kyok_passage_unwrap(const struct kyok_lease *lease, const struct kyok_passage *r,
                          CK_OBJECT_HANDLE transport)
{
    struct kyok_import_request request = {.material = kyok_bytes(r->material, r->material_size),
                                          .type = r->type,
                                          .public_key = r->public_key,
                                          .name = r->name,
                                          .usage = r->usage,
                                          .withheld = r->withheld};
    CK_OBJECT_HANDLE carrier, object;
    CK_RV rv = kyok_unwrap_carrier(lease, transport, r->hash,
                                   kyok_bytes(r->wrapped, r->wrapped_size), &carrier);

    if (rv != CKR_OK)
        return rv;
    rv = kyok_unwrap_material(lease, carrier, &request, &object);
    (void)lease->f->C_DestroyObject(lease->handle, carrier);
    return rv;
}

struct kyok_deadline kyok_passage_deadline(const struct kyok_group *group,
                                           struct kyok_deadline whole)
{
    return group->config->isolate ? whole : kyok_deadline_in_ms(group->config->timeout_ms);
}

/* With the target's session held, the source is asked in between. */
static CK_RV replicate_on(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    const struct kyok_lease *lease = call->lease;
    struct replication *r = arg;
    struct kyok_passage *passage = &r->passage;
    struct kyok_plan plan = {
        .verb = "replicate", .attempt = wrap_on_source, .arg = r, .login = true};
    CK_OBJECT_CLASS object_class = r->key->type == KYOK_KEY_AES ? CKO_SECRET_KEY : CKO_PRIVATE_KEY;
    CK_OBJECT_HANDLE found[1], pair[2];
    struct kyok_deadline deadline;
    bool next_member;
    size_t count;
    CK_RV rv = kyok_objects_find(lease, object_class, passage->name.label, passage->name.id,
                                 passage->name.id_size, found, 1, &count);

    if (rv != CKR_OK || count > 0) /* a run that was killed has got as far as this */
        return rv;
    rv = kyok_passage_offer(lease, passage, pair);
    if (rv != CKR_OK)
        return rv;
    deadline = kyok_passage_deadline(r->key->group, r->deadline);
    if (kyok_token_call(r->source, r->key->group, r->key, &plan, deadline, &next_member, err) ==
        KYOK_OK)
        rv = kyok_passage_unwrap(lease, passage, pair[1]);
    kyok_passage_close(lease, pair);
    return rv;
}

static struct kyok_token *member(struct kyok_group *group, const char *label, bool is)
{
    struct kyok_token *members[KYOK_GROUP_MEMBERS];
    size_t count = kyok_group_members(group, NULL, members, KYOK_GROUP_MEMBERS);

    for (size_t i = 0; i < count; i++)
        if ((strcmp(members[i]->label, label) == 0) == is)
            return members[i];
    return NULL;
}

enum kyok_status kyok_group_replicate(struct kyok_group_key *key,
                                      const struct kyok_replicate_request *request,
                                      struct kyok_deadline deadline, struct kyok_error *err)
{
    struct replication r = {
        .key = key,
        .deadline = deadline,
        .passage = {.type = key->type,
                    .public_key = kyok_bytes(key->public_key, key->public_key_size),
                    .hash = request->hash,
                    .name = *request->name,
                    .usage = request->usage,
                    .withheld = request->withheld}};
    struct kyok_plan plan = {
        .verb = "replicate", .attempt = replicate_on, .arg = &r, .login = true, .write = true};
    struct kyok_token *to;
    bool next_member;

    if (key->type != KYOK_KEY_AES && key->type != KYOK_KEY_RSA && key->type != KYOK_KEY_EC) {
        kyok_fail(err, KYOK_UNSUPPORTED, key->reference->text,
                  "a key of this type does not get into token \"%s\" by CKM_AES_KEY_WRAP_PAD: AES, "
                  "RSA and EC keys are replicated",
                  request->target);
        return kyok_remedy(err, "clone the token with the vendor's tool, or use an EC key");
    }
    KYOK_TRY(kyok_group_discover(key->group, true, deadline, err));
    to = member(key->group, request->target, true);
    r.source = member(key->group, request->target, false);
    if (to == NULL || r.source == NULL)
        return kyok_fail(err, KYOK_NOT_FOUND, key->group->config->name,
                         "the group needs token \"%s\", which is to get the key, and another that "
                         "has it",
                         request->target);
    return kyok_token_call(to, key->group, NULL, &plan, deadline, &next_member, err);
}
