/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Full TLS handshakes per second with a server on 127.0.0.1: no resumption, one request, close.
 *
 *   handshake_bench PORT 1.2|1.3 CLIENTS SECONDS [CA-FILE]
 *
 * prints "RATE FAILURES FIRST-MS P50-MS P99-MS": handshakes per second, failed ones, the time of
 * the first (a new worker's), and percentiles of all. Without a CA file the certificate is not
 * verified: the measurement is the server's.
 */
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 1024
#define TIMES_MAX 400000

static struct {
    SSL_CTX *context;
    int port;
    bool verify;
    atomic_bool stop;
    _Atomic unsigned done, failed, times_count;
    float times[TIMES_MAX]; /* ms */
} bench;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fail(const char *what)
{
    fprintf(stderr, "handshake_bench: %s\n", what);
    ERR_print_errors_fp(stderr);
    _exit(1);
}

static int connect_local(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)bench.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {20, 0};
    struct linger no_wait = {1, 0}; /* no port is left in TIME_WAIT */
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &no_wait, sizeof(no_wait));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* A request and its answer prove that the handshake ended at the server too (TLS 1.3). */
static bool exchange(SSL *ssl)
{
    static const char request[] = "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n";
    char answer[4096];
    return SSL_write(ssl, request, sizeof(request) - 1) > 0 &&
           SSL_read(ssl, answer, sizeof(answer)) > 0;
}

static bool handshake(void)
{
    double begin = now();
    int fd = connect_local();
    SSL *ssl = fd < 0 ? NULL : SSL_new(bench.context);
    bool good = ssl != NULL && SSL_set_fd(ssl, fd) == 1 &&
                SSL_set_tlsext_host_name(ssl, "localhost") &&
                (!bench.verify || SSL_set1_host(ssl, "localhost")) && SSL_connect(ssl) == 1 &&
                exchange(ssl);
    float ms = (float)((now() - begin) * 1000);
    SSL_free(ssl);
    if (fd >= 0)
        close(fd);
    ERR_clear_error();
    unsigned index = good ? atomic_fetch_add(&bench.times_count, 1) : TIMES_MAX;
    if (index < TIMES_MAX)
        bench.times[index] = ms;
    atomic_fetch_add(good ? &bench.done : &bench.failed, 1);
    return good;
}

static void *client(void *unused)
{
    while (!atomic_load(&bench.stop)) {
        if (!handshake())
            usleep(1000);
    }
    return unused;
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static void make_context(const char *version, const char *ca)
{
    int protocol = strcmp(version, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
    bench.context = SSL_CTX_new(TLS_client_method());
    if (bench.context == NULL || !SSL_CTX_set_min_proto_version(bench.context, protocol) ||
        !SSL_CTX_set_max_proto_version(bench.context, protocol))
        fail("no TLS context");
    SSL_CTX_set_session_cache_mode(bench.context, SSL_SESS_CACHE_OFF);
    bench.verify = ca != NULL;
    if (ca == NULL)
        return;
    if (!SSL_CTX_load_verify_file(bench.context, ca))
        fail(ca);
    SSL_CTX_set_verify(bench.context, SSL_VERIFY_PEER, NULL);
}

static void measure(int clients, double seconds)
{
    pthread_t threads[CLIENTS_MAX];
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 << 10);
    handshake();
    float first = bench.times_count > 0 ? bench.times[0] : -1;
    bench.done = bench.times_count = 0;
    double begin = now();
    for (int i = 0; i < clients; i++) {
        if (pthread_create(&threads[i], &small, client, NULL) != 0)
            fail("pthread_create");
    }
    usleep((useconds_t)(seconds * 1e6));
    unsigned done = atomic_load(&bench.done);
    double passed = now() - begin;
    atomic_store(&bench.stop, true);
    for (int i = 0; i < clients; i++)
        pthread_join(threads[i], NULL);
    unsigned count = bench.times_count < TIMES_MAX ? bench.times_count : TIMES_MAX;
    qsort(bench.times, count, sizeof(float), by_size);
    printf("%.1f %u %.1f %.1f %.1f\n", done / passed, bench.failed, first,
           count > 0 ? bench.times[count / 2] : -1, count > 0 ? bench.times[count * 99 / 100] : -1);
}

int main(int argc, char **argv)
{
    if (argc < 5 || argc > 6 || atoi(argv[3]) < 1 || atoi(argv[3]) > CLIENTS_MAX)
        fail("usage: handshake_bench PORT 1.2|1.3 CLIENTS SECONDS [CA-FILE]");
    bench.port = atoi(argv[1]);
    make_context(argv[2], argc > 5 ? argv[5] : NULL);
    measure(atoi(argv[3]), strtod(argv[4], NULL));
    fflush(stdout);
    _exit(bench.done > 0 ? 0 : 1);
}
