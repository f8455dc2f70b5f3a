/* SPDX-License-Identifier: Apache-2.0 */
/* Which objects at a KMIP server are the versions of one key. */
#include "common/key/life_kmip.h"

#include <stdio.h>
#include <string.h>

#define GAP_MOST 4

enum kyok_status kyok_kmip_life_begin(struct kyok_context *context,
                                      const struct kyok_reference *reference,
                                      struct kyok_kmip_life *life, struct kyok_error *err)
{
    *life = (struct kyok_kmip_life){.context = context, .reference = reference};
    KYOK_TRY(kyok_custodian_find(context, reference, &life->custodian, err));
    life->client = life->custodian->own;
    life->deadline = kyok_custodian_deadline(life->custodian);
    return KYOK_OK;
}

void kyok_kmip_life_end(struct kyok_kmip_life *life)
{
    free(life->versions);
}

/* --- one object --- */

static enum kyok_key_state state_of(const struct kyok_kmip_facts *facts)
{
    switch (facts->state) {
    case KYOK_KMIP_STATE_PRE_ACTIVE:
        return KYOK_STATE_PRE_ACTIVE;
    case KYOK_KMIP_STATE_DEACTIVATED:
    case KYOK_KMIP_STATE_COMPROMISED:
        return KYOK_STATE_DEACTIVATED;
    case KYOK_KMIP_STATE_DESTROYED:
    case KYOK_KMIP_STATE_DESTROYED_COMPROMISED:
        return KYOK_STATE_DESTROYED;
    default:
        return facts->suspended ? KYOK_STATE_SUSPENDED : KYOK_STATE_ACTIVE;
    }
}

/* What is too long to be kept is as good as absent. */
static void copy_text(char to[KYOK_RECORD_LABEL_MAX + 1], struct kyok_bytes from)
{
    to[0] = '\0';
    if (from.size == 0 || from.size > KYOK_RECORD_LABEL_MAX ||
        memchr(from.data, '\0', from.size) != NULL)
        return;
    memcpy(to, from.data, from.size);
    to[from.size] = '\0';
}

enum kyok_status kyok_kmip_life_read(const struct kyok_kmip_life *life, const char *identifier,
                                     struct kyok_life_version *version, struct kyok_error *err)
{
    static const struct kyok_kmip_expectation anything;
    struct kyok_kmip_facts facts;
    KYOK_KMIP_AUTO_REPLY(reply);

    if (strlen(identifier) > KYOK_RECORD_LABEL_MAX)
        return kyok_fail(err, KYOK_UNSUPPORTED, life->reference->text, "so long an identifier");
    KYOK_TRY(kyok_kmip_get_facts(life->client, kyok_bytes_of_text(identifier), &anything,
                                 life->deadline, &reply, &facts, err));
    *version = (struct kyok_life_version){.object_type = facts.object_type,
                                          .algorithm = facts.algorithm,
                                          .bits = facts.bits,
                                          .usage = facts.usage,
                                          .state = state_of(&facts),
                                          .activate = facts.activation,
                                          .deactivate = facts.deactivation,
                                          .words = facts.words};
    strcpy(version->identifier, identifier);
    copy_text(version->name, facts.name);
    copy_text(version->parent, facts.parent);
    copy_text(version->replacement, facts.replacement);
    copy_text(version->replaced, facts.replaced);
    copy_text(version->public_key, facts.public_key);
    return KYOK_OK;
}

/* --- lists of them --- */

static struct kyok_life_version *insert(struct kyok_kmip_life *life, size_t at,
                                        const struct kyok_life_version *version,
                                        struct kyok_error *err)
{
    struct kyok_life_version *more =
        life->count < KYOK_RECORD_VERSIONS_MAX
            ? realloc(life->versions, (life->count + 1) * sizeof(*more))
            : NULL;

