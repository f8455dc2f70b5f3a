/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: common options, the words of the verb, its options and operands, in any order
 * but for the words, which come first. */
#include "cli/cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const struct cli_option cli_common_options[] = {
    {.name = "--json", .summary = "print one JSON value, also for errors"},
    {.name = "--config",
     .argument = "FILE",
     .summary = "read FILE instead of $KYOK_CONF or " KYOK_DEFAULT_CONFIG},
    {.name = "--help", .letter = 'h', .summary = "explain the command"},
};
const size_t cli_common_option_count = sizeof(cli_common_options) / sizeof(cli_common_options[0]);

static const struct cli_option version_option = {.name = "--version",
                                                 .summary = "print the version"};

struct reader {
    struct cli *cli;
    char **arguments;
    int count, at;
    bool only_operands;
};

/* --- nearest words ---------------------------------------------------------------------------- */

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
static unsigned edit_distance(const char *a, const char *b)
{
    enum { MOST = 40 };
    unsigned row[3][MOST + 1];
    size_t a_size = strlen(a), b_size = strlen(b);
    if (a_size > MOST || b_size > MOST)
        return MOST;
    for (unsigned j = 0; j <= b_size; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        unsigned *now = row[i % 3], *before = row[(i + 2) % 3], *earlier = row[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b_size; j++) {
            unsigned other = a[i - 1] != b[j - 1];
            now[j] = least(least(before[j] + 1, now[j - 1] + 1), before[j - 1] + other);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], earlier[j - 2] + 1);
        }
    }
    return row[a_size % 3][b_size];
}

void cli_nearest_try(struct cli_nearest *nearest, const char *candidate)
{
    unsigned distance = edit_distance(nearest->word, candidate);
    if (distance > 1 + strlen(nearest->word) / 4)
        return;
    if (nearest->best == NULL || distance < nearest->distance) {
        nearest->best = candidate;
        nearest->distance = distance;
    }
}

/* --- errors of usage -------------------------------------------------------------------------- */

enum kyok_status cli_usage(struct cli *cli, const char *format, ...)
{
    char what[sizeof(cli->error.what)];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    kyok_fail(&cli->error, KYOK_INVALID, cli->verb != NULL ? cli->verb->words : NULL, "%s", what);
    return kyok_remedy(&cli->error, "see \"kyok%s%s --help\"", cli->verb != NULL ? " " : "",
                       cli->verb != NULL ? cli->verb->words : "");
}

static enum kyok_status unknown_verb(struct cli *cli)
{
    char safe[64];
    struct cli_nearest nearest = {.word = cli->words};
    CLI_EACH_VERB(verb)
    {
        cli_nearest_try(&nearest, verb->words);
    }
    kyok_fail(&cli->error, KYOK_INVALID, NULL, "there is no command \"%s\"",
              cli_safe(cli->words, safe, sizeof(safe)));
    if (nearest.best != NULL)
        return kyok_remedy(&cli->error, "did you mean \"kyok %s\"?", nearest.best);
    return kyok_remedy(&cli->error, "see \"kyok --help\"");
}

static enum kyok_status unknown_option(struct cli *cli, const char *name)
{
    char safe[64];
    struct cli_nearest nearest = {.word = name};
    for (size_t i = 0; i < cli_common_option_count; i++)
        cli_nearest_try(&nearest, cli_common_options[i].name);
    for (size_t i = 0; cli->verb != NULL && i < cli->verb->option_count; i++)
        cli_nearest_try(&nearest, cli->verb->options[i].name);
    cli_usage(cli, "there is no option \"%s\"", cli_safe(name, safe, sizeof(safe)));
    if (nearest.best != NULL)
        return kyok_remedy(&cli->error, "did you mean \"%s\"?", nearest.best);
    return cli->error.status;
}

/* --- options ---------------------------------------------------------------------------------- */

