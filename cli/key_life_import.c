/* SPDX-License-Identifier: Apache-2.0 */
/* kyok key import, kyok key seal: bringing a key of one's own into an HSM. */
#include "cli/envelope.h"
#include "cli/key_life.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX 65536
#define MATERIAL_MAX 16384

/* --- the two files --------------------------------------------------------------------------- */

static json_t *hex_json(struct kyok_bytes bytes)
{
    KYOK_AUTO_FREE char *text = malloc(2 * bytes.size + 1);

    if (text == NULL)
        return NULL;
    kyok_hex_encode(bytes, text);
    return json_string(text);
}

static enum kyok_status hex_member(struct cli *cli, const json_t *json, const char *name,
                                   const char *path, struct kyok_buffer *bytes)
{
    const char *text = json_string_value(json_object_get(json, name));
    size_t size = text != NULL ? strlen(text) / 2 : 0;
    uint8_t *room = size > 0 ? kyok_buffer_reserve(bytes, size) : NULL;

    if (room == NULL || !kyok_hex_decode(text, strlen(text), room, size))
        return kyok_fail(&cli->error, KYOK_INVALID, path, "no usable \"%s\" in this file", name);
    bytes->size += size;
    return KYOK_OK;
}

static enum kyok_status read_json(struct cli *cli, const char *path, const char *kind,
                                  json_t **json)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};

    *json = NULL;
    KYOK_TRY(cli_read_file(path, FILE_MAX, &text, &cli->error));
    *json = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
    if (json_integer_value(json_object_get(*json, kind)) == 1)
        return KYOK_OK;
    return kyok_fail(&cli->error, KYOK_INVALID, path, "this is no %s file", kind);
}

static enum kyok_status write_json(struct cli *cli, const char *path, json_t *json)
{
    char *text = json_dumps(json, JSON_INDENT(2));
    struct kyok_buffer line = {0};
    enum kyok_status status = KYOK_OK;

    if (text == NULL || !kyok_buffer_append_text(&line, text) ||
        !kyok_buffer_append_text(&line, "\n"))
        status = kyok_fail(&cli->error, KYOK_SYSTEM, NULL, "memory is short");
    if (status == KYOK_OK)
        status =
            cli_write_file(path != NULL ? path : "-", kyok_buffer_bytes(&line), 0644, &cli->error);
    kyok_buffer_free(&line);
    free(text);
    json_decref(json);
    return status;
}

static void json_free(json_t **json)
{
    json_decref(*json);
}

/* --- seal, on the machine that has the material ---------------------------------------------- */

static const struct cli_option seal_options[] = {
    {.name = "--transport",
     .argument = "FILE",
     .summary = "what \"kyok key import --begin\" wrote",
     .required = true},
    {.name = "--output", .letter = 'o', .argument = "FILE", .summary = "write here"},
    {.name = "--allow-oaep-sha1", .summary = "accept a token that knows RSA-OAEP with SHA-1 only"},
};

static enum kyok_status transport_hash(struct cli *cli, const json_t *transport,
                                       enum kyok_hash *hash)
{
    const char *name = json_string_value(json_object_get(transport, "oaep"));

    *hash = name != NULL ? kyok_hash_by_name(name) : KYOK_HASH_NONE;
    if (*hash == KYOK_HASH_NONE)
        return kyok_fail(&cli->error, KYOK_INVALID, cli_option(cli, "--transport"),
                         "no usable \"oaep\" in this file");
    if (*hash != KYOK_HASH_SHA1 || cli_option(cli, "--allow-oaep-sha1") != NULL)
        return KYOK_OK;
    kyok_fail(&cli->error, KYOK_REFUSED, cli_option(cli, "--transport"),
              "the token takes RSA-OAEP with SHA-1 only");
    return kyok_remedy(&cli->error, "add --allow-oaep-sha1 if your policy allows that");
}

static void print_check_value(const uint8_t value[3])
{
    fprintf(stderr, "check value %02X%02X%02X\n", value[0], value[1], value[2]);
}

static json_t *sealed_json(const struct kyok_sealed_key *sealed)
{
    json_t *json = json_pack("{s:i, s:s, s:s, s:o, s:o, s:o}", "kyok-sealed-key", 1, "type",
                             kyok_key_type_name(sealed->type), "oaep", kyok_hash_name(sealed->hash),
                             "key", hex_json(kyok_buffer_bytes(&sealed->key_wrapped)), "material",
                             hex_json(kyok_buffer_bytes(&sealed->material)), "check-value",
                             hex_json(kyok_bytes(sealed->check_value, 3)));

    if (json != NULL && sealed->public_key.size > 0)
        json_object_set_new(json, "public-key", hex_json(kyok_buffer_bytes(&sealed->public_key)));
    return json;
}

