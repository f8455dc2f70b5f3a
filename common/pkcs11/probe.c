/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pkcs11/probe.h"

#include <dlfcn.h>
#include <p11-kit/p11-kit.h>
#include <p11-kit/pkcs11.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_MAX 256
#define MECHANISMS_MAX 1024

/* What kyok does with each; the words are stable, setup and doctor show them. */
static const struct {
    CK_MECHANISM_TYPE mechanism;
    const char *word;
} mechanisms[] = {
    {CKM_RSA_PKCS_KEY_PAIR_GEN, "rsa-generate"},
    {CKM_RSA_PKCS, "rsa-pkcs1"},
    {CKM_RSA_PKCS_PSS, "rsa-pss"},
    {CKM_RSA_X_509, "rsa-raw"},
    {CKM_RSA_PKCS_OAEP, "rsa-oaep"},
    {CKM_EC_KEY_PAIR_GEN, "ec-generate"},
    {CKM_ECDSA, "ecdsa"},
    {CKM_ECDH1_DERIVE, "ecdh"},
    {0x1055UL /* CKM_EC_EDWARDS_KEY_PAIR_GEN, PKCS#11 3.0 */, "eddsa-generate"},
    {0x1057UL /* CKM_EDDSA, PKCS#11 3.0 */, "eddsa"},
    {CKM_AES_KEY_GEN, "aes-generate"},
    {CKM_AES_GCM, "aes-gcm"},
    {CKM_AES_KEY_WRAP, "aes-kw"},
    {CKM_AES_KEY_WRAP_PAD, "aes-kwp"},
};
#define MECHANISMS (sizeof(mechanisms) / sizeof(mechanisms[0]))

/* PKCS#11 pads with spaces and does not terminate. */
static void trim(char *text, const unsigned char *field, size_t size)
{
    while (size > 0 && (field[size - 1] == ' ' || field[size - 1] == '\0'))
        size--;
    memcpy(text, field, size);
    text[size] = '\0';
}

static enum kyok_status fail_rv(struct kyok_error *err, const char *path, const char *call,
                                CK_RV rv)
{
    kyok_fail(err, KYOK_FAULT, path, "%s of this module failed", call);
    return kyok_because(err, "CK_RV 0x%lx, %s", rv, p11_kit_strerror(rv));
}

/* --- tokens --- */

static void probe_mechanisms(CK_FUNCTION_LIST *functions, CK_SLOT_ID slot, const char **words)
{
    CK_MECHANISM_TYPE list[MECHANISMS_MAX];
    CK_ULONG count = MECHANISMS_MAX;
    size_t found = 0;
    if (functions->C_GetMechanismList(slot, list, &count) != CKR_OK || count > MECHANISMS_MAX)
        count = 0;
    for (size_t i = 0; i < MECHANISMS; i++) {
        bool has = false;
        for (CK_ULONG j = 0; j < count && !has; j++)
            has = list[j] == mechanisms[i].mechanism;
        if (has)
            words[found++] = mechanisms[i].word;
    }
    words[found] = NULL;
}

static void fill_token(struct kyok_probed_token *token, const CK_TOKEN_INFO *info,
                       const CK_SLOT_INFO *slot)
{
    trim(token->label, info->label, sizeof(info->label));
    trim(token->manufacturer, info->manufacturerID, sizeof(info->manufacturerID));
    trim(token->model, info->model, sizeof(info->model));
    trim(token->serial, info->serialNumber, sizeof(info->serialNumber));
    trim(token->slot_description, slot->slotDescription, sizeof(slot->slotDescription));
    trim(token->slot_manufacturer, slot->manufacturerID, sizeof(slot->manufacturerID));
    token->initialised = (info->flags & CKF_TOKEN_INITIALIZED) != 0;
    token->login_required = (info->flags & CKF_LOGIN_REQUIRED) != 0;
    token->protected_path = (info->flags & CKF_PROTECTED_AUTHENTICATION_PATH) != 0;
    token->user_pin_set = (info->flags & CKF_USER_PIN_INITIALIZED) != 0;
    token->pin_count_low = (info->flags & CKF_USER_PIN_COUNT_LOW) != 0;
    token->pin_final_try = (info->flags & CKF_USER_PIN_FINAL_TRY) != 0;
    token->pin_locked = (info->flags & CKF_USER_PIN_LOCKED) != 0;
    /* CK_UNAVAILABLE_INFORMATION and CK_EFFECTIVELY_INFINITE (SoftHSM says 0, which is both). */
    token->most_sessions = info->ulMaxSessionCount == (CK_ULONG)-1 ? 0 : info->ulMaxSessionCount;
}

