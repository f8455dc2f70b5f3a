/* SPDX-License-Identifier: Apache-2.0 */
/* The TTLV reader, rule by rule. Byte examples: 1.4 specification, section 9.1.2. */
#include "common/kmip/tags.h"
#include "common/kmip/ttlv.h"
#include "tests/support/literals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define TAG 0x42, 0x00, 0x20

static enum kyok_ttlv_result first(struct kyok_bytes bytes, struct kyok_ttlv_item *item)
{
    struct kyok_ttlv_reader reader = kyok_ttlv_reader(bytes);
    enum kyok_ttlv_result result = kyok_ttlv_next(&reader, item);
    if (result != KYOK_TTLV_ITEM)
        assert_ptr_equal(reader.cursor.at, bytes.data); /* a failure moves nothing */
    return result;
}

/* --- the specification's examples, read and written --- */

struct example {
    struct kyok_bytes bytes;
    enum kyok_ttlv_type type;
    int64_t number;
    const char *text;
};

static const struct example examples[] = {
    {{(const uint8_t[]){TAG, 2, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0, 0}, 16},
     KYOK_TTLV_INTEGER,
     8,
     NULL},
    {{(const uint8_t[]){TAG, 3, 0, 0, 0, 8, 0x01, 0xB6, 0x9B, 0x4B, 0xA5, 0x74, 0x92, 0x00}, 16},
     KYOK_TTLV_LONG_INTEGER,
     123456789000000000,
     NULL},
    {{(const uint8_t[]){TAG, 5, 0, 0, 0, 4, 0, 0, 0, 0xFF, 0, 0, 0, 0}, 16},
     KYOK_TTLV_ENUMERATION,
     255,
     NULL},
    {{(const uint8_t[]){TAG, 6, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1}, 16},
     KYOK_TTLV_BOOLEAN,
     1,
     NULL},
    {{(const uint8_t[]){TAG, 7,   0,   0,   0,   11,  'H', 'e', 'l', 'l', 'o',
                        ' ', 'W', 'o', 'r', 'l', 'd', 0,   0,   0,   0,   0},
      24},
     KYOK_TTLV_TEXT_STRING,
     0,
     "Hello World"},
    {{(const uint8_t[]){TAG, 8, 0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 0}, 16},
     KYOK_TTLV_BYTE_STRING,
     0,
     "\1\2\3"},
    {{(const uint8_t[]){TAG, 9, 0, 0, 0, 8, 0, 0, 0, 0, 0x47, 0xDA, 0x67, 0xF8}, 16},
     KYOK_TTLV_DATE_TIME,
     1205495800,
     NULL},
    {{(const uint8_t[]){TAG, 10, 0, 0, 0, 4, 0, 0x0D, 0x2F, 0x00, 0, 0, 0, 0}, 16},
     KYOK_TTLV_INTERVAL,
     864000,
     NULL},
    {{(const uint8_t[]){TAG, 11, 0, 0, 0, 8, 0, 5, 0x5D, 0x7B, 0x6C, 0xC0, 0x21, 0x80}, 16},
     KYOK_TTLV_DATE_TIME_EXTENDED,
     0x00055D7B6CC02180,
     NULL},
    {{(const uint8_t[]){TAG,  4,    0,    0,    0,    16,   0,    0,    0,    0, 3,
                        0xFD, 0x35, 0xEB, 0x6B, 0xC2, 0xDF, 0x46, 0x18, 0x08, 0, 0},
      24},
     KYOK_TTLV_BIG_INTEGER,
     0,
     "\x00\x00\x00\x00\x03\xFD\x35\xEB\x6B\xC2\xDF\x46\x18\x08\x00\x00"},
};
#define EXAMPLE_COUNT (sizeof(examples) / sizeof(examples[0]))

static int64_t number_of(const struct kyok_ttlv_item *item)
{
    switch (item->type) {
    case KYOK_TTLV_INTEGER:
        return kyok_ttlv_integer(item);
    case KYOK_TTLV_ENUMERATION:
    case KYOK_TTLV_INTERVAL:
        return kyok_ttlv_enumeration(item);
    case KYOK_TTLV_BOOLEAN:
        return kyok_ttlv_boolean(item);
    default:
        return kyok_ttlv_long_integer(item);
    }
}

