/* SPDX-License-Identifier: Apache-2.0 */
/* kyok uses KEY: which files rest on a key. Envelopes and streams by their recipients, PEM
 * references by their URI, configuration by the URIs in it and by the names of such PEM files,
 * domain XML by the records in it. Only files are read; no custodian is contacted. */
#include "cli/envelope.h"
#include "cli/uses.h"

#include <libgen.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_MAX ((size_t)4 << 20)

/* --- findings -------------------------------------------------------------------------------- */

static void add_finding(struct cli_uses *uses, const char *path, size_t line, const char *kind,
                        const char *what)
{
    struct cli_use *list;

    for (size_t i = 0; i < uses->count; i++)
        if (uses->list[i].line == line && strcmp(uses->list[i].path, path) == 0 &&
            strcmp(uses->list[i].kind, kind) == 0)
            return;
    list = realloc(uses->list, (uses->count + 1) * sizeof(*list));
    if (list == NULL)
        return;
    uses->list = list;
    list[uses->count] = (struct cli_use){strdup(path), kind, strdup(what), line};
    uses->count += list[uses->count].path != NULL && list[uses->count].what != NULL;
}

void cli_uses_free(struct cli_uses *uses)
{
    for (size_t i = 0; i < uses->count; i++) {
        free(uses->list[i].path);
        free(uses->list[i].what);
    }
    free(uses->list);
    for (size_t i = 0; i < uses->text_count; i++)
        free(uses->texts[i]);
    free(uses->texts);
    free(uses->first_unread);
}

enum kyok_status cli_uses_check(const struct cli_uses *uses, struct kyok_error *err)
{
    if (uses->unread == 0)
        return KYOK_OK;
    kyok_fail(err, KYOK_INCOMPLETE, uses->first_unread,
              uses->unread == 1 ? "this file cannot be read: it may rest on the key"
                                : "this and %zu other files cannot be read: they may rest on the "
                                  "key",
              uses->unread - 1);
    return kyok_remedy(err, "run this as a user who may read them, or remove what is damaged");
}

static void note_unread(struct cli_uses *uses, const char *path)
{
    if (uses->unread++ == 0)
        uses->first_unread = strdup(path);
}

/* --- envelopes ------------------------------------------------------------------------------- */

/* False when it is none that kyok can open, not even as foreign JSON. */
static bool look_into_envelope(struct cli_uses *uses, const char *path, size_t line,
                               const char *kind, struct kyok_bytes json)
{
    static const struct kyok_envelope_options foreign = {.foreign = true};
    KYOK_CLEANUP(cli_envelope_free) struct kyok_envelope *envelope = NULL;
    struct kyok_error ignored;

    if (kyok_envelope_inspect(json, &foreign, &envelope, &ignored) != KYOK_OK)
        return false;
    for (size_t i = 0; i < kyok_envelope_layer_count(envelope); i++) {
        const struct kyok_envelope_layer *layer = kyok_envelope_layer(envelope, i);

        for (size_t j = 0; j < layer->count; j++)
            if (layer->recipients[j].kid != NULL &&
                cli_uses_match(uses, layer->recipients[j].kid, KYOK_FROM_DATA))
                add_finding(uses, path, line, kind, layer->recipients[j].kid);
    }
    return true;
}

/* --- text: records in XML, PEM references, URIs, names of PEM references --------------------- */

static size_t line_of(const char *text, const char *at)
{
    size_t line = 1;

    for (; text < at; text++)
        line += *text == '\n';
    return line;
}

/* The end of the JSON object that begins at text, or NULL. */
static const char *object_end(const char *text)
{
    unsigned depth = 0;
    bool in_string = false;

    for (; *text != '\0'; text++) {
        if (in_string && *text == '\\' && text[1] != '\0')
            text++;
        else if (*text == '"')
            in_string = !in_string;
        else if (!in_string && *text == '{')
            depth++;
        else if (!in_string && *text == '}' && --depth == 0)
            return text + 1;
    }
    return NULL;
}

