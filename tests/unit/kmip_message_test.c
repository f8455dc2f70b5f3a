/* SPDX-License-Identifier: Apache-2.0 */
/* Messages: the tables' consistency, both directions of each operation in each version, and what a
 * reader must refuse. */
#include "common/kmip/message_attribute.h"
#include "common/kmip/message_operations.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TEXT(literal) kyok_bytes(literal, sizeof(literal) - 1)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

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

/* --- samples: one request and one response of each operation --- */

static const struct kyok_kmip_name name_value = {{(const uint8_t *)"disk", 4},
                                                 KYOK_KMIP_NAME_TYPE_UNINTERPRETED_TEXT_STRING};
static const struct kyok_kmip_link link_value = {KYOK_KMIP_LINK_TYPE_PUBLIC_KEY_LINK,
                                                 {(const uint8_t *)"7", 1}};
static const uint8_t secret[32] = {0x5A, 1, 2, 3, 4, 5, 6, 7, 8, 9};
static const struct kyok_bytes secret_bytes = {secret, sizeof(secret)};

/* Attributes that all versions have. */
static size_t make_attributes(struct kyok_kmip_attribute attributes[8])
{
    size_t count = 0;

    attributes[count++] = kyok_kmip_attribute_enumeration(
        KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_ALGORITHM, KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES);
    attributes[count++] =
        kyok_kmip_attribute_integer(KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_LENGTH, 256);
    attributes[count++] = kyok_kmip_attribute_integer(KYOK_KMIP_ATTRIBUTE_CRYPTOGRAPHIC_USAGE_MASK,
                                                      KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT);
    attributes[count++] = kyok_kmip_attribute_structure(KYOK_KMIP_ATTRIBUTE_NAME, &name_value);
    attributes[count++] = kyok_kmip_attribute_structure(KYOK_KMIP_ATTRIBUTE_LINK, &link_value);
    attributes[count++] =
        kyok_kmip_attribute_date_time(KYOK_KMIP_ATTRIBUTE_ACTIVATION_DATE, 1700000000);
    attributes[count++] = kyok_kmip_attribute_of_text(KYOK_KMIP_ATTRIBUTE_OBJECT_GROUP, TEXT("g"));
    attributes[count++] = kyok_kmip_attribute_custom(TEXT("x-Product"), TEXT("kyok"));
    return count;
}

static struct kyok_kmip_object make_object(enum kyok_kmip_object_type type)
{
    struct kyok_kmip_object object = {.type = type};

    if (type == KYOK_KMIP_OBJECT_TYPE_CERTIFICATE) {
        object.certificate_type = KYOK_KMIP_CERTIFICATE_TYPE_X_509;
        object.value = TEXT("certificate");
        return object;
    }
    if (type == KYOK_KMIP_OBJECT_TYPE_OPAQUE_OBJECT) {
        object.opaque_data_type = (enum kyok_kmip_opaque_data_type)0x80000001;
        object.value = secret_bytes;
        return object;
    }
    object.secret_data_type = type == KYOK_KMIP_OBJECT_TYPE_SECRET_DATA
                                  ? KYOK_KMIP_SECRET_DATA_TYPE_SEED
                                  : (enum kyok_kmip_secret_data_type)0;
    object.key.format = KYOK_KMIP_KEY_FORMAT_TYPE_RAW;
    object.key.value.material = secret_bytes;
    object.key.algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES;
    object.key.length = kyok_kmip_integer(256);
    return object;
}

/* Everything that the samples point to, so that they live as long as the test's frame. */
struct sample {
    struct kyok_kmip_attribute attributes[8];
    struct kyok_kmip_attribute_name names[3];
    struct kyok_kmip_template template;
    struct kyok_kmip_cryptographic_parameters parameters;
    struct kyok_kmip_key_information key_information;
    struct kyok_kmip_key_wrapping_specification wrapping;
    struct kyok_kmip_request_item request;
    struct kyok_kmip_response_item response;
};

