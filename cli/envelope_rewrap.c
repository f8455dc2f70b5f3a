/* SPDX-License-Identifier: Apache-2.0 */
/* kyok rewrap: other recipients for many envelopes. Each file is replaced whole or not at all, and
 * one that fits already is left alone, so that a run that was interrupted is simply repeated. */
#include "cli/envelope.h"
#include "common/key/lifecycle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct cli_option rewrap_options[] = {
    {.name = "--to", .argument = "POLICY", .summary = "bring them to this policy"},
    {.name = "--add",
     .argument = "REF",
     .summary = "one more key that opens the layer",
     .repeatable = true},
    {.name = "--remove",
     .argument = "KID",
     .summary = "a key, as inspect shows it, that must no longer open the layer",
     .repeatable = true},
    {.name = "--layer",
     .argument = "N",
     .summary = "which layer --add and --remove mean (1, the outermost)"},
    {.name = "--fresh", .summary = "new content keys, even where the recipients stay"},
    {.name = "--use", .argument = "USE", .summary = "refuse envelopes for another use"},
    {.name = "--owner", .argument = "OWNER", .summary = "refuse envelopes of another owner"},
    {.name = "--dry-run", .summary = "do everything but write"},
};

#define CHANGES_MAX 64

/* One run over many files. */
struct rewrapping {
    struct cli *cli;
    struct kyok_context *context;
    struct kyok_policy *policy; /* --to */
    struct kyok_reference *add[CHANGES_MAX];
    const char *remove[CHANGES_MAX];
    struct kyok_envelope_change change;
    struct kyok_envelope_expected expected;
    bool dry_run, fresh;
    bool follow; /* to the newest versions of the same keys */

    char **paths;
    size_t path_count;
    json_t *report;
    size_t changed, unchanged, failed;
    struct kyok_error first; /* failure */
};

static void rewrapping_free(struct rewrapping *run)
{
    if (run->policy != NULL)
        kyok_policy_free(run->policy);
    for (size_t i = 0; i < run->change.add_count; i++)
        kyok_reference_free(run->add[i]);
    for (size_t i = 0; i < run->path_count; i++)
        free(run->paths[i]);
    free(run->paths);
    json_decref(run->report);
}

/* --- what is asked for ----------------------------------------------------------------------- */

static enum kyok_status read_changes(struct rewrapping *run)
{
    struct cli *cli = run->cli;
    const struct kyok_config *config;
    const char *text;
    uint64_t layer;

    KYOK_TRY(cli_config(cli, &config));
    KYOK_TRY(cli_number(cli, "--layer", 1, &layer));
    if (layer == 0)
        return cli_usage(cli, "layers are counted from 1");
    run->change.layer = layer - 1;
    for (size_t i = 0; (text = cli_option_at(cli, "--add", i)) != NULL && i < CHANGES_MAX; i++) {
        KYOK_TRY(
            kyok_reference_parse(text, KYOK_FROM_CONFIGURATION, config, &run->add[i], &cli->error));
        run->change.add_count++;
    }
    for (size_t i = 0; (text = cli_option_at(cli, "--remove", i)) != NULL && i < CHANGES_MAX; i++)
        run->remove[run->change.remove_count++] = text;
    if (cli_option_at(cli, "--add", CHANGES_MAX) != NULL ||
        cli_option_at(cli, "--remove", CHANGES_MAX) != NULL)
        return cli_usage(cli, "at most %d --add and %d --remove at once", CHANGES_MAX, CHANGES_MAX);
    run->change.add = (const struct kyok_reference *const *)run->add;
    run->change.remove = run->remove;
    return KYOK_OK;
}

static enum kyok_status read_request(struct rewrapping *run)
{
    struct cli *cli = run->cli;
    bool change = cli_option(cli, "--add") != NULL || cli_option(cli, "--remove") != NULL;

    run->dry_run = cli_option(cli, "--dry-run") != NULL;
    run->fresh = cli_option(cli, "--fresh") != NULL;
    if (cli_option(cli, "--to") != NULL && (change || run->fresh))
        return cli_usage(cli,
                         "--to names all recipients: not together with --add, --remove or --fresh");
    run->follow = cli_option(cli, "--to") == NULL && !change && !run->fresh;
    run->expected = (struct kyok_envelope_expected){.use = cli_option(cli, "--use"),
                                                    .owner = cli_option(cli, "--owner")};
    if (cli_option(cli, "--to") != NULL)
        return cli_policy(cli, cli_option(cli, "--to"), &run->policy);
    return read_changes(run);
}

/* --- which files ----------------------------------------------------------------------------- */

static bool add_path(struct rewrapping *run, const char *path)
{
    char **paths = realloc(run->paths, (run->path_count + 1) * sizeof(*paths));

    if (paths == NULL)
        return false;
    run->paths = paths;
    paths[run->path_count] = strdup(path);
    return paths[run->path_count] != NULL && ++run->path_count > 0;
}

