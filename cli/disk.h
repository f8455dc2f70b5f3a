/* SPDX-License-Identifier: Apache-2.0 */
/* What the disk and vm verbs share: an image with its record, programs, libvirt through virsh. */
#ifndef KYOK_CLI_DISK_H
#define KYOK_CLI_DISK_H

#include "cli/cli.h"
#include "common/disk/disk.h"

#include <limits.h>

#define DISK_TIMEOUT_MS 30000

/* --- an image and its record ------------------------------------------------------------------ */

struct live_qemu;

struct disk {
    char image[PATH_MAX]; /* absolute */
    struct kyok_volume volume;
    struct kyok_record_copies copies; /* of the files; see vm_metadata for domains */
    char *record;                     /* the file that is written */
    char *pending;                    /* record with ".next" */
    struct live_qemu *live;           /* the running QEMU that has it open; NULL: none */
};

#define DISK_NONE                                                                                  \
    {                                                                                              \
        .volume = {.fd = -1 }                                                                      \
    }

/* Opens the image and reads the copies of its record; there may be none. */
enum kyok_status disk_open(struct cli *cli, const char *image, enum kyok_volume_access access,
                           struct disk *disk);
void disk_close(struct disk *disk);

/* A context of the command's configuration; the caller frees it. */
enum kyok_status disk_context(struct cli *cli, struct kyok_context **context);
/* For verbs that change a record: KYOK_NOT_FOUND without one, as of a disk made with --kmip. */
enum kyok_status disk_need_record(struct cli *cli, const struct disk *disk);
/* Opens the record, whatever VM it is bound to, and proves it on the volume. */
enum kyok_status disk_open_record(struct cli *cli, struct kyok_context *context,
                                  const struct disk *disk, struct kyok_record_opened *opened);
/* Removes the temporary files of runs that were killed while they wrote path. The caller has the
 * disk's lock, so that no other run is at it. */
void disk_sweep(const char *path);
/* Writes json and a newline to path so that it appears whole; sweeps. */
enum kyok_status disk_write_record(struct cli *cli, const char *path, struct kyok_bytes json);
/* Gives the pending record its final name. */
enum kyok_status disk_commit_record(struct cli *cli, const struct disk *disk);
/* The policy that a record is sealed to, out of its recipients. */
enum kyok_status disk_policy_of(struct cli *cli, struct kyok_bytes json,
                                struct kyok_policy **policy);
/* The --key option as a policy. */
enum kyok_status disk_policy_option(struct cli *cli, const char *option,
                                    struct kyok_policy **policy);
/* --vm NAME-OR-UUID and --any-vm, into vm and binding; neither: bound to none. */
enum kyok_status disk_binding_option(struct cli *cli, struct kyok_record_binding *binding,
                                     char vm[KYOK_UUID_TEXT]);
extern const struct cli_option disk_binding_options[2];
/* "20G", "512M", bytes; multiples of 512. */
enum kyok_status disk_size(struct cli *cli, const char *text, uint64_t *size);
/* The libvirt XML of a disk. */
bool disk_xml(const char *image, enum kyok_volume_format format, bool block, const char *secret,
              struct kyok_buffer *xml);
json_t *disk_recipients_json(const struct kyok_envelope *envelope);

/* Renames to a name that must be free. */
enum kyok_status disk_rename_new(struct cli *cli, const char *from, const char *to);
enum kyok_status disk_sync_folder(struct cli *cli, const char *path);

/* --- other programs --------------------------------------------------------------------------- */

bool program_exists(const char *name);
/* Runs argv under a deadline without a shell. Its standard output goes to output (may be NULL), its
 * standard error into the error. fds, ended by -1, stay open in it; NULL: none. */
enum kyok_status program_run(const char *const *argv, const int *fds, unsigned timeout_ms,
                             struct kyok_buffer *output, struct kyok_error *err);
/* The same with a descriptor as its standard input (-1: none). */
enum kyok_status program_feed(const char *const *argv, const int *fds, int input,
                              unsigned timeout_ms, struct kyok_buffer *output,
                              struct kyok_error *err);
/* A pipe that holds the passphrase and ends after it; -1 on failure. */
int program_secret(struct kyok_bytes passphrase);

#endif
