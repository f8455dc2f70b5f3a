/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kmip: a client for the KMIP servers of one [kmip] group: endpoints, mutual TLS, connections
 * shared by many threads, failover, negotiation, and answers checked against what was asked. The
 * codec and the messages, which do no input or output, are in ttlv.h and message.h. It never skips
 * verification, never repeats a Create whose outcome is unknown, and never hands out a key that was
 * not asked for.
 */
#ifndef KYOK_KMIP_H
#define KYOK_KMIP_H

#include "common/base/base.h"
#include "common/base/key_types.h"
#include "common/config/kyok_conf.h"
#include "common/kmip/message.h"

/* --- the client of one group ----------------------------------------------------------------- */

/* Immutable and light; connections belong to the process and are shared by all clients of the same
 * servers and files. Thread-safe; survives fork (a child opens its own connections). */
struct kyok_kmip_client;

/* Contacts nothing and reads no file. *config outlives the client. */
enum kyok_status kyok_kmip_client_new(const struct kyok_kmip_config *config,
                                      struct kyok_kmip_client **client, struct kyok_error *err);
void kyok_kmip_client_free(struct kyok_kmip_client *client);
const struct kyok_kmip_config *kyok_kmip_client_config(const struct kyok_kmip_client *client);
/* The group's timeout from now on. */
struct kyok_deadline kyok_kmip_client_deadline(const struct kyok_kmip_client *client);

/* --- calls ----------------------------------------------------------------------------------- */

#define KYOK_KMIP_REPLY_MAX                                                                        \
    ((size_t)1 << 20) /* bytes of a message; a longer answer is refused unread */

/* An answer, which may hold key material: wiped when freed. item points to the one item of the
 * response; its views are valid until the reply is freed or used again. */
struct kyok_kmip_reply {
    const struct kyok_kmip_response_item *item;
    const char *endpoint; /* URL of who answered */
    unsigned version;     /* KYOK_KMIP_1_4: what the request was sent in */
    bool doubtful;        /* the call failed, but the server may have carried it out */
    struct kyok_kmip_response response;
    struct kyok_secret *memory; /* locked; the answer is its first size bytes */
    size_t size;
    struct kyok_kmip_arena arena;
};
void kyok_kmip_reply_init(struct kyok_kmip_reply *reply);
void kyok_kmip_reply_free(struct kyok_kmip_reply *reply);
/* Declares a reply that is ready from its first line on, and freed with its scope. */
#define KYOK_KMIP_AUTO_REPLY(reply)                                                                \
    KYOK_CLEANUP(kyok_kmip_reply_free) struct kyok_kmip_reply reply;                               \
    kyok_kmip_reply_init(&reply)

/* One operation at whichever endpoint fits, under the deadline: reads at the least busy healthy
 * one, writes at the first healthy one in order; the next one when it fails, unless the request may
 * have been carried out and must not be repeated. The answer is checked: version, operation, that
 * it is a single item, and that it is about the object that was asked for. A failure that the
 * server reports is the error kyok_kmip_item_result() makes; every error names the endpoint and the
 * operation. */
enum kyok_status kyok_kmip_call(struct kyok_kmip_client *client,
                                const struct kyok_kmip_request_item *item,
                                struct kyok_deadline deadline, struct kyok_kmip_reply *reply,
                                struct kyok_error *err);
/* The version spoken with the endpoint that was used last; 0 before any contact. */
unsigned kyok_kmip_client_version(struct kyok_kmip_client *client);

/* --- objects (client_objects.c) -------------------------------------------------------------- */

struct kyok_kmip_expectation { /* what the caller knows of an object; 0 or empty: anything */
    enum kyok_kmip_object_type object_type;
    enum kyok_kmip_cryptographic_algorithm algorithm;
    unsigned bits;
    uint32_t usage; /* bits that must be among the object's usage mask */
};

/* Get in the clear, as format (0: the server's choice). The key block's algorithm and length, and
 * the number of bytes of a raw symmetric key, must be consistent and as expected. */
enum kyok_status kyok_kmip_get(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                               enum kyok_kmip_key_format_type format,
                               const struct kyok_kmip_expectation *expected,
                               struct kyok_deadline deadline, struct kyok_kmip_reply *reply,
                               struct kyok_error *err);

