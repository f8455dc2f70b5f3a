/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/faulty_profile.h"

#include <string.h>

#define SIGNS (CKF_SIGN | CKF_VERIFY)
#define CIPHERS (CKF_ENCRYPT | CKF_DECRYPT)
#define WRAPS (CKF_WRAP | CKF_UNWRAP)
#define MECHANISMS_END                                                                             \
    {                                                                                              \
        CK_UNAVAILABLE_INFORMATION, 0                                                              \
    }
#define ATTRIBUTES_END CK_UNAVAILABLE_INFORMATION
#define FUNCTIONS_END FAULTY_FUNCTION_COUNT

/* No raw RSA, no AES-GCM, no RFC 3394; Edwards curves only by IBM's own mechanisms. The table of
 * attributes has neither ALWAYS_SENSITIVE nor NEVER_EXTRACTABLE. */
static const struct faulty_mechanism hpcs_mechanisms[] = {{CKM_RSA_PKCS_KEY_PAIR_GEN, 0},
                                                          {CKM_EC_KEY_PAIR_GEN, 0},
                                                          {CKM_AES_KEY_GEN, 0},
                                                          {CKM_GENERIC_SECRET_KEY_GEN, 0},
                                                          {CKM_RSA_PKCS, SIGNS | CIPHERS | WRAPS},
                                                          {CKM_RSA_PKCS_OAEP, CIPHERS | WRAPS},
                                                          {CKM_RSA_PKCS_PSS, SIGNS},
                                                          {CKM_SHA256_RSA_PKCS, SIGNS},
                                                          {CKM_SHA384_RSA_PKCS, SIGNS},
                                                          {CKM_SHA512_RSA_PKCS, SIGNS},
                                                          {CKM_SHA256_RSA_PKCS_PSS, SIGNS},
                                                          {CKM_SHA384_RSA_PKCS_PSS, SIGNS},
                                                          {CKM_SHA512_RSA_PKCS_PSS, SIGNS},
                                                          {CKM_ECDSA, SIGNS},
                                                          {CKM_ECDSA_SHA1, SIGNS},
                                                          {CKM_SHA_1_HMAC, SIGNS},
                                                          {CKM_SHA256_HMAC, SIGNS},
                                                          {CKM_SHA384_HMAC, SIGNS},
                                                          {CKM_SHA512_HMAC, SIGNS},
                                                          {CKM_SHA_1, 0},
                                                          {CKM_SHA224, 0},
                                                          {CKM_SHA256, 0},
                                                          {CKM_SHA384, 0},
                                                          {CKM_SHA512, 0},
                                                          {CKM_AES_ECB, CIPHERS | WRAPS},
                                                          {CKM_AES_CBC, CIPHERS | WRAPS},
                                                          {CKM_AES_CBC_PAD, CIPHERS | WRAPS},
                                                          {CKM_ECDH1_DERIVE, 0},
                                                          MECHANISMS_END};
static const enum faulty_function hpcs_missing[] = {
    FAULTY_C_WaitForSlotEvent,  FAULTY_C_DigestKey,
    FAULTY_C_SignRecoverInit,   FAULTY_C_SignRecover,
    FAULTY_C_VerifyRecoverInit, FAULTY_C_VerifyRecover,
    FAULTY_C_SeedRandom,        FAULTY_C_GetFunctionStatus,
    FAULTY_C_CancelFunction,    FUNCTIONS_END};
static const CK_ATTRIBUTE_TYPE hpcs_unknown[] = {CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE,
                                                 CKA_ALWAYS_AUTHENTICATE, ATTRIBUTES_END};

