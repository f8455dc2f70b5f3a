/* SPDX-License-Identifier: Apache-2.0 */
/* An existing disk gets a key slot and a record; its old passphrase stays until it is told to go.
 */
#include "cli/disk_device.h"
#include "cli/disk_live.h"
#include "cli/disk_rekey.h"
#include "cli/vm.h"

#include <string.h>

static enum kyok_status read_file(struct cli *cli, const char *path,
                                  struct kyok_secret **passphrase)
{
    struct kyok_secret *room = kyok_secret_new(8192);
    FILE *file = fopen(path, "re");
    if (!file || !room) {
        kyok_secret_free(room);
        if (file)
            fclose(file);
        return kyok_fail_errno(&cli->error, path, "the passphrase cannot be read");
    }
    setvbuf(file, NULL, _IONBF, 0); /* no copy in a buffer of stdio's */
    kyok_secret_truncate(room, fread(kyok_secret_data(room), 1, 8192, file));
    fclose(file);
    *passphrase = room;
    return KYOK_OK;
}

/* libvirt gives a private secret to nobody. */
static enum kyok_status read_libvirt(struct cli *cli, const char *uuid,
                                     struct kyok_secret **passphrase)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer value = {0};
    if (vm_virsh(&value, &cli->error, "secret-get-value", "--secret", uuid, "--plain", NULL) !=
        KYOK_OK)
        return kyok_remedy(&cli->error, "if the secret is private, --passphrase-file");
    *passphrase = kyok_secret_copy(kyok_bytes(value.data, value.size - 1)); /* vm_virsh's NUL */
    return *passphrase ? KYOK_OK
                       : kyok_fail(&cli->error, KYOK_SYSTEM, uuid, "no memory for a passphrase");
}

static enum kyok_status read_passphrase(struct cli *cli, struct kyok_secret **passphrase)
{
    const char *path = cli_option(cli, "--passphrase-file");
    const char *secret = cli_option(cli, "--libvirt-secret");
    if (!path == !secret)
        return cli_usage(cli, "expected either --passphrase-file or --libvirt-secret");
    return path ? read_file(cli, path, passphrase) : read_libvirt(cli, secret, passphrase);
}

static enum kyok_status adopt(struct cli *cli, struct kyok_context *context, struct disk *disk,
                              const struct holders *holders, struct kyok_bytes old)
{
    char vm[KYOK_UUID_TEXT];
    struct kyok_policy *policy = NULL;
    struct kyok_record_binding binding = {.luks_uuid = disk->volume.luks.uuid};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {0};
    KYOK_AUTO_SECRET struct kyok_secret *passphrase = NULL;
    KYOK_TRY(kyok_volume_unlock(&disk->volume, old, NULL, NULL, &cli->error));
    KYOK_TRY(disk_binding_option(cli, &binding, vm));
    KYOK_TRY(disk_policy_option(cli, "--key", &policy));
    enum kyok_status status = kyok_passphrase_new(&passphrase, &cli->error);
    if (status == KYOK_OK)
        status = kyok_record_seal(context, policy, &binding, 1, kyok_secret_bytes(passphrase),
                                  &json, &cli->error);
    kyok_policy_free(policy);
    KYOK_TRY(status);
    KYOK_TRY(holders_write(cli, disk, holders, true, kyok_buffer_bytes(&json)));
    KYOK_TRY(rekey_add_slot(cli, disk, old, kyok_secret_bytes(passphrase)));
    KYOK_TRY(rekey_prove_fresh(cli, disk->image, kyok_secret_bytes(passphrase)));
    return holders_commit(cli, disk, holders, kyok_buffer_bytes(&json));
}

/* Every slot but the record's goes, and then what libvirt stores. */
static enum kyok_status forget_old(struct cli *cli, struct kyok_context *context, struct disk *disk)
{
    KYOK_CLEANUP(kyok_record_opened_free) struct kyok_record_opened opened = {0};
    KYOK_TRY(disk_open_record(cli, context, disk, &opened));
    for (unsigned i = 0; i < KYOK_LUKS_SLOTS; i++)
        if (disk->volume.luks.slots[i].active && i != opened.slot)
            KYOK_TRY(rekey_erase_slot(cli, disk, i));
    const char *secret = cli_option(cli, "--libvirt-secret");
    if (secret)
        KYOK_TRY(vm_virsh(NULL, &cli->error, "secret-undefine", "--secret", secret, NULL));
    return rekey_report(cli, disk, "only the record opens it now", opened.generation);
}

static enum kyok_status adopt_disk(struct cli *cli, struct kyok_context *context, struct disk *disk)
{
    KYOK_AUTO_SECRET struct kyok_secret *old = NULL;
    struct holders holders = {.own_only = false};
    bool completed;
    KYOK_TRY(device_refuse_clones(cli, disk));
    KYOK_TRY(holders_find(cli, disk, &holders));
    KYOK_TRY(rekey_recover(cli, context, disk, &holders, &completed));
    if (cli_option(cli, "--forget-old") && !completed)
        return forget_old(cli, context, disk);
    if (completed)
        return rekey_report(cli, disk, "the run before is completed", 0);
    if (disk->copies.count > 0) {
        kyok_fail(&cli->error, KYOK_REFUSED, disk->image, "the disk has a record");
        return kyok_remedy(&cli->error, "kyok disk adopt --forget-old %s erases the old passphrase",
                           disk->image);
    }
    if (!cli_option(cli, "--key"))
        return cli_usage(cli, "--key is missing");
    KYOK_TRY(read_passphrase(cli, &old));
    KYOK_TRY(adopt(cli, context, disk, &holders, kyok_secret_bytes(old)));
    return rekey_report(cli, disk, "adopted; the old passphrase still opens it", 1);
}

static enum kyok_status run_adopt(struct cli *cli)
{
    KYOK_CLEANUP(disk_close) struct disk disk = DISK_NONE;
    struct kyok_context *context = NULL;
    KYOK_TRY(live_disk_open(cli, cli->operands[0], &disk));
    KYOK_TRY(disk_context(cli, &context));
    enum kyok_status status = adopt_disk(cli, context, &disk);
    kyok_context_free(context);
    return status;
}

static const struct cli_option adopt_options[] = {
    {.name = "--key", .argument = "POLICY", .summary = "who must consent from now on"},
    {.name = "--passphrase-file",
     .argument = "FILE",
     .summary = "the passphrase that opens it now (the whole file; - and pipes as /dev/fd/N)"},
    {.name = "--libvirt-secret",
     .argument = "UUID",
     .summary = "libvirt's secret of that passphrase; with --forget-old it is undefined"},
    {.name = "--vm", .argument = "VM", .summary = "bind the record to this VM (name or UUID)"},
    {.name = "--any-vm", .summary = "let any VM on a host that may open the record use the disk"},
    {.name = "--forget-old", .summary = "erase every key slot but the record's"},
    HOLDERS_OPTION,
    LIVE_OPTION,
};

const struct cli_verb cli_disk_adopt_verbs[] = {
    {.words = "disk adopt",
     .operands = "IMAGE",
     .least = 1,
     .most = 1,
     .summary = "bring an existing LUKS1 disk under kyok",
     .description =
         "Adds a key slot with a random passphrase, sealed to the policy. The old passphrase keeps "
         "opening the disk until kyok disk adopt --forget-old. Where libvirt stores it, "
         "--libvirt-secret takes it from there and, with --forget-old, removes it there: the hook "
         "refuses to go past a stored secret.",
     CLI_OPTIONS(adopt_options),
     .run = run_adopt},
    {0},
};
