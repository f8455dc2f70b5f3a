/* SPDX-License-Identifier: Apache-2.0 */
/* Doctor: nginx's configuration: the certificates in it, and what their keys are. */
#include "cli/doctor.h"
#include "cli/nginx_words.h"

#include <glob.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NGINX "nginx"
#define USUAL_PLACE "/etc/nginx/nginx.conf"
#define FILE_MAX ((size_t)4 << 20)
#define FILES_MAX 512
#define DEPTH_MAX 16
#define PATHS_MAX 1024

struct nginx {
    struct doctor *doctor;
    const char *folder; /* of the first file: relative paths begin there */
    const char *file;   /* being read */
    size_t files, depth;
    size_t references, plain; /* keys */
    bool module;              /* kyok's is loaded */
    char *seen[PATHS_MAX];    /* certificates and keys, each looked at once */
    size_t seen_count;
};

static void nginx_free(struct nginx *nginx)
{
    for (size_t i = 0; i < nginx->seen_count; i++)
        free(nginx->seen[i]);
}

static void take_file(struct nginx *nginx, const char *path);

static char *full_path(const struct nginx *nginx, const char *path)
{
    char *full = NULL;

    if (path[0] == '/')
        return strdup(path);
    return asprintf(&full, "%s/%s", nginx->folder, path) >= 0 ? full : NULL;
}

/* True the first time. */
static bool note_path(struct nginx *nginx, const char *path)
{
    for (size_t i = 0; i < nginx->seen_count; i++)
        if (strcmp(nginx->seen[i], path) == 0)
            return false;
    if (nginx->seen_count == PATHS_MAX || (nginx->seen[nginx->seen_count] = strdup(path)) == NULL)
        return false;
    nginx->seen_count++;
    return true;
}

/* --- what directives name --------------------------------------------------------------------- */

static void take_certificate(struct nginx *nginx, const char *path)
{
    doctor_check_certificate(nginx->doctor, NGINX, path);
}

static bool has_reference(const char *path)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    struct kyok_error ignored;

    if (cli_read_file(path, FILE_MAX, &text, &ignored) != KYOK_OK ||
        !kyok_buffer_append(&text, "", 1))
        return false;
    return strstr((const char *)text.data, "-----BEGIN " KYOK_PEM_LABEL_URI "-----") != NULL ||
           strstr((const char *)text.data, "-----BEGIN " KYOK_PEM_LABEL_REFERENCE "-----") != NULL;
}

static void take_key(struct nginx *nginx, const char *path)
{
    if (has_reference(path)) {
        nginx->references++;
        doctor_check_reference(nginx->doctor, path);
        return;
    }
    nginx->plain++;
    if (doctor_check_file(nginx->doctor, NGINX, path, true))
        doctor_find(nginx->doctor, DOCTOR_NOTE, NGINX, path,
                    "make a key with \"kyok key generate\" and a reference to it with \"kyok key "
                    "reference\"",
                    "this private key is a file: whoever reads it has the key");
}

static void take_include(struct nginx *nginx, const char *pattern)
{
    glob_t found;

    if (nginx->depth == DEPTH_MAX) {
        doctor_find(nginx->doctor, DOCTOR_WARNING, NGINX, nginx->file, "look for a circle",
                    "its includes are nested deeper than %d", DEPTH_MAX);
        return;
    }
    if (glob(pattern, 0, NULL, &found) != 0)
        return; /* a pattern that fits nothing is allowed */
    nginx->depth++;
    for (size_t i = 0; i < found.gl_pathc; i++)
        take_file(nginx, found.gl_pathv[i]);
    nginx->depth--;
    globfree(&found);
}

static const struct {
    const char *end; /* of the directive's name: proxy_ssl_certificate and others are alike */
    void (*take)(struct nginx *nginx, const char *path);
} subjects[] = {
    {"ssl_certificate", take_certificate},
    {"ssl_certificate_key", take_key},
};

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), wanted = strlen(end);

    return size >= wanted && strcmp(text + size - wanted, end) == 0 &&
           (size == wanted || text[size - wanted - 1] == '_');
}

/* Neither a variable nor data, nor a name that an engine or a store understands. */
static bool is_path(const char *word)
{
    static const char *const others[] = {"data:", "engine:", "store:"};

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (strncmp(word, others[i], strlen(others[i])) == 0)
            return false;
    return word[0] != '\0' && strchr(word, '$') == NULL;
}

static void take_directive(void *caller, const struct nginx_directive *directive)
{
    struct nginx *nginx = caller;
    const char *name = directive->words[0];

    if (directive->count < 2 || directive->block)
        return;
    if (strcmp(name, "load_module") == 0)
        nginx->module |= strstr(directive->words[1], "ngx_kyok_module") != NULL;
    if (!is_path(directive->words[1]))
        return;
    KYOK_AUTO_FREE char *path = full_path(nginx, directive->words[1]);
    if (path == NULL)
        return;
    if (strcmp(name, "include") == 0)
        take_include(nginx, path);
    for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++)
        if (ends_with(name, subjects[i].end) && note_path(nginx, path))
            subjects[i].take(nginx, path);
}

/* --- files ------------------------------------------------------------------------------------ */

static void take_file(struct nginx *nginx, const char *path)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    const char *before = nginx->file;
    struct kyok_error err;

    if (nginx->files++ == FILES_MAX)
        doctor_find(nginx->doctor, DOCTOR_WARNING, NGINX, path, "look for a circle of includes",
                    "only the first %d files are looked at", FILES_MAX);
    if (nginx->files > FILES_MAX)
        return;
    if (cli_read_file(path, FILE_MAX, &text, &err) != KYOK_OK) {
        doctor_find_error(nginx->doctor, DOCTOR_WARNING, NGINX, &err);
        return;
    }
    nginx->file = path;
    nginx_words(kyok_buffer_bytes(&text), take_directive, nginx);
    nginx->file = before;
}

static void summarise(struct nginx *nginx, const char *path)
{
    if (nginx->references > 0 && !nginx->module)
        doctor_find(nginx->doctor, DOCTOR_NOTE, NGINX, path,
                    "load_module .../ngx_kyok_module.so (see docs/nginx.md)",
                    "without kyok's module a worker waits for the custodian in each handshake");
    doctor_find(nginx->doctor, DOCTOR_GOOD, NGINX, path, NULL,
                "%zu files, %zu keys at custodians, %zu in files", nginx->files, nginx->references,
                nginx->plain);
}

void doctor_check_nginx(struct doctor *doctor)
{
    const char *named = cli_option(doctor->cli, "--nginx-conf");
    const char *path = named != NULL ? named : USUAL_PLACE;
    KYOK_AUTO_FREE char *real = realpath(path, NULL);
    KYOK_AUTO_FREE char *folder = strdup(real != NULL ? real : path);
    KYOK_CLEANUP(nginx_free) struct nginx nginx = {.doctor = doctor};

    if (folder == NULL || (named == NULL && access(path, F_OK) != 0))
        return;
    nginx.folder = dirname(folder);
    if (!doctor_check_file(doctor, NGINX, path, false))
        return;
    take_file(&nginx, path);
    summarise(&nginx, path);
}
