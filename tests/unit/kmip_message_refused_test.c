/* SPDX-License-Identifier: Apache-2.0 */
/* Messages: what a reader must refuse, what it must read all the same, and within which memory. */
#include "tests/support/kmip_sample.h"

#include <string.h>

/* --- messages made by hand --- */

struct hand {
    uint8_t room[1024];
    struct kyok_ttlv_writer writer;
};

static void hand_header(struct hand *hand, int32_t items)
{
    hand->writer = kyok_ttlv_writer(hand->room, sizeof(hand->room));
    kyok_ttlv_begin(&hand->writer, KYOK_KMIP_TAG_REQUEST_MESSAGE);
    kyok_ttlv_begin(&hand->writer, KYOK_KMIP_TAG_REQUEST_HEADER);
    kyok_ttlv_begin(&hand->writer, KYOK_KMIP_TAG_PROTOCOL_VERSION);
    kyok_ttlv_write_integer(&hand->writer, KYOK_KMIP_TAG_PROTOCOL_VERSION_MAJOR, 1);
    kyok_ttlv_write_integer(&hand->writer, KYOK_KMIP_TAG_PROTOCOL_VERSION_MINOR, 4);
    kyok_ttlv_end(&hand->writer);
    kyok_ttlv_write_integer(&hand->writer, KYOK_KMIP_TAG_BATCH_COUNT, items);
    kyok_ttlv_end(&hand->writer);
}

static void hand_item(struct hand *hand, enum kyok_kmip_operation operation)
{
    kyok_ttlv_begin(&hand->writer, KYOK_KMIP_TAG_BATCH_ITEM);
    kyok_ttlv_write_enumeration(&hand->writer, KYOK_KMIP_TAG_OPERATION, operation);
    kyok_ttlv_begin(&hand->writer, KYOK_KMIP_TAG_REQUEST_PAYLOAD);
}

/* Closes item and message, reads: the status, and (unless OK) words of the error. */
static void expect(struct hand *hand, enum kyok_status wanted, const char *words)
{
    KYOK_CLEANUP(kyok_kmip_arena_free) struct kyok_kmip_arena arena;
    struct kyok_kmip_request request;
    struct kyok_error err = {.what = ""};

    while (hand->writer.depth > 0)
        kyok_ttlv_end(&hand->writer);
    assert_true(kyok_ttlv_written(&hand->writer));
    kyok_kmip_arena_init(&arena, 0);
    enum kyok_status status =
        kyok_kmip_request_read(kyok_bytes(hand->room, hand->writer.size), &arena, &request, &err);
    if (status != wanted)
        fail_msg("status %d: %s", (int)status, err.what);
    if (words != NULL && strstr(err.what, words) == NULL)
        fail_msg("not \"%s\" in: %s", words, err.what);
    if (status == KYOK_FAULT)
        assert_non_null(strstr(err.object, "byte "));
}

static void uid(struct hand *hand)
{
    kyok_ttlv_write_text(&hand->writer, KYOK_KMIP_TAG_UNIQUE_IDENTIFIER, TEXT("1"));
}

static void refuses_wrong_batches(void **state)
{
    struct hand hand;

    (void)state;
    hand_header(&hand, 1);
    expect(&hand, KYOK_FAULT, "BatchCount: it says 1 and there are 0 items");
    hand_header(&hand, -1);
    expect(&hand, KYOK_FAULT, "BatchCount");
    hand_header(&hand, INT32_MAX);
    hand_item(&hand, KYOK_KMIP_OPERATION_GET);
    expect(&hand, KYOK_FAULT, "BatchCount");
    hand_header(&hand, 1); /* PyKMIP would drop the second */
    hand_item(&hand, KYOK_KMIP_OPERATION_GET);
    kyok_ttlv_end(&hand.writer);
    kyok_ttlv_end(&hand.writer);
    hand_item(&hand, KYOK_KMIP_OPERATION_DESTROY);
    expect(&hand, KYOK_FAULT, "it says 1 and there are 2 items");
    hand_header(&hand, 0);
    expect(&hand, KYOK_OK, NULL);
}

