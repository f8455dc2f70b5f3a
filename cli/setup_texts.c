/* SPDX-License-Identifier: Apache-2.0 */
/* Setup: kyok.conf, and the lines for openssl.cnf, nginx.conf, libvirt and systemd. */
#include "cli/setup.h"

#include <libgen.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool write_group(struct kyok_buffer *conf, const struct setup_group *group)
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
    bool done = kyok_buffer_append_text(&setup->conf, SETUP_MARK);
    for (size_t i = 0; i < setup->group_count; i++)
        done &= write_group(&setup->conf, &setup->groups[i]);
    if (!done)
        return setup_no_memory(setup);
    KYOK_TRY(setup_write_kmip(setup));
    /* What is written must be what kyok reads: paths and PIN sources came from outside. */
    KYOK_TRY(kyok_config_parse(kyok_buffer_bytes(&setup->conf), "the new configuration", &config,
                               &setup->cli->error));
    enum kyok_status status = setup_test_kmip(setup, config);
    kyok_config_free(config);
    return status;
}

/* A key of the first group, as a program's configuration names it. */
static bool name_key(const struct setup *setup, const char *key, char *room, size_t size)
{
    int length =
        setup->group_count > 0
            ? snprintf(room, size, "pkcs11:object=%s?kyok-group=%s", key, setup->groups[0].name)
            : snprintf(room, size, "kmip://%s?name=%s", setup->kmip, key);
    return length > 0 && (size_t)length < size;
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

static bool write_openssl(struct setup *setup)
{
    KYOK_AUTO_FREE char *provider = find_provider();
    return provider != NULL &&
           kyok_buffer_printf(&setup->openssl,
                              "openssl_conf = openssl_init\n[openssl_init]\nproviders = providers\n"
                              "[providers]\ndefault = default_section\nkyok = kyok_section\n"
                              "[default_section]\nactivate = 1\n[kyok_section]\nmodule = %s\n"
                              "activate = 1\n",
                              provider);
}

static bool write_examples(struct setup *setup)
{
    char www[256], disks[256];
    return name_key(setup, "www", www, sizeof(www)) &&
           name_key(setup, "disks", disks, sizeof(disks)) &&
           kyok_buffer_printf(&setup->nginx,
                              "# kyok key generate '%s' --type ec-p256\n"
                              "# kyok key reference '%s' -o /etc/nginx/www.key.pem\n"
                              "ssl_certificate     /etc/nginx/www.crt;\n"
                              "ssl_certificate_key /etc/nginx/www.key.pem;\n",
                              www, www) &&
           kyok_buffer_printf(&setup->libvirt,
                              "# kyok key generate '%s' --type aes-256\n"
                              "# kyok disk create IMAGE --size 20G --key '%s'\n",
                              disks, disks);
}

static bool write_credentials(struct setup *setup)
{
    bool done = true;
    for (size_t i = 0; i < setup->group_count; i++) {
        const char *source = setup->groups[i].pin_source;
        if (strncmp(source, "credential:", 11) == 0)
            done &=
                kyok_buffer_printf(&setup->credentials,
                                   "systemd-creds encrypt --name=%s - /etc/credstore.encrypted/%s\n"
                                   "# and in each unit: [Service] LoadCredentialEncrypted=%s\n",
                                   source + 11, source + 11, source + 11);
    }
    return done;
}

static bool end_texts(struct setup *setup)
{
    struct kyok_buffer *texts[] = {&setup->openssl, &setup->nginx, &setup->libvirt,
                                   &setup->credentials};
    bool done = true;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        done &= kyok_buffer_append(texts[i], "", 1);
    return done;
}

static enum kyok_status write_lines(struct setup *setup)
{
    return write_openssl(setup) && write_examples(setup) && write_credentials(setup) &&
                   end_texts(setup)
               ? KYOK_OK
               : setup_no_memory(setup);
}

enum kyok_status setup_write_texts(struct setup *setup)
{
    KYOK_TRY(write_conf(setup));
    return write_lines(setup);
}
