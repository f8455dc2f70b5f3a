/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's folder of stored secrets, while a memory file system with preloaded ones covers it. It
 * never loses a secret that somebody else stored: what is on disk is replaced file by file, and the
 * cover goes only when all of it is there. */
#ifndef KYOK_HOOK_STAGING_H
#define KYOK_HOOK_STAGING_H

#include "common/base/base.h"

#include <stdbool.h>

#define STAGING HOOK_RUN "/secrets"

/* A memory file system at STAGING with a copy of what is stored. */
enum kyok_status staging_make(struct kyok_error *err);
/* Lays it over libvirt's folder, and HOOK_PRELOADED before. */
enum kyok_status staging_expose(struct kyok_error *err);
/* Writes a new file there. */
bool staging_write(const char *name, const char *suffix, struct kyok_bytes bytes);
bool staging_exists(void);
/* Carries what was stored, changed or removed meanwhile to the disk, then uncovers it. On failure
 * everything stays as it was. A second call goes on where one was killed. */
enum kyok_status staging_withdraw(struct kyok_error *err);
/* Of one that was never exposed. */
void staging_discard(void);

#endif
