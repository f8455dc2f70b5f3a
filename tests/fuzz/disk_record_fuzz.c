/* SPDX-License-Identifier: Apache-2.0 */
/* Disk records out of files and domain metadata: with no custodian, none may ever open. */
#include "common/disk/record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct kyok_context *no_custodians(void)
{
    static struct kyok_context *context;
    struct kyok_error err;
    if (!context && kyok_context_new(kyok_config_new(), &context, &err) != KYOK_OK)
        abort();
    return context;
}

static void check_owner(const uint8_t *data, size_t size)
{
    char volume[KYOK_UUID_TEXT], vm[KYOK_UUID_TEXT];
    bool vtpm;
    char *text = strndup((const char *)data, size);
    if (text && kyok_record_owner_parse(text, &vtpm, volume, vm) &&
        (strlen(volume) != KYOK_UUID_TEXT - 1 || !*vm))
        abort();
    free(text);
}

/* The input's second half is a second copy. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    KYOK_CLEANUP(kyok_record_copies_free) struct kyok_record_copies copies = {.count = 0};
    const struct kyok_record_binding binding = {.luks_uuid =
                                                    "6e1c9a1e-3a5c-4d6f-9d52-0c2b4d1f6b11"};
    struct kyok_record_opened opened;
    struct kyok_error err;
    check_owner(data, size);
    const uint8_t *half = size ? memchr(data, '\n', size) : NULL;
    size_t first = half ? (size_t)(half - data) : size;
    if (kyok_record_copies_add(&copies, "one", false, kyok_bytes(data, first), &err) != KYOK_OK ||
        (half && kyok_record_copies_add(&copies, "two", true,
                                        kyok_bytes(half + 1, size - first - 1), &err) != KYOK_OK))
        return 0;
    if (kyok_record_open(no_custodians(), &copies, &binding, NULL, 1000, &opened, &err) == KYOK_OK)
        abort();
    if (!err.what[0])
        abort();
    return 0;
}
