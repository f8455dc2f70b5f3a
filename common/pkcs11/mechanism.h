/* SPDX-License-Identifier: Apache-2.0 */
/* Private to pkcs11/: requests as mechanisms with their parameters. */
#ifndef KYOK_PKCS11_MECHANISM_H
#define KYOK_PKCS11_MECHANISM_H

#include "common/pkcs11/live.h"

/* Parameters live beside the mechanism that points to them. */
struct kyok_mechanism {
    CK_MECHANISM mechanism;
    union {
        CK_RSA_PKCS_PSS_PARAMS pss;
        CK_RSA_PKCS_OAEP_PARAMS oaep;
        CK_GCM_PARAMS gcm;
        CK_ECDH1_DERIVE_PARAMS ecdh;
        struct kyok_eddsa_params eddsa;
    } parameters;
};

/* What the token is given for a signature: the request's digest, or its DigestInfo. */
struct kyok_sign_input {
    uint8_t data[512];
    struct kyok_bytes bytes;
};

enum kyok_status kyok_mechanism_sign(const struct kyok_sign_request *request, unsigned bits,
                                     struct kyok_mechanism *mechanism,
                                     struct kyok_sign_input *input, struct kyok_error *err);
bool kyok_mechanism_oaep(const struct kyok_cipher_request *request,
                         struct kyok_mechanism *mechanism);
bool kyok_mechanism_gcm(const struct kyok_cipher_request *request,
                        struct kyok_mechanism *mechanism);

/* The template of a secret that passes through the token as a session object and leaves at once:
 * the result of unwrapping and key agreement, the input of wrapping. Such objects are exempt from
 * require. */
struct kyok_session_secret {
    CK_OBJECT_CLASS object_class;
    CK_KEY_TYPE type;
    CK_BBOOL yes, no;
    CK_ATTRIBUTE fields[6]; /* the last is the caller's */
    CK_ULONG count;
};
/* type CKA_VALUE or CKA_VALUE_LEN with its value, or NULL for neither. */
void kyok_session_secret(struct kyok_session_secret *secret, CK_ATTRIBUTE_TYPE type,
                         const void *value, size_t size);

#endif
