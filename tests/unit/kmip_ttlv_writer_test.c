/* SPDX-License-Identifier: Apache-2.0 */
/* The TTLV writer: signs, the size that it needs, what it takes for misuse. */
#include "common/kmip/tags.h"
#include "common/kmip/ttlv.h"
#include "tests/support/literals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void big_integers_are_sign_extended(void **state)
{
    uint8_t room[64];
    struct kyok_ttlv_writer writer = kyok_ttlv_writer(room, sizeof(room));

    (void)state;
    kyok_ttlv_write_big_integer(&writer, 0x420020, BYTES(0x80));
    kyok_ttlv_write_big_integer(&writer, 0x420020, BYTES(0x00, 0x80));
    kyok_ttlv_write_big_integer(&writer, 0x420020, kyok_bytes(NULL, 0));
    assert_int_equal(writer.size, 48);
    assert_memory_equal(room + 8, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x80", 8);
    assert_memory_equal(room + 24, "\0\0\0\0\0\0\0\x80", 8);
    assert_memory_equal(room + 40, "\0\0\0\0\0\0\0\0", 8);
}

static void write_sample(struct kyok_ttlv_writer *writer)
{
    kyok_ttlv_begin(writer, KYOK_KMIP_TAG_REQUEST_PAYLOAD);
    kyok_ttlv_write_text(writer, KYOK_KMIP_TAG_UNIQUE_IDENTIFIER, kyok_bytes_of_text("abc"));
    kyok_ttlv_begin(writer, KYOK_KMIP_TAG_ATTRIBUTE);
    kyok_ttlv_write_joined_text(writer, KYOK_KMIP_TAG_ATTRIBUTE_NAME, kyok_bytes_of_text("x"), '-',
                                kyok_bytes_of_text("Product"));
    kyok_ttlv_end(writer);
    kyok_ttlv_write_structure(writer, KYOK_KMIP_TAG_SERVER_INFORMATION, kyok_bytes(NULL, 0));
    kyok_ttlv_end(writer);
}

static void tells_the_size_that_it_needs(void **state)
{
    uint8_t whole[128], part[128];
    struct kyok_ttlv_writer counted = kyok_ttlv_writer(NULL, 0);
    struct kyok_ttlv_writer writer = kyok_ttlv_writer(whole, sizeof(whole));

    (void)state;
    write_sample(&counted);
    write_sample(&writer);
    assert_false(kyok_ttlv_written(&counted));
    assert_true(kyok_ttlv_written(&writer));
    assert_int_equal(counted.size, writer.size);
    for (size_t room = 0; room <= writer.size; room++) {
        struct kyok_ttlv_writer small = kyok_ttlv_writer(part, room);
        memset(part, 0xAA, sizeof(part));
        write_sample(&small);
        assert_int_equal(small.size, writer.size);
        assert_int_equal(kyok_ttlv_written(&small), room == writer.size);
        for (size_t i = room; i < sizeof(part); i++)
            assert_int_equal(part[i], 0xAA);
    }
    assert_memory_equal(part, whole, writer.size);
    assert_int_equal(kyok_ttlv_check(kyok_ttlv_reader(kyok_bytes(whole, writer.size))),
                     KYOK_TTLV_END);
}

static void misuse_of_the_writer_is_seen(void **state)
{
    uint8_t room[512];
    struct kyok_ttlv_writer writer = kyok_ttlv_writer(room, sizeof(room));

    (void)state;
    kyok_ttlv_begin(&writer, 0x420020);
    assert_false(kyok_ttlv_written(&writer)); /* still open */
    kyok_ttlv_end(&writer);
    assert_true(kyok_ttlv_written(&writer));
    kyok_ttlv_end(&writer);
    assert_true(writer.broken);
    writer = kyok_ttlv_writer(room, sizeof(room));
    for (int i = 0; i <= KYOK_TTLV_DEPTH_MAX; i++)
        kyok_ttlv_begin(&writer, 0x420020);
    assert_true(writer.broken);
    writer = kyok_ttlv_writer(room, sizeof(room));
    kyok_ttlv_write_structure(&writer, 0x420020, BYTES(1, 2, 3));
    assert_true(writer.broken);
    writer = kyok_ttlv_writer(NULL, 0);
    kyok_ttlv_write_bytes(&writer, 0x420020, kyok_bytes(room, KYOK_TTLV_SIZE_MAX + 1));
    assert_true(writer.broken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(big_integers_are_sign_extended),
        cmocka_unit_test(tells_the_size_that_it_needs),
        cmocka_unit_test(misuse_of_the_writer_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
