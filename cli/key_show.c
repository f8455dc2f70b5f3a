/* SPDX-License-Identifier: Apache-2.0 */
/* kyok key show */
#include "cli/cli.h"

#include <string.h>

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
    {
        print_member(name, value);
    }
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
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *reference = NULL;
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

const struct cli_verb cli_key_show_verbs[] = {
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
    {0},
};
