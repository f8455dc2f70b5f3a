/* SPDX-License-Identifier: Apache-2.0 */
/*
 * X25519 and X448 over SoftHSM 2.6.1: it makes and uses such keys, but only by the names that
 * Edwards keys have. This translates PKCS#11 3.0's names (CKM_EC_MONTGOMERY_KEY_PAIR_GEN,
 * CKK_EC_MONTGOMERY), so that the faulty HSM is a token that has them; the keys and what is derived
 * are SoftHSM's.
 */
#ifndef KYOK_TESTS_FAULTY_MONTGOMERY_H
#define KYOK_TESTS_FAULTY_MONTGOMERY_H

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

bool faulty_is_montgomery(CK_MECHANISM_TYPE type);
/* The mechanism that SoftHSM makes such a key with. */
CK_MECHANISM_TYPE faulty_edwards_generation(void);
/* In a copy of a template: the key type that SoftHSM takes. */
void faulty_montgomery_to_edwards(CK_ATTRIBUTE *template, CK_ULONG count);
/* In an answer: the key type by the object's curve. */
void faulty_montgomery_from_edwards(CK_FUNCTION_LIST *real, CK_SESSION_HANDLE session,
                                    CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template,
                                    CK_ULONG count);

#endif
