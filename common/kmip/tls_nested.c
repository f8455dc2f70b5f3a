/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client key that is a pkcs11: reference: a stolen host image then has no KMIP identity. The TLS
 * library context loads kyok's own provider, by its path beside libkyok, with kmip: references
 * switched off, so that a KMIP connection never needs another one. The nested signature runs on the
 * thread that shakes hands.
 */
#include "common/kmip/tls_context.h"

#include <dlfcn.h>
#include <limits.h>
#include <openssl/conf.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/store.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROVIDER "ossl-modules/kyok.so"

/* Beside the library that this code is in. */
static enum kyok_status provider_path(char *path, size_t room, struct kyok_error *err)
{
    Dl_info info;
    const char *library = dladdr((void *)(uintptr_t)kyok_tls_new, &info) != 0 ? info.dli_fname : "";
    const char *slash = strrchr(library, '/');
    int length = slash == NULL ? 0 : (int)(slash - library) + 1;

    snprintf(path, room, "%.*s" PROVIDER, length, library);
    if (access(path, R_OK) != 0) {
        kyok_fail_errno(err, path, "kyok's provider is not beside libkyok");
        return kyok_remedy(err, "install it there: a pkcs11: client key needs it");
    }
    return KYOK_OK;
}

/* What would mean something else in an OpenSSL configuration file. */
static bool is_plain(const char *text)
{
    return text[strcspn(text, "\"'\\$#;\r\n")] == '\0';
}

/* "FILE:LINE" without the line: the provider reads its token groups in the same kyok.conf. */
static void config_path(const struct kyok_kmip_config *config, char *path, size_t room)
{
    const char *colon = config->where == NULL ? NULL : strrchr(config->where, ':');

    path[0] = '\0';
    if (colon != NULL && config->where[0] == '/')
        snprintf(path, room, "%.*s", (int)(colon - config->where), config->where);
}

static enum kyok_status write_conf(const struct kyok_kmip_config *config, struct kyok_buffer *text,
                                   struct kyok_error *err)
{
    /* Not on the stack: an ASYNC_JOB has 32 KiB for all that signs with such an identity. */
    KYOK_AUTO_FREE char *provider = malloc(PATH_MAX);
    KYOK_AUTO_FREE char *conf = malloc(PATH_MAX);

    if (provider == NULL || conf == NULL)
        return kyok_fail(err, KYOK_SYSTEM, config->name, "no memory for TLS");
    KYOK_TRY(provider_path(provider, PATH_MAX, err));
    config_path(config, conf, PATH_MAX);
    if (!is_plain(provider) || !is_plain(conf))
        return kyok_fail(err, KYOK_INVALID, provider,
                         "the path has a character that OpenSSL's configuration cannot hold");
    if (kyok_buffer_printf(text,
                           "openssl_conf = init\n[init]\nproviders = list\n"
                           "[list]\ndefault = default_section\nkyok = kyok_section\n"
                           "[default_section]\nactivate = 1\n"
                           "[kyok_section]\nmodule = %s\nkmip = no\n%s%s\nactivate = 1\n",
                           provider, conf[0] != '\0' ? "config = " : "", conf))
        return KYOK_OK;
    return kyok_fail(err, KYOK_SYSTEM, config->name, "no memory for TLS");
}

/* A program that runs without OpenSSL's configuration has no configuration modules either. */
static bool load_conf(CONF *conf)
{
    if (OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL) == 1 &&
        CONF_modules_load(conf, NULL, 0) > 0)
        return true;
    OPENSSL_load_builtin_modules();
    return CONF_modules_load(conf, NULL, 0) > 0;
}

enum kyok_status kyok_kmip_nested_load(OSSL_LIB_CTX *library, const struct kyok_kmip_config *config,
                                       struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    char reason[300];

    KYOK_TRY(write_conf(config, &text, err));
    CONF *conf = NCONF_new_ex(library, NULL);
    BIO *bio = BIO_new_mem_buf(text.data, (int)text.size);
    bool done = conf != NULL && bio != NULL && NCONF_load_bio(conf, bio, NULL) > 0 &&
                load_conf(conf) && OSSL_PROVIDER_available(library, "kyok") == 1;
    BIO_free(bio);
    NCONF_free(conf);
    if (done)
        return KYOK_OK;
    return kyok_fail(err, KYOK_SYSTEM, config->key, "kyok's provider does not load: %s",
                     kyok_tls_queue_text(reason, sizeof reason));
}

static EVP_PKEY *load_key(OSSL_LIB_CTX *library, const char *uri)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri, library, NULL, NULL, NULL, NULL, NULL, NULL);
    EVP_PKEY *key = NULL;

    if (store == NULL || OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY) != 1) {
        OSSL_STORE_close(store);
        return NULL;
    }
    while (key == NULL && !OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        if (info == NULL)
            break;
        key = OSSL_STORE_INFO_get1_PKEY(info);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    return key;
}

enum kyok_status kyok_kmip_nested_use_key(OSSL_LIB_CTX *library, SSL_CTX *context,
                                          const struct kyok_kmip_config *config,
                                          struct kyok_error *err)
{
    EVP_PKEY *key = load_key(library, config->key);
    bool used = key != NULL && SSL_CTX_use_PrivateKey(context, key) == 1;
    char reason[300];

    EVP_PKEY_free(key);
    if (used)
        return KYOK_OK;
    kyok_fail(err, KYOK_REFUSED, config->key, "the client key cannot be used: %s",
              kyok_tls_queue_text(reason, sizeof reason));
    return kyok_remedy(err, "check the reference in [kmip %s], and the token that holds the key",
                       config->name);
}
