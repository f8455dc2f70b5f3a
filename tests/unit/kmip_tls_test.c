/* SPDX-License-Identifier: Apache-2.0 */
/* Mutual TLS: what is accepted, and each refusal by its own message, against a server in a thread.
 */
#include "common/kmip/tls.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <openssl/err.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[64];

static char *path(const char *name)
{
    char *text = NULL;

    if (name == NULL)
        return NULL;
    assert_true(asprintf(&text, "%s/%s", directory, name) > 0);
    return text;
}

/* --- a server that shakes hands once and echoes what it reads -------------------------------- */

struct server {
    const char *certificate; /* NAME of NAME.crt, NAME.key; NULL: accepts TCP and stays silent */
    const char *client_ca;
    int max_version;
    int listener;
    int port;
    pthread_t thread;
    void (*talk)(SSL *ssl); /* instead of echoing */
};

static SSL_CTX *server_context(const struct server *server)
{
    char name[64];
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    SSL_CTX_set_security_level(context, 0);
    SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(context, server->max_version);
    snprintf(name, sizeof name, "%s.crt", server->certificate);
    KYOK_AUTO_FREE char *certificate = path(name);
    snprintf(name, sizeof name, "%s.key", server->certificate);
    KYOK_AUTO_FREE char *key = path(name);
    KYOK_AUTO_FREE char *ca = path(server->client_ca);
    assert_int_equal(SSL_CTX_use_certificate_file(context, certificate, SSL_FILETYPE_PEM), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM), 1);
    assert_int_equal(SSL_CTX_load_verify_file(context, ca), 1);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return context;
}

/* In the servers' threads; the client has to do without. */
static void quiet_pipe(void)
{
    sigset_t pipe;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);
}

static void *serve(void *argument)
{
    struct server *server = argument;
    int fd = accept(server->listener, NULL, NULL);
    char data[64];
    int size;

    quiet_pipe();
    if (server->certificate == NULL) {
        while (read(fd, data, sizeof data) > 0)
            continue;
        close(fd);
        return NULL;
    }
    SSL_CTX *context = server_context(server);
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1 && server->talk != NULL)
        server->talk(ssl);
    else if (SSL_is_init_finished(ssl))
        while ((size = SSL_read(ssl, data, sizeof data)) > 0)
            SSL_write(ssl, data, size);
    SSL_free(ssl);
    SSL_CTX_free(context);
    ERR_clear_error();
    close(fd);
    return NULL;
}

static void server_start(struct server *server, int family)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr *address = family == AF_INET ? (void *)&v4 : (void *)&v6;
    socklen_t size = family == AF_INET ? sizeof v4 : sizeof v6;

    server->listener = socket(family, SOCK_STREAM, 0);
    assert_int_equal(bind(server->listener, address, size), 0);
    assert_int_equal(listen(server->listener, 4), 0);
    assert_int_equal(getsockname(server->listener, address, &size), 0);
    server->port = ntohs(family == AF_INET ? v4.sin_port : v6.sin6_port);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void server_stop(struct server *server)
{
    shutdown(server->listener, SHUT_RDWR); /* nobody may have come */
    pthread_join(server->thread, NULL);
    close(server->listener);
}

/* --- cases ----------------------------------------------------------------------------------- */

struct tls_case {
    const char *name;
    const char *server, *client_ca;
    const char *host, *ca, *crl, *identity;
    int max_version;
    enum kyok_status status;
    const char *what; /* part of the message */
};

#define HANDSHAKE_MS 60000 /* only a hang takes that long */
#define SILENCE_MS 300
#define TLS13 TLS1_3_VERSION
#define TLS12 TLS1_2_VERSION

