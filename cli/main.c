/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "common/work/work.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIST(table) table,
static const struct cli_verb *const tables[] = {CLI_VERB_TABLES(LIST)};
#define TABLES (sizeof(tables) / sizeof(tables[0]))

const struct cli_verb *cli_verb_after(const struct cli_verb *previous)
{
    bool found = previous == NULL;
    for (size_t i = 0; i < TABLES; i++) {
        for (const struct cli_verb *verb = tables[i]; verb->words != NULL; verb++) {
            if (found)
                return verb;
            found = verb == previous;
        }
    }
    return NULL;
}

static enum kyok_status print_version(struct cli *cli)
{
    if (cli->json)
        return cli_json(cli, json_pack("{s:s}", "version", KYOK_VERSION));
    printf("kyok %s\n", KYOK_VERSION);
    return KYOK_OK;
}

static enum kyok_status run(struct cli *cli)
{
    if (cli->help)
        return cli_help(cli);
    if (cli->version)
        return print_version(cli);
    return cli->verb->run(cli);
}

/* A result that did not reach its reader (a full disk, a closed pipe) is no success. */
static enum kyok_status finish_output(struct cli *cli)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return KYOK_OK;
    return kyok_fail_errno(&cli->error, "standard output", "the result cannot be written");
}

/* A thread may still be inside a module's call (the loser of a race, a call that outlived its
 * deadline): the destructors of libraries would pull the floor from under it. */
static int leave(int code)
{
    struct kyok_work_figures figures;

    kyok_work_figures(&figures);
    if (figures.threads == 0)
        return code;
    fflush(NULL);
    _exit(code);
}

static void do_nothing(int signal)
{
    (void)signal;
}

/* A standard descriptor that is closed would be the next file's or socket's: what is printed would
 * go there. It is filled by one that can only be used the other way round, so that printing fails.
 */
static void keep_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            _exit(2);
}

int main(int count, char **arguments)
{
    struct cli cli = {0};
    keep_standard_descriptors();
    setlocale(LC_CTYPE, "");
    /* A reader that leaves is a failed write, with an exit code; programs that are started from
     * here get the ordinary SIGPIPE back. */
    signal(SIGPIPE, do_nothing);
    /* So is a limit on the size of files. */
    signal(SIGXFSZ, do_nothing);
    kyok_secret_harden_process();
    enum kyok_status status = cli_arguments(&cli, count, arguments);
    if (status == KYOK_OK)
        status = run(&cli);
    if (status != KYOK_OK)
        cli_print_error(&cli);
    if (finish_output(&cli) != KYOK_OK && status == KYOK_OK) {
        status = cli.error.status;
        cli.json_written = true; /* standard output is where it failed */
        cli_print_error(&cli);
    }
    kyok_context_free(cli.context);
    kyok_config_free(cli.config);
    free(cli.operands);
    free(cli.values);
    return leave(kyok_status_exit_code(status));
}
