/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How old a mark in HOOK_RUN is. A mark's time is the time since the host started: the clock may be
 * set while a host starts up, and that makes no mark old. It never tells anybody a date.
 */
#ifndef KYOK_HOOK_AGE_H
#define KYOK_HOOK_AGE_H

#include <sys/stat.h>
#include <time.h>

static inline int mark_stamp(int fd)
{
    struct timespec times[2];
    clock_gettime(CLOCK_BOOTTIME, &times[0]);
    times[1] = times[0];
    return futimens(fd, times);
}

/* Seconds. A time that is still to come, counted so, is one of the clock. */
static inline long mark_age(const struct stat *status)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (long)((status->st_mtime > now.tv_sec ? time(NULL) : now.tv_sec) - status->st_mtime);
}

#endif
