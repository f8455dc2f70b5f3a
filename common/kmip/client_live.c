/* SPDX-License-Identifier: Apache-2.0 */
#include "common/kmip/client_live.h"

#include "common/kmip/client_process.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the section's copy ---------------------------------------------------------------------- */

static bool text_equal(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool servers_equal(const struct kyok_kmip_config *a, const struct kyok_kmip_config *b)
{
    if (a->server_count != b->server_count)
        return false;
    for (size_t i = 0; i < a->server_count; i++)
        if (strcmp(a->servers[i], b->servers[i]) != 0)
            return false;
    return true;
}

/* What decides whether two contexts may share connections: everything that reaches the wire. */
static bool config_equal(const struct kyok_kmip_config *a, const struct kyok_kmip_config *b)
{
    return text_equal(a->name, b->name) && text_equal(a->ca, b->ca) &&
           text_equal(a->certificate, b->certificate) && text_equal(a->key, b->key) &&
           text_equal(a->crl, b->crl) && a->version == b->version && servers_equal(a, b);
}

static bool copy_text(char **to, const char *from)
{
    *to = from == NULL ? NULL : strdup(from);
    return from == NULL || *to != NULL;
}

static bool config_copy(struct kyok_kmip_config *to, const struct kyok_kmip_config *from)
{
    bool done = copy_text(&to->name, from->name) && copy_text(&to->where, from->where) &&
                copy_text(&to->ca, from->ca) && copy_text(&to->certificate, from->certificate) &&
                copy_text(&to->key, from->key) && copy_text(&to->crl, from->crl);

    to->version = from->version;
    to->servers = calloc(from->server_count, sizeof *to->servers);
    if (!done || to->servers == NULL)
        return false;
    for (; to->server_count < from->server_count; to->server_count++)
        if (!copy_text(&to->servers[to->server_count], from->servers[to->server_count]))
            return false;
    return true;
}

static void config_free(struct kyok_kmip_config *config)
{
    for (size_t i = 0; i < config->server_count; i++)
        free(config->servers[i]);
    free(config->servers);
    free(config->name);
    free(config->where);
    free(config->ca);
    free(config->certificate);
    free(config->key);
    free(config->crl);
}

/* --- one group's state ----------------------------------------------------------------------- */

static void live_init(struct kyok_kmip_live *live, const struct kyok_kmip_config *config)
{
    pthread_condattr_t attributes;

    pthread_mutex_init(&live->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&live->tls_made, &attributes);
    pthread_condattr_destroy(&attributes);
    live->generation = kyok_process_generation();
    live->endpoint_count = config->server_count;
    for (size_t i = 0; i < KYOK_KMIP_MAX_DESCRIPTORS; i++)
        atomic_init(&live->descriptors[i].fd, -1);
}

static void live_free(struct kyok_kmip_live *live)
{
    if (live == NULL)
        return;
    config_free(&live->config);
    pthread_cond_destroy(&live->tls_made);
    pthread_mutex_destroy(&live->lock);
    free(live);
}

static void live_auto_free(struct kyok_kmip_live **live)
{
    live_free(*live);
}

static enum kyok_status live_new(const struct kyok_kmip_config *config,
                                 struct kyok_kmip_live **live, struct kyok_error *err)
{
    if (config->server_count == 0) {
        kyok_fail(err, KYOK_INVALID, config->where, "[kmip %s] names no server", config->name);
        return kyok_remedy(err, "set server = kmips://host:port");
    }
    if (config->server_count > KYOK_KMIP_MAX_ENDPOINTS)
        return kyok_fail(err, KYOK_INVALID, config->where, "[kmip %s] names more than %d servers",
                         config->name, KYOK_KMIP_MAX_ENDPOINTS);
    size_t size = sizeof **live + config->server_count * sizeof(struct kyok_kmip_endpoint);
    KYOK_CLEANUP(live_auto_free) struct kyok_kmip_live *made = calloc(1, size);
    if (made == NULL)
        return kyok_fail(err, KYOK_SYSTEM, config->name, "no memory for a KMIP group");
    live_init(made, config);
    if (!config_copy(&made->config, config))
        return kyok_fail(err, KYOK_SYSTEM, config->name, "no memory for a KMIP group");
    for (size_t i = 0; i < config->server_count; i++) {
        KYOK_TRY(kyok_tls_peer_parse(config->servers[i], &made->endpoints[i].peer, err));
        made->endpoints[i].live = made;
    }
    *live = made;
    made = NULL;
    return KYOK_OK;
}

static struct kyok_kmip_live *look_for(struct kyok_kmip_process *process,
                                       const struct kyok_kmip_config *config)
{
    struct kyok_kmip_live *live = process->groups;

    while (live != NULL && !config_equal(&live->config, config))
        live = live->next;
    return live;
}

/* The first of several threads that made the same group wins. */
static struct kyok_kmip_live *enter(struct kyok_kmip_process *process, struct kyok_kmip_live *made)
{
    pthread_mutex_lock(&process->lock);
    struct kyok_kmip_live *live = look_for(process, &made->config);
    if (live == NULL) {
        made->next = process->groups;
        process->groups = live = made;
        made = NULL;
    }
    pthread_mutex_unlock(&process->lock);
    live_free(made);
    return live;
}

enum kyok_status kyok_kmip_live_find(const struct kyok_kmip_config *config,
                                     struct kyok_kmip_live **live, struct kyok_error *err)
{
    struct kyok_kmip_process *process = kyok_kmip_process();
    struct kyok_kmip_live *made = NULL;

    if (process == NULL)
        return kyok_fail(err, KYOK_SYSTEM, config->name, "no memory for a KMIP group");
    pthread_mutex_lock(&process->lock);
    *live = look_for(process, config);
    pthread_mutex_unlock(&process->lock);
    if (*live != NULL)
        return KYOK_OK;
    KYOK_TRY(live_new(config, &made, err));
    *live = enter(process, made);
    return KYOK_OK;
}

/* Memory is the child's own copy, so taking a descriptor out of the table here keeps the next
 * handle of the same group from closing that number again. */
void kyok_kmip_live_abandon(struct kyok_kmip_live *live)
{
    for (size_t i = 0; i < KYOK_KMIP_MAX_DESCRIPTORS; i++) {
        struct kyok_kmip_descriptor *descriptor = &live->descriptors[i];
        int fd = atomic_exchange(&descriptor->fd, -1);
        struct stat status;
        if (fd >= 0 && fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) &&
            status.st_ino == descriptor->inode)
            close(fd);
    }
}

