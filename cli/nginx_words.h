/* SPDX-License-Identifier: Apache-2.0 */
/* Words of nginx's configuration language: directives with their arguments, in their order. It
 * opens no file, follows no include, and knows no directive. */
#ifndef KYOK_CLI_NGINX_WORDS_H
#define KYOK_CLI_NGINX_WORDS_H

#include "common/base/base.h"

#define NGINX_WORDS_MAX 8    /* of one directive that are kept; more are passed over */
#define NGINX_WORD_SIZE 4096 /* of one word, its NUL included; longer ones are cut */

struct nginx_directive {
    char words[NGINX_WORDS_MAX][NGINX_WORD_SIZE]; /* the name first */
    size_t count;
    size_t line; /* of the name */
    bool block;  /* "{" ended it, not ";" */
};

typedef void nginx_visitor(void *caller, const struct nginx_directive *directive);

/* Calls visit for every directive; what is cut short at the end is none. False if memory was short.
 * The bodies of Lua blocks are passed over. Fuzzed. */
bool nginx_words(struct kyok_bytes text, nginx_visitor *visit, void *caller);

#endif
