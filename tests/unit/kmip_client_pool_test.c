/* SPDX-License-Identifier: Apache-2.0 */
/* The KMIP client's connections: threads that share them, servers that die and return, the end of a
 * connection's life, children. */
#include "tests/support/kmip_group.h"

#include "tests/support/child.h"
#include "tests/support/descriptors.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- many threads ---------------------------------------------------------------------------- */

struct load {
    struct kmip_group *group;
    unsigned calls; /* 0: until load_end() */
    unsigned failed;
    atomic_uint done;
    struct kyok_error err;
};

#define THREADS 8

static atomic_bool enough;

static void *load_thread(void *argument)
{
    struct load *load = argument;

    while (load->calls != 0 ? load->done < load->calls : !enough) {
        if (kmip_group_get(load->group, "k", &load->err) != KYOK_OK)
            load->failed++;
        load->done++;
    }
    return NULL;
}

static void load_start(struct kmip_group *group, unsigned calls, struct load *loads,
                       pthread_t *threads)
{
    enough = false;
    for (int i = 0; i < THREADS; i++) {
        loads[i] = (struct load){.group = group, .calls = calls};
        assert_int_equal(pthread_create(&threads[i], NULL, load_thread, &loads[i]), 0);
    }
}

static void load_end(struct load *loads, pthread_t *threads)
{
    char text[1200];

    enough = true;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        if (loads[i].failed != 0)
            fail_msg("%u of %u: %s", loads[i].failed, loads[i].done,
                     kyok_error_text(&loads[i].err, text, sizeof text));
    }
}

static void few_connections(void **state)
{
    struct kmip_group group;
    struct load loads[THREADS];
    pthread_t threads[THREADS];
    (void)state;
    kmip_group_open(&group, "pool", "alice", KMIP_LONG_MS, &kmip_one, NULL);
    kmip_group_tell(&kmip_one, "reset-stats");
    load_start(&group, 1000 / THREADS, loads, threads);
    load_end(loads, threads);
    assert_int_equal(kmip_peer_stat(&kmip_one, "Get"), 1000);
    long accepted = kmip_peer_stat(&kmip_one, "accepted");
    print_message("# 1000 Gets by 8 threads: %ld connections\n", accepted);
    assert_in_range(accepted, 1, 8);
    kmip_group_close(&group);
}

/* The load goes on until this server has answered so many more, and each thread has begun and ended
 * a call: none spans two steps, since then both servers may have been away during it. False: it
 * does not come to that. */
static bool is_used(struct kmip_peer *peer, long count, struct load *loads)
{
    int64_t end = kyok_now_ns() + (int64_t)KMIP_LONG_MS * 1000000;
    long wanted = kmip_peer_stat(peer, "Get") + count;
    unsigned done[THREADS];
    bool met = false;

    for (int i = 0; i < THREADS; i++)
        done[i] = loads[i].done;
    while (!met && kyok_now_ns() < end) {
        kmip_group_pause(10);
        met = kmip_peer_stat(peer, "Get") >= wanted;
        for (int i = 0; i < THREADS; i++)
            met = met && loads[i].done >= done[i] + 2;
    }
    return met;
}

/* One dies, the other serves; it returns and is used again; then the same the other way round. */
static void failover_under_load(void **state)
{
    struct kmip_group group;
    struct load loads[THREADS];
    pthread_t threads[THREADS];
    struct kmip_peer *peers[] = {&kmip_two, &kmip_one};
    bool used[2][3];
    (void)state;
    kmip_group_open(&group, "failover", "alice", KMIP_LONG_MS, &kmip_one, &kmip_two);
    load_start(&group, 0, loads, threads);
    for (size_t i = 0; i < 2; i++) {
        used[i][0] = is_used(peers[i], 20, loads);
        kmip_peer_tell(peers[i], "down");
        used[i][1] = is_used(peers[1 - i], 100, loads);
        kmip_peer_tell(peers[i], "up");
        used[i][2] = is_used(peers[i], 20, loads);
    }
    load_end(loads, threads);
    for (size_t i = 0; i < 6; i++)
        if (!used[i / 3][i % 3])
            fail_msg("server %zu, step %zu", i / 3, i % 3);
    kmip_group_close(&group);
}

/* One that came back too slow for the first trial is given longer ones. */
static void a_slow_server_returns(void **state)
{
    struct kmip_group group;
    struct kyok_kmip_live *live;
    struct kyok_error err;
    int64_t end = kyok_now_ns() + (int64_t)KMIP_LONG_MS * 1000000;
    (void)state;
    kmip_group_open(&group, "slow", "alice", KMIP_LONG_MS, &kmip_one, &kmip_two);
    kmip_group_tell(&kmip_one, "down");
    kmip_group_expect(&group, "k");
    assert_int_equal(kyok_kmip_client_live(group.client, &live, &err), KYOK_OK);
    assert_int_equal(live->endpoints[0].health, KYOK_KMIP_DOWN);
    kmip_group_tell(&kmip_one, "up");
    kmip_group_tell(&kmip_one, "fault any 1000 delay %d", KYOK_KMIP_FIRST_RETRY_MS + 100);
    while (live->endpoints[0].health == KYOK_KMIP_DOWN && kyok_now_ns() < end) {
        kmip_group_expect(&group, "k");
        kmip_group_pause(10);
    }
    assert_int_equal(live->endpoints[0].health, KYOK_KMIP_HEALTHY);
    kmip_group_close(&group);
}

