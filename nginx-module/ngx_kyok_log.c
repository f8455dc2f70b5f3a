
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Libkyok's diagnostics go to the error log.  Executor threads must not use
 * nginx's log: their lines wait for the main thread.  And what nginx says of
 * each handshake that fails with a custodian is said once in a while: all of
 * them fail while it hangs, thousands in a second.
 */


#include "ngx_kyok.h"

#include <pthread.h>


#define NGX_KYOK_LOG_LINES  32
#define NGX_KYOK_LOG_SIZE   512

/* causes that are told apart, and how long one is not told again (ms) */
#define NGX_KYOK_CAUSES     16
#define NGX_KYOK_QUIET      5000


typedef struct {
    ngx_uint_t        level;
    char              text[NGX_KYOK_LOG_SIZE];
} ngx_kyok_line_t;


typedef struct {
    uint32_t          hash;
    ngx_msec_t        until;
} ngx_kyok_cause_t;


static void ngx_kyok_log_sink(void *host, enum kyok_log_level level,
    const char *line);
static ngx_uint_t ngx_kyok_log_level(enum kyok_log_level level);
static ngx_uint_t ngx_kyok_log_cause(uint32_t *hash);
static ngx_uint_t ngx_kyok_log_again(uint32_t hash);
static void ngx_kyok_quiet_handler(ngx_event_t *ev);


static ngx_log_t        *ngx_kyok_log;
static pthread_t         ngx_kyok_log_thread;
static pthread_mutex_t   ngx_kyok_log_mutex = PTHREAD_MUTEX_INITIALIZER;
static ngx_kyok_line_t   ngx_kyok_lines[NGX_KYOK_LOG_LINES];
static ngx_uint_t        ngx_kyok_nlines;
static ngx_uint_t        ngx_kyok_lost_lines;
static int               ngx_kyok_log_notice;

static ngx_kyok_cause_t  ngx_kyok_causes[NGX_KYOK_CAUSES];
static ngx_uint_t        ngx_kyok_next_cause;
static ngx_uint_t        ngx_kyok_untold;
static ngx_event_t       ngx_kyok_quiet;
static ngx_connection_t  ngx_kyok_quiet_dummy;


void
ngx_kyok_log_init(ngx_cycle_t *cycle)
{
    struct kyok_error  ignored;

    ngx_kyok_log = cycle->log;
    ngx_kyok_log_thread = pthread_self();
    ngx_kyok_log_notice = kyok_work_fd(&ignored);

    ngx_kyok_quiet_dummy.fd = (ngx_socket_t) -1;
    ngx_kyok_quiet.data = &ngx_kyok_quiet_dummy;
    ngx_kyok_quiet.log = cycle->log;
    ngx_kyok_quiet.handler = ngx_kyok_quiet_handler;
    ngx_kyok_quiet.cancelable = 1;

    kyok_log_set_sink(ngx_kyok_log_sink, NULL);
}


static void
ngx_kyok_log_sink(void *host, enum kyok_log_level level, const char *line)
{
    uint64_t    one;
    ngx_uint_t  lost;

    if (pthread_equal(pthread_self(), ngx_kyok_log_thread)) {
        ngx_log_error(ngx_kyok_log_level(level), ngx_kyok_log, 0,
                      "kyok: %s", line);
        return;
    }

    pthread_mutex_lock(&ngx_kyok_log_mutex);

    lost = (ngx_kyok_nlines == NGX_KYOK_LOG_LINES);

    if (lost) {
        ngx_kyok_lost_lines++;

    } else {
        ngx_kyok_lines[ngx_kyok_nlines].level = ngx_kyok_log_level(level);
        ngx_cpystrn((u_char *) ngx_kyok_lines[ngx_kyok_nlines].text,
                    (u_char *) line, NGX_KYOK_LOG_SIZE);
        ngx_kyok_nlines++;
    }

    pthread_mutex_unlock(&ngx_kyok_log_mutex);

    one = 1;

    if (!lost && ngx_kyok_log_notice != -1
        && write(ngx_kyok_log_notice, &one, sizeof(uint64_t)) == -1)
    {
        /* the lines wait for the next notice */
        return;
    }
}


