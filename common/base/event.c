/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/event.h"
#include "common/base/bytes.h"
#include "common/base/process.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/*
 * Events go out as one datagram to journald's native socket (systemd's documented journal
 * protocol), else to syslog's (RFC 3164 framing). $KYOK_EVENT_SOCKET names another datagram socket,
 * which gets the bare JSON; empty, events go nowhere. A socket lives for one event: a host may
 * close all its descriptors, and a journal may come, go and return.
 */
#define AUTHPRIV_NOTICE "<85>"

enum target { TO_NAMED, TO_JOURNAL, TO_SYSLOG, TARGETS };

static const struct {
    const char *path; /* NULL: from the environment */
    const char *head, *tail;
} targets[TARGETS] = {
    [TO_NAMED] = {NULL, "", ""},
    [TO_JOURNAL] = {"/run/systemd/journal/socket",
                    "SYSLOG_IDENTIFIER=kyok\nPRIORITY=5\nMESSAGE=", "\n"},
    [TO_SYSLOG] = {"/dev/log", AUTHPRIV_NOTICE "kyok: ", ""},
};

struct event_state {
    _Atomic uint64_t lost;
    _Atomic uint64_t untold; /* of them: not yet told by a later event */
};

static void *state_create(void)
{
    return calloc(1, sizeof(struct event_state));
}

static struct event_state *event_state(void)
{
    return kyok_process_state(KYOK_PROCESS_EVENT, state_create, free);
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (path == NULL || strlen(path) >= sizeof(address.sun_path))
        return -1;
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* The first that listens. */
static int connect_any(enum target *target)
{
    const char *named = secure_getenv("KYOK_EVENT_SOCKET");
    int fd = -1;

    if (named != NULL && named[0] == '\0')
        return -1;
    for (*target = TO_NAMED; *target < TARGETS; ++*target) {
        fd = connect_to(*target == TO_NAMED ? named : targets[*target].path);
        if (fd >= 0)
            break;
    }
    return fd;
}

static void put_text(json_t *object, const char *name, const char *value)
{
    /* json_string() refuses what is not UTF-8; such a value must not cost the whole event. */
    if (value != NULL && json_object_set_new(object, name, json_string(value)) != 0)
        json_object_set_new(object, name, json_string("(not UTF-8)"));
}

static char *event_json(const struct kyok_event *event, uint64_t lost)
{
    struct utsname host;
    struct timespec now;
    struct tm utc;
    char second[32], moment[48];
    json_t *object = json_object();
    char *text;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(second, sizeof(second), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(moment, sizeof(moment), "%s.%03dZ", second, (int)(now.tv_nsec / 1000000));
    put_text(object, "time", moment);
    put_text(object, "event", event->type);
    put_text(object, "host", uname(&host) == 0 ? host.nodename : NULL);
    json_object_set_new(object, "uid", json_integer((json_int_t)getuid()));
    json_object_set_new(object, "pid", json_integer((json_int_t)getpid()));
    put_text(object, "program", program_invocation_short_name);
    put_text(object, "key", event->key);
    put_text(object, "version", event->version);
    put_text(object, "custodian", event->custodian);
    put_text(object, "use", event->use);
    put_text(object, "owner", event->owner);
    put_text(object, "result", event->result);
    put_text(object, "detail", event->detail);
    if (event->count != 0)
        json_object_set_new(object, "count", json_integer((json_int_t)event->count));
    if (lost != 0)
        json_object_set_new(object, "lost", json_integer((json_int_t)lost));
    text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(object);
    return text;
}

static bool send_event(int fd, enum target target, const struct kyok_event *event, uint64_t lost)
{
    KYOK_AUTO_FREE char *json = event_json(event, lost);
    struct iovec parts[3];
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};

    if (json == NULL)
        return false;
    parts[0] = (struct iovec){(void *)targets[target].head, strlen(targets[target].head)};
    parts[1] = (struct iovec){json, strlen(json)};
    parts[2] = (struct iovec){(void *)targets[target].tail, strlen(targets[target].tail)};
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

void kyok_event_emit(const struct kyok_event *event)
{
    struct event_state *state = event_state();
    int saved = errno;
    enum target target;
    int fd = connect_any(&target);
    uint64_t untold = state != NULL ? atomic_exchange(&state->untold, 0) : 0;

    if ((fd < 0 || !send_event(fd, target, event, untold)) && state != NULL) {
        atomic_fetch_add(&state->lost, 1);
        atomic_fetch_add(&state->untold, untold + 1);
    }
    if (fd >= 0)
        close(fd);
    errno = saved;
}

uint64_t kyok_event_lost(void)
{
    struct event_state *state = event_state();

    return state == NULL ? 0 : atomic_load(&state->lost);
}
