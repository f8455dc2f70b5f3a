/* SPDX-License-Identifier: Apache-2.0 */
/* The encrypted disks of this host's VMs, and starting those that wait for a custodian. */
#include "cli/disk.h"
#include "cli/envelope.h"
#include "cli/vm.h"
#include "libvirt-hook/hook.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* --- list --- */

static bool exists(const char *folder, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static bool is_held(const char *vm_uuid)
{
    DIR *list = opendir(HOOK_HELD);
    bool found = false;
    for (struct dirent *entry; list && !found && (entry = readdir(list));) {
        const char *dot = strchr(entry->d_name, '.');
        found = dot && dot != entry->d_name && strcmp(dot + 1, vm_uuid) == 0;
    }
    if (list)
        closedir(list);
    return found;
}

/* locked, running, unlocked (libvirt holds the passphrase), off */
static const char *protection(const char *vm_uuid, const char *state)
{
    if (strcmp(state, "shut off") != 0)
        return "running";
    if (exists(HOOK_LOCKED, vm_uuid))
        return "locked";
    return is_held(vm_uuid) ? "unlocked" : "off";
}

static json_t *last_opened(const char *uuid)
{
    char path[PATH_MAX], text[32];
    struct stat status;
    struct tm utc;
    snprintf(path, sizeof(path), "%s/%s", HOOK_OPENED, uuid);
    if (stat(path, &status) != 0 || !gmtime_r(&status.st_mtime, &utc))
        return json_null();
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
    return json_string(text);
}

static void add_metadata(const struct domain *domain, const char *uuid,
                         struct kyok_record_copies *copies)
{
    struct kyok_error none;
    for (size_t i = 0; i < domain->record_count; i++)
        if (strcasecmp(domain->records[i].uuid, uuid) == 0)
            (void)kyok_record_copies_add(copies, "metadata", domain->records[i].pending,
                                         kyok_bytes_of_text(domain->records[i].json), &none);
}

/* What the newest copy says; nothing is contacted. */
static void describe_record(const struct kyok_record_copies *copies, json_t *disk)
{
    struct kyok_error none;
    json_int_t best = -1;
    for (size_t i = 0; i < copies->count; i++) {
        struct kyok_envelope *envelope = NULL;
        if (kyok_envelope_inspect(kyok_buffer_bytes(&copies->list[i].json), NULL, &envelope,
                                  &none) != KYOK_OK)
            continue;
        const struct kyok_envelope_claims *claims = kyok_envelope_claims(envelope);
        if (claims && (json_int_t)claims->generation > best) {
            best = (json_int_t)claims->generation;
            json_object_set_new(disk, "generation", json_integer(best));
            json_object_set_new(disk, "layers", disk_recipients_json(envelope));
            json_object_set_new(disk, "record", cli_json_text(copies->list[i].where));
        }
        kyok_envelope_free(envelope);
    }
}

static json_t *describe_volume(const struct domain *domain, const struct domain_volume *given)
{
    struct kyok_error err;
    KYOK_CLEANUP(kyok_volume_close) struct kyok_volume volume = {.fd = -1};
    KYOK_CLEANUP(kyok_record_copies_free) struct kyok_record_copies copies = {.count = 0};
    json_t *disk =
        json_pack("{s:o,s:o}", "disk", cli_json_text(given->target ? given->target : "?"), "image",
                  given->path ? cli_json_text(given->path) : json_null());
    if (!given->path)
        return disk;
    if (kyok_volume_open(given->path, KYOK_VOLUME_LOOK, &volume, &err) != KYOK_OK) {
        json_object_set_new(disk, "error", cli_json_error(&err));
        return disk;
    }
    json_object_set_new(disk, "luks", json_string(volume.luks.uuid));
    json_object_set_new(disk, "last-opened", last_opened(volume.luks.uuid));
    add_metadata(domain, volume.luks.uuid, &copies);
    (void)kyok_record_copies_find(&copies, given->block ? NULL : given->path, volume.luks.uuid,
                                  &err);
    describe_record(&copies, disk);
    return disk;
}

static enum kyok_status describe_vm(const char *uuid, json_t *list, struct kyok_error *err)
{
    struct domain domain;
    char state[64];
    KYOK_TRY(vm_state(uuid, state, sizeof(state), err));
    KYOK_TRY(vm_domain(uuid, strcmp(state, "shut off") != 0, &domain, err));
    json_t *disks = json_array();
    for (size_t i = 0; i < domain.volume_count; i++)
        json_array_append_new(disks, describe_volume(&domain, &domain.volumes[i]));
    if (domain.volume_count > 0)
        json_array_append_new(list, json_pack("{s:o,s:s,s:s,s:s,s:O}", "vm",
                                              cli_json_text(domain.name ? domain.name : ""), "uuid",
                                              uuid, "state", state, "protection",
                                              protection(uuid, state), "disks", disks));
    json_decref(disks);
    domain_free(&domain);
    return KYOK_OK;
}

/* --- keys that their server gives out --- */

static bool is_released(const json_t *layers, const struct kyok_config *config)
{
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *layer = json_array_get(layers, i);
        for (size_t j = 0; j < json_array_size(layer); j++)
            if (cli_kid_is_released(
                    json_string_value(json_object_get(json_array_get(layer, j), "key")), config))
                return true;
    }
    return false;
}

