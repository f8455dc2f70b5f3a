/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kyok setup: from the tokens that are there to a kyok.conf, and the lines that programs need. The
 * file's first line marks it as made here, so that it can be made again, or taken back.
 */
#include "cli/spawn.h"

#include <errno.h>
#include <libgen.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARK "# Made by \"kyok setup\"; \"kyok setup --undo\" takes it back.\n"
#define GROUPS_MAX 64

struct found_group {
    char name[65];
    char *module;
    char *label;
    char *pin_source;
    json_t *mechanisms; /* what every token of the group has */
    size_t tokens;
};

struct setup {
    struct cli *cli;
    const char *path;
    struct found_group groups[GROUPS_MAX];
    size_t group_count;
    json_t *problems; /* modules that could not be asked */
    struct kyok_buffer conf, openssl, nginx, libvirt, credentials;
};

static void setup_free(struct setup *setup)
{
    for (size_t i = 0; i < setup->group_count; i++) {
        free(setup->groups[i].module);
        free(setup->groups[i].label);
        free(setup->groups[i].pin_source);
        json_decref(setup->groups[i].mechanisms);
    }
    json_decref(setup->problems);
    kyok_buffer_free(&setup->conf);
    kyok_buffer_free(&setup->openssl);
    kyok_buffer_free(&setup->nginx);
    kyok_buffer_free(&setup->libvirt);
    kyok_buffer_free(&setup->credentials);
}

static enum kyok_status no_memory(struct setup *setup)
{
    return kyok_fail(&setup->cli->error, KYOK_SYSTEM, NULL, "memory is short");
}

/* --- tokens ----------------------------------------------------------------------------------- */

static bool is_wanted(const struct cli *cli, const char *label)
{
    const char *wanted = cli_option_at(cli, "--token", 0);
    for (size_t i = 0; wanted != NULL; wanted = cli_option_at(cli, "--token", ++i)) {
        if (strcmp(wanted, label) == 0)
            return true;
    }
    return cli_option(cli, "--token") == NULL;
}

static bool is_name_taken(const struct setup *setup, const char *name)
{
    for (size_t i = 0; i < setup->group_count; i++) {
        if (strcmp(setup->groups[i].name, name) == 0)
            return true;
    }
    return false;
}

/* The label as a section's name: what may not stand in one becomes "-". */
static void make_name(const struct setup *setup, const char *label, char *name, size_t size)
{
    char base[48];
    size_t used = 0;
    for (const char *at = label; *at != '\0' && used + 1 < sizeof(base); at++) {
        bool good = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                    (*at >= '0' && *at <= '9') || (used > 0 && strchr("._-", *at) != NULL);
        if (good || (used > 0 && base[used - 1] != '-'))
            base[used++] = good ? *at : '-';
    }
    base[used] = '\0';
    snprintf(name, size, "%s", used > 0 ? base : "token");
    for (unsigned i = 2; is_name_taken(setup, name); i++)
        snprintf(name, size, "%s-%u", used > 0 ? base : "token", i);
}

static bool has_word(const json_t *words, const char *word)
{
    size_t index;
    json_t *value;
    json_array_foreach(words, index, value)
    {
        if (strcmp(json_string_value(value), word) == 0)
            return true;
    }
    return false;
}

/* A group can do what all its members can. */
static void keep_common(json_t *words, const json_t *others)
{
    for (size_t i = json_array_size(words); i-- > 0;) {
        if (!has_word(others, json_string_value(json_array_get(words, i))))
            json_array_remove(words, i);
    }
}

static struct found_group *find_group(struct setup *setup, const char *module, const char *label)
{
    for (size_t i = 0; i < setup->group_count; i++) {
        if (strcmp(setup->groups[i].module, module) == 0 &&
            strcmp(setup->groups[i].label, label) == 0)
            return &setup->groups[i];
    }
    return NULL;
}

