/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a key at a KMIP group and judging it: kind, state, require, public half. */
#include "common/base/public_key.h"
#include "common/key/kmip_key.h"

#include <stdlib.h>
#include <string.h>

static const char *text_of(const struct kyok_key *key)
{
    return key->reference->text;
}

static const struct kyok_kmip_config *config_of(const struct kyok_key *key)
{
    return kyok_kmip_client_config(kyok_kmip_own(key)->client);
}

/* --- the identifier --- */

/* A pair's halves may bear one name: the private half is meant. */
static enum kyok_status identify_by_name(struct kyok_key *key, struct kyok_deadline deadline,
                                         struct kyok_buffer *id, struct kyok_error *err)
{
    static const enum kyok_kmip_object_type types[] = {KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY,
                                                       KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                                                       KYOK_KMIP_OBJECT_TYPE_SECRET_DATA};
    enum kyok_status status = KYOK_NOT_FOUND;

    for (size_t i = 0; status == KYOK_NOT_FOUND && i < sizeof types / sizeof *types; i++)
        status = kyok_kmip_locate_name(kyok_kmip_own(key)->client,
                                       kyok_bytes_of_text(key->reference->name), types[i], deadline,
                                       id, err);
    return status;
}

static enum kyok_status identify(struct kyok_key *key, struct kyok_deadline deadline,
                                 struct kyok_buffer *id, struct kyok_error *err)
{
    if (key->reference->identifier != NULL) {
        if (kyok_buffer_append(id, key->reference->identifier,
                               strlen(key->reference->identifier) + 1))
            return KYOK_OK;
        return kyok_fail(err, KYOK_SYSTEM, text_of(key), "no memory");
    }
    if (key->reference->name != NULL)
        return identify_by_name(key, deadline, id, err);
    kyok_fail(err, KYOK_INVALID, text_of(key), "the reference names a group and no key");
    return kyok_remedy(err, "write kmip://%s/ID or kmip://%s?name=NAME", key->custodian->name,
                       key->custodian->name);
}

/* --- facts --- */

static const struct {
    enum kyok_kmip_cryptographic_algorithm algorithm;
    enum kyok_key_type type;
} algorithms[] = {
    {KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_RSA, KYOK_KEY_RSA},
    {KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_ECDSA, KYOK_KEY_EC},
    {KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_EC, KYOK_KEY_EC},
    {KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_AES, KYOK_KEY_AES},
    {KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_ED25519, KYOK_KEY_ED25519},
    {KYOK_KMIP_CRYPTOGRAPHIC_ALGORITHM_ED448, KYOK_KEY_ED448},
};

static enum kyok_key_type type_of(const struct kyok_kmip_facts *facts)
{
    if (facts->object_type == KYOK_KMIP_OBJECT_TYPE_SECRET_DATA)
        return KYOK_KEY_GENERIC;
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++)
        if (algorithms[i].algorithm == facts->algorithm)
            return algorithms[i].type;
    return KYOK_KEY_UNKNOWN;
}

static bool copy_text(char *to, size_t room, struct kyok_bytes from)
{
    if (from.size >= room || memchr(from.size == 0 ? "" : (const char *)from.data, '\0', from.size))
        return false;
    memcpy(to, from.size == 0 ? "" : (const char *)from.data, from.size);
    to[from.size] = '\0';
    return true;
}

enum kyok_status kyok_kmip_take_found(const struct kyok_kmip_facts *facts,
                                      struct kyok_bytes identifier, struct kyok_kmip_found *found,
                                      struct kyok_error *err)
{
    memset(found, 0, sizeof *found);
    if (!copy_text(found->identifier, sizeof found->identifier, identifier) ||
        !copy_text(found->public_identifier, sizeof found->public_identifier, facts->public_key))
        return kyok_fail(err, KYOK_UNSUPPORTED, NULL, "the server's identifiers are too long");
    if (!copy_text(found->name, sizeof found->name, facts->name))
        found->name[0] = '\0'; /* only shown */
    found->object_type = facts->object_type;
    found->type = type_of(facts);
    found->algorithm_told = facts->algorithm != 0;
    found->bits = facts->bits;
    found->usage = facts->usage;
    found->usage_known = facts->usage_known;
    found->sensitive = facts->sensitive;
    found->always_sensitive = facts->always_sensitive;
    found->extractable = facts->extractable;
    found->never_extractable = facts->never_extractable;
    return KYOK_OK;
}

