/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/disk.h"
#include "cli/live_qemu.h"
#include "cli/vm.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct cli_option disk_binding_options[2] = {
    {.name = "--vm", .argument = "VM", .summary = "bind the record to this VM (name or UUID)"},
    {.name = "--any-vm", .summary = "let any VM on a host that may open the record use the disk"},
};

/* --- an image and its record ------------------------------------------------------------------ */

static enum kyok_status choose_record(struct cli *cli, struct disk *disk)
{
    KYOK_AUTO_FREE char *store = kyok_record_store_path(disk->volume.luks.uuid);
    char *sidecar = disk->volume.block_device ? NULL : kyok_record_sidecar_path(disk->image);
    bool use_store = !sidecar || (access(sidecar, F_OK) != 0 && store && access(store, F_OK) == 0);
    if (use_store) {
        free(sidecar);
        disk->record = store;
        store = NULL;
    } else {
        disk->record = sidecar;
    }
    if (!disk->record ||
        asprintf(&disk->pending, "%s" KYOK_RECORD_PENDING_SUFFIX, disk->record) < 0)
        return kyok_fail(&cli->error, KYOK_SYSTEM, disk->image, "no memory for a path");
    return KYOK_OK;
}

enum kyok_status disk_open(struct cli *cli, const char *image, enum kyok_volume_access access_mode,
                           struct disk *disk)
{
    if (!realpath(image, disk->image)) {
        kyok_fail_errno(&cli->error, image, "the image cannot be found");
        return cli->error.status = KYOK_NOT_FOUND;
    }
    KYOK_TRY(kyok_volume_open(disk->image, access_mode, &disk->volume, &cli->error));
    KYOK_TRY(choose_record(cli, disk));
    return kyok_record_copies_find(&disk->copies, disk->volume.block_device ? NULL : disk->image,
                                   disk->volume.luks.uuid, &cli->error);
}

void disk_close(struct disk *disk)
{
    kyok_volume_close(&disk->volume);
    kyok_record_copies_free(&disk->copies);
    free(disk->record);
    free(disk->pending);
    disk->record = disk->pending = NULL;
    if (disk->live)
        live_qemu_close(disk->live);
    free(disk->live);
    disk->live = NULL;
}

enum kyok_status disk_context(struct cli *cli, struct kyok_context **context)
{
    struct kyok_config *config = NULL;
    KYOK_TRY(kyok_config_load(cli->config_path, &config, &cli->error));
    return kyok_context_new(config, context, &cli->error);
}

enum kyok_status disk_need_record(struct cli *cli, const struct disk *disk)
{
    if (disk->copies.count > 0)
        return KYOK_OK;
    kyok_fail(&cli->error, KYOK_NOT_FOUND, disk->image, "the disk has no record");
    return kyok_remedy(
        &cli->error, "restore it, or kyok disk adopt. Is its passphrase at a KMIP server (--kmip)? "
                     "New volume key: kyok disk create NEW --kmip GROUP, then qemu-img convert. "
                     "New passphrase: kyok kmip register; vm-disks.md has the steps");
}

enum kyok_status disk_open_record(struct cli *cli, struct kyok_context *context,
                                  const struct disk *disk, struct kyok_record_opened *opened)
{
    const struct kyok_record_binding binding = {.luks_uuid = disk->volume.luks.uuid};
    const char *kmip = cli_option(cli, "--kmip");
    if (kmip)
        return kyok_record_fetch(context, kmip, &disk->volume, &opened->passphrase, &cli->error);
    if (disk->copies.count == 0) {
        kyok_fail(&cli->error, KYOK_NOT_FOUND, disk->image, "the disk has no record");
        return kyok_remedy(&cli->error, "restore %s, or kyok disk adopt %s", disk->record,
                           disk->image);
    }
    return kyok_record_open(context, &disk->copies, &binding, &disk->volume, DISK_TIMEOUT_MS,
                            opened, &cli->error);
}

enum kyok_status disk_sync_folder(struct cli *cli, const char *path)
{
    KYOK_AUTO_FREE char *copy = strdup(path);
    int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    bool good = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return good ? KYOK_OK : kyok_fail_errno(&cli->error, path, "its folder cannot be synced");
}

