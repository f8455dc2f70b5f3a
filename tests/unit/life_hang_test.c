/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that change a key's life, in a group with isolate = yes, over a module that hangs: each
 * ends at the deadline, leaves to the hanging thread what that still uses (seen by ASan: the
 * caller's context is gone by then), makes no second key, and a second run completes it.
 */
#include "common/key/key.h"
#include "common/key/lifecycle.h"
#include "common/work/work.h"
#include "tests/support/faulty_member.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/expect_ok.h"

static char directory[] = "/tmp/kyok-life-hang-XXXXXX";
static struct faulty_control *hsm;

static void set_timeout(unsigned ms) /* 0: the group's, which only a real hang reaches */
{
    kyok_work_configure(&(struct kyok_work_settings){.timeout_ms = ms});
}

static struct kyok_context *make_context(void)
{
    struct kyok_config *config;
    struct kyok_context *made;
    char conf[600];

    snprintf(conf, sizeof(conf),
             "[token hsm]\nmodule = %s/a.so\nuri = pkcs11:token=member\npin-source = file:%s/pin\n"
             "isolate = yes\ntimeout = 60s\n",
             directory, directory);
    OK(kyok_config_parse(kyok_bytes_of_text(conf), "test.conf", &config, &err));
    OK(kyok_context_new(config, &made, &err));
    return made;
}

static struct kyok_reference *reference_to(const char *name)
{
    struct kyok_reference *reference;
    char uri[100];

    snprintf(uri, sizeof(uri), "pkcs11:token=member;object=%s", name);
    OK(kyok_reference_parse(uri, KYOK_FROM_CONFIGURATION, NULL, &reference, &err));
    return reference;
}

/* --- the verbs, each with a context that is gone when it returns --- */

typedef enum kyok_status change(struct kyok_context *context, const struct kyok_reference *name);

static enum kyok_status run(change *deed, const char *name)
{
    struct kyok_context *context = make_context();
    struct kyok_reference *reference = reference_to(name);
    enum kyok_status status = deed(context, reference);

    kyok_reference_free(reference);
    kyok_context_free(context);
    return status;
}

static enum kyok_status make(struct kyok_context *context, const struct kyok_reference *name,
                             enum kyok_key_type type, unsigned bits, unsigned uses)
{
    struct kyok_generate_request request = {.type = type, .bits = bits, .uses = uses};
    struct kyok_key *key = NULL;
    enum kyok_status status = kyok_key_generate(context, name, &request, &key, &err);

    kyok_key_free(key);
    return status;
}

static enum kyok_status make_pair(struct kyok_context *context, const struct kyok_reference *name)
{
    return make(context, name, KYOK_KEY_EC, 256, 0);
}

static enum kyok_status make_secret(struct kyok_context *context, const struct kyok_reference *name)
{
    return make(context, name, KYOK_KEY_AES, 256, 0);
}

static enum kyok_status suspend(struct kyok_context *context, const struct kyok_reference *name)
{
    return kyok_key_set_state(context, name, KYOK_STATE_SUSPENDED, &err);
}

static enum kyok_status descend(struct kyok_context *context, const struct kyok_reference *name)
{
    struct kyok_reference *made = NULL;
    enum kyok_status status = kyok_key_descend(context, name, "child", &made, &err);

    kyok_reference_free(made);
    return status;
}

static enum kyok_status rotate(struct kyok_context *context, const struct kyok_reference *name)
{
    struct kyok_reference *made = NULL;
    enum kyok_status status = kyok_key_rotate(context, name, false, &made, &err);

    kyok_reference_free(made);
    return status;
}

static enum kyok_status destroy(struct kyok_context *context, const struct kyok_reference *name)
{
    return kyok_key_destroy(context, name, true, &err);
}

static struct kyok_key_record record; /* as read */

static enum kyok_status read_record(struct kyok_context *context, const struct kyok_reference *name)
{
    return kyok_key_record(context, name, &record, &err);
}

/* --- hanging --- */

/* The deadline is short for the call that hangs, and the machine may be too slow for what comes
 * before it: then longer. */
static void hangs_until_the_deadline(change *deed, const char *name, enum faulty_function function)
{
    enum kyok_status status = KYOK_OK;

    hsm->functions[function].hang_calls = 1;
    for (unsigned ms = 400; ms <= 52000 && faulty_control_hanging(hsm) == 0; ms *= 2) {
        set_timeout(ms);
        status = run(deed, name);
    }
    set_timeout(0);
    assert_int_equal(faulty_control_hanging(hsm), 1);
    if (status != KYOK_TIMEOUT)
        fail_msg("status %s: %s", kyok_status_name(status), text());
    assert_non_null(strstr(text(), "was not answered within its deadline"));
}

static void let_it_return(void)
{
    struct kyok_work_figures figures = {.written_off = 1};

    faulty_control_release(hsm);
    for (int i = 0; i < 1200 && (faulty_control_hanging(hsm) != 0 || figures.written_off != 0);
         i++) {
        usleep(50000);
        kyok_work_figures(&figures);
    }
    assert_int_equal(faulty_control_hanging(hsm), 0);
    assert_int_equal(figures.written_off, 0);
}

static void a_doubtful_generation_is_not_repeated(void **state)
{
    struct {
        change *make;
        const char *name;
        enum faulty_function function;
    } const cases[] = {{make_pair, "doubtful", FAULTY_C_GenerateKeyPair},
                       {make_secret, "doubtful-too", FAULTY_C_GenerateKey}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t before = hsm->functions[cases[i].function].calls;

        hangs_until_the_deadline(cases[i].make, cases[i].name, cases[i].function);
        assert_non_null(strstr(text(), "whether the key has been made is not known"));
        assert_non_null(strstr(text(), "kyok key list hsm"));
        let_it_return();
        OK(run(read_record, cases[i].name)); /* it was made, once */
        assert_int_equal(run(cases[i].make, cases[i].name), KYOK_REFUSED);
        assert_int_equal(hsm->functions[cases[i].function].calls, before + 1);
    }
}

/* Whoever asked has gone when the module comes back from a look: nothing is made any more. */
static void a_late_generation_does_not_begin(void **state)
{
    uint64_t before = hsm->functions[FAULTY_C_GenerateKeyPair].calls;

    (void)state;
    hangs_until_the_deadline(make_pair, "late", FAULTY_C_FindObjectsInit);
    let_it_return();
    assert_int_equal(run(read_record, "late"), KYOK_NOT_FOUND);
    assert_int_equal(hsm->functions[FAULTY_C_GenerateKeyPair].calls, before);
    OK(run(make_pair, "late"));
}

static void states_and_records(void **state)
{
    (void)state;
    OK(run(make_pair, "stated"));
    hangs_until_the_deadline(suspend, "stated", FAULTY_C_CreateObject);
    let_it_return();
    hangs_until_the_deadline(suspend, "stated", FAULTY_C_SetAttributeValue);
    let_it_return();
    OK(run(suspend, "stated"));
    OK(run(read_record, "stated"));
    assert_int_equal(record.versions[0].state, KYOK_STATE_SUSPENDED);
    hangs_until_the_deadline(read_record, "stated", FAULTY_C_FindObjects);
    let_it_return();
}

static void descendants_and_rotation(void **state)
{
    (void)state;
    OK(run(make_secret, "root"));
    hangs_until_the_deadline(descend, "root", FAULTY_C_WrapKey);
    let_it_return();
    OK(run(descend, "root"));
    hangs_until_the_deadline(rotate, "root", FAULTY_C_UnwrapKey);
    let_it_return();
    OK(run(rotate, "root")); /* is completed, not begun again */
    OK(run(read_record, "root"));
    assert_int_equal(record.count, 2);
    assert_int_equal(record.versions[0].state, KYOK_STATE_DEACTIVATED);
    OK(run(read_record, "child"));
    assert_string_equal(record.versions[0].parent.label, "root.v2");
}

static void destruction(void **state)
{
    (void)state;
    OK(run(make_pair, "doomed"));
    OK(run(suspend, "doomed")); /* so that there is a record */
    hangs_until_the_deadline(destroy, "doomed", FAULTY_C_DestroyObject);
    let_it_return();
    OK(run(destroy, "doomed"));
    OK(run(read_record, "doomed"));
    assert_int_equal(record.versions[0].state, KYOK_STATE_DESTROYED);
}

/* --- */

static int setup(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(directory));
    hsm = faulty_member_make(directory, "a");
    if (hsm == NULL)
        return -1;
    faulty_member_token(directory, "a");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    faulty_member_shell("rm -rf %s", directory);
    return 0;
}

static int heal(void **state)
{
    (void)state;
    set_timeout(0);
    for (int i = 0; i < FAULTY_FUNCTION_COUNT; i++)
        hsm->functions[i].hang_calls = 0;
    faulty_control_release(hsm);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_doubtful_generation_is_not_repeated, heal),
        cmocka_unit_test_setup(a_late_generation_does_not_begin, heal),
        cmocka_unit_test_setup(states_and_records, heal),
        cmocka_unit_test_setup(descendants_and_rotation, heal),
        cmocka_unit_test_setup(destruction, heal),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("life_hang", tests, setup, teardown);
}
