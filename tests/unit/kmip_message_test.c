/* SPDX-License-Identifier: Apache-2.0 */
/* Messages: the tables' consistency, both directions of each operation in each version, and what a
 * version does not have. */
#include "tests/support/kmip_sample.h"

#include <stdio.h>
#include <string.h>

static const unsigned versions[] = {KYOK_KMIP_1_0, KYOK_KMIP_1_1, KYOK_KMIP_1_2, KYOK_KMIP_1_3,
                                    KYOK_KMIP_1_4, KYOK_KMIP_2_0, KYOK_KMIP_2_1};

/* --- the tables --- */

static size_t size_of_kind(const struct kyok_kmip_field *field)
{
    static const size_t sizes[] = {
        [KYOK_KMIP_KIND_INT] = sizeof(int32_t),
        [KYOK_KMIP_KIND_INTEGER] = sizeof(struct kyok_kmip_integer),
        [KYOK_KMIP_KIND_INTERVAL] = sizeof(struct kyok_kmip_integer),
        [KYOK_KMIP_KIND_LONG] = sizeof(struct kyok_kmip_long),
        [KYOK_KMIP_KIND_DATE] = sizeof(struct kyok_kmip_long),
        [KYOK_KMIP_KIND_ENUM] = sizeof(uint32_t),
        [KYOK_KMIP_KIND_RESULT] = sizeof(uint32_t),
        [KYOK_KMIP_KIND_BOOLEAN] = sizeof(enum kyok_kmip_boolean),
        [KYOK_KMIP_KIND_TEXT] = sizeof(struct kyok_bytes),
        [KYOK_KMIP_KIND_BYTES] = sizeof(struct kyok_bytes),
        [KYOK_KMIP_KIND_BIG] = sizeof(struct kyok_bytes),
        [KYOK_KMIP_KIND_CONTENT] = sizeof(struct kyok_bytes),
        [KYOK_KMIP_KIND_POINTER] = sizeof(void *),
    };
    if (field->need & KYOK_KMIP_REPEATED)
        return sizeof(struct kyok_kmip_any_list);
    if (field->kind >= COUNT(sizes) || sizes[field->kind] == 0)
        return field->size; /* in place, or special */
    return sizes[field->kind];
}

static void check_row(const struct kyok_kmip_shape *shape, unsigned i)
{
    const struct kyok_kmip_field *field = &shape->fields[i];

    assert_non_null(kyok_kmip_tag_name(field->tag));
    assert_int_equal(field->size, size_of_kind(field));
    assert_true((size_t)field->offset + field->size <= shape->size);
    assert_true(field->since <= field->until);
    assert_int_equal(field->kind == KYOK_KMIP_KIND_SPECIAL, field->special != NULL);
    if (field->need & KYOK_KMIP_OR) {
        assert_true(i > 0 && shape->fields[i - 1].need & (KYOK_KMIP_OR | KYOK_KMIP_FORMS));
        assert_int_equal(field->offset, shape->fields[i - 1].offset);
    }
    if (field->need & KYOK_KMIP_FORMS)
        assert_true(i + 1 < shape->count && shape->fields[i + 1].need & KYOK_KMIP_OR);
    for (unsigned other = 0; other < i; other++)
        assert_int_not_equal(field->tag, shape->fields[other].tag);
}

static unsigned check_shape(const struct kyok_kmip_shape *shape, unsigned depth)
{
    unsigned rows = 0;

    assert_true(depth < KYOK_TTLV_DEPTH_MAX);
    assert_true(shape->count <= KYOK_KMIP_SHAPE_FIELDS_MAX);
    assert_true(shape->fields != NULL || (shape->read != NULL && shape->write != NULL));
    for (unsigned i = 0; i < shape->count; i++, rows++) {
        check_row(shape, i);
        if (shape->fields[i].shape != NULL)
            rows += check_shape(shape->fields[i].shape, depth + 1);
    }
    return rows;
}

static void the_tables_are_consistent(void **state)
{
    unsigned rows = check_shape(&kyok_kmip_request_shape, 0);

    (void)state;
    rows += check_shape(&kyok_kmip_response_shape, 0);
    for (uint32_t operation = 0; operation < 0x40; operation++) {
        const struct kyok_kmip_operation_shapes *shapes = kyok_kmip_operation_shapes(operation);
        if (shapes == NULL)
            continue;
        rows += check_shape(shapes->request, 2) + check_shape(shapes->response, 2);
    }
    for (unsigned id = 1; id < KYOK_KMIP_ATTRIBUTES; id++) {
        const struct kyok_kmip_attribute_type *type = &kyok_kmip_attribute_types[id];
        assert_int_equal(type->type == KYOK_TTLV_STRUCTURE, type->shape != NULL);
        assert_non_null(kyok_kmip_tag_name(type->tag));
        if (type->shape != NULL)
            rows += check_shape(type->shape, 5);
    }
    assert_true(rows > 300);
}

