/* SPDX-License-Identifier: Apache-2.0 */
/* Records, versions and descendants. */
#include "common/base/library_context.h"
#include "common/key/life.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

void kyok_key_auto_free(struct kyok_key **key)
{
    if (*key != NULL)
        kyok_key_free(*key);
}

void kyok_reference_auto_free(struct kyok_reference **reference)
{
    kyok_reference_free(*reference);
}

struct kyok_key_record *kyok_life_record_new(struct kyok_error *err)
{
    struct kyok_key_record *record = calloc(1, sizeof(*record));

    if (record == NULL)
        kyok_fail(err, KYOK_SYSTEM, NULL, "no memory");
    return record;
}

/* --- the group behind a reference --- */

enum kyok_status kyok_life_begin(struct kyok_context *context,
                                 const struct kyok_reference *reference, struct kyok_life *life,
                                 struct kyok_error *err)
{
    *life = (struct kyok_life){.context = context, .reference = reference};
    KYOK_TRY(kyok_custodian_find(context, reference, &life->custodian, err));
    if (life->custodian->ops != kyok_pkcs11_custodian_ops()) {
        kyok_fail(err, KYOK_UNSUPPORTED, reference->text,
                  "this is for keys in a token: a KMIP server has keys of its own making");
        return kyok_remedy(err, "make a key there: kyok kmip create GROUP --algorithm AES");
    }
    if (reference->object != NULL)
        kyok_key_record_base_name(reference->object, life->base);
    return KYOK_OK;
}

enum kyok_status kyok_life_need_name(const struct kyok_life *life, struct kyok_error *err)
{
    if (life->base[0] != '\0')
        return KYOK_OK;
    kyok_fail(err, KYOK_INVALID, life->reference->text, "the reference names no key");
    return kyok_remedy(err, "add object=NAME to it");
}

enum kyok_status kyok_life_reference(const struct kyok_life *life, const struct kyok_key_name *name,
                                     struct kyok_reference **reference, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    struct kyok_reference exact = *life->reference;

    exact.object = (char *)name->label;
    exact.id = (uint8_t *)name->id;
    exact.id_size = name->id_size;
    exact.has_id = name->id_size > 0;
    exact.type = KYOK_OBJECT_ANY;
    exact.pin_value = NULL;
    KYOK_TRY(kyok_reference_format(&exact, &text, err));
    if (!kyok_buffer_append(&text, "", 1))
        return kyok_fail(err, KYOK_SYSTEM, NULL, "no memory");
    return kyok_reference_parse((const char *)text.data, life->reference->origin,
                                kyok_context_config(life->context), reference, err);
}

enum kyok_status kyok_life_open(const struct kyok_life *life, const struct kyok_key_name *name,
                                struct kyok_key **key, struct kyok_error *err)
{
    KYOK_AUTO_REFERENCE struct kyok_reference *reference = NULL;

    KYOK_TRY(kyok_life_reference(life, name, &reference, err));
    return kyok_key_open(life->context, reference, kyok_bytes(NULL, 0), key, err);
}

enum kyok_status kyok_life_new_id(struct kyok_key_name *name, struct kyok_error *err)
{
    name->id_size = 16;
    if (RAND_bytes_ex(kyok_library_context(), name->id, name->id_size, 0) == 1)
        return KYOK_OK;
    return kyok_fail(err, KYOK_SYSTEM, name->label, "no randomness for an id");
}

void kyok_life_event(const char *type, const struct kyok_life *life,
                     const struct kyok_key_name *name, const char *detail, enum kyok_status status)
{
    char id[2 * KYOK_RECORD_ID_MAX + 1];
    struct kyok_event event = {.type = type,
                               .key = name->label,
                               .version = id,
                               .custodian = life->custodian->name,
                               .detail = detail,
                               .result = kyok_status_name(status)};

    kyok_hex_encode(kyok_bytes(name->id, name->id_size), id);
    kyok_event_emit(&event);
}

/* --- records --- */

static unsigned usage_of(const struct kyok_key_info *info)
{
    return (info->may_encrypt == KYOK_YES ? KYOK_USAGE_ENCRYPT : 0) |
           (info->may_decrypt == KYOK_YES ? KYOK_USAGE_DECRYPT : 0) |
           (info->may_wrap == KYOK_YES ? KYOK_USAGE_WRAP : 0) |
           (info->may_unwrap == KYOK_YES ? KYOK_USAGE_UNWRAP : 0) |
           (info->may_sign == KYOK_YES ? KYOK_USAGE_SIGN : 0) |
           (info->may_derive == KYOK_YES ? KYOK_USAGE_DERIVE : 0);
}

