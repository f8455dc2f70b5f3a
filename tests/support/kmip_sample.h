/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of KMIP's messages: one request and one response of each operation. */
#ifndef KYOK_TESTS_KMIP_SAMPLE_H
#define KYOK_TESTS_KMIP_SAMPLE_H

#include "common/kmip/message_attribute.h"
#include "common/kmip/message_operations.h"
#include "tests/support/literals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* What the items point to lies beside them: not to be copied. */
struct kmip_sample {
    struct kyok_kmip_attribute attributes[8];
    struct kyok_kmip_attribute_name names[3];
    struct kyok_kmip_template template;
    struct kyok_kmip_cryptographic_parameters parameters;
    struct kyok_kmip_key_information key_information;
    struct kyok_kmip_key_wrapping_specification wrapping;
    struct kyok_kmip_request_item request;
    struct kyok_kmip_response_item response;
};

/* As full as the version allows. */
void kmip_sample_make(struct kmip_sample *sample, enum kyok_kmip_operation operation,
                      unsigned version);
struct kyok_kmip_request kmip_sample_request(const struct kmip_sample *sample, unsigned version);
struct kyok_kmip_response kmip_sample_response(const struct kmip_sample *sample, unsigned version);
/* And as they are sent, which must succeed. */
void kmip_sample_append_request(const struct kmip_sample *sample, unsigned version,
                                struct kyok_buffer *bytes);
void kmip_sample_append_response(const struct kmip_sample *sample, unsigned version,
                                 struct kyok_buffer *bytes);

/* Attributes that all versions have; their number. */
size_t kmip_sample_attributes(struct kyok_kmip_attribute attributes[8]);
/* Of that type, with kmip_sample_secret in it. */
struct kyok_kmip_object kmip_sample_object(enum kyok_kmip_object_type type);
extern const struct kyok_bytes kmip_sample_secret;

/* Fails the test with the error's words. */
void kmip_sample_must(enum kyok_status status, const struct kyok_error *err);

#endif
