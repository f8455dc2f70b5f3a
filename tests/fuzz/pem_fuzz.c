/* SPDX-License-Identifier: Apache-2.0 */
/* PEM key references: DER that is accepted is written again byte for byte. */
#include "common/config/config.h"
#include "tests/fuzz/need.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kyok_error err = {0};
    struct kyok_pem_reference read;
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer again = {0};
    if (kyok_pem_reference_parse(kyok_bytes(data, size), &read, &err) != KYOK_OK) {
        need(err.what[0] != '\0');
        return 0;
    }
    KYOK_AUTO_FREE char *uri = strndup((const char *)read.uri.data, read.uri.size);
    need(uri != NULL && strlen(uri) == read.uri.size);
    need(kyok_pem_reference_write(uri, read.public_key, &again, &err) == KYOK_OK);
    need(kyok_bytes_equal(kyok_buffer_bytes(&again), kyok_bytes(data, size)));
    return 0;
}
