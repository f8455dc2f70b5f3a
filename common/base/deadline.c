/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/deadline.h"

#include <limits.h>

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

int64_t kyok_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

struct kyok_deadline kyok_deadline_in_ms(int64_t ms)
{
    int64_t now = kyok_now_ns();

    if (ms > (INT64_MAX - now) / NS_PER_MS)
        return kyok_deadline_never();
    return (struct kyok_deadline){now + ms * NS_PER_MS};
}

struct kyok_deadline kyok_deadline_never(void)
{
    return (struct kyok_deadline){INT64_MAX};
}

struct kyok_deadline kyok_deadline_sooner(struct kyok_deadline a, struct kyok_deadline b)
{
    return a.at_ns < b.at_ns ? a : b;
}

bool kyok_deadline_is_never(struct kyok_deadline deadline)
{
    return deadline.at_ns == INT64_MAX;
}

bool kyok_deadline_passed(struct kyok_deadline deadline)
{
    return deadline.at_ns != INT64_MAX && kyok_now_ns() >= deadline.at_ns;
}

int kyok_deadline_left_ms(struct kyok_deadline deadline)
{
    int64_t left;

    if (deadline.at_ns == INT64_MAX)
        return -1;
    left = deadline.at_ns - kyok_now_ns();
    if (left <= 0)
        return 0;
    left = (left + NS_PER_MS - 1) / NS_PER_MS;
    return left > INT_MAX ? INT_MAX : (int)left;
}

struct timespec kyok_deadline_timespec(struct kyok_deadline deadline)
{
    return (struct timespec){.tv_sec = (time_t)(deadline.at_ns / NS_PER_S),
                             .tv_nsec = (long)(deadline.at_ns % NS_PER_S)};
}
