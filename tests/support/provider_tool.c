/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider through OpenSSL's own interface, where the openssl command does not reach.
 *
 *   provider_tool api RSA EC ED        TAP: operations, parameters, stores, error queues; each
 *                                      argument is a PEM key reference of such a key
 *   provider_tool leave WAY KEY        signs, then leaves the process in one of several ways
 *   provider_tool contexts PATH KEY THREADS   a library context of its own per thread
 */
#include "tests/support/provider_tool.h"

#include <openssl/async.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <openssl/x509.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int number, failures;

static bool ok(bool good, const char *name)
{
    printf("%sok %d - %s\n", good ? "" : "not ", ++number, name);
    if (!good) {
        failures++;
        ERR_print_errors_fp(stderr);
    }
    fflush(stdout);
    ERR_clear_error();
    return good;
}

/* --- the error queue --- */

static void error_queue(EVP_PKEY *rsa, const char *rsa_path)
{
    uint8_t sig[512];
    size_t size = sizeof(sig);
    EVP_PKEY *again;

    ERR_clear_error();
    again = provider_load(NULL, rsa_path);
    ok(again != NULL && ERR_peek_error() == 0, "loading leaves the error queue empty");
    EVP_PKEY_free(again);
    ok(provider_sign(rsa, "SHA256", "x", 1, sig, &size) && ERR_peek_error() == 0,
       "signing leaves the error queue empty");
    ERR_raise_data(ERR_LIB_USER, 7, "someone else's");
    size = sizeof(sig);
    ok(provider_sign(rsa, "SHA256", "x", 1, sig, &size) && ERR_GET_REASON(ERR_peek_error()) == 7 &&
           ERR_peek_error() == ERR_peek_last_error(),
       "errors that were there stay, and no other");
    ERR_raise(ERR_LIB_USER, 8);
    ERR_set_mark();
    ERR_raise(ERR_LIB_USER, 9);
    size = sizeof(sig);
    ok(provider_sign(rsa, "SHA256", "x", 1, sig, &size) && ERR_pop_to_mark() == 1 &&
           ERR_GET_REASON(ERR_peek_last_error()) == 8,
       "and so do marks");
}

/* --- signatures --- */

static void raw_rsa(EVP_PKEY *rsa, EVP_PKEY *half)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(rsa, NULL), *back = EVP_PKEY_CTX_new(half, NULL);
    uint8_t block[256] = {0}, sig[256], got[256];
    size_t size = sizeof(sig), got_size = sizeof(got);

    memset(block + 1, 0x42, sizeof(block) - 1);
    ok(EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_NO_PADDING) == 1 &&
           EVP_PKEY_sign(ctx, sig, &size, block, sizeof(block)) == 1,
       "raw RSA signs");
    ok(EVP_PKEY_verify_recover_init(back) == 1 &&
           EVP_PKEY_CTX_set_rsa_padding(back, RSA_NO_PADDING) == 1 &&
           EVP_PKEY_verify_recover(back, got, &got_size, sig, size) == 1 &&
           memcmp(got, block, sizeof(block)) == 0,
       "and is the block's signature");
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_CTX_free(back);
}

static void in_pieces(EVP_PKEY *key, EVP_PKEY *half, const char *name)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new(), *copy = EVP_MD_CTX_new();
    uint8_t one[512], two[512];
    size_t one_size = 0, two_size = sizeof(two), small = 3;

    EVP_DigestSignInit_ex(ctx, NULL, "SHA384", NULL, NULL, key, NULL);
    EVP_DigestSignUpdate(ctx, "in ", 3);
    ok(EVP_MD_CTX_copy_ex(copy, ctx) == 1, name);
    EVP_DigestSignUpdate(ctx, "pieces", 6);
    EVP_DigestSignUpdate(copy, "two", 3);
    ok(EVP_DigestSignFinal(ctx, NULL, &one_size) == 1 && one_size <= sizeof(one),
       "... tells the size");
    ok(EVP_DigestSignFinal(ctx, one, &small) != 1, "... refuses a small buffer");
    ok(EVP_DigestSignFinal(ctx, one, &one_size) == 1 &&
           provider_verify(half, "SHA384", "in pieces", 9, one, one_size),
       "... signs");
    ok(EVP_DigestSignFinal(copy, two, &two_size) == 1 &&
           provider_verify(half, "SHA384", "in two", 6, two, two_size),
       "... and so does the copy");
    EVP_MD_CTX_free(ctx);
    EVP_MD_CTX_free(copy);
}

