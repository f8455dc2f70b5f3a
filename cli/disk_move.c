/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order: marker (RECORD.from, which names the disk that is copied) -> the new disk and its
 * record -> the data -> the VM's metadata -> the marker goes. A second run finds the marker and
 * goes on; it copies again only while no VM has the new disk.
 */
#include "cli/disk_move.h"
#include "cli/disk_attributes.h"
#include "cli/disk_device.h"
#include "cli/disk_live.h"
#include "cli/disk_new.h"
#include "cli/disk_rekey.h"
#include "cli/vm.h"
#include "cli/vm_copy.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum mark_state { MARK_NONE, MARK_OFF, MARK_ON, MARK_COPIED };

struct move {
    struct disk from, to;
    char target[PATH_MAX], marker[PATH_MAX + 32];
    char marked_to[KYOK_UUID_TEXT]; /* the new disk's LUKS UUID, in the marker */
    struct live_vm user;            /* the VM that has the old disk and runs */
    struct kyok_record_opened old, fresh;
};

static void move_end(struct move *move)
{
    kyok_record_opened_free(&move->old);
    kyok_record_opened_free(&move->fresh);
    disk_close(&move->from);
    disk_close(&move->to);
}

/* --- the marker ------------------------------------------------------------------------------- */

/* Beside a file; for a block device in the store, by the device's name: its record is not known
 * before it is made. */
static enum kyok_status name_marker(struct cli *cli, struct move *move)
{
    struct stat status;
    int size;
    if (stat(move->target, &status) == 0 && S_ISBLK(status.st_mode))
        size = snprintf(move->marker, sizeof(move->marker), KYOK_RECORD_STORE "/%lx.from",
                        (unsigned long)status.st_rdev);
    else
        size = snprintf(move->marker, sizeof(move->marker), "%s" KYOK_RECORD_SUFFIX ".from",
                        move->target);
    return size > 0 && (size_t)size < sizeof(move->marker)
               ? KYOK_OK
               : kyok_fail(&cli->error, KYOK_INVALID, move->target, "the path is too long");
}

/* "FROM-UUID TO-UUID STATE": STATE is off, on (a VM of libvirt's had the old disk) or copied. */
static enum mark_state marked(struct move *move)
{
    char from[KYOK_UUID_TEXT] = "", state[8] = "";
    FILE *file = fopen(move->marker, "re");
    int got = file ? fscanf(file, "%36s %36s %7s", from, move->marked_to, state) : 0;
    if (file)
        fclose(file);
    if (got != 3 || strcmp(from, move->from.volume.luks.uuid) != 0)
        return MARK_NONE;
    return strcmp(state, "copied") == 0 ? MARK_COPIED
           : strcmp(state, "on") == 0   ? MARK_ON
                                        : MARK_OFF;
}

static enum kyok_status mark(struct cli *cli, const struct move *move, const char *to, bool copied)
{
    char text[96];
    snprintf(text, sizeof(text), "%s %s %s", move->from.volume.luks.uuid, to,
             copied             ? "copied"
             : *move->user.uuid ? "on"
                                : "off");
    return disk_write_record(cli, move->marker, kyok_bytes_of_text(text));
}

/* --- the new disk ----------------------------------------------------------------------------- */

static enum kyok_status make_target(struct cli *cli, struct kyok_context *context,
                                    struct move *move)
{
    KYOK_CLEANUP(disk_new_end) struct disk_new made = DISK_NEW(move->from.volume.format);
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {0};
    KYOK_AUTO_SECRET struct kyok_secret *passphrase = NULL;
    uint64_t size;
    KYOK_TRY(disk_guest_size(cli, &move->from, &size));
    KYOK_TRY(disk_new_open(cli, move->target, size, &made));
    KYOK_TRY(kyok_passphrase_new(&passphrase, &cli->error));
    KYOK_TRY(rekey_seal(cli, context, &move->from, made.luks.uuid, &move->old, 1,
                        kyok_secret_bytes(passphrase), &json));
    KYOK_TRY(mark(cli, move, made.luks.uuid, false));
    if (!made.block)
        KYOK_TRY(disk_copy_attributes(cli, move->from.volume.fd, made.fd, move->target));
    return disk_new_write(cli, &made, kyok_secret_bytes(passphrase), &json);
}

