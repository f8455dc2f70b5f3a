/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is being made. A file is written under a temporary name beside its own. */
struct creation {
    char image[PATH_MAX], temporary[PATH_MAX + 8];
    enum kyok_volume_format format;
    bool block;
    uint64_t size;
    int fd;
    struct kyok_luks luks;
    struct disk disk; /* record and pending only */
};

static void creation_end(struct creation *creation)
{
    if (creation->fd >= 0)
        close(creation->fd);
    if (creation->temporary[0])
        unlink(creation->temporary);
    disk_close(&creation->disk);
}

/* The folder must exist; the name need not. */
static enum kyok_status absolute_path(struct cli *cli, const char *given, char path[PATH_MAX])
{
    char folder[PATH_MAX];
    KYOK_AUTO_FREE char *first = strdup(given);
    KYOK_AUTO_FREE char *second = strdup(given);
    if (!first || !second || !realpath(dirname(first), folder))
        return kyok_fail_errno(&cli->error, given, "the image's folder cannot be found");
    int size =
        snprintf(path, PATH_MAX, "%s/%s", strcmp(folder, "/") ? folder : "", basename(second));
    return size > 0 && size < PATH_MAX - 16
               ? KYOK_OK
               : kyok_fail(&cli->error, KYOK_INVALID, given, "the path is too long");
}

/* A device that holds something is not overwritten unasked. */
static enum kyok_status open_device(struct cli *cli, struct creation *creation)
{
    static uint8_t start[1 << 20];
    creation->fd = open(creation->image, O_RDWR | O_EXCL | O_CLOEXEC);
    if (creation->fd < 0)
        return kyok_fail_errno(&cli->error, creation->image, "the device cannot be opened");
    ssize_t got = pread(creation->fd, start, sizeof(start), 0);
    bool empty = got >= 0;
    for (ssize_t i = 0; i < got && empty; i++)
        empty = start[i] == 0;
    if (empty || cli_option(cli, "--force"))
        return KYOK_OK;
    kyok_fail(&cli->error, KYOK_REFUSED, creation->image, "the device is not empty");
    return kyok_remedy(&cli->error, "wipefs it, or --force destroys what it holds");
}

static enum kyok_status open_target(struct cli *cli, struct creation *creation)
{
    struct stat status;
    bool exists = stat(creation->image, &status) == 0;
    creation->block = exists && S_ISBLK(status.st_mode);
    if (creation->block)
        return open_device(cli, creation);
    if (exists)
        return kyok_fail(&cli->error, KYOK_REFUSED, creation->image, "the image exists");
    if (!cli_option(cli, "--size"))
        return cli_usage(cli, "--size is missing");
    KYOK_TRY(disk_size(cli, cli_option(cli, "--size"), &creation->size));
    snprintf(creation->temporary, sizeof(creation->temporary), "%s.XXXXXX", creation->image);
    creation->fd = mkostemp(creation->temporary, O_CLOEXEC);
    if (creation->fd >= 0)
        return KYOK_OK;
    creation->temporary[0] = 0;
    return kyok_fail_errno(&cli->error, creation->image, "the image cannot be made");
}

/* IMAGE.kyok of an image that is not there may be all that opens it when it is back. */
static enum kyok_status name_record(struct cli *cli, struct creation *creation)
{
    struct disk *disk = &creation->disk;
    disk->record = creation->block ? kyok_record_store_path(creation->luks.uuid)
                                   : kyok_record_sidecar_path(creation->image);
    if (!disk->record ||
        asprintf(&disk->pending, "%s" KYOK_RECORD_PENDING_SUFFIX, disk->record) < 0)
        return kyok_fail(&cli->error, KYOK_SYSTEM, creation->image, "no memory for a path");
    if (access(disk->record, F_OK) != 0)
        return KYOK_OK;
    kyok_fail(&cli->error, KYOK_REFUSED, disk->record, "there is a record without its image");
    return kyok_remedy(&cli->error, "if the image is lost for good, remove the record");
}

static enum kyok_status seal(struct cli *cli, const struct creation *creation,
                             struct kyok_context *context, struct kyok_bytes passphrase,
                             struct kyok_buffer *json)
{
    char vm[KYOK_UUID_TEXT];
    struct kyok_record_binding binding = {.luks_uuid = creation->luks.uuid};
    struct kyok_policy *policy = NULL;
    KYOK_TRY(disk_binding_option(cli, &binding, vm));
    KYOK_TRY(disk_policy_option(cli, "--key", &policy));
    enum kyok_status status =
        kyok_record_seal(context, policy, &binding, 1, passphrase, json, &cli->error);
    kyok_policy_free(policy);
    return status;
}

