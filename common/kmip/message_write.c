/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a structure by its shape. */
#include "common/kmip/message_inline.h"

enum kyok_status kyok_kmip_not_in_version(struct kyok_kmip_writing *writing, const char *what)
{
    kyok_fail(writing->err, KYOK_UNSUPPORTED, NULL, "KMIP %u.%u has no %s", writing->version >> 8,
              writing->version & 0xFF, what);
    return kyok_remedy(writing->err, "use a server that speaks a version which has it");
}

enum kyok_status kyok_kmip_write_structure(struct kyok_kmip_writing *writing, uint32_t tag,
                                           const struct kyok_kmip_shape *shape, const void *source)
{
    return kyok_kmip_write_structure_inline(writing, tag, shape, source);
}

enum kyok_status kyok_kmip_write_list(struct kyok_kmip_writing *writing,
                                      const struct kyok_kmip_field *field,
                                      const struct kyok_kmip_any_list *list)
{
    size_t size = kyok_kmip_element_size(field);

    for (size_t i = 0; i < list->count; i++)
        KYOK_TRY(kyok_kmip_write_value(writing, field, (const char *)list->items + i * size));
    return KYOK_OK;
}

/* A field that is absent, or that this version writes in another of its forms or not at all. */
enum kyok_status kyok_kmip_leave_out(struct kyok_kmip_writing *writing, uint32_t tag,
                                     const struct kyok_kmip_field *field, bool present)
{
    if (present && !(field->need & (KYOK_KMIP_FORMS | KYOK_KMIP_OR)))
        return kyok_kmip_not_in_version(writing, kyok_kmip_tag_name(field->tag));
    /* The first of several forms speaks for all of them. */
    if (!present && field->need & KYOK_KMIP_REQUIRED &&
        (field->need & KYOK_KMIP_FORMS || kyok_kmip_in_version(writing, field)))
        return kyok_fail(writing->err, KYOK_INVALID, NULL, "a KMIP %s was to be sent without %s",
                         kyok_kmip_tag_name(tag), kyok_kmip_tag_name(field->tag));
    return KYOK_OK;
}

enum kyok_status kyok_kmip_write_fields(struct kyok_kmip_writing *writing, uint32_t tag,
                                        const struct kyok_kmip_shape *shape, const void *source)
{
    if (shape->write != NULL)
        return shape->write(writing, tag, source);
    for (unsigned i = 0; i < shape->count; i++)
        KYOK_TRY(kyok_kmip_write_row(writing, tag, &shape->fields[i], source));
    return KYOK_OK;
}
