/* SPDX-License-Identifier: Apache-2.0 */
/* PEM key references: both forms, and every way in which DER can be wrong. */
#include "common/config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* An Ed25519 SubjectPublicKeyInfo (RFC 8410 10.1). */
static const uint8_t public_key[] = {
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00, 0x19, 0xbf, 0x44,
    0x09, 0x69, 0x84, 0xcd, 0xfe, 0x85, 0x41, 0xba, 0xc1, 0x67, 0xdc, 0x3b, 0x96, 0xc8, 0x50,
    0x86, 0xaa, 0x30, 0xb6, 0xb6, 0xcb, 0x0c, 0x5c, 0x38, 0xad, 0x70, 0x31, 0x66, 0xe1,
};

static void both_forms_come_back(void **state)
{
    static const struct kyok_bytes keys[] = {{NULL, 0}, {public_key, sizeof(public_key)}};
    char uri[400] = "pkcs11:object=";
    (void)state;
    memset(uri + 14, 'a', sizeof(uri) - 15); /* lengths in one, two and three bytes */
    for (size_t length = 14; length < sizeof(uri); length++) {
        char cut[400];
        memcpy(cut, uri, length);
        cut[length] = '\0';
        for (size_t i = 0; i < 2; i++) {
            KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer der = {0};
            struct kyok_pem_reference read;
            struct kyok_error err = {0};
            assert_int_equal(kyok_pem_reference_write(cut, keys[i], &der, &err), KYOK_OK);
            assert_int_equal(kyok_pem_reference_parse(kyok_buffer_bytes(&der), &read, &err),
                             KYOK_OK);
            assert_true(kyok_bytes_equal(read.uri, kyok_bytes_of_text(cut)));
            assert_true(kyok_bytes_equal(read.public_key, keys[i]));
        }
    }
}

/* The same bytes as pkcs11-provider 1.0's tools write for "pkcs11:a". */
static void the_two_member_form_is_the_known_one(void **state)
{
    static const char expected[] = "\x30\x25\x1a\x19PKCS#11 Provider URI v1.0\x0c\x08pkcs11:a";
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer der = {0}, pem = {0};
    struct kyok_error err = {0};
    (void)state;
    assert_int_equal(kyok_pem_reference_write("pkcs11:a", kyok_bytes(NULL, 0), &der, &err),
                     KYOK_OK);
    assert_int_equal(der.size, sizeof(expected) - 1);
    assert_memory_equal(der.data, expected, der.size);
    assert_int_equal(kyok_pem_reference_write_pem("pkcs11:a", kyok_bytes(NULL, 0), &pem, &err),
                     KYOK_OK);
    kyok_buffer_append(&pem, "", 1);
    assert_string_equal((char *)pem.data, "-----BEGIN PKCS#11 PROVIDER URI-----\n"
                                          "MCUaGVBLQ1MjMTEgUHJvdmlkZXIgVVJJIHYxLjAMCHBrY3MxMTph\n"
                                          "-----END PKCS#11 PROVIDER URI-----\n");
}

static void the_three_member_form_has_its_own_label(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer pem = {0};
    struct kyok_error err = {0};
    (void)state;
    assert_int_equal(kyok_pem_reference_write_pem(
                         "kmip://v/1", kyok_bytes(public_key, sizeof(public_key)), &pem, &err),
                     KYOK_OK);
    kyok_buffer_append(&pem, "", 1);
    assert_non_null(strstr((char *)pem.data, "-----BEGIN KYOK KEY REFERENCE-----\n"));
}

#define MARK "\x1a\x19PKCS#11 Provider URI v1.0"
#define MARK3 "\x1a\x15kyok key reference v1"
#define SPKI "\x30\x09\x30\x03\x06\x01\x2a\x03\x02\x00\x01"

