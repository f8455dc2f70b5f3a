/* SPDX-License-Identifier: Apache-2.0 */
/* Server URLs, name lookup under a deadline, and non-blocking TCP connections. */
#include "common/kmip/client_process.h"
#include "common/kmip/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- URLs ------------------------------------------------------------------------------------ */

static bool copy_part(char *to, size_t room, const char *from, size_t size)
{
    if (size == 0 || size >= room)
        return false;
    memcpy(to, from, size);
    to[size] = '\0';
    return true;
}

static bool port_is_valid(const char *port)
{
    size_t digits = strspn(port, "0123456789");
    long number = strtol(port, NULL, 10);

    return digits > 0 && port[digits] == '\0' && digits <= 5 && number >= 1 && number <= 65535;
}

static bool host_is_ip(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

/* host, [v6], host:port, [v6]:port */
static bool split_authority(const char *text, struct kyok_tls_peer *peer)
{
    const char *end = text + strcspn(text, ":");
    size_t host_size = (size_t)(end - text);

    if (text[0] == '[') {
        end = strchr(text, ']');
        if (end == NULL)
            return false;
        text++;
        host_size = (size_t)(end - text);
        end++;
    }
    if (!copy_part(peer->host, sizeof peer->host, text, host_size))
        return false;
    if (*end == '\0')
        return copy_part(peer->port, sizeof peer->port, KYOK_KMIP_PORT, strlen(KYOK_KMIP_PORT));
    return *end == ':' && copy_part(peer->port, sizeof peer->port, end + 1, strlen(end + 1));
}

enum kyok_status kyok_tls_peer_parse(const char *url, struct kyok_tls_peer *peer,
                                     struct kyok_error *err)
{
    static const char scheme[] = "kmips://";
    bool fits = strncmp(url, scheme, sizeof scheme - 1) == 0;

    memset(peer, 0, sizeof *peer);
    fits = fits && split_authority(url + sizeof scheme - 1, peer) && port_is_valid(peer->port) &&
           strcspn(peer->host, "/?#@ \t") == strlen(peer->host);
    if (!fits) {
        kyok_fail(err, KYOK_INVALID, url, "not the address of a KMIP server");
        return kyok_remedy(err, "write server = kmips://host:port");
    }
    peer->is_ip = host_is_ip(peer->host);
    snprintf(peer->url, sizeof peer->url,
             strchr(peer->host, ':') ? "kmips://[%s]:%s" : "kmips://%s:%s", peer->host, peer->port);
    return KYOK_OK;
}

/* --- lookup ---------------------------------------------------------------------------------- */

/* Owned by the caller and the thread together; the last one frees it. */
struct lookup {
    pthread_mutex_t lock;
    pthread_cond_t finished;
    struct kyok_tls_peer peer;
    struct kyok_tls_addresses addresses;
    struct kyok_kmip_process *process;
    int result; /* of getaddrinfo */
    bool done;
    int owners;
};

static void keep_addresses(struct kyok_tls_addresses *addresses, const struct addrinfo *list)
{
    for (; list != NULL && addresses->count < KYOK_TLS_MAX_ADDRESSES; list = list->ai_next) {
        memcpy(&addresses->list[addresses->count], list->ai_addr, list->ai_addrlen);
        addresses->sizes[addresses->count++] = list->ai_addrlen;
    }
}

static int look_up(const struct kyok_tls_peer *peer, int flags,
                   struct kyok_tls_addresses *addresses)
{
    struct addrinfo hints = {.ai_flags = flags | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int result = getaddrinfo(peer->host, peer->port, &hints, &list);

    addresses->count = 0;
    if (result != 0)
        return result;
    keep_addresses(addresses, list);
    freeaddrinfo(list);
    return 0;
}

static void lookup_drop(struct lookup *lookup)
{
    pthread_mutex_lock(&lookup->lock);
    int left = --lookup->owners;
    pthread_mutex_unlock(&lookup->lock);
    if (left > 0)
        return;
    pthread_cond_destroy(&lookup->finished);
    pthread_mutex_destroy(&lookup->lock);
    free(lookup);
}

static void *lookup_thread(void *argument)
{
    struct lookup *lookup = argument;
    struct kyok_kmip_process *process = lookup->process;
    struct kyok_tls_addresses addresses = {.count = 0};
    int result = look_up(&lookup->peer, AI_ADDRCONFIG, &addresses);

    pthread_mutex_lock(&lookup->lock);
    lookup->result = result;
    lookup->addresses = addresses;
    lookup->done = true;
    pthread_cond_signal(&lookup->finished);
    pthread_mutex_unlock(&lookup->lock);
    lookup_drop(lookup);
    atomic_fetch_sub(&process->lookups, 1);
    return NULL;
}

static struct lookup *lookup_new(const struct kyok_tls_peer *peer)
{
    struct lookup *lookup = calloc(1, sizeof *lookup);
    pthread_condattr_t attributes;

    if (lookup == NULL)
        return NULL;
    lookup->peer = *peer;
    lookup->owners = 2;
    pthread_mutex_init(&lookup->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&lookup->finished, &attributes);
    pthread_condattr_destroy(&attributes);
    return lookup;
}

/* Signals are the host program's business, never this thread's. */
static bool lookup_start(struct lookup *lookup)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int result = pthread_create(&thread, &attributes, lookup_thread, lookup);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result == 0;
}

static bool lookup_wait(struct lookup *lookup, struct kyok_deadline deadline)
{
    struct timespec until = kyok_deadline_timespec(deadline);
    int result = 0;

    pthread_mutex_lock(&lookup->lock);
    while (!lookup->done && result == 0)
        result = pthread_cond_timedwait(&lookup->finished, &lookup->lock, &until);
    bool done = lookup->done;
    pthread_mutex_unlock(&lookup->lock);
    return done;
}

static enum kyok_status lookup_failed(const struct kyok_tls_peer *peer, int result,
                                      struct kyok_error *err)
{
    kyok_fail(err, KYOK_UNREACHABLE, peer->url, "the server's name cannot be resolved");
    kyok_because(err, "%s", gai_strerror(result));
    return kyok_remedy(err, "check the name in kyok.conf and this host's resolver");
}

static enum kyok_status lookup_begin(const struct kyok_tls_peer *peer, struct lookup **lookup,
                                     struct kyok_error *err)
{
    struct kyok_kmip_process *process = kyok_kmip_process();

    if (process == NULL)
        return kyok_fail(err, KYOK_SYSTEM, peer->url, "no memory for a name lookup");
    if (atomic_fetch_add(&process->lookups, 1) >= KYOK_TLS_MAX_LOOKUPS) {
        atomic_fetch_sub(&process->lookups, 1);
        return kyok_fail(err, KYOK_BUSY, peer->url, "too many name lookups hang already");
    }
    *lookup = lookup_new(peer);
    if (*lookup != NULL)
        (*lookup)->process = process;
    if (*lookup != NULL && lookup_start(*lookup))
        return KYOK_OK;
    atomic_fetch_sub(&process->lookups, 1);
    free(*lookup);
    return kyok_fail(err, KYOK_SYSTEM, peer->url, "no thread for a name lookup");
}

static enum kyok_status resolve_name(const struct kyok_tls_peer *peer,
                                     struct kyok_tls_addresses *addresses,
                                     struct kyok_deadline deadline, struct kyok_error *err)
{
    struct lookup *lookup = NULL;

    KYOK_TRY(lookup_begin(peer, &lookup, err));
    bool done = lookup_wait(lookup, deadline);
    int result = done ? lookup->result : 0;
    if (done)
        *addresses = lookup->addresses;
    lookup_drop(lookup);
    if (!done)
        return kyok_fail(err, KYOK_TIMEOUT, peer->url,
                         "looking up the server's name took too long");
    return result == 0 ? KYOK_OK : lookup_failed(peer, result, err);
}

enum kyok_status kyok_tls_resolve(const struct kyok_tls_peer *peer,
                                  struct kyok_tls_addresses *addresses,
                                  struct kyok_deadline deadline, struct kyok_error *err)
{
    if (!peer->is_ip)
        return resolve_name(peer, addresses, deadline, err);
    int result = look_up(peer, AI_NUMERICHOST, addresses);
    return result == 0 ? KYOK_OK : lookup_failed(peer, result, err);
}

/* --- connections ----------------------------------------------------------------------------- */

static void set_options(int fd)
{
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

/* 0, or an errno. */
static int wait_connected(int fd, struct kyok_deadline deadline)
{
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    int result, error = 0;
    socklen_t size = sizeof error;

    do
        result = poll(&wait, 1, kyok_deadline_left_ms(deadline));
    while (result < 0 && errno == EINTR);
    if (result <= 0)
        return result == 0 ? ETIMEDOUT : errno;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

static int connect_one(const struct sockaddr_storage *address, socklen_t size,
                       struct kyok_deadline deadline, int *fd)
{
    int made = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (made < 0)
        return errno;
    set_options(made);
    int error = 0;
    if (connect(made, (const struct sockaddr *)address, size) != 0)
        error = errno == EINPROGRESS || errno == EINTR ? wait_connected(made, deadline) : errno;
    if (error != 0) {
        close(made);
        return error;
    }
    *fd = made;
    return 0;
}

/* An equal share of what is left, so that one silent address does not eat the others' time. */
static struct kyok_deadline share(struct kyok_deadline deadline, size_t parts)
{
    int left = kyok_deadline_left_ms(deadline);

    return left < 0 ? deadline : kyok_deadline_in_ms(left / (int)parts);
}

/* Of this process or host: no other server, and no later attempt on this one, is any better off. */
static bool is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

enum kyok_status kyok_tls_connect_tcp(const struct kyok_tls_peer *peer,
                                      const struct kyok_tls_addresses *addresses,
                                      struct kyok_deadline deadline, int *fd,
                                      struct kyok_error *err)
{
    int error = EADDRNOTAVAIL;

    for (size_t i = 0; i < addresses->count; i++) {
        error = connect_one(&addresses->list[i], addresses->sizes[i],
                            share(deadline, addresses->count - i), fd);
        if (error == 0)
            return KYOK_OK;
    }
    if (is_shortage(error)) {
        errno = error;
        kyok_fail_errno(err, peer->url, "no socket for a connection to the server");
        err->status = KYOK_SYSTEM;
        return kyok_remedy(err, "raise this program's limits (LimitNOFILE=, ulimit -n)");
    }
    if (error == ETIMEDOUT) {
        kyok_fail(err, KYOK_TIMEOUT, peer->url, "the server did not accept a connection in time");
        return kyok_because(err, "ETIMEDOUT: Connection timed out");
    }
    errno = error;
    kyok_fail_errno(err, peer->url, "cannot connect to the server");
    err->status = KYOK_UNREACHABLE;
    kyok_remedy(err, "check that the server runs and that the address in kyok.conf is right");
    return KYOK_UNREACHABLE;
}
