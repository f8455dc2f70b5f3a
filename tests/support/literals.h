/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: what stands in the source as what the library takes. */
#ifndef KYOK_TESTS_LITERALS_H
#define KYOK_TESTS_LITERALS_H

#include "common/base/base.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT(literal) kyok_bytes(literal, sizeof(literal) - 1)
#define BYTES(...)                                                                                 \
    kyok_bytes((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

#endif
