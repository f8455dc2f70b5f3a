/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kyok setup: from the tokens that are there to a kyok.conf, and the lines that programs need. The
 * file's first line marks it as made here, so that it can be made again, or taken back.
 */
#include "cli/setup.h"

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void setup_free(struct setup *setup)
{
    for (size_t i = 0; i < setup->group_count; i++) {
        free(setup->groups[i].module);
        free(setup->groups[i].label);
        free(setup->groups[i].pin_source);
        json_decref(setup->groups[i].mechanisms);
    }
    json_decref(setup->problems);
    json_decref(setup->endpoints);
    kyok_buffer_free(&setup->conf);
    kyok_buffer_free(&setup->openssl);
    kyok_buffer_free(&setup->nginx);
    kyok_buffer_free(&setup->libvirt);
    kyok_buffer_free(&setup->credentials);
}

enum kyok_status setup_no_memory(struct setup *setup)
{
    return kyok_fail(&setup->cli->error, KYOK_SYSTEM, NULL, "memory is short");
}

enum present { ABSENT, OURS, FOREIGN };

static enum kyok_status look(struct setup *setup, enum present *present)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    *present = ABSENT;
    if (access(setup->path, F_OK) != 0)
        return KYOK_OK;
    KYOK_TRY(cli_read_file(setup->path, 1 << 20, &text, &setup->cli->error));
    *present =
        text.size >= strlen(SETUP_MARK) && memcmp(text.data, SETUP_MARK, strlen(SETUP_MARK)) == 0
            ? OURS
            : FOREIGN;
    return KYOK_OK;
}

static enum kyok_status undo(struct setup *setup)
{
    struct kyok_error *err = &setup->cli->error;
    enum present present;
    KYOK_TRY(look(setup, &present));
    if (present == ABSENT)
        return kyok_fail(err, KYOK_NOT_FOUND, setup->path, "there is nothing to take back");
    if (present == FOREIGN)
        return kyok_fail(err, KYOK_REFUSED, setup->path, "\"kyok setup\" did not make this file");
    if (unlink(setup->path) != 0)
        return kyok_fail_errno(err, setup->path, "the file cannot be removed");
    if (setup->cli->json)
        return cli_json(setup->cli, json_pack("{s:o}", "removed", cli_json_text(setup->path)));
    printf("Removed %s\n", setup->path);
    return KYOK_OK;
}

static enum kyok_status write_file(struct setup *setup)
{
    struct kyok_error *err = &setup->cli->error;
    enum present present;
    KYOK_AUTO_FREE char *copy = strdup(setup->path);
    if (copy == NULL)
        return setup_no_memory(setup);
    KYOK_TRY(look(setup, &present));
    if (present == FOREIGN) {
        kyok_fail(err, KYOK_REFUSED, setup->path, "the file exists and is not \"kyok setup\"'s");
        return kyok_remedy(err, "add the sections that \"kyok setup --dry-run\" prints by hand");
    }
    if (mkdir(dirname(copy), 0755) != 0 && errno != EEXIST)
        return kyok_fail_errno(err, copy, "the folder cannot be made");
    return cli_write_file(setup->path, kyok_buffer_bytes(&setup->conf), 0644, err);
}

static enum kyok_status run_steps(struct setup *setup)
{
    struct cli *cli = setup->cli;
    const char *pin_source = cli_option(cli, "--pin-source");
    bool dry = cli_option(cli, "--dry-run") != NULL;
    if (cli_option(cli, "--undo") != NULL)
        return undo(setup);
    if (pin_source != NULL)
        KYOK_TRY(kyok_pin_source_check(pin_source, &cli->error));
    KYOK_TRY(setup_check_kmip(setup));
    KYOK_TRY(setup_find_tokens(setup));
    KYOK_TRY(setup_write_texts(setup));
    if (!dry)
        KYOK_TRY(write_file(setup));
    return setup_report(setup, !dry);
}

static enum kyok_status run_setup(struct cli *cli)
{
    const char *path = cli->config_path != NULL ? cli->config_path : secure_getenv("KYOK_CONF");
    struct setup setup = {.cli = cli,
                          .path = path != NULL ? path : KYOK_DEFAULT_CONFIG,
                          .problems = json_array(),
                          .endpoints = json_array()};
    enum kyok_status status = run_steps(&setup);
    setup_free(&setup);
    return status;
}

static const struct cli_option setup_options[] = {
    {.name = "--module",
     .argument = "FILE",
     .summary = "use this PKCS#11 module, instead of all that are found",
     .repeatable = true},
    {.name = "--token",
     .argument = "LABEL",
     .summary = "use only the token with this label",
     .repeatable = true},
    {.name = "--pin-source",
     .argument = "SOURCE",
     .summary = "where the PIN comes from, instead of credential:kyok-NAME"},
    {.name = "--kmip",
     .argument = "NAME",
     .summary =
         "a group for the KMIP server that --server, --ca, --certificate and --key describe; "
         "tokens are then looked for with --module only"},
    {.name = "--server",
     .argument = "URL",
     .summary = "kmips://HOST:PORT, one for each replica",
     .repeatable = true},
    {.name = "--ca", .argument = "FILE", .summary = "who signs the server's certificate"},
    {.name = "--certificate", .argument = "FILE", .summary = "of this host, for the server"},
    {.name = "--key",
     .argument = "FILE",
     .summary = "of that certificate: a PEM file, or a pkcs11: reference"},
    {.name = "--test",
     .summary =
         "log in and try each mechanism, instead of believing the lists; ask the KMIP server"},
    {.name = "--dry-run", .summary = "write nothing, print what would be written"},
    {.name = "--undo", .summary = "remove the kyok.conf that setup made"},
};

const struct cli_verb cli_setup_verbs[] = {
    {.words = "setup",
     .summary = "find tokens, take in a KMIP server, write kyok.conf",
     .description =
         "Finds PKCS#11 modules and their tokens, says what each token can do for kyok by its "
         "mechanisms, writes kyok.conf with one group per token label (tokens of one module with "
         "one "
         "label are taken for replicas), and prints the lines for openssl.cnf, nginx and libvirt "
         "and "
         "the commands that seal the PINs. A KMIP server is never searched for: --kmip and the "
         "options with it describe one. Without --test it logs in nowhere. It replaces no "
         "kyok.conf but one "
         "that "
         "it made.",
     CLI_OPTIONS(setup_options),
     .run = run_setup},
    {0},
};
