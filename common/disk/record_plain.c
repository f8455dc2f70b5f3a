/* SPDX-License-Identifier: Apache-2.0 */
/* Disks without a record: a KMIP server keeps the passphrase under the disk's LUKS UUID. */
#include "common/disk/record.h"

#include <stdio.h>

#define AES_BYTES 32

static enum kyok_status parse_reference(const char *group, const char *luks_uuid,
                                        struct kyok_reference **reference, struct kyok_error *err)
{
    char text[256];
    int size = snprintf(text, sizeof(text), "kmip://%s?name=%s", group, luks_uuid);
    if (size < 0 || (size_t)size >= sizeof(text))
        return kyok_fail(err, KYOK_INVALID, group, "the KMIP group's name is too long");
    return kyok_reference_parse(text, KYOK_FROM_DATA, NULL, reference, err);
}

/* An AES key's bytes are no text, which QEMU wants: its passphrase is their hexadecimal form. */
static enum kyok_status as_text(const struct kyok_key *key, struct kyok_secret **value,
                                struct kyok_error *err)
{
    char hex[2 * AES_BYTES + 1];
    if (kyok_key_info(key)->type != KYOK_KEY_AES)
        return KYOK_OK;
    if (kyok_secret_size(*value) != AES_BYTES)
        return kyok_fail(err, KYOK_UNSUPPORTED, kyok_key_info(key)->reference,
                         "a disk's AES key has 256 bits");
    kyok_hex_encode(kyok_secret_bytes(*value), hex);
    kyok_secret_free(*value);
    *value = kyok_secret_copy(kyok_bytes(hex, sizeof(hex) - 1));
    kyok_wipe(hex, sizeof(hex));
    return *value ? KYOK_OK : kyok_fail(err, KYOK_SYSTEM, NULL, "no memory for a passphrase");
}

static enum kyok_status value_of(struct kyok_key *key, struct kyok_secret **passphrase,
                                 struct kyok_error *err)
{
    KYOK_AUTO_SECRET struct kyok_secret *value = NULL;
    KYOK_TRY(kyok_key_value(key, &value, err));
    KYOK_TRY(as_text(key, &value, err));
    *passphrase = value;
    value = NULL;
    return KYOK_OK;
}

enum kyok_status kyok_record_fetch(struct kyok_context *context, const char *kmip_group,
                                   const struct kyok_volume *volume,
                                   struct kyok_secret **passphrase, struct kyok_error *err)
{
    struct kyok_reference *reference = NULL;
    struct kyok_key *key = NULL;
    KYOK_AUTO_SECRET struct kyok_secret *found = NULL;
    KYOK_TRY(parse_reference(kmip_group, volume->luks.uuid, &reference, err));
    enum kyok_status status = kyok_key_open(context, reference, kyok_bytes(NULL, 0), &key, err);
    kyok_reference_free(reference);
    KYOK_TRY(status);
    status = value_of(key, &found, err);
    kyok_key_free(key);
    KYOK_TRY(status);
    KYOK_TRY(kyok_volume_unlock(volume, kyok_secret_bytes(found), NULL, NULL, err));
    *passphrase = found;
    found = NULL;
    return KYOK_OK;
}

static enum kyok_status generate(struct kyok_context *context,
                                 const struct kyok_reference *reference,
                                 struct kyok_secret **passphrase, struct kyok_error *err)
{
    struct kyok_key *key = NULL;
    const struct kyok_generate_request request = {.type = KYOK_KEY_AES, .bits = 8 * AES_BYTES};
    KYOK_TRY(kyok_key_generate(context, reference, &request, &key, err));
    enum kyok_status status = value_of(key, passphrase, err);
    kyok_key_free(key);
    return status;
}

/* The smallest servers have no Register: they make an AES key instead. */
enum kyok_status kyok_record_make_plain(struct kyok_context *context, const char *kmip_group,
                                        const char *luks_uuid, struct kyok_secret **passphrase,
                                        struct kyok_error *err)
{
    struct kyok_reference *reference = NULL;
    KYOK_AUTO_SECRET struct kyok_secret *made = NULL;
    KYOK_TRY(kyok_passphrase_new(&made, err));
    KYOK_TRY(parse_reference(kmip_group, luks_uuid, &reference, err));
    enum kyok_status status =
        kyok_key_register_secret(context, reference, kyok_secret_bytes(made), err);
    if (status == KYOK_OK) {
        *passphrase = made;
        made = NULL;
    } else if (status == KYOK_UNSUPPORTED) {
        status = generate(context, reference, passphrase, err);
    }
    kyok_reference_free(reference);
    return status;
}
