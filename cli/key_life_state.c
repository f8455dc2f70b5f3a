/* SPDX-License-Identifier: Apache-2.0 */
/* kyok key state, kyok key rotate, kyok key descend, and the tree of key list. */
#include "cli/key_life.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum kyok_status cli_print_reference(struct cli *cli, const struct kyok_reference *reference)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    char room[1024];

    KYOK_TRY(kyok_reference_format(reference, &text, &cli->error));
    if (!kyok_buffer_append(&text, "", 1))
        return kyok_fail(&cli->error, KYOK_SYSTEM, NULL, "memory is short");
    if (cli->json)
        return cli_json(cli, json_pack("{s:o}", "reference", cli_json_text((char *)text.data)));
    printf("%s\n", cli_safe((char *)text.data, room, sizeof(room)));
    return KYOK_OK;
}

/* --- state ----------------------------------------------------------------------------------- */

static const char *const settable[] = {"active", "suspended", "deactivated", NULL};

static enum kyok_key_state state_now(const struct kyok_key_version *version)
{
    return kyok_key_version_state(version, time(NULL));
}

/* Honest about what a state is worth. */
static const char *enforcer(const struct kyok_key_record *record,
                            const struct kyok_key_version *version)
{
    enum kyok_key_state state = state_now(version);

    if (state == KYOK_STATE_DESTROYED)
        return "gone";
    if (record->kmip && state == KYOK_STATE_SUSPENDED)
        return "kyok alone: KMIP has no such state";
    if (record->kmip)
        return "the KMIP server; kyok uses active keys only, whatever the server allows";
    if (version->wrapped_size > 0)
        return "kyok: it exists wrapped only, and kyok does not unwrap it";
    if ((version->usage & KYOK_USAGE_ENCRYPT) == 0 &&
        (version->usage & (KYOK_USAGE_DECRYPT | KYOK_USAGE_UNWRAP)) != 0)
        return "the token for the private half, against everyone without its PIN; kyok alone for "
               "encryption to the public half";
    return "the token, against everyone without its PIN";
}

static const char *date_enforcer(const struct kyok_key_record *record)
{
    return record->kmip ? "the KMIP server"
                        : "kyok alone, which tells the token when it next seals with the key or "
                          "shows its state";
}

static void add_date(json_t *json, const char *name, int64_t date)
{
    char room[CLI_DATE_SIZE];

    if (json != NULL && date != 0)
        json_object_set_new(json, name, json_string(cli_date_text(date, room)));
}

static json_t *version_json(const struct kyok_key_record *record,
                            const struct kyok_key_version *version)
{
    char id[2 * KYOK_RECORD_ID_MAX + 1];
    json_t *json;

    kyok_hex_encode(kyok_bytes(version->name.id, version->name.id_size), id);
    json = json_pack("{s:o, s:s, s:s, s:s}", "label", cli_json_text(version->name.label), "id", id,
                     "state", kyok_key_state_name(state_now(version)), "enforced-by",
                     enforcer(record, version));
    if (json != NULL && version->identifier[0] != '\0')
        json_object_set_new(json, "identifier", cli_json_text(version->identifier));
    if (json != NULL && version->parent.label[0] != '\0')
        json_object_set_new(json, "parent", cli_json_text(version->parent.label));
    if (json != NULL && version->made > 0)
        json_object_set_new(json, "made", json_integer(version->made));
    add_date(json, "activate-on", version->activate);
    add_date(json, "deactivate-on", version->deactivate);
    if (json != NULL && (version->activate != 0 || version->deactivate != 0))
        json_object_set_new(json, "dates-enforced-by", json_string(date_enforcer(record)));
    return json;
}

static json_t *record_json(const struct kyok_key_record *record)
{
    json_t *versions = json_array();

    for (size_t i = 0; i < record->count; i++)
        json_array_append_new(versions, version_json(record, &record->versions[i]));
    return json_pack("{s:o, s:o}", "name", cli_json_text(record->name), "versions", versions);
}

