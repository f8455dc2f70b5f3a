/* SPDX-License-Identifier: Apache-2.0 */
/* Life records: states and what may follow them, names of versions, one encoding, hostile values.
 */
#include "common/base/key_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct kyok_key_record record;

static void states_follow_each_other(void **state)
{
    static const char *const allowed[] = {
        "pre-active active", "pre-active destroyed",  "active suspended",      "active deactivated",
        "suspended active",  "suspended deactivated", "deactivated destroyed",
    };

    (void)state;
    for (int from = 0; from <= KYOK_STATE_DESTROYED; from++)
        for (int to = 0; to <= KYOK_STATE_DESTROYED; to++) {
            char pair[64];
            bool wanted = false;

            snprintf(pair, sizeof(pair), "%s %s", kyok_key_state_name(from),
                     kyok_key_state_name(to));
            for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
                wanted = wanted || strcmp(pair, allowed[i]) == 0;
            if (kyok_key_state_may_follow(from, to) != wanted)
                fail_msg("%s", pair);
        }
}

static void states_leave_usage(void **state)
{
    const unsigned all = 63;

    (void)state;
    assert_int_equal(kyok_key_state_usage(KYOK_STATE_ACTIVE, all), all);
    assert_int_equal(kyok_key_state_usage(KYOK_STATE_SUSPENDED, all), 0);
    assert_int_equal(kyok_key_state_usage(KYOK_STATE_PRE_ACTIVE, all), 0);
    assert_int_equal(kyok_key_state_usage(KYOK_STATE_DEACTIVATED, all),
                     KYOK_USAGE_DECRYPT | KYOK_USAGE_UNWRAP | KYOK_USAGE_DERIVE);
}

static void labels_have_base_names(void **state)
{
    static const struct {
        const char *label, *base;
    } cases[] = {{"root", "root"},     {"root.v2", "root"},  {"root.v12", "root"},
                 {"root.v", "root.v"}, {"root.2", "root.2"}, {"v2", "v2"},
                 {".v2", ".v2"},       {"a.v2.v3", "a.v2"}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char base[KYOK_RECORD_LABEL_MAX + 1];

        kyok_key_record_base_name(cases[i].label, base);
        assert_string_equal(base, cases[i].base);
    }
}

static const char good[] =
    "{\"kyok-key\":1,\"serial\":3,\"name\":\"root\",\"versions\":[{\"label\":\"root\",\"id\":"
    "\"0a\","
    "\"state\":\"deactivated\",\"usage\":15,\"made\":0},{\"label\":\"root.v2\",\"id\":\"0b0c\","
    "\"state\":\"active\",\"usage\":15,\"made\":7,\"parent\":{\"label\":\"top\",\"id\":\"ff\"},"
    "\"wrapped\":\"000102030405060708090a0b0c0d0e0f1011121314151617\"}]}";

static void records_come_back(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {0};
    struct kyok_error err;

    (void)state;
    assert_int_equal(kyok_key_record_parse(kyok_bytes_of_text(good), &record, &err), KYOK_OK);
    assert_int_equal(record.count, 2);
    assert_string_equal(kyok_key_record_current(&record, 0)->name.label, "root.v2");
    assert_int_equal(record.versions[1].wrapped_size, 24);
    assert_ptr_equal(kyok_key_record_version(&record, "root", (const uint8_t *)"\n", 1),
                     &record.versions[0]);
    assert_null(kyok_key_record_version(&record, "root", (const uint8_t *)"\v", 1));
    assert_int_equal(kyok_key_record_write(&record, &json, &err), KYOK_OK);
    assert_true(kyok_bytes_equal(kyok_buffer_bytes(&json), kyok_bytes_of_text(good)));
}

