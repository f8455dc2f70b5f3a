/* SPDX-License-Identifier: Apache-2.0 */
/* States at a KMIP server are its own attributes State and dates, and it enforces them. It has no
 * "suspended": that is kyok's word beside them, and kyok's alone to keep. */
#include "common/key/life_kmip.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* --- records --- */

void kyok_life_kmip_version(const struct kyok_life_version *from, struct kyok_key_version *to)
{
    *to = (struct kyok_key_version){
        .state = from->state, .activate = from->activate, .deactivate = from->deactivate};
    strcpy(to->name.label, from->name[0] != '\0' ? from->name : from->identifier);
    strcpy(to->identifier, from->identifier);
    strcpy(to->parent.label, from->parent);
}

enum kyok_status kyok_life_kmip_record(struct kyok_context *context,
                                       const struct kyok_reference *reference,
                                       struct kyok_key_record *record, struct kyok_error *err)
{
    KYOK_AUTO_KMIP_LIFE life;

    KYOK_TRY(kyok_kmip_life_begin(context, reference, &life, err));
    KYOK_TRY(kyok_kmip_life_versions(&life, err));
    *record = (struct kyok_key_record){.kmip = true, .count = life.count};
    strcpy(record->name, life.base[0] != '\0' ? life.base : life.versions[life.meant].identifier);
    for (size_t i = 0; i < life.count; i++)
        kyok_life_kmip_version(&life.versions[i], &record->versions[i]);
    return KYOK_OK;
}

enum kyok_status kyok_life_kmip_exact(struct kyok_context *context,
                                      const struct kyok_reference *reference,
                                      struct kyok_reference **exact, struct kyok_error *err)
{
    KYOK_AUTO_KMIP_LIFE life;

    KYOK_TRY(kyok_kmip_life_begin(context, reference, &life, err));
    KYOK_TRY(kyok_kmip_life_one(&life, err));
    return kyok_kmip_life_reference(&life, &life.versions[0], exact, err);
}

enum kyok_status kyok_life_kmip_newest(struct kyok_context *context,
                                       const struct kyok_reference *reference,
                                       struct kyok_reference **newest, struct kyok_error *err)
{
    KYOK_AUTO_KMIP_LIFE life;
    const struct kyok_life_version *version;

    KYOK_TRY(kyok_kmip_life_begin(context, reference, &life, err));
    KYOK_TRY(kyok_kmip_life_versions(&life, err));
    version = kyok_kmip_life_current(&life);
    /* Opening one that is not active says in which state it is. */
    return kyok_kmip_life_reference(
        &life, version != NULL ? version : &life.versions[life.count - 1], newest, err);
}

/* --- states --- */

static enum kyok_status say_word(const struct kyok_kmip_life *life, enum kyok_key_state state,
                                 struct kyok_error *err)
{
    const struct kyok_life_version *version = &life->versions[0];
    struct kyok_kmip_attribute word;
    char text[32];

    snprintf(text, sizeof(text), "%u %s", version->words + 1, kyok_key_state_name(state));
    word = kyok_kmip_attribute_custom(kyok_bytes_of_text(KYOK_KMIP_STATE_WORD),
                                      kyok_bytes_of_text(text));
    if (kyok_kmip_add_attribute(life->client, kyok_bytes_of_text(version->identifier), &word,
                                life->deadline, err) == KYOK_OK)
        return KYOK_OK;
    if (err->status == KYOK_UNSUPPORTED)
        kyok_remedy(err, "KMIP has no suspended state, and this server keeps no word of kyok's: "
                         "take the identity's permission away at the server, or deactivate");
    return err->status;
}

enum kyok_status kyok_kmip_life_activate(const struct kyok_kmip_life *life,
                                         const struct kyok_life_version *version,
                                         struct kyok_error *err)
{
    KYOK_TRY(kyok_kmip_activate(life->client, kyok_bytes_of_text(version->identifier),
                                life->deadline, err));
    if (version->public_key[0] == '\0')
        return KYOK_OK;
    return kyok_kmip_activate(life->client, kyok_bytes_of_text(version->public_key), life->deadline,
                              err);
}

enum kyok_status kyok_life_kmip_set_state(struct kyok_context *context,
                                          const struct kyok_reference *reference,
                                          enum kyok_key_state state, struct kyok_error *err)
{
    KYOK_AUTO_KMIP_LIFE life;
    enum kyok_key_state before;