static ngx_uint_t
ngx_kyok_log_level(enum kyok_log_level level)
{
    switch (level) {

    case KYOK_LOG_ERROR:
        return NGX_LOG_ERR;

    case KYOK_LOG_WARNING:
        return NGX_LOG_WARN;

    case KYOK_LOG_INFO:
        return NGX_LOG_INFO;

    default: /* KYOK_LOG_DEBUG */
        return NGX_LOG_DEBUG;
    }
}


void
ngx_kyok_log_flush(void)
{
    ngx_uint_t  i;

    pthread_mutex_lock(&ngx_kyok_log_mutex);

    for (i = 0; i < ngx_kyok_nlines; i++) {
        ngx_log_error(ngx_kyok_lines[i].level, ngx_kyok_log, 0, "kyok: %s",
                      ngx_kyok_lines[i].text);
    }

    if (ngx_kyok_lost_lines) {
        ngx_log_error(NGX_LOG_WARN, ngx_kyok_log, 0,
                      "kyok: %ui lines of threads were lost",
                      ngx_kyok_lost_lines);
    }

    ngx_kyok_nlines = 0;
    ngx_kyok_lost_lines = 0;

    pthread_mutex_unlock(&ngx_kyok_log_mutex);
}


/*
 * An accepted connection has a log of its own, which ends with it, as it does
 * now.
 */

void
ngx_kyok_log_failure(ngx_connection_t *c)
{
    uint32_t  hash;

    if (!ngx_kyok_log_cause(&hash)
        || c->log->log_level >= NGX_LOG_DEBUG
        || !ngx_kyok_log_again(hash))
    {
        return;
    }

    c->log->log_level = NGX_LOG_ALERT;

    ngx_kyok_untold++;

    if (!ngx_kyok_quiet.timer_set) {
        ngx_add_timer(&ngx_kyok_quiet, NGX_KYOK_QUIET);
    }
}


/* The provider's own error comes first, the handshake's behind it. */

static ngx_uint_t
ngx_kyok_log_cause(uint32_t *hash)
{
    int            flags;
    const char    *data, *library;
    unsigned long  code;

    code = ERR_peek_error_all(NULL, NULL, NULL, &data, &flags);

    if (code == 0) {
        return 0;
    }

    library = ERR_lib_error_string(code);

    if (library == NULL || ngx_strcmp(library, "kyok") != 0) {
        return 0;
    }

    *hash = (uint32_t) code;

    if (flags & ERR_TXT_STRING) {
        *hash ^= ngx_crc32_short((u_char *) data, ngx_strlen(data));
    }

    return 1;
}


static ngx_uint_t
ngx_kyok_log_again(uint32_t hash)
{
    ngx_uint_t         i;
    ngx_kyok_cause_t  *cause;

    for (i = 0; i < NGX_KYOK_CAUSES; i++) {
        cause = &ngx_kyok_causes[i];

        if (cause->hash == hash
            && (ngx_msec_int_t) (cause->until - ngx_current_msec) > 0)
        {
            return 1;
        }
    }

    cause = &ngx_kyok_causes[ngx_kyok_next_cause++ % NGX_KYOK_CAUSES];

    cause->hash = hash;
    cause->until = ngx_current_msec + NGX_KYOK_QUIET;

    return 0;
}


void
ngx_kyok_log_failures(void)
{
    if (ngx_kyok_untold) {
        ngx_log_error(NGX_LOG_ERR, ngx_kyok_log, 0,
                      "kyok: %ui more handshakes failed for these reasons",
                      ngx_kyok_untold);
        ngx_kyok_untold = 0;
    }
}


static void
ngx_kyok_quiet_handler(ngx_event_t *ev)
{
    ngx_kyok_log_failures();
}
