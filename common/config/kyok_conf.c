/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads kyok.conf line by line. What may stand in a section is in settings.c; here are the lines,
 * the sections, and the checks that need the whole file.
 */
#include "common/config/kyok_conf.h"

#include "common/config/reference.h"
#include "common/config/settings.h"
#include "common/config/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct parser {
    struct kyok_config *config;
    const char *file;
    size_t line;
    const struct kyok_section *section; /* NULL before the first */
    void *fields;                       /* of that section: struct kyok_token_config or another */
    char title[80];                     /* "[token NAME]" */
    size_t section_line;
    size_t seen[16]; /* line on which each setting of the section was first given */
    struct kyok_error *err;
};

static void config_auto_free(struct kyok_config **config)
{
    kyok_config_free(*config);
}

/* --- messages --------------------------------------------------------------------------------- */

static void name_place(struct parser *parser, size_t line)
{
    snprintf(parser->err->object, sizeof(parser->err->object), "%s:%zu", parser->file, line);
}

__attribute__((format(printf, 4, 5))) static enum kyok_status
fail_at(struct parser *parser, size_t line, const char *expected, const char *format, ...)
{
    char what[sizeof(parser->err->what)];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    kyok_fail(parser->err, KYOK_INVALID, NULL, "%s", what);
    name_place(parser, line);
    return kyok_remedy(parser->err, "expected %s", expected);
}

/* "a, b, c": the settings of a section, for messages. */
static void list_settings(const struct kyok_section *section, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < section->setting_count && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i > 0 ? ", " : "",
                                 section->settings[i].name);
}

/* --- sections --------------------------------------------------------------------------------- */

/* items with room for one more than count elements of size bytes, the new one zeroed. */
static void *grow(void *items, size_t count, size_t size)
{
    char *more = realloc(items, (count + 1) * size);
    if (more != NULL)
        memset(more + count * size, 0, size);
    return more;
}

static char **add_text(char ***list, size_t *count)
{
    char **more = grow(*list, *count, sizeof(char *));
    if (more == NULL)
        return NULL;
    *list = more;
    return &more[(*count)++];
}

static struct kyok_token_config *add_token(struct kyok_config *config)
{
    struct kyok_token_config *more = grow(config->tokens, config->token_count, sizeof(*more));
    if (more == NULL)
        return NULL;
    config->tokens = more;
    more += config->token_count++;
    more->timeout_ms = KYOK_DEFAULT_TIMEOUT_MS;
    return more;
}

static struct kyok_kmip_config *add_kmip(struct kyok_config *config)
{
    struct kyok_kmip_config *more = grow(config->kmips, config->kmip_count, sizeof(*more));
    if (more == NULL)
        return NULL;
    config->kmips = more;
    more += config->kmip_count++;
    more->timeout_ms = KYOK_DEFAULT_TIMEOUT_MS;
    return more;
}

static struct kyok_named_key *add_key(struct kyok_config *config)
{
    struct kyok_named_key *more = grow(config->keys, config->key_count, sizeof(*more));
    if (more == NULL)
        return NULL;
    config->keys = more;
    return more + config->key_count++;
}

static void *add_section(struct kyok_config *config, enum kyok_section_kind kind)
{
    switch (kind) {
    case KYOK_SECTION_TOKEN:
        return add_token(config);
    case KYOK_SECTION_KMIP:
        return add_kmip(config);
    default:
        return add_key(config);
    }
}

/* name and where are the first two fields of every section's struct. */
struct section_head {
    char *name;
    char *where;
};
_Static_assert(offsetof(struct kyok_token_config, where) == offsetof(struct section_head, where) &&
                   offsetof(struct kyok_kmip_config, where) ==
                       offsetof(struct section_head, where) &&
                   offsetof(struct kyok_named_key, where) == offsetof(struct section_head, where),
               "every section begins with name and where");

