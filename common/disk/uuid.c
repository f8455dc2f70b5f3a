/* SPDX-License-Identifier: Apache-2.0 */
#include "common/disk/uuid.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

/* kyok's namespace for version 5: a constant of its own, drawn once. */
static const uint8_t secret_namespace[16] = {0x8e, 0x2f, 0x5b, 0x1c, 0x77, 0x0d, 0x4c, 0x39,
                                             0xa1, 0x64, 0x3b, 0xd9, 0x52, 0xe6, 0x0f, 0x48};

bool kyok_uuid_canonical(const char *given, char text[KYOK_UUID_TEXT])
{
    if (!given || strlen(given) != KYOK_UUID_TEXT - 1)
        return false;
    for (size_t i = 0; i < KYOK_UUID_TEXT - 1; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? given[i] != '-' : !isxdigit((unsigned char)given[i]))
            return false;
        text[i] = (char)tolower((unsigned char)given[i]);
    }
    text[KYOK_UUID_TEXT - 1] = 0;
    return true;
}

static void uuid_format(uint8_t bytes[16], unsigned version, char text[KYOK_UUID_TEXT])
{
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | (version << 4));
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    char hex[33];
    kyok_hex_encode(kyok_bytes(bytes, 16), hex);
    snprintf(text, KYOK_UUID_TEXT, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
             hex + 20);
}

bool kyok_uuid_random(char text[KYOK_UUID_TEXT])
{
    uint8_t bytes[16];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return false;
    uuid_format(bytes, 4, text);
    return true;
}

bool kyok_uuid_of_secret(const char *luks_uuid, char text[KYOK_UUID_TEXT])
{
    char canonical[KYOK_UUID_TEXT];
    if (!kyok_uuid_canonical(luks_uuid, canonical))
        return false;
    uint8_t input[sizeof(secret_namespace) + KYOK_UUID_TEXT - 1];
    memcpy(input, secret_namespace, sizeof(secret_namespace));
    memcpy(input + sizeof(secret_namespace), canonical, KYOK_UUID_TEXT - 1);
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (EVP_Digest(input, sizeof(input), digest, &size, EVP_sha1(), NULL) != 1 || size < 16)
        return false;
    uuid_format(digest, 5, text);
    return true;
}
