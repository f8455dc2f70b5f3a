/* SPDX-License-Identifier: Apache-2.0 */
/* Running the hook as libvirt does, for what runs no hook in libvirt. */
#include "cli/vm_hook.h"
#include "cli/vm.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HOOK_INSTALLED "/etc/libvirt/hooks/qemu.d/kyok"

/* Where libvirt finds it, else in the build tree beside this program. */
static const char *hook_path(char path[PATH_MAX])
{
    ssize_t size = readlink("/proc/self/exe", path, PATH_MAX - 32);
    if (access(HOOK_INSTALLED, X_OK) == 0 || size <= 0)
        return HOOK_INSTALLED;
    path[size] = 0;
    strcpy(strrchr(path, '/') + 1, "libvirt-hook/kyok");
    return path;
}

enum kyok_status vm_hook(const char *vm, const char *operation, const char *xml,
                         struct kyok_error *err)
{
    char path[PATH_MAX];
    size_t size = strlen(xml);
    int input = memfd_create("domain", MFD_CLOEXEC);
    bool good =
        input >= 0 && write(input, xml, size) == (ssize_t)size && lseek(input, 0, SEEK_SET) == 0;
    const char *const argv[] = {hook_path(path), vm, operation, "begin", "-", NULL};
    enum kyok_status status = good ? program_feed(argv, NULL, input, 70000, NULL, err)
                                   : kyok_fail_errno(err, vm, "the hook gets no input");
    if (input >= 0)
        close(input);
    return status;
}

bool vm_disk_xml(const struct disk *disk, const char *target, struct kyok_buffer *xml)
{
    char secret[KYOK_UUID_TEXT];
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer plain = {0};
    if (!kyok_uuid_of_secret(disk->volume.luks.uuid, secret) ||
        !disk_xml(disk->image, disk->volume.format, disk->volume.block_device, secret, &plain))
        return false;
    const char *text = (const char *)plain.data, *at = strstr(text, "<target dev='vda'");
    return at && kyok_buffer_append(xml, text, (size_t)(at - text)) &&
           kyok_buffer_printf(xml, "<target dev='%s'", target) &&
           kyok_buffer_append_text(xml, at + strlen("<target dev='vda'")) &&
           kyok_buffer_append(xml, "", 1);
}

/* A domain of nothing but this disk, for the hook. What kyok vm unlock --hold gave stays; what is
 * plugged is marked as for a start, so that a sweep takes it back if nobody unplugs it. */
enum kyok_status vm_hook_disk(const char *vm, const char *uuid, bool plug, const char *disk,
                              struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer xml = {0};
    if (!kyok_buffer_printf(&xml,
                            "<domain><name>vm</name><uuid>%s</uuid><devices>%s</devices></domain>",
                            uuid, disk) ||
        !kyok_buffer_append(&xml, "", 1))
        return kyok_fail(err, KYOK_SYSTEM, vm, "no memory for XML");
    return vm_hook(vm, plug ? "plug" : "unplug", (const char *)xml.data, err);
}

enum kyok_status vm_temporary(const char *text, char path[64], struct kyok_error *err)
{
    strcpy(path, "/tmp/kyok-disk.XXXXXX");
    int fd = mkostemp(path, O_CLOEXEC);
    size_t size = strlen(text);
    bool good = fd >= 0 && write(fd, text, size) == (ssize_t)size;
    if (fd >= 0)
        close(fd);
    return good ? KYOK_OK : kyok_fail_errno(err, path, "the disk's XML cannot be written");
}