static void edwards(EVP_PKEY *ed, EVP_PKEY *half)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t sig[64];
    size_t size = sizeof(sig);

    ok(provider_sign(ed, NULL, "", 0, sig, &size) && provider_verify(half, NULL, "", 0, sig, size),
       "Ed25519 signs an empty message");
    size = sizeof(sig) - 1;
    ok(!provider_sign(ed, NULL, "x", 1, sig, &size), "Ed25519 refuses a small buffer");
    ok(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, ed, NULL) != 1,
       "Ed25519 refuses a digest");
    EVP_MD_CTX_free(ctx);
}

static int paused_sign(void *argument)
{
    struct {
        EVP_PKEY *key;
        uint8_t *sig;
        size_t *size;
    } *job = *(void **)argument;

    return provider_sign(job->key, "SHA256", "async", 5, job->sig, job->size);
}

/* How often a signature in an ASYNC_JOB pauses, with one descriptor to wait for; -1: it failed. An
 * executor thread may have done it before it would pause. */
static int pauses_of(EVP_PKEY *key, EVP_PKEY *half)
{
    uint8_t sig[512];
    size_t size = sizeof(sig), count;
    struct {
        EVP_PKEY *key;
        uint8_t *sig;
        size_t *size;
    } job = {key, sig, &size}, *argument = &job;
    ASYNC_WAIT_CTX *wait = ASYNC_WAIT_CTX_new();
    ASYNC_JOB *running = NULL;
    int result = 0, pauses = 0, status;

    while ((status = ASYNC_start_job(&running, wait, &result, paused_sign, &argument,
                                     sizeof(argument))) == ASYNC_PAUSE) {
        OSSL_ASYNC_FD fds[4];

        count = 4;
        pauses++;
        if (ASYNC_WAIT_CTX_get_all_fds(wait, NULL, &count) != 1 || count != 1 ||
            ASYNC_WAIT_CTX_get_all_fds(wait, fds, &count) != 1)
            break;
        poll(&(struct pollfd){.fd = fds[0], .events = POLLIN}, 1, 10000);
    }
    ASYNC_WAIT_CTX_free(wait);
    ASYNC_cleanup_thread();
    return status == ASYNC_FINISH && result == 1 &&
                   provider_verify(half, "SHA256", "async", 5, sig, size)
               ? pauses
               : -1;
}

static void paused(EVP_PKEY *key, EVP_PKEY *half)
{
    int pauses = 0, last = 0;

    for (int i = 0; i < 50 && last >= 0; i++)
        pauses += last = pauses_of(key, half);
    ok(last >= 0 && pauses > 0, "in an ASYNC_JOB signatures pause, and come");
}

/* --- keys --- */

static void key_facts(EVP_PKEY *rsa, EVP_PKEY *ec, EVP_PKEY *ec_half)
{
    char group[32] = "";
    unsigned char *point = NULL, *other = NULL;
    OSSL_PARAM *params = NULL;
    BIGNUM *secret = NULL;
    EVP_PKEY *copy = EVP_PKEY_dup(ec);
    uint8_t sig[80];
    size_t size = sizeof(sig), length;

    ok(EVP_PKEY_get_bits(rsa) == 2048 && EVP_PKEY_get_size(rsa) == 256 &&
           EVP_PKEY_get_security_bits(rsa) == 112,
       "sizes of RSA");
    ok(EVP_PKEY_get_group_name(ec, group, sizeof(group), NULL) == 1 &&
           strcmp(group, "prime256v1") == 0,
       "the curve's name");
    length = EVP_PKEY_get1_encoded_public_key(ec, &point);
    ok(length == 65 && EVP_PKEY_get1_encoded_public_key(ec_half, &other) == 65 &&
           memcmp(point, other, 65) == 0,
       "the public point");
    ok(EVP_PKEY_eq(ec, ec_half) == 1 && EVP_PKEY_eq(ec_half, ec) == 1, "equal to its public half");
    ok(EVP_PKEY_eq(ec, rsa) != 1, "and to no other key");
    ok(EVP_PKEY_get_bn_param(rsa, OSSL_PKEY_PARAM_RSA_D, &secret) != 1 && secret == NULL,
       "no private number is handed out");
    ok(EVP_PKEY_todata(rsa, EVP_PKEY_KEYPAIR, &params) != 1, "nor exported");
    ok(copy != NULL && EVP_PKEY_eq(copy, ec) == 1 &&
           provider_sign(copy, "SHA256", "x", 1, sig, &size) &&
           provider_verify(ec_half, "SHA256", "x", 1, sig, size),
       "a duplicate signs");
    EVP_PKEY_free(copy);
    OPENSSL_free(point);
    OPENSSL_free(other);
    OSSL_PARAM_free(params);
}