/* A disk without a record has its passphrase at the hook's KMIP group, which gives it out. */
static void note_plain(const char *group, json_t *disk)
{
    char key[256];
    const char *luks = json_string_value(json_object_get(disk, "luks"));
    if (!luks || !*group || json_object_get(disk, "record"))
        return;
    snprintf(key, sizeof(key), "kmip://%s?name=%s", group, luks);
    json_object_set_new(disk, "key", json_string(key));
    json_object_set_new(disk, "released", json_true());
}

static void note_released(const struct kyok_config *config, const json_t *list)
{
    struct hook_config hook;
    if (!hook_read_config(HOOK_CONFIG, &hook))
        *hook.kmip = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *disks = json_object_get(json_array_get(list, i), "disks");
        for (size_t j = 0; j < json_array_size(disks); j++) {
            json_t *disk = json_array_get(disks, j);
            bool released = is_released(json_object_get(disk, "layers"), config);
            json_object_set_new(disk, "released", json_boolean(released));
            note_plain(hook.kmip, disk);
        }
    }
}

static void list_unreadable(const char *uuid, json_t *list, const struct kyok_error *err)
{
    json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s,s:o,s:[{s:s}]}", "vm", uuid, "uuid",
                                          uuid, "state", "unreadable", "protection", "refused",
                                          "error", cli_json_error(err), "disks", "disk", "?"));
}

static const char *text_of(const json_t *object, const char *name, const char *missing)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : missing;
}

static const char *first_key(const json_t *disk)
{
    const json_t *layer = json_array_get(json_object_get(disk, "layers"), 0);
    return text_of(json_array_get(layer, 0), "key", text_of(disk, "key", "no record"));
}

static void print_list(const json_t *list)
{
    printf("%-20s %-9s %-5s %4s %-21s %s\n", "VM", "STATE", "DISK", "GEN", "LAST OPENED", "KEY");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *vm = json_array_get(list, i), *disks = json_object_get(vm, "disks");
        for (size_t j = 0; j < json_array_size(disks); j++) {
            const json_t *disk = json_array_get(disks, j);
            size_t layers = json_array_size(json_object_get(disk, "layers"));
            printf("%-20s %-9s %-5s %4" JSON_INTEGER_FORMAT " %-21s %s", text_of(vm, "vm", ""),
                   text_of(vm, "protection", ""), text_of(disk, "disk", ""),
                   json_integer_value(json_object_get(disk, "generation")),
                   text_of(disk, "last-opened", "-"), first_key(disk));
            if (layers > 1)
                printf(" and %zu more", layers - 1);
            puts(json_is_true(json_object_get(disk, "released")) ? " (leaves its custodian)" : "");
        }
    }
}

static enum kyok_status run_list(struct cli *cli)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer output = {0};
    const struct kyok_config *config;
    json_t *list = json_array();
    KYOK_TRY(cli_config(cli, &config));
    KYOK_TRY(vm_virsh(&output, &cli->error, "list", "--all", "--uuid", NULL));
    char *rest = (char *)output.data, *uuid;
    /* One VM with XML that nobody can read does not hide the others. */
    while (vm_next_line(&rest, &uuid))
        if (describe_vm(uuid, list, &cli->error) != KYOK_OK)
            list_unreadable(uuid, list, &cli->error);
    note_released(config, list);
    if (cli->json)
        return cli_json(cli, list);
    print_list(list);
    json_decref(list);
    return KYOK_OK;
}

