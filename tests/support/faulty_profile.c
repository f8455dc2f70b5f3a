/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/faulty_profile.h"

#include <string.h>

const struct faulty_profile faulty_profiles[] = {{.name = "none", .source = ""}, {.name = NULL}};

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
