/* SPDX-License-Identifier: Apache-2.0 */
/* What this process (not its parent) holds for KMIP: the live state of each group, and a count of
 * name lookups. Private to common/kmip. */
#ifndef KYOK_KMIP_CLIENT_PROCESS_H
#define KYOK_KMIP_CLIENT_PROCESS_H

#include <pthread.h>
#include <stdatomic.h>

struct kyok_kmip_live;

struct kyok_kmip_process {
    pthread_mutex_t lock;          /* of groups; never held over a wait */
    struct kyok_kmip_live *groups; /* never freed: threads of an executor may outlive everything */
    atomic_int lookups;            /* threads that wait for a name server */
};

/* NULL: no memory. */
struct kyok_kmip_process *kyok_kmip_process(void);

#endif
