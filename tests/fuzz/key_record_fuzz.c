/* SPDX-License-Identifier: Apache-2.0 */
/* Life records, which a token supplies: what is accepted is written back to something that reads
 * the same. */
#include "common/base/key_record.h"
#include "tests/fuzz/need.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kyok_key_record record, again;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {0};
    struct kyok_error err = {0};

    if (kyok_key_record_parse(kyok_bytes(data, size), &record, &err) != KYOK_OK) {
        need(err.what[0] != '\0');
        return 0;
    }
    need(record.count > 0 && record.count <= KYOK_RECORD_VERSIONS_MAX);
    need(kyok_key_record_write(&record, &json, &err) == KYOK_OK);
    need(kyok_key_record_parse(kyok_buffer_bytes(&json), &again, &err) == KYOK_OK);
    need(again.count == record.count && strcmp(again.name, record.name) == 0);
    return 0;
}