static enum kyok_status recorded_name(const struct kyok_life *life,
                                      const struct kyok_key_info *info, struct kyok_key_name *name,
                                      struct kyok_error *err)
{
    if (info->label == NULL || strlen(info->label) > KYOK_RECORD_LABEL_MAX ||
        info->id_size > KYOK_RECORD_ID_MAX)
        return kyok_fail(err, KYOK_UNSUPPORTED, life->reference->text,
                         "a key without label, or with so long a label or id, has no recorded "
                         "life");
    strcpy(name->label, info->label);
    if (info->id_size > 0)
        memcpy(name->id, info->id, info->id_size);
    name->id_size = info->id_size;
    return KYOK_OK;
}

/* What a key without a record would have: one version, in use. */
static enum kyok_status implied_record(const struct kyok_life *life, struct kyok_key_record *record,
                                       struct kyok_error *err)
{
    KYOK_AUTO_KEY struct kyok_key *key = NULL;
    struct kyok_key_version *version = &record->versions[0];
    const struct kyok_key_info *info;

    KYOK_TRY(kyok_key_open(life->context, life->reference, kyok_bytes(NULL, 0), &key, err));
    info = kyok_key_info(key);
    *record = (struct kyok_key_record){.count = 1};
    strcpy(record->name, life->base);
    KYOK_TRY(recorded_name(life, info, &version->name, err));
    version->state = KYOK_STATE_ACTIVE;
    version->usage = usage_of(info);
    return KYOK_OK;
}

enum kyok_status kyok_life_record(const struct kyok_life *life, struct kyok_key_record *record,
                                  struct kyok_error *err)
{
    enum kyok_status status;

    KYOK_TRY(kyok_life_need_name(life, err));
    status = kyok_life_read(life, life->base, record, err);
    if (status != KYOK_NOT_FOUND)
        return status;
    return implied_record(life, record, err);
}

enum kyok_status kyok_life_version(const struct kyok_life *life, struct kyok_key_record *record,
                                   struct kyok_key_version **version, struct kyok_error *err)
{
    const struct kyok_reference *reference = life->reference;

    *version =
        kyok_key_record_version(record, reference->object, reference->has_id ? reference->id : NULL,
                                reference->has_id ? reference->id_size : 0);
    if (*version != NULL)
        return KYOK_OK;
    kyok_fail(err, KYOK_NOT_FOUND, reference->text, "%s has no such version", record->name);
    return kyok_remedy(err, "see kyok key state");
}

enum kyok_status kyok_key_record(struct kyok_context *context,
                                 const struct kyok_reference *reference,
                                 struct kyok_key_record *record, struct kyok_error *err)
{
    struct kyok_life life;

    if (reference->kind == KYOK_REFERENCE_KMIP)
        return kyok_life_kmip_record(context, reference, record, err);
    KYOK_TRY(kyok_life_begin(context, reference, &life, err));
    return kyok_life_record(&life, record, err);
}

enum kyok_status kyok_key_records(struct kyok_context *context,
                                  const struct kyok_reference *reference,
                                  kyok_key_record_visitor *visit, void *caller,
                                  struct kyok_error *err)
{
    struct kyok_life life;

    if (reference->kind == KYOK_REFERENCE_KMIP)
        return kyok_life_kmip_records(context, reference, visit, caller, err);
    KYOK_TRY(kyok_life_begin(context, reference, &life, err));
    return kyok_life_list(&life, visit, caller, err);
}

/* --- which version --- */

enum kyok_status kyok_key_newest(struct kyok_context *context,
                                 const struct kyok_reference *reference,
                                 struct kyok_reference **newest, struct kyok_error *err)
{
    KYOK_AUTO_RECORD record = kyok_life_record_new(err);
    struct kyok_key_version *version;
    struct kyok_life life;
    enum kyok_status status;

    *newest = NULL;
    if (record == NULL)
        return err->status;
    if (reference->kind == KYOK_REFERENCE_KMIP)
        return kyok_life_kmip_newest(context, reference, newest, err);
    if (reference->object == NULL)
        return kyok_reference_copy(reference, newest, err);
    KYOK_TRY(kyok_life_begin(context, reference, &life, err));
    status = kyok_life_read(&life, life.base, record, err);
    if (status == KYOK_NOT_FOUND)
        return kyok_reference_copy(reference, newest, err);
    KYOK_TRY(status);
    if (reference->has_id && kyok_key_record_version(record, reference->object, reference->id,
                                                     reference->id_size) == NULL)
        return kyok_reference_copy(reference, newest, err);
    version = kyok_key_record_current(record, time(NULL));
    if (version == NULL)
        return kyok_fail(err, KYOK_REFUSED, reference->text, "no version of this key is active");
    KYOK_TRY(kyok_life_settle(&life, record, err));
    return kyok_life_reference(&life, &version->name, newest, err);
}

