/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/kmip_sample.h"

#include <stdio.h>
#include <string.h>

static const struct kyok_kmip_name name_value = {{(const uint8_t *)"disk", 4},
                                                 KYOK_KMIP_NAME_TYPE_UNINTERPRETED_TEXT_STRING};
static const struct kyok_kmip_link link_value = {KYOK_KMIP_LINK_TYPE_PUBLIC_KEY_LINK,
                                                 {(const uint8_t *)"7", 1}};
static const uint8_t secret[32] = {0x5A, 1, 2, 3, 4, 5, 6, 7, 8, 9};
const struct kyok_bytes kmip_sample_secret = {secret, sizeof(secret)};

size_t kmip_sample_attributes(struct kyok_kmip_attribute attributes[8])
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

struct kyok_kmip_object kmip_sample_object(enum kyok_kmip_object_type type)
{
    struct kyok_kmip_object object = {.type = type};

    if (type == KYOK_KMIP_OBJECT_TYPE_CERTIFICATE) {
        object.certificate_type = KYOK_KMIP_CERTIFICATE_TYPE_X_509;
        object.value = TEXT("certificate");
        return object;
    }
    if (type == KYOK_KMIP_OBJECT_TYPE_OPAQUE_OBJECT) {
        object.opaque_data_type = (enum kyok_kmip_opaque_data_type)0x80000001;
        object.value = kmip_sample_secret;
        return object;
    }
    object.secret_data_type = type == KYOK_KMIP_OBJECT_TYPE_SECRET_DATA
                                  ? KYOK_KMIP_SECRET_DATA_TYPE_SEED
                                  : (enum kyok_kmip_secret_data_type)0;
    object.key.format = KYOK_KMIP_KEY_FORMAT_TYPE_RAW;
    object.key.value.material = kmip_sample_secret;
    object.key.algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES;
    object.key.length = kyok_kmip_integer(256);
    return object;
}

/* Everything that the samples point to, so that they live as long as the test's frame. */
static void make_common(struct kmip_sample *sample, enum kyok_kmip_operation operation,
                        unsigned version)
{
    memset(sample, 0, sizeof(*sample));
    sample->request.operation = sample->response.operation = operation;
    sample->request.batch_id = sample->response.batch_id = TEXT("id");
    sample->response.has_payload = true;
    sample->template.attributes.items = sample->attributes;
    sample->template.attributes.count = kmip_sample_attributes(sample->attributes);
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

static void make_lifecycle(struct kmip_sample *sample, unsigned version)
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
        ask->register_object.object = kmip_sample_object(KYOK_KMIP_OBJECT_TYPE_SECRET_DATA);
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

static void make_reading(struct kmip_sample *sample, unsigned version)
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
        answer->get.object = kmip_sample_object(KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY);
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

static void make_server(struct kmip_sample *sample)
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

static void make_crypto(struct kmip_sample *sample, unsigned version)
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

void kmip_sample_make(struct kmip_sample *sample, enum kyok_kmip_operation operation,
                      unsigned version)
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

void kmip_sample_must(enum kyok_status status, const struct kyok_error *err)
{
    char text[1024];
    if (status != KYOK_OK)
        fail_msg("%s", kyok_error_text(err, text, sizeof(text)));
}

struct kyok_kmip_request kmip_sample_request(const struct kmip_sample *sample, unsigned version)
{
    struct kyok_kmip_request request;

    kyok_kmip_request_one(&request, version, &sample->request);
    request.maximum_response_size = kyok_kmip_integer(65536);
    request.asynchronous = KYOK_KMIP_FALSE;
    request.batch_order = KYOK_KMIP_TRUE;
    return request;
}

struct kyok_kmip_response kmip_sample_response(const struct kmip_sample *sample, unsigned version)
{
    return (struct kyok_kmip_response){.version = kyok_kmip_version(version),
                                       .time_stamp = kyok_kmip_long(1700000000),
                                       .items = {&sample->response, 1}};
}

void kmip_sample_append_request(const struct kmip_sample *sample, unsigned version,
                                struct kyok_buffer *bytes)
{
    struct kyok_kmip_request request = kmip_sample_request(sample, version);
    struct kyok_error err;

    kmip_sample_must(kyok_kmip_request_append(&request, bytes, &err), &err);
}

void kmip_sample_append_response(const struct kmip_sample *sample, unsigned version,
                                 struct kyok_buffer *bytes)
{
    struct kyok_kmip_response response = kmip_sample_response(sample, version);
    struct kyok_error err;

    kmip_sample_must(kyok_kmip_response_append(&response, bytes, &err), &err);
}
