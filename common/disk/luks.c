/* SPDX-License-Identifier: Apache-2.0 */
/* The header's bytes: parser and writer side by side. */
#include "common/disk/luks.h"

#include <string.h>

#define LUKS_VERSION 1
#define SLOT_ENABLED 0x00ac71f3u
#define SLOT_DISABLED 0x0000deadu
#define KEY_MATERIAL_MAX_SECTOR (1u << 20) /* 512 MiB: far beyond any real header */

static const uint8_t luks_magic[6] = {'L', 'U', 'K', 'S', 0xba, 0xbe};

/* A NUL-padded text of a fixed field; false when nothing ends it or a byte is no printable ASCII.
 */
static bool read_text(struct kyok_cursor *cursor, size_t field, char *text)
{
    struct kyok_bytes taken;
    if (!kyok_cursor_take(cursor, field, &taken) || !memchr(taken.data, 0, field))
        return false;
    for (size_t i = 0; taken.data[i]; i++)
        if (taken.data[i] <= ' ' || taken.data[i] > '~')
            return false;
    memcpy(text, taken.data, strlen((const char *)taken.data) + 1);
    return true;
}

static bool read_array(struct kyok_cursor *cursor, uint8_t *data, size_t size)
{
    struct kyok_bytes taken;
    if (!kyok_cursor_take(cursor, size, &taken))
        return false;
    memcpy(data, taken.data, size);
    return true;
}

size_t kyok_luks_material_size(const struct kyok_luks *luks)
{
    return luks->key_size * KYOK_LUKS_STRIPES;
}

static uint32_t material_sectors(const struct kyok_luks *luks)
{
    return (uint32_t)((kyok_luks_material_size(luks) + KYOK_LUKS_SECTOR - 1) / KYOK_LUKS_SECTOR);
}

static enum kyok_status read_slot(struct kyok_cursor *cursor, const char *name, unsigned index,
                                  struct kyok_luks *luks, struct kyok_error *err)
{
    struct kyok_luks_slot *slot = &luks->slots[index];
    uint32_t state, stripes;
    if (!kyok_cursor_u32(cursor, &state) || !kyok_cursor_u32(cursor, &slot->iterations) ||
        !read_array(cursor, slot->salt, sizeof(slot->salt)) ||
        !kyok_cursor_u32(cursor, &slot->offset) || !kyok_cursor_u32(cursor, &stripes))
        return kyok_fail(err, KYOK_INVALID, name, "the LUKS header is cut short");
    if (state != SLOT_ENABLED && state != SLOT_DISABLED)
        return kyok_fail(err, KYOK_INVALID, name, "LUKS key slot %u is neither on nor off", index);
    slot->active = state == SLOT_ENABLED;
    if (stripes != KYOK_LUKS_STRIPES)
        return kyok_fail(err, KYOK_INVALID, name, "LUKS key slot %u has %u stripes, not %u", index,
                         stripes, KYOK_LUKS_STRIPES);
    if (slot->offset * (uint64_t)KYOK_LUKS_SECTOR < KYOK_LUKS_HEADER_SIZE ||
        slot->offset > KEY_MATERIAL_MAX_SECTOR)
        return kyok_fail(err, KYOK_INVALID, name, "LUKS key slot %u lies outside the header",
                         index);
    if (slot->active && (slot->iterations == 0 || slot->iterations > KYOK_LUKS_MAX_ITERATIONS))
        return kyok_fail(err, KYOK_INVALID, name, "LUKS key slot %u asks for %u iterations", index,
                         slot->iterations);
    return KYOK_OK;
}

static enum kyok_status check_overlap(const struct kyok_luks *luks, const char *name,
                                      struct kyok_error *err)
{
    uint32_t sectors = material_sectors(luks);
    for (unsigned i = 0; i < KYOK_LUKS_SLOTS; i++)
        for (unsigned j = i + 1; j < KYOK_LUKS_SLOTS; j++) {
            uint32_t a = luks->slots[i].offset, b = luks->slots[j].offset;
            if (a < b + sectors && b < a + sectors)
                return kyok_fail(err, KYOK_INVALID, name, "LUKS key slots %u and %u overlap", i, j);
        }
    return KYOK_OK;
}

