/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Full TLS handshakes from many clients at once, each followed by one HTTP request:
 *
 *     tls_load_tool PORT [name=value...]
 *
 * clients (1), count (handshakes in all, 1), seconds (instead of count), tls (1.2 or 1.3), sigalgs,
 * resume (yes: each client resumes its session), ciphers, abort_ms (close that long after the
 * ClientHello, without an answer), request (no: handshakes only), proxy (yes: PROXY protocol line
 * first), timeout (seconds, 30). SIGUSR1 ends it early, no handshake is cut.
 * Prints done=N failed=N resumed=N alerts=N longest_ms=N rate=N p50_us=N p99_us=N first="reason".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct load {
    int port, clients, timeout, abort_ms;
    long count, seconds;
    const char *tls, *sigalgs, *ciphers;
    bool resume, request, proxy;
    SSL_CTX *ctx;
    int64_t end_ns;
    atomic_long left, done, failed, resumed, alerts;
    _Atomic int64_t longest_ns;
    pthread_mutex_t lock;
    char first[200];
    int64_t *times;
    size_t time_count, time_room;
};

static volatile sig_atomic_t enough;

static void on_signal(int number)
{
    (void)number;
    enough = 1;
}

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void failed(struct load *load, const char *where)
{
    unsigned long code = ERR_peek_error();
    char reason[120] = "";

    atomic_fetch_add(&load->failed, 1);
    if (code != 0 && ERR_GET_REASON(code) >= SSL_AD_REASON_OFFSET)
        atomic_fetch_add(&load->alerts, 1);
    if (code != 0)
        ERR_error_string_n(code, reason, sizeof(reason));
    else
        snprintf(reason, sizeof(reason), "%s", strerror(errno));
    pthread_mutex_lock(&load->lock);
    if (load->first[0] == '\0')
        snprintf(load->first, sizeof(load->first), "%s: %s", where, reason);
    pthread_mutex_unlock(&load->lock);
    ERR_clear_error();
}

static int connect_to(const struct load *load)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)load->port)};
    struct timeval limit = {.tv_sec = load->timeout};
    struct linger reset = {1, 0}; /* no TIME_WAIT left over a long run */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Sends the ClientHello, waits, and goes away. */
static void abort_handshake(const struct load *load, SSL *ssl)
{
    struct pollfd nothing = {.fd = -1};

    SSL_set0_rbio(ssl, BIO_new(BIO_s_mem()));
    (void)SSL_connect(ssl); /* wants an answer, of which there is none */
    poll(&nothing, 1, load->abort_ms);
}

static bool ask(SSL *ssl)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    char answer[4096];
    int size;

    if (SSL_write(ssl, request, sizeof(request) - 1) <= 0)
        return false;
    size = SSL_read(ssl, answer, sizeof(answer) - 1);
    if (size <= 0)
        return false;
    answer[size] = '\0';
    return strncmp(answer, "HTTP/1.1 2", 10) == 0;
}

static void note_time(struct load *load, int64_t ns)
{
    int64_t longest = atomic_load(&load->longest_ns);

    while (ns > longest && !atomic_compare_exchange_weak(&load->longest_ns, &longest, ns))
        continue;
    pthread_mutex_lock(&load->lock);
    if (load->time_count < load->time_room)
        load->times[load->time_count++] = ns;
    pthread_mutex_unlock(&load->lock);
}

static void shake_hands(struct load *load, SSL *ssl, int fd, SSL_SESSION **session)
{
    static const char proxy[] = "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n";
    int64_t start = now_ns();

    if (load->proxy && write(fd, proxy, sizeof(proxy) - 1) < 0)
        failed(load, "write");
    else if (load->abort_ms > 0)
        abort_handshake(load, ssl);
    else if (SSL_connect(ssl) != 1)
        failed(load, "handshake");
    else if (load->request && !ask(ssl))
        failed(load, "request");
    else {
        note_time(load, now_ns() - start);
        atomic_fetch_add(&load->done, 1);
        if (SSL_session_reused(ssl))
            atomic_fetch_add(&load->resumed, 1);
        if (load->resume) {
            SSL_SESSION_free(*session);
            *session = SSL_get1_session(ssl);
        }
    }
}

static void one(struct load *load, SSL_SESSION **session)
{
    int fd = connect_to(load);
    SSL *ssl;

    if (fd < 0) {
        failed(load, "connect");
        return;
    }
    ssl = SSL_new(load->ctx);
    SSL_set_fd(ssl, fd);
    SSL_set_tlsext_host_name(ssl, "localhost");
    if (*session != NULL)
        SSL_set_session(ssl, *session);
    ERR_clear_error();
    shake_hands(load, ssl, fd, session);
    /* As if closed in order, else the session is dropped from those that can be resumed. */
    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(ssl);
    close(fd);
}