/* What the server says of an object; an attribute that it did not return is 0 or empty. */
struct kyok_kmip_facts {
    enum kyok_kmip_object_type object_type;
    enum kyok_kmip_cryptographic_algorithm algorithm;
    unsigned bits;
    uint32_t usage;
    bool usage_known;
    enum kyok_kmip_state state;
    enum kyok_answer sensitive, always_sensitive, extractable, never_extractable;
    struct kyok_bytes name;                  /* the first */
    struct kyok_bytes public_key;            /* identifier from the Link attribute */
    struct kyok_bytes replacement, replaced; /* the same: of the next and the last version */
    int64_t activation, deactivation;        /* the server's dates; 0: none */
    /* kyok's own attributes: the newest word in x-kyok-state, how many there are, and of which key
     * this one is a descendant. */
    bool suspended;
    unsigned words;
    struct kyok_bytes parent;
};
/* Get Attributes; facts point into reply. Falls back to asking for everything when the server does
 * not know one of the attributes. Checked against expected. */
enum kyok_status kyok_kmip_get_facts(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                                     const struct kyok_kmip_expectation *expected,
                                     struct kyok_deadline deadline, struct kyok_kmip_reply *reply,
                                     struct kyok_kmip_facts *facts, struct kyok_error *err);
/* KYOK_OK for Active; else KYOK_REFUSED naming the state and the remedy. A server that does not
 * return the state is believed. */
enum kyok_status kyok_kmip_facts_usable(const struct kyok_kmip_facts *facts, const char *object,
                                        struct kyok_error *err);

/* Does this identity get the key out? Said by the attributes where they say it, else found out by a
 * Get whose answer is wiped at once; a key that is sensitive but extractable counts as coming out,
 * wrapped, unless it is the identity that is refused. KYOK_NOT_KNOWN when the server could not be
 * asked, or failed for a reason that denies nothing. */
enum kyok_answer kyok_kmip_may_get(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                                   const struct kyok_kmip_facts *facts,
                                   struct kyok_deadline deadline);

/* Appends identifiers, each NUL-terminated, to *found (at most limit; *more tells that there are
 * others). Pages where the server can (1.3). */
enum kyok_status kyok_kmip_locate(struct kyok_kmip_client *client,
                                  const struct kyok_kmip_attribute *attributes, size_t count,
                                  size_t limit, struct kyok_deadline deadline,
                                  struct kyok_buffer *found, size_t *found_count, bool *more,
                                  struct kyok_error *err);
/* The one object with a Name: KYOK_NOT_FOUND, or KYOK_AMBIGUOUS. The identifier is appended to *id
 * with a NUL. */
enum kyok_status kyok_kmip_locate_name(struct kyok_kmip_client *client, struct kyok_bytes name,
                                       enum kyok_kmip_object_type type,
                                       struct kyok_deadline deadline, struct kyok_buffer *id,
                                       struct kyok_error *err);

/* --- life (client_life.c) -------------------------------------------------------------------- */

/* Derive Key (4.6): bases are the key, then secret data that serves as derivation data, if any. */
struct kyok_kmip_derivation {
    const struct kyok_bytes *bases;
    size_t base_count;
    enum kyok_kmip_derivation_method method;
    struct kyok_kmip_derivation_parameters parameters;
};
struct kyok_kmip_creation {
    enum kyok_kmip_object_type object_type; /* symmetric key, or private key for a pair */
    enum kyok_kmip_cryptographic_algorithm algorithm;
    unsigned bits;
    int64_t activation, deactivation;       /* dates that the server is to keep; 0: none */
    enum kyok_kmip_recommended_curve curve; /* EC pairs */
    uint32_t usage;                         /* of the symmetric or private key */
    uint32_t public_usage;
    const char *name;                              /* NULL: one is made up */
    const struct kyok_kmip_object *object;         /* Register this instead of creating */
    const struct kyok_kmip_derivation *derivation; /* Derive Key instead: bits, a secret type */
};
struct kyok_kmip_created {
    char name[128];
    char identifier[256];
    char public_identifier[256]; /* pairs */
    bool found;                  /* the answer was lost, the object was found by its name */
};

/* Create, Create Key Pair, Register or Derive Key, once. Its name is checked to be free before.
 * When the answer is lost the object is looked up by its name and adopted; if it is not there the
 * call fails and says so: the server may still be at it, so nothing is created a second time. */
enum kyok_status kyok_kmip_create(struct kyok_kmip_client *client,
                                  const struct kyok_kmip_creation *creation,
                                  struct kyok_deadline deadline, struct kyok_kmip_created *created,
                                  struct kyok_error *err);
