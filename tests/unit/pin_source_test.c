/* SPDX-License-Identifier: Apache-2.0 */
/* PIN sources: forms, permissions, what is kept for a child that may not read any more. */
#include "common/config/config.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <p11-kit/pin.h>

#include "tests/support/child.h"

static char folder[] = "/tmp/kyok-pin-XXXXXX";
static char path[64], source[80];

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/pin", folder);
    snprintf(source, sizeof(source), "file:%s", path);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void write_pin(const char *text, size_t size, mode_t mode)
{
    unlink(path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void expect_pin(const char *from, const char *text)
{
    struct kyok_error err = {0};
    KYOK_AUTO_SECRET struct kyok_secret *pin = NULL;
    if (kyok_pin_source_read(from, &pin, &err) != KYOK_OK)
        fail_msg("%s: %s (%s)", from, err.what, err.reason);
    assert_true(kyok_bytes_equal(kyok_secret_bytes(pin), kyok_bytes_of_text(text)));
}

static void expect_failure(const char *from, enum kyok_status status, const char *says)
{
    struct kyok_error err = {0};
    struct kyok_secret *pin = NULL;
    char line[1200];
    enum kyok_status got = kyok_pin_source_read(from, &pin, &err);
    kyok_error_text(&err, line, sizeof(line));
    if (got != status || pin != NULL || strstr(line, says) == NULL)
        fail_msg("%s should say %d \"%s\" but says %d \"%s\"", from, status, says, got, line);
    assert_null(strstr(line, "SECRET"));
}

static void forms_are_checked(void **state)
{
    static const char *const good[] = {
        "/etc/pin",
        "file:/etc/pin",
        "file:///etc/pin",
        "file://localhost/etc/pin",
        "credential:kyok-pin",
        "fd:0",
        "fd:7",
        "gnome-keyring:x",
    };
    static const char *const wrong[] = {
        "",        "pin",      "file:",       "file:pin",      "file://host/pin",
        "file:/",  "|cat pin", "credential:", "credential:..", "credential:a/b",
        "fd:",     "fd:-1",    "fd:x",        "fd:9999999",    "Scheme:x",
        "scheme:", "1234",     "file://pin",
    };
    struct kyok_error err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (kyok_pin_source_check(good[i], &err) != KYOK_OK)
            fail_msg("%s is refused", good[i]);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (kyok_pin_source_check(wrong[i], &err) != KYOK_INVALID)
            fail_msg("%s is taken", wrong[i]);
        expect_failure(wrong[i], KYOK_INVALID, "no PIN source");
    }
}

static void a_file_is_read_each_time(void **state)
{
    (void)state;
    write_pin("1234\n", 5, 0600);
    expect_pin(source, "1234");
    expect_pin(path, "1234");
    write_pin("56 78\r\n", 7, 0400);
    expect_pin(source, "56 78");
    write_pin("9\n\n", 3, 0600);
    expect_pin(source, "9\n");
}

static void a_wrong_file_is_refused(void **state)
{
    static const mode_t modes[] = {0640, 0604, 0620, 0610, 0644};
    static char text[1025];
    (void)state;
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        write_pin("SECRET\n", 7, modes[i]);
        expect_failure(source, KYOK_PIN, "chmod 0600");
    }
    write_pin("", 0, 0600);
    expect_failure(source, KYOK_PIN, "is empty");
    write_pin("\n", 1, 0600);
    expect_failure(source, KYOK_PIN, "is empty");
    memset(text, 'x', sizeof(text));
    write_pin(text, sizeof(text), 0600);
    expect_failure(source, KYOK_PIN, "longer than 1024 bytes");
    unlink(path);
    expect_failure(source, KYOK_PIN, "ENOENT");
    assert_int_equal(mkdir(path, 0700), 0);
    expect_failure(source, KYOK_PIN, "not a regular file");
    rmdir(path);
    if (geteuid() != 0)
        return;
    write_pin("SECRET\n", 7, 0600);
    assert_int_equal(chown(path, 12345, 0), 0);
    expect_failure(source, KYOK_PIN, "belongs to user 12345");
}

static void a_credential_is_found_by_name(void **state)
{
    (void)state;
    unsetenv("CREDENTIALS_DIRECTORY");
    expect_failure("credential:pin", KYOK_PIN, "LoadCredentialEncrypted=pin");
    setenv("CREDENTIALS_DIRECTORY", folder, 1);
    write_pin("1234\n", 5, 0440);
    expect_pin("credential:pin", "1234");
    write_pin("SECRET\n", 7, 0444);
    expect_failure("credential:pin", KYOK_PIN, "chmod");
    unsetenv("CREDENTIALS_DIRECTORY");
}

