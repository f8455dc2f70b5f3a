/* SPDX-License-Identifier: Apache-2.0 */
/* UUIDs in their canonical text form, lower case (RFC 9562). */
#ifndef KYOK_DISK_UUID_H
#define KYOK_DISK_UUID_H

#include "common/base/base.h"

#define KYOK_UUID_TEXT 37 /* with the NUL */

/* True and the lower-case form in text when given is 8-4-4-4-12 hexadecimal digits. */
bool kyok_uuid_canonical(const char *given, char text[KYOK_UUID_TEXT]);
/* Version 4, from the system's random numbers. */
bool kyok_uuid_random(char text[KYOK_UUID_TEXT]);
/* The secret that libvirt knows a volume's passphrase by, the same on all hosts: version 5 of the
 * volume's LUKS UUID in kyok's namespace. */
bool kyok_uuid_of_secret(const char *luks_uuid, char text[KYOK_UUID_TEXT]);

#endif
