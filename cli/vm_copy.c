/* SPDX-License-Identifier: Apache-2.0 */
/* A running VM's disk onto another encrypted disk: new volume key, format or place, without a stop.
 */
#include "cli/vm_copy.h"
#include "cli/disk.h"
#include "cli/vm.h"
#include "cli/vm_hook.h"

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
    return status;
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
    KYOK_TRY(vm_hook_disk(vm, uuid, "unlock", (const char *)xml.data, &cli->error));
    enum kyok_status status = block_copy(cli, vm, target, (const char *)xml.data);
    (void)vm_hook_disk(vm, uuid, "lock", (const char *)xml.data, &none);
    return status;
}

void vm_copy_abort(const char *vm, const char *target)
{
    struct kyok_error none;
    (void)vm_virsh(NULL, &none, "blockjob", "--domain", vm, "--path", target, "--abort", NULL);
}

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
     .description = "Copies the disk of that name (vda) onto IMAGE, which kyok disk create made "
                    "with the same size "
                    "and bound to the VM, and lets the running VM go on with it: a new volume key "
                    "without a stop. "
                    "The old image stays as it is, for its owner to remove.",
     .run = run_copy},
    {0},
};
