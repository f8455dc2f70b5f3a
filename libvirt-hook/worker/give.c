/* SPDX-License-Identifier: Apache-2.0 */
#include "libvirt-hook/age.h"
#include "libvirt-hook/worker/work.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static enum kyok_status refuse_foreign(const struct need *need, struct kyok_error *err)
{
    kyok_fail(err, KYOK_REFUSED, need->secret.uuid,
              "libvirt has a stored secret of this name that kyok did not make");
    return kyok_remedy(err, "it opens the disk without a custodian: virsh secret-undefine %s",
                       need->secret.uuid);
}

enum kyok_status check_foreign(struct work *work, struct need *need, struct kyok_error *err)
{
    enum secret_state state;
    const char *name = need->secret.usage ? need->secret.usage : need->secret.uuid;
    KYOK_TRY(work_ensure_secrets(work, err));
    KYOK_TRY(secrets_find(work->secrets, &need->secret, &state, err));
    if (state == SECRET_FOREIGN)
        return KYOK_OK;
    if (need->removable) {
        kyok_fail(err, KYOK_REFUSED, need->path,
                  "a removable medium is read for a record in the VM's metadata alone");
        return kyok_remedy(err, "kyok disk bind %s --vm %s --metadata", need->path,
                           work->domain->name);
    }
    if (state == SECRET_OURS)
        kyok_fail(err, KYOK_REFUSED, name, "the secret was given for another VM or disk");
    else
        kyok_fail(err, KYOK_REFUSED, name, "libvirt has no such secret, and the disk no record");
    return kyok_remedy(err,
                       "an encrypted disk of kyok's is named by its file or device, beside which "
                       "its record lies; any other needs a secret of libvirt's");
}

struct search {
    const char *folder, *volume;
    const char *secret;
    bool other;
};

static void look_for_other(void *caller, const struct mark *mark)
{
    struct search *search = caller;
    if (strcmp(mark->secret, search->secret) == 0 && !mark_is(search->folder, mark, search->volume))
        search->other = true;
}

/* A secret of one volume is never another's, whoever names it. */
static enum kyok_status refuse_other_volume(const struct need *need, struct kyok_error *err)
{
    static const char *const folders[] = {HOOK_STARTING, HOOK_HELD};
    struct search search = {.volume = need->volume_uuid, .secret = need->secret.uuid};
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        search.folder = folders[i];
        marks_each(folders[i], INT32_MIN, look_for_other, &search);
    }
    if (!search.other)
        return KYOK_OK;
    kyok_fail(err, KYOK_REFUSED, need->secret.uuid, "the secret is in use for another disk");
    return kyok_remedy(err, "kyok disk info %s prints the XML with the secret of this disk",
                       need->path);
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
    KYOK_TRY(refuse_other_volume(need, err));
    /* The guard, then the mark, then the secret: whoever dies in between is swept. */
    if (strcmp(work->marks, HOOK_STARTING) == 0)
        guard_ensure();
    bool made = !mark_is(work->marks, &mark, need->volume_uuid);
    KYOK_TRY(mark_make(work->marks, &mark, need->volume_uuid, err));
    if (made && work->made_count < sizeof(work->made) / sizeof(work->made[0]))
        memcpy(work->made[work->made_count++], mark.secret, sizeof(mark.secret));
    mark_opened(need->volume_uuid);
    work_doing(work, "restart libvirtd", "giving libvirt the secret of %s", need->what);
    return secrets_set(work->secrets, &need->secret, description, passphrase, err);
}

static bool is_held(struct work *work, const struct need *need)
{
    struct mark mark;
    memcpy(mark.secret, need->secret.uuid, sizeof(mark.secret));
    memcpy(mark.vm, work->vm, sizeof(mark.vm));
    return mark_is(HOOK_HELD, &mark, need->volume_uuid);
}

/* Not there: the disk is none of kyok's, and need->plain says so. */
static enum kyok_status fetch_plain(struct work *work, struct need *need,
                                    struct kyok_record_opened *opened, struct kyok_error *err)
{
    snprintf(work->key, sizeof(work->key), "kmip://%s?name=%s", work->request->kmip,
             need->volume_uuid);
    enum kyok_status status = kyok_record_fetch(work->context, work->request->kmip, &need->volume,
                                                &opened->passphrase, err);
    need->plain = status != KYOK_NOT_FOUND;
    return need->plain ? status : KYOK_OK;
}

