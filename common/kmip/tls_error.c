/* SPDX-License-Identifier: Apache-2.0 */
/* Each way in which TLS can be refused, as a sentence with a remedy. */
#include "common/kmip/tls.h"

#include <openssl/err.h>
#include <openssl/sslerr.h>
#include <openssl/x509_vfy.h>

struct explanation {
    long code; /* X509_V_ERR_* or SSL_R_* */
    enum kyok_status status;
    const char *what;
    const char *remedy;
};

/* What this side holds against the server's certificate. */
static const struct explanation verification[] = {
    {X509_V_ERR_CERT_HAS_EXPIRED, KYOK_REFUSED, "the server's certificate has expired",
     "renew the server's certificate, or correct this host's clock"},
    {X509_V_ERR_CERT_NOT_YET_VALID, KYOK_REFUSED, "the server's certificate is not valid yet",
     "correct the clock of this host or of the server"},
    {X509_V_ERR_HOSTNAME_MISMATCH, KYOK_REFUSED,
     "the server's certificate is for another host name",
     "give the server by a name that its certificate holds as subjectAltName, or issue one with "
     "this "
     "name; a common name alone does not count (RFC 9525)"},
    {X509_V_ERR_IP_ADDRESS_MISMATCH, KYOK_REFUSED,
     "the server's certificate does not hold this IP address",
     "give the server by a name that its certificate holds, or issue one with this address"},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, KYOK_REFUSED,
     "the server's certificate is self-signed and not in the ca file",
     "put the CA that issued the server's certificate into ca, or that certificate itself if you "
     "have checked it"},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, KYOK_REFUSED,
     "the server's certificate comes from a CA that the ca file does not hold",
     "check that this is the right server; if so, put its CA into the ca file"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, KYOK_REFUSED,
     "the server's certificate comes from a CA that the ca file does not hold",
     "check that this is the right server; if so, put its CA into the ca file"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, KYOK_REFUSED,
     "the chain of the server's certificate does not reach a CA of the ca file",
     "put the missing CA certificate into the ca file, or let the server send its chain"},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, KYOK_REFUSED,
     "the server's certificate comes from a CA that the ca file does not hold",
     "check that this is the right server; if so, put its CA into the ca file"},
    {X509_V_ERR_CERT_SIGNATURE_FAILURE, KYOK_REFUSED,
     "the server's certificate bears a false signature: it only claims to come from the ca file's "
     "CA",
     "do not trust this server before you know why"},
    {X509_V_ERR_CERT_REVOKED, KYOK_REFUSED, "the server's certificate has been revoked (crl)",
     "do not trust this server before you know why; give it a new certificate"},
    {X509_V_ERR_UNABLE_TO_GET_CRL, KYOK_REFUSED,
     "the crl file holds no list of the CA that issued the server's certificate",
     "put a revocation list of each CA in the chain into the crl file"},
    {X509_V_ERR_CRL_HAS_EXPIRED, KYOK_REFUSED, "the revocation list in the crl file is out of date",
     "fetch the CA's present revocation list"},
    {X509_V_ERR_INVALID_PURPOSE, KYOK_REFUSED,
     "the server's certificate is not meant for a TLS server (extended key usage)",
     "issue the server a certificate with extendedKeyUsage serverAuth"},
    {X509_V_ERR_EE_KEY_TOO_SMALL, KYOK_REFUSED, "the key of the server's certificate is too short",
     "issue the server a certificate with RSA of 2048 bits or more, or P-256"},
};