static enum kyok_status check_kind(const struct kyok_key *key, const struct kyok_kmip_found *found,
                                   struct kyok_error *err)
{
    const char *name = kyok_kmip_enum_name(KYOK_KMIP_TAG_OBJECT_TYPE, found->object_type);

    if (found->object_type == KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY ||
        found->object_type == KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY ||
        found->object_type == KYOK_KMIP_OBJECT_TYPE_SECRET_DATA)
        return KYOK_OK;
    return kyok_fail(err, KYOK_INVALID, text_of(key),
                     "the object is a %s, not a private or secret key",
                     name != NULL ? name : "thing of another kind");
}

/* --- require --- */

static enum kyok_status not_met(const struct kyok_key *key, const char *why, struct kyok_error *err)
{
    static const char *const words[] = {"none", "non-extractable", "never-extractable"};

    kyok_fail(err, KYOK_REFUSED, text_of(key), "the key does not meet require = %s: %s",
              words[config_of(key)->require], why);
    return kyok_remedy(err,
                       "give this identity Sign without Get on the server, or change require "
                       "in [kmip %s]",
                       key->custodian->name);
}

static void say_takes_out(const struct kyok_key *key)
{
    kyok_log(
        KYOK_LOG_WARNING,
        "%s: this identity may both Sign with and Get the private key; whoever has it can take "
        "the key out",
        text_of(key));
}

/* An attribute that says no is as good as a key that came out. */
static enum kyok_status check_require(const struct kyok_key *key,
                                      const struct kyok_kmip_found *found,
                                      const struct kyok_kmip_facts *facts,
                                      struct kyok_deadline deadline, struct kyok_error *err)
{
    enum kyok_require require = config_of(key)->require;
    bool private_key = found->object_type == KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY;

    if (require != KYOK_REQUIRE_NONE && config_of(key)->release)
        return not_met(key, "the group has release = yes", err);
    if (require == KYOK_REQUIRE_NEVER_EXTRACTABLE &&
        (found->never_extractable == KYOK_NO || found->always_sensitive == KYOK_NO))
        return not_met(key, "it could be taken out at some time", err);
    if (require == KYOK_REQUIRE_NONE && !private_key)
        return KYOK_OK;
    enum kyok_answer may_get = kyok_kmip_may_get(
        kyok_kmip_own(key)->client, kyok_bytes_of_text(found->identifier), facts, deadline);
    if (may_get == KYOK_NO)
        return KYOK_OK;
    if (require != KYOK_REQUIRE_NONE)
        return not_met(key,
                       may_get == KYOK_YES ? "this identity may Get the key that it uses"
                                           : "the server did not tell whether it may be taken out",
                       err);
    if (may_get == KYOK_YES)
        say_takes_out(key);
    return KYOK_OK;
}

/* --- the public half --- */

static const char *public_identifier(const struct kyok_key *key,
                                     const struct kyok_kmip_found *found)
{
    if (key->reference->public_identifier != NULL)
        return key->reference->public_identifier;
    return found->public_identifier[0] != '\0' ? found->public_identifier : NULL;
}

static enum kyok_status no_public_half(const struct kyok_key *key, struct kyok_error *err)
{
    kyok_fail(err, KYOK_NOT_FOUND, text_of(key),
              "the key's public half is not known: the server links none to it");
    return kyok_remedy(err,
                       "name it: kmip://%s/ID?public=PUBLIC-ID, or use a PEM reference made "
                       "--with-public",
                       key->custodian->name);
}

/* A public half that came with the reference needs no other; signatures are checked against it. */
static enum kyok_status find_public(const struct kyok_key *key, const struct kyok_kmip_found *found,
                                    struct kyok_deadline deadline, struct kyok_buffer *spki,
                                    struct kyok_error *err)
{
    const char *id = public_identifier(key, found);
    struct kyok_bytes given = kyok_bytes(key->info.public_key, key->info.public_key_size);

    if (id == NULL && given.size == 0)
        return no_public_half(key, err);
    if (id == NULL)
        return kyok_buffer_append(spki, given.data, given.size)
                   ? KYOK_OK
                   : kyok_fail(err, KYOK_SYSTEM, text_of(key), "no memory");
    KYOK_TRY(kyok_kmip_get_public(kyok_kmip_own(key)->client, id, deadline, spki, err));
    if (given.size == 0 || kyok_bytes_equal(given, kyok_buffer_bytes(spki)))
        return KYOK_OK;
    kyok_fail(err, KYOK_REFUSED, text_of(key),
              "the server's public half is not the one that the reference holds");
    return kyok_remedy(err, "write the PEM reference again, or find out who changed the key");
}

