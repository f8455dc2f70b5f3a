/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of common/kmip/tls.h: a TLS server in a thread, which shakes hands once and echoes
 * what it reads, and the configuration of a client for it. */
#ifndef KYOK_TESTS_TLS_ECHO_H
#define KYOK_TESTS_TLS_ECHO_H

#include "common/kmip/tls.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define TLS_ECHO_LONG_MS 60000 /* only a hang takes that long */

struct tls_echo {
    const char *certificate; /* NAME of NAME.crt, NAME.key; NULL: accepts TCP and stays silent */
    const char *client_ca;
    int max_version;
    void (*talk)(SSL *ssl); /* instead of echoing */
    int listener, port;     /* set by tls_echo_start() */
    pthread_t thread;
};

/* Of the test PKI: as cmocka's group fixtures make and remove it. */
extern char tls_echo_directory[64];
int tls_echo_set_up(void **state);
int tls_echo_tear_down(void **state);
/* Of a file in it, to be freed; NULL of NULL. */
char *tls_echo_path(const char *name);

void tls_echo_start(struct tls_echo *server);
void tls_echo_stop(struct tls_echo *server);
/* The server under that name of this machine. */
void tls_echo_peer(const struct tls_echo *server, const char *host, struct kyok_tls_peer *peer);

/* crl, identity (NAME of NAME.crt, NAME.key): or NULL. */
void tls_echo_config(struct kyok_kmip_config *config, const char *ca, const char *crl,
                     const char *identity);
void tls_echo_config_free(struct kyok_kmip_config *config);

#endif
