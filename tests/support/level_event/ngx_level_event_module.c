
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * A level-triggered event method for tests, "use level;": what poll and
 * select are, which the distribution's nginx is built without.  It asks for
 * all connections each time, and is meant for few.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <poll.h>


static ngx_int_t ngx_level_init(ngx_cycle_t *cycle, ngx_msec_t timer);
static void ngx_level_done(ngx_cycle_t *cycle);
static ngx_int_t ngx_level_add_event(ngx_event_t *ev, ngx_int_t event,
    ngx_uint_t flags);
static ngx_int_t ngx_level_del_event(ngx_event_t *ev, ngx_int_t event,
    ngx_uint_t flags);
static ngx_int_t ngx_level_process_events(ngx_cycle_t *cycle, ngx_msec_t timer,
    ngx_uint_t flags);


static struct pollfd  *ngx_level_fds;
static ngx_uint_t     *ngx_level_numbers;


static ngx_str_t  ngx_level_name = ngx_string("level");

static ngx_event_module_t  ngx_level_event_module_ctx = {
    &ngx_level_name,
    NULL,                                  /* create configuration */
    NULL,                                  /* init configuration */

    {
        ngx_level_add_event,               /* add an event */
        ngx_level_del_event,               /* delete an event */
        ngx_level_add_event,               /* enable an event */
        ngx_level_del_event,               /* disable an event */
        NULL,                              /* add an connection */
        NULL,                              /* delete an connection */
        NULL,                              /* trigger a notify */
        ngx_level_process_events,          /* process the events */
        ngx_level_init,                    /* init the events */
        ngx_level_done                     /* done the events */
    }
};


static ngx_command_t  ngx_level_event_commands[] = {
      ngx_null_command
};


ngx_module_t  ngx_level_event_module = {
    NGX_MODULE_V1,
    &ngx_level_event_module_ctx,           /* module context */
    ngx_level_event_commands,              /* module directives */
    NGX_EVENT_MODULE,                      /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/* what nginx's configure would write: the test calls the compiler itself */

ngx_module_t  *ngx_modules[] = { &ngx_level_event_module, NULL };
char          *ngx_module_names[] = { "ngx_level_event_module", NULL };
char          *ngx_module_order[] = { NULL };


static ngx_int_t
ngx_level_init(ngx_cycle_t *cycle, ngx_msec_t timer)
{
    ngx_level_fds = ngx_calloc(sizeof(struct pollfd) * cycle->connection_n,
                               cycle->log);
    ngx_level_numbers = ngx_calloc(sizeof(ngx_uint_t) * cycle->connection_n,
                                   cycle->log);

    if (ngx_level_fds == NULL || ngx_level_numbers == NULL) {
        return NGX_ERROR;
    }

    ngx_io = ngx_os_io;
    ngx_event_actions = ngx_level_event_module_ctx.actions;
    ngx_event_flags = NGX_USE_LEVEL_EVENT|NGX_USE_FD_EVENT;

    return NGX_OK;
}


static void
ngx_level_done(ngx_cycle_t *cycle)
{
    ngx_free(ngx_level_fds);
    ngx_free(ngx_level_numbers);
}


static ngx_int_t
ngx_level_add_event(ngx_event_t *ev, ngx_int_t event, ngx_uint_t flags)
{
    ev->active = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_level_del_event(ngx_event_t *ev, ngx_int_t event, ngx_uint_t flags)
{
    ev->active = 0;

    return NGX_OK;
}


static void
ngx_level_post(ngx_event_t *ev)
{
    if (!ev->active) {
        return;
    }

    ev->ready = 1;

    if (ev->accept) {
        ngx_post_event(ev, &ngx_posted_accept_events);

    } else {
        ngx_post_event(ev, &ngx_posted_events);
    }
}


static ngx_int_t
ngx_level_process_events(ngx_cycle_t *cycle, ngx_msec_t timer,
    ngx_uint_t flags)
{
    int                n;
    short              events;
    ngx_uint_t         i, nfds;
    ngx_connection_t  *c;

    for (i = 0, nfds = 0; i < cycle->connection_n; i++) {
        c = &cycle->connections[i];

        if (c->fd == (ngx_socket_t) -1) {
            continue;
        }

        events = (c->read->active ? POLLIN : 0)
                 | (c->write->active ? POLLOUT : 0);

        if (events) {
            ngx_level_fds[nfds].fd = c->fd;
            ngx_level_fds[nfds].events = events;
            ngx_level_fds[nfds].revents = 0;
            ngx_level_numbers[nfds++] = i;
        }
    }

    n = poll(ngx_level_fds, nfds,
             timer == NGX_TIMER_INFINITE ? -1 : (int) timer);

    if (flags & NGX_UPDATE_TIME || ngx_event_timer_alarm) {
        ngx_time_update();
    }

    for (i = 0; n > 0 && i < nfds; i++) {
        c = &cycle->connections[ngx_level_numbers[i]];

        if (ngx_level_fds[i].revents & ~POLLOUT) {
            ngx_level_post(c->read);
        }

        if (ngx_level_fds[i].revents & ~POLLIN) {
            ngx_level_post(c->write);
        }
    }

    return NGX_OK;
}