static void paint_state(enum kyok_key_state state)
{
    cli_paint(stdout,
              state == KYOK_STATE_ACTIVE      ? CLI_GOOD
              : state == KYOK_STATE_DESTROYED ? CLI_BAD
                                              : CLI_WARNING,
              kyok_key_state_name(state));
}

static void print_dates(const struct kyok_key_record *record,
                        const struct kyok_key_version *version)
{
    char room[CLI_DATE_SIZE];

    if (version->activate == 0 && version->deactivate == 0)
        return;
    printf("   ");
    if (version->activate != 0)
        printf(" active from %s", cli_date_text(version->activate, room));
    if (version->deactivate != 0)
        printf("%s deactivated from %s", version->activate != 0 ? "," : "",
               cli_date_text(version->deactivate, room));
    printf("  (%s)\n", date_enforcer(record));
}

static void print_record(const struct kyok_key_record *record)
{
    char room[512], id[2 * KYOK_RECORD_ID_MAX + 1];

    for (size_t i = 0; i < record->count; i++) {
        const struct kyok_key_version *version = &record->versions[i];

        kyok_hex_encode(kyok_bytes(version->name.id, version->name.id_size), id);
        printf("%s  ", cli_safe(version->name.label, room, sizeof(room)));
        if (id[0] != '\0')
            printf("id %s  ", id);
        else if (strcmp(version->identifier, version->name.label) != 0)
            printf("%s  ", cli_safe(version->identifier, room, sizeof(room)));
        paint_state(state_now(version));
        printf("  (%s)\n", enforcer(record, version));
        print_dates(record, version);
    }
}

static const struct cli_option state_options[] = {
    {.name = "--activate-on",
     .argument = "TIME",
     .summary = "when a pre-active version becomes active: a time as for key generate, or never"},
    {.name = "--deactivate-on",
     .argument = "TIME",
     .summary = "when the version is deactivated: the same"},
};

static enum kyok_status set_dates(struct cli *cli, struct kyok_context *context,
                                  const struct kyok_reference *reference)
{
    bool activates = cli_option(cli, "--activate-on") != NULL;
    bool deactivates = cli_option(cli, "--deactivate-on") != NULL;
    int64_t activate, deactivate;

    if (!activates && !deactivates)
        return KYOK_OK;
    KYOK_TRY(cli_date(cli, "--activate-on", &activate));
    KYOK_TRY(cli_date(cli, "--deactivate-on", &deactivate));
    return kyok_key_set_dates(context, reference, activates ? &activate : NULL,
                              deactivates ? &deactivate : NULL, &cli->error);
}

static enum kyok_status run_state(struct cli *cli)
{
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *reference = NULL;
    KYOK_AUTO_FREE struct kyok_key_record *record = calloc(1, sizeof(*record));
    struct kyok_context *context;
    enum kyok_key_state state = KYOK_STATE_ACTIVE;

    if (record == NULL)
        return kyok_fail(&cli->error, KYOK_SYSTEM, NULL, "memory is short");
    if (cli->operand_count > 1 && (!kyok_key_state_by_name(cli->operands[1], &state) ||
                                   state == KYOK_STATE_PRE_ACTIVE || state == KYOK_STATE_DESTROYED))
        return cli_usage(cli, "a state is %s, %s or %s", settable[0], settable[1], settable[2]);
    KYOK_TRY(cli_reference(cli, 0, &reference));
    KYOK_TRY(cli_context(cli, &context));
    if (cli->operand_count > 1)
        KYOK_TRY(kyok_key_set_state(context, reference, state, &cli->error));
    KYOK_TRY(set_dates(cli, context, reference));
    KYOK_TRY(kyok_key_settle(context, reference, &cli->error));
    KYOK_TRY(kyok_key_record(context, reference, record, &cli->error));
    if (cli->json)
        return cli_json(cli, record_json(record));
    print_record(record);
    return KYOK_OK;
}

/* --- rotate, descend ------------------------------------------------------------------------- */

static const struct cli_option rotate_options[] = {
    {.name = "--allow-oaep-sha1",
     .summary = "in a group of several tokens: accept those that know RSA-OAEP with SHA-1 only"},
};

