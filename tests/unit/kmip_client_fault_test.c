/* SPDX-License-Identifier: Apache-2.0 */
/* The KMIP client against a server that does it wrong: each fault of an answer, wrong certificates,
 * a host that is not there. */
#include "tests/support/descriptors.h"
#include "tests/support/kmip_group.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* --- faults ---------------------------------------------------------------------------------- */

struct fault_case {
    const char *fault; /* kind and number */
    enum kyok_status status;
    const char *what;
};

/* Every fault of an answer. All within the deadline; the next call works. Those behind the line
 * change what Get answers, the others what any operation does. */
static const struct fault_case faults[] = {
    {"delay 100", KYOK_OK, ""},
    {"split", KYOK_OK, ""},
    {"dribble 0", KYOK_OK, ""},
    {"trailing", KYOK_OK, ""},
    {"older", KYOK_OK, ""},
    {"silent", KYOK_TIMEOUT, "did not answer in time"},
    {"delay 900", KYOK_TIMEOUT, "did not answer in time"},
    {"dribble 20", KYOK_TIMEOUT, "did not answer in time"},
    {"long 8", KYOK_TIMEOUT, "did not answer in time"},
    {"close-before", KYOK_UNREACHABLE, "closed the connection"},
    {"close-after", KYOK_UNREACHABLE, "closed the connection"},
    {"cut 0", KYOK_UNREACHABLE, "closed the connection"},
    {"cut 1", KYOK_UNREACHABLE, "closed the connection"},
    {"cut 7", KYOK_UNREACHABLE, "closed the connection"},
    {"cut 8", KYOK_UNREACHABLE, "closed the connection"},
    {"cut 9", KYOK_UNREACHABLE, "closed the connection"},
    {"cut 100", KYOK_UNREACHABLE, "closed the connection"},
    {"cut -1", KYOK_UNREACHABLE, "closed the connection"},
    {"short 8", KYOK_FAULT, ""},
    {"short 1", KYOK_FAULT, ""},
    {"huge", KYOK_FAULT, ""},
    {"big", KYOK_FAULT, ""},
    {"deep", KYOK_FAULT, ""},
    {"garbage", KYOK_FAULT, ""},
    {"tag", KYOK_FAULT, ""},
    {"item-type", KYOK_FAULT, ""},
    {"operation", KYOK_FAULT, "another operation"},
    {"batch", KYOK_FAULT, "another request"},
    {"version", KYOK_FAULT, "KMIP 9."},
    {"items", KYOK_FAULT, ""},
    {"no-payload", KYOK_FAULT, ""},
    {"error 0x0c", KYOK_REFUSED, "PermissionDenied"},
    {"error 0x05", KYOK_UNSUPPORTED, "OperationNotSupported"},
    {"error 0x100", KYOK_REFUSED, "GeneralFailure"},
#define OF_ANY 34 /* rows above */
    {"identifier", KYOK_FAULT, "another object"},
    {"object-type", KYOK_FAULT, "type is SecretData, not SymmetricKey"},
    {"length", KYOK_FAULT, "length is 128 bits, not 256"},
    {"algorithm", KYOK_FAULT, "algorithm is DES3, not AES"},
    {"material", KYOK_FAULT, "length is 248 bits, not 256"},
    {"empty", KYOK_FAULT, "a key without bytes"},
    {"error 0x01", KYOK_NOT_FOUND, "ItemNotFound"},
};

/* What the faults are tried on, as the script and as errors call it. */
struct fault_operation {
    const char *script, *name;
    enum kyok_status (*call)(struct kmip_group *group, const char *id, struct kyok_error *err);
    size_t rows;
};

static enum kyok_status attributes_of(struct kmip_group *group, const char *id,
                                      struct kyok_error *err)
{
    static const struct kyok_kmip_expectation anything;
    struct kyok_kmip_facts facts;
    KYOK_KMIP_AUTO_REPLY(reply);

