/* SPDX-License-Identifier: Apache-2.0 */
/* A running VM's disk onto another encrypted disk: new volume key, format or place, without a stop.
 */
#include "cli/vm_copy.h"
#include "cli/disk.h"
#include "cli/disk_live.h"
#include "cli/vm.h"
#include "cli/vm_hook.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --reuse-external: the disk has its LUKS header, which the record is bound to. */
static enum kyok_status block_copy(struct cli *cli, const char *vm, const char *target,
                                   const char *xml)
{
    char path[64];
    const char *uri = getenv("LIBVIRT_DEFAULT_URI");
    KYOK_TRY(vm_temporary(xml, path, &cli->error));
    const char *const argv[] = {"virsh",
                                "-q",
                                "-c",
                                uri ? uri : "qemu:///system",
                                "blockcopy",
                                "--domain",
                                vm,
                                target,
                                "--xml",
                                path,
                                "--wait",
                                "--pivot",
                                "--transient-job",
                                "--reuse-external",
                                NULL};
    enum kyok_status status = program_run(argv, NULL, 0, NULL, &cli->error);
    unlink(path);
    /* virsh says "Copy failed" of a job that ended so, and quiet nothing at all. */
    return status == KYOK_OK ? status
                             : kyok_remedy(&cli->error, "libvirtd's log may tell more of the job");
}

enum kyok_status vm_copy_disk(struct cli *cli, const char *vm, const char *target,
                              struct disk *disk)
{
    char uuid[KYOK_UUID_TEXT];
    struct kyok_error none;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer xml = {0};
    /* virsh domuuid takes names alone. */
    if (!kyok_uuid_canonical(vm, uuid))
        KYOK_TRY(vm_uuid(vm, uuid, &cli->error));
    if (!vm_disk_xml(disk, target, &xml))
        return kyok_fail(&cli->error, KYOK_SYSTEM, disk->image, "no memory for its XML");
    /* The header stays known; only the file is closed. */
    if (disk->volume.fd >= 0)
        close(disk->volume.fd);
    disk->volume.fd = -1;
    KYOK_TRY(vm_hook_disk(vm, uuid, true, (const char *)xml.data, &cli->error));
    enum kyok_status status = block_copy(cli, vm, target, (const char *)xml.data);
    (void)vm_hook_disk(vm, uuid, false, (const char *)xml.data, &none);
    return status;
}

void vm_copy_abort(const char *vm, const char *target)
{
    struct kyok_error none;
    (void)vm_virsh(NULL, &none, "blockjob", "--domain", vm, "--path", target, "--abort", NULL);
}

/* --- a target that nobody has written to ------------------------------------------------------ */

/* What guests write first lies here: partition tables, file systems' heads. */
#define DEVICE_HEAD ((off_t)16 << 20)

/* Ciphertext is never all zero: *empty stays true if there is none between the two. */
static enum kyok_status look(const struct disk *disk, off_t from, off_t to, bool *empty,
                             struct kyok_error *err)
{
    char piece[65536];
    while (from < to && *empty) {
        size_t most = to - from < (off_t)sizeof(piece) ? (size_t)(to - from) : sizeof(piece);
        ssize_t got = pread(disk->volume.fd, piece, most, from);
        if (got < 0)
            return kyok_fail_errno(err, disk->image, "the disk cannot be read");
        if (got == 0)
            return KYOK_OK;
        *empty = piece[0] == 0 && memcmp(piece, piece + 1, (size_t)got - 1) == 0;
        from += got;
    }
    return KYOK_OK;
}

