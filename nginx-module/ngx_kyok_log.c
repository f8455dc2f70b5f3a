
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Libkyok's diagnostics go to the error log.  Executor threads must not use
 * nginx's log: their lines wait for the main thread.
 */


#include "ngx_kyok.h"

#include <pthread.h>


#define NGX_KYOK_LOG_LINES  32
#define NGX_KYOK_LOG_SIZE   512


typedef struct {
    ngx_uint_t        level;
    char              text[NGX_KYOK_LOG_SIZE];
} ngx_kyok_line_t;


static void ngx_kyok_log_sink(void *host, enum kyok_log_level level,
    const char *line);
static ngx_uint_t ngx_kyok_log_level(enum kyok_log_level level);


static ngx_log_t        *ngx_kyok_log;
static pthread_t         ngx_kyok_log_thread;
static pthread_mutex_t   ngx_kyok_log_mutex = PTHREAD_MUTEX_INITIALIZER;
static ngx_kyok_line_t   ngx_kyok_lines[NGX_KYOK_LOG_LINES];
static ngx_uint_t        ngx_kyok_nlines;
static ngx_uint_t        ngx_kyok_lost_lines;
static int               ngx_kyok_log_notice;


void
ngx_kyok_log_init(ngx_cycle_t *cycle)
{
    struct kyok_error  ignored;

    ngx_kyok_log = cycle->log;
    ngx_kyok_log_thread = pthread_self();
    ngx_kyok_log_notice = kyok_work_fd(&ignored);

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
