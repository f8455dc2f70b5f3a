/* SPDX-License-Identifier: Apache-2.0 */
/* What block devices need beyond files: QEMU's locks do not hold there, and a record in the store
 * belongs to every device with its LUKS UUID. */
#ifndef KYOK_CLI_DISK_DEVICE_H
#define KYOK_CLI_DISK_DEVICE_H

#include "cli/disk.h"

/* KYOK_BUSY when a QEMU of this host, libvirt's or not, has the block device open. Locks belong to
 * device nodes, and libvirt gives QEMU nodes of its own: so the kernel is asked. */
enum kyok_status device_refuse_users(struct cli *cli, const struct disk *disk);
/* The same of a device that is open as fd, encrypted or not. */
enum kyok_status device_refuse_openers(struct cli *cli, int fd, const char *device);
/* A snapshot or copy on another block device has the same UUID and so the same record: one that is
 * re-keyed would leave the other without any. The parts of one device-mapper device are one. */
enum kyok_status device_refuse_clones(struct cli *cli, const struct disk *disk);

#endif