/* No Edwards or Montgomery curves. */
static const struct faulty_mechanism cloudhsm_mechanisms[] = {{CKM_RSA_PKCS_KEY_PAIR_GEN, 0},
                                                              {CKM_EC_KEY_PAIR_GEN, 0},
                                                              {CKM_AES_KEY_GEN, 0},
                                                              {CKM_GENERIC_SECRET_KEY_GEN, 0},
                                                              {CKM_RSA_X_509, SIGNS | CIPHERS},
                                                              {CKM_RSA_PKCS, SIGNS | CIPHERS},
                                                              {CKM_RSA_PKCS_OAEP, CIPHERS | WRAPS},
                                                              {CKM_RSA_PKCS_PSS, SIGNS},
                                                              {CKM_SHA1_RSA_PKCS, SIGNS},
                                                              {CKM_SHA256_RSA_PKCS, SIGNS},
                                                              {CKM_SHA384_RSA_PKCS, SIGNS},
                                                              {CKM_SHA512_RSA_PKCS, SIGNS},
                                                              {CKM_SHA256_RSA_PKCS_PSS, SIGNS},
                                                              {CKM_SHA384_RSA_PKCS_PSS, SIGNS},
                                                              {CKM_SHA512_RSA_PKCS_PSS, SIGNS},
                                                              {CKM_ECDSA, SIGNS},
                                                              {CKM_ECDSA_SHA1, SIGNS},
                                                              {CKM_SHA_1_HMAC, SIGNS},
                                                              {CKM_SHA256_HMAC, SIGNS},
                                                              {CKM_SHA384_HMAC, SIGNS},
                                                              {CKM_SHA512_HMAC, SIGNS},
                                                              {CKM_SHA_1, 0},
                                                              {CKM_SHA224, 0},
                                                              {CKM_SHA256, 0},
                                                              {CKM_SHA384, 0},
                                                              {CKM_SHA512, 0},
                                                              {CKM_AES_ECB, CIPHERS},
                                                              {CKM_AES_CBC, CIPHERS},
                                                              {CKM_AES_CBC_PAD, CIPHERS},
                                                              {CKM_AES_CTR, CIPHERS},
                                                              {CKM_AES_GCM, CIPHERS | WRAPS},
                                                              {CKM_AES_KEY_WRAP, WRAPS},
                                                              {CKM_AES_KEY_WRAP_PAD, WRAPS},
                                                              {CKM_ECDH1_DERIVE, 0},
                                                              MECHANISMS_END};
static const enum faulty_function cloudhsm_missing[] = {
    FAULTY_C_InitToken,           FAULTY_C_InitPIN,           FAULTY_C_SetPIN,
    FAULTY_C_SetOperationState,   FAULTY_C_CopyObject,        FAULTY_C_GetObjectSize,
    FAULTY_C_DigestKey,           FAULTY_C_SignRecoverInit,   FAULTY_C_SignRecover,
    FAULTY_C_VerifyRecoverInit,   FAULTY_C_VerifyRecover,     FAULTY_C_DigestEncryptUpdate,
    FAULTY_C_DecryptDigestUpdate, FAULTY_C_SignEncryptUpdate, FAULTY_C_DecryptVerifyUpdate,
    FAULTY_C_SeedRandom,          FAULTY_C_WaitForSlotEvent,  FUNCTIONS_END};
static const CK_ATTRIBUTE_TYPE cloudhsm_unknown[] = {
    CKA_START_DATE,      CKA_END_DATE,     CKA_SUBJECT,        CKA_COPYABLE,
    CKA_PUBLIC_KEY_INFO, CKA_SIGN_RECOVER, CKA_VERIFY_RECOVER, CKA_ALWAYS_AUTHENTICATE,
    ATTRIBUTES_END};

/* Signing, OAEP decryption, AES and HMAC with keys of one algorithm each; nothing wraps or derives,
 * no object is created or changed, and generation wants CKA_KMS_ALGORITHM. */
