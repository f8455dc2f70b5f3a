/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pkcs11/life.h"

#include <stdlib.h>

#define CERTIFICATE_MOST 65536

struct listing {
    const struct kyok_reference *reference;
    struct kyok_key_info *infos;
    size_t count;
};

static CK_OBJECT_CLASS class_of(enum kyok_object_type type)
{
    switch (type) {
    case KYOK_OBJECT_PRIVATE:
        return CKO_PRIVATE_KEY;
    case KYOK_OBJECT_PUBLIC:
        return CKO_PUBLIC_KEY;
    case KYOK_OBJECT_SECRET:
        return CKO_SECRET_KEY;
    case KYOK_OBJECT_CERTIFICATE:
        return CKO_CERTIFICATE;
    case KYOK_OBJECT_DATA:
        return CKO_DATA;
    default:
        return CK_UNAVAILABLE_INFORMATION;
    }
}

static void clear(struct listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        kyok_key_info_clear(&listing->infos[i]);
    free(listing->infos);
    listing->infos = NULL;
    listing->count = 0;
}

static CK_RV add_certificate(const struct kyok_lease *lease, CK_OBJECT_HANDLE object,
                             struct kyok_key_info *info, struct kyok_buffer *spki)
{
    struct kyok_buffer der = {0};
    CK_RV rv = kyok_object_value(lease, object, CERTIFICATE_MOST, &der);

    if (rv != CKR_OK) {
        kyok_buffer_free(&der);
        return kyok_rv_rung(rv) == KYOK_RUNG_NONE ? CKR_OK : rv;
    }
    info->certificate = der.data;
    info->certificate_size = der.size;
    (void)kyok_spki_from_certificate(kyok_buffer_bytes(&der), spki);
    return CKR_OK;
}

static CK_RV add(const struct kyok_call *call, CK_OBJECT_HANDLE object, struct listing *listing,
                 struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer spki = {0};
    struct kyok_key_info *info = &listing->infos[listing->count], certificate = {0};
    struct kyok_facts facts;
    CK_RV rv = kyok_facts_read(call->lease, object, &facts);

    if (rv != CKR_OK)
        return kyok_rv_rung(rv) == KYOK_RUNG_NONE ? CKR_OK : rv;
    if (facts.object_class == CKO_PRIVATE_KEY || facts.object_class == CKO_PUBLIC_KEY)
        rv = kyok_object_public_key(call->lease, &facts, &spki);
    else if (facts.object_class == CKO_CERTIFICATE)
        rv = add_certificate(call->lease, object, &certificate, &spki);
    if (rv != CKR_OK)
        return rv;
    listing->count++;
    kyok_facts_info(&facts, call->lease->token, call->group->config->name, kyok_buffer_bytes(&spki),
                    info, err);
    info->certificate = certificate.certificate;
    info->certificate_size = certificate.certificate_size;
    if (facts.check_value_size == 3) {
        info->has_check_value = true;
        for (size_t i = 0; i < 3; i++)
            info->check_value[i] = facts.check_value[i];
    }
    if (facts.object_class == CKO_CERTIFICATE)
        info->type = kyok_spki_type(kyok_buffer_bytes(&spki), &info->bits);
    return facts.object_class == CKO_SECRET_KEY ? kyok_recorded_length(call->lease, info) : CKR_OK;
}

/* All answers are collected first: the visitor may itself use the custodian. */
static CK_RV collect(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    struct listing *listing = arg;
    const struct kyok_reference *reference = listing->reference;
    KYOK_AUTO_FREE CK_OBJECT_HANDLE *found = calloc(KYOK_OBJECTS_MAX, sizeof(*found));
    size_t count;
    CK_RV rv;

    if (found == NULL)
        return CKR_HOST_MEMORY;
    clear(listing);
    rv = kyok_objects_find(call->lease, class_of(reference->type), reference->object,
                           reference->has_id ? reference->id : NULL, reference->id_size, found,
                           KYOK_OBJECTS_MAX, &count);
    if (rv != CKR_OK)
        return rv;
    listing->infos = calloc(count + 1, sizeof(*listing->infos));
    if (listing->infos == NULL)
        return CKR_HOST_MEMORY;
    for (size_t i = 0; rv == CKR_OK && err->status == KYOK_OK && i < count; i++)
        rv = add(call, found[i], listing, err);
    return rv;
}

enum kyok_status kyok_group_list(struct kyok_group *group, const struct kyok_reference *reference,
                                 bool login, kyok_object_visitor *visit, void *caller,
                                 struct kyok_deadline deadline, struct kyok_error *err)
{
    struct listing listing = {.reference = reference};
    struct kyok_plan plan = {.verb = "list objects",
                             .attempt = collect,
                             .arg = &listing,
                             .login = login,
                             .reference = reference};
    enum kyok_status status = kyok_group_call(group, NULL, &plan, deadline, err);
    bool go_on = status == KYOK_OK;

    for (size_t i = 0; go_on && i < listing.count; i++)
        go_on = visit(caller, &listing.infos[i]);
    clear(&listing);
    return status;
}
