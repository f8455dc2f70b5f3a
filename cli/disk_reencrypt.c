/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new volume key: the data is copied into a new image with the same LUKS UUID, which takes the
 * old one's name when it is whole. The pending record opens the new image, the record the old one.
 */
#include "cli/disk.h"
#include "cli/disk_rekey.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct copying {
    char path[PATH_MAX + 16];
    int fd, secrets[2];
};

static void copying_end(struct copying *copying)
{
    for (size_t i = 0; i < 2; i++)
        if (copying->secrets[i] >= 0)
            close(copying->secrets[i]);
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

/* Bytes of the guest's disk. qcow2 header: backing file at 8, size at 24, snapshots at 60. */
static enum kyok_status guest_size(struct cli *cli, const struct disk *disk, uint64_t *size)
{
    uint64_t backing, snapshots;
    struct stat status;
    const struct kyok_volume *volume = &disk->volume;
    if (fstat(volume->fd, &status) != 0)
        return kyok_fail_errno(&cli->error, disk->image, "the image cannot be examined");
    if (volume->format == KYOK_VOLUME_RAW) {
        *size = (uint64_t)status.st_size - (uint64_t)volume->luks.payload * KYOK_LUKS_SECTOR;
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
    struct stat status;
    struct kyok_luks luks = {.uuid = ""};
    uint64_t size = 0;
    KYOK_TRY(guest_size(cli, disk, &size));
    snprintf(copying->path, sizeof(copying->path), "%s.reencrypt", disk->image);
    /* One that a killed run left is of no use. The disk's locks keep a second run away. */
    unlink(copying->path);
    copying->fd = open(copying->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (copying->fd < 0)
        return kyok_fail_errno(&cli->error, copying->path, "the new image cannot be made");
    memcpy(luks.uuid, disk->volume.luks.uuid, sizeof(luks.uuid));
    KYOK_TRY(kyok_volume_create(copying->fd, copying->path, disk->volume.format, size, passphrase,
                                &luks, &cli->error));
    if (fstat(disk->volume.fd, &status) != 0 ||
        fchown(copying->fd, status.st_uid, status.st_gid) != 0 ||
        fchmod(copying->fd, status.st_mode & 07777) != 0)
        return kyok_fail_errno(&cli->error, copying->path, "the new image cannot get its owner");
    return KYOK_OK;
}

/* QEMU's option text; a comma in a name is written twice. */
static bool image_options(struct kyok_buffer *text, enum kyok_volume_format format,
                          const char *secret, const char *path)
{
    bool good = kyok_buffer_printf(
        text, "driver=%s,%s=%s,file.driver=file,file.locking=off,file.filename=",
        format == KYOK_VOLUME_QCOW2 ? "qcow2" : "luks",
        format == KYOK_VOLUME_QCOW2 ? "encrypt.key-secret" : "key-secret", secret);
    for (; *path && good; path++)
        good =
            (*path != ',' || kyok_buffer_append(text, ",", 1)) && kyok_buffer_append(text, path, 1);
    return good && kyok_buffer_append(text, "", 1);
}

/* Locking is off, since this process holds the locks. */
static enum kyok_status copy_data(struct cli *cli, const struct disk *disk, struct copying *copying,
                                  struct kyok_bytes old, struct kyok_bytes fresh)
{
    char objects[2][64];
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer from = {0};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer to = {0};
    copying->secrets[0] = program_secret(old);
    copying->secrets[1] = program_secret(fresh);
    for (int i = 0; i < 2; i++)
        snprintf(objects[i], sizeof(objects[i]), "secret,id=s%d,file=/dev/fd/%d", i,
                 copying->secrets[i]);
    if (copying->secrets[0] < 0 || copying->secrets[1] < 0 ||
        !image_options(&from, disk->volume.format, "s0", disk->image) ||
        !image_options(&to, disk->volume.format, "s1", copying->path))
        return kyok_fail(&cli->error, KYOK_SYSTEM, disk->image, "qemu-img cannot be prepared");
    const char *const argv[] = {"qemu-img",
                                "convert",
                                "-n",
                                "--object",
                                objects[0],
                                "--object",
                                objects[1],
                                "--image-opts",
                                "--target-image-opts",
                                (const char *)from.data,
                                (const char *)to.data,
                                NULL};
    const int fds[] = {copying->secrets[0], copying->secrets[1], -1};
    KYOK_TRY(program_run(argv, fds, 0, NULL, &cli->error));
    return fsync(copying->fd) == 0
               ? KYOK_OK
               : kyok_fail_errno(&cli->error, copying->path, "the new image cannot be synced");
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
    KYOK_CLEANUP(copying_end) struct copying copying = {.fd = -1, .secrets = {-1, -1}};
    if (disk->volume.block_device) {
        kyok_fail(&cli->error, KYOK_UNSUPPORTED, disk->image,
                  "a block device cannot be replaced by a copy");
        return kyok_remedy(&cli->error,
                           "kyok disk create on another device, then virsh blockcopy or "
                           "qemu-img convert through kyok-qemu-secret");
    }
    KYOK_TRY(disk_open_record(cli, context, disk, &opened));
    KYOK_TRY(kyok_passphrase_new(&passphrase, &cli->error));
    KYOK_TRY(rekey_seal(cli, context, disk, &opened, kyok_secret_bytes(passphrase), &json));
    KYOK_TRY(make_image(cli, disk, &copying, kyok_secret_bytes(passphrase)));
    KYOK_TRY(copy_data(cli, disk, &copying, kyok_secret_bytes(opened.passphrase),
                       kyok_secret_bytes(passphrase)));
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
    KYOK_TRY(disk_open(cli, cli->operands[0], KYOK_VOLUME_WRITE, &disk));
    return rekey_run(cli, &disk, reencrypt, "new volume key");
}

static const struct cli_option reencrypt_options[] = {
    {.name = "--key", .argument = "POLICY", .summary = "seal the new passphrase to this policy"},
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
         "the old one's name; the VM must be off, and the folder needs room for both. Headers and "
         "records of before are worthless afterwards. Online the same is done by virsh blockcopy "
         "to "
         "a disk of kyok disk create: see the guide.",
     CLI_OPTIONS(reencrypt_options),
     .run = run_reencrypt},
    {0},
};
