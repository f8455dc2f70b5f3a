/* SPDX-License-Identifier: Apache-2.0 */
/* kmip://GROUP, kmip://GROUP/IDENTIFIER[?public=IDENTIFIER], kmip://GROUP?name=NAME */
#include "common/config/uri.h"

#include "common/config/text.h"

#include <string.h>
#include <strings.h>

static enum kyok_status take_text(const struct kyok_uri *uri, const char *name,
                                  struct kyok_bytes value, char **text)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer decoded = {.limit = KYOK_REFERENCE_MAX + 1};
    KYOK_TRY(kyok_uri_decode(uri, name, value, &decoded));
    KYOK_TRY(kyok_uri_check_text(uri, name, kyok_buffer_bytes(&decoded)));
    if (decoded.size == 0)
        return kyok_uri_refuse(uri, name, "is empty");
    *text = kyok_text_copy(kyok_buffer_bytes(&decoded));
    return *text != NULL ? KYOK_OK : kyok_text_no_memory(uri->err);
}

static enum kyok_status parse_query(const struct kyok_uri *uri, struct kyok_bytes query)
{
    struct kyok_reference *reference = uri->reference;
    size_t equals = kyok_text_find(query, "=");
    struct kyok_bytes name = kyok_bytes(query.data, equals);
    if (equals == query.size)
        return kyok_fail(uri->err, KYOK_INVALID, uri->shown,
                         "\"%s\" behind \"?\" is not NAME=VALUE", kyok_text_quote(query).text);
    struct kyok_bytes value = kyok_bytes(query.data + equals + 1, query.size - equals - 1);
    if (kyok_text_find(value, "&") < value.size)
        return kyok_fail(uri->err, KYOK_INVALID, uri->shown,
                         "a kmip: reference has one query attribute");
    if (kyok_text_is(name, "name") && reference->identifier == NULL)
        return take_text(uri, "name", value, &reference->name);
    if (kyok_text_is(name, "public") && reference->identifier != NULL)
        return take_text(uri, "public", value, &reference->public_identifier);
    kyok_fail(uri->err, KYOK_INVALID, uri->shown, "attribute \"%s\" is unknown here",
              kyok_text_quote(name).text);
    return kyok_remedy(uri->err, "expected kmip://GROUP/IDENTIFIER, "
                                 "kmip://GROUP/IDENTIFIER?public=IDENTIFIER or "
                                 "kmip://GROUP?name=NAME");
}

enum kyok_status kyok_kmip_uri_parse(const struct kyok_uri *uri, struct kyok_bytes text)
{
    struct kyok_reference *reference = uri->reference;
    size_t scheme = strlen(KYOK_KMIP_SCHEME);
    reference->kind = KYOK_REFERENCE_KMIP;
    reference->text = kyok_text_copy(text);
    if (reference->text == NULL)
        return kyok_text_no_memory(uri->err);
    if (strncasecmp(uri->shown, KYOK_KMIP_SCHEME, scheme) != 0)
        return kyok_fail(uri->err, KYOK_INVALID, uri->shown,
                         "expected \"kmip://\" and the name of a [kmip] section");
    struct kyok_bytes rest = kyok_bytes(text.data + scheme, text.size - scheme);
    size_t group = kyok_text_find(rest, "/?"), path = kyok_text_find(rest, "?");
    if (!kyok_text_is_name(kyok_bytes(rest.data, group)))
        return kyok_fail(uri->err, KYOK_INVALID, uri->shown,
                         "\"%s\" is no group name: expected letters, digits, \".\", \"_\", \"-\"",
                         kyok_text_quote(kyok_bytes(rest.data, group)).text);
    reference->group = kyok_text_copy(kyok_bytes(rest.data, group));
    if (reference->group == NULL)
        return kyok_text_no_memory(uri->err);
    if (group < path)
        KYOK_TRY(take_text(uri, "identifier", kyok_bytes(rest.data + group + 1, path - group - 1),
                           &reference->identifier));
    if (path == rest.size)
        return KYOK_OK;
    return parse_query(uri, kyok_bytes(rest.data + path + 1, rest.size - path - 1));
}