static const struct tls_case cases[] = {
    {"TLS 1.3", "server", "ca.crt", "localhost", "ca.crt", NULL, "alice", TLS13, KYOK_OK, ""},
    {"TLS 1.2", "server", "ca.crt", "localhost", "ca.crt", NULL, "alice", TLS12, KYOK_OK, ""},
    {"IP name", "server", "ca.crt", "127.0.0.1", "ca.crt", NULL, "alice", TLS13, KYOK_OK, ""},
    {"not revoked", "server", "ca.crt", "127.0.0.1", "ca.crt", "ca.crl", "alice", TLS13, KYOK_OK,
     ""},
    {"self-signed, pinned", "server-selfsigned", "ca.crt", "localhost", "server-selfsigned.crt",
     NULL, "alice", TLS13, KYOK_OK, ""},
    {"leaf pinned", "server", "ca.crt", "localhost", "server.crt", NULL, "alice", TLS13, KYOK_OK,
     ""},
    {"expired", "server-expired", "ca.crt", "localhost", "ca.crt", NULL, "alice", TLS13,
     KYOK_REFUSED, "certificate has expired"},
    {"wrong host", "server-wronghost", "ca.crt", "localhost", "ca.crt", NULL, "alice", TLS13,
     KYOK_REFUSED, "certificate is for another host name"},
    {"common name only", "server-commonname", "ca.crt", "localhost", "ca.crt", NULL, "alice", TLS13,
     KYOK_REFUSED, "a common name alone does not count"},
    {"wrong IP", "server-wronghost", "ca.crt", "127.0.0.1", "ca.crt", NULL, "alice", TLS13,
     KYOK_REFUSED, "does not hold this IP address"},
    {"pinned, wrong host", "server-wronghost", "ca.crt", "localhost", "server-wronghost.crt", NULL,
     "alice", TLS13, KYOK_REFUSED, "certificate is for another host name"},
    {"wrong CA", "server-otherca", "ca.crt", "localhost", "ca.crt", NULL, "alice", TLS13,
     KYOK_REFUSED, "comes from a CA that the ca file does not hold"},
    {"self-signed", "server-selfsigned", "ca.crt", "localhost", "ca.crt", NULL, "alice", TLS13,
     KYOK_REFUSED, "is self-signed and not in the ca file"},
    {"revoked", "server-revoked", "ca.crt", "localhost", "ca.crt", "ca.crl", "alice", TLS13,
     KYOK_REFUSED, "has been revoked"},
    {"old CRL", "server", "ca.crt", "localhost", "ca.crt", "ca-expired.crl", "alice", TLS13,
     KYOK_REFUSED, "revocation list in the crl file is out of date"},
    {"client as server", "alice", "ca.crt", "localhost", "ca.crt", NULL, "alice", TLS13,
     KYOK_REFUSED, "not meant for a TLS server"},
    {"TLS 1.1 only", "server", "ca.crt", "localhost", "ca.crt", NULL, "alice", TLS1_1_VERSION,
     KYOK_REFUSED, "TLS 1.2"},
    {"client of another CA, TLS 1.2", "server", "ca.crt", "localhost", "ca.crt", NULL, "mallory",
     TLS12, KYOK_REFUSED, "does not know the CA of kyok's client certificate"},
    {"client of another CA, TLS 1.3", "server", "ca.crt", "localhost", "ca.crt", NULL, "mallory",
     TLS13, KYOK_REFUSED, "does not know the CA of kyok's client certificate"},
    {"no client certificate", "server", "ca.crt", "localhost", "ca.crt", NULL, NULL, TLS13,
     KYOK_INVALID, "names no client certificate"},
    /* By address: a lookup of the name has a thread of its own, which may not run in time. */
    {"silent", NULL, "ca.crt", "127.0.0.1", "ca.crt", NULL, "alice", TLS13, KYOK_TIMEOUT,
     "did not answer in time, during the TLS handshake"},
};

static void fill_config(struct kyok_kmip_config *config, const struct tls_case *item)
{
    char name[64];

    memset(config, 0, sizeof *config);
    config->name = "test";
    config->where = "test.conf:1";
    config->ca = path(item->ca);
    config->crl = path(item->crl);
    if (item->identity == NULL)
        return;
    snprintf(name, sizeof name, "%s.crt", item->identity);
    config->certificate = path(name);
    snprintf(name, sizeof name, "%s.key", item->identity);
    config->key = path(name);
}

static void free_config(struct kyok_kmip_config *config)
{
    free(config->ca);
    free(config->crl);
    free(config->certificate);
    free(config->key);
}

