/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kyok events: reads the audit events that every plugin leaves, from the journal or from a file
 * that a log host collected, and filters them. The journal's own record of the sender is kept
 * beside what the event claims: anyone can write to a log under the name kyok.
 */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_SIZE ((size_t)65536)

struct reading {
    struct cli *cli;
    char since[32], until[32]; /* as events write the time; "" when not given */
    json_t *found;             /* for --json; NULL when each event is printed at once */
    uint64_t skipped;          /* lines that are no events */
    bool follow;
};

/* --- times ------------------------------------------------------------------------------------ */

/* "30m", "12h", "7d": so long ago. */
static bool ago(const char *text, int64_t *moment)
{
    static const struct {
        char unit;
        long seconds;
    } units[] = {{'m', 60}, {'h', 3600}, {'d', 86400}};
    char *end;
    errno = 0;
    long count = strtol(text, &end, 10);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (end != text && errno == 0 && count > 0 && count < 100000 && end[0] == units[i].unit &&
            end[1] == '\0') {
            *moment = time(NULL) - count * units[i].seconds;
            return true;
        }
    }
    return false;
}

/* The time of an option in the form in which events carry theirs, so that texts compare. */
static enum kyok_status read_time(struct cli *cli, const char *name, char *room, size_t size)
{
    const char *text = cli_option(cli, name);
    int64_t moment;
    time_t seconds;
    struct tm fields;
    room[0] = '\0';
    if (text == NULL)
        return KYOK_OK;
    if (!ago(text, &moment) && !cli_moment(text, &moment))
        return cli_usage(cli, "%s must be like 2026-11-21, 2026-11-21T18:30 (UTC), 30m, 12h or 7d",
                         name);
    seconds = (time_t)moment;
    gmtime_r(&seconds, &fields);
    strftime(room, size, "%Y-%m-%dT%H:%M:%S", &fields);
    return KYOK_OK;
}

/* --- filters ---------------------------------------------------------------------------------- */

static const struct {
    const char *option, *member;
    bool part; /* a part of the member's text is enough */
} filters[] = {
    {"--type", "event", false},      {"--key", "key", true},    {"--custodian", "custodian", true},
    {"--result", "result", false},   {"--use", "use", false},   {"--owner", "owner", false},
    {"--program", "program", false}, {"--host", "host", false},
};

static const char *text_of(const json_t *event, const char *member)
{
    const char *text = json_string_value(json_object_get(event, member));
    return text != NULL ? text : "";
}

/* Any of an option's values fits; every option that is given must fit. */
static bool fits(const struct cli *cli, const json_t *event)
{
    for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
        const char *wanted = cli_option_at(cli, filters[i].option, 0);
        const char *text = text_of(event, filters[i].member);
        bool found = wanted == NULL;
        for (size_t j = 0; wanted != NULL && !found; j++) {
            found = filters[i].part ? strstr(text, wanted) != NULL : strcmp(text, wanted) == 0;
            wanted = cli_option_at(cli, filters[i].option, j + 1);
        }
        if (!found)
            return false;
    }
    return true;
}

static bool in_time(const struct reading *reading, const json_t *event)
{
    const char *time = text_of(event, "time");
    return (reading->since[0] == '\0' || strcmp(time, reading->since) >= 0) &&
           (reading->until[0] == '\0' || strcmp(time, reading->until) < 0);
}

/* --- one event -------------------------------------------------------------------------------- */

static void print_text(const json_t *event, const char *member, const char *before)
{
    char room[1024];
    const char *text = text_of(event, member);
    if (text[0] != '\0')
        printf("%s%s", before, cli_safe(text, room, sizeof(room)));
}

static void print_event(const json_t *event)
{
    const char *result = text_of(event, "result");
    bool good = result[0] == '\0' || strcmp(result, "ok") == 0;
    char room[64];
    print_text(event, "time", "");
    print_text(event, "host", "  ");
    print_text(event, "program", " ");
    printf(" uid %lld  ", (long long)json_integer_value(json_object_get(event, "uid")));
    cli_paint(stdout, CLI_STRONG, cli_safe(text_of(event, "event"), room, sizeof(room)));
    printf(" ");
    cli_paint(stdout, good ? CLI_GOOD : CLI_BAD, cli_safe(result, room, sizeof(room)));
    print_text(event, "key", "  ");
    print_text(event, "version", " version ");
    print_text(event, "custodian", "  at ");
    print_text(event, "use", "  use ");
    print_text(event, "owner", "  owner ");
    if (json_is_integer(json_object_get(event, "count")))
        printf("  count %lld", (long long)json_integer_value(json_object_get(event, "count")));
    if (json_is_integer(json_object_get(event, "lost")))
        printf("  %lld lost before it",
               (long long)json_integer_value(json_object_get(event, "lost")));
    print_text(event, "detail", "  ");
    if (json_is_object(json_object_get(event, "sender"))) {
        printf("  ");
        cli_paint(stdout, CLI_BAD, "NOT SENT BY WHOM IT SAYS");
    }
    printf("\n");
}

