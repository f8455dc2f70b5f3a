/* SPDX-License-Identifier: Apache-2.0 */
/* The same key in another token of its group. */
#include "common/key/life.h"

#include <string.h>

struct replica {
    struct kyok_key *key;
    const struct kyok_key_version *version;
    const char *token;
};

static enum kyok_status replicate_with(const struct kyok_life *life, void *arg, enum kyok_hash hash,
                                       struct kyok_error *err)
{
    const struct replica *replica = arg;

    return kyok_life_replicate(life, replica->key, replica->token, replica->version, hash, err);
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
    struct replica replica = {key, version, token};
    status = kyok_life_try_oaep(&life, replicate_with, &replica, allow_sha1, err);
    kyok_life_event("create", &life, &version->name, "replica", status);
    KYOK_TRY(status);
    if (version->bits == 0 && kyok_key_info(key)->type == KYOK_KEY_AES)
        version->bits = kyok_key_info(key)->bits; /* the new member may not tell it */
    if (record->serial > 0 || version->bits != 0) /* the new member gets the record too */
        KYOK_TRY(kyok_life_write(&life, record, err));
    return kyok_key_check(key, err);
}
