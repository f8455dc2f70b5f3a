
/*
 * SPDX-License-Identifier: Apache-2.0
 */


#include "ngx_kyok.h"


static void *ngx_kyok_create_conf(ngx_cycle_t *cycle);
static char *ngx_kyok_init_conf(ngx_cycle_t *cycle, void *conf);
static char *ngx_kyok_check_timeout(ngx_conf_t *cf, void *post, void *data);
static ngx_int_t ngx_kyok_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_kyok_init_process(ngx_cycle_t *cycle);
static void ngx_kyok_exit_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_kyok_init_notices(ngx_cycle_t *cycle);
static void ngx_kyok_notice_handler(ngx_event_t *ev);
static void ngx_kyok_leave(void);


/* Keys opened in handshakes (by variable) stay open: so many, so long (s). */
#define NGX_KYOK_KEYS_KEPT       256
#define NGX_KYOK_KEYS_KEPT_FOR   60

/* For calls that run when a worker ends (ms): its master kills it soon. */
#define NGX_KYOK_END_PATIENCE    500

/* One day (ms). */
#define NGX_KYOK_TIMEOUT_MOST    86400000


static ngx_conf_num_bounds_t  ngx_kyok_threads_bounds = {
    ngx_conf_check_num_bounds, 1, 4096
};


static ngx_conf_num_bounds_t  ngx_kyok_max_inflight_bounds = {
    ngx_conf_check_num_bounds, 0, 1000000
};


static ngx_conf_post_t  ngx_kyok_timeout_post = { ngx_kyok_check_timeout };


static ngx_command_t  ngx_kyok_commands[] = {

    { ngx_string("kyok"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_kyok_conf_t, enable),
      NULL },

    { ngx_string("kyok_config"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_kyok_config,
      0,
      0,
      NULL },

    { ngx_string("kyok_timeout"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_kyok_conf_t, timeout),
      &ngx_kyok_timeout_post },

    { ngx_string("kyok_threads"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_kyok_conf_t, threads),
      &ngx_kyok_threads_bounds },

    { ngx_string("kyok_max_inflight"),
      NGX_MAIN_CONF|NGX_DIRECT_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_kyok_conf_t, max_inflight),
      &ngx_kyok_max_inflight_bounds },

      ngx_null_command
};


static ngx_core_module_t  ngx_kyok_module_ctx = {
    ngx_string("kyok"),
    ngx_kyok_create_conf,
    ngx_kyok_init_conf
};


