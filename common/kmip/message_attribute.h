/* SPDX-License-Identifier: Apache-2.0 */
/* The rows behind attributes.h. Private to this folder. */
#ifndef KYOK_KMIP_MESSAGE_ATTRIBUTE_H
#define KYOK_KMIP_MESSAGE_ATTRIBUTE_H

#include "common/kmip/message_shape.h"

struct kyok_kmip_attribute_type {
    uint32_t tag;
    enum kyok_ttlv_type type;
    const char *name;
    uint16_t name_size, since, until;
    const struct kyok_kmip_shape *shape; /* of a structure */
};
extern const struct kyok_kmip_attribute_type kyok_kmip_attribute_types[KYOK_KMIP_ATTRIBUTES];

/* An attribute of 2.x by its tag. */
struct kyok_kmip_attribute_name kyok_kmip_attribute_by_tag(uint32_t tag);

#endif
