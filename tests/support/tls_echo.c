/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/tls_echo.h"
#include "tests/support/kmip_peer.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- files ----------------------------------------------------------------------------------- */

char tls_echo_directory[64];

int tls_echo_set_up(void **state)
{
    (void)state;
    return kmip_peer_certificates(tls_echo_directory) ? 0 : -1;
}

int tls_echo_tear_down(void **state)
{
    (void)state;
    kmip_peer_remove(tls_echo_directory);
    return 0;
}

char *tls_echo_path(const char *name)
{
    char *text = NULL;

    if (name == NULL)
        return NULL;
    assert_true(asprintf(&text, "%s/%s", tls_echo_directory, name) > 0);
    return text;
}

static char *path_of(const char *name, const char *ending)
{
    char file[64];

    if (name == NULL)
        return NULL;
    snprintf(file, sizeof file, "%s.%s", name, ending);
    return tls_echo_path(file);
}

/* --- the server ------------------------------------------------------------------------------ */

static SSL_CTX *server_context(const struct tls_echo *server)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    SSL_CTX_set_security_level(context, 0);
    SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(context, server->max_version);
    KYOK_AUTO_FREE char *certificate = path_of(server->certificate, "crt");
    KYOK_AUTO_FREE char *key = path_of(server->certificate, "key");
    KYOK_AUTO_FREE char *ca = tls_echo_path(server->client_ca);
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
    struct tls_echo *server = argument;
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

void tls_echo_start(struct tls_echo *server)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr *address = (void *)&v4;
    socklen_t size = sizeof v4;

    server->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(server->listener, address, size), 0);
    assert_int_equal(listen(server->listener, 4), 0);
    assert_int_equal(getsockname(server->listener, address, &size), 0);
    server->port = ntohs(v4.sin_port);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

void tls_echo_stop(struct tls_echo *server)
{
    shutdown(server->listener, SHUT_RDWR); /* nobody may have come */
    pthread_join(server->thread, NULL);
    close(server->listener);
}

/* --- its client ------------------------------------------------------------------------------ */

void tls_echo_peer(const struct tls_echo *server, const char *host, struct kyok_tls_peer *peer)
{
    struct kyok_error err;
    char url[64];

    snprintf(url, sizeof url, "kmips://%s:%d", host, server->port);
    assert_int_equal(kyok_tls_peer_parse(url, peer, &err), KYOK_OK);
}

void tls_echo_config(struct kyok_kmip_config *config, const char *ca, const char *crl,
                     const char *identity)
{
    memset(config, 0, sizeof *config);
    config->name = "test";
    config->where = "test.conf:1";
    config->ca = tls_echo_path(ca);
    config->crl = tls_echo_path(crl);
    config->certificate = path_of(identity, "crt");
    config->key = path_of(identity, "key");
}

void tls_echo_config_free(struct kyok_kmip_config *config)
{
    free(config->ca);
    free(config->crl);
    free(config->certificate);
    free(config->key);
}
