/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New passphrases, so that at every moment one recorded generation opens the disk:
 * pending record n+1 (synced) -> new key slot (synced) -> proved by reading again -> old slot
 * erased
 * -> the pending record becomes the record. A second run completes what was cut short.
 */
#include "cli/disk_rekey.h"
#include "cli/disk.h"
#include "cli/disk_device.h"
#include "cli/disk_holders.h"
#include "cli/disk_live.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool has_pending(const struct disk *disk)
{
    return access(disk->pending, F_OK) == 0;
}

/* The copies that are pending, or those that are not. volume NULL: whether a custodian opens one,
 * whatever the header says. */
static enum kyok_status open_copies(struct kyok_context *context, const struct disk *disk,
                                    bool pending, const struct kyok_volume *volume,
                                    struct kyok_record_opened *opened, struct kyok_error *err)
{
    const struct kyok_record_binding binding = {.luks_uuid = disk->volume.luks.uuid};
    struct kyok_record_copies some = {.count = 0};
    enum kyok_status status = KYOK_OK;
    for (size_t i = 0; i < disk->copies.count && status == KYOK_OK; i++)
        if (disk->copies.list[i].pending == pending)
            status = kyok_record_copies_add(&some, disk->copies.list[i].where, false,
                                            kyok_buffer_bytes(&disk->copies.list[i].json), err);
    if (status == KYOK_OK)
        status = kyok_record_open(context, &some, &binding, volume, DISK_TIMEOUT_MS, opened, err);
    kyok_record_copies_free(&some);
    return status;
}

/* The header refuses these copies. Only one that its custodian opens tells by that that its key
 * slot is free. */
static enum kyok_status slot_is_free(struct kyok_context *context, const struct disk *disk,
                                     bool pending, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_record_opened_free) struct kyok_record_opened opened = {0};
    return open_copies(context, disk, pending, NULL, &opened, err);
}

static bool has_former(const struct disk *disk)
{
    for (size_t i = 0; i < disk->copies.count; i++)
        if (!disk->copies.list[i].pending)
            return true;
    return false;
}

enum kyok_status rekey_prove_fresh(struct cli *cli, const char *image, struct kyok_bytes passphrase)
{
    KYOK_CLEANUP(kyok_volume_close) struct kyok_volume fresh = {.fd = -1};
    KYOK_TRY(kyok_volume_open(image, KYOK_VOLUME_READ, &fresh, &cli->error));
    return kyok_volume_unlock(&fresh, passphrase, NULL, NULL, &cli->error);
}

enum kyok_status rekey_add_slot(struct cli *cli, struct disk *disk, struct kyok_bytes old,
                                struct kyok_bytes fresh)
{
    KYOK_AUTO_SECRET struct kyok_secret *volume_key = NULL;
    unsigned slot;
    if (disk->live)
        return live_add_slot(cli, disk, old, fresh);
    KYOK_TRY(kyok_volume_unlock(&disk->volume, old, NULL, &volume_key, &cli->error));
    return kyok_volume_add_slot(&disk->volume, kyok_secret_bytes(volume_key), fresh, &slot,
                                &cli->error);
}

enum kyok_status rekey_erase_slot(struct cli *cli, struct disk *disk, unsigned slot)
{
    return disk->live ? live_erase_slot(cli, disk, slot)
                      : kyok_volume_erase_slot(&disk->volume, slot, &cli->error);
}

/* A record whose custodian is gone for good: whether its key slot is open nobody can tell any more.
 * QEMU may have written the header: it is read anew. */
static enum kyok_status tell_open_slots(struct cli *cli, const struct disk *disk, unsigned own,
                                        const char *done, const struct kyok_error *why)
{
    char list[4 * KYOK_LUKS_SLOTS] = "";
    KYOK_CLEANUP(kyok_volume_close) struct kyok_volume fresh = {.fd = -1};
    KYOK_TRY(kyok_volume_open(disk->image, KYOK_VOLUME_READ, &fresh, &cli->error));
    for (unsigned i = 0; i < KYOK_LUKS_SLOTS; i++)
        if (fresh.luks.slots[i].active && i != own)
            snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%u", *list ? ", " : "",
                     i);
    if (!*list)
        return KYOK_OK;
    kyok_fail(&cli->error, KYOK_INCOMPLETE, disk->image,
              "%s, but key slot %s may be open to a record that cannot be opened: %s", done, list,
              why->reason);
    return kyok_remedy(
        &cli->error, "kyok disk adopt --forget-old %s leaves the record's slot alone", disk->image);
}

/* A pending record that already opens the disk becomes the record, and the slot of the one before
 * is erased while that one can still tell which it is. */
