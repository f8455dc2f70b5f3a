/* SPDX-License-Identifier: Apache-2.0 */
/* kyok key generate|list|show|reference */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void reference_auto_free(struct kyok_reference **reference)
{
    kyok_reference_free(*reference);
}

static void key_auto_free(struct kyok_key **key)
{
    if (*key != NULL)
        kyok_key_free(*key);
}

/* --- generate --------------------------------------------------------------------------------- */

static const char *const type_words[] = {"rsa-2048", "rsa-3072", "rsa-4096", "ec-p256", "ec-p384",
                                         "ec-p521",  "ed25519",  "aes-256",  NULL};
static const char *const use_words[] = {"sign", "decrypt", "derive", "wrap", NULL};

static const struct cli_option generate_options[] = {
    {.name = "--type",
     .argument = "TYPE",
     .summary = "kind and size of the key",
     .choices = type_words,
     .required = true},
    {.name = "--use",
     .argument = "USE",
     .summary = "what it may do, instead of the usual for its type",
     .choices = use_words,
     .repeatable = true},
    {.name = "--id",
     .argument = "HEX",
     .summary = "its CKA_ID, instead of the reference's or a random one"},
};

static unsigned read_uses(const struct cli *cli)
{
    static const unsigned bits[] = {KYOK_USE_SIGN, KYOK_USE_DECRYPT, KYOK_USE_DERIVE,
                                    KYOK_USE_WRAP};
    unsigned uses = 0;
    const char *word;
    for (size_t at = 0; (word = cli_option_at(cli, "--use", at)) != NULL; at++) {
        for (size_t i = 0; use_words[i] != NULL; i++)
            uses |= strcmp(word, use_words[i]) == 0 ? bits[i] : 0;
    }
    return uses;
}

static enum kyok_status read_id(struct cli *cli, uint8_t *id, size_t room,
                                struct kyok_generate_request *request)
{
    const char *hex = cli_option(cli, "--id");
    size_t length = hex != NULL ? strlen(hex) : 0;
    if (hex == NULL)
        return KYOK_OK;
    if (length == 0 || length % 2 != 0 || length / 2 > room ||
        !kyok_hex_decode(hex, length, id, length / 2))
        return cli_usage(cli, "--id must be 1 to %zu bytes in hexadecimal", room);
    request->id = kyok_bytes(id, length / 2);
    return KYOK_OK;
}

static enum kyok_status print_key(struct cli *cli, const struct kyok_key_info *info)
{
    char room[2048];
    if (cli->json)
        return cli_json(cli, cli_key_json(info));
    printf("%s\n", info->reference != NULL ? cli_safe(info->reference, room, sizeof(room)) : "");
    return KYOK_OK;
}

static enum kyok_status run_generate(struct cli *cli)
{
    KYOK_CLEANUP(reference_auto_free) struct kyok_reference *reference = NULL;
    KYOK_CLEANUP(key_auto_free) struct kyok_key *key = NULL;
    struct kyok_generate_request request = {0};
    struct kyok_context *context;
    uint8_t id[64];
    cli_key_kind_read(cli_option(cli, "--type"), &request.type, &request.bits);
    request.uses = read_uses(cli);
    KYOK_TRY(read_id(cli, id, sizeof(id), &request));
    KYOK_TRY(cli_reference(cli, 0, &reference));
    KYOK_TRY(cli_context(cli, &context));
    KYOK_TRY(kyok_key_generate(context, reference, &request, &key, &cli->error));
    return print_key(cli, kyok_key_info(key));
}

/* --- list ------------------------------------------------------------------------------------- */

static const struct cli_option list_options[] = {
    {.name = "--all", .summary = "also public keys and data objects"},
    {.name = "--no-login",
     .summary = "log in nowhere: only what a token shows to anyone is listed"},
};

static bool is_wanted(const struct cli *cli, const struct kyok_key_info *info)
{
    return cli_option(cli, "--all") != NULL ||
           (info->object != KYOK_OBJECT_PUBLIC && info->object != KYOK_OBJECT_DATA);
}

static void print_row(const struct kyok_key_info *info)
{
    char room[1024], kind[CLI_KIND_SIZE];
    const char *words[CLI_KEY_FLAGS];
    size_t count = cli_key_flags(info, words, CLI_KEY_FLAGS);
    printf("  %-10s  %-9s  %s", cli_object_word(info->object), cli_key_kind(info, kind),
           info->reference != NULL ? cli_safe(info->reference, room, sizeof(room)) : "-");
    for (size_t i = 0; i < count; i++) {
        printf("%s", i == 0 ? "  " : ", ");
        cli_paint(stdout, CLI_WARNING, words[i]);
    }
    printf("\n");
}

/* What one group answered. */
struct listing {
    const char *group;
    bool released; /* a KMIP group that gives its keys away */
    struct cli_keys keys;
    enum kyok_status status;
    struct kyok_error error;
};

