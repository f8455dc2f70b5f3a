/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the unit tests of envelopes share: three AES keys and an RSA key in memory, an envelope
 * sealed to a policy of them, and how it must open or be refused.
 */
#ifndef KYOK_TESTS_MEMORY_ENVELOPE_H
#define KYOK_TESTS_MEMORY_ENVELOPE_H

#include "tests/support/memory_keyholder.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct kyok_envelope_claims claims = {"disk", "vm \"one\" \\ Zürich", 7};
static const struct kyok_envelope_expected expected = {.use = "disk"};
static const char secret_text[] = "0123456789abcdef correct horse battery staple";

static struct memory_keys keys;
static struct kyok_keyholder holder;

#define A "pkcs11:object=a"
#define B "pkcs11:object=b"
#define C "pkcs11:object=c"
#define R "pkcs11:object=r"

static inline int setup(void **state)
{
    (void)state;
    memset(&keys, 0, sizeof(keys));
    memory_add(&keys, A, 1, NULL);
    memory_add(&keys, B, 2, NULL);
    memory_add(&keys, C, 3, NULL);
    memory_add(&keys, R, 0, EVP_RSA_gen(2048));
    holder = memory_keyholder(&keys);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    atomic_store(&keys.release, true);
    for (int i = 0; i < 1000 && atomic_load(&keys.references) > 0; i++)
        usleep(5000);
    EVP_PKEY_free(keys.keys[3].pkey);
    return 0;
}

static inline struct kyok_policy *policy_of(const char *text)
{
    struct kyok_policy *policy = NULL;
    struct kyok_error err;

    if (kyok_policy_parse(text, KYOK_FROM_CONFIGURATION, NULL, &policy, &err) != KYOK_OK)
        fail_msg("%s: %s", text, err.what);
    return policy;
}

static inline struct kyok_buffer seal_as(const char *policy_text,
                                         const struct kyok_envelope_claims *said,
                                         enum kyok_envelope_content content,
                                         enum kyok_envelope_algorithm algorithm)
{
    struct kyok_policy *policy = policy_of(policy_text);
    struct kyok_envelope_options options = {.algorithm = algorithm};
    struct kyok_buffer json = {0};
    struct kyok_error err;

    if (kyok_envelope_seal_with(&holder, policy, said, content, kyok_bytes_of_text(secret_text),
                                &options, &json, &err) != KYOK_OK)
        fail_msg("%s: %s", policy_text, err.what);
    kyok_policy_free(policy);
    return json;
}

static inline struct kyok_buffer seal(const char *policy_text)
{
    return seal_as(policy_text, &claims, KYOK_ENVELOPE_SECRET, KYOK_ENVELOPE_AUTOMATIC);
}

static inline enum kyok_status open_bytes(struct kyok_bytes json, struct kyok_error *err)
{
    struct kyok_secret *secret = NULL;
    struct kyok_envelope *opened = NULL;
    enum kyok_status status = kyok_envelope_open_with(
        &holder, json, &expected, KYOK_ENVELOPE_SECRET, NULL, &secret, &opened, err);

    if (status == KYOK_OK) {
        assert_true(kyok_bytes_equal(kyok_secret_bytes(secret), kyok_bytes_of_text(secret_text)));
        assert_string_equal(kyok_envelope_claims(opened)->owner, claims.owner);
    } else {
        assert_null(secret);
        assert_null(opened);
        assert_int_equal(status, err->status);
    }
    kyok_secret_free(secret);
    kyok_envelope_free(opened);
    return status;
}

static inline enum kyok_status open_buffer(const struct kyok_buffer *json, struct kyok_error *err)
{
    return open_bytes(kyok_buffer_bytes(json), err);
}

static inline void assert_opens(const struct kyok_buffer *json)
{
    struct kyok_error err;

    if (open_buffer(json, &err) != KYOK_OK)
        fail_msg("%s", err.what);
}

static inline void assert_refused(struct kyok_bytes json, enum kyok_status status,
                                  const char *check)
{
    struct kyok_error err = {0};
    enum kyok_status got = open_bytes(json, &err);

    if (got != status || strstr(err.what, check) == NULL)
        fail_msg("wanted %s \"%s\", got %s \"%s\"", kyok_status_name(status), check,
                 kyok_status_name(got), err.what);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