/* --- autostart --- */

struct waiting {
    char name[256];
    long priority;
};

static int compare_waiting(const void *left, const void *right)
{
    const struct waiting *a = left, *b = right;
    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    return strcmp(a->name, b->name);
}

static void tell_failure(const struct kyok_error *err)
{
    char text[1400];
    fprintf(stderr, "kyok: %s\n", kyok_error_text(err, text, sizeof(text)));
}

/* A VM with XML that kyok cannot read is told, and keeps no other from starting. */
static enum kyok_status find_waiting(struct cli *cli, struct waiting *list, size_t most,
                                     size_t *count, size_t *unreadable)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer output = {0};
    KYOK_TRY(vm_virsh(&output, &cli->error, "list", "--inactive", "--autostart", "--name", NULL));
    char *rest = (char *)output.data, *name;
    for (*count = 0; *count < most && vm_next_line(&rest, &name);) {
        struct domain domain;
        struct kyok_error err;
        if (vm_domain(name, false, &domain, &err) != KYOK_OK) {
            tell_failure(&err);
            (*unreadable)++;
            continue;
        }
        bool encrypted = domain.volume_count > 0 || domain.vtpm_secret;
        snprintf(list[*count].name, sizeof(list[*count].name), "%s", name);
        list[*count].priority = domain.priority;
        *count += encrypted;
        domain_free(&domain);
    }
    return KYOK_OK;
}

static enum kyok_status run_autostart(struct cli *cli)
{
    enum { MOST = 4096 };
    KYOK_AUTO_FREE struct waiting *list = calloc(MOST, sizeof(*list));
    size_t count = 0, started = 0, unreadable = 0;
    json_t *names = json_array();
    if (!list)
        return kyok_fail(&cli->error, KYOK_SYSTEM, NULL, "no memory for the VMs");
    KYOK_TRY(find_waiting(cli, list, MOST, &count, &unreadable));
    qsort(list, count, sizeof(*list), compare_waiting);
    for (size_t i = 0; i < count; i++) {
        if (vm_virsh(NULL, &cli->error, "start", "--domain", list[i].name, NULL) != KYOK_OK) {
            tell_failure(&cli->error);
            continue;
        }
        started++;
        json_array_append_new(names, cli_json_text(list[i].name));
        if (!cli->json)
            printf("%s started\n", list[i].name);
    }
    if (unreadable > 0 && started == count) {
        json_decref(names);
        kyok_fail(&cli->error, KYOK_REFUSED, NULL, "%zu VMs have XML that cannot be read",
                  unreadable);
        return kyok_remedy(&cli->error, "virsh edit them, or virsh autostart --disable");
    }
    if (cli->json && started == count)
        return cli_json(cli, json_pack("{s:o}", "started", names));
    json_decref(names);
    if (started == count)
        return KYOK_OK;
    /* The unit tries again: most often a custodian is away. */
    return kyok_fail(&cli->error, KYOK_UNREACHABLE, NULL, "%zu of %zu VMs cannot be started",
                     count - started, count);
}

const struct cli_verb cli_vm_list_verbs[] = {
    {.words = "vm list",
     .summary = "list VMs with encrypted disks: key, generation, state",
     .description = "Lists every VM of this host with an encrypted disk: whether it runs, is off, "
                    "locked or unlocked, the record's generation and first key, and when the hook "
                    "last opened it since the host started. Nothing is contacted but libvirt.",
     .run = run_list},
    {.words = "vm autostart",
     .summary = "start the VMs that should run and wait for a custodian",
     .description =
         "Starts each VM with an encrypted disk that is marked for autostart and does not "
         "run, the highest priority first (priority= in kyok's metadata). Exit code 3 if "
         "one cannot be started, 1 if only the XML of one cannot be read; "
         "kyok-vm-autostart.service then tries again.",
     .run = run_autostart},
    {0},
};
