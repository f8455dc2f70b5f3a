/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to pkcs11/: the live state of one process. A module has one lock for all its tokens; it
 * is held for bookkeeping only, never over a C_* call.
 */
#ifndef KYOK_PKCS11_LIVE_H
#define KYOK_PKCS11_LIVE_H

#include "common/pkcs11/cryptoki.h"
#include "common/pkcs11/pkcs11.h"
#include "common/pkcs11/rv.h"

#include <pthread.h>
#include <signal.h>

#define KYOK_TOKENS_PER_MODULE 256
#define KYOK_MECHANISM_CACHE 16
#define KYOK_LATENCY_BUCKETS 16

/* A session object that stands for one of the token's keys (copy.c). */
struct kyok_key_copy {
    uint64_t epoch;
    uint64_t fingerprint;      /* of the key: another may be given the number of one destroyed */
    CK_OBJECT_HANDLE of;       /* the token's own */
    CK_OBJECT_HANDLE object;   /* 0: none was made yet */
    enum kyok_require require; /* what it was found to meet */
    int64_t seen_ns;           /* when the token's own key last began to sign here, and did */
    bool spent;                /* the token makes none that will do, or it has failed */
};
#define KYOK_SESSION_COPIES 8

struct kyok_session {
    CK_SESSION_HANDLE handle; /* 0: not opened yet */
    uint64_t epoch;           /* the token's when it was opened */
    int64_t since_ns;         /* leased at */
    int64_t denied_ns;        /* when the token took it but knew neither login nor object; 0: not */
    struct kyok_key_copy copies[KYOK_SESSION_COPIES];
    struct kyok_session *next, *previous;
};

/* A thread that waits for a session, in order of arrival. */
struct kyok_waiter {
    pthread_cond_t turn;
    int64_t since_ns;
    struct kyok_waiter *next;
};

enum kyok_login_state { KYOK_LOGGED_OUT, KYOK_LOGGING_IN, KYOK_LOGGED_IN };

/* One key on one token. */
enum kyok_found { KYOK_NOT_SOUGHT, KYOK_FOUND, KYOK_MISSING, KYOK_DIFFERENT };
struct kyok_handle {
    uint64_t key; /* kyok_group_key serial; 0: free slot */
    uint64_t epoch;
    CK_OBJECT_HANDLE handle;
    enum kyok_found found;
    int64_t retry_ns;       /* missing: not sought again before */
    unsigned misses;        /* in a row, each after its pause */
    struct kyok_error *why; /* missing or different: what to tell again */
};

enum kyok_health { KYOK_HEALTHY, KYOK_DOWN };

struct kyok_mechanism_answer {
    CK_MECHANISM_TYPE mechanism;
    uint64_t epoch;
    CK_FLAGS flags;
    bool known, present;
};

struct kyok_token {
    struct kyok_module *module;
    struct kyok_token *next;
    pthread_cond_t changed; /* a login or a renewal ended, a session was opened */

    char label[33], manufacturer[33], model[17], serial[17];
    char slot_description[65], slot_manufacturer[33];
    CK_SLOT_ID slot;
    CK_FLAGS flags;
    int64_t flags_ns; /* when the token told them */
    bool present;
    bool seen; /* in the scan that is going on */

    struct kyok_session *idle;               /* LIFO, linked by next */
    struct kyok_session *oldest, *newest;    /* leased, in order of lease */
    struct kyok_waiter *waiters;             /* the first of them */
    unsigned open, leased, limit, own_limit; /* limit 0: none. own_limit: the token's answer */
    int64_t full_until_ns;                   /* own_limit came from CKR_SESSION_COUNT */
    uint64_t epoch;                          /* sessions, login and handles die with it */
    enum kyok_login_state login;
    unsigned live;    /* sessions that the token has; with the last of them the login ends */
    unsigned opening; /* threads inside C_OpenSession */
    bool renewing;    /* none may begin: idle sessions of the last epoch are being closed */