/* Where a section has taken the name, or NULL. Token and KMIP groups share one set of names:
 * commands name a group without saying of which kind it is. */
static const char *where_taken(const struct kyok_config *config, enum kyok_section_kind kind,
                               const char *name)
{
    const struct kyok_token_config *token = kyok_config_token(config, name);
    const struct kyok_kmip_config *kmip = kyok_config_kmip(config, name);
    const struct kyok_named_key *key = kyok_config_key(config, name);
    if (kind == KYOK_SECTION_KEY)
        return key != NULL ? key->where : NULL;
    if (token != NULL)
        return token->where != NULL ? token->where : "the program's own parameters";
    return kmip != NULL ? kmip->where : NULL;
}

static bool find_section(struct kyok_bytes word, enum kyok_section_kind *kind)
{
    for (size_t i = 0; i < KYOK_SECTION_KINDS; i++) {
        if (kyok_text_is(word, kyok_sections[i].word)) {
            *kind = (enum kyok_section_kind)i;
            return true;
        }
    }
    return false;
}

static enum kyok_status open_section(struct parser *parser, enum kyok_section_kind kind,
                                     struct kyok_bytes name)
{
    KYOK_AUTO_FREE char *copy = kyok_text_copy(name);
    struct kyok_config *config = parser->config;
    if (copy == NULL)
        return kyok_text_no_memory(parser->err);
    snprintf(parser->title, sizeof(parser->title), "[%s %s]", kyok_sections[kind].word, copy);
    const char *taken = where_taken(config, kind, copy);
    if (taken != NULL)
        return fail_at(parser, parser->line, "a name of its own for each section",
                       "the name of %s is taken at %s", parser->title, taken);
    if (config->token_count + config->kmip_count + config->key_count >= KYOK_CONF_MAX_SECTIONS)
        return fail_at(parser, parser->line, "at most 1024", "too many sections");
    struct section_head *head = add_section(config, kind);
    if (head == NULL)
        return kyok_text_no_memory(parser->err);
    head->name = copy;
    copy = NULL;
    if (asprintf(&head->where, "%s:%zu", parser->file, parser->line) < 0) {
        head->where = NULL;
        return kyok_text_no_memory(parser->err);
    }
    parser->section = &kyok_sections[kind];
    parser->fields = head;
    parser->section_line = parser->line;
    memset(parser->seen, 0, sizeof(parser->seen));
    return KYOK_OK;
}

static enum kyok_status close_section(struct parser *parser)
{
    if (parser->section == NULL)
        return KYOK_OK;
    for (size_t i = 0; i < parser->section->setting_count; i++) {
        const struct kyok_setting *setting = &parser->section->settings[i];
        if (setting->required && parser->seen[i] == 0)
            return fail_at(parser, parser->section_line, "it: a section of this kind needs it",
                           "%s has no \"%s\"", parser->title, setting->name);
    }
    return KYOK_OK;
}

static enum kyok_status read_section(struct parser *parser, struct kyok_bytes line)
{
    static const char *const form = "[token NAME], [kmip NAME] or [key NAME]";
    enum kyok_section_kind kind;
    KYOK_TRY(close_section(parser));
    if (line.data[line.size - 1] != ']')
        return fail_at(parser, parser->line, form, "a section's line does not end in \"]\"");
    line = kyok_bytes(line.data + 1, line.size - 2);
    size_t word = kyok_text_find(line, " \t");
    if (!find_section(kyok_bytes(line.data, word), &kind))
        return fail_at(parser, parser->line, form, "unknown section \"%s\"",
                       kyok_text_quote(line).text);
    struct kyok_bytes name = kyok_bytes(line.data + word, line.size - word);
    while (name.size > 0 && (name.data[0] == ' ' || name.data[0] == '\t'))
        name = kyok_bytes(name.data + 1, name.size - 1);
    if (!kyok_text_is_name(name))
        return fail_at(parser, parser->line,
                       "a name of 1 to 64 letters, digits, \".\", \"_\", \"-\", "
                       "the first a letter or digit",
                       "a section without a proper name");
    return open_section(parser, kind, name);
}