static enum kyok_status echo_once(struct kyok_tls *tls, const struct kyok_tls_peer *peer,
                                  struct kyok_deadline deadline, struct kyok_error *err)
{
    struct kyok_tls_stream *stream = NULL;
    uint8_t data[8];
    size_t got = 0;

    KYOK_TRY(kyok_tls_stream_open(tls, peer, deadline, &stream, err));
    enum kyok_status status =
        kyok_tls_stream_send(stream, kyok_bytes_of_text("hello"), deadline, err);
    if (status == KYOK_OK)
        status = kyok_tls_stream_receive(stream, data, sizeof data, &got, deadline, err);
    if (status == KYOK_OK) {
        assert_int_equal(got, 5);
        assert_true(kyok_tls_stream_is_quiet(stream));
    }
    kyok_tls_stream_close(stream);
    return status;
}

static enum kyok_status run_case(const struct tls_case *item, struct kyok_error *err)
{
    struct server server = {item->server, item->client_ca, item->max_version, -1, 0, 0, NULL};
    struct kyok_deadline deadline =
        kyok_deadline_in_ms(item->server == NULL ? SILENCE_MS : HANDSHAKE_MS);
    struct kyok_kmip_config config;
    struct kyok_tls_peer peer;
    struct kyok_tls *tls = NULL;
    char url[64];

    fill_config(&config, item);
    enum kyok_status status = kyok_tls_new(&config, &tls, err);
    if (status == KYOK_OK) {
        server_start(&server, AF_INET);
        snprintf(url, sizeof url, "kmips://%s:%d", item->host, server.port);
        assert_int_equal(kyok_tls_peer_parse(url, &peer, err), KYOK_OK);
        status = echo_once(tls, &peer, deadline, err);
        server_stop(&server);
        if (status != KYOK_OK)
            assert_string_equal(err->object, peer.url);
    }
    kyok_tls_free(tls);
    free_config(&config);
    return status;
}

static void handshakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kyok_error err = {0};
        char text[1200];
        enum kyok_status status = run_case(&cases[i], &err);
        kyok_error_text(&err, text, sizeof text);
        print_message("# %s: %s\n", cases[i].name, status == KYOK_OK ? "accepted" : text);
        assert_int_equal(status, cases[i].status);
        if (status != KYOK_OK)
            assert_non_null(strstr(text, cases[i].what));
    }
}

/* --- a server that always has something to say ----------------------------------------------- */

static void say_bytes(SSL *ssl)
{
    while (SSL_write(ssl, "x", 1) == 1)
        continue;
}

/* OpenSSL takes these in by itself, as long as there are some, before it gives anything back. (On
 * the sending side it does not mind when nobody is there any more.) */
static void say_tickets(SSL *ssl)
{
    struct pollfd gone = {.fd = SSL_get_fd(ssl), .events = POLLRDHUP};

    while (poll(&gone, 1, 0) == 0 && SSL_new_session_ticket(ssl) == 1 && SSL_do_handshake(ssl) == 1)
        continue;
}

#define WAITING 10000 /* bytes that lie ready */

static void await_bytes(const struct kyok_tls_stream *stream)
{
    struct pollfd readable = {.fd = kyok_tls_stream_fd(stream), .events = POLLIN};
    int least = WAITING, none = 1;

    assert_int_equal(setsockopt(readable.fd, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least), 0);
    assert_int_equal(poll(&readable, 1, HANDSHAKE_MS), 1);
    assert_int_equal(setsockopt(readable.fd, SOL_SOCKET, SO_RCVLOWAT, &none, sizeof none), 0);
}

static int bytes_waiting(const struct kyok_tls_stream *stream)
{
    int count = 0;

    assert_int_equal(ioctl(kyok_tls_stream_fd(stream), FIONREAD, &count), 0);
    return count;
}

/* A deadline that is over is over, also where bytes lie ready; one that is not yet over is kept
 * although there is always another byte. */