static bool fits(const struct cli_option *option, const char *name, size_t size)
{
    return (strlen(option->name) == size && strncmp(option->name, name, size) == 0) ||
           (option->letter != 0 && size == 2 && name[0] == '-' && name[1] == option->letter);
}

static const struct cli_option *find_option(const struct cli *cli, const char *name, size_t size)
{
    for (size_t i = 0; i < cli_common_option_count; i++) {
        if (fits(&cli_common_options[i], name, size))
            return &cli_common_options[i];
    }
    if (cli->verb == NULL)
        return fits(&version_option, name, size) ? &version_option : NULL;
    for (size_t i = 0; i < cli->verb->option_count; i++) {
        if (fits(&cli->verb->options[i], name, size))
            return &cli->verb->options[i];
    }
    return NULL;
}

static bool is_choice(const struct cli_option *option, const char *value)
{
    for (size_t i = 0; option->choices[i] != NULL; i++) {
        if (strcmp(option->choices[i], value) == 0)
            return true;
    }
    return false;
}

static enum kyok_status wrong_choice(struct cli *cli, const struct cli_option *option,
                                     const char *value)
{
    char safe[64], known[256] = "";
    size_t used = 0;
    for (size_t i = 0; option->choices[i] != NULL && used < sizeof(known); i++)
        used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i > 0 ? ", " : "",
                                 option->choices[i]);
    cli_usage(cli, "%s cannot be \"%s\"", option->name, cli_safe(value, safe, sizeof(safe)));
    return kyok_remedy(&cli->error, "expected one of %s", known);
}

static enum kyok_status store_option(struct cli *cli, const struct cli_option *option,
                                     const char *value)
{
    for (size_t i = 0; i < cli->value_count; i++) {
        if (cli->values[i].option == option && !option->repeatable)
            return cli_usage(cli, "%s is given twice", option->name);
    }
    if (option->choices != NULL && !is_choice(option, value))
        return wrong_choice(cli, option, value);
    if (strcmp(option->name, "--json") == 0)
        cli->json = true;
    if (strcmp(option->name, "--help") == 0)
        cli->help = true;
    if (strcmp(option->name, "--version") == 0)
        cli->version = true;
    if (strcmp(option->name, "--config") == 0)
        cli->config_path = value;
    cli->values[cli->value_count++] = (struct cli_value){option, value};
    return KYOK_OK;
}

/* "--name", "--name VALUE", "--name=VALUE", "-n VALUE", "-nVALUE". */
static enum kyok_status read_option(struct reader *reader, const char *argument)
{
    bool is_long = argument[1] == '-';
    size_t size = is_long ? strcspn(argument, "=") : 2;
    const char *value = is_long ? (argument[size] == '=' ? argument + size + 1 : NULL)
                                : (argument[size] != '\0' ? argument + size : NULL);
    const struct cli_option *option = find_option(reader->cli, argument, size);
    char name[64];
    snprintf(name, sizeof(name), "%.*s", (int)(size < 60 ? size : 60), argument);
    if (option == NULL)
        return unknown_option(reader->cli, name);
    if (option->argument == NULL && value != NULL)
        return cli_usage(reader->cli, "%s takes no value", option->name);
    if (option->argument != NULL && value == NULL && reader->at < reader->count)
        value = reader->arguments[reader->at++];
    if (option->argument != NULL && value == NULL)
        return cli_usage(reader->cli, "%s needs a value, %s", option->name, option->argument);
    return store_option(reader->cli, option, value != NULL ? value : "");
}

/* --- words of the verb ------------------------------------------------------------------------ */

static const struct cli_verb *find_verb(const char *words)
{
    CLI_EACH_VERB(verb)
    {
        if (strcmp(verb->words, words) == 0)
            return verb;
    }
    return NULL;
}

/* Does any verb begin with these words and go on? */
static bool is_group(const char *words)
{
    size_t size = strlen(words);
    CLI_EACH_VERB(verb)
    {
        if (strncmp(verb->words, words, size) == 0 && verb->words[size] == ' ')
            return true;
    }
    return false;
}

