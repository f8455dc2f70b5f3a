/* SPDX-License-Identifier: Apache-2.0 */
/* For unit tests of the key layer: a SoftHSM token "unit" that lives as long as the program, and a
 * group "hsm" of kyok.conf over it. */
#ifndef KYOK_TESTS_UNIT_TOKEN_H
#define KYOK_TESTS_UNIT_TOKEN_H

#include "common/key/key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define UNIT_TOKEN_MODULE "/usr/lib/softhsm/libsofthsm2.so"
#define UNIT_TOKEN_PIN "73921846"

/* Fixtures of the group of tests. */
int unit_token_set_up(void **state);
int unit_token_tear_down(void **state);
extern char unit_token_directory[]; /* the tokens are in its tokens/, the PIN in its pin */
extern struct kyok_context *unit_token_context; /* requires keys that are never extractable */

void unit_token_write(const char *name, const char *content);
/* more: lines of the group, and sections after it. */
struct kyok_context *unit_token_context_new(const char *more);

struct kyok_reference *unit_token_reference(const char *text);
struct kyok_key *unit_token_generate(const char *name, enum kyok_key_type type, unsigned bits,
                                     unsigned uses);
/* A kyok_key_visitor; caller: an int. */
bool unit_token_count(void *caller, const struct kyok_key_info *info);

#endif
