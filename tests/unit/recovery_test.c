/* SPDX-License-Identifier: Apache-2.0 */
/* Recovery, failover, limits and lies: the key layer over one and two faulty HSMs. */
#include "common/key/key.h"
#include "tests/support/faulty_member.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/expect_ok.h"

static char directory[] = "/tmp/kyok-recovery-XXXXXX";
static struct faulty_control *first, *second;
static struct kyok_context *one, *both, *isolated;

static struct kyok_context *make_context(const char *uris, const char *more)
{
    struct kyok_config *config;
    struct kyok_context *made;
    char conf[1200];

    snprintf(conf, sizeof(conf),
             "[token hsm]\n%s\npin-source = file:%s/pin\nrequire = never-extractable\n%s\n", uris,
             directory, more);
    OK(kyok_config_parse(kyok_bytes_of_text(conf), "test.conf", &config, &err));
    OK(kyok_context_new(config, &made, &err));
    return made;
}

static struct kyok_key *open_key(struct kyok_context *context, const char *uri)
{
    struct kyok_reference *reference;
    struct kyok_key *key = NULL;

    OK(kyok_reference_parse(uri, KYOK_FROM_CONFIGURATION, NULL, &reference, &err));
    OK(kyok_key_open(context, reference, kyok_bytes(NULL, 0), &key, &err));
    kyok_reference_free(reference);
    return key;
}

static enum kyok_status sign(struct kyok_key *key, struct kyok_error *error)
{
    uint8_t digest[32] = {1}, signature[200];
    size_t size = sizeof(signature);
    struct kyok_sign_request request = {.scheme = KYOK_SIGN_ECDSA,
                                        .hash = KYOK_HASH_SHA256,
                                        .digest = kyok_bytes(digest, sizeof(digest))};

    return kyok_key_sign(key, &request, signature, &size, error);
}

static void make_contexts(void)
{
    char uris[600];

    snprintf(uris, sizeof(uris), "module = %s/a.so\nuri = pkcs11:token=member", directory);
    one = make_context(uris, "timeout = 30s");
    isolated = make_context(uris, "timeout = 1s\nisolate = yes");
    snprintf(uris, sizeof(uris),
             "uri = pkcs11:token=member?module-path=%s/a.so\n"
             "uri = pkcs11:token=member?module-path=%s/b.so",
             directory, directory);
    both = make_context(uris, "timeout = 1s");
}

static int setup(void **state)
{
    struct kyok_generate_request request = {.type = KYOK_KEY_EC, .bits = 256};
    struct kyok_reference *reference;
    struct kyok_key *key;

    (void)state;
    assert_non_null(mkdtemp(directory));
    first = faulty_member_make(directory, "a");
    second = faulty_member_make(directory, "b");
    if (first == NULL || second == NULL)
        return -1;
    faulty_member_token(directory, "a");
    make_contexts();
    OK(kyok_reference_parse("pkcs11:token=member;object=tls", KYOK_FROM_CONFIGURATION, NULL,
                            &reference, &err));
    OK(kyok_key_generate(one, reference, &request, &key, &err));
    kyok_key_free(key);
    kyok_reference_free(reference);
    faulty_member_shell("cp -a %s/a/. %s/b", directory,
                        directory); /* a clone keeps never-extractable */
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    faulty_control_release(first);
    kyok_context_free(one);
    kyok_context_free(both);
    kyok_context_free(isolated);
    faulty_member_shell("rm -rf %s", directory);
    return 0;
}

/* A test that failed in the middle must not fail the next. */
static int heal(void **state)
{
    (void)state;
    first->session_limit = first->removed = first->hostile = 0;
    second->removed = 0;
    faulty_control_release(first);
    return 0;
}

static uint64_t all_calls(const struct faulty_control *control)
{
    uint64_t calls = 0;

    for (int i = 0; i < FAULTY_FUNCTION_COUNT; i++)
        calls += control->functions[i].calls;
    return calls;
}

static void two_calls_per_signature(void **state)
{
    struct kyok_key *key = open_key(one, "pkcs11:token=member;object=tls");
    uint64_t before;

    (void)state;
    OK(sign(key, &err));
    before = all_calls(first);
    for (int i = 0; i < 10; i++)
        OK(sign(key, &err));
    assert_int_equal(all_calls(first) - before, 20);
    kyok_key_free(key);
}

static void six_of_six_after_a_restart(void **state)
{
    struct kyok_key *key = open_key(one, "pkcs11:token=member;object=tls");

    (void)state;
    OK(sign(key, &err));
    first->epoch++;
    for (int i = 0; i < 6; i++)
        OK(sign(key, &err));
    kyok_key_free(key);
}

