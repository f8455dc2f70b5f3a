/* SPDX-License-Identifier: Apache-2.0 */
/* The dump: names, and nothing secret whatever the object. */
#include "common/kmip/message.h"
#include "tests/support/literals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct dump_case {
    uint8_t room[2048];
    struct kyok_ttlv_writer writer;
    struct kyok_buffer text;
};

static void start(struct dump_case *dump)
{
    dump->writer = kyok_ttlv_writer(dump->room, sizeof(dump->room));
    dump->text = (struct kyok_buffer){0};
}

/* The dump as a string. */
static const char *text_of(struct dump_case *dump, enum kyok_status wanted)
{
    struct kyok_error err;

    assert_true(kyok_ttlv_written(&dump->writer));
    assert_int_equal(kyok_kmip_dump(kyok_bytes(dump->room, dump->writer.size), &dump->text, &err),
                     wanted);
    assert_true(kyok_buffer_append(&dump->text, "", 1));
    return (const char *)dump->text.data;
}

static void expect(struct dump_case *dump, const char *wanted)
{
    assert_string_equal(text_of(dump, KYOK_OK), wanted);
    kyok_buffer_free(&dump->text);
}

static void prints_each_type(void **state)
{
    struct dump_case dump;
    struct kyok_ttlv_writer *writer = &dump.writer;

    (void)state;
    start(&dump);
    kyok_ttlv_begin(writer, KYOK_KMIP_TAG_REQUEST_PAYLOAD);
    kyok_ttlv_write_integer(writer, KYOK_KMIP_TAG_CRYPTOGRAPHIC_LENGTH, -5);
    kyok_ttlv_write_integer(writer, KYOK_KMIP_TAG_CRYPTOGRAPHIC_USAGE_MASK, 0x40000C);
    kyok_ttlv_write_long_integer(writer, KYOK_KMIP_TAG_USAGE_LIMITS_TOTAL, 1 << 20);
    kyok_ttlv_write_big_integer(writer, KYOK_KMIP_TAG_MODULUS, TEXT("\0\x85"));
    kyok_ttlv_write_enumeration(writer, KYOK_KMIP_TAG_OBJECT_TYPE, 2);
    kyok_ttlv_write_enumeration(writer, KYOK_KMIP_TAG_OBJECT_TYPE, 0x80000001);
    kyok_ttlv_write_enumeration(writer, KYOK_KMIP_TAG_ATTRIBUTE_REFERENCE, 0x42008D);
    kyok_ttlv_write_boolean(writer, KYOK_KMIP_TAG_FRESH, true);
    kyok_ttlv_write_text(writer, KYOK_KMIP_TAG_UNIQUE_IDENTIFIER,
                         TEXT("a\x1b[31m\xC2\x9B\xC3\xA9"));
    kyok_ttlv_write_bytes(writer, KYOK_KMIP_TAG_IV_COUNTER_NONCE, TEXT("\1\2"));
    kyok_ttlv_write_date_time(writer, KYOK_KMIP_TAG_TIME_STAMP, 0);
    kyok_ttlv_write_date_time_extended(writer, KYOK_KMIP_TAG_TIME_STAMP, 7);
    kyok_ttlv_write_interval(writer, KYOK_KMIP_TAG_LEASE_TIME, 60);
    kyok_ttlv_end(writer);
    expect(&dump, "RequestPayload\n"
                  "  CryptographicLength Integer -5\n"
                  "  CryptographicUsageMask Integer Encrypt Decrypt FPEEncrypt\n"
                  "  UsageLimitsTotal LongInteger 1048576\n"
                  "  Modulus BigInteger 0000000000000085 (8 bytes)\n"
                  "  ObjectType Enumeration SymmetricKey\n"
                  "  ObjectType Enumeration 0x80000001\n"
                  "  AttributeReference Enumeration State\n"
                  "  Fresh Boolean true\n"
                  "  UniqueIdentifier TextString \"a.[31m.\xC3\xA9\"\n"
                  "  IVCounterNonce ByteString 0102 (2 bytes)\n"
                  "  TimeStamp DateTime 1970-01-01T00:00:00Z (0)\n"
                  "  TimeStamp DateTimeExtended 7\n"
                  "  LeaseTime Interval 60 s\n");
}

