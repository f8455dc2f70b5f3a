/* SPDX-License-Identifier: Apache-2.0 */
/* kyok module list|probe: what PKCS#11 modules there are, and what their tokens can do. */
#include "cli/spawn.h"

#include "common/pkcs11/probe.h"
#include "common/pkcs11/trial.h"

#include <glob.h>
#include <stdlib.h>
#include <string.h>

/* --- probe: in this process ------------------------------------------------------------------- */

static json_t *json_words(const char *const *words)
{
    json_t *array = json_array();
    for (size_t i = 0; words[i] != NULL; i++)
        json_array_append_new(array, json_string(words[i]));
    return array;
}

static void add_token(void *caller, const struct kyok_probed_token *token)
{
    json_t *object = json_pack(
        "{s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:I, s:o}", "token",
        cli_json_text(token->label), "manufacturer", cli_json_text(token->manufacturer), "model",
        cli_json_text(token->model), "serial", cli_json_text(token->serial), "slot",
        (json_int_t)token->slot, "slot-description", cli_json_text(token->slot_description),
        "slot-manufacturer", cli_json_text(token->slot_manufacturer), "initialised",
        token->initialised, "login-required", token->login_required, "protected-path",
        token->protected_path, "user-pin-set", token->user_pin_set, "pin-count-low",
        token->pin_count_low, "pin-final-try", token->pin_final_try, "pin-locked",
        token->pin_locked, "most-sessions", (json_int_t)token->most_sessions, "mechanisms",
        json_words(token->mechanisms));
    json_array_append_new((json_t *)caller, object);
}

static json_t *json_module(const char *path, const struct kyok_probed_module *module)
{
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o}", "path", cli_json_text(path), "manufacturer",
        cli_json_text(module->manufacturer), "description", cli_json_text(module->description),
        "version", json_sprintf("%u.%u", module->version_major, module->version_minor), "cryptoki",
        json_sprintf("%u.%u", module->cryptoki_major, module->cryptoki_minor));
}

static void json_auto_free(json_t **value)
{
    json_decref(*value);
}

static void print_token(const json_t *token)
{
    char room[128];
    size_t index;
    json_t *word;
    printf("  %-32s",
           cli_safe(json_string_value(json_object_get(token, "token")), room, sizeof(room)));
    printf("  serial %s",
           cli_safe(json_string_value(json_object_get(token, "serial")), room, sizeof(room)));
    if (!json_is_true(json_object_get(token, "initialised")))
        printf("  not initialised");
    printf("\n    ");
    json_array_foreach(json_object_get(token, "mechanisms"), index, word)
    {
        printf("%s%s", index > 0 ? " " : "", json_string_value(word));
    }
    printf("\n");
}

static void print_module(const json_t *answer)
{
    const json_t *module = json_object_get(answer, "module");
    char room[512], line[640];
    size_t index;
    json_t *token;
    snprintf(line, sizeof(line), "%s",
             cli_safe(json_string_value(json_object_get(module, "path")), room, sizeof(room)));
    cli_paint(stdout, CLI_STRONG, line);
    printf("  %s\n",
           cli_safe(json_string_value(json_object_get(module, "description")), room, sizeof(room)));
    json_array_foreach(json_object_get(answer, "tokens"), index, token)
    {
        print_token(token);
    }
}

static enum kyok_status run_probe(struct cli *cli)
{
    KYOK_CLEANUP(json_auto_free) json_t *tokens = json_array();
    struct kyok_probed_module module;
    KYOK_TRY(kyok_probe_module(cli->operands[0], &module, add_token, tokens, &cli->error));
    json_t *answer =
        json_pack("{s:o, s:O}", "module", json_module(cli->operands[0], &module), "tokens", tokens);
    if (cli->json)
        return cli_json(cli, answer);
    print_module(answer);
    json_decref(answer);
    return KYOK_OK;
}

/* A child's error as ours. */
static enum kyok_status take_error(const char *path, json_t **answer, struct kyok_error *err)
{
    const json_t *error = json_object_get(*answer, "error");
    if (error == NULL)
        return KYOK_OK;
    const char *what = json_string_value(json_object_get(error, "what"));
    const char *reason = json_string_value(json_object_get(error, "reason"));
    kyok_fail(err, KYOK_FAULT, path, "%s", what != NULL ? what : "this module cannot be used");
    if (reason != NULL)
        kyok_because(err, "%s", reason);
    json_decref(*answer);
    *answer = NULL;
    return err->status;
}

enum kyok_status cli_probe_module(const char *path, unsigned timeout_ms, json_t **answer,
                                  struct kyok_error *err)
{
    const char *const arguments[] = {"kyok", "--json", "module", "probe", "--", path, NULL};
    KYOK_TRY(cli_spawn(arguments, path, kyok_deadline_in_ms(timeout_ms), answer, err));
    return take_error(path, answer, err);
}