static const struct faulty_mechanism google_mechanisms[] = {{CKM_RSA_PKCS_KEY_PAIR_GEN, 0},
                                                            {CKM_EC_KEY_PAIR_GEN, 0},
                                                            {CKM_AES_KEY_GEN, 0},
                                                            {CKM_GENERIC_SECRET_KEY_GEN, 0},
                                                            {CKM_RSA_PKCS, SIGNS},
                                                            {CKM_SHA256_RSA_PKCS, SIGNS},
                                                            {CKM_SHA512_RSA_PKCS, SIGNS},
                                                            {CKM_RSA_PKCS_PSS, SIGNS},
                                                            {CKM_SHA256_RSA_PKCS_PSS, SIGNS},
                                                            {CKM_SHA512_RSA_PKCS_PSS, SIGNS},
                                                            {CKM_RSA_PKCS_OAEP, CIPHERS},
                                                            {CKM_ECDSA, SIGNS},
                                                            {CKM_AES_CBC, CIPHERS},
                                                            {CKM_AES_CBC_PAD, CIPHERS},
                                                            {CKM_AES_CTR, CIPHERS},
                                                            {CKM_AES_GCM, CIPHERS},
                                                            {CKM_SHA_1_HMAC, SIGNS},
                                                            {CKM_SHA224_HMAC, SIGNS},
                                                            {CKM_SHA256_HMAC, SIGNS},
                                                            {CKM_SHA384_HMAC, SIGNS},
                                                            {CKM_SHA512_HMAC, SIGNS},
                                                            MECHANISMS_END};
static const enum faulty_function google_missing[] = {FAULTY_C_InitToken,
                                                      FAULTY_C_InitPIN,
                                                      FAULTY_C_SetPIN,
                                                      FAULTY_C_GetOperationState,
                                                      FAULTY_C_SetOperationState,
                                                      FAULTY_C_CreateObject,
                                                      FAULTY_C_CopyObject,
                                                      FAULTY_C_GetObjectSize,
                                                      FAULTY_C_SetAttributeValue,
                                                      FAULTY_C_DigestInit,
                                                      FAULTY_C_Digest,
                                                      FAULTY_C_DigestUpdate,
                                                      FAULTY_C_DigestKey,
                                                      FAULTY_C_DigestFinal,
                                                      FAULTY_C_SignRecoverInit,
                                                      FAULTY_C_SignRecover,
                                                      FAULTY_C_VerifyRecoverInit,
                                                      FAULTY_C_VerifyRecover,
                                                      FAULTY_C_DigestEncryptUpdate,
                                                      FAULTY_C_DecryptDigestUpdate,
                                                      FAULTY_C_SignEncryptUpdate,
                                                      FAULTY_C_DecryptVerifyUpdate,
                                                      FAULTY_C_WrapKey,
                                                      FAULTY_C_UnwrapKey,
                                                      FAULTY_C_DeriveKey,
                                                      FAULTY_C_SeedRandom,
                                                      FAULTY_C_GetFunctionStatus,
                                                      FAULTY_C_CancelFunction,
                                                      FAULTY_C_WaitForSlotEvent,
                                                      FUNCTIONS_END};
#define CKA_KMS_ALGORITHM (CKA_VENDOR_DEFINED | 0x1E101UL)

/* Signing only, for TLS. */
static const struct faulty_mechanism azure_mechanisms[] = {{CKM_RSA_PKCS_KEY_PAIR_GEN, 0},
                                                           {CKM_RSA_PKCS, SIGNS},
                                                           {CKM_RSA_PKCS_PSS, SIGNS},
                                                           {CKM_EC_KEY_PAIR_GEN, 0},
                                                           {CKM_ECDSA, SIGNS},
                                                           {CKM_SHA256, 0},
                                                           {CKM_SHA384, 0},
                                                           {CKM_SHA512, 0},
                                                           MECHANISMS_END};