    struct kyok_handle *handles; /* open addressing, power of two */
    size_t handle_count, handle_room;
    struct kyok_mechanism_answer mechanisms[KYOK_MECHANISM_CACHE];
    unsigned copying, searching; /* C_CopyObject under way; searches that wait for that (copy.c) */
    uint64_t copies;             /* begun */
    _Atomic bool unwrapped; /* some descendant, into a session object that may be there still */

    enum kyok_health health;
    int64_t retry_ns;
    unsigned backoff_ms;

    uint64_t operations, failures, timeouts, failovers, logins;
    uint64_t latency[KYOK_LATENCY_BUCKETS], took_ns;
};

enum kyok_module_state { KYOK_MODULE_COLD, KYOK_MODULE_STARTING, KYOK_MODULE_READY };

struct kyok_module {
    struct kyok_module *next;
    char *path;
    char *init_args;
    void *library;
    CK_FUNCTION_LIST *f;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum kyok_module_state state;
    bool ours;       /* kyok called C_Initialize, so kyok may finalise */
    bool restarting; /* waits for calls to reach 0; no new ones begin */
    bool leaving;    /* the process ends: no new ones begin */
    bool scanning;
    unsigned calls; /* threads inside the module */
    uint64_t epoch; /* of the last C_Initialize */
    int64_t scanned_ns;
    int64_t looked_anew_ns;
    CK_INFO info;
    struct kyok_token *tokens;
};

/* --- module.c ----------------------------------------------------------------------------------
 */

/* This process's module for a path (loaded, not initialised). */
enum kyok_status kyok_module_get(const char *path, const char *init_args,
                                 struct kyok_module **module, struct kyok_error *err);
/* path may be a bare name: of a file where p11-kit keeps modules. */
bool kyok_module_is_named(const struct kyok_module *module, const char *path);
/* Initialised, and its tokens known; scans again when again is set. */
enum kyok_status kyok_module_ready(struct kyok_module *module, bool again,
                                   struct kyok_deadline deadline, struct kyok_error *err);
/* The module rung: finalise and initialise, if kyok may, unless another thread did since epoch.
 * True when a new try makes sense. */
bool kyok_module_restart(struct kyok_module *module, const struct kyok_token *lost, uint64_t epoch,
                         struct kyok_deadline deadline);
/* The same for want of any token, once in KYOK_DISCOVER_NS at most; again: after a pause. */
bool kyok_module_look_anew(struct kyok_module *module, bool again, struct kyok_deadline deadline);

/* Around every stretch of C_* calls: no SIGPIPE from a remote module, no error left in libcrypto's
 * queue, re-entry visible. Counts into module->calls. */
struct kyok_guard {
    struct kyok_module *module;
    sigset_t before;
    bool blocked;
};
/* False when the deadline passed while the module was being restarted, or the process ends. */
bool kyok_module_enter(struct kyok_module *module, struct kyok_guard *guard,
                       struct kyok_deadline deadline);
void kyok_module_leave(struct kyok_guard *guard);

/* exit.c. To be called when a module has been loaded: exit() then waits for threads inside it. */
void kyok_module_await_exit(void);

/* Waits on a condition under module->lock; false when the deadline has passed. */
void kyok_condition_init(pthread_cond_t *condition);
bool kyok_module_wait(struct kyok_module *module, pthread_cond_t *condition,
                      struct kyok_deadline deadline);

/* --- token.c ------------------------------------------------------------------------------------
 */

struct kyok_token *kyok_token_new(struct kyok_module *module, const CK_TOKEN_INFO *info);
bool kyok_token_same(const struct kyok_token *token, const CK_TOKEN_INFO *info);
void kyok_token_update(struct kyok_token *token, CK_SLOT_ID slot, const CK_TOKEN_INFO *info,
                       const CK_SLOT_INFO *slot_info);
bool kyok_token_fits(const struct kyok_token *token, const struct kyok_reference *reference);
/* Under the lock, after C_Finalize: everything bound to the epoch is gone. */
void kyok_token_forget(struct kyok_token *token);
/* Under the lock, which it drops while it closes what idle sessions are left: the session rung,
 * once for all threads that saw the same epoch. */
