/* SPDX-License-Identifier: Apache-2.0 */
/* Between the client_*.c files only. */
#ifndef KYOK_KMIP_CLIENT_CALL_H
#define KYOK_KMIP_CLIENT_CALL_H

#include "common/kmip/client_live.h"
#include "common/kmip/kmip.h"

/* --- client.c: the handle -------------------------------------------------------------------- */

/* This process's state behind the handle. */
enum kyok_status kyok_kmip_client_live(struct kyok_kmip_client *client,
                                       struct kyok_kmip_live **live, struct kyok_error *err);

/* --- client_rules.c: what is known of each operation ----------------------------------------- */

/* Where a call may go, and whether it may be sent again when its answer was lost. */
struct kyok_kmip_rule {
    enum kyok_kmip_operation operation;
    enum kyok_kmip_access access;
    bool repeatable;
    const char *name;
};
const struct kyok_kmip_rule *kyok_kmip_rule(enum kyok_kmip_operation operation);
/* The answer is one item, in a version and about an operation and object that were asked for. */
enum kyok_status kyok_kmip_check_answer(const struct kyok_kmip_request_item *asked,
                                        const struct kyok_kmip_reply *reply,
                                        struct kyok_error *err);

/* --- client_exchange.c: one request and its answer on one connection ------------------------- */

enum kyok_kmip_progress {
    KYOK_KMIP_NOT_SENT,  /* nothing reached the network, or nothing was to be sent */
    KYOK_KMIP_SENT,      /* some of the request may have been read by the server */
    KYOK_KMIP_ANSWERING, /* some of the answer arrived */
    KYOK_KMIP_ANSWERED,  /* a whole, well-formed answer to this request, whatever it says */
};

/* KYOK_OK means ANSWERED; the item's own result is not looked at. */
enum kyok_status kyok_kmip_exchange(struct kyok_kmip_connection *connection, unsigned version,
                                    const struct kyok_kmip_request_item *item,
                                    struct kyok_deadline deadline, struct kyok_kmip_reply *reply,
                                    enum kyok_kmip_progress *progress, struct kyok_error *err);

/* --- client_negotiate.c ---------------------------------------------------------------------- */

#define KYOK_KMIP_VERSIONS 7
/* A connection on which *version may be spoken: the endpoint's remembered one, else it is asked. */
enum kyok_status kyok_kmip_connect(struct kyok_kmip_endpoint *endpoint,
                                   struct kyok_deadline deadline,
                                   struct kyok_kmip_connection **connection,
                                   struct kyok_error *err);
/* The best of versions for this group: the highest up to 1.4, unless the section's version allows,
 * or the server has, only others. 0: none in common. */
unsigned kyok_kmip_choose_version(const unsigned *versions, size_t count, unsigned limit);
/* The section's "version" (14) as KYOK_KMIP_1_4; 0: no limit. */
unsigned kyok_kmip_version_limit(const struct kyok_kmip_config *config);
/* The versions in an answer to Discover Versions that kyok knows. */
size_t kyok_kmip_known_versions(const struct kyok_kmip_versions *answer,
                                unsigned versions[KYOK_KMIP_VERSIONS]);

/* Puts "Operation: " before err->what. Returns err->status. */
enum kyok_status kyok_kmip_name_operation(struct kyok_error *err, const char *operation);

#endif