/* --- list ------------------------------------------------------------------------------------- */

/* Where vendors and distributions put their modules. */
static const struct {
    const char *name, *pattern;
} known[] = {
    {"SoftHSM", "/usr/lib/softhsm/libsofthsm2.so"},
    {"SoftHSM", "/usr/lib/*/softhsm/libsofthsm2.so"},
    {"SoftHSM", "/usr/lib64/pkcs11/libsofthsm2.so"},
    {"openCryptoki", "/usr/lib/*/opencryptoki/libopencryptoki.so"},
    {"openCryptoki", "/usr/lib64/opencryptoki/libopencryptoki.so"},
    {"TPM 2.0", "/usr/lib/*/libtpm2_pkcs11.so.1"},
    {"TPM 2.0", "/usr/lib/*/pkcs11/libtpm2_pkcs11.so"},
    {"OpenSC", "/usr/lib/*/opensc-pkcs11.so"},
    {"YubiHSM", "/usr/lib/*/pkcs11/yubihsm_pkcs11.so"},
    {"AWS CloudHSM", "/opt/cloudhsm/lib/libcloudhsm_pkcs11.so"},
    {"Google Cloud KMS", "/usr/lib/*/pkcs11/libkmsp11.so"},
    {"Thales Luna", "/usr/safenet/lunaclient/lib/libCryptoki2_64.so"},
    {"Entrust nShield", "/opt/nfast/toolkits/pkcs11/libcknfast.so"},
    {"Utimaco", "/opt/utimaco/lib/libcs_pkcs11_R*.so"},
    {"Nitrokey NetHSM", "/usr/lib/*/pkcs11/libnethsm_pkcs11.so"},
};

static bool has_path(const json_t *modules, const char *path)
{
    size_t index;
    json_t *module;
    json_array_foreach(modules, index, module)
    {
        if (strcmp(json_string_value(json_object_get(module, "path")), path) == 0)
            return true;
    }
    return false;
}

/* p11-kit's own proxy and trust modules hold no keys of ours. */
static void add_module(json_t *modules, const char *name, const char *path)
{
    KYOK_AUTO_FREE char *real = realpath(path, NULL);
    const char *shown = real != NULL ? real : path;
    if (strstr(shown, "p11-kit-proxy") != NULL || strstr(shown, "p11-kit-trust") != NULL ||
        has_path(modules, shown))
        return;
    json_array_append_new(modules, json_pack("{s:o, s:o}", "name", cli_json_text(name), "path",
                                             cli_json_text(shown)));
}

static void add_known(json_t *modules)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        glob_t found;
        if (glob(known[i].pattern, 0, NULL, &found) == 0) {
            for (size_t j = 0; j < found.gl_pathc; j++)
                add_module(modules, known[i].name, found.gl_pathv[j]);
            globfree(&found);
        }
    }
}

json_t *cli_known_modules(bool with_known)
{
    static const char *const arguments[] = {"kyok", "--json",       "module",
                                            "list", "--configured", NULL};
    struct kyok_error ignored;
    json_t *answer = NULL, *modules = json_array(), *module;
    size_t index;
    if (cli_spawn(arguments, "p11-kit", kyok_deadline_in_ms(CLI_PROBE_TIMEOUT_MS), &answer,
                  &ignored) == KYOK_OK) {
        json_array_foreach(json_object_get(answer, "modules"), index, module)
        {
            add_module(modules, json_string_value(json_object_get(module, "name")),
                       json_string_value(json_object_get(module, "path")));
        }
    }
    json_decref(answer);
    if (with_known)
        add_known(modules);
    return modules;
}

static void add_configured(void *caller, const char *name, const char *path)
{
    json_array_append_new((json_t *)caller, json_pack("{s:o, s:o}", "name", cli_json_text(name),
                                                      "path", cli_json_text(path)));
}

static enum kyok_status list_configured(struct cli *cli)
{
    json_t *modules = json_array();
    enum kyok_status status = kyok_probe_configured(add_configured, modules, &cli->error);
    if (status == KYOK_OK && cli->json)
        return cli_json(cli, json_pack("{s:o}", "modules", modules));
    size_t index;
    json_t *module;
    json_array_foreach(modules, index, module)
    {
        printf("%s\n", json_string_value(json_object_get(module, "path")));
    }
    json_decref(modules);
    return status;
}

static void list_module(struct cli *cli, const json_t *module, json_t *results)
{
    const char *path = json_string_value(json_object_get(module, "path"));
    json_t *answer = NULL;
    enum kyok_status status = cli_probe_module(path, CLI_PROBE_TIMEOUT_MS, &answer, &cli->error);
    if (results != NULL)
        json_array_append_new(results, status == KYOK_OK
                                           ? answer
                                           : json_pack("{s:{s:s}, s:o}", "module", "path", path,
                                                       "error", cli_json_error(&cli->error)));
    else if (status == KYOK_OK)
        print_module(answer);
    else
        cli_print_error(cli);
    if (results == NULL)
        json_decref(answer);
}

