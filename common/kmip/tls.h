/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mutual TLS to one server, every wait under a deadline: addresses, trust and identity, streams.
 * Private to common/kmip. It knows nothing of KMIP messages, and has no way to skip verification.
 *
 * OpenSSL objects live in a library context of their own with only the default provider, so that a
 * process whose default context runs on kyok's provider does not come back to us.
 */
#ifndef KYOK_KMIP_TLS_H
#define KYOK_KMIP_TLS_H

#include "common/base/base.h"
#include "common/config/kyok_conf.h"

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

/* --- addresses ------------------------------------------------------------------------------- */

#define KYOK_KMIP_PORT "5696"
#define KYOK_TLS_MAX_ADDRESSES 8

struct kyok_tls_peer {
    char url[300]; /* canonical kmips://host:port, what messages call the endpoint */
    char host[256];
    char port[8];
    bool is_ip; /* host is an IP address: checked against IP names of the certificate */
};

struct kyok_tls_addresses {
    struct sockaddr_storage list[KYOK_TLS_MAX_ADDRESSES];
    socklen_t sizes[KYOK_TLS_MAX_ADDRESSES];
    size_t count;
};

/* "kmips://host[:port]"; an IPv6 address stands in brackets. */
enum kyok_status kyok_tls_peer_parse(const char *url, struct kyok_tls_peer *peer,
                                     struct kyok_error *err);
/* An IP address is only parsed. A name is looked up in a thread of its own, since getaddrinfo knows
 * no deadline; at most KYOK_TLS_MAX_LOOKUPS of those may be under way in a process. */
#define KYOK_TLS_MAX_LOOKUPS 32
enum kyok_status kyok_tls_resolve(const struct kyok_tls_peer *peer,
                                  struct kyok_tls_addresses *addresses,
                                  struct kyok_deadline deadline, struct kyok_error *err);
/* A connected, non-blocking, close-on-exec socket; the addresses are tried in order. */
enum kyok_status kyok_tls_connect_tcp(const struct kyok_tls_peer *peer,
                                      const struct kyok_tls_addresses *addresses,
                                      struct kyok_deadline deadline, int *fd,
                                      struct kyok_error *err);

/* --- trust and identity ---------------------------------------------------------------------- */

/* What the files of one [kmip NAME] section say. Immutable; reference-counted through SSL_CTX. */
struct kyok_tls;

enum kyok_status kyok_tls_new(const struct kyok_kmip_config *config, struct kyok_tls **tls,
                              struct kyok_error *err);
/* True when one of the files was replaced since: time for a new one (renewed certificate, new CRL).
 */
bool kyok_tls_is_stale(const struct kyok_tls *tls, const struct kyok_kmip_config *config);
void kyok_tls_up_ref(struct kyok_tls *tls);
void kyok_tls_free(struct kyok_tls *tls);
/* "CN=..." of the certificate that this side presents. */
const char *kyok_tls_identity(const struct kyok_tls *tls);

/* --- streams --------------------------------------------------------------------------------- */

struct kyok_tls_stream; /* used by one thread at a time */

/* Connects, shakes hands, checks. The error names peer->url. */
enum kyok_status kyok_tls_stream_open(struct kyok_tls *tls, const struct kyok_tls_peer *peer,
                                      struct kyok_deadline deadline,
                                      struct kyok_tls_stream **stream, struct kyok_error *err);
/* All of data, or an error. */
enum kyok_status kyok_tls_stream_send(struct kyok_tls_stream *stream, struct kyok_bytes data,
                                      struct kyok_deadline deadline, struct kyok_error *err);
/* At least one byte, at most size: *got. The end of the stream is KYOK_UNREACHABLE. */
enum kyok_status kyok_tls_stream_receive(struct kyok_tls_stream *stream, uint8_t *data, size_t size,
                                         size_t *got, struct kyok_deadline deadline,
                                         struct kyok_error *err);
/* False when an idle stream has been closed by the peer, or has bytes that nobody asked for. */
bool kyok_tls_stream_is_quiet(struct kyok_tls_stream *stream);
int kyok_tls_stream_fd(const struct kyok_tls_stream *stream);
const char *kyok_tls_stream_version(const struct kyok_tls_stream *stream);
const char *kyok_tls_stream_cipher(const struct kyok_tls_stream *stream);
/* The subject of the peer's certificate, into text. */
const char *kyok_tls_stream_peer_name(const struct kyok_tls_stream *stream, char *text,
                                      size_t size);
void kyok_tls_stream_close(struct kyok_tls_stream *stream); /* NULL is allowed */

/* --- errors ---------------------------------------------------------------------------------- */

/* Why a handshake or record failed, each reason with its own sentence and remedy. Takes what
 * OpenSSL put into this thread's error queue since the last ERR_set_mark(). */
enum kyok_status kyok_tls_explain(const SSL *ssl, const struct kyok_tls_peer *peer,
                                  const char *during, struct kyok_error *err);
/* The newest reason in the queue since the mark, as text. */
const char *kyok_tls_queue_text(char *text, size_t size);

#endif
