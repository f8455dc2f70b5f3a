/* SPDX-License-Identifier: Apache-2.0 */
/* Trust (ca, crl) and identity (certificate, key) of one [kmip] section, as an SSL_CTX. */
#include "common/kmip/tls_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* What tells one version of a file from the next. */
struct file_mark {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

#define TLS_FILES 4

struct kyok_tls {
    atomic_uint references;
    OSSL_LIB_CTX *library;
    OSSL_PROVIDER *provider; /* default; NULL when the configuration loaded it */
    SSL_CTX *context;
    struct file_mark marks[TLS_FILES];
    char identity[256];
};

static bool key_is_reference(const struct kyok_kmip_config *config)
{
    return config->key != NULL && strncasecmp(config->key, "pkcs11:", 7) == 0;
}

/* In the order of the section's spelling; a pkcs11: key is no file. */
static void list_files(const struct kyok_kmip_config *config, const char *files[TLS_FILES])
{
    files[0] = config->ca;
    files[1] = config->certificate;
    files[2] = key_is_reference(config) ? NULL : config->key;
    files[3] = config->crl;
}

static struct file_mark mark_of(const char *path)
{
    struct file_mark mark;
    struct stat status;

    memset(&mark, 0, sizeof mark);
    if (path == NULL || stat(path, &status) != 0)
        return mark;
    mark.device = status.st_dev;
    mark.inode = status.st_ino;
    mark.size = status.st_size;
    mark.changed = status.st_mtim;
    return mark;
}

static bool mark_equal(const struct file_mark *a, const struct file_mark *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

bool kyok_tls_is_stale(const struct kyok_tls *tls, const struct kyok_kmip_config *config)
{
    const char *files[TLS_FILES];

    list_files(config, files);
    for (size_t i = 0; i < TLS_FILES; i++) {
        struct file_mark now = mark_of(files[i]);
        if (!mark_equal(&now, &tls->marks[i]))
            return true;
    }
    return false;
}

static enum kyok_status file_failed(const char *path, const char *what, struct kyok_error *err)
{
    char reason[128];

    kyok_tls_queue_text(reason, sizeof reason);
    kyok_fail(err, KYOK_INVALID, path, "%s", what);
    return kyok_because(err, "%s", reason);
}

static enum kyok_status require_setting(const struct kyok_kmip_config *config, const char *value,
                                        const char *name, const char *what, struct kyok_error *err)
{
    if (value != NULL)
        return KYOK_OK;
    kyok_fail(err, KYOK_INVALID, config->where, "[kmip %s] names no %s", config->name, what);
    return kyok_remedy(err, "set %s = PATH; KMIP runs over mutual TLS only", name);
}

static enum kyok_status check_settings(const struct kyok_kmip_config *config,
                                       struct kyok_error *err)
{
    KYOK_TRY(require_setting(config, config->ca, "ca", "CA to trust", err));
    KYOK_TRY(
        require_setting(config, config->certificate, "certificate", "client certificate", err));
    return require_setting(config, config->key, "key", "client key", err);
}

/* A library has no terminal: an encrypted key file is an error, never a question. */
static int no_passphrase(char *text, int size, int writing, void *caller)
{
    (void)text;
    (void)size;
    (void)writing;
    (void)caller;
    return -1;
}

static enum kyok_status load_trust(struct kyok_tls *tls, const struct kyok_kmip_config *config,
                                   struct kyok_error *err)
{
    X509_VERIFY_PARAM *param = SSL_CTX_get0_param(tls->context);
    X509_LOOKUP *lookup;

    if (SSL_CTX_load_verify_file(tls->context, config->ca) != 1)
        return file_failed(config->ca, "cannot read the CA certificates", err);
    /* An intermediate CA, or the server's own certificate, in the ca file is a trust anchor too. */
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
    if (config->crl == NULL)
        return KYOK_OK;
    lookup = X509_STORE_add_lookup(SSL_CTX_get_cert_store(tls->context), X509_LOOKUP_file());
    if (lookup == NULL || X509_load_crl_file(lookup, config->crl, X509_FILETYPE_PEM) < 1)
        return file_failed(config->crl, "cannot read the revocation list", err);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return KYOK_OK;
}

static enum kyok_status load_key(struct kyok_tls *tls, const struct kyok_kmip_config *config,
                                 struct kyok_error *err)
{
    if (key_is_reference(config))
        return kyok_kmip_nested_use_key(tls->library, tls->context, config, err);
    if (SSL_CTX_use_PrivateKey_file(tls->context, config->key, SSL_FILETYPE_PEM) == 1)
        return KYOK_OK;
    file_failed(config->key, "cannot read the client key", err);
    return kyok_remedy(err, "give an unencrypted PEM file that only its owner can read, or a "
                            "pkcs11: reference");
}

/* Whoever can read it is this client to the server. */
static void warn_of_readers(const struct kyok_kmip_config *config)
{
    struct stat status;

    if (!key_is_reference(config) && stat(config->key, &status) == 0 && (status.st_mode & 077) != 0)
        kyok_log(KYOK_LOG_WARNING,
                 "kmip %s: the client key %s can be read by others than its owner (mode %o)",
                 config->name, config->key, (unsigned)status.st_mode & 0777);
}

static enum kyok_status load_identity(struct kyok_tls *tls, const struct kyok_kmip_config *config,
                                      struct kyok_error *err)
{
    SSL_CTX_set_default_passwd_cb(tls->context, no_passphrase);
    KYOK_TRY(load_key(tls, config, err));
    warn_of_readers(config);
    /* After the key: a certificate of another key then drops it, which the check below tells apart
     * from one that cannot be read. */
    if (SSL_CTX_use_certificate_chain_file(tls->context, config->certificate) != 1)
        return file_failed(config->certificate, "cannot read the client certificate", err);
    if (SSL_CTX_check_private_key(tls->context) != 1) {
        kyok_fail(err, KYOK_INVALID, config->certificate,
                  "the client certificate does not belong to the client key");
        return kyok_because(err, "key = %s", config->key);
    }
    X509_NAME_oneline(X509_get_subject_name(SSL_CTX_get0_certificate(tls->context)), tls->identity,
                      sizeof tls->identity);
    return KYOK_OK;
}

/* The host's openssl.cnf may have lowered any of this for its own connections; not for ours. */
static void harden(SSL_CTX *context)
{
    SSL_CTX_set_security_level(context, 2);
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(context, 0);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(context,
                        SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CLEANSE_PLAINTEXT);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1); /* a record's header and content in one call */
}

static enum kyok_status make_library(struct kyok_tls *tls, const struct kyok_kmip_config *config,
                                     struct kyok_error *err)
{
    tls->library = OSSL_LIB_CTX_new();
    if (tls->library == NULL)
        return kyok_fail(err, KYOK_SYSTEM, config->name, "no memory for TLS");
    if (key_is_reference(config))
        return kyok_kmip_nested_load(tls->library, config, err);
    tls->provider = OSSL_PROVIDER_load(tls->library, "default");
    if (tls->provider == NULL)
        return file_failed(config->name, "OpenSSL's default provider does not load", err);
    return KYOK_OK;
}

static enum kyok_status make_context(struct kyok_tls *tls, const struct kyok_kmip_config *config,
                                     struct kyok_error *err)
{
    KYOK_TRY(make_library(tls, config, err));
    tls->context = SSL_CTX_new_ex(tls->library, NULL, TLS_client_method());
    if (tls->context == NULL)
        return file_failed(config->name, "OpenSSL cannot set up TLS", err);
    harden(tls->context);
    KYOK_TRY(load_trust(tls, config, err));
    return load_identity(tls, config, err);
}

enum kyok_status kyok_tls_new(const struct kyok_kmip_config *config, struct kyok_tls **tls,
                              struct kyok_error *err)
{
    const char *files[TLS_FILES];

