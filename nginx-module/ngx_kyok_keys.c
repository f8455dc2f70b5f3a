
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The keys of a configuration: found in the SSL contexts that nginx makes of
 * it, and checked before it is accepted.
 */


#include "ngx_kyok.h"

#include <openssl/core_names.h>
#include <openssl/provider.h>


typedef struct {
    ngx_queue_t      queue;
    SSL_CTX         *ctx;
    ngx_cycle_t     *cycle;
} ngx_kyok_ssl_ctx_t;


static void ngx_kyok_keys_cleanup(void *data);
static void ngx_kyok_ctx_new(void *parent, void *ptr, CRYPTO_EX_DATA *ad,
    int index, long argl, void *argp);
static void ngx_kyok_ctx_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad,
    int index, long argl, void *argp);
static ngx_int_t ngx_kyok_keys_add(ngx_cycle_t *cycle, X509 *x509,
    EVP_PKEY *pkey, void *data);
static ngx_uint_t ngx_kyok_key_is_ours(EVP_PKEY *pkey);
static ngx_int_t ngx_kyok_ctxs_check(ngx_cycle_t *cycle);
static ngx_int_t ngx_kyok_key_check(ngx_cycle_t *cycle, ngx_kyok_key_t *key);


static int           ngx_kyok_ctx_index = -1;
static ngx_queue_t   ngx_kyok_ctxs;
static ngx_cycle_t  *ngx_kyok_cycle;


/*
 * Every SSL context that is made while a configuration is read belongs to it,
 * whatever module makes it.
 */

ngx_int_t
ngx_kyok_keys_begin(ngx_cycle_t *cycle)
{
    ngx_pool_cleanup_t  *cln;

    if (ngx_kyok_ctx_index == -1) {
        ngx_queue_init(&ngx_kyok_ctxs);

        ngx_kyok_ctx_index = SSL_CTX_get_ex_new_index(0, NULL,
                                                      ngx_kyok_ctx_new, NULL,
                                                      ngx_kyok_ctx_free);
        if (ngx_kyok_ctx_index == -1) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "SSL_CTX_get_ex_new_index() failed");
            return NGX_ERROR;
        }
    }

    /* the rest of the configuration may be refused before it is checked */

    cln = ngx_pool_cleanup_add(cycle->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_kyok_keys_cleanup;
    cln->data = cycle;

    ngx_kyok_cycle = cycle;

    return NGX_OK;
}


static void
ngx_kyok_keys_cleanup(void *data)
{
    if (ngx_kyok_cycle == data) {
        ngx_kyok_cycle = NULL;
    }
}


static void
ngx_kyok_ctx_new(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index,
    long argl, void *argp)
{
    ngx_kyok_ssl_ctx_t  *entry;

    if (ngx_kyok_cycle == NULL) {
        return;
    }

    entry = ngx_alloc(sizeof(ngx_kyok_ssl_ctx_t), ngx_kyok_cycle->log);
    if (entry == NULL) {
        return;
    }

    entry->ctx = parent;
    entry->cycle = ngx_kyok_cycle;

    if (CRYPTO_set_ex_data(ad, index, entry) == 0) {
        ngx_free(entry);
        return;
    }

    ngx_queue_insert_tail(&ngx_kyok_ctxs, &entry->queue);
}


static void
ngx_kyok_ctx_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int index,
    long argl, void *argp)
{
    ngx_kyok_ssl_ctx_t *entry = ptr;

    if (entry) {
        ngx_queue_remove(&entry->queue);
        ngx_free(entry);
    }
}


ngx_int_t
ngx_kyok_keys_visit(ngx_cycle_t *cycle, ngx_kyok_certificate_pt visit,
    void *data)
{
    X509                *current, *x509;
    long                 more;
    SSL_CTX             *ctx;
    ngx_queue_t         *q;
    ngx_kyok_ssl_ctx_t  *entry;

    for (q = ngx_queue_head(&ngx_kyok_ctxs);
         q != ngx_queue_sentinel(&ngx_kyok_ctxs);
         q = ngx_queue_next(q))
    {
        entry = ngx_queue_data(q, ngx_kyok_ssl_ctx_t, queue);

        if (entry->cycle != cycle) {
            continue;
        }

        ctx = entry->ctx;
        current = SSL_CTX_get0_certificate(ctx);

        for (more = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_FIRST);
             more == 1;
             more = SSL_CTX_set_current_cert(ctx, SSL_CERT_SET_NEXT))
        {
            x509 = SSL_CTX_get0_certificate(ctx);

            if (visit(cycle, x509, SSL_CTX_get0_privatekey(ctx), data)
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }

        if (current) {
            (void) SSL_CTX_select_current_cert(ctx, current);
        }
    }

    return NGX_OK;
}


/* Each key once, however many contexts have it. */

