/* SPDX-License-Identifier: Apache-2.0 */
/* For fuzz targets: what must hold whatever the bytes. */
#ifndef KYOK_TESTS_NEED_H
#define KYOK_TESTS_NEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool condition)
{
    if (!condition)
        abort();
}

#endif
