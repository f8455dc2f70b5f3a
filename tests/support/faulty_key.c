/* SPDX-License-Identifier: Apache-2.0 */
/* Keys made, wrapped, unwrapped, derived. */
#include "tests/support/faulty_montgomery.h"
#include "tests/support/faulty_self.h"

#include <string.h>

CK_RV faulty_C_GenerateKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                           CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *key)
{
    struct faulty_call call;
    if (faulty_enter_key(&call, FAULTY_C_GenerateKey, &session, mechanism, CKF_GENERATE, NULL))
        call.rv = faulty_check_generation(template, count);
    if (call.rv == CKR_OK)
        call.rv = faulty_self.real->C_GenerateKey(session, mechanism, template, count, key);
    if (call.rv == CKR_OK)
        *key = faulty_outer(*key);
    return faulty_leave(&call);
}

static CK_RV generate_pair(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                           CK_ATTRIBUTE *public_template, CK_ULONG public_count,
                           CK_ATTRIBUTE *private_template, CK_ULONG private_count,
                           CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
    CK_MECHANISM known = {faulty_known_as(mechanism->mechanism), mechanism->pParameter,
                          mechanism->ulParameterLen};
    CK_ATTRIBUTE public_copy[FAULTY_TEMPLATE_MAX], private_copy[FAULTY_TEMPLATE_MAX];
    if (public_count > FAULTY_TEMPLATE_MAX || private_count > FAULTY_TEMPLATE_MAX)
        return CKR_ARGUMENTS_BAD;
    memcpy(public_copy, public_template, public_count * sizeof(*public_copy));
    memcpy(private_copy, private_template, private_count * sizeof(*private_copy));
    if (known.mechanism != mechanism->mechanism) {
        faulty_montgomery_to_edwards(public_copy, public_count);
        faulty_montgomery_to_edwards(private_copy, private_count);
    }
    return faulty_self.real->C_GenerateKeyPair(session, &known, public_copy, public_count,
                                               private_copy, private_count, public_key,
                                               private_key);
}

CK_RV faulty_C_GenerateKeyPair(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                               CK_ATTRIBUTE *public_template, CK_ULONG public_count,
                               CK_ATTRIBUTE *private_template, CK_ULONG private_count,
                               CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
    struct faulty_call call;
    if (faulty_enter_key(&call, FAULTY_C_GenerateKeyPair, &session, mechanism,
                         CKF_GENERATE_KEY_PAIR, NULL))
        call.rv = faulty_check_template(public_template, public_count);
    if (call.rv == CKR_OK)
        call.rv = faulty_check_generation(private_template, private_count);
    if (call.rv == CKR_OK)
        call.rv = generate_pair(session, mechanism, public_template, public_count, private_template,
                                private_count, public_key, private_key);
    if (call.rv == CKR_OK) {
        *public_key = faulty_outer(*public_key);
        *private_key = faulty_outer(*private_key);
    }
    return faulty_leave(&call);
}

/* SoftHSM knows RSA-OAEP with SHA-1 alone; what a token with another hash wraps nobody else reads.
 */
static CK_MECHANISM *oaep_of_any_hash(CK_MECHANISM *mechanism, CK_MECHANISM *by_sha1,
                                      CK_RSA_PKCS_OAEP_PARAMS *parameters)
{
    if (mechanism == NULL || mechanism->mechanism != CKM_RSA_PKCS_OAEP ||
        !faulty_lies(FAULTY_LIE_OAEP_HASH))
        return mechanism;
    *parameters = *(CK_RSA_PKCS_OAEP_PARAMS *)mechanism->pParameter;
    parameters->hashAlg = CKM_SHA_1;
    parameters->mgf = CKG_MGF1_SHA1;
    *by_sha1 = (CK_MECHANISM){CKM_RSA_PKCS_OAEP, parameters, sizeof(*parameters)};
    return by_sha1;
}

CK_RV faulty_C_WrapKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                       CK_OBJECT_HANDLE wrapping_key, CK_OBJECT_HANDLE key, unsigned char *wrapped,
                       CK_ULONG *size)
{
    struct faulty_call call;
    CK_RSA_PKCS_OAEP_PARAMS oaep;
    CK_MECHANISM by_sha1;
    if (faulty_enter_key(&call, FAULTY_C_WrapKey, &session, mechanism, CKF_WRAP, &wrapping_key) &&
        !faulty_inner(&key))
        call.rv = CKR_KEY_HANDLE_INVALID;
    if (call.rv == CKR_OK)
        call.rv = faulty_self.real->C_WrapKey(session, oaep_of_any_hash(mechanism, &by_sha1, &oaep),
                                              wrapping_key, key, wrapped, size);
    return faulty_leave(&call);
}

CK_RV faulty_C_UnwrapKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                         CK_OBJECT_HANDLE unwrapping_key, unsigned char *wrapped, CK_ULONG size,
                         CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *key)
{
    struct faulty_call call;
    CK_RSA_PKCS_OAEP_PARAMS oaep;
    CK_MECHANISM by_sha1;
    if (faulty_enter_key(&call, FAULTY_C_UnwrapKey, &session, mechanism, CKF_UNWRAP,
                         &unwrapping_key))
        call.rv =
            faulty_self.real->C_UnwrapKey(session, oaep_of_any_hash(mechanism, &by_sha1, &oaep),
                                          unwrapping_key, wrapped, size, template, count, key);
    if (call.rv == CKR_OK)
        *key = faulty_outer(*key);
    return faulty_leave(&call);
}

CK_RV faulty_C_DeriveKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                         CK_OBJECT_HANDLE base_key, CK_ATTRIBUTE *template, CK_ULONG count,
                         CK_OBJECT_HANDLE *key)
{
    struct faulty_call call;
    if (faulty_enter_key(&call, FAULTY_C_DeriveKey, &session, mechanism, CKF_DERIVE, &base_key))
        call.rv = faulty_self.real->C_DeriveKey(session, mechanism, base_key, template, count, key);
    if (call.rv == CKR_OK)
        *key = faulty_outer(*key);
    return faulty_leave(&call);
}
