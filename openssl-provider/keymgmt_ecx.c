/* SPDX-License-Identifier: Apache-2.0 */
/* Ed25519, Ed448, X25519 and X448 keys. */
#include "openssl-provider/keymgmt.h"

#include <openssl/core_names.h>

static const OSSL_PARAM *ecx_types(int selection)
{
    static const OSSL_PARAM public[] = {
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_END,
    };
    static const OSSL_PARAM pair[] = {
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, NULL, 0),
        OSSL_PARAM_END,
    };

    return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0 ? pair : public;
}

static const OSSL_PARAM *ecx_gettable(void *provctx)
{
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_MANDATORY_DIGEST, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, NULL, 0),
        OSSL_PARAM_utf8_string("pkcs11_uri", NULL, 0),
        OSSL_PARAM_utf8_string("kyok_custodian", NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return gettable;
}

static const OSSL_PARAM *ecx_settable(void *provctx)
{
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return settable;
}

static const OSSL_PARAM *ecx_gen_settable(void *gen, void *provctx)
{
    static const OSSL_PARAM settable[] = {
        KP_GEN_OWN_PARAMETERS,
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)gen;
    (void)provctx;
    return settable;
}

KP_KEYMGMT_TABLE(ed25519, ecx_types, ecx_gettable, ecx_settable, ecx_gen_settable)
KP_KEYMGMT_TABLE(ed448, ecx_types, ecx_gettable, ecx_settable, ecx_gen_settable)
KP_KEYMGMT_TABLE(x25519, ecx_types, ecx_gettable, ecx_settable, ecx_gen_settable)
KP_KEYMGMT_TABLE(x448, ecx_types, ecx_gettable, ecx_settable, ecx_gen_settable)

#define ECX_TYPE(type, oid, text, number, signing, deriving)                                       \
    const struct kp_type kp_##type = {                                                             \
        .names = text ":" oid,                                                                     \
        .name = text,                                                                              \
        .kind = number,                                                                            \
        .signature = signing,                                                                      \
        .exchange = deriving,                                                                      \
        .public_param = OSSL_PKEY_PARAM_PUB_KEY,                                                   \
        .private_param = OSSL_PKEY_PARAM_PRIV_KEY,                                                 \
        .keymgmt = type##_keymgmt,                                                                 \
    }

ECX_TYPE(ed25519, "1.3.101.112", "ED25519", KYOK_KEY_ED25519, "ED25519", NULL);
ECX_TYPE(ed448, "1.3.101.113", "ED448", KYOK_KEY_ED448, "ED448", NULL);
ECX_TYPE(x25519, "1.3.101.110", "X25519", KYOK_KEY_X25519, NULL, "X25519");
ECX_TYPE(x448, "1.3.101.111", "X448", KYOK_KEY_X448, NULL, "X448");