ngx_module_t  ngx_kyok_module = {
    NGX_MODULE_V1,
    &ngx_kyok_module_ctx,                  /* module context */
    ngx_kyok_commands,                     /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_kyok_init_module,                  /* init module */
    ngx_kyok_init_process,                 /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_kyok_exit_process,                 /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_kyok_create_conf(ngx_cycle_t *cycle)
{
    ngx_kyok_conf_t            *kcf;
    struct kyok_work_settings   settings;

    /*
     * The master has but one thread, and keys are looked up before there are
     * workers: a custodian that hangs must fail the configuration in time.
     */

    ngx_memzero(&settings, sizeof(struct kyok_work_settings));

    settings.isolate = 1;

    kyok_work_configure(&settings);

    kcf = ngx_pcalloc(cycle->pool, sizeof(ngx_kyok_conf_t));
    if (kcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     kcf->config = { 0, NULL };
     *     kcf->host = NULL;
     */

    kcf->enable = NGX_CONF_UNSET;
    kcf->timeout = NGX_CONF_UNSET_MSEC;
    kcf->threads = NGX_CONF_UNSET;
    kcf->max_inflight = NGX_CONF_UNSET;

    if (ngx_kyok_ssl_init(cycle->log) != NGX_OK
        || ngx_kyok_keys_begin(cycle) != NGX_OK)
    {
        return NULL;
    }

    return kcf;
}


static char *
ngx_kyok_init_conf(ngx_cycle_t *cycle, void *conf)
{
    ngx_kyok_conf_t *kcf = conf;

    ngx_conf_init_value(kcf->enable, 1);
    ngx_conf_init_msec_value(kcf->timeout, 0);
    ngx_conf_init_value(kcf->threads, KYOK_WORK_THREADS);
    ngx_conf_init_value(kcf->max_inflight, 0);

    if (ngx_kyok_keys_gates(cycle->log) != NGX_OK
        || ngx_kyok_keys_check(cycle) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_kyok_check_timeout(ngx_conf_t *cf, void *post, void *data)
{
    ngx_msec_t *timeout = data;

    if (*timeout > NGX_KYOK_TIMEOUT_MOST) {
        return "value must be equal to or less than 1d";
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_kyok_init_module(ngx_cycle_t *cycle)
{
    ngx_kyok_conf_t  *kcf;

    kcf = (ngx_kyok_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_kyok_module);

    if (!ngx_test_config) {
        ngx_kyok_config_commit(kcf);
    }

    return NGX_OK;
}


/* Runs in each worker, and after it has given up its privileges. */

static ngx_int_t
ngx_kyok_init_process(ngx_cycle_t *cycle)
{
    ngx_kyok_conf_t            *kcf;
    struct kyok_work_settings   settings;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    kcf = (ngx_kyok_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_kyok_module);

    ngx_memzero(&settings, sizeof(struct kyok_work_settings));

    settings.threads = kcf->threads;
    settings.max_inflight = kcf->max_inflight;
    settings.timeout_ms = kcf->timeout;

    /* what cannot be suspended blocks, but no longer than its deadline */

    settings.isolate = kcf->enable;

    kyok_work_configure(&settings);
    kyok_keys_keep(NGX_KYOK_KEYS_KEPT, NGX_KYOK_KEYS_KEPT_FOR);

    ngx_kyok_log_init(cycle);

    if (ngx_kyok_init_notices(cycle) != NGX_OK) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "kyok: key operations block this worker");
        return NGX_OK;
    }

    ngx_kyok_keys_test(cycle);
    ngx_kyok_stats_init(cycle);

    if (!kcf->enable) {
        return NGX_OK;
    }

    if (ngx_kyok_hosts_init(cycle) != NGX_OK
        || ngx_kyok_listen_init(cycle) != NGX_OK)
    {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "kyok: key operations block this worker");
        return NGX_OK;
    }

    kyok_work_set_hook(&ngx_kyok_wait_hook);
    ngx_kyok_ssl_watch(1);

    return NGX_OK;
}


static void
ngx_kyok_exit_process(ngx_cycle_t *cycle)
{
    ngx_kyok_stats_exit();
    ngx_kyok_log_failures();

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return;
    }

    /* exit handlers registered last run first */

    if (!kyok_work_end(kyok_deadline_in_ms(NGX_KYOK_END_PATIENCE))
        && atexit(ngx_kyok_leave) != 0)
    {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, 0, "atexit() failed");
    }
}


/*
 * A thread is in a call of a PKCS#11 module: what other exit handlers and
 * destructors take apart may be what it uses.
 */

static void
ngx_kyok_leave(void)
{
    _exit(0);
}


/* One descriptor per worker tells of completed operations. */

static ngx_int_t
ngx_kyok_init_notices(ngx_cycle_t *cycle)
{
    int                 fd;
    char                text[1024];
    ngx_connection_t   *c;
    struct kyok_error   err;

    fd = kyok_work_fd(&err);

    if (fd == -1) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, 0, "kyok: %s",
                      kyok_error_text(&err, text, sizeof(text)));
        return NGX_ERROR;
    }

    c = ngx_get_connection(fd, cycle->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->pool = cycle->pool;

    c->read->log = cycle->log;
    c->write->log = cycle->log;

    /* a worker that shuts down leaves it alone */

    c->read->channel = 1;
    c->write->channel = 1;

    c->read->handler = ngx_kyok_notice_handler;

    if (ngx_add_event(c->read, NGX_READ_EVENT, 0) != NGX_OK) {
        ngx_free_connection(c);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_kyok_notice_handler(ngx_event_t *ev)
{
    ngx_kyok_hosts_completed();
    ngx_kyok_keys_tested(ev->log);
    ngx_kyok_log_flush();
}
