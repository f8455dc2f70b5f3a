/* SPDX-License-Identifier: Apache-2.0 */
/* kyok.conf: what is read, one negative case per rule, and who may own the file. */
#include "common/config/config.h"
#include "common/config/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define TOKEN "[token hsm]\nuri = pkcs11:token=hsm\n"
#define KMIP                                                                                       \
    "[kmip vault]\nserver = kmips://kms.example:5696\nca = /ca\ncertificate = /cert\nkey = /key\n"

static void everything_is_read(void **state)
{
    static const char text[] =
        "# a comment\n; another\n\n"
        "  [token hsm]  \r\n"
        "module = /usr/lib/softhsm/libsofthsm2.so\n"
        "uri = pkcs11:token=a\nuri=pkcs11:token=b?module-path=/other.so\n"
        "pin-source = file:/etc/kyok/pin\nsessions = 16\ntimeout = 500ms\n"
        "\trequire = never-extractable\nisolate = yes\ncache-keys = 1500ms\n"
        "[kmip vault]\nserver = kmips://a.example:5696\nserver = kmips://[2001:db8::1]:5697\n"
        "ca = /ca.pem\ncertificate = /c.pem\nkey = pkcs11:token=a;object=client\ncrl = /crl.pem\n"
        "timeout = 3s\nversion = 1.4\nrelease = no\nrequire = non-extractable\n"
        "[key web]\nuri = pkcs11:token=a;object=web\n"
        "[key root]\nuri = kmip://vault/7"; /* no newline at the end */
    struct kyok_error err = {0};
    struct kyok_config *config = NULL;
    (void)state;
    if (kyok_config_parse(kyok_bytes_of_text(text), "t", &config, &err) != KYOK_OK)
        fail_msg("%s: %s", err.object, err.what);
    const struct kyok_token_config *token = kyok_config_token(config, "hsm");
    assert_string_equal(token->where, "t:4");
    assert_string_equal(token->module, "/usr/lib/softhsm/libsofthsm2.so");
    assert_int_equal(token->uri_count, 2);
    assert_string_equal(token->uris[1], "pkcs11:token=b?module-path=/other.so");
    assert_string_equal(token->pin_source, "file:/etc/kyok/pin");
    assert_int_equal(token->sessions, 16);
    assert_int_equal(token->timeout_ms, 500);
    assert_int_equal(token->require, KYOK_REQUIRE_NEVER_EXTRACTABLE);
    assert_true(token->isolate);
    assert_int_equal(token->cache_keys_ms, 1500);
    const struct kyok_kmip_config *kmip = kyok_config_kmip(config, "vault");
    assert_int_equal(kmip->server_count, 2);
    assert_string_equal(kmip->servers[1], "kmips://[2001:db8::1]:5697");
    assert_string_equal(kmip->key, "pkcs11:token=a;object=client");
    assert_int_equal(kmip->timeout_ms, 3000);
    assert_int_equal(kmip->version, 14);
    assert_false(kmip->release);
    assert_int_equal(kmip->require, KYOK_REQUIRE_NON_EXTRACTABLE);
    assert_string_equal(kyok_config_key(config, "root")->uri, "kmip://vault/7");
    assert_null(kyok_config_token(config, "vault"));
    assert_null(kyok_config_key(config, "nobody"));
    kyok_config_free(config);
}

static void defaults_are_set(void **state)
{
    struct kyok_error err = {0};
    struct kyok_config *config = NULL;
    (void)state;
    assert_int_equal(kyok_config_parse(kyok_bytes_of_text(TOKEN KMIP), "t", &config, &err),
                     KYOK_OK);
    assert_int_equal(config->tokens[0].timeout_ms, KYOK_DEFAULT_TIMEOUT_MS);
    assert_int_equal(config->tokens[0].sessions, 0);
    assert_int_equal(config->tokens[0].require, KYOK_REQUIRE_NONE);
    assert_null(config->tokens[0].module);
    assert_int_equal(config->kmips[0].version, 0);
    kyok_config_free(config);
    assert_int_equal(kyok_config_parse(kyok_bytes(NULL, 0), "t", &config, &err), KYOK_OK);
    assert_int_equal(config->token_count, 0);
    kyok_config_free(config);
}

struct wrong {
    const char *text, *line, *says, *expects;
};

