/* SPDX-License-Identifier: Apache-2.0 */
/* RSA and RSA-PSS keys. */
#include "openssl-provider/keymgmt.h"

#include <openssl/core_names.h>

static const OSSL_PARAM *rsa_types(int selection)
{
    static const OSSL_PARAM public[] = {
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
        OSSL_PARAM_END,
    };
    static const OSSL_PARAM pair[] = {
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_D, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_FACTOR1, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_FACTOR2, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_EXPONENT1, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_EXPONENT2, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_COEFFICIENT1, NULL, 0),
        OSSL_PARAM_END,
    };

    return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0 ? pair : public;
}

static const OSSL_PARAM *rsa_gettable(void *provctx)
{
    static const OSSL_PARAM gettable[] = {
        OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
        OSSL_PARAM_utf8_string("pkcs11_uri", NULL, 0),
        OSSL_PARAM_utf8_string("kyok_custodian", NULL, 0),
        OSSL_PARAM_END,
    };

    (void)provctx;
    return gettable;
}

static const OSSL_PARAM *rsa_settable(void *provctx)
{
    static const OSSL_PARAM settable[] = {OSSL_PARAM_END};

    (void)provctx;
    return settable;
}

static const OSSL_PARAM *rsa_gen_settable(void *gen, void *provctx)
{
    static const OSSL_PARAM settable[] = {
        KP_GEN_OWN_PARAMETERS,
        OSSL_PARAM_size_t(OSSL_PKEY_PARAM_RSA_BITS, NULL),
        OSSL_PARAM_size_t(OSSL_PKEY_PARAM_RSA_PRIMES, NULL),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
        OSSL_PARAM_END,
    };

    (void)gen;
    (void)provctx;
    return settable;
}

static const OSSL_PARAM *rsa_pss_gen_settable(void *gen, void *provctx)
{
    static const OSSL_PARAM settable[] = {
        KP_GEN_OWN_PARAMETERS,
        OSSL_PARAM_size_t(OSSL_PKEY_PARAM_RSA_BITS, NULL),
        OSSL_PARAM_size_t(OSSL_PKEY_PARAM_RSA_PRIMES, NULL),
        OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_RSA_DIGEST, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_RSA_DIGEST_PROPS, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_RSA_MASKGENFUNC, NULL, 0),
        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_RSA_MGF1_DIGEST, NULL, 0),
        OSSL_PARAM_int(OSSL_PKEY_PARAM_RSA_PSS_SALTLEN, NULL),
        OSSL_PARAM_END,
    };

    (void)gen;
    (void)provctx;
    return settable;
}

KP_KEYMGMT_TABLE(rsa, rsa_types, rsa_gettable, rsa_settable, rsa_gen_settable)
KP_KEYMGMT_TABLE(rsa_pss, rsa_types, rsa_gettable, rsa_settable, rsa_pss_gen_settable)

const struct kp_type kp_rsa = {
    .names = "RSA:rsaEncryption:1.2.840.113549.1.1.1",
    .name = "RSA",
    .kind = KYOK_KEY_RSA,
    .signature = "RSA",
    .public_param = OSSL_PKEY_PARAM_RSA_N,
    .private_param = OSSL_PKEY_PARAM_RSA_D,
    .keymgmt = rsa_keymgmt,
};

const struct kp_type kp_rsa_pss = {
    .names = "RSA-PSS:RSASSA-PSS:1.2.840.113549.1.1.10",
    .name = "RSA-PSS",
    .kind = KYOK_KEY_RSA,
    .pss = true,
    .signature = "RSA",
    .public_param = OSSL_PKEY_PARAM_RSA_N,
    .private_param = OSSL_PKEY_PARAM_RSA_D,
    .keymgmt = rsa_pss_keymgmt,
};
