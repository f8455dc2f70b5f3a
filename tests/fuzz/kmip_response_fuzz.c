/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of responses on any bytes. What it accepts and this version can write is, once
 * written, a fixed point: read and written again it is the same bytes.
 */
#include "common/kmip/message.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* False when it cannot be read, or not be written. */
static bool again(struct kyok_bytes message, struct kyok_buffer *out, bool *read)
{
    KYOK_CLEANUP(kyok_kmip_arena_free) struct kyok_kmip_arena arena;
    struct kyok_kmip_response response;
    struct kyok_error err = {.status = KYOK_OK};

    kyok_kmip_arena_init(&arena, 0);
    enum kyok_status status = kyok_kmip_response_read(message, &arena, &response, &err);
    *read = status == KYOK_OK;
    if (status != KYOK_OK && (err.status != status || err.what[0] == '\0'))
        abort(); /* a failure that says nothing */
    return *read && kyok_kmip_response_append(&response, out, &err) == KYOK_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer once = {0}, twice = {0};
    bool read;

    if (!again(kyok_bytes(data, size), &once, &read))
        return 0;
    if (!again(kyok_buffer_bytes(&once), &twice, &read) ||
        !kyok_bytes_equal(kyok_buffer_bytes(&once), kyok_buffer_bytes(&twice)))
        abort();
    return 0;
}
