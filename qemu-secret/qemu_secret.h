/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qemu-secret: runs a program of QEMU's with the passphrases of encrypted disks at hand, or gives
 * them to a running QEMU. It opens records through libkyok and hands passphrases on by descriptor,
 * kernel key or QMP; it never writes one to a file, an argument or the environment, and needs no
 * libvirt.
 */
#ifndef KYOK_QEMU_SECRET_H
#define KYOK_QEMU_SECRET_H

#include "common/disk/disk.h"

#define QEMU_SECRET_MAX_DISKS 64

struct disk {
    const char *id;     /* "@ID@" in the command */
    const char *image;  /* NULL for a record without one (a vTPM's) */
    const char *record; /* a file, besides what lies beside the image */
    struct kyok_secret *passphrase;
    enum kyok_volume_format format;
    bool block_device;
    int32_t serial; /* in the kernel's keyring */
    bool used;
};

enum way { WAY_PIPE, WAY_MEMFD, WAY_KEYRING, WAY_QMP };

struct options {
    enum way way;
    struct disk disks[QEMU_SECRET_MAX_DISKS];
    size_t disk_count;
    const char *config, *vm, *qmp, *device, *kmip;
    unsigned timeout_ms, key_seconds;
    char **command;
};

/* Opens every disk's record, with one login per custodian. */
enum kyok_status disks_open(struct options *options, struct kyok_error *err);
void disks_close(struct options *options);

/* Replaces each @ID@ in the command: /dev/fd/N with a descriptor of its own for each place, or the
 * kernel key's serial. A disk that no argument names is an error. The command's texts are new. */
enum kyok_status command_substitute(struct options *options, struct kyok_error *err);

/* Puts the passphrase in the user keyring, readable by this user, for a number of seconds. */
enum kyok_status keyring_add(struct disk *disk, unsigned seconds, struct kyok_error *err);

/* Gives a running QEMU the secret, the image as a block node named ID, and the device that
 * options->device describes ("virtio-blk-pci,bus=rp1"), if any. */
enum kyok_status qmp_add_disk(const struct options *options, struct disk *disk,
                              struct kyok_error *err);

#endif