/* The custodians' consent, the pending record, the image under its name, the record: whoever is
 * killed in between leaves a pending record that opens the image, or no image. */
static enum kyok_status make(struct cli *cli, struct creation *creation,
                             struct kyok_context *context, struct kyok_bytes passphrase)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {0};
    KYOK_TRY(seal(cli, creation, context, passphrase, &json));
    KYOK_TRY(disk_write_record(cli, creation->disk.pending, kyok_buffer_bytes(&json)));
    KYOK_TRY(kyok_volume_create(creation->fd, creation->image, creation->format, creation->size,
                                passphrase, &creation->luks, &cli->error));
    if (!creation->block) {
        KYOK_TRY(disk_rename_new(cli, creation->temporary, creation->image));
        creation->temporary[0] = 0;
    }
    return disk_commit_record(cli, &creation->disk);
}

/* No record: the KMIP server has the key under the LUKS UUID before anything is written here. */
static enum kyok_status make_plain(struct cli *cli, struct creation *creation,
                                   struct kyok_context *context)
{
    KYOK_AUTO_SECRET struct kyok_secret *passphrase = NULL;
    if (cli_option(cli, "--vm") || cli_option(cli, "--any-vm"))
        return cli_usage(cli, "a disk without a record cannot be bound to a VM");
    KYOK_TRY(kyok_record_make_plain(context, cli_option(cli, "--kmip"), creation->luks.uuid,
                                    &passphrase, &cli->error));
    KYOK_TRY(kyok_volume_create(creation->fd, creation->image, creation->format, creation->size,
                                kyok_secret_bytes(passphrase), &creation->luks, &cli->error));
    if (creation->block)
        return KYOK_OK;
    KYOK_TRY(disk_rename_new(cli, creation->temporary, creation->image));
    creation->temporary[0] = 0;
    return KYOK_OK;
}

static enum kyok_status report(struct cli *cli, const struct creation *creation)
{
    char secret[KYOK_UUID_TEXT];
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer xml = {0};
    if (!kyok_uuid_of_secret(creation->luks.uuid, secret) ||
        !disk_xml(creation->image, creation->format, creation->block, secret, &xml))
        return kyok_fail(&cli->error, KYOK_SYSTEM, creation->image, "no memory for its XML");
    if (cli->json)
        return cli_json(cli,
                        json_pack("{s:o,s:s,s:s,s:o,s:o,s:i}", "image",
                                  cli_json_text(creation->image), "luks", creation->luks.uuid,
                                  "secret", secret, "record", cli_json_text(creation->disk.record),
                                  "xml", cli_json_text((const char *)xml.data), "generation", 1));
    printf("%s", (const char *)xml.data);
    return KYOK_OK;
}

static enum kyok_status create(struct cli *cli, struct creation *creation)
{
    KYOK_AUTO_SECRET struct kyok_secret *passphrase = NULL;
    struct kyok_context *context = NULL;
    const char *format = cli_option(cli, "--format");
    if (!cli_option(cli, "--key") == !cli_option(cli, "--kmip"))
        return cli_usage(cli, "expected either --key or --kmip");
    creation->format = format && strcmp(format, "qcow2") == 0 ? KYOK_VOLUME_QCOW2 : KYOK_VOLUME_RAW;
    KYOK_TRY(absolute_path(cli, cli->operands[0], creation->image));
    KYOK_TRY(open_target(cli, creation));
    if (creation->block && creation->format == KYOK_VOLUME_QCOW2)
        return cli_usage(cli, "a block device gets --format raw");
    if (!kyok_uuid_random(creation->luks.uuid))
        return kyok_fail(&cli->error, KYOK_SYSTEM, creation->image, "there are no random numbers");
    KYOK_TRY(name_record(cli, creation));
    KYOK_TRY(kyok_passphrase_new(&passphrase, &cli->error));
    KYOK_TRY(disk_context(cli, &context));
    enum kyok_status status = cli_option(cli, "--kmip")
                                  ? make_plain(cli, creation, context)
                                  : make(cli, creation, context, kyok_secret_bytes(passphrase));
    kyok_context_free(context);
    KYOK_TRY(status);
    return report(cli, creation);
}

static enum kyok_status run_create(struct cli *cli)
{
    KYOK_CLEANUP(creation_end) struct creation creation = {.fd = -1, .disk = DISK_NONE};
    return create(cli, &creation);
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
         "server makes an AES key named by the disk's LUKS UUID, whose hexadecimal digits are the "
         "passphrase, and gives it to every host that may Get it.",
     CLI_OPTIONS(create_options),
     .run = run_create},
    {0},
};