enum kyok_status kyok_key_exact(struct kyok_context *context,
                                const struct kyok_reference *reference,
                                struct kyok_reference **exact, struct kyok_error *err)
{
    if (reference->kind == KYOK_REFERENCE_KMIP && reference->identifier == NULL)
        return kyok_life_kmip_exact(context, reference, exact, err);
    return kyok_reference_copy(reference, exact, err);
}

enum kyok_status kyok_key_current(struct kyok_context *context,
                                  const struct kyok_reference *reference,
                                  struct kyok_reference **current, struct kyok_error *err)
{
    if (reference->has_id || reference->identifier != NULL)
        return kyok_reference_copy(reference, current, err);
    return kyok_key_newest(context, reference, current, err);
}

/* --- descendants --- */

enum kyok_status kyok_key_descend(struct kyok_context *context, const struct kyok_reference *root,
                                  const char *name, struct kyok_reference **made,
                                  struct kyok_error *err)
{
    KYOK_AUTO_RECORD record = kyok_life_record_new(err);
    KYOK_AUTO_REFERENCE struct kyok_reference *current = NULL;
    KYOK_AUTO_KEY struct kyok_key *parent = NULL;
    struct kyok_key_version *version;
    struct kyok_life life;
    enum kyok_status status;

    if (record == NULL)
        return err->status;
    if (name[0] == '\0' || strlen(name) > KYOK_RECORD_LABEL_MAX - 8)
        return kyok_fail(err, KYOK_INVALID, name, "a name has 1 to %d bytes",
                         KYOK_RECORD_LABEL_MAX - 8);
    if (root->kind == KYOK_REFERENCE_KMIP)
        return kyok_life_kmip_descend(context, root, name, made, err);
    KYOK_TRY(kyok_key_current(context, root, &current, err));
    KYOK_TRY(kyok_life_begin(context, current, &life, err));
    status = kyok_life_read(&life, name, record, err);
    if (status == KYOK_OK)
        return kyok_fail(err, KYOK_REFUSED, name, "there is a key of this name already");
    if (status != KYOK_NOT_FOUND)
        return status;
    KYOK_TRY(kyok_key_open(context, current, kyok_bytes(NULL, 0), &parent, err));
    *record = (struct kyok_key_record){.count = 1};
    strcpy(record->name, name);
    version = &record->versions[0];
    strcpy(version->name.label, name);
    KYOK_TRY(kyok_life_new_id(&version->name, err));
    version->state = KYOK_STATE_ACTIVE;
    version->usage = KYOK_USAGE_ENCRYPT | KYOK_USAGE_DECRYPT | KYOK_USAGE_WRAP | KYOK_USAGE_UNWRAP;
    version->made = time(NULL);
    KYOK_TRY(recorded_name(&life, kyok_key_info(parent), &version->parent, err));
    KYOK_TRY(kyok_life_descend(&life, parent, version, err));
    status = kyok_life_write(&life, record, err);
    kyok_life_event("create", &life, &version->name, "descendant", status);
    KYOK_TRY(status);
    return kyok_life_reference(&life, &version->name, made, err);
}

/* --- tokens and their RSA-OAEP --- */

static bool another_hash_may_help(enum kyok_status status)
{
    return status != KYOK_OK && status != KYOK_REFUSED && status != KYOK_NOT_FOUND &&
           status != KYOK_UNREACHABLE && status != KYOK_TIMEOUT;
}

enum kyok_status kyok_life_try_oaep(const struct kyok_life *life, kyok_life_oaep_attempt *attempt,
                                    void *arg, bool allow_sha1, struct kyok_error *err)
{
    enum kyok_status status = attempt(life, arg, KYOK_HASH_SHA256, err);

    if (!another_hash_may_help(status))
        return status;
    if (allow_sha1)
        return attempt(life, arg, KYOK_HASH_SHA1, err);
    kyok_remedy(err, "if the tokens take RSA-OAEP with SHA-1 only, add --allow-oaep-sha1");
    return status;
}
