/* SPDX-License-Identifier: Apache-2.0 */
/* kyok key reference: PEM files that stand for keys */
#include "cli/cli.h"

#include <string.h>
#include <unistd.h>

static const struct cli_option reference_options[] = {
    {.name = "--output",
     .letter = 'o',
     .argument = "FILE",
     .summary = "write it to FILE instead of standard output"},
    {.name = "--with-public",
     .summary = "add the public key: loading the file then contacts nothing"},
    {.name = "--force", .summary = "replace FILE whatever it holds"},
};

static bool has_label(const struct kyok_buffer *pem, const char *label)
{
    char line[80];
    int size = snprintf(line, sizeof(line), "-----BEGIN %s-----", label);
    return memmem(pem->data, pem->size, line, (size_t)size) != NULL;
}

/* A PEM reference may be renewed; a private key that stands under the same name may not be lost. */
static enum kyok_status check_replaceable(struct cli *cli, const char *path)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer present = {.limit = 1 << 20};
    struct kyok_error ignored;
    if (cli_option(cli, "--force") != NULL || strcmp(path, "-") == 0 || access(path, F_OK) != 0)
        return KYOK_OK;
    if (cli_read_file(path, 65536, &present, &ignored) == KYOK_OK &&
        (has_label(&present, KYOK_PEM_LABEL_URI) || has_label(&present, KYOK_PEM_LABEL_REFERENCE)))
        return KYOK_OK;
    kyok_fail(&cli->error, KYOK_REFUSED, path, "the file exists and holds no key reference");
    return kyok_remedy(&cli->error, "move it away, or add --force");
}

/* The key's exact reference, and what only the given one says: group, module and PIN source. */
static enum kyok_status exact_uri(struct cli *cli, const struct kyok_reference *given,
                                  const struct kyok_key_info *info, struct kyok_buffer *uri)
{
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *exact = NULL;
    struct kyok_reference extended;
    KYOK_TRY(
        kyok_reference_parse(info->reference, KYOK_FROM_CONFIGURATION, NULL, &exact, &cli->error));
    extended = *exact;
    if (extended.kind == KYOK_REFERENCE_PKCS11) {
        extended.type = info->object;
        extended.group = given->group;
        extended.module_path = given->module_path;
        extended.module_name = given->module_name;
        extended.pin_source = given->pin_source;
    }
    KYOK_TRY(kyok_reference_format(&extended, uri, &cli->error));
    return kyok_buffer_append(uri, "", 1)
               ? KYOK_OK
               : kyok_fail(&cli->error, KYOK_SYSTEM, NULL, "memory is short");
}

static enum kyok_status write_reference(struct cli *cli, const char *uri,
                                        const struct kyok_key_info *info, bool with_public)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer pem = {0};
    const char *path = cli_option(cli, "--output");
    struct kyok_bytes public_key = {NULL, 0};
    if (with_public)
        public_key = kyok_bytes(info->public_key, info->public_key_size);
    if (with_public && public_key.size == 0)
        return kyok_fail(&cli->error, KYOK_NOT_FOUND, uri,
                         "the custodian has no public key for it");
    KYOK_TRY(kyok_pem_reference_write_pem(uri, public_key, &pem, &cli->error));
    if (cli->json && path == NULL)
        return cli_json(
            cli, json_pack("{s:s, s:s%}", "reference", uri, "pem", (char *)pem.data, pem.size));
    KYOK_TRY(cli_write_file(path != NULL ? path : "-", kyok_buffer_bytes(&pem), 0644, &cli->error));
    return cli->json ? cli_json(cli, json_pack("{s:s, s:o}", "reference", uri, "file",
                                               cli_json_text(path)))
                     : KYOK_OK;
}

static enum kyok_status run_reference(struct cli *cli)
{
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *reference = NULL;
    KYOK_CLEANUP(cli_key_auto_free) struct kyok_key *key = NULL;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer uri = {0};
    const char *path = cli_option(cli, "--output");
    struct kyok_context *context;
    KYOK_TRY(cli_reference(cli, 0, &reference));
    if (reference->pin_value != NULL) {
        kyok_fail(&cli->error, KYOK_REFUSED, reference->text, "a PIN does not belong in a file");
        return kyok_remedy(&cli->error, "set pin-source in a [token] section of kyok.conf");
    }
    if (path != NULL)
        KYOK_TRY(check_replaceable(cli, path));
    KYOK_TRY(cli_context(cli, &context));
    KYOK_TRY(kyok_key_open(context, reference, kyok_bytes(NULL, 0), &key, &cli->error));
    const struct kyok_key_info *info = kyok_key_info(key);
    if (info->object != KYOK_OBJECT_PRIVATE)
        return kyok_fail(&cli->error, KYOK_INVALID, reference->text,
                         "a PEM key reference is for a private key; this is a %s object",
                         cli_object_word(info->object));
    KYOK_TRY(exact_uri(cli, reference, info, &uri));
    bool kmip = reference->kind == KYOK_REFERENCE_KMIP;
    return write_reference(cli, (char *)uri.data, info,
                           kmip || cli_option(cli, "--with-public") != NULL);
}

const struct cli_verb cli_key_reference_verbs[] = {
    {.words = "key reference",
     .operands = "REF",
     .least = 1,
     .most = 1,
     .summary = "write a PEM file that stands for a key",
     .description =
         "Writes a PEM key reference: a file that a program can be given where it wants a private "
         "key file (ssl_certificate_key of nginx, the -key option of openssl), once OpenSSL has "
         "the kyok provider. It holds no key, only the key's exact reference. The usual form, "
         "PKCS#11 "
         "PROVIDER URI, is the one of pkcs11-provider; loading it asks the token once. With "
         "--with-public, and for kmip: always, the public key is added under kyok's own label. An "
         "existing file is replaced only if it is a key reference.",
     CLI_OPTIONS(reference_options),
     .run = run_reference},
    {0},
};
