/* SPDX-License-Identifier: Apache-2.0 */
/* A new key, or a new version of one, that several tokens of one group share. */
#include "common/key/life.h"

#include <string.h>
#include <time.h>

/* Only pre-active versions that rotation adds stand behind another one, and only those that are
 * begun here have no time at which they were made. */
static struct kyok_key_version *begun(struct kyok_key_record *record)
{
    struct kyok_key_version *last = &record->versions[record->count - 1];

    return (record->count > 1 || last->made == 0) && last->state == KYOK_STATE_PRE_ACTIVE &&
                   last->wrapped_size == 0
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
        return by_vendor(old, "a key of this type does not pass by CKM_AES_KEY_WRAP_PAD", err);
    if (config != NULL && config->require == KYOK_REQUIRE_NEVER_EXTRACTABLE)
        return by_vendor(old, "this group requires never-extractable", err);
    if (info->never_extractable == KYOK_YES)
        return by_vendor(old, "this key was made never to leave its token", err);
    return KYOK_OK;
}

/* --- in every token --- */

struct kind {
    enum kyok_key_type type;
    unsigned bits;
};

static enum kyok_status spread_with(const struct kyok_life *life, void *arg, enum kyok_hash hash,
                                    struct kyok_error *err)
{
    struct kyok_spread_request *request = arg;

    if (hash != request->hash) /* some token may have taken the first */
        KYOK_TRY(kyok_life_forget(life, request->name, err));
    request->hash = hash;
    return kyok_life_spread(life, request, err);
}

static enum kyok_status spread(const struct kyok_life *life, struct kind kind,
                               const struct kyok_key_version *version, bool allow_sha1,
                               struct kyok_error *err)
{
    struct kyok_spread_request request = {.type = kind.type,
                                          .bits = kind.bits,
                                          .usage = version->usage,
                                          .hash = KYOK_HASH_SHA256,
                                          .name = &version->name};

    return kyok_life_try_oaep(life, spread_with, &request, allow_sha1, err);
}

/* Members are compared before the version is used. */
static enum kyok_status compare(const struct kyok_life *life,
                                const struct kyok_key_version *version, struct kyok_error *err)
{
    KYOK_AUTO_KEY struct kyok_key *key = NULL;

    KYOK_TRY(kyok_life_open(life, &version->name, &key, err));
    return kyok_key_check(key, err);
}

/* In the record as pre-active first, so that a run that is killed is taken back by the next. */
static enum kyok_status put_everywhere(const struct kyok_life *life, struct kyok_key_record *record,
                                       struct kyok_key_version *version, struct kind kind,
                                       bool allow_sha1, struct kyok_error *err)
{
    version->state = KYOK_STATE_PRE_ACTIVE;
    version->bits = kind.type == KYOK_KEY_AES ? kind.bits : 0;
    record->count++;
    KYOK_TRY(kyok_life_write(life, record, err));
    KYOK_TRY(spread(life, kind, version, allow_sha1, err));
    KYOK_TRY(compare(life, version, err));
    version->state = KYOK_STATE_ACTIVE;
    version->made = time(NULL);
    return kyok_life_write(life, record, err);
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
    status = put_everywhere(life, record, version,
                            (struct kind){kyok_key_info(key)->type, kyok_key_info(key)->bits},
                            allow_sha1, err);
    if (status != KYOK_OK)
        (void)kyok_life_take_back(life, record, &ignored); /* or the next run does it */
    return status;
}

/* --- a first version --- */

static enum kyok_status may_be_shared(const struct kyok_life *life,
                                      const struct kyok_generate_request *request,
                                      struct kyok_error *err)
{
    const struct kyok_token_config *config =
        kyok_config_token(kyok_context_config(life->context), life->custodian->name);
    size_t tokens;