static bool goes_on(struct load *load)
{
    if (enough)
        return false;
    return load->seconds != 0 ? now_ns() < load->end_ns : atomic_fetch_sub(&load->left, 1) > 0;
}

static void *client(void *argument)
{
    struct load *load = argument;
    SSL_SESSION *session = NULL;

    while (goes_on(load))
        one(load, &session);
    SSL_SESSION_free(session);
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static long percentile_us(const struct load *load, unsigned percent)
{
    return load->time_count == 0 ? 0 : (long)(load->times[load->time_count * percent / 100] / 1000);
}

static bool yes(const char *value)
{
    return strcmp(value, "yes") == 0;
}

static void set(struct load *load, const char *name, const char *value)
{
    const struct {
        const char *name;
        int *number;
        long *many;
        const char **text;
        bool *flag;
    } settings[] = {
        {"clients", &load->clients, NULL, NULL, NULL},
        {"timeout", &load->timeout, NULL, NULL, NULL},
        {"abort_ms", &load->abort_ms, NULL, NULL, NULL},
        {"count", NULL, &load->count, NULL, NULL},
        {"seconds", NULL, &load->seconds, NULL, NULL},
        {"tls", NULL, NULL, &load->tls, NULL},
        {"sigalgs", NULL, NULL, &load->sigalgs, NULL},
        {"ciphers", NULL, NULL, &load->ciphers, NULL},
        {"resume", NULL, NULL, NULL, &load->resume},
        {"request", NULL, NULL, NULL, &load->request},
        {"proxy", NULL, NULL, NULL, &load->proxy},
    };

    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        if (strcmp(settings[i].name, name) != 0)
            continue;
        if (settings[i].number != NULL)
            *settings[i].number = atoi(value);
        else if (settings[i].many != NULL)
            *settings[i].many = atol(value);
        else if (settings[i].text != NULL)
            *settings[i].text = value;
        else
            *settings[i].flag = yes(value);
        return;
    }
    fprintf(stderr, "tls_load_tool: unknown setting %s\n", name);
    exit(2);
}

static void prepare(struct load *load)
{
    int version = 0;

    load->ctx = SSL_CTX_new(TLS_client_method());
    if (load->tls != NULL)
        version = strcmp(load->tls, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
    if (version != 0) {
        SSL_CTX_set_min_proto_version(load->ctx, version);
        SSL_CTX_set_max_proto_version(load->ctx, version);
    }
    if ((load->sigalgs != NULL && SSL_CTX_set1_sigalgs_list(load->ctx, load->sigalgs) != 1) ||
        (load->ciphers != NULL && SSL_CTX_set_cipher_list(load->ctx, load->ciphers) != 1)) {
        ERR_print_errors_fp(stderr);
        exit(2);
    }
    SSL_CTX_set_session_cache_mode(load->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    pthread_mutex_init(&load->lock, NULL);
    atomic_init(&load->left, load->count);
    load->end_ns = now_ns() + load->seconds * INT64_C(1000000000);
    load->time_room = 1000000;
    load->times = calloc(load->time_room, sizeof(*load->times));
}

int main(int argc, char **argv)
{
    struct load load = {.clients = 1, .count = 1, .timeout = 30, .request = true};
    pthread_t threads[1024];
    int64_t start, took;
    char *value;

    for (int i = 2; i < argc; i++) {
        value = strchr(argv[i], '=');
        if (value == NULL)
            return 2;
        *value = '\0';
        set(&load, argv[i], value + 1);
    }
    if (argc < 2 || load.clients < 1 || load.clients > 1024) {
        fprintf(stderr, "usage: tls_load_tool PORT [name=value...]\n");
        return 2;
    }
    load.port = atoi(argv[1]);
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_signal, .sa_flags = SA_RESTART}, NULL);
    prepare(&load);
    start = now_ns();
    for (int i = 0; i < load.clients; i++)
        pthread_create(&threads[i], NULL, client, &load);
    for (int i = 0; i < load.clients; i++)
        pthread_join(threads[i], NULL);
    took = now_ns() - start;
    qsort(load.times, load.time_count, sizeof(*load.times), by_size);
    printf(
        "done=%ld failed=%ld resumed=%ld alerts=%ld longest_ms=%ld rate=%.0f p50_us=%ld p99_us=%ld "
        "first=\"%s\"\n",
        load.done, load.failed, load.resumed, load.alerts, (long)(load.longest_ns / 1000000),
        (double)load.done * 1e9 / (double)took, percentile_us(&load, 50), percentile_us(&load, 99),
        load.first);
    return load.failed == 0 ? 0 : 1;
}
