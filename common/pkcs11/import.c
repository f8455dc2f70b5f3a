/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that come in wrapped, and the value that tells whether it is the right one. */
#include "common/base/public_key.h"
#include "common/pkcs11/life.h"
#include "common/pkcs11/mechanism.h"

#include <string.h>

/* --- check values --- */

/* What paper keeps: the first three bytes of an encrypted zero block. */
static CK_RV check_value(const struct kyok_lease *lease, CK_OBJECT_HANDLE object, uint8_t value[3])
{
    CK_MECHANISM ecb = {CKM_AES_ECB, NULL, 0};
    CK_BYTE zeros[16] = {0}, block[32];
    CK_ULONG size = sizeof(block);
    CK_RV rv = lease->f->C_EncryptInit(lease->handle, &ecb, object);

    if (rv == CKR_OK)
        rv = lease->f->C_Encrypt(lease->handle, zeros, sizeof(zeros), block, &size);
    if (rv == CKR_OK)
        memcpy(value, block, 3);
    return rv;
}

static CK_RV check_value_on(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    (void)err;
    return check_value(call->lease, call->object, arg);
}

enum kyok_status kyok_group_check_value(struct kyok_group_key *key, uint8_t value[3],
                                        struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_plan plan = {
        .verb = "take a check value", .attempt = check_value_on, .arg = value, .login = true};

    return kyok_group_call(key->group, key, &plan, deadline, err);
}

/* --- unwrapping --- */

CK_RV kyok_unwrap_carrier(const struct kyok_lease *lease, CK_OBJECT_HANDLE transport,
                          enum kyok_hash hash, struct kyok_bytes wrapped, CK_OBJECT_HANDLE *carrier)
{
    struct kyok_cipher_request oaep = {
        .scheme = KYOK_CIPHER_RSA_OAEP, .hash = hash, .mgf1_hash = hash};
    struct kyok_template template = {.count = 0};
    struct kyok_mechanism mechanism;

    if (!kyok_mechanism_oaep(&oaep, &mechanism))
        return CKR_MECHANISM_PARAM_INVALID;
    kyok_template_aes(&template, false, false);
    kyok_template_bool(&template, CKA_UNWRAP, true);
    return lease->f->C_UnwrapKey(lease->handle, &mechanism.mechanism, transport,
                                 (CK_BYTE *)wrapped.data, wrapped.size, template.fields,
                                 template.count, carrier);
}

CK_KEY_TYPE kyok_import_key_type(enum kyok_key_type type)
{
    return type == KYOK_KEY_RSA ? CKK_RSA : CKK_EC;
}

static void template_pair(struct kyok_template *template, const struct kyok_import_request *request,
                          const CK_OBJECT_CLASS *object_class, const CK_KEY_TYPE *key_type)
{
    kyok_template_put(template, CKA_CLASS, object_class, sizeof(*object_class));
    kyok_template_put(template, CKA_KEY_TYPE, key_type, sizeof(*key_type));
    kyok_template_bool(template, CKA_TOKEN, true);
    kyok_template_name(template, &request->name);
}

/* Its id is made of its content: one that is there is the same. *made 0 then. */
static CK_RV put_public_half(const struct kyok_lease *lease,
                             const struct kyok_import_request *request, CK_OBJECT_HANDLE *made)
{
    static const CK_OBJECT_CLASS object_class = CKO_PUBLIC_KEY;
    CK_KEY_TYPE key_type = kyok_import_key_type(request->type);
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer first = {0};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer exponent = {0};
    struct kyok_template template = {.count = 0};
    struct kyok_bytes parameters;
    CK_OBJECT_HANDLE found[1];
    unsigned bits;
    size_t count;
    CK_RV rv = kyok_objects_find(lease, CKO_PUBLIC_KEY, request->name.label, request->name.id,
                                 request->name.id_size, found, 1, &count);

    *made = CK_INVALID_HANDLE;
    if (rv != CKR_OK || count > 0)
        return rv;
    if (kyok_spki_type(request->public_key, &bits) != request->type ||
        !kyok_spki_parts(request->public_key, &first, &exponent))
        return CKR_DOMAIN_PARAMS_INVALID;
    template_pair(&template, request, &object_class, &key_type);
    kyok_template_bool(&template, CKA_PRIVATE, false);
    kyok_template_bool(&template, CKA_VERIFY, request->usage & KYOK_USAGE_SIGN);
    if (request->type == KYOK_KEY_RSA) {
        kyok_template_bool(&template, CKA_ENCRYPT, request->usage & KYOK_USAGE_DECRYPT);
        kyok_template_put(&template, CKA_MODULUS, first.data, first.size);
        kyok_template_put(&template, CKA_PUBLIC_EXPONENT, exponent.data, exponent.size);
    } else {
        if (!kyok_ec_parameters(request->type, bits, &parameters))
            return CKR_DOMAIN_PARAMS_INVALID;
        kyok_template_put(&template, CKA_EC_PARAMS, parameters.data, parameters.size);
        kyok_template_put(&template, CKA_EC_POINT, first.data, first.size);
    }
    return lease->f->C_CreateObject(lease->handle, template.fields, template.count, made);
}

