/* SPDX-License-Identifier: Apache-2.0 */
/* Bookkeeping of modules and tokens in the moments that no real module brings about on demand. */
#include "common/pkcs11/live.h"
#include "common/pkcs11/refused_pins.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/child.h"

static struct kyok_error err;
static CK_RV login_answer;
static unsigned logins, closes;
static atomic_uint *all_logins; /* of forked processes, too; may be NULL */

/* --- a module of a few functions --- */

static CK_RV no_slots(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count)
{
    (void)present;
    (void)slots;
    *count = 0;
    return CKR_OK;
}

static CK_RV log_in(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG size)
{
    (void)session;
    (void)user;
    (void)pin;
    (void)size;
    logins++;
    if (all_logins != NULL)
        atomic_fetch_add(all_logins, 1);
    return login_answer;
}

static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    (void)slot;
    memset(info, 0, sizeof(*info));
    info->flags = CKF_LOGIN_REQUIRED;
    return CKR_OK;
}

static CK_RV close_session(CK_SESSION_HANDLE session)
{
    (void)session;
    closes++;
    return CKR_OK;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
                          CK_SESSION_HANDLE *session)
{
    (void)slot;
    (void)flags;
    (void)application;
    (void)notify;
    *session = 7;
    return CKR_OK;
}

static CK_FUNCTION_LIST functions = {.version = {2, 40},
                                     .C_GetSlotList = no_slots,
                                     .C_Login = log_in,
                                     .C_GetTokenInfo = token_info,
                                     .C_OpenSession = open_session,
                                     .C_CloseSession = close_session};

static struct kyok_module new_module(void)
{
    return (struct kyok_module){.path = (char *)"fake.so",
                                .f = &functions,
                                .lock = PTHREAD_MUTEX_INITIALIZER,
                                .changed = PTHREAD_COND_INITIALIZER,
                                .state = KYOK_MODULE_READY,
                                .epoch = 1};
}

static struct kyok_token new_token(struct kyok_module *module)
{
    return (struct kyok_token){.module = module,
                               .changed = PTHREAD_COND_INITIALIZER,
                               .label = "fake",
                               .serial = "1",
                               .epoch = 1};
}

static struct kyok_deadline soon(void)
{
    return (struct kyok_deadline){1}; /* has passed, by whatever clock the condition has */
}

/* --- restarts --- */

static void a_scan_that_a_restart_outlasts_is_over(void **state)
{
    struct kyok_module module = new_module();

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
    struct kyok_module module = new_module();

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
    struct kyok_module module = new_module();
    struct kyok_token token = new_token(&module);
    int64_t begun = kyok_now_ns();

    (void)state;
    add_idle(&token);
    module.restarting = true;
    closes = 0;
    pthread_mutex_lock(&module.lock);
    kyok_token_renew(&token, 1, kyok_deadline_in_ms(3000));
    pthread_mutex_unlock(&module.lock);
    assert_true(kyok_now_ns() - begun < INT64_C(2000000000));
    assert_int_equal(closes, 0); /* the restart ends it; the number may be another's by then */
    assert_false(token.renewing);
    assert_int_equal(token.open, 0);

    module.restarting = false;
    add_idle(&token);
    pthread_mutex_lock(&module.lock);
    kyok_token_renew(&token, 2, kyok_deadline_in_ms(3000));
    pthread_mutex_unlock(&module.lock);
    assert_int_equal(closes, 1);
}

/* --- handles --- */