static enum kyok_status read_word(struct reader *reader, const char *word)
{
    struct cli *cli = reader->cli;
    size_t used = strlen(cli->words);
    int size =
        snprintf(cli->words + used, sizeof(cli->words) - used, "%s%s", used > 0 ? " " : "", word);
    if (size < 0 || (size_t)size >= sizeof(cli->words) - used)
        return unknown_verb(cli);
    cli->verb = find_verb(cli->words);
    if (cli->verb == NULL && !is_group(cli->words))
        return unknown_verb(cli);
    return KYOK_OK;
}

/* --- the whole -------------------------------------------------------------------------------- */

static enum kyok_status read_argument(struct reader *reader)
{
    struct cli *cli = reader->cli;
    const char *argument = reader->arguments[reader->at++];
    if (!reader->only_operands && strcmp(argument, "--") == 0) {
        reader->only_operands = true;
        return KYOK_OK;
    }
    if (!reader->only_operands && argument[0] == '-' && argument[1] != '\0')
        return read_option(reader, argument);
    if (cli->verb == NULL)
        return read_word(reader, argument);
    cli->operands[cli->operand_count++] = argument;
    return KYOK_OK;
}

static enum kyok_status check_operands(struct cli *cli)
{
    const struct cli_verb *verb = cli->verb;
    char safe[64];
    if (cli->operand_count < verb->least)
        return cli_usage(cli, "too little is given: expected %s", verb->operands);
    if (cli->operand_count > verb->most)
        return cli_usage(cli, "\"%s\" is one too many: expected %s",
                         cli_safe(cli->operands[verb->most], safe, sizeof(safe)),
                         verb->operands != NULL ? verb->operands : "nothing");
    for (size_t i = 0; i < verb->option_count; i++) {
        if (verb->options[i].required && cli_option(cli, verb->options[i].name) == NULL)
            return cli_usage(cli, "%s %s is missing", verb->options[i].name,
                             verb->options[i].argument);
    }
    return KYOK_OK;
}

static enum kyok_status finish(struct cli *cli)
{
    if (cli->help || cli->version)
        return KYOK_OK;
    if (cli->verb == NULL && cli->words[0] != '\0') {
        kyok_fail(&cli->error, KYOK_INVALID, NULL, "\"%s\" is not a whole command", cli->words);
        return kyok_remedy(&cli->error, "see \"kyok %s --help\"", cli->words);
    }
    if (cli->verb == NULL)
        return cli_usage(cli, "no command is given");
    return check_operands(cli);
}

enum kyok_status cli_arguments(struct cli *cli, int count, char **arguments)
{
    struct reader reader = {.cli = cli, .arguments = arguments, .count = count, .at = 1};
    size_t room = count > 0 ? (size_t)count : 1;
    cli->operands = calloc(room, sizeof(*cli->operands));
    cli->values = calloc(room, sizeof(*cli->values));
    if (cli->operands == NULL || cli->values == NULL)
        return kyok_fail(&cli->error, KYOK_SYSTEM, NULL, "memory is short");
    /* So that an error in what comes before --json is JSON too. */
    for (int i = 1; i < count && strcmp(arguments[i], "--") != 0; i++)
        cli->json |= strcmp(arguments[i], "--json") == 0;
    while (reader.at < reader.count)
        KYOK_TRY(read_argument(&reader));
    return finish(cli);
}

const char *cli_option_at(const struct cli *cli, const char *name, size_t index)
{
    for (size_t i = 0; i < cli->value_count; i++) {
        if (strcmp(cli->values[i].option->name, name) == 0 && index-- == 0)
            return cli->values[i].value;
    }
    return NULL;
}

const char *cli_option(const struct cli *cli, const char *name)
{
    return cli_option_at(cli, name, 0);
}
