/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of responses on any bytes, and their writer. */
#include "tests/fuzz/kmip_fixed_point.h"

static enum kyok_status rewrite(struct kyok_bytes message, struct kyok_kmip_arena *arena,
                                struct kyok_buffer *out, struct kyok_error *err)
{
    struct kyok_kmip_response response;

    KYOK_TRY(kyok_kmip_response_read(message, arena, &response, err));
    return kyok_kmip_response_append(&response, out, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    need_fixed_point(rewrite, kyok_bytes(data, size));
    return 0;
}
