/* SPDX-License-Identifier: Apache-2.0 */
/* A TLS stream that is open: a server that never stops to talk, and one that is gone before the
 * request. */
#include "tests/support/tls_echo.h"

#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

struct conversation {
    struct tls_echo server;
    struct kyok_deadline deadline;
    struct kyok_kmip_config config;
    struct kyok_tls *tls;
    struct kyok_tls_stream *stream;
};

static void conversation_begin(struct conversation *this, const char *identity,
                               void (*talk)(SSL *ssl))
{
    struct kyok_tls_peer peer;
    struct kyok_error err;

    *this = (struct conversation){.server = {.certificate = "server",
                                             .client_ca = "ca.crt",
                                             .max_version = TLS1_3_VERSION,
                                             .talk = talk},
                                  .deadline = kyok_deadline_in_ms(TLS_ECHO_LONG_MS)};
    tls_echo_config(&this->config, "ca.crt", NULL, identity);
    assert_int_equal(kyok_tls_new(&this->config, &this->tls, &err), KYOK_OK);
    tls_echo_start(&this->server);
    tls_echo_peer(&this->server, "127.0.0.1", &peer);
    assert_int_equal(kyok_tls_stream_open(this->tls, &peer, this->deadline, &this->stream, &err),
                     KYOK_OK);
}

static void conversation_end(struct conversation *this)
{
    kyok_tls_stream_close(this->stream);
    tls_echo_stop(&this->server);
    kyok_tls_free(this->tls);
    tls_echo_config_free(&this->config);
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
    assert_int_equal(poll(&readable, 1, TLS_ECHO_LONG_MS), 1);
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

static void talkative(void (*talk)(SSL *ssl))
{
    struct conversation it;

    conversation_begin(&it, "alice", talk);
    listen_to(it.stream);
    conversation_end(&it);
}

static void talkative_servers(void **state)
{
    (void)state;
    talkative(say_bytes);
    talkative(say_tickets);
}

/* --- and one that has no more ---------------------------------------------------------------- */

/* The server has refused the client's certificate and is gone, twice over, before the request: the
 * reason is told all the same. */
static void refused_before_the_request(void **state)
{
    struct conversation it;
    struct kyok_error err = {0};
    enum kyok_status status = KYOK_OK;

    (void)state;
    conversation_begin(&it, "mallory", NULL);
    struct pollfd gone = {.fd = kyok_tls_stream_fd(it.stream), .events = POLLRDHUP};
    for (int i = 0; status == KYOK_OK && i < 100; i++) {
        assert_int_equal(poll(&gone, 1, TLS_ECHO_LONG_MS), 1);
        status = kyok_tls_stream_send(it.stream, kyok_bytes_of_text("hello"), it.deadline, &err);
    }
    assert_int_equal(status, KYOK_REFUSED);
    assert_non_null(strstr(err.what, "does not know the CA of kyok's client certificate"));
    conversation_end(&it);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(talkative_servers),
        cmocka_unit_test(refused_before_the_request),
    };
    return cmocka_run_group_tests(tests, tls_echo_set_up, tls_echo_tear_down);
}