    return kyok_kmip_get_facts(group->client, kyok_bytes_of_text(id), &anything,
                               kyok_kmip_client_deadline(group->client), &reply, &facts, err);
}

static enum kyok_status encrypt(struct kmip_group *group, const char *id, struct kyok_error *err)
{
    const struct kyok_cipher_request request = {
        .scheme = KYOK_CIPHER_AES_GCM, .input = kyok_bytes_of_text("hello"), .iv_size = 12};
    KYOK_KMIP_AUTO_REPLY(reply);

    return kyok_kmip_encrypt(group->client, kyok_bytes_of_text(id), &request,
                             kyok_kmip_client_deadline(group->client), &reply, err);
}

static enum kyok_status locate(struct kmip_group *group, const char *id, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer found = {0};

    return kyok_kmip_locate_name(group->client, kyok_bytes_of_text(id),
                                 KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                                 kyok_kmip_client_deadline(group->client), &found, err);
}

static const struct fault_operation fault_operations[] = {
    {"Get", "Get", kmip_group_get, sizeof faults / sizeof *faults},
    {"GetAttributes", "Get Attributes", attributes_of, OF_ANY},
    {"Locate", "Locate", locate, OF_ANY},
    {"Encrypt", "Encrypt", encrypt, OF_ANY},
};

#define SHORT_MS 300 /* for what is to time out */

static void check_fault(struct kmip_group *group, const struct fault_operation *operation,
                        const struct fault_case *item)
{
    struct kyok_error err = {0};
    char text[1200];
    int64_t began = kyok_now_ns();

    group->config.timeout_ms = item->status == KYOK_TIMEOUT ? SHORT_MS : KMIP_LONG_MS;
    kmip_group_tell(&kmip_one, "fault %s 2 %s", operation->script,
                    item->fault); /* twice: past the one retry */
    enum kyok_status status = operation->call(group, "k", &err);
    int64_t ms = (kyok_now_ns() - began) / 1000000;
    kmip_group_tell(&kmip_one, "fault none");
    group->config.timeout_ms = KMIP_LONG_MS;
    kyok_error_text(&err, text, sizeof text);
    print_message("# %s, %s: %s\n", operation->script, item->fault,
                  status == KYOK_OK ? "ok" : text);
    assert_int_equal(status, item->status);
    assert_true(ms < KMIP_LONG_MS / 2);
    if (status != KYOK_OK) {
        assert_string_equal(err.object, group->urls[0]);
        assert_true(strstr(text, operation->name) != NULL ||
                    strstr(text, operation->script) != NULL); /* as the server's word has it */
        assert_non_null(strstr(text, item->what));
    }
    kmip_group_expect(group, "k");
}

static void every_fault(void **state)
{
    struct kmip_group group;
    struct rusage before, after;
    (void)state;
    assert_string_equal(faults[OF_ANY].fault, "identifier");
    kmip_group_open(&group, "faults", "alice", KMIP_LONG_MS, &kmip_one, NULL);
    kmip_group_expect(&group, "k");
    int descriptors = open_descriptors();
    getrusage(RUSAGE_SELF, &before);
    for (size_t i = 0; i < sizeof fault_operations / sizeof *fault_operations; i++)
        for (size_t j = 0; j < fault_operations[i].rows; j++)
            check_fault(&group, &fault_operations[i], &faults[j]);
    getrusage(RUSAGE_SELF, &after);
    assert_true(open_descriptors() <= descriptors);
#ifndef __SANITIZE_ADDRESS__                                     /* which keeps freed memory */
    assert_true(after.ru_maxrss - before.ru_maxrss < 16 * 1024); /* KiB */
#endif
    kmip_group_close(&group);
}

/* A fault once on a connection that was in use before: only what may be repeated is, and only when
 * the connection died without an answer. */