static void write_example(struct kyok_ttlv_writer *writer, const struct example *example)
{
    uint32_t tag = 0x420020;
    struct kyok_bytes text = example->text == NULL ? kyok_bytes(NULL, 0)
                             : example->type == KYOK_TTLV_BIG_INTEGER
                                 ? kyok_bytes((const uint8_t *)example->text + 4,
                                              12) /* sign extension is the writer's */
                                 : kyok_bytes_of_text(example->text);

    switch (example->type) {
    case KYOK_TTLV_INTEGER:
        kyok_ttlv_write_integer(writer, tag, (int32_t)example->number);
        return;
    case KYOK_TTLV_LONG_INTEGER:
        kyok_ttlv_write_long_integer(writer, tag, example->number);
        return;
    case KYOK_TTLV_BIG_INTEGER:
        kyok_ttlv_write_big_integer(writer, tag, text);
        return;
    case KYOK_TTLV_ENUMERATION:
        kyok_ttlv_write_enumeration(writer, tag, (uint32_t)example->number);
        return;
    case KYOK_TTLV_BOOLEAN:
        kyok_ttlv_write_boolean(writer, tag, example->number == 1);
        return;
    case KYOK_TTLV_TEXT_STRING:
        kyok_ttlv_write_text(writer, tag, text);
        return;
    case KYOK_TTLV_BYTE_STRING:
        kyok_ttlv_write_bytes(writer, tag, text);
        return;
    case KYOK_TTLV_DATE_TIME:
        kyok_ttlv_write_date_time(writer, tag, example->number);
        return;
    case KYOK_TTLV_INTERVAL:
        kyok_ttlv_write_interval(writer, tag, (uint32_t)example->number);
        return;
    default:
        kyok_ttlv_write_date_time_extended(writer, tag, example->number);
        return;
    }
}

static void reads_and_writes_the_examples(void **state)
{
    (void)state;
    for (size_t i = 0; i < EXAMPLE_COUNT; i++) {
        const struct example *example = &examples[i];
        struct kyok_ttlv_item item;
        uint8_t room[64];
        struct kyok_ttlv_writer writer = kyok_ttlv_writer(room, sizeof(room));

        assert_int_equal(first(example->bytes, &item), KYOK_TTLV_ITEM);
        assert_int_equal(item.tag, 0x420020);
        assert_int_equal(item.type, example->type);
        if (example->text == NULL)
            assert_true(number_of(&item) == example->number);
        else
            assert_memory_equal(item.value.data, example->text, item.value.size);
        write_example(&writer, example);
        assert_true(kyok_ttlv_written(&writer));
        assert_int_equal(writer.size, example->bytes.size);
        assert_memory_equal(room, example->bytes.data, writer.size);
        writer = kyok_ttlv_writer(room, sizeof(room));
        kyok_ttlv_write_item(&writer, &item);
        assert_memory_equal(room, example->bytes.data, example->bytes.size);
    }
}

static void truncation_at_every_byte_is_seen(void **state)
{
    (void)state;
    for (size_t i = 0; i < EXAMPLE_COUNT; i++)
        for (size_t size = 0; size < examples[i].bytes.size; size++) {
            struct kyok_ttlv_item item;
            uint8_t room[64]; /* exactly sized copies, so that sanitizers see a read beyond */
            uint8_t *copy = room + sizeof(room) - size;
            memcpy(copy, examples[i].bytes.data, size);
            assert_int_equal(first(kyok_bytes(copy, size), &item),
                             size == 0 ? KYOK_TTLV_END : KYOK_TTLV_TRUNCATED);
        }
}

/* --- one wrong item per rule --- */