static void probe_slot(CK_FUNCTION_LIST *functions, CK_SLOT_ID id, kyok_probe_visitor *visit,
                       void *caller)
{
    const char *words[MECHANISMS + 1];
    struct kyok_probed_token token = {.slot = id, .mechanisms = words};
    CK_TOKEN_INFO info;
    CK_SLOT_INFO slot;
    memset(&slot, ' ', sizeof(slot));
    if (functions->C_GetTokenInfo(id, &info) != CKR_OK)
        return;
    functions->C_GetSlotInfo(id, &slot);
    fill_token(&token, &info, &slot);
    probe_mechanisms(functions, id, words);
    visit(caller, &token);
}

static enum kyok_status probe_slots(CK_FUNCTION_LIST *functions, const char *path,
                                    kyok_probe_visitor *visit, void *caller, struct kyok_error *err)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG count = SLOTS_MAX;
    CK_RV rv = functions->C_GetSlotList(CK_TRUE, NULL, &count);
    if (rv == CKR_OK && count > SLOTS_MAX)
        return kyok_fail(err, KYOK_UNSUPPORTED, path, "this module has more than %d slots",
                         SLOTS_MAX);
    count = SLOTS_MAX;
    if (rv == CKR_OK)
        rv = functions->C_GetSlotList(CK_TRUE, slots, &count);
    if (rv != CKR_OK)
        return fail_rv(err, path, "C_GetSlotList", rv);
    for (CK_ULONG i = 0; i < count; i++)
        probe_slot(functions, slots[i], visit, caller);
    return KYOK_OK;
}

/* --- the module --- */

static enum kyok_status load(const char *path, CK_FUNCTION_LIST **functions, struct kyok_error *err)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        kyok_fail(err, KYOK_INVALID, path, "this module cannot be loaded");
        return kyok_because(err, "%s", dlerror());
    }
    CK_RV (*get_list)(CK_FUNCTION_LIST **) = NULL;
    *(void **)&get_list = dlsym(library, "C_GetFunctionList");
    if (get_list == NULL) {
        kyok_fail(err, KYOK_INVALID, path, "this is no PKCS#11 module: no C_GetFunctionList");
        return kyok_remedy(err, "name the vendor's PKCS#11 library");
    }
    CK_RV rv = get_list(functions);
    return rv == CKR_OK && *functions != NULL ? KYOK_OK
                                              : fail_rv(err, path, "C_GetFunctionList", rv);
}

static void fill_module(struct kyok_probed_module *module, CK_FUNCTION_LIST *functions)
{
    CK_INFO info;
    memset(module, 0, sizeof(*module));
    if (functions->C_GetInfo(&info) != CKR_OK)
        return;
    trim(module->manufacturer, info.manufacturerID, sizeof(info.manufacturerID));
    trim(module->description, info.libraryDescription, sizeof(info.libraryDescription));
    module->version_major = info.libraryVersion.major;
    module->version_minor = info.libraryVersion.minor;
    module->cryptoki_major = info.cryptokiVersion.major;
    module->cryptoki_minor = info.cryptokiVersion.minor;
}

enum kyok_status kyok_probe_module(const char *path, struct kyok_probed_module *module,
                                   kyok_probe_visitor *visit, void *caller, struct kyok_error *err)
{
    CK_FUNCTION_LIST *functions = NULL;
    CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
    KYOK_TRY(load(path, &functions, err));
    CK_RV rv = functions->C_Initialize(&arguments);
    if (rv != CKR_OK && rv != CKR_CRYPTOKI_ALREADY_INITIALIZED)
        return fail_rv(err, path, "C_Initialize", rv);
    fill_module(module, functions);
    enum kyok_status status = probe_slots(functions, path, visit, caller, err);
    if (rv == CKR_OK)
        functions->C_Finalize(NULL);
    return status;
}

enum kyok_status kyok_probe_configured(kyok_probe_name_visitor *visit, void *caller,
                                       struct kyok_error *err)
{
    CK_FUNCTION_LIST **modules = p11_kit_modules_load(NULL, P11_KIT_MODULE_UNMANAGED);
    if (modules == NULL) {
        kyok_fail(err, KYOK_FAULT, "p11-kit", "its configured modules cannot be listed");
        return kyok_because(err, "%s", p11_kit_message() != NULL ? p11_kit_message() : "no reason");
    }
    for (size_t i = 0; modules[i] != NULL; i++) {
        char *name = p11_kit_module_get_name(modules[i]);
        char *path = p11_kit_module_get_filename(modules[i]);
        if (path != NULL)
            visit(caller, name != NULL ? name : path, path);
        free(name);
        free(path);
    }
    p11_kit_modules_release(modules);
    return KYOK_OK;
}
