/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli: the kyok command. One table of verbs drives parsing, help, completion and the manual page;
 * it holds no cryptography and no custodian's protocol, only calls into libkyok.
 *
 * To add a verb:
 *   1. write cli/SUBJECT_VERB.c (or cli/VERB.c) with its run function and a table
 *          const struct cli_verb cli_SUBJECT_VERB_verbs[] = {{.words = "subject verb", ...}, {0}};
 *   2. add one line to CLI_VERB_TABLES below;
 *   3. run "make manual" (build/kyok manual > cli/kyok.1) and commit the page with it.
 * run() returns the status and leaves the error in cli->error; it prints results on standard output
 * with cli_json() when cli->json, else as text, and never prints errors itself.
 */
#ifndef KYOK_CLI_H
#define KYOK_CLI_H

#include "common/base/base.h"
#include "common/config/config.h"
#include "common/key/key.h"

#include <jansson.h>
#include <stdio.h>

/* Every table of verbs, in the order of the help. */
#define CLI_VERB_TABLES(TABLE)                                                                     \
    TABLE(cli_key_generate_verbs)                                                                  \
    TABLE(cli_key_list_verbs)                                                                      \
    TABLE(cli_key_show_verbs)                                                                      \
    TABLE(cli_key_reference_verbs)                                                                 \
    TABLE(cli_key_life_verbs)                                                                      \
    TABLE(cli_key_life_destroy_verbs)                                                              \
    TABLE(cli_key_life_import_verbs)                                                               \
    TABLE(cli_module_verbs)                                                                        \
    TABLE(cli_envelope_seal_verbs)                                                                 \
    TABLE(cli_envelope_open_verbs)                                                                 \
    TABLE(cli_envelope_inspect_verbs)                                                              \
    TABLE(cli_envelope_rewrap_verbs)                                                               \
    TABLE(cli_envelope_uses_verbs)                                                                 \
    TABLE(cli_events_verbs)                                                                        \
    TABLE(cli_setup_verbs)                                                                         \
    TABLE(cli_doctor_verbs)                                                                        \
    TABLE(cli_kmip_ping_verbs)                                                                     \
    TABLE(cli_kmip_create_verbs)                                                                   \
    TABLE(cli_kmip_get_verbs)                                                                      \
    TABLE(cli_kmip_locate_verbs)                                                                   \
    TABLE(cli_kmip_state_verbs)                                                                    \
    TABLE(cli_kmip_dump_verbs)                                                                     \
    TABLE(cli_completion_verbs)                                                                    \
    TABLE(cli_disk_create_verbs)                                                                   \
    TABLE(cli_disk_rekey_verbs)                                                                    \
    TABLE(cli_disk_adopt_verbs)                                                                    \
    TABLE(cli_disk_reencrypt_verbs)                                                                \
    TABLE(cli_disk_recipients_verbs)                                                               \
    TABLE(cli_vm_list_verbs)                                                                       \
    TABLE(cli_vm_lock_verbs)                                                                       \
    TABLE(cli_vm_tpm_verbs)                                                                        \
    TABLE(cli_vm_copy_verbs)                                                                       \
    TABLE(cli_vm_audit_verbs)                                                                      \
    TABLE(cli_vm_harden_verbs)                                                                     \
    TABLE(cli_disk_info_verbs)                                                                     \
    TABLE(cli_manual_verbs)

struct cli;

struct cli_option {
    const char *name;           /* "--type" */
    const char *argument;       /* "FILE", as the help shows it; NULL: the option takes none */
    const char *summary;        /* one line, without a final stop */
    const char *const *choices; /* the values it may have, NULL at the end; NULL: any */
    char letter;                /* 'o' for "-o"; 0: none */
    bool required;
    bool repeatable;
};

#define CLI_OPTIONS(array) .options = (array), .option_count = sizeof(array) / sizeof((array)[0])

struct cli_verb {
    const char *words;    /* "key generate"; NULL ends a table */
    const char *operands; /* "REF [FILE]", as the help shows them; NULL: none. Placeholders that end
                             in FILE, IN, OUT or IMAGE complete to files, REF, KEY, ROOT and GROUP
                             to the names in kyok.conf. */
    unsigned least, most; /* number of operands; most = CLI_ANY: no limit */
    const char *summary;  /* one line, without a final stop */
    const char *description; /* sentences, for --help and the manual page; must suffice */
    const struct cli_option *options;
    size_t option_count;
    enum kyok_status (*run)(struct cli *cli);
    bool hidden; /* left out of the overview */
};
#define CLI_ANY 1000000u

struct cli_value {
    const struct cli_option *option;
    const char *value; /* "" for an option without argument */
};

/* One call of the command. */
struct cli {
    const struct cli_verb *verb; /* NULL until it is known */
    char words[64];              /* of the verb or of a group of verbs, as given */
    bool json;
    bool help, version;
    const char *config_path; /* --config */
    const char **operands;
    size_t operand_count;
    struct cli_value *values;
    size_t value_count;
    struct kyok_error error;
    struct kyok_config *config;   /* once cli_config() has loaded it, until the context has it */
    struct kyok_context *context; /* once cli_context() has made it */
    bool json_written;
};

/* --- for verbs -------------------------------------------------------------------------------- */

/* The option's value ("" if it takes none), or NULL when it was not given; of a repeatable one, its
 * index-th value. name is "--type". */