static void names_an_attribute_s_value(void **state)
{
    struct dump_case dump;
    struct kyok_ttlv_writer *writer = &dump.writer;

    (void)state;
    start(&dump);
    kyok_ttlv_begin(writer, KYOK_KMIP_TAG_ATTRIBUTE);
    kyok_ttlv_write_text(writer, KYOK_KMIP_TAG_ATTRIBUTE_NAME, TEXT("State"));
    kyok_ttlv_write_integer(writer, KYOK_KMIP_TAG_ATTRIBUTE_INDEX, 0);
    kyok_ttlv_write_enumeration(writer, KYOK_KMIP_TAG_ATTRIBUTE_VALUE, 1);
    kyok_ttlv_end(writer);
    kyok_ttlv_write_enumeration(writer, KYOK_KMIP_TAG_ATTRIBUTE_VALUE, 1); /* of none */
    expect(&dump, "Attribute\n"
                  "  AttributeName TextString \"State\"\n"
                  "  AttributeIndex Integer 0\n"
                  "  AttributeValue Enumeration PreActive\n"
                  "AttributeValue Enumeration 0x00000001\n");
}

/* --- secrets --- */

#define SECRET "SECRETsecretSECR" /* 16 bytes: found as text and as digits */
#define SECRET_HEX "534543524554736563726574"

static void expect_hidden(struct dump_case *dump)
{
    const char *text = text_of(dump, KYOK_OK);

    assert_null(strstr(text, "SECRET"));
    assert_null(strstr(text, SECRET_HEX));
    assert_non_null(strstr(text, "not shown"));
    kyok_buffer_free(&dump->text);
}

static void hides_bytes_by_their_tag(void **state)
{
    static const uint32_t tags[] = {KYOK_KMIP_TAG_KEY_MATERIAL,
                                    KYOK_KMIP_TAG_KEY_VALUE,
                                    KYOK_KMIP_TAG_KEY,
                                    KYOK_KMIP_TAG_PRIVATE_EXPONENT,
                                    KYOK_KMIP_TAG_P,
                                    KYOK_KMIP_TAG_Q,
                                    KYOK_KMIP_TAG_PRIME_EXPONENT_P,
                                    KYOK_KMIP_TAG_PRIME_EXPONENT_Q,
                                    KYOK_KMIP_TAG_CRT_COEFFICIENT,
                                    KYOK_KMIP_TAG_X,
                                    KYOK_KMIP_TAG_D,
                                    KYOK_KMIP_TAG_OPAQUE_DATA_VALUE,
                                    KYOK_KMIP_TAG_PASSWORD,
                                    KYOK_KMIP_TAG_DATA,
                                    KYOK_KMIP_TAG_DERIVATION_DATA,
                                    KYOK_KMIP_TAG_HASHED_PASSWORD,
                                    KYOK_KMIP_TAG_TICKET_VALUE,
                                    KYOK_KMIP_TAG_EXTENSION_FIRST + 5};
    struct dump_case dump;

    (void)state;
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        start(&dump);
        kyok_ttlv_write_bytes(&dump.writer, tags[i], TEXT(SECRET));
        expect_hidden(&dump);
        start(&dump);
        kyok_ttlv_write_big_integer(&dump.writer, tags[i], TEXT(SECRET));
        expect_hidden(&dump);
        start(&dump);
        kyok_ttlv_write_text(&dump.writer, tags[i], TEXT(SECRET));
        expect_hidden(&dump);
    }
}

/* Whatever stands inside Key Material, a credential or an unknown structure. */
static void hides_what_is_inside(void **state)
{
    static const uint32_t tags[] = {KYOK_KMIP_TAG_KEY_MATERIAL, KYOK_KMIP_TAG_CREDENTIAL_VALUE,
                                    KYOK_KMIP_TAG_EXTENSION_FIRST};
    struct dump_case dump;

    (void)state;
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
        start(&dump);
        kyok_ttlv_begin(&dump.writer, tags[i]);
        kyok_ttlv_begin(&dump.writer, KYOK_KMIP_TAG_NAME);
        kyok_ttlv_write_text(&dump.writer, KYOK_KMIP_TAG_NAME_VALUE, TEXT(SECRET));
        kyok_ttlv_write_bytes(&dump.writer, KYOK_KMIP_TAG_MODULUS, TEXT(SECRET));
        kyok_ttlv_write_long_integer(&dump.writer, KYOK_KMIP_TAG_USAGE_LIMITS_TOTAL, 0x5345435245);
        kyok_ttlv_end(&dump.writer);
        kyok_ttlv_end(&dump.writer);
        expect_hidden(&dump);
    }
}

