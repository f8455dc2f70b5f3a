/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pkcs11/trial.h"

#include "common/pkcs11/cryptoki.h"
#include "common/pkcs11/rv.h"

#include <dlfcn.h>
#include <string.h>

#ifndef CKM_EC_EDWARDS_KEY_PAIR_GEN
#define CKM_EC_EDWARDS_KEY_PAIR_GEN (0x1055UL)
#endif
#ifndef CKM_EDDSA
#define CKM_EDDSA (0x1057UL)
#endif

#define SLOTS_MAX 256

struct trial {
    CK_FUNCTION_LIST *f;
    CK_SESSION_HANDLE session;
    kyok_trial_visitor *visit;
    void *caller;
    CK_OBJECT_HANDLE private_key, public_key, secret_key, target;
};

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void tell(const struct trial *trial, const char *word, CK_RV rv)
{
    trial->visit(trial->caller, word, kyok_rv_name(rv));
}

/* --- keys of the session: what kyok would make, but not on the token ----------------------------
 */

static CK_RV make_pair(struct trial *trial, CK_MECHANISM_TYPE type, CK_ATTRIBUTE *kind,
                       CK_ULONG kind_count)
{
    CK_ATTRIBUTE private_template[] = {
        {CKA_TOKEN, &no, sizeof(no)},       {CKA_PRIVATE, &yes, sizeof(yes)},
        {CKA_SENSITIVE, &yes, sizeof(yes)}, {CKA_EXTRACTABLE, &no, sizeof(no)},
        {CKA_SIGN, &yes, sizeof(yes)},      {CKA_DECRYPT, &yes, sizeof(yes)},
    };
    CK_MECHANISM mechanism = {type, NULL, 0};
    /* Only RSA keys decrypt; some tokens refuse the attribute for others. */
    CK_ULONG count = COUNT(private_template) - (type != CKM_RSA_PKCS_KEY_PAIR_GEN);
    return trial->f->C_GenerateKeyPair(trial->session, &mechanism, kind, kind_count,
                                       private_template, count, &trial->public_key,
                                       &trial->private_key);
}

static CK_RV make_aes(struct trial *trial, CK_BBOOL extractable, CK_OBJECT_HANDLE *key)
{
    CK_ULONG size = 32;
    CK_ATTRIBUTE attributes[] = {
        {CKA_TOKEN, &no, sizeof(no)},         {CKA_PRIVATE, &yes, sizeof(yes)},
        {CKA_SENSITIVE, &yes, sizeof(yes)},   {CKA_EXTRACTABLE, &extractable, sizeof(extractable)},
        {CKA_ENCRYPT, &yes, sizeof(yes)},     {CKA_DECRYPT, &yes, sizeof(yes)},
        {CKA_WRAP, &yes, sizeof(yes)},        {CKA_UNWRAP, &yes, sizeof(yes)},
        {CKA_VALUE_LEN, &size, sizeof(size)},
    };
    CK_MECHANISM mechanism = {CKM_AES_KEY_GEN, NULL, 0};
    return trial->f->C_GenerateKey(trial->session, &mechanism, attributes, COUNT(attributes), key);
}

static CK_RV sign(struct trial *trial, CK_MECHANISM_TYPE type, void *parameter, CK_ULONG size,
                  CK_ULONG data_size)
{
    CK_BYTE data[64] = {1}, signature[1024];
    CK_ULONG signature_size = sizeof(signature);
    CK_MECHANISM mechanism = {type, parameter, size};
    CK_RV rv = trial->f->C_SignInit(trial->session, &mechanism, trial->private_key);
    return rv != CKR_OK
               ? rv
               : trial->f->C_Sign(trial->session, data, data_size, signature, &signature_size);
}

/* --- trials --------------------------------------------------------------------------------------
 */