/* In a folder everything else is passed over; what cannot be read, or is damaged, may be an
 * envelope, and fails under its name. */
static bool visit_file(void *caller, const char *path)
{
    KYOK_CLEANUP(cli_envelope_file_free) struct cli_envelope_file file = {0};
    struct kyok_error ignored;

    if (cli_envelope_file_read(path, &file, &ignored) == KYOK_NOT_FOUND)
        return true;
    return add_path(caller, path);
}

static enum kyok_status gather(struct rewrapping *run)
{
    struct cli *cli = run->cli;

    for (size_t i = 0; i < cli->operand_count; i++) {
        struct stat about;

        if (stat(cli->operands[i], &about) != 0)
            return kyok_fail_errno(&cli->error, cli->operands[i], "the file cannot be opened");
        if (S_ISDIR(about.st_mode))
            KYOK_TRY(cli_each_file(cli->operands[i], visit_file, run, &cli->error));
        else if (!add_path(run, cli->operands[i]))
            return kyok_fail(&cli->error, KYOK_SYSTEM, NULL, "memory is short");
    }
    return KYOK_OK;
}

/* --- one file -------------------------------------------------------------------------------- */

/* A removal or addition that an earlier run has done already is no failure and no change. */
static enum kyok_status change_recipients(struct rewrapping *run,
                                          const struct kyok_envelope *envelope,
                                          struct kyok_bytes json, struct kyok_buffer *out,
                                          struct kyok_error *err)
{
    const struct kyok_envelope_layer *layer = kyok_envelope_layer(envelope, run->change.layer);
    struct kyok_envelope_change change = run->change;
    const char *remove[CHANGES_MAX];

    change.remove = remove;
    change.remove_count = 0;
    for (size_t i = 0; i < run->change.remove_count; i++)
        for (size_t j = 0; layer != NULL && j < layer->count; j++)
            if (strcmp(layer->recipients[j].kid, run->change.remove[i]) == 0)
                remove[change.remove_count++] = run->change.remove[i];
    if (layer != NULL && change.remove_count == 0 && change.add_count == 0)
        return kyok_buffer_append(out, json.data, json.size)
                   ? KYOK_OK
                   : kyok_fail(err, KYOK_SYSTEM, NULL, "memory is short");
    return kyok_envelope_change(run->context, json, &run->expected, &change, 1, NULL, out, err);
}

static enum kyok_status refresh(struct rewrapping *run, const struct kyok_envelope *envelope,
                                struct kyok_bytes json, struct kyok_buffer *out,
                                struct kyok_error *err)
{
    struct kyok_envelope_change changes[KYOK_ENVELOPE_MAX_LAYERS] = {0};
    size_t count = kyok_envelope_layer_count(envelope);

    for (size_t i = 0; i < count; i++) {
        if (i == run->change.layer)
            changes[i] = run->change;
        changes[i].layer = i;
        changes[i].refresh = true;
    }
    return kyok_envelope_change(run->context, json, &run->expected, changes, count, NULL, out, err);
}

/* --- the newest versions --------------------------------------------------------------------- */

struct following {
    struct kyok_envelope_change changes[KYOK_ENVELOPE_MAX_LAYERS];
    struct kyok_reference *add[KYOK_ENVELOPE_MAX_LAYERS][CHANGES_MAX];
    const char *remove[KYOK_ENVELOPE_MAX_LAYERS][CHANGES_MAX];
    size_t count;
};

static void following_auto_free(struct following **following)
{
    if (*following == NULL)
        return;
    for (size_t i = 0; i < (*following)->count; i++)
        for (size_t j = 0; j < (*following)->changes[i].add_count; j++)
            kyok_reference_free((*following)->add[i][j]);
    free(*following);
}

static bool is_same_version(const struct kyok_reference *old, const struct kyok_reference *newest)
{
    if (old->kind == KYOK_REFERENCE_KMIP)
        return old->identifier == NULL || newest->identifier == NULL ||
               strcmp(old->identifier, newest->identifier) == 0;
    return old->object == NULL ||
           (strcmp(old->object, newest->object) == 0 && old->id_size == newest->id_size &&
            (old->id_size == 0 || memcmp(old->id, newest->id, old->id_size) == 0));
}

