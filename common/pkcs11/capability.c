/* SPDX-License-Identifier: Apache-2.0 */
/* What a token must offer for a key to be of use: refused when the key is opened, not in a
 * handshake. */
#include "common/pkcs11/live.h"

static const struct need {
    enum kyok_key_type type;
    struct {
        CK_MECHANISM_TYPE mechanism;
        CK_FLAGS flags;
    } any_of[6];
    const char *wanted;
    const char *alternative;
} needs[] = {
    {KYOK_KEY_RSA,
     {{CKM_RSA_PKCS, CKF_SIGN},
      {CKM_RSA_PKCS_PSS, CKF_SIGN},
      {CKM_RSA_X_509, CKF_SIGN},
      {CKM_RSA_PKCS_OAEP, CKF_DECRYPT},
      {CKM_RSA_PKCS, CKF_DECRYPT},
      {CKM_RSA_X_509, CKF_DECRYPT}},
     "CKM_RSA_PKCS, CKM_RSA_PKCS_PSS, CKM_RSA_PKCS_OAEP or CKM_RSA_X_509",
     "use an EC key in this token"},
    {KYOK_KEY_EC,
     {{CKM_ECDSA, CKF_SIGN}, {CKM_ECDH1_DERIVE, CKF_DERIVE}, {CKM_ECDH1_DERIVE, 0}},
     "CKM_ECDSA or CKM_ECDH1_DERIVE",
     "use an RSA key in this token"},
    {KYOK_KEY_ED25519,
     {{CKM_EDDSA, CKF_SIGN}},
     "CKM_EDDSA",
     "use an EC key on P-256 in this token"},
    {KYOK_KEY_ED448, {{CKM_EDDSA, CKF_SIGN}}, "CKM_EDDSA", "use an EC key on P-521 in this token"},
    {KYOK_KEY_X25519,
     {{CKM_ECDH1_DERIVE, CKF_DERIVE}, {CKM_ECDH1_DERIVE, 0}},
     "CKM_ECDH1_DERIVE",
     "use another token for key agreement"},
    {KYOK_KEY_X448,
     {{CKM_ECDH1_DERIVE, CKF_DERIVE}, {CKM_ECDH1_DERIVE, 0}},
     "CKM_ECDH1_DERIVE",
     "use another token for key agreement"},
    {KYOK_KEY_AES,
     {{CKM_AES_GCM, CKF_ENCRYPT}, {CKM_AES_KEY_WRAP, CKF_WRAP}, {CKM_AES_KEY_WRAP_PAD, CKF_WRAP}},
     "CKM_AES_GCM or CKM_AES_KEY_WRAP",
     "seal to an RSA key of this token (RSA-OAEP-256), or keep the root key in another"},
};

enum kyok_status kyok_key_usable(const struct kyok_lease *lease, enum kyok_key_type type,
                                 const char *object, struct kyok_error *err)
{
    const struct need *need = NULL;
    char text[128];

    for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
        if (needs[i].type == type)
            need = &needs[i];
    }
    if (need == NULL)
        return KYOK_OK;
    for (size_t i = 0; i < 6 && need->any_of[i].mechanism + need->any_of[i].flags != 0; i++) {
        if (kyok_token_can(lease, need->any_of[i].mechanism, need->any_of[i].flags))
            return KYOK_OK;
    }
    kyok_fail(err, KYOK_UNSUPPORTED, object, "%s can do nothing with this %s key",
              kyok_token_text(lease->token, text, sizeof(text)), kyok_key_type_name(type));
    kyok_because(err, "it offers no %s", need->wanted);
    return kyok_remedy(err, "%s", need->alternative);
}

const char *kyok_sign_alternative(enum kyok_sign_scheme scheme)
{
    switch (scheme) {
    case KYOK_SIGN_RSA_PSS:
        return "the token has no RSA-PSS, which TLS 1.3 needs of RSA keys: use an EC key, or "
               "TLS 1.2 with PKCS#1 v1.5";
    case KYOK_SIGN_RSA_PKCS1:
        return "the token has no CKM_RSA_PKCS: use RSA-PSS or an EC key";
    case KYOK_SIGN_RSA_RAW:
        return "the token has no raw RSA (CKM_RSA_X_509): use PKCS#1 v1.5 or PSS";
    case KYOK_SIGN_ECDSA:
        return "the token has no CKM_ECDSA: use an RSA key";
    case KYOK_SIGN_EDDSA:
        return "the token has no CKM_EDDSA: use an EC key on P-256";
    }
    return NULL;
}

const char *kyok_cipher_alternative(enum kyok_cipher_scheme scheme)
{
    switch (scheme) {
    case KYOK_CIPHER_RSA_RAW:
        return "the token has no CKM_RSA_X_509 to decrypt with: use OAEP";
    case KYOK_CIPHER_RSA_PKCS1:
        return "the token has neither CKM_RSA_X_509 nor CKM_RSA_PKCS to decrypt with: encrypt to "
               "an RSA key of another token, with OAEP";
    case KYOK_CIPHER_RSA_PKCS1_TLS:
        return "the token has neither CKM_RSA_X_509 nor CKM_RSA_PKCS to decrypt with: leave the "
               "cipher suites with RSA key exchange out";
    case KYOK_CIPHER_RSA_OAEP:
        return "the token has neither CKM_RSA_PKCS_OAEP nor CKM_RSA_X_509 to decrypt with: encrypt "
               "to an RSA key of another token";
    case KYOK_CIPHER_AES_GCM:
        return "the token has no CKM_AES_GCM: seal with A256KW (CKM_AES_KEY_WRAP) or RSA-OAEP-256";
    case KYOK_CIPHER_AES_KW:
        return "the token has no CKM_AES_KEY_WRAP: seal with A256GCMKW (CKM_AES_GCM) or "
               "RSA-OAEP-256";
    case KYOK_CIPHER_AES_KWP:
        return "the token has no CKM_AES_KEY_WRAP_PAD: use another token";
    }
    return NULL;
}
