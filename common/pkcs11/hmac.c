/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pkcs11/hmac.h"

#include "common/base/library_context.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

bool kyok_hmac_sha256(struct kyok_bytes key, const struct kyok_bytes *parts, size_t count,
                      uint8_t out[32])
{
    OSSL_LIB_CTX *library = kyok_library_context();
    EVP_MAC *mac = library == NULL ? NULL : EVP_MAC_fetch(library, "HMAC", NULL);
    EVP_MAC_CTX *context = mac == NULL ? NULL : EVP_MAC_CTX_new(mac);
    char digest[] = "SHA256";
    OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string("digest", digest, 0),
                               OSSL_PARAM_construct_end()};
    size_t size;
    bool done = context != NULL && EVP_MAC_init(context, key.data, key.size, parameters);

    for (size_t i = 0; done && i < count; i++)
        done = EVP_MAC_update(context, parts[i].data, parts[i].size);
    done = done && EVP_MAC_final(context, out, &size, 32);
    EVP_MAC_CTX_free(context);
    EVP_MAC_free(mac);
    return done;
}
