/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk: LUKS1 volumes (raw, block device, qcow2) and disk records, the envelopes of their
 * passphrases. It reads and writes headers and records and proves passphrases on headers. It never
 * runs a program, never talks to libvirt or QEMU, and never touches a volume's data.
 */
#ifndef KYOK_DISK_H
#define KYOK_DISK_H

#include "common/disk/luks.h"
#include "common/disk/record.h"
#include "common/disk/uuid.h"
#include "common/disk/volume.h"

#endif
