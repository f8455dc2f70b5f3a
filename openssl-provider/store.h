/* SPDX-License-Identifier: Apache-2.0 */
/* What a store's user searches for, and whether an object fits. */
#ifndef KYOK_PROVIDER_STORE_H
#define KYOK_PROVIDER_STORE_H

#include "openssl-provider/provider.h"

#include <openssl/x509.h>

/* One object that the custodian listed; what storing OpenSSL's objects needs of it. */
struct kp_object {
    enum kyok_object_type kind;
    enum kyok_key_type type;
    char *reference, *label;
    uint8_t *der; /* certificate, or SubjectPublicKeyInfo (of private keys too, where known) */
    size_t der_size;
};

struct kp_search {
    X509_NAME *subject, *issuer;
    ASN1_INTEGER *serial;
    char *alias;
};

int kp_search_set_params(struct kp_search *search, const OSSL_PARAM params[]);
bool kp_search_fits(const struct kp_search *search, const struct kp_object *object);
void kp_search_free(struct kp_search *search);

#endif
