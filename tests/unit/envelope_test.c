/* SPDX-License-Identifier: Apache-2.0 */
/* Envelopes over keys in memory: round trips, claims, limits, custodians that are away, refuse or
 * hang. */
#include "tests/support/memory_envelope.h"

/* --- round trips ----------------------------------------------------------------------------- */

static void every_policy_opens(void **state)
{
    static const char *const policies[] = {
        A,
        R,
        "any-of(" A "," B ")",
        "all-of(" A "," B ")",
        "all-of(" A ",any-of(" B "," C "," R "))",
        "all-of(any-of(" A "," R ")," B "," C ")",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal(policies[i]);

        assert_opens(&json);
    }
}

static void algorithms_are_chosen(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer gcm = seal(A);
    KYOK_CLEANUP(kyok_buffer_free)
    struct kyok_buffer kw = seal_as(A, &claims, KYOK_ENVELOPE_SECRET, KYOK_ENVELOPE_A256KW);
    struct kyok_envelope *envelope;
    struct kyok_error err;

    (void)state;
    assert_opens(&gcm);
    assert_opens(&kw);
    assert_int_equal(kyok_envelope_inspect(kyok_buffer_bytes(&kw), NULL, &envelope, &err), KYOK_OK);
    assert_int_equal(kyok_envelope_layer(envelope, 0)->recipients[0].algorithm,
                     KYOK_ENVELOPE_A256KW);
    kyok_envelope_free(envelope);
}

static void inspection_contacts_nobody(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free)
    struct kyok_buffer json = seal("all-of(" A ",any-of(" B "," R "))");
    struct kyok_envelope *envelope;
    struct kyok_error err;

    (void)state;
    for (size_t i = 0; i < keys.count; i++)
        keys.keys[i].calls = 0;
    assert_int_equal(kyok_envelope_inspect(kyok_buffer_bytes(&json), NULL, &envelope, &err),
                     KYOK_OK);
    assert_int_equal(kyok_envelope_layer_count(envelope), 2);
    assert_string_equal(kyok_envelope_layer(envelope, 0)->recipients[0].kid, A);
    assert_int_equal(kyok_envelope_layer(envelope, 1)->count, 2);
    assert_string_equal(kyok_envelope_layer(envelope, 1)->recipients[1].kid, R);
    assert_int_equal(kyok_envelope_claims(envelope)->generation, 7);
    assert_string_equal(kyok_envelope_claims(envelope)->use, "disk");
    assert_true(kyok_envelope_proves_maker(envelope));
    assert_null(kyok_envelope_layer(envelope, 2));
    for (size_t i = 0; i < keys.count; i++)
        assert_int_equal(keys.keys[i].calls, 0);
    kyok_envelope_free(envelope);
}

static void an_rsa_recipient_proves_no_maker(void **state)
{
    static const struct {
        const char *policy;
        bool proves;
    } cases[] = {
        {R, false},
        {"any-of(" A "," R ")", false},
        {"all-of(" R "," A ")", true},
        {"any-of(" A "," B ")", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal(cases[i].policy);
        struct kyok_envelope *envelope;
        struct kyok_error err;

        assert_int_equal(kyok_envelope_inspect(kyok_buffer_bytes(&json), NULL, &envelope, &err),
                         KYOK_OK);
        assert_int_equal(kyok_envelope_proves_maker(envelope), cases[i].proves);
        kyok_envelope_free(envelope);
    }
}

static void the_empty_secret_opens(void **state)
{
    struct kyok_policy *policy = policy_of(A);
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {0};
    KYOK_AUTO_SECRET struct kyok_secret *secret = NULL;
    struct kyok_error err;

    (void)state;
    assert_int_equal(kyok_envelope_seal_with(&holder, policy, &claims, KYOK_ENVELOPE_SECRET,
                                             kyok_bytes("", 0), NULL, &json, &err),
                     KYOK_OK);
    assert_int_equal(kyok_envelope_open_with(&holder, kyok_buffer_bytes(&json), &expected,
                                             KYOK_ENVELOPE_SECRET, NULL, &secret, NULL, &err),
                     KYOK_OK);
    assert_int_equal(kyok_secret_size(secret), 0);
    kyok_policy_free(policy);
}

/* --- claims ---------------------------------------------------------------------------------- */

static void other_claims_are_refused_unasked(void **state)
{
    static const struct {
        struct kyok_envelope_expected expected;
        const char *check;
    } cases[] = {
        {{.use = "backup"}, "use is \"disk\", not \"backup\""},
        {{.owner = "vm two"}, "owner is"},
        {{.least_generation = 8}, "older than the expected 8"},
        {{.most_generation = 6}, "newer than the expected 6"},
    };
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal(A);

    (void)state;
    keys.keys[0].calls = 0;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kyok_secret *secret = NULL;
        struct kyok_error err;

        assert_int_equal(kyok_envelope_open_with(&holder, kyok_buffer_bytes(&json),
                                                 &cases[i].expected, KYOK_ENVELOPE_SECRET, NULL,
                                                 &secret, NULL, &err),
                         KYOK_REFUSED);
        assert_non_null(strstr(err.what, cases[i].check));
        assert_null(secret);
    }
    assert_int_equal(keys.keys[0].calls, 0);
}

