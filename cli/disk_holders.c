/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/disk_holders.h"
#include "cli/vm.h"
#include "libvirt-hook/hook.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static bool holds(const struct domain *domain, const char *luks_uuid)
{
    for (size_t i = 0; i < domain->record_count; i++)
        if (!domain->records[i].vtpm && strcasecmp(domain->records[i].uuid, luks_uuid) == 0)
            return true;
    return false;
}

static bool xml_holds(const struct kyok_buffer *xml, const char *luks_uuid)
{
    struct domain domain;
    char why[256];
    if (xml->size == 0 ||
        !domain_parse((const char *)xml->data, xml->size - 1, &domain, why, sizeof(why)))
        return false;
    bool found = holds(&domain, luks_uuid);
    domain_free(&domain);
    return found;
}

static enum kyok_status refuse(struct cli *cli, const char *vm, const char *what, const char *name,
                               const char *remedy)
{
    kyok_fail(&cli->error, KYOK_REFUSED, vm,
              "%s%s holds a copy of the record that cannot be changed", what, name);
    return kyok_remedy(&cli->error, "%s", remedy);
}

static enum kyok_status check_saved(struct cli *cli, const char *vm, const char *luks_uuid)
{
    struct kyok_error none;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer saved = {0};
    if (vm_virsh(&saved, &none, "managedsave-dumpxml", "--domain", vm, NULL) == KYOK_OK &&
        xml_holds(&saved, luks_uuid))
        return refuse(cli, vm, "the managed save", "",
                      "start the VM, or virsh managedsave-remove it, then run this again");
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer list = {0};
    if (vm_virsh(&list, &none, "snapshot-list", "--domain", vm, "--name", NULL) != KYOK_OK)
        return KYOK_OK;
    char *rest = (char *)list.data, *name;
    while (vm_next_line(&rest, &name)) {
        KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer xml = {0};
        if (vm_virsh(&xml, &none, "snapshot-dumpxml", "--domain", vm, "--snapshotname", name,
                     NULL) == KYOK_OK &&
            xml_holds(&xml, luks_uuid))
            return refuse(cli, vm, "snapshot ", name, "delete the snapshot, then run this again");
    }
    return KYOK_OK;
}

/* Another image with the same LUKS UUID, a copy: its VM's record is that one's. */
static const char *other_image(const struct domain *domain, const struct disk *disk)
{
    const char *other = NULL;
    for (size_t i = 0; i < domain->volume_count; i++) {
        const char *path = domain->volumes[i].path;
        struct kyok_error none;
        struct kyok_volume volume;
        KYOK_AUTO_FREE char *real = path ? realpath(path, NULL) : NULL;
        if (!real || kyok_volume_open(real, KYOK_VOLUME_LOOK, &volume, &none) != KYOK_OK)
            continue;
        bool same = strcmp(volume.luks.uuid, disk->volume.luks.uuid) == 0;
        kyok_volume_close(&volume);
        if (same && strcmp(real, disk->image) == 0)
            return NULL;
        if (same)
            other = path;
    }
    return other;
}

static enum kyok_status check_image(struct cli *cli, const char *vm, const struct domain *domain,
                                    const struct disk *disk)
{
    const char *other = other_image(domain, disk);
    if (!other)
        return KYOK_OK;
    kyok_fail(&cli->error, KYOK_REFUSED, disk->image,
              "VM %s has another image with the same LUKS UUID, %s, and its record", vm, other);
    return kyok_remedy(&cli->error,
                       "which of them is the copy? kyok disk reencrypt COPY --to NEW makes a disk "
                       "of its own of it");
}

/* A tenant's odd metadata is no obstacle to the disks of others. */
static enum kyok_status check_unreadable(struct cli *cli, const char *vm, const char *luks_uuid)
{
    const struct kyok_error why = cli->error;
    struct kyok_error none;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer xml = {0};
    if (vm_virsh(&xml, &none, "dumpxml", "--inactive", "--domain", vm, NULL) != KYOK_OK ||
        !strcasestr((const char *)xml.data, luks_uuid))
        return KYOK_OK;
    cli->error = why;
    return cli->error.status;
}

