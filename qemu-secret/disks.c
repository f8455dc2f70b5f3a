/* SPDX-License-Identifier: Apache-2.0 */
#include "qemu-secret/qemu_secret.h"

#include <string.h>

static enum kyok_status find_copies(const struct disk *disk, const struct kyok_volume *volume,
                                    struct kyok_record_copies *copies, struct kyok_error *err)
{
    if (disk->record)
        KYOK_TRY(kyok_record_copies_read(copies, disk->record, err));
    KYOK_TRY(kyok_record_copies_find(copies, volume->block_device ? NULL : disk->image,
                                     volume->luks.uuid, err));
    if (copies->count > 0)
        return KYOK_OK;
    kyok_fail(err, KYOK_NOT_FOUND, disk->image, "the disk has no record");
    return kyok_remedy(err, "expected %s.kyok, %s/%s.kyok, or --record %s=FILE", disk->image,
                       KYOK_RECORD_STORE, volume->luks.uuid, disk->id);
}

static enum kyok_status open_disk(struct kyok_context *context, const struct options *options,
                                  struct disk *disk, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_volume_close) struct kyok_volume volume = {.fd = -1};
    KYOK_CLEANUP(kyok_record_copies_free) struct kyok_record_copies copies = {.count = 0};
    KYOK_CLEANUP(kyok_record_opened_free) struct kyok_record_opened opened = {0};
    KYOK_TRY(kyok_volume_open(disk->image, KYOK_VOLUME_READ, &volume, err));
    disk->format = volume.format;
    disk->block_device = volume.block_device;
    if (options->kmip)
        return kyok_record_fetch(context, options->kmip, &volume, &disk->passphrase, err);
    KYOK_TRY(find_copies(disk, &volume, &copies, err));
    const struct kyok_record_binding binding = {.luks_uuid = volume.luks.uuid,
                                                .vm_uuid = options->vm};
    KYOK_TRY(
        kyok_record_open(context, &copies, &binding, &volume, options->timeout_ms, &opened, err));
    disk->passphrase = opened.passphrase;
    opened.passphrase = NULL;
    return KYOK_OK;
}

enum kyok_status disks_open(struct options *options, struct kyok_error *err)
{
    struct kyok_config *config = NULL;
    struct kyok_context *context = NULL;
    KYOK_TRY(kyok_config_load(options->config, &config, err));
    KYOK_TRY(kyok_context_new(config, &context, err));
    enum kyok_status status = KYOK_OK;
    for (size_t i = 0; i < options->disk_count && status == KYOK_OK; i++)
        status = open_disk(context, options, &options->disks[i], err);
    kyok_context_free(context);
    return status;
}

void disks_close(struct options *options)
{
    for (size_t i = 0; i < options->disk_count; i++) {
        kyok_secret_free(options->disks[i].passphrase);
        options->disks[i].passphrase = NULL;
    }
}
