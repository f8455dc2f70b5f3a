/* SPDX-License-Identifier: Apache-2.0 */
/* The KMIP client against the scripted server: faults, deadlines, connections, failover, versions.
 */
#include "common/kmip/client_call.h"
#include "tests/support/kmip_peer.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[64];

/* --- servers --------------------------------------------------------------------------------- */

static const char *tell(struct kmip_peer *peer, const char *format, ...)
{
    char command[256];
    va_list list;

    va_start(list, format);
    vsnprintf(command, sizeof command, format, list);
    va_end(list);
    const char *line = kmip_peer_tell(peer, "%s", command);
    if (line == NULL || strncmp(line, "ok", 2) != 0)
        fail_msg("%s: %s", command, line == NULL ? "the server is gone" : line);
    return line;
}

#define stat_of kmip_peer_stat

/* --- one group ------------------------------------------------------------------------------- */

struct group {
    struct kyok_kmip_config config;
    char urls[4][64];
    char *servers[4];
    char files[4][128];
    struct kyok_kmip_client *client;
};

static struct kmip_peer one, two; /* live for the whole test program */

static void group_open(struct group *group, const char *name, const char *identity,
                       unsigned timeout, struct kmip_peer *first, struct kmip_peer *second)
{
    struct kyok_error err;
    struct kmip_peer *peers[] = {first, second};

    memset(group, 0, sizeof *group);
    group->config.name = (char *)name;
    group->config.where = "test.conf:1";
    group->config.servers = group->servers;
    for (size_t i = 0; i < 2 && peers[i] != NULL; i++) {
        snprintf(group->urls[i], sizeof group->urls[i], "kmips://127.0.0.1:%d", peers[i]->port);
        group->servers[i] = group->urls[i];
        group->config.server_count++;
    }
    snprintf(group->files[0], sizeof group->files[0], "%s/ca.crt", directory);
    snprintf(group->files[1], sizeof group->files[1], "%s/%s.crt", directory, identity);
    snprintf(group->files[2], sizeof group->files[2], "%s/%s.key", directory, identity);
    group->config.ca = group->files[0];
    group->config.certificate = group->files[1];
    group->config.key = group->files[2];
    group->config.timeout_ms = timeout;
    assert_int_equal(kyok_kmip_client_new(&group->config, &group->client, &err), KYOK_OK);
}

static void group_close(struct group *group)
{
    kyok_kmip_client_free(group->client);
}

static const struct kyok_kmip_expectation aes = {KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                                                 KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, 256, 0};

static enum kyok_status get(struct group *group, const char *id, struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);

    enum kyok_status status =
        kyok_kmip_get(group->client, kyok_bytes_of_text(id), KYOK_KMIP_KEY_FORMAT_TYPE_RAW, &aes,
                      kyok_kmip_client_deadline(group->client), &reply, err);
    if (status == KYOK_OK)
        assert_int_equal(reply.item->payload.get.object.key.value.material.size, 32);
    return status;
}

static void expect_get(struct group *group, const char *id)
{
    struct kyok_error err;
    char text[1200];

    if (get(group, id, &err) != KYOK_OK)
        fail_msg("%s", kyok_error_text(&err, text, sizeof text));
}

static int open_descriptors(void)
{
    DIR *list = opendir("/proc/self/fd");
    int count = 0;

    while (readdir(list) != NULL)
        count++;
    closedir(list);
    return count;
}

static void pause_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&time, NULL);
}

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
    enum kyok_status (*call)(struct group *group, const char *id, struct kyok_error *err);
    size_t rows;
};

static enum kyok_status attributes_of(struct group *group, const char *id, struct kyok_error *err)
{
    static const struct kyok_kmip_expectation anything;
    struct kyok_kmip_facts facts;
    KYOK_KMIP_AUTO_REPLY(reply);

    return kyok_kmip_get_facts(group->client, kyok_bytes_of_text(id), &anything,
                               kyok_kmip_client_deadline(group->client), &reply, &facts, err);
}

static enum kyok_status encrypt(struct group *group, const char *id, struct kyok_error *err)
{
    const struct kyok_cipher_request request = {
        .scheme = KYOK_CIPHER_AES_GCM, .input = kyok_bytes_of_text("hello"), .iv_size = 12};
    KYOK_KMIP_AUTO_REPLY(reply);

