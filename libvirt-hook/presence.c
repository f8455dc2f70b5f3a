/* SPDX-License-Identifier: Apache-2.0 */
/* The cheap questions that decide whether anything is loaded at all. */
#include "libvirt-hook/hook.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static bool exists(const char *path, const char *suffix)
{
    char name[4096];
    int size = snprintf(name, sizeof(name), "%s%s", path, suffix);
    return size > 0 && (size_t)size < sizeof(name) && access(name, F_OK) == 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), tail = strlen(end);
    return size >= tail && strcmp(text + size - tail, end) == 0;
}

/* A store that is not empty may hold the record of any of the images. */
static bool folder_has(const char *path, const char *end)
{
    DIR *folder = opendir(path);
    bool found = false;
    for (struct dirent *entry; folder && !found && (entry = readdir(folder));)
        found = entry->d_name[0] != '.' && ends_with(entry->d_name, end);
    if (folder)
        closedir(folder);
    return found;
}

bool hook_may_have_record(const struct domain *domain, const struct hook_config *config)
{
    if (domain->volume_count == 0 && !domain->vtpm_secret)
        return false;
    if (domain->record_count > 0 || config->kmip[0] || folder_has(HOOK_STORE, ".kyok") ||
        folder_has(HOOK_STORE, ".next"))
        return true;
    for (size_t i = 0; i < domain->volume_count; i++) {
        const char *path = domain->volumes[i].path;
        if (path && (exists(path, ".kyok") || exists(path, ".kyok.next")))
            return true;
    }
    return false;
}

bool hook_has_mark(const char *folder, const char *vm_uuid)
{
    char end[64];
    snprintf(end, sizeof(end), ".%.40s", vm_uuid);
    return *vm_uuid && folder_has(folder, end);
}

/* libvirt writes UUIDs in one way; anything else would be a path. */
bool hook_is_locked(const char *vm_uuid)
{
    char path[sizeof(HOOK_LOCKED) + 64];
    snprintf(path, sizeof(path), "%s/%.40s", HOOK_LOCKED, vm_uuid);
    return *vm_uuid && strspn(vm_uuid, "0123456789abcdef-") == strlen(vm_uuid) &&
           access(path, F_OK) == 0;
}

static bool parse_duration(const char *text, unsigned *milliseconds)
{
    char *unit;
    unsigned long number = strtoul(text, &unit, 10);
    if (unit == text || number > 60000)
        return false;
    if (strcmp(unit, "s") == 0 || *unit == 0)
        number *= 1000;
    else if (strcmp(unit, "ms") != 0)
        return false;
    *milliseconds = (unsigned)number;
    return number >= 100 && number <= 60000;
}

static char *trim(char *text)
{
    while (*text == ' ' || *text == '\t')
        text++;
    size_t size = strlen(text);
    while (size && strchr(" \t\r\n", text[size - 1]))
        text[--size] = 0;
    return text;
}

static bool read_line(const char *name, const char *value, struct hook_config *config)
{
    if (strcmp(name, "timeout") == 0)
        return parse_duration(value, &config->timeout_ms);
    if (strcmp(name, "sweep") == 0)
        return parse_duration(value, &config->sweep_ms) && config->sweep_ms >= 1000 &&
               config->sweep_ms <= HOOK_SWEEP_MS;
    if (strcmp(name, "kmip") != 0 || !*value || strlen(value) >= sizeof(config->kmip))
        return false;
    strcpy(config->kmip, value);
    return true;
}

bool hook_read_config(const char *path, struct hook_config *config)
{
    char line[256];
    *config = (struct hook_config){.timeout_ms = HOOK_TIMEOUT_MS, .sweep_ms = HOOK_SWEEP_MS};
    FILE *file = fopen(path, "re");
    bool good = file || errno == ENOENT;
    while (file && good && fgets(line, sizeof(line), file)) {
        char *text = trim(line), *value = strchr(text, '=');
        if (*text == 0 || *text == '#')
            continue;
        if (value)
            *value++ = 0;
        good = value && read_line(trim(text), trim(value), config);
    }
    good = good && (!file || !ferror(file));
    if (file)
        fclose(file);
    return good;
}
