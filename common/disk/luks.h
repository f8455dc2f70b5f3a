/* SPDX-License-Identifier: Apache-2.0 */
/* The LUKS1 header (LUKS On-Disk Format Specification 1.2.3, section 2): the only one QEMU opens.
 */
#ifndef KYOK_DISK_LUKS_H
#define KYOK_DISK_LUKS_H

#include "common/base/base.h"
#include "common/disk/uuid.h"

#define KYOK_LUKS_HEADER_SIZE 592
#define KYOK_LUKS_SLOTS 8
#define KYOK_LUKS_STRIPES 4000 /* QEMU opens no other number */
#define KYOK_LUKS_KEY_MAX 64
#define KYOK_LUKS_DIGEST_SIZE 20
#define KYOK_LUKS_SALT_SIZE 32
#define KYOK_LUKS_SECTOR 512
/* A hostile header may not keep a processor for longer than some ten seconds. */
#define KYOK_LUKS_MAX_ITERATIONS 50000000u

struct kyok_luks_slot {
    bool active;
    uint32_t iterations;
    uint8_t salt[KYOK_LUKS_SALT_SIZE];
    uint32_t offset; /* of the key material, sectors from the header's start */
};

struct kyok_luks {
    char cipher[33], mode[33], hash[33];
    uint32_t payload; /* sectors from the header's start; of no meaning in qcow2 */
    size_t key_size;
    uint8_t digest[KYOK_LUKS_DIGEST_SIZE], digest_salt[KYOK_LUKS_SALT_SIZE];
    uint32_t digest_iterations;
    char uuid[KYOK_UUID_TEXT];
    struct kyok_luks_slot slots[KYOK_LUKS_SLOTS];
};

/* Reads and checks the first KYOK_LUKS_HEADER_SIZE bytes. name is for messages. Fuzzed. */
enum kyok_status kyok_luks_parse(struct kyok_bytes bytes, const char *name, struct kyok_luks *luks,
                                 struct kyok_error *err);
void kyok_luks_write(const struct kyok_luks *luks, uint8_t bytes[KYOK_LUKS_HEADER_SIZE]);
/* Bytes of one slot's key material. */
size_t kyok_luks_material_size(const struct kyok_luks *luks);

/* The volume key out of one slot's key material, checked against the header's digest in constant
 * time. KYOK_REFUSED: this passphrase does not open this slot. */
enum kyok_status kyok_luks_open_slot(const struct kyok_luks *luks, unsigned slot,
                                     struct kyok_bytes passphrase, struct kyok_bytes material,
                                     const char *name, struct kyok_secret **volume_key,
                                     struct kyok_error *err);
/* Key material for one slot, with the salt and iterations that the slot holds. material has
 * kyok_luks_material_size() bytes. */
enum kyok_status kyok_luks_fill_slot(const struct kyok_luks *luks, unsigned slot,
                                     struct kyok_bytes passphrase, struct kyok_bytes volume_key,
                                     uint8_t *material, const char *name, struct kyok_error *err);
/* A new header (aes-xts-plain64, 512-bit key, sha256, given iterations, no active slot) and its
 * volume key. uuid NULL: a random one. */
enum kyok_status kyok_luks_new(struct kyok_luks *luks, const char *uuid, uint32_t iterations,
                               struct kyok_secret **volume_key, struct kyok_error *err);

#endif
