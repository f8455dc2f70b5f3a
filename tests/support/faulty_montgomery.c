/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/faulty_montgomery.h"

#include <string.h>

/* PKCS#11 3.0; p11-kit 0.24 knows them by 2.40's draft names or not at all. */
#define EDWARDS_GENERATION 0x1055UL
#define MONTGOMERY_GENERATION 0x1056UL
#define EDWARDS_KEY 0x40UL
#define MONTGOMERY_KEY 0x41UL

bool faulty_is_montgomery(CK_MECHANISM_TYPE type)
{
    return type == MONTGOMERY_GENERATION;
}

CK_MECHANISM_TYPE faulty_edwards_generation(void)
{
    return EDWARDS_GENERATION;
}

void faulty_montgomery_to_edwards(CK_ATTRIBUTE *template, CK_ULONG count)
{
    static CK_KEY_TYPE edwards = EDWARDS_KEY;
    for (CK_ULONG i = 0; i < count; i++) {
        if (template[i].type == CKA_KEY_TYPE)
            template[i].pValue = &edwards;
    }
}

/* By object identifier or by name: SoftHSM gives a public key the one, its private key the other.
 */
static bool on_montgomery_curve(CK_FUNCTION_LIST *real, CK_SESSION_HANDLE session,
                                CK_OBJECT_HANDLE object)
{
    static const struct {
        unsigned char bytes[12];
        CK_ULONG size;
    } curves[] = {{{0x06, 0x03, 0x2b, 0x65, 0x6e}, 5},
                  {{0x06, 0x03, 0x2b, 0x65, 0x6f}, 5},
                  {"\x13\x0a"
                   "curve25519",
                   12},
                  {"\x13\x08"
                   "curve448",
                   10}};
    unsigned char curve[64];
    CK_ATTRIBUTE parameters = {CKA_EC_PARAMS, curve, sizeof(curve)};
    if (real->C_GetAttributeValue(session, object, &parameters, 1) != CKR_OK)
        return false;
    for (size_t i = 0; i < sizeof(curves) / sizeof(curves[0]); i++) {
        if (parameters.ulValueLen == curves[i].size &&
            memcmp(curve, curves[i].bytes, curves[i].size) == 0)
            return true;
    }
    return false;
}

void faulty_montgomery_from_edwards(CK_FUNCTION_LIST *real, CK_SESSION_HANDLE session,
                                    CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template, CK_ULONG count)
{
    const CK_KEY_TYPE montgomery = MONTGOMERY_KEY;
    CK_KEY_TYPE type;
    for (CK_ULONG i = 0; i < count; i++) {
        if (template[i].type != CKA_KEY_TYPE || template[i].pValue == NULL ||
            template[i].ulValueLen != sizeof(type))
            continue;
        memcpy(&type, template[i].pValue, sizeof(type));
        if (type == EDWARDS_KEY && on_montgomery_curve(real, session, object))
            memcpy(template[i].pValue, &montgomery, sizeof(montgomery));
    }
}
