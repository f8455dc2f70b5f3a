/* SPDX-License-Identifier: Apache-2.0 */
/* Envelopes over keys in memory: other recipients, for secrets that are sealed already. */
#include "tests/support/memory_envelope.h"

/* --- other recipients ------------------------------------------------------------------------ */

static struct kyok_buffer changed(const struct kyok_buffer *json,
                                  const struct kyok_envelope_change *change)
{
    struct kyok_buffer out = {0};
    struct kyok_error err;

    if (kyok_envelope_change_with(&holder, kyok_buffer_bytes(json), &expected, change, 1, NULL,
                                  &out, &err) != KYOK_OK)
        fail_msg("%s", err.what);
    return out;
}

static void only(const char *well)
{
    for (size_t i = 0; i < keys.count; i++)
        keys.keys[i].behaviour = strcmp(keys.keys[i].kid, well) == 0 ? MEMORY_WELL : MEMORY_AWAY;
}

static void granting_asks_only_who_is_needed(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal("any-of(" A "," B ")");
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer granted = {0};
    struct kyok_reference c = {.text = (char *)C};
    const struct kyok_reference *add_list[] = {&c};
    struct kyok_envelope_change change = {.add = add_list, .add_count = 1};

    (void)state;
    keys.keys[1].behaviour = MEMORY_AWAY;
    keys.keys[1].rank = 2;
    keys.keys[1].calls = 0;
    granted = changed(&json, &change);
    assert_int_equal(keys.keys[1].calls, 0);
    for (size_t i = 0; i < 3; i++) {
        only(keys.keys[i].kid);
        assert_opens(&granted);
    }
}

static void a_revoked_recipient_cannot_open(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal("any-of(" A "," B ")");
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer revoked = {0};
    KYOK_AUTO_SECRET struct kyok_secret *before = NULL;
    KYOK_AUTO_SECRET struct kyok_secret *after = NULL;
    const char *remove[] = {B};
    struct kyok_envelope_change change = {.remove = remove, .remove_count = 1};
    struct kyok_jwe *old, *new;
    struct kyok_error err;

    (void)state;
    revoked = changed(&json, &change);
    assert_opens(&revoked);
    assert_int_equal(kyok_jwe_parse(kyok_buffer_bytes(&json), false, &old, &err), KYOK_OK);
    assert_int_equal(kyok_jwe_parse(kyok_buffer_bytes(&revoked), false, &new, &err), KYOK_OK);
    assert_int_equal(new->recipients.count, 1);
    holder.type->unwrap(&keys, &old->recipients.list[0], NULL, &before, &err);
    holder.type->unwrap(&keys, &new->recipients.list[0], NULL, &after, &err);
    assert_false(kyok_bytes_equal(kyok_secret_bytes(before), kyok_secret_bytes(after)));
    kyok_jwe_free(old);
    kyok_jwe_free(new);
}

static void an_inner_layer_changes_without_the_deepest(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal("all-of(" A "," B "," C ")");
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer out = {0};
    struct kyok_reference r = {.text = (char *)R};
    const struct kyok_reference *add_list[] = {&r};
    const char *remove[] = {B};
    struct kyok_envelope_change change = {
        .layer = 1, .add = add_list, .add_count = 1, .remove = remove, .remove_count = 1};
    struct kyok_envelope *envelope;
    struct kyok_error err;

    (void)state;
    keys.keys[2].behaviour = MEMORY_AWAY; /* the deepest layer's custodian is not needed */
    out = changed(&json, &change);
    keys.keys[2].behaviour = MEMORY_WELL;
    keys.keys[1].behaviour = MEMORY_AWAY;
    assert_opens(&out);
    assert_int_equal(kyok_envelope_inspect(kyok_buffer_bytes(&out), NULL, &envelope, &err),
                     KYOK_OK);
    assert_string_equal(kyok_envelope_layer(envelope, 1)->recipients[0].kid, R);
    kyok_envelope_free(envelope);
}

static void impossible_changes_are_refused(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal(A);
    const char *only_one[] = {A}, *absent[] = {C};
    const struct {
        struct kyok_envelope_change change;
        enum kyok_status status;
    } cases[] = {
        {{.remove = only_one, .remove_count = 1}, KYOK_INVALID},
        {{.remove = absent, .remove_count = 1}, KYOK_NOT_FOUND},
        {{.layer = 1, .refresh = true}, KYOK_INVALID},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kyok_buffer out = {0};
        struct kyok_error err;

        assert_int_equal(kyok_envelope_change_with(&holder, kyok_buffer_bytes(&json), &expected,
                                                   &cases[i].change, 1, NULL, &out, &err),
                         cases[i].status);
        assert_int_equal(out.size, 0);
    }
}

static void rewrapping_reaches_any_policy(void **state)
{
    static const char *const policies[] = {B, "any-of(" B "," R ")", "all-of(" B "," C ")",
                                           "all-of(" C ",any-of(" A "," B "))", A};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal(A);

    (void)state;
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        struct kyok_policy *policy = policy_of(policies[i]);
        struct kyok_buffer next = {0};
        struct kyok_envelope *envelope;
        struct kyok_error err;

        assert_int_equal(kyok_envelope_rewrap_with(&holder, kyok_buffer_bytes(&json), &expected,
                                                   policy, NULL, &next, &err),
                         KYOK_OK);
        kyok_buffer_free(&json);
        json = next;
        assert_opens(&json);
        assert_int_equal(kyok_envelope_inspect(kyok_buffer_bytes(&json), NULL, &envelope, &err),
                         KYOK_OK);
        assert_int_equal(kyok_envelope_layer_count(envelope), policy->count);
        for (size_t layer = 0; layer < policy->count; layer++)
            assert_int_equal(kyok_envelope_layer(envelope, layer)->count,
                             policy->clauses[layer].count);
        kyok_envelope_free(envelope);
        kyok_policy_free(policy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(granting_asks_only_who_is_needed),
        TEST(a_revoked_recipient_cannot_open),
        TEST(an_inner_layer_changes_without_the_deepest),
        TEST(impossible_changes_are_refused),
        TEST(rewrapping_reaches_any_policy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
