/* SPDX-License-Identifier: Apache-2.0 */
/* Key references: one case per rule, and a comparison with p11-kit's own reading. */
#include "common/config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char configuration_text[] =
    "[token hsm]\nuri = pkcs11:token=hsm\n"
    "[kmip vault]\nserver = kmips://127.0.0.1:5696\nca = /a\ncertificate = /b\nkey = /c\n"
    "[key web]\nuri = pkcs11:token=hsm;object=web?module-path=/m.so\n";

static struct kyok_config *configuration(void)
{
    struct kyok_error err = {0};
    struct kyok_config *config = NULL;
    enum kyok_status status =
        kyok_config_parse(kyok_bytes_of_text(configuration_text), "test.conf", &config, &err);
    if (status != KYOK_OK)
        fail_msg("%s: %s; %s", err.object, err.what, err.remedy);
    return config;
}

static struct kyok_reference *parse(const char *text)
{
    struct kyok_error err = {0};
    struct kyok_reference *reference = NULL;
    if (kyok_reference_parse(text, KYOK_FROM_CONFIGURATION, NULL, &reference, &err) != KYOK_OK)
        fail_msg("%s: %s (%s)", text, err.what, err.reason);
    return reference;
}

static void every_attribute_is_read(void **state)
{
    (void)state;
    struct kyok_reference *r = parse(
        "PKCS11:token=My%20token;manufacturer=SoftHSM%20project;model=SoftHSM%20v2;serial=0a1b;"
        "object=caf%C3%A9;id=%00%01%FF;type=private;slot-id=1834543210;slot-description=s%3Bd;"
        "slot-manufacturer=sm;library-description=ld;library-manufacturer=lm;library-version=3.12"
        "?pin-source=file:/etc/pin&module-name=softhsm2&module-path=/usr/lib/m.so&kyok-group=hsm");
    assert_int_equal(r->kind, KYOK_REFERENCE_PKCS11);
    assert_string_equal(r->token, "My token");
    assert_string_equal(r->manufacturer, "SoftHSM project");
    assert_string_equal(r->model, "SoftHSM v2");
    assert_string_equal(r->serial, "0a1b");
    assert_string_equal(r->object, "caf\xc3\xa9");
    assert_int_equal(r->id_size, 3);
    assert_memory_equal(r->id, "\x00\x01\xff", 3);
    assert_int_equal(r->type, KYOK_OBJECT_PRIVATE);
    assert_true(r->has_slot_id);
    assert_int_equal(r->slot_id, 1834543210);
    assert_string_equal(r->slot_description, "s;d");
    assert_string_equal(r->slot_manufacturer, "sm");
    assert_string_equal(r->library_description, "ld");
    assert_string_equal(r->library_manufacturer, "lm");
    assert_int_equal(r->library_major, 3);
    assert_int_equal(r->library_minor, 12);
    assert_string_equal(r->pin_source, "file:/etc/pin");
    assert_string_equal(r->module_name, "softhsm2");
    assert_string_equal(r->module_path, "/usr/lib/m.so");
    assert_string_equal(r->group, "hsm");
    assert_null(r->pin_value);
    kyok_reference_free(r);
}

static void absent_attributes_stay_absent(void **state)
{
    (void)state;
    struct kyok_reference *r = parse("pkcs11:");
    assert_null(r->token);
    assert_null(r->object);
    assert_false(r->has_id);
    assert_false(r->has_slot_id);
    assert_int_equal(r->library_major, -1);
    assert_int_equal(r->type, KYOK_OBJECT_ANY);
    kyok_reference_free(r);
    r = parse("pkcs11:library-version=7;object-type=cert;token=");
    assert_int_equal(r->library_major, 7);
    assert_int_equal(r->library_minor, 0); /* RFC 7512 2.3 */
    assert_int_equal(r->type, KYOK_OBJECT_CERTIFICATE);
    assert_string_equal(r->token, "");
    kyok_reference_free(r);
}

static void every_type_is_read(void **state)
{
    static const struct {
        const char *text;
        enum kyok_object_type type;
    } types[] = {
        {"pkcs11:type=private", KYOK_OBJECT_PRIVATE},
        {"pkcs11:type=public", KYOK_OBJECT_PUBLIC},
        {"pkcs11:type=cert", KYOK_OBJECT_CERTIFICATE},
        {"pkcs11:type=secret-key", KYOK_OBJECT_SECRET},
        {"pkcs11:type=data", KYOK_OBJECT_DATA},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct kyok_reference *r = parse(types[i].text);
        assert_int_equal(r->type, types[i].type);
        kyok_reference_free(r);
    }
}

