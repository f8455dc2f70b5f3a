/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/disk_live.h"
#include "cli/disk_device.h"
#include "cli/live_qemu.h"
#include "cli/vm.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define JOB "kyok-amend"
#define OLD_SECRET "kyok-former"
#define NEW_SECRET "kyok-next"
/* QEMU measures the processor to choose the iterations and gives up under load. */
#define MEASURING_FAILED "accurate CPU usage"
#define TRIES 20

/* --- whose disk it is ------------------------------------------------------------------------- */

/* libvirt's name for the disk, or NULL. */
static const char *target_of(const struct domain *domain, const char *image)
{
    for (size_t i = 0; i < domain->volume_count; i++)
        if (domain->volumes[i].path && vm_same_disk(domain->volumes[i].path, image))
            return domain->volumes[i].target;
    return NULL;
}

/* A VM whose XML kyok refuses has its disks all the same; one that is gone since has none. */
static enum kyok_status look_at_unreadable(const char *uuid, const char *image,
                                           const struct kyok_error *why, struct kyok_error *err)
{
    bool listed = true;
    if (vm_lists_disk(uuid, true, image, &listed, err) != KYOK_OK && vm_is_gone(uuid))
        return KYOK_OK;
    if (!listed)
        return KYOK_OK;
    kyok_fail(err, KYOK_BUSY, image, "VM %s has the disk, or may have, and cannot be read: %s",
              uuid, why->what);
    return kyok_remedy(err, "mend its XML or metadata (virsh edit), or stop it");
}

static enum kyok_status look_at_vm(const char *uuid, const char *image, struct live_vm *vm,
                                   struct kyok_error *err)
{
    struct domain domain;
    struct kyok_error none;
    if (vm_domain(uuid, true, &domain, &none) != KYOK_OK)
        return look_at_unreadable(uuid, image, &none, err);
    const char *target = target_of(&domain, image);
    if (target && *vm->uuid) {
        kyok_fail(err, KYOK_BUSY, image, "two VMs share the disk, %s and %s", vm->uuid, uuid);
        kyok_remedy(err, "stop one of them");
    } else if (target) {
        snprintf(vm->target, sizeof(vm->target), "%s", target);
    }
    domain_free(&domain);
    if (!target)
        return KYOK_OK;
    if (*vm->uuid)
        return err->status;
    return kyok_uuid_canonical(uuid, vm->uuid)
               ? KYOK_OK
               : kyok_fail(err, KYOK_FAULT, image, "libvirt names no proper UUID of its VM");
}

/* QEMU's locks do not tell of block devices: libvirt gives QEMU a device node of its own, and locks
 * belong to nodes. */
enum kyok_status live_vm_find(const char *image, bool all, struct live_vm *vm,
                              struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer list = {0};
    *vm = (struct live_vm){.uuid = ""};
    if (!program_exists("virsh"))
        return KYOK_OK;
    enum kyok_status status = vm_virsh(&list, err, "list", "--uuid", all ? "--all" : NULL, NULL);
    if (status != KYOK_OK)
        return all ? status : KYOK_OK;
    char *rest = (char *)list.data, *uuid;
    while (vm_next_line(&rest, &uuid))
        KYOK_TRY(look_at_vm(uuid, image, vm, err));
    return KYOK_OK;
}

/* --- which block node it is ------------------------------------------------------------------- */

/* The encryption's details, for luks and qcow2 nodes. */
static const char *node_uuid(const json_t *node)
{
    const json_t *data =
        json_object_get(json_object_get(json_object_get(node, "image"), "format-specific"), "data");
    const json_t *encrypt = json_object_get(data, "encrypt");
    return json_string_value(json_object_get(encrypt ? encrypt : data, "uuid"));
}

/* Images may share a LUKS UUID (a copy plugged beside its original): then the name decides. */
static enum kyok_status choose_node(struct live_qemu *qemu, const struct disk *disk,
                                    const json_t *nodes, struct kyok_error *err)
{
    size_t fits = 0, named = 0;
    const json_t *node, *by_uuid = NULL, *by_name = NULL;
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        node = json_array_get(nodes, i);
        const char *uuid = node_uuid(node),
                   *file = json_string_value(json_object_get(node, "file"));
        if (!uuid || strcasecmp(uuid, disk->volume.luks.uuid) != 0)
            continue;
        fits++;
        by_uuid = node;
        if (file && strstr(file, disk->image)) {
            named++;
            by_name = node;
        }
    }
    node = fits == 1 ? by_uuid : named == 1 ? by_name : NULL;
    const char *name = json_string_value(json_object_get(node, "node-name"));
    if (!name || strlen(name) >= sizeof(qemu->node))
        return kyok_fail(err, fits > 1 ? KYOK_AMBIGUOUS : KYOK_NOT_FOUND, disk->image,
                         "%zu of the running QEMU's block nodes are this volume", fits);
    strcpy(qemu->node, name);
    return KYOK_OK;
}