void kyok_token_renew(struct kyok_token *token, uint64_t seen_epoch, struct kyok_deadline deadline);
/* Under the lock: a session or room for one has come free. */
void kyok_token_wake(struct kyok_token *token);
void kyok_token_down(struct kyok_token *token);
void kyok_token_up(struct kyok_token *token);
bool kyok_token_hung(const struct kyok_token *token, unsigned timeout_ms);
struct kyok_handle *kyok_token_handle(struct kyok_token *token, uint64_t key, bool add);
/* Text for messages: token "LABEL". Returns text. */
const char *kyok_token_text(const struct kyok_token *token, char *text, size_t size);

/* --- session.c --- */

struct kyok_group;
struct kyok_lease {
    struct kyok_token *token;
    struct kyok_session *session;
    CK_FUNCTION_LIST *f;
    CK_SESSION_HANDLE handle;
    uint64_t epoch, module_epoch;
    struct kyok_guard guard;
};
/* A session of the token, logged in if asked; the caller is inside the module until release. */
enum kyok_status kyok_session_lease(struct kyok_token *token, struct kyok_group *group, bool login,
                                    struct kyok_deadline deadline, struct kyok_lease *lease,
                                    CK_RV *rv, struct kyok_error *err);
/* rv: how the last call ended; a session that it spoiled is closed. */
void kyok_session_release(struct kyok_lease *lease, CK_RV rv);

/* --- login.c --- */

/* Called with the lock held and the lease's session open; drops and takes the lock. */
enum kyok_status kyok_token_login(struct kyok_lease *lease, struct kyok_group *group,
                                  struct kyok_deadline deadline, CK_RV *rv, struct kyok_error *err);
/* CKR_USER_NOT_LOGGED_IN when the session is a public one though the token wants a login: then "no
 * such object" is no answer. */
CK_RV kyok_session_sees_all(const struct kyok_lease *lease);
/* For CKA_ALWAYS_AUTHENTICATE, between Init and the operation. Where the PIN is at fault *err says
 * whose it was. */
CK_RV kyok_context_login(const struct kyok_lease *lease, struct kyok_group *group,
                         struct kyok_error *err);

/* --- group.c, call.c --- */

struct kyok_refused_pins;

struct kyok_group {
    const struct kyok_token_config *config;
    uint64_t serial;
    struct kyok_secret *pin; /* literal */
    struct kyok_refused_pins *refused;
    struct kyok_reference **uris;
    size_t uri_count;
    _Atomic(char **) searched; /* NULL-ended paths of p11-kit's modules, when config names none */
    kyok_group_background *background;
    void *background_host;
    _Atomic unsigned turn; /* spreads equal members */
};

struct kyok_group_key {
    uint64_t serial;
    struct kyok_group *group;
    struct kyok_reference *reference;
    enum kyok_object_type object; /* private or secret */
    enum kyok_key_type type;
    unsigned bits;
    uint8_t *public_key; /* SubjectPublicKeyInfo; NULL for a secret key */
    size_t public_key_size;
    uint64_t fingerprint; /* of the public half */
    bool has_check_value;
    uint8_t check_value[3];
    bool always_authenticate;
    /* PKCS#1 v1.5 implicit rejection: what only this key can make, once it has been asked. */
    _Atomic(struct kyok_secret *) rejection;
};

/* What one process knows of a group. */
struct kyok_live_group {
    struct kyok_live_group *next;
    uint64_t group; /* serial */
    pthread_mutex_t lock;
    struct kyok_token **members;
    size_t member_count;
    int64_t discovered_ns; /* also: not again before a second has passed */
    int64_t afresh_ns;     /* when modules were last started again for want of any member */
    bool probing;
};

struct kyok_live_group *kyok_group_live(struct kyok_group *group);
/* Looks for members; again: also when some are known (throttled). */
enum kyok_status kyok_group_discover(struct kyok_group *group, bool again,
                                     struct kyok_deadline deadline, struct kyok_error *err);