static void each_rung_is_climbed(void **state)
{
    static const CK_RV losses[] = {CKR_KEY_HANDLE_INVALID,     CKR_USER_NOT_LOGGED_IN,
                                   CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED,
                                   CKR_DEVICE_ERROR,           CKR_DEVICE_REMOVED,
                                   CKR_TOKEN_NOT_PRESENT,      CKR_CRYPTOKI_NOT_INITIALIZED,
                                   CKR_FUNCTION_FAILED,        CKR_OPERATION_ACTIVE};
    static const enum faulty_function functions[] = {FAULTY_C_SignInit, FAULTY_C_Sign};
    struct kyok_key *key = open_key(one, "pkcs11:token=member;object=tls");

    (void)state;
    for (size_t i = 0; i < sizeof(losses) / sizeof(losses[0]); i++) {
        for (size_t f = 0; f < 2; f++) {
            first->functions[functions[f]].fail_rv = losses[i];
            first->functions[functions[f]].fail_calls = 1;
            OK(sign(key, &err));
            assert_int_equal(first->functions[functions[f]].fail_calls, 0);
        }
    }
    kyok_key_free(key);
}

static void a_refusal_is_told_and_not_repeated(void **state)
{
    struct kyok_key *key = open_key(one, "pkcs11:token=member;object=tls");
    uint64_t before;

    (void)state;
    OK(sign(key, &err));
    first->functions[FAULTY_C_SignInit].fail_rv = CKR_KEY_FUNCTION_NOT_PERMITTED;
    first->functions[FAULTY_C_SignInit].fail_calls = 1;
    before = first->functions[FAULTY_C_SignInit].calls;
    assert_int_equal(sign(key, &err), KYOK_REFUSED);
    assert_int_equal(first->functions[FAULTY_C_SignInit].calls - before, 1);
    assert_non_null(strstr(text(), "CKR_KEY_FUNCTION_NOT_PERMITTED"));
    assert_non_null(strstr(text(), "member"));
    OK(sign(key, &err));
    kyok_key_free(key);
}

static void a_token_that_left_comes_back(void **state)
{
    struct kyok_key *key = open_key(one, "pkcs11:token=member;object=tls");

    (void)state;
    OK(sign(key, &err));
    first->removed = 1;
    assert_int_equal(sign(key, &err), KYOK_UNREACHABLE);
    first->removed = 0;
    OK(sign(key, &err));
    kyok_key_free(key);
}

/* --- limits --- */

static _Atomic int failures;

static void *sign_twenty_times(void *key)
{
    struct kyok_error error;
    char line[1200];

    for (int i = 0; i < 20; i++) {
        if (sign(key, &error) != KYOK_OK) {
            print_message("# %s\n", kyok_error_text(&error, line, sizeof(line)));
            failures++;
        }
    }
    return NULL;
}

static void sign_by_threads(struct kyok_key *key, int count)
{
    pthread_t threads[64];

    failures = 0;
    for (int i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sign_twenty_times, key), 0);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(failures, 0);
}

static void sixty_four_threads_share_four_sessions(void **state)
{
    struct kyok_key *key = open_key(one, "pkcs11:token=member;object=tls");
    uint64_t opened;

    (void)state;
    first->epoch++; /* no session is left from before */
    first->session_limit = 4;
    first->session_peak = 0;
    opened = first->functions[FAULTY_C_OpenSession].calls;
    sign_by_threads(key, 64);
    assert_true(first->session_peak <= 4);
    /* No storm: not an attempt to open one per operation. */
    assert_true(first->functions[FAULTY_C_OpenSession].calls - opened < 200);
    first->session_limit = 0;
    kyok_key_free(key);
}

static void a_restart_under_load_fails_nobody(void **state)
{
    struct kyok_key *key = open_key(one, "pkcs11:token=member;object=tls");
    uint64_t logins = first->functions[FAULTY_C_Login].calls;

    (void)state;
    first->epoch++;
    sign_by_threads(key, 32);
    assert_true(first->functions[FAULTY_C_Login].calls - logins <= 2); /* single flight */
    kyok_key_free(key);
}

/* --- groups --- */

static void print_figures(void *caller, const struct kyok_custodian_figures *figures)
{
    (void)caller;
    print_message("# %s %s %s: %llu operations, %llu failures\n", figures->custodian,
                  figures->member, figures->state, (unsigned long long)figures->operations,
                  (unsigned long long)figures->failures);
}

static void sign_until(struct kyok_key *key, struct faulty_control *control)
{
    uint64_t before = control->functions[FAULTY_C_Sign].calls;
    struct kyok_deadline deadline = kyok_deadline_in_ms(20000);

    while (control->functions[FAULTY_C_Sign].calls == before && !kyok_deadline_passed(deadline)) {
        OK(sign(key, &err));
        usleep(2000);
    }
    if (control->functions[FAULTY_C_Sign].calls == before)
        kyok_context_figures(both, print_figures, NULL);
    assert_true(control->functions[FAULTY_C_Sign].calls > before);
}