/* --- settings --------------------------------------------------------------------------------- */

static const struct kyok_setting *find_setting(const struct kyok_section *section,
                                               struct kyok_bytes name)
{
    for (size_t i = 0; i < section->setting_count; i++) {
        if (kyok_text_is(name, section->settings[i].name))
            return &section->settings[i];
    }
    return NULL;
}

static enum kyok_status fail_unknown_setting(struct parser *parser, struct kyok_bytes name)
{
    char known[160] = "one of ";
    list_settings(parser->section, known + strlen(known), sizeof(known) - strlen(known));
    return fail_at(parser, parser->line, known, "unknown setting \"%s\" in %s",
                   kyok_text_quote(name).text, parser->title);
}

/* Name the place and the setting in whatever the setter said. */
static enum kyok_status fail_value(struct parser *parser, const struct kyok_setting *setting)
{
    char what[sizeof(parser->err->what)];
    snprintf(what, sizeof(what), "%s: %.240s", setting->name, parser->err->what);
    memcpy(parser->err->what, what, sizeof(what));
    name_place(parser, parser->line);
    return parser->err->status;
}

static enum kyok_status set_list(struct parser *parser, const struct kyok_setting *setting,
                                 const char *value)
{
    char ***list = (char ***)(void *)((char *)parser->fields + setting->field);
    size_t *count = (size_t *)(void *)((char *)parser->fields + setting->count);
    for (size_t i = 0; i < *count; i++) {
        if (strcmp((*list)[i], value) == 0)
            return fail_at(parser, parser->line, "each value once", "the same value twice");
    }
    if (*count >= KYOK_CONF_MAX_LIST)
        return fail_at(parser, parser->line, "at most 64", "too many values");
    char **item = add_text(list, count);
    if (item == NULL)
        return kyok_text_no_memory(parser->err);
    return setting->set(item, value, parser->err) == KYOK_OK ? KYOK_OK
                                                             : fail_value(parser, setting);
}

static enum kyok_status set_value(struct parser *parser, const struct kyok_setting *setting,
                                  const char *value)
{
    size_t *seen = &parser->seen[setting - parser->section->settings];
    if (*seen != 0 && setting->count == 0)
        return fail_at(parser, parser->line, "it once in each section",
                       "\"%s\" is already set on line %zu", setting->name, *seen);
    *seen = parser->line;
    if (setting->count != 0)
        return set_list(parser, setting, value);
    if (setting->set((char *)parser->fields + setting->field, value, parser->err) != KYOK_OK)
        return fail_value(parser, setting);
    return KYOK_OK;
}

/* "timeout = 10  # seconds" would otherwise end in the value, silently where it is a path. */
static bool ends_in_comment(struct kyok_bytes value)
{
    for (size_t i = 1; i < value.size; i++) {
        if ((value.data[i] == '#' || value.data[i] == ';') &&
            (value.data[i - 1] == ' ' || value.data[i - 1] == '\t'))
            return true;
    }
    return false;
}

static struct kyok_bytes trim(struct kyok_bytes text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = kyok_bytes(text.data + 1, text.size - 1);
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t'))
        text.size--;
    return text;
}

