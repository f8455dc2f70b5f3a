/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/nginx_words.h"

#include <stdlib.h>
#include <string.h>

struct reader {
    const uint8_t *at, *end;
    size_t line;
    struct nginx_directive *directive;
};

static int peek(const struct reader *reader)
{
    return reader->at < reader->end ? *reader->at : -1;
}

static int take(struct reader *reader)
{
    int byte = peek(reader);

    if (byte >= 0)
        reader->at++;
    reader->line += byte == '\n';
    return byte;
}

static bool is_space(int byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

/* White space, and comments, which begin where a word could. */
static void skip_space(struct reader *reader)
{
    for (;;) {
        while (is_space(peek(reader)))
            take(reader);
        if (peek(reader) != '#')
            return;
        while (peek(reader) >= 0 && peek(reader) != '\n')
            take(reader);
    }
}

static void put(struct reader *reader, size_t *size, int byte)
{
    struct nginx_directive *directive = reader->directive;

    if (directive->count < NGINX_WORDS_MAX && *size + 1 < NGINX_WORD_SIZE && byte > 0)
        directive->words[directive->count][(*size)++] = (char)byte;
}

/* A backslash takes the next byte as it is (nginx makes control characters of n, r and t: no path
 * holds them). */
static void take_escaped(struct reader *reader, size_t *size)
{
    if (peek(reader) == '\\')
        take(reader);
    put(reader, size, take(reader));
}

static void take_quoted(struct reader *reader, size_t *size)
{
    int quote = take(reader);

    while (peek(reader) >= 0 && peek(reader) != quote)
        take_escaped(reader, size);
    take(reader);
}

static bool ends_word(int byte)
{
    return byte < 0 || is_space(byte) || byte == ';' || byte == '{';
}

/* The brace of ${name} belongs to the word. */
static void take_bare(struct reader *reader, size_t *size)
{
    bool dollar = false;

    while (!ends_word(peek(reader)) || (dollar && peek(reader) == '{')) {
        dollar = peek(reader) == '$';
        take_escaped(reader, size);
    }
}

static void take_word(struct reader *reader)
{
    struct nginx_directive *directive = reader->directive;
    size_t size = 0;

    if (directive->count == 0)
        directive->line = reader->line;
    if (peek(reader) == '"' || peek(reader) == '\'')
        take_quoted(reader, &size);
    else
        take_bare(reader, &size);
    if (directive->count < NGINX_WORDS_MAX)
        directive->words[directive->count++][size] = '\0';
}

/* Another language: braces count outside its strings. */
static void skip_lua(struct reader *reader)
{
    size_t depth = 1, ignored = NGINX_WORD_SIZE;

    while (depth > 0 && peek(reader) >= 0) {
        int byte = peek(reader);

        if (byte == '"' || byte == '\'')
            take_quoted(reader, &ignored);
        else
            take(reader);
        depth += byte == '{';
        depth -= byte == '}';
    }
}

static bool is_lua(const struct nginx_directive *directive)
{
    static const char end[] = "_by_lua_block";
    size_t size = strlen(directive->words[0]);

    return size >= sizeof(end) - 1 &&
           strcmp(directive->words[0] + size - (sizeof(end) - 1), end) == 0;
}

static void end_directive(struct reader *reader, nginx_visitor *visit, void *caller)
{
    struct nginx_directive *directive = reader->directive;

    directive->block = take(reader) == '{';
    if (directive->count > 0)
        visit(caller, directive);
    if (directive->block && directive->count > 0 && is_lua(directive))
        skip_lua(reader);
    directive->count = 0;
}

bool nginx_words(struct kyok_bytes text, nginx_visitor *visit, void *caller)
{
    KYOK_AUTO_FREE struct nginx_directive *directive = calloc(1, sizeof(*directive));
    struct reader reader = {text.data, text.data + text.size, 1, directive};

    if (directive == NULL)
        return false;
    for (skip_space(&reader); peek(&reader) >= 0; skip_space(&reader)) {
        int byte = peek(&reader);

        if (byte == ';' || byte == '{')
            end_directive(&reader, visit, caller);
        else if (byte == '}' && directive->count == 0)
            take(&reader);
        else
            take_word(&reader);
    }
    return true;
}
