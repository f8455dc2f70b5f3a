/* SPDX-License-Identifier: Apache-2.0 */
/* The two facts that kyok needs of a qcow2 image (QEMU docs/interop/qcow2.txt, "Header" and "Full
 * disk encryption header pointer"): that it is LUKS-encrypted, and where its LUKS header lies. */
#include "common/disk/volume.h"

#include <string.h>

#define QCOW2_MAGIC 0x514649fbu
#define QCOW2_CRYPT_LUKS 2
#define QCOW2_V2_HEADER 72
#define QCOW2_EXTENSION_END 0
#define QCOW2_EXTENSION_CRYPTO 0x0537be77u

static bool skip(struct kyok_cursor *cursor, size_t size)
{
    struct kyok_bytes ignored;
    return kyok_cursor_take(cursor, size, &ignored);
}

/* Reads the fixed part; leaves the cursor at the first extension. */
static bool read_fixed(struct kyok_bytes head, struct kyok_cursor *cursor, uint32_t *crypt)
{
    uint32_t magic, version, header_size = QCOW2_V2_HEADER;
    *cursor = kyok_cursor(head);
    if (!kyok_cursor_u32(cursor, &magic) || magic != QCOW2_MAGIC ||
        !kyok_cursor_u32(cursor, &version) || version < 2 || version > 3 || !skip(cursor, 24) ||
        !kyok_cursor_u32(cursor, crypt))
        return false;
    if (version == 3) {
        struct kyok_cursor length = kyok_cursor(head);
        if (!skip(&length, 100) || !kyok_cursor_u32(&length, &header_size) || header_size < 104)
            return false;
    }
    *cursor = kyok_cursor(head);
    return skip(cursor, header_size);
}

enum kyok_status kyok_qcow2_luks_offset(struct kyok_bytes head, const char *name, uint64_t *offset,
                                        uint64_t *size, struct kyok_error *err)
{
    struct kyok_cursor cursor;
    uint32_t crypt, type, length;
    if (!read_fixed(head, &cursor, &crypt))
        return kyok_fail(err, KYOK_INVALID, name, "the qcow2 header is broken");
    if (crypt != QCOW2_CRYPT_LUKS)
        return kyok_fail(err, KYOK_INVALID, name, "the qcow2 image is not encrypted with LUKS");
    while (kyok_cursor_u32(&cursor, &type) && kyok_cursor_u32(&cursor, &length)) {
        if (type == QCOW2_EXTENSION_END)
            break;
        if (type == QCOW2_EXTENSION_CRYPTO) {
            if (length != 16 || !kyok_cursor_u64(&cursor, offset) ||
                !kyok_cursor_u64(&cursor, size) || *size < KYOK_LUKS_HEADER_SIZE ||
                *offset > INT64_MAX - (uint64_t)UINT32_MAX)
                break;
            return KYOK_OK;
        }
        if (length > kyok_cursor_left(&cursor) || !skip(&cursor, ((size_t)length + 7) / 8 * 8))
            break;
    }
    return kyok_fail(err, KYOK_INVALID, name,
                     "the qcow2 image does not say where its LUKS header is");
}

/* --- a new, empty image: header, refcount table, refcount block, L1 table, LUKS header area --- */

#define CLUSTER_BITS 16
#define CLUSTER ((uint64_t)1 << CLUSTER_BITS)
#define L2_COVERS (CLUSTER / 8 * CLUSTER)   /* guest bytes per L1 entry */
#define QCOW2_SIZE_MAX ((uint64_t)64 << 40) /* keeps all of the above in one refcount block */
#define REFCOUNT_TABLE 1                    /* clusters */
#define REFCOUNT_BLOCK 2
#define L1_TABLE 3

static void append_number(struct kyok_buffer *buffer, uint64_t value, unsigned bytes)
{
    uint8_t data[8];
    for (unsigned i = 0; i < bytes; i++)
        data[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    kyok_buffer_append(buffer, data, bytes);
}

static uint64_t clusters(uint64_t bytes)
{
    return (bytes + CLUSTER - 1) / CLUSTER;
}

/* Appends zeros up to a cluster's start. */
static bool pad_to(struct kyok_buffer *buffer, uint64_t cluster)
{
    size_t more = (size_t)(cluster * CLUSTER) - buffer->size;
    uint8_t *room = kyok_buffer_reserve(buffer, more);
    if (!room)
        return false;
    memset(room, 0, more);
    buffer->size += more;
    return true;
}

enum kyok_status kyok_qcow2_new(uint64_t size, uint64_t luks_size, struct kyok_buffer *image,
                                uint64_t *luks_offset, struct kyok_error *err)
{
    if (size == 0 || size % KYOK_LUKS_SECTOR || size > QCOW2_SIZE_MAX)
        return kyok_fail(err, KYOK_INVALID, NULL,
                         "a qcow2 image has a size of whole sectors, at most 64 TiB");
    uint64_t l1_entries = (size + L2_COVERS - 1) / L2_COVERS;
    uint64_t luks_cluster = L1_TABLE + clusters(l1_entries * 8);
    uint64_t total = luks_cluster + clusters(luks_size);
    *luks_offset = luks_cluster * CLUSTER;
    const struct {
        uint64_t value;
        unsigned bytes;
    } fields[] = {
        {QCOW2_MAGIC, 4},
        {3, 4}, /* version */
        {0, 8},
        {0, 4}, /* backing file */
        {CLUSTER_BITS, 4},
        {size, 8},
        {QCOW2_CRYPT_LUKS, 4},
        {l1_entries, 4},
        {L1_TABLE * CLUSTER, 8},
        {REFCOUNT_TABLE * CLUSTER, 8},
        {1, 4},
        {0, 4}, /* refcount clusters, snapshots */
        {0, 8},
        {0, 8}, /* snapshots, incompatible */
        {0, 8},
        {0, 8}, /* compatible, autoclear */
        {4, 4},
        {104, 4}, /* 16-bit refcounts, header */
        {QCOW2_EXTENSION_CRYPTO, 4},
        {16, 4},
        {*luks_offset, 8},
        {clusters(luks_size) * CLUSTER, 8},
        {QCOW2_EXTENSION_END, 4},
        {0, 4},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        append_number(image, fields[i].value, fields[i].bytes);
    bool good = pad_to(image, REFCOUNT_TABLE);
    append_number(image, REFCOUNT_BLOCK * CLUSTER, 8);
    good = good && pad_to(image, REFCOUNT_BLOCK);
    for (uint64_t i = 0; i < total; i++)
        append_number(image, 1, 2);
    good = good && pad_to(image, total);
    return good ? KYOK_OK : kyok_fail(err, KYOK_SYSTEM, NULL, "no memory for a qcow2 header");
}