/* CMS uses this KDF; the command line does not reach it. */
static bool agree(EVP_PKEY *own, EVP_PKEY *peer, uint8_t *out, size_t size)
{
    char kdf[] = OSSL_KDF_NAME_X963KDF, digest[] = "SHA256";
    uint8_t info[] = "shared info";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_EXCHANGE_PARAM_KDF_TYPE, kdf, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_EXCHANGE_PARAM_KDF_DIGEST, digest, 0),
        OSSL_PARAM_construct_size_t(OSSL_EXCHANGE_PARAM_KDF_OUTLEN, &size),
        OSSL_PARAM_construct_octet_string(OSSL_EXCHANGE_PARAM_KDF_UKM, info, sizeof(info)),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(own, NULL);
    size_t length = size;
    bool good = EVP_PKEY_derive_init_ex(ctx, params) == 1 &&
                EVP_PKEY_derive_set_peer(ctx, peer) == 1 &&
                EVP_PKEY_derive(ctx, out, &length) == 1 && length == size;

    EVP_PKEY_CTX_free(ctx);
    return good;
}

static void agreement(EVP_PKEY *ec, EVP_PKEY *half)
{
    EVP_PKEY *peer = EVP_PKEY_Q_keygen(NULL, "provider=default", "EC", "P-256");
    uint8_t one[100], two[100];

    ok(agree(ec, peer, one, sizeof(one)) && agree(peer, half, two, sizeof(two)) &&
           memcmp(one, two, sizeof(one)) == 0,
       "ECDH with X9.63's KDF agrees with software");
    EVP_PKEY_free(peer);
}

/* --- references out of memory --- */

static bool loads_from_memory(const char *pem)
{
    BIO *in = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);

    BIO_free(in);
    EVP_PKEY_free(key);
    return key != NULL;
}

static char *pem_of(const char *uri)
{
    static char text[2000];
    uint8_t der[1200];
    char base64[1700];
    size_t first = strlen("PKCS#11 Provider URI v1.0"), length = strlen(uri), at = 0;

    der[at++] = 0x30;
    der[at++] = 0x82;
    der[at++] = (uint8_t)((4 + first + 2 + length) >> 8);
    der[at++] = (uint8_t)(2 + first + 4 + length);
    der[at++] = 0x1a;
    der[at++] = (uint8_t)first;
    OPENSSL_strlcpy((char *)der + at, "PKCS#11 Provider URI v1.0", sizeof(der) - at);
    at += first;
    der[at++] = 0x0c;
    der[at++] = 0x82;
    der[at++] = (uint8_t)(length >> 8);
    der[at++] = (uint8_t)length;
    OPENSSL_strlcpy((char *)der + at, uri, sizeof(der) - at);
    EVP_EncodeBlock((unsigned char *)base64, der, (int)(at + length));
    snprintf(text, sizeof(text), "-----BEGIN PKCS#11 PROVIDER URI-----\n");
    for (size_t i = 0; i < strlen(base64); i += 64)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%.64s\n", base64 + i);
    strncat(text, "-----END PKCS#11 PROVIDER URI-----\n", sizeof(text) - strlen(text) - 1);
    return text;
}

