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
    const struct setup_group *first = &setup->groups[0];
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
    return done ? KYOK_OK : setup_no_memory(setup);
}

enum kyok_status setup_write_texts(struct setup *setup)
{
    KYOK_TRY(write_conf(setup));
    return write_lines(setup);
}