static struct kyok_kmip_object object_of(enum kyok_kmip_object_type type)
{
    struct kyok_kmip_object object = {.type = type};

    object.key.format = KYOK_KMIP_KEY_FORMAT_TYPE_RAW;
    object.key.value.material = TEXT(SECRET);
    object.secret_data_type = KYOK_KMIP_SECRET_DATA_TYPE_PASSWORD;
    object.opaque_data_type = KYOK_KMIP_OPAQUE_DATA_TYPE_NONE;
    object.value = TEXT(SECRET);
    object.pgp_key_version = kyok_kmip_integer(4);
    return object;
}

static void hides_every_object_but_certificates(void **state)
{
    static const enum kyok_kmip_object_type types[] = {
        KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY, KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY,
        KYOK_KMIP_OBJECT_TYPE_PUBLIC_KEY,    KYOK_KMIP_OBJECT_TYPE_SECRET_DATA,
        KYOK_KMIP_OBJECT_TYPE_OPAQUE_OBJECT, KYOK_KMIP_OBJECT_TYPE_SPLIT_KEY,
        KYOK_KMIP_OBJECT_TYPE_PGP_KEY};

    (void)state;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct kyok_kmip_response_item item = {.operation = KYOK_KMIP_OPERATION_GET,
                                               .has_payload = true};
        item.payload.get.object_type = types[i];
        item.payload.get.unique_identifier = TEXT("1");
        item.payload.get.object = object_of(types[i]);
        struct kyok_kmip_response response = {.version = {1, 4}, .items = {&item, 1}};
        struct kyok_error err;
        struct dump_case dump;
        start(&dump);
        assert_int_equal(kyok_kmip_response_write(&response, &dump.writer, &err), KYOK_OK);
        expect_hidden(&dump);
    }
}

/* --- faults --- */

static void says_where_a_fault_is(void **state)
{
    struct dump_case dump;
    struct kyok_error err;
    uint8_t *room = dump.room;

    (void)state;
    start(&dump);
    kyok_ttlv_begin(&dump.writer, KYOK_KMIP_TAG_REQUEST_PAYLOAD);
    kyok_ttlv_write_integer(&dump.writer, KYOK_KMIP_TAG_BATCH_COUNT, 1);
    kyok_ttlv_write_boolean(&dump.writer, KYOK_KMIP_TAG_FRESH, true);
    kyok_ttlv_end(&dump.writer);
    room[39] = 9;
    const char *text = text_of(&dump, KYOK_FAULT);
    assert_string_equal(text, "RequestPayload\n  BatchCount Integer 1\n"
                              "! byte 24: a boolean is neither 0 nor 1\n");
    kyok_buffer_free(&dump.text);
    /* cut off: what is there is shown */
    assert_int_equal(kyok_kmip_dump(kyok_bytes(room, 30), &dump.text, &err), KYOK_FAULT);
    assert_memory_equal(dump.text.data,
                        "RequestPayload\n  BatchCount Integer 1\n"
                        "! byte 24: an item runs past its structure\n",
                        dump.text.size);
    assert_string_equal(err.object, "byte 24");
    kyok_buffer_free(&dump.text);
}

static void depth_ends_it(void **state)
{
    struct dump_case dump;
    struct kyok_error err;

    (void)state;
    start(&dump);
    for (uint32_t i = 0; i < 100; i++) {
        uint32_t length = 8 * (99 - i);
        uint8_t header[] = {0x42, 0, 8, 1, 0, 0, (uint8_t)(length >> 8), (uint8_t)length};
        memcpy(dump.room + 8 * (size_t)i, header, 8);
    }
    assert_int_equal(kyok_kmip_dump(kyok_bytes(dump.room, 800), &dump.text, &err), KYOK_FAULT);
    assert_non_null(strstr(err.what, "too deep"));
    kyok_buffer_free(&dump.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prints_each_type),
        cmocka_unit_test(names_an_attribute_s_value),
        cmocka_unit_test(hides_bytes_by_their_tag),
        cmocka_unit_test(hides_what_is_inside),
        cmocka_unit_test(hides_every_object_but_certificates),
        cmocka_unit_test(says_where_a_fault_is),
        cmocka_unit_test(depth_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
