/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faulty HSMs for unit tests: each a copy of its own of the faulty module, of SoftHSM and of
 * SoftHSM's configuration, so that several live in one process. Failures end the test.
 */
#ifndef KYOK_TESTS_FAULTY_MEMBER_H
#define KYOK_TESTS_FAULTY_MEMBER_H

#include "tests/support/faulty_control.h"

#define FAULTY_MEMBER_PIN "73921846"

/* Runs a shell command, which must succeed. */
void faulty_member_shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The module's path; false: it is not installed. */
bool faulty_member_softhsm(char *path, size_t size);
/* DIRECTORY/NAME.so in front of tokens in DIRECTORY/NAME, steered by what is returned. NULL:
 * SoftHSM is not installed. */
struct faulty_control *faulty_member_make(const char *directory, const char *name);
/* A token "member" of that HSM, and its PIN in DIRECTORY/pin. */
void faulty_member_token(const char *directory, const char *name);

#endif