static void list_group(struct cli *cli, struct kyok_context *context, const char *reference_text,
                       struct listing *listing)
{
    KYOK_CLEANUP(reference_auto_free) struct kyok_reference *reference = NULL;
    listing->status =
        kyok_reference_parse(reference_text, KYOK_FROM_CONFIGURATION, kyok_context_config(context),
                             &reference, &listing->error);
    if (listing->status == KYOK_OK)
        listing->status = kyok_key_list(context, reference, cli_option(cli, "--no-login") == NULL,
                                        cli_keys_visit, &listing->keys, &listing->error);
    if (listing->status == KYOK_OK && listing->keys.failed)
        listing->status =
            kyok_fail(&listing->error, KYOK_SYSTEM, listing->group, "memory is short");
}

static json_t *json_listing(const struct cli *cli, const struct listing *listing)
{
    json_t *keys = json_array();
    json_t *object = json_pack("{s:s, s:o}", "group", listing->group, "keys", keys);
    if (listing->released)
        json_object_set_new(object, "leaves-the-custodian", json_true());
    if (listing->status != KYOK_OK)
        json_object_set_new(object, "error", cli_json_error(&listing->error));
    for (size_t i = 0; i < listing->keys.count; i++) {
        if (is_wanted(cli, &listing->keys.items[i]))
            json_array_append_new(keys, cli_key_json(&listing->keys.items[i]));
    }
    return object;
}

static void print_listing(struct cli *cli, const struct listing *listing)
{
    cli_paint(stdout, CLI_STRONG, listing->group);
    if (listing->released) {
        printf("  ");
        cli_paint(stdout, CLI_WARNING, "release = yes: keys leave this custodian");
    }
    printf("\n");
    for (size_t i = 0; i < listing->keys.count; i++) {
        if (is_wanted(cli, &listing->keys.items[i]))
            print_row(&listing->keys.items[i]);
    }
    if (listing->status != KYOK_OK) {
        cli->error = listing->error;
        cli_print_error(cli);
    }
}

struct listings {
    struct listing *items;
    size_t count;
};

static void listings_free(struct listings *listings)
{
    for (size_t i = 0; i < listings->count; i++)
        cli_keys_free(&listings->items[i].keys);
    free(listings->items);
}

static enum kyok_status print_listings(struct cli *cli, const struct listings *listings)
{
    size_t failed = 0;
    json_t *groups = cli->json ? json_array() : NULL;
    for (size_t i = 0; i < listings->count; i++) {
        const struct listing *listing = &listings->items[i];
        failed += listing->status != KYOK_OK;
        if (cli->json)
            json_array_append_new(groups, json_listing(cli, listing));
        else
            print_listing(cli, listing);
    }
    if (cli->json)
        KYOK_TRY(cli_json(cli, json_pack("{s:o}", "groups", groups)));
    if (failed == 0)
        return KYOK_OK;
    return kyok_fail(&cli->error, KYOK_INCOMPLETE, NULL, "%zu of %zu groups did not answer", failed,
                     listings->count);
}

static bool is_asked(const struct cli *cli, const char *name)
{
    return cli->operand_count == 0 || strcmp(cli->operands[0], name) == 0;
}

static void list_tokens(struct cli *cli, struct kyok_context *context, struct listings *listings)
{
    const struct kyok_config *config = kyok_context_config(context);
    for (size_t i = 0; i < config->token_count; i++) {
        char text[128];
        if (!is_asked(cli, config->tokens[i].name))
            continue;
        struct listing *listing = &listings->items[listings->count++];
        listing->group = config->tokens[i].name;
        snprintf(text, sizeof(text), "pkcs11:?kyok-group=%s", listing->group);
        list_group(cli, context, text, listing);
    }
}

static void list_kmips(struct cli *cli, struct kyok_context *context, struct listings *listings)
{
    const struct kyok_config *config = kyok_context_config(context);
    for (size_t i = 0; i < config->kmip_count; i++) {
        char text[128];
        if (!is_asked(cli, config->kmips[i].name))
            continue;
        struct listing *listing = &listings->items[listings->count++];
        listing->group = config->kmips[i].name;
        listing->released = config->kmips[i].release;
        snprintf(text, sizeof(text), "kmip://%s", listing->group);
        list_group(cli, context, text, listing);
    }
}

static enum kyok_status run_list(struct cli *cli)
{
    struct kyok_context *context;
    KYOK_TRY(cli_context(cli, &context));
    const struct kyok_config *config = kyok_context_config(context);
    size_t most = config->token_count + config->kmip_count;
    KYOK_CLEANUP(listings_free)
    struct listings listings = {calloc(most + 1, sizeof(struct listing)), 0};
    if (listings.items == NULL)
        return kyok_fail(&cli->error, KYOK_SYSTEM, NULL, "memory is short");
    list_tokens(cli, context, &listings);
    list_kmips(cli, context, &listings);
    if (listings.count == 0) {
        kyok_fail(&cli->error, KYOK_INVALID,
                  cli->operand_count > 0 ? cli->operands[0] : config->path,
                  "no such group is configured");
        return kyok_remedy(&cli->error,
                           "add a section [token NAME] or [kmip NAME], or run \"kyok setup\"");
    }
    if (listings.count == 1 && listings.items[0].status != KYOK_OK) {
        cli->error = listings.items[0].error;
        return cli->error.status;
    }
    return print_listings(cli, &listings);
}

