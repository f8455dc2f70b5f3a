/* SPDX-License-Identifier: Apache-2.0 */
/* Setup: what each group is good for, and the report. */
#include "cli/setup.h"

#include <string.h>

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
    {"envelopes under an RSA root (RSA-OAEP-256)", "rsa-raw", "rsa-oaep-sha256", NULL},
    {"importing key material", "aes-kwp", NULL, NULL},
};
#define USES (sizeof(uses) / sizeof(uses[0]))

static bool can(const struct setup_group *group, size_t use)
{
    return setup_has_word(group->mechanisms, uses[use].needs) ||
           (uses[use].or_needs != NULL && setup_has_word(group->mechanisms, uses[use].or_needs));
}

static json_t *json_group(const struct setup_group *group)
{
    json_t *able = json_object();
    for (size_t i = 0; i < USES; i++)
        json_object_set_new(able, uses[i].use, json_boolean(can(group, i)));
    return json_pack("{s:s, s:o, s:o, s:s, s:I, s:O, s:o}", "group", group->name, "token",
                     cli_json_text(group->label), "module", cli_json_text(group->module),
                     "pin-source", group->pin_source, "tokens", (json_int_t)group->tokens,
                     "mechanisms", group->mechanisms, "can", able);
}

static void print_group(const struct setup_group *group)
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

enum kyok_status setup_report(struct setup *setup, bool written)
{
    struct cli *cli = setup->cli;
    json_t *groups = json_array();
    if (!kyok_buffer_append(&setup->conf, "", 1))
        return setup_no_memory(setup);
    for (size_t i = 0; i < setup->group_count; i++)
        json_array_append_new(groups, json_group(&setup->groups[i]));
    if (cli->json)
        return cli_json(cli,
                        json_pack("{s:o, s:b, s:o, s:s*, s:O, s:s, s:s, s:s, s:s, s:s, s:O}",
                                  "path", cli_json_text(setup->path), "written", written, "groups",
                                  groups, "kmip", setup->kmip, "servers", setup->endpoints, "conf",
                                  (char *)setup->conf.data, "openssl", (char *)setup->openssl.data,
                                  "nginx", (char *)setup->nginx.data, "libvirt",
                                  (char *)setup->libvirt.data, "credentials",
                                  (char *)setup->credentials.data, "problems", setup->problems));
    json_decref(groups);
    for (size_t i = 0; i < setup->group_count; i++)
        print_group(&setup->groups[i]);
    setup_print_kmip(setup);
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