static void a_pin_never_shows(void **state)
{
    struct kyok_error err = {0};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    struct kyok_reference *r = parse("pkcs11:token=t?pin-value=12%2034&module-name=m"), *copy;
    (void)state;
    assert_true(kyok_bytes_equal(kyok_secret_bytes(r->pin_value), kyok_bytes_of_text("12 34")));
    assert_string_equal(r->text, "pkcs11:token=t?module-name=m");
    assert_int_equal(kyok_reference_format(r, &text, &err), KYOK_OK);
    assert_null(memmem(text.data, text.size, "34", 2));
    assert_int_equal(kyok_reference_copy(r, &copy, &err), KYOK_OK);
    assert_true(kyok_bytes_equal(kyok_secret_bytes(copy->pin_value), kyok_bytes_of_text("12 34")));
    kyok_reference_free(copy);
    kyok_reference_free(r);
}

static void a_pin_is_in_no_message(void **state)
{
    static const char *const wrong[] = {
        "pkcs11:token=t?module-name=m&pin-value=SECRET%zz&x=y",
        "pkcs11:token=t?pin_value=SECRET",
        "pkcs11:token=t?pin-valueSECRET",
        "pkcs11:token=t?pin-value:SECRET",
        "pkcs11:pin-value=SECRET",
        "pkcs11:token=t;pin-value=SECRET",
        "pkcs11:token=t;pinSECRET",
        "pkcs11:token=t?pin-value=SECRET&pin-value=SECRET",
        "pkcs11:token=t?pin-value=SECRET&module-path=",
        "pkcs11:token=t?kyok-group=absent&pin-value=SECRET",
    };
    struct kyok_config *config = configuration();
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct kyok_error err = {0};
        struct kyok_reference *r = NULL;
        char line[1200];
        assert_int_equal(kyok_reference_parse(wrong[i], KYOK_FROM_CONFIGURATION, config, &r, &err),
                         KYOK_INVALID);
        if (strstr(kyok_error_text(&err, line, sizeof(line)), "SECRET") != NULL)
            fail_msg("%s: %s", wrong[i], line);
    }
    kyok_config_free(config);
}

