/* SPDX-License-Identifier: Apache-2.0 */
/* --help, from the tables: the overview, a group of verbs, one verb; as text or as JSON. */
#include "cli/cli.h"

#include <string.h>

const struct cli_exit_code cli_exit_codes[] = {
    {0, "done"},
    {1, "refused or failed"},
    {2, "wrong usage or configuration"},
    {3, "a custodian (token or server) cannot be reached"},
    {4, "incomplete: some of many, or a stream that was cut"},
};
const size_t cli_exit_code_count = sizeof(cli_exit_codes) / sizeof(cli_exit_codes[0]);

/* --- text ------------------------------------------------------------------------------------- */

#define WIDTH 78

/* Prints text in lines of WIDTH characters, broken at spaces, each behind indent spaces. */
static void print_wrapped(const char *text, int indent)
{
    int column = 0;
    while (*text != '\0') {
        int size = (int)strcspn(text, " \n");
        if (column > 0 && indent + column + 1 + size > WIDTH) {
            putchar('\n');
            column = 0;
        }
        printf("%*s%.*s", column == 0 ? indent : 1, "", size, text);
        column += size + (column > 0);
        text += size;
        if (*text == '\n') {
            putchar('\n');
            column = 0;
        }
        text += *text != '\0';
    }
    if (column > 0)
        putchar('\n');
}

static void print_option(const struct cli_option *option)
{
    char left[80];
    char letter[8] = "";
    if (option->letter != 0)
        snprintf(letter, sizeof(letter), "-%c, ", option->letter);
    snprintf(left, sizeof(left), "%s%s%s%s", letter, option->name,
             option->argument != NULL ? " " : "", option->argument != NULL ? option->argument : "");
    printf("  %-24s%s", left, strlen(left) > 22 ? "\n                          " : "");
    printf("%s%s%s\n", option->summary, option->required ? " (required)" : "",
           option->repeatable ? " (may be repeated)" : "");
    for (size_t i = 0; option->choices != NULL && option->choices[i] != NULL; i++)
        printf("%s%s%s", i == 0 ? "                          one of " : ", ", option->choices[i],
               option->choices[i + 1] == NULL ? "\n" : "");
}

static void print_usage(const struct cli_verb *verb)
{
    printf("kyok %s", verb->words);
    for (size_t i = 0; i < verb->option_count; i++) {
        const struct cli_option *option = &verb->options[i];
        if (option->required)
            printf(" %s %s", option->name, option->argument);
    }
    if (verb->operands != NULL)
        printf(" %s", verb->operands);
    printf(" [options]\n");
}

static void print_exit_codes(void)
{
    cli_paint(stdout, CLI_STRONG, "Exit codes");
    printf("\n");
    for (size_t i = 0; i < cli_exit_code_count; i++)
        printf("  %d  %s\n", cli_exit_codes[i].code, cli_exit_codes[i].meaning);
}

static void help_verb(const struct cli_verb *verb)
{
    cli_paint(stdout, CLI_STRONG, "Usage");
    printf("\n  ");
    print_usage(verb);
    printf("\n");
    print_wrapped(verb->description, 0);
    printf("\n");
    cli_paint(stdout, CLI_STRONG, "Options");
    printf("\n");
    for (size_t i = 0; i < verb->option_count; i++)
        print_option(&verb->options[i]);
    for (size_t i = 0; i < cli_common_option_count; i++)
        print_option(&cli_common_options[i]);
    printf("\n");
    print_exit_codes();
}

static bool in_group(const struct cli_verb *verb, const char *group)
{
    size_t size = strlen(group);
    return size == 0 || (strncmp(verb->words, group, size) == 0 && verb->words[size] == ' ');
}

static void help_overview(const char *group)
{
    if (group[0] == '\0')
        print_wrapped("kyok: keep your own key. Private keys stay in an HSM (PKCS#11) or at a KMIP "
                      "server; openssl, nginx, libvirt and QEMU use them there.\n\n",
                      0);
    cli_paint(stdout, CLI_STRONG, "Commands");
    printf("\n");
    CLI_EACH_VERB(verb)
    {
        if (!verb->hidden && in_group(verb, group))
            printf("  kyok %-20s %s\n", verb->words, verb->summary);
    }
    printf("\n\"kyok COMMAND --help\" explains one. Every command takes --json and --config FILE.\n"
           "REF is a pkcs11: or kmip: reference, or the name of a [key] section of kyok.conf.\n\n");
    print_exit_codes();
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void set_text(json_t *object, const char *name, const char *text)
{
    if (text != NULL)
        json_object_set_new(object, name, json_string(text));
}

static json_t *json_option(const struct cli_option *option)
{
    json_t *object = json_object();
    set_text(object, "name", option->name);
    if (option->letter != 0)
        json_object_set_new(object, "letter", json_stringn(&option->letter, 1));
    set_text(object, "argument", option->argument);
    set_text(object, "summary", option->summary);
    json_object_set_new(object, "required", json_boolean(option->required));
    json_object_set_new(object, "repeatable", json_boolean(option->repeatable));
    if (option->choices == NULL)
        return object;
    json_t *choices = json_array();
    for (size_t i = 0; option->choices[i] != NULL; i++)
        json_array_append_new(choices, json_string(option->choices[i]));
    json_object_set_new(object, "choices", choices);
    return object;
}

static json_t *json_verb(const struct cli_verb *verb)
{
    json_t *object = json_object(), *options = json_array();
    set_text(object, "command", verb->words);
    set_text(object, "operands", verb->operands);
    set_text(object, "summary", verb->summary);
    set_text(object, "description", verb->description);
    for (size_t i = 0; i < verb->option_count; i++)
        json_array_append_new(options, json_option(&verb->options[i]));
    json_object_set_new(object, "options", options);
    json_object_set_new(object, "hidden", json_boolean(verb->hidden));
    return object;
}

static json_t *json_overview(const char *group)
{
    json_t *commands = json_array(), *common = json_array(), *codes = json_object();
    CLI_EACH_VERB(verb)
    {
        if (in_group(verb, group))
            json_array_append_new(commands, json_verb(verb));
    }
    for (size_t i = 0; i < cli_common_option_count; i++)
        json_array_append_new(common, json_option(&cli_common_options[i]));
    for (size_t i = 0; i < cli_exit_code_count; i++) {
        char code[12];
        snprintf(code, sizeof(code), "%d", cli_exit_codes[i].code);
        json_object_set_new(codes, code, json_string(cli_exit_codes[i].meaning));
    }
    return json_pack("{s:o, s:o, s:o}", "commands", commands, "options", common, "exit-codes",
                     codes);
}

enum kyok_status cli_help(struct cli *cli)
{
    if (cli->json)
        return cli_json(cli, cli->verb != NULL ? json_verb(cli->verb) : json_overview(cli->words));
    if (cli->verb != NULL)
        help_verb(cli->verb);
    else
        help_overview(cli->words);
    return KYOK_OK;
}
