/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key: one interface over both custodians (PKCS#11 token groups, KMIP server groups): find, open,
 * check, sign, decrypt, derive, wrap. Plugins use this, envelope and work; never pkcs11 or kmip.
 */
#ifndef KYOK_KEY_H
#define KYOK_KEY_H

#include "common/base/base.h"
#include "common/config/config.h"

/* The custodians of one configuration. Reference-counted; keys hold it. Thread-safe, survives fork.
 */
struct kyok_context;

/* Takes config. Contacts nothing. */
enum kyok_status kyok_context_new(struct kyok_config *config, struct kyok_context **context,
                                  struct kyok_error *err);
void kyok_context_up_ref(struct kyok_context *context);
const struct kyok_config *kyok_context_config(const struct kyok_context *context);
void kyok_context_free(struct kyok_context *context);

/* A host program that configures kyok itself (nginx) gives its plugins one context, in place of the
 * kyok.conf that each would read. The host keeps its reference until it has set another or NULL,
 * and does so only while no other thread opens keys. A forked child inherits it. */
void kyok_context_set_host(struct kyok_context *context);
struct kyok_context *kyok_context_host(void);
/* Logs this process out of the tokens of a configuration that is no more in force, but for those
 * that the host's context has as well. They may hang: the caller waits until the deadline. */
void kyok_context_leave(struct kyok_context *context, struct kyok_deadline deadline);

struct kyok_key; /* a private or secret key; reference-counted, thread-safe, survives fork */

/* Opens a key. With public_key given (the PEM reference's third member) nothing is contacted until
 * first use, and then the halves are compared; else the custodian is asked now. require is checked
 * whenever the custodian is contacted, before any private operation. */
enum kyok_status kyok_key_open(struct kyok_context *context, const struct kyok_reference *reference,
                               struct kyok_bytes public_key, struct kyok_key **key,
                               struct kyok_error *err);
/* From now on kyok_key_open() keeps the keys of this process open, up to room of them (the least
 * recently used goes) for that many seconds each, so that opening one again contacts nothing. One
 * whose operation fails is let go. Not inherited by a forked child. room 0: off, as at first. */
void kyok_keys_keep(unsigned room, unsigned seconds);
/* Lets go of all of them now. */
void kyok_keys_forget(void);
void kyok_key_up_ref(struct kyok_key *key);
void kyok_key_free(struct kyok_key *key);
const struct kyok_key_info *kyok_key_info(const struct kyok_key *key);
/* Contacts the custodian now: present, require met, halves match on every reachable member. */
enum kyok_status kyok_key_check(struct kyok_key *key, struct kyok_error *err);

/* Every object that fits reference (object attributes may be absent: all of the group's). The
 * visitor returns false to stop. login: log in first, so that private objects are seen. */
typedef bool kyok_key_visitor(void *caller, const struct kyok_key_info *info);
enum kyok_status kyok_key_list(struct kyok_context *context, const struct kyok_reference *reference,
                               bool login, kyok_key_visitor *visit, void *caller,
                               struct kyok_error *err);

/* --- operations: inputs are copied, so a waiter may leave; outputs as each says ------------------
 */

/* True when this custodian can sign only whole messages (KMIP before 1.4): pass data, at most
 * KYOK_SIGN_DATA_MAX bytes. */
bool kyok_key_wants_data(const struct kyok_key *key);
#define KYOK_SIGN_DATA_MAX ((size_t)64 << 10)

/* *size: room in signature on entry, bytes written on return. kyok_key_signature_size() is enough.
 */
size_t kyok_key_signature_size(const struct kyok_key *key);
enum kyok_status kyok_key_sign(struct kyok_key *key, const struct kyok_sign_request *request,
                               uint8_t *signature, size_t *size, struct kyok_error *err);

/* Result in a secret of exactly its size. */
enum kyok_status kyok_key_decrypt(struct kyok_key *key, const struct kyok_cipher_request *request,
                                  struct kyok_secret **output, struct kyok_error *err);
/* AES schemes; ciphertext appended to output. iv and tag of *request are filled. */
enum kyok_status kyok_key_encrypt(struct kyok_key *key, struct kyok_cipher_request *request,
                                  struct kyok_buffer *output, struct kyok_error *err);
/* ECDH (cofactor-less) and X25519/X448: peer is the uncompressed point or the raw public value. */
enum kyok_status kyok_key_derive(struct kyok_key *key, struct kyok_bytes peer,
                                 struct kyok_secret **secret, struct kyok_error *err);
/* The key's own bytes: only from a KMIP group that says release = yes; else KYOK_REFUSED. For
 * secrets that a server keeps as such (a disk's passphrase); keys are better left where they are.
 */
enum kyok_status kyok_key_value(struct kyok_key *key, struct kyok_secret **value,
                                struct kyok_error *err);
enum kyok_status kyok_random(struct kyok_context *context, const char *group, uint8_t *data,
                             size_t size, struct kyok_error *err);

/* --- life: generation and destruction; more in lifecycle.h --------------------------------------
 */

/* In the custodian: sensitive, never extractable, private, on the token. The reference must name a
 * group (and for a group of several, a member) and an object label; an existing one is refused. */
enum kyok_status kyok_key_generate(struct kyok_context *context,
                                   const struct kyok_reference *reference,
                                   const struct kyok_generate_request *request,
                                   struct kyok_key **key, struct kyok_error *err);

/* Stores secret as Secret Data under the name of kmip://GROUP?name=NAME, in a group that says
 * release = yes, and activates it. KYOK_UNSUPPORTED: the server has no Register. */
enum kyok_status kyok_key_register_secret(struct kyok_context *context,
                                          const struct kyok_reference *reference,
                                          struct kyok_bytes secret, struct kyok_error *err);

/* --- figures for status pages --- */

typedef void kyok_figures_visitor(void *caller, const struct kyok_custodian_figures *figures);
void kyok_context_figures(struct kyok_context *context, kyok_figures_visitor *visit, void *caller);

/* True in a thread that is inside a PKCS#11 module's function. A module may use this process's
 * libcrypto, and must not be led back to kyok (SoftHSM would recurse for ever). */
bool kyok_inside_custodian(void);

#endif