static void make_common(struct sample *sample, enum kyok_kmip_operation operation, unsigned version)
{
    memset(sample, 0, sizeof(*sample));
    sample->request.operation = sample->response.operation = operation;
    sample->request.batch_id = sample->response.batch_id = TEXT("id");
    sample->response.has_payload = true;
    sample->template.attributes.items = sample->attributes;
    sample->template.attributes.count = make_attributes(sample->attributes);
    sample->names[0] = kyok_kmip_attribute_named(KYOK_KMIP_ATTRIBUTE_STATE);
    sample->names[1] = kyok_kmip_attribute_name(TEXT("Link"));
    sample->names[2] = kyok_kmip_attribute_name(TEXT("x-Product"));
    sample->parameters.block_cipher_mode = KYOK_KMIP_BLOCK_CIPHER_MODE_GCM;
    sample->parameters.hashing_algorithm = KYOK_KMIP_HASHING_ALGORITHM_SHA_256;
    if (version >= KYOK_KMIP_1_2) {
        sample->parameters.random_iv = KYOK_KMIP_FALSE;
        sample->parameters.tag_length = kyok_kmip_integer(16);
    }
    if (version >= KYOK_KMIP_1_4)
        sample->parameters.salt_length = kyok_kmip_integer(0);
    sample->key_information.unique_identifier = TEXT("kek");
    sample->key_information.parameters = &sample->parameters;
    sample->wrapping.method = KYOK_KMIP_WRAPPING_METHOD_ENCRYPT;
    sample->wrapping.encryption_key = &sample->key_information;
}

static const struct kyok_bytes derivation_bases[] = {{(const uint8_t *)"1", 1},
                                                     {(const uint8_t *)"2", 1}};

static void make_lifecycle(struct sample *sample, unsigned version)
{
    union kyok_kmip_request_payload *ask = &sample->request.payload;
    union kyok_kmip_response_payload *answer = &sample->response.payload;

    switch (sample->request.operation) {
    case KYOK_KMIP_OPERATION_CREATE:
        ask->create.object_type = answer->create.object_type = KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY;
        ask->create.attributes = sample->template;
        answer->create.unique_identifier = TEXT("1");
        answer->create.attributes = version < KYOK_KMIP_2_0 ? &sample->template : NULL;
        return;
    case KYOK_KMIP_OPERATION_CREATE_KEY_PAIR:
        ask->create_key_pair.common = ask->create_key_pair.private_key = &sample->template;
        answer->create_key_pair.private_key = TEXT("1");
        answer->create_key_pair.public_key = TEXT("2");
        return;
    case KYOK_KMIP_OPERATION_REGISTER:
        ask->register_object.object_type = KYOK_KMIP_OBJECT_TYPE_SECRET_DATA;
        ask->register_object.attributes = sample->template;
        ask->register_object.object = make_object(KYOK_KMIP_OBJECT_TYPE_SECRET_DATA);
        answer->identifier.unique_identifier = TEXT("1");
        return;
    case KYOK_KMIP_OPERATION_RE_KEY:
        ask->re_key.unique_identifier = TEXT("1");
        ask->re_key.offset = kyok_kmip_integer(0);
        ask->re_key.attributes = &sample->template;
        answer->identifier.unique_identifier = TEXT("2");
        return;
    case KYOK_KMIP_OPERATION_DERIVE_KEY:
        ask->derive_key = (struct kyok_kmip_derive_key_request){
            .object_type = KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
            .unique_identifiers = {derivation_bases, COUNT(derivation_bases)},
            .method = KYOK_KMIP_DERIVATION_METHOD_PBKDF2,
            .parameters = {.parameters = &sample->parameters,
                           .initialization_vector = TEXT("vector"),
                           .data = TEXT("data"),
                           .salt = TEXT("salt"),
                           .iteration_count = kyok_kmip_integer(1000)},
            .attributes = sample->template};
        answer->identifier.unique_identifier = TEXT("3");
        answer->identifier.attributes = version < KYOK_KMIP_2_0 ? &sample->template : NULL;
        return;
    case KYOK_KMIP_OPERATION_REVOKE:
        ask->revoke.unique_identifier = answer->identifier.unique_identifier = TEXT("1");
        ask->revoke.reason.code = KYOK_KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE;
        ask->revoke.reason.message = TEXT("stolen");
        ask->revoke.compromise_occurrence_date = kyok_kmip_long(1);
        return;
    default: /* Activate, Destroy, Archive, Recover */
        ask->identifier.unique_identifier = answer->identifier.unique_identifier = TEXT("1");
        return;
    }
}