    if (request->type != KYOK_KEY_AES && request->type != KYOK_KEY_RSA &&
        request->type != KYOK_KEY_EC) {
        kyok_fail(err, KYOK_UNSUPPORTED, life->reference->text,
                  "only AES, RSA and EC keys pass from token to token (CKM_AES_KEY_WRAP_PAD)");
        return kyok_remedy(err, "make an EC key (--type ec-p256), or make this one in one token "
                                "and clone it with the vendor's tool");
    }
    if (config != NULL && config->require == KYOK_REQUIRE_NEVER_EXTRACTABLE) {
        kyok_fail(err, KYOK_REFUSED, life->reference->text,
                  "a key for several tokens leaves one of them wrapped, and this group requires "
                  "never-extractable");
        return kyok_remedy(err, "make it in one token (token= in the reference) and clone it with "
                                "the vendor's tool");
    }
    KYOK_TRY(kyok_life_tokens(life, &tokens, err));
    if (tokens > 1)
        return KYOK_OK;
    kyok_fail(err, KYOK_INVALID, life->reference->text, "the reference names one token");
    return kyok_remedy(err, "leave out --replicate: a key of one token is born never-extractable");
}

/* What a run that was killed has left goes; any other record is a key's. */
static enum kyok_status begin_record(const struct kyok_life *life, struct kyok_key_record *record,
                                     struct kyok_error *err)
{
    enum kyok_status status = kyok_life_read(life, life->base, record, err);
    struct kyok_key_version *version = &record->versions[0];
    uint64_t serial = 0;

    if (status != KYOK_OK && status != KYOK_NOT_FOUND)
        return status;
    if (status == KYOK_OK) {
        if (record->count != 1 || begun(record) == NULL)
            return kyok_fail(err, KYOK_REFUSED, life->base, "there is a key of this name already");
        KYOK_TRY(kyok_life_forget(life, &version->name, err));
        serial = record->serial;
    }
    *record = (struct kyok_key_record){.serial = serial};
    strcpy(record->name, life->base);
    return kyok_life_refuse_existing(life, err);
}

static enum kyok_status name_first(const struct kyok_life *life,
                                   const struct kyok_generate_request *request,
                                   struct kyok_key_name *name, struct kyok_error *err)
{
    struct kyok_bytes id = request->id;

    if (id.size == 0 && life->reference->has_id)
        id = kyok_bytes(life->reference->id, life->reference->id_size);
    strcpy(name->label, life->base);
    if (id.size == 0)
        return kyok_life_new_id(name, err);
    if (id.size > KYOK_RECORD_ID_MAX)
        return kyok_fail(err, KYOK_INVALID, life->reference->text, "the id is too long");
    memcpy(name->id, id.data, id.size);
    name->id_size = id.size;
    return KYOK_OK;
}

enum kyok_status kyok_key_generate_everywhere(struct kyok_context *context,
                                              const struct kyok_reference *reference,
                                              const struct kyok_generate_request *request,
                                              bool allow_sha1, struct kyok_reference **made,
                                              struct kyok_error *err)
{
    KYOK_AUTO_RECORD record = kyok_life_record_new(err);
    struct kyok_key_version *version;
    struct kyok_error ignored;
    struct kyok_life life;
    enum kyok_status status;

    *made = NULL;
    if (record == NULL)
        return err->status;
    KYOK_TRY(kyok_life_begin(context, reference, &life, err));
    KYOK_TRY(kyok_life_need_new_name(&life, err));
    KYOK_TRY(may_be_shared(&life, request, err));
    KYOK_TRY(begin_record(&life, record, err));
    version = &record->versions[0];
    version->usage = kyok_generated_usage(request->type, request->uses);
    KYOK_TRY(name_first(&life, request, &version->name, err));
    status = put_everywhere(&life, record, version, (struct kind){request->type, request->bits},
                            allow_sha1, err);
    kyok_life_event("create", &life, &version->name, "in every token of the group", status);
    if (status == KYOK_OK)
        return kyok_life_reference(&life, &version->name, made, err);
    if (kyok_life_forget(&life, &version->name, &ignored) == KYOK_OK)
        (void)kyok_life_forget_record(&life, record->name, &ignored);
    return status;
}