static void names_are_found_both_ways(void **state)
{
    uint32_t value;

    (void)state;
    assert_string_equal(kyok_kmip_tag_name(0x420094), "UniqueIdentifier");
    assert_int_equal(kyok_kmip_tag_by_name("UniqueIdentifier"), 0x420094);
    assert_string_equal(kyok_kmip_tag_name(0x42009F), "X");
    assert_int_equal(kyok_kmip_tag_by_name("Nothing"), 0);
    assert_null(kyok_kmip_tag_name(0x420000));
    assert_string_equal(kyok_kmip_enum_name(KYOK_KMIP_TAG_RESULT_REASON, 0x100), "GeneralFailure");
    assert_null(kyok_kmip_enum_name(KYOK_KMIP_TAG_RESULT_REASON, 0x10000));
    assert_null(kyok_kmip_enum_name(KYOK_KMIP_TAG_UNIQUE_IDENTIFIER, 1));
    assert_true(kyok_kmip_enum_by_name(KYOK_KMIP_TAG_STATE, "PreActive", &value) && value == 1);
    assert_true(kyok_kmip_enum_by_name(KYOK_KMIP_TAG_STATE, "0x80000001", &value));
    assert_int_equal(value, 0x80000001);
    assert_false(kyok_kmip_enum_by_name(KYOK_KMIP_TAG_STATE, "0x8000000Z", &value));
    assert_string_equal(kyok_kmip_mask_name(KYOK_KMIP_TAG_CRYPTOGRAPHIC_USAGE_MASK, 4), "Encrypt");
    for (unsigned id = 1; id < KYOK_KMIP_ATTRIBUTES; id++) {
        const char *name = kyok_kmip_attribute_text((enum kyok_kmip_attribute_id)id);
        assert_int_equal(kyok_kmip_attribute_name(kyok_bytes_of_text(name)).id, id);
        assert_int_equal(
            kyok_kmip_attribute_by_tag(kyok_kmip_attribute_tag((enum kyok_kmip_attribute_id)id)).id,
            id);
    }
}

/* --- round trips --- */

static void request_again(const struct kmip_sample *sample, unsigned version)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer once = {0}, twice = {0};
    KYOK_CLEANUP(kyok_kmip_arena_free) struct kyok_kmip_arena arena;
    struct kyok_kmip_request read;
    struct kyok_error err;

    kyok_kmip_arena_init(&arena, 0);
    kmip_sample_append_request(sample, version, &once);
    kmip_sample_must(kyok_kmip_request_read(kyok_buffer_bytes(&once), &arena, &read, &err), &err);
    kmip_sample_must(kyok_kmip_request_append(&read, &twice, &err), &err);
    assert_int_equal(once.size, twice.size);
    assert_memory_equal(once.data, twice.data, once.size);
    assert_int_equal(read.items.items[0].operation, sample->request.operation);
    assert_null(read.items.items[0].raw.data);
}

static void response_again(const struct kmip_sample *sample, unsigned version)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer once = {0}, twice = {0};
    KYOK_CLEANUP(kyok_kmip_arena_free) struct kyok_kmip_arena arena;
    struct kyok_kmip_response read;
    struct kyok_error err;

    kyok_kmip_arena_init(&arena, 0);
    kmip_sample_append_response(sample, version, &once);
    kmip_sample_must(kyok_kmip_response_read(kyok_buffer_bytes(&once), &arena, &read, &err), &err);
    kmip_sample_must(kyok_kmip_response_append(&read, &twice, &err), &err);
    assert_int_equal(once.size, twice.size);
    assert_memory_equal(once.data, twice.data, once.size);
    assert_true(read.items.items[0].has_payload);
}

static void each_operation_in_each_version(void **state)
{
    unsigned done = 0;

    (void)state;
    for (uint32_t operation = 1; operation < 0x40; operation++) {
        const struct kyok_kmip_operation_shapes *shapes = kyok_kmip_operation_shapes(operation);
        for (size_t i = 0; shapes != NULL && i < COUNT(versions); i++) {
            struct kmip_sample sample;
            if (versions[i] < shapes->since)
                continue;
            kmip_sample_make(&sample, shapes->operation, versions[i]);
            request_again(&sample, versions[i]);
            response_again(&sample, versions[i]);
            done++;
        }
    }
    assert_true(done >= 29 * 5);
}