static enum kyok_status run_seal(struct cli *cli)
{
    KYOK_CLEANUP(json_free) json_t *transport = NULL;
    KYOK_CLEANUP(cli_input_close) struct cli_input material = {.fd = -1};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer public_key = {0};
    KYOK_CLEANUP(kyok_sealed_key_free) struct kyok_sealed_key sealed = {0};

    kyok_secret_harden_process();
    KYOK_TRY(read_json(cli, cli_option(cli, "--transport"), "kyok-transport", &transport));
    KYOK_TRY(transport_hash(cli, transport, &sealed.hash));
    KYOK_TRY(hex_member(cli, transport, "public-key", cli_option(cli, "--transport"), &public_key));
    KYOK_TRY(cli_input_open(cli, cli->operands[0], MATERIAL_MAX, &material));
    KYOK_TRY(kyok_key_import_seal(kyok_buffer_bytes(&public_key), cli_input_head(&material),
                                  &sealed, &cli->error));
    print_check_value(sealed.check_value);
    return write_json(cli, cli_option(cli, "--output"), sealed_json(&sealed));
}

/* --- import, on the token's machine ---------------------------------------------------------- */

static const struct cli_option import_options[] = {
    {.name = "--begin", .summary = "make the transport key and write its public half"},
    {.name = "--output", .letter = 'o', .argument = "FILE", .summary = "write it here"},
    {.name = "--allow-oaep-sha1", .summary = "accept a token that knows RSA-OAEP with SHA-1 only"},
};

static enum kyok_status begin(struct cli *cli, struct kyok_context *context,
                              const struct kyok_reference *reference)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer public_key = {0};
    enum kyok_hash hash;

    KYOK_TRY(kyok_key_import_begin(context, reference, cli_option(cli, "--allow-oaep-sha1") != NULL,
                                   &hash, &public_key, &cli->error));
    return write_json(cli, cli_option(cli, "--output"),
                      json_pack("{s:i, s:o, s:s, s:o}", "kyok-transport", 1, "for",
                                cli_json_text(reference->object), "oaep", kyok_hash_name(hash),
                                "public-key", hex_json(kyok_buffer_bytes(&public_key))));
}

/* Absent in files of the first version, which held AES keys alone. */
static enum kyok_status read_type(struct cli *cli, const json_t *json, const char *path,
                                  struct kyok_sealed_key *sealed)
{
    static const enum kyok_key_type types[] = {KYOK_KEY_AES, KYOK_KEY_RSA, KYOK_KEY_EC};
    const char *name = json_string_value(json_object_get(json, "type"));

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(name != NULL ? name : kyok_key_type_name(KYOK_KEY_AES),
                   kyok_key_type_name(types[i])) == 0)
            sealed->type = types[i];
    if (sealed->type == KYOK_KEY_UNKNOWN)
        return kyok_fail(&cli->error, KYOK_INVALID, path, "no usable \"type\" in this file");
    return sealed->type == KYOK_KEY_AES
               ? KYOK_OK
               : hex_member(cli, json, "public-key", path, &sealed->public_key);
}

static enum kyok_status read_sealed(struct cli *cli, const char *path,
                                    struct kyok_sealed_key *sealed)
{
    KYOK_CLEANUP(json_free) json_t *json = NULL;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer told = {0};
    const char *name;

    KYOK_TRY(read_json(cli, path, "kyok-sealed-key", &json));
    name = json_string_value(json_object_get(json, "oaep"));
    sealed->hash = name != NULL ? kyok_hash_by_name(name) : KYOK_HASH_NONE;
    KYOK_TRY(read_type(cli, json, path, sealed));
    KYOK_TRY(hex_member(cli, json, "check-value", path, &told));
    if (told.size != sizeof(sealed->check_value))
        return kyok_fail(&cli->error, KYOK_INVALID, path, "a check value has 3 bytes");
    memcpy(sealed->check_value, told.data, told.size);
    KYOK_TRY(hex_member(cli, json, "key", path, &sealed->key_wrapped));
    return hex_member(cli, json, "material", path, &sealed->material);
}

