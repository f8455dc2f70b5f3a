/* SPDX-License-Identifier: Apache-2.0 */
/* Deadlines on CLOCK_MONOTONIC. Every wait that kyok controls has one. */
#ifndef KYOK_BASE_DEADLINE_H
#define KYOK_BASE_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct kyok_deadline {
    int64_t at_ns; /* INT64_MAX: never */
};

int64_t kyok_now_ns(void);
struct kyok_deadline kyok_deadline_in_ms(int64_t ms);
struct kyok_deadline kyok_deadline_never(void);
struct kyok_deadline kyok_deadline_sooner(struct kyok_deadline a, struct kyok_deadline b);
bool kyok_deadline_is_never(struct kyok_deadline deadline);
bool kyok_deadline_passed(struct kyok_deadline deadline);
/* Milliseconds left, rounded up, 0 when passed, at most INT_MAX; -1 for never (fits poll()). */
int kyok_deadline_left_ms(struct kyok_deadline deadline);
struct timespec kyok_deadline_timespec(struct kyok_deadline deadline);

#endif