static const struct {
    const char *text, *says;
} wrong_references[] = {
    {"pkcs11:tokn=a", "unknown attribute \"tokn\""},
    {"pkcs11:x-vendor=a", "unknown attribute \"x-vendor\""},
    {"pkcs11:token=a?kyok-grup=b", "unknown attribute \"kyok-grup\""},
    {"pkcs11:token=a;token=b", "token is given twice"},
    {"pkcs11:token=a?module-name=a&module-name=a", "module-name is given twice"},
    {"pkcs11:type=private;object-type=private", "given twice"},
    {"pkcs11:pin-value=1234", "pin-value belongs behind"},
    {"pkcs11:?token=a", "token belongs before"},
    {"pkcs11:token", "not NAME=VALUE"},
    {"pkcs11:=a", "unknown attribute \"\""},
    {"pkcs11:token=a;", "missing between separators"},
    {"pkcs11:;token=a", "missing between separators"},
    {"pkcs11:token=a?", "missing between separators"},
    {"pkcs11:token=a?module-name=m&", "missing between separators"},
    {"pkcs11:token=a%2", "token holds a character that must be percent-encoded"},
    {"pkcs11:token=a%gg", "must be percent-encoded"},
    {"pkcs11:token=a b", "must be percent-encoded"},
    {"pkcs11:token=a\tb", "must be percent-encoded"},
    {"pkcs11:token=caf\xc3\xa9", "must be percent-encoded"},
    {"pkcs11:token=a#b", "must be percent-encoded"},
    {"pkcs11:token=a%00b", "token holds a NUL"},
    {"pkcs11:object=a%00", "object holds a NUL"},
    {"pkcs11:?module-path=/a%00", "module-path holds a NUL"},
    {"pkcs11:object=%c3%28", "object is not UTF-8"},
    {"pkcs11:object=%ed%a0%80", "object is not UTF-8"},
    {"pkcs11:object=%c0%80", "object is not UTF-8"},
    {"pkcs11:object=%f4%90%80%80", "object is not UTF-8"},
    {"pkcs11:token=123456789012345678901234567890123", "token is longer than a token can hold"},
    {"pkcs11:serial=12345678901234567", "serial is longer"},
    {"pkcs11:model=12345678901234567", "model is longer"},
    {"pkcs11:id=", "id is empty"},
    {"pkcs11:type=key", "type must be one of"},
    {"pkcs11:type=", "type must be one of"},
    {"pkcs11:slot-id=", "slot-id is not a slot number"},
    {"pkcs11:slot-id=-1", "slot-id is not a slot number"},
    {"pkcs11:slot-id=99999999999999999999", "slot-id is not a slot number"},
    {"pkcs11:slot-id=1x", "slot-id is not a slot number"},
    {"pkcs11:library-version=", "library-version is not a version"},
    {"pkcs11:library-version=1.", "library-version is not a version"},
    {"pkcs11:library-version=.1", "library-version is not a version"},
    {"pkcs11:library-version=256.1", "library-version is not a version"},
    {"pkcs11:library-version=1.2.3", "library-version is not a version"},
    {"pkcs11:?pin-source=", "pin-source is empty"},
    {"pkcs11:?kyok-group=a/b", "kyok-group is no group name"},
    {"kmip:vault/1", "expected \"kmip://\""},
    {"kmip:///1", "is no group name"},
    {"kmip://va ult/1", "is no group name"},
    {"kmip://va%20ult/1", "is no group name"},
    {"kmip://vault/", "identifier is empty"},
    {"kmip://vault/a%00", "identifier holds a NUL"},
    {"kmip://vault/a b", "identifier holds a character"},
    {"kmip://vault/1?name=a", "\"name\" is unknown here"},
    {"kmip://vault?public=a", "\"public\" is unknown here"},
    {"kmip://vault?name", "not NAME=VALUE"},
    {"kmip://vault?name=", "name is empty"},
    {"kmip://vault?name=a&name=b", "one query attribute"},
    {"kmip://vault?", "not NAME=VALUE"},
    {"web", "neither a key reference nor the name of a key"},
    {"/etc/key.pem", "neither a key reference nor the name of a key"},
    {"", "neither a key reference nor the name of a key"},
};

static void wrong_references_name_what_is_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(wrong_references) / sizeof(wrong_references[0]); i++) {
        struct kyok_error err = {0};
        struct kyok_reference *r = NULL;
        enum kyok_status status =
            kyok_reference_parse(wrong_references[i].text, KYOK_FROM_CONFIGURATION, NULL, &r, &err);
        if (status != KYOK_INVALID || r != NULL ||
            strstr(err.what, wrong_references[i].says) == NULL)
            fail_msg("\"%s\" should say \"%s\" but says %d \"%s\"", wrong_references[i].text,
                     wrong_references[i].says, status, err.what);
    }
}

static void a_long_reference_is_refused(void **state)
{
    char text[5000];
    struct kyok_error err = {0};
    struct kyok_reference *r = NULL;
    (void)state;
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    memcpy(text, "pkcs11:object=", 14);
    assert_int_equal(kyok_reference_parse(text, KYOK_FROM_CONFIGURATION, NULL, &r, &err),
                     KYOK_INVALID);
    assert_non_null(strstr(err.what, "longer than 4096"));
    text[4096] = '\0';
    assert_int_equal(kyok_reference_parse(text, KYOK_FROM_CONFIGURATION, NULL, &r, &err), KYOK_OK);
    kyok_reference_free(r);
}

