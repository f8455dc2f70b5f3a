/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/library_context.h"

#include <openssl/crypto.h>
#include <openssl/provider.h>
#include <stdatomic.h>
#include <stddef.h>

static _Atomic(OSSL_LIB_CTX *) context;

OSSL_LIB_CTX *kyok_library_context(void)
{
    OSSL_LIB_CTX *known = atomic_load(&context), *fresh;

    if (known != NULL)
        return known;
    fresh = OSSL_LIB_CTX_new();
    if (fresh == NULL || OSSL_PROVIDER_load(fresh, "default") == NULL) {
        OSSL_LIB_CTX_free(fresh);
        return NULL;
    }
    if (atomic_compare_exchange_strong(&context, &known, fresh))
        return fresh;
    OSSL_LIB_CTX_free(fresh);
    return known;
}
