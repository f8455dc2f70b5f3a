/* SPDX-License-Identifier: Apache-2.0 */
/* Envelopes over keys in memory: every changed byte, every cut, recipients and layers of others. */
#include "tests/support/memory_envelope.h"

/* --- damage ---------------------------------------------------------------------------------- */

static void every_changed_byte_is_refused(void **state)
{
    static const char *const policies[] = {A, "any-of(" A "," R ")", "all-of(" B "," A ")"};

    (void)state;
    for (size_t p = 0; p < sizeof(policies) / sizeof(policies[0]); p++) {
        KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal(policies[p]);

        for (size_t i = 0; i < json.size; i++) {
            static const uint8_t masks[] = {0x01, 0x02, 0x20, 0x80};

            for (size_t m = 0; m < sizeof(masks); m++) {
                struct kyok_error err;

                json.data[i] ^= masks[m];
                if (open_buffer(&json, &err) == KYOK_OK)
                    fail_msg("%s: byte %zu ^ %02x opened", policies[p], i, masks[m]);
                json.data[i] ^= masks[m];
            }
        }
        assert_opens(&json);
    }
}

static void every_cut_is_refused(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal(A);

    (void)state;
    for (size_t size = 0; size < json.size; size++) {
        struct kyok_error err;

        assert_int_equal(open_bytes(kyok_bytes(json.data, size), &err), KYOK_INVALID);
    }
}

/* Parses an envelope, lets change() alter the structure, and writes it again canonically. */
static struct kyok_buffer altered(const char *policy, void (*change)(struct kyok_jwe *jwe))
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal(policy);
    struct kyok_buffer again = {0};
    struct kyok_jwe *jwe;
    struct kyok_error err;

    assert_int_equal(kyok_jwe_parse(kyok_buffer_bytes(&json), false, &jwe, &err), KYOK_OK);
    change(jwe);
    assert_int_equal(kyok_jwe_write(jwe, &again, &err), KYOK_OK);
    kyok_jwe_free(jwe);
    return again;
}

static void strip(struct kyok_jwe *jwe)
{
    kyok_jwe_recipient_free(&jwe->recipients.list[--jwe->recipients.count]);
}

static void swap(struct kyok_jwe *jwe)
{
    struct kyok_jwe_recipient first = jwe->recipients.list[0];

    jwe->recipients.list[0] = jwe->recipients.list[1];
    jwe->recipients.list[1] = first;
}

static void rename_second(struct kyok_jwe *jwe)
{
    free(jwe->recipients.list[1].kid);
    jwe->recipients.list[1].kid = strdup(C);
}

static void change_second_key(struct kyok_jwe *jwe)
{
    jwe->recipients.list[1].encrypted_key[5] ^= 1;
}

static void change_second_iv(struct kyok_jwe *jwe)
{
    jwe->recipients.list[1].iv[5] ^= 1;
}

static void add(struct kyok_jwe *jwe)
{
    struct kyok_jwe_recipient more;
    struct kyok_error err;

    assert_int_equal(holder.type->wrap_kid(&keys, C, KYOK_ENVELOPE_AUTOMATIC,
                                           kyok_bytes("0123456789abcdef0123456789abcdef", 32),
                                           &more, &err),
                     KYOK_OK);
    assert_int_equal(kyok_jwe_recipients_add(&jwe->recipients, &more, &err), KYOK_OK);
}

/* As one would who knows the form: header and recipients agree, but no key was asked. */
static void strip_and_describe(struct kyok_jwe *jwe)
{
    struct kyok_error err;

    strip(jwe);
    assert_int_equal(kyok_layer_describe(jwe, &claims, KYOK_ENVELOPE_SECRET, NULL, 0, &err),
                     KYOK_OK);
    free(jwe->protected_text);
    assert_int_equal(
        kyok_jwe_write_protected(jwe->envelope, &jwe->recipients, &jwe->protected_text, &err),
        KYOK_OK);
}

