/* SPDX-License-Identifier: Apache-2.0 */
/* The KMIP client against a server that does it right: versions, what must not be done twice, the
 * smallest server, paging. */
#include "tests/support/kmip_group.h"

#include <stdio.h>
#include <string.h>

/* --- versions -------------------------------------------------------------------------------- */

static void versions(void **state)
{
    static const struct {
        const char *offered;
        unsigned limit, chosen;
    } cases[] = {
        {"1.4 1.3 1.2 1.1 1.0", 0, KYOK_KMIP_1_4},
        {"1.0", 0, KYOK_KMIP_1_0},
        {"1.1 1.0", 0, KYOK_KMIP_1_1},
        {"1.2 1.1 1.0", 0, KYOK_KMIP_1_2},
        {"2.0 1.4", 0, KYOK_KMIP_1_4},
        {"2.0 1.4", 20, KYOK_KMIP_2_0},
        {"2.0", 0, KYOK_KMIP_2_0},
        {"1.4 1.3 1.2", 12, KYOK_KMIP_1_2},
        {"1.4", 0, KYOK_KMIP_1_4},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kmip_group group;
        char name[32];
        snprintf(name, sizeof name, "versions %zu", i);
        kmip_group_tell(&kmip_one, "versions %s", cases[i].offered);
        kmip_group_open(&group, name, "alice", KMIP_LONG_MS, &kmip_one, NULL);
        group.config.version = cases[i].limit;
        kmip_group_expect(&group, "k");
        assert_int_equal(kyok_kmip_client_version(group.client), cases[i].chosen);
        kmip_group_close(&group);
    }
    kmip_group_tell(&kmip_one, "versions 1.4 1.3 1.2 1.1 1.0");
}

static void no_common_version(void **state)
{
    struct kmip_group group;
    struct kyok_error err;
    (void)state;
    kmip_group_open(&group, "nothing in common", "alice", KMIP_LONG_MS, &kmip_one, NULL);
    group.config.version = 12;
    kmip_group_tell(&kmip_one, "versions 1.4 1.3 2.0");
    enum kyok_status status = kmip_group_get(&group, "k", &err);
    kmip_group_tell(&kmip_one, "versions 1.4 1.3 1.2 1.1 1.0");
    assert_int_not_equal(status, KYOK_OK);
    assert_string_equal(err.object, group.urls[0]);
    kmip_group_expect(&group, "k");
    kmip_group_close(&group);
}

/* --- what must not happen twice -------------------------------------------------------------- */

static void doubtful_create(void **state)
{
    struct kmip_group group;
    struct kyok_error err;
    struct kyok_kmip_created created;
    struct kyok_kmip_creation creation = kmip_group_aes("made-once");
    (void)state;
    kmip_group_open(&group, "doubt", "alice", KMIP_LONG_MS, &kmip_one, NULL);
    kmip_group_tell(&kmip_one, "reset-stats");
    kmip_group_tell(&kmip_one, "fault Create 1 close-after"); /* made, but the answer is lost */
    assert_int_equal(kmip_group_create(&group, &creation, &created, &err), KYOK_OK);
    assert_true(created.found);
    assert_int_equal(kmip_peer_stat(&kmip_one, "Create"), 1);
    creation.name = "never-made";
    kmip_group_tell(&kmip_one, "fault Create 1 close-before");
    assert_int_equal(kmip_group_create(&group, &creation, &created, &err), KYOK_UNREACHABLE);
    assert_non_null(strstr(err.remedy, "never-made"));
    assert_int_equal(kmip_peer_stat(&kmip_one, "Create"), 2); /* one per call, never a second one */
    creation.name = "made-once";
    assert_int_equal(kmip_group_create(&group, &creation, &created, &err), KYOK_REFUSED);
    assert_int_equal(kmip_peer_stat(&kmip_one, "Create"), 2);
    kmip_group_close(&group);
}

static void doubtful_derivation(void **state)
{
    struct kmip_group group;
    struct kyok_error err;
    struct kyok_kmip_created created;
    static const struct kyok_kmip_cryptographic_parameters parameters = {
        .hashing_algorithm = KYOK_KMIP_HASHING_ALGORITHM_SHA_256};
    struct kyok_bytes base = kyok_bytes_of_text("k");
    struct kyok_kmip_derivation derivation = {
        .bases = &base, .base_count = 1, .method = KYOK_KMIP_DERIVATION_METHOD_HASH};
    struct kyok_kmip_creation creation = kmip_group_aes("derived-once");
    (void)state;
    derivation.parameters.parameters = &parameters;
    creation.derivation = &derivation;
    kmip_group_open(&group, "derivation", "alice", KMIP_LONG_MS, &kmip_one, NULL);
    kmip_group_tell(&kmip_one, "reset-stats");
    kmip_group_tell(&kmip_one, "fault DeriveKey 1 close-after");
    assert_int_equal(kmip_group_create(&group, &creation, &created, &err), KYOK_OK);
    assert_true(created.found);
    assert_int_equal(kmip_peer_stat(&kmip_one, "DeriveKey"), 1);
    kmip_group_expect(&group, created.identifier);
    base = kyok_bytes_of_text("no-such-key");
    creation.name = NULL;
    assert_int_equal(kmip_group_create(&group, &creation, &created, &err), KYOK_NOT_FOUND);
    assert_non_null(strstr(err.what, "Derive"));
    kmip_group_close(&group);
}

