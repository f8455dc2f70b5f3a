/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/child.h"

static void error_text_is_one_clean_line(void **state)
{
    struct kyok_error err;
    char text[600];

    (void)state;
    kyok_fail(&err, KYOK_REFUSED, "pkcs11:object=a\nb", "cannot %s", "sign");
    kyok_because(&err, "CKR_PIN_LOCKED");
    assert_int_equal(kyok_remedy(&err, "unlock it"), KYOK_REFUSED);
    kyok_error_text(&err, text, sizeof(text));
    assert_string_equal(text, "pkcs11:object=a?b: cannot sign (CKR_PIN_LOCKED); unlock it");
    kyok_error_text(&err, text, 10);
    assert_int_equal(strlen(text), 9);
}

static void raising_again_keeps_the_object(void **state)
{
    struct kyok_error err;

    (void)state;
    kyok_fail(&err, KYOK_REFUSED, "thing", "first");
    kyok_fail(&err, KYOK_TIMEOUT, err.object, "second");
    assert_string_equal(err.object, "thing");
    assert_int_equal(kyok_status_exit_code(err.status), 3);
}

static void cursor_never_passes_the_end(void **state)
{
    uint8_t data[] = {1, 2, 3, 4, 5, 6, 7};
    struct kyok_cursor cursor = kyok_cursor(kyok_bytes(data, sizeof(data)));
    struct kyok_bytes taken;
    uint32_t word;
    uint64_t wide;

    (void)state;
    assert_false(kyok_cursor_u64(&cursor, &wide));
    assert_true(kyok_cursor_u32(&cursor, &word));
    assert_int_equal(word, 0x01020304);
    assert_false(kyok_cursor_u32(&cursor, &word));
    assert_false(kyok_cursor_take(&cursor, SIZE_MAX, &taken));
    assert_true(kyok_cursor_take(&cursor, 3, &taken));
    assert_int_equal(kyok_cursor_left(&cursor), 0);
}

static void buffer_keeps_its_limit(void **state)
{
    struct kyok_buffer buffer = {.limit = 1000};
    char block[400] = {0};

    (void)state;
    assert_true(kyok_buffer_append(&buffer, block, sizeof(block)));
    assert_true(kyok_buffer_append(&buffer, block, sizeof(block)));
    assert_false(kyok_buffer_append(&buffer, block, sizeof(block)));
    assert_null(kyok_buffer_reserve(&buffer, SIZE_MAX));
    assert_int_equal(buffer.size, 800);
    assert_true(kyok_buffer_printf(&buffer, "%d", 42));
    assert_memory_equal(buffer.data + 800, "42", 2);
    kyok_buffer_free(&buffer);
}

static void hex_refuses_what_is_not_hex(void **state)
{
    uint8_t data[2];
    char text[5];

    (void)state;
    assert_true(kyok_hex_decode("a0Ff", 4, data, 2));
    kyok_hex_encode(kyok_bytes(data, 2), text);
    assert_string_equal(text, "a0ff");
    assert_false(kyok_hex_decode("a0F", 3, data, 1));
    assert_false(kyok_hex_decode("a0Fg", 4, data, 2));
    assert_false(kyok_hex_decode("a0FF", 4, data, 1));
}

static void secret_truncates_and_wipes(void **state)
{
    struct kyok_secret *secret = kyok_secret_copy(kyok_bytes("abcdef", 6));

    (void)state;
    kyok_secret_truncate(secret, 2);
    assert_int_equal(kyok_secret_size(secret), 2);
    assert_int_equal(kyok_secret_data(secret)[3], 0);
    kyok_secret_truncate(secret, 5);
    assert_int_equal(kyok_secret_size(secret), 2);
    kyok_secret_free(secret);
    kyok_secret_free(NULL);
    assert_null(kyok_secret_new(SIZE_MAX - 8));
}

static void deadlines_order(void **state)
{
    (void)state;
    assert_int_equal(kyok_deadline_left_ms(kyok_deadline_never()), -1);
    assert_true(kyok_deadline_passed(kyok_deadline_in_ms(0)));
    assert_false(kyok_deadline_passed(kyok_deadline_in_ms(INT64_MAX)));
    assert_int_equal(kyok_deadline_left_ms(kyok_deadline_in_ms(-5)), 0);
}

static int created;

static void *create(void)
{
    created++;
    return malloc(1);
}

static void child_starts_anew(void **state)
{
    uint64_t generation = kyok_process_generation();
    void *mine = kyok_process_state(KYOK_PROCESS_KEY, create, free);
    pid_t child;

    (void)state;
    assert_ptr_equal(kyok_process_state(KYOK_PROCESS_KEY, create, free), mine);
    assert_int_equal(created, 1);
    child = fork();
    if (child == 0) {
        bool anew = kyok_process_generation() != generation &&
                    kyok_process_state(KYOK_PROCESS_KEY, create, free) != mine && created == 2;

        _exit(anew ? 0 : 1);
    }
    child_ended_well(child);
    assert_int_equal(kyok_process_generation(), generation);
}

static void event_is_json_without_blocking(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct kyok_event event = {.type = "login", .key = "pkcs11:a\"b", .detail = "\xff"};
    char directory[] = "/tmp/kyok-event-XXXXXX";
    char received[2000], lost[40];
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    ssize_t size;

    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", directory);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setenv("KYOK_EVENT_SOCKET", address.sun_path, 1);
    for (int i = 0; i < 2000; i++) /* nobody reads: the queue fills, and nothing blocks */
        kyok_event_emit(&event);
    size = recv(fd, received, sizeof(received) - 1, 0);
    assert_true(size > 0);
    received[size] = '\0';
    assert_non_null(strstr(received, "\"key\":\"pkcs11:a\\\"b\""));
    assert_non_null(strstr(received, "(not UTF-8)"));
    assert_true(kyok_event_lost() > 0);
    while (recv(fd, received, sizeof(received) - 1, 0) > 0)
        continue;
    kyok_event_emit(&event); /* the first that gets through says how many did not */
    size = recv(fd, received, sizeof(received) - 1, 0);
    assert_true(size > 0);
    received[size] = '\0';
    snprintf(lost, sizeof(lost), "\"lost\":%llu}", (unsigned long long)kyok_event_lost());
    assert_non_null(strstr(received, lost));
    kyok_event_emit(&event);
    size = recv(fd, received, sizeof(received) - 1, 0);
    assert_true(size > 0);
    received[size] = '\0';
    assert_null(strstr(received, "\"lost\""));
    close(fd);
    unlink(address.sun_path);
    rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_text_is_one_clean_line),
        cmocka_unit_test(raising_again_keeps_the_object),
        cmocka_unit_test(cursor_never_passes_the_end),
        cmocka_unit_test(buffer_keeps_its_limit),
        cmocka_unit_test(hex_refuses_what_is_not_hex),
        cmocka_unit_test(secret_truncates_and_wipes),
        cmocka_unit_test(deadlines_order),
        cmocka_unit_test(child_starts_anew),
        cmocka_unit_test(event_is_json_without_blocking),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