/* Half of it is spent on the silent server, the other half is for eight handshakes. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SILENCE_MS 40000
#else
#define SILENCE_MS 8000
#endif

/* A server that goes silent, rather than dying, takes a share of the deadline and no more. */
static void failover_from_silence(void **state)
{
    struct kmip_group group;
    struct load loads[THREADS];
    pthread_t threads[THREADS];
    (void)state;
    kmip_group_open(&group, "silence", "alice", SILENCE_MS, &kmip_one, &kmip_two);
    kmip_group_expect(&group, "k");
    kmip_group_tell(&kmip_one, "fault any 1000 silent");
    load_start(&group, 20, loads, threads);
    load_end(loads, threads);
    assert_true(kmip_peer_stat(&kmip_two, "Get") > 0);
    kmip_group_tell(&kmip_one, "fault none");
    kmip_group_tell(&kmip_one, "drop-idle");
    kmip_group_close(&group);
}

static void writes_in_order(void **state)
{
    struct kmip_group group;
    struct kyok_error err;
    struct kyok_kmip_created created;
    struct kyok_kmip_creation creation = kmip_group_aes(NULL);
    (void)state;
    kmip_group_open(&group, "order", "alice", KMIP_LONG_MS, &kmip_one, &kmip_two);
    kmip_group_tell(&kmip_one, "reset-stats");
    kmip_group_tell(&kmip_two, "reset-stats");
    for (int i = 0; i < 4; i++)
        assert_int_equal(kmip_group_create(&group, &creation, &created, &err), KYOK_OK);
    assert_int_equal(kmip_peer_stat(&kmip_one, "Create"), 4);
    assert_int_equal(kmip_peer_stat(&kmip_two, "Create"), 0);
    kmip_group_tell(&kmip_one, "down");
    assert_int_equal(kmip_group_create(&group, &creation, &created, &err), KYOK_OK);
    kmip_group_tell(&kmip_one, "up");
    assert_int_equal(kmip_peer_stat(&kmip_two, "Create"), 1);
    kmip_group_close(&group);
}

/* A busy connection ends after its time all the same, so that a certificate that ended is noticed.
 */
static void connections_end(void **state)
{
    struct kmip_group group;
    struct kyok_error err;
    struct kyok_kmip_live *live;
    (void)state;
    kmip_group_open(&group, "life", "alice", KMIP_LONG_MS, &kmip_one, NULL);
    kmip_group_expect(&group, "k");
    assert_int_equal(kyok_kmip_client_live(group.client, &live, &err), KYOK_OK);
    struct kyok_kmip_connection *connection = kyok_kmip_pool_take(&live->endpoints[0]);
    assert_non_null(connection);
    connection->opened_ns -= (int64_t)KYOK_KMIP_LIFE_SECONDS * 1000000000;
    kyok_kmip_pool_give(connection);
    kmip_group_tell(&kmip_one, "reset-stats");
    kmip_group_expect(&group, "k");
    kmip_group_expect(&group, "k");
    assert_int_equal(kmip_peer_stat(&kmip_one, "accepted"), 1);
    kmip_group_close(&group);
}

/* --- fork ------------------------------------------------------------------------------------ */

static int child_gets(struct kmip_group *group, unsigned inherited)
{
    struct kyok_error err;

    if (kmip_group_get(group, "k", &err) != KYOK_OK)
        return 1;
    return (unsigned)open_descriptors() <= inherited ? 0 : 2; /* the parent's sockets are closed */
}

/* As a daemon that closes all it inherited and opens files of its own under the same numbers. */
static int daemon_gets(struct kmip_group *group)
{
    struct kyok_error err;
    struct stat status;

    for (int fd = 3; fd < 256; fd++)
        close(fd);
    for (int fd = 3; fd < 64; fd++)
        if (open("/dev/null", O_RDONLY) != fd)
            return 3;
    if (kmip_group_get(group, "k", &err) != KYOK_OK)
        return 4;
    for (int fd = 3; fd < 64; fd++)
        if (fstat(fd, &status) != 0)
            return 5; /* a file of the daemon's was taken for the parent's socket */
    return 0;
}

static void forked_children(void **state)
{
    struct kmip_group group;
    struct load loads[THREADS];
    pthread_t threads[THREADS];
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* the sanitizer's own locks do not survive a fork among threads */
#endif
    kmip_group_open(&group, "fork", "alice", KMIP_LONG_MS, &kmip_one, NULL);
    kmip_group_expect(&group, "k");
    unsigned inherited = (unsigned)open_descriptors();
    load_start(&group, 0, loads, threads); /* other threads may hold any lock */
    for (int i = 0; i < 40; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            alarm(KMIP_LONG_MS / 1000);
            _exit(i % 4 == 0 ? daemon_gets(&group) : child_gets(&group, inherited + THREADS));
        }
        child_ended_well(pid);
    }
    load_end(loads, threads);
    kmip_group_close(&group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kmip_group_test(few_connections),       kmip_group_test(failover_under_load),
        kmip_group_test(a_slow_server_returns), kmip_group_test(failover_from_silence),
        kmip_group_test(writes_in_order),       kmip_group_test(connections_end),
        kmip_group_test(forked_children),
    };
    return kmip_group_run(tests, sizeof tests / sizeof *tests, NULL, NULL);
}