ngx_int_t
ngx_kyok_keys_collect(ngx_cycle_t *cycle, ngx_array_t *keys)
{
    if (ngx_array_init(keys, cycle->pool, 8, sizeof(ngx_kyok_key_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_kyok_keys_visit(cycle, ngx_kyok_keys_add, keys);
}


static ngx_int_t
ngx_kyok_keys_add(ngx_cycle_t *cycle, X509 *x509, EVP_PKEY *pkey, void *data)
{
    ngx_array_t *keys = data;

    char             uri[1024], custodian[NGX_KYOK_NAME];
    ngx_uint_t       i;
    ngx_kyok_key_t  *key;

    if (x509 == NULL || pkey == NULL || !ngx_kyok_key_is_ours(pkey)) {
        return NGX_OK;
    }

    uri[0] = '\0';
    custodian[0] = '\0';
    (void) EVP_PKEY_get_utf8_string_param(pkey, "pkcs11_uri", uri,
                                          sizeof(uri), NULL);
    (void) EVP_PKEY_get_utf8_string_param(pkey, "kyok_custodian", custodian,
                                          sizeof(custodian), NULL);
    ERR_clear_error();

    key = keys->elts;

    for (i = 0; i < keys->nelts; i++) {
        if (uri[0] && ngx_strcmp(key[i].uri.data, uri) == 0) {
            return NGX_OK;
        }
    }

    key = ngx_array_push(keys);
    if (key == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(key, sizeof(ngx_kyok_key_t));

    key->pkey = pkey;
    key->x509 = x509;
    key->custodian = ngx_crc32_short((u_char *) custodian,
                                     ngx_strlen(custodian));
    key->uri.len = ngx_strlen(uri);
    key->uri.data = ngx_pnalloc(cycle->pool, key->uri.len + 1);

    if (key->uri.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(key->uri.data, uri, key->uri.len + 1);

    return NGX_OK;
}


/* By what the provider says of itself: it may be active under any name. */

static ngx_uint_t
ngx_kyok_key_is_ours(EVP_PKEY *pkey)
{
    char                 *name;
    OSSL_PARAM            params[2];
    const OSSL_PROVIDER  *provider;

    provider = EVP_PKEY_get0_provider(pkey);
    if (provider == NULL) {
        return 0;
    }

    name = NULL;
    params[0] = OSSL_PARAM_construct_utf8_ptr(OSSL_PROV_PARAM_NAME, &name, 0);
    params[1] = OSSL_PARAM_construct_end();

    return OSSL_PROVIDER_get_params(provider, params) == 1
           && name && ngx_strncmp(name, "kyok:", 5) == 0;
}


/*
 * The configuration has been read.  A key that is absent, that does not fit
 * its certificate or breaks "require" fails the test, and the old
 * configuration stays.
 */

ngx_int_t
ngx_kyok_keys_check(ngx_cycle_t *cycle)
{
    ngx_uint_t       i;
    ngx_array_t      keys;
    ngx_kyok_key_t  *key;

    ngx_kyok_cycle = NULL;

    if (ngx_process == NGX_PROCESS_SIGNALLER) {
        return NGX_OK;
    }

    if (ngx_kyok_keys_collect(cycle, &keys) != NGX_OK
        || ngx_kyok_ctxs_check(cycle) != NGX_OK)
    {
        return NGX_ERROR;
    }

    key = keys.elts;

    for (i = 0; i < keys.nelts; i++) {
        if (ngx_kyok_key_check(cycle, &key[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* OpenSSL keeps a key of another type than its certificate's apart. */

static ngx_int_t
ngx_kyok_ctxs_check(ngx_cycle_t *cycle)
{
    char                 uri[1024];
    EVP_PKEY            *pkey;
    ngx_queue_t         *q;
    ngx_kyok_ssl_ctx_t  *entry;

    for (q = ngx_queue_head(&ngx_kyok_ctxs);
         q != ngx_queue_sentinel(&ngx_kyok_ctxs);
         q = ngx_queue_next(q))
    {
        entry = ngx_queue_data(q, ngx_kyok_ssl_ctx_t, queue);
        pkey = SSL_CTX_get0_privatekey(entry->ctx);

        if (entry->cycle != cycle
            || pkey == NULL
            || !ngx_kyok_key_is_ours(pkey)
            || SSL_CTX_check_private_key(entry->ctx) == 1)
        {
            continue;
        }

        uri[0] = '\0';
        (void) EVP_PKEY_get_utf8_string_param(pkey, "pkcs11_uri", uri,
                                              sizeof(uri), NULL);

        ngx_ssl_error(NGX_LOG_EMERG, cycle->log, 0,
                      "kyok: key \"%s\" does not fit its certificate", uri);

        return NGX_ERROR;
    }

    ERR_clear_error();

    return NGX_OK;
}


static ngx_int_t
ngx_kyok_key_check(ngx_cycle_t *cycle, ngx_kyok_key_t *key)
{
    int            rc;
    char          *name;
    EVP_PKEY_CTX  *ctx;

    ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
    rc = ctx ? EVP_PKEY_pairwise_check(ctx) : 0;
    EVP_PKEY_CTX_free(ctx);

    if (rc == 1) {
        ERR_clear_error();
        return NGX_OK;
    }

    name = X509_get_ex_data(key->x509, ngx_ssl_certificate_name_index);

    ngx_ssl_error(NGX_LOG_EMERG, cycle->log, 0,
                  "kyok: key \"%V\" of certificate \"%s\" cannot be used",
                  &key->uri, name ? name : "");

    return NGX_ERROR;
}
