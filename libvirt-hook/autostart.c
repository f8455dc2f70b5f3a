/* SPDX-License-Identifier: Apache-2.0 */
/* The domains that libvirtd starts by itself, out of its own files, before it runs. */
#include "libvirt-hook/hook.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AUTOSTART_MAX 4096

static bool read_domain(const char *path, struct domain *domain)
{
    char why[256] = "it cannot be read";
    FILE *file = fopen(path, "re");
    char *text = file ? malloc(DOMAIN_XML_MAX) : NULL;
    size_t size = text ? fread(text, 1, DOMAIN_XML_MAX, file) : 0;
    bool good = size > 0 && domain_parse(text, size, domain, why, sizeof(why));
    if (!good)
        fprintf(stderr, "kyok: %s: %s\n", path, why);
    free(text);
    if (file)
        fclose(file);
    return good;
}

/* The highest priority first; then by name, so that the order is always the same. */
static int compare(const void *left, const void *right)
{
    const struct domain *a = left, *b = right;
    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    return strcmp(a->name ? a->name : "", b->name ? b->name : "");
}

static bool keep(struct domain **list, size_t *count, const struct domain *domain)
{
    struct domain *grown =
        *count < AUTOSTART_MAX ? realloc(*list, (*count + 1) * sizeof(*grown)) : NULL;
    if (!grown)
        return false;
    *list = grown;
    grown[(*count)++] = *domain;
    return true;
}

struct domain *autostart_read(const char *folder, const struct hook_config *config, size_t *count)
{
    struct domain *list = NULL;
    DIR *files = opendir(folder);
    *count = 0;
    for (struct dirent *entry; files && (entry = readdir(files));) {
        char path[4096];
        struct domain domain;
        size_t size = strlen(entry->d_name);
        if (size < 4 || strcmp(entry->d_name + size - 4, ".xml") != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (!read_domain(path, &domain))
            continue;
        /* Who locks a VM expects none of its keys on the host. */
        if (hook_is_locked(domain.uuid ? domain.uuid : "") ||
            !hook_may_have_record(&domain, config) || !keep(&list, count, &domain))
            domain_free(&domain);
    }
    if (files)
        closedir(files);
    if (list)
        qsort(list, *count, sizeof(*list), compare);
    return list;
}

void autostart_free(struct domain *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        domain_free(&list[i]);
    free(list);
}
