/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvirt's folder of running VMs (with master-key.aes) in memory instead of on disk. The mounts
 * are the host's, so that they outlive libvirtd: in a service's private namespace they would vanish
 * at its restart, and libvirtd would then destroy the VMs that it no longer finds.
 */
#include "cli/disk.h"
#include "cli/vm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIVE "/var/lib/libvirt/qemu"
#define RUNNING "/run/libvirt/qemu"
#define BELOW "/run/kyok/qemu" /* the folder on disk, while it is covered */

/* What must survive a reboot, also if it does not exist yet: and all else that is there, but what
 * belongs to one run of a VM. */
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

/* At boot libvirtd is not asked, since it waits for this; but a unit may be started at any time. */
static enum kyok_status refuse_running_files(struct cli *cli)
{
    char path[PATH_MAX], line[32];
    bool runs = false;
    DIR *list = opendir(RUNNING);
    for (struct dirent *entry; list && !runs && (entry = readdir(list));) {
        size_t size = strlen(entry->d_name);
        if (size < 4 || strcmp(entry->d_name + size - 4, ".pid") != 0)
            continue;
        snprintf(path, sizeof(path), RUNNING "/%s", entry->d_name);
        FILE *file = fopen(path, "re");
        pid_t pid = file && fgets(line, sizeof(line), file) ? (pid_t)strtol(line, NULL, 10) : 0;
        runs = pid > 0 && (kill(pid, 0) == 0 || errno == EPERM);
        if (file)
            fclose(file);
    }
    if (list)
        closedir(list);
    if (!runs)
        return KYOK_OK;
    kyok_fail(&cli->error, KYOK_BUSY, path, "a VM runs, and its monitor would be hidden");
    return kyok_remedy(&cli->error, "stop or migrate all VMs of this host first");
}

static enum kyok_status refuse_running(struct cli *cli)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer output = {0};
    char *rest, *name;
    if (cli_option(cli, "--boot"))
        return refuse_running_files(cli);
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

static bool is_of_one_run(const char *name)
{
    static const char *const runs[] = {"domain-", "channel", "dbus", "passt", "slirp", "."};
    for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++)
        if (strncmp(name, runs[i], strlen(runs[i])) == 0)
            return true;
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        if (strcmp(name, kept[i]) == 0)
            return true; /* kept already */
    return false;
}

static enum kyok_status keep_file(struct cli *cli, const char *name)
{
    char above[PATH_MAX], below[PATH_MAX];
    snprintf(above, sizeof(above), "%s/%s", LIVE, name);
    snprintf(below, sizeof(below), "%s/%s", BELOW, name);
    int fd = open(above, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || close(fd) != 0 || mount(below, above, NULL, MS_BIND, NULL) != 0)
        return kyok_fail_errno(&cli->error, above, "the file on disk cannot be mounted");
    return KYOK_OK;
}

/* UEFI variables laid there, a newer libvirt's folders: hidden, they would be lost at power-off. */
static enum kyok_status keep_others(struct cli *cli)
{
    enum kyok_status status = KYOK_OK;
    DIR *list = opendir(BELOW);
    for (struct dirent *entry; list && status == KYOK_OK && (entry = readdir(list));) {
        struct stat found;
        if (is_of_one_run(entry->d_name) ||
            fstatat(dirfd(list), entry->d_name, &found, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (S_ISDIR(found.st_mode))
            status = keep_on_disk(cli, entry->d_name);
        else if (S_ISREG(found.st_mode))
            status = keep_file(cli, entry->d_name);
    }
    if (list)
        closedir(list);
    return status;
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
    return keep_others(cli);
}

static void uncover(void)
{
    /* With all that is mounted below it. */
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
