/* SPDX-License-Identifier: Apache-2.0 */
/* Who may have an image's file: owner, mode, ACLs, labels and other extended attributes. */
#ifndef KYOK_CLI_DISK_ATTRIBUTES_H
#define KYOK_CLI_DISK_ATTRIBUTES_H

#include "cli/cli.h"

/* Gives the new file to (path, for messages) what from has; from may be a block device, which has
 * nothing to give. Refuses if one of them cannot be given. */
enum kyok_status disk_copy_attributes(struct cli *cli, int from, int to, const char *path);

#endif
