/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets that somebody else stored in libvirt, out of its own files: while libvirtd starts VMs by
 * itself it answers nobody, and a VM that is none of kyok's must not wait for it. */
#include "libvirt-hook/hook.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SECRET_XML_MAX 65536

static bool read_secret(const char *folder, const char *name, struct stored_secret *secret)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "re");
    char *text = file ? malloc(SECRET_XML_MAX) : NULL;
    size_t size = text ? fread(text, 1, SECRET_XML_MAX, file) : 0;
    bool good = size > 0 && stored_secret_parse(text, size, secret);
    free(text);
    if (file)
        fclose(file);
    return good;
}

static bool is_meant(const struct stored_secret *secret, const char *uuid, const char *usage)
{
    if (uuid)
        return secret->uuid && strcasecmp(secret->uuid, uuid) == 0;
    return usage && secret->usage && strcmp(secret->usage, usage) == 0;
}

static bool is_stored(const char *folder, const char *uuid, const char *usage)
{
    DIR *list = opendir(folder);
    bool found = false;
    for (struct dirent *entry; list && !found && (entry = readdir(list));) {
        struct stored_secret secret;
        size_t size = strlen(entry->d_name);
        if (entry->d_name[0] == '.' || size < 4 || strcmp(entry->d_name + size - 4, ".xml") != 0 ||
            !read_secret(folder, entry->d_name, &secret))
            continue;
        found = !secret.ours && is_meant(&secret, uuid, usage);
        stored_secret_free(&secret);
    }
    if (list)
        closedir(list);
    return found;
}

bool hook_mark_foreign(struct domain *domain, const char *secrets_folder)
{
    bool all = true;
    for (size_t i = 0; i < domain->volume_count; i++) {
        struct domain_volume *volume = &domain->volumes[i];
        volume->foreign = is_stored(secrets_folder, volume->secret_uuid, volume->secret_usage);
        all = all && volume->foreign;
    }
    domain->vtpm_foreign =
        domain->vtpm_secret && is_stored(secrets_folder, domain->vtpm_secret, NULL);
    return all && (!domain->vtpm_secret || domain->vtpm_foreign);
}
