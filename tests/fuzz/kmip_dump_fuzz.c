/* SPDX-License-Identifier: Apache-2.0 */
/* The dump on any bytes: it always ends, in whole lines of printable text, and shows no key
 * material: the digits and the text of a marked value never appear. */
#include "common/kmip/message.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Key Material and a password after whatever the input is, if that is well-formed. */
static const uint8_t secrets[] = {0x42, 0,    0x43, 8,    0,    0,    0,   8,    0xC0, 0xFF, 0xEE,
                                  0xC0, 0xFF, 0xEE, 0xC0, 0xFF, 0x42, 0,   0xA1, 7,    0,    0,
                                  0,    8,    'P',  'A',  'S',  'S',  'W', 'O',  'R',  'T'};

static void check(const struct kyok_buffer *text)
{
    if (text->size > 0 && text->data[text->size - 1] != '\n')
        abort();
    for (size_t i = 0; i < text->size; i++)
        if ((text->data[i] < ' ' && text->data[i] != '\n') || text->data[i] == 0x7F)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer bytes = {0}, text = {0}, more = {0};
    struct kyok_error err;

    enum kyok_status status = kyok_kmip_dump(kyok_bytes(data, size), &text, &err);
    check(&text);
    if (status != KYOK_OK)
        return 0;
    if (!kyok_buffer_append(&bytes, data, size) ||
        !kyok_buffer_append(&bytes, secrets, sizeof(secrets)))
        return 0;
    if (kyok_kmip_dump(kyok_buffer_bytes(&bytes), &more, &err) != KYOK_OK)
        abort();
    const char *tail = (const char *)more.data + text.size;
    size_t left = more.size - text.size;
    if (memmem(tail, left, "c0ffee", 6) != NULL || memmem(tail, left, "PASSWORT", 8) != NULL)
        abort();
    return 0;
}