static enum kyok_status make_store(struct cli *cli)
{
    if ((mkdir("/etc/kyok", 0755) != 0 && errno != EEXIST) ||
        (mkdir(KYOK_RECORD_STORE, 0700) != 0 && errno != EEXIST))
        return kyok_fail_errno(&cli->error, KYOK_RECORD_STORE, "the folder cannot be made");
    return KYOK_OK;
}

/* "NAME.kyok-tmp.XXXXXX": nobody calls his backup that. */
static bool is_leftover(const char *name, const char *of)
{
    size_t size = strlen(of), mark = strlen(KYOK_NEW_FILE_MARK);
    return strncmp(name, of, size) == 0 && strncmp(name + size, KYOK_NEW_FILE_MARK, mark) == 0 &&
           strlen(name + size + mark) == 6;
}

void disk_sweep(const char *path)
{
    KYOK_AUTO_FREE char *first = strdup(path);
    KYOK_AUTO_FREE char *second = strdup(path);
    DIR *folder = first && second ? opendir(dirname(first)) : NULL;
    const char *name = second ? basename(second) : "";
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (is_leftover(entry->d_name, name))
            unlinkat(dirfd(folder), entry->d_name, 0);
    if (folder)
        closedir(folder);
}

enum kyok_status disk_write_record(struct cli *cli, const char *path, struct kyok_bytes json)
{
    if (strncmp(path, KYOK_RECORD_STORE, strlen(KYOK_RECORD_STORE)) == 0)
        KYOK_TRY(make_store(cli));
    disk_sweep(path);
    KYOK_CLEANUP(kyok_new_file_discard) struct kyok_new_file file = {.fd = -1};
    KYOK_TRY(kyok_new_file_create(path, 0600, &file, &cli->error));
    KYOK_TRY(kyok_new_file_write(&file, json, &cli->error));
    KYOK_TRY(kyok_new_file_write(&file, kyok_bytes_of_text("\n"), &cli->error));
    return kyok_new_file_commit(&file, &cli->error);
}

enum kyok_status disk_commit_record(struct cli *cli, const struct disk *disk)
{
    if (rename(disk->pending, disk->record) != 0)
        return kyok_fail_errno(&cli->error, disk->pending, "the record cannot get its final name");
    return disk_sync_folder(cli, disk->record);
}

enum kyok_status disk_rename_new(struct cli *cli, const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return disk_sync_folder(cli, to);
    /* Some file systems know no RENAME_NOREPLACE (NFS): a link fails as well if the name is taken.
     */
    if (errno == EINVAL && link(from, to) == 0 && unlink(from) == 0)
        return disk_sync_folder(cli, to);
    return kyok_fail_errno(&cli->error, to, "the finished image cannot get its name");
}

/* --- policies and recipients ------------------------------------------------------------------ */

/* Inside a policy a reference percent-encodes what separates. */
static bool append_reference(struct kyok_buffer *text, const char *kid)
{
    bool good = true;
    for (; *kid && good; kid++)
        good = strchr(",()", *kid) ? kyok_buffer_printf(text, "%%%02X", (unsigned)*kid)
                                   : kyok_buffer_append(text, kid, 1);
    return good;
}

static bool append_layer(struct kyok_buffer *text, const struct kyok_envelope_layer *layer)
{
    bool good = true;
    if (layer->count > 1)
        good = kyok_buffer_append_text(text, "any-of(");
    for (size_t i = 0; i < layer->count && good; i++)
        good = (i == 0 || kyok_buffer_append_text(text, ",")) && layer->recipients[i].kid &&
               append_reference(text, layer->recipients[i].kid);
    return good && (layer->count < 2 || kyok_buffer_append_text(text, ")"));
}

static bool policy_text(const struct kyok_envelope *envelope, struct kyok_buffer *text)
{
    size_t layers = kyok_envelope_layer_count(envelope);
    bool good = layers < 2 || kyok_buffer_append_text(text, "all-of(");
    for (size_t i = 0; i < layers && good; i++)
        good = (i == 0 || kyok_buffer_append_text(text, ",")) &&
               append_layer(text, kyok_envelope_layer(envelope, i));
    return good && (layers < 2 || kyok_buffer_append_text(text, ")")) &&
           kyok_buffer_append(text, "", 1);
}