/* A recipient whose key has a newer version gives way to it. */
static enum kyok_status follow_recipient(struct rewrapping *run, struct following *following,
                                         const char *kid, struct kyok_error *err)
{
    struct kyok_envelope_change *change = &following->changes[following->count - 1];
    const struct kyok_config *config = kyok_context_config(run->context);
    struct kyok_reference *old = NULL, *newest = NULL;
    bool same;

    KYOK_TRY(kyok_reference_parse(kid, KYOK_FROM_DATA, config, &old, err));
    if (kyok_key_newest(run->context, old, &newest, err) != KYOK_OK) {
        kyok_reference_free(old);
        return err->status;
    }
    same = is_same_version(old, newest);
    kyok_reference_free(old);
    if (same) {
        kyok_reference_free(newest);
        return KYOK_OK;
    }
    following->remove[following->count - 1][change->remove_count++] = kid;
    following->add[following->count - 1][change->add_count++] = newest;
    return KYOK_OK;
}

static enum kyok_status follow_layer(struct rewrapping *run, struct following *following,
                                     const struct kyok_envelope_layer *layer, size_t index,
                                     struct kyok_error *err)
{
    struct kyok_envelope_change *change = &following->changes[following->count];

    *change = (struct kyok_envelope_change){
        .layer = index,
        .add = (const struct kyok_reference *const *)following->add[following->count],
        .remove = following->remove[following->count]};
    following->count++;
    for (size_t i = 0; i < layer->count; i++)
        KYOK_TRY(follow_recipient(run, following, layer->recipients[i].kid, err));
    following->count -= change->remove_count == 0;
    return KYOK_OK;
}

static enum kyok_status follow_versions(struct rewrapping *run,
                                        const struct kyok_envelope *envelope,
                                        struct kyok_bytes json, struct kyok_buffer *out,
                                        struct kyok_error *err)
{
    KYOK_CLEANUP(following_auto_free) struct following *following = calloc(1, sizeof(*following));

    if (following == NULL)
        return kyok_fail(err, KYOK_SYSTEM, NULL, "memory is short");
    for (size_t i = 0; i < kyok_envelope_layer_count(envelope); i++)
        KYOK_TRY(follow_layer(run, following, kyok_envelope_layer(envelope, i), i, err));
    if (following->count == 0)
        return kyok_buffer_append(out, json.data, json.size)
                   ? KYOK_OK
                   : kyok_fail(err, KYOK_SYSTEM, NULL, "memory is short");
    return kyok_envelope_change(run->context, json, &run->expected, following->changes,
                                following->count, NULL, out, err);
}

static enum kyok_status rewrap_json(struct rewrapping *run, struct kyok_bytes json,
                                    struct kyok_buffer *out, struct kyok_error *err)
{
    KYOK_CLEANUP(cli_envelope_free) struct kyok_envelope *envelope = NULL;

    KYOK_TRY(kyok_envelope_inspect(json, NULL, &envelope, err));
    if (run->policy != NULL)
        return kyok_envelope_rewrap(run->context, json, &run->expected, run->policy, NULL, out,
                                    err);
    if (run->follow)
        return follow_versions(run, envelope, json, out, err);
    if (run->fresh)
        return refresh(run, envelope, json, out, err);
    return change_recipients(run, envelope, json, out, err);
}

static void close_descriptor(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* Custodians may have taken their time: whatever took the file's name meanwhile is not undone, and
 * its chunks never get another stream's envelope. */
static enum kyok_status check_unchanged(const char *path, int old, const struct stat *read,
                                        struct kyok_error *err)
{
    struct stat now;

    if (fstat(old, &now) == 0 && now.st_dev == read->st_dev && now.st_ino == read->st_ino &&
        now.st_size == read->st_size && now.st_mtim.tv_sec == read->st_mtim.tv_sec &&
        now.st_mtim.tv_nsec == read->st_mtim.tv_nsec)
        return KYOK_OK;
    kyok_fail(err, KYOK_BUSY, path, "the file was changed by another program meanwhile");
    return kyok_remedy(err, "run it again");
}

/* The new file takes the old one's mode and, where this process may, its owner. A link stays one:
 * it is the file behind it that must lose its old recipients. */
static enum kyok_status replace(const char *name, const struct stat *read, struct kyok_bytes json,
                                bool stream, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_new_file_discard) struct kyok_new_file file = {.fd = -1};
    KYOK_AUTO_FREE char *path = realpath(name, NULL);
    KYOK_CLEANUP(close_descriptor)
    int old = path != NULL ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY) : -1;
    struct stat about;

    if (old < 0 || fstat(old, &about) != 0)
        return kyok_fail_errno(err, name, "the file cannot be opened");
    KYOK_TRY(check_unchanged(name, old, read, err));
    KYOK_TRY(kyok_new_file_create(path, about.st_mode & 07777, &file, err));
    if (fchown(file.fd, about.st_uid, about.st_gid) != 0 && errno != EPERM)
        return kyok_fail_errno(err, path, "the new file cannot have the old one's owner");
    if (stream)
        KYOK_TRY(kyok_stream_replace_envelope(old, file.fd, json, err));
    else
        KYOK_TRY(kyok_new_file_write(&file, json, err));
    return kyok_new_file_commit(&file, err);
}