    KYOK_TRY(check_settings(config, err));
    struct kyok_tls *made = calloc(1, sizeof *made);
    if (made == NULL)
        return kyok_fail(err, KYOK_SYSTEM, config->name, "no memory for TLS");
    atomic_init(&made->references, 1);
    /* Before reading: a file that changes meanwhile is read again next time. */
    list_files(config, files);
    for (size_t i = 0; i < TLS_FILES; i++)
        made->marks[i] = mark_of(files[i]);
    ERR_set_mark();
    enum kyok_status status = make_context(made, config, err);
    ERR_pop_to_mark();
    if (status != KYOK_OK) {
        kyok_tls_free(made);
        return status;
    }
    *tls = made;
    return KYOK_OK;
}

void kyok_tls_up_ref(struct kyok_tls *tls)
{
    atomic_fetch_add(&tls->references, 1);
}

void kyok_tls_free(struct kyok_tls *tls)
{
    if (tls == NULL || atomic_fetch_sub(&tls->references, 1) != 1)
        return;
    SSL_CTX_free(tls->context);
    if (tls->provider != NULL) /* which the library context does not do */
        OSSL_PROVIDER_unload(tls->provider);
    OSSL_LIB_CTX_free(tls->library);
    free(tls);
}

const char *kyok_tls_identity(const struct kyok_tls *tls)
{
    return tls->identity;
}

SSL *kyok_tls_session_new(struct kyok_tls *tls)
{
    return SSL_new(tls->context);
}
