/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/unit_token.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/expect_ok.h"

char unit_token_directory[] = "/tmp/kyok-key-XXXXXX";
struct kyok_context *unit_token_context;

void unit_token_write(const char *name, const char *content)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", unit_token_directory, name);
    file = fopen(path, "w");
    fputs(content, file);
    fclose(file);
    chmod(path, 0600);
}

struct kyok_context *unit_token_context_new(const char *more)
{
    struct kyok_config *config;
    struct kyok_context *made;
    char conf[600];

    snprintf(conf, sizeof(conf),
             "[token hsm]\nmodule = %s\nuri = pkcs11:token=unit\npin-source = file:%s/pin\n%s",
             UNIT_TOKEN_MODULE, unit_token_directory, more);
    OK(kyok_config_parse(kyok_bytes_of_text(conf), "test.conf", &config, &err));
    OK(kyok_context_new(config, &made, &err));
    return made;
}

int unit_token_set_up(void **state)
{
    char command[512], conf[128];

    (void)state;
    if (access(UNIT_TOKEN_MODULE, R_OK) != 0 || mkdtemp(unit_token_directory) == NULL)
        return -1;
    snprintf(command, sizeof(command), "directories.tokendir = %s/tokens\nlog.level = ERROR\n",
             unit_token_directory);
    unit_token_write("softhsm2.conf", command);
    unit_token_write("pin", UNIT_TOKEN_PIN "\n");
    snprintf(conf, sizeof(conf), "%s/softhsm2.conf", unit_token_directory);
    setenv("SOFTHSM2_CONF", conf, 1);
    snprintf(
        command, sizeof(command),
        "mkdir %s/tokens && softhsm2-util --init-token --free --label unit --pin " UNIT_TOKEN_PIN
        " --so-pin " UNIT_TOKEN_PIN " >/dev/null",
        unit_token_directory);
    if (system(command) != 0)
        return -1;
    unit_token_context = unit_token_context_new("require = never-extractable\n");
    return 0;
}

int unit_token_tear_down(void **state)
{
    char command[128];

    (void)state;
    kyok_context_free(unit_token_context);
    snprintf(command, sizeof(command), "rm -rf %s", unit_token_directory);
    return system(command);
}

struct kyok_reference *unit_token_reference(const char *reference)
{
    struct kyok_reference *parsed;

    OK(kyok_reference_parse(reference, KYOK_FROM_CONFIGURATION, NULL, &parsed, &err));
    return parsed;
}

struct kyok_key *unit_token_generate(const char *name, enum kyok_key_type type, unsigned bits,
                                     unsigned uses)
{
    struct kyok_generate_request request = {.type = type, .bits = bits, .uses = uses};
    struct kyok_reference *reference;
    struct kyok_key *key;
    char uri[128];

    snprintf(uri, sizeof(uri), "pkcs11:token=unit;object=%s", name);
    reference = unit_token_reference(uri);
    OK(kyok_key_generate(unit_token_context, reference, &request, &key, &err));
    kyok_reference_free(reference);
    return key;
}

bool unit_token_count(void *caller, const struct kyok_key_info *info)
{
    assert_non_null(info->reference);
    ++*(int *)caller;
    return true;
}
