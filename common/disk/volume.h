/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A volume on disk: a raw file or block device that begins with a LUKS1 header, or a qcow2 image
 * whose header extension points to one. Only the header's area is ever written.
 */
#ifndef KYOK_DISK_VOLUME_H
#define KYOK_DISK_VOLUME_H

#include "common/disk/luks.h"

enum kyok_volume_format { KYOK_VOLUME_RAW, KYOK_VOLUME_QCOW2 };

/* Iterations for a passphrase of 256 random bits, to which derivation adds nothing: what QEMU and
 * cryptsetup take at least. */
#define KYOK_VOLUME_ITERATIONS 1000u

struct kyok_volume {
    int fd;
    char *path;
    enum kyok_volume_format format;
    bool block_device;
    uint64_t start; /* of the LUKS header in the file */
    struct kyok_luks luks;
};

enum kyok_volume_access {
    KYOK_VOLUME_READ,
    /* As READ, of a path that a VM's XML gave: KYOK_REFUSED, and nothing is opened, for a device
     * with a removable medium. */
    KYOK_VOLUME_LOOK,
    /* Takes QEMU's image locks for as long as it is open: KYOK_BUSY while a VM or tool has it. */
    KYOK_VOLUME_WRITE,
    /* For a record's change, and a volume that QEMU has open and writes for kyok: keeps other runs
     * of kyok away alone. */
    KYOK_VOLUME_BESIDE_QEMU,
};

/* Opens a regular file or block device and reads its header. KYOK_NOT_FOUND: no such file;
 * KYOK_INVALID: not encrypted, or broken. Never waits on a FIFO or device. */
enum kyok_status kyok_volume_open(const char *path, enum kyok_volume_access access,
                                  struct kyok_volume *volume, struct kyok_error *err);
/* Opens nothing: {.fd = -1} and all of it may be closed again. For KYOK_CLEANUP. */
void kyok_volume_close(struct kyok_volume *volume);

/* Finds the slot that passphrase opens. slot and volume_key may be NULL. KYOK_REFUSED: none. */
enum kyok_status kyok_volume_unlock(const struct kyok_volume *volume, struct kyok_bytes passphrase,
                                    unsigned *slot, struct kyok_secret **volume_key,
                                    struct kyok_error *err);
/* Writes passphrase into a free slot and syncs: key material first, the header's mark last. */
enum kyok_status kyok_volume_add_slot(struct kyok_volume *volume, struct kyok_bytes volume_key,
                                      struct kyok_bytes passphrase, unsigned *slot,
                                      struct kyok_error *err);
/* Overwrites a slot's material, then clears its mark; refuses the last active one. */
enum kyok_status kyok_volume_erase_slot(struct kyok_volume *volume, unsigned slot,
                                        struct kyok_error *err);
/* Overwrites the key material of every slot that is not in use: what an interrupted erasure left.
 */
enum kyok_status kyok_volume_scrub_free_slots(struct kyok_volume *volume, struct kyok_error *err);
unsigned kyok_volume_active_slots(const struct kyok_volume *volume);

/* Writes a new volume with one key slot to fd (an empty file, or for raw a block device), syncs,
 * and gives its header in *luks. size: bytes for the guest; of no meaning for a block device. */
enum kyok_status kyok_volume_create(int fd, const char *path, enum kyok_volume_format format,
                                    uint64_t size, struct kyok_bytes passphrase,
                                    struct kyok_luks *luks, struct kyok_error *err);

/* Where a qcow2 image's encryption header lies, from the image's first bytes. Fuzzed. */
enum kyok_status kyok_qcow2_luks_offset(struct kyok_bytes head, const char *name, uint64_t *offset,
                                        uint64_t *size, struct kyok_error *err);
#define KYOK_QCOW2_HEAD ((size_t)64 << 10)
/* An empty image of 64 KiB clusters, with luks_size bytes of zeros reserved for its LUKS header. */
enum kyok_status kyok_qcow2_new(uint64_t size, uint64_t luks_size, struct kyok_buffer *image,
                                uint64_t *luks_offset, struct kyok_error *err);

/* 64 lower-case hexadecimal digits of 32 random bytes: QEMU refuses what is not UTF-8. */
enum kyok_status kyok_passphrase_new(struct kyok_secret **passphrase, struct kyok_error *err);

#endif
