/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pkcs11/state.h"

#include <stdlib.h>

static void *create(void)
{
    struct kyok_pkcs11_state *state = calloc(1, sizeof(*state));

    if (state != NULL)
        pthread_mutex_init(&state->lock, NULL);
    return state;
}

struct kyok_pkcs11_state *kyok_pkcs11_state(void)
{
    return kyok_process_state(KYOK_PROCESS_PKCS11, create, free);
}
