/* SPDX-License-Identifier: Apache-2.0 */
/* EC keys. In a custodian on P-256, P-384 and P-521; software keys on whatever curve. */
#include "openssl-provider/keymgmt.h"

#include <openssl/core_names.h>

#define CURVE                                                                                      \
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),                                   \
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, NULL, 0),                              \
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, NULL, 0),               \
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_EC_FIELD_TYPE, NULL, 0),                            \
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_P, NULL, 0),                                              \
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_A, NULL, 0),                                              \
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_B, NULL, 0),                                              \
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_EC_GENERATOR, NULL, 0),                            \
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_ORDER, NULL, 0),                                          \
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_COFACTOR, NULL, 0),                                       \
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_EC_SEED, NULL, 0)

static const OSSL_PARAM *ec_types(int selection)
{
    static const OSSL_PARAM curve[] = {CURVE, OSSL_PARAM_END};
    static const OSSL_PARAM public[] = {
        CURVE,
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_END,
    };
    static const OSSL_PARAM pair[] = {
        CURVE,
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_PRIV_KEY, NULL, 0),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_USE_COFACTOR_ECDH, NULL),
        OSSL_PARAM_END,
    };

    if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0)
        return pair;
    return (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0 ? public : curve;
}

static const OSSL_PARAM *ec_gettable(void *provctx)
{
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_PUB_X, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_PUB_Y, NULL, 0),
        OSSL_PARAM_utf8_string("pkcs11_uri", NULL, 0),
        OSSL_PARAM_utf8_string("kyok_custodian", NULL, 0),
        CURVE,
        OSSL_PARAM_END,
    };

    (void)provctx;
    return gettable;
}

static const OSSL_PARAM *ec_settable(void *provctx)
{
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_USE_COFACTOR_ECDH, NULL),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return settable;
}

static const OSSL_PARAM *ec_gen_settable(void *gen, void *provctx)
{
    static const OSSL_PARAM settable[] = {
        KP_GEN_OWN_PARAMETERS,
        OSSL_PARAM_int(OSSL_PKEY_PARAM_USE_COFACTOR_ECDH, NULL),
        CURVE,
        OSSL_PARAM_END,
    };

    (void)gen;
    (void)provctx;
    return settable;
}

KP_KEYMGMT_TABLE(ec, ec_types, ec_gettable, ec_settable, ec_gen_settable)

const struct kp_type kp_ec = {
    .names = "EC:id-ecPublicKey:1.2.840.10045.2.1",
    .name = "EC",
    .kind = KYOK_KEY_EC,
    .signature = "ECDSA",
    .exchange = "ECDH",
    .public_param = OSSL_PKEY_PARAM_PUB_KEY,
    .private_param = OSSL_PKEY_PARAM_PRIV_KEY,
    .keymgmt = ec_keymgmt,
};
