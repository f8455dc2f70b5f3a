/* SPDX-License-Identifier: Apache-2.0 */
/* What a shell says to the faulty HSM: return values, times, counts. False: it is none. */
#ifndef KYOK_TESTS_FAULTY_VALUE_H
#define KYOK_TESTS_FAULTY_VALUE_H

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

/* By name, or as a number. */
bool faulty_parse_rv(const char *text, CK_RV *rv);
/* "250us", "1ms", "2s"; a bare number is milliseconds. */
bool faulty_parse_us(const char *text, long *us);
/* Of calls, or "forever". */
bool faulty_parse_times(const char *text, long *times);

#endif
