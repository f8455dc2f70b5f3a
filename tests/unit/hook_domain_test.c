/* SPDX-License-Identifier: Apache-2.0 */
/* What the hook takes out of domain XML, what it refuses, and that its deadline always holds. */
#include "libvirt-hook/age.h"
#include "libvirt-hook/domain.h"
#include "libvirt-hook/hook.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char why[256];

static bool parse(const char *xml, struct domain *domain)
{
    why[0] = 0;
    return domain_parse(xml, strlen(xml), domain, why, sizeof(why));
}

#define ENCRYPTED(target, attribute, secret)                                                       \
    "<disk type='file'><source " attribute                                                         \
    "><encryption format='luks'><secret type='passphrase' " secret                                 \
    "/></encryption></source><target dev='" target "'/></disk>"

static void all_parts_are_found(void **state)
{
    (void)state;
    struct domain domain;
    assert_true(parse("<domain><name>a</name><uuid>u</uuid><os><nvram>/n</nvram></os>"
                      "<metadata><x:y xmlns:x='other'><x:record disk='no'>no</x:record></x:y>"
                      "<k:vm xmlns:k='urn:kyok:libvirt:1'><k:record disk='d1'>{}</k:record>"
                      "<k:record vtpm='t1' "
                      "pending='yes'>{\"a\":1}</k:record></k:vm></metadata><devices>" ENCRYPTED(
                          "vda", "file='/a'", "uuid='s1'")
                          ENCRYPTED("vdb", "dev='/dev/b'", "usage='s2'")
                              ENCRYPTED("vdc", "protocol='rbd' name='p/c'",
                                        "uuid='s3'") "<disk><source file='/plain'/></disk>"
                                                     "<tpm><backend type='emulator'><encryption "
                                                     "secret='t1'/></backend></tpm>"
                                                     "</devices></domain>",
                      &domain));
    assert_string_equal(domain.name, "a");
    assert_string_equal(domain.nvram, "/n");
    assert_int_equal(domain.volume_count, 3);
    assert_string_equal(domain.volumes[0].path, "/a");
    assert_string_equal(domain.volumes[0].secret_uuid, "s1");
    assert_true(domain.volumes[1].block);
    assert_string_equal(domain.volumes[1].secret_usage, "s2");
    assert_null(domain.volumes[2].path);
    assert_string_equal(domain.volumes[2].protocol, "rbd");
    assert_int_equal(domain.plain_disks, 1);
    assert_string_equal(domain.vtpm_secret, "t1");
    assert_int_equal(domain.record_count, 2);
    assert_string_equal(domain.records[0].uuid, "d1");
    assert_false(domain.records[0].pending);
    assert_true(domain.records[1].vtpm && domain.records[1].pending);
    assert_string_equal(domain.records[1].json, "{\"a\":1}");
    domain_free(&domain);
}

static void backing_chain_and_old_place(void **state)
{
    (void)state;
    struct domain domain;
    assert_true(parse(
        "<domain><devices><disk><source file='/top'/><encryption format='luks'><secret "
        "uuid='a'/></encryption><target dev='vda'/><backingStore><source file='/mid'>"
        "<encryption format='luks'><secret uuid='b'/></encryption></source><backingStore>"
        "<source file='/base'><encryption format='luks'><secret uuid='c'/></encryption></source>"
        "</backingStore></backingStore></disk></devices></domain>",
        &domain));
    assert_int_equal(domain.volume_count, 3);
    assert_string_equal(domain.volumes[0].secret_uuid, "a");
    assert_string_equal(domain.volumes[2].path, "/base");
    assert_string_equal(domain.volumes[2].target, "vda");
    domain_free(&domain);
}

static void hostile_xml_is_refused(void **state)
{
    (void)state;
    static const char *const documents[] = {
        "",
        "x",
        "<domain>",
        "<network/>",
        "<!DOCTYPE d [<!ENTITY a 'aaaa'>]><domain><name>&a;</name></domain>",
        "<!DOCTYPE d SYSTEM 'file:///etc/passwd'><domain/>",
        "<domain><name>&a;</name></domain>",
        "<domain><metadata><k:vm xmlns:k='urn:kyok:libvirt:1'><k:record>{}</k:record></k:vm>"
        "</metadata></domain>",
    };
    struct domain domain;
    for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
        assert_false(parse(documents[i], &domain));
        assert_true(why[0]);
    }
    parse(documents[4], &domain);
    assert_non_null(strstr(why, "entities"));
}