static void refuses_missing_doubled_and_mistyped_fields(void **state)
{
    struct hand hand;

    (void)state;
    hand_header(&hand, 1);
    hand_item(&hand, KYOK_KMIP_OPERATION_CREATE);
    expect(&hand, KYOK_FAULT, "RequestPayload: ObjectType is missing");
    hand_header(&hand, 1);
    hand_item(&hand, KYOK_KMIP_OPERATION_CREATE);
    kyok_ttlv_write_enumeration(&hand.writer, KYOK_KMIP_TAG_OBJECT_TYPE, 2);
    expect(&hand, KYOK_FAULT, "TemplateAttribute is missing");
    hand_header(&hand, 1);
    hand_item(&hand, KYOK_KMIP_OPERATION_GET);
    uid(&hand);
    uid(&hand);
    expect(&hand, KYOK_FAULT, "UniqueIdentifier: it is there twice");
    hand_header(&hand, 1);
    hand_item(&hand, KYOK_KMIP_OPERATION_GET);
    kyok_ttlv_write_bytes(&hand.writer, KYOK_KMIP_TAG_UNIQUE_IDENTIFIER, TEXT("1"));
    expect(&hand, KYOK_FAULT, "UniqueIdentifier: it is a ByteString where TextString is due");
    hand_header(&hand, 1);
    kyok_ttlv_begin(&hand.writer, KYOK_KMIP_TAG_BATCH_ITEM);
    kyok_ttlv_begin(&hand.writer, KYOK_KMIP_TAG_REQUEST_PAYLOAD);
    expect(&hand, KYOK_FAULT, "Operation is missing");
    hand_header(&hand, 1);
    kyok_ttlv_begin(&hand.writer, KYOK_KMIP_TAG_BATCH_ITEM);
    kyok_ttlv_write_enumeration(&hand.writer, KYOK_KMIP_TAG_OPERATION, KYOK_KMIP_OPERATION_GET);
    kyok_ttlv_write_text(&hand.writer, KYOK_KMIP_TAG_REQUEST_PAYLOAD, TEXT("1"));
    expect(&hand, KYOK_FAULT, "RequestPayload: it is a TextString where Structure is due");
}

/* Two forms of one field, from two versions. */
static void refuses_mixed_forms(void **state)
{
    struct hand hand;

    (void)state;
    hand_header(&hand, 1);
    hand_item(&hand, KYOK_KMIP_OPERATION_GET_ATTRIBUTES);
    uid(&hand);
    kyok_ttlv_write_text(&hand.writer, KYOK_KMIP_TAG_ATTRIBUTE_NAME, TEXT("State"));
    kyok_ttlv_write_enumeration(&hand.writer, KYOK_KMIP_TAG_ATTRIBUTE_REFERENCE, 0x42008D);
    expect(&hand, KYOK_FAULT, "AttributeReference: it is there twice");
    hand_header(&hand, 1);
    hand_item(&hand, KYOK_KMIP_OPERATION_LOCATE);
    kyok_ttlv_begin(&hand.writer, KYOK_KMIP_TAG_ATTRIBUTES);
    kyok_ttlv_end(&hand.writer);
    kyok_ttlv_begin(&hand.writer, KYOK_KMIP_TAG_ATTRIBUTE);
    kyok_ttlv_write_text(&hand.writer, KYOK_KMIP_TAG_ATTRIBUTE_NAME, TEXT("State"));
    kyok_ttlv_end(&hand.writer);
    expect(&hand, KYOK_FAULT, "Attribute: it is there twice");
}

static void refuses_wrong_attributes(void **state)
{
    struct hand hand;

    (void)state;
    hand_header(&hand, 1);
    hand_item(&hand, KYOK_KMIP_OPERATION_LOCATE);
    kyok_ttlv_begin(&hand.writer, KYOK_KMIP_TAG_ATTRIBUTE);
    expect(&hand, KYOK_FAULT, "AttributeName is missing");
    hand_header(&hand, 1);
    hand_item(&hand, KYOK_KMIP_OPERATION_LOCATE);
    kyok_ttlv_begin(&hand.writer, KYOK_KMIP_TAG_ATTRIBUTE);
    kyok_ttlv_write_text(&hand.writer, KYOK_KMIP_TAG_ATTRIBUTE_NAME, TEXT("State"));
    kyok_ttlv_write_integer(&hand.writer, KYOK_KMIP_TAG_ATTRIBUTE_VALUE, 1);
    expect(&hand, KYOK_FAULT, "AttributeValue: it is a Integer where Enumeration is due");
    hand_header(&hand, 1);
    hand_item(&hand, KYOK_KMIP_OPERATION_LOCATE);
    kyok_ttlv_begin(&hand.writer, KYOK_KMIP_TAG_ATTRIBUTE);
    kyok_ttlv_write_text(&hand.writer, KYOK_KMIP_TAG_ATTRIBUTE_NAME, TEXT("x-a"));
    kyok_ttlv_write_text(&hand.writer, KYOK_KMIP_TAG_ATTRIBUTE_NAME, TEXT("x-b"));
    expect(&hand, KYOK_FAULT, "an Attribute has a name, an index and a value, once");
    hand_header(&hand, 1);
    hand_item(&hand, KYOK_KMIP_OPERATION_LOCATE);
    kyok_ttlv_begin(&hand.writer, KYOK_KMIP_TAG_ATTRIBUTE);
    kyok_ttlv_write_text(&hand.writer, KYOK_KMIP_TAG_ATTRIBUTE_NAME, TEXT("Name"));
    expect(&hand, KYOK_FAULT, "AttributeValue is missing");
    hand_header(&hand, 1);
    hand_item(&hand, KYOK_KMIP_OPERATION_ADD_ATTRIBUTE);
    kyok_ttlv_begin(&hand.writer, KYOK_KMIP_TAG_NEW_ATTRIBUTE);
    expect(&hand, KYOK_FAULT, "NewAttribute: it does not hold one attribute");
}

