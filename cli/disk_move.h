/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reencrypt --to: a disk's data onto a new disk, which has a volume key of its own; while its VM
 * runs (libvirt's block copy) or is off. The old disk is left as it is.
 */
#ifndef KYOK_CLI_DISK_MOVE_H
#define KYOK_CLI_DISK_MOVE_H

#include "cli/disk_holders.h"

enum kyok_status disk_move(struct cli *cli, const char *image, const char *to);

/* Bytes of the guest's disk. A qcow2 image with a backing file or snapshots is refused. */
enum kyok_status disk_guest_size(struct cli *cli, const struct disk *disk, uint64_t *size);
/* qemu-img convert from one open volume to another, without QEMU's locks, which this process has.
 */
enum kyok_status disk_copy_data(struct cli *cli, const struct kyok_volume *from,
                                struct kyok_bytes old, const struct kyok_volume *to,
                                struct kyok_bytes fresh);

#endif
