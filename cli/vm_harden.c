/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvirt's folder of running VMs (with master-key.aes) in memory instead of on disk. The mounts
 * are the host's, so that they outlive libvirtd: in a service's private namespace they would vanish
 * at its restart, and libvirtd would then destroy the VMs that it no longer finds.
 */
#include "cli/disk.h"
#include "cli/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIVE "/var/lib/libvirt/qemu"
#define BELOW "/run/kyok/qemu" /* the folder on disk, while it is covered */

/* What must survive a reboot. */
static const char *const kept[] = {"nvram", "save", "snapshot", "ram", "checkpoint", "dump"};

static bool is_mounted(const char *path)
{
    char line[4096];
    bool found = false;
    FILE *file = fopen("/proc/self/mounts", "re");
    while (file && !found && fgets(line, sizeof(line), file)) {
        char *rest = line;
        strsep(&rest, " ");
        char *where = strsep(&rest, " ");
        found = where && strcmp(where, path) == 0;
    }
    if (file)
        fclose(file);
    return found;
}

static enum kyok_status refuse_running(struct cli *cli)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer output = {0};
    char *rest, *name;
    if (cli_option(cli, "--boot"))
        return KYOK_OK;
    KYOK_TRY(vm_virsh(&output, &cli->error, "list", "--name", NULL));
    rest = (char *)output.data;
    if (!vm_next_line(&rest, &name))
        return KYOK_OK;
    kyok_fail(&cli->error, KYOK_BUSY, name, "the VM runs, and its monitor would be hidden");
    return kyok_remedy(&cli->error, "stop or migrate all VMs of this host first");
}

static enum kyok_status make_like(struct cli *cli, const char *path, const char *model)
{
    struct stat status;
    if (stat(model, &status) != 0 || (mkdir(path, 0700) != 0 && errno != EEXIST) ||
        chown(path, status.st_uid, status.st_gid) != 0 || chmod(path, status.st_mode & 07777) != 0)
        return kyok_fail_errno(&cli->error, path, "the folder cannot be made");
    return KYOK_OK;
}

static enum kyok_status keep_on_disk(struct cli *cli, const char *name)
{
    char above[PATH_MAX], below[PATH_MAX];
    snprintf(above, sizeof(above), "%s/%s", LIVE, name);
    snprintf(below, sizeof(below), "%s/%s", BELOW, name);
    /* libvirt makes them when it first starts; one that comes later must be on disk too. */
    if (mkdir(below, 0700) == 0)
        KYOK_TRY(make_like(cli, below, BELOW));
    KYOK_TRY(make_like(cli, above, below));
    if (mount(below, above, NULL, MS_BIND, NULL) != 0)
        return kyok_fail_errno(&cli->error, above, "the folder on disk cannot be mounted");
    return KYOK_OK;
}

static enum kyok_status cover(struct cli *cli)
{
    unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if ((mkdir("/run/kyok", 0700) != 0 && errno != EEXIST) ||
        (mkdir(BELOW, 0700) != 0 && errno != EEXIST))
        return kyok_fail_errno(&cli->error, BELOW, "the folder cannot be made");
    if (mount(LIVE, BELOW, NULL, MS_BIND, NULL) != 0)
        return kyok_fail_errno(&cli->error, LIVE, "the folder cannot be mounted elsewhere");
    if (mount("kyok", LIVE, "tmpfs", flags, "mode=0711,size=64m,noswap") != 0 &&
        mount("kyok", LIVE, "ramfs", flags, "mode=0711") != 0)
        return kyok_fail_errno(&cli->error, LIVE, "no memory file system can be mounted");
    KYOK_TRY(make_like(cli, LIVE, BELOW));
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        KYOK_TRY(keep_on_disk(cli, kept[i]));
    return KYOK_OK;
}

static void uncover(void)
{
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "%s/%s", LIVE, kept[i]);
        umount2(path, MNT_DETACH);
    }
    umount2(LIVE, MNT_DETACH);
    umount2(BELOW, MNT_DETACH);
}

/* At the next boot too. Without systemd the administrator sees to that. */
static enum kyok_status enable_unit(struct cli *cli, bool enable)
{
    const char *const argv[] = {"systemctl", "-q", enable ? "enable" : "disable",
                                "kyok-vm-harden.service", NULL};
    if (cli_option(cli, "--boot") || access("/run/systemd/system", F_OK) != 0)
        return KYOK_OK;
    return program_run(argv, NULL, VM_TIMEOUT_MS, NULL, &cli->error);
}

static enum kyok_status report(struct cli *cli, const char *what)
{
    if (cli->json)
        return cli_json(cli, json_pack("{s:s,s:s}", "folder", LIVE, "done", what));
    printf("%s: %s\n", LIVE, what);
    return KYOK_OK;
}

static enum kyok_status run_harden(struct cli *cli)
{
    bool covered = is_mounted(BELOW);
    if (cli_option(cli, "--remove") && !covered)
        return report(cli, "is on disk, as it was");
    if (!cli_option(cli, "--remove") && covered)
        return report(cli, "is in memory already");
    KYOK_TRY(refuse_running(cli));
    if (cli_option(cli, "--remove")) {
        uncover();
        KYOK_TRY(enable_unit(cli, false));
        return report(cli, "is on disk again");
    }
    enum kyok_status status = cover(cli);
    if (status != KYOK_OK) {
        uncover();
        return status;
    }
    KYOK_TRY(enable_unit(cli, true));
    return report(cli,
                  "is in memory; nvram, save, snapshot, ram, checkpoint and dump stay on disk");
}

static const struct cli_option harden_options[] = {
    {.name = "--remove", .summary = "undo it"},
    {.name = "--boot", .summary = "before libvirtd runs (kyok-vm-harden.service): ask it nothing"},
};

const struct cli_verb cli_vm_harden_verbs[] = {
    {.words = "vm harden",
     .summary = "keep the keys of running VMs off the disk",
     .description = "Covers /var/lib/libvirt/qemu with a memory file system, so that libvirt's "
                    "master-key.aes, "
                    "which opens the passphrases in its logs, never reaches a disk; what must "
                    "survive a reboot "
                    "stays on disk. The mounts belong to the host and outlive libvirtd. Refused "
                    "while a VM runs. "
                    "Under systemd kyok-vm-harden.service does it at each boot.",
     CLI_OPTIONS(harden_options),
     .run = run_harden},
    {0},
};