    return kyok_kmip_encrypt(group->client, kyok_bytes_of_text(id), &request,
                             kyok_kmip_client_deadline(group->client), &reply, err);
}

static enum kyok_status locate(struct group *group, const char *id, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer found = {0};

    return kyok_kmip_locate_name(group->client, kyok_bytes_of_text(id),
                                 KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                                 kyok_kmip_client_deadline(group->client), &found, err);
}

static const struct fault_operation fault_operations[] = {
    {"Get", "Get", get, sizeof faults / sizeof *faults},
    {"GetAttributes", "Get Attributes", attributes_of, OF_ANY},
    {"Locate", "Locate", locate, OF_ANY},
    {"Encrypt", "Encrypt", encrypt, OF_ANY},
};

/* Only a hang takes the long one; what is to time out has the short one. */
#define LONG_MS 60000
#define SHORT_MS 300

static void check_fault(struct group *group, const struct fault_operation *operation,
                        const struct fault_case *item)
{
    struct kyok_error err = {0};
    char text[1200];
    int64_t began = kyok_now_ns();

    group->config.timeout_ms = item->status == KYOK_TIMEOUT ? SHORT_MS : LONG_MS;
    tell(&one, "fault %s 2 %s", operation->script, item->fault); /* twice: past the one retry */
    enum kyok_status status = operation->call(group, "k", &err);
    int64_t ms = (kyok_now_ns() - began) / 1000000;
    tell(&one, "fault none");
    group->config.timeout_ms = LONG_MS;
    kyok_error_text(&err, text, sizeof text);
    print_message("# %s, %s: %s\n", operation->script, item->fault,
                  status == KYOK_OK ? "ok" : text);
    assert_int_equal(status, item->status);
    assert_true(ms < LONG_MS / 2);
    if (status != KYOK_OK) {
        assert_string_equal(err.object, group->urls[0]);
        assert_true(strstr(text, operation->name) != NULL ||
                    strstr(text, operation->script) != NULL); /* as the server's word has it */
        assert_non_null(strstr(text, item->what));
    }
    expect_get(group, "k");
}

static void every_fault(void **state)
{
    struct group group;
    struct rusage before, after;
    (void)state;
    assert_string_equal(faults[OF_ANY].fault, "identifier");
    group_open(&group, "faults", "alice", LONG_MS, &one, NULL);
    expect_get(&group, "k");
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
    group_close(&group);
}

/* A fault once on a connection that was in use before: only what may be repeated is, and only when
 * the connection died without an answer. */
static void one_retry(void **state)
{
    struct group group;
    struct kyok_error err;
    (void)state;
    group_open(&group, "retry", "alice", LONG_MS, &one, NULL);
    expect_get(&group, "k");
    tell(&one, "fault Get 1 close-before");
    expect_get(&group, "k");
    tell(&one, "drop-idle");
    expect_get(&group, "k");
    tell(&one, "fault Get 2 close-before");
    assert_int_equal(get(&group, "k", &err), KYOK_UNREACHABLE);
    tell(&one, "fault none");
    expect_get(&group, "k");
    group_close(&group);
}

static void wrong_certificates(void **state)
{
    static const struct {
        const char *name, *what;
    } cases[] = {{"server-expired", "has expired"},
                 {"server-wronghost", "does not hold this IP address"},
                 {"server-otherca", "a CA that the ca file does not hold"},
                 {"server-selfsigned", "self-signed"}};
    struct group group;
    struct kyok_error err;
    (void)state;
    group_open(&group, "certificates", "alice", LONG_MS, &one, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tell(&one, "certificate %s", cases[i].name);
        tell(&one, "drop-idle");
        assert_int_equal(get(&group, "k", &err), KYOK_REFUSED);
        assert_non_null(strstr(err.what, cases[i].what));
        assert_non_null(strstr(err.what, "Get: "));
    }
    tell(&one, "certificate server");
    tell(&one, "tls 1.1");
    assert_int_equal(get(&group, "k", &err), KYOK_REFUSED);
    assert_non_null(strstr(err.what, "TLS 1.2"));
    tell(&one, "tls 1.2");
    expect_get(&group, "k");
    tell(&one, "tls 1.3");
    tell(&one, "hold-handshake on");
    tell(&one, "drop-idle");
    group.config.timeout_ms = 200;
    assert_int_equal(get(&group, "k", &err), KYOK_TIMEOUT);
    tell(&one, "hold-handshake off");
    group.config.timeout_ms = LONG_MS;
    expect_get(&group, "k");
    group_close(&group);
}

