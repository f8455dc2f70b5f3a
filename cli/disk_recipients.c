/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs that change who may open a record and for which VM; the disk itself is not touched. */
#include "cli/disk.h"
#include "cli/disk_holders.h"
#include "cli/vm.h"

#include <stdlib.h>
#include <string.h>

/* The copy of the highest generation, and what opening it must find. */
struct current {
    struct kyok_bytes json;
    struct kyok_envelope *envelope;
    struct kyok_envelope_expected expected;
};

static void current_free(struct current *current)
{
    kyok_envelope_free(current->envelope);
}

static enum kyok_status refuse_pending(struct cli *cli, const char *where)
{
    kyok_fail(&cli->error, KYOK_BUSY, where, "a re-key of the disk has not ended");
    return kyok_remedy(&cli->error, "kyok disk rekey completes it");
}

static enum kyok_status current_find(struct cli *cli, const struct disk *disk,
                                     struct current *current)
{
    kyok_fail(&cli->error, KYOK_NOT_FOUND, disk->image, "the disk has no record");
    for (size_t i = 0; i < disk->copies.count; i++) {
        const struct kyok_record_copy *copy = &disk->copies.list[i];
        struct kyok_envelope *envelope = NULL;
        if (copy->pending)
            return refuse_pending(cli, copy->where);
        KYOK_TRY(
            kyok_envelope_inspect(kyok_buffer_bytes(&copy->json), NULL, &envelope, &cli->error));
        const struct kyok_envelope_claims *claims = kyok_envelope_claims(envelope);
        const struct kyok_envelope_claims *best =
            current->envelope ? kyok_envelope_claims(current->envelope) : NULL;
        if (!claims || (best && best->generation >= claims->generation)) {
            kyok_envelope_free(envelope);
            continue;
        }
        kyok_envelope_free(current->envelope);
        current->envelope = envelope;
        current->json = kyok_buffer_bytes(&copy->json);
        current->expected = (struct kyok_envelope_expected){KYOK_RECORD_USE, claims->owner,
                                                            claims->generation, claims->generation};
    }
    return current->envelope ? KYOK_OK : cli->error.status;
}

/* What a verb does to the record. */
typedef enum kyok_status change_function(struct cli *cli, struct kyok_context *context,
                                         const struct disk *disk, const struct current *current,
                                         struct kyok_buffer *json);

static enum kyok_status check_maker(struct cli *cli, struct kyok_bytes json)
{
    struct kyok_envelope *envelope = NULL;
    KYOK_TRY(kyok_envelope_inspect(json, NULL, &envelope, &cli->error));
    bool proves = kyok_envelope_proves_maker(envelope);
    kyok_envelope_free(envelope);
    return proves ? KYOK_OK
                  : kyok_fail(&cli->error, KYOK_INVALID, NULL,
                              "a disk record needs a layer of AES keys only");
}

static enum kyok_status report(struct cli *cli, const struct disk *disk, struct kyok_bytes json)
{
    struct kyok_envelope *envelope = NULL;
    if (!cli->json)
        return printf("%s\n", disk->record) < 0 ? KYOK_SYSTEM : KYOK_OK;
    KYOK_TRY(kyok_envelope_inspect(json, NULL, &envelope, &cli->error));
    json_t *result =
        json_pack("{s:o,s:o,s:s,s:o}", "image", cli_json_text(disk->image), "record",
                  cli_json_text(disk->record), "owner", kyok_envelope_claims(envelope)->owner,
                  "layers", disk_recipients_json(envelope));
    kyok_envelope_free(envelope);
    return cli_json(cli, result);
}

static enum kyok_status change_record(struct cli *cli, change_function *change)
{
    KYOK_CLEANUP(disk_close) struct disk disk = DISK_NONE;
    KYOK_CLEANUP(current_free) struct current current = {.envelope = NULL};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {0};
    struct kyok_context *context = NULL;
    struct holders holders = {.own_only = false};
    KYOK_TRY(disk_open(cli, cli->operands[0], KYOK_VOLUME_BESIDE_QEMU, &disk));
    KYOK_TRY(current_find(cli, &disk, &current));
    KYOK_TRY(holders_find(cli, &disk, &holders));
    KYOK_TRY(disk_context(cli, &context));
    enum kyok_status status = change(cli, context, &disk, &current, &json);
    kyok_context_free(context);
    KYOK_TRY(status);
    KYOK_TRY(check_maker(cli, kyok_buffer_bytes(&json)));
    KYOK_TRY(holders_write(cli, &disk, &holders, false, kyok_buffer_bytes(&json)));
    return report(cli, &disk, kyok_buffer_bytes(&json));
}

