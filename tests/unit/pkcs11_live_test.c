/* SPDX-License-Identifier: Apache-2.0 */
/* Bookkeeping of modules and tokens in the moments that no real module brings about on demand. */
#include "tests/support/fake_hsm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct kyok_error err;

static struct kyok_deadline soon(void)
{
    return (struct kyok_deadline){1}; /* has passed, by whatever clock the condition has */
}

/* --- restarts --- */

static void a_scan_that_a_restart_outlasts_is_over(void **state)
{
    struct kyok_module module = fake_hsm_module();

    (void)state;
    module.restarting = true;
    assert_int_equal(kyok_module_ready(&module, true, soon(), &err), KYOK_TIMEOUT);
    assert_false(module.scanning); /* else everybody waits for it, for good */
    module.restarting = false;
    assert_int_equal(kyok_module_ready(&module, true, soon(), &err), KYOK_OK);
    assert_int_equal(module.calls, 0);
}

static void who_has_no_time_left_starts_nothing(void **state)
{
    struct kyok_module module = fake_hsm_module();

    (void)state;
    module.state = KYOK_MODULE_COLD;
    module.scanning = true;
    assert_int_equal(kyok_module_ready(&module, false, soon(), &err), KYOK_TIMEOUT);
    assert_int_equal(module.state, KYOK_MODULE_COLD);
}

static void add_idle(struct kyok_token *token)
{
    struct kyok_session *session = calloc(1, sizeof(*session));

    assert_non_null(session);
    session->handle = 7;
    session->epoch = token->epoch;
    session->next = token->idle;
    token->idle = session;
    token->open++;
    token->live++;
}

static void renewing_does_not_wait_for_a_restart(void **state)
{
    struct kyok_module module = fake_hsm_module();
    struct kyok_token token = fake_hsm_token(&module);
    int64_t begun = kyok_now_ns();

    (void)state;
    add_idle(&token);
    module.restarting = true;
    fake_hsm.closes = 0;
    pthread_mutex_lock(&module.lock);
    kyok_token_renew(&token, 1, kyok_deadline_in_ms(3000));
    pthread_mutex_unlock(&module.lock);
    assert_true(kyok_now_ns() - begun < INT64_C(2000000000));
    assert_int_equal(fake_hsm.closes,
                     0); /* the restart ends it; the number may be another's by then */
    assert_false(token.renewing);
    assert_int_equal(token.open, 0);

    module.restarting = false;
    add_idle(&token);
    pthread_mutex_lock(&module.lock);
    kyok_token_renew(&token, 2, kyok_deadline_in_ms(3000));
    pthread_mutex_unlock(&module.lock);
    assert_int_equal(fake_hsm.closes, 1);
}

/* --- handles --- */

static void what_is_remembered_of_keys_is_bounded(void **state)
{
    struct kyok_module module = fake_hsm_module();
    struct kyok_token token = fake_hsm_token(&module);
    struct kyok_handle *handle = NULL;

    (void)state;
    for (uint64_t key = 1; key <= 100000; key++) {
        handle = kyok_token_handle(&token, key, true);
        assert_non_null(handle);
        assert_int_equal(handle->key, key);
        assert_int_equal(handle->found, KYOK_NOT_SOUGHT);
        handle->why = malloc(sizeof(*handle->why));
        handle->found = KYOK_MISSING;
    }
    assert_true(token.handle_room <= 8192);
    assert_ptr_equal(kyok_token_handle(&token, 100000, false), handle);
    for (size_t i = 0; i < token.handle_room; i++)
        free(token.handles[i].why);
    free(token.handles);
}

/* --- names --- */

static void a_bare_name_is_no_namesake_elsewhere(void **state)
{
    struct kyok_module module = fake_hsm_module();

    (void)state;
    module.path = (char *)"/opt/vendor/pkcs11.so";
    assert_true(kyok_module_is_named(&module, "/opt/vendor/pkcs11.so"));
    assert_false(kyok_module_is_named(&module, "pkcs11.so"));
    assert_false(kyok_module_is_named(&module, "/opt/other/pkcs11.so"));
    module.path = (char *)"/usr/lib/x86_64-linux-gnu/pkcs11/pkcs11.so";
    assert_true(kyok_module_is_named(&module, "pkcs11.so"));
    assert_false(kyok_module_is_named(&module, "11.so"));
    assert_false(kyok_module_is_named(&module, ""));
}

/* --- few sessions, many callers --- */

static struct {
    struct kyok_token *token;
    bool served;
} queue;

static void *lease_and_release(void *unused)
{
    struct kyok_lease lease;
    struct kyok_error error;
    CK_RV rv;

    if (kyok_session_lease(queue.token, NULL, false, kyok_deadline_in_ms(30000), &lease, &rv,
                           &error) == KYOK_OK) {
        queue.served = true;
        kyok_session_release(&lease, CKR_OK);
    }
    return unused;
}

static bool somebody_waits(struct kyok_token *token)
{
    bool waits;

    pthread_mutex_lock(&token->module->lock);
    waits = token->waiters != NULL;
    pthread_mutex_unlock(&token->module->lock);
    return waits;
}

static void who_has_waited_is_not_passed(void **state)
{
    struct kyok_module module = fake_hsm_module();
    struct kyok_token token = fake_hsm_token(&module);
    struct kyok_deadline deadline = kyok_deadline_in_ms(30000);
    struct kyok_lease lease;
    pthread_t waiter;
    CK_RV rv;

    (void)state;
    kyok_condition_init(&module.changed);
    module.scanned_ns = 1;
    token.limit = 1;
    queue.token = &token;
    assert_int_equal(kyok_session_lease(&token, NULL, false, deadline, &lease, &rv, &err), KYOK_OK);
    assert_int_equal(pthread_create(&waiter, NULL, lease_and_release, NULL), 0);
    while (!somebody_waits(&token) && !kyok_deadline_passed(deadline))
        usleep(1000);
    usleep(20000); /* longer than a newcomer may pass */
    kyok_session_release(&lease, CKR_OK);
    assert_int_equal(kyok_session_lease(&token, NULL, false, deadline, &lease, &rv, &err), KYOK_OK);
    assert_true(queue.served); /* in order of arrival: the session came by way of the waiter */
    kyok_session_release(&lease, CKR_OK);
    pthread_join(waiter, NULL);
    assert_null(token.waiters);
    assert_int_equal(token.open, 1);
    assert_int_equal(kyok_session_lease(&token, NULL, false, deadline, &lease, &rv, &err), KYOK_OK);
    {
        struct kyok_lease late;

        assert_int_equal(
            kyok_session_lease(&token, NULL, false, kyok_deadline_in_ms(20), &late, &rv, &err),
            KYOK_BUSY);
    }
    assert_null(token.waiters);
    kyok_session_release(&lease, CKR_OK);
    free(token.idle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scan_that_a_restart_outlasts_is_over),
        cmocka_unit_test(who_has_no_time_left_starts_nothing),
        cmocka_unit_test(renewing_does_not_wait_for_a_restart),
        cmocka_unit_test(what_is_remembered_of_keys_is_bounded),
        cmocka_unit_test(a_bare_name_is_no_namesake_elsewhere),
        cmocka_unit_test(who_has_waited_is_not_passed),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