static enum kyok_status check_public(const struct kyok_key *key,
                                     const struct kyok_kmip_found *found, struct kyok_bytes spki,
                                     struct kyok_error *err)
{
    unsigned bits;
    enum kyok_key_type type = kyok_spki_type(spki, &bits);

    if (type == found->type && (found->bits == 0 || bits == found->bits))
        return KYOK_OK;
    return kyok_fail(err, KYOK_FAULT, text_of(key),
                     "the private half is %s with %u bits, the public half %s with %u",
                     kyok_key_type_name(found->type), found->bits, kyok_key_type_name(type), bits);
}

/* --- looking --- */

static enum kyok_status look(struct kyok_key *key, struct kyok_deadline deadline,
                             struct kyok_kmip_found *found, struct kyok_buffer *spki,
                             struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer id = {0};
    static const struct kyok_kmip_expectation anything;
    struct kyok_kmip_client *client = kyok_kmip_own(key)->client;
    struct kyok_kmip_facts facts;

    KYOK_TRY(identify(key, deadline, &id, err));
    struct kyok_bytes identifier = kyok_bytes(id.data, id.size - 1);
    KYOK_TRY(kyok_kmip_get_facts(client, identifier, &anything, deadline, &reply, &facts, err));
    KYOK_TRY(kyok_kmip_take_found(&facts, identifier, found, err));
    KYOK_TRY(check_kind(key, found, err));
    KYOK_TRY(kyok_kmip_facts_usable(&facts, text_of(key), err));
    KYOK_TRY(check_require(key, found, &facts, deadline, err));
    if (found->object_type != KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY)
        return KYOK_OK;
    KYOK_TRY(find_public(key, found, deadline, spki, err));
    KYOK_TRY(check_public(key, found, kyok_buffer_bytes(spki), err));
    kyok_kmip_learn_digests(client, deadline);
    return KYOK_OK;
}

/* The info of a key that is open already is being read by others: it keeps what it has. */
static enum kyok_status fill_info(struct kyok_key *key, const struct kyok_kmip_found *found,
                                  const struct kyok_buffer *spki, struct kyok_error *err)
{
    if (key->info.public_key != NULL || key->info.reference != NULL)
        return KYOK_OK;
    KYOK_TRY(kyok_kmip_key_describe(key->custodian, found, key->reference->public_identifier,
                                    &key->info, err));
    if (spki->size == 0)
        return KYOK_OK;
    key->info.public_key = malloc(spki->size);
    if (key->info.public_key == NULL)
        return kyok_fail(err, KYOK_SYSTEM, text_of(key), "no memory");
    memcpy(key->info.public_key, spki->data, spki->size);
    key->info.public_key_size = spki->size;
    kyok_spki_type(kyok_buffer_bytes(spki), &key->info.bits);
    return KYOK_OK;
}

static const struct kyok_kmip_found *publish(struct kyok_key *key, struct kyok_kmip_found *fresh)
{
    struct kyok_kmip_found *none = NULL;

    if (atomic_compare_exchange_strong(&kyok_kmip_own(key)->found, &none, fresh))
        return fresh;
    free(fresh);
    return none;
}

enum kyok_status kyok_kmip_key_look(struct kyok_key *key, struct kyok_deadline deadline,
                                    struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer spki = {0};
    KYOK_AUTO_FREE struct kyok_kmip_found *fresh = calloc(1, sizeof *fresh);

    int64_t began = kyok_now_ns();

    if (fresh == NULL)
        return kyok_fail(err, KYOK_SYSTEM, text_of(key), "no memory");
    KYOK_TRY(look(key, deadline, fresh, &spki, err));
    KYOK_TRY(fill_info(key, fresh, &spki, err));
    atomic_store(&kyok_kmip_own(key)->looked_ns, began);
    publish(key, fresh);
    fresh = NULL;
    return KYOK_OK;
}

enum kyok_status kyok_kmip_key_find(struct kyok_key *key, struct kyok_deadline deadline,
                                    const struct kyok_kmip_found **found, struct kyok_error *err)
{
    *found = atomic_load(&kyok_kmip_own(key)->found);
    if (*found != NULL)
        return KYOK_OK;
    KYOK_TRY(kyok_kmip_key_look(key, deadline, err));
    *found = atomic_load(&kyok_kmip_own(key)->found);
    return KYOK_OK;
}

