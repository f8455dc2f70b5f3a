/* SPDX-License-Identifier: Apache-2.0 */
/* What on this host gives a VM's data or keys away, each with its remedy. It changes nothing. */
#include "cli/disk.h"
#include "cli/envelope.h"
#include "cli/vm.h"

#include <dirent.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define QEMU_FOLDER "/var/lib/libvirt/qemu"
#define QEMU_LOGS "/var/log/libvirt/qemu"
#define STORED_SECRETS "/etc/libvirt/secrets"
#define PRELOAD_ENABLED "/etc/systemd/system/libvirtd.service.wants/kyok-vm-preload.service"

struct audit {
    json_t *findings;
};

static void find(struct audit *audit, const char *check, const char *object, const char *what,
                 const char *remedy)
{
    json_array_append_new(audit->findings,
                          json_pack("{s:s,s:o,s:s,s:s}", "check", check, "object",
                                    cli_json_text(object), "what", what, "remedy", remedy));
}

static void find_failure(struct audit *audit, const char *object, const struct kyok_error *err)
{
    char text[1400];
    find(audit, "incomplete", object, kyok_error_text(err, text, sizeof(text)),
         "mend that and run kyok vm audit again: this part was not looked at");
}

typedef void entry_function(struct audit *audit, const char *path, const char *name);

static void each_entry(struct audit *audit, const char *folder, entry_function *function)
{
    DIR *list = opendir(folder);
    for (struct dirent *entry; list && (entry = readdir(list));) {
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.')
            function(audit, path, entry->d_name);
    }
    if (list)
        closedir(list);
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), tail = strlen(end);
    return size >= tail && strcmp(text + size - tail, end) == 0;
}

static bool is_in_memory(const char *path)
{
    struct statfs status;
    return statfs(path, &status) == 0 &&
           (status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC);
}

/* --- files of libvirt --- */

static void check_master_key(struct audit *audit, const char *path, const char *name)
{
    char file[PATH_MAX + 32];
    if (strncmp(name, "domain-", 7) != 0)
        return;
    snprintf(file, sizeof(file), "%s/master-key.aes", path);
    if (access(file, F_OK) == 0 && !is_in_memory(file))
        find(audit, "master-key", file,
             "the key of a VM's secrets lies on disk; with a line of its log it gives the "
             "passphrase",
             "stop the VMs, then kyok vm harden; after a crash of the host also kyok disk rekey");
}

static void check_stored_secret(struct audit *audit, const char *path, const char *name)
{
    if (ends_with(name, ".base64") && !is_in_memory(path))
        find(audit, "stored-secret", path, "libvirt stores a secret in clear",
             "kyok disk adopt the disk that it opens, then virsh secret-undefine");
}

/* A line may be longer than a piece: the pieces overlap by the pattern's length. */
static bool holds(FILE *file, const char *pattern)
{
    char piece[8192];
    size_t size = strlen(pattern), kept = 0, got;
    while ((got = fread(piece + kept, 1, sizeof(piece) - kept, file)) > 0) {
        got += kept;
        if (memmem(piece, got, pattern, size))
            return true;
        kept = got < size ? got : size;
        memmove(piece, piece + got - kept, kept);
    }
    return false;
}

/* Rotated ones, NAME.log.0, too. */
static void check_log(struct audit *audit, const char *path, const char *name)
{
    FILE *file = strstr(name, ".log") ? fopen(path, "re") : NULL;
    bool found = file && holds(file, "\"keyid\":\"masterKey0\"");
    if (file)
        fclose(file);
    if (found)
        find(audit, "log", path, "the log holds passphrases, encrypted under master-key.aes",
             "harmless while master keys stay in memory (kyok vm harden); keep logs short");
}

static void check_dump(struct audit *audit, const char *path, const char *name)
{
    (void)name;
    find(audit, "dump", path, "a dump holds the VM's memory, with its volume keys, in clear",
         "shred it when it has been read; auto_dump_path in qemu.conf on an encrypted file system");
}

