/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/key_types.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const key_type_names[] = {
    [KYOK_KEY_UNKNOWN] = "unknown", [KYOK_KEY_RSA] = "rsa",     [KYOK_KEY_EC] = "ec",
    [KYOK_KEY_ED25519] = "ed25519", [KYOK_KEY_ED448] = "ed448", [KYOK_KEY_X25519] = "x25519",
    [KYOK_KEY_X448] = "x448",       [KYOK_KEY_AES] = "aes",     [KYOK_KEY_GENERIC] = "generic",
};

const char *kyok_key_type_name(enum kyok_key_type type)
{
    return key_type_names[type];
}

static const struct {
    const char *name;
    const char *alias;
    size_t size;
} hashes[] = {
    [KYOK_HASH_NONE] = {"none", "", 0},
    [KYOK_HASH_MD5_SHA1] = {"MD5-SHA1", "MD5-SHA1", 36},
    [KYOK_HASH_SHA1] = {"SHA1", "SHA-1", 20},
    [KYOK_HASH_SHA224] = {"SHA2-224", "SHA224", 28},
    [KYOK_HASH_SHA256] = {"SHA2-256", "SHA256", 32},
    [KYOK_HASH_SHA384] = {"SHA2-384", "SHA384", 48},
    [KYOK_HASH_SHA512] = {"SHA2-512", "SHA512", 64},
    [KYOK_HASH_SHA3_224] = {"SHA3-224", "SHA3-224", 28},
    [KYOK_HASH_SHA3_256] = {"SHA3-256", "SHA3-256", 32},
    [KYOK_HASH_SHA3_384] = {"SHA3-384", "SHA3-384", 48},
    [KYOK_HASH_SHA3_512] = {"SHA3-512", "SHA3-512", 64},
};

#define HASH_COUNT (sizeof(hashes) / sizeof(hashes[0]))

size_t kyok_hash_size(enum kyok_hash hash)
{
    return hashes[hash].size;
}

const char *kyok_hash_name(enum kyok_hash hash)
{
    return hashes[hash].name;
}

enum kyok_hash kyok_hash_by_name(const char *name)
{
    for (size_t i = 1; i < HASH_COUNT; i++) {
        if (strcasecmp(name, hashes[i].name) == 0 || strcasecmp(name, hashes[i].alias) == 0)
            return (enum kyok_hash)i;
    }
    return KYOK_HASH_NONE;
}

void kyok_key_info_clear(struct kyok_key_info *info)
{
    free(info->reference);
    free(info->label);
    free(info->id);
    free(info->public_key);
    free(info->certificate);
    free(info->custodian);
    memset(info, 0, sizeof(*info));
}

static bool copy_text(const char *text, char **copy)
{
    *copy = text == NULL ? NULL : strdup(text);
    return text == NULL || *copy != NULL;
}

static bool copy_data(const uint8_t *data, size_t size, uint8_t **copy)
{
    *copy = data == NULL ? NULL : malloc(size + 1);
    if (*copy != NULL)
        memcpy(*copy, data, size);
    return data == NULL || *copy != NULL;
}

bool kyok_key_info_copy(const struct kyok_key_info *info, struct kyok_key_info *copy)
{
    bool done;

    *copy = *info;
    done = copy_text(info->reference, &copy->reference);
    done &= copy_text(info->label, &copy->label);
    done &= copy_text(info->custodian, &copy->custodian);
    done &= copy_data(info->id, info->id_size, &copy->id);
    done &= copy_data(info->public_key, info->public_key_size, &copy->public_key);
    done &= copy_data(info->certificate, info->certificate_size, &copy->certificate);
    if (!done)
        kyok_key_info_clear(copy);
    return done;
}