/* --- grant and revoke ------------------------------------------------------------------------- */

static enum kyok_status choose_layer(struct cli *cli, const struct kyok_envelope *envelope,
                                     size_t *layer)
{
    const char *text = cli_option(cli, "--layer");
    size_t count = kyok_envelope_layer_count(envelope);
    *layer = 0;
    if (!text && count > 1)
        return cli_usage(cli,
                         "the record has %zu layers: name one with --layer 1 to %zu, as kyok "
                         "disk info lists them",
                         count, count);
    if (!text)
        return KYOK_OK;
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    if (*end || number < 1 || number > count)
        return cli_usage(cli, "--layer %s: expected 1 to %zu", text, count);
    *layer = number - 1;
    return KYOK_OK;
}

static enum kyok_status parse_group(struct cli *cli, struct kyok_reference **reference)
{
    const struct kyok_config *config;
    KYOK_TRY(cli_config(cli, &config));
    return kyok_reference_parse(cli->operands[1], KYOK_FROM_CONFIGURATION, config, reference,
                                &cli->error);
}

static enum kyok_status grant(struct cli *cli, struct kyok_context *context,
                              const struct disk *disk, const struct current *current,
                              struct kyok_buffer *json)
{
    struct kyok_reference *reference = NULL;
    struct kyok_envelope_change change = {.add_count = 1};
    (void)disk;
    KYOK_TRY(choose_layer(cli, current->envelope, &change.layer));
    KYOK_TRY(parse_group(cli, &reference));
    change.add = (const struct kyok_reference *const *)&reference;
    enum kyok_status status = kyok_envelope_change(context, current->json, &current->expected,
                                                   &change, 1, NULL, json, &cli->error);
    kyok_reference_free(reference);
    return status;
}

/* The recipient that the given reference means: the same object by label, identifier or CKA_ID. */
static bool same_object(const struct kyok_reference *given, const struct kyok_reference *kid)
{
#define SAME_TEXT(field) (!given->field || (kid->field && strcmp(given->field, kid->field) == 0))
    bool named = given->object || given->has_id || given->identifier || given->name;
    bool same_id = !given->has_id || (kid->has_id && given->id_size == kid->id_size &&
                                      memcmp(given->id, kid->id, kid->id_size) == 0);
    return named && given->kind == kid->kind && same_id && SAME_TEXT(token) && SAME_TEXT(object) &&
           SAME_TEXT(group) && SAME_TEXT(identifier) && SAME_TEXT(name);
#undef SAME_TEXT
}

static enum kyok_status find_kid(struct cli *cli, const struct kyok_envelope_layer *layer,
                                 const struct kyok_reference *given, const char **kid)
{
    *kid = NULL;
    for (size_t i = 0; i < layer->count; i++) {
        struct kyok_reference *reference = NULL;
        const char *text = layer->recipients[i].kid;
        bool same = strcmp(text, cli->operands[1]) == 0;
        if (!same &&
            kyok_reference_parse(text, KYOK_FROM_DATA, NULL, &reference, &cli->error) == KYOK_OK)
            same = same_object(given, reference);
        kyok_reference_free(reference);
        if (same && *kid)
            return kyok_fail(&cli->error, KYOK_AMBIGUOUS, cli->operands[1],
                             "more than one recipient fits");
        if (same)
            *kid = text;
    }
    return *kid ? KYOK_OK
                : kyok_fail(&cli->error, KYOK_NOT_FOUND, cli->operands[1],
                            "the record's layer has no such recipient");
}

static enum kyok_status revoke(struct cli *cli, struct kyok_context *context,
                               const struct disk *disk, const struct current *current,
                               struct kyok_buffer *json)
{
    struct kyok_reference *reference = NULL;
    const char *kid = NULL;
    struct kyok_envelope_change change = {.remove = &kid, .remove_count = 1};
    (void)disk;
    KYOK_TRY(choose_layer(cli, current->envelope, &change.layer));
    KYOK_TRY(parse_group(cli, &reference));
    enum kyok_status status =
        find_kid(cli, kyok_envelope_layer(current->envelope, change.layer), reference, &kid);
    kyok_reference_free(reference);
    KYOK_TRY(status);
    return kyok_envelope_change(context, current->json, &current->expected, &change, 1, NULL, json,
                                &cli->error);
}

static enum kyok_status run_grant(struct cli *cli)
{
    return change_record(cli, grant);
}

static enum kyok_status run_revoke(struct cli *cli)
{
    return change_record(cli, revoke);
}

/* --- rewrap and bind -------------------------------------------------------------------------- */