static void check_snapshot(struct audit *audit, const char *path, const char *name)
{
    FILE *file = ends_with(name, ".xml") ? fopen(path, "re") : NULL;
    bool found = file && holds(file, "<memory snapshot='external'");
    if (file)
        fclose(file);
    if (found)
        find(audit, "memory-snapshot", path,
             "a file beside this snapshot holds the VM's memory "
             "in clear",
             "virsh snapshot-create with --disk-only; remove the file that it names");
}

static void check_snapshots(struct audit *audit, const char *path, const char *name)
{
    (void)name;
    each_entry(audit, path, check_snapshot);
}

static void check_save(struct audit *audit, const char *path, const char *name)
{
    if (ends_with(name, ".save"))
        find(audit, "save-image", path, "a save image holds the VM's memory in clear",
             "start the VM or virsh managedsave-remove it; encrypt the file system below");
}

/* LVM's devices are dm-N as well. */
static bool is_crypt_device(const char *device)
{
    char path[PATH_MAX], uuid[8] = "";
    if (strncmp(device, "/dev/dm-", 8) != 0)
        return false;
    snprintf(path, sizeof(path), "/sys/block/%.16s/dm/uuid", device + 5);
    FILE *file = fopen(path, "re");
    bool read = file && fgets(uuid, sizeof(uuid), file);
    if (file)
        fclose(file);
    return read && strncmp(uuid, "CRYPT-", 6) == 0;
}

static void check_swap(struct audit *audit)
{
    char line[512];
    FILE *file = fopen("/proc/swaps", "re");
    bool header = true;
    while (file && fgets(line, sizeof(line), file)) {
        line[strcspn(line, " \t\n")] = 0;
        bool encrypted = is_crypt_device(line) || strncmp(line, "/dev/zram", 9) == 0;
        if (!header && !encrypted)
            find(audit, "swap", line, "a VM's memory, with its volume keys, may be swapped to it",
                 "swapoff, zram, or encrypted swap; <memoryBacking><locked/> for single VMs");
        header = false;
    }
    if (file)
        fclose(file);
}

/* --- domains --- */

static bool is_autostart(const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "/etc/libvirt/qemu/autostart/%s.xml", name);
    return access(path, F_OK) == 0;
}

/* A copy that is no envelope opens nothing. */
static bool has_record(const struct domain *domain, const struct kyok_record_copies *files,
                       const char *uuid)
{
    struct kyok_error none;
    bool found = false;
    for (size_t i = 0; i < files->count + domain->record_count && !found; i++) {
        struct kyok_envelope *envelope = NULL;
        const struct domain_record *record =
            i < files->count ? NULL : &domain->records[i - files->count];
        if (record && strcasecmp(record->uuid, uuid) != 0)
            continue;
        found = kyok_envelope_inspect(record ? kyok_bytes_of_text(record->json)
                                             : kyok_buffer_bytes(&files->list[i].json),
                                      NULL, &envelope, &none) == KYOK_OK;
        kyok_envelope_free(envelope);
    }
    return found;
}

static void check_record(struct audit *audit, const struct domain *domain,
                         const struct domain_volume *given)
{
    struct kyok_error err;
    KYOK_CLEANUP(kyok_volume_close) struct kyok_volume volume = {.fd = -1};
    KYOK_CLEANUP(kyok_record_copies_free) struct kyok_record_copies copies = {.count = 0};
    if (!given->path || kyok_volume_open(given->path, KYOK_VOLUME_LOOK, &volume, &err) != KYOK_OK)
        return;
    (void)kyok_record_copies_find(&copies, given->block ? NULL : given->path, volume.luks.uuid,
                                  &err);
    if (!has_record(domain, &copies, volume.luks.uuid))
        find(audit, "no-record", given->path, "the disk is encrypted, but has no record of kyok's",
             "kyok disk adopt; a record that was lost or damaged comes from the backup");
}

