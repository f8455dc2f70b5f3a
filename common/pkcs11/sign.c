/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pkcs11/mechanism.h"

#include <string.h>

struct signing {
    struct kyok_mechanism mechanism;
    struct kyok_sign_input input;
    bool ecdsa;
    size_t order_size;
    uint8_t *signature;
    size_t room, size;
};

static enum kyok_status accept_signature(struct signing *signing, const uint8_t *raw, size_t size,
                                         struct kyok_error *err)
{
    signing->size = signing->room;
    if (signing->ecdsa) {
        if (size == 2 * signing->order_size &&
            kyok_ecdsa_der_from_raw(kyok_bytes(raw, size), signing->signature, &signing->size))
            return KYOK_OK;
        return kyok_fail(err, KYOK_FAULT, NULL, "the token gave %zu bytes for an ECDSA signature",
                         size);
    }
    if (size > signing->room)
        return kyok_fail(err, KYOK_FAULT, NULL, "no room for a signature of %zu bytes", size);
    memcpy(signing->signature, raw, size);
    signing->size = size;
    return KYOK_OK;
}

static CK_RV sign_by(CK_OBJECT_HANDLE object, const struct kyok_call *call, struct signing *signing,
                     uint8_t *raw, CK_ULONG *size, struct kyok_error *err)
{
    const struct kyok_lease *lease = call->lease;
    CK_RV rv = lease->f->C_SignInit(lease->handle, &signing->mechanism.mechanism, object);

    if (rv == CKR_OK && call->key->always_authenticate)
        rv = kyok_context_login(lease, call->group, err);
    if (rv == CKR_OK)
        rv = lease->f->C_Sign(lease->handle, (CK_BYTE *)signing->input.bytes.data,
                              signing->input.bytes.size, raw, size);
    return rv;
}

/* By the session's copy of the key where it has one; whatever that fails of, the key itself
 * decides, unless more is lost than an object. */
static CK_RV sign_by_either(const struct kyok_call *call, struct signing *signing, uint8_t *raw,
                            CK_ULONG *size, struct kyok_error *err)
{
    CK_OBJECT_HANDLE copy = kyok_copy_of(call);
    CK_ULONG room = *size;
    int64_t since_ns;
    CK_RV rv;

    if (copy != 0) {
        rv = sign_by(copy, call, signing, raw, size, err);
        if (rv == CKR_OK)
            return rv;
        kyok_copy_spent(call);
        if (kyok_rv_rung(rv) > KYOK_RUNG_OBJECT)
            return rv;
        *size = room;
    }
    since_ns = kyok_now_ns();
    rv = sign_by(call->object, call, signing, raw, size, err);
    kyok_copy_learn(call, rv, since_ns);
    return rv;
}

static CK_RV sign(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    struct signing *signing = arg;
    uint8_t raw[2048];
    CK_ULONG size = sizeof(raw);
    CK_RV rv = sign_by_either(call, signing, raw, &size, err);

    if (rv != CKR_OK)
        return rv;
    if (size > sizeof(raw)) {
        kyok_fail(err, KYOK_FAULT, NULL, "the module claims a signature of %lu bytes", size);
        return CKR_OK;
    }
    accept_signature(signing, raw, size, err);
    return CKR_OK;
}

enum kyok_status kyok_group_sign(struct kyok_group_key *key,
                                 const struct kyok_sign_request *request, uint8_t *signature,
                                 size_t *size, struct kyok_deadline deadline,
                                 struct kyok_error *err)
{
    struct signing signing = {.ecdsa = request->scheme == KYOK_SIGN_ECDSA,
                              .order_size = (key->bits + 7) / 8,
                              .signature = signature,
                              .room = *size};
    struct kyok_plan plan = {.verb = "sign", .attempt = sign, .arg = &signing, .login = true};

    KYOK_TRY(kyok_mechanism_sign(request, key->bits, &signing.mechanism, &signing.input, err));
    if (kyok_group_call(key->group, key, &plan, deadline, err) != KYOK_OK) {
        if (err->status == KYOK_UNSUPPORTED)
            kyok_remedy(err, "%s", kyok_sign_alternative(request->scheme));
        return err->status;
    }
    *size = signing.size;
    return KYOK_OK;
}
