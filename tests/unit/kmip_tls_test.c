/* SPDX-License-Identifier: Apache-2.0 */
/* Mutual TLS: what is accepted, and each refusal by its own message, against a server in a thread.
 */
#include "tests/support/descriptors.h"
#include "tests/support/tls_echo.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- cases ----------------------------------------------------------------------------------- */

struct tls_case {
    const char *name;
    const char *server, *client_ca;
    const char *host, *ca, *crl, *identity;
    int max_version;
    enum kyok_status status;
    const char *what; /* part of the message */
};

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
    struct tls_echo server = {.certificate = item->server,
                              .client_ca = item->client_ca,
                              .max_version = item->max_version};
    struct kyok_deadline deadline =
        kyok_deadline_in_ms(item->server == NULL ? SILENCE_MS : TLS_ECHO_LONG_MS);
    struct kyok_kmip_config config;
    struct kyok_tls_peer peer;
    struct kyok_tls *tls = NULL;

    tls_echo_config(&config, item->ca, item->crl, item->identity);
    enum kyok_status status = kyok_tls_new(&config, &tls, err);
    if (status == KYOK_OK) {
        tls_echo_start(&server);
        tls_echo_peer(&server, item->host, &peer);
        status = echo_once(tls, &peer, deadline, err);
        tls_echo_stop(&server);
        if (status != KYOK_OK)
            assert_string_equal(err->object, peer.url);
    }
    kyok_tls_free(tls);
    tls_echo_config_free(&config);
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
    tls_echo_config(&config, "ca.crt", "ca.crl", "alice");
    assert_int_equal(kyok_tls_new(&config, &tls, &err), KYOK_OK);
    assert_false(kyok_tls_is_stale(tls, &config));
    snprintf(command, sizeof command, "cp %s/ca.crl %s/new && mv %s/new %s/ca.crl",
             tls_echo_directory, tls_echo_directory, tls_echo_directory, tls_echo_directory);
    assert_int_equal(system(command), 0);
    assert_true(kyok_tls_is_stale(tls, &config));
    assert_non_null(strstr(kyok_tls_identity(tls), "alice"));
    kyok_tls_free(tls);
    tls_echo_config_free(&config);
}

static void mismatched_key(void **state)
{
    struct kyok_kmip_config config;
    struct kyok_tls *tls = NULL;
    struct kyok_error err;
    (void)state;
    tls_echo_config(&config, "ca.crt", NULL, "alice");
    free(config.key);
    config.key = tls_echo_path("bob.key");
    assert_int_equal(kyok_tls_new(&config, &tls, &err), KYOK_INVALID);
    assert_non_null(strstr(err.what, "does not belong to the client key"));
    tls_echo_config_free(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),          cmocka_unit_test(handshakes),
        cmocka_unit_test(closed_port),   cmocka_unit_test(no_descriptor_leaks),
        cmocka_unit_test(renewed_files), cmocka_unit_test(mismatched_key),
        cmocka_unit_test(error_queue),
    };
    return cmocka_run_group_tests(tests, tls_echo_set_up, tls_echo_tear_down);
}
