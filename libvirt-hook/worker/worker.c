/* SPDX-License-Identifier: Apache-2.0 */
/* The hook's work: open a starting domain's records, give libvirt the passphrases, take them back.
 */
#include "common/disk/disk.h"
#include "libvirt-hook/hook.h"
#include "libvirt-hook/worker/marks.h"
#include "libvirt-hook/worker/secrets.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Left to say what failed, before the supervisor says only that time is up. */
#define MARGIN_MS 300

int kyok_hook_work(const struct hook_request *request);

struct work {
    const struct hook_request *request;
    const struct domain *domain;
    char vm[KYOK_UUID_TEXT];
    struct kyok_deadline deadline;
    struct kyok_context *context; /* made for the first record */
    struct secrets *secrets;
    char key[256]; /* of the record at hand, for messages */
    int result;
};

/* One passphrase that the domain needs. */
struct need {
    char what[128]; /* "disk vda" */
    const char *path;
    struct secret_name secret;
    char volume_uuid[KYOK_UUID_TEXT];
    struct kyok_record_binding binding;
    struct kyok_volume volume; /* fd -1 for a vTPM */
    struct kyok_record_copies copies;
};

static void need_free(struct need *need)
{
    kyok_volume_close(&need->volume);
    kyok_record_copies_free(&need->copies);
}

static void doing(struct work *work, const char *remedy, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void doing(struct work *work, const char *remedy, const char *format, ...)
{
    struct hook_progress *progress = work->request->progress;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(progress->doing, sizeof(progress->doing), format, arguments);
    va_end(arguments);
    snprintf(progress->remedy, sizeof(progress->remedy), "%s", remedy);
}

/* --- configuration and connections, made when first needed --- */

static enum kyok_status ensure_context(struct work *work, struct kyok_error *err)
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
    for (size_t i = 0; i < config->kmip_count; i++)
        if (config->kmips[i].timeout_ms > limit)
            config->kmips[i].timeout_ms = limit;
    return kyok_context_new(config, &work->context, err);
}

static enum kyok_status ensure_secrets(struct work *work, struct kyok_error *err)
{
    if (work->secrets)
        return KYOK_OK;
    doing(work,
          "a VM that libvirtd starts by itself while it starts up needs kyok-vm-preload.service",
          "waiting for libvirt's secret driver");
    return secrets_connect(&work->secrets, err);
}

/* --- what the domain needs --- */

static enum kyok_status add_metadata(struct work *work, struct need *need, bool vtpm,
                                     struct kyok_error *err)
{
    const struct domain *domain = work->domain;
    char uuid[KYOK_UUID_TEXT];
    for (size_t i = 0; i < domain->record_count; i++) {
        const struct domain_record *record = &domain->records[i];
        if (record->vtpm != vtpm || !kyok_uuid_canonical(record->uuid, uuid) ||
            strcmp(uuid, need->volume_uuid) != 0)
            continue;
        KYOK_TRY(kyok_record_copies_add(&need->copies, "the domain's metadata", record->pending,
                                        kyok_bytes_of_text(record->json), err));
    }
    return KYOK_OK;
}

static bool has_sidecar(const struct domain_volume *volume)
{
    KYOK_AUTO_FREE char *sidecar = volume->block ? NULL : kyok_record_sidecar_path(volume->path);
    return sidecar && access(sidecar, F_OK) == 0;
}

static enum kyok_status name_disk_secret(const struct domain_volume *volume, struct need *need,
                                         struct kyok_error *err)
{
    need->secret = (struct secret_name){0};
    if (volume->secret_uuid && kyok_uuid_canonical(volume->secret_uuid, need->secret.uuid))
        return KYOK_OK;
    if (volume->secret_usage) {
        need->secret.usage = volume->secret_usage;
        return KYOK_OK;
    }
    kyok_fail(err, KYOK_INVALID, volume->path, "the disk's <encryption> names no secret");
    return kyok_remedy(err, "kyok disk info %s prints the XML", volume->path);
}

