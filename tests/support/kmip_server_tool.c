/* SPDX-License-Identifier: Apache-2.0 */
/* The scripted KMIP server: sockets, TLS, threads. What it is and obeys: kmip_server.h. */
#include "tests/support/kmip_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct connection {
    struct server *server;
    int fd, slot;
    SSL *ssl;
    char client[SERVER_TEXT];
};

static void die(const char *what)
{
    fprintf(stderr, "kmip_server_tool: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* --- TLS ------------------------------------------------------------------------------------- */

static SSL_CTX *tls_context(struct server *server)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    char certificate[512], key[512], ca[512];

    pthread_mutex_lock(&server->lock);
    snprintf(certificate, sizeof certificate, "%s/%s.crt", server->certificates,
             server->certificate);
    snprintf(key, sizeof key, "%s/%s.key", server->certificates, server->certificate);
    snprintf(ca, sizeof ca, "%s/ca.crt", server->certificates);
    SSL_CTX_set_security_level(context, server->tls_version < TLS1_2_VERSION ? 0 : 1);
    SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(context, server->tls_version);
    pthread_mutex_unlock(&server->lock);
    if (SSL_CTX_use_certificate_file(context, certificate, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_load_verify_file(context, ca) != 1)
        die(certificate);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return context;
}

static bool shake_hands(struct connection *connection)
{
    SSL_CTX *context = tls_context(connection->server);

    connection->ssl = SSL_new(context);
    SSL_CTX_free(context);
    SSL_set_fd(connection->ssl, connection->fd);
    if (SSL_accept(connection->ssl) != 1)
        return false;
    X509 *peer = SSL_get0_peer_certificate(connection->ssl);
    return peer != NULL &&
           X509_NAME_get_text_by_NID(X509_get_subject_name(peer), NID_commonName,
                                     connection->client, sizeof connection->client) > 0;
}

static bool read_all(SSL *ssl, uint8_t *data, size_t size)
{
    for (size_t got = 0; size > 0; data += got, size -= got)
        if (SSL_read_ex(ssl, data, size, &got) != 1)
            return false;
    return true;
}

static bool write_all(SSL *ssl, const uint8_t *data, size_t size)
{
    size_t sent;

    return size == 0 || (SSL_write_ex(ssl, data, size, &sent) == 1 && sent == size);
}

static void pause_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&time, NULL);
}

/* --- answers --------------------------------------------------------------------------------- */

static bool read_request(struct connection *connection, struct kyok_buffer *bytes)
{
    struct kyok_error err;
    size_t size = KYOK_TTLV_HEADER_SIZE;
    uint8_t *room;

    bytes->size = 0;
    room = kyok_buffer_reserve(bytes, size);
    if (!read_all(connection->ssl, room, size))
        return false;
    bytes->size = size;
    if (kyok_ttlv_frame(kyok_buffer_bytes(bytes), KYOK_KMIP_TAG_REQUEST_MESSAGE, 0, &size, &err) !=
        KYOK_OK)
        return false;
    room = kyok_buffer_reserve(bytes, size - bytes->size);
    if (!read_all(connection->ssl, room, size - bytes->size))
        return false;
    bytes->size = size;
    return true;
}

static bool kind_is(const struct server_fault *fault, const char *kind)
{
    return strcmp(fault->kind, kind) == 0;
}

/* The answer to the request in bytes replaces it. False: close now. */
static bool answer(struct connection *connection, struct kyok_buffer *bytes,
                   struct kyok_kmip_arena *arena, struct server_fault *fault)
{
    struct server *server = connection->server;
    struct kyok_kmip_request request;
    struct kyok_kmip_response response;
    struct kyok_buffer out = {0};
    struct kyok_error err;

    if (kyok_kmip_request_read(kyok_buffer_bytes(bytes), arena, &request, &err) != KYOK_OK) {
        fprintf(stderr, "kmip_server_tool: %s: %s\n", err.what, err.reason);
        return false;
    }
    enum kyok_kmip_operation operation = request.items.items[0].operation;
    pthread_mutex_lock(&server->lock);
    server->requests++;
    server->operations[operation % SERVER_OPERATIONS]++;
    *fault = server_take_fault(server, operation);
    bool done = !kind_is(fault, "close-before");
    if (done) {
        server_answer(server, connection->client, &request, arena, &response);
        server_spoil_answer(fault, arena, &response);
        done = kyok_kmip_response_append(&response, &out, &err) == KYOK_OK;
        if (!done)
            fprintf(stderr, "kmip_server_tool: %s: %s\n", err.what, err.reason);
    }
    pthread_mutex_unlock(&server->lock);
    kyok_buffer_free(bytes);
    *bytes = out;
    return done && !kind_is(fault, "close-after");
}

static void dribble(struct connection *connection, const struct kyok_buffer *bytes, long ms)
{
    for (size_t i = 0; i < bytes->size && write_all(connection->ssl, bytes->data + i, 1); i++)
        pause_ms(ms);
}

/* Sends what is left of the answer after the fault. False: close. */
static bool send_answer(struct connection *connection, struct kyok_buffer *bytes,
                        const struct server_fault *fault)
{
    server_spoil_bytes(fault, bytes);
    if (kind_is(fault, "delay"))
        pause_ms(fault->number);
    if (kind_is(fault, "silent")) {
        char byte;
        return SSL_peek(connection->ssl, &byte, 1) > 0; /* until the client leaves */
    }
    if (kind_is(fault, "dribble")) {
        dribble(connection, bytes, fault->number);
        return true;
    }
    size_t size = bytes->size, first = 0;
    if (kind_is(fault, "cut"))
        size = fault->number < 0 ? size - (size_t)-fault->number : (size_t)fault->number;
    if (size > bytes->size)
        size = bytes->size;
    if (kind_is(fault, "split"))
        first = size / 3;
    return write_all(connection->ssl, bytes->data, first) &&
           write_all(connection->ssl, bytes->data + first, size - first) && !kind_is(fault, "cut");
}