static void copy_crl(const char *name)
{
    char command[300];

    snprintf(command, sizeof command, "cp %s/%s %s/now.new && mv %s/now.new %s/now.crl", directory,
             name, directory, directory, directory);
    assert_int_equal(system(command), 0);
}

/* A new revocation list counts without restart, also for connections that are open. */
static void renewed_crl(void **state)
{
    struct group group;
    struct kyok_error err;
    enum kyok_status status = KYOK_OK;
    (void)state;
    group_open(&group, "crl", "alice", LONG_MS, &one, NULL);
    snprintf(group.files[3], sizeof group.files[3], "%s/now.crl", directory);
    group.config.crl = group.files[3];
    copy_crl("ca.crl");
    expect_get(&group, "k");
    copy_crl("ca-revokes-server.crl");
    int64_t end = kyok_now_ns() + INT64_C(60000000000);
    while ((status = get(&group, "k", &err)) == KYOK_OK && kyok_now_ns() < end)
        pause_ms(50);
    assert_int_equal(status, KYOK_REFUSED);
    assert_non_null(strstr(err.what, "has been revoked"));
    copy_crl("ca.crl");
    end = kyok_now_ns() + INT64_C(60000000000);
    while (get(&group, "k", &err) != KYOK_OK && kyok_now_ns() < end)
        pause_ms(50);
    expect_get(&group, "k");
    group_close(&group);
}

static void unknown_host(void **state)
{
    struct group group;
    struct kyok_error err;
    (void)state;
    group_open(&group, "unknown host", "alice", 1500, &one, NULL);
    group.servers[0] = "kmips://no-such-host.invalid:5696";
    int64_t began = kyok_now_ns();
    enum kyok_status status = get(&group, "k", &err); /* a dead resolver is waited for, no longer */
    assert_true(status == KYOK_UNREACHABLE || status == KYOK_TIMEOUT);
    assert_non_null(strstr(err.what, "name"));
    assert_true(kyok_now_ns() - began < INT64_C(30000000000));
    group_close(&group);
}

/* --- cryptography ---------------------------------------------------------------------------- */

static void encryption_faults(void **state)
{
    struct group group;
    struct kyok_error err;
    KYOK_KMIP_AUTO_REPLY(reply);
    struct kyok_cipher_request request = {
        .scheme = KYOK_CIPHER_AES_GCM, .input = kyok_bytes_of_text("hello"), .iv_size = 12};
    struct kyok_bytes id = kyok_bytes_of_text("k");
    (void)state;
    group_open(&group, "encryption", "alice", LONG_MS, &one, NULL);
    struct kyok_deadline soon = kyok_kmip_client_deadline(group.client);
    tell(&one, "fault Encrypt 1 tag-size");
    assert_int_equal(kyok_kmip_encrypt(group.client, id, &request, soon, &reply, &err), KYOK_FAULT);
    assert_non_null(strstr(err.what, "authentication tag of 12 bytes"));
    tell(&one, "fault Encrypt 1 other-iv");
    assert_int_equal(kyok_kmip_encrypt(group.client, id, &request, soon, &reply, &err), KYOK_FAULT);
    assert_non_null(strstr(err.what, "another IV"));
    tell(&one, "fault Encrypt 1 identifier");
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
    group_close(&group);
}

/* --- versions -------------------------------------------------------------------------------- */

static void versions(void **state)
{
    static const struct {
        const char *offered;
        unsigned limit, chosen;
    } cases[] = {
        {"1.4 1.3 1.2 1.1 1.0", 0, KYOK_KMIP_1_4},
        {"1.0", 0, KYOK_KMIP_1_0},
        {"1.1 1.0", 0, KYOK_KMIP_1_1},
        {"1.2 1.1 1.0", 0, KYOK_KMIP_1_2},
        {"2.0 1.4", 0, KYOK_KMIP_1_4},
        {"2.0 1.4", 20, KYOK_KMIP_2_0},
        {"2.0", 0, KYOK_KMIP_2_0},
        {"1.4 1.3 1.2", 12, KYOK_KMIP_1_2},
        {"1.4", 0, KYOK_KMIP_1_4},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct group group;
        char name[32];
        snprintf(name, sizeof name, "versions %zu", i);
        tell(&one, "versions %s", cases[i].offered);
        group_open(&group, name, "alice", LONG_MS, &one, NULL);
        group.config.version = cases[i].limit;
        expect_get(&group, "k");
        assert_int_equal(kyok_kmip_client_version(group.client), cases[i].chosen);
        group_close(&group);
    }
    tell(&one, "versions 1.4 1.3 1.2 1.1 1.0");
}