static void make_reading(struct sample *sample, unsigned version)
{
    static const struct kyok_bytes found[] = {{(const uint8_t *)"1", 1}, {(const uint8_t *)"2", 1}};
    union kyok_kmip_request_payload *ask = &sample->request.payload;
    union kyok_kmip_response_payload *answer = &sample->response.payload;

    switch (sample->request.operation) {
    case KYOK_KMIP_OPERATION_GET:
        ask->get.unique_identifier = answer->get.unique_identifier = TEXT("1");
        ask->get.key_format_type = KYOK_KMIP_KEY_FORMAT_TYPE_RAW;
        ask->get.wrapping = &sample->wrapping;
        answer->get.object_type = KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY;
        answer->get.object = make_object(KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY);
        return;
    case KYOK_KMIP_OPERATION_LOCATE:
        ask->locate.maximum_items = kyok_kmip_integer(2);
        if (version >= KYOK_KMIP_1_3)
            ask->locate.offset_items = answer->locate.located_items = kyok_kmip_integer(4);
        ask->locate.attributes = sample->template.attributes;
        answer->locate.unique_identifiers.items = found;
        answer->locate.unique_identifiers.count = COUNT(found);
        return;
    case KYOK_KMIP_OPERATION_GET_ATTRIBUTES:
        ask->get_attributes.unique_identifier = TEXT("1");
        ask->get_attributes.names.items = sample->names;
        ask->get_attributes.names.count = COUNT(sample->names);
        answer->get_attributes.unique_identifier = TEXT("1");
        answer->get_attributes.attributes = sample->template.attributes;
        return;
    case KYOK_KMIP_OPERATION_GET_ATTRIBUTE_LIST:
        ask->identifier.unique_identifier = answer->get_attribute_list.unique_identifier =
            TEXT("1");
        answer->get_attribute_list.names.items = sample->names;
        answer->get_attribute_list.names.count = COUNT(sample->names);
        return;
    case KYOK_KMIP_OPERATION_DELETE_ATTRIBUTE:
        ask->delete_attribute.unique_identifier = answer->attribute.unique_identifier = TEXT("1");
        ask->delete_attribute.name = sample->names[2];
        if (version < KYOK_KMIP_2_0)
            ask->delete_attribute.index = kyok_kmip_integer(0);
        else
            ask->delete_attribute.current = &sample->attributes[7];
        return;
    default: /* Add, Modify, Set Attribute */
        ask->attribute.unique_identifier = answer->attribute.unique_identifier = TEXT("1");
        ask->attribute.attribute = &sample->attributes[7];
        if (version < KYOK_KMIP_2_0)
            answer->attribute.attribute = &sample->attributes[7];
        return;
    }
}

static void make_server(struct sample *sample)
{
    static const enum kyok_kmip_query_function functions[] = {
        KYOK_KMIP_QUERY_FUNCTION_QUERY_OPERATIONS, KYOK_KMIP_QUERY_FUNCTION_QUERY_OBJECTS};
    static const enum kyok_kmip_operation operations[] = {KYOK_KMIP_OPERATION_GET,
                                                          KYOK_KMIP_OPERATION_LOCATE};
    static const struct kyok_kmip_version known[] = {{2, 0}, {1, 4}};
    union kyok_kmip_request_payload *ask = &sample->request.payload;
    union kyok_kmip_response_payload *answer = &sample->response.payload;

    if (sample->request.operation == KYOK_KMIP_OPERATION_DISCOVER_VERSIONS) {
        ask->versions.versions.items = answer->versions.versions.items = known;
        ask->versions.versions.count = answer->versions.versions.count = COUNT(known);
        return;
    }
    ask->query.functions.items = functions;
    ask->query.functions.count = COUNT(functions);
    answer->query.operations.items = operations;
    answer->query.operations.count = COUNT(operations);
    answer->query.vendor_identification = TEXT("kyok");
    answer->query.server_information = kyok_bytes("", 0);
}