static void data_only_selects(void **state)
{
    static const char *const refused[] = {
        "pkcs11:token=hsm?module-path=/tmp/evil.so",
        "pkcs11:token=hsm?module-name=evil",
        "pkcs11:token=hsm?pin-source=file:/etc/shadow",
        "pkcs11:token=hsm?pin-value=1234",
        "pkcs11:token=hsm?kyok-group=other",
        "kmip://other/1",
        "kmip://hsm/1", /* a token group is no KMIP group */
        "web",          /* nor does data use people's names */
    };
    struct kyok_config *config = configuration();
    struct kyok_error err = {0};
    struct kyok_reference *r = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (kyok_reference_parse(refused[i], KYOK_FROM_DATA, config, &r, &err) != KYOK_REFUSED)
            fail_msg("%s from data is not refused", refused[i]);
    }
    assert_int_equal(kyok_reference_parse("pkcs11:token=hsm;object=a?kyok-group=hsm",
                                          KYOK_FROM_DATA, config, &r, &err),
                     KYOK_OK);
    assert_int_equal(r->origin, KYOK_FROM_DATA);
    kyok_reference_free(r);
    assert_int_equal(kyok_reference_parse("kmip://vault/1", KYOK_FROM_DATA, config, &r, &err),
                     KYOK_OK);
    kyok_reference_free(r);
    kyok_config_free(config);
}

static void names_and_groups_come_from_the_configuration(void **state)
{
    struct kyok_config *config = configuration();
    struct kyok_error err = {0};
    struct kyok_reference *r = NULL;
    (void)state;
    assert_int_equal(kyok_reference_parse("web", KYOK_FROM_CONFIGURATION, config, &r, &err),
                     KYOK_OK);
    assert_string_equal(r->object, "web");
    assert_string_equal(r->module_path, "/m.so");
    kyok_reference_free(r);
    assert_int_equal(
        kyok_reference_parse("kmip://other/1", KYOK_FROM_CONFIGURATION, config, &r, &err),
        KYOK_INVALID);
    assert_non_null(strstr(err.what, "group \"other\" is not configured"));
    kyok_config_free(config);
}

static void formats_are_canonical(void **state)
{
    static const struct {
        const char *text, *canonical;
    } forms[] = {
        {"pkcs11:", "pkcs11:"},
        {"pkcs11:object=a%2Cb%28c;id=%0a;token=t%20t",
         "pkcs11:token=t%20t;id=%0A;object=a%2Cb%28c"},
        {"pkcs11:id=%41", "pkcs11:id=%41"},
        {"pkcs11:type=cert;slot-id=4;library-version=1",
         "pkcs11:library-version=1.0;slot-id=4;type=cert"},
        {"pkcs11:?module-path=/m.so&kyok-group=g", "pkcs11:?kyok-group=g&module-path=%2Fm.so"},
        {"KMIP://vault/a%2Fb~c", "kmip://vault/a%2Fb~c"},
        {"kmip://vault?name=my%20key", "kmip://vault?name=my%20key"},
        {"kmip://vault/1?public=2", "kmip://vault/1?public=2"},
        {"kmip://vault", "kmip://vault"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct kyok_error err = {0};
        KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer once = {0}, twice = {0};
        struct kyok_reference *r = parse(forms[i].text), *again;
        assert_int_equal(kyok_reference_format(r, &once, &err), KYOK_OK);
        kyok_buffer_append(&once, "", 1);
        assert_string_equal((char *)once.data, forms[i].canonical);
        again = parse((char *)once.data);
        assert_int_equal(kyok_reference_format(again, &twice, &err), KYOK_OK);
        kyok_buffer_append(&twice, "", 1);
        assert_string_equal((char *)twice.data, forms[i].canonical);
        kyok_reference_free(r);
        kyok_reference_free(again);
    }
}

static void the_scheme_is_found_in_any_case(void **state)
{
    (void)state;
    assert_true(kyok_reference_is("pkcs11:"));
    assert_true(kyok_reference_is("Pkcs11:object=a"));
    assert_true(kyok_reference_is("KMIP://a"));
    assert_false(kyok_reference_is("pkcs1"));
    assert_false(kyok_reference_is("/pkcs11:"));
    assert_false(kyok_reference_is(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_attribute_is_read),
        cmocka_unit_test(absent_attributes_stay_absent),
        cmocka_unit_test(every_type_is_read),
        cmocka_unit_test(a_pin_never_shows),
        cmocka_unit_test(a_pin_is_in_no_message),
        cmocka_unit_test(wrong_references_name_what_is_wrong),
        cmocka_unit_test(a_long_reference_is_refused),
        cmocka_unit_test(data_only_selects),
        cmocka_unit_test(names_and_groups_come_from_the_configuration),
        cmocka_unit_test(formats_are_canonical),
        cmocka_unit_test(the_scheme_is_found_in_any_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
