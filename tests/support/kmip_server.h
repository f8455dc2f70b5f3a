/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/*
 * A scripted KMIP server for tests, on kyok's own messages: real keys in memory (AES, RSA, P-256,
 * P-384), owners and permissions per client certificate, and faults on demand. Never for use.
 *
 *   kmip_server_tool --certs DIR [--script FILE]
 *
 * DIR is what tests/support/certs.sh makes. It listens on a free port of 127.0.0.1 and says "port N"
 * on standard output; then it obeys one command per line of FILE and of standard input, answers each
 * with one line "ok ..." or "error ...", and ends when standard input does.
 *
 *   profile full|nine|no-digest     nine: only the operations of the smallest real server;
 *                                   no-digest: Sign takes whole data only, as PyKMIP
 *   versions 1.0 1.4 ...            what Discover Versions answers and requests may use
 *   certificate NAME                DIR/NAME.crt and .key, for new connections
 *   tls 1.1|1.2|1.3                 the highest version, for new connections
 *   hold-handshake on|off           accept TCP, never answer TLS
 *   key ID rsa-2048|ec-p256|ec-p384|aes-128|aes-256 [OWNER]
 *                                   an active key; a pair's public half is ID-pub; owner "*": anyone
 *   nonce ID NUMBER                 a P-256 key signs with this nonce and as r || s: foreseeable; 0: no more
 *   state ID STATE                  pre-active, active, deactivated, compromised
 *   clock SECONDS                   how far it is ahead of the host; its dates follow it
 *   attribute ID sensitive|extractable yes|no
 *   link ID on|off                  whether a private key names its public half
 *   deny CN OPERATION               permission denied ("Get", "CreateKeyPair"; or "any")
 *   allow CN OPERATION              takes a deny back
 *   fault OPERATION COUNT KIND [N]  for the next COUNT requests of that operation (or "any"); KINDs:
 *       delay MS       answer late                  silent        never answer
 *       close-before   before doing it              close-after   after doing it, without an answer
 *       cut N          close after N bytes of the answer (negative: that many before its end)
 *       dribble MS     one byte each MS             split         in several TLS records
 *       long N         outer length N too large     short N       N too small
 *       huge           announces 4 GiB - 8          big           sends 2 MiB of valid answer
 *       deep           3000 nested structures       garbage       bytes that are no TTLV
 *       tag            a request, not a response    item-type     a wrong item type
 *       operation      another operation            batch         another batch id
 *       version        answers in KMIP 9            older         answers in KMIP x.2
 *       items          two items for one            no-payload    success without one
 *       identifier     another object's             object-type   another type
 *       length         another key length           algorithm     another algorithm
 *       usage N        another usage mask           state N       another state (Get Attributes)
 *       material       one byte too few             tag-size      a tag of 12 bytes (Encrypt)
 *       no-length      does not tell the length     empty         no bytes (Get, Sign)
 *       raw            r || s for DER (Sign)        changed       another signature
 *       trailing       bytes after the answer       error N       result reason N
 *       other-iv       the IV is the server's own (Encrypt)
 *   fault none                      forget all faults
 *   down | up                       stop listening and close all connections; listen again
 *   drop-idle                       close all connections, keep listening
 *   stats                           ok accepted=N open=N requests=N OPERATION=N...
 *   reset-stats
 */
/* clang-format on */
#ifndef KYOK_TESTS_KMIP_SERVER_H
#define KYOK_TESTS_KMIP_SERVER_H

#include "common/kmip/message.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>

/* --- store: objects, under one lock ---------------------------------------------------------- */

#define SERVER_OBJECTS 4096
#define SERVER_TEXT 128
#define SERVER_CUSTOM 16

struct server_object {
    char id[SERVER_TEXT], name[SERVER_TEXT], owner[SERVER_TEXT], link[SERVER_TEXT];
    enum kyok_kmip_object_type type;
    enum kyok_kmip_cryptographic_algorithm algorithm;
    enum kyok_kmip_recommended_curve curve;
    unsigned bits;
    uint32_t usage;
    enum kyok_kmip_state state;
    int64_t activation, deactivation; /* 0: none */
    char replacement[SERVER_TEXT], replaced[SERVER_TEXT];
    enum kyok_kmip_boolean sensitive, extractable;
    bool show_link;
    unsigned long nonce;    /* of signatures; 0: random */
    EVP_PKEY *pair;         /* public and private keys */
    struct kyok_buffer raw; /* symmetric keys, secret data, opaque objects, certificates */
    char custom_name[SERVER_CUSTOM][SERVER_TEXT], custom_value[SERVER_CUSTOM][SERVER_TEXT];
    size_t customs;
};