    if (more == NULL) {
        kyok_fail(err, KYOK_REFUSED, life->reference->text, "a key has at most %d versions",
                  KYOK_RECORD_VERSIONS_MAX);
        return NULL;
    }
    life->versions = more;
    memmove(more + at + 1, more + at, (life->count - at) * sizeof(*more));
    more[at] = *version;
    life->count++;
    return &more[at];
}

static bool has_identifier(const struct kyok_kmip_life *life, const char *identifier)
{
    for (size_t i = 0; i < life->count; i++)
        if (strcmp(life->versions[i].identifier, identifier) == 0)
            return true;
    return false;
}

static enum kyok_status locate(const struct kyok_kmip_life *life, const char *name,
                               char identifier[KYOK_RECORD_LABEL_MAX + 1], struct kyok_error *err)
{
    static const enum kyok_kmip_object_type types[] = {KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                                                       KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY};
    enum kyok_status status = KYOK_NOT_FOUND;

    for (size_t i = 0; status == KYOK_NOT_FOUND && i < 2; i++) {
        KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer id = {0};

        if (life->count > 0 && life->versions[0].object_type != types[i])
            continue; /* versions are of one kind */
        status = kyok_kmip_locate_name(life->client, kyok_bytes_of_text(name), types[i],
                                       life->deadline, &id, err);
        if (status == KYOK_OK && id.size - 1 > KYOK_RECORD_LABEL_MAX)
            return kyok_fail(err, KYOK_UNSUPPORTED, life->reference->text, "so long an identifier");
        if (status == KYOK_OK)
            memcpy(identifier, id.data, id.size);
    }
    return status;
}

/* --- by links --- */

/* *at is where the version goes; a linked object that is gone is no error. */
static enum kyok_status follow(struct kyok_kmip_life *life, const char *identifier, size_t at,
                               bool *found, struct kyok_error *err)
{
    struct kyok_life_version version;
    char wanted[KYOK_RECORD_LABEL_MAX + 1];
    enum kyok_status status;

    *found = false;
    strcpy(wanted, identifier); /* inserting moves the versions */
    if (wanted[0] == '\0' || has_identifier(life, wanted))
        return KYOK_OK;
    status = kyok_kmip_life_read(life, wanted, &version, err);
    if (status == KYOK_NOT_FOUND)
        return KYOK_OK;
    KYOK_TRY(status);
    *found = insert(life, at, &version, err) != NULL;
    return *found ? KYOK_OK : err->status;
}

static enum kyok_status follow_links(struct kyok_kmip_life *life, struct kyok_error *err)
{
    bool found;

    do
        KYOK_TRY(follow(life, life->versions[0].replaced, 0, &found, err));
    while (found);
    do
        KYOK_TRY(
            follow(life, life->versions[life->count - 1].replacement, life->count, &found, err));
    while (found);
    return KYOK_OK;
}

/* --- by names --- */

static void name_of_version(const struct kyok_kmip_life *life, unsigned number, char *name,
                            size_t room)
{
    if (number == 1)
        snprintf(name, room, "%s", life->base);
    else
        snprintf(name, room, "%.190s.v%u", life->base, number);
}

static enum kyok_status look_for_names(struct kyok_kmip_life *life, struct kyok_error *err)
{
    unsigned missing = 0;

    for (unsigned number = 1; number <= KYOK_RECORD_VERSIONS_MAX; number++) {
        char name[KYOK_RECORD_LABEL_MAX + 1], identifier[KYOK_RECORD_LABEL_MAX + 1];
        struct kyok_life_version version;
        enum kyok_status status;

        if (missing == GAP_MOST && kyok_kmip_life_current(life) != NULL)
            return KYOK_OK;
        name_of_version(life, number, name, sizeof(name));
        status = locate(life, name, identifier, err);
        missing = status == KYOK_NOT_FOUND ? missing + 1 : 0;
        if (status == KYOK_NOT_FOUND || (status == KYOK_OK && has_identifier(life, identifier)))
            continue;
        KYOK_TRY(status);
        KYOK_TRY(kyok_kmip_life_read(life, identifier, &version, err));
        if (insert(life, life->count, &version, err) == NULL)
            return err->status;
    }
    return KYOK_OK;
}