static char *repeated(const char *start, const char *item, size_t times, const char *end)
{
    char *text = malloc(strlen(start) + strlen(item) * times + strlen(end) + 1), *at = text;
    at = stpcpy(at, start);
    for (size_t i = 0; i < times; i++)
        at = stpcpy(at, item);
    stpcpy(at, end);
    return text;
}

static void size_counts_and_depth_are_bounded(void **state)
{
    (void)state;
    struct domain domain;
    const struct {
        const char *start, *item, *end;
        size_t times;
        bool good;
    } cases[] = {
        {"<domain><devices>", ENCRYPTED("vda", "file='/a'", "uuid='s'"), "</devices></domain>", 256,
         true},
        {"<domain><devices>", ENCRYPTED("vda", "file='/a'", "uuid='s'"), "</devices></domain>",
         1000, false},
        {"<domain><devices>", "<disk><source file='/a'/></disk>", "</devices></domain>", 1000,
         true},
        {"<domain><metadata><k:vm xmlns:k='urn:kyok:libvirt:1'>",
         "<k:record disk='a'>{}</k:record>", "</k:vm></metadata></domain>", 513, false},
        {"<domain><!--", "0123456789", "--></domain>", 1 << 20, false}, /* 10 MB */
        {"<domain>", "<a>", "", 100000, false},
        {"<domain><metadata><k:vm xmlns:k='urn:kyok:libvirt:1'><k:record disk='a'>",
         "0123456789abcdef", "</k:record></k:vm></metadata></domain>", 20000, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *xml = repeated(cases[i].start, cases[i].item, cases[i].times, cases[i].end);
        bool good = parse(xml, &domain);
        if (good != cases[i].good)
            fail_msg("case %zu: %s", i, why);
        if (good)
            domain_free(&domain);
        free(xml);
    }
}

/* --- the supervisor --- */

static char told[4096];

static int supervised(hook_worker *work, unsigned timeout_ms)
{
    char path[] = "/tmp/kyok-hook.XXXXXX";
    struct domain domain = {.name = (char *)"vm1"};
    struct hook_request request = {.domains = &domain, .domain_count = 1, .timeout_ms = timeout_ms};
    int file = mkstemp(path), kept = dup(2);
    assert_true(file >= 0 && kept >= 0 && dup2(file, 2) == 2);
    int result = hook_supervise(&request, work);
    fflush(stderr);
    dup2(kept, 2);
    ssize_t size = pread(file, told, sizeof(told) - 1, 0);
    told[size > 0 ? size : 0] = 0;
    close(kept);
    close(file);
    unlink(path);
    return result;
}

static int works(const struct hook_request *request)
{
    (void)request;
    return 0;
}

static int fails_with_much_to_say(const struct hook_request *request)
{
    (void)request;
    for (int i = 0; i < 20000; i++)
        fputs("no key\n", stderr);
    return 3;
}

static int hangs(const struct hook_request *request)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    strcpy(request->progress->doing, "asking the HSM");
    strcpy(request->progress->remedy, "look at it");
    sleep(60);
    return 0;
}

static int crashes(const struct hook_request *request)
{
    strcpy(request->progress->doing, "asking the HSM");
    signal(SIGSEGV, SIG_DFL); /* cmocka has a handler */
    return raise(SIGSEGV);
}

static int is_away(const struct hook_request *request)
{
    request->progress->remedy[0]++; /* counts the tries */
    fprintf(stderr, "away %d\n", request->progress->remedy[0]);
    return request->progress->remedy[0] < 3 ? HOOK_AWAY : 0;
}

static int stays_away(const struct hook_request *request)
{
    (void)request;
    fputs("away\n", stderr);
    return HOOK_AWAY;
}

static void who_is_away_is_asked_again(void **state)
{
    (void)state;
    assert_int_equal(supervised(is_away, 3000), 0);
    assert_string_equal(told, "away 3\n");
    assert_int_equal(supervised(stays_away, 3000), 1);
    assert_string_equal(told, "away\n");
}

static void the_deadline_holds(void **state)
{
    (void)state;
    struct timespec start, end;
    assert_int_equal(supervised(works, 1000), 0);
    assert_string_equal(told, "");
    assert_int_equal(supervised(fails_with_much_to_say, 5000), 1);
    assert_int_equal(strncmp(told, "no key\n", 7), 0);
    clock_gettime(CLOCK_MONOTONIC, &start);
    assert_int_equal(supervised(hangs, 200), 1);
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - start.tv_sec < 3);
    assert_non_null(strstr(told, "vm1"));
    assert_non_null(strstr(told, "asking the HSM"));
    assert_non_null(strstr(told, "look at it"));
    assert_int_equal(supervised(crashes, 5000), 1);
    assert_non_null(strstr(told, "signal 11"));
}