/* Order, and items that are not the structure's. */
static void reads_what_can_be_understood(void **state)
{
    struct hand hand;

    (void)state;
    hand_header(&hand, 1);
    hand_item(&hand, KYOK_KMIP_OPERATION_GET); /* out of order */
    kyok_ttlv_write_enumeration(&hand.writer, KYOK_KMIP_TAG_KEY_FORMAT_TYPE, 1);
    uid(&hand);
    expect(&hand, KYOK_OK, NULL);
    hand_header(&hand, 1);
    hand_item(&hand, KYOK_KMIP_OPERATION_GET); /* a vendor's */
    uid(&hand);
    kyok_ttlv_write_integer(&hand.writer, KYOK_KMIP_TAG_EXTENSION_FIRST, 1);
    kyok_ttlv_begin(&hand.writer, KYOK_KMIP_TAG_LINK);
    kyok_ttlv_end(&hand.writer);
    expect(&hand, KYOK_OK, NULL);
    hand_header(&hand, 1);
    hand_item(&hand, (enum kyok_kmip_operation)0x80000001); /* an operation nobody knows */
    uid(&hand);
    expect(&hand, KYOK_OK, NULL);
}

static void what_is_skipped_is_checked(void **state)
{
    static const uint8_t bad[] = {0x42, 0, 0x20, 6, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7};
    struct hand hand;

    (void)state;
    hand_header(&hand, 1);
    hand_item(&hand, KYOK_KMIP_OPERATION_GET);
    kyok_ttlv_write_structure(&hand.writer, KYOK_KMIP_TAG_EXTENSION_FIRST,
                              kyok_bytes(bad, sizeof(bad)));
    expect(&hand, KYOK_FAULT, "a boolean is neither 0 nor 1");
    hand_header(&hand, 1);
    hand_item(&hand, KYOK_KMIP_OPERATION_POLL); /* kept raw */
    kyok_ttlv_write_structure(&hand.writer, KYOK_KMIP_TAG_LINK, kyok_bytes(bad, sizeof(bad)));
    expect(&hand, KYOK_FAULT, "a boolean is neither 0 nor 1");
    hand_header(&hand, 1);
    hand_item(&hand, KYOK_KMIP_OPERATION_GET);
    while (hand.writer.depth < KYOK_TTLV_DEPTH_MAX)
        kyok_ttlv_begin(&hand.writer, KYOK_KMIP_TAG_EXTENSION_FIRST);
    expect(&hand, KYOK_OK, NULL);
}

static void refuses_what_is_not_one_message(void **state)
{
    KYOK_CLEANUP(kyok_kmip_arena_free) struct kyok_kmip_arena arena;
    struct kyok_kmip_request request;
    struct kyok_kmip_response response;
    struct kyok_error err;
    struct hand hand;

    (void)state;
    kyok_kmip_arena_init(&arena, 0);
    hand_header(&hand, 0);
    kyok_ttlv_end(&hand.writer);
    size_t size = hand.writer.size;
    assert_int_equal(kyok_kmip_request_read(kyok_bytes(hand.room, 0), &arena, &request, &err),
                     KYOK_FAULT);
    assert_int_equal(kyok_kmip_response_read(kyok_bytes(hand.room, size), &arena, &response, &err),
                     KYOK_FAULT);
    kyok_ttlv_write_integer(&hand.writer, KYOK_KMIP_TAG_BATCH_COUNT, 1);
    assert_int_equal(
        kyok_kmip_request_read(kyok_bytes(hand.room, hand.writer.size), &arena, &request, &err),
        KYOK_FAULT);
    assert_non_null(strstr(err.what, "something follows it"));
    for (size_t i = 0; i < size; i++)
        assert_int_equal(kyok_kmip_request_read(kyok_bytes(hand.room, i), &arena, &request, &err),
                         KYOK_FAULT);
}