/* No copy of a record: not a disk of kyok's, and need->copies stays empty. */
static enum kyok_status need_of_volume(struct work *work, const struct domain_volume *volume,
                                       struct need *need, struct kyok_error *err)
{
    *need = (struct need){.path = volume->path, .volume = {.fd = -1}};
    snprintf(need->what, sizeof(need->what), "disk %.60s", volume->target ? volume->target : "?");
    if (!volume->path)
        return KYOK_OK;
    doing(work, "look at the storage that holds it", "reading %s", volume->path);
    enum kyok_status status = kyok_volume_open(volume->path, KYOK_VOLUME_READ, &need->volume, err);
    if (status != KYOK_OK)
        return has_sidecar(volume) ? status : KYOK_OK;
    memcpy(need->volume_uuid, need->volume.luks.uuid, KYOK_UUID_TEXT);
    need->binding =
        (struct kyok_record_binding){.luks_uuid = need->volume_uuid, .vm_uuid = work->vm};
    KYOK_TRY(add_metadata(work, need, false, err));
    KYOK_TRY(kyok_record_copies_find(&need->copies, volume->block ? NULL : volume->path,
                                     need->volume_uuid, err));
    return need->copies.count ? name_disk_secret(volume, need, err) : KYOK_OK;
}

static enum kyok_status need_of_vtpm(struct work *work, const char *secret, struct need *need,
                                     struct kyok_error *err)
{
    *need = (struct need){.what = "vTPM", .path = "", .volume = {.fd = -1}, .secret.vtpm = true};
    if (!kyok_uuid_canonical(secret, need->secret.uuid))
        return kyok_fail(err, KYOK_INVALID, secret, "the vTPM's secret is named by no UUID");
    memcpy(need->volume_uuid, need->secret.uuid, KYOK_UUID_TEXT);
    need->binding =
        (struct kyok_record_binding){.vtpm_uuid = need->volume_uuid, .vm_uuid = work->vm};
    KYOK_TRY(add_metadata(work, need, true, err));
    return kyok_record_copies_find(&need->copies, NULL, need->volume_uuid, err);
}

/* --- giving --- */

static enum kyok_status refuse_foreign(const struct need *need, struct kyok_error *err)
{
    kyok_fail(err, KYOK_REFUSED, need->secret.uuid,
              "libvirt has a stored secret of this name that kyok did not make");
    return kyok_remedy(err, "it opens the disk without a custodian: virsh secret-undefine %s",
                       need->secret.uuid);
}

static enum kyok_status define(struct work *work, struct need *need, struct kyok_bytes passphrase,
                               struct kyok_error *err)
{
    struct mark mark;
    char description[256];
    KYOK_CLEANUP(marks_unlock) int lock = marks_lock(err);
    if (lock < 0)
        return err->status;
    memcpy(mark.secret, need->secret.uuid, sizeof(mark.secret));
    memcpy(mark.vm, work->vm, sizeof(mark.vm));
    snprintf(description, sizeof(description), "%s, volume %s", need->what, need->volume_uuid);
    /* The mark first: whoever dies after it is swept. */
    KYOK_TRY(mark_make(HOOK_STARTING, &mark, need->volume_uuid, err));
    guard_ensure();
    doing(work, "restart libvirtd", "giving libvirt the secret of %s", need->what);
    return secrets_set(work->secrets, &need->secret, description, passphrase, err);
}

static bool is_held(struct work *work, const struct need *need)
{
    struct mark mark;
    memcpy(mark.secret, need->secret.uuid, sizeof(mark.secret));
    memcpy(mark.vm, work->vm, sizeof(mark.vm));
    return mark_is(HOOK_HELD, &mark, need->volume_uuid);
}

static enum kyok_status open_record(struct work *work, struct need *need,
                                    struct kyok_record_opened *opened, struct kyok_error *err)
{
    KYOK_TRY(ensure_context(work, err));
    doing(work, "kyok doctor tells which custodian does not answer", "opening the record of %s",
          need->what);
    int left = kyok_deadline_left_ms(work->deadline);
    enum kyok_status status = kyok_record_open(work->context, &need->copies, &need->binding,
                                               need->volume.fd >= 0 ? &need->volume : NULL,
                                               left > 0 ? (unsigned)left : 1, opened, err);
    snprintf(work->key, sizeof(work->key), "%s", opened->key);
    return status;
}

