/* SPDX-License-Identifier: Apache-2.0 */
#include "common/config/uri.h"

#include "common/config/text.h"

#include <string.h>

const struct kyok_object_word kyok_object_words[KYOK_OBJECT_WORDS] = {
    {"private", KYOK_OBJECT_PRIVATE},  {"public", KYOK_OBJECT_PUBLIC},
    {"cert", KYOK_OBJECT_CERTIFICATE}, {"secret-key", KYOK_OBJECT_SECRET},
    {"data", KYOK_OBJECT_DATA},
};

enum kyok_status kyok_uri_refuse(const struct kyok_uri *uri, const char *name, const char *why)
{
    return kyok_fail(uri->err, KYOK_INVALID, uri->shown, "attribute %s %s", name, why);
}

/* RFC 3986 lets only printable ASCII stand in a URI; "#" would begin a fragment. */
static bool is_printable(struct kyok_bytes value)
{
    for (size_t i = 0; i < value.size; i++) {
        uint8_t c = value.data[i];
        if (c <= 0x20 || c >= 0x7f || strchr("#\"<>\\^`{}", c) != NULL)
            return false;
    }
    return true;
}

enum kyok_status kyok_uri_decode(const struct kyok_uri *uri, const char *name,
                                 struct kyok_bytes value, struct kyok_buffer *decoded)
{
    uint8_t *room = kyok_buffer_reserve(decoded, value.size + 1);
    size_t size = 0;
    if (room == NULL)
        return kyok_text_no_memory(uri->err);
    if (!is_printable(value) || !kyok_percent_decode(value, room, &size)) {
        kyok_uri_refuse(uri, name, "holds a character that must be percent-encoded");
        return kyok_remedy(uri->err, "write a space as %%20, a percent sign as %%25");
    }
    decoded->size += size;
    return KYOK_OK;
}

enum kyok_status kyok_uri_check_text(const struct kyok_uri *uri, const char *name,
                                     struct kyok_bytes decoded)
{
    if (decoded.size > 0 && memchr(decoded.data, 0, decoded.size) != NULL)
        return kyok_uri_refuse(uri, name, "holds a NUL (%00)");
    if (!kyok_text_is_utf8(decoded))
        return kyok_uri_refuse(uri, name, "is not UTF-8 when decoded");
    return KYOK_OK;
}
