/* SPDX-License-Identifier: Apache-2.0 */
/* Policies: REF, all-of(P, ...), any-of(P, ...), nested; brought to an AND of ORs when sealed.
 * N-of(...) is reserved. Inside a policy a URI percent-encodes "," "(" and ")". */
#ifndef KYOK_CONFIG_POLICY_H
#define KYOK_CONFIG_POLICY_H

#include "common/config/reference.h"

/* One alternative: a reference. */
struct kyok_policy_clause {
    struct kyok_reference **alternatives; /* OR */
    size_t count;
};
/* The AND of the clauses. Bounded: KYOK_POLICY_MAX_DEPTH, _CLAUSES, _ALTERNATIVES. */
struct kyok_policy {
    struct kyok_policy_clause *clauses;
    size_t count;
};

#define KYOK_POLICY_MAX_DEPTH 8
#define KYOK_POLICY_MAX_CLAUSES 8
#define KYOK_POLICY_MAX_ALTERNATIVES 64

/* Parses, resolves [key] names, normalises (distributes any-of over all-of), drops duplicates. */
enum kyok_status kyok_policy_parse(const char *text, enum kyok_origin origin,
                                   const struct kyok_config *config, struct kyok_policy **policy,
                                   struct kyok_error *err);
void kyok_policy_free(struct kyok_policy *policy);

#endif