/* These repeat when the answer is lost; "already so" then counts as done. */
enum kyok_status kyok_kmip_activate(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                                    struct kyok_deadline deadline, struct kyok_error *err);
enum kyok_status kyok_kmip_revoke(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                                  enum kyok_kmip_revocation_reason_code reason, const char *message,
                                  struct kyok_deadline deadline, struct kyok_error *err);
enum kyok_status kyok_kmip_destroy(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                                   struct kyok_deadline deadline, struct kyok_error *err);

/* --- attributes and versions (client_attribute.c) -------------------------------------------- */

#define KYOK_KMIP_STATE_WORD "x-kyok-state"
#define KYOK_KMIP_PARENT "x-kyok-parent"

/* One more value of an attribute. */
enum kyok_status kyok_kmip_add_attribute(struct kyok_kmip_client *client,
                                         struct kyok_bytes identifier,
                                         const struct kyok_kmip_attribute *attribute,
                                         struct kyok_deadline deadline, struct kyok_error *err);
/* Its only value: Modify Attribute, or Add Attribute where the server has no such value or no such
 * operation. */
enum kyok_status kyok_kmip_put_attribute(struct kyok_kmip_client *client,
                                         struct kyok_bytes identifier,
                                         const struct kyok_kmip_attribute *attribute,
                                         struct kyok_deadline deadline, struct kyok_error *err);
/* A new version of a symmetric key, which takes over its Name (4.4). KYOK_UNSUPPORTED where the
 * server has no Re-key. replacement: appended with a NUL. */
enum kyok_status kyok_kmip_re_key(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                                  struct kyok_deadline deadline, struct kyok_buffer *replacement,
                                  struct kyok_error *err);

/* --- cryptography at the server (client_crypto.c) -------------------------------------------- */

/* True while it is not known that every endpoint in use signs digests: then pass the data as well.
 */
bool kyok_kmip_wants_data(struct kyok_kmip_client *client);
/* Finds out, where that is not known, with a signature by a key that does not exist: a server that
 * cannot read Digested Data says so before it looks for the key. */
void kyok_kmip_learn_digests(struct kyok_kmip_client *client, struct kyok_deadline deadline);
/* The digest where the server takes one (1.4), else the data. The signature is as the server gives
 * it. */
enum kyok_status kyok_kmip_sign(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                                const struct kyok_sign_request *request,
                                struct kyok_deadline deadline, struct kyok_kmip_reply *reply,
                                struct kyok_error *err);
/* AES-GCM (the caller's iv, or the server's where iv_size is 0), RSA decryption (PKCS#1 v1.5,
 * OAEP). reply->item->payload.cipher is the answer. */
enum kyok_status kyok_kmip_encrypt(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                                   const struct kyok_cipher_request *request,
                                   struct kyok_deadline deadline, struct kyok_kmip_reply *reply,
                                   struct kyok_error *err);
enum kyok_status kyok_kmip_decrypt(struct kyok_kmip_client *client, struct kyok_bytes identifier,
                                   const struct kyok_cipher_request *request,
                                   struct kyok_deadline deadline, struct kyok_kmip_reply *reply,
                                   struct kyok_error *err);

/* --- endpoints (client_ping.c) --------------------------------------------------------------- */

struct kyok_kmip_endpoint_report {
    const char *url;
    enum kyok_status status; /* of reaching it and being let in */
    const struct kyok_error *error;
    double handshake_ms, latency_ms; /* connection with TLS; one request */
    const char *tls, *cipher;
    const char *server_certificate, *identity; /* subjects */
    unsigned version;                          /* negotiated */
    const unsigned *versions;                  /* all that it offers and kyok knows */
    size_t version_count;
    const struct kyok_kmip_query_response *query; /* NULL: the server answers no Query */
};
typedef void kyok_kmip_endpoint_visitor(void *caller,
                                        const struct kyok_kmip_endpoint_report *report);
/* Contacts every endpoint on a new connection, one after the other, each under the group's timeout.
 */
enum kyok_status kyok_kmip_ping(struct kyok_kmip_client *client, kyok_kmip_endpoint_visitor *visit,
                                void *caller, struct kyok_error *err);

struct kyok_kmip_endpoint_figures {
    const char *url;
    const char *state; /* "unused", "healthy", "down" */
    uint64_t operations, failures, timeouts, failovers, in_flight, connections, opened;
    uint64_t latency[16], took_ns;
};
typedef void kyok_kmip_figures_visitor(void *caller,
                                       const struct kyok_kmip_endpoint_figures *figures);
void kyok_kmip_figures(struct kyok_kmip_client *client, kyok_kmip_figures_visitor *visit,
                       void *caller);

#endif
