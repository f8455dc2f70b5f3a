/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's user keyring, for QEMU's secret_keyring object (keyrings(7), add_key(2)). */
#include "qemu-secret/qemu_secret.h"

#include <linux/keyctl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The possessor: view, read, write, search, link, setattr; the user: view, read, search, setattr.
 * In a session that is not linked to the user keyring QEMU is no possessor, only the user. */
#define KEY_PERMISSIONS 0x3f2b0000u

enum kyok_status keyring_add(struct disk *disk, unsigned seconds, struct kyok_error *err)
{
    char description[128];
    struct kyok_bytes secret = kyok_secret_bytes(disk->passphrase);
    snprintf(description, sizeof(description), "kyok:%.60s:%ld", disk->id, (long)getpid());
    long serial =
        syscall(SYS_add_key, "user", description, secret.data, secret.size, KEY_SPEC_USER_KEYRING);
    if (serial < 0)
        return kyok_fail_errno(err, disk->id, "the kernel keyring takes no key");
    disk->serial = (int32_t)serial;
    if (syscall(SYS_keyctl, KEYCTL_SET_TIMEOUT, serial, seconds) == 0 &&
        syscall(SYS_keyctl, KEYCTL_SETPERM, serial, KEY_PERMISSIONS) == 0)
        return KYOK_OK;
    kyok_fail_errno(err, disk->id, "the kernel key cannot be limited");
    syscall(SYS_keyctl, KEYCTL_REVOKE, serial);
    return err->status;
}
