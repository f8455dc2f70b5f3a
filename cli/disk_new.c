/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/disk_new.h"
#include "cli/disk_device.h"
#include "cli/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void disk_new_end(struct disk_new *made)
{
    if (made->fd >= 0)
        close(made->fd);
    if (made->temporary[0])
        unlink(made->temporary);
    disk_close(&made->disk);
}

enum kyok_status disk_new_path(struct cli *cli, const char *given, char path[PATH_MAX])
{
    char folder[PATH_MAX];
    KYOK_AUTO_FREE char *first = strdup(given);
    KYOK_AUTO_FREE char *second = strdup(given);
    if (!first || !second || !realpath(dirname(first), folder))
        return kyok_fail_errno(&cli->error, given, "the image's folder cannot be found");
    int size =
        snprintf(path, PATH_MAX, "%s/%s", strcmp(folder, "/") ? folder : "", basename(second));
    return size > 0 && size < PATH_MAX - 16
               ? KYOK_OK
               : kyok_fail(&cli->error, KYOK_INVALID, given, "the path is too long");
}

/* A device that holds something is not overwritten unasked. */
static enum kyok_status open_device(struct cli *cli, struct disk_new *made)
{
    static uint8_t start[1 << 20];
    made->fd = open(made->image, O_RDWR | O_EXCL | O_CLOEXEC);
    if (made->fd < 0)
        return kyok_fail_errno(&cli->error, made->image, "the device cannot be opened");
    /* QEMU does not open a device for itself alone, and a VM that is off has nothing open; --force
     * gives up what the device holds, not a VM. */
    KYOK_TRY(device_refuse_openers(cli, made->fd, made->image));
    KYOK_TRY(vm_refuse_users(made->image, &cli->error));
    ssize_t got = pread(made->fd, start, sizeof(start), 0);
    bool empty = got >= 0;
    for (ssize_t i = 0; i < got && empty; i++)
        empty = start[i] == 0;
    if (empty || cli_option(cli, "--force"))
        return KYOK_OK;
    kyok_fail(&cli->error, KYOK_REFUSED, made->image, "the device is not empty");
    return kyok_remedy(&cli->error, "wipefs it, or --force destroys what it holds");
}

static enum kyok_status open_target(struct cli *cli, struct disk_new *made)
{
    struct stat status;
    bool exists = stat(made->image, &status) == 0;
    made->block = exists && S_ISBLK(status.st_mode);
    if (made->block && made->format == KYOK_VOLUME_QCOW2)
        return cli_usage(cli, "a block device gets --format raw");
    if (made->block)
        return open_device(cli, made);
    if (exists)
        return kyok_fail(&cli->error, KYOK_REFUSED, made->image, "the image exists");
    if (made->size == 0)
        return cli_usage(cli, "--size is missing");
    snprintf(made->temporary, sizeof(made->temporary), "%s" KYOK_NEW_FILE_MARK "XXXXXX",
             made->image);
    made->fd = mkostemp(made->temporary, O_CLOEXEC);
    if (made->fd >= 0)
        return KYOK_OK;
    made->temporary[0] = 0;
    return kyok_fail_errno(&cli->error, made->image, "the image cannot be made");
}

/* IMAGE.kyok of an image that is not there may be all that opens it when it is back. */
static enum kyok_status name_record(struct cli *cli, struct disk_new *made)
{
    struct disk *disk = &made->disk;
    disk->record = made->block ? kyok_record_store_path(made->luks.uuid)
                               : kyok_record_sidecar_path(made->image);
    if (!disk->record ||
        asprintf(&disk->pending, "%s" KYOK_RECORD_PENDING_SUFFIX, disk->record) < 0)
        return kyok_fail(&cli->error, KYOK_SYSTEM, made->image, "no memory for a path");
    const char *found = access(disk->record, F_OK) == 0    ? disk->record
                        : access(disk->pending, F_OK) == 0 ? disk->pending
                                                           : NULL;
    if (!found)
        return KYOK_OK;
    kyok_fail(&cli->error, KYOK_REFUSED, found, "there is a record without its image");
    return kyok_remedy(&cli->error, "if the image is lost for good, remove the record");
}

enum kyok_status disk_new_open(struct cli *cli, const char *given, uint64_t size,
                               struct disk_new *made)
{
    made->size = size;
    KYOK_TRY(disk_new_path(cli, given, made->image));
    KYOK_TRY(open_target(cli, made));
    if (!kyok_uuid_random(made->luks.uuid))
        return kyok_fail(&cli->error, KYOK_SYSTEM, made->image, "there are no random numbers");
    return name_record(cli, made);
}

enum kyok_status disk_new_write(struct cli *cli, struct disk_new *made,
                                struct kyok_bytes passphrase, const struct kyok_buffer *json)
{
    if (json)
        KYOK_TRY(disk_write_record(cli, made->disk.pending, kyok_buffer_bytes(json)));
    KYOK_TRY(kyok_volume_create(made->fd, made->image, made->format, made->size, passphrase,
                                &made->luks, &cli->error));
    if (!made->block) {
        KYOK_TRY(disk_rename_new(cli, made->temporary, made->image));
        made->temporary[0] = 0;
    }
    return json ? disk_commit_record(cli, &made->disk) : KYOK_OK;
}
