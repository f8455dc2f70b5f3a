/* SPDX-License-Identifier: Apache-2.0 */
/* Private to config: what the readers and the writer of pkcs11: and kmip: URIs share. */
#ifndef KYOK_CONFIG_URI_H
#define KYOK_CONFIG_URI_H

#include "common/config/reference.h"

#define KYOK_PKCS11_SCHEME "pkcs11:"
#define KYOK_KMIP_SCHEME "kmip://"
#define KYOK_REFERENCE_MAX ((size_t)4096)

/* One reading: where it goes, and how the URI is shown in messages (up to its query, where a PIN
 * may stand, however its name is spelt). */
struct kyok_uri {
    struct kyok_reference *reference;
    const char *shown;
    struct kyok_error *err;
};

/* The words of "type=" (RFC 7512 2.3). */
struct kyok_object_word {
    const char *word;
    enum kyok_object_type type;
};
#define KYOK_OBJECT_WORDS 5
extern const struct kyok_object_word kyok_object_words[KYOK_OBJECT_WORDS];

/* "attribute NAME why" */
enum kyok_status kyok_uri_refuse(const struct kyok_uri *uri, const char *name, const char *why);
/* value, decoded: appended to decoded. */
enum kyok_status kyok_uri_decode(const struct kyok_uri *uri, const char *name,
                                 struct kyok_bytes value, struct kyok_buffer *decoded);
/* No NUL, UTF-8. */
enum kyok_status kyok_uri_check_text(const struct kyok_uri *uri, const char *name,
                                     struct kyok_bytes decoded);

/* Fill *uri->reference from the whole text, whose scheme fits in any letter case. */
enum kyok_status kyok_pkcs11_uri_parse(const struct kyok_uri *uri, struct kyok_bytes text);
enum kyok_status kyok_kmip_uri_parse(const struct kyok_uri *uri, struct kyok_bytes text);

#endif