static enum kyok_status rewrap(struct cli *cli, struct kyok_context *context,
                               const struct disk *disk, const struct current *current,
                               struct kyok_buffer *json)
{
    struct kyok_policy *policy = NULL;
    (void)disk;
    if (cli_option(cli, "--key"))
        KYOK_TRY(disk_policy_option(cli, "--key", &policy));
    else
        KYOK_TRY(disk_policy_of(cli, current->json, &policy));
    enum kyok_status status = kyok_envelope_rewrap(context, current->json, &current->expected,
                                                   policy, NULL, json, &cli->error);
    kyok_policy_free(policy);
    return status;
}

static enum kyok_status run_rewrap(struct cli *cli)
{
    return change_record(cli, rewrap);
}

static enum kyok_status bind_record(struct cli *cli, struct kyok_context *context,
                                    const struct disk *disk, const struct current *current,
                                    struct kyok_buffer *json)
{
    KYOK_CLEANUP(kyok_record_opened_free) struct kyok_record_opened opened = {0};
    struct kyok_record_binding binding = {.luks_uuid = disk->volume.luks.uuid};
    struct kyok_policy *policy = NULL;
    char vm[KYOK_UUID_TEXT];
    if (!cli_option(cli, "--vm") && !cli_option(cli, "--any-vm"))
        return cli_usage(cli, "--vm or --any-vm is missing");
    KYOK_TRY(disk_binding_option(cli, &binding, vm));
    KYOK_TRY(disk_open_record(cli, context, disk, &opened));
    KYOK_TRY(disk_policy_of(cli, current->json, &policy));
    enum kyok_status status =
        kyok_record_seal(context, policy, &binding, opened.generation,
                         kyok_secret_bytes(opened.passphrase), json, &cli->error);
    kyok_policy_free(policy);
    KYOK_TRY(status);
    if (!cli_option(cli, "--metadata"))
        return KYOK_OK;
    if (!binding.vm_uuid)
        return cli_usage(cli, "--metadata goes with --vm");
    KYOK_AUTO_FREE char *text = strndup((const char *)json->data, json->size);
    return vm_metadata_record(binding.vm_uuid, disk->volume.luks.uuid, false, false, text,
                              &cli->error);
}

static enum kyok_status run_bind(struct cli *cli)
{
    return change_record(cli, bind_record);
}

static const struct cli_option layer_options[] = {
    {.name = "--layer",
     .argument = "N",
     .summary = "which layer of an all-of record (1 is the outermost)"},
    HOLDERS_OPTION,
};
static const struct cli_option rewrap_options[] = {
    {.name = "--key",
     .argument = "POLICY",
     .summary = "the new policy; without: the same keys anew"},
    HOLDERS_OPTION,
};
static const struct cli_option bind_options[] = {
    {.name = "--vm", .argument = "VM", .summary = "bind the record to this VM (name or UUID)"},
    {.name = "--any-vm", .summary = "let any VM on a host that may open the record use the disk"},
    {.name = "--metadata",
     .summary = "also keep a copy in the VM's metadata, which travels with it"},
    HOLDERS_OPTION,
};

const struct cli_verb cli_disk_recipients_verbs[] = {
    {.words = "disk bind",
     .operands = "IMAGE",
     .least = 1,
     .most = 1,
     .summary = "bind a disk's record to a VM",
     .description =
         "Opens the record and seals it again for one VM (or any), with the same keys "
         "and passphrase. Copies of the former record still open the disk for the former "
         "VM: kyok disk rekey ends that.",
     CLI_OPTIONS(bind_options),
     .run = run_bind},
    {.words = "disk grant",
     .operands = "IMAGE KEY",
     .least = 2,
     .most = 2,
     .summary = "let hosts that can use a key open a disk",
     .description = "Adds the key of a host or host group as an alternative to one layer of the "
                    "record. Neither the disk nor its passphrase is touched.",
     CLI_OPTIONS(layer_options),
     .run = run_grant},
    {.words = "disk revoke",
     .operands = "IMAGE KEY",
     .least = 2,
     .most = 2,
     .summary = "no longer let a key open a disk",
     .description = "Removes the key from one layer of the record and gives that layer a new "
                    "content key. Copies of the former record remain what they were: kyok disk "
                    "rekey makes them worthless.",
     CLI_OPTIONS(layer_options),
     .run = run_revoke},
    {.words = "disk rewrap",
     .operands = "IMAGE",
     .least = 1,
     .most = 1,
     .summary = "seal a disk's record to another policy, or anew to newer keys",
     .description = "Changes the record's recipients only: no disk I/O, also while the VM runs.",
     CLI_OPTIONS(rewrap_options),
     .run = run_rewrap},
    {0},
};
