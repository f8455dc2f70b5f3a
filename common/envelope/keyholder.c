/* SPDX-License-Identifier: Apache-2.0 */
#include "common/envelope/keyholder.h"

void kyok_keyholder_free(struct kyok_keyholder *holder)
{
    holder->type->free(holder->self);
}