static enum kyok_status write_request(const struct kmip_sample *sample, unsigned version,
                                      struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer bytes = {0};
    struct kyok_kmip_request request = kmip_sample_request(sample, version);
    return kyok_kmip_request_append(&request, &bytes, err);
}

/* What 4.6 requires is neither sent nor taken without: the base objects, method and parameters. */
static void derive_key_is_complete(void **state)
{
    static const uint8_t base[] = {0x42, 0x00, 0x94, 0x07, 0, 0, 0, 1};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer bytes = {0};
    KYOK_CLEANUP(kyok_kmip_arena_free) struct kyok_kmip_arena arena;
    struct kyok_kmip_request read;
    struct kyok_error err;
    struct kmip_sample sample;

    (void)state;
    kyok_kmip_arena_init(&arena, 0);
    kmip_sample_make(&sample, KYOK_KMIP_OPERATION_DERIVE_KEY, KYOK_KMIP_1_4);
    kmip_sample_append_request(&sample, KYOK_KMIP_1_4, &bytes);
    kmip_sample_must(kyok_kmip_request_read(kyok_buffer_bytes(&bytes), &arena, &read, &err), &err);
    const struct kyok_kmip_derive_key_request *derive = &read.items.items[0].payload.derive_key;
    assert_int_equal(derive->unique_identifiers.count, 2);
    assert_true(kyok_bytes_equal(derive->unique_identifiers.items[1], TEXT("2")));
    assert_true(kyok_bytes_equal(derive->parameters.salt, TEXT("salt")));
    assert_int_equal(derive->parameters.iteration_count.value, 1000);
    unsigned hidden = 0; /* both base identifiers become fields that Derive Key does not have */
    for (size_t i = 0; i + sizeof base < bytes.size; i++)
        if (memcmp(bytes.data + i, base, sizeof base) == 0 && ++hidden)
            bytes.data[i + 2] = 0x01;
    assert_int_equal(hidden, 2);
    assert_int_equal(kyok_kmip_request_read(kyok_buffer_bytes(&bytes), &arena, &read, &err),
                     KYOK_FAULT);
    assert_non_null(strstr(err.what, "UniqueIdentifier is missing"));
    sample.request.payload.derive_key.unique_identifiers.count = 0;
    assert_int_equal(write_request(&sample, KYOK_KMIP_1_4, &err), KYOK_INVALID);
    assert_non_null(strstr(err.what, "without UniqueIdentifier"));
    sample.request.payload.derive_key.unique_identifiers.count = 1;
    sample.request.payload.derive_key.method = 0;
    assert_int_equal(write_request(&sample, KYOK_KMIP_1_4, &err), KYOK_INVALID);
    assert_non_null(strstr(err.what, "without DerivationMethod"));
}

/* Each object type survives Get's answer. */
static void each_object_type(void **state)
{
    static const enum kyok_kmip_object_type types[] = {
        KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY, KYOK_KMIP_OBJECT_TYPE_PUBLIC_KEY,
        KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY,   KYOK_KMIP_OBJECT_TYPE_CERTIFICATE,
        KYOK_KMIP_OBJECT_TYPE_SECRET_DATA,   KYOK_KMIP_OBJECT_TYPE_OPAQUE_OBJECT};

    (void)state;
    for (size_t i = 0; i < COUNT(types); i++)
        for (size_t v = 0; v < COUNT(versions); v++) {
            struct kmip_sample sample;
            kmip_sample_make(&sample, KYOK_KMIP_OPERATION_GET, versions[v]);
            sample.response.payload.get.object_type = types[i];
            sample.response.payload.get.object = kmip_sample_object(types[i]);
            response_again(&sample, versions[v]);
        }
}

