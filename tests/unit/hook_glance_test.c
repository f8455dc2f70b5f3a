/* SPDX-License-Identifier: Apache-2.0 */
/* The glance that decides whether the hook loads its parser: it may load it for nothing, it may
 * never pass by what the parser would see. */
#include "libvirt-hook/domain.h"
#include "libvirt-hook/glance.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define UUID "0a1b2c3d-1111-2222-3333-444455556666"
#define OTHER "0a1b2c3d-1111-2222-3333-444455556667"
#define PLAIN "<disk><source file='/a &amp; b'/><target dev='vda'/></disk>"

static bool may_encrypt(const char *xml)
{
    return glance_may_encrypt(xml, strlen(xml));
}

static void plain_domains_are_passed_by(void **state)
{
    (void)state;
    static const char *const plain[] = {
        "<domain/></domain>", /* what is wrong without kyok is wrong with it */
        "<domain type='kvm' id='3'>\n<name>a</name><uuid>" UUID "</uuid><devices>" PLAIN
        "</devices></domain>",
        "<domain></domain>\n \t\r\n",
        "<domain><metadata><k:vm xmlns:k='urn:kyok:libvirt:1'><k:record disk='d'>{}</k:record>"
        "</k:vm></metadata></domain>", /* a record without an encrypted disk opens nothing */
        "<domain><name>\xc3\xa4\xe2\x82\xac</name></domain>",
    };
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        if (may_encrypt(plain[i]))
            fail_msg("%s", plain[i]);
}

static void whatever_may_hide_something_is_read(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        " ",
        "x",
        "<domain>",
        "<domain",
        "<network></domain>",
        " <domain></domain>",
        "\xef\xbb\xbf<domain></domain>",
        "<?xml version='1.0'?><domain></domain>",
        "<?xml version='1.0' encoding='UTF-7'?><domain>+ADw-</domain>",
        "<!DOCTYPE d [<!ENTITY a '&#60;&#101;ncryption>'>]><domain>&a;</domain>",
        "<domain><!DOCTYPE d></domain>",
        "<domain><![CDATA[x]]></domain>",
        "<domain><!-- x --></domain>",
        "<domain><?x y?></domain>",
        "<domain><name>&#101;</name></domain>",
        "<domain><devices><disk><source><encryption/></source></disk></devices></domain>",
        "<domain><devices><disk><source><x:encryption/></source></disk></devices></domain>",
        "<domain><tpm><backend type='emulator'><encryption\nsecret='a'/></backend></tpm></domain>",
        "<domain><name>x</name></domain> <!-- -->",
        "<domain></domain>x",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (!may_encrypt(texts[i]))
            fail_msg("passed by: %s", texts[i]);
    static const char zero[] = "<domain>\0</domain>", tail[] = "<domain></domain>\0";
    assert_true(glance_may_encrypt(zero, sizeof(zero) - 1));
    assert_true(glance_may_encrypt(tail, sizeof(tail) - 1));
}

static void much_text_is_left_to_the_parser(void **state)
{
    (void)state;
    size_t size = 300000;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, ' ', size);
    memcpy(text, "<domain>", 8);
    memcpy(text + size - 9, "</domain>", 9);
    assert_true(glance_may_encrypt(text, size));
    memcpy(text + 200000 - 9, "</domain>", 9);
    assert_false(glance_may_encrypt(text, 200000));
    free(text);
}

/* The same domain in other encodings, which libxml2 reads. */
static void other_encodings_hide_nothing(void **state)
{
    (void)state;
    static const char xml[] = "<domain><devices><disk><source file='/a'><encryption format='luks'>"
                              "<secret uuid='s'/></encryption></source></disk></devices></domain>";
    static const struct {
        size_t width, at;
        unsigned char mark[4], marks;
    } encodings[] = {
        {2, 0, {0xff, 0xfe}, 2}, {2, 1, {0xfe, 0xff}, 2}, {2, 0, {0}, 0},
        {2, 1, {0}, 0},          {4, 0, {0}, 0},          {4, 3, {0}, 0},
    };
    for (size_t i = 0; i < sizeof(encodings) / sizeof(encodings[0]); i++) {
        char wide[4 * sizeof(xml) + 4] = {0}, why[256];
        size_t size = encodings[i].marks;
        struct domain domain;
        memcpy(wide, encodings[i].mark, size);
        for (size_t j = 0; j < sizeof(xml) - 1; j++, size += encodings[i].width)
            wide[size + encodings[i].at] = xml[j];
        assert_true(glance_may_encrypt(wide, size));
        if (encodings[i].marks) {
            assert_true(domain_parse(wide, size, &domain, why, sizeof(why)));
            assert_int_equal(domain.volume_count, 1);
            domain_free(&domain);
        }
    }
}

static char folder[] = "/tmp/kyok-glance.XXXXXX";

static void put(const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    close(file);
}

static void take(const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(unlink(path), 0);
}

static bool may_be_in(const char *xml)
{
    return glance_may_be_in(folder, xml, strlen(xml));
}

static void a_vm_is_found_by_its_uuid(void **state)
{
    (void)state;
    static const char domain[] = "<domain><name>a</name><uuid>" UUID "</uuid></domain>";
    assert_non_null(mkdtemp(folder));
    assert_false(glance_may_be_in("/nonexistent/x", domain, strlen(domain)));
    assert_true(glance_may_be_in("/dev/null/x", domain, strlen(domain))); /* cannot be told */
    assert_false(may_be_in(domain));
    put(OTHER);
    put(".x" UUID);
    assert_false(may_be_in(domain));
    put(UUID);
    assert_true(may_be_in(domain));
    take(UUID);
    assert_false(may_be_in(domain));
    put(OTHER "." UUID);
    assert_true(may_be_in(domain));
    take(OTHER "." UUID);
    put(UUID "." OTHER);
    assert_false(may_be_in(domain)); /* its secret's name is no VM's */
    take(UUID "." OTHER);
}

static void a_uuid_that_is_not_in_the_bytes_is_read(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "<domain><uuid>0a1b2c3d-1111-2222-3333-&#52;44455556667</uuid></domain>",
        "<domain><uuid>0a1b2c3d-1111-2222-<!-- -->3333-444455556667</uuid></domain>",
        "<domain><uuid>0a1b2c3d-1111-2222-<?x?>3333-444455556667</uuid></domain>",
        "<domain><uuid>0a1b2c3d-1111-2222-<b>3333</b>-444455556667</uuid></domain>",
        "<domain><uuid >0a1b2c3d-1111-2222-3333<b/>-444455556667</uuid ></domain>",
        "<domain><uuid\n>" UUID "</uuid></domain>",
        "<domain><x:uuid xmlns:x='y'>0a1b2c3d-<b/></x:uuid></domain>",
        "<domain><uuid>" UUID "</uuid><uuid></uuid></domain>",
        "<domain><uuid>",
        "<domain><uuid></domain>",
        "<domain><uuid",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (!may_be_in(texts[i]))
            fail_msg("passed by: %s", texts[i]);
    take(OTHER);
    take(".x" UUID);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_domains_are_passed_by),
        cmocka_unit_test(whatever_may_hide_something_is_read),
        cmocka_unit_test(much_text_is_left_to_the_parser),
        cmocka_unit_test(other_encodings_hide_nothing),
        cmocka_unit_test(a_vm_is_found_by_its_uuid),
        cmocka_unit_test(a_uuid_that_is_not_in_the_bytes_is_read),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
