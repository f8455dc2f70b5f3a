/* SPDX-License-Identifier: Apache-2.0 */
/* Doctor: what custodians say of their keys. */
#include "cli/doctor.h"

#include <stdio.h>

/* Would an operation with this key be refused? What a token does not say is judged there, too. */
static bool is_refused(const struct kyok_key_info *info, enum kyok_require require)
{
    bool open = info->sensitive == KYOK_NO || info->extractable == KYOK_YES;
    bool ever = info->always_sensitive == KYOK_NO || info->never_extractable == KYOK_NO;
    return require != KYOK_REQUIRE_NONE &&
           (open || (require == KYOK_REQUIRE_NEVER_EXTRACTABLE && ever));
}

static void judge_key(struct doctor *doctor, const char *check, enum kyok_require require,
                      const struct kyok_key_info *info)
{
    char kind[CLI_KIND_SIZE], all[128] = "";
    const char *words[CLI_KEY_FLAGS];
    size_t count = cli_key_flags(info, words, CLI_KEY_FLAGS), used = 0;
    for (size_t i = 0; i < count && used < sizeof(all); i++)
        used +=
            (size_t)snprintf(all + used, sizeof(all) - used, "%s%s", i > 0 ? ", " : "", words[i]);
    if (count > 0)
        doctor_find(doctor, DOCTOR_WARNING, check, info->reference,
                    "make a new one with \"kyok key generate\" and replace it",
                    "this %s key could leave its custodian: %s%s", cli_key_kind(info, kind), all,
                    is_refused(info, require) ? "; require refuses it" : "");
}

void doctor_check_keys(struct doctor *doctor, const char *check, enum kyok_require require,
                       const char *text)
{
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *reference = NULL;
    KYOK_CLEANUP(cli_keys_free) struct cli_keys keys = {0};
    struct kyok_context *context;
    struct kyok_error *err = &doctor->cli->error;
    if (cli_context(doctor->cli, &context) != KYOK_OK ||
        kyok_reference_parse(text, KYOK_FROM_CONFIGURATION, doctor->config, &reference, err) !=
            KYOK_OK ||
        kyok_key_list(context, reference, true, cli_keys_visit, &keys, err) != KYOK_OK) {
        doctor_find_error(doctor, DOCTOR_BAD, check, err);
        return;
    }
    for (size_t i = 0; i < keys.count; i++)
        judge_key(doctor, check, require, &keys.items[i]);
    doctor_find(doctor, DOCTOR_GOOD, check, NULL, NULL, "it answers and shows %zu objects",
                keys.count);
}

static enum kyok_status check_named(struct doctor *doctor, const struct kyok_named_key *named,
                                    struct kyok_error *err)
{
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *reference = NULL;
    KYOK_TRY(
        kyok_reference_parse(named->uri, KYOK_FROM_CONFIGURATION, doctor->config, &reference, err));
    return doctor_open_key(doctor, reference, kyok_bytes(NULL, 0), err);
}

void doctor_check_named_keys(struct doctor *doctor)
{
    char check[80];
    struct kyok_error err;
    for (size_t i = 0; i < doctor->config->key_count; i++) {
        const struct kyok_named_key *named = &doctor->config->keys[i];
        snprintf(check, sizeof(check), "key %s", named->name);
        if (check_named(doctor, named, &err) == KYOK_OK)
            doctor_find(doctor, DOCTOR_GOOD, check, named->uri, NULL,
                        "it is there, on every member that answers, and meets require");
        else
            doctor_find_error(doctor, DOCTOR_BAD, check, &err);
    }
}

enum kyok_status doctor_open_key(struct doctor *doctor, const struct kyok_reference *reference,
                                 struct kyok_bytes public_key, struct kyok_error *err)
{
    KYOK_CLEANUP(cli_key_auto_free) struct kyok_key *key = NULL;
    struct kyok_context *context;
    if (cli_context(doctor->cli, &context) != KYOK_OK) {
        *err = doctor->cli->error;
        return err->status;
    }
    KYOK_TRY(kyok_key_open(context, reference, public_key, &key, err));
    return kyok_key_check(key, err);
}