static enum kyok_status read_setting(struct parser *parser, struct kyok_bytes line)
{
    size_t equals = kyok_text_find(line, "=");
    if (parser->section == NULL)
        return fail_at(parser, parser->line, "[token NAME], [kmip NAME] or [key NAME]",
                       "a line before the first section");
    if (equals == line.size)
        return fail_at(parser, parser->line, "NAME = VALUE",
                       "a line that is neither section nor setting");
    struct kyok_bytes name = trim(kyok_bytes(line.data, equals));
    struct kyok_bytes value = trim(kyok_bytes(line.data + equals + 1, line.size - equals - 1));
    const struct kyok_setting *setting = find_setting(parser->section, name);
    if (setting == NULL)
        return fail_unknown_setting(parser, name);
    if (value.size == 0)
        return fail_at(parser, parser->line, "NAME = VALUE", "a setting without a value");
    if (ends_in_comment(value))
        return fail_at(parser, parser->line, "comments on lines of their own",
                       "a comment behind a value");
    KYOK_AUTO_FREE char *copy = kyok_text_copy(value);
    if (copy == NULL)
        return kyok_text_no_memory(parser->err);
    return set_value(parser, setting, copy);
}

/* --- lines ------------------------------------------------------------------------------------ */

static enum kyok_status check_line(struct parser *parser, struct kyok_bytes line)
{
    if (line.size > KYOK_CONF_MAX_LINE)
        return fail_at(parser, parser->line, "at most 4096 bytes", "the line is too long");
    for (size_t i = 0; i < line.size; i++) {
        if ((line.data[i] < 0x20 && line.data[i] != '\t') || line.data[i] == 0x7f)
            return fail_at(parser, parser->line, "plain text", "a control character (or NUL)");
    }
    if (!kyok_text_is_utf8(line))
        return fail_at(parser, parser->line, "UTF-8 text", "bytes that are not UTF-8");
    return KYOK_OK;
}

static enum kyok_status read_line(struct parser *parser, struct kyok_bytes line)
{
    if (line.size > 0 && line.data[line.size - 1] == '\r')
        line.size--;
    KYOK_TRY(check_line(parser, line));
    line = trim(line);
    if (line.size == 0 || line.data[0] == '#' || line.data[0] == ';')
        return KYOK_OK;
    return line.data[0] == '[' ? read_section(parser, line) : read_setting(parser, line);
}

static enum kyok_status read_lines(struct parser *parser, struct kyok_bytes text)
{
    while (text.size > 0) {
        size_t size = kyok_text_find(text, "\n");
        size_t step = size < text.size ? size + 1 : size;
        parser->line++;
        KYOK_TRY(read_line(parser, kyok_bytes(text.data, size)));
        text = kyok_bytes(text.data + step, text.size - step);
    }
    return close_section(parser);
}

/* --- checks on the whole ---------------------------------------------------------------------- */

static enum kyok_status check_keys(const struct kyok_config *config, struct kyok_error *err)
{
    for (size_t i = 0; i < config->key_count; i++) {
        struct kyok_reference *reference = NULL;
        if (kyok_reference_parse(config->keys[i].uri, KYOK_FROM_CONFIGURATION, config, &reference,
                                 err) != KYOK_OK) {
            snprintf(err->object, sizeof(err->object), "%s", config->keys[i].where);
            return err->status;
        }
        bool pin = reference->pin_value != NULL;
        kyok_reference_free(reference);
        if (pin) {
            kyok_fail(err, KYOK_INVALID, config->keys[i].where, "uri: a PIN in the configuration");
            return kyok_remedy(err, "expected pin-source instead of pin-value");
        }
    }
    return KYOK_OK;
}

static enum kyok_status check_kmips(const struct kyok_config *config, struct kyok_error *err)
{
    for (size_t i = 0; i < config->kmip_count; i++) {
        const struct kyok_kmip_config *kmip = &config->kmips[i];
        if (kmip->release && kmip->require != KYOK_REQUIRE_NONE) {
            kyok_fail(err, KYOK_INVALID, kmip->where,
                      "[kmip %s] both releases keys and requires that they stay", kmip->name);
            return kyok_remedy(err, "expected release = no, or require = none");
        }
    }
    return KYOK_OK;
}

