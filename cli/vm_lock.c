/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs that let the hook work outside a start: hold secrets, drop them, attach a disk. */
#include "cli/disk.h"
#include "cli/vm.h"
#include "cli/vm_hook.h"
#include "libvirt-hook/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static enum kyok_status stored_xml(const char *vm, struct kyok_buffer *xml, struct kyok_error *err)
{
    return vm_virsh(xml, err, "dumpxml", "--inactive", "--domain", vm, NULL);
}

static void lock_path(const char *uuid, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%s", HOOK_LOCKED, uuid);
}

/* A power cut may not unlock. */
static enum kyok_status sync_locks(struct kyok_error *err)
{
    int folder = open(HOOK_LOCKED, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = folder >= 0 && fsync(folder) == 0;
    if (!good)
        kyok_fail_errno(err, HOOK_LOCKED, "the lock cannot be written");
    if (folder >= 0)
        close(folder);
    return good ? KYOK_OK : err->status;
}

static enum kyok_status write_lock(const char *uuid, struct kyok_error *err)
{
    char path[PATH_MAX];
    lock_path(uuid, path);
    if ((mkdir("/etc/kyok", 0755) != 0 && errno != EEXIST) ||
        (mkdir(HOOK_LOCKED, 0755) != 0 && errno != EEXIST))
        return kyok_fail_errno(err, HOOK_LOCKED, "the folder cannot be made");
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (!good)
        kyok_fail_errno(err, path, "the lock cannot be written");
    if (fd >= 0)
        close(fd);
    return good ? sync_locks(err) : err->status;
}

static enum kyok_status done(struct cli *cli, const char *vm, const char *what)
{
    if (cli->json)
        return cli_json(cli, json_pack("{s:o,s:s}", "vm", cli_json_text(vm), "done", what));
    printf("%s: %s\n", vm, what);
    return KYOK_OK;
}

static enum kyok_status run_lock(struct cli *cli)
{
    const char *vm = cli->operands[0];
    char uuid[KYOK_UUID_TEXT], state[64];
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer xml = {0};
    KYOK_TRY(vm_uuid(vm, uuid, &cli->error));
    KYOK_TRY(write_lock(uuid, &cli->error));
    KYOK_TRY(stored_xml(vm, &xml, &cli->error));
    KYOK_TRY(vm_hook(vm, "lock", (const char *)xml.data, &cli->error));
    KYOK_TRY(vm_state(vm, state, sizeof(state), &cli->error));
    if (strcmp(state, "shut off") == 0)
        return done(cli, vm, "locked");
    if (!cli_option(cli, "--now"))
        return done(cli, vm, "locked from its next start; it runs, and QEMU keeps its keys");
    KYOK_TRY(vm_virsh(NULL, &cli->error, "destroy", "--domain", vm, NULL));
    return done(cli, vm, "stopped and locked");
}

static enum kyok_status run_unlock(struct cli *cli)
{
    const char *vm = cli->operands[0];
    char uuid[KYOK_UUID_TEXT], path[PATH_MAX];
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer xml = {0};
    KYOK_TRY(vm_uuid(vm, uuid, &cli->error));
    lock_path(uuid, path);
    if (unlink(path) != 0 && errno != ENOENT)
        return kyok_fail_errno(&cli->error, path, "the lock cannot be removed");
    if (!cli_option(cli, "--hold"))
        return done(cli, vm, "may start");
    KYOK_TRY(stored_xml(vm, &xml, &cli->error));
    KYOK_TRY(vm_hook(vm, "unlock", (const char *)xml.data, &cli->error));
    return done(cli, vm, "may start, and libvirt holds its secrets until kyok vm lock");
}

/* --- attach and detach --- */

static bool good_target(const char *target)
{
    size_t size = strspn(target, "abcdefghijklmnopqrstuvwxyz0123456789");
    return size > 0 && size < 16 && target[size] == 0;
}

static enum kyok_status attach(struct cli *cli, const char *vm, const char *uuid, const char *xml)
{
    char path[64], state[64];
    struct kyok_error none;
    KYOK_TRY(vm_state(vm, state, sizeof(state), &cli->error));
    bool live = strcmp(state, "shut off") != 0;
    if (live)
        KYOK_TRY(vm_hook_disk(vm, uuid, true, xml, &cli->error));
    enum kyok_status status = vm_temporary(xml, path, &cli->error);
    if (status == KYOK_OK)
        status = vm_virsh(NULL, &cli->error, "attach-device", "--domain", vm, "--file", path,
                          live ? "--live" : "--config",
                          live && cli_option(cli, "--config-too") ? "--config" : NULL, NULL);
    unlink(path);
    if (live)
        (void)vm_hook_disk(vm, uuid, false, xml, &none);
    return status;
}

static enum kyok_status run_attach(struct cli *cli)
{
    const char *vm = cli->operands[0], *target = cli_option(cli, "--target");
    char uuid[KYOK_UUID_TEXT];
    KYOK_CLEANUP(disk_close) struct disk disk = DISK_NONE;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer xml = {0};
    target = target ? target : "vdb";
    if (!good_target(target))
        return cli_usage(cli, "--target %s: expected a name such as vdb", target);
    KYOK_TRY(vm_uuid(vm, uuid, &cli->error));
    KYOK_TRY(disk_open(cli, cli->operands[1], KYOK_VOLUME_READ, &disk));
    if (disk.copies.count == 0)
        return kyok_fail(&cli->error, KYOK_NOT_FOUND, disk.image, "the disk has no record");
    if (!vm_disk_xml(&disk, target, &xml))
        return kyok_fail(&cli->error, KYOK_SYSTEM, disk.image, "no memory for its XML");
    /* QEMU takes the locks next. */
    disk_close(&disk);
    KYOK_TRY(attach(cli, vm, uuid, (const char *)xml.data));
    return done(cli, vm, "disk attached");
}

static enum kyok_status run_detach(struct cli *cli)
{
    const char *vm = cli->operands[0];
    char state[64];
    KYOK_TRY(vm_state(vm, state, sizeof(state), &cli->error));
    bool live = strcmp(state, "shut off") != 0;
    KYOK_TRY(vm_virsh(NULL, &cli->error, "detach-disk", "--domain", vm, "--target",
                      cli->operands[1], live ? "--live" : "--config",
                      live && cli_option(cli, "--config-too") ? "--config" : NULL, NULL));
    return done(cli, vm, "disk detached");
}

static const struct cli_option lock_options[] = {
    {.name = "--now", .summary = "also stop the VM at once, as if its power were cut"},
};
static const struct cli_option unlock_options[] = {
    {.name = "--hold",
     .summary = "also give libvirt the secrets now, and keep them there until kyok vm lock"},
};
static const struct cli_option attach_options[] = {
    {.name = "--target", .argument = "NAME", .summary = "the disk's name in the VM (vdb)"},
    {.name = "--config-too", .summary = "of a running VM: also for its next starts"},
};
static const struct cli_option detach_options[] = {
    {.name = "--config-too", .summary = "of a running VM: also for its next starts"},
};

const struct cli_verb cli_vm_lock_verbs[] = {
    {.words = "vm lock",
     .operands = "VM",
     .least = 1,
     .most = 1,
     .summary = "let a VM not start, and take its secrets back from libvirt",
     .description =
         "The hook refuses the VM's next starts until kyok vm unlock, and libvirt forgets "
         "secrets that kyok vm unlock --hold gave it. A running QEMU keeps the volume "
         "keys: --now stops it.",
     CLI_OPTIONS(lock_options),
     .run = run_lock},
    {.words = "vm unlock",
     .operands = "VM",
     .least = 1,
     .most = 1,
     .summary = "let a locked VM start again",
     .description =
         "Removes the lock. With --hold the records are opened now and libvirt keeps the "
         "secrets, in its memory, for what runs no hook: external snapshots, block copies, "
         "hot-plug by hand.",
     CLI_OPTIONS(unlock_options),
     .run = run_unlock},
    {.words = "vm attach",
     .operands = "VM IMAGE",
     .least = 2,
     .most = 2,
     .summary = "attach an encrypted disk to a VM, running or not",
     .description = "libvirt runs no hook when a disk is plugged into a running VM, so this opens "
                    "the record, attaches the disk, and takes the secret back. The record must be "
                    "bound to the VM, or to any.",
     CLI_OPTIONS(attach_options),
     .run = run_attach},
    {.words = "vm detach",
     .operands = "VM NAME",
     .least = 2,
     .most = 2,
     .summary = "detach a disk (vdb) from a VM",
     .description = "Detaches the disk of that name in the VM from the running VM, or from the "
                    "stored one.",
     CLI_OPTIONS(detach_options),
     .run = run_detach},
    {0},
};