static void check_wrong(const struct wrong *wrong, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct kyok_error err = {0};
        struct kyok_config *config = NULL;
        enum kyok_status status =
            kyok_config_parse(kyok_bytes_of_text(wrong[i].text), "t", &config, &err);
        if (status != KYOK_INVALID || strcmp(err.object, wrong[i].line) != 0 ||
            strstr(err.what, wrong[i].says) == NULL || strstr(err.remedy, wrong[i].expects) == NULL)
            fail_msg("%s\nshould say %s %s, expected %s; but says %s %s; %s", wrong[i].text,
                     wrong[i].line, wrong[i].says, wrong[i].expects, err.object, err.what,
                     err.remedy);
    }
}

static void wrong_sections_name_the_line(void **state)
{
    static const struct wrong wrong[] = {
        {"[token hsm\n", "t:1", "does not end in \"]\"", "[token NAME]"},
        {"\n[tokens hsm]\n", "t:2", "unknown section \"tokens hsm\"", "[kmip NAME]"},
        {"[]\n", "t:1", "unknown section \"\"", "[token NAME]"},
        {"[\n", "t:1", "does not end in", "[token NAME]"},
        {"[token]\n", "t:1", "without a proper name", "letters"},
        {"[token a b]\n", "t:1", "without a proper name", "letters"},
        {"[token a/b]\n", "t:1", "without a proper name", "letters"},
        {"[token -a]\n", "t:1", "without a proper name", "letters"},
        {"[token \xc3\xa9]\n", "t:1", "without a proper name", "letters"},
        {"[token aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\n", "t:1",
         "without a proper name", "64"},
        {TOKEN TOKEN, "t:3", "name of [token hsm] is taken at t:1", "of its own"},
        {TOKEN "[kmip hsm]\n", "t:3", "name of [kmip hsm] is taken at t:1", "of its own"},
        {"[key a]\nuri = pkcs11:object=a\n[key a]\n", "t:3", "[key a] is taken at t:1",
         "of its own"},
        {"[token hsm]\n", "t:1", "[token hsm] has no \"uri\"", "needs it"},
        {"[kmip v]\nserver = kmips://a:1\nca = /a\ncertificate = /b\n", "t:1",
         "[kmip v] has no \"key\"", "needs it"},
        {"[kmip v]\nca = /a\ncertificate = /b\nkey = /c\n", "t:1", "has no \"server\"", "needs it"},
        {"[kmip v]\nserver = kmips://a:1\ncertificate = /b\nkey = /c\n", "t:1", "has no \"ca\"",
         "it"},
        {"[key a]\n" TOKEN, "t:1", "[key a] has no \"uri\"", "needs it"},
    };
    (void)state;
    check_wrong(wrong, sizeof(wrong) / sizeof(wrong[0]));
}

static void wrong_lines_name_the_line(void **state)
{
    static const struct wrong wrong[] = {
        {"module = /a\n", "t:1", "before the first section", "[token NAME]"},
        {TOKEN "module\n", "t:3", "neither section nor setting", "NAME = VALUE"},
        {TOKEN "modul = /a\n", "t:3", "unknown setting \"modul\" in [token hsm]", "module, uri"},
        {TOKEN "server = kmips://a:1\n", "t:3", "unknown setting \"server\"", "one of module"},
        {TOKEN "= /a\n", "t:3", "unknown setting \"\"", "one of module"},
        {TOKEN "Module = /a\n", "t:3", "unknown setting \"Module\"", "module"},
        {TOKEN "module =\n", "t:3", "without a value", "NAME = VALUE"},
        {TOKEN "module = /a # b\n", "t:3", "comment behind a value", "own"},
        {TOKEN "timeout = 10\t; ten\n", "t:3", "comment behind a value", "own"},
        {TOKEN "module = /a\nmodule = /a\n", "t:4", "\"module\" is already set on line 3", "once"},
        {TOKEN "uri = pkcs11:token=hsm\n", "t:3", "same value twice", "once"},
        {TOKEN "module = /a\001b\n", "t:3", "control character", "plain text"},
        {TOKEN "module = /a\x7f\n", "t:3", "control character", "plain text"},
        {TOKEN "module = /a\xff\n", "t:3", "not UTF-8", "UTF-8"},
    };
    (void)state;
    check_wrong(wrong, sizeof(wrong) / sizeof(wrong[0]));
}

