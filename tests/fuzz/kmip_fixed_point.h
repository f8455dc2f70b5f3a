/* SPDX-License-Identifier: Apache-2.0 */
/* For the fuzz targets of KMIP's messages: what a reader accepts and this version can write is,
 * once written, a fixed point: read and written again it is the same bytes. */
#ifndef KYOK_TESTS_KMIP_FIXED_POINT_H
#define KYOK_TESTS_KMIP_FIXED_POINT_H

#include "common/kmip/message.h"
#include "tests/fuzz/need.h"

/* Reads a message and appends it to out; the arena is there, and freed. */
typedef enum kyok_status kmip_rewrite(struct kyok_bytes message, struct kyok_kmip_arena *arena,
                                      struct kyok_buffer *out, struct kyok_error *err);

/* False when it cannot be read, or not be written. */
static bool again(kmip_rewrite *rewrite, struct kyok_bytes message, struct kyok_buffer *out)
{
    KYOK_CLEANUP(kyok_kmip_arena_free) struct kyok_kmip_arena arena;
    struct kyok_error err = {.status = KYOK_OK};

    kyok_kmip_arena_init(&arena, 0);
    enum kyok_status status = rewrite(message, &arena, out, &err);
    need(status == KYOK_OK || (err.status == status && err.what[0] != '\0'));
    return status == KYOK_OK;
}

static void need_fixed_point(kmip_rewrite *rewrite, struct kyok_bytes message)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer once = {0}, twice = {0};

    if (!again(rewrite, message, &once))
        return;
    need(again(rewrite, kyok_buffer_bytes(&once), &twice));
    need(kyok_bytes_equal(kyok_buffer_bytes(&once), kyok_buffer_bytes(&twice)));
}

#endif