static enum kyok_status add_group(struct setup *setup, const char *module, const char *label,
                                  const json_t *mechanisms)
{
    struct found_group *group = &setup->groups[setup->group_count];
    const char *pin_source = cli_option(setup->cli, "--pin-source");
    if (setup->group_count == GROUPS_MAX)
        return kyok_fail(&setup->cli->error, KYOK_UNSUPPORTED, NULL,
                         "there are more than %d tokens; choose some with --token", GROUPS_MAX);
    make_name(setup, label, group->name, sizeof(group->name));
    group->module = strdup(module);
    group->label = strdup(label);
    group->mechanisms = json_deep_copy(mechanisms);
    if (pin_source != NULL)
        group->pin_source = strdup(pin_source);
    else if (asprintf(&group->pin_source, "credential:kyok-%.57s", group->name) < 0)
        group->pin_source = NULL;
    group->tokens = 1;
    setup->group_count++;
    return group->module && group->label && group->mechanisms && group->pin_source
               ? KYOK_OK
               : no_memory(setup);
}

/* Tokens of one module with one label are replicas: vendors clone them so. */
static enum kyok_status take_token(struct setup *setup, const char *module, const json_t *token)
{
    const char *label = json_string_value(json_object_get(token, "token"));
    const json_t *mechanisms = json_object_get(token, "mechanisms");
    if (!json_is_true(json_object_get(token, "initialised")) || label == NULL || label[0] == '\0' ||
        !is_wanted(setup->cli, label))
        return KYOK_OK;
    struct found_group *group = find_group(setup, module, label);
    if (group == NULL)
        return add_group(setup, module, label, mechanisms);
    group->tokens++;
    keep_common(group->mechanisms, mechanisms);
    return KYOK_OK;
}

static enum kyok_status take_module(struct setup *setup, const char *path)
{
    enum kyok_status status = KYOK_OK;
    struct kyok_error err;
    json_t *answer = NULL, *token;
    size_t index;
    if (cli_probe_module(path, CLI_PROBE_TIMEOUT_MS, &answer, &err) != KYOK_OK) {
        json_array_append_new(setup->problems, cli_json_error(&err));
        return KYOK_OK;
    }
    json_array_foreach(json_object_get(answer, "tokens"), index, token)
    {
        if (status == KYOK_OK)
            status = take_token(setup, path, token);
    }
    json_decref(answer);
    return status;
}

static enum kyok_status take_known(struct setup *setup)
{
    enum kyok_status status = KYOK_OK;
    json_t *modules = cli_known_modules(), *module;
    size_t index;
    json_array_foreach(modules, index, module)
    {
        if (status == KYOK_OK)
            status = take_module(setup, json_string_value(json_object_get(module, "path")));
    }
    json_decref(modules);
    return status;
}

static enum kyok_status find_tokens(struct setup *setup)
{
    struct cli *cli = setup->cli;
    const char *path = cli_option(cli, "--module");
    if (path == NULL)
        KYOK_TRY(take_known(setup));
    for (size_t i = 0; path != NULL; path = cli_option_at(cli, "--module", ++i))
        KYOK_TRY(take_module(setup, path));
    if (setup->group_count > 0)
        return KYOK_OK;
    const json_t *problem = json_array_get(setup->problems, 0);
    kyok_fail(&cli->error, KYOK_NOT_FOUND, NULL, "no token was found that could hold keys");
    if (problem != NULL)
        kyok_because(&cli->error, "%s", json_string_value(json_object_get(problem, "what")));
    return kyok_remedy(&cli->error, "initialise a token with the vendor's tool, or name the "
                                    "module: --module PATH");
}

/* --- texts ------------------------------------------------------------------------------------ */

static bool write_group(struct kyok_buffer *conf, const struct found_group *group)
{
    struct kyok_reference reference = {.kind = KYOK_REFERENCE_PKCS11,
                                       .token = group->label,
                                       .library_major = -1,
                                       .library_minor = -1};
    struct kyok_error ignored;
    return kyok_buffer_printf(conf, "\n[token %s]\nmodule = %s\nuri = ", group->name,
                              group->module) &&
           kyok_reference_format(&reference, conf, &ignored) == KYOK_OK &&
           kyok_buffer_printf(conf, "\npin-source = %s\nrequire = %s\n", group->pin_source,
                              "never-extractable");
}

