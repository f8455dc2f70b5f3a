/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt as the disk and vm verbs need it, through virsh: the command runs on hosts without
 * libvirt, and virsh's own options (LIBVIRT_DEFAULT_URI) hold. */
#ifndef KYOK_CLI_VM_H
#define KYOK_CLI_VM_H

#include "cli/cli.h"
#include "common/disk/disk.h"
#include "libvirt-hook/domain.h"

#define VM_TIMEOUT_MS 20000

/* Runs virsh with these arguments, ended by NULL; the output is NUL-terminated. */
enum kyok_status vm_virsh(struct kyok_buffer *output, struct kyok_error *err, ...)
    __attribute__((sentinel));
enum kyok_status vm_uuid(const char *name, char uuid[KYOK_UUID_TEXT], struct kyok_error *err);
/* Parses dumpxml; running: of the running domain, else what the next start takes. */
enum kyok_status vm_domain(const char *vm, bool running, struct domain *domain,
                           struct kyok_error *err);
/* "running", "shut off", ... */
enum kyok_status vm_state(const char *vm, char *state, size_t size, struct kyok_error *err);

/* Whether libvirt lists the file or device among the VM's disks, encrypted or not. virsh reads the
 * XML here: so also of a VM that kyok refuses to read. running as in vm_domain(). */
enum kyok_status vm_lists_disk(const char *vm, bool running, const char *image, bool *listed,
                               struct kyok_error *err);
/* libvirt answers, and does not know the VM. */
bool vm_is_gone(const char *uuid);
/* KYOK_BUSY when one of libvirt's VMs, running or off, has the file or device; KYOK_OK when libvirt
 * does not answer. */
enum kyok_status vm_refuse_users(const char *image, struct kyok_error *err);
/* A device may have several nodes, a file several names. */
bool vm_same_disk(const char *left, const char *right);

/* One word of output per line; false at the end. *rest starts as the output's text. */
bool vm_next_line(char **rest, char **line);

/* Puts records (uuid to JSON) into kyok's metadata element of the stored domain, and of the running
 * one. json NULL removes. pending: beside the other. */
enum kyok_status vm_metadata_record(const char *vm, const char *uuid, bool vtpm, bool pending,
                                    const char *json, struct kyok_error *err);

/* Whether a disk's record, and beside it a pending one of its size, have room there. */
enum kyok_status vm_metadata_fits(const char *vm, const char *uuid, const char *json,
                                  struct kyok_error *err);

#endif