CK_RV kyok_unwrap_material(const struct kyok_lease *lease, CK_OBJECT_HANDLE carrier,
                           const struct kyok_import_request *request, CK_OBJECT_HANDLE *object)
{
    static const CK_OBJECT_CLASS object_class = CKO_PRIVATE_KEY;
    CK_MECHANISM kwp = {CKM_AES_KEY_WRAP_PAD, NULL, 0};
    CK_KEY_TYPE key_type = kyok_import_key_type(request->type);
    CK_OBJECT_HANDLE public_half = CK_INVALID_HANDLE;
    struct kyok_template template = {.count = 0};
    unsigned now = request->usage & ~request->withheld;
    CK_RV rv;

    if (request->type == KYOK_KEY_AES) {
        kyok_template_aes(&template, true, false);
        kyok_template_name(&template, &request->name);
        kyok_template_usage(&template, now);
    } else {
        rv = put_public_half(lease, request, &public_half);

        if (rv != CKR_OK)
            return rv;
        template_pair(&template, request, &object_class, &key_type);
        kyok_template_bool(&template, CKA_PRIVATE, true);
        kyok_template_bool(&template, CKA_SENSITIVE, true);
        kyok_template_bool(&template, CKA_EXTRACTABLE, false);
        kyok_template_bool(&template, CKA_SIGN, now & KYOK_USAGE_SIGN);
        kyok_template_bool(&template, CKA_DECRYPT, now & KYOK_USAGE_DECRYPT);
        kyok_template_bool(&template, CKA_UNWRAP, now & KYOK_USAGE_UNWRAP);
        kyok_template_bool(&template, CKA_DERIVE, now & KYOK_USAGE_DERIVE);
    }
    rv = lease->f->C_UnwrapKey(lease->handle, &kwp, carrier, (CK_BYTE *)request->material.data,
                               request->material.size, template.fields, template.count, object);
    if (rv != CKR_OK && public_half != CK_INVALID_HANDLE) /* nobody would look for it again */
        (void)lease->f->C_DestroyObject(lease->handle, public_half);
    return rv;
}

/* --- import --- */

/* What an import that was killed has left is this key, if its check value or public half says so.
 */
static CK_RV is_there_already(const struct kyok_call *call,
                              const struct kyok_import_request *request, CK_OBJECT_HANDLE object,
                              struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer spki = {0};
    struct kyok_facts facts;
    uint8_t present[3];
    bool same = false;
    CK_RV rv;

    if (request->type == KYOK_KEY_AES) {
        rv = check_value(call->lease, object, present);
        same = rv == CKR_OK && memcmp(present, request->check_value, sizeof(present)) == 0;
    } else {
        rv = kyok_facts_read(call->lease, object, &facts);
        if (rv == CKR_OK)
            rv = kyok_object_public_key(call->lease, &facts, &spki);
        same = rv == CKR_OK && kyok_bytes_equal(kyok_buffer_bytes(&spki), request->public_key);
    }
    if (rv == CKR_OK && !same)
        kyok_fail(err, KYOK_REFUSED, request->name.label,
                  "there is another key of this name already");
    return rv;
}

static CK_RV import_on(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    struct kyok_import_request *request = arg;
    bool secret = request->type == KYOK_KEY_AES;
    CK_OBJECT_HANDLE found[1], carrier, object;
    size_t count;
    CK_RV rv = kyok_objects_find(call->lease, secret ? CKO_SECRET_KEY : CKO_PRIVATE_KEY,
                                 request->name.label, NULL, 0, found, 1, &count);

    if (rv == CKR_OK && count > 0)
        return is_there_already(call, request, found[0], err);
    if (rv == CKR_OK)
        rv = kyok_unwrap_carrier(call->lease, call->object, request->hash, request->key_wrapped,
                                 &carrier);
    if (rv != CKR_OK)
        return rv;
    rv = kyok_unwrap_material(call->lease, carrier, request, &object);
    (void)call->lease->f->C_DestroyObject(call->lease->handle, carrier);
    return rv != CKR_OK || !secret ? rv : check_value(call->lease, object, request->check_value);
}

enum kyok_status kyok_group_import(struct kyok_group_key *transport,
                                   struct kyok_import_request *request,
                                   struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_plan plan = {.verb = "import",
                             .attempt = import_on,
                             .arg = request,
                             .login = true,
                             .write = true,
                             .one_member = true,
                             .reference = transport->reference};

    return kyok_group_call(transport->group, transport, &plan, deadline, err);
}

/* --- can it be done at all? --- */

static CK_RV try_on(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    const struct kyok_import_request *request = arg;
    CK_OBJECT_HANDLE carrier;
    CK_RV rv;

    if (!kyok_token_can(call->lease, CKM_AES_KEY_WRAP_PAD, CKF_UNWRAP) ||
        !kyok_token_can(call->lease, CKM_RSA_PKCS_OAEP, CKF_UNWRAP)) {
        kyok_fail(err, KYOK_REFUSED, request->name.label,
                  "this token cannot unwrap a key inside, which takes CKM_RSA_PKCS_OAEP and "
                  "CKM_AES_KEY_WRAP_PAD");
        kyok_remedy(err,
                    "import it with the vendor's tool, or make a key there: kyok key generate");
        return CKR_OK;
    }
    rv = kyok_unwrap_carrier(call->lease, call->object, request->hash, request->key_wrapped,
                             &carrier);
    if (rv == CKR_OK)
        (void)call->lease->f->C_DestroyObject(call->lease->handle, carrier);
    return rv;
}

enum kyok_status kyok_group_try_carrier(struct kyok_group_key *transport, enum kyok_hash hash,
                                        struct kyok_bytes key_wrapped,
                                        struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_import_request request = {.hash = hash, .key_wrapped = key_wrapped};
    struct kyok_plan plan = {
        .verb = "try a transport key", .attempt = try_on, .arg = &request, .login = true};

    return kyok_group_call(transport->group, transport, &plan, deadline, err);
}
