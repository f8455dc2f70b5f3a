/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/disk.h"
#include "cli/vm.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VIRSH_MAX_ARGUMENTS 24

enum kyok_status vm_virsh(struct kyok_buffer *output, struct kyok_error *err, ...)
{
    const char *argv[VIRSH_MAX_ARGUMENTS + 1] = {"virsh", "-q"};
    size_t count = 2;
    va_list arguments;
    if (!getenv("LIBVIRT_DEFAULT_URI")) {
        argv[count++] = "-c";
        argv[count++] = "qemu:///system";
    }
    va_start(arguments, err);
    while (count < VIRSH_MAX_ARGUMENTS && (argv[count] = va_arg(arguments, const char *)))
        count++;
    va_end(arguments);
    struct kyok_buffer ignored = {0};
    struct kyok_buffer *target = output ? output : &ignored;
    enum kyok_status status = program_run(argv, NULL, VM_TIMEOUT_MS, target, err);
    if (status == KYOK_OK && !kyok_buffer_append(target, "", 1))
        status = kyok_fail(err, KYOK_SYSTEM, "virsh", "no memory for its output");
    kyok_buffer_free(&ignored);
    return status;
}

bool vm_next_line(char **rest, char **line)
{
    while (*rest && **rest) {
        *line = strsep(rest, "\n");
        while (**line == ' ')
            (*line)++;
        size_t size = strlen(*line);
        while (size && (*line)[size - 1] == ' ')
            (*line)[--size] = 0;
        if (**line)
            return true;
    }
    return false;
}

enum kyok_status vm_uuid(const char *name, char uuid[KYOK_UUID_TEXT], struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer output = {0};
    KYOK_TRY(vm_virsh(&output, err, "domuuid", "--domain", name, NULL));
    char *rest = (char *)output.data, *line = NULL;
    if (vm_next_line(&rest, &line) && kyok_uuid_canonical(line, uuid))
        return KYOK_OK;
    return kyok_fail(err, KYOK_NOT_FOUND, name, "libvirt gives no UUID for the VM");
}

enum kyok_status vm_state(const char *vm, char *state, size_t size, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer output = {0};
    KYOK_TRY(vm_virsh(&output, err, "domstate", "--domain", vm, NULL));
    char *rest = (char *)output.data, *line = NULL;
    snprintf(state, size, "%s", vm_next_line(&rest, &line) ? line : "unknown");
    return KYOK_OK;
}

enum kyok_status vm_domain(const char *vm, bool running, struct domain *domain,
                           struct kyok_error *err)
{
    char why[256];
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer output = {0};
    if (running)
        KYOK_TRY(vm_virsh(&output, err, "dumpxml", "--domain", vm, NULL));
    else
        KYOK_TRY(vm_virsh(&output, err, "dumpxml", "--inactive", "--domain", vm, NULL));
    if (domain_parse((const char *)output.data, output.size - 1, domain, why, sizeof(why)))
        return KYOK_OK;
    return kyok_fail(err, KYOK_INVALID, vm, "%s", why);
}

/* --- metadata --------------------------------------------------------------------------------- */

static bool append_record(struct kyok_buffer *xml, const char *uuid, bool vtpm, bool pending,
                          const char *json)
{
    bool good = kyok_buffer_printf(xml, "<record %s='%s'%s>", vtpm ? "vtpm" : "disk", uuid,
                                   pending ? " pending='yes'" : "");
    for (; *json && good; json++)
        good = strchr("<>&", *json) ? kyok_buffer_printf(xml, "&#%d;", *json)
                                    : kyok_buffer_append(xml, json, 1);
    return good && kyok_buffer_append_text(xml, "</record>");
}

static bool is_record(const struct domain_record *record, const char *uuid, bool pending)
{
    return strcasecmp(record->uuid, uuid) == 0 && record->pending == pending;
}

