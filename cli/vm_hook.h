/* SPDX-License-Identifier: Apache-2.0 */
/* The hook on an administrator's behalf: libvirt gets a secret for as long as it needs one. */
#ifndef KYOK_CLI_VM_HOOK_H
#define KYOK_CLI_VM_HOOK_H

#include "cli/disk.h"

/* Runs the hook with the domain's XML; operation: "unlock" or "lock". */
enum kyok_status vm_hook(const char *vm, const char *operation, const char *xml,
                         struct kyok_error *err);
/* Gives libvirt the secret of one disk of the VM's for a moment, or takes it back. */
enum kyok_status vm_hook_disk(const char *vm, const char *uuid, bool plug, const char *disk,
                              struct kyok_error *err);
/* The disk's element, with this name in the VM; NUL-terminated. */
bool vm_disk_xml(const struct disk *disk, const char *target, struct kyok_buffer *xml);
/* Text in a new file, which the caller removes. */
enum kyok_status vm_temporary(const char *text, char path[64], struct kyok_error *err);

#endif
