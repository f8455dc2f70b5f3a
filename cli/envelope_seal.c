/* SPDX-License-Identifier: Apache-2.0 */
/* kyok seal, kyok open */
#include "cli/envelope.h"

#include <string.h>
#include <unistd.h>

static const char *input_path(const struct cli *cli)
{
    return cli->operand_count > 0 ? cli->operands[0] : "-";
}

/* What a person wants to know of the result; nothing when the result itself is on standard output.
 */
static enum kyok_status report(struct cli *cli, const struct cli_output *output,
                               const struct kyok_envelope *envelope, bool stream)
{
    const struct kyok_config *config;
    json_t *json;

    if (!cli->json || cli_output_is_standard(output))
        return KYOK_OK;
    KYOK_TRY(cli_config(cli, &config));
    json = cli_envelope_json(envelope, config);
    if (json != NULL) {
        json_object_set_new(json, "file", cli_json_text(cli_option(cli, "--output")));
        json_object_set_new(json, "format", json_string(stream ? "stream" : "envelope"));
    }
    return cli_json(cli, json);
}

/* --- seal ------------------------------------------------------------------------------------ */

static const char *const algorithms[] = {"A256GCMKW", "A256KW", NULL};

static const struct cli_option seal_options[] = {
    {.name = "--to",
     .argument = "POLICY",
     .summary = "who can open it: REF, all-of(P, ...), any-of(P, ...)",
     .required = true},
    {.name = "--output",
     .letter = 'o',
     .argument = "FILE",
     .summary = "write here, not to standard output"},
    {.name = "--use", .argument = "USE", .summary = "what it is for (\"secret\")"},
    {.name = "--owner", .argument = "OWNER", .summary = "whose it is (\"\")"},
    {.name = "--generation", .argument = "N", .summary = "count it up when the secret changes (1)"},
    {.name = "--algorithm",
     .argument = "ALG",
     .summary = "for AES keys, instead of the best that the token has",
     .choices = algorithms},
    {.name = "--stream", .summary = "as a stream even if it is small"},
};

static enum kyok_status seal_claims(struct cli *cli, struct kyok_envelope_claims *claims)
{
    const char *use = cli_option(cli, "--use"), *owner = cli_option(cli, "--owner");

    claims->use = use != NULL ? use : "secret";
    claims->owner = owner != NULL ? owner : "";
    return cli_number(cli, "--generation", 1, &claims->generation);
}

static void seal_algorithm(const struct cli *cli, struct kyok_envelope_options *options)
{
    const char *name = cli_option(cli, "--algorithm");

    if (name != NULL)
        options->algorithm = kyok_envelope_algorithm_by_name(name);
}

static enum kyok_status seal_stream(struct cli *cli, const struct kyok_policy *policy,
                                    const struct kyok_envelope_claims *claims,
                                    struct cli_input *input, struct cli_output *output,
                                    struct kyok_envelope_options *options)
{
    struct cli_stream_progress progress = {cli, "sealed MiB", input->size, 0};
    struct kyok_context *context;

    if (cli_output_is_standard(output) && isatty(output->fd))
        return cli_usage(cli, "a stream is not for a terminal: name a file with -o");
    KYOK_TRY(cli_context(cli, &context));
    options->begun = cli_input_head(input);
    options->progress = cli_stream_progress;
    options->caller = &progress;
    KYOK_TRY(
        kyok_stream_seal(context, policy, claims, input->fd, output->fd, options, &cli->error));
    cli_stream_progress_end(&progress);
    return KYOK_OK;
}