static void make_crypto(struct sample *sample, unsigned version)
{
    union kyok_kmip_request_payload *ask = &sample->request.payload;
    union kyok_kmip_response_payload *answer = &sample->response.payload;
    struct kyok_bytes extra = version >= KYOK_KMIP_1_4 ? TEXT("extra") : kyok_bytes(NULL, 0);

    switch (sample->request.operation) {
    case KYOK_KMIP_OPERATION_ENCRYPT:
    case KYOK_KMIP_OPERATION_DECRYPT:
        ask->cipher = (struct kyok_kmip_cipher_request){.unique_identifier = TEXT("1"),
                                                        .parameters = &sample->parameters,
                                                        .data = TEXT("data"),
                                                        .iv_counter_nonce = TEXT("123456789012"),
                                                        .additional_data = extra,
                                                        .tag = extra};
        answer->cipher = (struct kyok_kmip_cipher_response){
            .unique_identifier = TEXT("1"), .data = TEXT("data"), .tag = extra};
        return;
    case KYOK_KMIP_OPERATION_SIGN:
    case KYOK_KMIP_OPERATION_SIGNATURE_VERIFY:
        ask->sign = (struct kyok_kmip_sign_request){.unique_identifier = TEXT("1"),
                                                    .parameters = &sample->parameters,
                                                    .data = TEXT("data"),
                                                    .digested_data = extra};
        answer->sign.unique_identifier = answer->verify.unique_identifier = TEXT("1");
        if (sample->request.operation == KYOK_KMIP_OPERATION_SIGN)
            answer->sign.signature = TEXT("signature");
        else
            answer->verify.validity = KYOK_KMIP_VALIDITY_INDICATOR_VALID;
        return;
    case KYOK_KMIP_OPERATION_MAC:
    case KYOK_KMIP_OPERATION_HASH:
        ask->mac.unique_identifier =
            sample->request.operation == KYOK_KMIP_OPERATION_MAC ? TEXT("1") : kyok_bytes(NULL, 0);
        ask->mac.parameters = &sample->parameters;
        ask->mac.data = TEXT("data");
        if (version >= KYOK_KMIP_1_3)
            ask->mac.stream.init = KYOK_KMIP_TRUE;
        answer->mac.unique_identifier = ask->mac.unique_identifier;
        answer->mac.mac = TEXT("mac");
        return;
    case KYOK_KMIP_OPERATION_MAC_VERIFY:
        ask->mac.unique_identifier = answer->verify.unique_identifier = TEXT("1");
        ask->mac.mac = TEXT("mac");
        answer->verify.validity = KYOK_KMIP_VALIDITY_INDICATOR_INVALID;
        return;
    case KYOK_KMIP_OPERATION_RNG_SEED:
        ask->rng_seed.data = TEXT("seed");
        answer->rng_seed.data_length = 4;
        return;
    default: /* RNG Retrieve */
        ask->rng_retrieve.data_length = 4;
        answer->rng_retrieve.data = TEXT("rand");
        return;
    }
}

static void make_sample(struct sample *sample, enum kyok_kmip_operation operation, unsigned version)
{
    make_common(sample, operation, version);
    switch (operation) {
    case KYOK_KMIP_OPERATION_QUERY:
    case KYOK_KMIP_OPERATION_DISCOVER_VERSIONS:
        make_server(sample);
        return;
    case KYOK_KMIP_OPERATION_GET:
    case KYOK_KMIP_OPERATION_LOCATE:
    case KYOK_KMIP_OPERATION_GET_ATTRIBUTES:
    case KYOK_KMIP_OPERATION_GET_ATTRIBUTE_LIST:
    case KYOK_KMIP_OPERATION_ADD_ATTRIBUTE:
    case KYOK_KMIP_OPERATION_MODIFY_ATTRIBUTE:
    case KYOK_KMIP_OPERATION_SET_ATTRIBUTE:
    case KYOK_KMIP_OPERATION_DELETE_ATTRIBUTE:
        make_reading(sample, version);
        return;
    default:
        break;
    }
    if (operation >= KYOK_KMIP_OPERATION_ENCRYPT && operation <= KYOK_KMIP_OPERATION_HASH)
        make_crypto(sample, version);
    else
        make_lifecycle(sample, version);
}

/* --- round trips --- */

static void must(enum kyok_status status, const struct kyok_error *err)
{
    char text[1024];
    if (status != KYOK_OK)
        fail_msg("%s", kyok_error_text(err, text, sizeof(text)));
}

static struct kyok_kmip_request request_of(const struct sample *sample, unsigned version)
{
    struct kyok_kmip_request request;

    kyok_kmip_request_one(&request, version, &sample->request);
    request.maximum_response_size = kyok_kmip_integer(65536);
    request.asynchronous = KYOK_KMIP_FALSE;
    request.batch_order = KYOK_KMIP_TRUE;
    return request;
}