static void both_members_work_and_fail_over(void **state)
{
    struct kyok_key *key = open_key(both, "pkcs11:token=member;object=tls");

    (void)state;
    sign_until(key, first);
    sign_until(key, second);
    first->removed = 1;
    for (int i = 0; i < 20; i++)
        OK(sign(key, &err));
    first->removed = 0;
    sign_until(key, first); /* it returns without restart */
    second->removed = 1;
    for (int i = 0; i < 20; i++)
        OK(sign(key, &err));
    first->removed = 1;
    assert_int_equal(sign(key, &err), KYOK_UNREACHABLE);
    first->removed = second->removed = 0;
    OK(sign(key, &err));
    sign_until(key, second);
    kyok_key_free(key);
}

static void *sign_once(void *key)
{
    struct kyok_error error;

    sign(key, &error);
    return NULL;
}

static void a_hanging_member_leaves_the_balance(void **state)
{
    struct kyok_key *key = open_key(both, "pkcs11:token=member;object=tls");
    struct kyok_deadline deadline = kyok_deadline_in_ms(20000);
    pthread_t callers[64];
    int count = 0;

    (void)state;
    sign_until(key, first);
    sign_until(key, second);
    first->functions[FAULTY_C_Sign].hang_calls = 1;
    while (faulty_control_hanging(first) == 0 && count < 64 && !kyok_deadline_passed(deadline)) {
        assert_int_equal(pthread_create(&callers[count++], NULL, sign_once, key), 0);
        usleep(10000);
    }
    assert_int_equal(faulty_control_hanging(first), 1);
    usleep(1200 * 1000); /* older than the timeout: now it counts as hung */
    {
        uint64_t before = first->functions[FAULTY_C_SignInit].calls;

        for (int i = 0; i < 50; i++)
            OK(sign(key, &err));
        assert_int_equal(first->functions[FAULTY_C_SignInit].calls, before);
    }
    faulty_control_release(first);
    for (int i = 0; i < count; i++)
        pthread_join(callers[i], NULL);
    sign_until(key, first);
    kyok_key_free(key);
}

static void isolation_keeps_the_deadline(void **state)
{
    struct kyok_key *key = open_key(isolated, "pkcs11:token=member;object=tls");
    int64_t began;

    (void)state;
    OK(sign(key, &err));
    first->functions[FAULTY_C_Sign].hang_calls = 1;
    began = kyok_now_ns();
    assert_int_equal(sign(key, &err), KYOK_TIMEOUT);
    assert_true(kyok_now_ns() - began < INT64_C(5000000000));
    assert_int_equal(faulty_control_hanging(first), 1);
    faulty_control_release(first);
    for (int i = 0; i < 100 && sign(key, &err) != KYOK_OK; i++)
        usleep(50000);
    OK(sign(key, &err));
    kyok_key_free(key);
}

/* --- lies --- */

static void lies_are_refused(void **state)
{
    (void)state;
    for (uint32_t lie = 1; lie <= FAULTY_LIE_MECHANISM_COUNT; lie <<= 1) {
        struct kyok_reference *reference;
        struct kyok_key *key = NULL;

        OK(kyok_reference_parse("pkcs11:token=member;object=tls", KYOK_FROM_CONFIGURATION, NULL,
                                &reference, &err));
        first->hostile = lie;
        if (kyok_key_open(one, reference, kyok_bytes(NULL, 0), &key, &err) == KYOK_OK)
            (void)sign(key, &err);
        first->hostile = 0;
        kyok_key_free(key);
        kyok_reference_free(reference);
        key = open_key(one, "pkcs11:token=member;object=tls");
        OK(sign(key, &err));
        kyok_key_free(key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(two_calls_per_signature, heal),
        cmocka_unit_test_setup(six_of_six_after_a_restart, heal),
        cmocka_unit_test_setup(each_rung_is_climbed, heal),
        cmocka_unit_test_setup(a_refusal_is_told_and_not_repeated, heal),
        cmocka_unit_test_setup(a_token_that_left_comes_back, heal),
        cmocka_unit_test_setup(sixty_four_threads_share_four_sessions, heal),
        cmocka_unit_test_setup(a_restart_under_load_fails_nobody, heal),
        cmocka_unit_test_setup(both_members_work_and_fail_over, heal),
        cmocka_unit_test_setup(a_hanging_member_leaves_the_balance, heal),
        cmocka_unit_test_setup(isolation_keeps_the_deadline, heal),
        cmocka_unit_test_setup(lies_are_refused, heal),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("recovery", tests, setup, teardown);
}
