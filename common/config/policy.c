/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies. Every part is brought to an AND of ORs as it is read, so no tree is ever kept: all-of
 * appends its parts' clauses, any-of takes each pair of clauses together (distribution).
 */
#include "common/config/policy.h"

#include "common/config/text.h"

#include <stdlib.h>
#include <string.h>

#define POLICY_MAX_SIZE ((size_t)65536)

struct parser {
    struct kyok_cursor rest;
    enum kyok_origin origin;
    const struct kyok_config *config;
    struct kyok_error *err;
};

enum junction { ALL_OF, ANY_OF };

static void policy_clear(struct kyok_policy *policy)
{
    for (size_t i = 0; i < policy->count; i++) {
        for (size_t j = 0; j < policy->clauses[i].count; j++)
            kyok_reference_free(policy->clauses[i].alternatives[j]);
        free(policy->clauses[i].alternatives);
    }
    free(policy->clauses);
    *policy = (struct kyok_policy){NULL, 0};
}

void kyok_policy_free(struct kyok_policy *policy)
{
    if (policy == NULL)
        return;
    policy_clear(policy);
    free(policy);
}

static enum kyok_status fail(struct parser *parser, const char *what)
{
    kyok_fail(parser->err, KYOK_INVALID, "policy", "%s", what);
    return kyok_remedy(parser->err, "expected REF, all-of(P, ...) or any-of(P, ...); inside a "
                                    "policy a URI percent-encodes \",\" \"(\" \")\"");
}

/* --- clauses ---------------------------------------------------------------------------------- */

static enum kyok_status same_reference(const struct kyok_reference *a,
                                       const struct kyok_reference *b, bool *same,
                                       struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text_a = {0}, text_b = {0};
    KYOK_TRY(kyok_reference_format(a, &text_a, err));
    enum kyok_status status = kyok_reference_format(b, &text_b, err);
    if (status == KYOK_OK)
        *same = kyok_bytes_equal(kyok_buffer_bytes(&text_a), kyok_buffer_bytes(&text_b));
    return status;
}

static enum kyok_status clause_has(const struct kyok_policy_clause *clause,
                                   const struct kyok_reference *reference, bool *has,
                                   struct kyok_error *err)
{
    *has = false;
    for (size_t i = 0; i < clause->count && !*has; i++)
        KYOK_TRY(same_reference(clause->alternatives[i], reference, has, err));
    return KYOK_OK;
}

/* Adds a copy of reference unless it is there. */
static enum kyok_status clause_add(struct parser *parser, struct kyok_policy_clause *clause,
                                   const struct kyok_reference *reference)
{
    bool has = false;
    KYOK_TRY(clause_has(clause, reference, &has, parser->err));
    if (has)
        return KYOK_OK;
    if (clause->count >= KYOK_POLICY_MAX_ALTERNATIVES)
        return fail(parser, "more than 64 alternatives in one layer");
    struct kyok_reference **more =
        realloc(clause->alternatives, (clause->count + 1) * sizeof(*more));
    if (more == NULL)
        return kyok_text_no_memory(parser->err);
    clause->alternatives = more;
    KYOK_TRY(kyok_reference_copy(reference, &more[clause->count], parser->err));
    clause->count++;
    return KYOK_OK;
}

static enum kyok_status clause_add_all(struct parser *parser, struct kyok_policy_clause *clause,
                                       const struct kyok_policy_clause *from)
{
    for (size_t i = 0; i < from->count; i++)
        KYOK_TRY(clause_add(parser, clause, from->alternatives[i]));
    return KYOK_OK;
}

static enum kyok_status clause_equal(const struct kyok_policy_clause *a,
                                     const struct kyok_policy_clause *b, bool *equal,
                                     struct kyok_error *err)
{
    *equal = a->count == b->count;
    for (size_t i = 0; i < a->count && *equal; i++)
        KYOK_TRY(clause_has(b, a->alternatives[i], equal, err));
    return KYOK_OK;
}

/* A new clause, the OR of a and b (b may be NULL), unless policy has it already. */
static enum kyok_status policy_add(struct parser *parser, struct kyok_policy *policy,
                                   const struct kyok_policy_clause *a,
                                   const struct kyok_policy_clause *b)
{
    struct kyok_policy_clause *more = realloc(policy->clauses, (policy->count + 1) * sizeof(*more));
    if (more == NULL)
        return kyok_text_no_memory(parser->err);
    policy->clauses = more;
    struct kyok_policy_clause *clause = &more[policy->count++];
    *clause = (struct kyok_policy_clause){NULL, 0};
    KYOK_TRY(clause_add_all(parser, clause, a));
    if (b != NULL)
        KYOK_TRY(clause_add_all(parser, clause, b));
    bool equal = false;
    for (size_t i = 0; i + 1 < policy->count && !equal; i++)
        KYOK_TRY(clause_equal(&policy->clauses[i], clause, &equal, parser->err));
    if (equal) {
        struct kyok_policy last = {malloc(sizeof(*clause)), 1};
        if (last.clauses == NULL)
            return kyok_text_no_memory(parser->err);
        last.clauses[0] = *clause;
        policy->count--;
        policy_clear(&last);
    }
    if (policy->count > KYOK_POLICY_MAX_CLAUSES)
        return fail(parser, "more than 8 layers when brought to an AND of ORs");
    return KYOK_OK;
}

