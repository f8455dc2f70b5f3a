/* SPDX-License-Identifier: Apache-2.0 */
/* A new version of a key that several tokens of one group share. */
#include "common/key/life.h"

#include <string.h>

/* Only pre-active versions that rotation adds stand behind another one. */
static struct kyok_key_version *begun(struct kyok_key_record *record)
{
    struct kyok_key_version *last = &record->versions[record->count - 1];

    return record->count > 1 && last->state == KYOK_STATE_PRE_ACTIVE && last->wrapped_size == 0
               ? last
               : NULL;
}

enum kyok_status kyok_life_take_back(const struct kyok_life *life, struct kyok_key_record *record,
                                     struct kyok_error *err)
{
    struct kyok_key_version *version = begun(record);

    if (version == NULL)
        return KYOK_OK;
    KYOK_TRY(kyok_life_forget(life, &version->name, err));
    *version = (struct kyok_key_version){.state = KYOK_STATE_PRE_ACTIVE};
    record->count--;
    return kyok_life_write(life, record, err);
}

/* --- may it be? --- */

static enum kyok_status by_vendor(const struct kyok_key_version *old, const char *why,
                                  struct kyok_error *err)
{
    kyok_fail(err, KYOK_REFUSED, old->name.label,
              "a new version for several tokens would have to leave one of them wrapped, and %s",
              why);
    return kyok_remedy(err, "make the new version in one token (token= in the reference) and clone "
                            "it with the vendor's tool");
}

static enum kyok_status check(const struct kyok_life *life, const struct kyok_key_version *old,
                              const struct kyok_key_info *info, struct kyok_error *err)
{
    const struct kyok_token_config *config =
        kyok_config_token(kyok_context_config(life->context), life->custodian->name);

    if (info->type != KYOK_KEY_AES && info->type != KYOK_KEY_RSA && info->type != KYOK_KEY_EC)
        return by_vendor(old, "no token unwraps a key of this type", err);
    if (config != NULL && config->require == KYOK_REQUIRE_NEVER_EXTRACTABLE)
        return by_vendor(old, "this group requires never-extractable", err);
    if (info->never_extractable == KYOK_YES)
        return by_vendor(old, "this key was made never to leave its token", err);
    return KYOK_OK;
}

/* --- in every token --- */

static enum kyok_status spread(const struct kyok_life *life, const struct kyok_key_info *info,
                               const struct kyok_key_version *version, bool allow_sha1,
                               struct kyok_error *err)
{
    static const enum kyok_hash hashes[] = {KYOK_HASH_SHA256, KYOK_HASH_SHA1};
    enum kyok_status status = KYOK_UNSUPPORTED;

    for (size_t i = 0; i < (allow_sha1 ? 2 : 1); i++) {
        struct kyok_spread_request request = {.type = info->type,
                                              .bits = info->bits,
                                              .usage = version->usage,
                                              .hash = hashes[i],
                                              .name = &version->name};

        if (i > 0) /* some token may have taken the first */
            KYOK_TRY(kyok_life_forget(life, &version->name, err));
        status = kyok_life_spread(life, &request, err);
        if (status == KYOK_OK || status == KYOK_REFUSED || status == KYOK_NOT_FOUND ||
            status == KYOK_UNREACHABLE || status == KYOK_TIMEOUT)
            return status;
    }
    if (!allow_sha1)
        kyok_remedy(err, "if the tokens take RSA-OAEP with SHA-1 only, add --allow-oaep-sha1");
    return status;
}

/* Members are compared before the version is used. */
static enum kyok_status compare(const struct kyok_life *life,
                                const struct kyok_key_version *version, struct kyok_error *err)
{
    KYOK_AUTO_KEY struct kyok_key *key = NULL;

    KYOK_TRY(kyok_life_open(life, &version->name, &key, err));
    return kyok_key_check(key, err);
}

enum kyok_status kyok_life_add_everywhere(const struct kyok_life *life,
                                          struct kyok_key_record *record,
                                          const struct kyok_key_version *old, bool allow_sha1,
                                          struct kyok_error *err)
{
    struct kyok_key_version *version = &record->versions[record->count];
    KYOK_AUTO_KEY struct kyok_key *key = NULL;
    struct kyok_error ignored;
    enum kyok_status status;

    KYOK_TRY(kyok_life_open(life, &old->name, &key, err));
    KYOK_TRY(check(life, old, kyok_key_info(key), err));
    version->state = KYOK_STATE_PRE_ACTIVE;
    version->bits = kyok_key_info(key)->type == KYOK_KEY_AES ? kyok_key_info(key)->bits : 0;
    record->count++;
    KYOK_TRY(kyok_life_write(life, record, err));
    status = spread(life, kyok_key_info(key), version, allow_sha1, err);
    if (status == KYOK_OK)
        status = compare(life, version, err);
    if (status == KYOK_OK) {
        version->state = KYOK_STATE_ACTIVE;
        return kyok_life_write(life, record, err);
    }
    (void)kyok_life_take_back(life, record, &ignored); /* or the next run does it */
    return status;
}