static enum kyok_status complete(struct cli *cli, struct kyok_context *context, struct disk *disk,
                                 const struct holders *holders,
                                 const struct kyok_record_opened *pending)
{
    KYOK_CLEANUP(kyok_record_opened_free) struct kyok_record_opened former = {0};
    struct kyok_error why = cli->error, none;
    enum kyok_status status = open_copies(context, disk, false, &disk->volume, &former, &why);
    /* Only a custodian that answers tells whether the former slot is gone already; while it is
     * away, committing would leave that slot open for good. */
    if (kyok_status_exit_code(status) == 3) {
        cli->error = why;
        return status;
    }
    if (status == KYOK_OK && former.slot != pending->slot)
        KYOK_TRY(rekey_erase_slot(cli, disk, former.slot));
    else if (status != KYOK_OK && !disk->live) /* its slot is free, its material may be left */
        KYOK_TRY(kyok_volume_scrub_free_slots(&disk->volume, &cli->error));
    bool unknown = status != KYOK_OK && has_former(disk) &&
                   slot_is_free(context, disk, false, &none) != KYOK_OK;
    KYOK_TRY(holders_commit(cli, disk, holders,
                            kyok_buffer_bytes(&disk->copies.list[pending->copy].json)));
    return unknown ? tell_open_slots(cli, disk, pending->slot, "the run before is completed", &why)
                   : KYOK_OK;
}

/* One that does not is of a run that did not get as far as the key slot. */
static enum kyok_status drop_pending(struct cli *cli, struct disk *disk,
                                     const struct holders *holders)
{
    size_t kept = 0;
    for (size_t i = 0; i < disk->copies.count; i++) {
        struct kyok_record_copy *copy = &disk->copies.list[i];
        if (!copy->pending) {
            disk->copies.list[kept++] = *copy;
            continue;
        }
        free(copy->where);
        kyok_buffer_free(&copy->json);
    }
    disk->copies.count = kept;
    return holders_drop_pending(cli, disk, holders);
}

/* The former record opens the disk. The pending one goes if that shows that it has no key slot; if
 * its custodian is gone for good, its slot is told of. */
static enum kyok_status take_back(struct cli *cli, struct kyok_context *context, struct disk *disk,
                                  const struct holders *holders, unsigned own)
{
    struct kyok_error why = cli->error;
    enum kyok_status status = slot_is_free(context, disk, true, &why);
    if (kyok_status_exit_code(status) == 3) {
        cli->error = why;
        return status;
    }
    KYOK_TRY(drop_pending(cli, disk, holders));
    return status == KYOK_OK
               ? KYOK_OK
               : tell_open_slots(cli, disk, own, "the run before is taken back", &why);
}

enum kyok_status rekey_recover(struct cli *cli, struct kyok_context *context, struct disk *disk,
                               const struct holders *holders, bool *completed)
{
    KYOK_CLEANUP(kyok_record_opened_free) struct kyok_record_opened opened = {0};
    struct kyok_error none;
    *completed = false;
    if (!has_pending(disk))
        return KYOK_OK;
    KYOK_TRY(live_settle(cli, disk));
    enum kyok_status status = disk_open_record(cli, context, disk, &opened);
    /* adopt that was cut off before its key slot: there is no record but the pending one. */
    if (status == KYOK_REFUSED && !has_former(disk) &&
        slot_is_free(context, disk, true, &none) == KYOK_OK)
        return drop_pending(cli, disk, holders);
    KYOK_TRY(status);
    if (!disk->copies.list[opened.copy].pending)
        return take_back(cli, context, disk, holders, opened.slot);
    *completed = true;
    return complete(cli, context, disk, holders, &opened);
}

enum kyok_status rekey_seal(struct cli *cli, struct kyok_context *context, const struct disk *disk,
                            const char *luks_uuid, const struct kyok_record_opened *opened,
                            uint64_t generation, struct kyok_bytes passphrase,
                            struct kyok_buffer *json)
{
    struct kyok_policy *policy = NULL;
    struct kyok_record_binding binding = {.luks_uuid = luks_uuid};
    binding.any_vm = strcmp(opened->vm, "any") == 0;
    if (!binding.any_vm && strcmp(opened->vm, "none") != 0)
        binding.vm_uuid = opened->vm;
    if (cli_option(cli, "--key"))
        KYOK_TRY(disk_policy_option(cli, "--key", &policy));
    else
        KYOK_TRY(
            disk_policy_of(cli, kyok_buffer_bytes(&disk->copies.list[opened->copy].json), &policy));
    enum kyok_status status =
        kyok_record_seal(context, policy, &binding, generation, passphrase, json, &cli->error);
    kyok_policy_free(policy);
    return status;
}

static enum kyok_status swap_slots(struct cli *cli, struct disk *disk,
                                   const struct kyok_record_opened *opened,
                                   struct kyok_bytes passphrase)
{
    KYOK_TRY(rekey_add_slot(cli, disk, kyok_secret_bytes(opened->passphrase), passphrase));
    KYOK_TRY(rekey_prove_fresh(cli, disk->image, passphrase));
    return rekey_erase_slot(cli, disk, opened->slot);
}

