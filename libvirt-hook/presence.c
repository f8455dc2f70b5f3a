/* SPDX-License-Identifier: Apache-2.0 */
/* The cheap questions that decide whether anything is loaded at all. */
#include "libvirt-hook/hook.h"

#include <dirent.h>
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

bool hook_may_have_record(const struct domain *domain)
{
    if (domain->volume_count == 0 && !domain->vtpm_secret)
        return false;
    if (domain->record_count > 0 || folder_has(HOOK_STORE, ".kyok") ||
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

bool hook_read_timeout(const char *path, unsigned *timeout_ms)
{
    char line[256];
    bool good = true;
    *timeout_ms = HOOK_TIMEOUT_MS;
    FILE *file = fopen(path, "re");
    while (file && good && fgets(line, sizeof(line), file)) {
        char *text = trim(line), *value = strchr(text, '=');
        if (*text == 0 || *text == '#')
            continue;
        if (value)
            *value++ = 0;
        good =
            value && strcmp(trim(text), "timeout") == 0 && parse_duration(trim(value), timeout_ms);
    }
    if (file)
        fclose(file);
    return good;
}