static void check_domain(struct audit *audit, const struct domain *domain)
{
    const char *name = domain->name ? domain->name : "";
    if (domain->volume_count == 0)
        return;
    for (size_t i = 0; i < domain->volume_count; i++)
        check_record(audit, domain, &domain->volumes[i]);
    if (domain->plain_disks > 0)
        find(audit, "plain-disk", name,
             "the VM has disks that are not encrypted beside ones that are",
             "reencrypt them into disks of kyok disk create");
    if (domain->has_tpm && !domain->vtpm_secret)
        find(audit, "vtpm", name, "the VM's TPM keeps its state in clear",
             "kyok vm tpm, before the guest uses the TPM");
    if (domain->nvram)
        find(audit, "nvram", domain->nvram,
             "UEFI variables lie in clear, and QEMU cannot encrypt them",
             "keep nothing secret there; encrypt the file system below " QEMU_FOLDER "/nvram");
    if (is_autostart(name) && access(PRELOAD_ENABLED, F_OK) != 0)
        find(audit, "autostart", name, "libvirtd starts the VM by itself and would refuse it then",
             "systemctl enable kyok-vm-preload.service kyok-vm-autostart.service");
}

static enum kyok_status check_domains(struct cli *cli, struct audit *audit)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer output = {0};
    KYOK_TRY(vm_virsh(&output, &cli->error, "list", "--all", "--uuid", NULL));
    char *rest = (char *)output.data, *uuid;
    while (vm_next_line(&rest, &uuid)) {
        struct domain domain;
        struct kyok_error err;
        char text[1400];
        if (vm_domain(uuid, false, &domain, &err) != KYOK_OK) {
            find(audit, "unreadable", uuid, kyok_error_text(&err, text, sizeof(text)),
                 "virsh edit the VM: the hook refuses it, and nothing more can be said of it");
            continue;
        }
        check_domain(audit, &domain);
        domain_free(&domain);
    }
    return KYOK_OK;
}

/* Keys that a KMIP group gives out are on this host whenever a VM starts. */
static enum kyok_status check_release(struct cli *cli, struct audit *audit)
{
    const struct kyok_config *config;
    KYOK_TRY(cli_config(cli, &config));
    for (size_t i = 0; i < config->kmip_count; i++)
        if (config->kmips[i].release)
            find(audit, "release", config->kmips[i].name,
                 "keys of this group leave their custodian",
                 "a server with Encrypt and Decrypt, or an HSM, where that matters");
    return KYOK_OK;
}

static enum kyok_status print_findings(struct cli *cli, json_t *findings)
{
    size_t count = json_array_size(findings);
    for (size_t i = 0; i < count && !cli->json; i++) {
        const json_t *finding = json_array_get(findings, i);
        printf("%s: %s\n    %s\n    %s\n", json_string_value(json_object_get(finding, "check")),
               json_string_value(json_object_get(finding, "object")),
               json_string_value(json_object_get(finding, "what")),
               json_string_value(json_object_get(finding, "remedy")));
    }
    if (cli->json)
        KYOK_TRY(cli_json(cli, findings));
    else
        json_decref(findings);
    return count == 0 ? KYOK_OK : kyok_fail(&cli->error, KYOK_REFUSED, NULL, "%zu findings", count);
}

static enum kyok_status run_audit(struct cli *cli)
{
    struct audit audit = {.findings = json_array()};
    each_entry(&audit, QEMU_FOLDER, check_master_key);
    each_entry(&audit, STORED_SECRETS, check_stored_secret);
    each_entry(&audit, QEMU_LOGS, check_log);
    each_entry(&audit, QEMU_FOLDER "/save", check_save);
    each_entry(&audit, QEMU_FOLDER "/dump", check_dump);
    each_entry(&audit, QEMU_FOLDER "/snapshot", check_snapshots);
    check_swap(&audit);
    /* What is found is told, whatever else cannot be looked at. */
    if (check_release(cli, &audit) != KYOK_OK)
        find_failure(&audit, "configuration", &cli->error);
    if (check_domains(cli, &audit) != KYOK_OK)
        find_failure(&audit, "libvirt", &cli->error);
    return print_findings(cli, audit.findings);
}

const struct cli_verb cli_vm_audit_verbs[] = {
    {.words = "vm audit",
     .summary = "find what gives encrypted VMs away on this host",
     .description =
         "Looks for master keys of running VMs on disk, stored secrets, passphrases (encrypted) in "
         "logs, save images, dumps, swap, TPM state and UEFI variables in clear, disks without "
         "encryption "
         "or record, autostart without preloading, and keys that leave their custodian. Each "
         "finding "
         "comes with its remedy; exit code 1 if there is one. Nothing is changed.",
     .run = run_audit},
    {0},
};