static void wrong_der_is_refused(void **state)
{
#define DER(text) text, sizeof(text) - 1
    static const struct {
        const char *der;
        size_t size;
        const char *says;
    } wrong[] = {
        {DER(""), "not one DER sequence"},
        {DER("\x30"), "not one DER sequence"},
        {DER("\x31\x00"), "not one DER sequence"},
        {DER("\x30\x25" MARK "\x0c\x08pkcs11:a\x00"), "not one DER sequence"}, /* more behind */
        {DER("\x30\x26" MARK "\x0c\x08pkcs11:a"), "not one DER sequence"}, /* less than it says */
        {DER("\x30\x81\x25" MARK "\x0c\x08pkcs11:a"), "not one DER sequence"}, /* long form */
        {DER("\x30\x82\x00\x25" MARK "\x0c\x08pkcs11:a"), "not one DER sequence"},
        {DER("\x30\x83\x00\x00\x25" MARK "\x0c\x08pkcs11:a"), "not one DER sequence"},
        {DER("\x30\x84\xff\xff\xff\xff" MARK "\x0c\x08pkcs11:a"), "not one DER sequence"},
        {DER("\x30\x80" MARK "\x0c\x08pkcs11:a\x00\x00"), "not one DER sequence"}, /* indefinite */
        {DER("\x30\x00"), "first member is no VisibleString"},
        {DER("\x30\x25\x0c\x19PKCS#11 Provider URI v1.0\x0c\x08pkcs11:a"),
         "first member is no VisibleString"},
        {DER("\x30\x25\x1a\x19PKCS#11 Provider URI v2.0\x0c\x08pkcs11:a"), "names no version"},
        {DER("\x30\x1b" MARK), "second member is no UTF8String"},
        {DER("\x30\x25" MARK "\x1a\x08pkcs11:a"), "second member is no UTF8String"},
        {DER("\x30\x25" MARK "\x0c\x09pkcs11:a"), "second member is no UTF8String"},
        {DER("\x30\x27" MARK "\x0c\x08pkcs11:a\x05\x00"), "something behind its URI"},
        {DER("\x30\x25" MARK "\x0c\x08pkcs11\x00:"), "no text"},
        {DER("\x30\x25" MARK "\x0c\x08pkcs11:\xff"), "no text"},
        {DER("\x30\x25" MARK "\x0c\x08/etc/key"), "neither pkcs11: nor kmip:"},
        {DER("\x30\x27" MARK "\x0c\x0akmip://v/1"), "without its public key"},
        {DER("\x30\x21" MARK3 "\x0c\x08pkcs11:a"), "third member is no public key"},
        {DER("\x30\x23" MARK3 "\x0c\x08pkcs11:a\x30\x00"), "third member is no public key"},
        {DER("\x30\x2d" MARK3 "\x0c\x08pkcs11:a" SPKI "\x00"), "third member is no public key"},
        {DER("\x30\x2a" MARK3 "\x0c\x08pkcs11:a\x30\x07\x30\x03\x06\x01\x2a\x03\x00"),
         "third member is no public key"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct kyok_error err = {0};
        struct kyok_pem_reference read = {{NULL, 0}, {NULL, 0}};
        enum kyok_status status =
            kyok_pem_reference_parse(kyok_bytes(wrong[i].der, wrong[i].size), &read, &err);
        if (status != KYOK_INVALID || strstr(err.what, wrong[i].says) == NULL || read.uri.data)
            fail_msg("case %zu should say \"%s\" but says %d \"%s\"", i, wrong[i].says, status,
                     err.what);
    }
    struct kyok_error err = {0};
    struct kyok_pem_reference read;
    assert_int_equal(kyok_pem_reference_parse(
                         kyok_bytes(DER("\x30\x2c" MARK3 "\x0c\x08pkcs11:a" SPKI)), &read, &err),
                     KYOK_OK);
}

static void wrong_references_are_not_written(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer der = {0};
    struct kyok_error err = {0};
    char uri[5000] = "pkcs11:object=";
    (void)state;
    assert_int_equal(kyok_pem_reference_write("kmip://v/1", kyok_bytes(NULL, 0), &der, &err),
                     KYOK_INVALID);
    assert_non_null(strstr(err.remedy, "--with-public"));
    assert_int_equal(kyok_pem_reference_write("/etc/key", kyok_bytes(NULL, 0), &der, &err),
                     KYOK_INVALID);
    assert_int_equal(kyok_pem_reference_write("pkcs11:a", kyok_bytes("key", 3), &der, &err),
                     KYOK_INVALID);
    memset(uri + 14, 'a', sizeof(uri) - 15);
    assert_int_equal(kyok_pem_reference_write(uri, kyok_bytes(NULL, 0), &der, &err), KYOK_INVALID);
    assert_int_equal(der.size, 0);
}

static void long_der_is_refused(void **state)
{
    static uint8_t der[65536];
    struct kyok_error err = {0};
    struct kyok_pem_reference read;
    (void)state;
    assert_int_equal(kyok_pem_reference_parse(kyok_bytes(der, sizeof(der)), &read, &err),
                     KYOK_INVALID);
    assert_non_null(strstr(err.what, "longer than 64 KiB"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_forms_come_back),
        cmocka_unit_test(the_two_member_form_is_the_known_one),
        cmocka_unit_test(the_three_member_form_has_its_own_label),
        cmocka_unit_test(wrong_der_is_refused),
        cmocka_unit_test(wrong_references_are_not_written),
        cmocka_unit_test(long_der_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
