/* SPDX-License-Identifier: Apache-2.0 */
/* Where a PIN comes from: "file:PATH" (also a bare absolute path), "credential:NAME" (systemd),
 * "fd:N", or p11-kit's registered callbacks for anything else. */
#ifndef KYOK_CONFIG_PIN_SOURCE_H
#define KYOK_CONFIG_PIN_SOURCE_H

#include "common/base/base.h"

/* Checks the form only. */
enum kyok_status kyok_pin_source_check(const char *source, struct kyok_error *err);
/* Reads it now: a trailing newline is cut; a file must be a regular file that only its owner can
 * read and that belongs to root or the effective user; "fd:N" is read once and kept (in locked
 * memory) for later calls. An error never holds any of the content. */
enum kyok_status kyok_pin_source_read(const char *source, struct kyok_secret **pin,
                                      struct kyok_error *err);
/* Reads every given source now and keeps the values, for processes that drop privileges: a later
 * kyok_pin_source_read() that fails with EACCES/ENOENT falls back to the kept value, which children
 * inherit. Reading again renews it. */
enum kyok_status kyok_pin_source_keep(const char *source, struct kyok_error *err);
/* True when this process can have nothing but the kept value: a PIN that was corrected at its
 * source does not reach it. */
bool kyok_pin_source_only_kept(const char *source);

#endif