static struct kyok_kmip_response response_of(const struct sample *sample, unsigned version)
{
    return (struct kyok_kmip_response){.version = kyok_kmip_version(version),
                                       .time_stamp = kyok_kmip_long(1700000000),
                                       .items = {&sample->response, 1}};
}

static void request_again(const struct sample *sample, unsigned version)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer once = {0}, twice = {0};
    KYOK_CLEANUP(kyok_kmip_arena_free) struct kyok_kmip_arena arena;
    struct kyok_kmip_request request = request_of(sample, version), read;
    struct kyok_error err;

    kyok_kmip_arena_init(&arena, 0);
    must(kyok_kmip_request_append(&request, &once, &err), &err);
    must(kyok_kmip_request_read(kyok_buffer_bytes(&once), &arena, &read, &err), &err);
    must(kyok_kmip_request_append(&read, &twice, &err), &err);
    assert_int_equal(once.size, twice.size);
    assert_memory_equal(once.data, twice.data, once.size);
    assert_int_equal(read.items.items[0].operation, sample->request.operation);
    assert_null(read.items.items[0].raw.data);
}

static void response_again(const struct sample *sample, unsigned version)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer once = {0}, twice = {0};
    KYOK_CLEANUP(kyok_kmip_arena_free) struct kyok_kmip_arena arena;
    struct kyok_kmip_response response = response_of(sample, version), read;
    struct kyok_error err;

    kyok_kmip_arena_init(&arena, 0);
    must(kyok_kmip_response_append(&response, &once, &err), &err);
    must(kyok_kmip_response_read(kyok_buffer_bytes(&once), &arena, &read, &err), &err);
    must(kyok_kmip_response_append(&read, &twice, &err), &err);
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
            struct sample sample;
            if (versions[i] < shapes->since)
                continue;
            make_sample(&sample, shapes->operation, versions[i]);
            request_again(&sample, versions[i]);
            response_again(&sample, versions[i]);
            done++;
        }
    }
    assert_true(done >= 29 * 5);
}

static enum kyok_status append_derivation(const struct sample *sample, struct kyok_buffer *bytes,
                                          struct kyok_error *err)
{
    struct kyok_kmip_request request = request_of(sample, KYOK_KMIP_1_4);

    return kyok_kmip_request_append(&request, bytes, err);
}

