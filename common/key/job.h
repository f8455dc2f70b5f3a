/* SPDX-License-Identifier: Apache-2.0 */
/* Private to key/: how every operation is run. */
#ifndef KYOK_KEY_JOB_H
#define KYOK_KEY_JOB_H

#include "common/key/context.h"

/* True when the caller must go through a job: it can be suspended here, or the group is isolated.
 * Otherwise it calls the custodian itself, on its own memory. */
bool kyok_key_needs_job(const struct kyok_custodian *custodian);
/* A job of this type for the custodian, or NULL and *err. */
struct kyok_job *kyok_key_job_new(const struct kyok_job_type *type, struct kyok_error *err);
/* Runs it under the deadline. On success the body may be read until kyok_job_free(). */
enum kyok_status kyok_key_job_run(struct kyok_job *job, const struct kyok_custodian *custodian,
                                  const char *object, struct kyok_deadline deadline,
                                  struct kyok_error *err);
/* A copy that the job owns; size 0 gives an empty view. False: no memory. */
bool kyok_key_job_copy(struct kyok_bytes from, struct kyok_bytes *copy);
/* Wipes and frees such a copy. */
void kyok_key_job_drop(struct kyok_bytes *copy);

/* Counts one signature, and tells the sum as one event a minute (end: what is left now). */
void kyok_key_tally(struct kyok_key *key, enum kyok_status status);
void kyok_key_tally_end(struct kyok_key *key);

void kyok_job_auto_free(struct kyok_job **job);

#endif