static void what_is_remembered_of_keys_is_bounded(void **state)
{
    struct kyok_module module = new_module();
    struct kyok_token token = new_token(&module);
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

/* --- PINs --- */

static char pin_path[] = "/tmp/kyok-live-XXXXXX";

static void write_pin(const char *pin)
{
    FILE *file = fopen(pin_path, "w");

    assert_non_null(file);
    fputs(pin, file);
    fclose(file);
}

static int make_pin_file(void **state)
{
    int fd = mkstemp(pin_path);

    (void)state;
    return fd < 0 ? -1 : close(fd);
}

static int remove_pin_file(void **state)
{
    (void)state;
    return unlink(pin_path);
}

struct pin_case {
    struct kyok_module module;
    struct kyok_token token;
    struct kyok_token_config config;
    struct kyok_group *group;
    struct kyok_lease lease;
    char source[64];
};

static void begin(struct pin_case *c)
{
    *c = (struct pin_case){.module = new_module()};
    c->token = new_token(&c->module);
    snprintf(c->source, sizeof(c->source), "file:%s", pin_path);
    c->config = (struct kyok_token_config){.name = (char *)"hsm", .pin_source = c->source};
    assert_int_equal(kyok_group_new(&c->config, NULL, &c->group, &err), KYOK_OK);
    c->lease = (struct kyok_lease){.token = &c->token, .f = &functions, .handle = 1, .epoch = 1};
    write_pin("1234");
    logins = 0;
}

static void a_key_that_asks_each_time_burns_one_try(void **state)
{
    struct pin_case c;

    (void)state;
    begin(&c);
    login_answer = CKR_PIN_INCORRECT;
    for (int i = 0; i < 3; i++) {
        memset(&err, 0, sizeof(err));
        assert_int_equal(kyok_context_login(&c.lease, c.group, &err), CKR_PIN_INCORRECT);
        assert_int_equal(err.status, KYOK_PIN);
        assert_non_null(strstr(err.what, c.source)); /* where the PIN came from */
    }
    assert_non_null(strstr(err.what, "not tried again"));
    assert_int_equal(logins, 1);
    write_pin("5678");
    login_answer = CKR_OK;
    assert_int_equal(kyok_context_login(&c.lease, c.group, &err), CKR_OK);
    assert_int_equal(logins, 2);
    c.config.pin_source = NULL;
    assert_int_not_equal(kyok_context_login(&c.lease, c.group, &err), CKR_OK);
    assert_non_null(strstr(err.what, "no PIN source")); /* not "incorrect": there is none */
    assert_int_equal(logins, 2);
    kyok_group_free(c.group);
}

static enum kyok_status log_in_once(struct pin_case *c)
{
    enum kyok_status status;
    CK_RV rv;

    pthread_mutex_lock(&c->module.lock);
    status = kyok_token_login(&c->lease, c->group, kyok_deadline_never(), &rv, &err);
    pthread_mutex_unlock(&c->module.lock);
    return status;
}

static void a_pin_is_not_wrong_because_the_token_was_not_ready(void **state)
{
    struct pin_case c;

    (void)state;
    begin(&c);
    login_answer = CKR_USER_PIN_NOT_INITIALIZED;
    assert_int_equal(log_in_once(&c), KYOK_PIN);
    login_answer = CKR_OK; /* the security officer has set that very PIN */
    assert_int_equal(log_in_once(&c), KYOK_OK);
    assert_int_equal(logins, 2);
    kyok_group_free(c.group);
}

#define WORKERS 8

static pid_t forked_login(struct pin_case *c, int go)
{
    pid_t pid = fork();
    char byte;

    if (pid != 0)
        return pid;
    _exit(read(go, &byte, 1) == 1 && log_in_once(c) == KYOK_PIN ? 0 : 1);
}

static void workers_of_one_master_burn_one_try(void **state)
{
    struct pin_case c;
    pid_t pids[WORKERS];
    int go[2];

    (void)state;
    begin(&c);
    login_answer = CKR_PIN_INCORRECT;
    all_logins =
        mmap(NULL, sizeof(*all_logins), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(pipe(go), 0);
    for (int i = 0; i < WORKERS; i++)
        pids[i] = forked_login(&c, go[0]);
    assert_int_equal(write(go[1], "12345678", WORKERS), WORKERS);
    for (int i = 0; i < WORKERS; i++) {
        child_ended_well(pids[i]);
    }
    assert_int_equal(atomic_load(all_logins), 1);
    assert_int_equal(log_in_once(&c), KYOK_PIN); /* nor does the one that forked them */
    assert_int_equal(atomic_load(all_logins), 1);
    assert_non_null(strstr(err.what, "not tried again"));
    write_pin("5678");
    login_answer = CKR_OK;
    assert_int_equal(log_in_once(&c), KYOK_OK);
    munmap(all_logins, sizeof(*all_logins));
    all_logins = NULL;
    close(go[0]);
    close(go[1]);
    kyok_group_free(c.group);
}

static void a_worker_that_dies_in_its_login_leaves_its_turn(void **state)
{
    struct kyok_refused_pins *pins = kyok_refused_pins_new();
    struct kyok_deadline deadline = kyok_deadline_in_ms(60000);
    struct kyok_pin_turn *turn;
    pid_t pid = fork();

    (void)state;
    assert_non_null(pins);
    if (pid == 0)
        _exit(kyok_refused_pins_enter(pins, "1", "hsm", deadline) == NULL);
    child_ended_well(pid);
    turn = kyok_refused_pins_enter(pins, "1", "hsm", deadline);
    assert_non_null(turn);
    kyok_refused_pins_leave(turn);
    kyok_refused_pins_free(pins);
}

static void a_login_that_hangs_is_not_waited_for(void **state)
{
    struct kyok_refused_pins *pins = kyok_refused_pins_new();
    struct kyok_pin_turn *turn = kyok_refused_pins_enter(pins, "1", "hsm", kyok_deadline_never());
    pid_t pid;

    (void)state;
    assert_non_null(turn);
    pid = fork();
    if (pid == 0)
        _exit(kyok_refused_pins_enter(pins, "1", "hsm", kyok_deadline_in_ms(100)) != NULL);
    child_ended_well(pid);
    kyok_refused_pins_leave(turn);
    kyok_refused_pins_free(pins);
}

static void only_the_very_pin_of_the_very_token_is_refused(void **state)
{
    struct kyok_refused_pins *pins = kyok_refused_pins_new();
    KYOK_AUTO_SECRET struct kyok_secret *pin =
        kyok_secret_copy((struct kyok_bytes){(const uint8_t *)"1234", 4});
    KYOK_AUTO_SECRET struct kyok_secret *other =
        kyok_secret_copy((struct kyok_bytes){(const uint8_t *)"12345", 5});

    (void)state;
    assert_false(kyok_refused_pins_have(pins, "1", "hsm", pin));
    kyok_refused_pins_add(pins, "1", "hsm", pin);
    assert_true(kyok_refused_pins_have(pins, "1", "hsm", pin));
    assert_false(kyok_refused_pins_have(pins, "1", "hsm", other));
    assert_false(kyok_refused_pins_have(pins, "2", "hsm", pin));
    assert_false(kyok_refused_pins_have(pins, "1h", "sm", pin));
    kyok_refused_pins_free(pins);
}

/* --- names --- */

static void a_bare_name_is_no_namesake_elsewhere(void **state)
{
    struct kyok_module module = new_module();

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
    struct kyok_module module = new_module();
    struct kyok_token token = new_token(&module);
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
        cmocka_unit_test(a_key_that_asks_each_time_burns_one_try),
        cmocka_unit_test(a_pin_is_not_wrong_because_the_token_was_not_ready),
        cmocka_unit_test(workers_of_one_master_burn_one_try),
        cmocka_unit_test(a_worker_that_dies_in_its_login_leaves_its_turn),
        cmocka_unit_test(a_login_that_hangs_is_not_waited_for),
        cmocka_unit_test(only_the_very_pin_of_the_very_token_is_refused),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, make_pin_file, remove_pin_file);
}
