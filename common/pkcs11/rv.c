/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pkcs11/rv.h"

#include <stdio.h>

#define RV(name) name, #name

/* PKCS#11 2.40 11.1. Those not listed are plain refusals. */
static const struct {
    CK_RV rv;
    const char *name;
    enum kyok_status status;
    enum kyok_rung rung;
    const char *remedy;
} table[] = {
    {RV(CKR_OK), KYOK_OK, KYOK_RUNG_NONE, NULL},
    {RV(CKR_HOST_MEMORY), KYOK_SYSTEM, KYOK_RUNG_NONE, "free memory on this host"},
    {RV(CKR_SLOT_ID_INVALID), KYOK_UNREACHABLE, KYOK_RUNG_SESSION, NULL},
    {RV(CKR_GENERAL_ERROR), KYOK_UNREACHABLE, KYOK_RUNG_MODULE, "see the module's own log"},
    {RV(CKR_FUNCTION_FAILED), KYOK_UNREACHABLE, KYOK_RUNG_OBJECT, "see the module's own log"},
    {RV(CKR_ARGUMENTS_BAD), KYOK_UNSUPPORTED, KYOK_RUNG_NONE,
     "the module refuses these parameters; choose another mechanism"},
    {RV(CKR_ATTRIBUTE_READ_ONLY), KYOK_REFUSED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_ATTRIBUTE_SENSITIVE), KYOK_REFUSED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_ATTRIBUTE_TYPE_INVALID), KYOK_UNSUPPORTED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_ATTRIBUTE_VALUE_INVALID), KYOK_UNSUPPORTED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_DATA_INVALID), KYOK_REFUSED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_DATA_LEN_RANGE), KYOK_REFUSED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_DEVICE_ERROR), KYOK_UNREACHABLE, KYOK_RUNG_MODULE,
     "check the HSM, its client daemon and the network between"},
    {RV(CKR_DEVICE_MEMORY), KYOK_BUSY, KYOK_RUNG_NONE, "the token is full: remove objects"},
    {RV(CKR_DEVICE_REMOVED), KYOK_UNREACHABLE, KYOK_RUNG_MODULE, "bring the HSM back"},
    {RV(CKR_ENCRYPTED_DATA_INVALID), KYOK_TAMPERED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_ENCRYPTED_DATA_LEN_RANGE), KYOK_TAMPERED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_FUNCTION_CANCELED), KYOK_CANCELLED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_FUNCTION_NOT_SUPPORTED), KYOK_UNSUPPORTED, KYOK_RUNG_NONE,
     "this token's module lacks the function: use a key of another token, or the vendor's tool"},
    {RV(CKR_KEY_HANDLE_INVALID), KYOK_UNREACHABLE, KYOK_RUNG_OBJECT, NULL},
    {RV(CKR_KEY_SIZE_RANGE), KYOK_UNSUPPORTED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_KEY_TYPE_INCONSISTENT), KYOK_UNSUPPORTED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_KEY_FUNCTION_NOT_PERMITTED), KYOK_REFUSED, KYOK_RUNG_NONE,
     "the key's own attributes forbid this use; see kyok key show"},
    {RV(CKR_KEY_NOT_WRAPPABLE), KYOK_REFUSED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_KEY_UNEXTRACTABLE), KYOK_REFUSED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_MECHANISM_INVALID), KYOK_UNSUPPORTED, KYOK_RUNG_NONE,
     "this token lacks the mechanism; see kyok doctor"},
    {RV(CKR_MECHANISM_PARAM_INVALID), KYOK_UNSUPPORTED, KYOK_RUNG_NONE,
     "this token lacks the mechanism's parameters; see kyok doctor"},
    {RV(CKR_OBJECT_HANDLE_INVALID), KYOK_UNREACHABLE, KYOK_RUNG_OBJECT, NULL},
    {RV(CKR_OPERATION_ACTIVE), KYOK_UNREACHABLE, KYOK_RUNG_OBJECT, NULL},
    {RV(CKR_OPERATION_NOT_INITIALIZED), KYOK_UNREACHABLE, KYOK_RUNG_OBJECT, NULL},
    {RV(CKR_PIN_INCORRECT), KYOK_PIN, KYOK_RUNG_NONE, NULL},
    {RV(CKR_PIN_INVALID), KYOK_PIN, KYOK_RUNG_NONE, NULL},
    {RV(CKR_PIN_LEN_RANGE), KYOK_PIN, KYOK_RUNG_NONE, NULL},
    {RV(CKR_PIN_EXPIRED), KYOK_PIN, KYOK_RUNG_NONE, "set a new PIN with the vendor's tool"},
    {RV(CKR_PIN_LOCKED), KYOK_PIN, KYOK_RUNG_NONE, "have the security officer unlock the PIN"},
    {RV(CKR_SESSION_CLOSED), KYOK_UNREACHABLE, KYOK_RUNG_SESSION, NULL},
    {RV(CKR_SESSION_COUNT), KYOK_BUSY, KYOK_RUNG_NONE,
     "lower sessions in the [token] section or raise the token's limit"},
    {RV(CKR_SESSION_HANDLE_INVALID), KYOK_UNREACHABLE, KYOK_RUNG_SESSION, NULL},
    {RV(CKR_SESSION_READ_ONLY), KYOK_REFUSED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_SIGNATURE_INVALID), KYOK_REFUSED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_TEMPLATE_INCOMPLETE), KYOK_UNSUPPORTED, KYOK_RUNG_NONE,
     "the token wants attributes of its vendor's own: make the key with the vendor's tool, then "
     "kyok key reference"},
    {RV(CKR_TEMPLATE_INCONSISTENT), KYOK_UNSUPPORTED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_TOKEN_NOT_PRESENT), KYOK_UNREACHABLE, KYOK_RUNG_MODULE, "bring the token back"},
    {RV(CKR_TOKEN_NOT_RECOGNIZED), KYOK_UNREACHABLE, KYOK_RUNG_MODULE, NULL},
    {RV(CKR_TOKEN_WRITE_PROTECTED), KYOK_REFUSED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_UNWRAPPING_KEY_HANDLE_INVALID), KYOK_UNREACHABLE, KYOK_RUNG_OBJECT, NULL},
    {RV(CKR_WRAPPING_KEY_HANDLE_INVALID), KYOK_UNREACHABLE, KYOK_RUNG_OBJECT, NULL},
    {RV(CKR_WRAPPED_KEY_INVALID), KYOK_TAMPERED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_WRAPPED_KEY_LEN_RANGE), KYOK_TAMPERED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_USER_ALREADY_LOGGED_IN), KYOK_PIN, KYOK_RUNG_NONE, NULL},
    {RV(CKR_USER_NOT_LOGGED_IN), KYOK_UNREACHABLE, KYOK_RUNG_LOGIN, NULL},
    {RV(CKR_USER_PIN_NOT_INITIALIZED), KYOK_PIN, KYOK_RUNG_NONE, "initialise the user PIN"},
    {RV(CKR_USER_ANOTHER_ALREADY_LOGGED_IN), KYOK_PIN, KYOK_RUNG_NONE, NULL},
    {RV(CKR_USER_TOO_MANY_TYPES), KYOK_PIN, KYOK_RUNG_NONE, NULL},
    {RV(CKR_BUFFER_TOO_SMALL), KYOK_FAULT, KYOK_RUNG_NONE, NULL},
    {RV(CKR_CRYPTOKI_NOT_INITIALIZED), KYOK_UNREACHABLE, KYOK_RUNG_MODULE, NULL},
    {RV(CKR_CRYPTOKI_ALREADY_INITIALIZED), KYOK_FAULT, KYOK_RUNG_NONE, NULL},
    {RV(CKR_CANT_LOCK), KYOK_UNSUPPORTED, KYOK_RUNG_NONE, "the module cannot be used by threads"},
    {RV(CKR_NEED_TO_CREATE_THREADS), KYOK_UNSUPPORTED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_MUTEX_BAD), KYOK_FAULT, KYOK_RUNG_NONE, NULL},
    {RV(CKR_FUNCTION_REJECTED), KYOK_REFUSED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_DOMAIN_PARAMS_INVALID), KYOK_UNSUPPORTED, KYOK_RUNG_NONE, NULL},
    {RV(CKR_RANDOM_NO_RNG), KYOK_UNSUPPORTED, KYOK_RUNG_NONE, NULL},
};
#define TABLE_SIZE (sizeof(table) / sizeof(table[0]))