enum kyok_status kyok_kmip_key_is_for(const struct kyok_key *key,
                                      const struct kyok_kmip_found *found,
                                      enum kyok_key_type wanted, struct kyok_error *err)
{
    if (!found->algorithm_told || found->type == wanted || found->type == KYOK_KEY_GENERIC)
        return KYOK_OK;
    kyok_fail(err, KYOK_INVALID, text_of(key), "the key is for %s, and this needs one for %s",
              found->type == KYOK_KEY_UNKNOWN ? "an algorithm that kyok does not use"
                                              : kyok_key_type_name(found->type),
              kyok_key_type_name(wanted));
    return kyok_remedy(err, "check the reference, and that this server may be trusted");
}

enum kyok_status kyok_kmip_key_recheck(struct kyok_key *key, const struct kyok_kmip_found *found,
                                       struct kyok_deadline deadline, struct kyok_error *err)
{
    KYOK_KMIP_AUTO_REPLY(reply);
    struct kyok_kmip_key *own = kyok_kmip_own(key);
    struct kyok_kmip_expectation same = {.object_type = found->object_type, .bits = found->bits};
    struct kyok_kmip_facts facts;
    int64_t now = kyok_now_ns();

    if (now - atomic_load(&own->looked_ns) < KYOK_KMIP_STATE_NS)
        return KYOK_OK;
    KYOK_TRY(kyok_kmip_get_facts(own->client, kyok_bytes_of_text(found->identifier), &same,
                                 deadline, &reply, &facts, err));
    KYOK_TRY(kyok_kmip_facts_usable(&facts, text_of(key), err));
    atomic_store(&own->looked_ns, now);
    return KYOK_OK;
}

/* --- info --- */

static enum kyok_answer usage_answer(const struct kyok_kmip_found *found, uint32_t bit)
{
    if (!found->usage_known)
        return KYOK_NOT_KNOWN;
    return (found->usage & bit) != 0 ? KYOK_YES : KYOK_NO;
}

static enum kyok_object_type object_of(enum kyok_kmip_object_type type)
{
    switch (type) {
    case KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY:
        return KYOK_OBJECT_PRIVATE;
    case KYOK_KMIP_OBJECT_TYPE_PUBLIC_KEY:
        return KYOK_OBJECT_PUBLIC;
    case KYOK_KMIP_OBJECT_TYPE_CERTIFICATE:
        return KYOK_OBJECT_CERTIFICATE;
    case KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY:
    case KYOK_KMIP_OBJECT_TYPE_SECRET_DATA:
        return KYOK_OBJECT_SECRET;
    default:
        return KYOK_OBJECT_DATA;
    }
}

static void describe_answers(const struct kyok_custodian *custodian,
                             const struct kyok_kmip_found *found, struct kyok_key_info *info)
{
    struct kyok_kmip_client *client = custodian->own;

    info->sensitive = found->sensitive;
    info->always_sensitive = found->always_sensitive;
    info->never_extractable = found->never_extractable;
    info->extractable = kyok_kmip_client_config(client)->release ? KYOK_YES : found->extractable;
    info->local = info->always_authenticate = KYOK_NOT_KNOWN;
    info->may_sign = usage_answer(found, KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_SIGN);
    info->may_encrypt = usage_answer(found, KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_ENCRYPT);
    info->may_decrypt = usage_answer(found, KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_DECRYPT);
    info->may_wrap = usage_answer(found, KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_WRAP_KEY);
    info->may_unwrap = usage_answer(found, KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_UNWRAP_KEY);
    info->may_derive = usage_answer(found, KYOK_KMIP_CRYPTOGRAPHIC_USAGE_MASK_DERIVE_KEY);
}

enum kyok_status kyok_kmip_key_describe(const struct kyok_custodian *custodian,
                                        const struct kyok_kmip_found *found, const char *public_id,
                                        struct kyok_key_info *info, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    struct kyok_reference exact = {.kind = KYOK_REFERENCE_KMIP,
                                   .library_major = -1,
                                   .library_minor = -1,
                                   .group = custodian->name,
                                   .identifier = (char *)found->identifier,
                                   .public_identifier = (char *)public_id};

    KYOK_TRY(kyok_reference_format(&exact, &text, err));
    info->object = object_of(found->object_type);
    info->type = found->type;
    info->bits = found->bits;
    info->reference = strndup((const char *)text.data, text.size);
    info->custodian = strdup(custodian->name);
    info->label = found->name[0] != '\0' ? strdup(found->name) : NULL;
    describe_answers(custodian, found, info);
    if (info->reference == NULL || info->custodian == NULL ||
        (found->name[0] != '\0' && info->label == NULL))
        return kyok_fail(err, KYOK_SYSTEM, custodian->name, "no memory");
    return KYOK_OK;
}
