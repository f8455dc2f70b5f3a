/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Audit events and diagnostics. An event is one JSON object to journald (else syslog), never
 * blocking, losses counted; a log line goes to the sink that the host program registered.
 */
#ifndef KYOK_BASE_EVENT_H
#define KYOK_BASE_EVENT_H

#include "common/base/error.h"

#include <stdint.h>

/* All texts may be NULL and are then left out. No field may carry a secret. */
struct kyok_event {
    const char *type; /* login, create, state, destroy, open, refuse, failover, quarantine, ... */
    const char *key;  /* reference */
    const char *version;   /* exact key version, where there is one */
    const char *custodian; /* group and member or endpoint */
    const char *use;       /* envelope use */
    const char *owner;     /* envelope owner */
    const char *result;    /* kyok_status_name() */
    const char *detail;
    uint64_t count; /* for aggregates; 0 is left out */
};

/* Adds time, host, uid, program. Safe from any thread. */
void kyok_event_emit(const struct kyok_event *event);
/* Events that could not be handed over since the process began. */
uint64_t kyok_event_lost(void);

enum kyok_log_level { KYOK_LOG_ERROR, KYOK_LOG_WARNING, KYOK_LOG_INFO, KYOK_LOG_DEBUG };

/* The sink may be called from executor threads. NULL restores the default: silence, or standard
 * error when the environment has KYOK_DEBUG. */
typedef void kyok_log_sink(void *host, enum kyok_log_level level, const char *line);
void kyok_log_set_sink(kyok_log_sink *sink, void *host);
void kyok_log(enum kyok_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
