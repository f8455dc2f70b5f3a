/* SPDX-License-Identifier: Apache-2.0 */
/* Policies: normal forms, limits, and one negative case per rule. */
#include "common/config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* "A|B & C": each key shown by its object. */
static void show(const struct kyok_policy *policy, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < policy->count; i++) {
        for (size_t j = 0; j < policy->clauses[i].count; j++)
            used += (size_t)snprintf(text + used, size - used, "%s%s",
                                     j > 0   ? "|"
                                     : i > 0 ? " & "
                                             : "",
                                     policy->clauses[i].alternatives[j]->object);
    }
}

static void policies_become_an_and_of_ors(void **state)
{
    static const struct {
        const char *text, *normal;
    } forms[] = {
        {"pkcs11:object=A", "A"},
        {"  pkcs11:object=A\n", "A"},
        {"all-of(pkcs11:object=A, pkcs11:object=B)", "A & B"},
        {"any-of(pkcs11:object=A,pkcs11:object=B)", "A|B"},
        {"all-of(pkcs11:object=A)", "A"},
        {"any-of(pkcs11:object=A)", "A"},
        {"any-of(all-of(pkcs11:object=A,pkcs11:object=B),pkcs11:object=C)", "A|C & B|C"},
        {"any-of(all-of(pkcs11:object=A,pkcs11:object=B),all-of(pkcs11:object=C,pkcs11:object=D))",
         "A|C & A|D & B|C & B|D"},
        {"all-of(any-of(pkcs11:object=A,pkcs11:object=B),any-of(pkcs11:object=C,pkcs11:object=D))",
         "A|B & C|D"},
        {"all-of(pkcs11:object=A,pkcs11:object=A)", "A"},
        {"any-of(pkcs11:object=A,pkcs11:object=%41)", "A"},
        {"all-of(any-of(pkcs11:object=A,pkcs11:object=B),any-of(pkcs11:object=B,pkcs11:object=A))",
         "A|B"},
        {"any-of ( all-of( pkcs11:object=A ) , pkcs11:object=B )", "A|B"},
        {"pkcs11:object=a%2Cb%28c%29", "a,b(c)"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct kyok_error err = {0};
        struct kyok_policy *policy = NULL;
        char text[256];
        if (kyok_policy_parse(forms[i].text, KYOK_FROM_CONFIGURATION, NULL, &policy, &err) !=
            KYOK_OK)
            fail_msg("%s: %s", forms[i].text, err.what);
        show(policy, text, sizeof(text));
        assert_string_equal(text, forms[i].normal);
        kyok_policy_free(policy);
    }
}

static void wrong_policies_say_why(void **state)
{
    static const struct {
        const char *text;
        enum kyok_status status;
        const char *says;
    } wrong[] = {
        {"", KYOK_INVALID, "part is missing"},
        {"all-of()", KYOK_INVALID, "part is missing"},
        {"all-of(pkcs11:object=A,)", KYOK_INVALID, "part is missing"},
        {"all-of(,pkcs11:object=A)", KYOK_INVALID, "part is missing"},
        {"(pkcs11:object=A)", KYOK_INVALID, "part is missing"},
        {"all-of(pkcs11:object=A", KYOK_INVALID, "is missing"},
        {"all-of(pkcs11:object=A pkcs11:object=B)", KYOK_INVALID, "\")\" or \",\" is missing"},
        {"pkcs11:object=A)", KYOK_INVALID, "behind its end"},
        {"pkcs11:object=A,pkcs11:object=B", KYOK_INVALID, "behind its end"},
        {"some-of(pkcs11:object=A)", KYOK_INVALID, "unknown word"},
        {"All-of(pkcs11:object=A)", KYOK_INVALID, "unknown word"},
        {"pkcs11:object=A(B)", KYOK_INVALID, "unknown word"},
        {"2-of(pkcs11:object=A,pkcs11:object=B)", KYOK_UNSUPPORTED, "reserved"},
        {"-of(pkcs11:object=A)", KYOK_INVALID, "unknown word"},
        {"all-of(web)", KYOK_INVALID, "neither a key reference"},
        {"all-of(pkcs11:objct=A)", KYOK_INVALID, "unknown attribute"},
        {"all-of(all-of(all-of(all-of(all-of(all-of(all-of(all-of(all-of(pkcs11:object=A)))))))))",
         KYOK_INVALID, "8 deep"},
        {"any-of(all-of(pkcs11:object=A,pkcs11:object=B,pkcs11:object=C),"
         "all-of(pkcs11:object=D,pkcs11:object=E,pkcs11:object=F))",
         KYOK_INVALID, "8 layers"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct kyok_error err = {0};
        struct kyok_policy *policy = NULL;
        enum kyok_status status =
            kyok_policy_parse(wrong[i].text, KYOK_FROM_CONFIGURATION, NULL, &policy, &err);
        if (status != wrong[i].status || policy != NULL || strstr(err.what, wrong[i].says) == NULL)
            fail_msg("\"%s\" should say \"%s\" but says %d \"%s\"", wrong[i].text, wrong[i].says,
                     status, err.what);
    }
}

static void limits_hold(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    struct kyok_error err = {0};
    struct kyok_policy *policy = NULL;
    (void)state;
    kyok_buffer_append_text(&text, "any-of(pkcs11:object=first");
    for (unsigned i = 0; i < 63; i++)
        kyok_buffer_printf(&text, ",pkcs11:object=k%u", i);
    size_t size = text.size;
    kyok_buffer_append(&text, ")", 2);
    assert_int_equal(
        kyok_policy_parse((char *)text.data, KYOK_FROM_CONFIGURATION, NULL, &policy, &err),
        KYOK_OK);
    assert_int_equal(policy->clauses[0].count, KYOK_POLICY_MAX_ALTERNATIVES);
    kyok_policy_free(policy);
    text.size = size;
    kyok_buffer_append(&text, ",pkcs11:object=one)", 20);
    assert_int_equal(
        kyok_policy_parse((char *)text.data, KYOK_FROM_CONFIGURATION, NULL, &policy, &err),
        KYOK_INVALID);
    assert_non_null(strstr(err.what, "64 alternatives"));
    text.size = 0;
    while (text.size <= 65536)
        kyok_buffer_append_text(&text, " ");
    kyok_buffer_append(&text, "", 1);
    assert_int_equal(
        kyok_policy_parse((char *)text.data, KYOK_FROM_CONFIGURATION, NULL, &policy, &err),
        KYOK_INVALID);
    assert_non_null(strstr(err.what, "64 KiB"));
}

static void data_only_selects(void **state)
{
    struct kyok_error err = {0};
    struct kyok_policy *policy = NULL;
    (void)state;
    assert_int_equal(kyok_policy_parse("all-of(pkcs11:object=A,pkcs11:object=B?module-path=/m.so)",
                                       KYOK_FROM_DATA, NULL, &policy, &err),
                     KYOK_REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policies_become_an_and_of_ors),
        cmocka_unit_test(wrong_policies_say_why),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(data_only_selects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
