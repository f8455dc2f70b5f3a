/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads kyok.conf line by line. What may stand in a section is in settings.c; here are the lines,
 * the sections, and the checks that need the whole file.
 */
#include "common/config/kyok_conf.h"

#include "common/config/reference.h"
#include "common/config/settings.h"
#include "common/config/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static void *add_section(struct kyok_config *config, enum kyok_section_kind kind)
{
    switch (kind) {
    case KYOK_SECTION_TOKEN:
        return kyok_conf_add_token(config);
    case KYOK_SECTION_KMIP:
        return kyok_conf_add_kmip(config);
    default:
        return kyok_conf_add_key(config);
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
    const char *taken = kyok_conf_where_taken(config, kind, copy);
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
    char **item = kyok_conf_add_text(list, count);
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
