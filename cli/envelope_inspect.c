/* SPDX-License-Identifier: Apache-2.0 */
/* kyok inspect: what envelopes say of themselves. No custodian is contacted. */
#include "cli/envelope.h"

#include <stdlib.h>
#include <string.h>

static const struct cli_option inspect_options[] = {
    {.name = "--foreign", .summary = "accept JWE JSON that kyok did not write"},
};

bool cli_kid_is_released(const char *kid, const struct kyok_config *config)
{
    const struct kyok_kmip_config *group = NULL;
    struct kyok_reference *reference = NULL;
    struct kyok_error ignored;

    if (kid == NULL ||
        kyok_reference_parse(kid, KYOK_FROM_DATA, config, &reference, &ignored) != KYOK_OK)
        return false;
    if (reference->kind == KYOK_REFERENCE_KMIP && reference->group != NULL)
        group = kyok_config_kmip(config, reference->group);
    kyok_reference_free(reference);
    return group != NULL && group->release;
}

/* --- JSON ------------------------------------------------------------------------------------ */

static json_t *recipient_json(const struct kyok_envelope_recipient *recipient,
                              const struct kyok_config *config)
{
    json_t *json = json_pack("{s:s}", "alg", kyok_envelope_algorithm_name(recipient->algorithm));

    if (json != NULL && recipient->kid != NULL)
        json_object_set_new(json, "kid", cli_json_text(recipient->kid));
    if (json != NULL && cli_kid_is_released(recipient->kid, config))
        json_object_set_new(json, "leaves-the-custodian", json_true());
    return json;
}

static json_t *layers_json(const struct kyok_envelope *envelope, const struct kyok_config *config)
{
    json_t *layers = json_array();

    for (size_t i = 0; i < kyok_envelope_layer_count(envelope); i++) {
        const struct kyok_envelope_layer *layer = kyok_envelope_layer(envelope, i);
        json_t *alternatives = json_array();

        for (size_t j = 0; j < layer->count; j++)
            json_array_append_new(alternatives, recipient_json(&layer->recipients[j], config));
        json_array_append_new(layers, alternatives);
    }
    return layers;
}

json_t *cli_envelope_json(const struct kyok_envelope *envelope, const struct kyok_config *config)
{
    const struct kyok_envelope_claims *claims = kyok_envelope_claims(envelope);
    json_t *json = json_object();

    if (claims != NULL) {
        json_object_set_new(json, "use", cli_json_text(claims->use));
        json_object_set_new(json, "owner", cli_json_text(claims->owner));
        json_object_set_new(json, "generation", json_integer((json_int_t)claims->generation));
    }
    json_object_set_new(json, "layers", layers_json(envelope, config));
    json_object_set_new(json, "proves-maker", json_boolean(kyok_envelope_proves_maker(envelope)));
    return json;
}

/* --- text ------------------------------------------------------------------------------------ */

static void print_layer(const struct kyok_envelope_layer *layer, const struct kyok_config *config)
{
    char room[KYOK_ENVELOPE_MAX_LAYERS * 256];

    for (size_t i = 0; i < layer->count; i++) {
        const struct kyok_envelope_recipient *recipient = &layer->recipients[i];

        printf("    %-12s  %s", kyok_envelope_algorithm_name(recipient->algorithm),
               recipient->kid != NULL ? cli_safe(recipient->kid, room, sizeof(room))
                                      : "(names no key)");
        if (cli_kid_is_released(recipient->kid, config)) {
            printf("  ");
            cli_paint(stdout, CLI_WARNING, "leaves the custodian (release = yes)");
        }
        printf("\n");
    }
}

static void print_claims(const char *path, const struct kyok_envelope *envelope, bool stream)
{
    const struct kyok_envelope_claims *claims = kyok_envelope_claims(envelope);
    char room[1024];

    cli_paint(stdout, CLI_STRONG, cli_safe(path, room, sizeof(room)));
    printf(": %s", stream ? "stream" : "envelope");
    if (claims != NULL)
        printf(", use \"%s\", owner \"%s\", generation %llu", claims->use,
               cli_safe(claims->owner, room, sizeof(room)), (unsigned long long)claims->generation);
    printf("\n");
}