static enum kyok_status give(struct work *work, struct need *need, struct kyok_error *err)
{
    enum secret_state state;
    /* Without a UUID of its own the secret gets the volume's, the same on all hosts. */
    if (access(HOOK_PRELOADED, F_OK) == 0 && need->secret.uuid[0] && is_held(work, need))
        return KYOK_OK;
    KYOK_TRY(ensure_secrets(work, err));
    KYOK_TRY(secrets_find(work->secrets, &need->secret, &state, err));
    if (state == SECRET_FOREIGN)
        return refuse_foreign(need, err);
    if (!need->secret.uuid[0] && !kyok_uuid_of_secret(need->volume_uuid, need->secret.uuid))
        return kyok_fail(err, KYOK_FAULT, need->path, "the secret gets no UUID");
    if (state == SECRET_OURS && is_held(work, need))
        return KYOK_OK;
    KYOK_CLEANUP(kyok_record_opened_free) struct kyok_record_opened opened = {0};
    KYOK_TRY(open_record(work, need, &opened, err));
    return define(work, need, kyok_secret_bytes(opened.passphrase), err);
}

/* One line: virsh shows it whole. */
static void tell(const struct work *work, const struct need *need, const struct kyok_error *err)
{
    char text[1400];
    fprintf(stderr, "kyok: VM %s: %s", work->domain->name, need->what);
    if (need->path && *need->path)
        fprintf(stderr, " (%s)", need->path);
    if (*work->key)
        fprintf(stderr, ": key %s", work->key);
    fprintf(stderr, ": %s\n", kyok_error_text(err, text, sizeof(text)));
}

static bool prepare_one(struct work *work, struct need *need, enum kyok_status status,
                        struct kyok_error *err)
{
    work->key[0] = 0;
    if (status == KYOK_OK && need->copies.count > 0)
        status = give(work, need, err);
    if (status != KYOK_OK) {
        tell(work, need, err);
        work->result = status == KYOK_UNREACHABLE ? HOOK_AWAY : 1;
    }
    need_free(need);
    return status == KYOK_OK;
}

/* --- taking back --- */

static void take_back(void *caller, const struct mark *mark)
{
    struct work *work = caller;
    struct kyok_error err;
    if (work->domain && strcmp(mark->vm, work->vm) != 0)
        return;
    mark_drop(HOOK_STARTING, mark);
    if (mark_any(HOOK_STARTING, mark->secret) || mark_any(HOOK_HELD, mark->secret))
        return;
    if (ensure_secrets(work, &err) != KYOK_OK ||
        secrets_remove(work->secrets, mark->secret, &err) != KYOK_OK) {
        char text[1400];
        fprintf(stderr, "kyok: %s\n", kyok_error_text(&err, text, sizeof(text)));
        /* For the next sweep. */
        mark_make(HOOK_STARTING, mark, mark->secret, &err);
    }
}

static int release(struct work *work)
{
    struct kyok_error err;
    KYOK_CLEANUP(marks_unlock) int lock = marks_lock(&err);
    if (lock < 0)
        return 1;
    marks_each(HOOK_STARTING, work->domain ? INT32_MIN : HOOK_SWEEP_SECONDS, take_back, work);
    return 0;
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
    const struct domain *domain = work->domain;
    struct kyok_error err;
    struct need need;
    bool good = !is_locked(work);
    for (size_t i = 0; good && i < domain->volume_count; i++) {
        enum kyok_status status = need_of_volume(work, &domain->volumes[i], &need, &err);
        good = prepare_one(work, &need, status, &err);
    }
    if (good && domain->vtpm_secret) {
        enum kyok_status status = need_of_vtpm(work, domain->vtpm_secret, &need, &err);
        good = prepare_one(work, &need, status, &err);
    }
    if (!good)
        release(work);
    return good ? 0 : work->result;
}

static bool begin(struct work *work)
{
    work->deadline = kyok_deadline_in_ms((int64_t)work->request->timeout_ms - MARGIN_MS);
    kyok_secret_harden_process();
    if (!work->domain)
        return true;
    if (work->domain->name && kyok_uuid_canonical(work->domain->uuid, work->vm))
        return true;
    fputs("kyok: the domain's XML has no name or UUID\n", stderr);
    return false;
}

__attribute__((visibility("default"))) int kyok_hook_work(const struct hook_request *request)
{
    struct work work = {.request = request, .domain = request->domain, .result = 1};
    int result = 1;
    if (begin(&work))
        result = request->action == HOOK_PREPARE ? prepare(&work) : release(&work);
    secrets_close(work.secrets);
    kyok_context_free(work.context);
    return result;
}