static void out_of_memory_files(const char *path)
{
    char text[4000] = "";
    FILE *in = fopen(path, "r");

    if (in != NULL) {
        text[fread(text, 1, sizeof(text) - 1, in)] = '\0';
        fclose(in);
    }
    ok(loads_from_memory(text), "a reference in memory selects a key");
    ok(!loads_from_memory(pem_of("pkcs11:token=test;object=ec?module-path=/lib/evil.so")) &&
           strstr(ERR_reason_error_string(ERR_peek_error()), "invalid") != NULL,
       "but names no module");
    ok(!loads_from_memory(pem_of("pkcs11:token=test;object=ec?pin-source=file:/etc/passwd")),
       "nor a PIN source");
    ok(!loads_from_memory(pem_of("pkcs11:token=test;object=ec?pin-value=1234")), "nor a PIN");
}

/* --- the store --- */

static int found(const char *uri, int expect, const char *alias)
{
    OSSL_STORE_CTX *store = OSSL_STORE_open(uri, NULL, NULL, NULL, NULL);
    OSSL_STORE_SEARCH *search = alias == NULL ? NULL : OSSL_STORE_SEARCH_by_alias(alias);
    int count = 0;

    if (store == NULL)
        return -1;
    if (expect != 0)
        OSSL_STORE_expect(store, expect);
    if (search != NULL && OSSL_STORE_find(store, search) != 1)
        count = -100;
    while (!OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);

        count += info != NULL && (expect == 0 || OSSL_STORE_INFO_get_type(info) == expect);
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    OSSL_STORE_SEARCH_free(search);
    return count;
}

static void stores(void)
{
    ok(found("pkcs11:token=test", OSSL_STORE_INFO_PKEY, NULL) == 3, "three private keys");
    ok(found("pkcs11:token=test", OSSL_STORE_INFO_PUBKEY, NULL) == 3, "three public keys");
    ok(found("pkcs11:token=test", OSSL_STORE_INFO_CERT, NULL) == 0, "no certificate");
    ok(found("pkcs11:token=test", OSSL_STORE_INFO_PKEY, "ec") == 1, "one by its alias");
    ok(found("pkcs11:token=test", OSSL_STORE_INFO_PKEY, "none") == 0, "none by another");
    ok(found("pkcs11:token=test;object=ec", OSSL_STORE_INFO_PKEY, NULL) == 1, "one by its URI");
    ok(found("pkcs11:token=test;object=none", OSSL_STORE_INFO_PKEY, NULL) == 0,
       "an absent one ends the store");
    ok(found("pkcs11:tokn=test", 0, NULL) == -1, "a wrong attribute does not open it");
}

static int api(char **paths)
{
    EVP_PKEY *rsa = provider_load(NULL, paths[0]), *ec = provider_load(NULL, paths[1]),
             *ed = provider_load(NULL, paths[2]);
    EVP_PKEY *rsa_half, *ec_half, *ed_half;

    if (!ok(rsa != NULL && ec != NULL && ed != NULL, "the keys are loaded"))
        return 1;
    rsa_half = provider_public_half(rsa);
    ec_half = provider_public_half(ec);
    ed_half = provider_public_half(ed);
    error_queue(rsa, paths[0]);
    raw_rsa(rsa, rsa_half);
    in_pieces(rsa, rsa_half, "RSA: a context in the middle of a message is copied");
    in_pieces(ec, ec_half, "ECDSA: a context in the middle of a message is copied");
    edwards(ed, ed_half);
    paused(ec, ec_half);
    paused(rsa, rsa_half);
    key_facts(rsa, ec, ec_half);
    agreement(ec, ec_half);
    out_of_memory_files(paths[1]);
    stores();
    printf("1..%d\n", number);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
    EVP_PKEY_free(ed);
    EVP_PKEY_free(rsa_half);
    EVP_PKEY_free(ec_half);
    EVP_PKEY_free(ed_half);
    return failures != 0;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "api") == 0)
        return api(argv + 2);
    if (argc == 4 && strcmp(argv[1], "leave") == 0)
        return provider_leave(argv[2], argv[3]);
    if (argc == 5 && strcmp(argv[1], "contexts") == 0)
        return provider_contexts(argv[2], argv[3], atoi(argv[4]));
    fprintf(stderr, "usage: provider_tool api RSA EC ED | leave WAY KEY | contexts PATH KEY N\n");
    return 2;
}