static void no_common_version(void **state)
{
    struct group group;
    struct kyok_error err;
    (void)state;
    group_open(&group, "nothing in common", "alice", LONG_MS, &one, NULL);
    group.config.version = 12;
    tell(&one, "versions 1.4 1.3 2.0");
    enum kyok_status status = get(&group, "k", &err);
    tell(&one, "versions 1.4 1.3 1.2 1.1 1.0");
    assert_int_not_equal(status, KYOK_OK);
    assert_string_equal(err.object, group.urls[0]);
    expect_get(&group, "k");
    group_close(&group);
}

/* --- many threads ---------------------------------------------------------------------------- */

struct load {
    struct group *group;
    unsigned calls;
    int64_t until_ns;
    unsigned done, failed;
    struct kyok_error err;
};

static void *load_thread(void *argument)
{
    struct load *load = argument;

    while (load->calls != 0 ? load->done < load->calls : kyok_now_ns() < load->until_ns) {
        if (get(load->group, "k", &load->err) != KYOK_OK)
            load->failed++;
        load->done++;
    }
    return NULL;
}

#define THREADS 8

static void load_start(struct group *group, unsigned calls, int64_t ms, struct load *loads,
                       pthread_t *threads)
{
    for (int i = 0; i < THREADS; i++) {
        loads[i] = (struct load){.group = group, .calls = calls};
        loads[i].until_ns = kyok_now_ns() + ms * 1000000;
        assert_int_equal(pthread_create(&threads[i], NULL, load_thread, &loads[i]), 0);
    }
}

static void load_end(struct load *loads, pthread_t *threads)
{
    char text[1200];

    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        if (loads[i].failed != 0)
            fail_msg("%u of %u: %s", loads[i].failed, loads[i].done,
                     kyok_error_text(&loads[i].err, text, sizeof text));
    }
}

static void few_connections(void **state)
{
    struct group group;
    struct load loads[THREADS];
    pthread_t threads[THREADS];
    (void)state;
    group_open(&group, "pool", "alice", LONG_MS, &one, NULL);
    tell(&one, "reset-stats");
    load_start(&group, 1000 / THREADS, 0, loads, threads);
    load_end(loads, threads);
    assert_int_equal(stat_of(&one, "Get"), 1000);
    long accepted = stat_of(&one, "accepted");
    print_message("# 1000 Gets by 8 threads: %ld connections\n", accepted);
    assert_in_range(accepted, 1, 8);
    group_close(&group);
}

static void failover_under_load(void **state)
{
    struct group group;
    struct load loads[THREADS];
    pthread_t threads[THREADS];
    (void)state;
    group_open(&group, "failover", "alice", LONG_MS, &one, &two);
    load_start(&group, 0, 4000, loads, threads);
    pause_ms(400);
    tell(&two, "down");
    tell(&two, "reset-stats");
    pause_ms(800);
    tell(&two, "up");
    pause_ms(1500);
    tell(&one, "down");
    tell(&one, "reset-stats");
    pause_ms(300);
    tell(&one, "up");
    load_end(loads, threads);
    assert_true(stat_of(&two, "Get") > 0); /* both are used again */
    assert_true(stat_of(&one, "Get") > 0);
    group_close(&group);
}

/* A server that goes silent, rather than dying, takes a share of the deadline and no more. */
static void failover_from_silence(void **state)
{
    struct group group;
    struct load loads[THREADS];
    pthread_t threads[THREADS];
    (void)state;
    group_open(&group, "silence", "alice", 6000, &one, &two);
    expect_get(&group, "k");
    tell(&one, "fault any 1000 silent");
    load_start(&group, 0, 1200, loads, threads);
    load_end(loads, threads);
    tell(&one, "fault none");
    tell(&one, "drop-idle");
    group_close(&group);
}

