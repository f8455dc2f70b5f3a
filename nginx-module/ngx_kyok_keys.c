
/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The keys of a configuration: found in the SSL contexts that nginx makes of
 * it, checked before it is accepted, and tried by each worker.
 */


#include "ngx_kyok.h"

#include <openssl/core_names.h>
#include <openssl/provider.h>


/* Tried at a time: a custodian that has just come up is not to be flooded. */
#define NGX_KYOK_TESTS_AT_ONCE  4
/* A test that takes longer is reported. */
#define NGX_KYOK_TEST_PATIENCE  15000


typedef struct {
    ngx_queue_t      queue;
    SSL_CTX         *ctx;
    ngx_cycle_t     *cycle;
} ngx_kyok_ssl_ctx_t;


typedef struct {
    ngx_kyok_key_t  *key;
} ngx_kyok_test_t;


static void ngx_kyok_ctx_new(void *parent, void *ptr, CRYPTO_EX_DATA *ad,
    int index, long argl, void *argp);
static void ngx_kyok_ctx_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad,
    int index, long argl, void *argp);
static ngx_int_t ngx_kyok_keys_add(ngx_cycle_t *cycle, ngx_array_t *keys,
    X509 *x509, EVP_PKEY *pkey);
static ngx_uint_t ngx_kyok_key_is_ours(EVP_PKEY *pkey);
static ngx_int_t ngx_kyok_ctxs_check(ngx_cycle_t *cycle);
static ngx_int_t ngx_kyok_key_check(ngx_cycle_t *cycle, ngx_kyok_key_t *key);
static void ngx_kyok_keys_test_more(void);
static enum kyok_status ngx_kyok_key_test(void *body, struct kyok_error *err);
static enum kyok_status ngx_kyok_key_sign(ngx_kyok_key_t *key,
    struct kyok_error *err);
static void ngx_kyok_key_fail(struct kyok_error *err, ngx_kyok_key_t *key);
static void ngx_kyok_test_patience_handler(ngx_event_t *ev);


static const struct kyok_job_type  ngx_kyok_test_type = {
    "self-test",
    sizeof(ngx_kyok_test_t),
    ngx_kyok_key_test,
    NULL
};


static int                ngx_kyok_ctx_index = -1;
static ngx_queue_t        ngx_kyok_ctxs;
static ngx_cycle_t       *ngx_kyok_cycle;

static ngx_array_t        ngx_kyok_keys;
static ngx_uint_t         ngx_kyok_tests_begun;
static ngx_uint_t         ngx_kyok_tests_running;
static struct kyok_lane  *ngx_kyok_test_lane;
static int                ngx_kyok_test_notice;
static ngx_event_t        ngx_kyok_test_patience;
static ngx_connection_t   ngx_kyok_test_dummy;


/*
 * Every SSL context that is made while a configuration is read belongs to it,
 * whatever module makes it.
 */

