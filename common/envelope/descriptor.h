/* SPDX-License-Identifier: Apache-2.0 */
/* Whole reads and writes on any kind of descriptor, blocking or not. */
#ifndef KYOK_ENVELOPE_DESCRIPTOR_H
#define KYOK_ENVELOPE_DESCRIPTOR_H

#include "common/base/base.h"

/* A descriptor, and what was read from it before; consumed first. */
struct kyok_source {
    int fd;
    struct kyok_bytes begun;
    const int *stop; /* a descriptor that ends every wait once it is readable; NULL: none */
};

/* Reads until size bytes or the end; *got tells how many. */
enum kyok_status kyok_source_read(struct kyok_source *source, uint8_t *data, size_t size,
                                  size_t *got, struct kyok_error *err);
enum kyok_status kyok_descriptor_write(int fd, struct kyok_bytes bytes, struct kyok_error *err);

#endif