static void writes_in_order(void **state)
{
    struct group group;
    struct kyok_error err;
    struct kyok_kmip_created created;
    struct kyok_kmip_creation creation = {.object_type = KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                                          .algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES,
                                          .bits = 256,
                                          .usage = 0x0c};
    (void)state;
    group_open(&group, "order", "alice", LONG_MS, &one, &two);
    tell(&one, "reset-stats");
    tell(&two, "reset-stats");
    for (int i = 0; i < 4; i++)
        assert_int_equal(kyok_kmip_create(group.client, &creation,
                                          kyok_kmip_client_deadline(group.client), &created, &err),
                         KYOK_OK);
    assert_int_equal(stat_of(&one, "Create"), 4);
    assert_int_equal(stat_of(&two, "Create"), 0);
    tell(&one, "down");
    assert_int_equal(kyok_kmip_create(group.client, &creation,
                                      kyok_kmip_client_deadline(group.client), &created, &err),
                     KYOK_OK);
    tell(&one, "up");
    assert_int_equal(stat_of(&two, "Create"), 1);
    group_close(&group);
}

/* --- what must not happen twice -------------------------------------------------------------- */

static void doubtful_create(void **state)
{
    struct group group;
    struct kyok_error err;
    struct kyok_kmip_created created;
    struct kyok_kmip_creation creation = {.object_type = KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                                          .algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES,
                                          .bits = 256,
                                          .usage = 0x0c,
                                          .name = "made-once"};
    (void)state;
    group_open(&group, "doubt", "alice", LONG_MS, &one, NULL);
    tell(&one, "reset-stats");
    tell(&one, "fault Create 1 close-after"); /* made, but the answer is lost */
    assert_int_equal(kyok_kmip_create(group.client, &creation,
                                      kyok_kmip_client_deadline(group.client), &created, &err),
                     KYOK_OK);
    assert_true(created.found);
    assert_int_equal(stat_of(&one, "Create"), 1);
    creation.name = "never-made";
    tell(&one, "fault Create 1 close-before");
    assert_int_equal(kyok_kmip_create(group.client, &creation,
                                      kyok_kmip_client_deadline(group.client), &created, &err),
                     KYOK_UNREACHABLE);
    assert_non_null(strstr(err.remedy, "never-made"));
    assert_int_equal(stat_of(&one, "Create"), 2); /* one per call, never a second one */
    creation.name = "made-once";
    assert_int_equal(kyok_kmip_create(group.client, &creation,
                                      kyok_kmip_client_deadline(group.client), &created, &err),
                     KYOK_REFUSED);
    assert_int_equal(stat_of(&one, "Create"), 2);
    group_close(&group);
}

static void doubtful_derivation(void **state)
{
    struct group group;
    struct kyok_error err;
    struct kyok_kmip_created created;
    static const struct kyok_kmip_cryptographic_parameters parameters = {
        .hashing_algorithm = KYOK_KMIP_HASHING_ALGORITHM_SHA_256};
    struct kyok_bytes base = kyok_bytes_of_text("k");
    struct kyok_kmip_derivation derivation = {
        .bases = &base, .base_count = 1, .method = KYOK_KMIP_DERIVATION_METHOD_HASH};
    struct kyok_kmip_creation creation = {.object_type = KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                                          .algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES,
                                          .bits = 256,
                                          .usage = 0x0c,
                                          .name = "derived-once",
                                          .derivation = &derivation};
    (void)state;
    derivation.parameters.parameters = &parameters;
    group_open(&group, "derivation", "alice", LONG_MS, &one, NULL);
    tell(&one, "reset-stats");
    tell(&one, "fault DeriveKey 1 close-after");
    assert_int_equal(kyok_kmip_create(group.client, &creation,
                                      kyok_kmip_client_deadline(group.client), &created, &err),
                     KYOK_OK);
    assert_true(created.found);
    assert_int_equal(stat_of(&one, "DeriveKey"), 1);
    expect_get(&group, created.identifier);
    base = kyok_bytes_of_text("no-such-key");
    creation.name = NULL;
    assert_int_equal(kyok_kmip_create(group.client, &creation,
                                      kyok_kmip_client_deadline(group.client), &created, &err),
                     KYOK_NOT_FOUND);
    assert_non_null(strstr(err.what, "Derive"));
    group_close(&group);
}

/* A busy connection ends after its time all the same, so that a certificate that ended is noticed.
 */
