/* SPDX-License-Identifier: Apache-2.0 */
/* The TTLV reader on any bytes: what it accepts, the writer writes again as the same bytes. */
#include "common/kmip/ttlv.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void copy(struct kyok_ttlv_reader *reader, struct kyok_ttlv_writer *writer)
{
    struct kyok_ttlv_item item;

    while (kyok_ttlv_next(reader, &item) == KYOK_TTLV_ITEM) {
        struct kyok_ttlv_reader inner;
        if (item.type != KYOK_TTLV_STRUCTURE) {
            kyok_ttlv_write_item(writer, &item);
            continue;
        }
        if (!kyok_ttlv_enter(reader, &item, &inner))
            abort(); /* kyok_ttlv_check() let it pass */
        kyok_ttlv_begin(writer, item.tag);
        copy(&inner, writer);
        kyok_ttlv_end(writer);
    }
}

static void check_frame(const uint8_t *data, size_t size)
{
    static const uint32_t roots[] = {0x420078, 0x42007B};
    struct kyok_error err;

    for (size_t i = 0; i < 2; i++) {
        size_t wanted;
        enum kyok_status status =
            kyok_ttlv_frame(kyok_bytes(data, size), roots[i], 65536, &wanted, &err);
        if (status == KYOK_OK && (wanted < 8 || wanted > 65536 || wanted % 8 != 0))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kyok_ttlv_reader reader = kyok_ttlv_reader(kyok_bytes(data, size));

    check_frame(data, size);
    if (kyok_ttlv_check(reader) != KYOK_TTLV_END)
        return 0;
    uint8_t *again = malloc(size + 1);
    struct kyok_ttlv_writer writer = kyok_ttlv_writer(again, size);
    copy(&reader, &writer);
    if (!kyok_ttlv_written(&writer) || writer.size != size || memcmp(again, data, size) != 0)
        abort();
    free(again);
    return 0;
}
