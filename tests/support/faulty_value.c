/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/faulty_value.h"
#include "tests/support/faulty_control.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define RV(name)                                                                                   \
    {                                                                                              \
#name, name                                                                                \
    }
static const struct {
    const char *name;
    CK_RV rv;
} return_values[] = {
    RV(CKR_HOST_MEMORY),
    RV(CKR_GENERAL_ERROR),
    RV(CKR_FUNCTION_FAILED),
    RV(CKR_ARGUMENTS_BAD),
    RV(CKR_ATTRIBUTE_TYPE_INVALID),
    RV(CKR_ATTRIBUTE_SENSITIVE),
    RV(CKR_BUFFER_TOO_SMALL),
    RV(CKR_DATA_INVALID),
    RV(CKR_DATA_LEN_RANGE),
    RV(CKR_DEVICE_ERROR),
    RV(CKR_DEVICE_MEMORY),
    RV(CKR_DEVICE_REMOVED),
    RV(CKR_ENCRYPTED_DATA_INVALID),
    RV(CKR_FUNCTION_CANCELED),
    RV(CKR_FUNCTION_NOT_SUPPORTED),
    RV(CKR_KEY_HANDLE_INVALID),
    RV(CKR_KEY_FUNCTION_NOT_PERMITTED),
    RV(CKR_KEY_UNEXTRACTABLE),
    RV(CKR_MECHANISM_INVALID),
    RV(CKR_MECHANISM_PARAM_INVALID),
    RV(CKR_OBJECT_HANDLE_INVALID),
    RV(CKR_OPERATION_ACTIVE),
    RV(CKR_OPERATION_NOT_INITIALIZED),
    RV(CKR_PIN_INCORRECT),
    RV(CKR_PIN_EXPIRED),
    RV(CKR_PIN_LOCKED),
    RV(CKR_SESSION_CLOSED),
    RV(CKR_SESSION_COUNT),
    RV(CKR_SLOT_ID_INVALID),
    RV(CKR_SESSION_HANDLE_INVALID),
    RV(CKR_SESSION_READ_ONLY),
    RV(CKR_TOKEN_NOT_PRESENT),
    RV(CKR_TOKEN_NOT_RECOGNIZED),
    RV(CKR_TEMPLATE_INCOMPLETE),
    RV(CKR_TEMPLATE_INCONSISTENT),
    RV(CKR_USER_ALREADY_LOGGED_IN),
    RV(CKR_USER_NOT_LOGGED_IN),
    RV(CKR_USER_PIN_NOT_INITIALIZED),
    RV(CKR_CRYPTOKI_NOT_INITIALIZED),
    RV(CKR_CRYPTOKI_ALREADY_INITIALIZED),
};

bool faulty_parse_rv(const char *text, CK_RV *rv)
{
    for (size_t i = 0; i < sizeof(return_values) / sizeof(return_values[0]); i++) {
        if (strcmp(return_values[i].name, text) == 0) {
            *rv = return_values[i].rv;
            return true;
        }
    }
    char *end;
    *rv = strtoul(text, &end, 0);
    return isdigit((unsigned char)text[0]) && *end == '\0';
}

bool faulty_parse_us(const char *text, long *us)
{
    char *end;
    double value = strtod(text, &end);
    double unit = strcmp(end, "us") == 0   ? 1
                  : strcmp(end, "ms") == 0 ? 1000
                  : strcmp(end, "s") == 0  ? 1000000
                  : *end == '\0'           ? 1000
                                           : -1;
    *us = (long)(value * unit);
    return end != text && value >= 0 && unit > 0;
}

bool faulty_parse_times(const char *text, long *times)
{
    char *end;
    if (strcmp(text, "forever") == 0) {
        *times = FAULTY_FOREVER;
        return true;
    }
    *times = strtol(text, &end, 10);
    return end != text && *end == '\0' && *times >= 0;
}