/* --- what a reference means --- */

static enum kyok_status nothing_named(const struct kyok_kmip_life *life, struct kyok_error *err)
{
    return kyok_fail(err, KYOK_INVALID, life->reference->text, "the reference names no key");
}

enum kyok_status kyok_kmip_life_one(struct kyok_kmip_life *life, struct kyok_error *err)
{
    const struct kyok_reference *reference = life->reference;
    char identifier[KYOK_RECORD_LABEL_MAX + 1];
    struct kyok_life_version version;

    if (reference->identifier == NULL && reference->name == NULL)
        return nothing_named(life, err);
    if (reference->identifier == NULL)
        KYOK_TRY(locate(life, reference->name, identifier, err));
    KYOK_TRY(kyok_kmip_life_read(
        life, reference->identifier != NULL ? reference->identifier : identifier, &version, err));
    return insert(life, 0, &version, err) != NULL ? KYOK_OK : err->status;
}

/* A name whose first version was destroyed still means those that came after it. */
static enum kyok_status begin_with(struct kyok_kmip_life *life, struct kyok_error *err)
{
    enum kyok_status status = kyok_kmip_life_one(life, err);
    const char *name = life->reference->name;

    if (status == KYOK_NOT_FOUND && life->reference->identifier == NULL && name != NULL) {
        kyok_key_record_base_name(name, life->base);
        return strcmp(name, life->base) == 0 ? KYOK_OK : status;
    }
    KYOK_TRY(status);
    KYOK_TRY(follow_links(life, err));
    for (size_t i = life->count; i-- > 0 && life->base[0] == '\0';)
        if (life->versions[i].name[0] != '\0')
            kyok_key_record_base_name(life->versions[i].name, life->base);
    return KYOK_OK;
}

enum kyok_status kyok_kmip_life_versions(struct kyok_kmip_life *life, struct kyok_error *err)
{
    const struct kyok_reference *reference = life->reference;
    char meant[KYOK_RECORD_LABEL_MAX + 1] = "";

    KYOK_TRY(begin_with(life, err));
    for (size_t i = 0; i < life->count && meant[0] == '\0'; i++)
        if (reference->identifier != NULL
                ? strcmp(life->versions[i].identifier, reference->identifier) == 0
                : strcmp(life->versions[i].name, reference->name) == 0)
            strcpy(meant, life->versions[i].identifier);
    if (life->base[0] != '\0')
        KYOK_TRY(look_for_names(life, err));
    if (life->count == 0)
        return kyok_fail(err, KYOK_NOT_FOUND, reference->text, "the server has no such key");
    for (size_t i = 0; i < life->count; i++)
        if (strcmp(life->versions[i].identifier, meant) == 0)
            life->meant = i;
    return KYOK_OK;
}

struct kyok_life_version *kyok_kmip_life_current(const struct kyok_kmip_life *life)
{
    for (size_t i = life->count; i-- > 0;)
        if (life->versions[i].state == KYOK_STATE_ACTIVE)
            return &life->versions[i];
    return NULL;
}

enum kyok_status kyok_kmip_life_reference(const struct kyok_kmip_life *life,
                                          const struct kyok_life_version *version,
                                          struct kyok_reference **reference, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    struct kyok_reference exact = {.kind = KYOK_REFERENCE_KMIP,
                                   .library_major = -1,
                                   .library_minor = -1,
                                   .group = life->custodian->name,
                                   .identifier = (char *)version->identifier};

    KYOK_TRY(kyok_reference_format(&exact, &text, err));
    if (!kyok_buffer_append(&text, "", 1))
        return kyok_fail(err, KYOK_SYSTEM, NULL, "no memory");
    return kyok_reference_parse((const char *)text.data, life->reference->origin,
                                kyok_context_config(life->context), reference, err);
}