/* Starts the group's modules again after a pause, where kyok may: false when none was. */
bool kyok_group_look_anew(struct kyok_group *group, struct kyok_deadline deadline);
#define KYOK_LOOKS 6 /* for a token that another process may be writing */
/* The member URI that a token joined by; NULL for a group without URIs. */
const struct kyok_reference *kyok_group_uri_of(const struct kyok_group *group,
                                               const struct kyok_token *token);
/* Copies the members known, at most room; only those that fit the reference (NULL: all) where the
 * group is not defined by URIs, so that its tokens are no replicas. */
size_t kyok_group_members(struct kyok_group *group, const struct kyok_reference *reference,
                          struct kyok_token **members, size_t room);
/* False when every member of a group defined by URIs is known and reference's token attributes fit
 * none of them: it means another token. */
bool kyok_group_may_hold(struct kyok_group *group, const struct kyok_reference *reference);
/* Some member is away or not found yet: look after them, beside the callers if possible. */
void kyok_group_look_after(struct kyok_group *group);
#define KYOK_GROUP_MEMBERS 16
#define KYOK_DISCOVER_NS INT64_C(1000000000) /* at least between two looks */

/* One try on one leased session. object is 0 when the call named no key. */
struct kyok_call {
    const struct kyok_lease *lease;
    struct kyok_group *group;
    const struct kyok_group_key *key;
    CK_OBJECT_HANDLE object;
};

/* Returns the CK_RV of the C_* call that failed, and may fill *err for failures that are no CK_RV
 * (then it returns CKR_OK with err->status set). */
typedef CK_RV kyok_attempt(const struct kyok_call *call, void *arg, struct kyok_error *err);

struct kyok_plan {
    const char *verb; /* "sign", for messages */
    kyok_attempt *attempt;
    void *arg;
    /* Restricts the members of a group without URIs when key is NULL; may be NULL. */
    const struct kyok_reference *reference;
    bool login;
    bool write;      /* not repeated on another member, nor after a loss in mid-call */
    bool ask_all;    /* "no such object" on one member sends the call to the next */
    bool one_member; /* exactly one member must fit the reference's token attributes */
};
/* On one token, climbing the rungs of recovery once each. key may be NULL. *next_member: another
 * member may do better. */
enum kyok_status kyok_token_call(struct kyok_token *token, struct kyok_group *group,
                                 const struct kyok_group_key *key, const struct kyok_plan *plan,
                                 struct kyok_deadline deadline, bool *next_member,
                                 struct kyok_error *err);
/* True, with *err, when nobody waits any more: asked before a step that cannot be taken back, since
 * a caller may have been released while a call before it hung. */
bool kyok_call_is_late(struct kyok_deadline deadline, const char *verb, const char *object,
                       struct kyok_error *err);
/* On the least busy healthy member, failing over within the call. */
enum kyok_status kyok_group_call(struct kyok_group *group, const struct kyok_group_key *key,
                                 const struct kyok_plan *plan, struct kyok_deadline deadline,
                                 struct kyok_error *err);
/* That the lease's token holds key as object: sought, checked and found the same. */
void kyok_token_remember(const struct kyok_lease *lease, const struct kyok_group_key *key,
                         CK_OBJECT_HANDLE object);
/* C_GetMechanismInfo, remembered per epoch. flags: all of these must be offered. */
bool kyok_token_can(const struct kyok_lease *lease, CK_MECHANISM_TYPE mechanism, CK_FLAGS flags);

/* --- copy.c: [token] cache-keys. What follows belongs to whoever holds the lease. --- */

/* The session's copy that may stand for the call's key now; 0: none. */
CK_OBJECT_HANDLE kyok_copy_of(const struct kyok_call *call);
/* The copy has failed, and is not used again. */
void kyok_copy_spent(const struct kyok_call *call);
/* How the token's own key has done since: a copy is made of one that signs often, and trusted
 * again; none stands for a key that fails. */
void kyok_copy_learn(const struct kyok_call *call, CK_RV rv, int64_t since_ns);
/* SoftHSM shows a copy as the token's own while it makes it [2.6.1]. What to give to the second;
 * whether none was in the making since then; and none is until the fourth. */
