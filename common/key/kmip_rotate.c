/* SPDX-License-Identifier: Apache-2.0 */
/* New versions and descendants at a KMIP server. Older versions stay active there: a server may
 * refuse to decrypt with a deactivated key, and what was sealed before must open. */
#include "common/key/life_kmip.h"

#include <stdio.h>
#include <string.h>

/* A descendant and its versions say of which key they are; a server that keeps no such word has no
 * tree, and its keys work all the same. */
static void say_parent(const struct kyok_kmip_life *life, const char *identifier,
                       const char *parent)
{
    struct kyok_kmip_attribute word = kyok_kmip_attribute_custom(
        kyok_bytes_of_text(KYOK_KMIP_PARENT), kyok_bytes_of_text(parent));
    struct kyok_error ignored;

    if (parent[0] != '\0')
        (void)kyok_kmip_add_attribute(life->client, kyok_bytes_of_text(identifier), &word,
                                      life->deadline, &ignored);
}

/* --- rotation --- */

/* What a rotation that was cut short has left: made, and not activated. */
static struct kyok_life_version *unfinished(const struct kyok_kmip_life *life)
{
    struct kyok_life_version *newest = &life->versions[life->count - 1];

    return life->count > 1 && newest->state == KYOK_STATE_PRE_ACTIVE && newest->activate == 0
               ? newest
               : NULL;
}

static unsigned highest_number(const struct kyok_kmip_life *life)
{
    unsigned highest = (unsigned)life->count;

    for (size_t i = 0; i < life->count; i++) {
        const char *name = life->versions[i].name;
        size_t base = strlen(life->base);
        unsigned number;

        if (strncmp(name, life->base, base) == 0 && sscanf(name + base, ".v%u", &number) == 1 &&
            number > highest)
            highest = number;
    }
    return highest;
}

static enum kyok_status create_version(const struct kyok_kmip_life *life,
                                       const struct kyok_life_version *old,
                                       char identifier[KYOK_RECORD_LABEL_MAX + 1],
                                       struct kyok_error *err)
{
    char name[KYOK_RECORD_LABEL_MAX + 1];
    struct kyok_kmip_creation creation = {.object_type = old->object_type,
                                          .algorithm = old->algorithm,
                                          .bits = old->bits,
                                          .usage = old->usage,
                                          .public_usage =
                                              KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_VERIFY |
                                              KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT,
                                          .name = name};
    struct kyok_kmip_created created;

    if (life->base[0] == '\0') {
        kyok_fail(err, KYOK_UNSUPPORTED, life->reference->text,
                  "the server has no Re-key, and a key without a Name has no versions by name");
        return kyok_remedy(err, "make another key with a name, and rewrap to it");
    }
    if (old->algorithm != KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES &&
        old->algorithm != KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_RSA)
        return kyok_fail(err, KYOK_UNSUPPORTED, life->reference->text,
                         "AES and RSA keys have versions at a KMIP server, this is another");
    snprintf(name, sizeof(name), "%.100s.v%u", life->base, highest_number(life) + 1);
    KYOK_TRY(kyok_kmip_create(life->client, &creation, life->deadline, &created, err));
    if (strlen(created.identifier) > KYOK_RECORD_LABEL_MAX)
        return kyok_fail(err, KYOK_UNSUPPORTED, life->reference->text, "so long an identifier");
    strcpy(identifier, created.identifier);
    return KYOK_OK;
}

static enum kyok_status new_version(const struct kyok_kmip_life *life,
                                    const struct kyok_life_version *old,
                                    struct kyok_life_version *made, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer id = {0};
    char identifier[KYOK_RECORD_LABEL_MAX + 1];
    enum kyok_status status = KYOK_UNSUPPORTED;

    if (old->object_type == KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY)
        status = kyok_kmip_re_key(life->client, kyok_bytes_of_text(old->identifier), life->deadline,
                                  &id, err);
    if (status == KYOK_OK && id.size <= sizeof(identifier))
        memcpy(identifier, id.data, id.size);
    else if (status == KYOK_UNSUPPORTED)
        status = create_version(life, old, identifier, err);
    KYOK_TRY(status);
    say_parent(life, identifier, old->parent);
    return kyok_kmip_life_read(life, identifier, made, err);
}

enum kyok_status kyok_life_kmip_rotate(struct kyok_context *context,
                                       const struct kyok_reference *reference,
                                       struct kyok_reference **made, struct kyok_error *err)
{
    KYOK_AUTO_KMIP_LIFE life;
    struct kyok_life_version version, *left;
    const struct kyok_life_version *old;

    KYOK_TRY(kyok_kmip_life_begin(context, reference, &life, err));
    KYOK_TRY(kyok_kmip_life_versions(&life, err));
    left = unfinished(&life);
    old = kyok_kmip_life_current(&life);
    if (left == NULL && old == NULL)
        return kyok_fail(err, KYOK_REFUSED, reference->text, "no version of this key is active");
    if (left != NULL)
        version = *left;
    else
        KYOK_TRY(new_version(&life, old, &version, err));
    if (version.state == KYOK_STATE_PRE_ACTIVE)
        KYOK_TRY(kyok_kmip_life_activate(&life, &version, err));
    return kyok_kmip_life_reference(&life, &version, made, err);
}

/* --- descendants: no KMIP server unwraps a key for one use, so each is a managed object --- */

enum kyok_status kyok_life_kmip_descend(struct kyok_context *context,
                                        const struct kyok_reference *root, const char *name,
                                        struct kyok_reference **made, struct kyok_error *err)
{
    struct kyok_kmip_creation creation = {.object_type = KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                                          .algorithm = KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES,
                                          .bits = 256,
                                          .usage = KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT |
                                                   KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_DECRYPT,
                                          .name = name};
    KYOK_AUTO_KMIP_LIFE life;
    struct kyok_kmip_created created;
    struct kyok_life_version version;
    const struct kyok_life_version *parent;

    KYOK_TRY(kyok_kmip_life_begin(context, root, &life, err));
    KYOK_TRY(kyok_kmip_life_versions(&life, err));
    parent = kyok_kmip_life_current(&life);
    if (parent == NULL)
        return kyok_fail(err, KYOK_REFUSED, root->text, "no version of this key is active");
    if (parent->algorithm != KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES)
        return kyok_fail(err, KYOK_UNSUPPORTED, root->text,
                         "only an AES key of 256 bits can have descendants");
    KYOK_TRY(kyok_kmip_create(life.client, &creation, life.deadline, &created, err));
    say_parent(&life, created.identifier, life.base[0] != '\0' ? life.base : parent->identifier);
    KYOK_TRY(kyok_kmip_life_read(&life, created.identifier, &version, err));
    if (version.state == KYOK_STATE_PRE_ACTIVE)
        KYOK_TRY(kyok_kmip_life_activate(&life, &version, err));
    return kyok_kmip_life_reference(&life, &version, made, err);
}
