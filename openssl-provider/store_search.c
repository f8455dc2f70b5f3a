/* SPDX-License-Identifier: Apache-2.0 */
/* Search of a store: by subject, by issuer and serial number, by alias (CKA_LABEL). */
#include "openssl-provider/store.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <string.h>

static int set_name(X509_NAME **name, const OSSL_PARAM *p)
{
    const unsigned char *at;

    if (p == NULL)
        return 1;
    X509_NAME_free(*name);
    *name = NULL;
    at = p->data;
    return p->data_type == OSSL_PARAM_OCTET_STRING &&
           (*name = d2i_X509_NAME(NULL, &at, (long)p->data_size)) != NULL;
}

static int set_serial(ASN1_INTEGER **serial, const OSSL_PARAM *p)
{
    BIGNUM *number = NULL;

    if (p == NULL)
        return 1;
    ASN1_INTEGER_free(*serial);
    *serial = NULL;
    if (OSSL_PARAM_get_BN(p, &number))
        *serial = BN_to_ASN1_INTEGER(number, NULL);
    BN_free(number);
    return *serial != NULL;
}

static int set_alias(char **alias, const OSSL_PARAM *p)
{
    if (p == NULL)
        return 1;
    OPENSSL_free(*alias);
    *alias = NULL;
    return OSSL_PARAM_get_utf8_string(p, alias, 0);
}

int kp_search_set_params(struct kp_search *search, const OSSL_PARAM params[])
{
    return set_name(&search->subject, OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_SUBJECT)) &&
           set_name(&search->issuer, OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_ISSUER)) &&
           set_serial(&search->serial, OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_SERIAL)) &&
           set_alias(&search->alias, OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_ALIAS));
}

static bool certificate_fits(const struct kp_search *search, const X509 *certificate)
{
    if (search->subject != NULL &&
        X509_NAME_cmp(search->subject, X509_get_subject_name(certificate)) != 0)
        return false;
    if (search->issuer != NULL &&
        X509_NAME_cmp(search->issuer, X509_get_issuer_name(certificate)) != 0)
        return false;
    return search->serial == NULL ||
           ASN1_INTEGER_cmp(search->serial, X509_get0_serialNumber(certificate)) == 0;
}

bool kp_search_fits(const struct kp_search *search, const struct kp_object *object)
{
    const unsigned char *at = object->der;
    X509 *certificate;
    bool fits;

    if (search->alias != NULL &&
        (object->label == NULL || strcmp(object->label, search->alias) != 0))
        return false;
    if (search->subject == NULL && search->issuer == NULL && search->serial == NULL)
        return true;
    if (object->kind != KYOK_OBJECT_CERTIFICATE)
        return false;
    certificate = d2i_X509(NULL, &at, (long)object->der_size);
    fits = certificate != NULL && certificate_fits(search, certificate);
    X509_free(certificate);
    return fits;
}

void kp_search_free(struct kp_search *search)
{
    X509_NAME_free(search->subject);
    X509_NAME_free(search->issuer);
    ASN1_INTEGER_free(search->serial);
    OPENSSL_free(search->alias);
}