uint64_t kyok_copies_begun(struct kyok_token *token);
bool kyok_copies_none_since(struct kyok_token *token, uint64_t begun);
void kyok_copies_stop(struct kyok_token *token);
void kyok_copies_go_on(struct kyok_token *token);

/* --- object.c, facts.c --- */

struct kyok_facts { /* attributes of one object; size 0 or known false where the token has none */
    CK_OBJECT_CLASS object_class;
    CK_KEY_TYPE key_type;
    CK_CERTIFICATE_TYPE certificate_type;
    CK_ULONG value_size; /* CKA_VALUE_LEN */
    uint8_t label[256], id[256], modulus[2048], exponent[64], parameters[64], point[256],
        info[3072], check_value[8];
    size_t label_size, id_size, modulus_size, exponent_size, parameters_size, point_size, info_size,
        check_value_size;
    enum kyok_answer sensitive, always_sensitive, never_extractable, extractable, local, sign,
        decrypt, derive, wrap, unwrap, encrypt, always_authenticate;
};
CK_RV kyok_facts_read(const struct kyok_lease *lease, CK_OBJECT_HANDLE object,
                      struct kyok_facts *facts);
enum kyok_key_type kyok_facts_type(const struct kyok_facts *facts, unsigned *bits);
/* The public half from the facts of a key of either class; false when they do not hold it. */
bool kyok_facts_public_key(const struct kyok_facts *facts, struct kyok_buffer *spki);
/* Facts as the key layer tells them. spki may be empty. */
enum kyok_status kyok_facts_info(const struct kyok_facts *facts, const struct kyok_token *token,
                                 const char *group, struct kyok_bytes spki,
                                 struct kyok_key_info *info, struct kyok_error *err);
enum kyok_status kyok_facts_require(const struct kyok_facts *facts, enum kyok_require require,
                                    const char *object, struct kyok_error *err);

#define KYOK_OBJECTS_MAX 4096
/* The same, where finding nothing is believed only of a session that is logged in: another thread's
 * login may come between. */
CK_RV kyok_objects_find_surely(const struct kyok_lease *lease, CK_OBJECT_CLASS object_class,
                               const struct kyok_reference *reference, CK_OBJECT_HANDLE found[2],
                               size_t *count);
/* Handles of the token's own objects that fit object_class (CK_UNAVAILABLE_INFORMATION: any), label
 * and id (NULL: any). */
CK_RV kyok_objects_find(const struct kyok_lease *lease, CK_OBJECT_CLASS object_class,
                        const char *label, const uint8_t *id, size_t id_size,
                        CK_OBJECT_HANDLE *found, size_t room, size_t *count);
/* The public half of a private key: its own attributes, else the public key or certificate object
 * with the same id. */
CK_RV kyok_object_public_key(const struct kyok_lease *lease, const struct kyok_facts *facts,
                             struct kyok_buffer *spki);
/* Finds key on the lease's token, checks require and that it is the same key. */
CK_RV kyok_key_resolve(const struct kyok_lease *lease, const struct kyok_group_key *key,
                       CK_OBJECT_HANDLE *object, enum kyok_found *found, struct kyok_error *err);
/* The part after it was found: whether object is the key, and meets require. */
CK_RV kyok_key_verify(const struct kyok_lease *lease, const struct kyok_group_key *key,
                      CK_OBJECT_HANDLE object, enum kyok_require require, struct kyok_error *err);
/* Value of CKA_VALUE of up to limit bytes, appended. */
CK_RV kyok_object_value(const struct kyok_lease *lease, CK_OBJECT_HANDLE object, size_t limit,
                        struct kyok_buffer *value);

/* --- capability.c --- */

/* Refuses, with the alternative, a key that no mechanism of the lease's token can use. */
enum kyok_status kyok_key_usable(const struct kyok_lease *lease, enum kyok_key_type type,
                                 const char *object, struct kyok_error *err);
/* What to do instead where a token lacks the scheme's mechanism. */
const char *kyok_sign_alternative(enum kyok_sign_scheme scheme);
const char *kyok_cipher_alternative(enum kyok_cipher_scheme scheme);

#endif
