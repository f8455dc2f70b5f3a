/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key slots of a disk that a running QEMU has open: QEMU alone may write its header then, and does
 * so when QMP's x-blockdev-amend tells it (QEMU 7.2 to 10 under that name).
 */
#ifndef KYOK_CLI_DISK_LIVE_H
#define KYOK_CLI_DISK_LIVE_H

#include "cli/disk.h"

/* A VM of libvirt's, and its name for the disk. */
struct live_vm {
    char uuid[KYOK_UUID_TEXT]; /* "": none */
    char target[64];
};

/* The VM that has the image (an absolute path) as a disk. all: also those that are off; it is an
 * error then when libvirt does not answer. KYOK_BUSY: two of them. */
enum kyok_status live_vm_find(const char *image, bool all, struct live_vm *vm,
                              struct kyok_error *err);

/* Opens IMAGE for changing key slots: by kyok itself, or, when a VM of libvirt's has it open or
 * --qmp names a QEMU that has, through that QEMU; disk->live is not NULL then. */
enum kyok_status live_disk_open(struct cli *cli, const char *image, struct disk *disk);

/* Waits for what a run before, which was killed, told QEMU to do, and reads the header anew. */
enum kyok_status live_settle(struct cli *cli, struct disk *disk);

/* Adds a slot for fresh. old opens the volume. QEMU stops the guest's I/O for a second or two while
 * it measures the processor. */
enum kyok_status live_add_slot(struct cli *cli, const struct disk *disk, struct kyok_bytes old,
                               struct kyok_bytes fresh);
enum kyok_status live_erase_slot(struct cli *cli, const struct disk *disk, unsigned slot);

#define LIVE_OPTION                                                                                \
    {                                                                                              \
        .name = "--qmp", .argument = "SOCKET",                                                     \
        .summary = "the QEMU behind this QMP socket has the disk open (one without libvirt)"       \
    }

#endif
