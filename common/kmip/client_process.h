/* SPDX-License-Identifier: Apache-2.0 */
/* What this process (not its parent) holds for KMIP: the live state of each group, and a count of
 * name lookups. Private to common/kmip. */
#ifndef KYOK_KMIP_CLIENT_PROCESS_H
#define KYOK_KMIP_CLIENT_PROCESS_H

#include "common/base/secret.h"

#include <pthread.h>
#include <stdatomic.h>

#define KYOK_KMIP_SPARE 32
#define KYOK_KMIP_SPARE_SIZE ((size_t)4096) /* of each: almost every message */

struct kyok_kmip_live;

struct kyok_kmip_process {
    pthread_mutex_t lock;          /* of groups; never held over a wait */
    struct kyok_kmip_live *groups; /* never freed: threads of an executor may outlive everything */
    atomic_int lookups;            /* threads that wait for a name server */
    struct kyok_secret *spare[KYOK_KMIP_SPARE]; /* under lock */
    size_t spare_count;
};

/* NULL: no memory. */
struct kyok_kmip_process *kyok_kmip_process(void);

/* Locked memory for one message, at least size bytes. Mapping and locking pages costs more than a
 * whole request, so small blocks are kept, wiped, for the next one. NULL: no memory. */
struct kyok_secret *kyok_kmip_memory_take(size_t size);
/* used: how many of its bytes may have been written. NULL is allowed. */
void kyok_kmip_memory_give(struct kyok_secret *memory, size_t used);

#endif
