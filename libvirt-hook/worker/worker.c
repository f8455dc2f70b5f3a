/* SPDX-License-Identifier: Apache-2.0 */
/* The hook's work: open a starting domain's records, give libvirt the passphrases, take them back.
 */
#include "libvirt-hook/worker/work.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Left to say what failed, before the supervisor says only that time is up. */
#define MARGIN_MS 300

int kyok_hook_work(const struct hook_request *request);

void work_doing(struct work *work, const char *remedy, const char *format, ...)
{
    struct hook_progress *progress = work->request->progress;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(progress->doing, sizeof(progress->doing), format, arguments);
    va_end(arguments);
    for (char *at = progress->doing; *at; at++)
        if ((unsigned char)*at < ' ')
            *at = '?';
    snprintf(progress->remedy, sizeof(progress->remedy), "%s", remedy);
}

/* --- configuration and connections, made when first needed --- */

enum kyok_status work_ensure_context(struct work *work, struct kyok_error *err)
{
    struct kyok_config *config = NULL;
    if (work->context)
        return KYOK_OK;
    KYOK_TRY(kyok_config_load(NULL, &config, err));
    /* A hanging module may not hold the deadline up, whatever the file says. */
    unsigned limit = work->request->timeout_ms - MARGIN_MS / 2;
    for (size_t i = 0; i < config->token_count; i++) {
        config->tokens[i].isolate = true;
        if (config->tokens[i].timeout_ms > limit)
            config->tokens[i].timeout_ms = limit;
    }
    config->reference_isolate = true;
    config->reference_timeout_ms = limit;
    for (size_t i = 0; i < config->kmip_count; i++)
        if (config->kmips[i].timeout_ms > limit)
            config->kmips[i].timeout_ms = limit;
    return kyok_context_new(config, &work->context, err);
}

enum kyok_status work_ensure_secrets(struct work *work, struct kyok_error *err)
{
    if (work->secrets)
        return KYOK_OK;
    work_doing(
        work,
        "a VM that libvirtd starts by itself while it starts up needs kyok-vm-preload.service",
        "waiting for libvirt's secret driver");
    return secrets_connect(&work->secrets, err);
}

/* --- the whole --- */

static bool is_locked(const struct work *work)
{
    char path[sizeof(HOOK_LOCKED) + KYOK_UUID_TEXT + 1];
    snprintf(path, sizeof(path), "%s/%s", HOOK_LOCKED, work->vm);
    if (access(path, F_OK) != 0)
        return false;
    fprintf(stderr, "kyok: VM %s is locked; kyok vm unlock %s allows it to start\n",
            work->domain->name, work->domain->name);
    return true;
}

static int prepare(struct work *work)
{
    bool good = !is_locked(work) && needs_each(work, give);
    if (!good)
        take_back(work);
    return good ? 0 : work->result;
}

static bool begin(struct work *work)
{
    enum hook_action action = work->request->action;
    work->deadline = kyok_deadline_in_ms((int64_t)work->request->timeout_ms - MARGIN_MS);
    work->marks = action == HOOK_HOLD || action == HOOK_DROP ? HOOK_HELD : HOOK_STARTING;
    if (!work->domain)
        return true;
    if (work->domain->name && kyok_uuid_canonical(work->domain->uuid, work->vm))
        return true;
    fputs("kyok: the domain's XML has no name or UUID\n", stderr);
    return false;
}

static int work_on_domain(const struct hook_request *request)
{
    struct work work = {.request = request, .result = 1};
    enum hook_action action = request->action;
    bool gives = action == HOOK_PREPARE || action == HOOK_HOLD || action == HOOK_PLUG;
    int result = 1;
    work.domain = request->domain_count ? &request->domains[0] : NULL;
    if (begin(&work))
        result = gives ? prepare(&work) : take_back(&work);
    secrets_close(work.secrets);
    kyok_context_free(work.context);
    return result;
}

__attribute__((visibility("default"))) int kyok_hook_work(const struct hook_request *request)
{
    kyok_secret_harden_process();
    switch (request->action) {
    case HOOK_PRELOAD:
        return preload(request);
    case HOOK_PRELOAD_END:
        return preload_end(request);
    default:
        return work_on_domain(request);
    }
}
