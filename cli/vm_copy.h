/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's block copy of a running VM's disk onto another encrypted disk. */
#ifndef KYOK_CLI_VM_COPY_H
#define KYOK_CLI_VM_COPY_H

#include "cli/disk.h"

/* target: the disk's name in the VM. The new disk has a record that the hook can open, and is
 * closed here: QEMU takes its locks. */
enum kyok_status vm_copy_disk(struct cli *cli, const char *vm, const char *target,
                              struct disk *disk);
/* Ends a copy that a killed run began; its state says nothing. */
void vm_copy_abort(const char *vm, const char *target);

#endif