static void configuration_is_checked(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        unsigned timeout_ms;
    } cases[] = {
        {"", true, HOOK_TIMEOUT_MS},
        {"# comment\n\n timeout = 5s \n", true, 5000},
        {"timeout=250ms", true, 250},
        {"timeout = 2", true, 2000},
        {"timeout = 0s", false, 0},
        {"timeout = 61s", false, 0},
        {"timeout = 3m", false, 0},
        {"time = 3s", false, 0},
        {"timeout", false, 0},
        {"timeout = -1s", false, 0},
        {"kmip = bank", true, HOOK_TIMEOUT_MS},
        {"kmip =", false, 0},
        {"sweep = 1s", true, HOOK_TIMEOUT_MS},
        {"sweep = 999ms", false, 0},
        {"sweep = 51s", false, 0},
    };
    char path[] = "/tmp/kyok-hook.XXXXXX";
    int file = mkstemp(path);
    struct hook_config config;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(ftruncate(file, 0), 0);
        assert_int_equal(pwrite(file, cases[i].text, strlen(cases[i].text), 0),
                         strlen(cases[i].text));
        bool good = hook_read_config(path, &config);
        if (good != cases[i].good || (good && config.timeout_ms != cases[i].timeout_ms))
            fail_msg("%s", cases[i].text);
    }
    close(file);
    unlink(path);
    assert_true(hook_read_config("/nonexistent/x", &config));
    assert_false(hook_read_config("/tmp", &config));
    assert_false(hook_read_config("/dev/null/x", &config));
}

static void a_step_of_the_clock_ages_no_mark(void **state)
{
    (void)state;
    char path[] = "/tmp/kyok-hook.XXXXXX";
    struct timespec since_boot;
    struct stat status;
    int file = mkstemp(path);
    assert_int_equal(mark_stamp(file), 0);
    assert_int_equal(fstat(file, &status), 0);
    clock_gettime(CLOCK_BOOTTIME, &since_boot);
    assert_in_range(status.st_mtime, since_boot.tv_sec - 60, since_boot.tv_sec);
    assert_in_range(mark_age(&status), 0, 60);
    status.st_mtime = since_boot.tv_sec - 100;
    assert_in_range(mark_age(&status), 100, 160);
    status.st_mtime = time(NULL) - 100; /* touch: of the clock */
    assert_in_range(mark_age(&status), 100, 160);
    close(file);
    unlink(path);
}

static void write_domain(const char *folder, const char *name, const char *record)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s.xml", folder, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fprintf(file,
            "<domain><name>%s</name><metadata><k:vm xmlns:k='urn:kyok:libvirt:1'>%s</k:vm>"
            "</metadata><devices>" ENCRYPTED("vda", "file='/a'", "uuid='s'") "</devices></domain>",
            name, record);
    fclose(file);
}

static void one_odd_domain_keeps_no_other_from_starting(void **state)
{
    (void)state;
    const struct hook_config config = {.timeout_ms = HOOK_TIMEOUT_MS};
    static const char *const names[] = {"first", "odd", "second"};
    char folder[] = "/tmp/kyok-hook.XXXXXX", path[128];
    size_t count;
    assert_non_null(mkdtemp(folder));
    write_domain(folder, "first", "<k:record disk='d'>{}</k:record>");
    write_domain(folder, "odd", "<k:record>{}</k:record>");
    write_domain(folder, "second", "<k:record disk='d'>{}</k:record>");
    struct domain *list = autostart_read(folder, &config, &count);
    assert_int_equal(count, 2);
    assert_string_equal(list[0].name, "first");
    assert_string_equal(list[1].name, "second");
    autostart_free(list, count);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s.xml", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

static void only_a_uuid_is_locked(void **state)
{
    (void)state;
    assert_false(hook_is_locked(""));
    assert_false(hook_is_locked(".."));
    assert_false(hook_is_locked("../../../etc"));
    assert_false(hook_is_locked("."));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_parts_are_found),
        cmocka_unit_test(backing_chain_and_old_place),
        cmocka_unit_test(hostile_xml_is_refused),
        cmocka_unit_test(size_counts_and_depth_are_bounded),
        cmocka_unit_test(who_is_away_is_asked_again),
        cmocka_unit_test(the_deadline_holds),
        cmocka_unit_test(configuration_is_checked),
        cmocka_unit_test(a_step_of_the_clock_ages_no_mark),
        cmocka_unit_test(one_odd_domain_keeps_no_other_from_starting),
        cmocka_unit_test(only_a_uuid_is_locked),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