static enum kyok_status write_conf(struct setup *setup)
{
    struct kyok_config *config = NULL;
    bool done = kyok_buffer_append_text(&setup->conf, MARK);
    for (size_t i = 0; i < setup->group_count; i++)
        done &= write_group(&setup->conf, &setup->groups[i]);
    if (!done)
        return no_memory(setup);
    /* What is written must be what kyok reads: paths and PIN sources came from outside. */
    KYOK_TRY(kyok_config_parse(kyok_buffer_bytes(&setup->conf), "the new configuration", &config,
                               &setup->cli->error));
    kyok_config_free(config);
    return KYOK_OK;
}

static char *provider_beside(const char *folder, const char *place)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s/kyok.so", folder, place) < 0)
        return NULL;
    if (access(path, R_OK) == 0)
        return path;
    free(path);
    return NULL;
}

/* The provider that belongs to this program: beside it in the build, or where it was installed. */
static char *find_provider(void)
{
    char program[4096];
    ssize_t size = readlink("/proc/self/exe", program, sizeof(program) - 1);
    program[size > 0 ? size : 0] = '\0';
    char *folder = dirname(program);
    char *path = provider_beside(folder, "ossl-modules");
    if (path == NULL)
        path = provider_beside(folder, "../lib/ossl-modules");
    if (path == NULL && OPENSSL_info(OPENSSL_INFO_MODULES_DIR) != NULL)
        path = provider_beside(OPENSSL_info(OPENSSL_INFO_MODULES_DIR), ".");
    return path != NULL ? path : strdup("kyok.so");
}

static enum kyok_status write_lines(struct setup *setup)
{
    KYOK_AUTO_FREE char *provider = find_provider();
    const struct found_group *first = &setup->groups[0];
    bool done =
        provider != NULL &&
        kyok_buffer_printf(&setup->openssl,
                           "openssl_conf = openssl_init\n[openssl_init]\nproviders = providers\n"
                           "[providers]\ndefault = default_section\nkyok = kyok_section\n"
                           "[default_section]\nactivate = 1\n[kyok_section]\nmodule = %s\n"
                           "activate = 1\n",
                           provider) &&
        kyok_buffer_printf(&setup->nginx,
                           "# kyok key generate 'pkcs11:object=www?kyok-group=%s' --type ec-p256\n"
                           "# kyok key reference 'pkcs11:object=www?kyok-group=%s' "
                           "-o /etc/nginx/www.key.pem\n"
                           "ssl_certificate     /etc/nginx/www.crt;\n"
                           "ssl_certificate_key /etc/nginx/www.key.pem;\n",
                           first->name, first->name) &&
        kyok_buffer_printf(
            &setup->libvirt,
            "# kyok key generate 'pkcs11:object=disks?kyok-group=%s' --type aes-256\n"
            "# kyok disk create IMAGE --size 20G --key "
            "'pkcs11:object=disks?kyok-group=%s'\n",
            first->name, first->name);
    for (size_t i = 0; i < setup->group_count; i++) {
        const char *source = setup->groups[i].pin_source;
        if (strncmp(source, "credential:", 11) == 0)
            done &=
                kyok_buffer_printf(&setup->credentials,
                                   "systemd-creds encrypt --name=%s - /etc/credstore.encrypted/%s\n"
                                   "# and in each unit: [Service] LoadCredentialEncrypted=%s\n",
                                   source + 11, source + 11, source + 11);
    }
    done &= kyok_buffer_append(&setup->openssl, "", 1) &&
            kyok_buffer_append(&setup->nginx, "", 1) &&
            kyok_buffer_append(&setup->libvirt, "", 1) &&
            kyok_buffer_append(&setup->credentials, "", 1);
    return done ? KYOK_OK : no_memory(setup);
}

/* --- what a group is good for ----------------------------------------------------------------- */

