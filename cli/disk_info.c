/* SPDX-License-Identifier: Apache-2.0 */
/* What a disk is (nothing is contacted), and whether it really opens. */
#include "cli/disk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* When the copy was written. */
static json_t *date_of(const char *file)
{
    struct stat status;
    struct tm utc;
    char text[32];
    if (stat(file, &status) != 0 || !gmtime_r(&status.st_mtime, &utc))
        return json_null();
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
    return json_string(text);
}

static json_t *copy_json(const struct kyok_record_copy *copy)
{
    struct kyok_envelope *envelope = NULL;
    struct kyok_error err;
    json_t *json = json_pack("{s:o,s:b,s:o}", "file", cli_json_text(copy->where), "pending",
                             (int)copy->pending, "written", date_of(copy->where));
    if (kyok_envelope_inspect(kyok_buffer_bytes(&copy->json), NULL, &envelope, &err) != KYOK_OK) {
        json_object_set_new(json, "error", cli_json_error(&err));
        return json;
    }
    const struct kyok_envelope_claims *claims = kyok_envelope_claims(envelope);
    bool vtpm;
    char volume[KYOK_UUID_TEXT] = "", vm[KYOK_UUID_TEXT] = "";
    if (claims && kyok_record_owner_parse(claims->owner, &vtpm, volume, vm)) {
        json_object_set_new(json, "vm", json_string(vm));
        json_object_set_new(json, "volume", json_string(volume));
        json_object_set_new(json, "generation", json_integer((json_int_t)claims->generation));
    }
    json_object_set_new(json, "layers", disk_recipients_json(envelope));
    kyok_envelope_free(envelope);
    return json;
}

static json_t *info_json(const struct disk *disk, const char *secret, const char *xml)
{
    const struct kyok_luks *luks = &disk->volume.luks;
    json_t *copies = json_array(), *slots = json_array();
    char cipher[80];
    for (size_t i = 0; i < disk->copies.count; i++)
        json_array_append_new(copies, copy_json(&disk->copies.list[i]));
    for (int i = 0; i < KYOK_LUKS_SLOTS; i++)
        if (luks->slots[i].active)
            json_array_append_new(slots, json_pack("{s:i,s:I}", "slot", i, "iterations",
                                                   (json_int_t)luks->slots[i].iterations));
    snprintf(cipher, sizeof(cipher), "%s-%s", luks->cipher, luks->mode);
    return json_pack("{s:o,s:s,s:b,s:s,s:s,s:s,s:s,s:i,s:o,s:o,s:o}", "image",
                     cli_json_text(disk->image), "format",
                     disk->volume.format == KYOK_VOLUME_QCOW2 ? "qcow2" : "raw", "block-device",
                     (int)disk->volume.block_device, "luks", luks->uuid, "secret", secret, "cipher",
                     cipher, "hash", luks->hash, "key-bits", (int)(luks->key_size * 8), "slots",
                     slots, "records", copies, "xml", cli_json_text(xml));
}

static void print_copy(const json_t *copy)
{
    const json_t *error = json_object_get(copy, "error");
    const json_t *layers = json_object_get(copy, "layers");
    printf("record      %s%s\n", json_string_value(json_object_get(copy, "file")),
           json_is_true(json_object_get(copy, "pending")) ? " (pending)" : "");
    if (error) {
        printf("  broken    %s\n", json_string_value(json_object_get(error, "what")));
        return;
    }
    const char *written = json_string_value(json_object_get(copy, "written"));
    printf("  generation %" JSON_INTEGER_FORMAT " of %s, bound to VM %s\n",
           json_integer_value(json_object_get(copy, "generation")), written ? written : "?",
           json_string_value(json_object_get(copy, "vm")));
    for (size_t i = 0; i < json_array_size(layers); i++)
        for (size_t j = 0; j < json_array_size(json_array_get(layers, i)); j++) {
            const json_t *recipient = json_array_get(json_array_get(layers, i), j);
            printf("  %s %s\n",
                   j   ? "or       "
                   : i ? "and      "
                       : "needs    ",
                   json_string_value(json_object_get(recipient, "key")));
        }
}

static enum kyok_status print_info(struct cli *cli, json_t *info)
{
    if (cli->json)
        return cli_json(cli, info);
    static const char *const fields[] = {"image", "format", "luks", "secret", "cipher", "hash"};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        printf("%-11s %s\n", fields[i], json_string_value(json_object_get(info, fields[i])));
    printf("%-11s %zu\n", "key slots", json_array_size(json_object_get(info, "slots")));
    const json_t *copies = json_object_get(info, "records");
    for (size_t i = 0; i < json_array_size(copies); i++)
        print_copy(json_array_get(copies, i));
    if (json_array_size(copies) == 0)
        puts("record      none");
    printf("%s", json_string_value(json_object_get(info, "xml")));
    json_decref(info);
    return KYOK_OK;
}

static enum kyok_status run_info(struct cli *cli)
{
    KYOK_CLEANUP(disk_close) struct disk disk = DISK_NONE;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer xml = {0};
    char secret[KYOK_UUID_TEXT];
    KYOK_TRY(disk_open(cli, cli->operands[0], KYOK_VOLUME_READ, &disk));
    if (!kyok_uuid_of_secret(disk.volume.luks.uuid, secret) ||
        !disk_xml(disk.image, disk.volume.format, disk.volume.block_device, secret, &xml))
        return kyok_fail(&cli->error, KYOK_SYSTEM, disk.image, "no memory for its XML");
    return print_info(cli, info_json(&disk, secret, (const char *)xml.data));
}

