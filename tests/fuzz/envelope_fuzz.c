/* SPDX-License-Identifier: Apache-2.0 */
/* JWE JSON: what is accepted without --foreign has one encoding only, and nothing opens but with a
 * key: the custodian of this target knows none, so that every accepted envelope must still be
 * refused. */
#include "tests/fuzz/need.h"
#include "tests/support/memory_keyholder.h"

static void check_canonical(struct kyok_bytes text)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer again = {0};
    KYOK_CLEANUP(kyok_jwe_auto_free) struct kyok_jwe *jwe = NULL;
    struct kyok_error err = {0};

    if (kyok_jwe_parse(text, false, &jwe, &err) != KYOK_OK) {
        need(jwe == NULL && err.what[0] != '\0');
        return;
    }
    need(jwe->envelope->has_claims && jwe->envelope->layer_count >= 1);
    need(kyok_jwe_write(jwe, &again, &err) == KYOK_OK);
    need(kyok_bytes_equal(kyok_buffer_bytes(&again), text));
}

static void check_refused(struct kyok_bytes text, bool foreign)
{
    static struct memory_keys none;
    const struct kyok_keyholder holder = memory_keyholder(&none);
    const struct kyok_envelope_expected any = {0};
    const struct kyok_envelope_options options = {.foreign = foreign, .timeout_ms = 1000};
    struct kyok_secret *secret = NULL;
    struct kyok_error err = {0};

    need(kyok_envelope_open_with(&holder, text, &any, KYOK_ENVELOPE_SECRET, &options, &secret, NULL,
                                 &err) != KYOK_OK);
    need(secret == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kyok_envelope_options options = {.foreign = true};
    struct kyok_envelope *envelope = NULL;
    struct kyok_error err = {0};

    check_canonical(kyok_bytes(data, size));
    if (kyok_envelope_inspect(kyok_bytes(data, size), &options, &envelope, &err) != KYOK_OK)
        return 0;
    need(kyok_envelope_layer_count(envelope) >= 1);
    if (kyok_envelope_layer(envelope, 0)->count == 1) /* more of them would start threads */
        check_refused(kyok_bytes(data, size), true);
    kyok_envelope_free(envelope);
    return 0;
}