static enum kyok_status read_request(const struct kmip_sample *sample, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer bytes = {0};
    KYOK_CLEANUP(kyok_kmip_arena_free) struct kyok_kmip_arena arena;
    struct kyok_kmip_request read;

    kyok_kmip_arena_init(&arena, 0);
    kmip_sample_append_request(sample, KYOK_KMIP_1_4, &bytes);
    return kyok_kmip_request_read(kyok_buffer_bytes(&bytes), &arena, &read, err);
}

static enum kyok_status read_response(const struct kmip_sample *sample, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer bytes = {0};
    KYOK_CLEANUP(kyok_kmip_arena_free) struct kyok_kmip_arena arena;
    struct kyok_kmip_response read;

    kyok_kmip_arena_init(&arena, 0);
    kmip_sample_append_response(sample, KYOK_KMIP_1_4, &bytes);
    return kyok_kmip_response_read(kyok_buffer_bytes(&bytes), &arena, &read, err);
}

/* A key where a certificate was promised. */
static void refuses_an_object_of_another_type(void **state)
{
    struct kyok_error err;
    struct kmip_sample sample;

    (void)state;
    kmip_sample_make(&sample, KYOK_KMIP_OPERATION_GET, KYOK_KMIP_1_4);
    sample.response.payload.get.object_type = KYOK_KMIP_OBJECT_TYPE_CERTIFICATE;
    assert_int_equal(read_response(&sample, &err), KYOK_FAULT);
    assert_non_null(strstr(err.what, "another type"));
}

/* And where one is registered. */
static void refuses_to_register_another_type(void **state)
{
    struct kyok_error err;
    struct kmip_sample sample;

    (void)state;
    kmip_sample_make(&sample, KYOK_KMIP_OPERATION_REGISTER, KYOK_KMIP_1_4);
    sample.request.payload.register_object.object_type = KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY;
    assert_int_equal(read_request(&sample, &err), KYOK_FAULT);
}

/* Whatever a server sends along with a failure, the failure is what is told. */
static void a_failure_is_told_whatever_its_payload(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer bytes = {0}, again = {0};
    KYOK_CLEANUP(kyok_kmip_arena_free) struct kyok_kmip_arena arena;
    struct kyok_kmip_response_item item = {.operation = KYOK_KMIP_OPERATION_GET,
                                           .status = KYOK_KMIP_RESULT_STATUS_OPERATION_FAILED,
                                           .reason = KYOK_KMIP_RESULT_REASON_ITEM_NOT_FOUND,
                                           .raw = kyok_bytes("", 0)};
    struct kyok_kmip_response response = {.version = {1, 4}, .items = {&item, 1}}, read;
    struct kyok_error err;

    (void)state;
    kyok_kmip_arena_init(&arena, 0);
    kmip_sample_must(kyok_kmip_response_append(&response, &bytes, &err), &err);
    kmip_sample_must(kyok_kmip_response_read(kyok_buffer_bytes(&bytes), &arena, &read, &err), &err);
    assert_false(read.items.items[0].has_payload);
    assert_non_null(read.items.items[0].raw.data);
    assert_int_equal(kyok_kmip_item_result(&read.items.items[0], "kms", &err), KYOK_NOT_FOUND);
    kmip_sample_must(kyok_kmip_response_append(&read, &again, &err), &err);
    assert_true(kyok_bytes_equal(kyok_buffer_bytes(&bytes), kyok_buffer_bytes(&again)));
}