static const struct {
    const char *entity;
    char means;
} entities[] = {{"&quot;", '"'}, {"&#34;", '"'}, {"&#x22;", '"'},  {"&amp;", '&'},
                {"&lt;", '<'},   {"&gt;", '>'},  {"&apos;", '\''}, {"&#39;", '\''}};
#define ENTITIES (sizeof(entities) / sizeof(entities[0]))

/* In place: as an XML reader would see attributes and text. */
static void unescape(char *text)
{
    char *to = text;

    while (*text != '\0') {
        size_t i = 0;

        while (i < ENTITIES && strncmp(text, entities[i].entity, strlen(entities[i].entity)) != 0)
            i++;
        *to++ = i < ENTITIES ? entities[i].means : *text;
        text += i < ENTITIES ? strlen(entities[i].entity) : 1;
    }
    *to = '\0';
}

static void find_records(struct cli_uses *uses, const char *path, const char *text)
{
    KYOK_AUTO_FREE char *plain = strdup(text);
    const char *at = plain;

    if (plain == NULL)
        return;
    unescape(plain);
    while ((at = strstr(at, "{\"protected\":\"")) != NULL) {
        const char *end = object_end(at);

        if (end == NULL)
            return;
        (void)look_into_envelope(uses, path, line_of(plain, at), "record",
                                 kyok_bytes(at, (size_t)(end - at)));
        at = end;
    }
}

static bool is_reference_label(const char *label)
{
    return strcmp(label, KYOK_PEM_LABEL_URI) == 0 || strcmp(label, KYOK_PEM_LABEL_REFERENCE) == 0;
}

static void look_into_pem(struct cli_uses *uses, const char *path, struct kyok_bytes der)
{
    struct kyok_pem_reference reference;
    struct kyok_error ignored;
    KYOK_AUTO_FREE char *uri = NULL;

    if (kyok_pem_reference_parse(der, &reference, &ignored) != KYOK_OK)
        return;
    uri = strndup((const char *)reference.uri.data, reference.uri.size);
    if (uri != NULL && cli_uses_match(uses, uri, KYOK_FROM_CONFIGURATION))
        add_finding(uses, path, 0, CLI_USE_PEM, uri);
}

static void find_pem_references(struct cli_uses *uses, const char *path, const char *text)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    char *label = NULL, *header = NULL;
    unsigned char *data = NULL;
    long size = 0;

    if (strstr(text, "-----BEGIN ") != NULL)
        while (bio != NULL && PEM_read_bio(bio, &label, &header, &data, &size) == 1) {
            if (is_reference_label(label))
                look_into_pem(uses, path, kyok_bytes(data, (size_t)size));
            OPENSSL_free(label);
            OPENSSL_free(header);
            OPENSSL_free(data);
        }
    ERR_clear_error();
    BIO_free(bio);
}

/* RFC 3986 and what RFC 7512 lets stand; a comma or bracket of a policy ends it. */
static size_t uri_length(const char *text)
{
    return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                        "-._~%:;=?&/@!$*+|[]");
}

static void find_uris(struct cli_uses *uses, const char *path, const char *text)
{
    static const char *const schemes[] = {"pkcs11:", "kmip:"};

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        for (const char *at = strstr(text, schemes[i]); at != NULL;
             at = strstr(at + 1, schemes[i])) {
            size_t length = uri_length(at);
            KYOK_AUTO_FREE char *uri = NULL;

            while (length > 0 && (at[length - 1] == ';' || at[length - 1] == '.'))
                length--; /* the end of nginx's directive, or of a sentence */
            uri = strndup(at, length);
            if (uri != NULL && cli_uses_match(uses, uri, KYOK_FROM_CONFIGURATION))
                add_finding(uses, path, line_of(text, at), "configuration", uri);
        }
}

/* --- files ----------------------------------------------------------------------------------- */

/* NULL: not a text. *whole: nothing is left unread. */
static char *read_text(const char *path, bool *whole)
{
    FILE *file = fopen(path, "re");
    char *text = file != NULL ? malloc(TEXT_MAX + 1) : NULL;
    size_t size = text != NULL ? fread(text, 1, TEXT_MAX, file) : 0;

    *whole = file != NULL && size < TEXT_MAX;
    if (file != NULL)
        fclose(file);
    if (text == NULL || memchr(text, '\0', size) != NULL) {
        *whole = text != NULL; /* what is no text holds nothing that is looked for */
        free(text);
        return NULL;
    }
    text[size] = '\0';
    return text;
}

