/* SPDX-License-Identifier: Apache-2.0 */
/* AlgorithmIdentifiers of signatures, for X.509 and CMS (RFC 3279, 4055, 5758, 8410). */
#include "openssl-provider/provider.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

static int put(OSSL_PARAM *p, const X509_ALGOR *algorithm)
{
    unsigned char *der = NULL;
    int size = i2d_X509_ALGOR(algorithm, &der);
    int ok = size > 0 && OSSL_PARAM_set_octet_string(p, der, (size_t)size);

    OPENSSL_free(der);
    return ok;
}

int kp_algorithm_id(OSSL_PARAM *p, const EVP_MD *md, const char *key_name)
{
    int key = OBJ_sn2nid(key_name), nid = key, ok;
    X509_ALGOR *algorithm;

    if (md != NULL && !OBJ_find_sigid_by_algs(&nid, EVP_MD_get_type(md), key))
        return 0;
    algorithm = X509_ALGOR_new();
    /* RFC 3279 2.2.1: RSA has NULL parameters, all others have none. */
    ok = algorithm != NULL &&
         X509_ALGOR_set0(algorithm, OBJ_nid2obj(nid),
                         key == NID_rsaEncryption ? V_ASN1_NULL : V_ASN1_UNDEF, NULL) == 1 &&
         put(p, algorithm);
    X509_ALGOR_free(algorithm);
    return ok;
}

/* AlgorithmIdentifier of a digest; SHA-1 is the default of RFC 4055 and is left out. */
static bool digest_id(X509_ALGOR **at, const EVP_MD *md)
{
    if (EVP_MD_get_type(md) == NID_sha1)
        return true;
    *at = X509_ALGOR_new();
    if (*at == NULL)
        return false;
    X509_ALGOR_set_md(*at, md);
    return true;
}

static bool mgf1_id(X509_ALGOR **at, const EVP_MD *md)
{
    ASN1_STRING *packed = NULL;
    X509_ALGOR *inner = NULL;
    bool ok;

    if (EVP_MD_get_type(md) == NID_sha1)
        return true;
    ok = digest_id(&inner, md) &&
         ASN1_item_pack(inner, ASN1_ITEM_rptr(X509_ALGOR), &packed) != NULL &&
         (*at = X509_ALGOR_new()) != NULL &&
         X509_ALGOR_set0(*at, OBJ_nid2obj(NID_mgf1), V_ASN1_SEQUENCE, packed) == 1;
    if (!ok)
        ASN1_STRING_free(packed);
    X509_ALGOR_free(inner);
    return ok;
}

static bool salt_length(ASN1_INTEGER **at, int salt)
{
    if (salt == 20)
        return true;
    *at = ASN1_INTEGER_new();
    return *at != NULL && ASN1_INTEGER_set(*at, salt) == 1;
}

int kp_algorithm_id_pss(OSSL_PARAM *p, const EVP_MD *md, const EVP_MD *mgf1, int salt)
{
    RSA_PSS_PARAMS *pss = RSA_PSS_PARAMS_new();
    X509_ALGOR *algorithm = X509_ALGOR_new();
    ASN1_STRING *packed = NULL;
    int ok = 0;

    if (pss != NULL && algorithm != NULL && digest_id(&pss->hashAlgorithm, md) &&
        mgf1_id(&pss->maskGenAlgorithm, mgf1) && salt_length(&pss->saltLength, salt) &&
        ASN1_item_pack(pss, ASN1_ITEM_rptr(RSA_PSS_PARAMS), &packed) != NULL) {
        ok = X509_ALGOR_set0(algorithm, OBJ_nid2obj(NID_rsassaPss), V_ASN1_SEQUENCE, packed) == 1;
        if (!ok)
            ASN1_STRING_free(packed);
    }
    ok = ok && put(p, algorithm);
    X509_ALGOR_free(algorithm);
    RSA_PSS_PARAMS_free(pss);
    return ok;
}