static void connections_end(void **state)
{
    struct group group;
    struct kyok_error err;
    struct kyok_kmip_live *live;
    (void)state;
    group_open(&group, "life", "alice", LONG_MS, &one, NULL);
    expect_get(&group, "k");
    assert_int_equal(kyok_kmip_client_live(group.client, &live, &err), KYOK_OK);
    struct kyok_kmip_connection *connection = kyok_kmip_pool_take(&live->endpoints[0]);
    assert_non_null(connection);
    connection->opened_ns -= (int64_t)KYOK_KMIP_LIFE_SECONDS * 1000000000;
    kyok_kmip_pool_give(connection);
    tell(&one, "reset-stats");
    expect_get(&group, "k");
    expect_get(&group, "k");
    assert_int_equal(stat_of(&one, "accepted"), 1);
    group_close(&group);
}

static void doubtful_states(void **state)
{
    struct group group;
    struct kyok_error err;
    struct kyok_bytes id = kyok_bytes_of_text("s");
    (void)state;
    group_open(&group, "states", "alice", LONG_MS, &one, NULL);
    tell(&one, "key s aes-256");
    tell(&one, "state s pre-active");
    static const char *const how[] = {"close-after", "close-before"};
    for (size_t i = 0; i < 2; i++) {
        struct kyok_deadline soon = kyok_kmip_client_deadline(group.client);
        tell(&one, "state s pre-active");
        tell(&one, "fault Activate 1 %s", how[i]);
        assert_int_equal(kyok_kmip_activate(group.client, id, soon, &err), KYOK_OK);
        tell(&one, "fault Revoke 1 %s", how[i]);
        assert_int_equal(kyok_kmip_revoke(group.client, id,
                                          KYOK_KMIP_REVOCATION_REASON_CODE_CESSATION_OF_OPERATION,
                                          NULL, soon, &err),
                         KYOK_OK);
    }
    assert_int_equal(
        kyok_kmip_activate(group.client, id, kyok_kmip_client_deadline(group.client), &err),
        KYOK_REFUSED); /* revoked stays revoked */
    tell(&one, "fault Destroy 1 close-after");
    assert_int_equal(
        kyok_kmip_destroy(group.client, id, kyok_kmip_client_deadline(group.client), &err),
        KYOK_OK);
    assert_int_equal(
        kyok_kmip_destroy(group.client, id, kyok_kmip_client_deadline(group.client), &err),
        KYOK_NOT_FOUND);
    group_close(&group);
}

/* --- the smallest server --------------------------------------------------------------------- */

static void nine_operations(void **state)
{
    struct group group;
    struct kyok_error err;
    struct kyok_kmip_created created;
    struct kyok_kmip_creation creation = {.object_type = KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                                          .algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES,
                                          .bits = 256,
                                          .usage = 0x0c,
                                          .name = "kek"};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer id = {0};
    (void)state;
    tell(&one, "profile nine");
    tell(&one, "versions 1.4");
    tell(&one, "reset-stats");
    group_open(&group, "nine", "alice", LONG_MS, &one, NULL);
    struct kyok_deadline soon = kyok_kmip_client_deadline(group.client);
    assert_int_equal(kyok_kmip_create(group.client, &creation, soon, &created, &err), KYOK_OK);
    struct kyok_bytes made = kyok_bytes_of_text(created.identifier);
    assert_int_equal(kyok_kmip_locate_name(group.client, kyok_bytes_of_text("kek"),
                                           KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY, soon, &id, &err),
                     KYOK_OK);
    assert_string_equal((char *)id.data, created.identifier);
    assert_int_equal(kyok_kmip_activate(group.client, made, soon, &err), KYOK_OK);
    expect_get(&group, created.identifier);
    assert_int_equal(kyok_kmip_revoke(group.client, made,
                                      KYOK_KMIP_REVOCATION_REASON_CODE_KEY_COMPROMISE, "test", soon,
                                      &err),
                     KYOK_OK);
    assert_int_equal(kyok_kmip_destroy(group.client, made, soon, &err), KYOK_OK);
    assert_int_equal(stat_of(&one, "Query"), 0);
    tell(&one, "profile full");
    tell(&one, "versions 1.4 1.3 1.2 1.1 1.0");
    group_close(&group);
}

