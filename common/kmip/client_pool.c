/* SPDX-License-Identifier: Apache-2.0 */
/* Idle connections, last used first. A thread opens one only when none is idle, so there are never
 * more than threads that use the endpoint at once. */
#include "common/kmip/client_live.h"

#include <stdlib.h>
#include <sys/stat.h>

/* Taken first and published last, so that a child never sees a number without its inode. */
static int note_descriptor(struct kyok_kmip_live *live, int fd)
{
    struct stat status;

    for (int i = 0; fstat(fd, &status) == 0 && i < KYOK_KMIP_MAX_DESCRIPTORS; i++) {
        int expected = -1;
        if (atomic_compare_exchange_strong(&live->descriptors[i].fd, &expected, -2)) {
            live->descriptors[i].inode = status.st_ino;
            atomic_store(&live->descriptors[i].fd, fd);
            return i;
        }
    }
    return -1;
}

enum kyok_status kyok_kmip_pool_open(struct kyok_kmip_endpoint *endpoint,
                                     struct kyok_deadline deadline,
                                     struct kyok_kmip_connection **connection,
                                     struct kyok_error *err)
{
    struct kyok_kmip_connection *made = calloc(1, sizeof *made);
    struct kyok_tls *tls = NULL;

    if (made == NULL)
        return kyok_fail(err, KYOK_SYSTEM, endpoint->peer.url, "no memory for a connection");
    enum kyok_status status = kyok_kmip_live_tls(endpoint->live, deadline, &tls, err);
    if (status == KYOK_OK)
        status = kyok_tls_stream_open(tls, &endpoint->peer, deadline, &made->stream, err);
    made->tls = tls;
    kyok_tls_free(tls);
    if (status != KYOK_OK) {
        free(made);
        return status;
    }
    made->endpoint = endpoint;
    made->opened_ns = kyok_now_ns();
    made->slot = note_descriptor(endpoint->live, kyok_tls_stream_fd(made->stream));
    atomic_fetch_add(&endpoint->connections, 1);
    atomic_fetch_add(&endpoint->opened, 1);
    *connection = made;
    return KYOK_OK;
}

/* The table first: a child forked in between must not close a number that means something else. */
void kyok_kmip_pool_drop(struct kyok_kmip_connection *connection)
{
    struct kyok_kmip_endpoint *endpoint = connection->endpoint;

    if (connection->slot >= 0)
        atomic_store(&endpoint->live->descriptors[connection->slot].fd, -1);
    kyok_tls_stream_close(connection->stream);
    atomic_fetch_sub(&endpoint->connections, 1);
    free(connection);
}

static void drop_all(struct kyok_kmip_connection *list)
{
    while (list != NULL) {
        struct kyok_kmip_connection *next = list->next;
        kyok_kmip_pool_drop(list);
        list = next;
    }
}

void kyok_kmip_pool_drain(struct kyok_kmip_endpoint *endpoint)
{
    pthread_mutex_lock(&endpoint->live->lock);
    struct kyok_kmip_connection *list = endpoint->idle;
    endpoint->idle = NULL;
    pthread_mutex_unlock(&endpoint->live->lock);
    drop_all(list);
}

/* The list is in order of last use, so everything behind an old one is older. */
static struct kyok_kmip_connection *cut_old(struct kyok_kmip_connection **list)
{
    int64_t oldest = kyok_now_ns() - (int64_t)KYOK_KMIP_IDLE_SECONDS * 1000000000;

    while (*list != NULL && (*list)->idle_since_ns >= oldest)
        list = &(*list)->next;
    struct kyok_kmip_connection *old = *list;
    *list = NULL;
    return old;
}

static struct kyok_kmip_connection *pop(struct kyok_kmip_endpoint *endpoint)
{
    pthread_mutex_lock(&endpoint->live->lock);
    struct kyok_kmip_connection *old = cut_old(&endpoint->idle);
    struct kyok_kmip_connection *connection = endpoint->idle;
    if (connection != NULL)
        endpoint->idle = connection->next;
    pthread_mutex_unlock(&endpoint->live->lock);
    drop_all(old);
    return connection;
}

static bool is_young(const struct kyok_kmip_connection *connection)
{
    return kyok_now_ns() - connection->opened_ns < (int64_t)KYOK_KMIP_LIFE_SECONDS * 1000000000;
}

struct kyok_kmip_connection *kyok_kmip_pool_take(struct kyok_kmip_endpoint *endpoint)
{
    struct kyok_kmip_connection *connection;

    kyok_kmip_live_refresh(endpoint->live);
    while ((connection = pop(endpoint)) != NULL) {
        if (is_young(connection) && kyok_tls_stream_is_quiet(connection->stream)) {
            connection->reused = true;
            return connection;
        }
        kyok_kmip_pool_drop(connection);
    }
    return NULL;
}

void kyok_kmip_pool_give(struct kyok_kmip_connection *connection)
{
    struct kyok_kmip_endpoint *endpoint = connection->endpoint;

    connection->idle_since_ns = kyok_now_ns();
    pthread_mutex_lock(&endpoint->live->lock);
    bool current = connection->tls == endpoint->live->tls;
    if (current) {
        connection->next = endpoint->idle;
        endpoint->idle = connection;
    }
    pthread_mutex_unlock(&endpoint->live->lock);
    if (!current) /* opened with certificates or a list that have been replaced since */
        kyok_kmip_pool_drop(connection);
}
