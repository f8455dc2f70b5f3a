/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/disk_device.h"

#include <ctype.h>
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static bool is_qemu(const char *pid)
{
    char path[64], name[32] = "";
    snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
    FILE *file = fopen(path, "re");
    size_t got = file ? fread(name, 1, sizeof(name) - 1, file) : 0;
    if (file)
        fclose(file);
    return got && (strncmp(name, "qemu", 4) == 0 || strncmp(name, "kvm", 3) == 0);
}

static bool has_open(const char *pid, dev_t device)
{
    char path[64];
    struct stat status;
    bool found = false;
    snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
    DIR *list = opendir(path);
    for (struct dirent *entry; list && !found && (entry = readdir(list));)
        found = isdigit((unsigned char)*entry->d_name) &&
                fstatat(dirfd(list), entry->d_name, &status, 0) == 0 && S_ISBLK(status.st_mode) &&
                status.st_rdev == device;
    if (list)
        closedir(list);
    return found;
}

enum kyok_status device_refuse_openers(struct cli *cli, int fd, const char *device)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return kyok_fail_errno(&cli->error, device, "the device cannot be examined");
    DIR *list = opendir("/proc");
    enum kyok_status result = KYOK_OK;
    for (struct dirent *entry; list && result == KYOK_OK && (entry = readdir(list));) {
        if (!isdigit((unsigned char)*entry->d_name) || !is_qemu(entry->d_name) ||
            !has_open(entry->d_name, status.st_rdev))
            continue;
        result = kyok_fail(&cli->error, KYOK_BUSY, device,
                           "a running QEMU has the device open, process %.20s", entry->d_name);
        kyok_remedy(&cli->error, "stop it; if libvirt runs it, see that libvirtd answers");
    }
    if (list)
        closedir(list);
    return result;
}

enum kyok_status device_refuse_users(struct cli *cli, const struct disk *disk)
{
    return disk->volume.block_device ? device_refuse_openers(cli, disk->volume.fd, disk->image)
                                     : KYOK_OK;
}

/* --- clones ----------------------------------------------------------------------------------- */

/* Multipath and the like: one lies below the other. */
static bool is_stacked(dev_t device, const char *name)
{
    static const char *const relations[] = {"slaves", "holders"};
    for (size_t i = 0; i < 2; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s/%.200s", major(device), minor(device),
                 relations[i], name);
        if (access(path, F_OK) == 0)
            return true;
    }
    return false;
}

static bool is_clone(const struct disk *disk, dev_t device, const char *name)
{
    char path[PATH_MAX];
    struct stat status;
    struct kyok_error none;
    struct kyok_volume other;
    snprintf(path, sizeof(path), "/dev/%.200s", name);
    for (char *at = path; (at = strchr(at, '!'));)
        *at = '/'; /* sysfs writes "cciss!c0d0" */
    if (stat(path, &status) != 0 || !S_ISBLK(status.st_mode) || status.st_rdev == device ||
        is_stacked(device, name) ||
        kyok_volume_open(path, KYOK_VOLUME_READ, &other, &none) != KYOK_OK)
        return false;
    bool same = strcmp(other.luks.uuid, disk->volume.luks.uuid) == 0;
    kyok_volume_close(&other);
    return same;
}

enum kyok_status device_refuse_clones(struct cli *cli, const struct disk *disk)
{
    struct stat status;
    if (!disk->volume.block_device || fstat(disk->volume.fd, &status) != 0)
        return KYOK_OK;
    DIR *list = opendir("/sys/class/block");
    enum kyok_status result = KYOK_OK;
    for (struct dirent *entry; list && result == KYOK_OK && (entry = readdir(list));) {
        if (*entry->d_name == '.' || !is_clone(disk, status.st_rdev, entry->d_name))
            continue;
        result = kyok_fail(&cli->error, KYOK_REFUSED, disk->image,
                           "/dev/%.200s is a copy with the same LUKS UUID, and they share a record",
                           entry->d_name);
        kyok_remedy(
            &cli->error,
            "kyok disk reencrypt COPY --to NEW makes a disk of its own of it; then wipe it");
    }
    if (list)
        closedir(list);
    return result;
}