/* Each bit of each sample, turned over: read or refused, and what is read can be used. */
static void flip(struct kyok_bytes message, bool is_request)
{
    uint8_t copy[2048];
    struct kyok_error err;

    assert_true(message.size <= sizeof(copy));
    memcpy(copy, message.data, message.size);
    for (size_t bit = 0; bit < 8 * message.size; bit++) {
        KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer out = {0}, text = {0};
        struct kyok_kmip_arena arena;
        union {
            struct kyok_kmip_request request;
            struct kyok_kmip_response response;
        } read;
        kyok_kmip_arena_init(&arena, 0);
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct kyok_bytes flipped = kyok_bytes(copy, message.size);
        if (is_request && kyok_kmip_request_read(flipped, &arena, &read.request, &err) == KYOK_OK)
            kyok_kmip_request_append(&read.request, &out, &err);
        if (!is_request &&
            kyok_kmip_response_read(flipped, &arena, &read.response, &err) == KYOK_OK)
            kyok_kmip_response_append(&read.response, &out, &err);
        kyok_kmip_dump(flipped, &text, &err);
        kyok_kmip_arena_free(&arena);
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void any_bit_may_be_wrong(void **state)
{
    static const unsigned some[] = {KYOK_KMIP_1_4, KYOK_KMIP_2_0};

    (void)state;
    for (uint32_t operation = 1; operation < 0x40; operation++)
        for (size_t v = 0; v < COUNT(some) && kyok_kmip_operation_shapes(operation); v++) {
            KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer ask = {0}, answer = {0};
            struct kmip_sample sample;
            if (kyok_kmip_operation_shapes(operation)->since > some[v])
                continue;
            kmip_sample_make(&sample, (enum kyok_kmip_operation)operation, some[v]);
            kmip_sample_append_request(&sample, some[v], &ask);
            kmip_sample_append_response(&sample, some[v], &answer);
            flip(kyok_buffer_bytes(&ask), true);
            flip(kyok_buffer_bytes(&answer), false);
        }
}

/* Small items must not make a large structure each without bound. */
static void memory_is_bounded(void **state)
{
    enum { ITEMS = 20000 };
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer bytes = {0};
    static struct kyok_kmip_response_item items[ITEMS];
    struct kyok_kmip_response response = {.version = {1, 4}, .items = {items, ITEMS}}, read;
    struct kyok_kmip_arena arena;
    struct kyok_error err;

    (void)state;
    kmip_sample_must(kyok_kmip_response_append(&response, &bytes, &err), &err);
    kyok_kmip_arena_init(&arena, (size_t)1 << 20);
    assert_int_equal(kyok_kmip_response_read(kyok_buffer_bytes(&bytes), &arena, &read, &err),
                     KYOK_BUSY);
    assert_true(arena.total <= (size_t)1 << 20);
    kyok_kmip_arena_free(&arena);
    kyok_kmip_arena_init(&arena, 0);
    kmip_sample_must(kyok_kmip_response_read(kyok_buffer_bytes(&bytes), &arena, &read, &err), &err);
    assert_int_equal(read.items.count, ITEMS);
    kyok_kmip_arena_free(&arena);
    assert_int_equal(arena.total, 0);
}

static void small_messages_allocate_nothing(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer bytes = {0};
    struct kyok_kmip_arena arena;
    struct kyok_kmip_response read;
    struct kyok_error err;
    struct kmip_sample sample;

    (void)state;
    kmip_sample_make(&sample, KYOK_KMIP_OPERATION_GET, KYOK_KMIP_1_4);
    kmip_sample_append_response(&sample, KYOK_KMIP_1_4, &bytes);
    kyok_kmip_arena_init(&arena, 1); /* not one block more */
    kmip_sample_must(kyok_kmip_response_read(kyok_buffer_bytes(&bytes), &arena, &read, &err), &err);
    const struct kyok_bytes *material = &read.items.items[0].payload.get.object.key.value.material;
    assert_in_range((uintptr_t)material->data, (uintptr_t)bytes.data,
                    (uintptr_t)bytes.data + bytes.size); /* a view, not a copy */
    kyok_kmip_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_wrong_batches),
        cmocka_unit_test(refuses_missing_doubled_and_mistyped_fields),
        cmocka_unit_test(refuses_mixed_forms),
        cmocka_unit_test(refuses_wrong_attributes),
        cmocka_unit_test(reads_what_can_be_understood),
        cmocka_unit_test(what_is_skipped_is_checked),
        cmocka_unit_test(refuses_what_is_not_one_message),
        cmocka_unit_test(refuses_an_object_of_another_type),
        cmocka_unit_test(refuses_to_register_another_type),
        cmocka_unit_test(a_failure_is_told_whatever_its_payload),
        cmocka_unit_test(any_bit_may_be_wrong),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(small_messages_allocate_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
