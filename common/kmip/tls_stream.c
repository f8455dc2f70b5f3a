/* SPDX-License-Identifier: Apache-2.0 */
/* One TLS connection on a non-blocking socket, every step under the caller's deadline. */
#include "common/kmip/tls_context.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the socket said last. SSL_get_error() would ask the thread's error queue, in which the host
 * program may have errors of its own. */
enum socket_state {
    SOCKET_FINE,
    SOCKET_WANTS_READ,
    SOCKET_WANTS_WRITE,
    SOCKET_ENDED,
    SOCKET_LATE,
    SOCKET_FAILED
};

struct kyok_tls_stream {
    struct kyok_tls *tls;
    const struct kyok_tls_peer *peer;
    int fd;
    SSL *ssl;
    BIO_METHOD *method;
    enum socket_state socket;
    struct kyok_deadline deadline; /* of the call that is under way */
    int error;                     /* errno of SOCKET_FAILED */
    bool closed;                   /* the peer is done, and may have said so (close_notify) */
};

/* --- the socket, as a BIO that never raises SIGPIPE ------------------------------------------ */

static int socket_result(struct kyok_tls_stream *stream, BIO *bio, ssize_t result,
                         enum socket_state wants)
{
    BIO_clear_retry_flags(bio);
    stream->socket = SOCKET_FINE;
    if (result > 0)
        return (int)result;
    if (result == 0) {
        stream->closed = true;
        stream->socket = SOCKET_ENDED;
        return 0;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
        stream->socket = wants;
        wants == SOCKET_WANTS_READ ? BIO_set_retry_read(bio) : BIO_set_retry_write(bio);
        return -1;
    }
    stream->socket = SOCKET_FAILED;
    stream->error = errno;
    return -1;
}

/* Looked at here, since OpenSSL and its callers go on as long as bytes are there: a server that
 * always has one ready (an answer byte by byte, session tickets without end) would never be waited
 * for. */
static bool is_late(struct kyok_tls_stream *stream, BIO *bio)
{
    if (!kyok_deadline_passed(stream->deadline))
        return false;
    BIO_clear_retry_flags(bio);
    stream->socket = SOCKET_LATE;
    return true;
}

static int socket_read(BIO *bio, char *data, int size)
{
    struct kyok_tls_stream *stream = BIO_get_data(bio);

    if (is_late(stream, bio))
        return -1;
    return socket_result(stream, bio, recv(stream->fd, data, (size_t)size, 0), SOCKET_WANTS_READ);
}

static int socket_write(BIO *bio, const char *data, int size)
{
    struct kyok_tls_stream *stream = BIO_get_data(bio);

    if (is_late(stream, bio))
        return -1;
    ssize_t sent = send(stream->fd, data, (size_t)size, MSG_NOSIGNAL);
    return socket_result(stream, bio, sent, SOCKET_WANTS_WRITE);
}

static long socket_control(BIO *bio, int command, long number, void *pointer)
{
    struct kyok_tls_stream *stream = BIO_get_data(bio);

    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_EOF)
        return stream != NULL && stream->socket == SOCKET_ENDED;
    return command == BIO_CTRL_FLUSH;
}

static void note_alert(const SSL *ssl, int where, int alert)
{
    struct kyok_tls_stream *stream = SSL_get_app_data(ssl);

    if (where == SSL_CB_READ_ALERT && (alert & 0xff) == SSL_AD_CLOSE_NOTIFY)
        stream->closed = true;
}

static bool attach_socket(struct kyok_tls_stream *stream)
{
    /* No index of its own: a process has few of them, and nobody looks this BIO up by type. */
    stream->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "kyok socket");
    if (stream->method == NULL)
        return false;
    BIO_meth_set_read(stream->method, socket_read);
    BIO_meth_set_write(stream->method, socket_write);
    BIO_meth_set_ctrl(stream->method, socket_control);
    BIO *bio = BIO_new(stream->method);
    if (bio == NULL)
        return false;
    SSL_set_app_data(stream->ssl, stream);
    SSL_set_info_callback(stream->ssl, note_alert);
    BIO_set_data(bio, stream);
    BIO_set_init(bio, 1);
    SSL_set_bio(stream->ssl, bio, bio);
    return true;
}

/* --- waiting --------------------------------------------------------------------------------- */

static enum kyok_status stream_failed(struct kyok_tls_stream *stream, const char *during,
                                      struct kyok_error *err)
{
    if (stream->socket == SOCKET_FAILED) {
        errno = stream->error;
        kyok_fail_errno(err, stream->peer->url, "the connection broke during %s", during);
        return err->status = KYOK_UNREACHABLE;
    }
    if ((stream->socket == SOCKET_ENDED || stream->closed) &&
        SSL_get_verify_result(stream->ssl) == X509_V_OK)
        return kyok_fail(err, KYOK_UNREACHABLE, stream->peer->url,
                         "the server closed the connection during %s", during);
    return kyok_tls_explain(stream->ssl, stream->peer, during, err);
}

