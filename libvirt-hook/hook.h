/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvirt-hook: gives libvirt the passphrases of a VM's encrypted disks for the moment of its
 * start. The program (main, glance) glances at the XML with the C library alone; the handler
 * (handle, domain, presence, supervise …), a shared object with libxml2 behind it, reads what may
 * matter and holds the deadline; the worker, another with libkyok and libvirt behind it, is loaded
 * for a domain with a record. It uses libvirt's secret driver only, never a domain's, and never
 * overwrites a secret of others.
 */
#ifndef KYOK_HOOK_HOOK_H
#define KYOK_HOOK_HOOK_H

#include "libvirt-hook/domain.h"

#include <stdint.h>

#define HOOK_CONFIG "/etc/kyok/libvirt-hook.conf"
#define HOOK_RUN "/run/kyok"
/* SECRET-UUID.VM-UUID files: this VM is starting, or was unlocked, and needs the secret. */
#define HOOK_STARTING HOOK_RUN "/starting"
#define HOOK_HELD HOOK_RUN "/held"
/* VOLUME-UUID files: when the hook last opened its record since the host started. */
#define HOOK_OPENED HOOK_RUN "/opened"
/* While it exists libvirtd is starting up with preloaded secrets, and answers nobody. */
#define HOOK_PRELOADED HOOK_RUN "/preloaded"
#define HOOK_PRELOAD_SECONDS 600
#define HOOK_PRELOAD_TIMEOUT_MS 60000
#define HOOK_AUTOSTART "/etc/libvirt/qemu/autostart"
#define HOOK_SECRETS "/etc/libvirt/secrets"
/* VM-UUID files: kyok vm lock. */
#define HOOK_LOCKED "/etc/kyok/locked"
#define HOOK_STORE "/etc/kyok/vm"
/* What libvirt calls a secret that a disk names by its UUID. */
#define HOOK_USAGE "kyok:"
#define HOOK_HANDLER "kyok-hook-handler.so"
#define HOOK_WORKER "kyok-hook.so"
#define HOOK_TIMEOUT_MS 3000
/* A mark whose hook was killed is swept after this, unless "sweep" says less. */
#define HOOK_SWEEP_MS 50000

enum hook_action {
    HOOK_NOTHING,
    HOOK_PREPARE,
    HOOK_RELEASE,
    HOOK_SWEEP,
    HOOK_HOLD,   /* kyok vm unlock: as prepare, until it is dropped */
    HOOK_DROP,   /* kyok vm lock */
    HOOK_PLUG,   /* kyok vm attach and copy: as prepare, of the disks in the XML alone */
    HOOK_UNPLUG, /* and when libvirt has them */
    HOOK_PRELOAD,
    HOOK_PRELOAD_END,
};

/* What the program hands to the handler: an option ("" where a call is wrong), or a domain's step
 * with its XML, NULL where that cannot be read. Returns the exit code. */
struct hook_call {
    const char *option;
    enum hook_action action;
    const char *vm, *xml;
    size_t size;
};
typedef int hook_handler(const struct hook_call *call);
#define HOOK_HANDLER_SYMBOL "kyok_hook_handle"

/* In memory shared with the supervisor: what to say if the deadline passes. */
struct hook_progress {
    char doing[512];
    char remedy[256];
};

struct hook_request {
    enum hook_action action;
    const struct domain *domains; /* one; all that start by themselves for a preload; else none */
    size_t domain_count;
    unsigned timeout_ms;
    unsigned sweep_ms; /* how old a mark is that a sweep takes */
    const char *kmip;  /* group of disks without a record, or "" */
    struct hook_progress *progress;
};

/* The worker's one symbol, "kyok_hook_work". Messages go to standard error. Returns 0, 1, or
 * HOOK_AWAY: a custodian is away, and nothing was left behind. */
#define HOOK_AWAY 3
#define HOOK_TRIES 5
typedef int hook_worker(const struct hook_request *request);
#define HOOK_WORKER_SYMBOL "kyok_hook_work"

/* Runs work in a child, relays its standard error, and ends it at the deadline: whatever a module
 * or libvirt does, this returns. 0, or 1 with one message on standard error. */
int hook_supervise(const struct hook_request *request, hook_worker *work);

struct hook_config {
    unsigned timeout_ms; /* "timeout = 3s"; HOOK_TIMEOUT_MS */
    unsigned sweep_ms;   /* "sweep = 50s"; HOOK_SWEEP_MS */
    /* "kmip = GROUP": where the passphrases of disks without a record are; "" */
    char kmip[64];
};
/* Reads HOOK_CONFIG, which need not exist; false for a wrong line, or if it cannot be read. */
bool hook_read_config(const char *path, struct hook_config *config);

/* Has this domain a record somewhere, as far as can be told without reading an image? */
bool hook_may_have_record(const struct domain *domain, const struct hook_config *config);
/* Marks the encrypted images whose secrets somebody else stored, so that none of kyok's can be
 * meant; true if all are. Asks libvirt's files, not libvirt. */
bool hook_mark_foreign(struct domain *domain, const char *secrets_folder);
/* Domains with a record that libvirtd starts by itself, the highest priority first; none that is
 * locked. */
struct domain *autostart_read(const char *folder, const struct hook_config *config, size_t *count);
void autostart_free(struct domain *list, size_t count);
/* kyok vm lock; uuid as the XML has it. */
bool hook_is_locked(const char *vm_uuid);
/* Is a mark of this VM in the folder? */
bool hook_has_mark(const char *folder, const char *vm_uuid);

#endif