static enum kyok_status look_at_file(const struct disk *disk, off_t from, bool *empty,
                                     struct kyok_error *err)
{
    int fd = disk->volume.fd;
    for (off_t at = from; *empty;) {
        off_t data = lseek(fd, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            return KYOK_OK;
        at = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
        if (at < 0)
            return kyok_fail_errno(err, disk->image, "the disk cannot be read");
        KYOK_TRY(look(disk, data, at, empty, err));
    }
    return KYOK_OK;
}

/* No entry in the first table, no snapshot: no cluster of the guest's. */
static enum kyok_status look_at_qcow2(const struct disk *disk, bool *empty, struct kyok_error *err)
{
    uint8_t head[64];
    if (pread(disk->volume.fd, head, sizeof(head), 0) != (ssize_t)sizeof(head))
        return kyok_fail(err, KYOK_INVALID, disk->image, "the qcow2 header is cut short");
    uint64_t entries = 0, table = 0, snapshots = 0;
    for (size_t i = 0; i < 4; i++) {
        entries = entries << 8 | head[36 + i];
        snapshots = snapshots << 8 | head[60 + i];
    }
    for (size_t i = 0; i < 8; i++)
        table = table << 8 | head[40 + i];
    *empty = snapshots == 0;
    if (table > INT64_MAX / 2)
        return kyok_fail(err, KYOK_INVALID, disk->image, "the qcow2 header is broken");
    return look(disk, (off_t)table, (off_t)(table + entries * 8), empty, err);
}

static enum kyok_status refuse_used(struct cli *cli, const struct disk *disk)
{
    struct live_vm owner;
    bool empty = true;
    KYOK_TRY(live_vm_find(disk->image, true, &owner, &cli->error));
    if (*owner.uuid) {
        kyok_fail(&cli->error, KYOK_REFUSED, disk->image, "VM %s has this disk", owner.uuid);
        return kyok_remedy(&cli->error, "kyok disk create makes one to copy to");
    }
    KYOK_TRY(vm_refuse_users(disk->image, &cli->error));
    if (cli_option(cli, "--force"))
        return KYOK_OK;
    off_t guest = (off_t)disk->volume.luks.payload * KYOK_LUKS_SECTOR;
    if (disk->volume.format == KYOK_VOLUME_QCOW2)
        KYOK_TRY(look_at_qcow2(disk, &empty, &cli->error));
    else if (disk->volume.block_device)
        KYOK_TRY(look(disk, guest, guest + DEVICE_HEAD, &empty, &cli->error));
    else
        KYOK_TRY(look_at_file(disk, guest, &empty, &cli->error));
    if (empty)
        return KYOK_OK;
    kyok_fail(&cli->error, KYOK_REFUSED, disk->image, "the disk has been written to");
    return kyok_remedy(&cli->error, "--force overwrites it, as after a copy that was cut short");
}

static const struct cli_option copy_options[] = {
    {.name = "--force", .summary = "also onto a disk that has been written to: that is lost"},
};

static enum kyok_status run_copy(struct cli *cli)
{
    char state[64];
    KYOK_CLEANUP(disk_close) struct disk disk = DISK_NONE;
    KYOK_TRY(vm_state(cli->operands[0], state, sizeof(state), &cli->error));
    if (strcmp(state, "shut off") == 0) {
        kyok_fail(&cli->error, KYOK_REFUSED, cli->operands[0], "the VM is off");
        return kyok_remedy(&cli->error, "kyok disk reencrypt does it then");
    }
    KYOK_TRY(disk_open(cli, cli->operands[2], KYOK_VOLUME_READ, &disk));
    if (disk.copies.count == 0)
        return kyok_fail(&cli->error, KYOK_NOT_FOUND, disk.image, "the disk has no record");
    KYOK_TRY(refuse_used(cli, &disk));
    KYOK_TRY(vm_copy_disk(cli, cli->operands[0], cli->operands[1], &disk));
    if (cli->json)
        return cli_json(cli, json_pack("{s:o,s:o}", "vm", cli_json_text(cli->operands[0]), "image",
                                       cli_json_text(disk.image)));
    printf("%s: %s is now %s\n", cli->operands[0], cli->operands[1], disk.image);
    return KYOK_OK;
}

const struct cli_verb cli_vm_copy_verbs[] = {
    {.words = "vm copy",
     .operands = "VM NAME IMAGE",
     .least = 3,
     .most = 3,
     .summary = "move a running VM's disk onto another encrypted disk",
     .description =
         "Copies the disk of that name (vda) onto IMAGE, which kyok disk create made "
         "with the same size "
         "and bound to the VM, and lets the running VM go on with it: a new volume key "
         "without a stop. "
         "The old image stays as it is, for its owner to remove. A disk of another VM, or "
         "one that has been written to, is refused.",
     CLI_OPTIONS(copy_options),
     .run = run_copy},
    {0},
};
