/* SPDX-License-Identifier: Apache-2.0 */
/* How the key layer finds keys in a SoftHSM token: the PIN, a token that comes late, keys that are
 * kept, lists, and which group is meant. */
#include "tests/support/unit_token.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/child.h"
#include "tests/support/expect_ok.h"

static void a_wrong_pin_is_tried_once(void **state)
{
    struct kyok_context *other;
    struct kyok_reference *reference = unit_token_reference("pkcs11:token=unit;object=p256");
    struct kyok_key *key;
    int status;
    pid_t child;

    (void)state;
    child = fork(); /* a process of its own: this one is logged in */
    if (child == 0) {
        unit_token_write("pin", "00000000");
        other = unit_token_context_new("");
        assert_int_equal(kyok_key_open(other, reference, kyok_bytes(NULL, 0), &key, &err),
                         KYOK_PIN);
        assert_non_null(strstr(text(), "the PIN came from file:"));
        assert_int_equal(kyok_key_open(other, reference, kyok_bytes(NULL, 0), &key, &err),
                         KYOK_PIN);
        assert_non_null(strstr(text(), "not tried again"));
        unit_token_write(
            "pin",
            UNIT_TOKEN_PIN); /* the changed source lets it in: now the key alone is missing */
        assert_int_equal(kyok_key_open(other, reference, kyok_bytes(NULL, 0), &key, &err),
                         KYOK_NOT_FOUND);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    unit_token_write("pin", UNIT_TOKEN_PIN);
    assert_int_equal(status, 0);
    kyok_reference_free(reference);
}

/* SoftHSM itself would not see it before the next C_Initialize. */
static void a_token_that_comes_late_is_seen(void **state)
{
    struct kyok_reference *reference = unit_token_reference("pkcs11:token=unit;object=none");
    char tokens[64], away[64];
    pid_t child;

    (void)state;
    snprintf(tokens, sizeof(tokens), "%s/tokens", unit_token_directory);
    snprintf(away, sizeof(away), "%s/away", unit_token_directory);
    child = fork(); /* where the module is not initialised yet */
    if (child == 0) {
        struct kyok_context *other = unit_token_context_new("");
        struct kyok_deadline deadline = kyok_deadline_in_ms(15000);
        struct kyok_key *key;

        if (rename(tokens, away) != 0 || mkdir(tokens, 0700) != 0)
            _exit(1);
        if (kyok_key_open(other, reference, kyok_bytes(NULL, 0), &key, &err) != KYOK_UNREACHABLE)
            _exit(2);
        if (rmdir(tokens) != 0 || rename(away, tokens) != 0)
            _exit(3);
        while (kyok_key_open(other, reference, kyok_bytes(NULL, 0), &key, &err) ==
               KYOK_UNREACHABLE) {
            if (kyok_deadline_passed(deadline))
                _exit(4);
            usleep(100000);
        }
        _exit(err.status == KYOK_NOT_FOUND ? 0 : 5);
    }
    child_ended_well(child);
    kyok_reference_free(reference);
}

static void finds_reports_and_refuses(void **state)
{
    struct kyok_reference *missing = unit_token_reference("pkcs11:token=unit;object=none");
    struct kyok_reference *wrong = unit_token_reference("pkcs11:object=p256");
    struct kyok_key *key = NULL, *rsa = NULL;

    (void)state;
    kyok_key_free(unit_token_generate("p256", KYOK_KEY_EC, 256, 0));
    kyok_key_free(unit_token_generate("p521", KYOK_KEY_EC, 521, 0));
    assert_int_equal(kyok_key_open(unit_token_context, missing, kyok_bytes(NULL, 0), &key, &err),
                     KYOK_NOT_FOUND);
    OK(kyok_key_open(unit_token_context, wrong, kyok_bytes(NULL, 0), &key, &err));
    rsa = NULL;
    /* A public half that is another key's is believed until first use, and refused then. */
    {
        struct kyok_reference *other = unit_token_reference("pkcs11:token=unit;object=p521");
        struct kyok_bytes half =
            kyok_bytes(kyok_key_info(key)->public_key, kyok_key_info(key)->public_key_size);

        OK(kyok_key_open(unit_token_context, other, half, &rsa, &err));
        assert_int_equal(kyok_key_check(rsa, &err), KYOK_REFUSED);
        assert_non_null(strstr(text(), "public key"));
        kyok_reference_free(other);
    }
    OK(kyok_key_check(key, &err));
    kyok_key_free(key);
    kyok_key_free(rsa);
    kyok_reference_free(missing);
    kyok_reference_free(wrong);
}

static struct kyok_key *open_one(const char *uri)
{
    struct kyok_reference *reference = unit_token_reference(uri);
    struct kyok_key *key;

    OK(kyok_key_open(unit_token_context, reference, kyok_bytes(NULL, 0), &key, &err));
    kyok_reference_free(reference);
    return key;
}

static const char *const kept_uris[] = {"pkcs11:token=unit;object=kept0",
                                        "pkcs11:token=unit;object=kept1",
                                        "pkcs11:token=unit;object=kept2"};

/* Is a key that was just opened the one that is kept? It is let go again. */
static bool is_kept(unsigned number, const struct kyok_key *wanted)
{
    struct kyok_key *key = open_one(kept_uris[number]);
    bool same = key == wanted;

    kyok_key_free(key);
    return same;
}

static void keeps_keys_by_reference(void **state)
{
    static const char *const names[] = {"kept0", "kept1", "kept2"};
    struct kyok_key *keys[3];
    pid_t child;

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        kyok_key_free(unit_token_generate(names[i], KYOK_KEY_EC, 256, KYOK_USE_SIGN));
    keys[0] = open_one(kept_uris[0]);
    assert_false(is_kept(0, keys[0])); /* off at first */
    kyok_key_free(keys[0]);
    kyok_keys_keep(2, 60);
    for (unsigned i = 0; i < 2; i++)
        keys[i] = open_one(kept_uris[i]);
    assert_true(is_kept(1, keys[1]));
    assert_true(is_kept(0, keys[0]));
    keys[2] = open_one(kept_uris[2]); /* there is room for two: 1 was used before 0 */
    assert_true(is_kept(0, keys[0]));
    assert_true(is_kept(2, keys[2]));
    assert_false(is_kept(1, keys[1]));
    child = fork(); /* a child begins without */
    if (child == 0)
        _exit(is_kept(2, keys[2]) ? 1 : 0);
    child_ended_well(child);
    kyok_keys_forget();
    assert_false(is_kept(2, keys[2]));
    kyok_keys_keep(2, 0); /* all have expired at once */
    kyok_key_free(keys[2]);
    keys[2] = open_one(kept_uris[2]);
    assert_false(is_kept(2, keys[2]));
    kyok_keys_keep(0, 0);
    for (unsigned i = 0; i < 3; i++)
        kyok_key_free(keys[i]);
}

static void lists_objects(void **state)
{
    struct kyok_reference *all = unit_token_reference("pkcs11:token=unit");
    struct kyok_reference *private_only = unit_token_reference("pkcs11:token=unit;type=private");
    int count = 0, privates = 0;

    (void)state;
    kyok_key_free(unit_token_generate("root", KYOK_KEY_AES, 256, 0));
    OK(kyok_key_list(unit_token_context, all, true, unit_token_count, &count, &err));
    OK(kyok_key_list(unit_token_context, private_only, true, unit_token_count, &privates, &err));
    assert_int_equal(count, privates * 2 + 1);
    kyok_reference_free(all);
    kyok_reference_free(private_only);
}

/* The first group that fits would do as well as the other: which one is meant has to be said. */
static void a_new_key_needs_one_group(void **state)
{
    struct kyok_context *twins;
    struct kyok_reference *either = unit_token_reference("pkcs11:object=twins");
    struct kyok_reference *one = unit_token_reference("pkcs11:object=twins?kyok-group=twin");
    struct kyok_generate_request request = {.type = KYOK_KEY_EC, .bits = 256};
    struct kyok_key *key = NULL;
    char twin[256];

    (void)state;
    snprintf(twin, sizeof(twin),
             "[token twin]\nmodule = %s\nuri = pkcs11:token=unit\npin-source = file:%s/pin\n",
             UNIT_TOKEN_MODULE, unit_token_directory);
    twins = unit_token_context_new(twin);
    assert_int_equal(kyok_key_generate(twins, either, &request, &key, &err), KYOK_AMBIGUOUS);
    assert_non_null(strstr(text(), "groups hsm and twin both fit"));
    assert_non_null(strstr(text(), "add ?kyok-group=hsm"));
    OK(kyok_key_generate(twins, one, &request, &key, &err));
    kyok_key_free(key);
    kyok_reference_free(either);
    kyok_reference_free(one);
    kyok_context_free(twins);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_pin_is_tried_once),
        cmocka_unit_test(a_token_that_comes_late_is_seen),
        cmocka_unit_test(finds_reports_and_refuses),
        cmocka_unit_test(keeps_keys_by_reference),
        cmocka_unit_test(lists_objects),
        cmocka_unit_test(a_new_key_needs_one_group),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("keys found in a token", tests, unit_token_set_up,
                                       unit_token_tear_down);
}