static const struct {
    const char *use, *needs, *or_needs;
    const char *otherwise;
} uses[] = {
    {"TLS with ECDSA keys", "ecdsa", NULL, NULL},
    {"TLS with RSA keys", "rsa-pss", "rsa-raw",
     "the token can only sign PKCS#1 v1.5: TLS 1.2 at most"},
    {"TLS with Ed25519 keys", "eddsa", NULL, NULL},
    {"RSA decryption (TLS RSA key exchange, CMS)", "rsa-raw", "rsa-oaep", NULL},
    {"envelopes under an AES root (A256GCMKW)", "aes-gcm", NULL,
     "use A256KW, an RSA root, or a KMIP server"},
    {"envelopes under an AES root (A256KW)", "aes-kw", NULL, NULL},
    {"importing key material", "aes-kwp", NULL, NULL},
};
#define USES (sizeof(uses) / sizeof(uses[0]))

static bool can(const struct found_group *group, size_t use)
{
    return has_word(group->mechanisms, uses[use].needs) ||
           (uses[use].or_needs != NULL && has_word(group->mechanisms, uses[use].or_needs));
}

static json_t *json_group(const struct found_group *group)
{
    json_t *able = json_object();
    for (size_t i = 0; i < USES; i++)
        json_object_set_new(able, uses[i].use, json_boolean(can(group, i)));
    return json_pack("{s:s, s:o, s:o, s:s, s:I, s:O, s:o}", "group", group->name, "token",
                     cli_json_text(group->label), "module", cli_json_text(group->module),
                     "pin-source", group->pin_source, "tokens", (json_int_t)group->tokens,
                     "mechanisms", group->mechanisms, "can", able);
}

static void print_group(const struct found_group *group)
{
    char room[128];
    cli_paint(stdout, CLI_STRONG, group->name);
    printf("  token \"%s\"%s in %s\n", cli_safe(group->label, room, sizeof(room)),
           group->tokens > 1 ? " (replicas)" : "", group->module);
    for (size_t i = 0; i < USES; i++) {
        bool able = can(group, i);
        printf("  ");
        cli_paint(stdout, able ? CLI_GOOD : CLI_WARNING, able ? "yes" : "no ");
        printf("  %s%s%s\n", uses[i].use, !able && uses[i].otherwise != NULL ? ": " : "",
               !able && uses[i].otherwise != NULL ? uses[i].otherwise : "");
    }
}

static void print_block(const char *title, const struct kyok_buffer *text)
{
    if (text->size <= 1)
        return;
    printf("\n");
    cli_paint(stdout, CLI_STRONG, title);
    printf("\n%s", (const char *)text->data);
}

static enum kyok_status report(struct setup *setup, bool written)
{
    struct cli *cli = setup->cli;
    json_t *groups = json_array();
    if (!kyok_buffer_append(&setup->conf, "", 1))
        return no_memory(setup);
    for (size_t i = 0; i < setup->group_count; i++)
        json_array_append_new(groups, json_group(&setup->groups[i]));
    if (cli->json)
        return cli_json(cli,
                        json_pack("{s:s, s:b, s:o, s:s, s:s, s:s, s:s, s:s, s:O}", "path",
                                  setup->path, "written", written, "groups", groups, "conf",
                                  (char *)setup->conf.data, "openssl", (char *)setup->openssl.data,
                                  "nginx", (char *)setup->nginx.data, "libvirt",
                                  (char *)setup->libvirt.data, "credentials",
                                  (char *)setup->credentials.data, "problems", setup->problems));
    json_decref(groups);
    for (size_t i = 0; i < setup->group_count; i++)
        print_group(&setup->groups[i]);
    printf("\n%s %s\n", written ? "Written to" : "Would be written to", setup->path);
    if (!written)
        fputs((char *)setup->conf.data, stdout);
    print_block("PINs, sealed by systemd (each command reads the PIN from standard input)",
                &setup->credentials);
    print_block("openssl.cnf: for every program that should use PEM key references",
                &setup->openssl);
    print_block("nginx.conf", &setup->nginx);
    print_block("libvirt: disks whose keys stay in the token", &setup->libvirt);
    return KYOK_OK;
}

/* --- the file --------------------------------------------------------------------------------- */

enum present { ABSENT, OURS, FOREIGN };

static enum kyok_status look(struct setup *setup, enum present *present)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    *present = ABSENT;
    if (access(setup->path, F_OK) != 0)
        return KYOK_OK;
    KYOK_TRY(cli_read_file(setup->path, 1 << 20, &text, &setup->cli->error));
    *present =
        text.size >= strlen(MARK) && memcmp(text.data, MARK, strlen(MARK)) == 0 ? OURS : FOREIGN;
    return KYOK_OK;
}

