/* SPDX-License-Identifier: Apache-2.0 */
/* Which of libvirt's VMs has a file or device, by libvirt's own reading. */
#include "cli/disk.h"
#include "cli/vm.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

bool vm_same_disk(const char *left, const char *right)
{
    struct stat a, b;
    if (stat(left, &a) != 0 || stat(right, &b) != 0)
        return false;
    return S_ISBLK(a.st_mode) ? S_ISBLK(b.st_mode) && a.st_rdev == b.st_rdev
                              : a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* "file   disk   vda   /images/a b.img": what is after the third word is the source. */
static const char *source_of(const char *line)
{
    int at = 0;
    return sscanf(line, "%*s %*s %*s %n", &at) == 0 && at > 0 ? line + at : "";
}

enum kyok_status vm_lists_disk(const char *vm, bool running, const char *image, bool *listed,
                               struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer list = {0};
    KYOK_TRY(vm_virsh(&list, err, "domblklist", "--details", "--domain", vm,
                      running ? NULL : "--inactive", NULL));
    char *rest = (char *)list.data, *line;
    for (*listed = false; !*listed && vm_next_line(&rest, &line);)
        *listed = vm_same_disk(source_of(line), image);
    return KYOK_OK;
}

bool vm_is_gone(const char *uuid)
{
    struct kyok_error none;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer list = {0};
    return vm_virsh(&list, &none, "list", "--all", "--uuid", NULL) == KYOK_OK &&
           !strstr((const char *)list.data, uuid);
}

static enum kyok_status refuse_user(const char *uuid, const char *image, struct kyok_error *err)
{
    struct kyok_error none;
    bool runs_on = false, starts_on = false;
    /* One that ended meanwhile, and was of this run alone, has nothing any more. */
    if ((vm_lists_disk(uuid, true, image, &runs_on, &none) != KYOK_OK ||
         vm_lists_disk(uuid, false, image, &starts_on, &none) != KYOK_OK) &&
        !vm_is_gone(uuid)) {
        *err = none;
        return err->status;
    }
    if (!runs_on && !starts_on)
        return KYOK_OK;
    kyok_fail(err, KYOK_BUSY, image, "VM %s has it as a disk", uuid);
    return kyok_remedy(err, "detach it first (virsh detach-disk), or take another");
}

enum kyok_status vm_refuse_users(const char *image, struct kyok_error *err)
{
    struct kyok_error none;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer list = {0};
    if (!program_exists("virsh") ||
        vm_virsh(&list, &none, "list", "--all", "--uuid", NULL) != KYOK_OK)
        return KYOK_OK;
    char *rest = (char *)list.data, *uuid;
    while (vm_next_line(&rest, &uuid))
        KYOK_TRY(refuse_user(uuid, image, err));
    return KYOK_OK;
}