static enum kyok_status join_all(struct parser *parser, struct kyok_policy *policy,
                                 const struct kyok_policy *part)
{
    for (size_t i = 0; i < part->count; i++)
        KYOK_TRY(policy_add(parser, policy, &part->clauses[i], NULL));
    return KYOK_OK;
}

/* (A AND B) OR (C AND D) = (A OR C) AND (A OR D) AND (B OR C) AND (B OR D). */
static enum kyok_status join_any(struct parser *parser, struct kyok_policy *policy,
                                 const struct kyok_policy *part)
{
    KYOK_CLEANUP(policy_clear) struct kyok_policy product = {NULL, 0};
    for (size_t i = 0; i < policy->count; i++) {
        for (size_t j = 0; j < part->count; j++)
            KYOK_TRY(policy_add(parser, &product, &policy->clauses[i], &part->clauses[j]));
    }
    struct kyok_policy old = *policy;
    *policy = product;
    product = old;
    return KYOK_OK;
}

/* --- reading ---------------------------------------------------------------------------------- */

static void skip_blanks(struct parser *parser)
{
    while (parser->rest.at < parser->rest.end && strchr(" \t\n", *parser->rest.at) != NULL &&
           *parser->rest.at != 0)
        parser->rest.at++;
}

static bool take(struct parser *parser, char expected)
{
    skip_blanks(parser);
    if (parser->rest.at == parser->rest.end || *parser->rest.at != (uint8_t)expected)
        return false;
    parser->rest.at++;
    return true;
}

static struct kyok_bytes take_word(struct parser *parser)
{
    skip_blanks(parser);
    struct kyok_bytes rest = kyok_bytes(parser->rest.at, kyok_cursor_left(&parser->rest));
    struct kyok_bytes word = kyok_bytes(rest.data, kyok_text_find(rest, ",() \t\n"));
    parser->rest.at += word.size;
    return word;
}

static enum kyok_status read_reference(struct parser *parser, struct kyok_bytes word,
                                       struct kyok_policy *policy)
{
    KYOK_AUTO_FREE char *text = kyok_text_copy(word);
    struct kyok_reference *reference = NULL;
    if (text == NULL)
        return kyok_text_no_memory(parser->err);
    KYOK_TRY(kyok_reference_parse(text, parser->origin, parser->config, &reference, parser->err));
    struct kyok_policy_clause clause = {&reference, 1};
    enum kyok_status status = policy_add(parser, policy, &clause, NULL);
    kyok_reference_free(reference);
    return status;
}

static enum kyok_status read_policy(struct parser *parser, unsigned depth,
                                    struct kyok_policy *policy);

static enum kyok_status read_parts(struct parser *parser, enum junction junction, unsigned depth,
                                   struct kyok_policy *policy)
{
    bool first = true;
    if (depth >= KYOK_POLICY_MAX_DEPTH)
        return fail(parser, "nested more than 8 deep");
    do {
        KYOK_CLEANUP(policy_clear) struct kyok_policy part = {NULL, 0};
        KYOK_TRY(read_policy(parser, depth + 1, &part));
        KYOK_TRY(junction == ALL_OF || first ? join_all(parser, policy, &part)
                                             : join_any(parser, policy, &part));
        first = false;
    } while (take(parser, ','));
    return take(parser, ')') ? KYOK_OK : fail(parser, "a \")\" or \",\" is missing");
}

static bool is_threshold(struct kyok_bytes word)
{
    size_t digits = 0;
    while (digits < word.size && word.data[digits] >= '0' && word.data[digits] <= '9')
        digits++;
    return digits > 0 && kyok_text_is(kyok_bytes(word.data + digits, word.size - digits), "-of");
}

static enum kyok_status read_policy(struct parser *parser, unsigned depth,
                                    struct kyok_policy *policy)
{
    struct kyok_bytes word = take_word(parser);
    bool opens = take(parser, '(');
    if (word.size == 0)
        return fail(parser, "a part is missing");
    if (!opens)
        return read_reference(parser, word, policy);
    if (kyok_text_is(word, "all-of"))
        return read_parts(parser, ALL_OF, depth, policy);
    if (kyok_text_is(word, "any-of"))
        return read_parts(parser, ANY_OF, depth, policy);
    if (is_threshold(word)) {
        kyok_fail(parser->err, KYOK_UNSUPPORTED, "policy", "N-of(...) is reserved for later");
        return kyok_remedy(parser->err, "use all-of and any-of");
    }
    return fail(parser, "an unknown word before \"(\"");
}

enum kyok_status kyok_policy_parse(const char *text, enum kyok_origin origin,
                                   const struct kyok_config *config, struct kyok_policy **policy,
                                   struct kyok_error *err)
{
    size_t size = strnlen(text, POLICY_MAX_SIZE + 1);
    struct parser parser = {kyok_cursor(kyok_bytes(text, size)), origin, config, err};
    KYOK_CLEANUP(policy_clear) struct kyok_policy read = {NULL, 0};
    if (size > POLICY_MAX_SIZE)
        return fail(&parser, "longer than 64 KiB");
    KYOK_TRY(read_policy(&parser, 0, &read));
    skip_blanks(&parser);
    if (kyok_cursor_left(&parser.rest) != 0)
        return fail(&parser, "something stands behind its end");
    *policy = malloc(sizeof(**policy));
    if (*policy == NULL)
        return kyok_text_no_memory(err);
    **policy = read;
    read = (struct kyok_policy){NULL, 0};
    return KYOK_OK;
}