struct server_denial {
    char client[SERVER_TEXT];
    char operation[32];
};

enum server_profile { PROFILE_FULL, PROFILE_NINE, PROFILE_NO_DIGEST };

struct server_fault {
    char operation[32];
    unsigned count; /* requests left */
    char kind[24];
    long number;
};

#define SERVER_FAULTS 16
#define SERVER_DENIALS 32
#define SERVER_OPERATIONS 64
#define SERVER_CONNECTIONS 256

struct server {
    pthread_mutex_t lock;
    char certificates[256], certificate[SERVER_TEXT];
    int tls_version;
    atomic_bool hold_handshake;
    enum server_profile profile;
    unsigned versions[8];
    size_t version_count;
    struct server_object *objects[SERVER_OBJECTS];
    size_t object_count;
    unsigned next_id;
    int64_t clock; /* seconds that the server is ahead of the host */
    struct server_denial denials[SERVER_DENIALS];
    size_t denial_count;
    struct server_fault faults[SERVER_FAULTS];
    size_t fault_count;
    int listener, port;
    pthread_t accepting;
    int connections[SERVER_CONNECTIONS]; /* descriptors, -1: free */
    unsigned long accepted, requests, operations[SERVER_OPERATIONS];
};

struct server_object *server_find(struct server *server, struct kyok_bytes id);
/* Brings states after the dates. */
void server_settle(struct server *server);
/* NULL: full. The id is made up when empty. */
struct server_object *server_add(struct server *server, const char *id, const char *owner);
void server_text(char to[SERVER_TEXT], struct kyok_bytes from);
bool server_set_attribute(struct server_object *object,
                          const struct kyok_kmip_attribute *attribute);
bool server_matches(const struct server_object *object,
                    const struct kyok_kmip_attribute *attribute);
/* All attributes, in the arena. */
size_t server_attributes(const struct server_object *object, struct kyok_kmip_arena *arena,
                         unsigned version, const struct kyok_kmip_attribute **list);

/* --- crypto ---------------------------------------------------------------------------------- */

bool server_make_pair(struct server_object *private_key, struct server_object *public_key,
                      enum kyok_kmip_cryptographic_algorithm algorithm, unsigned bits,
                      enum kyok_kmip_recommended_curve curve);
/* Replaces a pair by one of the same type from a PEM file. */
bool server_load_pair(struct server_object *private_key, struct server_object *public_key,
                      const char *path);
bool server_make_secret(struct server_object *object, unsigned bits);
struct kyok_bytes server_public_der(const struct server_object *object,
                                    struct kyok_kmip_arena *arena);
struct kyok_bytes server_private_der(const struct server_object *object,
                                     struct kyok_kmip_arena *arena);
bool server_sign(const struct server_object *object, const struct kyok_kmip_sign_request *request,
                 struct kyok_kmip_arena *arena, struct kyok_bytes *signature);
/* Key derivation by hashing a secret. */
bool server_derive(const struct server_object *base,
                   const struct kyok_kmip_derive_key_request *request,
                   struct server_object *derived);
bool server_encrypt(const struct server_object *object,
                    const struct kyok_kmip_cipher_request *request, struct kyok_kmip_arena *arena,
                    struct kyok_kmip_cipher_response *response);
bool server_decrypt(const struct server_object *object,
                    const struct kyok_kmip_cipher_request *request, struct kyok_kmip_arena *arena,
                    struct kyok_kmip_cipher_response *response);

/* --- answers --------------------------------------------------------------------------------- */

/* The client's request to its answer; everything lies in the arena or in the store, which the
 * caller holds locked until the answer is written. */
void server_answer(struct server *server, const char *client,
                   const struct kyok_kmip_request *request, struct kyok_kmip_arena *arena,
                   struct kyok_kmip_response *response);
const char *server_operation_name(enum kyok_kmip_operation operation);

/* --- faults ---------------------------------------------------------------------------------- */

/* The fault that this request meets, its count taken down; kind "" for none. */
struct server_fault server_take_fault(struct server *server, enum kyok_kmip_operation operation);
/* Changes the answer before it is written. */
void server_spoil_answer(const struct server_fault *fault, struct kyok_kmip_arena *arena,
                         struct kyok_kmip_response *response);
/* Changes its bytes. */
void server_spoil_bytes(const struct server_fault *fault, struct kyok_buffer *bytes);

/* --- commands -------------------------------------------------------------------------------- */

/* Obeys one line and prints the answer. */
void server_command(struct server *server, char *line);
void server_up(struct server *server);
void server_down(struct server *server, bool listener_too);

#endif