static void wrong_token_values_name_what_is_expected(void **state)
{
    static const struct wrong wrong[] = {
        {TOKEN "module = libsofthsm2.so\n", "t:3", "module: ", "absolute path"},
        {"[token a]\nuri = hsm\n", "t:2", "uri: \"hsm\"", "pkcs11: URI"},
        {"[token a]\nuri = kmip://a/1\n", "t:2", "uri: ", "names tokens"},
        {"[token a]\nuri = pkcs11:tokn=a\n", "t:2", "uri: unknown attribute \"tokn\"", "RFC 7512"},
        {"[token a]\nuri = pkcs11:object=a\n", "t:2", "uri: ", "not objects"},
        {"[token a]\nuri = pkcs11:id=%01\n", "t:2", "uri: ", "not objects"},
        {"[token a]\nuri = pkcs11:type=private\n", "t:2", "uri: ", "not objects"},
        {"[token a]\nuri = pkcs11:?kyok-group=a\n", "t:2", "uri: ", "or groups"},
        {"[token a]\nuri = pkcs11:?pin-value=1234\n", "t:2", "uri: \"pin-value\"", "pin-source"},
        {TOKEN "pin-source = |cat /pin\n", "t:3", "pin-source: ", "credential:NAME"},
        {TOKEN "pin-source = file:pin\n", "t:3", "pin-source: ", "file:/PATH"},
        {TOKEN "sessions = 0\n", "t:3", "sessions: ", "1 to 4096"},
        {TOKEN "sessions = 4097\n", "t:3", "sessions: ", "1 to 4096"},
        {TOKEN "sessions = 99999999999999999999\n", "t:3", "sessions: ", "1 to 4096"},
        {TOKEN "sessions = many\n", "t:3", "sessions: ", "1 to 4096"},
        {TOKEN "timeout = 0\n", "t:3", "timeout: ", "10, 10s or 500ms"},
        {TOKEN "timeout = 10m\n", "t:3", "timeout: ", "10, 10s or 500ms"},
        {TOKEN "timeout = 10 s\n", "t:3", "timeout: ", "10, 10s or 500ms"},
        {TOKEN "timeout = -1\n", "t:3", "timeout: ", "10, 10s or 500ms"},
        {TOKEN "timeout = ms\n", "t:3", "timeout: ", "10, 10s or 500ms"},
        {TOKEN "timeout = 3601\n", "t:3", "timeout: ", "3600s"},
        {TOKEN "timeout = 3600001ms\n", "t:3", "timeout: ", "3600s"},
        {TOKEN "require = sensitive\n", "t:3", "require: ", "never-extractable"},
        {TOKEN "isolate = true\n", "t:3", "isolate: ", "yes or no"},
        {TOKEN "isolate = Yes\n", "t:3", "isolate: ", "yes or no"},
        {TOKEN "cache-keys = yes\n", "t:3", "cache-keys: ", "no, or a time"},
        {TOKEN "cache-keys = 0\n", "t:3", "cache-keys: ", "1ms to 60s"},
        {TOKEN "cache-keys = 61\n", "t:3", "cache-keys: ", "1ms to 60s"},
        {TOKEN "cache-keys = 60001ms\n", "t:3", "cache-keys: ", "1ms to 60s"},
    };
    (void)state;
    check_wrong(wrong, sizeof(wrong) / sizeof(wrong[0]));
}

static void wrong_kmip_and_key_values_name_what_is_expected(void **state)
{
    static const struct wrong wrong[] = {
        {"[kmip v]\nserver = kmip://a:1\n", "t:2", "server: ", "kmips://HOST:PORT"},
        {"[kmip v]\nserver = kmips://a\n", "t:2", "server: ", "kmips://HOST:PORT"},
        {"[kmip v]\nserver = kmips://:1\n", "t:2", "server: ", "kmips://HOST:PORT"},
        {"[kmip v]\nserver = kmips://a:0\n", "t:2", "server: ", "kmips://HOST:PORT"},
        {"[kmip v]\nserver = kmips://a:65536\n", "t:2", "server: ", "kmips://HOST:PORT"},
        {"[kmip v]\nserver = kmips://a:1/x\n", "t:2", "server: ", "kmips://HOST:PORT"},
        {"[kmip v]\nserver = kmips://u@a:1\n", "t:2", "server: ", "kmips://HOST:PORT"},
        {"[kmip v]\nserver = kmips://[]:1\n", "t:2", "server: ", "kmips://HOST:PORT"},
        {"[kmip v]\nserver = kmips://2001:db8::1:1\n", "t:2", "server: ", "kmips://HOST:PORT"},
        {"[kmip v]\nca = ca.pem\n", "t:2", "ca: ", "absolute path"},
        {"[kmip v]\nkey = key.pem\n", "t:2", "key: ", "absolute path"},
        {"[kmip v]\nkey = kmip://v/1\n", "t:2", "key: ", "pkcs11: reference"},
        {"[kmip v]\nkey = pkcs11:?pin-value=1\n", "t:2", "key: ", "without pin-value"},
        {"[kmip v]\nversion = 1.5\n", "t:2", "version: ", "1.0 to 1.4"},
        {"[kmip v]\nversion = 2\n", "t:2", "version: ", "1.0 to 1.4"},
        {"[kmip v]\nrelease = maybe\n", "t:2", "release: ", "yes or no"},
        {KMIP "release = yes\nrequire = non-extractable\n", "t:1", "both releases", "release = no"},
        {"[key a]\nuri = web\n", "t:2", "uri: ", "pkcs11: or kmip:"},
        {"[key a]\nuri = pkcs11:bad=1\n", "t:1", "unknown attribute \"bad\"", "RFC 7512"},
        {"[key a]\nuri = kmip://v/1\n", "t:1", "group \"v\" is not configured", "[kmip v]"},
        {TOKEN "[key a]\nuri = pkcs11:?pin-value=1\n", "t:3", "uri: a PIN", "pin-source"},
    };
    (void)state;
    check_wrong(wrong, sizeof(wrong) / sizeof(wrong[0]));
}

