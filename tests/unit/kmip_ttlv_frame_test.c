/* SPDX-License-Identifier: Apache-2.0 */
/* Where a message ends, from its first eight bytes. */
#include "common/kmip/tags.h"
#include "common/kmip/ttlv.h"
#include "tests/support/literals.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void frames_a_message(void **state)
{
    static const uint8_t header[] = {0x42, 0x00, 0x7B, 1, 0, 0, 1, 0};
    struct kyok_error err;
    size_t size;

    (void)state;
    for (size_t have = 0; have < 8; have++) {
        assert_int_equal(kyok_ttlv_frame(kyok_bytes(header, have), KYOK_KMIP_TAG_RESPONSE_MESSAGE,
                                         0, &size, &err),
                         KYOK_OK);
        assert_int_equal(size, 8);
    }
    assert_int_equal(
        kyok_ttlv_frame(kyok_bytes(header, 8), KYOK_KMIP_TAG_RESPONSE_MESSAGE, 0, &size, &err),
        KYOK_OK);
    assert_int_equal(size, 264);
}

static enum kyok_status frame(struct kyok_bytes header, size_t max)
{
    struct kyok_error err = {.status = KYOK_OK};
    size_t size;
    enum kyok_status status =
        kyok_ttlv_frame(header, KYOK_KMIP_TAG_RESPONSE_MESSAGE, max, &size, &err);
    assert_int_equal(status, err.status);
    return status;
}

static void refuses_what_is_no_message(void **state)
{
    (void)state;
    assert_int_equal(frame(kyok_bytes("HTTP/1.1", 8), 0), KYOK_FAULT);
    assert_int_equal(frame(BYTES(0x42, 0, 0x78, 1, 0, 0, 1, 0), 0), KYOK_FAULT); /* a request */
    assert_int_equal(frame(BYTES(0x42, 0, 0x7B, 8, 0, 0, 1, 0), 0), KYOK_FAULT);
    assert_int_equal(frame(BYTES(0x42, 0, 0x7B, 1, 0, 0, 1, 4), 0), KYOK_FAULT);
    assert_int_equal(frame(BYTES(0x42, 0, 0x7B, 1, 0xFF, 0xFF, 0xFF, 0xF8), 0), KYOK_BUSY);
    assert_int_equal(frame(BYTES(0x42, 0, 0x7B, 1, 0, 0, 1, 0), 263), KYOK_BUSY);
    assert_int_equal(frame(BYTES(0x42, 0, 0x7B, 1, 0, 0, 1, 0), 264), KYOK_OK);
    assert_int_equal(frame(BYTES(0x42, 0, 0x7B, 1, 0, 0, 0, 0), 4), KYOK_BUSY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_a_message),
        cmocka_unit_test(refuses_what_is_no_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