/* What 4.6 requires is neither sent nor taken without: the base objects, method and parameters. */
static void derive_key_is_complete(void **state)
{
    static const uint8_t base[] = {0x42, 0x00, 0x94, 0x07, 0, 0, 0, 1};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer bytes = {0};
    KYOK_CLEANUP(kyok_kmip_arena_free) struct kyok_kmip_arena arena;
    struct kyok_kmip_request read;
    struct kyok_error err;
    struct sample sample;

    (void)state;
    kyok_kmip_arena_init(&arena, 0);
    make_sample(&sample, KYOK_KMIP_OPERATION_DERIVE_KEY, KYOK_KMIP_1_4);
    must(append_derivation(&sample, &bytes, &err), &err);
    must(kyok_kmip_request_read(kyok_buffer_bytes(&bytes), &arena, &read, &err), &err);
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
    assert_int_equal(append_derivation(&sample, &bytes, &err), KYOK_INVALID);
    assert_non_null(strstr(err.what, "without UniqueIdentifier"));
    sample.request.payload.derive_key.unique_identifiers.count = 1;
    sample.request.payload.derive_key.method = 0;
    assert_int_equal(append_derivation(&sample, &bytes, &err), KYOK_INVALID);
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
            struct sample sample;
            make_sample(&sample, KYOK_KMIP_OPERATION_GET, versions[v]);
            sample.response.payload.get.object_type = types[i];
            sample.response.payload.get.object = make_object(types[i]);
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
    struct sample sample;

    (void)state;
    make_sample(&sample, KYOK_KMIP_OPERATION_GET, KYOK_KMIP_1_4);
    struct kyok_kmip_key_block *key = &sample.response.payload.get.object.key;
    key->value.material = kyok_bytes(NULL, 0);
    key->value.transparent = &rsa;
    response_again(&sample, KYOK_KMIP_1_4);
    key->value.transparent = NULL;
    key->value.wrapped = secret_bytes;
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
        struct sample sample;
        struct kyok_kmip_response read;
        struct kyok_error err;

        make_sample(&sample, KYOK_KMIP_OPERATION_GET_ATTRIBUTES, versions[v]);
        struct kyok_kmip_response response = response_of(&sample, versions[v]);
        kyok_kmip_arena_init(&arena, 0);
        must(kyok_kmip_response_append(&response, &bytes, &err), &err);
        must(kyok_kmip_response_read(kyok_buffer_bytes(&bytes), &arena, &read, &err), &err);
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

static enum kyok_status write_request(const struct sample *sample, unsigned version,
                                      struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer bytes = {0};
    struct kyok_kmip_request request = request_of(sample, version);
    return kyok_kmip_request_append(&request, &bytes, err);
}

static void nothing_is_left_out_silently(void **state)
{
    struct kyok_error err;
    struct sample sample;

    (void)state;
    make_sample(&sample, KYOK_KMIP_OPERATION_ENCRYPT, KYOK_KMIP_1_4);
    assert_int_equal(write_request(&sample, KYOK_KMIP_1_1, &err), KYOK_UNSUPPORTED);
    assert_non_null(strstr(err.what, "KMIP 1.1 has no Encrypt"));
    sample.parameters.salt_length.set = false;
    assert_int_equal(write_request(&sample, KYOK_KMIP_1_3, &err), KYOK_UNSUPPORTED);
    assert_non_null(strstr(err.what, "KMIP 1.3 has no AuthenticatedEncryptionAdditionalData"));

    make_sample(&sample, KYOK_KMIP_OPERATION_CREATE, KYOK_KMIP_2_0);
    sample.attributes[6] =
        kyok_kmip_attribute_of_text(KYOK_KMIP_ATTRIBUTE_OPERATION_POLICY_NAME, TEXT("default"));
    assert_int_equal(write_request(&sample, KYOK_KMIP_1_4, &err), KYOK_OK);
    assert_int_equal(write_request(&sample, KYOK_KMIP_2_0, &err), KYOK_UNSUPPORTED);
    assert_non_null(strstr(err.what, "KMIP 2.0 has no attribute Operation Policy Name"));

    make_sample(&sample, KYOK_KMIP_OPERATION_CREATE, KYOK_KMIP_2_0);
    sample.attributes[6].index = kyok_kmip_integer(1);
    assert_int_equal(write_request(&sample, KYOK_KMIP_1_4, &err), KYOK_OK);
    assert_int_equal(write_request(&sample, KYOK_KMIP_2_0, &err), KYOK_UNSUPPORTED);

    make_sample(&sample, KYOK_KMIP_OPERATION_CREATE, KYOK_KMIP_2_0);
    sample.attributes[7].name.vendor = TEXT("ACME");
    assert_int_equal(write_request(&sample, KYOK_KMIP_2_0, &err), KYOK_OK);
    assert_int_equal(write_request(&sample, KYOK_KMIP_1_4, &err), KYOK_UNSUPPORTED);

    make_sample(&sample, KYOK_KMIP_OPERATION_LOCATE, KYOK_KMIP_1_3);
    assert_int_equal(write_request(&sample, KYOK_KMIP_1_2, &err), KYOK_UNSUPPORTED);
    make_sample(&sample, KYOK_KMIP_OPERATION_GET, KYOK_KMIP_1_0);
    assert_int_equal(write_request(&sample, 0x105, &err), KYOK_UNSUPPORTED);
    assert_int_equal(write_request(&sample, 0x300, &err), KYOK_UNSUPPORTED);
}

static void a_missing_field_is_not_written(void **state)
{
    struct kyok_error err;
    struct sample sample;

    (void)state;
    make_sample(&sample, KYOK_KMIP_OPERATION_CREATE, KYOK_KMIP_1_4);
    sample.request.payload.create.object_type = (enum kyok_kmip_object_type)0;
    assert_int_equal(write_request(&sample, KYOK_KMIP_1_4, &err), KYOK_INVALID);
    assert_non_null(strstr(err.what, "RequestPayload was to be sent without ObjectType"));
    make_sample(&sample, KYOK_KMIP_OPERATION_ADD_ATTRIBUTE, KYOK_KMIP_2_0);
    sample.request.payload.attribute.attribute = NULL;
    assert_int_equal(write_request(&sample, KYOK_KMIP_2_0, &err), KYOK_INVALID);
}

/* --- what a reader refuses: messages made by hand --- */

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

/* A key where a certificate was promised. */
static void refuses_an_object_of_another_type(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer bytes = {0};
    KYOK_CLEANUP(kyok_kmip_arena_free) struct kyok_kmip_arena arena;
    struct kyok_kmip_response read;
    struct kyok_error err;
    struct sample sample;

    (void)state;
    kyok_kmip_arena_init(&arena, 0);
    make_sample(&sample, KYOK_KMIP_OPERATION_GET, KYOK_KMIP_1_4);
    sample.response.payload.get.object_type = KYOK_KMIP_OBJECT_TYPE_CERTIFICATE;
    struct kyok_kmip_response response = response_of(&sample, KYOK_KMIP_1_4);
    must(kyok_kmip_response_append(&response, &bytes, &err), &err);
    assert_int_equal(kyok_kmip_response_read(kyok_buffer_bytes(&bytes), &arena, &read, &err),
                     KYOK_FAULT);
    assert_non_null(strstr(err.what, "another type"));
}

/* And where one is registered. */
static void refuses_to_register_another_type(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer bytes = {0};
    KYOK_CLEANUP(kyok_kmip_arena_free) struct kyok_kmip_arena arena;
    struct kyok_kmip_request read;
    struct kyok_error err;
    struct sample sample;

    (void)state;
    kyok_kmip_arena_init(&arena, 0);
    make_sample(&sample, KYOK_KMIP_OPERATION_REGISTER, KYOK_KMIP_1_4);
    sample.request.payload.register_object.object_type = KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY;
    struct kyok_kmip_request request = request_of(&sample, KYOK_KMIP_1_4);
    must(kyok_kmip_request_append(&request, &bytes, &err), &err);
    assert_int_equal(kyok_kmip_request_read(kyok_buffer_bytes(&bytes), &arena, &read, &err),
                     KYOK_FAULT);
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
    must(kyok_kmip_response_append(&response, &bytes, &err), &err);
    must(kyok_kmip_response_read(kyok_buffer_bytes(&bytes), &arena, &read, &err), &err);
    assert_false(read.items.items[0].has_payload);
    assert_non_null(read.items.items[0].raw.data);
    assert_int_equal(kyok_kmip_item_result(&read.items.items[0], "kms", &err), KYOK_NOT_FOUND);
    must(kyok_kmip_response_append(&read, &again, &err), &err);
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
            struct sample sample;
            struct kyok_error err;
            if (kyok_kmip_operation_shapes(operation)->since > some[v])
                continue;
            make_sample(&sample, (enum kyok_kmip_operation)operation, some[v]);
            struct kyok_kmip_request request = request_of(&sample, some[v]);
            struct kyok_kmip_response response = response_of(&sample, some[v]);
            must(kyok_kmip_request_append(&request, &ask, &err), &err);
            must(kyok_kmip_response_append(&response, &answer, &err), &err);
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
    must(kyok_kmip_response_append(&response, &bytes, &err), &err);
    kyok_kmip_arena_init(&arena, (size_t)1 << 20);
    assert_int_equal(kyok_kmip_response_read(kyok_buffer_bytes(&bytes), &arena, &read, &err),
                     KYOK_BUSY);
    assert_true(arena.total <= (size_t)1 << 20);
    kyok_kmip_arena_free(&arena);
    kyok_kmip_arena_init(&arena, 0);
    must(kyok_kmip_response_read(kyok_buffer_bytes(&bytes), &arena, &read, &err), &err);
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
    struct sample sample;

    (void)state;
    make_sample(&sample, KYOK_KMIP_OPERATION_GET, KYOK_KMIP_1_4);
    struct kyok_kmip_response response = response_of(&sample, KYOK_KMIP_1_4);
    must(kyok_kmip_response_append(&response, &bytes, &err), &err);
    kyok_kmip_arena_init(&arena, 1); /* not one block more */
    must(kyok_kmip_response_read(kyok_buffer_bytes(&bytes), &arena, &read, &err), &err);
    const struct kyok_bytes *material = &read.items.items[0].payload.get.object.key.value.material;
    assert_in_range((uintptr_t)material->data, (uintptr_t)bytes.data,
                    (uintptr_t)bytes.data + bytes.size); /* a view, not a copy */
    kyok_kmip_arena_free(&arena);
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
        cmocka_unit_test(results_become_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
