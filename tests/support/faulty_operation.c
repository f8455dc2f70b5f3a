/* SPDX-License-Identifier: Apache-2.0 */
/* Operations with keys, digests and random numbers. */
#include "tests/support/faulty_self.h"

#include <sys/random.h>

CK_RV faulty_C_DigestInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism)
{
    struct faulty_call call;
    if (faulty_enter_key(&call, FAULTY_C_DigestInit, &session, mechanism, CKF_DIGEST, NULL))
        call.rv = faulty_self.real->C_DigestInit(session, mechanism);
    return faulty_leave(&call);
}

CK_RV faulty_C_DigestKey(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
    struct faulty_call call;
    if (faulty_enter_key(&call, FAULTY_C_DigestKey, &session, NULL, 0, &key))
        call.rv = faulty_self.real->C_DigestKey(session, key);
    return faulty_leave(&call);
}

CK_RV faulty_C_Sign(CK_SESSION_HANDLE session, unsigned char *data, CK_ULONG data_size,
                    unsigned char *signature, CK_ULONG *size)
{
    struct faulty_call call;
    CK_ULONG room = size == NULL ? 0 : *size;
    if (faulty_enter_session(&call, FAULTY_C_Sign, &session))
        call.rv = faulty_self.real->C_Sign(session, data, data_size, signature, size);
    if (call.rv == CKR_OK && size != NULL && signature != NULL &&
        faulty_lies(FAULTY_LIE_SIGNATURE_LENGTH))
        *size = room + 4096;
    return faulty_leave(&call);
}

CK_RV faulty_C_Decrypt(CK_SESSION_HANDLE session, unsigned char *input, CK_ULONG input_size,
                       unsigned char *output, CK_ULONG *size)
{
    struct faulty_call call;
    CK_ULONG room = size == NULL ? 0 : *size;
    if (faulty_enter_session(&call, FAULTY_C_Decrypt, &session))
        call.rv = faulty_self.real->C_Decrypt(session, input, input_size, output, size);
    if (call.rv == CKR_OK && size != NULL && output != NULL &&
        faulty_lies(FAULTY_LIE_DECRYPTED_LENGTH))
        *size = room + 4096;
    return faulty_leave(&call);
}

/* The many that only need their session translated: (name, parameters, arguments). */
#define ON_SESSION(name, parameters, arguments)                                                    \
    CK_RV faulty_##name parameters                                                                 \
    {                                                                                              \
        struct faulty_call call;                                                                   \
        if (faulty_enter_session(&call, FAULTY_##name, &session))                                  \
            call.rv = faulty_self.real->name arguments;                                            \
        return faulty_leave(&call);                                                                \
    }

/* Those that begin an operation with a mechanism and a key. */
#define BEGINS(name, use)                                                                          \
    CK_RV faulty_##name(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)  \
    {                                                                                              \
        struct faulty_call call;                                                                   \
        if (faulty_enter_key(&call, FAULTY_##name, &session, mechanism, use, &key))                \
            call.rv = faulty_self.real->name(session, mechanism, key);                             \
        return faulty_leave(&call);                                                                \
    }

/* Those with bytes in, bytes out. */
#define IN_OUT(name)                                                                               \
    ON_SESSION(name,                                                                               \
               (CK_SESSION_HANDLE session, unsigned char *input, CK_ULONG input_size,              \
                unsigned char *output, CK_ULONG *size),                                            \
               (session, input, input_size, output, size))
#define IN(name)                                                                                   \
    ON_SESSION(name, (CK_SESSION_HANDLE session, unsigned char *input, CK_ULONG input_size),       \
               (session, input, input_size))
#define OUT(name)                                                                                  \
    ON_SESSION(name, (CK_SESSION_HANDLE session, unsigned char *output, CK_ULONG *size),           \
               (session, output, size))
#define TWO_IN(name)                                                                               \
    ON_SESSION(name,                                                                               \
               (CK_SESSION_HANDLE session, unsigned char *first, CK_ULONG first_size,              \
                unsigned char *second, CK_ULONG second_size),                                      \
               (session, first, first_size, second, second_size))
#define BARE(name) ON_SESSION(name, (CK_SESSION_HANDLE session), (session))

IN(C_InitPIN)
TWO_IN(C_SetPIN)
ON_SESSION(C_GetSessionInfo, (CK_SESSION_HANDLE session, CK_SESSION_INFO *info), (session, info))
OUT(C_GetOperationState)
ON_SESSION(C_SetOperationState,
           (CK_SESSION_HANDLE session, unsigned char *state, CK_ULONG size,
            CK_OBJECT_HANDLE encryption_key, CK_OBJECT_HANDLE authentication_key),
           (session, state, size, encryption_key, authentication_key))
BARE(C_Logout)
BARE(C_FindObjectsFinal)
/* As AWS CloudHSM and others: the IV's buffer must come zeroed, and the HSM fills it. */
static CK_RV own_iv(CK_MECHANISM *mechanism)
{
    CK_GCM_PARAMS *gcm = mechanism->pParameter;

    for (CK_ULONG i = 0; i < gcm->ulIvLen; i++)
        if (gcm->pIv[i] != 0)
            return CKR_MECHANISM_PARAM_INVALID;
    if (getrandom(gcm->pIv, gcm->ulIvLen, 0) != (ssize_t)gcm->ulIvLen)
        return CKR_GENERAL_ERROR;
    return CKR_OK;
}

CK_RV faulty_C_EncryptInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
    struct faulty_call call;
    if (faulty_enter_key(&call, FAULTY_C_EncryptInit, &session, mechanism, CKF_ENCRYPT, &key)) {
        if (mechanism != NULL && mechanism->mechanism == CKM_AES_GCM &&
            faulty_lies(FAULTY_LIE_OWN_IV))
            call.rv = own_iv(mechanism);
        if (call.rv == CKR_OK)
            call.rv = faulty_self.real->C_EncryptInit(session, mechanism, key);
    }
    return faulty_leave(&call);
}

IN_OUT(C_Encrypt)
IN_OUT(C_EncryptUpdate)
OUT(C_EncryptFinal)
BEGINS(C_DecryptInit, CKF_DECRYPT)
IN_OUT(C_DecryptUpdate)
OUT(C_DecryptFinal)
IN_OUT(C_Digest)
IN(C_DigestUpdate)
OUT(C_DigestFinal)
BEGINS(C_SignInit, CKF_SIGN)
IN(C_SignUpdate)
OUT(C_SignFinal)
BEGINS(C_SignRecoverInit, CKF_SIGN_RECOVER)
IN_OUT(C_SignRecover)
BEGINS(C_VerifyInit, CKF_VERIFY)
TWO_IN(C_Verify)
IN(C_VerifyUpdate)
IN(C_VerifyFinal)
BEGINS(C_VerifyRecoverInit, CKF_VERIFY_RECOVER)
IN_OUT(C_VerifyRecover)
IN_OUT(C_DigestEncryptUpdate)
IN_OUT(C_DecryptDigestUpdate)
IN_OUT(C_SignEncryptUpdate)
IN_OUT(C_DecryptVerifyUpdate)
IN(C_SeedRandom)
IN(C_GenerateRandom)
BARE(C_GetFunctionStatus)
BARE(C_CancelFunction)