static enum kyok_status holds_record(struct cli *cli, const char *vm, bool running,
                                     const struct disk *disk, bool own_only, bool *found)
{
    struct domain domain;
    if (vm_domain(vm, running, &domain, &cli->error) != KYOK_OK)
        return check_unreadable(cli, vm, disk->volume.luks.uuid);
    *found = holds(&domain, disk->volume.luks.uuid);
    enum kyok_status status = KYOK_OK;
    if (*found && own_only)
        *found = other_image(&domain, disk) == NULL;
    else if (*found)
        status = check_image(cli, vm, &domain, disk);
    domain_free(&domain);
    return status;
}

static enum kyok_status add_holder(struct cli *cli, struct holders *holders, const char *vm,
                                   const struct disk *disk)
{
    bool found = false;
    KYOK_TRY(holds_record(cli, vm, false, disk, holders->own_only, &found));
    if (found || !holders->own_only)
        KYOK_TRY(check_saved(cli, vm, disk->volume.luks.uuid));
    /* A running VM's own copy may be of before virsh define. */
    if (!found)
        KYOK_TRY(holds_record(cli, vm, true, disk, holders->own_only, &found));
    if (!found)
        return KYOK_OK;
    if (holders->count == HOLDERS_MAX)
        return kyok_fail(&cli->error, KYOK_INVALID, disk->volume.luks.uuid,
                         "more than %d VMs hold the record", HOLDERS_MAX);
    if (kyok_uuid_canonical(vm, holders->vms[holders->count]))
        holders->count++;
    return KYOK_OK;
}

/* libvirt's own files, for when no daemon answers. */
static bool file_holds(const char *path, const char *luks_uuid)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer xml = {0};
    FILE *file = fopen(path, "re");
    uint8_t *room = file ? kyok_buffer_reserve(&xml, DOMAIN_XML_MAX) : NULL;
    if (room) {
        xml.size = fread(room, 1, DOMAIN_XML_MAX - 1, file);
        room[xml.size++] = 0;
    }
    if (file)
        fclose(file);
    return room && xml_holds(&xml, luks_uuid);
}