/* Without the marker a disk of that name is somebody's; also when it has another UUID. What a run
 * left that was killed before the disk had its name is of no use. */
static enum kyok_status prepare_target(struct cli *cli, struct kyok_context *context,
                                       struct move *move, enum mark_state state)
{
    struct kyok_error none;
    struct kyok_volume probe;
    KYOK_AUTO_FREE char *pending = NULL;
    if (state != MARK_NONE && access(move->target, F_OK) != 0) {
        disk_sweep(move->target);
        if (asprintf(&pending, "%s" KYOK_RECORD_SUFFIX KYOK_RECORD_PENDING_SUFFIX, move->target) >
            0)
            unlink(pending);
    }
    if (state == MARK_NONE ||
        kyok_volume_open(move->target, KYOK_VOLUME_READ, &probe, &none) != KYOK_OK)
        return make_target(cli, context, move);
    bool same = strcmp(probe.luks.uuid, move->marked_to) == 0;
    kyok_volume_close(&probe);
    return same ? mark(cli, move, move->marked_to, false) : make_target(cli, context, move);
}

/* A run that was killed between the image's name and its record's left the record pending. */
static enum kyok_status open_target(struct cli *cli, struct kyok_context *context,
                                    struct move *move)
{
    /* Of a running VM QEMU takes the locks. */
    KYOK_TRY(disk_open(cli, move->target, *move->user.uuid ? KYOK_VOLUME_READ : KYOK_VOLUME_WRITE,
                       &move->to));
    KYOK_TRY(disk_open_record(cli, context, &move->to, &move->fresh));
    if (!*move->user.uuid)
        KYOK_TRY(device_refuse_users(cli, &move->to));
    return move->to.copies.list[move->fresh.copy].pending ? disk_commit_record(cli, &move->to)
                                                          : KYOK_OK;
}

/* --- the data --------------------------------------------------------------------------------- */

static enum kyok_status copy_offline(struct cli *cli, struct move *move)
{
    KYOK_TRY(disk_copy_data(cli, &move->from.volume, kyok_secret_bytes(move->old.passphrase),
                            &move->to.volume, kyok_secret_bytes(move->fresh.passphrase)));
    return fsync(move->to.volume.fd) == 0
               ? KYOK_OK
               : kyok_fail_errno(&cli->error, move->target, "the new disk cannot be synced");
}

static enum kyok_status copy_online(struct cli *cli, struct move *move, bool again)
{
    if (again)
        vm_copy_abort(move->user.uuid, move->user.target);
    return vm_copy_disk(cli, move->user.uuid, move->user.target, &move->to);
}

/* Nothing is copied onto a disk twice once it was whole, or a VM has it: it may have been written
 * to since. */
static enum kyok_status already_copied(struct cli *cli, const struct move *move,
                                       enum mark_state state, bool *copied)
{
    struct live_vm user;
    *copied = state == MARK_COPIED;
    if (state == MARK_NONE || *copied)
        return KYOK_OK;
    enum kyok_status status = live_vm_find(move->target, true, &user, &cli->error);
    *copied = status == KYOK_OK && *user.uuid;
    return state == MARK_ON || status == KYOK_BUSY ? status : KYOK_OK;
}

