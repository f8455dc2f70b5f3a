/* SPDX-License-Identifier: Apache-2.0 */
/* The same key in another token of its group. */
#include "common/key/life.h"

#include <string.h>

static enum kyok_status replicate_with(const struct kyok_life *life, struct kyok_key *key,
                                       const struct kyok_key_version *version, const char *token,
                                       bool allow_sha1, struct kyok_error *err)
{
    static const enum kyok_hash hashes[] = {KYOK_HASH_SHA256, KYOK_HASH_SHA1};
    enum kyok_status status = KYOK_UNSUPPORTED;

    for (size_t i = 0; i < (allow_sha1 ? 2 : 1); i++) {
        status = kyok_life_replicate(life, key, token, version, hashes[i], err);
        if (status == KYOK_OK || status == KYOK_REFUSED || status == KYOK_NOT_FOUND ||
            status == KYOK_UNREACHABLE || status == KYOK_TIMEOUT)
            return status;
    }
    if (!allow_sha1)
        kyok_remedy(err, "if the tokens take RSA-OAEP with SHA-1 only, add --allow-oaep-sha1");
    return status;
}

enum kyok_status kyok_key_replicate(struct kyok_context *context,
                                    const struct kyok_reference *reference, const char *token,
                                    bool allow_sha1, struct kyok_error *err)
{
    KYOK_AUTO_RECORD record = kyok_life_record_new(err);
    KYOK_AUTO_KEY struct kyok_key *key = NULL;
    struct kyok_key_version *version;
    struct kyok_life life;
    enum kyok_status status;

    if (record == NULL)
        return err->status;
    KYOK_TRY(kyok_life_begin(context, reference, &life, err));
    KYOK_TRY(kyok_life_record(&life, record, err));
    KYOK_TRY(kyok_life_version(&life, record, &version, err));
    if (version->wrapped_size > 0)
        return kyok_fail(err, KYOK_UNSUPPORTED, reference->text,
                         "a descendant is in every token that has its parent: replicate that");
    KYOK_TRY(kyok_life_open(&life, &version->name, &key, err));
    status = replicate_with(&life, key, version, token, allow_sha1, err);
    kyok_life_event("create", &life, &version->name, "replica", status);
    KYOK_TRY(status);
    if (version->bits == 0 && kyok_key_info(key)->type == KYOK_KEY_AES)
        version->bits = kyok_key_info(key)->bits; /* the new member may not tell it */
    if (record->serial > 0 || version->bits != 0) /* the new member gets the record too */
        KYOK_TRY(kyok_life_write(&life, record, err));
    return kyok_key_check(key, err);
}