static void one_retry(void **state)
{
    struct kmip_group group;
    struct kyok_error err;
    (void)state;
    kmip_group_open(&group, "retry", "alice", KMIP_LONG_MS, &kmip_one, NULL);
    kmip_group_expect(&group, "k");
    kmip_group_tell(&kmip_one, "fault Get 1 close-before");
    kmip_group_expect(&group, "k");
    kmip_group_tell(&kmip_one, "drop-idle");
    kmip_group_expect(&group, "k");
    kmip_group_tell(&kmip_one, "fault Get 2 close-before");
    assert_int_equal(kmip_group_get(&group, "k", &err), KYOK_UNREACHABLE);
    kmip_group_tell(&kmip_one, "fault none");
    kmip_group_expect(&group, "k");
    kmip_group_close(&group);
}

static void wrong_certificates(void **state)
{
    static const struct {
        const char *name, *what;
    } cases[] = {{"server-expired", "has expired"},
                 {"server-wronghost", "does not hold this IP address"},
                 {"server-otherca", "a CA that the ca file does not hold"},
                 {"server-selfsigned", "self-signed"}};
    struct kmip_group group;
    struct kyok_error err;
    (void)state;
    kmip_group_open(&group, "certificates", "alice", KMIP_LONG_MS, &kmip_one, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kmip_group_tell(&kmip_one, "certificate %s", cases[i].name);
        kmip_group_tell(&kmip_one, "drop-idle");
        assert_int_equal(kmip_group_get(&group, "k", &err), KYOK_REFUSED);
        assert_non_null(strstr(err.what, cases[i].what));
        assert_non_null(strstr(err.what, "Get: "));
    }
    kmip_group_tell(&kmip_one, "certificate server");
    kmip_group_tell(&kmip_one, "tls 1.1");
    assert_int_equal(kmip_group_get(&group, "k", &err), KYOK_REFUSED);
    assert_non_null(strstr(err.what, "TLS 1.2"));
    kmip_group_tell(&kmip_one, "tls 1.2");
    kmip_group_expect(&group, "k");
    kmip_group_tell(&kmip_one, "tls 1.3");
    kmip_group_tell(&kmip_one, "hold-handshake on");
    kmip_group_tell(&kmip_one, "drop-idle");
    group.config.timeout_ms = 200;
    assert_int_equal(kmip_group_get(&group, "k", &err), KYOK_TIMEOUT);
    kmip_group_tell(&kmip_one, "hold-handshake off");
    group.config.timeout_ms = KMIP_LONG_MS;
    kmip_group_expect(&group, "k");
    kmip_group_close(&group);
}

static void copy_crl(const char *name)
{
    char command[300];

    snprintf(command, sizeof command, "cp %s/%s %s/now.new && mv %s/now.new %s/now.crl",
             kmip_group_directory, name, kmip_group_directory, kmip_group_directory,
             kmip_group_directory);
    assert_int_equal(system(command), 0);
}

/* A new revocation list counts without restart, also for connections that are open. */
static void renewed_crl(void **state)
{
    struct kmip_group group;
    struct kyok_error err;
    enum kyok_status status = KYOK_OK;
    (void)state;
    kmip_group_open(&group, "crl", "alice", KMIP_LONG_MS, &kmip_one, NULL);
    snprintf(group.files[3], sizeof group.files[3], "%s/now.crl", kmip_group_directory);
    group.config.crl = group.files[3];
    copy_crl("ca.crl");
    kmip_group_expect(&group, "k");
    copy_crl("ca-revokes-server.crl");
    int64_t end = kyok_now_ns() + INT64_C(60000000000);
    while ((status = kmip_group_get(&group, "k", &err)) == KYOK_OK && kyok_now_ns() < end)
        kmip_group_pause(50);
    assert_int_equal(status, KYOK_REFUSED);
    assert_non_null(strstr(err.what, "has been revoked"));
    copy_crl("ca.crl");
    end = kyok_now_ns() + INT64_C(60000000000);
    while (kmip_group_get(&group, "k", &err) != KYOK_OK && kyok_now_ns() < end)
        kmip_group_pause(50);
    kmip_group_expect(&group, "k");
    kmip_group_close(&group);
}

