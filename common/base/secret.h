/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one type for secret bytes (PINs, unwrapped keys, passphrases): whole pages of its own, locked
 * where the limit allows, left out of core dumps, wiped on free. Never printed; no NUL-string API.
 */
#ifndef KYOK_BASE_SECRET_H
#define KYOK_BASE_SECRET_H

#include "common/base/bytes.h"

struct kyok_secret;

/* size bytes of zeros, or NULL when memory is short. size may be 0. */
struct kyok_secret *kyok_secret_new(size_t size);
struct kyok_secret *kyok_secret_copy(struct kyok_bytes bytes);
uint8_t *kyok_secret_data(struct kyok_secret *secret);
size_t kyok_secret_size(const struct kyok_secret *secret);
struct kyok_bytes kyok_secret_bytes(const struct kyok_secret *secret);
/* Shortens; the cut-off bytes are wiped. size must not exceed the present size. */
void kyok_secret_truncate(struct kyok_secret *secret, size_t size);
/* mlock is not inherited over fork: a child that will keep using an inherited secret locks again.
 * No system call where this process has locked it. */
void kyok_secret_relock(struct kyok_secret *secret);
void kyok_secret_free(struct kyok_secret *secret); /* NULL is allowed */

void kyok_secret_auto_free(struct kyok_secret **secret);
#define KYOK_AUTO_SECRET KYOK_CLEANUP(kyok_secret_auto_free)

/* The process's core-dump and ptrace protection, for programs that hold secrets (kyok, the hook).
 */
void kyok_secret_harden_process(void);

#endif