static void other_recipients_are_refused(void **state)
{
    static const struct {
        void (*change)(struct kyok_jwe *jwe);
        const char *check;
    } cases[] = {
        {strip, "has 1 recipients, its protected header names 2"},
        {add, "has 3 recipients, its protected header names 2"},
        {swap, "recipient 1 is not the one that the protected header names"},
        {rename_second, "recipient 2 is not the one that the protected header names"},
        {change_second_key, "wrapped keys are not those of the protected header"},
        {change_second_iv, "wrapped keys are not those of the protected header"},
        {strip_and_describe, "content or protected header was altered"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        KYOK_CLEANUP(kyok_buffer_free)
        struct kyok_buffer json = altered("any-of(" A "," B ")", cases[i].change);

        assert_refused(kyok_buffer_bytes(&json), KYOK_TAMPERED, cases[i].check);
    }
}

/* Where the digest of the wrapped keys stands it is compared, however the JSON is written. */
static void foreign_json_keeps_its_digest(void **state)
{
    static void (*const changes[])(struct kyok_jwe *) = {change_second_key, change_second_iv};
    const struct kyok_envelope_options options = {.foreign = true};

    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        KYOK_CLEANUP(kyok_buffer_free)
        struct kyok_buffer json = altered("any-of(" A "," B ")", changes[i]);
        struct kyok_envelope *envelope = NULL;
        struct kyok_error err;

        assert_int_equal(kyok_envelope_inspect(kyok_buffer_bytes(&json), &options, &envelope, &err),
                         KYOK_TAMPERED);
        assert_non_null(strstr(err.what, "wrapped keys are not those"));
        assert_null(envelope);
    }
}

/* The holder of the outer key puts another envelope's inner layer into it. */
static struct kyok_buffer transplant(const struct kyok_envelope_claims *donor_claims,
                                     const char *donor_policy)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer host = seal("all-of(" A "," B ")");
    KYOK_CLEANUP(kyok_buffer_free)
    struct kyok_buffer donor =
        seal_as(donor_policy, donor_claims, KYOK_ENVELOPE_SECRET, KYOK_ENVELOPE_AUTOMATIC);
    KYOK_AUTO_SECRET struct kyok_secret *cek = NULL;
    struct kyok_buffer json = {0};
    struct kyok_jwe *jwe;
    struct kyok_error err;

    assert_int_equal(kyok_jwe_parse(kyok_buffer_bytes(&host), false, &jwe, &err), KYOK_OK);
    assert_int_equal(holder.type->unwrap(&keys, &jwe->recipients.list[0], NULL, &cek, &err),
                     KYOK_OK);
    assert_int_equal(kyok_layer_seal(jwe, kyok_secret_bytes(cek), kyok_buffer_bytes(&donor), &err),
                     KYOK_OK);
    assert_int_equal(kyok_jwe_write(jwe, &json, &err), KYOK_OK);
    kyok_jwe_free(jwe);
    return json;
}

static void a_layer_of_another_envelope_is_refused(void **state)
{
    const struct {
        struct kyok_envelope_claims claims;
        const char *policy, *check;
    } cases[] = {
        {{"disk", "vm two", 7}, B, "its owner differs"},
        {{"disk", claims.owner, 6}, B, "its generation differs"},
        {{"boot", claims.owner, 7}, B, "its use differs"},
        {claims, C, "its list of recipients differs"},
        {claims, "any-of(" B "," C ")", "its list of recipients differs"},
        {claims, "all-of(" B "," C ")", "its number of layers differs"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        KYOK_CLEANUP(kyok_buffer_free)
        struct kyok_buffer json = transplant(&cases[i].claims, cases[i].policy);

        assert_refused(kyok_buffer_bytes(&json), KYOK_TAMPERED, cases[i].check);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_changed_byte_is_refused),          TEST(every_cut_is_refused),
        TEST(other_recipients_are_refused),           TEST(foreign_json_keeps_its_digest),
        TEST(a_layer_of_another_envelope_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