static enum kyok_status metadata_xml(const struct domain *domain, const char *uuid, bool vtpm,
                                     bool pending, const char *json, struct kyok_buffer *xml,
                                     struct kyok_error *err)
{
    bool good = domain->priority ? kyok_buffer_printf(xml, "<vm priority='%ld'>", domain->priority)
                                 : kyok_buffer_append_text(xml, "<vm>");
    for (size_t i = 0; i < domain->record_count && good; i++) {
        const struct domain_record *record = &domain->records[i];
        char canonical[KYOK_UUID_TEXT];
        if (!is_record(record, uuid, pending) && kyok_uuid_canonical(record->uuid, canonical))
            good = append_record(xml, canonical, record->vtpm, record->pending, record->json);
    }
    good = good && (!json || append_record(xml, uuid, vtpm, pending, json)) &&
           kyok_buffer_append_text(xml, "</vm>") && kyok_buffer_append(xml, "", 1);
    return good ? KYOK_OK : kyok_fail(err, KYOK_SYSTEM, NULL, "no memory for metadata");
}

/* virsh takes the element as one argument, of which Linux takes 32 pages. */
static enum kyok_status check_size(const char *vm, size_t size, struct kyok_error *err)
{
    size_t most = 32 * (size_t)sysconf(_SC_PAGESIZE);
    if (size <= most)
        return KYOK_OK;
    kyok_fail(err, KYOK_UNSUPPORTED, vm,
              "its metadata would hold %zu bytes of records, and virsh takes %zu", size, most);
    return kyok_remedy(err,
                       "keep records in files alone: virsh metadata %s " DOMAIN_NAMESPACE
                       " --config --remove, then kyok disk bind --metadata for the disks "
                       "that need it; or --files-only",
                       vm);
}

enum kyok_status vm_metadata_fits(const char *vm, const char *uuid, const char *json,
                                  struct kyok_error *err)
{
    struct domain domain;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer xml = {0};
    KYOK_TRY(vm_domain(vm, false, &domain, err));
    enum kyok_status status = metadata_xml(&domain, uuid, false, false, json, &xml, err);
    domain_free(&domain);
    KYOK_TRY(status);
    if (!append_record(&xml, uuid, false, true, json))
        return kyok_fail(err, KYOK_SYSTEM, NULL, "no memory for metadata");
    return check_size(vm, xml.size, err);
}

#define METADATA_LOCK "/run/kyok/metadata.lock"
#define METADATA_WAIT_MS 60000

static void metadata_unlock(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* The element holds the records of all of a VM's disks: it is read, changed and written by one run
 * at a time. Who is not root, and talks to a libvirt of his own, has no /run/kyok: -1. */
static int metadata_lock(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct kyok_deadline deadline = kyok_deadline_in_ms(METADATA_WAIT_MS);
    (void)mkdir("/run/kyok", 0700);
    int fd = open(METADATA_LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    while (fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) != 0 && kyok_deadline_left_ms(deadline) > 0)
        poll(NULL, 0, 20);
    return fd;
}

static enum kyok_status write_metadata(const char *vm, const char *uuid, bool vtpm, bool pending,
                                       const char *json, struct kyok_error *err)
{
    struct domain domain;
    char state[64];
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer xml = {0};
    KYOK_TRY(vm_domain(vm, false, &domain, err));
    enum kyok_status status = metadata_xml(&domain, uuid, vtpm, pending, json, &xml, err);
    domain_free(&domain);
    KYOK_TRY(status);
    KYOK_TRY(check_size(vm, xml.size, err));
    KYOK_TRY(vm_state(vm, state, sizeof(state), err));
    bool live = strcmp(state, "shut off") != 0;
    return vm_virsh(NULL, err, "metadata", "--domain", vm, "--uri", DOMAIN_NAMESPACE, "--key",
                    "kyok", "--set", (const char *)xml.data, "--config", live ? "--live" : NULL,
                    NULL);
}

enum kyok_status vm_metadata_record(const char *vm, const char *uuid, bool vtpm, bool pending,
                                    const char *json, struct kyok_error *err)
{
    KYOK_CLEANUP(metadata_unlock) int lock = metadata_lock();
    (void)lock;
    return write_metadata(vm, uuid, vtpm, pending, json, err);
}