static void serve(struct connection *connection)
{
    struct kyok_buffer bytes = {0};
    struct kyok_kmip_arena arena;
    bool more = true;

    while (more && read_request(connection, &bytes)) {
        struct server_fault fault;
        kyok_kmip_arena_init(&arena, 0);
        more =
            answer(connection, &bytes, &arena, &fault) && send_answer(connection, &bytes, &fault);
        kyok_kmip_arena_free(&arena);
    }
    kyok_buffer_free(&bytes);
}

static void *serve_thread(void *argument)
{
    struct connection *connection = argument;
    struct server *server = connection->server;
    char byte;

    if (server->hold_handshake) {
        while (recv(connection->fd, &byte, 1, 0) > 0)
            continue;
    } else if (shake_hands(connection)) {
        serve(connection);
        SSL_shutdown(connection->ssl);
    }
    ERR_clear_error();
    pthread_mutex_lock(&server->lock);
    server->connections[connection->slot] = -1;
    pthread_mutex_unlock(&server->lock);
    SSL_free(connection->ssl);
    close(connection->fd);
    free(connection);
    return NULL;
}

/* --- connections ----------------------------------------------------------------------------- */

static int take_slot(struct server *server, int fd)
{
    int slot = 0;

    pthread_mutex_lock(&server->lock);
    while (slot < SERVER_CONNECTIONS && server->connections[slot] >= 0)
        slot++;
    if (slot < SERVER_CONNECTIONS) {
        server->connections[slot] = fd;
        server->accepted++;
    }
    pthread_mutex_unlock(&server->lock);
    return slot < SERVER_CONNECTIONS ? slot : -1;
}

static void start_connection(struct server *server, int fd)
{
    struct connection *connection = calloc(1, sizeof *connection);
    int slot = take_slot(server, fd);
    pthread_t thread;

    if (connection == NULL || slot < 0) {
        free(connection);
        close(fd);
        return;
    }
    connection->server = server;
    connection->fd = fd;
    connection->slot = slot;
    if (pthread_create(&thread, NULL, serve_thread, connection) != 0)
        die("thread");
    pthread_detach(thread);
}

static void *accept_thread(void *argument)
{
    struct server *server = argument;
    int listener = server->listener, fd, on = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        start_connection(server, fd);
    }
    return NULL;
}

void server_up(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)server->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int on = 1;

    if (server->listener >= 0)
        return;
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(server->listener, (struct sockaddr *)&address, size) != 0 ||
        listen(server->listener, 64) != 0 ||
        getsockname(server->listener, (struct sockaddr *)&address, &size) != 0)
        die("listen");
    server->port = ntohs(address.sin_port);
    if (pthread_create(&server->accepting, NULL, accept_thread, server) != 0)
        die("thread");
}

void server_down(struct server *server, bool listener_too)
{
    if (listener_too && server->listener >= 0) {
        shutdown(server->listener, SHUT_RDWR);
        pthread_join(server->accepting, NULL);
        close(server->listener);
        server->listener = -1;
    }
    pthread_mutex_lock(&server->lock);
    for (size_t i = 0; i < SERVER_CONNECTIONS; i++)
        if (server->connections[i] >= 0)
            shutdown(server->connections[i], SHUT_RDWR);
    pthread_mutex_unlock(&server->lock);
}

/* --- main ------------------------------------------------------------------------------------ */

static void obey_file(struct server *server, FILE *file)
{
    char line[512];

    while (fgets(line, sizeof line, file) != NULL)
        server_command(server, line);
}

static const char *argument_after(int count, char **arguments, const char *name)
{
    for (int i = 1; i + 1 < count; i++)
        if (strcmp(arguments[i], name) == 0)
            return arguments[i + 1];
    return NULL;
}

static struct server *server_new(const char *certificates)
{
    static const unsigned versions[] = {KYOK_KMIP_1_4, KYOK_KMIP_1_3, KYOK_KMIP_1_2, KYOK_KMIP_1_1,
                                        KYOK_KMIP_1_0};
    struct server *server = calloc(1, sizeof *server);

    if (server == NULL)
        die("memory");
    pthread_mutex_init(&server->lock, NULL);
    snprintf(server->certificates, sizeof server->certificates, "%s", certificates);
    snprintf(server->certificate, sizeof server->certificate, "server");
    server->tls_version = TLS1_3_VERSION;
    memcpy(server->versions, versions, sizeof versions);
    server->version_count = sizeof versions / sizeof *versions;
    server->listener = -1;
    for (size_t i = 0; i < SERVER_CONNECTIONS; i++)
        server->connections[i] = -1;
    return server;
}

int main(int count, char **arguments)
{
    const char *certificates = argument_after(count, arguments, "--certs");
    const char *script = argument_after(count, arguments, "--script");

    if (certificates == NULL) {
        fprintf(stderr, "usage: kmip_server_tool --certs DIR [--script FILE]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    struct server *server = server_new(certificates);
    server_up(server);
    printf("port %d\n", server->port);
    fflush(stdout);
    if (script != NULL) {
        FILE *file = fopen(script, "r");
        if (file == NULL)
            die(script);
        obey_file(server, file);
        fclose(file);
    }
    obey_file(server, stdin);
    fflush(stdout);
    _exit(
        0); /* other threads may be in the middle of an answer: nothing is taken from under them */
}
