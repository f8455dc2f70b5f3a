/* SPDX-License-Identifier: Apache-2.0 */
/* The order that keeps a disk openable while its passphrase changes; for rekey, adopt, reencrypt.
 */
#ifndef KYOK_CLI_DISK_REKEY_H
#define KYOK_CLI_DISK_REKEY_H

#include "cli/disk_holders.h"

/* Makes generation n+1 and its record; the disk is open for writing and nothing is pending. */
typedef enum kyok_status rekey_work(struct cli *cli, struct kyok_context *context,
                                    struct disk *disk, const struct holders *holders,
                                    uint64_t *generation);

/* Completes a run before that was cut short, or else does the work. */
enum kyok_status rekey_run(struct cli *cli, struct disk *disk, rekey_work *work, const char *done);
enum kyok_status rekey_recover(struct cli *cli, struct kyok_context *context, struct disk *disk,
                               const struct holders *holders, bool *completed);
/* Seals to the keys of disk's opened record, or --key, for the same VM. luks_uuid: the volume that
 * the record is for. */
enum kyok_status rekey_seal(struct cli *cli, struct kyok_context *context, const struct disk *disk,
                            const char *luks_uuid, const struct kyok_record_opened *opened,
                            uint64_t generation, struct kyok_bytes passphrase,
                            struct kyok_buffer *json);
/* Who writes the header: kyok, or the QEMU that has the disk open. old opens the volume. */
enum kyok_status rekey_add_slot(struct cli *cli, struct disk *disk, struct kyok_bytes old,
                                struct kyok_bytes fresh);
enum kyok_status rekey_erase_slot(struct cli *cli, struct disk *disk, unsigned slot);
/* generation 0: it is not told. */
enum kyok_status rekey_report(struct cli *cli, const struct disk *disk, const char *done,
                              uint64_t generation);
/* Reads the image anew and proves the passphrase on it. */
enum kyok_status rekey_prove_fresh(struct cli *cli, const char *image,
                                   struct kyok_bytes passphrase);

#endif