static enum kyok_status run_rotate(struct cli *cli)
{
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *reference = NULL;
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *made = NULL;
    struct kyok_context *context;

    KYOK_TRY(cli_reference(cli, 0, &reference));
    KYOK_TRY(cli_context(cli, &context));
    KYOK_TRY(kyok_key_rotate(context, reference, cli_option(cli, "--allow-oaep-sha1") != NULL,
                             &made, &cli->error));
    return cli_print_reference(cli, made);
}

static const struct cli_option descend_options[] = {
    {.name = "--for",
     .argument = "NAME",
     .summary = "whom the new key is for; its name",
     .required = true},
};

static enum kyok_status run_descend(struct cli *cli)
{
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *root = NULL;
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *made = NULL;
    struct kyok_context *context;

    KYOK_TRY(cli_reference(cli, 0, &root));
    KYOK_TRY(cli_context(cli, &context));
    KYOK_TRY(kyok_key_descend(context, root, cli_option(cli, "--for"), &made, &cli->error));
    return cli_print_reference(cli, made);
}

/* --- tree ------------------------------------------------------------------------------------ */

struct tree {
    struct kyok_key_record *list;
    size_t count;
    bool failed;
};

static bool keep(void *caller, const struct kyok_key_record *record)
{
    struct tree *tree = caller;
    struct kyok_key_record *list = realloc(tree->list, (tree->count + 1) * sizeof(*list));

    tree->failed = list == NULL;
    if (list == NULL)
        return false;
    tree->list = list;
    list[tree->count++] = *record;
    return true;
}

/* The name of the key that wraps a record's newest version; NULL: none. */
static const char *parent_of(const struct kyok_key_record *record, char *room)
{
    const struct kyok_key_version *newest = &record->versions[record->count - 1];

    if (newest->parent.label[0] == '\0')
        return NULL;
    kyok_key_record_base_name(newest->parent.label, room);
    return room;
}

static bool is_known(const struct tree *tree, const char *name)
{
    for (size_t i = 0; i < tree->count; i++)
        if (strcmp(tree->list[i].name, name) == 0)
            return true;
    return false;
}

static void print_branch(const struct tree *tree, const char *parent, unsigned depth)
{
    char room[KYOK_RECORD_LABEL_MAX + 1], safe[512];

    for (size_t i = 0; i < tree->count && depth < 16; i++) {
        const struct kyok_key_record *record = &tree->list[i];
        const char *above = parent_of(record, room);

        if ((parent == NULL) != (above == NULL) || (parent != NULL && strcmp(parent, above) != 0))
            continue;
        printf("%*s%s  ", (int)(2 * depth), "", cli_safe(record->name, safe, sizeof(safe)));
        paint_state(state_now(&record->versions[record->count - 1]));
        printf("  %zu version%s\n", record->count, record->count == 1 ? "" : "s");
        print_branch(tree, record->name, depth + 1);
    }
}

/* A root that was never rotated has no record, but its descendants name it. */
static void print_unrecorded(const struct tree *tree)
{
    char room[KYOK_RECORD_LABEL_MAX + 1], safe[512];

    for (size_t i = 0; i < tree->count; i++) {
        const char *above = parent_of(&tree->list[i], room);
        char before[KYOK_RECORD_LABEL_MAX + 1];
        bool told = above == NULL || is_known(tree, above);

        for (size_t j = 0; j < i && !told; j++)
            told = parent_of(&tree->list[j], before) != NULL && strcmp(before, above) == 0;
        if (told)
            continue;
        printf("%s\n", cli_safe(above, safe, sizeof(safe)));
        print_branch(tree, above, 1);
    }
}

static json_t *tree_json(const struct tree *tree)
{
    json_t *list = json_array();
    char room[KYOK_RECORD_LABEL_MAX + 1];

    for (size_t i = 0; i < tree->count; i++) {
        json_t *json = record_json(&tree->list[i]);

        if (json != NULL && parent_of(&tree->list[i], room) != NULL)
            json_object_set_new(json, "parent", cli_json_text(room));
        json_array_append_new(list, json);
    }
    return list;
}