enum kyok_status disk_policy_of(struct cli *cli, struct kyok_bytes json,
                                struct kyok_policy **policy)
{
    const struct kyok_config *config;
    struct kyok_envelope *envelope = NULL;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    KYOK_TRY(cli_config(cli, &config));
    KYOK_TRY(kyok_envelope_inspect(json, NULL, &envelope, &cli->error));
    bool good = policy_text(envelope, &text);
    kyok_envelope_free(envelope);
    if (!good)
        return kyok_fail(&cli->error, KYOK_SYSTEM, NULL, "no memory for a policy");
    return kyok_policy_parse((const char *)text.data, KYOK_FROM_DATA, config, policy, &cli->error);
}

enum kyok_status disk_policy_option(struct cli *cli, const char *option,
                                    struct kyok_policy **policy)
{
    const struct kyok_config *config;
    KYOK_TRY(cli_config(cli, &config));
    return kyok_policy_parse(cli_option(cli, option), KYOK_FROM_CONFIGURATION, config, policy,
                             &cli->error);
}

enum kyok_status disk_binding_option(struct cli *cli, struct kyok_record_binding *binding,
                                     char vm[KYOK_UUID_TEXT])
{
    const char *name = cli_option(cli, "--vm");
    binding->vm_uuid = NULL;
    binding->any_vm = cli_option(cli, "--any-vm") != NULL;
    if (!name)
        return KYOK_OK;
    if (binding->any_vm)
        return cli_usage(cli, "--vm and --any-vm exclude each other");
    if (!kyok_uuid_canonical(name, vm))
        KYOK_TRY(vm_uuid(name, vm, &cli->error));
    binding->vm_uuid = vm;
    return KYOK_OK;
}

json_t *disk_recipients_json(const struct kyok_envelope *envelope)
{
    json_t *layers = json_array();
    for (size_t i = 0; i < kyok_envelope_layer_count(envelope); i++) {
        const struct kyok_envelope_layer *layer = kyok_envelope_layer(envelope, i);
        json_t *list = json_array();
        for (size_t j = 0; j < layer->count; j++)
            json_array_append_new(
                list, json_pack("{s:s,s:o}", "algorithm",
                                kyok_envelope_algorithm_name(layer->recipients[j].algorithm), "key",
                                cli_json_text(layer->recipients[j].kid)));
        json_array_append_new(layers, list);
    }
    return layers;
}

/* --- texts ------------------------------------------------------------------------------------ */

enum kyok_status disk_size(struct cli *cli, const char *text, uint64_t *size)
{
    static const char units[] = "KMGTP";
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    if (unit)
        end++;
    if (!isdigit((unsigned char)*text) || errno || *end || number == 0 ||
        number > (UINT64_MAX >> 1) >> shift || (number << shift) % 512)
        return cli_usage(cli, "--size %s: expected bytes in whole sectors, or 512M, 20G, 1T", text);
    *size = (uint64_t)number << shift;
    return KYOK_OK;
}

static bool append_xml(struct kyok_buffer *xml, const char *text)
{
    bool good = true;
    for (; *text && good; text++)
        good = strchr("<>&'\"", *text) ? kyok_buffer_printf(xml, "&#%d;", *text)
                                       : kyok_buffer_append(xml, text, 1);
    return good;
}

/* The engine is libvirt's default and said all the same: without it libvirt 11 copies a running
 * disk to a raw one as if that were not encrypted. */
bool disk_xml(const char *image, enum kyok_volume_format format, bool block, const char *secret,
              struct kyok_buffer *xml)
{
    return kyok_buffer_printf(xml,
                              "<disk type='%s' device='disk'>\n"
                              "  <driver name='qemu' type='%s'/>\n  <source %s='",
                              block ? "block" : "file",
                              format == KYOK_VOLUME_QCOW2 ? "qcow2" : "raw",
                              block ? "dev" : "file") &&
           append_xml(xml, image) &&
           kyok_buffer_printf(xml,
                              "'>\n    <encryption format='luks' engine='qemu'>\n"
                              "      <secret type='passphrase' uuid='%s'/>\n"
                              "    </encryption>\n  </source>\n"
                              "  <target dev='vda' bus='virtio'/>\n</disk>\n",
                              secret) &&
           kyok_buffer_append(xml, "", 1);
}