/* --- show ------------------------------------------------------------------------------------- */

static void print_member(const char *name, const json_t *value)
{
    char room[4096];
    if (json_is_integer(value))
        printf("%-20s %lld\n", name, (long long)json_integer_value(value));
    else if (json_is_string(value))
        printf("%-20s %s\n", name, cli_safe(json_string_value(value), room, sizeof(room)));
}

static void print_details(json_t *object)
{
    const char *name;
    json_t *value;
    size_t index;
    json_object_foreach(object, name, value)
    {
        if (strcmp(name, "public-key") != 0 && strcmp(name, "certificate") != 0)
            print_member(name, value);
    }
    json_object_foreach(json_object_get(object, "attributes"), name, value)
        print_member(name, value);
    json_array_foreach(json_object_get(object, "flags"), index, value)
    {
        printf("%-20s ", "flag");
        cli_paint(stdout, CLI_WARNING, json_string_value(value));
        printf("\n");
    }
    if (json_object_get(object, "public-key") != NULL)
        fputs(json_string_value(json_object_get(object, "public-key")), stdout);
    if (json_object_get(object, "certificate") != NULL)
        fputs(json_string_value(json_object_get(object, "certificate")), stdout);
}

static enum kyok_status print_objects(struct cli *cli, const struct cli_keys *keys)
{
    json_t *objects = json_array();
    for (size_t i = 0; i < keys->count; i++)
        json_array_append_new(objects, cli_key_json(&keys->items[i]));
    if (cli->json)
        return cli_json(cli, json_pack("{s:o}", "objects", objects));
    for (size_t i = 0; i < json_array_size(objects); i++) {
        printf("%s", i > 0 ? "\n" : "");
        print_details(json_array_get(objects, i));
    }
    json_decref(objects);
    return KYOK_OK;
}

static enum kyok_status run_show(struct cli *cli)
{
    KYOK_CLEANUP(reference_auto_free) struct kyok_reference *reference = NULL;
    KYOK_CLEANUP(cli_keys_free) struct cli_keys keys = {0};
    struct kyok_context *context;
    KYOK_TRY(cli_reference(cli, 0, &reference));
    KYOK_TRY(cli_context(cli, &context));
    KYOK_TRY(kyok_key_list(context, reference, true, cli_keys_visit, &keys, &cli->error));
    if (keys.failed)
        return kyok_fail(&cli->error, KYOK_SYSTEM, NULL, "memory is short");
    if (keys.count == 0) {
        kyok_fail(&cli->error, KYOK_NOT_FOUND, reference->text, "no object fits this reference");
        return kyok_remedy(&cli->error, "\"kyok key list\" shows what there is");
    }
    return print_objects(cli, &keys);
}

/* --- reference -------------------------------------------------------------------------------- */

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
    KYOK_CLEANUP(reference_auto_free) struct kyok_reference *exact = NULL;
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
    return cli->json ? cli_json(cli, json_pack("{s:s, s:s}", "reference", uri, "file", path))
                     : KYOK_OK;
}

static enum kyok_status run_reference(struct cli *cli)
{
    KYOK_CLEANUP(reference_auto_free) struct kyok_reference *reference = NULL;
    KYOK_CLEANUP(key_auto_free) struct kyok_key *key = NULL;
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

/* --- the table -------------------------------------------------------------------------------- */

const struct cli_verb cli_key_verbs[] = {
    {.words = "key generate",
     .operands = "REF",
     .least = 1,
     .most = 1,
     .summary = "make a key inside its custodian",
     .description =
         "Makes a key inside the token or server that REF names, and prints its exact reference. A "
         "pkcs11: REF needs a token (or kyok-group=NAME) and a label, object=NAME; a kmip: REF is "
         "kmip://GROUP?name=NAME. The key is born sensitive and never extractable; where the "
         "custodian cannot do that, nothing is made. A label that exists is refused. In a group of "
         "several tokens REF must name one of them.",
     CLI_OPTIONS(generate_options),
     .run = run_generate},
    {.words = "key list",
     .operands = "[GROUP]",
     .most = 1,
     .summary = "list keys and certificates, and flag keys that could leave",
     .description =
         "Lists the private and secret keys and certificates of GROUP, or of every group of "
         "kyok.conf, each with its exact reference. A key that can be, or could once be, read out "
         "of its custodian is flagged: extractable; not sensitive; was extractable or imported; "
         "was "
         "not always sensitive. A KMIP group with release = yes is marked, since its keys leave "
         "the server. When some of several groups do not answer, the others are listed and the "
         "exit "
         "code is 4.",
     CLI_OPTIONS(list_options),
     .run = run_list},
    {.words = "key show",
     .operands = "REF",
     .least = 1,
     .most = 1,
     .summary = "show all that a custodian says of a key",
     .description =
         "Shows every object that fits REF: its exact reference, type and size, the "
         "attributes that say what it may do and whether it can leave, and its public key "
         "or certificate as PEM.",
     .run = run_show},
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
