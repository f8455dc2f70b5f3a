/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What some HSM products lack, as their public documentation has it, laid over SoftHSM: mechanisms
 * outside a list, functions that answer CKR_FUNCTION_NOT_SUPPORTED, attributes that are not known.
 * It adds nothing: a profile is never more than SoftHSM can do.
 */
#ifndef KYOK_TESTS_FAULTY_PROFILE_H
#define KYOK_TESTS_FAULTY_PROFILE_H

#include "tests/support/faulty_control.h"

struct faulty_mechanism {
    CK_MECHANISM_TYPE type;
    CK_FLAGS flags; /* CKF_SIGN, ...: the uses that the product offers it for; 0: all */
};

struct faulty_profile {
    const char *name;
    const char *source;                        /* where the facts are from */
    const struct faulty_mechanism *mechanisms; /* ends with CK_UNAVAILABLE_INFORMATION; NULL: all */
    const enum faulty_function *missing;       /* ends with FAULTY_FUNCTION_COUNT; NULL: none */
    const CK_ATTRIBUTE_TYPE *unknown; /* ends with CK_UNAVAILABLE_INFORMATION; NULL: none */
    /* A vendor's own attribute, without which generation is CKR_TEMPLATE_INCOMPLETE; 0: none. */
    CK_ATTRIBUTE_TYPE generation_needs;
};

extern const struct faulty_profile faulty_profiles[]; /* [0]: none; ends with a name of NULL */

/* -1 when there is none of that name. */
int faulty_profile_by_name(const char *name);
bool faulty_profile_has_mechanism(const struct faulty_profile *profile, CK_MECHANISM_TYPE type,
                                  CK_FLAGS use);
bool faulty_profile_lacks(const struct faulty_profile *profile, enum faulty_function function);
bool faulty_profile_knows(const struct faulty_profile *profile, CK_ATTRIBUTE_TYPE type);

#endif