static void limits_hold(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    struct kyok_error err = {0};
    struct kyok_config *config = NULL;
    static char line[5000];
    (void)state;
    memset(line, 'a', sizeof(line) - 1);
    assert_int_equal(kyok_config_parse(kyok_bytes_of_text(line), "t", &config, &err), KYOK_INVALID);
    assert_string_equal(err.object, "t:1");
    assert_non_null(strstr(err.what, "too long"));
    assert_int_equal(kyok_config_parse(kyok_bytes("[token a]\0\n", 11), "t", &config, &err),
                     KYOK_INVALID);
    assert_non_null(strstr(err.what, "NUL"));
    for (unsigned i = 0; i < 1025; i++)
        kyok_buffer_printf(&text, "[key k%u]\nuri = pkcs11:object=k\n", i);
    assert_int_equal(kyok_config_parse(kyok_buffer_bytes(&text), "t", &config, &err), KYOK_INVALID);
    assert_non_null(strstr(err.what, "too many sections"));
    text.size = 0;
    kyok_buffer_append_text(&text, "[token a]\n");
    for (unsigned i = 0; i < 65; i++)
        kyok_buffer_printf(&text, "uri = pkcs11:token=t%u\n", i);
    assert_int_equal(kyok_config_parse(kyok_buffer_bytes(&text), "t", &config, &err), KYOK_INVALID);
    assert_non_null(strstr(err.what, "too many values"));
    text.size = 0;
    while (text.size <= 1 << 20)
        kyok_buffer_append_text(&text, "# comment\n");
    assert_int_equal(kyok_config_parse(kyok_buffer_bytes(&text), "t", &config, &err), KYOK_INVALID);
    assert_non_null(strstr(err.what, "larger than 1 MiB"));
}

static void tokens_are_added(void **state)
{
    struct kyok_error err = {0};
    struct kyok_config *config = kyok_config_new();
    char *uris[] = {(char *)"pkcs11:token=a", (char *)"pkcs11:token=b"};
    struct kyok_token_config token = {.name = (char *)"provider",
                                      .module = (char *)"/m.so",
                                      .uris = uris,
                                      .uri_count = 2,
                                      .init_args = (char *)"x"};
    (void)state;
    assert_int_equal(kyok_config_add_token(config, &token, &err), KYOK_OK);
    assert_int_equal(config->tokens[0].uri_count, 2);
    assert_string_equal(config->tokens[0].uris[1], "pkcs11:token=b");
    assert_ptr_not_equal(config->tokens[0].uris[1], uris[1]);
    assert_string_equal(config->tokens[0].init_args, "x");
    assert_int_equal(config->tokens[0].timeout_ms, KYOK_DEFAULT_TIMEOUT_MS);
    assert_int_equal(kyok_config_add_token(config, &token, &err), KYOK_INVALID);
    token.name = (char *)"a b";
    assert_int_equal(kyok_config_add_token(config, &token, &err), KYOK_INVALID);
    assert_int_equal(config->token_count, 1);
    kyok_config_free(config);
}

static void file_with(char *path, mode_t mode)
{
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, TOKEN, strlen(TOKEN)), strlen(TOKEN));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void a_file_that_others_can_write_is_refused(void **state)
{
    char path[] = "/tmp/kyok-conf-XXXXXX";
    struct kyok_error err = {0};
    struct kyok_config *config = NULL;
    (void)state;
    file_with(path, 0644);
    assert_int_equal(kyok_config_load(path, &config, &err), KYOK_OK);
    assert_string_equal(config->path, path);
    kyok_config_free(config);
    static const mode_t modes[] = {0664, 0646, 0666};
    for (size_t i = 0; i < 3; i++) {
        chmod(path, modes[i]);
        assert_int_equal(kyok_config_load(path, &config, &err), KYOK_INVALID);
        assert_non_null(strstr(err.remedy, "chmod go-w"));
    }
    chmod(path, 0644);
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 12345, 0), 0);
        assert_int_equal(kyok_config_load(path, &config, &err), KYOK_INVALID);
        assert_non_null(strstr(err.what, "belongs to user 12345"));
    }
    unlink(path);
}

