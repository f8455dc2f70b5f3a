/* SPDX-License-Identifier: Apache-2.0 */
/* The scripted KMIP server as a child process, for C tests and benches: see kmip_server.h. */
#ifndef KYOK_TESTS_KMIP_PEER_H
#define KYOK_TESTS_KMIP_PEER_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

struct kmip_peer {
    pid_t pid;
    FILE *to, *from;
    int port;
};

/* $BUILD/tests/support/kmip_server_tool */
const char *kmip_peer_tool(void);
/* A new directory with the test PKI in it; its name into directory. */
bool kmip_peer_certificates(char directory[64]);
void kmip_peer_remove(const char *directory);
bool kmip_peer_start(struct kmip_peer *peer, const char *certificates);
void kmip_peer_stop(struct kmip_peer *peer);
/* One command; its answer, or NULL when the peer is gone. Valid until the next. */
const char *kmip_peer_tell(struct kmip_peer *peer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A number of its "stats". */
long kmip_peer_stat(struct kmip_peer *peer, const char *name);

#endif