static void listen_to(struct kyok_tls_stream *stream)
{
    struct kyok_error err;
    uint8_t data[64];
    size_t got;

    await_bytes(stream);
    assert_int_equal(
        kyok_tls_stream_receive(stream, data, sizeof data, &got, kyok_deadline_in_ms(0), &err),
        KYOK_TIMEOUT);
    assert_true(bytes_waiting(stream) >= WAITING);
    struct kyok_deadline deadline = kyok_deadline_in_ms(200);
    enum kyok_status status = KYOK_OK;
    while (status == KYOK_OK)
        status = kyok_tls_stream_receive(stream, data, sizeof data, &got, deadline, &err);
    assert_int_equal(status, KYOK_TIMEOUT);
    assert_non_null(strstr(err.what, "did not answer in time, during the reply"));
}

static const struct tls_case *case_named(const char *name)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (strcmp(cases[i].name, name) == 0)
            return &cases[i];
    fail_msg("no case %s", name);
    return NULL;
}

/* The server has refused the client's certificate and is gone, twice over, before the request: the
 * reason is told all the same. */
static void refused_before_the_request(void **state)
{
    const struct tls_case *item = case_named("client of another CA, TLS 1.3");
    struct server server = {"server", "ca.crt", TLS13, -1, 0, 0, NULL};
    struct kyok_deadline deadline = kyok_deadline_in_ms(HANDSHAKE_MS);
    struct kyok_kmip_config config;
    struct kyok_tls_peer peer;
    struct kyok_tls *tls = NULL;
    struct kyok_tls_stream *stream = NULL;
    struct kyok_error err = {0};
    enum kyok_status status = KYOK_OK;
    char url[64];
    (void)state;
    fill_config(&config, item);
    assert_int_equal(kyok_tls_new(&config, &tls, &err), KYOK_OK);
    server_start(&server, AF_INET);
    snprintf(url, sizeof url, "kmips://127.0.0.1:%d", server.port);
    assert_int_equal(kyok_tls_peer_parse(url, &peer, &err), KYOK_OK);
    assert_int_equal(kyok_tls_stream_open(tls, &peer, deadline, &stream, &err), KYOK_OK);
    struct pollfd gone = {.fd = kyok_tls_stream_fd(stream), .events = POLLRDHUP};
    for (int i = 0; status == KYOK_OK && i < 100; i++) {
        assert_int_equal(poll(&gone, 1, HANDSHAKE_MS), 1);
        status = kyok_tls_stream_send(stream, kyok_bytes_of_text("hello"), deadline, &err);
    }
    assert_int_equal(status, KYOK_REFUSED);
    assert_non_null(strstr(err.what, item->what));
    kyok_tls_stream_close(stream);
    server_stop(&server);
    kyok_tls_free(tls);
    free_config(&config);
}

static void talkative(void (*talk)(SSL *ssl))
{
    struct server server = {"server", "ca.crt", TLS13, -1, 0, 0, talk};
    struct kyok_deadline deadline = kyok_deadline_in_ms(HANDSHAKE_MS);
    struct kyok_kmip_config config;
    struct kyok_tls_peer peer;
    struct kyok_tls *tls = NULL;
    struct kyok_tls_stream *stream = NULL;
    struct kyok_error err;
    char url[64];

    fill_config(&config, &cases[0]);
    assert_int_equal(kyok_tls_new(&config, &tls, &err), KYOK_OK);
    server_start(&server, AF_INET);
    snprintf(url, sizeof url, "kmips://127.0.0.1:%d", server.port);
    assert_int_equal(kyok_tls_peer_parse(url, &peer, &err), KYOK_OK);
    assert_int_equal(kyok_tls_stream_open(tls, &peer, deadline, &stream, &err), KYOK_OK);
    listen_to(stream);
    kyok_tls_stream_close(stream);
    server_stop(&server);
    kyok_tls_free(tls);
    free_config(&config);
}

static void talkative_servers(void **state)
{
    (void)state;
    talkative(say_bytes);
    talkative(say_tickets);
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

static void no_descriptor_leaks(void **state)
{
    struct kyok_error err;
    (void)state;
    run_case(&cases[0], &err);
    int before = open_descriptors();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        run_case(&cases[i], &err);
    assert_int_equal(open_descriptors(), before);
}

/* OpenSSL's handshake empties the thread's error queue; what matters is that an error of the host's
 * does not make a good handshake fail, and that none of ours stays behind. */
static void error_queue(void **state)
{
    struct kyok_error err;
    (void)state;
    ERR_raise(ERR_LIB_USER, 42);
    assert_int_equal(run_case(&cases[0], &err), KYOK_OK);
    ERR_clear_error();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run_case(&cases[i], &err);
        assert_int_equal(ERR_get_error(), 0);
    }
}