static void refuses_what_breaks_a_rule(void **state)
{
    static const struct {
        enum kyok_ttlv_result result;
        uint8_t bytes[24];
        size_t size;
    } cases[] = {
        {KYOK_TTLV_BAD_TAG, {0x41, 0, 0x20, 2, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0, 0}, 16},
        {KYOK_TTLV_BAD_TAG, {0x00, 0, 0x20, 2, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0, 0}, 16},
        {KYOK_TTLV_BAD_TYPE, {TAG, 0, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0, 0}, 16},
        {KYOK_TTLV_BAD_TYPE, {TAG, 12, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0, 0}, 16},
        {KYOK_TTLV_BAD_TYPE, {TAG, 255, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0, 0}, 16},
        {KYOK_TTLV_BAD_LENGTH, {TAG, 1, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0}, 16},
        {KYOK_TTLV_BAD_LENGTH, {TAG, 2, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0, 0, 0}, 16},
        {KYOK_TTLV_BAD_LENGTH, {TAG, 2, 0, 0, 0, 0}, 8},
        {KYOK_TTLV_BAD_LENGTH, {TAG, 3, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0, 0}, 16},
        {KYOK_TTLV_BAD_LENGTH, {TAG, 4, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0, 0}, 16},
        {KYOK_TTLV_BAD_LENGTH, {TAG, 4, 0, 0, 0, 0}, 8},
        {KYOK_TTLV_BAD_LENGTH, {TAG, 5, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0, 0}, 16},
        {KYOK_TTLV_BAD_LENGTH, {TAG, 6, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0}, 16},
        {KYOK_TTLV_BAD_LENGTH, {TAG, 9, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0}, 16},
        {KYOK_TTLV_BAD_LENGTH, {TAG, 10, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0}, 16},
        {KYOK_TTLV_BAD_LENGTH, {TAG, 11, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0}, 16},
        {KYOK_TTLV_BAD_PADDING, {TAG, 2, 0, 0, 0, 4, 0, 0, 0, 8, 0, 0, 0, 1}, 16},
        {KYOK_TTLV_BAD_PADDING, {TAG, 2, 0, 0, 0, 4, 0, 0, 0, 8, 0x80, 0, 0, 0}, 16},
        {KYOK_TTLV_BAD_PADDING, {TAG, 8, 0, 0, 0, 1, 9, 1, 0, 0, 0, 0, 0, 0}, 16},
        {KYOK_TTLV_BAD_PADDING, {TAG, 8, 0, 0, 0, 7, 9, 0, 0, 0, 0, 0, 0, 0xFF}, 16},
        {KYOK_TTLV_BAD_BOOLEAN, {TAG, 6, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 2}, 16},
        {KYOK_TTLV_BAD_BOOLEAN, {TAG, 6, 0, 0, 0, 8, 1, 0, 0, 0, 0, 0, 0, 1}, 16},
        {KYOK_TTLV_TRUNCATED, {TAG, 8, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0}, 16},
        {KYOK_TTLV_TRUNCATED, {TAG, 7, 0xFF, 0xFF, 0xFF, 0xF9, 0, 0, 0, 0, 0, 0, 0, 0}, 16},
        {KYOK_TTLV_TRUNCATED, {TAG, 1, 0xFF, 0xFF, 0xFF, 0xF8, 0, 0, 0, 0, 0, 0, 0, 0}, 16},
        {KYOK_TTLV_TRUNCATED, {TAG, 1, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 16},
        {KYOK_TTLV_TRUNCATED, {TAG, 4, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 16},
        {KYOK_TTLV_TRUNCATED, {TAG, 8, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0}, 16},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kyok_ttlv_item item;
        assert_int_equal(first(kyok_bytes(cases[i].bytes, cases[i].size), &item), cases[i].result);
    }
}

static enum kyok_ttlv_result read_text(const char *text)
{
    uint8_t room[64];
    struct kyok_ttlv_writer writer = kyok_ttlv_writer(room, sizeof(room));
    struct kyok_ttlv_item item;

    kyok_ttlv_write_text(&writer, 0x420020, kyok_bytes_of_text(text));
    return first(kyok_bytes(room, writer.size), &item);
}

static void text_is_utf8(void **state)
{
    static const char *const good[] = {"",
                                       "a",
                                       "Schl\xC3\xBCssel",
                                       "\xE2\x82\xAC",
                                       "12345678",
                                       "\xF0\x9F\x94\x91",
                                       "\xED\x9F\xBF",
                                       "\xF4\x8F\xBF\xBF",
                                       "12345678\xC2\x80"};
    static const char *const bad[] = {"\x80",
                                      "\xC0\x80",
                                      "\xC1\xBF",
                                      "\xC3",
                                      "\xE0\x80\x80",
                                      "\xE2\x82",
                                      "\xED\xA0\x80",
                                      "\xF0\x80\x80\x80",
                                      "\xF4\x90\x80\x80",
                                      "\xF5\x80\x80\x80",
                                      "\xFF",
                                      "12345678\xFE",
                                      "1234567\xC3",
                                      "\xC3(",
                                      "\xE2(\xA1"};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(read_text(good[i]), KYOK_TTLV_ITEM);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(read_text(bad[i]), KYOK_TTLV_BAD_TEXT);
}

static void extensions_may_have_their_tags(void **state)
{
    struct kyok_ttlv_item item;

    (void)state;
    assert_int_equal(first(BYTES(0x54, 0, 1, 2, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0), &item),
                     KYOK_TTLV_ITEM);
    assert_int_equal(item.tag, KYOK_KMIP_TAG_EXTENSION_FIRST + 1);
}

/* --- nesting --- */

static size_t nest(uint8_t *room, size_t size, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++) { /* inside out: the innermost is empty */
        uint8_t *at = room + 8 * i;
        uint32_t length = 8 * (depth - i - 1);
        memcpy(at,
               (const uint8_t[]){TAG, 1, (uint8_t)(length >> 24), (uint8_t)(length >> 16),
                                 (uint8_t)(length >> 8), (uint8_t)length},
               8);
        assert_true(8 * (i + 1) <= size);
    }
    return (size_t)8 * depth;
}

static void depth_is_limited(void **state)
{
    static uint8_t room[8 * 3000];

    (void)state;
    size_t size = nest(room, sizeof(room), KYOK_TTLV_DEPTH_MAX);
    assert_int_equal(kyok_ttlv_check(kyok_ttlv_reader(kyok_bytes(room, size))), KYOK_TTLV_END);
    size = nest(room, sizeof(room), KYOK_TTLV_DEPTH_MAX + 1);
    assert_int_equal(kyok_ttlv_check(kyok_ttlv_reader(kyok_bytes(room, size))), KYOK_TTLV_TOO_DEEP);
    size = nest(room, sizeof(room), 3000);
    assert_int_equal(kyok_ttlv_check(kyok_ttlv_reader(kyok_bytes(room, size))), KYOK_TTLV_TOO_DEEP);
}

/* A length that the message has room for, but its structure has not. */
static void an_item_stays_inside_its_structure(void **state)
{
    uint8_t bytes[40] = {TAG, 1, 0, 0, 0, 16, TAG, 8, 0, 0, 0, 9};
    struct kyok_ttlv_reader reader = kyok_ttlv_reader(kyok_bytes(bytes, sizeof(bytes))), inner;
    struct kyok_ttlv_item item;

    (void)state;
    assert_int_equal(kyok_ttlv_next(&reader, &item), KYOK_TTLV_ITEM);
    assert_true(kyok_ttlv_enter(&reader, &item, &inner));
    assert_int_equal(kyok_ttlv_next(&inner, &item), KYOK_TTLV_TRUNCATED);
    bytes[7] = 24;
    assert_int_equal(kyok_ttlv_check(kyok_ttlv_reader(kyok_bytes(bytes, 32))), KYOK_TTLV_END);
}

static void every_result_has_a_text(void **state)
{
    (void)state;
    for (int i = KYOK_TTLV_ITEM; i <= KYOK_TTLV_TOO_DEEP; i++)
        assert_true(strlen(kyok_ttlv_result_text((enum kyok_ttlv_result)i)) > 5);
}

/* --- Big Integers --- */

static void magnitudes(void **state)
{
    struct kyok_bytes magnitude;

    (void)state;
    assert_true(kyok_ttlv_magnitude(BYTES(0, 0, 0, 0, 0, 0, 0x80, 1), &magnitude));
    assert_int_equal(magnitude.size, 2);
    assert_int_equal(magnitude.data[0], 0x80);
    assert_true(kyok_ttlv_magnitude(BYTES(0, 0, 0, 0, 0, 0, 0, 0), &magnitude));
    assert_int_equal(magnitude.size, 0);
    assert_false(kyok_ttlv_magnitude(BYTES(0xFF, 0, 0, 0, 0, 0, 0, 0), &magnitude));
    assert_int_equal(magnitude.size, 0);
}

/* --- names --- */

static void names_of_types(void **state)
{
    enum kyok_ttlv_type type;

    (void)state;
    for (unsigned i = KYOK_TTLV_STRUCTURE; i <= KYOK_TTLV_DATE_TIME_EXTENDED; i++) {
        assert_true(kyok_ttlv_type_by_name(kyok_ttlv_type_name(i), &type));
        assert_int_equal(type, i);
    }
    assert_null(kyok_ttlv_type_name(0));
    assert_null(kyok_ttlv_type_name(12));
    assert_false(kyok_ttlv_type_by_name("Nothing", &type));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_writes_the_examples),
        cmocka_unit_test(truncation_at_every_byte_is_seen),
        cmocka_unit_test(refuses_what_breaks_a_rule),
        cmocka_unit_test(text_is_utf8),
        cmocka_unit_test(extensions_may_have_their_tags),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(an_item_stays_inside_its_structure),
        cmocka_unit_test(every_result_has_a_text),
        cmocka_unit_test(magnitudes),
        cmocka_unit_test(names_of_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