    KYOK_TRY(kyok_kmip_life_begin(context, reference, &life, err));
    KYOK_TRY(kyok_kmip_life_one(&life, err));
    before = life.versions[0].state;
    if (before == state)
        return KYOK_OK;
    if (!kyok_key_state_may_follow(before, state))
        return kyok_fail(err, KYOK_REFUSED, reference->text, "a key that is %s cannot become %s",
                         kyok_key_state_name(before), kyok_key_state_name(state));
    if (state == KYOK_STATE_SUSPENDED || before == KYOK_STATE_SUSPENDED)
        KYOK_TRY(say_word(&life, state, err));
    if (state == KYOK_STATE_ACTIVE && before == KYOK_STATE_PRE_ACTIVE)
        return kyok_kmip_life_activate(&life, &life.versions[0], err);
    if (state != KYOK_STATE_DEACTIVATED)
        return KYOK_OK;
    return kyok_kmip_revoke(life.client, kyok_bytes_of_text(life.versions[0].identifier),
                            KYOK_KMIP_REVOCATION_REASON_CODE_CESSATION_OF_OPERATION, NULL,
                            life.deadline, err);
}

/* --- dates --- */

static enum kyok_status put_date(const struct kyok_kmip_life *life,
                                 enum kyok_kmip_attribute_id attribute, const int64_t *date,
                                 struct kyok_error *err)
{
    struct kyok_kmip_attribute value;

    if (date == NULL)
        return KYOK_OK;
    if (*date == 0) {
        kyok_fail(err, KYOK_UNSUPPORTED, life->reference->text,
                  "a date at a KMIP server is moved, not taken away");
        return kyok_remedy(err, "move it far into the future");
    }
    value = kyok_kmip_attribute_date_time(attribute, *date);
    return kyok_kmip_put_attribute(life->client, kyok_bytes_of_text(life->versions[0].identifier),
                                   &value, life->deadline, err);
}

enum kyok_status kyok_life_kmip_set_dates(struct kyok_context *context,
                                          const struct kyok_reference *reference,
                                          const int64_t *activate, const int64_t *deactivate,
                                          struct kyok_error *err)
{
    KYOK_AUTO_KMIP_LIFE life;

    KYOK_TRY(kyok_kmip_life_begin(context, reference, &life, err));
    KYOK_TRY(kyok_kmip_life_one(&life, err));
    if (activate != NULL && life.versions[0].state != KYOK_STATE_PRE_ACTIVE)
        return kyok_fail(err, KYOK_REFUSED, reference->text,
                         "a key that is %s is not activated by a date",
                         kyok_key_state_name(life.versions[0].state));
    if (deactivate != NULL && life.versions[0].state >= KYOK_STATE_DEACTIVATED)
        return kyok_fail(err, KYOK_REFUSED, reference->text,
                         "a key that is %s is not deactivated by a date",
                         kyok_key_state_name(life.versions[0].state));
    KYOK_TRY(put_date(&life, KYOK_KMIP_ATTRIBUTE_ACTIVATION_DATE, activate, err));
    return put_date(&life, KYOK_KMIP_ATTRIBUTE_DEACTIVATION_DATE, deactivate, err);
}

/* --- birth and end --- */

enum kyok_status kyok_life_kmip_generate(struct kyok_context *context,
                                         const struct kyok_reference *reference,
                                         const struct kyok_generate_request *request,
                                         struct kyok_reference **made, struct kyok_error *err)
{
    KYOK_AUTO_KMIP_LIFE life;

    KYOK_TRY(kyok_kmip_life_begin(context, reference, &life, err));
    if (request->activate != 0 && request->deactivate != 0 &&
        request->activate >= request->deactivate)
        return kyok_fail(err, KYOK_INVALID, reference->text,
                         "a key is deactivated after it is activated, not before");
    KYOK_TRY(life.custodian->ops->generate(life.custodian, reference, request, life.deadline, err));
    KYOK_TRY(kyok_kmip_life_one(&life, err));
    return kyok_kmip_life_reference(&life, &life.versions[0], made, err);
}

enum kyok_status kyok_life_kmip_destroy(struct kyok_context *context,
                                        const struct kyok_reference *reference,
                                        struct kyok_error *err)
{
    KYOK_AUTO_KMIP_LIFE life;

    KYOK_TRY(kyok_kmip_life_begin(context, reference, &life, err));
    KYOK_TRY(kyok_kmip_life_one(&life, err));
    if (life.versions[0].state == KYOK_STATE_ACTIVE ||
        life.versions[0].state == KYOK_STATE_SUSPENDED) {
        kyok_fail(err, KYOK_REFUSED, reference->text,
                  "a KMIP server destroys no key that is in use");
        return kyok_remedy(err, "deactivate it first: kyok key state REF deactivated");
    }
    return kyok_kmip_destroy(life.client, kyok_bytes_of_text(life.versions[0].identifier),
                             life.deadline, err);
}