static void paging(void **state)
{
    struct group group;
    struct kyok_error err;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer found = {0};
    size_t count;
    bool more;
    (void)state;
    for (int i = 0; i < 1105; i++)
        tell(&two, "key page-%d aes-256", i);
    group_open(&group, "paging", "alice", LONG_MS, &two, NULL);
    struct kyok_kmip_attribute attribute = kyok_kmip_attribute_enumeration(
        KYOK_KMIP_ATTRIBUTE_OBJECT_TYPE, KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY);
    assert_int_equal(kyok_kmip_locate(group.client, &attribute, 1, 5000,
                                      kyok_kmip_client_deadline(group.client), &found, &count,
                                      &more, &err),
                     KYOK_OK);
    assert_true(count >= 1105);
    assert_false(more);
    found.size = 0;
    assert_int_equal(kyok_kmip_locate(group.client, &attribute, 1, 10,
                                      kyok_kmip_client_deadline(group.client), &found, &count,
                                      &more, &err),
                     KYOK_OK);
    assert_int_equal(count, 10);
    assert_true(more);
    group_close(&group);
}

/* --- fork ------------------------------------------------------------------------------------ */

static int child_gets(struct group *group, unsigned inherited)
{
    struct kyok_error err;

    if (get(group, "k", &err) != KYOK_OK)
        return 1;
    return (unsigned)open_descriptors() <= inherited ? 0 : 2; /* the parent's sockets are closed */
}

/* As a daemon that closes all it inherited and opens files of its own under the same numbers. */
static int daemon_gets(struct group *group)
{
    struct kyok_error err;
    struct stat status;

    for (int fd = 3; fd < 256; fd++)
        close(fd);
    for (int fd = 3; fd < 64; fd++)
        if (open("/dev/null", O_RDONLY) != fd)
            return 3;
    if (get(group, "k", &err) != KYOK_OK)
        return 4;
    for (int fd = 3; fd < 64; fd++)
        if (fstat(fd, &status) != 0)
            return 5; /* a file of the daemon's was taken for the parent's socket */
    return 0;
}

static void forked_children(void **state)
{
    struct group group;
    struct load loads[THREADS];
    pthread_t threads[THREADS];
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* the sanitizer's own locks do not survive a fork among threads */
#endif
    group_open(&group, "fork", "alice", LONG_MS, &one, NULL);
    expect_get(&group, "k");
    unsigned inherited = (unsigned)open_descriptors();
    load_start(&group, 0, 1500, loads, threads); /* other threads may hold any lock */
    for (int i = 0; i < 40; i++) {
        int result = 0;
        pid_t pid = fork();
        if (pid == 0) {
            alarm(10);
            _exit(i % 4 == 0 ? daemon_gets(&group) : child_gets(&group, inherited + THREADS));
        }
        assert_int_equal(waitpid(pid, &result, 0), pid);
        assert_true(WIFEXITED(result));
        assert_int_equal(WEXITSTATUS(result), 0);
    }
    load_end(loads, threads);
    group_close(&group);
}

/* --- set up ---------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    (void)state;
    if (!kmip_peer_certificates(directory) || !kmip_peer_start(&one, directory) ||
        !kmip_peer_start(&two, directory))
        return -1;
    tell(&one, "key k aes-256");
    tell(&two, "key k aes-256");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kmip_peer_stop(&one);
    kmip_peer_stop(&two);
    kmip_peer_remove(directory);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fault),
        cmocka_unit_test(one_retry),
        cmocka_unit_test(wrong_certificates),
        cmocka_unit_test(renewed_crl),
        cmocka_unit_test(unknown_host),
        cmocka_unit_test(encryption_faults),
        cmocka_unit_test(versions),
        cmocka_unit_test(no_common_version),
        cmocka_unit_test(few_connections),
        cmocka_unit_test(failover_under_load),
        cmocka_unit_test(failover_from_silence),
        cmocka_unit_test(writes_in_order),
        cmocka_unit_test(doubtful_create),
        cmocka_unit_test(doubtful_derivation),
        cmocka_unit_test(connections_end),
        cmocka_unit_test(doubtful_states),
        cmocka_unit_test(nine_operations),
        cmocka_unit_test(paging),
        cmocka_unit_test(forked_children),
    };
    if (access(kmip_peer_tool(), X_OK) != 0) {
        print_message("1..0 # SKIP %s is not built (make tests)\n", kmip_peer_tool());
        return 0;
    }
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
