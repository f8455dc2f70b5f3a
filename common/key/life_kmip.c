/* SPDX-License-Identifier: Apache-2.0 */
/* States at a KMIP server are its own attribute State, and it enforces them. It has no "suspended".
 */
#include "common/key/life.h"
#include "common/kmip/kmip.h"

#include <string.h>

struct kmip_life {
    struct kyok_kmip_client *client;
    struct kyok_deadline deadline;
    const char *reference;
    char identifier[KYOK_RECORD_LABEL_MAX + 1];
};

static enum kyok_status find_by_name(struct kmip_life *life, const char *name,
                                     struct kyok_error *err)
{
    static const enum kyok_kmip_object_type types[] = {KYOK_KMIP_OBJECT_TYPE_SYMMETRIC_KEY,
                                                       KYOK_KMIP_OBJECT_TYPE_PRIVATE_KEY};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer id = {0};
    enum kyok_status status = KYOK_NOT_FOUND;

    for (size_t i = 0; status == KYOK_NOT_FOUND && i < 2; i++)
        status = kyok_kmip_locate_name(life->client, kyok_bytes_of_text(name), types[i],
                                       life->deadline, &id, err);
    KYOK_TRY(status);
    if (id.size > sizeof(life->identifier))
        return kyok_fail(err, KYOK_UNSUPPORTED, life->reference, "so long an identifier");
    memcpy(life->identifier, id.data, id.size);
    return KYOK_OK;
}

static enum kyok_status begin(struct kyok_context *context, const struct kyok_reference *reference,
                              struct kmip_life *life, struct kyok_error *err)
{
    struct kyok_custodian *found[KYOK_CUSTODIANS_MOST];
    size_t count;

    *life = (struct kmip_life){.reference = reference->text};
    KYOK_TRY(kyok_custodians_find(context, reference, found, KYOK_CUSTODIANS_MOST, &count,
                                  kyok_deadline_in_ms(KYOK_DEFAULT_TIMEOUT_MS), err));
    life->client = found[0]->own;
    life->deadline = kyok_custodian_deadline(found[0]);
    if (reference->identifier == NULL && reference->name != NULL)
        return find_by_name(life, reference->name, err);
    if (reference->identifier == NULL || strlen(reference->identifier) > KYOK_RECORD_LABEL_MAX)
        return kyok_fail(err, KYOK_INVALID, reference->text, "the reference names no key");
    strcpy(life->identifier, reference->identifier);
    return KYOK_OK;
}

static enum kyok_key_state state_of(enum kyok_kmip_state state)
{
    switch (state) {
    case KYOK_KMIP_STATE_PRE_ACTIVE:
        return KYOK_STATE_PRE_ACTIVE;
    case KYOK_KMIP_STATE_DEACTIVATED:
    case KYOK_KMIP_STATE_COMPROMISED:
        return KYOK_STATE_DEACTIVATED;
    case KYOK_KMIP_STATE_DESTROYED:
    case KYOK_KMIP_STATE_DESTROYED_COMPROMISED:
        return KYOK_STATE_DESTROYED;
    default:
        return KYOK_STATE_ACTIVE;
    }
}

enum kyok_status kyok_life_kmip_record(struct kyok_context *context,
                                       const struct kyok_reference *reference,
                                       struct kyok_key_record *record, struct kyok_error *err)
{
    static const struct kyok_kmip_expectation anything;
    struct kyok_kmip_facts facts;
    struct kmip_life life;
    KYOK_KMIP_AUTO_REPLY(reply);

    KYOK_TRY(begin(context, reference, &life, err));
    KYOK_TRY(kyok_kmip_get_facts(life.client, kyok_bytes_of_text(life.identifier), &anything,
                                 life.deadline, &reply, &facts, err));
    *record = (struct kyok_key_record){.count = 1};
    strcpy(record->name, life.identifier);
    strcpy(record->versions[0].name.label, life.identifier);
    record->versions[0].state = state_of(facts.state);
    return KYOK_OK;
}

enum kyok_status kyok_life_kmip_set_state(struct kyok_context *context,
                                          const struct kyok_reference *reference,
                                          enum kyok_key_state state, struct kyok_error *err)
{
    struct kmip_life life;

    if (state == KYOK_STATE_SUSPENDED) {
        kyok_fail(err, KYOK_UNSUPPORTED, reference->text, "KMIP has no suspended state");
        return kyok_remedy(err, "take the identity's permission away at the server, or deactivate");
    }
    KYOK_TRY(begin(context, reference, &life, err));
    if (state == KYOK_STATE_ACTIVE)
        return kyok_kmip_activate(life.client, kyok_bytes_of_text(life.identifier), life.deadline,
                                  err);
    return kyok_kmip_revoke(life.client, kyok_bytes_of_text(life.identifier),
                            KYOK_KMIP_REVOCATION_REASON_CODE_CESSATION_OF_OPERATION, NULL,
                            life.deadline, err);
}

enum kyok_status kyok_life_kmip_destroy(struct kyok_context *context,
                                        const struct kyok_reference *reference,
                                        struct kyok_error *err)
{
    struct kmip_life life;

    KYOK_TRY(begin(context, reference, &life, err));
    return kyok_kmip_destroy(life.client, kyok_bytes_of_text(life.identifier), life.deadline, err);
}