static void print_envelope(const char *path, const struct kyok_envelope *envelope, bool stream,
                           const struct kyok_config *config)
{
    size_t layers = kyok_envelope_layer_count(envelope);

    print_claims(path, envelope, stream);
    for (size_t i = 0; i < layers; i++) {
        const struct kyok_envelope_layer *layer = kyok_envelope_layer(envelope, i);

        printf("  %s%s\n", i == 0 ? "opened by" : "and by", layer->count > 1 ? " any one of" : "");
        print_layer(layer, config);
    }
    if (!kyok_envelope_proves_maker(envelope)) {
        printf("  ");
        cli_paint(
            stdout, CLI_WARNING,
            "every layer has an RSA recipient: whoever holds the public keys could have made it");
        printf("\n");
    }
}

/* --- verb ------------------------------------------------------------------------------------ */

static enum kyok_status read_any(struct cli *cli, const char *path, bool foreign,
                                 struct cli_envelope_file *file)
{
    struct cli_input input = {.fd = -1};
    enum kyok_status status;

    if (!foreign && strcmp(path, "-") != 0)
        return cli_envelope_file_read(path, file, &cli->error);
    *file = (struct cli_envelope_file){.json = {.limit = KYOK_ENVELOPE_MAX + 1}};
    status = cli_input_open(cli, path, KYOK_ENVELOPE_MAX + 1, &input);
    if (status == KYOK_OK &&
        !kyok_buffer_append(&file->json, cli_input_head(&input).data, cli_input_head(&input).size))
        status = kyok_fail(&cli->error, KYOK_SYSTEM, path, "memory is short");
    cli_input_close(&input);
    return status;
}

static enum kyok_status inspect_one(struct cli *cli, const char *path, json_t *list)
{
    struct kyok_envelope_options options = {.foreign = cli_option(cli, "--foreign") != NULL};
    KYOK_CLEANUP(cli_envelope_file_free) struct cli_envelope_file file = {0};
    KYOK_CLEANUP(cli_envelope_free) struct kyok_envelope *envelope = NULL;
    const struct kyok_config *config;
    json_t *json;

    KYOK_TRY(cli_config(cli, &config));
    KYOK_TRY(read_any(cli, path, options.foreign, &file));
    if (kyok_envelope_inspect(kyok_buffer_bytes(&file.json), &options, &envelope, &cli->error) !=
        KYOK_OK) {
        if (cli->error.object[0] == '\0')
            snprintf(cli->error.object, sizeof(cli->error.object), "%s", path);
        return cli->error.status;
    }
    if (!cli->json) {
        print_envelope(path, envelope, file.stream, config);
        return KYOK_OK;
    }
    json = cli_envelope_json(envelope, config);
    json_object_set_new(json, "file", cli_json_text(path));
    json_object_set_new(json, "format", json_string(file.stream ? "stream" : "envelope"));
    json_array_append_new(list, json);
    return KYOK_OK;
}

static void json_free(json_t **json)
{
    json_decref(*json);
}

static enum kyok_status run_inspect(struct cli *cli)
{
    KYOK_CLEANUP(json_free) json_t *list = json_array();

    for (size_t i = 0; i < cli->operand_count; i++)
        KYOK_TRY(inspect_one(cli, cli->operands[i], list));
    return cli->json ? cli_json(cli, json_incref(list)) : KYOK_OK;
}

const struct cli_verb cli_envelope_inspect_verbs[] = {
    {.words = "inspect",
     .operands = "FILE...",
     .least = 1,
     .most = CLI_ANY,
     .summary = "show what an envelope or stream says of itself",
     .description =
         "Shows use, owner, generation, and for each layer the keys of which any one opens it; all "
         "layers must be opened. No custodian is contacted, so that nothing shown is authenticated "
         "yet: that happens when it is opened.",
     CLI_OPTIONS(inspect_options),
     .run = run_inspect},
    {0},
};