static enum kyok_status read_names(struct kyok_cursor *cursor, const char *name,
                                   struct kyok_luks *luks, struct kyok_error *err)
{
    uint16_t version;
    struct kyok_bytes magic;
    if (!kyok_cursor_take(cursor, sizeof(luks_magic), &magic) || !kyok_cursor_u16(cursor, &version))
        return kyok_fail(err, KYOK_INVALID, name, "the LUKS header is cut short");
    if (memcmp(magic.data, luks_magic, sizeof(luks_magic)) != 0)
        return kyok_fail(err, KYOK_INVALID, name, "there is no LUKS header");
    if (version != LUKS_VERSION) {
        kyok_fail(err, KYOK_UNSUPPORTED, name, "the volume is LUKS%u", version);
        return kyok_remedy(err,
                           "QEMU opens LUKS1 only: make it with kyok disk create, or cryptsetup "
                           "--type luks1");
    }
    if (!read_text(cursor, 32, luks->cipher) || !read_text(cursor, 32, luks->mode) ||
        !read_text(cursor, 32, luks->hash))
        return kyok_fail(err, KYOK_INVALID, name, "the LUKS header names no proper cipher or hash");
    return KYOK_OK;
}

static enum kyok_status read_key_fields(struct kyok_cursor *cursor, const char *name,
                                        struct kyok_luks *luks, struct kyok_error *err)
{
    uint32_t key_size;
    char uuid[40];
    if (!kyok_cursor_u32(cursor, &luks->payload) || !kyok_cursor_u32(cursor, &key_size) ||
        !read_array(cursor, luks->digest, sizeof(luks->digest)) ||
        !read_array(cursor, luks->digest_salt, sizeof(luks->digest_salt)) ||
        !kyok_cursor_u32(cursor, &luks->digest_iterations))
        return kyok_fail(err, KYOK_INVALID, name, "the LUKS header is cut short");
    if (key_size != 16 && key_size != 32 && key_size != 64)
        return kyok_fail(err, KYOK_INVALID, name, "the LUKS header has a key of %u bytes",
                         key_size);
    luks->key_size = key_size;
    if (luks->digest_iterations == 0 || luks->digest_iterations > KYOK_LUKS_MAX_ITERATIONS)
        return kyok_fail(err, KYOK_INVALID, name, "the LUKS header asks for %u iterations",
                         luks->digest_iterations);
    if (!read_text(cursor, sizeof(uuid), uuid) || !kyok_uuid_canonical(uuid, luks->uuid))
        return kyok_fail(err, KYOK_INVALID, name, "the LUKS header has no proper UUID");
    return KYOK_OK;
}

enum kyok_status kyok_luks_parse(struct kyok_bytes bytes, const char *name, struct kyok_luks *luks,
                                 struct kyok_error *err)
{
    struct kyok_cursor cursor = kyok_cursor(bytes);
    *luks = (struct kyok_luks){0};
    KYOK_TRY(read_names(&cursor, name, luks, err));
    KYOK_TRY(read_key_fields(&cursor, name, luks, err));
    for (unsigned i = 0; i < KYOK_LUKS_SLOTS; i++)
        KYOK_TRY(read_slot(&cursor, name, i, luks, err));
    return check_overlap(luks, name, err);
}

static uint8_t *put_bytes(uint8_t *at, const void *data, size_t size)
{
    memcpy(at, data, size);
    return at + size;
}

static uint8_t *put_u32(uint8_t *at, uint32_t value)
{
    uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                        (uint8_t)value};
    return put_bytes(at, bytes, sizeof(bytes));
}

void kyok_luks_write(const struct kyok_luks *luks, uint8_t bytes[KYOK_LUKS_HEADER_SIZE])
{
    memset(bytes, 0, KYOK_LUKS_HEADER_SIZE);
    uint8_t *at = put_bytes(bytes, luks_magic, sizeof(luks_magic));
    *at++ = 0;
    *at++ = LUKS_VERSION;
    at = put_bytes(at, luks->cipher, 32);
    at = put_bytes(at, luks->mode, 32);
    at = put_bytes(at, luks->hash, 32);
    at = put_u32(at, luks->payload);
    at = put_u32(at, (uint32_t)luks->key_size);
    at = put_bytes(at, luks->digest, sizeof(luks->digest));
    at = put_bytes(at, luks->digest_salt, sizeof(luks->digest_salt));
    at = put_u32(at, luks->digest_iterations);
    put_bytes(at, luks->uuid, KYOK_UUID_TEXT);
    at += 40;
    for (unsigned i = 0; i < KYOK_LUKS_SLOTS; i++) {
        const struct kyok_luks_slot *slot = &luks->slots[i];
        at = put_u32(at, slot->active ? SLOT_ENABLED : SLOT_DISABLED);
        at = put_u32(at, slot->iterations);
        at = put_bytes(at, slot->salt, sizeof(slot->salt));
        at = put_u32(at, slot->offset);
        at = put_u32(at, KYOK_LUKS_STRIPES);
    }
}
