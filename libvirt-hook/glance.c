/* SPDX-License-Identifier: Apache-2.0 */
#include "libvirt-hook/glance.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#define BEGIN "<domain"
#define END "</domain>"
#define UUID_SIZE 36
/* No plain domain is larger; glancing at more, once for each locked VM, would be no glance. */
#define GLANCE_MAX ((size_t)256 << 10)

struct text {
    const char *at;
    size_t size;
};

static bool has(struct text text, const char *what)
{
    return memmem(text.at, text.size, what, strlen(what)) != NULL;
}

static bool begins(struct text text, const char *what)
{
    return text.size >= strlen(what) && memcmp(text.at, what, strlen(what)) == 0;
}

/* Text without a byte order mark, a declaration or a NUL is UTF-8 (XML 1.0, appendix F): it begins
 * with the element itself. What is cut short is left to the parser to refuse. */
static bool is_whole(struct text text)
{
    while (text.size && strchr(" \t\r\n", text.at[text.size - 1]) && text.at[text.size - 1])
        text.size--;
    size_t tail = strlen(END);
    return text.size <= GLANCE_MAX && begins(text, BEGIN) && text.size >= tail &&
           memcmp(text.at + text.size - tail, END, tail) == 0 && !memchr(text.at, 0, text.size);
}

/* Without a document type there are no entities but the five, without comments, CDATA and
 * instructions nothing that a text is put together from, without character references no other
 * spelling: a name stands in the bytes as it is, or it is not there. */
static bool is_literal(struct text text)
{
    return is_whole(text) && !has(text, "<!") && !has(text, "<?") && !has(text, "&#");
}

bool glance_may_encrypt(const char *xml, size_t size)
{
    struct text text = {xml, size};
    return !is_literal(text) || has(text, "encryption");
}

static bool is_uuid(struct text text)
{
    for (size_t i = 0; i < UUID_SIZE; i++)
        if (i >= text.size || !text.at[i] || !strchr("0123456789abcdef-", text.at[i]))
            return false;
    text.at += UUID_SIZE, text.size -= UUID_SIZE;
    return begins(text, "</uuid>");
}

/* Is each element "uuid" as libvirt writes it, so that the domain's is in the bytes? */
static bool uuids_are_literal(struct text text)
{
    static const char element[] = "<uuid";
    if (!is_literal(text) || has(text, ":uuid"))
        return false;
    for (const char *at; (at = memmem(text.at, text.size, element, strlen(element)));) {
        at += strlen(element);
        text.size -= (size_t)(at - text.at);
        text.at = at;
        if (text.size == 0 || *at != '>' || !is_uuid((struct text){at + 1, text.size - 1}))
            return false;
    }
    return true;
}

bool glance_may_be_in(const char *folder, const char *xml, size_t size)
{
    struct text text = {xml, size};
    DIR *files = opendir(folder);
    if (!files)
        return errno != ENOENT;
    bool found = false, literal = uuids_are_literal(text);
    for (struct dirent *entry; !found && (entry = readdir(files));) {
        const char *point = strrchr(entry->d_name, '.'), *uuid = point ? point + 1 : entry->d_name;
        if (entry->d_name[0] == '.' || !*uuid)
            continue;
        found = !literal || has(text, uuid);
    }
    closedir(files);
    return found;
}
