/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of requests on any bytes, and their writer. */
#include "tests/fuzz/kmip_fixed_point.h"

static enum kyok_status rewrite(struct kyok_bytes message, struct kyok_kmip_arena *arena,
                                struct kyok_buffer *out, struct kyok_error *err)
{
    struct kyok_kmip_request request;

    KYOK_TRY(kyok_kmip_request_read(message, arena, &request, err));
    return kyok_kmip_request_append(&request, out, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    need_fixed_point(rewrite, kyok_bytes(data, size));
    return 0;
}
