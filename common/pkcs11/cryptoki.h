/* SPDX-License-Identifier: Apache-2.0 */
/* The PKCS#11 declarations, from p11-kit's header, and the few 3.0 ones that older p11-kit lacks.
 */
#ifndef KYOK_PKCS11_CRYPTOKI_H
#define KYOK_PKCS11_CRYPTOKI_H

#include <p11-kit/pkcs11.h>

#ifndef CKK_EC_MONTGOMERY
#define CKK_EC_MONTGOMERY (0x41UL)
#endif
#ifndef CKM_EC_MONTGOMERY_KEY_PAIR_GEN
#define CKM_EC_MONTGOMERY_KEY_PAIR_GEN (0x1056UL)
#endif

/* PKCS#11 3.0 2.3.6: what Ed448 needs even without a context. */
struct kyok_eddsa_params {
    CK_BBOOL prehash;
    CK_ULONG context_size;
    CK_BYTE *context;
};

#endif