const char *cli_option(const struct cli *cli, const char *name);
const char *cli_option_at(const struct cli *cli, const char *name, size_t index);
/* Wrong usage that the table cannot express: exit code 2, and the remedy names the verb's help. */
enum kyok_status cli_usage(struct cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The configuration (--config, else $KYOK_CONF, else /etc/kyok/kyok.conf), loaded once. */
enum kyok_status cli_config(struct cli *cli, const struct kyok_config **config);

/* The custodians of that configuration, made once, contacted by none of this. */
enum kyok_status cli_context(struct cli *cli, struct kyok_context **context);
/* Operand index as a reference; the caller frees it. */
enum kyok_status cli_reference(struct cli *cli, size_t index, struct kyok_reference **reference);
/* For KYOK_CLEANUP. */
void cli_reference_auto_free(struct kyok_reference **reference);
void cli_key_auto_free(struct kyok_key **key);

/* Prints the one JSON value of a --json call and releases it; NULL is a lack of memory. */
enum kyok_status cli_json(struct cli *cli, json_t *value);
/* JSON of an error: status, object, what, reason, remedy (absent ones left out). */
json_t *cli_json_error(const struct kyok_error *err);
/* "2026-11-21", "2026-11-21T18:30" or with seconds, in UTC, as seconds since 1970. */
bool cli_moment(const char *text, int64_t *seconds);
/* The option's moment as seconds since 1970; 0 when it is absent or "never". */
enum kyok_status cli_date(struct cli *cli, const char *name, int64_t *seconds);
#define CLI_DATE_SIZE 32
const char *cli_date_text(int64_t seconds, char room[CLI_DATE_SIZE]);
/* A JSON string of text that a custodian or a file supplied: what is not UTF-8 is replaced. */
json_t *cli_json_text(const char *text);

/* Text for a terminal: control characters and what is not UTF-8 become "?". Returns room. */
const char *cli_safe(const char *text, char *room, size_t size);
/* Are colours wanted on this stream? (A terminal, no $NO_COLOR, no TERM=dumb.) */
bool cli_color(FILE *stream);
enum cli_paint { CLI_GOOD, CLI_WARNING, CLI_BAD, CLI_STRONG };
/* text painted if colours are wanted, else as it is. */
void cli_paint(FILE *stream, enum cli_paint paint, const char *text);
/* "what: done of total" on a terminal's standard error, overwritten in place; nothing elsewhere.
 * done == total ends the line. */
void cli_progress(const struct cli *cli, const char *what, uint64_t done, uint64_t total);
/* True when a person at the terminal typed name after the question; without a terminal: false. */
bool cli_confirm(const char *question, const char *name);

/* Writes a file under its name only once it is whole (or to standard output for "-"). */
enum kyok_status cli_write_file(const char *path, struct kyok_bytes bytes, unsigned mode,
                                struct kyok_error *err);
/* At most limit bytes of a regular file. */
enum kyok_status cli_read_file(const char *path, size_t limit, struct kyok_buffer *bytes,
                               struct kyok_error *err);

/* --- keys ------------------------------------------------------------------------------------- */

/* Owned copy of what a visitor saw. */
struct cli_keys {
    struct kyok_key_info *items;
    size_t count;
    bool failed; /* memory was short */
};
/* A kyok_key_visitor; caller is a struct cli_keys. */
bool cli_keys_visit(void *caller, const struct kyok_key_info *info);
void cli_keys_free(struct cli_keys *keys);
/* "ec-p256", "rsa-2048", ...: the words of key generate --type; room has CLI_KIND_SIZE bytes. */
#define CLI_KIND_SIZE 32
const char *cli_key_kind(const struct kyok_key_info *info, char *room);
void cli_key_kind_read(const char *word, enum kyok_key_type *type, unsigned *bits);
json_t *cli_key_json(const struct kyok_key_info *info);
/* What is wrong with a private or secret key that should never leave ("extractable", ...), at most
 * count words; returns how many. Other objects: none. */
size_t cli_key_flags(const struct kyok_key_info *info, const char **words, size_t count);
#define CLI_KEY_FLAGS 4
/* "private", "secret-key", ... */
const char *cli_object_word(enum kyok_object_type type);

/* --- between the files of the framework ------------------------------------------------------- */

/* The verb behind previous in the order of the tables (NULL: the first), or NULL. */
const struct cli_verb *cli_verb_after(const struct cli_verb *previous);
#define CLI_EACH_VERB(verb)                                                                        \
    for (const struct cli_verb *verb = cli_verb_after(NULL); verb != NULL;                         \
         verb = cli_verb_after(verb))

extern const struct cli_option cli_common_options[];
extern const size_t cli_common_option_count;

/* Reads the command line into *cli (verb, options, operands). */
enum kyok_status cli_arguments(struct cli *cli, int count, char **arguments);
/* The word of candidates nearest to word, or NULL when none is near. */
struct cli_nearest {
    const char *word;
    const char *best;
    unsigned distance;
};
void cli_nearest_try(struct cli_nearest *nearest, const char *candidate);

/* The exit codes, for help and the manual page. */
struct cli_exit_code {
    int code;
    const char *meaning;
};
extern const struct cli_exit_code cli_exit_codes[];
extern const size_t cli_exit_code_count;

enum kyok_status cli_help(struct cli *cli);
void cli_print_error(const struct cli *cli);

#define CLI_DECLARE(table) extern const struct cli_verb table[];
CLI_VERB_TABLES(CLI_DECLARE)

#endif