static void unknown_host(void **state)
{
    struct kmip_group group;
    struct kyok_error err;
    (void)state;
    kmip_group_open(&group, "unknown host", "alice", 1500, &kmip_one, NULL);
    group.servers[0] = "kmips://no-such-host.invalid:5696";
    int64_t began = kyok_now_ns();
    enum kyok_status status =
        kmip_group_get(&group, "k", &err); /* a dead resolver is waited for, no longer */
    assert_true(status == KYOK_UNREACHABLE || status == KYOK_TIMEOUT);
    assert_non_null(strstr(err.what, "name"));
    assert_true(kyok_now_ns() - began < INT64_C(30000000000));
    kmip_group_close(&group);
}

/* --- what this side lacks -------------------------------------------------------------------- */

/* No descriptor for another connection: nothing is wrong with the server, and one that is free is
 * used. */
static void no_descriptors(void **state)
{
    struct kmip_group group;
    struct rlimit before, now;
    struct kyok_kmip_live *live;
    struct kyok_error err;
    char text[1200];
    (void)state;
    kmip_group_open(&group, "descriptors", "alice", KMIP_LONG_MS, &kmip_one, NULL);
    kmip_group_expect(&group, "k");
    assert_int_equal(kyok_kmip_client_live(group.client, &live, &err), KYOK_OK);
    struct kyok_kmip_connection *busy = kyok_kmip_pool_take(&live->endpoints[0]);
    assert_non_null(busy);
    getrlimit(RLIMIT_NOFILE, &before);
    int next = dup(STDERR_FILENO);
    close(next);
    now = before;
    now.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
    enum kyok_status status = kmip_group_get(&group, "k", &err);
    kyok_kmip_pool_give(busy);
    kmip_group_expect(&group, "k");
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(status, KYOK_SYSTEM);
    assert_string_equal(err.object, group.urls[0]);
    assert_non_null(strstr(kyok_error_text(&err, text, sizeof text), "EMFILE"));
    assert_int_equal(live->endpoints[0].health, KYOK_KMIP_HEALTHY);
    assert_int_equal(live->endpoints[0].failed, 0);
    kmip_group_close(&group);
}

/* --- two servers, of which one answers wrongly ----------------------------------------------- */

/* Faults that say that a server is not to be believed: the call goes to the other one. */
static void the_other_server_answers(void **state)
{
    static const char *const wrong[] = {"identifier", "operation", "batch", "garbage",   "tag",
                                        "huge",       "cut 9",     "deep",  "no-payload"};
    struct kmip_group group;
    struct kyok_kmip_live *live;
    struct kyok_error err;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char name[32];
        snprintf(name, sizeof name, "one of two %zu", i);
        kmip_group_open(&group, name, "alice", KMIP_LONG_MS, &kmip_one, &kmip_two);
        kmip_group_tell(&kmip_one, "fault Get 2 %s", wrong[i]);
        kmip_group_tell(&kmip_two, "reset-stats");
        kmip_group_expect(&group, "k");
        assert_int_equal(kmip_peer_stat(&kmip_two, "Get"), 1);
        assert_int_equal(kyok_kmip_client_live(group.client, &live, &err), KYOK_OK);
        assert_int_equal(live->endpoints[0].health, KYOK_KMIP_DOWN);
        kmip_group_tell(&kmip_one, "fault none");
        kmip_group_close(&group);
    }
}

/* --- may this identity take the key out? ----------------------------------------------------- */

