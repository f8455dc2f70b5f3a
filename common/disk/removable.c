/* SPDX-License-Identifier: Apache-2.0 */
#include "common/disk/removable.h"

#include <limits.h>
#include <stdio.h>
#include <sys/sysmacros.h>

/* Documentation/admin-guide/devices.txt of Linux: these drives are there also when no driver is
 * loaded that sysfs would tell of, and opening would load it. */
enum { MAJOR_FLOPPY = 2, MAJOR_SCSI_CDROM = 11 };

/* A partition's folder lies in its disk's, which has the file. */
static const char *const places[] = {"", "/.."};

bool kyok_device_is_removable(const char *sysfs, dev_t device)
{
    if (major(device) == MAJOR_FLOPPY || major(device) == MAJOR_SCSI_CDROM)
        return true;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "%s/dev/block/%u:%u%s/removable", sysfs, major(device),
                 minor(device), places[i]);
        FILE *file = fopen(path, "re");
        int flag = file ? fgetc(file) : EOF;
        if (file)
            fclose(file);
        if (flag != EOF)
            return flag == '1';
    }
    return false;
}
