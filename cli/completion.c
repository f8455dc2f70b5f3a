/* SPDX-License-Identifier: Apache-2.0 */
/* kyok completion: a script for bash, from the tables; names come from kyok.conf as one types. */
#include "cli/cli.h"

#include <string.h>

static void print_flags(const struct cli_option *options, size_t count)
{
    for (size_t i = 0; i < count; i++)
        printf(" %s", options[i].name);
}

/* What completes an option's value or an operand, by its placeholder. */
static const char *action(const char *placeholder)
{
    static const char *const names[] = {"REF", "KEY", "ROOT", "GROUP", "POLICY"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strstr(placeholder, names[i]) != NULL)
            return "names";
    }
    return "files";
}

static void print_values(const struct cli_option *options, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct cli_option *option = &options[i];
        if (option->argument == NULL)
            continue;
        printf("        %s", option->name);
        if (option->letter != 0)
            printf("|-%c", option->letter);
        if (option->choices == NULL) {
            printf(") _kyok_%s ;;\n", action(option->argument));
            continue;
        }
        printf(") _kyok_words \"");
        for (size_t j = 0; option->choices[j] != NULL; j++)
            printf("%s%s", j > 0 ? " " : "", option->choices[j]);
        printf("\" ;;\n");
    }
}

static void print_verb(const struct cli_verb *verb)
{
    printf("    \"%s\")\n        case $prev in\n", verb->words);
    print_values(verb->options, verb->option_count);
    print_values(cli_common_options, cli_common_option_count);
    printf("        *) _kyok_rest \"");
    print_flags(verb->options, verb->option_count);
    print_flags(cli_common_options, cli_common_option_count);
    printf("\" %s ;;\n        esac ;;\n", verb->operands != NULL ? action(verb->operands) : "none");
}

static const char script_head[] =
    "# bash completion for kyok; made by \"kyok completion\".\n"
    "_kyok_words() { COMPREPLY=($(compgen -W \"$1\" -- \"$cur\")); }\n"
    "_kyok_files() { COMPREPLY=($(compgen -f -- \"$cur\")); compopt -o filenames 2>/dev/null; }\n"
    "_kyok_names() {\n"
    "    _kyok_words \"$(\"${COMP_WORDS[0]}\" completion --names 2>/dev/null)\"\n"
    "    [ ${#COMPREPLY[@]} -gt 0 ] || _kyok_files\n"
    "}\n"
    "_kyok_none() { COMPREPLY=(); }\n"
    "_kyok_rest() { case $cur in -*) _kyok_words \"$1\" ;; *) \"_kyok_$2\" ;; esac; }\n"
    "_kyok() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb= words= word\n"
    "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
    "        case $word in -*) continue ;; esac\n"
    "        words=${words:+$words }$word\n"
    "        case $words in\n";

static const char script_tail[] = "    esac\n"
                                  "}\n"
                                  "complete -F _kyok kyok\n";

/* Every proper beginning of a verb completes to its possible next words. */
static void print_next_words(void)
{
    char done[2048] = "|";
    CLI_EACH_VERB(verb)
    {
        size_t size = strcspn(verb->words, " ");
        char mark[72];
        snprintf(mark, sizeof(mark), "|%.*s|", (int)size, verb->words);
        if (verb->words[size] == '\0' || verb->hidden || strstr(done, mark) != NULL)
            continue;
        strncat(done, mark + 1, sizeof(done) - strlen(done) - 1);
        printf("    \"%.*s\") _kyok_words \"", (int)size, verb->words);
        CLI_EACH_VERB(other)
        {
            if (!other->hidden && strncmp(other->words, verb->words, size + 1) == 0)
                printf(" %s", other->words + size + 1);
        }
        printf("\" ;;\n");
    }
}

static void print_first_words(void)
{
    char done[2048] = "|";
    printf("    *) _kyok_words \"");
    CLI_EACH_VERB(verb)
    {
        size_t size = strcspn(verb->words, " ");
        char mark[72];
        snprintf(mark, sizeof(mark), "|%.*s|", (int)size, verb->words);
        if (verb->hidden || strstr(done, mark) != NULL)
            continue;
        strncat(done, mark + 1, sizeof(done) - strlen(done) - 1);
        printf(" %.*s", (int)size, verb->words);
    }
    print_flags(cli_common_options, cli_common_option_count);
    printf(" --version\" ;;\n");
}

static void add_name(json_t *names, const char *name)
{
    json_array_append_new(names, json_string(name));
}

static enum kyok_status print_names(struct cli *cli)
{
    const struct kyok_config *config;
    KYOK_TRY(cli_config(cli, &config));
    json_t *names = json_array();
    for (size_t i = 0; i < config->key_count; i++)
        add_name(names, config->keys[i].name);
    for (size_t i = 0; i < config->token_count; i++)
        add_name(names, config->tokens[i].name);
    for (size_t i = 0; i < config->kmip_count; i++)
        add_name(names, config->kmips[i].name);
    if (cli->json)
        return cli_json(cli, json_pack("{s:o}", "names", names));
    for (size_t i = 0; i < json_array_size(names); i++)
        printf("%s\n", json_string_value(json_array_get(names, i)));
    json_decref(names);
    return KYOK_OK;
}

static enum kyok_status run_completion(struct cli *cli)
{
    if (cli_option(cli, "--names") != NULL)
        return print_names(cli);
    if (cli->json)
        return cli_usage(cli, "the script is no JSON; --names is, with --json");
    fputs(script_head, stdout);
    CLI_EACH_VERB(verb)
    {
        if (!verb->hidden)
            printf("        \"%s\") verb=$words ;;\n", verb->words);
    }
    printf("        esac\n    done\n    case ${verb:-$words} in\n");
    CLI_EACH_VERB(verb)
    {
        if (!verb->hidden)
            print_verb(verb);
    }
    print_next_words();
    print_first_words();
    fputs(script_tail, stdout);
    return KYOK_OK;
}

static const struct cli_option completion_options[] = {
    {.name = "--names", .summary = "print the names in kyok.conf instead, one on a line"},
};

const struct cli_verb cli_completion_verbs[] = {
    {.words = "completion",
     .summary = "print a completion script for bash",
     .description = "Prints a script that completes kyok's commands, options, names and files in "
                    "bash: eval \"$(kyok completion)\", or write it to "
                    "/usr/share/bash-completion/completions/kyok.",
     CLI_OPTIONS(completion_options),
     .run = run_completion},
    {0},
};