static void doubtful_states(void **state)
{
    struct kmip_group group;
    struct kyok_error err;
    struct kyok_bytes id = kyok_bytes_of_text("s");
    (void)state;
    kmip_group_open(&group, "states", "alice", KMIP_LONG_MS, &kmip_one, NULL);
    kmip_group_tell(&kmip_one, "key s aes-256");
    kmip_group_tell(&kmip_one, "state s pre-active");
    static const char *const how[] = {"close-after", "close-before"};
    for (size_t i = 0; i < 2; i++) {
        struct kyok_deadline soon = kyok_kmip_client_deadline(group.client);
        kmip_group_tell(&kmip_one, "state s pre-active");
        kmip_group_tell(&kmip_one, "fault Activate 1 %s", how[i]);
        assert_int_equal(kyok_kmip_activate(group.client, id, soon, &err), KYOK_OK);
        kmip_group_tell(&kmip_one, "fault Revoke 1 %s", how[i]);
        assert_int_equal(kyok_kmip_revoke(group.client, id,
                                          KYOK_KMIP_REVOCATION_REASON_CODE_CESSATION_OF_OPERATION,
                                          NULL, soon, &err),
                         KYOK_OK);
    }
    assert_int_equal(
        kyok_kmip_activate(group.client, id, kyok_kmip_client_deadline(group.client), &err),
        KYOK_REFUSED); /* revoked stays revoked */
    kmip_group_tell(&kmip_one, "fault Destroy 1 close-after");
    assert_int_equal(
        kyok_kmip_destroy(group.client, id, kyok_kmip_client_deadline(group.client), &err),
        KYOK_OK);
    assert_int_equal(
        kyok_kmip_destroy(group.client, id, kyok_kmip_client_deadline(group.client), &err),
        KYOK_NOT_FOUND);
    kmip_group_close(&group);
}

/* --- the smallest server --------------------------------------------------------------------- */

static void nine_operations(void **state)
{
    struct kmip_group group;
    struct kyok_error err;
    struct kyok_kmip_created created;
    struct kyok_kmip_creation creation = kmip_group_aes("kek");
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer id = {0};
    (void)state;
    kmip_group_tell(&kmip_one, "profile nine");
    kmip_group_tell(&kmip_one, "versions 1.4");
    kmip_group_tell(&kmip_one, "reset-stats");
    kmip_group_open(&group, "nine", "alice", KMIP_LONG_MS, &kmip_one, NULL);
    struct kyok_deadline soon = kyok_kmip_client_deadline(group.client);
    assert_int_equal(kmip_group_create(&group, &creation, &created, &err), KYOK_OK);
    struct kyok_bytes made = kyok_bytes_of_text(created.identifier);
    assert_int_equal(kyok_kmip_locate_name(group.client, kyok_bytes_of_text("kek"),
                                           KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY, soon, &id, &err),
                     KYOK_OK);
    assert_string_equal((char *)id.data, created.identifier);
    assert_int_equal(kyok_kmip_activate(group.client, made, soon, &err), KYOK_OK);
    kmip_group_expect(&group, created.identifier);
    assert_int_equal(kyok_kmip_revoke(group.client, made,
                                      KYOK_KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE, "test", soon,
                                      &err),
                     KYOK_OK);
    assert_int_equal(kyok_kmip_destroy(group.client, made, soon, &err), KYOK_OK);
    assert_int_equal(kmip_peer_stat(&kmip_one, "Query"), 0);
    kmip_group_tell(&kmip_one, "profile full");
    kmip_group_tell(&kmip_one, "versions 1.4 1.3 1.2 1.1 1.0");
    kmip_group_close(&group);
}

static void paging(void **state)
{
    struct kmip_group group;
    struct kyok_error err;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer found = {0};
    size_t count;
    bool more;
    (void)state;
    for (int i = 0; i < 1105; i++)
        kmip_group_tell(&kmip_two, "key page-%d aes-256", i);
    kmip_group_open(&group, "paging", "alice", KMIP_LONG_MS, &kmip_two, NULL);
    struct kyok_kmip_attribute attribute = kyok_kmip_attribute_enumeration(
        KYOK_KMIP_ATTRIBUTE_OBJECT_TYPE, KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY);
    assert_int_equal(kyok_kmip_locate(group.client, &attribute, 1, 5000,
                                      kyok_kmip_client_deadline(group.client), &found, &count,
                                      &more, &err),
                     KYOK_OK);
    assert_true(count >= 1105);
    assert_false(more);
    found.size = 0;
    assert_int_equal(kyok_kmip_locate(group.client, &attribute, 1, 10,
                                      kyok_kmip_client_deadline(group.client), &found, &count,
                                      &more, &err),
                     KYOK_OK);
    assert_int_equal(count, 10);
    assert_true(more);
    kmip_group_close(&group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kmip_group_test(versions),        kmip_group_test(no_common_version),
        kmip_group_test(doubtful_create), kmip_group_test(doubtful_derivation),
        kmip_group_test(doubtful_states), kmip_group_test(nine_operations),
        kmip_group_test(paging),
    };
    return kmip_group_run(tests, sizeof tests / sizeof *tests, NULL, NULL);
}