enum kyok_status kyok_config_parse(struct kyok_bytes text, const char *name,
                                   struct kyok_config **config, struct kyok_error *err)
{
    KYOK_CLEANUP(config_auto_free) struct kyok_config *read = kyok_config_new();
    if (read == NULL)
        return kyok_text_no_memory(err);
    if (text.size > KYOK_CONF_MAX_SIZE)
        return kyok_fail(err, KYOK_INVALID, name, "the file is larger than 1 MiB");
    struct parser parser = {.config = read, .file = name, .err = err};
    KYOK_TRY(read_lines(&parser, text));
    KYOK_TRY(check_kmips(read, err));
    KYOK_TRY(check_keys(read, err));
    *config = read;
    read = NULL;
    return KYOK_OK;
}

/* --- the file --------------------------------------------------------------------------------- */

static void close_file(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* Whoever can write it chooses the modules that this process loads. */
static enum kyok_status check_file(int fd, const char *path, struct stat *status,
                                   struct kyok_error *err)
{
    if (fstat(fd, status) != 0)
        return kyok_fail_errno(err, path, "the configuration cannot be examined");
    if (!S_ISREG(status->st_mode))
        return kyok_fail(err, KYOK_INVALID, path, "the configuration is not a regular file");
    if (status->st_uid != 0 && status->st_uid != geteuid()) {
        kyok_fail(err, KYOK_INVALID, path, "the configuration belongs to user %lu",
                  (unsigned long)status->st_uid);
        return kyok_remedy(err, "it must belong to root or to the user of this process");
    }
    if ((status->st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        kyok_fail(err, KYOK_INVALID, path, "the configuration can be written by others");
        return kyok_remedy(err, "chmod go-w %s", path);
    }
    return KYOK_OK;
}

static enum kyok_status read_file(int fd, const char *path, struct kyok_buffer *text,
                                  struct kyok_error *err)
{
    for (;;) {
        uint8_t *room = kyok_buffer_reserve(text, 16384);
        if (room == NULL)
            return text->size > KYOK_CONF_MAX_SIZE
                       ? kyok_fail(err, KYOK_INVALID, path, "the file is larger than 1 MiB")
                       : kyok_text_no_memory(err);
        ssize_t got = read(fd, room, 16384);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return kyok_fail_errno(err, path, "the configuration cannot be read");
        if (got == 0)
            return KYOK_OK;
        text->size += (size_t)got;
    }
}

static enum kyok_status load_file(const char *path, bool may_be_absent, struct kyok_config **config,
                                  struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free)
    struct kyok_buffer text = {.limit = KYOK_CONF_MAX_SIZE + 32768};
    struct stat status;
    KYOK_CLEANUP(close_file) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno == ENOENT && may_be_absent) {
        *config = kyok_config_new();
        return *config != NULL ? KYOK_OK : kyok_text_no_memory(err);
    }
    if (fd < 0) {
        kyok_fail_errno(err, path, "the configuration cannot be opened");
        err->status = KYOK_INVALID;
        return err->status;
    }
    KYOK_TRY(check_file(fd, path, &status, err));
    KYOK_TRY(read_file(fd, path, &text, err));
    KYOK_TRY(kyok_config_parse(kyok_buffer_bytes(&text), path, config, err));
    (*config)->path = strdup(path);
    if ((*config)->path != NULL)
        return KYOK_OK;
    kyok_config_free(*config);
    *config = NULL;
    return kyok_text_no_memory(err);
}

enum kyok_status kyok_config_load(const char *path, struct kyok_config **config,
                                  struct kyok_error *err)
{
    *config = NULL;
    if (path == NULL)
        path = secure_getenv("KYOK_CONF");
    if (path == NULL || path[0] == '\0')
        return load_file(KYOK_DEFAULT_CONFIG, true, config, err);
    return load_file(path, false, config, err);
}

/* --- the configuration as a value ------------------------------------------------------------- */

struct kyok_config *kyok_config_new(void)
{
    return calloc(1, sizeof(struct kyok_config));
}

static void free_list(char **list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i]);
    free(list);
}