/* Without the new slot the pending record is worth nothing, and would be in the way of revoke. */
static enum kyok_status give_up(struct cli *cli, struct disk *disk, const struct holders *holders,
                                struct kyok_bytes passphrase)
{
    const struct kyok_error why = cli->error;
    if (rekey_prove_fresh(cli, disk->image, passphrase) == KYOK_REFUSED)
        (void)drop_pending(cli, disk, holders);
    cli->error = why;
    return cli->error.status;
}

static enum kyok_status rekey(struct cli *cli, struct kyok_context *context, struct disk *disk,
                              const struct holders *holders, uint64_t *generation)
{
    KYOK_CLEANUP(kyok_record_opened_free) struct kyok_record_opened opened = {0};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {0};
    KYOK_AUTO_SECRET struct kyok_secret *passphrase = NULL;
    KYOK_TRY(disk_open_record(cli, context, disk, &opened));
    KYOK_TRY(kyok_passphrase_new(&passphrase, &cli->error));
    KYOK_TRY(rekey_seal(cli, context, disk, disk->volume.luks.uuid, &opened, opened.generation + 1,
                        kyok_secret_bytes(passphrase), &json));
    enum kyok_status status = holders_write(cli, disk, holders, true, kyok_buffer_bytes(&json));
    if (status == KYOK_OK)
        status = swap_slots(cli, disk, &opened, kyok_secret_bytes(passphrase));
    if (status != KYOK_OK)
        return give_up(cli, disk, holders, kyok_secret_bytes(passphrase));
    *generation = opened.generation + 1;
    return holders_commit(cli, disk, holders, kyok_buffer_bytes(&json));
}

enum kyok_status rekey_report(struct cli *cli, const struct disk *disk, const char *done,
                              uint64_t generation)
{
    if (cli->json)
        return cli_json(cli, json_pack("{s:o,s:s,s:I}", "image", cli_json_text(disk->image), "done",
                                       done, "generation", (json_int_t)generation));
    if (generation)
        printf("%s: %s, generation %llu\n", disk->image, done, (unsigned long long)generation);
    else
        printf("%s: %s\n", disk->image, done);
    if (generation == 0 && !disk->live && kyok_volume_active_slots(&disk->volume) > 1)
        printf("%u key slots are open; kyok disk adopt --forget-old %s leaves the record's alone\n",
               kyok_volume_active_slots(&disk->volume), disk->image);
    return KYOK_OK;
}

enum kyok_status rekey_run(struct cli *cli, struct disk *disk, rekey_work *work, const char *done)
{
    struct kyok_context *context = NULL;
    struct holders holders = {.own_only = false};
    bool completed;
    uint64_t generation = 0;
    KYOK_TRY(disk_need_record(cli, disk));
    KYOK_TRY(device_refuse_clones(cli, disk));
    KYOK_TRY(holders_find(cli, disk, &holders));
    KYOK_TRY(holders_refuse_held(cli, disk));
    KYOK_TRY(disk_context(cli, &context));
    enum kyok_status status = rekey_recover(cli, context, disk, &holders, &completed);
    if (status == KYOK_OK && !completed)
        status = work(cli, context, disk, &holders, &generation);
    kyok_context_free(context);
    KYOK_TRY(status);
    return rekey_report(cli, disk, completed ? "the run before is completed" : done, generation);
}

static enum kyok_status run_rekey(struct cli *cli)
{
    KYOK_CLEANUP(disk_close) struct disk disk = DISK_NONE;
    KYOK_TRY(live_disk_open(cli, cli->operands[0], &disk));
    return rekey_run(cli, &disk, rekey, "new passphrase");
}

static const struct cli_option rekey_options[] = {
    {.name = "--key", .argument = "POLICY", .summary = "seal the new passphrase to this policy"},
    HOLDERS_OPTION,
    LIVE_OPTION,
};
const struct cli_verb cli_disk_rekey_verbs[] = {
    {.words = "disk rekey",
     .operands = "IMAGE",
     .least = 1,
     .most = 1,
     .summary = "give a disk a new passphrase and key slot",
     .description =
         "Makes a new passphrase, seals it, adds its key slot, proves it and erases the old slot. "
         "While the VM runs, its QEMU writes the slots (libvirt marks the VM as tainted by "
         "custom-monitor, and its I/O stops for a second or two). At every moment the record or "
         "its pending copy opens the disk, and a "
         "second run completes one that was cut short. Who kept an old header and its record still "
         "has the volume key: kyok disk reencrypt ends that.",
     CLI_OPTIONS(rekey_options),
     .run = run_rekey},
    {0},
};