static void dates_change_states(void **state)
{
    static const struct {
        enum kyok_key_state is;
        int64_t activate, deactivate;
        enum kyok_key_state at_99, at_100, at_200;
    } cases[] = {
        {KYOK_STATE_PRE_ACTIVE, 0, 0, KYOK_STATE_PRE_ACTIVE, KYOK_STATE_PRE_ACTIVE,
         KYOK_STATE_PRE_ACTIVE},
        {KYOK_STATE_PRE_ACTIVE, 100, 0, KYOK_STATE_PRE_ACTIVE, KYOK_STATE_ACTIVE,
         KYOK_STATE_ACTIVE},
        {KYOK_STATE_PRE_ACTIVE, 100, 200, KYOK_STATE_PRE_ACTIVE, KYOK_STATE_ACTIVE,
         KYOK_STATE_DEACTIVATED},
        {KYOK_STATE_PRE_ACTIVE, 0, 100, KYOK_STATE_PRE_ACTIVE, KYOK_STATE_PRE_ACTIVE,
         KYOK_STATE_PRE_ACTIVE},
        {KYOK_STATE_ACTIVE, 0, 100, KYOK_STATE_ACTIVE, KYOK_STATE_DEACTIVATED,
         KYOK_STATE_DEACTIVATED},
        {KYOK_STATE_ACTIVE, 200, 0, KYOK_STATE_ACTIVE, KYOK_STATE_ACTIVE, KYOK_STATE_ACTIVE},
        {KYOK_STATE_SUSPENDED, 100, 200, KYOK_STATE_SUSPENDED, KYOK_STATE_SUSPENDED,
         KYOK_STATE_DEACTIVATED},
        {KYOK_STATE_DEACTIVATED, 100, 0, KYOK_STATE_DEACTIVATED, KYOK_STATE_DEACTIVATED,
         KYOK_STATE_DEACTIVATED},
        {KYOK_STATE_DESTROYED, 100, 200, KYOK_STATE_DESTROYED, KYOK_STATE_DESTROYED,
         KYOK_STATE_DESTROYED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kyok_key_version version = {
            .state = cases[i].is, .activate = cases[i].activate, .deactivate = cases[i].deactivate};

        assert_int_equal(kyok_key_version_state(&version, 99), cases[i].at_99);
        assert_int_equal(kyok_key_version_state(&version, 100), cases[i].at_100);
        assert_int_equal(kyok_key_version_state(&version, 200), cases[i].at_200);
    }
}

static void dates_come_back(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {0};
    static struct kyok_key_record again;
    struct kyok_error err;

    (void)state;
    assert_int_equal(kyok_key_record_parse(kyok_bytes_of_text(good), &record, &err), KYOK_OK);
    record.versions[1].state = KYOK_STATE_PRE_ACTIVE;
    record.versions[1].activate = 4102444800;
    record.versions[1].deactivate = 4102444801;
    record.versions[1].bits = 192;
    assert_null(kyok_key_record_current(&record, 4102444799));
    assert_ptr_equal(kyok_key_record_current(&record, 4102444800), &record.versions[1]);
    assert_null(kyok_key_record_current(&record, 4102444801));
    assert_int_equal(kyok_key_record_write(&record, &json, &err), KYOK_OK);
    assert_int_equal(kyok_key_record_parse(kyok_buffer_bytes(&json), &again, &err), KYOK_OK);
    assert_int_equal(again.versions[1].activate, 4102444800);
    assert_int_equal(again.versions[1].deactivate, 4102444801);
    assert_int_equal(again.versions[1].bits, 192);
    assert_int_equal(again.versions[0].bits, 0);
    assert_int_equal(again.versions[0].activate, 0);
}

/* Every edit of the good one. */
static void broken_records_are_refused(void **state)
{
    static const struct {
        const char *from, *to;
    } edits[] = {
        {"\"kyok-key\":1", "\"kyok-key\":2"},
        {"\"serial\":3", "\"serial\":-1"},
        {"\"serial\":3", "\"serial\":3.5"},
        {"\"serial\":3", "\"serial\":3,\"serial\":4"},
        {"\"name\":\"root\"", "\"name\":\"\""},
        {"\"versions\":[", "\"versions\":[],\"x\":["},
        {"\"id\":\"0a\"", "\"id\":\"0\""},
        {"\"id\":\"0a\"", "\"id\":\"zz\""},
        {"\"state\":\"active\"", "\"state\":\"alive\""},
        {"\"usage\":15,\"made\":7", "\"made\":7"},
        {"\"wrapped\":\"0001", "\"wrapped\":\"01"},
        {",\"parent\":{\"label\":\"top\",\"id\":\"ff\"}", ""},
        {"\"made\":7", "\"made\":[[[[[[]]]]]"},
        {"\"made\":7", "\"made\":7,\"activate\":-1"},
        {"\"made\":7", "\"made\":7,\"activate\":0"},
        {"\"made\":7", "\"made\":7,\"activate\":\"soon\""},
        {"\"made\":7", "\"made\":7,\"deactivate\":1.5"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
        KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
        const char *at = strstr(good, edits[i].from);
        struct kyok_error err;

        kyok_buffer_append(&text, good, (size_t)(at - good));
        kyok_buffer_append_text(&text, edits[i].to);
        kyok_buffer_append_text(&text, at + strlen(edits[i].from));
        if (kyok_key_record_parse(kyok_buffer_bytes(&text), &record, &err) != KYOK_INVALID)
            fail_msg("%s -> %s", edits[i].from, edits[i].to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_follow_each_other),   cmocka_unit_test(states_leave_usage),
        cmocka_unit_test(labels_have_base_names),     cmocka_unit_test(records_come_back),
        cmocka_unit_test(dates_change_states),        cmocka_unit_test(dates_come_back),
        cmocka_unit_test(broken_records_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
