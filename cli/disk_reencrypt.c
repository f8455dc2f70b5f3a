/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new volume key: the data is copied into a new image with the same LUKS UUID, which takes the
 * old one's name when it is whole. The pending record opens the new image, the record the old one.
 */
#include "cli/disk.h"
#include "cli/disk_attributes.h"
#include "cli/disk_move.h"
#include "cli/disk_rekey.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct copying {
    char path[PATH_MAX + 16];
    int fd;
};

static void copying_end(struct copying *copying)
{
    if (copying->fd >= 0)
        close(copying->fd);
    if (copying->path[0])
        unlink(copying->path);
}

static bool read_number(int fd, off_t offset, unsigned bytes, uint64_t *value)
{
    uint8_t data[8];
    *value = 0;
    if (pread(fd, data, bytes, offset) != (ssize_t)bytes)
        return false;
    for (unsigned i = 0; i < bytes; i++)
        *value = *value << 8 | data[i];
    return true;
}

/* qcow2 header: backing file at 8, size at 24, snapshots at 60. */
enum kyok_status disk_guest_size(struct cli *cli, const struct disk *disk, uint64_t *size)
{
    uint64_t backing, snapshots;
    const struct kyok_volume *volume = &disk->volume;
    if (volume->format == KYOK_VOLUME_RAW) {
        off_t end = lseek(volume->fd, 0, SEEK_END);
        uint64_t payload = (uint64_t)volume->luks.payload * KYOK_LUKS_SECTOR;
        if (end < 0 || (uint64_t)end <= payload)
            return kyok_fail(&cli->error, KYOK_INVALID, disk->image, "the volume is cut short");
        *size = (uint64_t)end - payload;
        return KYOK_OK;
    }
    if (!read_number(volume->fd, 8, 8, &backing) || !read_number(volume->fd, 24, 8, size) ||
        !read_number(volume->fd, 60, 4, &snapshots))
        return kyok_fail_errno(&cli->error, disk->image, "the qcow2 header cannot be read");
    if (backing || snapshots) {
        kyok_fail(&cli->error, KYOK_UNSUPPORTED, disk->image,
                  "the image has a backing file or internal snapshots");
        return kyok_remedy(&cli->error,
                           "flatten it with qemu-img convert, or delete the snapshots");
    }
    return KYOK_OK;
}

static enum kyok_status make_image(struct cli *cli, const struct disk *disk,
                                   struct copying *copying, struct kyok_bytes passphrase)
{
    struct kyok_luks luks = {.uuid = ""};
    uint64_t size = 0;
    KYOK_TRY(disk_guest_size(cli, disk, &size));
    snprintf(copying->path, sizeof(copying->path), "%s.reencrypt", disk->image);
    /* One that a killed run left is of no use. The disk's locks keep a second run away. */
    unlink(copying->path);
    copying->fd = open(copying->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (copying->fd < 0)
        return kyok_fail_errno(&cli->error, copying->path, "the new image cannot be made");
    memcpy(luks.uuid, disk->volume.luks.uuid, sizeof(luks.uuid));
    KYOK_TRY(kyok_volume_create(copying->fd, copying->path, disk->volume.format, size, passphrase,
                                &luks, &cli->error));
    return disk_copy_attributes(cli, disk->volume.fd, copying->fd, copying->path);
}

static enum kyok_status take_name(struct cli *cli, const struct disk *disk, struct copying *copying)
{
    if (rename(copying->path, disk->image) != 0)
        return kyok_fail_errno(&cli->error, disk->image, "the new image cannot take its name");
    copying->path[0] = 0;
    return disk_sync_folder(cli, disk->image);
}

static enum kyok_status reencrypt(struct cli *cli, struct kyok_context *context, struct disk *disk,
                                  const struct holders *holders, uint64_t *generation)
{
    KYOK_CLEANUP(kyok_record_opened_free) struct kyok_record_opened opened = {0};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {0};
    KYOK_AUTO_SECRET struct kyok_secret *passphrase = NULL;
    KYOK_CLEANUP(copying_end) struct copying copying = {.fd = -1};
    if (disk->volume.block_device) {
        kyok_fail(&cli->error, KYOK_UNSUPPORTED, disk->image,
                  "a block device cannot be replaced by a copy");
        return kyok_remedy(&cli->error, "--to another device");
    }
    KYOK_TRY(disk_open_record(cli, context, disk, &opened));
    KYOK_TRY(kyok_passphrase_new(&passphrase, &cli->error));
    KYOK_TRY(rekey_seal(cli, context, disk, disk->volume.luks.uuid, &opened, opened.generation + 1,
                        kyok_secret_bytes(passphrase), &json));
    KYOK_TRY(make_image(cli, disk, &copying, kyok_secret_bytes(passphrase)));
    const struct kyok_volume target = {
        .fd = copying.fd, .path = copying.path, .format = disk->volume.format};
    KYOK_TRY(disk_copy_data(cli, &disk->volume, kyok_secret_bytes(opened.passphrase), &target,
                            kyok_secret_bytes(passphrase)));
    if (fsync(copying.fd) != 0)
        return kyok_fail_errno(&cli->error, copying.path, "the new image cannot be synced");
    KYOK_TRY(rekey_prove_fresh(cli, copying.path, kyok_secret_bytes(passphrase)));
    KYOK_TRY(holders_write(cli, disk, holders, true, kyok_buffer_bytes(&json)));
    KYOK_TRY(take_name(cli, disk, &copying));
    *generation = opened.generation + 1;
    return holders_commit(cli, disk, holders, kyok_buffer_bytes(&json));
}

static enum kyok_status run_reencrypt(struct cli *cli)
{
    if (!program_exists("qemu-img"))
        return kyok_fail(&cli->error, KYOK_UNSUPPORTED, NULL, "qemu-img is not installed");
    KYOK_CLEANUP(disk_close) struct disk disk = DISK_NONE;
    const char *to = cli_option(cli, "--to");
    if (to)
        return disk_move(cli, cli->operands[0], to);
    enum kyok_status status = disk_open(cli, cli->operands[0], KYOK_VOLUME_WRITE, &disk);
    if (status == KYOK_BUSY)
        kyok_remedy(&cli->error, "stop the VM; or --to NEW moves it there while it runs");
    KYOK_TRY(status);
    return rekey_run(cli, &disk, reencrypt, "new volume key");
}

static const struct cli_option reencrypt_options[] = {
    {.name = "--key", .argument = "POLICY", .summary = "seal the new passphrase to this policy"},
    {.name = "--to",
     .argument = "IMAGE",
     .summary = "onto this new file or empty block device; the VM may run"},
    {.name = "--force", .summary = "with --to: overwrite a block device that is not empty"},
    HOLDERS_OPTION,
};

const struct cli_verb cli_disk_reencrypt_verbs[] = {
    {.words = "disk reencrypt",
     .operands = "IMAGE",
     .least = 1,
     .most = 1,
     .summary = "give a disk a new volume key",
     .description =
         "Copies the data into a new image with a new volume key and passphrase, which then takes "
         "the old one's name; the VM must be off, and the folder needs room for both. With --to "
         "the data goes onto a new disk with a name and LUKS UUID of its own: the way for block "
         "devices, and for a VM that runs (libvirt's block copy; the VM goes on with the new disk, "
         "and its XML follows; with the VM off the XML is printed). The old disk stays, for its "
         "owner to remove. Headers and records of before are worthless for what is written "
         "afterwards. A second run completes one that was cut short.",
     CLI_OPTIONS(reencrypt_options),
     .run = run_reencrypt},
    {0},
};
