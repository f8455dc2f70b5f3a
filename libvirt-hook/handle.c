/* SPDX-License-Identifier: Apache-2.0 */
/* What the program loads for a domain that may matter, and for its options: the XML is read with
 * libxml2, and the worker is loaded for a domain with a record. */
#include "libvirt-hook/age.h"
#include "libvirt-hook/hook.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HOOK_VERSION "kyok libvirt hook, interface 1"

static int load_and_work(const struct hook_request *request)
{
    void *library = dlopen(HOOK_WORKER, RTLD_NOW | RTLD_LOCAL);
    hook_worker *work = NULL;
    if (library)
        *(void **)&work = dlsym(library, HOOK_WORKER_SYMBOL);
    if (!work) {
        fprintf(stderr, "kyok: %s cannot be loaded: %s; install kyok again\n", HOOK_WORKER,
                dlerror());
        return 1;
    }
    return work(request);
}

static bool read_config(struct hook_config *config)
{
    if (hook_read_config(HOOK_CONFIG, config))
        return true;
    fprintf(stderr,
            "kyok: %s: expected a file that can be read, with lines \"timeout = 3s\" (100ms to "
            "60s), \"sweep = 50s\" (1s to 50s) and "
            "\"kmip = GROUP\"\n",
            HOOK_CONFIG);
    return false;
}

static int work_on(enum hook_action action, const struct hook_config *config,
                   const struct domain *domains, size_t count)
{
    const struct hook_request request = {
        .action = action,
        .domains = domains,
        .domain_count = count,
        .kmip = config->kmip,
        .sweep_ms = config->sweep_ms,
        .timeout_ms = action == HOOK_PRELOAD || action == HOOK_PRELOAD_END ? HOOK_PRELOAD_TIMEOUT_MS
                                                                           : config->timeout_ms};
    return hook_supervise(&request, load_and_work);
}

static bool is_needed(enum hook_action action, const struct hook_config *config,
                      struct domain *domain)
{
    const char *uuid = domain->uuid ? domain->uuid : "";
    if (action == HOOK_RELEASE)
        return hook_has_mark(HOOK_STARTING, uuid);
    if (action == HOOK_DROP)
        return hook_has_mark(HOOK_HELD, uuid);
    if (action == HOOK_UNPLUG)
        return hook_has_mark(HOOK_STARTING, uuid);
    if (action == HOOK_PREPARE && hook_is_locked(uuid))
        return true; /* whatever its disks are */
    bool foreign = hook_mark_foreign(domain, HOOK_SECRETS);
    return !foreign || hook_may_have_record(domain, config);
}

static int handle_domain(const struct hook_call *call)
{
    struct domain domain;
    char why[256] = "the domain's XML cannot be read";
    if (!call->xml || !domain_parse(call->xml, call->size, &domain, why, sizeof(why))) {
        fprintf(stderr, "kyok: VM %s: %s\n", call->vm, why);
        /* Nothing to take back can be told from XML that cannot be read. */
        return call->action == HOOK_RELEASE ? 0 : 1;
    }
    struct hook_config config;
    int result = 1;
    if (read_config(&config))
        result = is_needed(call->action, &config, &domain)
                     ? work_on(call->action, &config, &domain, 1)
                     : 0;
    domain_free(&domain);
    return result;
}

static int preload_all(void)
{
    size_t count;
    struct hook_config config;
    if (!read_config(&config))
        return 1;
    struct domain *domains = autostart_read(HOOK_AUTOSTART, &config, &count);
    int result = count ? work_on(HOOK_PRELOAD, &config, domains, count) : 0;
    autostart_free(domains, count);
    return result;
}

static int sweep(void)
{
    struct hook_config config;
    return read_config(&config) ? work_on(HOOK_SWEEP, &config, NULL, 0) : 1;
}

/* --- the guard: one process per host that sweeps marks whose hooks were killed --- */

/* Seconds until the oldest mark is to be swept; -1: there is none. */
static long next_sweep(void)
{
    long soonest = -1;
    struct hook_config config;
    if (!hook_read_config(HOOK_CONFIG, &config))
        config.sweep_ms = HOOK_SWEEP_MS;
    long age = config.sweep_ms / 1000;
    DIR *folder = opendir(HOOK_STARTING);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        struct stat status;
        if (entry->d_name[0] == '.' || fstatat(dirfd(folder), entry->d_name, &status, 0) != 0)
            continue;
        long left = age - mark_age(&status);
        left = left < 0 ? 0 : left > age ? age : left;
        if (soonest < 0 || left < soonest)
            soonest = left;
    }
    if (folder)
        closedir(folder);
    return soonest;
}

/* Under HOOK_RUN/lock, as marks are made: who makes one either sees this guard's lock or starts
 * another guard. */
static bool may_end(int guard)
{
    int lock = open(HOOK_RUN "/lock", O_RDWR | O_CLOEXEC);
    bool end = lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0 && next_sweep() < 0;
    if (end)
        close(guard);
    if (lock >= 0)
        close(lock);
    return end;
}

static int stand_guard(void)
{
    int guard = open(HOOK_RUN "/guard", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (guard < 0 || flock(guard, LOCK_EX | LOCK_NB) != 0)
        return 0;
    while (!may_end(guard)) {
        long left = next_sweep();
        struct timespec wait = {.tv_sec = left > 0 ? left + 1 : 1};
        nanosleep(&wait, NULL);
        if (next_sweep() == 0)
            sweep();
    }
    return 0;
}

static int preload_end(void)
{
    struct hook_config config;
    return read_config(&config) ? work_on(HOOK_PRELOAD_END, &config, NULL, 0) : 1;
}

static int version(void)
{
    return puts(HOOK_VERSION) < 0;
}

static const struct {
    const char *name;
    int (*run)(void);
} options[] = {
    {"--version", version},     {"--guard", stand_guard},       {"--sweep", sweep},
    {"--preload", preload_all}, {"--preload-end", preload_end},
};

static int usage(void)
{
    fputs("kyok: libvirt runs this hook as: kyok VM OPERATION SUB-OPERATION EXTRA; see "
          "kyok-libvirt-hook(8)\n",
          stderr);
    return 2;
}

int kyok_hook_handle(const struct hook_call *call);

__attribute__((visibility("default"))) int kyok_hook_handle(const struct hook_call *call)
{
    if (!call->option)
        return handle_domain(call);
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (strcmp(call->option, options[i].name) == 0)
            return options[i].run();
    return usage();
}