/* --- verify ----------------------------------------------------------------------------------- */

/* The volume's first sector through QEMU's own code; -U, since a VM may have it open. */
static enum kyok_status read_sector(struct cli *cli, const struct disk *disk,
                                    struct kyok_bytes passphrase)
{
    char options[PATH_MAX * 2 + 128], secret[64];
    int pipe = program_secret(passphrase);
    if (pipe < 0)
        return kyok_fail_errno(&cli->error, disk->image, "no pipe for the passphrase");
    size_t size = (size_t)snprintf(options, sizeof(options), "driver=%s,%s=s,file.filename=",
                                   disk->volume.format == KYOK_VOLUME_QCOW2 ? "qcow2" : "luks",
                                   disk->volume.format == KYOK_VOLUME_QCOW2 ? "encrypt.key-secret"
                                                                            : "key-secret");
    for (const char *at = disk->image; *at && size < sizeof(options) - 3; at++) {
        options[size++] = *at;
        if (*at == ',')
            options[size++] = ','; /* QEMU's way to write one */
    }
    options[size] = 0;
    snprintf(secret, sizeof(secret), "secret,id=s,file=/dev/fd/%d", pipe);
    const char *const argv[] = {"qemu-io", "-r",         "-U",           "--object", secret,
                                "-c",      "read 0 512", "--image-opts", options,    NULL};
    enum kyok_status status =
        program_run(argv, (int[]){pipe, -1}, DISK_TIMEOUT_MS, NULL, &cli->error);
    close(pipe);
    return status;
}

static enum kyok_status verify(struct cli *cli, struct kyok_context *context, const char *image,
                               json_t **result)
{
    KYOK_CLEANUP(disk_close) struct disk disk = DISK_NONE;
    KYOK_CLEANUP(kyok_record_opened_free) struct kyok_record_opened opened = {0};
    KYOK_TRY(disk_open(cli, image, KYOK_VOLUME_READ, &disk));
    KYOK_TRY(disk_open_record(cli, context, &disk, &opened));
    bool read = program_exists("qemu-io");
    if (read)
        KYOK_TRY(read_sector(cli, &disk, kyok_secret_bytes(opened.passphrase)));
    const char *where = disk.copies.count && !cli_option(cli, "--kmip")
                            ? disk.copies.list[opened.copy].where
                            : "the KMIP server, which gives it out";
    *result = json_pack("{s:o,s:s,s:I,s:s,s:o,s:i,s:b}", "image", cli_json_text(disk.image), "luks",
                        disk.volume.luks.uuid, "generation", (json_int_t)opened.generation, "vm",
                        opened.vm, "record", cli_json_text(where), "slot", (int)opened.slot, "read",
                        (int)read);
    if (!cli->json)
        printf("%s: generation %llu opens it, slot %u%s\n", disk.image,
               (unsigned long long)opened.generation, opened.slot,
               read ? ", first sector read" : "; qemu-io is not installed, nothing was read");
    return KYOK_OK;
}

/* Every image is tried; the last failure is the command's, and exit code 4 says that some opened.
 */
static enum kyok_status run_verify(struct cli *cli)
{
    struct kyok_context *context = NULL;
    json_t *results = json_array();
    size_t failed = 0;
    KYOK_TRY(disk_context(cli, &context));
    for (size_t i = 0; i < cli->operand_count; i++) {
        json_t *result = NULL;
        if (verify(cli, context, cli->operands[i], &result) != KYOK_OK) {
            failed++;
            result = json_pack("{s:o,s:o}", "image", cli_json_text(cli->operands[i]), "error",
                               cli_json_error(&cli->error));
            if (!cli->json && cli->operand_count > 1)
                printf("%s: %s\n", cli->operands[i], cli->error.what);
        }
        json_array_append_new(results, result);
    }
    kyok_context_free(context);
    if (cli->json && (failed == 0 || cli->operand_count > 1))
        KYOK_TRY(cli_json(cli, results));
    else
        json_decref(results);
    if (failed == 0)
        return KYOK_OK;
    return failed == cli->operand_count ? cli->error.status : (cli->error.status = KYOK_INCOMPLETE);
}

static const struct cli_option verify_options[] = {
    {.name = "--kmip",
     .argument = "GROUP",
     .summary = "a disk without a record, of this KMIP group"},
};

const struct cli_verb cli_disk_info_verbs[] = {
    {.words = "disk info",
     .operands = "IMAGE",
     .least = 1,
     .most = 1,
     .summary = "show an encrypted disk, its record and its XML",
     .description = "Shows the LUKS header, the copies of the record with generation, VM and keys, "
                    "and the disk's element for the domain's XML. Nothing is contacted and nothing "
                    "that is shown is authenticated.",
     .run = run_info},
    {.words = "disk verify",
     .operands = "IMAGE...",
     .least = 1,
     .most = CLI_ANY,
     .summary = "really open a disk: record, passphrase, first sector",
     .description = "Opens the record at its custodians, proves the passphrase on the LUKS header, "
                    "and reads the first sector through QEMU where qemu-io is installed. Exit code "
                    "4: some of the images failed.",
     CLI_OPTIONS(verify_options),
     .run = run_verify},
    {0},
};
