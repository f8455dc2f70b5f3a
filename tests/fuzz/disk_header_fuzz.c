/* SPDX-License-Identifier: Apache-2.0 */
/* LUKS1 and qcow2 headers out of an untrusted image: what is accepted is written back the same. */
#include "common/disk/luks.h"
#include "common/disk/volume.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kyok_error err;
    struct kyok_luks luks, again;
    uint64_t offset, length;
    if (kyok_luks_parse(kyok_bytes(data, size), "fuzz", &luks, &err) == KYOK_OK) {
        uint8_t bytes[KYOK_LUKS_HEADER_SIZE];
        kyok_luks_write(&luks, bytes);
        if (kyok_luks_parse(kyok_bytes(bytes, sizeof(bytes)), "fuzz", &again, &err) != KYOK_OK ||
            memcmp(&luks, &again, sizeof(luks)) != 0)
            abort();
    }
    (void)kyok_qcow2_luks_offset(kyok_bytes(data, size), "fuzz", &offset, &length, &err);
    return 0;
}