static void closed_port(void **state)
{
    struct kyok_error err;
    struct kyok_tls_peer peer;
    struct kyok_tls_addresses addresses;
    int fd = -1;
    (void)state;
    assert_int_equal(kyok_tls_peer_parse("kmips://127.0.0.1:1", &peer, &err), KYOK_OK);
    assert_int_equal(kyok_tls_resolve(&peer, &addresses, kyok_deadline_in_ms(1000), &err), KYOK_OK);
    assert_int_equal(kyok_tls_connect_tcp(&peer, &addresses, kyok_deadline_in_ms(1000), &fd, &err),
                     KYOK_UNREACHABLE);
    assert_non_null(strstr(err.reason, "ECONNREFUSED"));
    assert_int_equal(fd, -1);
}

static void urls(void **state)
{
    static const char *const good[][4] = {
        {"kmips://host", "host", "5696", "kmips://host:5696"},
        {"kmips://host:1", "host", "1", "kmips://host:1"},
        {"kmips://192.0.2.7:5697", "192.0.2.7", "5697", "kmips://192.0.2.7:5697"},
        {"kmips://[2001:db8::1]:9", "2001:db8::1", "9", "kmips://[2001:db8::1]:9"},
    };
    static const char *const bad[] = {"",
                                      "kmip://h",
                                      "https://h",
                                      "kmips://",
                                      "kmips://:5",
                                      "kmips://h:",
                                      "kmips://h:0",
                                      "kmips://h:65536",
                                      "kmips://h:5x",
                                      "kmips://[::1",
                                      "kmips://[]:4",
                                      "kmips://h/x",
                                      "kmips://a@h"};
    struct kyok_tls_peer peer;
    struct kyok_error err;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(kyok_tls_peer_parse(good[i][0], &peer, &err), KYOK_OK);
        assert_string_equal(peer.host, good[i][1]);
        assert_string_equal(peer.port, good[i][2]);
        assert_string_equal(peer.url, good[i][3]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(kyok_tls_peer_parse(bad[i], &peer, &err), KYOK_INVALID);
}

static void renewed_files(void **state)
{
    struct kyok_kmip_config config;
    struct kyok_tls *tls = NULL;
    struct kyok_error err;
    char command[400];
    (void)state;
    fill_config(&config, &cases[3]);
    assert_int_equal(kyok_tls_new(&config, &tls, &err), KYOK_OK);
    assert_false(kyok_tls_is_stale(tls, &config));
    snprintf(command, sizeof command, "cp %s/ca.crl %s/new && mv %s/new %s/ca.crl", directory,
             directory, directory, directory);
    assert_int_equal(system(command), 0);
    assert_true(kyok_tls_is_stale(tls, &config));
    assert_non_null(strstr(kyok_tls_identity(tls), "alice"));
    kyok_tls_free(tls);
    free_config(&config);
}

static void mismatched_key(void **state)
{
    struct kyok_kmip_config config;
    struct kyok_tls *tls = NULL;
    struct kyok_error err;
    (void)state;
    fill_config(&config, &cases[0]);
    free(config.key);
    config.key = path("bob.key");
    assert_int_equal(kyok_tls_new(&config, &tls, &err), KYOK_INVALID);
    assert_non_null(strstr(err.what, "does not belong to the client key"));
    free_config(&config);
}

static int make_certificates(void **state)
{
    char command[128];
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/kyok-tls-XXXXXX");
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(command, sizeof command, "tests/support/certs.sh %s", directory);
    return system(command);
}

static int remove_certificates(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),
        cmocka_unit_test(handshakes),
        cmocka_unit_test(closed_port),
        cmocka_unit_test(no_descriptor_leaks),
        cmocka_unit_test(renewed_files),
        cmocka_unit_test(mismatched_key),
        cmocka_unit_test(error_queue),
        cmocka_unit_test(talkative_servers),
        cmocka_unit_test(refused_before_the_request),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
