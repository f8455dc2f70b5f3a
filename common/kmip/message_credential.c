/* SPDX-License-Identifier: Apache-2.0 */
/* 2.1.2 Credential, 6.6 Authentication: who asks, besides the client certificate. */
#include "common/kmip/message_shape.h"

/* Username and Password, then Device: no member is in both but the password, and the order of each
 * is kept. */
#define FIELD(tag, member) KYOK_KMIP_FIELD(credential, OPTIONAL, TEXT, tag, member, 1_0)
static const struct kyok_kmip_field credential_value_fields[] = {
    FIELD(USERNAME, username),
    FIELD(DEVICE_SERIAL_NUMBER, device_serial_number),
    FIELD(PASSWORD, password),
    FIELD(DEVICE_IDENTIFIER, device_identifier),
    FIELD(NETWORK_IDENTIFIER, network_identifier),
    FIELD(MACHINE_IDENTIFIER, machine_identifier),
    FIELD(MEDIA_IDENTIFIER, media_identifier),
};
#undef FIELD
static KYOK_KMIP_DEFINE(credential_value_shape, credential, credential_value_fields);

/* The member of the value is type, the first, so that these functions see the whole. */
static bool has_credential_fields(const struct kyok_kmip_credential *credential)
{
    return credential->type == KYOK_KMIP_CREDENTIAL_TYPE_USERNAME_AND_PASSWORD ||
           credential->type == KYOK_KMIP_CREDENTIAL_TYPE_DEVICE;
}

static enum kyok_status read_credential_value(struct kyok_kmip_reading *reading,
                                              const struct kyok_ttlv_reader *reader,
                                              const struct kyok_ttlv_item *item, void *target)
{
    struct kyok_kmip_credential *credential = target;

    if (has_credential_fields(credential))
        return kyok_kmip_read_structure(reading, reader, item, &credential_value_shape, credential);
    return kyok_kmip_read_content(reading, reader, item, &credential->raw);
}

static bool credential_value_present(const void *source)
{
    const struct kyok_kmip_credential *credential = source;
    return has_credential_fields(credential) || credential->raw.data != NULL;
}

static enum kyok_status write_credential_value(struct kyok_kmip_writing *writing, uint32_t tag,
                                               const void *source)
{
    const struct kyok_kmip_credential *credential = source;

    if (has_credential_fields(credential))
        return kyok_kmip_write_structure(writing, tag, &credential_value_shape, credential);
    kyok_ttlv_write_structure(writing->writer, tag, credential->raw);
    return KYOK_OK;
}

static const struct kyok_kmip_special credential_value_special = {.read = read_credential_value,
                                                                  .present =
                                                                      credential_value_present,
                                                                  .write = write_credential_value};

static const struct kyok_kmip_field credential_fields[] = {
    KYOK_KMIP_FIELD(credential, REQUIRED, ENUM, CREDENTIAL_TYPE, type, 1_0),
    KYOK_KMIP_PECULIAR(credential, REQUIRED, CREDENTIAL_VALUE, type, &credential_value_special,
                       1_0),
};
static KYOK_KMIP_DEFINE(credential_shape, credential, credential_fields);

static const struct kyok_kmip_field authentication_fields[] = {
    KYOK_KMIP_NESTED(authentication, REPEATED, STRUCT, CREDENTIAL, credentials, &credential_shape,
                     1_0),
};
KYOK_KMIP_DEFINE(kyok_kmip_authentication_shape, authentication, authentication_fields);
