/* SPDX-License-Identifier: Apache-2.0 */
/* Private to key/: the keys that kyok_keys_keep() has kyok_key_open() keep. */
#ifndef KYOK_KEY_KEPT_H
#define KYOK_KEY_KEPT_H

#include "common/key/job.h"

/* A reference to the kept key that was opened so, or NULL. half: as given to kyok_key_open(). */
struct kyok_key *kyok_key_kept(const struct kyok_context *context,
                               const struct kyok_reference *reference, struct kyok_bytes half);
void kyok_key_keep(struct kyok_key *key, struct kyok_bytes half);
/* An operation with it failed: the next opener asks the custodian. */
void kyok_key_forget(const struct kyok_key *key);

#endif