ngx_int_t
ngx_kyok_keys_begin(ngx_cycle_t *cycle)
{
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

    ngx_kyok_cycle = cycle;

    return NGX_OK;
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


static ngx_int_t
ngx_kyok_keys_collect(ngx_cycle_t *cycle, X509 *x509, EVP_PKEY *pkey,
    void *data)
{
    return ngx_kyok_keys_add(cycle, data, x509, pkey);
}


static ngx_int_t
ngx_kyok_keys_add(ngx_cycle_t *cycle, ngx_array_t *keys, X509 *x509,
    EVP_PKEY *pkey)
{
    char             uri[1024];
    ngx_uint_t       i;
    ngx_kyok_key_t  *key;

    if (x509 == NULL || pkey == NULL || !ngx_kyok_key_is_ours(pkey)) {
        return NGX_OK;
    }

    uri[0] = '\0';
    (void) EVP_PKEY_get_utf8_string_param(pkey, "pkcs11_uri", uri,
                                          sizeof(uri), NULL);
    ERR_clear_error();

    key = keys->elts;

    for (i = 0; i < keys->nelts; i++) {
        if (EVP_PKEY_get0_provider(key[i].pkey) && uri[0]
            && ngx_strcmp(key[i].uri.data, uri) == 0)
        {
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

    if (ngx_array_init(&keys, cycle->pool, 8, sizeof(ngx_kyok_key_t))
        != NGX_OK
        || ngx_kyok_keys_visit(cycle, ngx_kyok_keys_collect, &keys) != NGX_OK
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


/* In each worker, in the background, on executor threads. */

void
ngx_kyok_keys_test(ngx_cycle_t *cycle)
{
    struct kyok_error  ignored;

    if (ngx_array_init(&ngx_kyok_keys, cycle->pool, 8, sizeof(ngx_kyok_key_t))
        != NGX_OK
        || ngx_kyok_keys_visit(cycle, ngx_kyok_keys_collect, &ngx_kyok_keys)
           != NGX_OK
        || ngx_kyok_keys.nelts == 0)
    {
        return;
    }

    ngx_kyok_test_notice = kyok_work_fd(&ignored);
    ngx_kyok_test_lane = kyok_lane_new("self-test");

    if (ngx_kyok_test_lane == NULL || ngx_kyok_test_notice == -1) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, 0,
                      "kyok: keys are not tested, no executor can be had");
        return;
    }

    ngx_kyok_test_dummy.fd = (ngx_socket_t) -1;
    ngx_kyok_test_patience.data = &ngx_kyok_test_dummy;
    ngx_kyok_test_patience.log = cycle->log;
    ngx_kyok_test_patience.handler = ngx_kyok_test_patience_handler;
    ngx_kyok_test_patience.cancelable = 1;

    ngx_add_timer(&ngx_kyok_test_patience, NGX_KYOK_TEST_PATIENCE);

    ngx_kyok_keys_test_more();
}


static void
ngx_kyok_keys_test_more(void)
{
    struct kyok_job    *job;
    ngx_kyok_key_t     *key;
    ngx_kyok_test_t    *test;
    struct kyok_error   err;

    key = ngx_kyok_keys.elts;

    while (ngx_kyok_tests_begun < ngx_kyok_keys.nelts
           && ngx_kyok_tests_running < NGX_KYOK_TESTS_AT_ONCE)
    {
        job = kyok_job_new(&ngx_kyok_test_type);
        if (job == NULL) {
            return;
        }

        test = kyok_job_body(job);
        test->key = &key[ngx_kyok_tests_begun];

        if (kyok_job_start(job, ngx_kyok_test_lane, &err) != KYOK_OK) {
            return;
        }

        ngx_kyok_tests_begun++;
        ngx_kyok_tests_running++;
    }
}


/* On an executor thread, where the operation itself runs directly. */

static enum kyok_status
ngx_kyok_key_test(void *body, struct kyok_error *err)
{
    ngx_kyok_test_t *test = body;

    uint64_t            one;
    ngx_kyok_key_t     *key;
    enum kyok_status    status;

    key = test->key;

    status = ngx_kyok_key_sign(key, &key->error);

    ngx_memory_barrier();

    key->state = (status == KYOK_OK) ? NGX_KYOK_KEY_GOOD : NGX_KYOK_KEY_BAD;

    one = 1;

    if (write(ngx_kyok_test_notice, &one, sizeof(uint64_t)) == -1) {
        return KYOK_SYSTEM;
    }

    return KYOK_OK;
}


static enum kyok_status
ngx_kyok_key_sign(ngx_kyok_key_t *key, struct kyok_error *err)
{
    int            rc;
    size_t         len;
    u_char         sig[1024];
    EVP_MD_CTX    *ctx;

    static u_char  text[] = "kyok: self-test of an nginx worker";

    ERR_clear_error();
    ngx_memzero(err, sizeof(struct kyok_error));

    len = sizeof(sig);
    ctx = EVP_MD_CTX_new();

    rc = ctx
         && EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, key->pkey, NULL)
            == 1
         && EVP_DigestSign(ctx, sig, &len, text, sizeof(text)) == 1;

    EVP_MD_CTX_free(ctx);

    if (!rc) {
        ngx_kyok_key_fail(err, key);
        return KYOK_REFUSED;
    }

    ctx = EVP_MD_CTX_new();

    rc = ctx
         && EVP_DigestVerifyInit_ex(ctx, NULL, NULL, NULL, NULL,
                                    X509_get0_pubkey(key->x509), NULL)
            == 1
         && EVP_DigestVerify(ctx, sig, len, text, sizeof(text)) == 1;

    EVP_MD_CTX_free(ctx);

    if (!rc) {
        kyok_fail(err, KYOK_FAULT, (char *) key->uri.data,
                  "its signature does not fit the certificate");
    }

    ERR_clear_error();

    return rc ? KYOK_OK : KYOK_FAULT;
}


static void
ngx_kyok_key_fail(struct kyok_error *err, ngx_kyok_key_t *key)
{
    int            flags;
    const char    *data;
    unsigned long  code;

    code = ERR_peek_last_error_all(NULL, NULL, NULL, &data, &flags);

    kyok_fail(err, KYOK_REFUSED, (char *) key->uri.data, "%s",
              (code && (flags & ERR_TXT_STRING)) ? data
                                                 : "the signature failed");
    ERR_clear_error();
}


/* On the main thread, after a notice. */

void
ngx_kyok_keys_tested(ngx_log_t *log)
{
    char             text[1200];
    ngx_uint_t       i, done;
    ngx_kyok_key_t  *key;

    key = ngx_kyok_keys.elts;

    for (i = 0, done = 0; i < ngx_kyok_tests_begun; i++) {

        if (key[i].state == NGX_KYOK_KEY_UNTRIED) {
            continue;
        }

        done++;

        if (key[i].told) {
            continue;
        }

        key[i].told = 1;

        if (key[i].state == NGX_KYOK_KEY_BAD) {
            ngx_log_error(NGX_LOG_EMERG, log, 0,
                          "kyok: self-test of a key failed: %s",
                          kyok_error_text(&key[i].error, text, sizeof(text)));
        }
    }

    ngx_kyok_tests_running = ngx_kyok_tests_begun - done;

    if (done == ngx_kyok_keys.nelts) {
        if (ngx_kyok_test_patience.timer_set) {
            ngx_del_timer(&ngx_kyok_test_patience);
        }

        return;
    }

    ngx_kyok_keys_test_more();
}


static void
ngx_kyok_test_patience_handler(ngx_event_t *ev)
{
    ngx_uint_t       i;
    ngx_kyok_key_t  *key;

    key = ngx_kyok_keys.elts;

    for (i = 0; i < ngx_kyok_keys.nelts; i++) {
        if (key[i].state == NGX_KYOK_KEY_UNTRIED) {
            ngx_log_error(NGX_LOG_EMERG, ev->log, 0,
                          "kyok: self-test of key \"%V\" has not ended yet",
                          &key[i].uri);
        }
    }
}


void
ngx_kyok_keys_count(ngx_kyok_key_counts_t *counts)
{
    ngx_uint_t       i;
    ngx_kyok_key_t  *key;

    ngx_memzero(counts, sizeof(ngx_kyok_key_counts_t));

    key = ngx_kyok_keys.elts;

    for (i = 0; i < ngx_kyok_keys.nelts; i++) {
        counts->state[key[i].state]++;
    }
}
