/* SPDX-License-Identifier: Apache-2.0 */
/* An encrypted disk for a running QEMU. */
#include "qemu-secret/qemu_secret.h"
#include "qemu-secret/qmp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *block_node(const struct disk *disk)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer secret = {0};
    kyok_buffer_printf(&secret, "kyok-%s", disk->id);
    kyok_buffer_append(&secret, "", 1);
    const char *name = (const char *)secret.data;
    /* QEMU may stand in another folder. */
    KYOK_AUTO_FREE char *path = realpath(disk->image, NULL);
    json_t *file = json_pack("{s:s,s:s}", "driver", disk->block_device ? "host_device" : "file",
                             "filename", path ? path : disk->image);
    if (disk->format == KYOK_VOLUME_RAW)
        return json_pack("{s:s,s:s,s:s,s:o}", "driver", "luks", "node-name", disk->id, "key-secret",
                         name, "file", file);
    return json_pack("{s:s,s:s,s:{s:s,s:s},s:o}", "driver", "qcow2", "node-name", disk->id,
                     "encrypt", "format", "luks", "key-secret", name, "file", file);
}

/* "DRIVER,name=value,...", as on QEMU's command line. */
static json_t *device(const char *text, const char *drive)
{
    json_t *arguments = json_pack("{s:s}", "drive", drive);
    KYOK_AUTO_FREE char *copy = strdup(text);
    char *rest = copy, *part = strsep(&rest, ",");
    json_object_set_new(arguments, "driver", json_string(part));
    while (rest && (part = strsep(&rest, ","))) {
        char *value = strchr(part, '=');
        if (value)
            *value++ = 0;
        json_object_set_new(arguments, part, json_string(value ? value : "on"));
    }
    return arguments;
}

enum kyok_status qmp_add_disk(const struct options *options, struct disk *disk,
                              struct kyok_error *err)
{
    KYOK_CLEANUP(qmp_close)
    struct qmp qmp = {
        .fd = -1, .path = options->qmp, .deadline = kyok_deadline_in_ms(options->timeout_ms)};
    struct kyok_error ignored;
    char secret[64];
    KYOK_TRY(qmp_connect(&qmp, err));
    snprintf(secret, sizeof(secret), "kyok-%s", disk->id);
    KYOK_TRY(qmp_add_secret(&qmp, secret, kyok_secret_bytes(disk->passphrase), err));
    enum kyok_status status = qmp_execute(&qmp, "blockdev-add", block_node(disk), NULL, err);
    /* QEMU has the volume key now, or will not have it. */
    qmp_execute(&qmp, "object-del", json_pack("{s:s+}", "id", "kyok-", disk->id), NULL, &ignored);
    KYOK_TRY(status);
    if (!options->device)
        return KYOK_OK;
    status = qmp_execute(&qmp, "device_add", device(options->device, disk->id), NULL, err);
    if (status != KYOK_OK)
        qmp_execute(&qmp, "blockdev-del", json_pack("{s:s}", "node-name", disk->id), NULL,
                    &ignored);
    return status;
}