static enum kyok_status undo(struct setup *setup)
{
    struct kyok_error *err = &setup->cli->error;
    enum present present;
    KYOK_TRY(look(setup, &present));
    if (present == ABSENT)
        return kyok_fail(err, KYOK_NOT_FOUND, setup->path, "there is nothing to take back");
    if (present == FOREIGN)
        return kyok_fail(err, KYOK_REFUSED, setup->path, "\"kyok setup\" did not make this file");
    if (unlink(setup->path) != 0)
        return kyok_fail_errno(err, setup->path, "the file cannot be removed");
    if (setup->cli->json)
        return cli_json(setup->cli, json_pack("{s:s}", "removed", setup->path));
    printf("Removed %s\n", setup->path);
    return KYOK_OK;
}

static enum kyok_status write_file(struct setup *setup)
{
    struct kyok_error *err = &setup->cli->error;
    enum present present;
    KYOK_AUTO_FREE char *copy = strdup(setup->path);
    if (copy == NULL)
        return no_memory(setup);
    KYOK_TRY(look(setup, &present));
    if (present == FOREIGN) {
        kyok_fail(err, KYOK_REFUSED, setup->path, "the file exists and is not \"kyok setup\"'s");
        return kyok_remedy(err, "add the sections that \"kyok setup --dry-run\" prints by hand");
    }
    if (mkdir(dirname(copy), 0755) != 0 && errno != EEXIST)
        return kyok_fail_errno(err, copy, "the folder cannot be made");
    return cli_write_file(setup->path, kyok_buffer_bytes(&setup->conf), 0644, err);
}

static enum kyok_status run_steps(struct setup *setup)
{
    struct cli *cli = setup->cli;
    const char *pin_source = cli_option(cli, "--pin-source");
    bool dry = cli_option(cli, "--dry-run") != NULL;
    if (cli_option(cli, "--undo") != NULL)
        return undo(setup);
    if (pin_source != NULL)
        KYOK_TRY(kyok_pin_source_check(pin_source, &cli->error));
    KYOK_TRY(find_tokens(setup));
    KYOK_TRY(write_conf(setup));
    KYOK_TRY(write_lines(setup));
    if (!dry)
        KYOK_TRY(write_file(setup));
    return report(setup, !dry);
}

static enum kyok_status run_setup(struct cli *cli)
{
    const char *path = cli->config_path != NULL ? cli->config_path : secure_getenv("KYOK_CONF");
    struct setup setup = {
        .cli = cli, .path = path != NULL ? path : KYOK_DEFAULT_CONFIG, .problems = json_array()};
    enum kyok_status status = run_steps(&setup);
    setup_free(&setup);
    return status;
}

static const struct cli_option setup_options[] = {
    {.name = "--module",
     .argument = "FILE",
     .summary = "use this PKCS#11 module, instead of all that are found",
     .repeatable = true},
    {.name = "--token",
     .argument = "LABEL",
     .summary = "use only the token with this label",
     .repeatable = true},
    {.name = "--pin-source",
     .argument = "SOURCE",
     .summary = "where the PIN comes from, instead of credential:kyok-NAME"},
    {.name = "--dry-run", .summary = "write nothing, print what would be written"},
    {.name = "--undo", .summary = "remove the kyok.conf that setup made"},
};

const struct cli_verb cli_setup_verbs[] = {
    {.words = "setup",
     .summary = "find tokens and write kyok.conf",
     .description =
         "Finds PKCS#11 modules and their tokens, says what each token can do for kyok by its "
         "mechanisms, writes kyok.conf with one group per token label (tokens of one module with "
         "one "
         "label are taken for replicas), and prints the lines for openssl.cnf, nginx and libvirt "
         "and "
         "the commands that seal the PINs. It logs in nowhere, and replaces no kyok.conf but one "
         "that "
         "it made.",
     CLI_OPTIONS(setup_options),
     .run = run_setup},
    {0},
};