enum kyok_status work_open_record(struct work *work, struct need *need,
                                  struct kyok_record_opened *opened, struct kyok_error *err)
{
    KYOK_TRY(work_ensure_context(work, err));
    work_doing(work, "kyok doctor tells which custodian does not answer",
               "opening the record of %s", need->what);
    if (need->plain)
        return fetch_plain(work, need, opened, err);
    int left = kyok_deadline_left_ms(work->deadline);
    enum kyok_status status = kyok_record_open(work->context, &need->copies, &need->binding,
                                               need->volume.fd >= 0 ? &need->volume : NULL,
                                               left > 0 ? (unsigned)left : 1, opened, err);
    snprintf(work->key, sizeof(work->key), "%s", opened->key);
    return status;
}

/* libvirtd has read the secret from a file and answers nobody until its VMs run: no call then. */
static bool is_preloaded(struct work *work, const struct need *need)
{
    struct stat status;
    struct need named = *need;
    if (stat(HOOK_PRELOADED, &status) != 0 || mark_age(&status) > HOOK_PRELOAD_SECONDS)
        return false;
    if (!named.secret.uuid[0] && !kyok_uuid_of_secret(need->volume_uuid, named.secret.uuid))
        return false;
    return is_held(work, &named);
}

enum kyok_status give(struct work *work, struct need *need, struct kyok_error *err)
{
    enum secret_state state;
    if (is_preloaded(work, need))
        return KYOK_OK;
    KYOK_TRY(work_ensure_secrets(work, err));
    KYOK_TRY(secrets_find(work->secrets, &need->secret, &state, err));
    if (state == SECRET_FOREIGN && need->plain)
        return KYOK_OK; /* a stored secret of a disk without record: none of kyok's */
    if (state == SECRET_FOREIGN)
        return refuse_foreign(need, err);
    /* Without a UUID of its own the secret gets the volume's, the same on all hosts. */
    if (!need->secret.uuid[0] && !kyok_uuid_of_secret(need->volume_uuid, need->secret.uuid))
        return kyok_fail(err, KYOK_FAULT, need->path, "the secret gets no UUID");
    if (state == SECRET_OURS && is_held(work, need))
        return KYOK_OK;
    KYOK_CLEANUP(kyok_record_opened_free) struct kyok_record_opened opened = {0};
    KYOK_TRY(work_open_record(work, need, &opened, err));
    if (!opened.passphrase)
        return check_foreign(work, need, err);
    return define(work, need, kyok_secret_bytes(opened.passphrase), err);
}

/* --- taking back --- */

static bool is_named(const struct domain *domain, const char *secret)
{
    for (size_t i = 0; i < domain->volume_count; i++)
        if (domain->volumes[i].secret_uuid &&
            strcasecmp(domain->volumes[i].secret_uuid, secret) == 0)
            return true;
    return false;
}

static bool is_made(const struct work *work, const char *secret)
{
    for (size_t i = 0; i < work->made_count; i++)
        if (strcmp(work->made[i], secret) == 0)
            return true;
    return false;
}

static void take_mark(void *caller, const struct mark *mark)
{
    struct work *work = caller;
    struct kyok_error err;
    if (work->domain && strcmp(mark->vm, work->vm) != 0)
        return;
    enum hook_action action = work->request->action;
    if (action == HOOK_UNPLUG && !is_named(work->domain, mark->secret))
        return;
    /* A hold that fails leaves what an earlier one gave, a plug what others have under way. */
    if ((action == HOOK_HOLD || action == HOOK_PLUG) && !is_made(work, mark->secret))
        return;
    /* The mark goes last: whoever dies before, or fails, leaves it to the next sweep. */
    if (mark_is_last(work->marks, mark) &&
        (work_ensure_secrets(work, &err) != KYOK_OK ||
         secrets_remove(work->secrets, mark->secret, &err) != KYOK_OK)) {
        char text[1400];
        fprintf(stderr, "kyok: %s\n", kyok_error_text(&err, text, sizeof(text)));
        return;
    }
    mark_drop(work->marks, mark);
}

int take_back(struct work *work)
{
    struct kyok_error err;
    KYOK_CLEANUP(marks_unlock) int lock = marks_lock(&err);
    if (lock < 0)
        return 1;
    /* A sweep passes over hooks that are still at work. */
    bool sweeps = work->request->action == HOOK_SWEEP;
    marks_each(work->marks, sweeps ? (long)(work->request->sweep_ms / 1000) : INT32_MIN, take_mark,
               work);
    return 0;
}
