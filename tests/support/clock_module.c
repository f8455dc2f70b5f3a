/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded: the clock shows CLOCK_TIME, and adjtimex answers CLOCK_STATE. */
#include <stdlib.h>
#include <sys/timex.h>
#include <time.h>

static long long told(const char *name)
{
    const char *value = getenv(name);
    return value == NULL ? 0 : atoll(value);
}

time_t time(time_t *where)
{
    time_t now = (time_t)told("CLOCK_TIME");
    if (where != NULL)
        *where = now;
    return now;
}

int adjtimex(struct timex *state)
{
    (void)state;
    return (int)told("CLOCK_STATE");
}
