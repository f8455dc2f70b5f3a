/* SPDX-License-Identifier: Apache-2.0 */
/* Key references: what is accepted has one canonical form, which is accepted again and stable; data
 * never gets further than configuration; no PIN is in any text. */
#include "common/config/config.h"
#include "tests/fuzz/need.h"

#include <stdlib.h>
#include <string.h>

static struct kyok_reference *parse(const char *text, enum kyok_origin origin)
{
    struct kyok_error err = {0};
    struct kyok_reference *reference = NULL;
    enum kyok_status status = kyok_reference_parse(text, origin, NULL, &reference, &err);
    need((status == KYOK_OK) == (reference != NULL));
    need(status == KYOK_OK || err.what[0] != '\0');
    return reference;
}

static void format(const struct kyok_reference *reference, struct kyok_buffer *text)
{
    struct kyok_error err;
    need(kyok_reference_format(reference, text, &err) == KYOK_OK);
    need(kyok_buffer_append(text, "", 1));
}

static void check_canonical(const struct kyok_reference *reference)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer once = {0}, twice = {0};
    struct kyok_reference *again, *copy = NULL;
    struct kyok_error err;
    format(reference, &once);
    need(strstr((char *)once.data, "pin-value") == NULL ||
         strstr(reference->text, "pin-value") != NULL);
    if (once.size > 4096) /* encoding made it longer than a reference may be */
        return;
    again = parse((char *)once.data, KYOK_FROM_CONFIGURATION);
    need(again != NULL && again->id_size == reference->id_size && again->type == reference->type);
    need(kyok_reference_copy(again, &copy, &err) == KYOK_OK);
    format(copy, &twice);
    need(kyok_bytes_equal(kyok_buffer_bytes(&once), kyok_buffer_bytes(&twice)));
    kyok_reference_free(again);
    kyok_reference_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    KYOK_AUTO_FREE char *text = malloc(size + 1);
    need(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    struct kyok_reference *reference = parse(text, KYOK_FROM_CONFIGURATION);
    struct kyok_reference *selected = parse(text, KYOK_FROM_DATA);
    need(selected == NULL ||
         (reference != NULL && selected->module_path == NULL && selected->module_name == NULL &&
          selected->pin_source == NULL && selected->pin_value == NULL));
    if (reference != NULL)
        check_canonical(reference);
    kyok_reference_free(reference);
    kyok_reference_free(selected);
    return 0;
}