static enum kyok_status holders_without_daemon(struct cli *cli, const char *luks_uuid)
{
    static const char folder[] = "/etc/libvirt/qemu";
    DIR *list = opendir(folder);
    enum kyok_status status = KYOK_OK;
    for (struct dirent *entry; list && status == KYOK_OK && (entry = readdir(list));) {
        char path[PATH_MAX];
        size_t size = strlen(entry->d_name);
        if (size < 4 || strcmp(entry->d_name + size - 4, ".xml") != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (!file_holds(path, luks_uuid))
            continue;
        status =
            kyok_fail(&cli->error, KYOK_UNREACHABLE, path,
                      "the VM's metadata has a copy of the record, and libvirt does not answer");
        kyok_remedy(&cli->error, "start libvirtd; or --files-only leaves that copy as it is");
    }
    if (list)
        closedir(list);
    return status;
}

enum kyok_status holders_find(struct cli *cli, const struct disk *disk, struct holders *holders)
{
    holders->count = 0;
    if (cli_option(cli, "--files-only") || !program_exists("virsh"))
        return KYOK_OK;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer list = {0};
    if (vm_virsh(&list, &cli->error, "list", "--all", "--uuid", NULL) != KYOK_OK)
        return holders_without_daemon(cli, disk->volume.luks.uuid);
    char *rest = (char *)list.data, *vm;
    while (vm_next_line(&rest, &vm))
        KYOK_TRY(add_holder(cli, holders, vm, disk));
    return KYOK_OK;
}

/* The hook's marks hold the volume's UUID, whatever the secret is called. */
static bool is_marked(const char *folder, const char *luks_uuid)
{
    DIR *list = opendir(folder);
    bool found = false;
    for (struct dirent *entry; list && !found && (entry = readdir(list));) {
        char path[PATH_MAX], text[KYOK_UUID_TEXT] = "";
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        FILE *file = *entry->d_name == '.' ? NULL : fopen(path, "re");
        size_t got = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
        if (file)
            fclose(file);
        found = got == sizeof(text) - 1 && strcasecmp(text, luks_uuid) == 0;
    }
    if (list)
        closedir(list);
    return found;
}

enum kyok_status holders_refuse_held(struct cli *cli, const struct disk *disk)
{
    if (is_marked(HOOK_HELD, disk->volume.luks.uuid) ||
        is_marked(HOOK_STARTING, disk->volume.luks.uuid)) {
        kyok_fail(&cli->error, KYOK_REFUSED, disk->image,
                  "libvirt holds the disk's passphrase for a VM, and it is about to change");
        return kyok_remedy(&cli->error, "kyok vm lock VM, then again");
    }
    char secret[KYOK_UUID_TEXT];
    struct kyok_error none;
    if (cli_option(cli, "--files-only") || !program_exists("virsh") ||
        !kyok_uuid_of_secret(disk->volume.luks.uuid, secret) ||
        vm_virsh(NULL, &none, "secret-dumpxml", "--secret", secret, NULL) != KYOK_OK)
        return KYOK_OK;
    kyok_fail(&cli->error, KYOK_REFUSED, disk->image,
              "libvirt holds the disk's passphrase (secret %s), which is about to change", secret);
    return kyok_remedy(&cli->error, "kyok vm lock VM, or virsh secret-undefine %s, then again",
                       secret);
}

static enum kyok_status write_metadata(struct cli *cli, const struct disk *disk,
                                       const struct holders *holders, bool pending,
                                       struct kyok_bytes json)
{
    KYOK_AUTO_FREE char *text = json.data ? strndup((const char *)json.data, json.size) : NULL;
    for (size_t i = 0; i < holders->count; i++)
        KYOK_TRY(vm_metadata_record(holders->vms[i], disk->volume.luks.uuid, false, pending, text,
                                    &cli->error));
    return KYOK_OK;
}

/* What does not fit is refused before anything is changed. */
static enum kyok_status check_room(struct cli *cli, const struct disk *disk,
                                   const struct holders *holders, struct kyok_bytes json)
{
    KYOK_AUTO_FREE char *text = strndup((const char *)json.data, json.size);
    for (size_t i = 0; text && i < holders->count; i++)
        KYOK_TRY(vm_metadata_fits(holders->vms[i], disk->volume.luks.uuid, text, &cli->error));
    return text ? KYOK_OK : kyok_fail(&cli->error, KYOK_SYSTEM, NULL, "no memory for a record");
}

enum kyok_status holders_write(struct cli *cli, const struct disk *disk,
                               const struct holders *holders, bool pending, struct kyok_bytes json)
{
    KYOK_TRY(check_room(cli, disk, holders, json));
    KYOK_TRY(disk_write_record(cli, pending ? disk->pending : disk->record, json));
    return write_metadata(cli, disk, holders, pending, json);
}

enum kyok_status holders_drop_pending(struct cli *cli, const struct disk *disk,
                                      const struct holders *holders)
{
    const struct kyok_error before = cli->error;
    (void)write_metadata(cli, disk, holders, true, kyok_bytes(NULL, 0));
    cli->error = before;
    if (unlink(disk->pending) != 0 && errno != ENOENT)
        return kyok_fail_errno(&cli->error, disk->pending, "the stale record cannot be removed");
    return disk_sync_folder(cli, disk->pending);
}

/* Metadata first: while the pending file exists a second run knows that this one did not end. */
enum kyok_status holders_commit(struct cli *cli, const struct disk *disk,
                                const struct holders *holders, struct kyok_bytes json)
{
    KYOK_TRY(write_metadata(cli, disk, holders, false, json));
    KYOK_TRY(write_metadata(cli, disk, holders, true, kyok_bytes(NULL, 0)));
    return disk_commit_record(cli, disk);
}