static void a_descriptor_is_read_once_and_kept(void **state)
{
    int ends[2];
    char from[32];
    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "4711\n", 5), 5);
    close(ends[1]);
    snprintf(from, sizeof(from), "fd:%d", ends[0]);
    expect_pin(from, "4711");
    expect_pin(from, "4711");
    close(ends[0]);
    expect_pin(from, "4711");
    expect_failure("fd:1000000", KYOK_PIN, "EBADF");
}

/* What a server's worker does: it may not read the file, but its parent could. */
static void a_child_uses_what_was_kept(void **state)
{
    struct kyok_error err = {0};
    (void)state;
    write_pin("1234\n", 5, 0600);
    assert_int_equal(kyok_pin_source_keep(source, &err), KYOK_OK);
    write_pin("5678\n", 5, 0600);
    assert_int_equal(kyok_pin_source_keep(source, &err), KYOK_OK);
    unlink(path);
    pid_t child = fork();
    if (child == 0) {
        struct kyok_secret *pin = NULL;
        bool good = kyok_pin_source_read(source, &pin, &err) == KYOK_OK &&
                    kyok_bytes_equal(kyok_secret_bytes(pin), kyok_bytes_of_text("5678"));
        _exit(good ? 0 : 1);
    }
    child_ended_well(child);
    expect_pin(source, "5678");
    /* What can be read goes before what was kept; what others can read is refused all the same. */
    write_pin("9999\n", 5, 0600);
    expect_pin(source, "9999");
    write_pin("SECRET\n", 7, 0644);
    expect_failure(source, KYOK_PIN, "chmod 0600");
}

#define LONG_PIN 600

/* Each PIN is one letter, many times: a mixture would show a value that changed under its reader.
 */
static void *read_often(void *arg)
{
    bool *good = arg;
    for (int i = 0; i < 300 && *good; i++) {
        struct kyok_error err;
        KYOK_AUTO_SECRET struct kyok_secret *pin = NULL;
        *good = kyok_pin_source_read(source, &pin, &err) == KYOK_OK &&
                kyok_secret_size(pin) == LONG_PIN;
        const uint8_t *data = *good ? kyok_secret_data(pin) : NULL;
        for (size_t j = 1; j < LONG_PIN && *good; j++)
            *good = data[j] == data[0];
    }
    return NULL;
}

static void put_pin(char letter)
{
    char text[LONG_PIN], next[80];
    memset(text, letter, sizeof(text));
    snprintf(next, sizeof(next), "%s.next", path);
    FILE *file = fopen(next, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, sizeof(text), file), sizeof(text));
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(next, 0600), 0);
    assert_int_equal(rename(next, path), 0);
}

static void threads_read_while_a_value_is_renewed(void **state)
{
    pthread_t readers[3];
    bool good[3] = {true, true, true};
    struct kyok_error err;
    (void)state;
    put_pin('a');
    assert_int_equal(kyok_pin_source_keep(source, &err), KYOK_OK);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_often, &good[i]), 0);
    for (int i = 0; i < 100; i++) {
        put_pin((char)('a' + i % 26));
        assert_int_equal(kyok_pin_source_keep(source, &err), KYOK_OK);
        unlink(path);
    }
    for (size_t i = 0; i < 3; i++) {
        pthread_join(readers[i], NULL);
        assert_true(good[i]);
    }
}

static P11KitPin *callback(const char *asked, P11KitUri *uri, const char *description,
                           P11KitPinFlags flags, void *data)
{
    (void)asked, (void)uri, (void)description, (void)flags, (void)data;
    return p11_kit_pin_new_for_string("2468");
}

static void a_callback_answers_for_other_schemes(void **state)
{
    (void)state;
    expect_failure("agent:key", KYOK_PIN, "no p11-kit callback");
    p11_kit_pin_register_callback("agent:key", callback, NULL, NULL);
    expect_pin("agent:key", "2468");
    /* A child must not enter p11-kit: its lock may be held there for ever. */
    pid_t child = fork();
    if (child == 0) {
        struct kyok_error err = {0};
        struct kyok_secret *pin = NULL;
        _exit(kyok_pin_source_read("agent:key", &pin, &err) == KYOK_PIN ? 0 : 1);
    }
    child_ended_well(child);
    p11_kit_pin_unregister_callback("agent:key", callback, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_are_checked),
        cmocka_unit_test(a_file_is_read_each_time),
        cmocka_unit_test(a_wrong_file_is_refused),
        cmocka_unit_test(a_credential_is_found_by_name),
        cmocka_unit_test(a_descriptor_is_read_once_and_kept),
        cmocka_unit_test(a_child_uses_what_was_kept),
        cmocka_unit_test(threads_read_while_a_value_is_renewed),
        cmocka_unit_test(a_callback_answers_for_other_schemes),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
