/* SPDX-License-Identifier: Apache-2.0 */
#include "libvirt-hook/worker/work.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void need_free(struct need *need)
{
    kyok_volume_close(&need->volume);
    kyok_record_copies_free(&need->copies);
}

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

/* Its own metadata says that a disk of the VM's is kyok's: only then may that be on a removable
 * medium. */
static enum kyok_volume_access how_to_open(const struct domain *domain)
{
    for (size_t i = 0; i < domain->record_count; i++)
        if (!domain->records[i].vtpm)
            return KYOK_VOLUME_READ;
    return KYOK_VOLUME_LOOK;
}

static bool has_sidecar(const struct domain_volume *volume)
{
    KYOK_AUTO_FREE char *sidecar = volume->block ? NULL : kyok_record_sidecar_path(volume->path);
    return sidecar && access(sidecar, F_OK) == 0;
}

static void name_foreign_secret(const struct domain_volume *volume, struct need *need)
{
    need->secret.usage = volume->secret_usage;
    if (volume->secret_uuid && kyok_uuid_canonical(volume->secret_uuid, need->secret.uuid))
        need->secret.usage = NULL;
}

/* A secret that is named by UUID has the usage "kyok:UUID" in libvirt: who took another's usage
 * would keep that one from being defined. */
static bool is_usage_of_other(const char *usage, const char *volume_uuid)
{
    char own[KYOK_UUID_TEXT];
    if (strncmp(usage, HOOK_USAGE, strlen(HOOK_USAGE)) != 0)
        return false;
    return !kyok_uuid_of_secret(volume_uuid, own) || strcmp(usage + strlen(HOOK_USAGE), own) != 0;
}

static enum kyok_status name_disk_secret(const struct domain_volume *volume, struct need *need,
                                         struct kyok_error *err)
{
    need->secret = (struct secret_name){0};
    if (volume->secret_uuid && kyok_uuid_canonical(volume->secret_uuid, need->secret.uuid))
        return KYOK_OK;
    if (volume->secret_usage && is_usage_of_other(volume->secret_usage, need->volume_uuid)) {
        kyok_fail(err, KYOK_REFUSED, volume->secret_usage, "the usage is another disk's");
        return kyok_remedy(err, "kyok disk info %s prints the XML", volume->path);
    }
    if (volume->secret_usage) {
        need->secret.usage = volume->secret_usage;
        return KYOK_OK;
    }
    kyok_fail(err, KYOK_INVALID, volume->path, "the disk's <encryption> names no secret");
    return kyok_remedy(err, "kyok disk info %s prints the XML", volume->path);
}

enum kyok_status need_of_volume(struct work *work, const struct domain_volume *volume,
                                struct need *need, struct kyok_error *err)
{
    *need = (struct need){.path = volume->path, .volume = {.fd = -1}};
    snprintf(need->what, sizeof(need->what), "disk %.60s", volume->target ? volume->target : "?");
    name_foreign_secret(volume, need);
    need->foreign = volume->foreign;
    if (!volume->path)
        return KYOK_OK;
    work_doing(work, "look at the storage that holds it", "reading %s", volume->path);
    enum kyok_status status =
        kyok_volume_open(volume->path, how_to_open(work->domain), &need->volume, err);
    need->removable = status == KYOK_REFUSED;
    if (status != KYOK_OK)
        return has_sidecar(volume) ? status : KYOK_OK;
    memcpy(need->volume_uuid, need->volume.luks.uuid, KYOK_UUID_TEXT);
    need->binding =
        (struct kyok_record_binding){.luks_uuid = need->volume_uuid, .vm_uuid = work->vm};
    KYOK_TRY(add_metadata(work, need, false, err));
    KYOK_TRY(kyok_record_copies_find(&need->copies, volume->block ? NULL : volume->path,
                                     need->volume_uuid, err));
    need->plain = need->copies.count == 0 && work->request->kmip[0];
    return need->copies.count || need->plain ? name_disk_secret(volume, need, err) : KYOK_OK;
}

enum kyok_status need_of_vtpm(struct work *work, const char *secret, struct need *need,
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

/* --- each --- */

/* A path out of XML may hold a newline and what looks like another message. */
static void tell_path(const char *path)
{
    char shown[PATH_MAX];
    size_t size = 0;
    for (; path[size] && size + 1 < sizeof(shown); size++)
        shown[size] = (unsigned char)path[size] < ' ' || path[size] == 127 ? '?' : path[size];
    shown[size] = 0;
    fprintf(stderr, " (%s)", shown);
}

/* One line: virsh shows it whole. */
static void tell(const struct work *work, const struct need *need, const struct kyok_error *err)
{
    char text[1400];
    struct kyok_error shown = *err;
    fprintf(stderr, "kyok: VM %s: %s", work->domain->name, need->what);
    if (need->path && *need->path)
        tell_path(need->path);
    /* Of several keys the one that failed. */
    const char *key = kyok_reference_is(shown.object) ? shown.object : work->key;
    if (*key)
        fprintf(stderr, ": key %s", key);
    if (strcmp(shown.object, key) == 0 || (need->path && strcmp(shown.object, need->path) == 0))
        shown.object[0] = 0; /* said */
    fprintf(stderr, ": %s\n", kyok_error_text(&shown, text, sizeof(text)));
}

static bool give_one(struct work *work, struct need *need, give_function *function,
                     enum kyok_status status, struct kyok_error *err)
{
    work->key[0] = 0;
    bool is_kyoks = need->copies.count > 0 || need->plain;
    if (status == KYOK_OK && is_kyoks)
        status = function(work, need, err);
    else if (status == KYOK_OK && work->request->action == HOOK_PREPARE && !need->foreign)
        status = check_foreign(work, need, err);
    if (status != KYOK_OK) {
        tell(work, need, err);
        work->result = status == KYOK_UNREACHABLE ? HOOK_AWAY : 1;
    }
    need_free(need);
    return status == KYOK_OK;
}

bool needs_each(struct work *work, give_function *function)
{
    const struct domain *domain = work->domain;
    struct kyok_error err;
    struct need need;
    bool good = true;
    for (size_t i = 0; good && i < domain->volume_count; i++) {
        enum kyok_status status = need_of_volume(work, &domain->volumes[i], &need, &err);
        good = give_one(work, &need, function, status, &err);
    }
    if (good && domain->vtpm_secret) {
        enum kyok_status status = need_of_vtpm(work, domain->vtpm_secret, &need, &err);
        need.foreign = domain->vtpm_foreign;
        good = give_one(work, &need, function, status, &err);
    }
    return good;
}
