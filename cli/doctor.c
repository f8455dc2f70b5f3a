/* SPDX-License-Identifier: Apache-2.0 */
/* kyok doctor: runs the checks and reports; each finding comes with its remedy. */
#include "cli/doctor.h"

#include <stdarg.h>
#include <string.h>

static const struct {
    const char *word, *shown;
    enum cli_paint paint;
} levels[] = {
    [DOCTOR_GOOD] = {"good", "good   ", CLI_GOOD},
    [DOCTOR_NOTE] = {"note", "note   ", CLI_STRONG},
    [DOCTOR_WARNING] = {"warning", "warning", CLI_WARNING},
    [DOCTOR_BAD] = {"bad", "bad    ", CLI_BAD},
};

static void set_text(json_t *object, const char *name, const char *text)
{
    if (text != NULL && text[0] != '\0')
        json_object_set_new(object, name, cli_json_text(text));
}

static void print_finding(enum doctor_level level, const char *check, const char *object,
                          const char *what, const char *remedy)
{
    char room[512];
    cli_paint(stdout, levels[level].paint, levels[level].shown);
    printf("  %s", cli_safe(check, room, sizeof(room)));
    if (object != NULL && object[0] != '\0')
        printf(": %s", cli_safe(object, room, sizeof(room)));
    printf(": %s\n", cli_safe(what, room, sizeof(room)));
    if (remedy != NULL && remedy[0] != '\0')
        printf("           %s\n", cli_safe(remedy, room, sizeof(room)));
}

void doctor_find(struct doctor *doctor, enum doctor_level level, const char *check,
                 const char *object, const char *remedy, const char *format, ...)
{
    char what[480];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    doctor->counts[level]++;
    if (level == DOCTOR_BAD && doctor->worst == KYOK_OK)
        doctor->worst = KYOK_REFUSED;
    json_t *finding = json_pack("{s:s}", "level", levels[level].word);
    set_text(finding, "check", check);
    set_text(finding, "object", object);
    set_text(finding, "what", what);
    set_text(finding, "remedy", remedy);
    json_array_append_new(doctor->findings, finding);
    if (!doctor->cli->json)
        print_finding(level, check, object, what, remedy);
}

void doctor_find_error(struct doctor *doctor, enum doctor_level level, const char *check,
                       const struct kyok_error *err)
{
    if (level == DOCTOR_BAD && doctor->worst == KYOK_OK)
        doctor->worst = err->status;
    doctor_find(doctor, level, check, err->object, err->remedy, "%s%s%s%s", err->what,
                err->reason[0] != '\0' ? " (" : "", err->reason, err->reason[0] != '\0' ? ")" : "");
}

static void run_checks(struct doctor *doctor)
{
    const char *path;
    doctor_check_configuration(doctor);
    if (doctor->config != NULL) {
        doctor_check_tokens(doctor);
        doctor_check_kmips(doctor);
        if (cli_option(doctor->cli, "--login") != NULL && !doctor->near_lock)
            doctor_check_named_keys(doctor);
    }
    doctor_check_openssl(doctor);
    doctor_check_nginx(doctor);
    doctor_check_system(doctor);
    for (size_t i = 0; (path = cli_option_at(doctor->cli, "--certificate", i)) != NULL; i++)
        doctor_check_certificate(doctor, "certificate", path);
    for (size_t i = 0; (path = cli_option_at(doctor->cli, "--reference", i)) != NULL; i++)
        doctor_check_reference(doctor, path);
}

static enum kyok_status summarise(struct doctor *doctor)
{
    struct cli *cli = doctor->cli;
    size_t bad = doctor->counts[DOCTOR_BAD], warnings = doctor->counts[DOCTOR_WARNING];
    if (cli->json) {
        KYOK_TRY(cli_json(cli, json_pack("{s:O, s:I, s:I}", "findings", doctor->findings, "bad",
                                         (json_int_t)bad, "warnings", (json_int_t)warnings)));
    } else {
        printf("%zu bad, %zu warnings\n", bad, warnings);
    }
    if (bad == 0)
        return KYOK_OK;
    return kyok_fail(&cli->error, doctor->worst, "doctor", "%zu of the findings are bad", bad);
}

static enum kyok_status run_doctor(struct cli *cli)
{
    struct doctor doctor = {
        .cli = cli, .findings = json_array(), .probes = json_object(), .worst = KYOK_OK};
    run_checks(&doctor);
    enum kyok_status status = summarise(&doctor);
    kyok_config_free(doctor.config);
    json_decref(doctor.findings);
    json_decref(doctor.probes);
    return status;
}

static const struct cli_option doctor_options[] = {
    {.name = "--login",
     .summary = "also log in, and check the attributes of the keys; a wrong PIN costs one try"},
    {.name = "--certificate",
     .argument = "FILE",
     .summary = "also check the dates of this certificate",
     .repeatable = true},
    {.name = "--reference",
     .argument = "FILE",
     .summary = "also check this PEM key reference; with --login, that its key is there",
     .repeatable = true},
    {.name = "--openssl-conf",
     .argument = "FILE",
     .summary = "check this openssl.cnf instead of $OPENSSL_CONF or OpenSSL's own"},
    {.name = "--nginx-conf",
     .argument = "FILE",
     .summary = "check this nginx.conf instead of /etc/nginx/nginx.conf, if that is there"},
};

const struct cli_verb cli_doctor_verbs[] = {
    {.words = "doctor",
     .summary = "check configuration, tokens, PIN sources and OpenSSL's activation",
     .description =
         "Checks kyok.conf and who may change it; that each module loads (in a process of its "
         "own), "
         "that each token of each group is there and its PIN is not near its lock; that each PIN "
         "source can be read, without trying the PIN; that KMIP servers answer and the "
         "certificates "
         "for them are valid; that openssl.cnf activates default before kyok; that the "
         "certificates in nginx's configuration are valid, and which of their keys are references "
         "or files; and that the clock and the limit of locked memory are sane. With --login it "
         "logs in once per group and flags "
         "keys "
         "that could leave, or that do not meet require; it does not log in where the next wrong "
         "PIN "
         "would lock the token. Each finding is good, note, warning or bad, and names its remedy. "
         "Any "
         "bad one makes the exit code that of its kind.",
     CLI_OPTIONS(doctor_options),
     .run = run_doctor},
    {0},
};
