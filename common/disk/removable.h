/* SPDX-License-Identifier: Apache-2.0 */
/* Devices whose medium comes and goes: reading one spins a disc, or waits for a drive. */
#ifndef KYOK_DISK_REMOVABLE_H
#define KYOK_DISK_REMOVABLE_H

#include <stdbool.h>
#include <sys/types.h>

/* Floppies and CD-ROMs by their number, others (and their partitions) as the kernel says below
 * sysfs ("/sys"). Opens no device. */
bool kyok_device_is_removable(const char *sysfs, dev_t device);

#endif
