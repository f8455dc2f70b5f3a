/* SPDX-License-Identifier: Apache-2.0 */
/* One run of the worker: what a domain needs, giving it, taking it back. */
#ifndef KYOK_HOOK_WORK_H
#define KYOK_HOOK_WORK_H

#include "common/disk/disk.h"
#include "libvirt-hook/hook.h"
#include "libvirt-hook/worker/marks.h"
#include "libvirt-hook/worker/secrets.h"

struct work {
    const struct hook_request *request;
    const struct domain *domain; /* NULL for a sweep */
    const char *marks;           /* HOOK_STARTING or HOOK_HELD */
    char vm[KYOK_UUID_TEXT];
    struct kyok_deadline deadline;
    struct kyok_context *context; /* made for the first record */
    struct secrets *secrets;
    char key[256]; /* of the record at hand, for messages */
    int result;
    /* The secrets that this run gave and that were not given before. */
    char made[DOMAIN_MAX_VOLUMES + 1][KYOK_UUID_TEXT];
    size_t made_count;
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
    bool foreign;   /* somebody else stored its secret */
    bool removable; /* a removable medium, which was not looked at */
    bool plain;     /* no record: a KMIP server may have the passphrase itself */
};

void need_free(struct need *need);
/* No copy of a record: not kyok's, and need->copies stays empty. */
enum kyok_status need_of_volume(struct work *work, const struct domain_volume *volume,
                                struct need *need, struct kyok_error *err);
enum kyok_status need_of_vtpm(struct work *work, const char *secret, struct need *need,
                              struct kyok_error *err);
/* Calls give for each thing that the domain needs, and stops at a failure, which it tells. */
typedef enum kyok_status give_function(struct work *work, struct need *need,
                                       struct kyok_error *err);
bool needs_each(struct work *work, give_function *give);

/* What the supervisor says if time is up. */
void work_doing(struct work *work, const char *remedy, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
enum kyok_status work_ensure_context(struct work *work, struct kyok_error *err);
enum kyok_status work_ensure_secrets(struct work *work, struct kyok_error *err);
enum kyok_status work_open_record(struct work *work, struct need *need,
                                  struct kyok_record_opened *opened, struct kyok_error *err);

/* An encrypted image without a record may use a secret that somebody else made, and no other: one
 * of kyok's was given for another disk, and one that does not exist could become one meanwhile. */
enum kyok_status check_foreign(struct work *work, struct need *need, struct kyok_error *err);
/* Opens the record and gives the passphrase to libvirt. */
enum kyok_status give(struct work *work, struct need *need, struct kyok_error *err);
/* Takes back what the marks of this VM say; without a domain, what old marks say. */
int take_back(struct work *work);

/* All domains of the request, into HOOK_PRELOADED; see preload.c. */
int preload(const struct hook_request *request);
int preload_end(const struct hook_request *request);

#endif