static enum kyok_status find_node(struct live_qemu *qemu, const struct disk *disk,
                                  struct kyok_error *err)
{
    json_t *nodes = NULL;
    KYOK_TRY(live_qemu_execute(qemu, "query-named-block-nodes", json_object(), &nodes, err));
    enum kyok_status status = choose_node(qemu, disk, nodes, err);
    json_decref(nodes);
    return status;
}

enum kyok_status live_disk_open(struct cli *cli, const char *image, struct disk *disk)
{
    const char *socket = cli_option(cli, "--qmp");
    struct live_vm vm = {.uuid = ""};
    KYOK_AUTO_FREE char *real = realpath(image, NULL);
    if (real && !socket && !cli_option(cli, "--files-only"))
        KYOK_TRY(live_vm_find(real, false, &vm, &cli->error));
    if (!*vm.uuid && !socket) {
        KYOK_TRY(disk_open(cli, image, KYOK_VOLUME_WRITE, disk));
        return device_refuse_users(cli, disk);
    }
    KYOK_TRY(disk_open(cli, image, KYOK_VOLUME_BESIDE_QEMU, disk));
    disk->live = calloc(1, sizeof(*disk->live));
    if (!disk->live)
        return kyok_fail(&cli->error, KYOK_SYSTEM, image, "no memory");
    disk->live->qmp.fd = -1;
    strcpy(disk->live->vm, vm.uuid);
    if (socket)
        KYOK_TRY(live_qemu_socket(disk->live, socket, &cli->error));
    return find_node(disk->live, disk, &cli->error);
}

/* --- key slots -------------------------------------------------------------------------------- */

/* Takes slots, the amend options of LUKS. */
static enum kyok_status amend_once(struct cli *cli, const struct disk *disk, json_t *slots)
{
    struct live_qemu *qemu = disk->live;
    json_t *options;
    if (disk->volume.format == KYOK_VOLUME_QCOW2) {
        json_object_set_new(slots, "format", json_string("luks"));
        options = json_pack("{s:s,s:o}", "driver", "qcow2", "encrypt", slots);
    } else {
        json_object_set_new(slots, "driver", json_string("luks"));
        options = slots;
    }
    KYOK_TRY(live_qemu_execute(
        qemu, "x-blockdev-amend",
        json_pack("{s:s,s:s,s:o}", "job-id", JOB, "node-name", qemu->node, "options", options),
        NULL, &cli->error));
    return live_qemu_job(qemu, JOB, &cli->error);
}

static enum kyok_status amend(struct cli *cli, const struct disk *disk, json_t *slots)
{
    struct kyok_error none;
    enum kyok_status status = KYOK_REFUSED;
    /* A job of a run that was killed: it has ended by now, or does before another can begin. */
    (void)live_qemu_job(disk->live, JOB, &none);
    for (int i = 0; i < TRIES && status != KYOK_OK; i++) {
        status = amend_once(cli, disk, json_deep_copy(slots));
        if (status != KYOK_OK && !strstr(cli->error.reason, MEASURING_FAILED))
            break;
    }
    json_decref(slots);
    /* QEMU does not promise that what it wrote is on the disk. */
    if (status == KYOK_OK && fsync(disk->volume.fd) != 0)
        return kyok_fail_errno(&cli->error, disk->image, "the LUKS header cannot be synced");
    return status;
}

/* While it runs the header changes under the reader. */
enum kyok_status live_settle(struct cli *cli, struct disk *disk)
{
    struct kyok_error none;
    struct kyok_volume fresh;
    if (!disk->live)
        return KYOK_OK;
    (void)live_qemu_job(disk->live, JOB, &none);
    KYOK_TRY(kyok_volume_open(disk->image, KYOK_VOLUME_READ, &fresh, &cli->error));
    disk->volume.luks = fresh.luks;
    kyok_volume_close(&fresh);
    return KYOK_OK;
}

enum kyok_status live_add_slot(struct cli *cli, const struct disk *disk, struct kyok_bytes old,
                               struct kyok_bytes fresh)
{
    struct live_qemu *qemu = disk->live;
    enum kyok_status status = live_qemu_add_secret(qemu, OLD_SECRET, old, &cli->error);
    if (status == KYOK_OK)
        status = live_qemu_add_secret(qemu, NEW_SECRET, fresh, &cli->error);
    /* "secret": the one that QEMU opened the volume with may be of a passphrase before. */
    if (status == KYOK_OK)
        status = amend(cli, disk,
                       json_pack("{s:s,s:s,s:s,s:i}", "state", "active", "secret", OLD_SECRET,
                                 "new-secret", NEW_SECRET, "iter-time", 10));
    live_qemu_drop_secret(qemu, OLD_SECRET);
    live_qemu_drop_secret(qemu, NEW_SECRET);
    return status;
}

enum kyok_status live_erase_slot(struct cli *cli, const struct disk *disk, unsigned slot)
{
    return amend(cli, disk, json_pack("{s:s,s:i}", "state", "inactive", "keyslot", (int)slot));
}