enum kyok_status cli_key_tree(struct cli *cli, struct kyok_context *context, const char *group)
{
    KYOK_CLEANUP(cli_reference_auto_free) struct kyok_reference *reference = NULL;
    struct tree tree = {0};
    char text[160];
    enum kyok_status status;

    snprintf(text, sizeof(text),
             kyok_config_kmip(kyok_context_config(context), group) != NULL
                 ? "kmip://%s"
                 : "pkcs11:?kyok-group=%s",
             group);
    KYOK_TRY(kyok_reference_parse(text, KYOK_FROM_CONFIGURATION, kyok_context_config(context),
                                  &reference, &cli->error));
    status = kyok_key_records(context, reference, keep, &tree, &cli->error);
    if (status == KYOK_OK && tree.failed)
        status = kyok_fail(&cli->error, KYOK_SYSTEM, NULL, "memory is short");
    if (status == KYOK_OK && cli->json)
        status = cli_json(cli, json_pack("{s:s, s:o}", "group", group, "keys", tree_json(&tree)));
    if (status == KYOK_OK && !cli->json) {
        print_branch(&tree, NULL, 0);
        print_unrecorded(&tree);
    }
    free(tree.list);
    return status;
}

/* --- the table ------------------------------------------------------------------------------- */

const struct cli_verb cli_key_life_verbs[] = {
    {.words = "key state",
     .operands = "REF [STATE]",
     .least = 1,
     .most = 2,
     .summary = "show or change the state of a key's versions",
     .description =
         "Shows every version of the key with its state and who enforces it, or brings the version "
         "that REF names (by label and id, or label alone) to STATE: active, suspended (nothing "
         "works with it) or deactivated (opens what was sealed before, seals nothing more). The "
         "token's usage attributes carry it out; the word is kept in a data object on the token. "
         "Whoever has the token's PIN can undo it. At a KMIP server the state and its dates are "
         "the "
         "server's; suspended, which KMIP lacks, is a word beside them that kyok alone keeps. With "
         "--activate-on or --deactivate-on the version changes by itself: in a token by kyok "
         "alone, which counts the date in whenever it seals or opens, and brings the token's "
         "attributes after it when it next seals with the key or shows its state.",
     CLI_OPTIONS(state_options),
     .run = run_state},
    {.words = "key rotate",
     .operands = "REF",
     .least = 1,
     .most = 1,
     .summary = "make a new version of a key",
     .description =
         "Makes a new version, NAME.vN, and prints its reference. From then on kyok seal uses it "
         "where a policy names the key without id; envelopes sealed before name their version and "
         "still open. Older AES versions are deactivated, and descendants are rewrapped inside the "
         "token, so that no envelope of theirs changes. At a KMIP server the new version is made "
         "by "
         "Re-key, or where there is none by Create, under the name NAME.vN; older versions stay "
         "active there, since a server may refuse to decrypt with any other. Interrupted, it is "
         "completed by a second run. kyok rewrap brings envelopes to the new version. In a group "
         "of "
         "several tokens one makes the key for the moment and wraps it for each, where it becomes "
         "a key that cannot leave; all get it or none. A key that never leaves its token (as kyok "
         "makes them in one token) is refused there: name one token with token=, and clone the new "
         "version with the vendor's tool.",
     CLI_OPTIONS(rotate_options),
     .run = run_rotate},
    {.words = "key descend",
     .operands = "ROOT",
     .least = 1,
     .most = 1,
     .summary = "make a key below another, for one vendor or host group",
     .description =
         "Makes an AES-256 key NAME inside the token of ROOT, for one vendor or host group. It is "
         "stored wrapped by ROOT, in a data object on the token, and unwrapped inside the token "
         "when used, as a session object that cannot leave. Each descendant has its own state: "
         "suspending or destroying one leaves the others working. No KMIP server unwraps a key for "
         "one use: there the descendant is an AES-256 key of its own, which remembers its root for "
         "key list --tree, does not rest on it, and can be granted to an identity of its own. "
         "Prints its reference.",
     CLI_OPTIONS(descend_options),
     .run = run_descend},
    {0},
};