static void try_ecdsa(struct trial *trial)
{
    CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    CK_ATTRIBUTE kind[] = {{CKA_EC_PARAMS, p256, sizeof(p256)}, {CKA_TOKEN, &no, sizeof(no)}};
    CK_RV rv = make_pair(trial, CKM_EC_KEY_PAIR_GEN, kind, COUNT(kind));
    tell(trial, "ec-generate", rv);
    if (rv == CKR_OK)
        tell(trial, "ecdsa", sign(trial, CKM_ECDSA, NULL, 0, 32));
}

static void try_eddsa(struct trial *trial)
{
    /* The curve by name (PKCS#11 3.0 2.3.10), as SoftHSM and most want it. */
    CK_BYTE name[] = "\x13\x0c"
                     "edwards25519";
    CK_ATTRIBUTE kind[] = {{CKA_EC_PARAMS, name, sizeof(name) - 1}, {CKA_TOKEN, &no, sizeof(no)}};
    CK_RV rv = make_pair(trial, CKM_EC_EDWARDS_KEY_PAIR_GEN, kind, COUNT(kind));
    tell(trial, "eddsa-generate", rv);
    if (rv == CKR_OK)
        tell(trial, "eddsa", sign(trial, CKM_EDDSA, NULL, 0, 32));
}

/* Starting is enough to learn whether the parameters are taken; the message would not be. */
static CK_RV start_decrypt(struct trial *trial, CK_MECHANISM_TYPE type, void *parameter,
                           CK_ULONG size)
{
    CK_BYTE input[256] = {0}, output[512];
    CK_ULONG output_size = sizeof(output);
    CK_MECHANISM mechanism = {type, parameter, size};
    CK_RV rv = trial->f->C_DecryptInit(trial->session, &mechanism, trial->private_key);
    if (rv == CKR_OK)
        trial->f->C_Decrypt(trial->session, input, sizeof(input), output, &output_size);
    return rv;
}

static void try_oaep(struct trial *trial, const char *word, CK_MECHANISM_TYPE hash, CK_ULONG mgf)
{
    CK_RSA_PKCS_OAEP_PARAMS oaep = {hash, mgf, 1 /* CKZ_DATA_SPECIFIED */, NULL, 0};
    tell(trial, word, start_decrypt(trial, CKM_RSA_PKCS_OAEP, &oaep, sizeof(oaep)));
}

static void try_rsa(struct trial *trial)
{
    CK_ULONG bits = 2048;
    CK_BYTE exponent[] = {1, 0, 1};
    CK_ATTRIBUTE kind[] = {{CKA_MODULUS_BITS, &bits, sizeof(bits)},
                           {CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent)},
                           {CKA_TOKEN, &no, sizeof(no)}};
    CK_RSA_PKCS_PSS_PARAMS pss = {CKM_SHA256, CKG_MGF1_SHA256, 32};
    CK_RV rv = make_pair(trial, CKM_RSA_PKCS_KEY_PAIR_GEN, kind, COUNT(kind));
    tell(trial, "rsa-generate", rv);
    if (rv != CKR_OK)
        return;
    tell(trial, "rsa-pkcs1", sign(trial, CKM_RSA_PKCS, NULL, 0, 51));
    tell(trial, "rsa-pss", sign(trial, CKM_RSA_PKCS_PSS, &pss, sizeof(pss), 32));
    tell(trial, "rsa-raw", start_decrypt(trial, CKM_RSA_X_509, NULL, 0));
    try_oaep(trial, "rsa-oaep-sha256", CKM_SHA256, CKG_MGF1_SHA256);
    try_oaep(trial, "rsa-oaep-sha1", CKM_SHA_1, CKG_MGF1_SHA1);
}

static CK_RV encrypt_gcm(struct trial *trial)
{
    CK_BYTE iv[12] = {1}, data[32] = {2}, output[64];
    CK_ULONG size = sizeof(output);
    CK_GCM_PARAMS gcm = {iv, sizeof(iv), 96, NULL, 0, 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &gcm, sizeof(gcm)};
    CK_RV rv = trial->f->C_EncryptInit(trial->session, &mechanism, trial->secret_key);
    return rv != CKR_OK ? rv
                        : trial->f->C_Encrypt(trial->session, data, sizeof(data), output, &size);
}