static enum kyok_status too_late(const struct kyok_tls_stream *stream, const char *during,
                                 struct kyok_error *err)
{
    kyok_fail(err, KYOK_TIMEOUT, stream->peer->url, "the server did not answer in time, during %s",
              during);
    return kyok_remedy(err, "look at the server's load, or raise timeout in the [kmip] section");
}

/* After an SSL call that gave nothing: waits until it may be tried again, or says why it failed. */
static enum kyok_status wait_or_fail(struct kyok_tls_stream *stream, const char *during,
                                     struct kyok_deadline deadline, struct kyok_error *err)
{
    struct pollfd wait = {.fd = stream->fd};
    int result;

    if (stream->socket == SOCKET_LATE)
        return too_late(stream, during, err);
    if (stream->socket != SOCKET_WANTS_READ && stream->socket != SOCKET_WANTS_WRITE)
        return stream_failed(stream, during, err);
    wait.events = stream->socket == SOCKET_WANTS_READ ? POLLIN : POLLOUT;
    do
        result = poll(&wait, 1, kyok_deadline_left_ms(deadline));
    while (result < 0 && errno == EINTR);
    if (result > 0)
        return KYOK_OK;
    if (result < 0)
        return kyok_fail_errno(err, stream->peer->url, "cannot wait for the server");
    return too_late(stream, during, err);
}

/* --- opening --------------------------------------------------------------------------------- */

/* The certificate must be for the name or address that kyok.conf gives; the library checks it as
 * part of the chain. Its subject names no host: CAs vouch for subjectAltName (RFC 9525, 2). */
static bool expect_name(SSL *ssl, const struct kyok_tls_peer *peer)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (peer->is_ip)
        return X509_VERIFY_PARAM_set1_ip_asc(param, peer->host) == 1;
    return X509_VERIFY_PARAM_set1_host(param, peer->host, 0) == 1 &&
           SSL_set_tlsext_host_name(ssl, peer->host) == 1;
}

static enum kyok_status shake_hands(struct kyok_tls_stream *stream, struct kyok_deadline deadline,
                                    struct kyok_error *err)
{
    for (;;) {
        stream->socket = SOCKET_FINE;
        if (SSL_connect(stream->ssl) == 1)
            break;
        KYOK_TRY(wait_or_fail(stream, "the TLS handshake", deadline, err));
    }
    /* The library has refused these already; a second look costs nothing. */
    if (SSL_get_verify_result(stream->ssl) != X509_V_OK ||
        SSL_version(stream->ssl) < TLS1_2_VERSION || SSL_get0_peer_certificate(stream->ssl) == NULL)
        return kyok_tls_explain(stream->ssl, stream->peer, "the TLS handshake", err);
    return KYOK_OK;
}

static enum kyok_status stream_start(struct kyok_tls_stream *stream, struct kyok_deadline deadline,
                                     struct kyok_error *err)
{
    struct kyok_tls_addresses addresses;

    stream->ssl = kyok_tls_session_new(stream->tls);
    if (stream->ssl == NULL || !attach_socket(stream) || !expect_name(stream->ssl, stream->peer))
        return kyok_fail(err, KYOK_SYSTEM, stream->peer->url, "no memory for a TLS connection");
    KYOK_TRY(kyok_tls_resolve(stream->peer, &addresses, deadline, err));
    KYOK_TRY(kyok_tls_connect_tcp(stream->peer, &addresses, deadline, &stream->fd, err));
    return shake_hands(stream, deadline, err);
}

enum kyok_status kyok_tls_stream_open(struct kyok_tls *tls, const struct kyok_tls_peer *peer,
                                      struct kyok_deadline deadline,
                                      struct kyok_tls_stream **stream, struct kyok_error *err)
{
    struct kyok_tls_stream *made = calloc(1, sizeof *made);

    if (made == NULL)
        return kyok_fail(err, KYOK_SYSTEM, peer->url, "no memory for a TLS connection");
    kyok_tls_up_ref(tls);
    made->tls = tls;
    made->peer = peer;
    made->fd = -1;
    made->deadline = deadline;
    ERR_set_mark();
    enum kyok_status status = stream_start(made, deadline, err);
    ERR_pop_to_mark();
    if (status != KYOK_OK) {
        kyok_tls_stream_close(made);
        return status;
    }
    *stream = made;
    return KYOK_OK;
}

/* --- exchange -------------------------------------------------------------------------------- */

/* In TLS 1.3 a server judges the client's certificate after the client's handshake is over, and may
 * be gone before the request: what it said as its reason is still there to be read. */
static enum kyok_status send_failed(struct kyok_tls_stream *stream, struct kyok_deadline deadline,
                                    struct kyok_error *err)
{
    int error = stream->error;
    char byte;

