/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parameters of the provider's section in openssl.cnf, each with the name of its setter in the
 * provider: kyok's own, and pkcs11-provider's by their names. The provider reads them; kyok doctor
 * knows a misspelt one by them, which the provider cannot (OpenSSL before 3.5 lists no section).
 */
#ifndef KYOK_PROVIDER_PARAMETERS_H
#define KYOK_PROVIDER_PARAMETERS_H

/* clang-format off */
#define KYOK_PROVIDER_PARAMETERS(X) \
    X("config", config) \
    X("timeout", timeout) \
    X("isolate", isolate) \
    X("kmip", kmip) \
    X("rand", rand) \
    X("implicit-rejection", implicit_rejection) \
    X("with-public", with_public) \
    X("pkcs11-module-path", module) \
    X("pkcs11-module-init-args", init_args) \
    X("pkcs11-module-token-pin", token_pin) \
    X("pkcs11-module-allow-export", allow_export) \
    X("pkcs11-module-login-behavior", login) \
    X("pkcs11-module-load-behavior", nothing)  /* always at first use: design rule 7 */ \
    X("pkcs11-module-cache-pins", nothing)     /* read from their source at each login */ \
    X("pkcs11-module-cache-keys", cache_keys) \
    X("pkcs11-module-cache-sessions", nothing) /* all that the token grants stay open */ \
    X("pkcs11-module-quirks", nothing)         /* none of these calls is made */ \
    X("pkcs11-module-encode-provider-uri-to-pem", encode_references) \
    X("pkcs11-module-block-operations", blocked) \
    X("pkcs11-module-assume-fips", assume_fips)
/* clang-format on */

#endif