static void clear_token(struct kyok_token_config *token)
{
    free(token->name);
    free(token->where);
    free(token->module);
    free_list(token->uris, token->uri_count);
    free(token->pin_source);
    free(token->init_args);
}

static void clear_kmip(struct kyok_kmip_config *kmip)
{
    free(kmip->name);
    free(kmip->where);
    free_list(kmip->servers, kmip->server_count);
    free(kmip->ca);
    free(kmip->certificate);
    free(kmip->key);
    free(kmip->crl);
}

void kyok_config_free(struct kyok_config *config)
{
    if (config == NULL)
        return;
    for (size_t i = 0; i < config->token_count; i++)
        clear_token(&config->tokens[i]);
    for (size_t i = 0; i < config->kmip_count; i++)
        clear_kmip(&config->kmips[i]);
    for (size_t i = 0; i < config->key_count; i++) {
        free(config->keys[i].name);
        free(config->keys[i].where);
        free(config->keys[i].uri);
    }
    free(config->tokens);
    free(config->kmips);
    free(config->keys);
    free(config->path);
    free(config);
}

static bool copy_text(char **copy, const char *text)
{
    *copy = text != NULL ? strdup(text) : NULL;
    return text == NULL || *copy != NULL;
}

/* copy has the plain fields already and owns nothing yet. */
static bool copy_token_texts(struct kyok_token_config *copy, const struct kyok_token_config *token)
{
    bool done = copy_text(&copy->name, token->name) && copy_text(&copy->where, token->where) &&
                copy_text(&copy->module, token->module) &&
                copy_text(&copy->pin_source, token->pin_source) &&
                copy_text(&copy->init_args, token->init_args);
    for (size_t i = 0; done && i < token->uri_count; i++) {
        char **uri = add_text(&copy->uris, &copy->uri_count);
        done = uri != NULL && copy_text(uri, token->uris[i]);
    }
    return done;
}

enum kyok_status kyok_config_add_token(struct kyok_config *config,
                                       const struct kyok_token_config *token,
                                       struct kyok_error *err)
{
    if (token->name == NULL || !kyok_text_is_name(kyok_bytes_of_text(token->name)))
        return kyok_fail(err, KYOK_INVALID, token->where, "a token group without a proper name");
    const char *taken = where_taken(config, KYOK_SECTION_TOKEN, token->name);
    if (taken != NULL)
        return kyok_fail(err, KYOK_INVALID, token->where, "group \"%s\" exists already, at %s",
                         token->name, taken);
    struct kyok_token_config *added = add_token(config);
    if (added == NULL)
        return kyok_text_no_memory(err);
    added->sessions = token->sessions;
    added->timeout_ms = token->timeout_ms != 0 ? token->timeout_ms : KYOK_DEFAULT_TIMEOUT_MS;
    added->require = token->require;
    added->isolate = token->isolate;
    if (copy_token_texts(added, token))
        return KYOK_OK;
    clear_token(added);
    config->token_count--;
    return kyok_text_no_memory(err);
}

const struct kyok_token_config *kyok_config_token(const struct kyok_config *config,
                                                  const char *name)
{
    for (size_t i = 0; i < config->token_count; i++) {
        if (config->tokens[i].name != NULL && strcmp(config->tokens[i].name, name) == 0)
            return &config->tokens[i];
    }
    return NULL;
}

const struct kyok_kmip_config *kyok_config_kmip(const struct kyok_config *config, const char *name)
{
    for (size_t i = 0; i < config->kmip_count; i++) {
        if (config->kmips[i].name != NULL && strcmp(config->kmips[i].name, name) == 0)
            return &config->kmips[i];
    }
    return NULL;
}

const struct kyok_named_key *kyok_config_key(const struct kyok_config *config, const char *name)
{
    for (size_t i = 0; i < config->key_count; i++) {
        if (config->keys[i].name != NULL && strcmp(config->keys[i].name, name) == 0)
            return &config->keys[i];
    }
    return NULL;
}