static void transparent_and_wrapped_keys(void **state)
{
    static const struct kyok_kmip_transparent_key rsa = {
        .modulus = {(const uint8_t *)"\0\0\0\0\0\0\0\x85", 8},
        .public_exponent = {(const uint8_t *)"\0\0\0\0\0\1\0\1", 8}};
    struct kyok_kmip_key_wrapping_data wrapping = {.method = KYOK_KMIP_WRAPPING_METHOD_ENCRYPT,
                                                   .encoding =
                                                       KYOK_KMIP_ENCODING_OPTION_NO_ENCODING};
    struct kmip_sample sample;

    (void)state;
    kmip_sample_make(&sample, KYOK_KMIP_OPERATION_GET, KYOK_KMIP_1_4);
    struct kyok_kmip_key_block *key = &sample.response.payload.get.object.key;
    key->value.material = kyok_bytes(NULL, 0);
    key->value.transparent = &rsa;
    response_again(&sample, KYOK_KMIP_1_4);
    key->value.transparent = NULL;
    key->value.wrapped = kmip_sample_secret;
    key->wrapping = &wrapping;
    response_again(&sample, KYOK_KMIP_1_4);
    key->value.wrapped = kyok_bytes(NULL, 0); /* 1.2: the value is elsewhere */
    response_again(&sample, KYOK_KMIP_1_4);
}

/* Values come back as they went, not only as the same bytes. */
static void attributes_mean_the_same_in_every_version(void **state)
{
    (void)state;
    for (size_t v = 0; v < COUNT(versions); v++) {
        KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer bytes = {0};
        KYOK_CLEANUP(kyok_kmip_arena_free) struct kyok_kmip_arena arena;
        struct kmip_sample sample;
        struct kyok_kmip_response read;
        struct kyok_error err;

        kmip_sample_make(&sample, KYOK_KMIP_OPERATION_GET_ATTRIBUTES, versions[v]);
        kyok_kmip_arena_init(&arena, 0);
        kmip_sample_append_response(&sample, versions[v], &bytes);
        kmip_sample_must(kyok_kmip_response_read(kyok_buffer_bytes(&bytes), &arena, &read, &err),
                         &err);
        const kyok_kmip_attributes *all = &read.items.items[0].payload.get_attributes.attributes;
        assert_int_equal(all->count, 8);
        const struct kyok_kmip_attribute *found =
            kyok_kmip_attribute_find_id(all->items, all->count, KYOK_KMIP_ATTRIBUTE_NAME);
        assert_memory_equal(found->value.name->value.data, "disk", 4);
        found = kyok_kmip_attribute_find_id(all->items, all->count,
                                            KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH);
        assert_int_equal(found->value.integer, 256);
        found = kyok_kmip_attribute_find_id(all->items, all->count, KYOK_KMIP_ATTRIBUTE_LINK);
        assert_int_equal(found->value.link->type, KYOK_KMIP_LINK_TYPE_PUBLIC_KEY_LINK);
        struct kyok_kmip_attribute_name product = kyok_kmip_attribute_name(TEXT("x-Product"));
        found = kyok_kmip_attribute_find(all->items, all->count, &product);
        assert_memory_equal(found->value.bytes.data, "kyok", 4);
        assert_null(kyok_kmip_attribute_find_id(all->items, all->count, KYOK_KMIP_ATTRIBUTE_STATE));
    }
}

/* --- what a version does not have --- */

static void nothing_is_left_out_silently(void **state)
{
    struct kyok_error err;
    struct kmip_sample sample;

    (void)state;
    kmip_sample_make(&sample, KYOK_KMIP_OPERATION_ENCRYPT, KYOK_KMIP_1_4);
    assert_int_equal(write_request(&sample, KYOK_KMIP_1_1, &err), KYOK_UNSUPPORTED);
    assert_non_null(strstr(err.what, "KMIP 1.1 has no Encrypt"));
    sample.parameters.salt_length.set = false;
    assert_int_equal(write_request(&sample, KYOK_KMIP_1_3, &err), KYOK_UNSUPPORTED);
    assert_non_null(strstr(err.what, "KMIP 1.3 has no AuthenticatedEncryptionAdditionalData"));

    kmip_sample_make(&sample, KYOK_KMIP_OPERATION_CREATE, KYOK_KMIP_2_0);
    sample.attributes[6] =
        kyok_kmip_attribute_of_text(KYOK_KMIP_ATTRIBUTE_OPERATION_POLICY_NAME, TEXT("default"));
    assert_int_equal(write_request(&sample, KYOK_KMIP_1_4, &err), KYOK_OK);
    assert_int_equal(write_request(&sample, KYOK_KMIP_2_0, &err), KYOK_UNSUPPORTED);
    assert_non_null(strstr(err.what, "KMIP 2.0 has no attribute Operation Policy Name"));

    kmip_sample_make(&sample, KYOK_KMIP_OPERATION_CREATE, KYOK_KMIP_2_0);
    sample.attributes[6].index = kyok_kmip_integer(1);
    assert_int_equal(write_request(&sample, KYOK_KMIP_1_4, &err), KYOK_OK);
    assert_int_equal(write_request(&sample, KYOK_KMIP_2_0, &err), KYOK_UNSUPPORTED);

    kmip_sample_make(&sample, KYOK_KMIP_OPERATION_CREATE, KYOK_KMIP_2_0);
    sample.attributes[7].name.vendor = TEXT("ACME");
    assert_int_equal(write_request(&sample, KYOK_KMIP_2_0, &err), KYOK_OK);
    assert_int_equal(write_request(&sample, KYOK_KMIP_1_4, &err), KYOK_UNSUPPORTED);

    kmip_sample_make(&sample, KYOK_KMIP_OPERATION_LOCATE, KYOK_KMIP_1_3);
    assert_int_equal(write_request(&sample, KYOK_KMIP_1_2, &err), KYOK_UNSUPPORTED);
    kmip_sample_make(&sample, KYOK_KMIP_OPERATION_GET, KYOK_KMIP_1_0);
    assert_int_equal(write_request(&sample, 0x105, &err), KYOK_UNSUPPORTED);
    assert_int_equal(write_request(&sample, 0x300, &err), KYOK_UNSUPPORTED);
}