/* What the protocol, or the server's alert, says. */
static const struct explanation protocol[] = {
    {SSL_R_UNSUPPORTED_PROTOCOL, KYOK_REFUSED,
     "the server speaks only TLS 1.1 or older, which kyok refuses",
     "enable TLS 1.2 or 1.3 on the server"},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, KYOK_REFUSED,
     "the server speaks neither TLS 1.2 nor TLS 1.3, which kyok insists on",
     "enable TLS 1.2 or 1.3 on the server"},
    {SSL_R_WRONG_VERSION_NUMBER, KYOK_REFUSED, "the server does not speak TLS on this port",
     "check the port in kyok.conf; KMIP's is " KYOK_KMIP_PORT},
    {SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, KYOK_REFUSED,
     "the server demands a client certificate and did not get one",
     "set certificate and key in the [kmip] section"},
    {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, KYOK_REFUSED,
     "the server refused the handshake: no cipher in common, or it wants another client "
     "certificate",
     "compare the server's TLS settings; check certificate and key in the [kmip] section"},
    {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, KYOK_REFUSED,
     "the server refused kyok's client certificate",
     "register the client certificate with the server"},
    {SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, KYOK_REFUSED,
     "the server finds kyok's client certificate unsuitable",
     "issue the client a certificate with extendedKeyUsage clientAuth"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, KYOK_REFUSED,
     "the server says that kyok's client certificate has been revoked",
     "issue the client a new certificate"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, KYOK_REFUSED,
     "the server says that kyok's client certificate has expired", "renew the client certificate"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, KYOK_REFUSED,
     "the server does not accept kyok's client certificate",
     "register the client certificate with the server"},
    {SSL_R_TLSV1_ALERT_UNKNOWN_CA, KYOK_REFUSED,
     "the server does not know the CA of kyok's client certificate",
     "register the client certificate or its CA with the server"},
    {SSL_R_TLSV1_ALERT_ACCESS_DENIED, KYOK_REFUSED,
     "the server denies access to this client certificate",
     "register the client certificate with the server"},
    {SSL_R_TLSV1_ALERT_DECRYPT_ERROR, KYOK_REFUSED,
     "the server could not verify the signature of kyok's client certificate",
     "check that key belongs to certificate in the [kmip] section"},
};

#define COUNT(table) (sizeof(table) / sizeof *(table))

static const struct explanation *find(const struct explanation *table, size_t count, long code)
{
    for (size_t i = 0; i < count; i++)
        if (table[i].code == code)
            return &table[i];
    return NULL;
}

/* A provider's own words, where it gave some, say more than its reason does. */
const char *kyok_tls_queue_text(char *text, size_t size)
{
    const char *data = NULL;
    int flags = 0;
    unsigned long code = ERR_peek_last_error_data(&data, &flags);
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);

    if (code != 0 && ERR_GET_LIB(code) != ERR_LIB_SSL && (flags & ERR_TXT_STRING) != 0 &&
        data != NULL && data[0] != '\0')
        reason = data;
    snprintf(text, size, "%s", reason != NULL ? reason : "no reason given");
    return text;
}

static enum kyok_status explain(const struct explanation *entry, const struct kyok_tls_peer *peer,
                                const char *reason, struct kyok_error *err)
{
    kyok_fail(err, entry->status, peer->url, "%s", entry->what);
    kyok_because(err, "%s", reason);
    return kyok_remedy(err, "%s", entry->remedy);
}

static enum kyok_status explain_verification(long result, const struct kyok_tls_peer *peer,
                                             struct kyok_error *err)
{
    const struct explanation *entry = find(verification, COUNT(verification), result);
    const char *reason = X509_verify_cert_error_string(result);

    if (entry != NULL)
        return explain(entry, peer, reason, err);
    kyok_fail(err, KYOK_REFUSED, peer->url, "the server's certificate cannot be trusted");
    kyok_because(err, "%s", reason);
    return kyok_remedy(err, "check the ca and crl files of the [kmip] section");
}

enum kyok_status kyok_tls_explain(const SSL *ssl, const struct kyok_tls_peer *peer,
                                  const char *during, struct kyok_error *err)
{
    long result = ssl == NULL ? X509_V_OK : SSL_get_verify_result(ssl);
    unsigned long code = ERR_peek_last_error();
    char reason[128];

    if (result != X509_V_OK)
        return explain_verification(result, peer, err);
    kyok_tls_queue_text(reason, sizeof reason);
    if (ERR_GET_LIB(code) == ERR_LIB_SSL) {
        const struct explanation *entry = find(protocol, COUNT(protocol), ERR_GET_REASON(code));
        if (entry != NULL)
            return explain(entry, peer, reason, err);
    }
    kyok_fail(err, KYOK_UNREACHABLE, peer->url, "TLS failed during %s", during);
    return kyok_because(err, "%s", reason);
}
