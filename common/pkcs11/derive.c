/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pkcs11/mechanism.h"

#include <string.h>

struct deriving {
    struct kyok_bytes peer;
    size_t size; /* of the shared secret */
    struct kyok_secret *secret;
};

static CK_RV take_value(const struct kyok_lease *lease, CK_OBJECT_HANDLE object,
                        struct deriving *deriving, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer value = {0};
    CK_RV rv = kyok_object_value(lease, object, deriving->size, &value);

    if (rv != CKR_OK)
        return rv;
    /* A token may cut leading zeros, which ECDH's result keeps (SEC 1 3.3.1). */
    deriving->secret = kyok_secret_new(deriving->size);
    if (deriving->secret == NULL)
        kyok_fail(err, KYOK_SYSTEM, NULL, "no memory");
    else
        memcpy(kyok_secret_data(deriving->secret) + deriving->size - value.size, value.data,
               value.size);
    return CKR_OK;
}

static CK_RV derive(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    struct deriving *deriving = arg;
    const struct kyok_lease *lease = call->lease;
    CK_ECDH1_DERIVE_PARAMS parameters = {.kdf = CKD_NULL,
                                         .ulPublicDataLen = deriving->peer.size,
                                         .pPublicData = (CK_BYTE *)deriving->peer.data};
    CK_MECHANISM mechanism = {CKM_ECDH1_DERIVE, &parameters, sizeof(parameters)};
    struct kyok_session_secret secret;
    CK_ULONG size = deriving->size;
    CK_OBJECT_HANDLE object;
    CK_RV rv;

    kyok_session_secret(&secret, CKA_VALUE_LEN, &size, sizeof(size));
    rv = lease->f->C_DeriveKey(lease->handle, &mechanism, call->object, secret.fields, secret.count,
                               &object);
    if (rv != CKR_OK)
        return rv;
    rv = take_value(lease, object, deriving, err);
    (void)lease->f->C_DestroyObject(lease->handle, object);
    return rv;
}

enum kyok_status kyok_group_derive(struct kyok_group_key *key, struct kyok_bytes peer,
                                   struct kyok_secret **secret, struct kyok_deadline deadline,
                                   struct kyok_error *err)
{
    struct deriving deriving = {.peer = peer, .size = (key->bits + 7) / 8};
    struct kyok_plan plan = {.verb = "derive", .attempt = derive, .arg = &deriving, .login = true};

    KYOK_TRY(kyok_group_call(key->group, key, &plan, deadline, err));
    *secret = deriving.secret;
    return KYOK_OK;
}

/* --- random --- */

static CK_RV draw(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    struct kyok_buffer *buffer = arg;

    (void)err;
    return call->lease->f->C_GenerateRandom(call->lease->handle, buffer->data, buffer->size);
}

enum kyok_status kyok_group_random(struct kyok_group *group, uint8_t *data, size_t size,
                                   struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_buffer room = {.data = data, .size = size};
    struct kyok_plan plan = {.verb = "make random bytes", .attempt = draw, .arg = &room};

    return kyok_group_call(group, NULL, &plan, deadline, err);
}
