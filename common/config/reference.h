/* SPDX-License-Identifier: Apache-2.0 */
/* Key references: pkcs11: URIs (RFC 7512 in full; an unknown attribute is an error) and kmip: URIs
 * (kmip://GROUP/UNIQUE-IDENTIFIER[?public=ID], kmip://GROUP?name=NAME). */
#ifndef KYOK_CONFIG_REFERENCE_H
#define KYOK_CONFIG_REFERENCE_H

#include "common/base/base.h"

struct kyok_config;

enum kyok_reference_kind { KYOK_REFERENCE_PKCS11, KYOK_REFERENCE_KMIP };

/* Who wrote the reference. One from data (an envelope's kid, domain XML, a sidecar) only selects
 * within configured groups: module-path, module-name, pin-source, pin-value in it are refused. */
enum kyok_origin { KYOK_FROM_CONFIGURATION, KYOK_FROM_DATA };

/* Decoded; texts are NUL-terminated (a URI that encodes a NUL in one is refused), NULL when absent.
 */
struct kyok_reference {
    enum kyok_reference_kind kind;
    enum kyok_origin origin;
    char *text; /* as given, without pin-value, for messages */

    /* pkcs11: */
    char *token, *manufacturer, *model, *serial;
    char *slot_description, *slot_manufacturer;
    char *library_description, *library_manufacturer;
    int library_major, library_minor; /* -1: absent */
    bool has_slot_id;
    unsigned long slot_id;
    char *object; /* CKA_LABEL */
    uint8_t *id;  /* CKA_ID */
    size_t id_size;
    bool has_id;
    enum kyok_object_type type;
    char *module_path, *module_name;
    char *pin_source;
    struct kyok_secret *pin_value;

    /* both: kyok-group=NAME, or the authority of a kmip: URI */
    char *group;

    /* kmip: */
    char *identifier, *name, *public_identifier;
};

/* text may also be the name of a [key] section of config (config may be NULL). */
enum kyok_status kyok_reference_parse(const char *text, enum kyok_origin origin,
                                      const struct kyok_config *config,
                                      struct kyok_reference **reference, struct kyok_error *err);
/* True if text looks like a reference ("pkcs11:" or "kmip:"), in any letter case. */
bool kyok_reference_is(const char *text);
/* Canonical URI of the fields that are set, never pin-value. The form for kid when only object, id
 * and token (or kmip group and identifier) are set. */
enum kyok_status kyok_reference_format(const struct kyok_reference *reference,
                                       struct kyok_buffer *text, struct kyok_error *err);
enum kyok_status kyok_reference_copy(const struct kyok_reference *reference,
                                     struct kyok_reference **copy, struct kyok_error *err);
void kyok_reference_free(struct kyok_reference *reference);

#endif