static enum kyok_status finish(struct cli *cli, struct kyok_context *context,
                               const struct kyok_reference *reference, const char *path)
{
    KYOK_CLEANUP(kyok_sealed_key_free) struct kyok_sealed_key sealed = {0};

    KYOK_TRY(read_sealed(cli, path, &sealed));
    KYOK_TRY(kyok_key_import(context, reference, &sealed, &cli->error));
    if (cli->json)
        return cli_json(
            cli, json_pack("{s:o}", "check-value", hex_json(kyok_bytes(sealed.check_value, 3))));
    print_check_value(sealed.check_value);
    return KYOK_OK;
}

static enum kyok_status run_import(struct cli *cli)
{
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *reference = NULL;
    struct kyok_context *context;

    if ((cli_option(cli, "--begin") != NULL) == (cli->operand_count > 1))
        return cli_usage(cli, "either --begin, or the file that \"kyok key seal\" wrote");
    KYOK_TRY(cli_reference(cli, 0, &reference));
    KYOK_TRY(cli_context(cli, &context));
    if (cli_option(cli, "--begin") != NULL)
        return begin(cli, context, reference);
    return finish(cli, context, reference, cli->operands[1]);
}

/* --- replicate ------------------------------------------------------------------------------- */

static const struct cli_option replicate_options[] = {
    {.name = "--to",
     .argument = "TOKEN",
     .summary = "label of the token that gets the key",
     .required = true},
    {.name = "--allow-oaep-sha1", .summary = "accept tokens that know RSA-OAEP with SHA-1 only"},
};

static enum kyok_status run_replicate(struct cli *cli)
{
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *reference = NULL;
    struct kyok_context *context;

    KYOK_TRY(cli_reference(cli, 0, &reference));
    KYOK_TRY(cli_context(cli, &context));
    KYOK_TRY(kyok_key_replicate(context, reference, cli_option(cli, "--to"),
                                cli_option(cli, "--allow-oaep-sha1") != NULL, &cli->error));
    return cli->json ? cli_json(cli, json_pack("{s:o}", "replicated-to",
                                               cli_json_text(cli_option(cli, "--to"))))
                     : KYOK_OK;
}

const struct cli_verb cli_key_life_import_verbs[] = {
    {.words = "key import",
     .operands = "REF [FILE]",
     .least = 1,
     .most = 2,
     .summary = "bring a key of one's own into a token",
     .description =
         "First \"key import REF --begin -o TRANSPORT\": the token makes a key pair and this "
         "writes "
         "its public half. Elsewhere \"key seal --transport TRANSPORT MATERIAL -o FILE\" wraps the "
         "key. Then \"key import REF FILE\" unwraps it inside the token (RSA-OAEP with the best "
         "hash "
         "that the token takes, AES-KWP), as a key that cannot leave, and destroys the pair. Each "
         "side prints the check value, to compare with paper: the first three bytes of a zero "
         "block encrypted with an AES key, or of SHA-256 of a pair's public half "
         "(SubjectPublicKeyInfo). An imported key existed outside: it "
         "meets require = non-extractable, never never-extractable. A kmip: REF is refused: KMIP "
         "servers have no transport key, so that what kyok kmip register brings there passes this "
         "host in the clear.",
     CLI_OPTIONS(import_options),
     .run = run_import},
    {.words = "key replicate",
     .operands = "REF",
     .least = 1,
     .most = 1,
     .summary = "put the same key into another token of its group",
     .description = "Wraps an AES, RSA or EC key inside one token of its group for a key of the "
                    "moment of TOKEN, "
                    "and unwraps "
                    "it there, as a key that cannot leave. The tokens' keys are compared "
                    "afterwards. A key that "
                    "was made never to leave its token (as kyok makes them) is refused: such a "
                    "token is cloned "
                    "with the vendor's tool, which keeps never-extractable true.",
     CLI_OPTIONS(replicate_options),
     .run = run_replicate},
    {.words = "key seal",
     .operands = "IN",
     .least = 1,
     .most = 1,
     .summary = "wrap key material for \"key import\" on another machine",
     .description =
         "Wraps the key in IN for the token that wrote TRANSPORT: an AES key (16, 24 or 32 raw "
         "bytes) or an unencrypted RSA or EC private key (PEM or DER). "
         "Needs no token and no configuration. Prints the check value on standard error.",
     CLI_OPTIONS(seal_options),
     .run = run_seal},
    {0},
};
