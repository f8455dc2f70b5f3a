/* SPDX-License-Identifier: Apache-2.0 */
/* Marks in HOOK_RUN: which VM needs which secret, while it starts or until it is locked. A mark is
 * an empty-named file SECRET-UUID.VM-UUID that holds the volume's UUID; all changes happen under
 * one lock. */
#ifndef KYOK_HOOK_MARKS_H
#define KYOK_HOOK_MARKS_H

#include "common/base/base.h"
#include "common/disk/uuid.h"

struct mark {
    char secret[KYOK_UUID_TEXT], vm[KYOK_UUID_TEXT];
};

/* Makes the folders and takes the lock; waits (the supervisor bounds it). -1 and *err on failure.
 */
int marks_lock(struct kyok_error *err);
void marks_unlock(int *lock);

enum kyok_status mark_make(const char *folder, const struct mark *mark, const char *volume,
                           struct kyok_error *err);
/* Remembers that the volume's record was opened now. */
void mark_opened(const char *volume);
void mark_drop(const char *folder, const struct mark *mark);
/* Does this mark exist, for this very volume? */
bool mark_is(const char *folder, const struct mark *mark, const char *volume);
/* Is any VM marked for this secret? */
bool mark_any(const char *folder, const char *secret);
/* Is this mark of the folder the only one for its secret, in both folders? */
bool mark_is_last(const char *folder, const struct mark *mark);

/* Calls visit for each mark that is older than seconds. */
typedef void mark_visitor(void *caller, const struct mark *mark);
void marks_each(const char *folder, long older_than, mark_visitor *visit, void *caller);

/* Starts the guard unless one stands; under the lock. */
void guard_ensure(void);

#endif
