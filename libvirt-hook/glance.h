/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The look at a domain's bytes that keeps libxml2 from being loaded for domains that are none of
 * kyok's. It may take a plain domain for one that matters, never the other way round: it says so
 * only of text in which no parser can see an element "encryption" or a VM that is asked for.
 */
#ifndef KYOK_HOOK_GLANCE_H
#define KYOK_HOOK_GLANCE_H

#include <stdbool.h>
#include <stddef.h>

/* Can a parser of this text see an encrypted disk or TPM? Also true of text that is odd. */
bool glance_may_encrypt(const char *xml, size_t size);
/* Is the domain's UUID the name of a file in the folder, or the end of one (SECRET-UUID.VM-UUID)?
 * Also true where that cannot be told. */
bool glance_may_be_in(const char *folder, const char *xml, size_t size);

#endif
