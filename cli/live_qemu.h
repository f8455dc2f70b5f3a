/* SPDX-License-Identifier: Apache-2.0 */
/* A running QEMU to give QMP commands to: through libvirt (virsh qemu-monitor-command), or through
 * a QMP socket of its own. */
#ifndef KYOK_CLI_LIVE_QEMU_H
#define KYOK_CLI_LIVE_QEMU_H

#include "cli/cli.h"
#include "common/disk/disk.h"
#include "qemu-secret/qmp.h"

struct live_qemu {
    char vm[KYOK_UUID_TEXT]; /* of libvirt's; "": the socket */
    struct qmp qmp;
    char node[64]; /* the block node of the disk at hand */
};

enum kyok_status live_qemu_socket(struct live_qemu *qemu, const char *path, struct kyok_error *err);
void live_qemu_close(struct live_qemu *qemu);
/* Takes arguments. *result is the caller's; it may be NULL. KYOK_REFUSED: QEMU says no, and why. */
enum kyok_status live_qemu_execute(struct live_qemu *qemu, const char *command, json_t *arguments,
                                   json_t **result, struct kyok_error *err);
/* Adds a secret object. Through libvirt it is encrypted with the VM's master key, as libvirt's own
 * secrets are: virsh is a program whose arguments others may read. */
enum kyok_status live_qemu_add_secret(struct live_qemu *qemu, const char *id,
                                      struct kyok_bytes secret, struct kyok_error *err);
void live_qemu_drop_secret(struct live_qemu *qemu, const char *id);
/* Waits for a job to end and removes it. KYOK_REFUSED: it failed. */
enum kyok_status live_qemu_job(struct live_qemu *qemu, const char *id, struct kyok_error *err);

#endif
