/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for a key at a KMIP server: paused in an ASYNC_JOB, suspended in a host's fiber,
 * cancelled, and blocking; each under the deadline. */
#include "common/key/key.h"
#include "common/work/work.h"
#include "tests/support/kmip_group.h"

#include <openssl/async.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct kyok_context *context;
static struct kyok_key *key;

/* One test waits for it; in the others only a hang reaches it. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TIMEOUT_MS 20000
#else
#define TIMEOUT_MS 4000
#endif

struct signing {
    struct kyok_error err;
    enum kyok_status status;
};

static void sign_now(struct signing *signing)
{
    static const uint8_t digest[32] = {1, 2, 3};
    struct kyok_sign_request request = {.scheme = KYOK_SIGN_ECDSA,
                                        .hash = KYOK_HASH_SHA256,
                                        .digest = kyok_bytes(digest, sizeof digest)};
    uint8_t signature[256];
    size_t size = sizeof signature;

    signing->status = kyok_key_sign(key, &request, signature, &size, &signing->err);
}

static int64_t now_ms(void)
{
    return kyok_now_ns() / 1000000;
}

/* --- blocking --------------------------------------------------------------------------------- */

static void blocking(void **state)
{
    struct signing signing;
    (void)state;
    sign_now(&signing);
    assert_int_equal(signing.status, KYOK_OK);
    kmip_group_tell(&kmip_one, "fault Sign 2 silent");
    int64_t began = now_ms();
    sign_now(&signing);
    assert_int_equal(signing.status, KYOK_TIMEOUT);
    assert_in_range(now_ms() - began, TIMEOUT_MS - 100, TIMEOUT_MS + 30000);
    kmip_group_tell(&kmip_one, "fault none");
    sign_now(&signing);
    assert_int_equal(signing.status, KYOK_OK);
}

/* --- ASYNC_JOB
 * ------------------------------------------------------------------------------------ */

static int run_signing(void *argument)
{
    sign_now(*(struct signing **)argument);
    return 1;
}

static void wait_readable(ASYNC_WAIT_CTX *wait)
{
    OSSL_ASYNC_FD fds[8];
    size_t count = 8;

    assert_int_equal(ASYNC_WAIT_CTX_get_all_fds(wait, fds, &count), 1);
    assert_int_equal(count, 1);
    struct pollfd readable = {.fd = fds[0], .events = POLLIN};
    assert_int_equal(poll(&readable, 1, 60000), 1);
}

static void async_job(void **state)
{
    struct signing signing = {.status = KYOK_FAULT}, *argument = &signing;
    ASYNC_WAIT_CTX *wait = ASYNC_WAIT_CTX_new();
    ASYNC_JOB *job = NULL;
    int result = 0;
    (void)state;
    kmip_group_tell(&kmip_one, "fault Sign 1 delay 400");
    assert_int_equal(ASYNC_start_job(&job, wait, &result, run_signing, &argument, sizeof argument),
                     ASYNC_PAUSE); /* this thread is free meanwhile */
    wait_readable(wait);
    assert_int_equal(ASYNC_start_job(&job, wait, &result, run_signing, &argument, sizeof argument),
                     ASYNC_FINISH);
    assert_int_equal(signing.status, KYOK_OK);
    ASYNC_WAIT_CTX_free(wait);
}

/* --- a host with fibers
 * ------------------------------------------------------------------------------ */

struct host {
    bool cancel;
    int suspended;
};

static bool can_suspend(void *host)
{
    (void)host;
    return true;
}

/* Stands for a fiber that is resumed when its job is done, or cancelled at once. */
static enum kyok_wait_result suspend(void *argument, struct kyok_job *job,
                                     struct kyok_deadline deadline)
{
    struct host *host = argument;
    struct kyok_error err;
    struct pollfd done = {.fd = kyok_work_fd(&err), .events = POLLIN};

    host->suspended++;
    if (host->cancel)
        return KYOK_WAIT_CANCELLED;
    while (poll(&done, 1, kyok_deadline_left_ms(deadline)) > 0)
        for (struct kyok_job *next; (next = kyok_work_next_done()) != NULL;)
            if (next == job)
                return KYOK_WAIT_DONE;
    return KYOK_WAIT_TIMEOUT;
}

static void fibers(void **state)
{
    struct host host = {.cancel = false};
    struct kyok_wait_hook hook = {can_suspend, suspend, &host};
    struct signing signing;
    (void)state;
    kyok_work_set_hook(&hook);
    kmip_group_tell(&kmip_one, "fault Sign 1 delay 200");
    sign_now(&signing);
    assert_int_equal(signing.status, KYOK_OK);
    assert_int_equal(host.suspended, 1);
    host.cancel = true;
    kmip_group_tell(&kmip_one, "fault Sign 1 silent"); /* or it would end as a timeout */
    sign_now(&signing);
    assert_int_equal(signing.status, KYOK_CANCELLED);
    host.cancel = false;
    kmip_group_tell(&kmip_one, "fault none");
    sign_now(&signing); /* while the cancelled one may still be under way */
    assert_int_equal(signing.status, KYOK_OK);
    kyok_work_set_hook(NULL);
}

/* --- set up
 * --------------------------------------------------------------------------------------------- */

static enum kyok_status open_key(struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    struct kyok_config *config = NULL;
    struct kyok_reference *reference = NULL;
    char timeout[32];

    snprintf(timeout, sizeof timeout, "timeout = %dms", TIMEOUT_MS);
    kmip_group_section(&text, "wait", timeout);
    KYOK_TRY(kyok_config_parse(kyok_buffer_bytes(&text), "test.conf", &config, err));
    KYOK_TRY(kyok_context_new(config, &context, err));
    KYOK_TRY(
        kyok_reference_parse("kmip://wait/p256", KYOK_FROM_CONFIGURATION, NULL, &reference, err));
    enum kyok_status status = kyok_key_open(context, reference, kyok_bytes(NULL, 0), &key, err);
    kyok_reference_free(reference);
    return status;
}

static bool set_up(void)
{
    struct kyok_error err;
    char text[1200];

    kmip_group_tell(&kmip_one, "key p256 ec-p256");
    if (open_key(&err) == KYOK_OK)
        return true;
    print_error("%s\n", kyok_error_text(&err, text, sizeof text));
    return false;
}

static void tear_down(void)
{
    kyok_key_free(key);
    kyok_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kmip_group_test(blocking),
        kmip_group_test(async_job),
        kmip_group_test(fibers),
    };
    return kmip_group_run(tests, sizeof tests / sizeof *tests, set_up, tear_down);
}