static enum kyok_status seal_secret(struct cli *cli, const struct kyok_policy *policy,
                                    const struct kyok_envelope_claims *claims,
                                    struct cli_input *input, struct cli_output *output,
                                    const struct kyok_envelope_options *options)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {.limit = KYOK_ENVELOPE_MAX};
    KYOK_CLEANUP(cli_envelope_free) struct kyok_envelope *envelope = NULL;
    struct kyok_context *context;

    KYOK_TRY(cli_context(cli, &context));
    KYOK_TRY(kyok_envelope_seal(context, policy, claims, cli_input_head(input), options, &json,
                                &cli->error));
    KYOK_TRY(cli_output_write(cli, output, kyok_buffer_bytes(&json)));
    KYOK_TRY(kyok_envelope_inspect(kyok_buffer_bytes(&json), NULL, &envelope, &cli->error));
    KYOK_TRY(cli_output_commit(cli, output));
    return report(cli, output, envelope, false);
}

static enum kyok_status run_seal(struct cli *cli)
{
    KYOK_CLEANUP(cli_policy_free) struct kyok_policy *policy = NULL;
    KYOK_CLEANUP(cli_input_close) struct cli_input input = {.fd = -1};
    KYOK_CLEANUP(cli_output_discard) struct cli_output output = {.file = {.fd = -1}};
    struct kyok_envelope_options options = {0};
    struct kyok_envelope_claims claims;

    kyok_secret_harden_process();
    seal_algorithm(cli, &options);
    KYOK_TRY(seal_claims(cli, &claims));
    KYOK_TRY(cli_policy(cli, cli_option(cli, "--to"), &policy));
    KYOK_TRY(cli_input_open(cli, input_path(cli), KYOK_ENVELOPE_SECRET_MAX + 1, &input));
    KYOK_TRY(cli_output_open(cli, cli_option(cli, "--output"), 0666, &output));
    if (cli_option(cli, "--stream") == NULL &&
        cli_input_head(&input).size <= KYOK_ENVELOPE_SECRET_MAX)
        return seal_secret(cli, policy, &claims, &input, &output, &options);
    KYOK_TRY(seal_stream(cli, policy, &claims, &input, &output, &options));
    return cli_output_commit(cli, &output);
}

const struct cli_verb cli_envelope_seal_verbs[] = {
    {.words = "seal",
     .operands = "[IN]",
     .most = 1,
     .summary = "seal a file to keys that stay with their custodians",
     .description =
         "Seals IN (standard input when it is absent or \"-\") so that the custodians that POLICY "
         "names must consent to open it: all-of() asks every one of them, any-of() one. Up to 64 "
         "KiB become an envelope, one line of JSON (RFC 7516); more becomes a stream of "
         "authenticated chunks. The owner and use are part of what is authenticated.",
     CLI_OPTIONS(seal_options),
     .run = run_seal},
    {0},
};

/* --- open ------------------------------------------------------------------------------------ */

static const struct cli_option open_options[] = {
    {.name = "--output",
     .letter = 'o',
     .argument = "FILE",
     .summary = "write here, not to standard output"},
    {.name = "--use", .argument = "USE", .summary = "refuse an envelope for another use"},
    {.name = "--owner", .argument = "OWNER", .summary = "refuse an envelope of another owner"},
    {.name = "--generation",
     .argument = "N",
     .summary = "refuse an envelope of another generation"},
    {.name = "--reveal", .summary = "allow the secret on a terminal"},
    {.name = "--foreign", .summary = "accept JWE JSON that kyok did not write"},
    {.name = "--key",
     .argument = "REF",
     .summary = "the key for a foreign envelope that names none"},
    {.name = "--timeout", .argument = "MS", .summary = "wait no longer for custodians"},
};

#define TIMEOUT_MAX_MS 86400000u /* a day */

static enum kyok_status open_key(struct cli *cli, struct kyok_envelope_options *options,
                                 struct kyok_reference **key)
{
    const struct kyok_config *config;
    const char *text = cli_option(cli, "--key");
    uint64_t timeout;

