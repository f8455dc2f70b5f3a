/* SPDX-License-Identifier: Apache-2.0 */
/* Writing every copy of a record: the file, and the metadata of VMs that hold one. */
#ifndef KYOK_CLI_DISK_HOLDERS_H
#define KYOK_CLI_DISK_HOLDERS_H

#include "cli/disk.h"

#define HOLDERS_MAX 256

/* VMs of this host whose metadata has a copy of the disk's record. */
struct holders {
    char vms[HOLDERS_MAX][KYOK_UUID_TEXT];
    size_t count;
    bool own_only; /* pass over VMs that have the record with a copy of the image */
};

/* Without virsh, or with --files-only, there are none. A managed save or a snapshot that holds a
 * copy cannot be updated: refused, naming it; and so is a VM that has the record with another
 * image, a copy of this one. */
enum kyok_status holders_find(struct cli *cli, const struct disk *disk, struct holders *holders);
/* A passphrase that libvirt holds for the disk would no longer be right. */
enum kyok_status holders_refuse_held(struct cli *cli, const struct disk *disk);
/* Writes json as the pending copy, or as the copy, everywhere. The file comes first. */
enum kyok_status holders_write(struct cli *cli, const struct disk *disk,
                               const struct holders *holders, bool pending, struct kyok_bytes json);
/* Removes the pending copies, which open nothing; those of metadata as far as libvirt answers. */
enum kyok_status holders_drop_pending(struct cli *cli, const struct disk *disk,
                                      const struct holders *holders);
/* The pending copies become the copies. json: what they hold. */
enum kyok_status holders_commit(struct cli *cli, const struct disk *disk,
                                const struct holders *holders, struct kyok_bytes json);

#define HOLDERS_OPTION                                                                             \
    {                                                                                              \
        .name = "--files-only",                                                                    \
        .summary = "do not look for copies in the metadata of libvirt's VMs"                       \
    }

#endif