static void remember_text(struct cli_uses *uses, const char *path)
{
    char **texts = realloc(uses->texts, (uses->text_count + 1) * sizeof(*texts));

    if (texts == NULL)
        return;
    uses->texts = texts;
    texts[uses->text_count] = strdup(path);
    uses->text_count += texts[uses->text_count] != NULL;
}

static bool visit(void *caller, const char *path)
{
    struct cli_uses *uses = caller;
    KYOK_CLEANUP(cli_envelope_file_free) struct cli_envelope_file file = {0};
    KYOK_AUTO_FREE char *text = NULL;
    struct kyok_error ignored;
    enum kyok_status status;
    bool whole;

    uses->files++;
    status = cli_envelope_file_read(path, &file, &ignored);
    if (status == KYOK_OK && look_into_envelope(uses, path, 0, file.stream ? "stream" : "envelope",
                                                kyok_buffer_bytes(&file.json)))
        return true;
    text = read_text(path, &whole);
    if (status != KYOK_NOT_FOUND || !whole)
        note_unread(uses, path);
    if (text == NULL)
        return true;
    find_records(uses, path, text);
    find_pem_references(uses, path, text);
    find_uris(uses, path, text);
    remember_text(uses, path);
    return true;
}

/* --- names of PEM references ----------------------------------------------------------------- */

static bool same_file(const char *path, const struct stat *wanted)
{
    struct stat about;

    return stat(path, &about) == 0 && about.st_dev == wanted->st_dev &&
           about.st_ino == wanted->st_ino;
}

/* A relative name begins in the folder of the text (nginx.conf) or in the one above it
 * (sites-enabled/...). */
static bool names_file(const char *word, const char *text_path, const struct stat *wanted)
{
    static const char *const steps[] = {"", "../"};
    KYOK_AUTO_FREE char *copy = strdup(text_path);
    const char *folder = copy != NULL ? dirname(copy) : ".";

    if (word[0] == '/')
        return same_file(word, wanted);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        KYOK_AUTO_FREE char *path = NULL;

        if (asprintf(&path, "%s/%s%s", folder, steps[i], word) < 0)
            path = NULL;
        if (path != NULL && same_file(path, wanted))
            return true;
    }
    return false;
}

#define WORD_ENDS " \t\r\n\"';,={}()<>"

/* The first word of text that names the file, which a link or another path may do. */
static const char *find_name(const char *text, const char *text_path, const char *file)
{
    const char *slash = strrchr(file, '/'), *name = slash != NULL ? slash + 1 : file;
    struct stat wanted;

    if (stat(file, &wanted) != 0)
        return NULL;
    for (const char *at = text + strspn(text, WORD_ENDS); *at != '\0';) {
        size_t size = strcspn(at, WORD_ENDS);
        KYOK_AUTO_FREE char *word = size < PATH_MAX ? strndup(at, size) : NULL;
        bool likely = word != NULL && (strchr(word, '/') != NULL || strcmp(word, name) == 0 ||
                                       strchr(word, '.') != NULL);

        if (likely && names_file(word, text_path, &wanted))
            return at;
        at += size;
        at += strspn(at, WORD_ENDS);
    }
    return NULL;
}

static bool is_pem_use(const struct cli_use *use)
{
    return strcmp(use->kind, CLI_USE_PEM) == 0;
}

static bool has_pem_reference(const struct cli_uses *uses)
{
    for (size_t i = 0; i < uses->count; i++)
        if (is_pem_use(&uses->list[i]))
            return true;
    return false;
}

/* nginx, haproxy and others name the PEM reference, not the key. */
static void find_pem_names(struct cli_uses *uses)
{
    size_t known = uses->count;
    bool whole;

    for (size_t i = 0; i < uses->text_count && has_pem_reference(uses); i++) {
        KYOK_AUTO_FREE char *text = read_text(uses->texts[i], &whole);

        for (size_t j = 0; text != NULL && j < known; j++) {
            const char *at = is_pem_use(&uses->list[j])
                                 ? find_name(text, uses->texts[i], uses->list[j].path)
                                 : NULL;

            if (at != NULL)
                add_finding(uses, uses->texts[i], line_of(text, at), "configuration",
                            uses->list[j].path);
        }
    }
}

