/* SPDX-License-Identifier: Apache-2.0 */
#include "qemu-secret/qemu_secret.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool write_all(int fd, struct kyok_bytes bytes)
{
    return write(fd, bytes.data, bytes.size) == (ssize_t)bytes.size;
}

/* Filled and closed before exec: it can be read once, and nobody can fill it again. */
static int make_pipe(struct kyok_bytes secret)
{
    int ends[2];
    if (secret.size > 4096 || pipe(ends) != 0)
        return -1;
    bool good = write_all(ends[1], secret);
    close(ends[1]);
    if (good)
        return ends[0];
    close(ends[0]);
    return -1;
}

/* For programs that read twice. Sealed, so that what they read stays what was written. */
static int make_memfd(struct kyok_bytes secret)
{
    int fd = memfd_create("kyok", MFD_ALLOW_SEALING);
    if (fd >= 0 && write_all(fd, secret) && lseek(fd, 0, SEEK_SET) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static enum kyok_status append_place(const struct options *options, struct disk *disk,
                                     struct kyok_buffer *text, struct kyok_error *err)
{
    disk->used = true;
    if (options->way == WAY_KEYRING) {
        kyok_buffer_printf(text, "%d", (int)disk->serial);
        return KYOK_OK;
    }
    struct kyok_bytes secret = kyok_secret_bytes(disk->passphrase);
    int fd = options->way == WAY_MEMFD ? make_memfd(secret) : make_pipe(secret);
    if (fd < 0)
        return kyok_fail_errno(err, disk->id, "no descriptor for the passphrase");
    kyok_buffer_printf(text, "/dev/fd/%d", fd);
    return KYOK_OK;
}

/* The disk whose "@ID@" begins at text; *size is the placeholder's length. */
static struct disk *placeholder(struct options *options, const char *text, size_t *size)
{
    const char *end = *text == '@' ? strchr(text + 1, '@') : NULL;
    if (!end)
        return NULL;
    *size = (size_t)(end - text) + 1;
    for (size_t i = 0; i < options->disk_count; i++) {
        const char *id = options->disks[i].id;
        if (strlen(id) == *size - 2 && strncmp(id, text + 1, *size - 2) == 0)
            return &options->disks[i];
    }
    return NULL;
}

static enum kyok_status substitute(struct options *options, const char *argument, char **result,
                                   struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    while (*argument) {
        size_t size = 0;
        struct disk *disk = placeholder(options, argument, &size);
        if (disk)
            KYOK_TRY(append_place(options, disk, &text, err));
        else
            kyok_buffer_append(&text, argument, size = 1);
        argument += size;
    }
    kyok_buffer_append(&text, "", 1);
    *result = strdup((const char *)text.data);
    return *result ? KYOK_OK : kyok_fail(err, KYOK_SYSTEM, NULL, "no memory for the command");
}

enum kyok_status command_substitute(struct options *options, struct kyok_error *err)
{
    for (char **argument = options->command; *argument; argument++) {
        char *result;
        KYOK_TRY(substitute(options, *argument, &result, err));
        *argument = result;
    }
    for (size_t i = 0; i < options->disk_count; i++) {
        const char *id = options->disks[i].id;
        if (options->disks[i].used)
            continue;
        kyok_fail(err, KYOK_INVALID, id, "no argument of the command names the disk");
        return kyok_remedy(err, "write @%s@ where the program wants the passphrase's file", id);
    }
    return KYOK_OK;
}