    options->foreign = cli_option(cli, "--foreign") != NULL;
    KYOK_TRY(cli_number(cli, "--timeout", 0, &timeout));
    if (timeout > TIMEOUT_MAX_MS || (timeout == 0 && cli_option(cli, "--timeout") != NULL))
        return cli_usage(cli, "--timeout takes 1 to %u milliseconds", TIMEOUT_MAX_MS);
    options->timeout_ms = (unsigned)timeout;
    if (text == NULL)
        return KYOK_OK;
    if (!options->foreign)
        return cli_usage(cli, "--key is for --foreign envelopes: kyok's own name their keys");
    KYOK_TRY(cli_config(cli, &config));
    KYOK_TRY(kyok_reference_parse(text, KYOK_FROM_CONFIGURATION, config, key, &cli->error));
    options->key = *key;
    return KYOK_OK;
}

static enum kyok_status open_stream(struct cli *cli, struct cli_input *input,
                                    struct cli_output *output,
                                    const struct kyok_envelope_expected *expected,
                                    struct kyok_envelope_options *options)
{
    struct cli_stream_progress progress = {cli, "opened MiB", input->size, 0};
    KYOK_CLEANUP(cli_envelope_free) struct kyok_envelope *envelope = NULL;
    struct kyok_context *context;

    KYOK_TRY(cli_context(cli, &context));
    options->begun = cli_input_head(input);
    options->progress = cli_stream_progress;
    options->caller = &progress;
    KYOK_TRY(kyok_stream_open(context, input->fd, output->fd, expected, options, &envelope,
                              &cli->error));
    cli_stream_progress_end(&progress);
    KYOK_TRY(cli_output_commit(cli, output));
    return report(cli, output, envelope, true);
}

static enum kyok_status open_secret(struct cli *cli, struct cli_input *input,
                                    struct cli_output *output,
                                    const struct kyok_envelope_expected *expected,
                                    const struct kyok_envelope_options *options)
{
    KYOK_CLEANUP(cli_envelope_free) struct kyok_envelope *envelope = NULL;
    KYOK_AUTO_SECRET struct kyok_secret *secret = NULL;
    struct kyok_context *context;

    KYOK_TRY(cli_input_more(cli, input, KYOK_ENVELOPE_MAX + 1));
    KYOK_TRY(cli_context(cli, &context));
    KYOK_TRY(kyok_envelope_open(context, cli_input_head(input), expected, options, &secret,
                                &envelope, &cli->error));
    KYOK_TRY(cli_output_write(cli, output, kyok_secret_bytes(secret)));
    KYOK_TRY(cli_output_commit(cli, output));
    return report(cli, output, envelope, false);
}

static enum kyok_status run_open(struct cli *cli)
{
    KYOK_CLEANUP(cli_input_close) struct cli_input input = {.fd = -1};
    KYOK_CLEANUP(cli_output_discard) struct cli_output output = {.file = {.fd = -1}};
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *key = NULL;
    struct kyok_envelope_expected expected;
    struct kyok_envelope_options options = {0};

    kyok_secret_harden_process();
    KYOK_TRY(cli_expected(cli, &expected));
    KYOK_TRY(open_key(cli, &options, &key));
    KYOK_TRY(cli_input_open(cli, input_path(cli), KYOK_STREAM_MAGIC_SIZE, &input));
    KYOK_TRY(cli_output_open(cli, cli_option(cli, "--output"), 0600, &output));
    if (cli_output_is_standard(&output) && isatty(output.fd) && cli_option(cli, "--reveal") == NULL)
        return cli_usage(cli, "a secret is shown on a terminal with --reveal only");
    if (kyok_stream_is(cli_input_head(&input)))
        return open_stream(cli, &input, &output, &expected, &options);
    return open_secret(cli, &input, &output, &expected, &options);
}

const struct cli_verb cli_envelope_open_verbs[] = {
    {.words = "open",
     .operands = "[IN]",
     .most = 1,
     .summary = "open an envelope or a stream",
     .description =
         "Opens IN (standard input when it is absent or \"-\") with the consent of the custodians "
         "that "
         "it names. A file given with -o appears under its name only when everything was "
         "authenticated. On a pipe each byte is authenticated before it is written; a stream that "
         "is cut or damaged further on ends with exit code 4.",
     CLI_OPTIONS(open_options),
     .run = run_open},
    {0},
};