/* --- trust and identity ---------------------------------------------------------------------- */

/* True, with making_tls set, when this caller is the one to read the files. */
static bool must_make(struct kyok_kmip_live *live)
{
    int64_t now = kyok_now_ns();

    if (live->making_tls)
        return false;
    if (live->tls != NULL) {
        if (now - live->files_checked_ns < (int64_t)KYOK_KMIP_FILE_CHECK_MS * 1000000)
            return false;
        live->files_checked_ns = now;
        if (!kyok_tls_is_stale(live->tls, &live->config))
            return false;
    }
    return live->making_tls = true;
}

/* True when there is something to connect with now. */
static bool install(struct kyok_kmip_live *live, struct kyok_tls *made)
{
    pthread_mutex_lock(&live->lock);
    struct kyok_tls *old = made == NULL ? NULL : live->tls;
    if (made != NULL)
        live->tls = made;
    bool usable = live->tls != NULL;
    live->files_checked_ns = kyok_now_ns();
    live->making_tls = false;
    pthread_cond_broadcast(&live->tls_made);
    pthread_mutex_unlock(&live->lock);
    if (old == NULL)
        return usable;
    kyok_tls_free(old);
    for (size_t i = 0; i < live->endpoint_count; i++)
        kyok_kmip_pool_drain(&live->endpoints[i]);
    return usable;
}

/* Reading a pkcs11: key may take a token's time, so no lock is held. Files that are being replaced
 * may be unreadable for a moment: what was read before goes on serving. */
static enum kyok_status make_tls(struct kyok_kmip_live *live, struct kyok_error *err)
{
    struct kyok_tls *made = NULL;
    char text[1200];
    enum kyok_status status = kyok_tls_new(&live->config, &made, err);

    bool usable = install(live, made);
    if (status != KYOK_OK && usable) {
        kyok_log(KYOK_LOG_WARNING, "kmip %s: changed files are not used: %s", live->config.name,
                 kyok_error_text(err, text, sizeof text));
        return KYOK_OK;
    }
    return status;
}

void kyok_kmip_live_refresh(struct kyok_kmip_live *live)
{
    struct kyok_error err;

    pthread_mutex_lock(&live->lock);
    bool mine = live->tls != NULL && must_make(live);
    pthread_mutex_unlock(&live->lock);
    if (mine)
        (void)make_tls(live, &err);
}

enum kyok_status kyok_kmip_live_tls(struct kyok_kmip_live *live, struct kyok_deadline deadline,
                                    struct kyok_tls **tls, struct kyok_error *err)
{
    struct timespec until = kyok_deadline_timespec(deadline);
    int result = 0;

    pthread_mutex_lock(&live->lock);
    bool mine = must_make(live);
    if (mine) {
        pthread_mutex_unlock(&live->lock);
        KYOK_TRY(make_tls(live, err));
        pthread_mutex_lock(&live->lock);
    }
    while (live->tls == NULL && live->making_tls && result == 0)
        result = pthread_cond_timedwait(&live->tls_made, &live->lock, &until);
    *tls = live->tls;
    if (*tls != NULL)
        kyok_tls_up_ref(*tls);
    bool again = *tls == NULL && !live->making_tls;
    pthread_mutex_unlock(&live->lock);
    if (*tls != NULL)
        return KYOK_OK;
    if (again) /* the thread that tried failed: find out why, as this caller's own error */
        return kyok_kmip_live_tls(live, deadline, tls, err);
    return kyok_fail(err, KYOK_TIMEOUT, live->config.name, "reading the client key took too long");
}