static size_t find(CK_RV rv)
{
    size_t i = 0;

    while (i < TABLE_SIZE && table[i].rv != rv)
        i++;
    return i;
}

const char *kyok_rv_name(CK_RV rv)
{
    size_t i = find(rv);

    if (i < TABLE_SIZE)
        return table[i].name;
    return rv >= CKR_VENDOR_DEFINED ? "CKR_VENDOR_DEFINED" : "CK_RV";
}

enum kyok_rung kyok_rv_rung(CK_RV rv)
{
    size_t i = find(rv);

    return i < TABLE_SIZE ? table[i].rung : KYOK_RUNG_NONE;
}

enum kyok_status kyok_rv_status(CK_RV rv)
{
    size_t i = find(rv);

    return i < TABLE_SIZE ? table[i].status : KYOK_REFUSED;
}

enum kyok_status kyok_rv_fail(struct kyok_error *err, CK_RV rv, const char *object,
                              const char *what)
{
    size_t i = find(rv);

    kyok_fail(err, kyok_rv_status(rv), object, "%s", what);
    if (i == TABLE_SIZE)
        return kyok_because(err, "%s 0x%lx", kyok_rv_name(rv), rv);
    kyok_because(err, "%s", table[i].name);
    return table[i].remedy == NULL ? err->status : kyok_remedy(err, "%s", table[i].remedy);
}