static void impossible_claims_are_not_sealed(void **state)
{
    char long_owner[514];
    const struct kyok_envelope_claims wrong[] = {
        {"", "o", 1},
        {"a b", "o", 1},
        {"disk", "a\nb", 1},
        {"disk", "\xff\xfe", 1},
        {"disk", long_owner, 1},
        {"disk", "o", (uint64_t)1 << 53},
        {NULL, "o", 1},
        {"disk", NULL, 1},
    };
    struct kyok_policy *policy = policy_of(A);

    (void)state;
    memset(long_owner, 'o', 513);
    long_owner[513] = '\0';
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct kyok_buffer json = {0};
        struct kyok_error err;

        assert_int_equal(kyok_envelope_seal_with(&holder, policy, &wrong[i], KYOK_ENVELOPE_SECRET,
                                                 kyok_bytes_of_text("x"), NULL, &json, &err),
                         KYOK_INVALID);
        assert_int_equal(json.size, 0);
    }
    kyok_policy_free(policy);
}

static void a_stream_key_is_not_handed_out(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free)
    struct kyok_buffer json =
        seal_as(A, &claims, KYOK_ENVELOPE_STREAM_KEY, KYOK_ENVELOPE_AUTOMATIC);

    (void)state;
    assert_refused(kyok_buffer_bytes(&json), KYOK_REFUSED, "the key of a stream, not a secret");
}

/* --- custodians away, refusing, hanging ------------------------------------------------------ */

static void each_of_all_must_consent(void **state)
{
    static const enum memory_behaviour ways[] = {MEMORY_AWAY, MEMORY_REFUSES};
    static const enum kyok_status statuses[] = {KYOK_UNREACHABLE, KYOK_REFUSED};
    KYOK_CLEANUP(kyok_buffer_free)
    struct kyok_buffer json = seal("all-of(" A "," B "," C ")");

    (void)state;
    for (size_t key = 0; key < 3; key++)
        for (size_t way = 0; way < 2; way++) {
            struct kyok_error err;

            keys.keys[key].behaviour = ways[way];
            assert_int_equal(open_buffer(&json, &err), statuses[way]);
            assert_string_equal(err.object, keys.keys[key].kid);
            keys.keys[key].behaviour = MEMORY_WELL;
        }
    assert_opens(&json);
}

static void each_alternative_suffices(void **state)
{
    static const enum memory_behaviour ways[] = {MEMORY_AWAY, MEMORY_REFUSES, MEMORY_HANGS};
    KYOK_CLEANUP(kyok_buffer_free)
    struct kyok_buffer json = seal("any-of(" A "," B "," C ")");

    (void)state;
    for (size_t well = 0; well < 3; well++)
        for (size_t way = 0; way < 3; way++) {
            int64_t begun = kyok_now_ns();

            for (size_t key = 0; key < 3; key++)
                keys.keys[key].behaviour = key == well ? MEMORY_WELL : ways[way];
            assert_opens(&json);
            assert_true(kyok_now_ns() - begun < 1500 * INT64_C(1000000));
        }
}

static void the_healthy_is_asked_first(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal("any-of(" A "," B ")");
    int64_t begun;

    (void)state;
    keys.keys[0].behaviour = MEMORY_HANGS;
    keys.keys[0].rank = 2;
    keys.keys[0].calls = 0;
    begun = kyok_now_ns();
    assert_opens(&json);
    assert_true(kyok_now_ns() - begun < 200 * INT64_C(1000000));
    assert_int_equal(keys.keys[0].calls, 0);
}

