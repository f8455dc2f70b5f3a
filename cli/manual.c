/* SPDX-License-Identifier: Apache-2.0 */
/* kyok manual: the manual page kyok(1) in mdoc, from the tables. cli/kyok.1 is its output. */
#include "cli/cli.h"

#include <string.h>

/* Text in roff: a backslash is "\e", and no line may begin with a control character. */
static void print_text(const char *text)
{
    bool begins = true;
    for (; *text != '\0'; text++) {
        if (begins && (*text == '.' || *text == '\''))
            fputs("\\&", stdout);
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
        begins = *text == '\n';
    }
    putchar('\n');
}

static void print_flag(const struct cli_option *option)
{
    printf(".It ");
    if (option->letter != 0)
        printf("Fl %c , ", option->letter);
    printf("Fl \\-%s", option->name + 2);
    if (option->argument != NULL)
        printf(" Ar %s", option->argument);
    printf("\n");
    print_text(option->summary);
    for (size_t i = 0; option->choices != NULL && option->choices[i] != NULL; i++)
        printf("%s%s%s", i == 0 ? "(one of " : ", ", option->choices[i],
               option->choices[i + 1] == NULL ? ").\n" : "");
    if (option->required)
        printf("It is required.\n");
    if (option->repeatable)
        printf("It may be repeated.\n");
}

static void print_flags(const struct cli_option *options, size_t count)
{
    if (count == 0)
        return;
    printf(".Bl -tag -width Ds\n");
    for (size_t i = 0; i < count; i++)
        print_flag(&options[i]);
    printf(".El\n");
}

static void print_verb(const struct cli_verb *verb)
{
    printf(".Ss kyok %s%s%s\n", verb->words, verb->operands != NULL ? " " : "",
           verb->operands != NULL ? verb->operands : "");
    print_text(verb->description);
    print_flags(verb->options, verb->option_count);
}

static const char page_head[] =
    ".\\\" SPDX-License-Identifier: Apache-2.0\n"
    ".\\\" Made by \"kyok manual\" from the command's tables; do not edit.\n"
    ".Dd November 21, 2026\n"
    ".Dt KYOK 1\n"
    ".Os\n"
    ".Sh NAME\n"
    ".Nm kyok\n"
    ".Nd manage keys that stay in an HSM or at a KMIP server\n"
    ".Sh SYNOPSIS\n"
    ".Nm\n"
    ".Op Fl \\-json\n"
    ".Op Fl \\-config Ar FILE\n"
    ".Ar COMMAND\n"
    ".Op options\n"
    ".Sh DESCRIPTION\n"
    ".Nm\n"
    "makes, lists and uses keys that stay with their custodian: a token behind PKCS#11, or a KMIP\n"
    "server.\n"
    "Custodians are configured in\n"
    ".Xr kyok.conf 5 .\n"
    ".Pp\n"
    ".Ar REF\n"
    "is a key reference: a\n"
    ".Li pkcs11:\n"
    "URI (RFC 7512), a\n"
    ".Li kmip://GROUP/IDENTIFIER\n"
    "URI, or the name of a\n"
    ".Li [key NAME]\n"
    "section.\n"
    ".Ar GROUP\n"
    "is the name of a\n"
    ".Li [token NAME]\n"
    "or\n"
    ".Li [kmip NAME]\n"
    "section.\n"
    "Names are case-sensitive.\n"
    ".Pp\n"
    "Every command takes these options:\n";

static const char page_tail[] =
    ".Sh ENVIRONMENT\n"
    ".Bl -tag -width Ds\n"
    ".It Ev KYOK_CONF\n"
    "The configuration, instead of\n"
    ".Pa " KYOK_DEFAULT_CONFIG " .\n"
    ".It Ev KYOK_DEBUG\n"
    "When set, diagnostics go to standard error.\n"
    ".It Ev CREDENTIALS_DIRECTORY\n"
    "Where systemd put this service's credentials, for\n"
    ".Li pin-source = credential:NAME .\n"
    ".It Ev NO_COLOR\n"
    "When set, nothing is coloured.\n"
    ".El\n"
    ".Sh FILES\n"
    ".Bl -tag -width Ds\n"
    ".It Pa " KYOK_DEFAULT_CONFIG "\n"
    "See\n"
    ".Xr kyok.conf 5 .\n"
    ".El\n"
    ".Sh DIAGNOSTICS\n"
    "An error is one line on standard error, naming the object, what failed and the custodian's\n"
    "own reason, and a second line with the remedy.\n"
    "With\n"
    ".Fl \\-json\n"
    "it is an object\n"
    ".Li error\n"
    "on standard output with the members\n"
    ".Li status , object , what , reason , remedy .\n"
    ".Sh SEE ALSO\n"
    ".Xr kyok.conf 5\n";

static enum kyok_status run_manual(struct cli *cli)
{
    if (cli->json)
        return cli_usage(cli, "the page is no JSON; \"kyok --help --json\" has the tables");
    fputs(page_head, stdout);
    print_flags(cli_common_options, cli_common_option_count);
    printf(".Sh COMMANDS\n");
    CLI_EACH_VERB(verb)
    {
        if (!verb->hidden)
            print_verb(verb);
    }
    printf(".Sh EXIT STATUS\n.Bl -tag -width Ds\n");
    for (size_t i = 0; i < cli_exit_code_count; i++)
        printf(".It %d\n%s.\n", cli_exit_codes[i].code, cli_exit_codes[i].meaning);
    printf(".El\n");
    fputs(page_tail, stdout);
    return KYOK_OK;
}

const struct cli_verb cli_manual_verbs[] = {
    {.words = "manual",
     .summary = "print the manual page in mdoc",
     .description = "Prints kyok(1) in mdoc, made from the command's tables.",
     .run = run_manual,
     .hidden = true},
    {0},
};
