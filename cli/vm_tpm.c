/* SPDX-License-Identifier: Apache-2.0 */
/* A record for the secret that encrypts a virtual TPM's state. */
#include "cli/disk.h"
#include "cli/vm.h"

#include <string.h>
#include <unistd.h>

static enum kyok_status choose_secret(struct cli *cli, char secret[KYOK_UUID_TEXT])
{
    const char *given = cli_option(cli, "--secret");
    if (given ? kyok_uuid_canonical(given, secret) : kyok_uuid_random(secret))
        return KYOK_OK;
    return cli_usage(cli, "--secret %s: expected a UUID", given ? given : "");
}

static enum kyok_status seal(struct cli *cli, const struct kyok_record_binding *binding,
                             struct kyok_buffer *json)
{
    struct kyok_policy *policy = NULL;
    struct kyok_context *context = NULL;
    KYOK_AUTO_SECRET struct kyok_secret *passphrase = NULL;
    KYOK_TRY(kyok_passphrase_new(&passphrase, &cli->error));
    KYOK_TRY(disk_policy_option(cli, "--key", &policy));
    enum kyok_status status = disk_context(cli, &context);
    if (status == KYOK_OK)
        status = kyok_record_seal(context, policy, binding, 1, kyok_secret_bytes(passphrase), json,
                                  &cli->error);
    kyok_policy_free(policy);
    kyok_context_free(context);
    return status;
}

static enum kyok_status report(struct cli *cli, const char *secret, const char *path)
{
    char xml[256];
    snprintf(xml, sizeof(xml),
             "<tpm model='tpm-crb'>\n  <backend type='emulator' version='2.0'>\n"
             "    <encryption secret='%s'/>\n  </backend>\n</tpm>\n",
             secret);
    if (cli->json)
        return cli_json(cli, json_pack("{s:s,s:o,s:s}", "secret", secret, "record",
                                       cli_json_text(path), "xml", xml));
    fputs(xml, stdout);
    return KYOK_OK;
}

static enum kyok_status run_tpm(struct cli *cli)
{
    char secret[KYOK_UUID_TEXT], vm[KYOK_UUID_TEXT];
    struct kyok_record_binding binding = {.vtpm_uuid = secret, .vm_uuid = vm};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {0};
    KYOK_TRY(choose_secret(cli, secret));
    if (!kyok_uuid_canonical(cli->operands[0], vm))
        KYOK_TRY(vm_uuid(cli->operands[0], vm, &cli->error));
    KYOK_AUTO_FREE char *path = kyok_record_store_path(secret);
    if (!path)
        return kyok_fail(&cli->error, KYOK_SYSTEM, NULL, "no memory for a path");
    if (access(path, F_OK) == 0)
        return kyok_fail(&cli->error, KYOK_REFUSED, path, "the secret has a record");
    KYOK_TRY(seal(cli, &binding, &json));
    KYOK_TRY(disk_write_record(cli, path, kyok_buffer_bytes(&json)));
    if (cli_option(cli, "--metadata")) {
        KYOK_AUTO_FREE char *text = strndup((const char *)json.data, json.size);
        KYOK_TRY(vm_metadata_record(vm, secret, true, false, text, &cli->error));
    }
    return report(cli, secret, path);
}

static const struct cli_option tpm_options[] = {
    {.name = "--key",
     .argument = "POLICY",
     .summary = "who must consent: a key, all-of(A, B), any-of(A, B)",
     .required = true},
    {.name = "--secret", .argument = "UUID", .summary = "the secret's UUID (a random one)"},
    {.name = "--metadata",
     .summary = "also keep a copy in the VM's metadata, which travels with it"},
};

const struct cli_verb cli_vm_tpm_verbs[] = {
    {.words = "vm tpm",
     .operands = "VM",
     .least = 1,
     .most = 1,
     .summary = "seal a passphrase for a VM's virtual TPM",
     .description =
         "Seals a new passphrase, bound to the VM, stores it below /etc/kyok/vm and prints "
         "the TPM's element for the domain's XML. The state of a TPM that exists stays as "
         "it is: swtpm encrypts a new one.",
     CLI_OPTIONS(tpm_options),
     .run = run_tpm},
    {0},
};
