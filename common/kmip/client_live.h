/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live state of one [kmip] group in this process: trust and identity, endpoints and their
 * health, idle connections. Shared by all contexts that name the same servers and files; a forked
 * child makes its own. Private to common/kmip.
 */
#ifndef KYOK_KMIP_CLIENT_LIVE_H
#define KYOK_KMIP_CLIENT_LIVE_H

#include "common/kmip/tls.h"

#include <pthread.h>
#include <stdatomic.h>

#define KYOK_KMIP_IDLE_SECONDS 60 /* an idle connection is not used after that */
/* Nor any after this: certificates end and are withdrawn, and only a handshake looks at them. */
#define KYOK_KMIP_LIFE_SECONDS 300
/* A lost endpoint is tried again, then less and less often; while another is healthy, a call gives
 * the trial as long as the endpoint was left alone. */
#define KYOK_KMIP_FIRST_RETRY_MS 500
#define KYOK_KMIP_LAST_RETRY_MS 15000
#define KYOK_KMIP_FILE_CHECK_MS 2000  /* how often certificate files are looked at */
#define KYOK_KMIP_MAX_DESCRIPTORS 512 /* closed in a forked child; more are merely inherited */
#define KYOK_KMIP_BUCKETS 16
#define KYOK_KMIP_MAX_ENDPOINTS 16 /* servers of one group */

struct kyok_kmip_endpoint;

/* A socket of this process. The inode tells it from whatever a forked child may have opened under
 * the same number since, after closing all that it inherited as daemons do. */
struct kyok_kmip_descriptor {
    atomic_int fd; /* -1: free; -2: being filled */
    ino_t inode;
};

/* A connection belongs to one thread while leased. */
struct kyok_kmip_connection {
    struct kyok_kmip_endpoint *endpoint;
    struct kyok_tls_stream *stream;
    const struct kyok_tls *tls;        /* what it was opened with (the stream holds it) */
    struct kyok_kmip_connection *next; /* idle list */
    int64_t opened_ns, idle_since_ns;
    unsigned version;  /* spoken on this connection */
    uint64_t sequence; /* of requests: the batch id */
    bool reused;       /* has served an exchange before this lease */
    int slot;          /* in descriptors, or -1 */
};

/* Whether an endpoint signs Digested Data; learnt by trying. */
enum kyok_kmip_digests { KYOK_KMIP_DIGESTS_UNKNOWN, KYOK_KMIP_DIGESTS, KYOK_KMIP_NO_DIGESTS };

enum kyok_kmip_health { KYOK_KMIP_UNUSED, KYOK_KMIP_HEALTHY, KYOK_KMIP_DOWN };

struct kyok_kmip_endpoint {
    struct kyok_tls_peer peer;
    struct kyok_kmip_live *live;
    atomic_uint version; /* major * 10 + minor as negotiated, 0: not yet */
    atomic_uint digests; /* enum kyok_kmip_digests */
    atomic_uint in_flight;
    atomic_uint connections; /* open ones, idle or leased */

    /* under live->lock */
    enum kyok_kmip_health health;
    unsigned failures; /* in a row */
    int64_t retry_at_ns;
    bool on_trial; /* one caller is finding out whether it is back */
    struct kyok_kmip_connection *idle;

    /* figures */
    atomic_ullong operations, failed, timeouts, failovers, opened;
    atomic_ullong latency[KYOK_KMIP_BUCKETS], took_ns;
};

struct kyok_kmip_live {
    struct kyok_kmip_live *next;
    uint64_t generation;            /* of the process that made it */
    struct kyok_kmip_config config; /* a copy of its own */
    pthread_mutex_t lock;           /* never held over a wait */
    pthread_cond_t tls_made;
    struct kyok_tls *tls;
    bool making_tls;
    int64_t files_checked_ns;
    struct kyok_kmip_descriptor descriptors[KYOK_KMIP_MAX_DESCRIPTORS];
    size_t endpoint_count;
    struct kyok_kmip_endpoint endpoints[];
};

/* --- client_live.c --------------------------------------------------------------------------- */

/* This process's state for the group; made on first use. */
enum kyok_status kyok_kmip_live_find(const struct kyok_kmip_config *config,
                                     struct kyok_kmip_live **live, struct kyok_error *err);
/* In a forked child: closes the parent's sockets, which the child must not use. */
void kyok_kmip_live_abandon(struct kyok_kmip_live *live);
/* The present trust and identity, with a reference; made, or renewed when files changed. */
enum kyok_status kyok_kmip_live_tls(struct kyok_kmip_live *live, struct kyok_deadline deadline,
                                    struct kyok_tls **tls, struct kyok_error *err);

/* Looks whether files changed, if it is time to; idle connections of before are closed then. */
void kyok_kmip_live_refresh(struct kyok_kmip_live *live);

/* --- client_pool.c --------------------------------------------------------------------------- */

/* An idle connection that is still open, else NULL. */
struct kyok_kmip_connection *kyok_kmip_pool_take(struct kyok_kmip_endpoint *endpoint);
enum kyok_status kyok_kmip_pool_open(struct kyok_kmip_endpoint *endpoint,
                                     struct kyok_deadline deadline,
                                     struct kyok_kmip_connection **connection,
                                     struct kyok_error *err);
/* After a complete exchange: for the next caller. */
void kyok_kmip_pool_give(struct kyok_kmip_connection *connection);
/* After anything else. */
void kyok_kmip_pool_drop(struct kyok_kmip_connection *connection);
/* Closes the idle ones: their server is gone, or they were opened with replaced certificates. */
void kyok_kmip_pool_drain(struct kyok_kmip_endpoint *endpoint);

/* --- client_endpoint.c ----------------------------------------------------------------------- */

enum kyok_kmip_access { KYOK_KMIP_READ, KYOK_KMIP_WRITE };

/* The endpoints in the order in which a call should try them: reads to the least busy healthy one,
 * writes to the first healthy in the configuration's order, lost ones last. One whose time for
 * another try has come is put first and *trial_ms is what it may take, else 0; the caller must then
 * report on it. */
void kyok_kmip_endpoint_order(struct kyok_kmip_live *live, enum kyok_kmip_access access,
                              struct kyok_kmip_endpoint **order, int *trial_ms);
void kyok_kmip_endpoint_worked(struct kyok_kmip_endpoint *endpoint, int64_t began_ns);
/* The trial came to nothing for a reason of this side's. */
void kyok_kmip_endpoint_untried(struct kyok_kmip_endpoint *endpoint);
void kyok_kmip_endpoint_failed(struct kyok_kmip_endpoint *endpoint, const struct kyok_error *err);

#endif
