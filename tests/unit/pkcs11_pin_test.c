/* SPDX-License-Identifier: Apache-2.0 */
/* A wrong PIN costs one try, whoever of a family of processes finds it wrong first. */
#include "common/pkcs11/refused_pins.h"
#include "tests/support/fake_hsm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/child.h"

static struct kyok_error err;

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
    *c = (struct pin_case){.module = fake_hsm_module()};
    c->token = fake_hsm_token(&c->module);
    snprintf(c->source, sizeof(c->source), "file:%s", pin_path);
    c->config = (struct kyok_token_config){.name = (char *)"hsm", .pin_source = c->source};
    assert_int_equal(kyok_group_new(&c->config, NULL, &c->group, &err), KYOK_OK);
    c->lease =
        (struct kyok_lease){.token = &c->token, .f = &fake_hsm_functions, .handle = 1, .epoch = 1};
    write_pin("1234");
    fake_hsm.logins = 0;
}

static void a_key_that_asks_each_time_burns_one_try(void **state)
{
    struct pin_case c;

    (void)state;
    begin(&c);
    fake_hsm.login_answer = CKR_PIN_INCORRECT;
    for (int i = 0; i < 3; i++) {
        memset(&err, 0, sizeof(err));
        assert_int_equal(kyok_context_login(&c.lease, c.group, &err), CKR_PIN_INCORRECT);
        assert_int_equal(err.status, KYOK_PIN);
        assert_non_null(strstr(err.what, c.source)); /* where the PIN came from */
    }
    assert_non_null(strstr(err.what, "not tried again"));
    assert_int_equal(fake_hsm.logins, 1);
    write_pin("5678");
    fake_hsm.login_answer = CKR_OK;
    assert_int_equal(kyok_context_login(&c.lease, c.group, &err), CKR_OK);
    assert_int_equal(fake_hsm.logins, 2);
    c.config.pin_source = NULL;
    assert_int_not_equal(kyok_context_login(&c.lease, c.group, &err), CKR_OK);
    assert_non_null(strstr(err.what, "no PIN source")); /* not "incorrect": there is none */
    assert_int_equal(fake_hsm.logins, 2);
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
    fake_hsm.login_answer = CKR_USER_PIN_NOT_INITIALIZED;
    assert_int_equal(log_in_once(&c), KYOK_PIN);
    fake_hsm.login_answer = CKR_OK; /* the security officer has set that very PIN */
    assert_int_equal(log_in_once(&c), KYOK_OK);
    assert_int_equal(fake_hsm.logins, 2);
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
    fake_hsm.login_answer = CKR_PIN_INCORRECT;
    fake_hsm.all_logins = mmap(NULL, sizeof(*fake_hsm.all_logins), PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(pipe(go), 0);
    for (int i = 0; i < WORKERS; i++)
        pids[i] = forked_login(&c, go[0]);
    assert_int_equal(write(go[1], "12345678", WORKERS), WORKERS);
    for (int i = 0; i < WORKERS; i++) {
        child_ended_well(pids[i]);
    }
    assert_int_equal(atomic_load(fake_hsm.all_logins), 1);
    assert_int_equal(log_in_once(&c), KYOK_PIN); /* nor does the one that forked them */
    assert_int_equal(atomic_load(fake_hsm.all_logins), 1);
    assert_non_null(strstr(err.what, "not tried again"));
    write_pin("5678");
    fake_hsm.login_answer = CKR_OK;
    assert_int_equal(log_in_once(&c), KYOK_OK);
    munmap(fake_hsm.all_logins, sizeof(*fake_hsm.all_logins));
    fake_hsm.all_logins = NULL;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
