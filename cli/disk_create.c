/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/disk.h"
#include "cli/disk_new.h"

#include <string.h>

static enum kyok_status seal(struct cli *cli, const struct disk_new *made,
                             struct kyok_context *context, struct kyok_bytes passphrase,
                             struct kyok_buffer *json)
{
    char vm[KYOK_UUID_TEXT];
    struct kyok_record_binding binding = {.luks_uuid = made->luks.uuid};
    struct kyok_policy *policy = NULL;
    KYOK_TRY(disk_binding_option(cli, &binding, vm));
    KYOK_TRY(disk_policy_option(cli, "--key", &policy));
    enum kyok_status status =
        kyok_record_seal(context, policy, &binding, 1, passphrase, json, &cli->error);
    kyok_policy_free(policy);
    return status;
}

/* No record: the KMIP server has the key under the LUKS UUID before anything is written here. */
static enum kyok_status make_plain(struct cli *cli, struct disk_new *made,
                                   struct kyok_context *context)
{
    KYOK_AUTO_SECRET struct kyok_secret *passphrase = NULL;
    if (cli_option(cli, "--vm") || cli_option(cli, "--any-vm"))
        return cli_usage(cli, "a disk without a record cannot be bound to a VM");
    KYOK_TRY(kyok_record_make_plain(context, cli_option(cli, "--kmip"), made->luks.uuid,
                                    &passphrase, &cli->error));
    return disk_new_write(cli, made, kyok_secret_bytes(passphrase), NULL);
}

/* The custodians' consent comes first. */
static enum kyok_status make(struct cli *cli, struct disk_new *made, struct kyok_context *context)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {0};
    KYOK_AUTO_SECRET struct kyok_secret *passphrase = NULL;
    KYOK_TRY(kyok_passphrase_new(&passphrase, &cli->error));
    KYOK_TRY(seal(cli, made, context, kyok_secret_bytes(passphrase), &json));
    return disk_new_write(cli, made, kyok_secret_bytes(passphrase), &json);
}

static enum kyok_status report(struct cli *cli, const struct disk_new *made)
{
    char secret[KYOK_UUID_TEXT];
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer xml = {0};
    if (!kyok_uuid_of_secret(made->luks.uuid, secret) ||
        !disk_xml(made->image, made->format, made->block, secret, &xml))
        return kyok_fail(&cli->error, KYOK_SYSTEM, made->image, "no memory for its XML");
    if (cli->json)
        return cli_json(
            cli,
            json_pack("{s:o,s:s,s:s,s:o,s:o,s:i}", "image", cli_json_text(made->image), "luks",
                      made->luks.uuid, "secret", secret, "record",
                      cli_option(cli, "--kmip") ? json_null() : cli_json_text(made->disk.record),
                      "xml", cli_json_text((const char *)xml.data), "generation", 1));
    printf("%s", (const char *)xml.data);
    return KYOK_OK;
}

static enum kyok_status run_create(struct cli *cli)
{
    const char *format = cli_option(cli, "--format");
    KYOK_CLEANUP(disk_new_end)
    struct disk_new made =
        DISK_NEW(format && strcmp(format, "qcow2") == 0 ? KYOK_VOLUME_QCOW2 : KYOK_VOLUME_RAW);
    struct kyok_context *context = NULL;
    uint64_t size = 0;
    if (!cli_option(cli, "--key") == !cli_option(cli, "--kmip"))
        return cli_usage(cli, "expected either --key or --kmip");
    if (cli_option(cli, "--size"))
        KYOK_TRY(disk_size(cli, cli_option(cli, "--size"), &size));
    KYOK_TRY(disk_new_open(cli, cli->operands[0], size, &made));
    KYOK_TRY(disk_context(cli, &context));
    enum kyok_status status =
        cli_option(cli, "--kmip") ? make_plain(cli, &made, context) : make(cli, &made, context);
    kyok_context_free(context);
    KYOK_TRY(status);
    return report(cli, &made);
}

static const char *const formats[] = {"raw", "qcow2", NULL};

static const struct cli_option create_options[] = {
    {.name = "--size", .argument = "SIZE", .summary = "for the guest: bytes, or 512M, 20G, 1T"},
    {.name = "--key",
     .argument = "POLICY",
     .summary = "who must consent: a key, all-of(A, B), any-of(A, B)"},
    {.name = "--kmip",
     .argument = "GROUP",
     .summary = "no record: this KMIP group keeps the passphrase itself, and gives it out"},
    {.name = "--format",
     .argument = "FORMAT",
     .summary = "raw (default) or qcow2",
     .choices = formats},
    {.name = "--vm", .argument = "VM", .summary = "bind the record to this VM (name or UUID)"},
    {.name = "--any-vm", .summary = "let any VM on a host that may open the record use the disk"},
    {.name = "--force", .summary = "overwrite a block device that is not empty"},
};

const struct cli_verb cli_disk_create_verbs[] = {
    {.words = "disk create",
     .operands = "IMAGE",
     .least = 1,
     .most = 1,
     .summary = "make an encrypted disk whose passphrase is sealed to keys",
     .description =
         "Makes a LUKS1 image (raw or qcow2) or formats a block device, with a random passphrase "
         "that is sealed to the policy and stored in IMAGE.kyok (for a block device below "
         "/etc/kyok/vm), and prints the disk's element for the domain's XML. Without --vm or "
         "--any-vm no VM can start with it until kyok disk bind. With --kmip there is no record: "
         "the "
         "server keeps the passphrase under the disk's LUKS UUID (as Secret Data; one without "
         "Register makes an AES key, whose hexadecimal digits are the passphrase), and gives it "
         "to every host that may Get it. A device that a VM of this host has as a disk, running or "
         "off, is not overwritten, whatever is forced.",
     CLI_OPTIONS(create_options),
     .run = run_create},
    {0},
};