static void take_event(struct reading *reading, json_t *event)
{
    if (!in_time(reading, event) || !fits(reading->cli, event))
        return;
    if (reading->found != NULL) {
        json_array_append(reading->found, event);
    } else if (reading->cli->json) {
        json_dumpf(event, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
        putchar('\n');
    } else {
        print_event(event);
    }
    if (reading->follow)
        fflush(stdout);
}

/* --- lines ------------------------------------------------------------------------------------ */

static bool is_event(const json_t *value)
{
    return json_is_object(value) && json_is_string(json_object_get(value, "event")) &&
           json_is_string(json_object_get(value, "time"));
}

static json_t *load(const char *text, size_t size)
{
    json_error_t ignored;
    return json_loadb(text, size, JSON_REJECT_DUPLICATES, &ignored);
}

/* The journal records who really sent an entry (_UID, _EXE cannot be written by the sender). */
static void note_sender(json_t *event, const json_t *entry)
{
    const char *uid = json_string_value(json_object_get(entry, "_UID"));
    char claimed[24];
    snprintf(claimed, sizeof(claimed), "%lld",
             (long long)json_integer_value(json_object_get(event, "uid")));
    if (uid == NULL || strcmp(uid, claimed) == 0)
        return;
    json_t *sender = json_pack("{s:s}", "uid", uid);
    json_t *program = json_object_get(entry, "_EXE");
    if (program != NULL)
        json_object_set(sender, "program", program);
    json_object_set_new(event, "sender", sender);
}

/* A line is an event, a journal entry that holds one, or a line of syslog that ends in one. */
static void take_line(struct reading *reading, const char *line, size_t size)
{
    const char *begin = memchr(line, '{', size);
    json_t *value = begin != NULL ? load(begin, size - (size_t)(begin - line)) : NULL;
    const char *message = json_string_value(json_object_get(value, "MESSAGE"));
    json_t *event = message != NULL ? load(message, strlen(message)) : json_incref(value);
    if (!is_event(event))
        reading->skipped++;
    if (is_event(event) && message != NULL)
        note_sender(event, value);
    if (is_event(event))
        take_event(reading, event);
    json_decref(event);
    json_decref(value);
}

static enum kyok_status read_lines(struct reading *reading, FILE *file, const char *name)
{
    KYOK_AUTO_FREE char *line = malloc(LINE_MAX_SIZE);
    bool whole = true; /* the line before was read to its end */
    if (line == NULL)
        return kyok_fail(&reading->cli->error, KYOK_SYSTEM, name, "memory is short");
    while (fgets(line, (int)LINE_MAX_SIZE, file) != NULL) {
        size_t size = strlen(line);
        bool ends = size > 0 && line[size - 1] == '\n';
        if (whole && (ends || feof(file)))
            take_line(reading, line, size);
        else if (whole)
            reading->skipped++;
        whole = ends;
    }
    if (ferror(file))
        return kyok_fail_errno(&reading->cli->error, name, "the events cannot be read");
    return KYOK_OK;
}

static enum kyok_status read_named(struct reading *reading, const char *path)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "re");
    if (file == NULL)
        return kyok_fail_errno(&reading->cli->error, path, "the file cannot be opened");
    enum kyok_status status = read_lines(reading, file, path);
    if (!standard)
        fclose(file);
    return status;
}

/* --- the journal ------------------------------------------------------------------------------ */

static enum kyok_status start_journal(struct reading *reading, int output, pid_t *pid)
{
    char since[40], until[40];
    const char *arguments[10] = {"journalctl", "--quiet", "--output=json", "--identifier=kyok"};
    size_t count = 4;
    posix_spawn_file_actions_t actions;
    snprintf(since, sizeof(since), "--since=%.10s %.8s UTC", reading->since, reading->since + 11);
    snprintf(until, sizeof(until), "--until=%.10s %.8s UTC", reading->until, reading->until + 11);
    if (reading->since[0] != '\0')
        arguments[count++] = since;
    if (reading->until[0] != '\0')
        arguments[count++] = until;
    if (reading->follow)
        arguments[count++] = "--follow";
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    errno = posix_spawnp(pid, arguments[0], &actions, NULL, (char *const *)(uintptr_t)arguments,
                         environ);
    posix_spawn_file_actions_destroy(&actions);
    if (errno == 0)
        return KYOK_OK;
    kyok_fail_errno(&reading->cli->error, arguments[0], "the journal cannot be read");
    return kyok_remedy(&reading->cli->error, "where events go to syslog: --file /var/log/auth.log");
}

