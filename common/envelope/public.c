/* SPDX-License-Identifier: Apache-2.0 */
/* The public functions: the same as their _with forms, with keys from the key layer. */
#include "common/envelope/envelope.h"
#include "common/envelope/keyholder.h"

enum kyok_status kyok_envelope_seal(struct kyok_context *context, const struct kyok_policy *policy,
                                    const struct kyok_envelope_claims *claims,
                                    struct kyok_bytes secret,
                                    const struct kyok_envelope_options *options,
                                    struct kyok_buffer *json, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_keyholder_free) struct kyok_keyholder holder = kyok_key_keyholder(context);

    return kyok_envelope_seal_with(&holder, policy, claims, KYOK_ENVELOPE_SECRET, secret, options,
                                   json, err);
}

enum kyok_status kyok_envelope_open(struct kyok_context *context, struct kyok_bytes json,
                                    const struct kyok_envelope_expected *expected,
                                    const struct kyok_envelope_options *options,
                                    struct kyok_secret **secret, struct kyok_envelope **opened,
                                    struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_keyholder_free) struct kyok_keyholder holder = kyok_key_keyholder(context);

    return kyok_envelope_open_with(&holder, json, expected, KYOK_ENVELOPE_SECRET, options, secret,
                                   opened, err);
}

enum kyok_status kyok_envelope_change(struct kyok_context *context, struct kyok_bytes json,
                                      const struct kyok_envelope_expected *expected,
                                      const struct kyok_envelope_change *changes, size_t count,
                                      const struct kyok_envelope_options *options,
                                      struct kyok_buffer *changed, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_keyholder_free) struct kyok_keyholder holder = kyok_key_keyholder(context);

    return kyok_envelope_change_with(&holder, json, expected, changes, count, options, changed,
                                     err);
}

enum kyok_status kyok_envelope_rewrap(struct kyok_context *context, struct kyok_bytes json,
                                      const struct kyok_envelope_expected *expected,
                                      const struct kyok_policy *policy,
                                      const struct kyok_envelope_options *options,
                                      struct kyok_buffer *rewrapped, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_keyholder_free) struct kyok_keyholder holder = kyok_key_keyholder(context);

    return kyok_envelope_rewrap_with(&holder, json, expected, policy, options, rewrapped, err);
}

enum kyok_status kyok_stream_seal(struct kyok_context *context, const struct kyok_policy *policy,
                                  const struct kyok_envelope_claims *claims, int in, int out,
                                  const struct kyok_envelope_options *options,
                                  struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_keyholder_free) struct kyok_keyholder holder = kyok_key_keyholder(context);

    return kyok_stream_seal_with(&holder, policy, claims, in, out, options, err);
}

enum kyok_status kyok_stream_open(struct kyok_context *context, int in, int out,
                                  const struct kyok_envelope_expected *expected,
                                  const struct kyok_envelope_options *options,
                                  struct kyok_envelope **opened, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_keyholder_free) struct kyok_keyholder holder = kyok_key_keyholder(context);

    return kyok_stream_open_with(&holder, in, out, expected, options, opened, err);
}