    if (stream->socket != SOCKET_FAILED)
        return wait_or_fail(stream, "the request", deadline, err);
    stream->socket = SOCKET_FINE;
    if (SSL_peek(stream->ssl, &byte, 1) <= 0 && stream->socket == SOCKET_FINE && !stream->closed)
        return kyok_tls_explain(stream->ssl, stream->peer, "the request", err);
    stream->socket = SOCKET_FAILED;
    stream->error = error;
    return stream_failed(stream, "the request", err);
}

static enum kyok_status send_all(struct kyok_tls_stream *stream, struct kyok_bytes data,
                                 struct kyok_deadline deadline, struct kyok_error *err)
{
    while (data.size > 0) {
        size_t sent = 0;
        stream->socket = SOCKET_FINE;
        if (SSL_write_ex(stream->ssl, data.data, data.size, &sent) == 1)
            data = kyok_bytes(data.data + sent, data.size - sent);
        else
            KYOK_TRY(send_failed(stream, deadline, err));
    }
    return KYOK_OK;
}

enum kyok_status kyok_tls_stream_send(struct kyok_tls_stream *stream, struct kyok_bytes data,
                                      struct kyok_deadline deadline, struct kyok_error *err)
{
    stream->deadline = deadline;
    ERR_set_mark();
    enum kyok_status status = send_all(stream, data, deadline, err);
    ERR_pop_to_mark();
    return status;
}

static enum kyok_status receive_some(struct kyok_tls_stream *stream, uint8_t *data, size_t size,
                                     size_t *got, struct kyok_deadline deadline,
                                     struct kyok_error *err)
{
    if (!SSL_has_pending(stream->ssl)) {
        stream->socket = SOCKET_WANTS_READ;
        KYOK_TRY(wait_or_fail(stream, "the reply", deadline, err));
    }
    for (;;) {
        stream->socket = SOCKET_FINE;
        if (SSL_read_ex(stream->ssl, data, size, got) == 1)
            return KYOK_OK;
        KYOK_TRY(wait_or_fail(stream, "the reply", deadline, err));
    }
}

enum kyok_status kyok_tls_stream_receive(struct kyok_tls_stream *stream, uint8_t *data, size_t size,
                                         size_t *got, struct kyok_deadline deadline,
                                         struct kyok_error *err)
{
    stream->deadline = deadline;
    ERR_set_mark();
    enum kyok_status status = receive_some(stream, data, size, got, deadline, err);
    ERR_pop_to_mark();
    return status;
}

#define QUIET_MS 100 /* of taking in what nobody asked for; then the stream is not quiet */

/* Nothing at the socket and nothing of an earlier read: the usual case, without OpenSSL. */
static bool is_silent(const struct kyok_tls_stream *stream)
{
    char byte;

    return !SSL_has_pending(stream->ssl) &&
           recv(stream->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
}

/* Reading also takes in a TLS 1.3 session ticket, which makes the socket readable without meaning
 * anything. */
bool kyok_tls_stream_is_quiet(struct kyok_tls_stream *stream)
{
    char byte;

    if (is_silent(stream))
        return true;
    stream->deadline = kyok_deadline_in_ms(QUIET_MS);
    ERR_set_mark();
    stream->socket = SOCKET_FINE;
    int peeked = SSL_peek(stream->ssl, &byte, 1);
    ERR_pop_to_mark();
    return peeked <= 0 && stream->socket == SOCKET_WANTS_READ;
}

int kyok_tls_stream_fd(const struct kyok_tls_stream *stream)
{
    return stream->fd;
}

const char *kyok_tls_stream_version(const struct kyok_tls_stream *stream)
{
    return SSL_get_version(stream->ssl);
}

const char *kyok_tls_stream_cipher(const struct kyok_tls_stream *stream)
{
    return SSL_get_cipher_name(stream->ssl);
}

const char *kyok_tls_stream_peer_name(const struct kyok_tls_stream *stream, char *text, size_t size)
{
    X509 *certificate = SSL_get0_peer_certificate(stream->ssl);

    text[0] = '\0';
    if (certificate != NULL)
        X509_NAME_oneline(X509_get_subject_name(certificate), text, (int)size);
    return text;
}

void kyok_tls_stream_close(struct kyok_tls_stream *stream)
{
    if (stream == NULL)
        return;
    stream->deadline = kyok_deadline_never();
    ERR_set_mark();
    if (stream->fd >= 0 && stream->ssl != NULL && SSL_is_init_finished(stream->ssl))
        SSL_shutdown(stream->ssl); /* says goodbye; waits for nothing */
    SSL_free(stream->ssl);
    BIO_meth_free(stream->method);
    if (stream->fd >= 0)
        close(stream->fd);
    kyok_tls_free(stream->tls);
    ERR_pop_to_mark();
    free(stream);
}