static void only_a_denial_says_no(void **state)
{
    static const struct {
        const char *fault;
        enum kyok_answer answer;
    } cases[] = {{"error 0x0c", KYOK_NO},          {"error 0x16", KYOK_NO},
                 {"error 0x17", KYOK_NO},          {"error 0x05", KYOK_NO},
                 {"error 0x01", KYOK_NO},          {"error 0x100", KYOK_NOT_KNOWN},
                 {"error 0x2a", KYOK_NOT_KNOWN},   {"error 0x3a", KYOK_NOT_KNOWN},
                 {"close-before", KYOK_NOT_KNOWN}, {"garbage", KYOK_NOT_KNOWN},
                 {"material", KYOK_YES},           {"empty", KYOK_YES}};
    static const struct kyok_kmip_facts nothing_known = {.sensitive = KYOK_NOT_KNOWN,
                                                         .extractable = KYOK_NOT_KNOWN};
    struct kmip_group group;
    (void)state;
    kmip_group_open(&group, "may get", "alice", KMIP_LONG_MS, &kmip_one, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kmip_group_tell(&kmip_one, "fault Get 2 %s", cases[i].fault);
        enum kyok_answer answer =
            kyok_kmip_may_get(group.client, kyok_bytes_of_text("k"), &nothing_known,
                              kyok_kmip_client_deadline(group.client));
        if (answer != cases[i].answer)
            fail_msg("%s: %d", cases[i].fault, (int)answer);
        kmip_group_tell(&kmip_one, "fault none");
    }
    kmip_group_close(&group);
}

/* --- cryptography ---------------------------------------------------------------------------- */

static void encryption_faults(void **state)
{
    struct kmip_group group;
    struct kyok_error err;
    KYOK_KMIP_AUTO_REPLY(reply);
    struct kyok_cipher_request request = {
        .scheme = KYOK_CIPHER_AES_GCM, .input = kyok_bytes_of_text("hello"), .iv_size = 12};
    struct kyok_bytes id = kyok_bytes_of_text("k");
    (void)state;
    kmip_group_open(&group, "encryption", "alice", KMIP_LONG_MS, &kmip_one, NULL);
    struct kyok_deadline soon = kyok_kmip_client_deadline(group.client);
    kmip_group_tell(&kmip_one, "fault Encrypt 1 tag-size");
    assert_int_equal(kyok_kmip_encrypt(group.client, id, &request, soon, &reply, &err), KYOK_FAULT);
    assert_non_null(strstr(err.what, "authentication tag of 12 bytes"));
    kmip_group_tell(&kmip_one, "fault Encrypt 1 other-iv");
    assert_int_equal(kyok_kmip_encrypt(group.client, id, &request, soon, &reply, &err), KYOK_FAULT);
    assert_non_null(strstr(err.what, "another IV"));
    kmip_group_tell(&kmip_one, "fault Encrypt 1 identifier");
    assert_int_equal(kyok_kmip_encrypt(group.client, id, &request, soon, &reply, &err), KYOK_FAULT);
    assert_int_equal(kyok_kmip_encrypt(group.client, id, &request, soon, &reply, &err), KYOK_OK);
    memcpy(request.tag, reply.item->payload.cipher.tag.data, sizeof request.tag);
    uint8_t ciphertext[5];
    memcpy(ciphertext, reply.item->payload.cipher.data.data, sizeof ciphertext);
    request.input = kyok_bytes(ciphertext, sizeof ciphertext);
    assert_int_equal(kyok_kmip_decrypt(group.client, id, &request, soon, &reply, &err), KYOK_OK);
    assert_memory_equal(reply.item->payload.cipher.data.data, "hello", 5);
    request.tag[0] ^= 1;
    assert_int_not_equal(kyok_kmip_decrypt(group.client, id, &request, soon, &reply, &err),
                         KYOK_OK);
    kmip_group_close(&group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kmip_group_test(every_fault),           kmip_group_test(one_retry),
        kmip_group_test(wrong_certificates),    kmip_group_test(renewed_crl),
        kmip_group_test(unknown_host),          kmip_group_test(encryption_faults),
        kmip_group_test(no_descriptors),        kmip_group_test(the_other_server_answers),
        kmip_group_test(only_a_denial_says_no),
    };
    return kmip_group_run(tests, sizeof tests / sizeof *tests, NULL, NULL);
}