/* VMs that carry the old disk's record carry the new one's instead. */
static enum kyok_status move_metadata(struct cli *cli, const struct move *move,
                                      const struct holders *holders)
{
    const struct kyok_buffer *json = &move->to.copies.list[move->fresh.copy].json;
    KYOK_AUTO_FREE char *text = strndup((const char *)json->data, json->size);
    for (size_t i = 0; text && i < holders->count; i++) {
        KYOK_TRY(vm_metadata_record(holders->vms[i], move->to.volume.luks.uuid, false, false, text,
                                    &cli->error));
        KYOK_TRY(vm_metadata_record(holders->vms[i], move->from.volume.luks.uuid, false, false,
                                    NULL, &cli->error));
    }
    return text ? KYOK_OK : kyok_fail(&cli->error, KYOK_SYSTEM, NULL, "no memory for a record");
}

static enum kyok_status copy(struct cli *cli, struct kyok_context *context, struct move *move,
                             enum mark_state state)
{
    KYOK_TRY(prepare_target(cli, context, move, state));
    KYOK_TRY(open_target(cli, context, move));
    KYOK_TRY(*move->user.uuid ? copy_online(cli, move, state != MARK_NONE)
                              : copy_offline(cli, move));
    return mark(cli, move, move->to.volume.luks.uuid, true);
}

static enum kyok_status move_data(struct cli *cli, struct kyok_context *context, struct move *move)
{
    struct holders holders = {.own_only = true};
    enum mark_state state = marked(move);
    bool copied;
    KYOK_TRY(holders_find(cli, &move->from, &holders));
    KYOK_TRY(already_copied(cli, move, state, &copied));
    KYOK_TRY(disk_open_record(cli, context, &move->from, &move->old));
    if (copied)
        strcpy(move->user.uuid, "-"); /* whoever has it now has the locks */
    KYOK_TRY(copied ? open_target(cli, context, move) : copy(cli, context, move, state));
    KYOK_TRY(move_metadata(cli, move, &holders));
    if (unlink(move->marker) != 0)
        return kyok_fail_errno(&cli->error, move->marker, "the mark cannot be removed");
    return disk_sync_folder(cli, move->marker);
}

static enum kyok_status report(struct cli *cli, const struct move *move)
{
    char secret[KYOK_UUID_TEXT];
    const struct kyok_volume *to = &move->to.volume;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer xml = {0};
    if (!kyok_uuid_of_secret(to->luks.uuid, secret) ||
        !disk_xml(move->target, to->format, to->block_device, secret, &xml))
        return kyok_fail(&cli->error, KYOK_SYSTEM, move->target, "no memory for its XML");
    if (cli->json)
        return cli_json(
            cli, json_pack("{s:o,s:o,s:s,s:b,s:o}", "image", cli_json_text(move->target), "from",
                           cli_json_text(move->from.image), "luks", to->luks.uuid, "online",
                           *move->user.uuid, "xml", cli_json_text((const char *)xml.data)));
    if (*move->user.uuid)
        printf("%s: new volume key; the VM goes on with it\n", move->target);
    else
        printf("%s", (const char *)xml.data);
    return KYOK_OK;
}

enum kyok_status disk_move(struct cli *cli, const char *image, const char *to)
{
    KYOK_CLEANUP(move_end)
    struct move move = {.from = DISK_NONE, .to = DISK_NONE};
    struct kyok_context *context = NULL;
    KYOK_AUTO_FREE char *real = realpath(image, NULL);
    if (real && !cli_option(cli, "--files-only"))
        KYOK_TRY(live_vm_find(real, false, &move.user, &cli->error));
    KYOK_TRY(disk_open(cli, image, *move.user.uuid ? KYOK_VOLUME_BESIDE_QEMU : KYOK_VOLUME_WRITE,
                       &move.from));
    if (!*move.user.uuid)
        KYOK_TRY(device_refuse_users(cli, &move.from));
    KYOK_TRY(disk_need_record(cli, &move.from));
    KYOK_TRY(disk_new_path(cli, to, move.target));
    KYOK_TRY(name_marker(cli, &move));
    KYOK_TRY(disk_context(cli, &context));
    enum kyok_status status = move_data(cli, context, &move);
    kyok_context_free(context);
    KYOK_TRY(status);
    return report(cli, &move);
}