static CK_RV wrap(struct trial *trial, CK_MECHANISM_TYPE type)
{
    CK_BYTE output[128];
    CK_ULONG size = sizeof(output);
    CK_MECHANISM mechanism = {type, NULL, 0};
    return trial->f->C_WrapKey(trial->session, &mechanism, trial->secret_key, trial->target, output,
                               &size);
}

static void try_aes(struct trial *trial)
{
    CK_RV rv = make_aes(trial, CK_FALSE, &trial->secret_key);
    tell(trial, "aes-generate", rv);
    if (rv != CKR_OK)
        return;
    tell(trial, "aes-gcm", encrypt_gcm(trial));
    rv = make_aes(trial, CK_TRUE, &trial->target);
    tell(trial, "aes-kw", rv == CKR_OK ? wrap(trial, CKM_AES_KEY_WRAP) : rv);
    tell(trial, "aes-kwp", rv == CKR_OK ? wrap(trial, CKM_AES_KEY_WRAP_PAD) : rv);
}

/* --- the session ---------------------------------------------------------------------------------
 */

static bool has_label(const CK_TOKEN_INFO *info, const char *label)
{
    size_t size = strlen(label);
    if (size > sizeof(info->label) || memcmp(info->label, label, size) != 0)
        return false;
    while (size < sizeof(info->label) && info->label[size] == ' ')
        size++;
    return size == sizeof(info->label);
}

static bool find_slot(CK_FUNCTION_LIST *f, const char *label, CK_SLOT_ID *slot)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG count = SLOTS_MAX;
    CK_TOKEN_INFO info;
    if (f->C_GetSlotList(CK_TRUE, slots, &count) != CKR_OK)
        return false;
    for (CK_ULONG i = 0; i < count; i++) {
        if (f->C_GetTokenInfo(slots[i], &info) == CKR_OK && has_label(&info, label)) {
            *slot = slots[i];
            return true;
        }
    }
    return false;
}

static enum kyok_status run_trials(struct trial *trial, const char *label, struct kyok_bytes pin,
                                   struct kyok_error *err)
{
    CK_SLOT_ID slot;
    if (!find_slot(trial->f, label, &slot))
        return kyok_fail(err, KYOK_NOT_FOUND, label, "the module has no token with this label");
    CK_RV rv = trial->f->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                                       &trial->session);
    if (rv != CKR_OK)
        return kyok_rv_fail(err, rv, label, "no session can be opened");
    rv = trial->f->C_Login(trial->session, CKU_USER, (CK_BYTE *)(uintptr_t)pin.data, pin.size);
    if (rv == CKR_OK) {
        try_ecdsa(trial);
        try_eddsa(trial);
        try_rsa(trial);
        try_aes(trial);
    }
    trial->f->C_CloseSession(trial->session);
    return rv == CKR_OK ? KYOK_OK : kyok_rv_fail(err, rv, label, "the login failed");
}

enum kyok_status kyok_trial_run(const char *path, const char *label, struct kyok_bytes pin,
                                kyok_trial_visitor *visit, void *caller, struct kyok_error *err)
{
    struct trial trial = {.visit = visit, .caller = caller};
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
    CK_C_GetFunctionList get_list = NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library != NULL)
        *(void **)&get_list = dlsym(library, "C_GetFunctionList");
    if (get_list == NULL || get_list(&trial.f) != CKR_OK)
        return kyok_fail(err, KYOK_INVALID, path, "this is no PKCS#11 module that can be loaded");
    CK_RV rv = trial.f->C_Initialize(&arguments);
    if (rv != CKR_OK)
        return kyok_rv_fail(err, rv, path, "C_Initialize failed");
    enum kyok_status status = run_trials(&trial, label, pin, err);
    trial.f->C_Finalize(NULL);
    return status;
}
