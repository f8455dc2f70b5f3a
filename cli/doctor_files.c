/* SPDX-License-Identifier: Apache-2.0 */
/* Doctor: kyok.conf, files and who may change them, the system's clock and limits. */
#include "cli/doctor.h"

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

/* Whoever may write the folder may put another file in place. */
static void check_folder(struct doctor *doctor, const char *check, const char *path)
{
    struct stat status;
    KYOK_AUTO_FREE char *copy = strdup(path);
    if (copy == NULL)
        return;
    const char *folder = dirname(copy);
    if (stat(folder, &status) != 0)
        return;
    bool sticky = (status.st_mode & S_ISVTX) != 0;
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0 && !sticky)
        doctor_find(doctor, DOCTOR_BAD, check, folder, "chmod go-w it",
                    "others can put another file in the place of those in this folder");
    else if (status.st_uid != 0 && status.st_uid != geteuid())
        doctor_find(doctor, DOCTOR_WARNING, check, folder, "let root own it",
                    "the folder belongs to user %lu, who can replace the files in it",
                    (unsigned long)status.st_uid);
}

bool doctor_check_file(struct doctor *doctor, const char *check, const char *path, bool secret)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        doctor_find(doctor, DOCTOR_BAD, check, path, "correct the path, or put the file there",
                    "the file cannot be found (%s)", strerrorname_np(errno));
        return false;
    }
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        doctor_find(doctor, DOCTOR_BAD, check, path, "chmod go-w it",
                    "others than its owner can write this file");
    if (secret && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        doctor_find(doctor, DOCTOR_BAD, check, path, "chmod 0600 it, and replace the key",
                    "others than its owner can read this private key");
    if (status.st_uid != 0 && status.st_uid != geteuid())
        doctor_find(doctor, DOCTOR_WARNING, check, path, "let root own it",
                    "the file belongs to user %lu", (unsigned long)status.st_uid);
    check_folder(doctor, check, path);
    return true;
}

/* --- kyok.conf -------------------------------------------------------------------------------- */

static void note_groups(struct doctor *doctor)
{
    const struct kyok_config *config = doctor->config;
    size_t groups = config->token_count + config->kmip_count;
    if (groups == 0)
        doctor_find(doctor, DOCTOR_WARNING, "configuration", config->path,
                    "add a section [token NAME] or [kmip NAME], or run \"kyok setup\"",
                    "no group is configured");
    else
        doctor_find(doctor, DOCTOR_NOTE, "configuration", config->path,
                    "give the same custodians the same names on every such host",
                    "hosts that share envelopes or disk records must share the names of groups");
}

void doctor_check_configuration(struct doctor *doctor)
{
    struct cli *cli = doctor->cli;
    if (kyok_config_load(cli->config_path, &doctor->config, &cli->error) != KYOK_OK) {
        doctor_find_error(doctor, DOCTOR_BAD, "configuration", &cli->error);
        return;
    }
    const char *path = doctor->config->path;
    if (path == NULL) {
        doctor_find(doctor, DOCTOR_WARNING, "configuration", KYOK_DEFAULT_CONFIG,
                    "run \"kyok setup\", or write the file (see kyok.conf(5))", "there is none");
        return;
    }
    if (doctor_check_file(doctor, "configuration", path, false))
        doctor_find(doctor, DOCTOR_GOOD, "configuration", path, NULL,
                    "%zu token groups, %zu KMIP groups, %zu named keys",
                    doctor->config->token_count, doctor->config->kmip_count,
                    doctor->config->key_count);
    note_groups(doctor);
}

/* --- the system ------------------------------------------------------------------------------- */

static void check_clock(struct doctor *doctor)
{
    struct timex state = {.modes = 0};
    /* 1 January 2026: this program cannot run before it was written. */
    if (time(NULL) < 1767225600)
        doctor_find(doctor, DOCTOR_BAD, "clock", NULL, "set the clock",
                    "it is before 2026: certificates will look invalid");
    else if (adjtimex(&state) == TIME_ERROR)
        doctor_find(doctor, DOCTOR_NOTE, "clock", NULL, "run chrony or systemd-timesyncd",
                    "it is not synchronised; the dates of certificates are judged by it");
    else
        doctor_find(doctor, DOCTOR_GOOD, "clock", NULL, NULL, "it is synchronised");
}

static void check_locked_memory(struct doctor *doctor)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
        limit.rlim_cur >= 256 * 1024)
        return;
    doctor_find(doctor, DOCTOR_WARNING, "memory", NULL, "raise it: ulimit -l, LimitMEMLOCK=",
                "only %lu KiB may be locked: secrets may reach the swap space",
                (unsigned long)limit.rlim_cur / 1024);
}

void doctor_check_system(struct doctor *doctor)
{
    check_clock(doctor);
    check_locked_memory(doctor);
}
