/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/event.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* Part of the process's identity, like its file descriptors: inherited by children on purpose. */
static _Atomic(kyok_log_sink *) sink;
static _Atomic(void *) sink_host;

void kyok_log_set_sink(kyok_log_sink *new_sink, void *host)
{
    atomic_store(&sink_host, host);
    atomic_store(&sink, new_sink);
}

void kyok_log(enum kyok_log_level level, const char *format, ...)
{
    kyok_log_sink *to = atomic_load(&sink);
    int saved = errno;
    char line[1024];
    va_list arguments;

    if (to == NULL && secure_getenv("KYOK_DEBUG") == NULL)
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (to != NULL)
        to(atomic_load(&sink_host), level, line);
    else
        fprintf(stderr, "kyok: %s\n", line);
    errno = saved;
}