static void nobody_answers_in_time(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal("any-of(" A "," B ")");
    struct kyok_envelope_options options = {.timeout_ms = 400};
    struct kyok_secret *secret = NULL;
    struct kyok_error err;
    int64_t begun = kyok_now_ns();

    (void)state;
    keys.keys[0].behaviour = keys.keys[1].behaviour = MEMORY_HANGS;
    assert_int_equal(kyok_envelope_open_with(&holder, kyok_buffer_bytes(&json), &expected,
                                             KYOK_ENVELOPE_SECRET, &options, &secret, NULL, &err),
                     KYOK_TIMEOUT);
    assert_true(kyok_now_ns() - begun < 1500 * INT64_C(1000000));
    assert_null(secret);
}

/* Without a race, too, the caller's own deadline ends the wait, not the custodian's. */
static void the_only_custodian_hangs(void **state)
{
    static const char *const policies[] = {A, "all-of(" B "," A ")"};
    struct kyok_envelope_options options = {.timeout_ms = 300};

    (void)state;
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {0};
        struct kyok_secret *secret = NULL;
        struct kyok_error err;

        keys.keys[0].behaviour = MEMORY_WELL;
        json = seal(policies[i]);
        keys.keys[0].behaviour = MEMORY_HANGS;
        assert_int_equal(kyok_envelope_open_with(&holder, kyok_buffer_bytes(&json), &expected,
                                                 KYOK_ENVELOPE_SECRET, &options, &secret, NULL,
                                                 &err),
                         KYOK_TIMEOUT);
        assert_string_equal(err.object, A);
        assert_non_null(strstr(err.what, "did not answer in time"));
        assert_null(secret);
    }
}

static void the_only_custodian_keeps_its_own_words(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal(A);
    struct kyok_envelope_options options = {.timeout_ms = 60000};
    struct kyok_secret *secret = NULL;
    struct kyok_error err;

    (void)state;
    keys.keys[0].behaviour = MEMORY_REFUSES;
    assert_int_equal(kyok_envelope_open_with(&holder, kyok_buffer_bytes(&json), &expected,
                                             KYOK_ENVELOPE_SECRET, &options, &secret, NULL, &err),
                     KYOK_REFUSED);
    assert_string_equal(err.what, "the custodian refused");
}

static void the_most_telling_failure_is_told(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal("any-of(" A "," B "," C ")");
    struct kyok_error err;

    (void)state;
    keys.keys[0].kid = "unknown";
    keys.keys[1].behaviour = MEMORY_AWAY;
    keys.keys[2].behaviour = MEMORY_REFUSES;
    assert_int_equal(open_buffer(&json, &err), KYOK_UNREACHABLE);
    assert_string_equal(err.object, B);
    assert_non_null(strstr(err.what, "none of 3 alternatives"));
    keys.keys[1].behaviour = MEMORY_REFUSES;
    assert_int_equal(open_buffer(&json, &err), KYOK_REFUSED);
    keys.keys[0].kid = A;
}

static void limits_hold(void **state)
{
    struct kyok_policy *policy = policy_of(A);
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {0};
    KYOK_AUTO_FREE uint8_t *large = calloc(1, KYOK_ENVELOPE_SECRET_MAX + 1);
    struct kyok_error err;

    (void)state;
    assert_int_equal(kyok_envelope_seal_with(&holder, policy, &claims, KYOK_ENVELOPE_SECRET,
                                             kyok_bytes(large, KYOK_ENVELOPE_SECRET_MAX + 1), NULL,
                                             &json, &err),
                     KYOK_INVALID);
    assert_int_equal(kyok_envelope_seal_with(&holder, policy, &claims, KYOK_ENVELOPE_SECRET,
                                             kyok_bytes(large, KYOK_ENVELOPE_SECRET_MAX), NULL,
                                             &json, &err),
                     KYOK_OK);
    kyok_policy_free(policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_policy_opens),
        TEST(algorithms_are_chosen),
        TEST(inspection_contacts_nobody),
        TEST(an_rsa_recipient_proves_no_maker),
        TEST(the_empty_secret_opens),
        TEST(other_claims_are_refused_unasked),
        TEST(impossible_claims_are_not_sealed),
        TEST(a_stream_key_is_not_handed_out),
        TEST(each_of_all_must_consent),
        TEST(each_alternative_suffices),
        TEST(the_healthy_is_asked_first),
        TEST(nobody_answers_in_time),
        TEST(the_only_custodian_hangs),
        TEST(the_only_custodian_keeps_its_own_words),
        TEST(the_most_telling_failure_is_told),
        TEST(limits_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