static enum kyok_status run_list(struct cli *cli)
{
    if (cli_option(cli, "--configured") != NULL)
        return list_configured(cli);
    KYOK_CLEANUP(json_auto_free) json_t *modules = cli_known_modules(true);
    json_t *results = cli->json ? json_array() : NULL, *module;
    size_t index;
    json_array_foreach(modules, index, module)
    {
        list_module(cli, module, results);
    }
    if (json_array_size(modules) == 0) {
        json_decref(results);
        kyok_fail(&cli->error, KYOK_NOT_FOUND, NULL, "no PKCS#11 module is installed");
        return kyok_remedy(&cli->error, "install the vendor's, or softhsm2 to try");
    }
    return cli->json ? cli_json(cli, json_pack("{s:o}", "modules", results)) : KYOK_OK;
}

/* --- test ------------------------------------------------------------------------------------- */

static void add_answer(void *caller, const char *word, const char *answer)
{
    json_object_set_new((json_t *)caller, word, json_string(answer));
}

static void print_answers(json_t *answers)
{
    const char *word;
    json_t *answer;
    json_object_foreach(answers, word, answer)
    {
        bool works = strcmp(json_string_value(answer), "CKR_OK") == 0;
        printf("  %-18s", word);
        cli_paint(stdout, works ? CLI_GOOD : CLI_WARNING,
                  works ? "works" : json_string_value(answer));
        printf("\n");
    }
}

static enum kyok_status run_test(struct cli *cli)
{
    KYOK_AUTO_SECRET struct kyok_secret *pin = NULL;
    KYOK_CLEANUP(json_auto_free) json_t *answers = json_object();
    KYOK_TRY(kyok_pin_source_read(cli_option(cli, "--pin-source"), &pin, &cli->error));
    KYOK_TRY(kyok_trial_run(cli->operands[0], cli_option(cli, "--token"), kyok_secret_bytes(pin),
                            add_answer, answers, &cli->error));
    if (cli->json)
        return cli_json(cli, json_pack("{s:O}", "answers", answers));
    print_answers(answers);
    return KYOK_OK;
}

enum kyok_status cli_test_token(const char *path, const char *label, const char *pin_source,
                                json_t **answer, struct kyok_error *err)
{
    const char *const arguments[] = {"kyok",         "--json",   "module", "test", "--token", label,
                                     "--pin-source", pin_source, "--",     path,   NULL};
    KYOK_TRY(
        cli_spawn(arguments, path, kyok_deadline_in_ms(4 * CLI_PROBE_TIMEOUT_MS), answer, err));
    return take_error(path, answer, err);
}

static const struct cli_option test_options[] = {
    {.name = "--token", .argument = "LABEL", .summary = "the token's label", .required = true},
    {.name = "--pin-source",
     .argument = "SOURCE",
     .summary = "where its user PIN comes from: file:PATH, credential:NAME or fd:NUMBER",
     .required = true},
};

static const struct cli_option list_options[] = {
    {.name = "--configured", .summary = "only the paths in p11-kit's configuration; no tokens"},
};

const struct cli_verb cli_module_verbs[] = {
    {.words = "module list",
     .summary = "find PKCS#11 modules and their tokens",
     .description = "Lists the modules of p11-kit's configuration and known vendors' modules that "
                    "are installed, with their tokens and those mechanisms of each token that kyok "
                    "uses. Each module is asked in a process of its own, without a login.",
     CLI_OPTIONS(list_options),
     .run = run_list},
    {.words = "module probe",
     .operands = "FILE",
     .least = 1,
     .most = 1,
     .summary = "ask one PKCS#11 module for its tokens",
     .description =
         "Loads the module FILE and prints its tokens and those of their mechanisms that "
         "kyok uses: rsa-pkcs1, rsa-pss, rsa-raw, rsa-oaep, ecdsa, ecdh, eddsa for TLS "
         "and signatures, aes-gcm, aes-kw, aes-kwp for envelopes. It does not log in.",
     .run = run_probe},
    {.words = "module test",
     .operands = "FILE",
     .least = 1,
     .most = 1,
     .summary = "try what a token can do",
     .description =
         "Logs in to a token of the module FILE, makes keys that live for the session only, "
         "and tries each mechanism that kyok uses: a list of mechanisms promises more "
         "than many a token keeps. Says for each that it works, or the token's answer. "
         "A wrong PIN costs one try. Nothing is left in the token.",
     CLI_OPTIONS(test_options),
     .run = run_test},
    {0},
};
