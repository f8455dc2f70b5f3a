/* SPDX-License-Identifier: Apache-2.0 */
/* nginx's configuration: any bytes give directives within their limits, each with a name. */
#include "cli/nginx_words.h"
#include "tests/fuzz/need.h"

#include <string.h>

struct seen {
    size_t count, line;
};

static void visit(void *caller, const struct nginx_directive *directive)
{
    struct seen *seen = caller;

    need(directive->count > 0 && directive->count <= NGINX_WORDS_MAX);
    for (size_t i = 0; i < directive->count; i++)
        need(memchr(directive->words[i], '\0', NGINX_WORD_SIZE) != NULL);
    need(directive->line >= seen->line);
    seen->line = directive->line;
    seen->count++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen seen = {0, 1};

    need(nginx_words(kyok_bytes(data, size), visit, &seen));
    need(seen.count <= size);
    return 0;
}
