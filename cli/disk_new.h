/* SPDX-License-Identifier: Apache-2.0 */
/* A new encrypted disk, a file or a block device, with its record. */
#ifndef KYOK_CLI_DISK_NEW_H
#define KYOK_CLI_DISK_NEW_H

#include "cli/disk.h"

/* What is being made. A file is written under a temporary name beside its own. */
struct disk_new {
    char image[PATH_MAX], temporary[PATH_MAX + 24];
    enum kyok_volume_format format;
    bool block;
    uint64_t size; /* for the guest; of no meaning for a block device */
    int fd;
    struct kyok_luks luks;
    struct disk disk; /* record and pending only */
};

#define DISK_NEW(of_format)                                                                        \
    {                                                                                              \
        .fd = -1, .disk = DISK_NONE, .format = (of_format)                                         \
    }

/* The absolute path of an image that need not exist; its folder must. */
enum kyok_status disk_new_path(struct cli *cli, const char *given, char path[PATH_MAX]);
/* Takes the name: a file that must not exist, or a block device that is empty or --force. Chooses
 * the LUKS UUID and so the record's place. */
enum kyok_status disk_new_open(struct cli *cli, const char *given, uint64_t size,
                               struct disk_new *made);
/* Writes the volume under its name. json: its record, NULL where a KMIP server keeps the
 * passphrase. Whoever is killed in between leaves a pending record that opens the image, or no
 * image. */
enum kyok_status disk_new_write(struct cli *cli, struct disk_new *made,
                                struct kyok_bytes passphrase, const struct kyok_buffer *json);
/* For KYOK_CLEANUP. */
void disk_new_end(struct disk_new *made);

#endif