static enum kyok_status rewrap_file(struct rewrapping *run, const char *path, bool *changed,
                                    struct kyok_error *err)
{
    KYOK_CLEANUP(cli_envelope_file_free) struct cli_envelope_file file = {0};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer out = {.limit = KYOK_ENVELOPE_MAX};
    struct stat about;

    if (stat(path, &about) != 0)
        return kyok_fail_errno(err, path, "the file cannot be opened");
    KYOK_TRY(cli_envelope_file_read(path, &file, err));
    KYOK_TRY(rewrap_json(run, kyok_buffer_bytes(&file.json), &out, err));
    *changed = !kyok_bytes_equal(kyok_buffer_bytes(&file.json), kyok_buffer_bytes(&out));
    if (!*changed || run->dry_run)
        return KYOK_OK;
    return replace(path, &about, kyok_buffer_bytes(&out), file.stream, err);
}

/* --- all of them ----------------------------------------------------------------------------- */

static const char *word(const struct rewrapping *run, enum kyok_status status, bool changed)
{
    if (status != KYOK_OK)
        return "failed";
    if (!changed)
        return "unchanged";
    return run->dry_run ? "would be rewrapped" : "rewrapped";
}

static void note(struct rewrapping *run, const char *path, enum kyok_status status, bool changed,
                 const struct kyok_error *err)
{
    char room[1024], text[1024];

    if (status != KYOK_OK && run->failed++ == 0)
        run->first = *err;
    else if (status == KYOK_OK && changed)
        run->changed++;
    else if (status == KYOK_OK)
        run->unchanged++;
    if (run->cli->json) {
        json_t *json = json_pack("{s:o, s:s}", "file", cli_json_text(path), "result",
                                 word(run, status, changed));
        if (json != NULL && status != KYOK_OK)
            json_object_set_new(json, "error", cli_json_error(err));
        json_array_append_new(run->report, json);
    } else if (status != KYOK_OK) {
        fprintf(stderr, "kyok: %s: %s\n", cli_safe(path, room, sizeof(room)),
                kyok_error_text(err, text, sizeof(text)));
    } else if (run->dry_run || run->path_count == 1) {
        printf("%s: %s\n", cli_safe(path, room, sizeof(room)), word(run, status, changed));
    }
}

static enum kyok_status conclude(struct rewrapping *run)
{
    if (run->cli->json)
        KYOK_TRY(cli_json(run->cli, json_incref(run->report)));
    else if (run->path_count != 1)
        printf("%zu %s, %zu unchanged, %zu failed\n", run->changed,
               run->dry_run ? "would be rewrapped" : "rewrapped", run->unchanged, run->failed);
    if (run->failed == 0)
        return KYOK_OK;
    if (run->failed == run->path_count) {
        run->cli->error = run->first;
        return run->first.status;
    }
    kyok_fail(&run->cli->error, KYOK_INCOMPLETE, NULL, "%zu of %zu envelopes were not rewrapped",
              run->failed, run->path_count);
    return kyok_remedy(&run->cli->error, "run it again: those that are done are left alone");
}

static enum kyok_status run_rewrap(struct cli *cli)
{
    KYOK_CLEANUP(rewrapping_free) struct rewrapping run = {.cli = cli, .report = json_array()};

    kyok_secret_harden_process();
    KYOK_TRY(read_request(&run));
    KYOK_TRY(gather(&run));
    KYOK_TRY(cli_context(cli, &run.context));
    for (size_t i = 0; i < run.path_count; i++) {
        struct kyok_error err = {0};
        bool changed = false;
        enum kyok_status status = rewrap_file(&run, run.paths[i], &changed, &err);

        note(&run, run.paths[i], status, changed, &err);
        if (run.path_count > 1)
            cli_progress(cli, "envelopes", i + 1, run.path_count);
    }
    return conclude(&run);
}

const struct cli_verb cli_envelope_rewrap_verbs[] = {
    {.words = "rewrap",
     .operands = "FILE...",
     .least = 1,
     .most = CLI_ANY,
     .summary = "give envelopes other recipients",
     .description =
         "Changes who can open the envelopes and streams in FILE..., or in a folder and below. The "
         "secret inside stays; a stream's bulk is copied, not encrypted again. Without an option "
         "each recipient gives way to the newest version of its key (kyok key rotate). With --to "
         "they fit "
         "POLICY afterwards; with --add and --remove one layer changes and only the custodians "
         "that "
         "it needs are asked. Removing a key takes effect for this copy: whoever kept an older "
         "copy "
         "and may still use the key opens that one. Each file is replaced whole; those that fit "
         "already are left alone, so that an interrupted run is repeated.",
     CLI_OPTIONS(rewrap_options),
     .run = run_rewrap},
    {0},
};