static const enum faulty_function azure_missing[] = {FAULTY_C_InitToken,
                                                     FAULTY_C_InitPIN,
                                                     FAULTY_C_SetPIN,
                                                     FAULTY_C_GetOperationState,
                                                     FAULTY_C_SetOperationState,
                                                     FAULTY_C_CreateObject,
                                                     FAULTY_C_CopyObject,
                                                     FAULTY_C_DestroyObject,
                                                     FAULTY_C_GetObjectSize,
                                                     FAULTY_C_EncryptInit,
                                                     FAULTY_C_Encrypt,
                                                     FAULTY_C_EncryptUpdate,
                                                     FAULTY_C_EncryptFinal,
                                                     FAULTY_C_DecryptInit,
                                                     FAULTY_C_Decrypt,
                                                     FAULTY_C_DecryptUpdate,
                                                     FAULTY_C_DecryptFinal,
                                                     FAULTY_C_DigestInit,
                                                     FAULTY_C_Digest,
                                                     FAULTY_C_DigestUpdate,
                                                     FAULTY_C_DigestKey,
                                                     FAULTY_C_DigestFinal,
                                                     FAULTY_C_SignUpdate,
                                                     FAULTY_C_SignFinal,
                                                     FAULTY_C_SignRecoverInit,
                                                     FAULTY_C_SignRecover,
                                                     FAULTY_C_VerifyUpdate,
                                                     FAULTY_C_VerifyFinal,
                                                     FAULTY_C_VerifyRecoverInit,
                                                     FAULTY_C_VerifyRecover,
                                                     FAULTY_C_DigestEncryptUpdate,
                                                     FAULTY_C_DecryptDigestUpdate,
                                                     FAULTY_C_SignEncryptUpdate,
                                                     FAULTY_C_DecryptVerifyUpdate,
                                                     FAULTY_C_GenerateKey,
                                                     FAULTY_C_WrapKey,
                                                     FAULTY_C_UnwrapKey,
                                                     FAULTY_C_DeriveKey,
                                                     FAULTY_C_SeedRandom,
                                                     FAULTY_C_GetFunctionStatus,
                                                     FAULTY_C_CancelFunction,
                                                     FAULTY_C_WaitForSlotEvent,
                                                     FUNCTIONS_END};

const struct faulty_profile faulty_profiles[] = {
    {.name = "none", .source = "SoftHSM as it is"},
    {.name = "hpcs",
     .source = "IBM Cloud Hyper Protect Crypto Services: github.com/ibm-cloud-docs/hs-crypto, "
               "pkcs11-api-ref.md",
     .mechanisms = hpcs_mechanisms,
     .missing = hpcs_missing,
     .unknown = hpcs_unknown},
    {.name = "cloudhsm",
     .source = "AWS CloudHSM, Client SDK 5: docs.aws.amazon.com/cloudhsm/latest/userguide, "
               "pkcs11-mechanisms, pkcs11-apis, pkcs11-attributes-interpreting",
     .mechanisms = cloudhsm_mechanisms,
     .missing = cloudhsm_missing,
     .unknown = cloudhsm_unknown},
    {.name = "google",
     .source = "Google Cloud KMS: github.com/GoogleCloudPlatform/kms-integrations, "
               "kmsp11/docs/user_guide.md",
     .mechanisms = google_mechanisms,
     .missing = google_missing,
     .generation_needs = CKA_KMS_ALGORITHM},
    {.name = "azure",
     .source = "Azure Managed HSM: github.com/microsoft/AzureManagedHsmTLSOffload, README.md",
     .mechanisms = azure_mechanisms,
     .missing = azure_missing},
    {.name = NULL}};

int faulty_profile_by_name(const char *name)
{
    for (int i = 0; faulty_profiles[i].name != NULL; i++) {
        if (strcmp(faulty_profiles[i].name, name) == 0)
            return i;
    }
    return -1;
}

bool faulty_profile_has_mechanism(const struct faulty_profile *profile, CK_MECHANISM_TYPE type,
                                  CK_FLAGS use)
{
    const struct faulty_mechanism *mechanism = profile->mechanisms;
    if (mechanism == NULL)
        return true;
    for (; mechanism->type != CK_UNAVAILABLE_INFORMATION; mechanism++) {
        if (mechanism->type == type)
            return use == 0 || mechanism->flags == 0 || (mechanism->flags & use) != 0;
    }
    return false;
}

bool faulty_profile_lacks(const struct faulty_profile *profile, enum faulty_function function)
{
    const enum faulty_function *missing = profile->missing;
    for (; missing != NULL && *missing != FAULTY_FUNCTION_COUNT; missing++) {
        if (*missing == function)
            return true;
    }
    return false;
}

bool faulty_profile_knows(const struct faulty_profile *profile, CK_ATTRIBUTE_TYPE type)
{
    const CK_ATTRIBUTE_TYPE *unknown = profile->unknown;
    for (; unknown != NULL && *unknown != CK_UNAVAILABLE_INFORMATION; unknown++) {
        if (*unknown == type)
            return false;
    }
    return true;
}