static enum kyok_status read_journal(struct reading *reading)
{
    int ends[2], state = 0;
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return kyok_fail_errno(&reading->cli->error, NULL, "no pipe");
    enum kyok_status status = start_journal(reading, ends[1], &pid);
    close(ends[1]);
    FILE *file = fdopen(ends[0], "r");
    if (status == KYOK_OK && file != NULL) {
        status = read_lines(reading, file, "journalctl");
        while (waitpid(pid, &state, 0) < 0 && errno == EINTR)
            continue;
        if (status == KYOK_OK && state != 0)
            status =
                kyok_fail(&reading->cli->error, KYOK_SYSTEM, "journalctl",
                          "the journal could not be read to its end (exit %d)", WEXITSTATUS(state));
    }
    if (file != NULL)
        fclose(file);
    return status;
}

/* --- the verb --------------------------------------------------------------------------------- */

static enum kyok_status read_all(struct reading *reading)
{
    const char *path = cli_option(reading->cli, "--file");
    if (path == NULL)
        return read_journal(reading);
    for (size_t i = 0; path != NULL; path = cli_option_at(reading->cli, "--file", ++i))
        KYOK_TRY(read_named(reading, path));
    return KYOK_OK;
}

static enum kyok_status run_events(struct cli *cli)
{
    struct reading reading = {.cli = cli, .follow = cli_option(cli, "--follow") != NULL};
    if (reading.follow && cli_option(cli, "--file") != NULL)
        return cli_usage(cli, "--follow reads the journal; it cannot stand with --file");
    KYOK_TRY(read_time(cli, "--since", reading.since, sizeof(reading.since)));
    KYOK_TRY(read_time(cli, "--until", reading.until, sizeof(reading.until)));
    reading.found = cli->json && !reading.follow ? json_array() : NULL;
    enum kyok_status status = read_all(&reading);
    if (status == KYOK_OK && reading.found != NULL)
        status = cli_json(cli, json_pack("{s:O, s:I}", "events", reading.found, "skipped",
                                         (json_int_t)reading.skipped));
    json_decref(reading.found);
    if (status == KYOK_OK && !cli->json && reading.skipped > 0 && cli_option(cli, "--file") != NULL)
        fprintf(stderr, "%llu lines were no events\n", (unsigned long long)reading.skipped);
    return status;
}

static const struct cli_option events_options[] = {
    {.name = "--type",
     .argument = "TYPE",
     .summary = "events of this type: login, create, state, destroy, open, refuse, failover, "
                "quarantine, signatures",
     .repeatable = true},
    {.name = "--key",
     .argument = "TEXT",
     .summary = "whose key reference holds TEXT",
     .repeatable = true},
    {.name = "--custodian",
     .argument = "TEXT",
     .summary = "whose custodian holds TEXT",
     .repeatable = true},
    {.name = "--result",
     .argument = "WORD",
     .summary = "with this result: ok, refused, tampered, pin, unreachable, ...",
     .repeatable = true},
    {.name = "--use", .argument = "USE", .summary = "of this use of envelopes", .repeatable = true},
    {.name = "--owner",
     .argument = "OWNER",
     .summary = "of this owner of envelopes",
     .repeatable = true},
    {.name = "--program", .argument = "NAME", .summary = "of this program", .repeatable = true},
    {.name = "--host", .argument = "NAME", .summary = "of this host", .repeatable = true},
    {.name = "--since",
     .argument = "TIME",
     .summary = "from TIME on: 2026-11-21, 2026-11-21T18:30 (UTC), or 30m, 12h, 7d ago"},
    {.name = "--until", .argument = "TIME", .summary = "before TIME"},
    {.name = "--file",
     .argument = "FILE",
     .summary = "read FILE (\"-\": standard input) instead of the journal",
     .repeatable = true},
    {.name = "--follow", .summary = "go on as events come; with --json one object on each line"},
};

const struct cli_verb cli_events_verbs[] = {
    {.words = "events",
     .summary = "read and filter the audit events",
     .description =
         "Shows the events that kyok's plugins and commands left in the journal: logins, keys "
         "made, "
         "changed and destroyed, envelopes opened and refused, failovers, quarantines, and once a "
         "minute how many signatures each key made. Every filter that is given must fit; of a "
         "filter "
         "that is repeated, one value. With --file it reads what a log host collected: events as "
         "lines of JSON, exported journal entries (journalctl -o json), or lines of syslog. An "
         "event "
         "in the journal whose sender is not the user it names is marked: anyone can write to a "
         "log.",
     CLI_OPTIONS(events_options),
     .run = run_events},
    {0},
};