static const char *const usual_places[] = {
    "/etc/kyok",  "/etc/nginx",   "/etc/ssl",     "/etc/pki",      "/etc/haproxy",
    "/etc/httpd", "/etc/apache2", "/etc/libvirt", "/var/lib/kyok", "/var/lib/libvirt",
    NULL};

enum kyok_status cli_uses_find(struct cli_uses *uses, const char *const *paths, size_t count,
                               struct kyok_error *err)
{
    for (size_t i = 0; i < count; i++)
        KYOK_TRY(cli_each_file(paths[i], visit, uses, err));
    for (size_t i = 0; count == 0 && usual_places[i] != NULL; i++)
        if (access(usual_places[i], F_OK) == 0)
            KYOK_TRY(cli_each_file(usual_places[i], visit, uses, err));
    find_pem_names(uses);
    return KYOK_OK;
}

/* --- verb ------------------------------------------------------------------------------------ */

json_t *cli_uses_json(const struct cli_uses *uses)
{
    json_t *list = json_array();

    for (size_t i = 0; i < uses->count; i++) {
        json_t *json =
            json_pack("{s:o, s:s, s:o}", "file", cli_json_text(uses->list[i].path), "kind",
                      uses->list[i].kind, "by", cli_json_text(uses->list[i].what));
        if (json != NULL && uses->list[i].line > 0)
            json_object_set_new(json, "line", json_integer((json_int_t)uses->list[i].line));
        json_array_append_new(list, json);
    }
    return json_pack("{s:I, s:I, s:o}", "files", (json_int_t)uses->files, "unread",
                     (json_int_t)uses->unread, "uses", list);
}

void cli_uses_print(FILE *stream, const struct cli_uses *uses)
{
    char path[1024], what[1024];

    for (size_t i = 0; i < uses->count; i++) {
        const struct cli_use *use = &uses->list[i];

        fprintf(stream, "%s", cli_safe(use->path, path, sizeof(path)));
        if (use->line > 0)
            fprintf(stream, ":%zu", use->line);
        fprintf(stream, "  %s  %s\n", use->kind, cli_safe(use->what, what, sizeof(what)));
    }
}

static enum kyok_status run_uses(struct cli *cli)
{
    KYOK_CLEANUP(cli_uses_free) struct cli_uses uses = {0};
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *wanted = NULL;

    KYOK_TRY(cli_config(cli, &uses.config));
    KYOK_TRY(kyok_reference_parse(cli->operands[0], KYOK_FROM_CONFIGURATION, uses.config, &wanted,
                                  &cli->error));
    uses.wanted = wanted;
    KYOK_TRY(cli_uses_find(&uses, cli->operands + 1, cli->operand_count - 1, &cli->error));
    if (cli->json) {
        KYOK_TRY(cli_json(cli, cli_uses_json(&uses)));
    } else {
        cli_uses_print(stdout, &uses);
        if (uses.count == 0)
            printf("no use of this key in %zu files\n", uses.files - uses.unread);
    }
    return cli_uses_check(&uses, &cli->error);
}

const struct cli_verb cli_envelope_uses_verbs[] = {
    {.words = "uses",
     .operands = "KEY [PATH...]",
     .least = 1,
     .most = CLI_ANY,
     .summary = "find what rests on a key",
     .description =
         "Looks through the files in and below PATH... (the usual folders of kyok, nginx, haproxy, "
         "OpenSSL, Apache and libvirt when none is given) for envelopes, streams and "
         "disk "
         "records that the key opens, PEM references to it, and configuration that names it or "
         "such "
         "a PEM reference. A key counts as the same unless something that both name differs. A "
         "file "
         "that cannot be read, or a damaged envelope, may rest on it too: then the exit code is 4. "
         "No custodian is contacted.",
     .run = run_uses},
    {0},
};
