/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL's error queue belongs to the thread, and suspended callers share their thread: each takes
 * its errors along and finds them, and them alone, when it goes on. OpenSSL does not tell where in
 * the queue a mark stands; all are put on the last error, so that popping to one loses none.
 */
#include "common/work/internal.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_SIZE 16 /* ERR_NUM_ERRORS */

struct entry {
    unsigned long code;
    int line;
    char *file, *function, *data;
};

struct kyok_error_queue {
    unsigned count, marks;
    struct entry entries[QUEUE_SIZE];
};

static char *copy_text(const char *text)
{
    return text != NULL && *text != '\0' ? strdup(text) : NULL;
}

static bool take_one(struct kyok_error_queue *queue)
{
    struct entry *entry = &queue->entries[queue->count];
    const char *file, *function, *data;
    int flags;

    entry->code = ERR_get_error_all(&file, &entry->line, &function, &data, &flags);
    if (entry->code == 0)
        return false;
    entry->file = copy_text(file);
    entry->function = copy_text(function);
    entry->data = (flags & ERR_TXT_STRING) != 0 ? copy_text(data) : NULL;
    queue->count++;
    return true;
}

struct kyok_error_queue *kyok_error_queue_take(void)
{
    struct kyok_error_queue *queue;

    if (ERR_peek_error() == 0)
        return NULL;
    queue = calloc(1, sizeof(*queue));
    if (queue == NULL) {
        ERR_clear_error();
        return NULL;
    }
    while (ERR_clear_last_mark() == 1)
        queue->marks++;
    while (queue->count < QUEUE_SIZE && take_one(queue))
        continue;
    ERR_clear_error();
    return queue;
}

static void put_back_one(struct entry *entry)
{
    ERR_new();
    ERR_set_debug(entry->file, entry->line, entry->function);
    if (entry->data != NULL)
        ERR_set_error(ERR_GET_LIB(entry->code), ERR_GET_REASON(entry->code), "%s", entry->data);
    else
        ERR_set_error(ERR_GET_LIB(entry->code), ERR_GET_REASON(entry->code), NULL);
    free(entry->file);
    free(entry->function);
    free(entry->data);
}

void kyok_error_queue_put_back(struct kyok_error_queue *queue)
{
    unsigned i;

    ERR_clear_error();
    if (queue == NULL)
        return;
    for (i = 0; i < queue->count; i++)
        put_back_one(&queue->entries[i]);
    for (i = 0; i < queue->marks; i++)
        ERR_set_mark();
    free(queue);
}