static void the_environment_names_the_file(void **state)
{
    char path[] = "/tmp/kyok-conf-XXXXXX";
    struct kyok_error err = {0};
    struct kyok_config *config = NULL;
    (void)state;
    file_with(path, 0600);
    setenv("KYOK_CONF", path, 1);
    assert_int_equal(kyok_config_load(NULL, &config, &err), KYOK_OK);
    assert_int_equal(config->token_count, 1);
    kyok_config_free(config);
    unlink(path);
    /* A file that is named must be there. */
    assert_int_equal(kyok_config_load(NULL, &config, &err), KYOK_INVALID);
    assert_string_equal(err.object, path);
    assert_non_null(strstr(err.reason, "ENOENT"));
    unsetenv("KYOK_CONF");
    assert_int_equal(kyok_config_load("/dev/null", &config, &err), KYOK_INVALID);
    assert_non_null(strstr(err.what, "not a regular file"));
}

/* The settings of one kind of section, as the manual page has them. */
static void check_manual(const char *page, const struct kyok_section *section)
{
    char heading[32];
    size_t found = 0;
    snprintf(heading, sizeof(heading), ".Ss [%s NAME]\n", section->word);
    const char *at = strstr(page, heading);
    assert_non_null(at);
    const char *end = strstr(at, "\n.El\n");
    assert_non_null(end);
    while ((at = strstr(at, "\n.It Ic ")) != NULL && at < end) {
        at += strlen("\n.It Ic ");
        size_t size = strcspn(at, " ");
        bool known = false;
        for (size_t i = 0; i < section->setting_count; i++)
            known |= strlen(section->settings[i].name) == size &&
                     strncmp(section->settings[i].name, at, size) == 0;
        if (!known)
            fail_msg("the manual page has a setting too many in [%s]: %.20s", section->word, at);
        found++;
    }
    assert_int_equal(found, section->setting_count);
}

static void read_text(const char *path, struct kyok_buffer *text)
{
    char bytes[4096];
    size_t got;
    FILE *file = fopen(path, "r");
    if (file == NULL)
        fail_msg("%s: run this in the source tree", path);
    while ((got = fread(bytes, 1, sizeof(bytes), file)) > 0)
        assert_true(kyok_buffer_append(text, bytes, got));
    fclose(file);
    assert_true(kyok_buffer_append(text, "", 1));
}

static void the_manual_page_has_every_setting(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer page = {0};
    (void)state;
    read_text("common/config/kyok.conf.5", &page);
    for (size_t i = 0; i < KYOK_SECTION_KINDS; i++)
        check_manual((char *)page.data, &kyok_sections[i]);
}

static void the_examples_are_right(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer page = {0}, example = {0};
    struct kyok_error err = {0};
    struct kyok_config *config = NULL;
    (void)state;
    read_text("common/config/kyok.conf.example", &example);
    if (kyok_config_parse(kyok_bytes(example.data, example.size - 1), "example", &config, &err) !=
        0)
        fail_msg("%s: %s", err.object, err.what);
    kyok_config_free(config);
    read_text("common/config/kyok.conf.5", &page);
    char *begin = strstr((char *)page.data, ".Bd -literal\n") + strlen(".Bd -literal\n");
    *strstr(begin, ".Ed\n") = '\0';
    if (kyok_config_parse(kyok_bytes_of_text(begin), "kyok.conf.5", &config, &err) != 0)
        fail_msg("%s: %s", err.object, err.what);
    assert_int_equal(config->kmip_count, 1);
    kyok_config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_read),
        cmocka_unit_test(defaults_are_set),
        cmocka_unit_test(wrong_sections_name_the_line),
        cmocka_unit_test(wrong_lines_name_the_line),
        cmocka_unit_test(wrong_token_values_name_what_is_expected),
        cmocka_unit_test(wrong_kmip_and_key_values_name_what_is_expected),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(tokens_are_added),
        cmocka_unit_test(a_file_that_others_can_write_is_refused),
        cmocka_unit_test(the_environment_names_the_file),
        cmocka_unit_test(the_manual_page_has_every_setting),
        cmocka_unit_test(the_examples_are_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