static void a_missing_field_is_not_written(void **state)
{
    struct kyok_error err;
    struct kmip_sample sample;

    (void)state;
    kmip_sample_make(&sample, KYOK_KMIP_OPERATION_CREATE, KYOK_KMIP_1_4);
    sample.request.payload.create.object_type = (enum kyok_kmip_object_type)0;
    assert_int_equal(write_request(&sample, KYOK_KMIP_1_4, &err), KYOK_INVALID);
    assert_non_null(strstr(err.what, "RequestPayload was to be sent without ObjectType"));
    kmip_sample_make(&sample, KYOK_KMIP_OPERATION_ADD_ATTRIBUTE, KYOK_KMIP_2_0);
    sample.request.payload.attribute.attribute = NULL;
    assert_int_equal(write_request(&sample, KYOK_KMIP_2_0, &err), KYOK_INVALID);
}

/* --- results --- */

static enum kyok_status result(enum kyok_kmip_result_reason reason, struct kyok_error *err)
{
    const struct kyok_kmip_response_item item = {
        .operation = KYOK_KMIP_OPERATION_GET,
        .status = KYOK_KMIP_RESULT_STATUS_OPERATION_FAILED,
        .reason = reason,
        .message = TEXT("no\x1b[31m key\n"),
    };
    return kyok_kmip_item_result(&item, "kms1:5696", err);
}

static void results_become_errors(void **state)
{
    struct kyok_kmip_response_item item = {.status = KYOK_KMIP_RESULT_STATUS_SUCCESS};
    struct kyok_error err;

    (void)state;
    assert_int_equal(kyok_kmip_item_result(&item, "kms1", &err), KYOK_OK);
    assert_int_equal(result(KYOK_KMIP_RESULT_REASON_ITEM_NOT_FOUND, &err), KYOK_NOT_FOUND);
    assert_string_equal(err.what, "the server refused Get: no [31m key ");
    assert_string_equal(err.reason, "ItemNotFound");
    assert_string_equal(err.object, "kms1:5696");
    assert_int_equal(result(KYOK_KMIP_RESULT_REASON_PERMISSION_DENIED, &err), KYOK_REFUSED);
    assert_int_equal(result(KYOK_KMIP_RESULT_REASON_OPERATION_NOT_SUPPORTED, &err),
                     KYOK_UNSUPPORTED);
    assert_int_equal(result((enum kyok_kmip_result_reason)0x80001234, &err), KYOK_REFUSED);
    assert_non_null(strstr(err.reason, "80001234"));
    item.status = KYOK_KMIP_RESULT_STATUS_OPERATION_PENDING;
    assert_int_equal(kyok_kmip_item_result(&item, "kms1", &err), KYOK_BUSY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tables_are_consistent),
        cmocka_unit_test(names_are_found_both_ways),
        cmocka_unit_test(each_operation_in_each_version),
        cmocka_unit_test(derive_key_is_complete),
        cmocka_unit_test(each_object_type),
        cmocka_unit_test(transparent_and_wrapped_keys),
        cmocka_unit_test(attributes_mean_the_same_in_every_version),
        cmocka_unit_test(nothing_is_left_out_silently),
        cmocka_unit_test(a_missing_field_is_not_written),
        cmocka_unit_test(results_become_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
