/* SPDX-License-Identifier: Apache-2.0 */
/* The canonical text of a reference: one order of attributes, one spelling of each byte. */
#include "common/config/uri.h"

#include "common/config/text.h"

struct format {
    struct kyok_buffer *text;
    char separator; /* before the next attribute; 0 before the first of the path */
    bool failed;
};

static void put_raw(struct format *format, const char *name, const char *value)
{
    bool done =
        (format->separator == 0 || kyok_buffer_append(format->text, &format->separator, 1)) &&
        kyok_buffer_printf(format->text, "%s=%s", name, value);
    format->failed |= !done;
    format->separator = format->separator == '?' || format->separator == '&' ? '&' : ';';
}

static void put_text(struct format *format, const char *name, const char *value)
{
    if (value == NULL)
        return;
    put_raw(format, name, "");
    format->failed |= !kyok_percent_encode(format->text, kyok_bytes_of_text(value), false);
}

static void put_id(struct format *format, const struct kyok_reference *reference)
{
    if (!reference->has_id)
        return;
    put_raw(format, "id", "");
    format->failed |=
        !kyok_percent_encode(format->text, kyok_bytes(reference->id, reference->id_size), true);
}

static void put_number(struct format *format, const char *name, unsigned long number)
{
    put_raw(format, name, "");
    format->failed |= !kyok_buffer_printf(format->text, "%lu", number);
}

static void format_library_and_slot(struct format *format, const struct kyok_reference *reference)
{
    put_text(format, "library-description", reference->library_description);
    put_text(format, "library-manufacturer", reference->library_manufacturer);
    if (reference->library_major >= 0) {
        put_number(format, "library-version", (unsigned long)reference->library_major);
        format->failed |= !kyok_buffer_printf(
            format->text, ".%d", reference->library_minor < 0 ? 0 : reference->library_minor);
    }
    put_text(format, "slot-description", reference->slot_description);
    put_text(format, "slot-manufacturer", reference->slot_manufacturer);
    if (reference->has_slot_id)
        put_number(format, "slot-id", reference->slot_id);
}

static void format_pkcs11(struct format *format, const struct kyok_reference *reference)
{
    format->failed |= !kyok_buffer_append_text(format->text, KYOK_PKCS11_SCHEME);
    format_library_and_slot(format, reference);
    put_text(format, "model", reference->model);
    put_text(format, "manufacturer", reference->manufacturer);
    put_text(format, "serial", reference->serial);
    put_text(format, "token", reference->token);
    put_id(format, reference);
    put_text(format, "object", reference->object);
    for (size_t i = 0; i < KYOK_OBJECT_WORDS; i++) {
        if (kyok_object_words[i].type == reference->type)
            put_raw(format, "type", kyok_object_words[i].word);
    }
    format->separator = '?';
    put_text(format, "kyok-group", reference->group);
    put_text(format, "module-name", reference->module_name);
    put_text(format, "module-path", reference->module_path);
    put_text(format, "pin-source", reference->pin_source);
}

static void format_kmip(struct format *format, const struct kyok_reference *reference)
{
    format->failed |= !kyok_buffer_printf(format->text, KYOK_KMIP_SCHEME "%s", reference->group);
    if (reference->identifier != NULL) {
        format->failed |=
            !kyok_buffer_append_text(format->text, "/") ||
            !kyok_percent_encode(format->text, kyok_bytes_of_text(reference->identifier), false);
    }
    format->separator = '?';
    put_text(format, "name", reference->name);
    put_text(format, "public", reference->public_identifier);
}

enum kyok_status kyok_reference_format(const struct kyok_reference *reference,
                                       struct kyok_buffer *text, struct kyok_error *err)
{
    struct format format = {.text = text};
    if (reference->kind == KYOK_REFERENCE_KMIP)
        format_kmip(&format, reference);
    else
        format_pkcs11(&format, reference);
    return format.failed ? kyok_text_no_memory(err) : KYOK_OK;
}
