/* SPDX-License-Identifier: Apache-2.0 */
/* What keys of a SoftHSM token do, through the key layer. */
#include "common/base/library_context.h"
#include "tests/support/unit_token.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/child.h"
#include "tests/support/expect_ok.h"

static EVP_PKEY *public_half(struct kyok_key *key)
{
    const struct kyok_key_info *info = kyok_key_info(key);
    const uint8_t *at = info->public_key;
    EVP_PKEY *pkey;

    assert_non_null(at);
    pkey = d2i_PUBKEY_ex(NULL, &at, (long)info->public_key_size, kyok_library_context(), NULL);
    assert_non_null(pkey);
    return pkey;
}

static void verify(struct kyok_key *key, const char *digest, int padding, const uint8_t *signature,
                   size_t size, const char *message)
{
    EVP_PKEY *pkey = public_half(key);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx;

    assert_int_equal(
        EVP_DigestVerifyInit_ex(md, &pctx, digest, kyok_library_context(), NULL, pkey, NULL), 1);
    if (padding != 0)
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(pctx, padding), 1);
    assert_int_equal(
        EVP_DigestVerify(md, signature, size, (const uint8_t *)message, strlen(message)), 1);
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(pkey);
}

static const char message[] = "what is signed";

static void sign_and_verify(struct kyok_key *key, enum kyok_sign_scheme scheme, int padding)
{
    uint8_t digest[32], signature[600];
    size_t size = sizeof(signature), digest_size;
    bool eddsa = scheme == KYOK_SIGN_EDDSA;
    struct kyok_sign_request request = {.scheme = scheme,
                                        .hash = eddsa ? KYOK_HASH_NONE : KYOK_HASH_SHA256,
                                        .salt_size = 32,
                                        .data = kyok_bytes_of_text(message)};

    EVP_Q_digest(kyok_library_context(), "SHA256", NULL, message, strlen(message), digest,
                 &digest_size);
    request.digest = kyok_bytes(digest, eddsa ? 0 : digest_size);
    OK(kyok_key_sign(key, &request, signature, &size, &err));
    assert_true(size <= kyok_key_signature_size(key));
    verify(key, eddsa ? NULL : "SHA256", padding, signature, size, message);
}

static void signs_with_every_type(void **state)
{
    struct kyok_key *rsa = unit_token_generate("rsa", KYOK_KEY_RSA, 2048, 0);
    struct kyok_key *p256 = unit_token_generate("p256", KYOK_KEY_EC, 256, 0);
    struct kyok_key *p521 = unit_token_generate("p521", KYOK_KEY_EC, 521, 0);
    struct kyok_key *ed = unit_token_generate("ed", KYOK_KEY_ED25519, 256, 0);

    (void)state;
    sign_and_verify(rsa, KYOK_SIGN_RSA_PKCS1, RSA_PKCS1_PADDING);
    sign_and_verify(rsa, KYOK_SIGN_RSA_PSS, RSA_PKCS1_PSS_PADDING);
    sign_and_verify(p256, KYOK_SIGN_ECDSA, 0);
    sign_and_verify(p521, KYOK_SIGN_ECDSA, 0);
    sign_and_verify(ed, KYOK_SIGN_EDDSA, 0);
    assert_int_equal(kyok_key_info(rsa)->never_extractable, KYOK_YES);
    kyok_key_free(rsa);
    kyok_key_free(p256);
    kyok_key_free(p521);
    kyok_key_free(ed);
}

static size_t encrypt(struct kyok_key *key, int padding, const char *oaep, const uint8_t *plain,
                      size_t plain_size, uint8_t *out, size_t room)
{
    EVP_PKEY *pkey = public_half(key);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(kyok_library_context(), pkey, NULL);

    assert_int_equal(EVP_PKEY_encrypt_init(ctx), 1);
    assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, padding), 1);
    if (oaep != NULL)
        assert_int_equal(EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, oaep, NULL), 1);
    assert_int_equal(EVP_PKEY_encrypt(ctx, out, &room, plain, plain_size), 1);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    return room;
}

static void expect_plain(struct kyok_key *key, struct kyok_cipher_request *request,
                         const uint8_t *plain, size_t size)
{
    struct kyok_secret *output = NULL;

    OK(kyok_key_decrypt(key, request, &output, &err));
    assert_int_equal(kyok_secret_size(output), size);
    assert_memory_equal(kyok_secret_data(output), plain, size);
    kyok_secret_free(output);
}

static void decrypts_rsa_without_an_oracle(void **state)
{
    struct kyok_key *key = unit_token_generate("dec", KYOK_KEY_RSA, 2048, 0);
    uint8_t out[256], premaster[48] = {3, 3, 7}, again[256];
    struct kyok_cipher_request request = {.scheme = KYOK_CIPHER_RSA_PKCS1};
    struct kyok_secret *first = NULL, *second = NULL;

    (void)state;
    request.input = kyok_bytes(
        out, encrypt(key, RSA_PKCS1_PADDING, NULL, (uint8_t *)"secret", 6, out, sizeof(out)));
    expect_plain(key, &request, (uint8_t *)"secret", 6);

    /* A bad block gives a message all the same, always the same one, and not the plain block. */
    memcpy(again, out, sizeof(out));
    again[200] ^= 1;
    request.input = kyok_bytes(again, sizeof(again));
    OK(kyok_key_decrypt(key, &request, &first, &err));
    OK(kyok_key_decrypt(key, &request, &second, &err));
    assert_true(kyok_bytes_equal(kyok_secret_bytes(first), kyok_secret_bytes(second)));
    kyok_secret_free(first);
    kyok_secret_free(second);
    request.strict_padding = true;
    assert_int_equal(kyok_key_decrypt(key, &request, &first, &err), KYOK_TAMPERED);

    request =
        (struct kyok_cipher_request){.scheme = KYOK_CIPHER_RSA_PKCS1_TLS, .tls_version = 0x0303};
    request.input =
        kyok_bytes(out, encrypt(key, RSA_PKCS1_PADDING, NULL, premaster, 48, out, sizeof(out)));
    expect_plain(key, &request, premaster, 48);
    request.tls_version = 0x0302;
    OK(kyok_key_decrypt(key, &request, &first, &err));
    assert_int_equal(kyok_secret_size(first), 48);
    assert_memory_not_equal(kyok_secret_data(first), premaster, 48);
    kyok_secret_free(first);

    for (int i = 0; i < 2; i++) {
        const char *name = i == 0 ? "SHA1" : "SHA256";

        request = (struct kyok_cipher_request){.scheme = KYOK_CIPHER_RSA_OAEP,
                                               .hash = kyok_hash_by_name(name)};
        request.input = kyok_bytes(out, encrypt(key, RSA_PKCS1_OAEP_PADDING, name,
                                                (uint8_t *)"oaep", 4, out, sizeof(out)));
        expect_plain(key, &request, (uint8_t *)"oaep", 4);
        out[3] ^= 1;
        assert_int_not_equal(kyok_key_decrypt(key, &request, &first, &err), KYOK_OK);
    }
    kyok_key_free(key);
}

static void wraps_with_aes(void **state)
{
    struct kyok_key *key = unit_token_generate("root", KYOK_KEY_AES, 256, 0);
    static const enum kyok_cipher_scheme schemes[] = {KYOK_CIPHER_AES_GCM, KYOK_CIPHER_AES_KW,
                                                      KYOK_CIPHER_AES_KWP};
    uint8_t plain[32] = "0123456789abcdef0123456789abcde";

    (void)state;
    assert_int_equal(kyok_key_info(key)->type, KYOK_KEY_AES);
    assert_true(kyok_key_info(key)->has_check_value);
    for (size_t i = 0; i < 3; i++) {
        struct kyok_cipher_request request = {.scheme = schemes[i],
                                              .input = kyok_bytes(plain, sizeof(plain))};
        struct kyok_buffer output = {0};
        struct kyok_secret *none = NULL;

        OK(kyok_key_encrypt(key, &request, &output, &err));
        request.input = kyok_buffer_bytes(&output);
        expect_plain(key, &request, plain, sizeof(plain));
        output.data[5] ^= 1;
        assert_int_equal(kyok_key_decrypt(key, &request, &none, &err), KYOK_TAMPERED);
        kyok_buffer_free(&output);
    }
    kyok_key_free(key);
}

static void a_child_signs_too(void **state)
{
    struct kyok_reference *reference = unit_token_reference("pkcs11:token=unit;object=p256");
    struct kyok_key *key = NULL;
    pid_t child;

    (void)state;
    OK(kyok_key_open(unit_token_context, reference, kyok_bytes(NULL, 0), &key, &err));
    sign_and_verify(key, KYOK_SIGN_ECDSA, 0);
    child = fork();
    if (child == 0) {
        sign_and_verify(key, KYOK_SIGN_ECDSA, 0);
        _exit(0);
    }
    child_ended_well(child);
    sign_and_verify(key, KYOK_SIGN_ECDSA, 0);
    kyok_key_free(key);
    kyok_reference_free(reference);
}

static void isolated_calls_give_the_same(void **state)
{
    struct kyok_context *other = unit_token_context_new("isolate = yes\ntimeout = 5s\n");
    struct kyok_reference *reference = unit_token_reference("pkcs11:token=unit;object=p256");
    struct kyok_reference *all = unit_token_reference("pkcs11:token=unit");
    struct kyok_key *key;
    uint8_t random[32] = {0};
    int count = 0;

    (void)state;
    OK(kyok_key_open(other, reference, kyok_bytes(NULL, 0), &key, &err));
    sign_and_verify(key, KYOK_SIGN_ECDSA, 0);
    OK(kyok_key_check(key, &err));
    OK(kyok_key_list(other, all, true, unit_token_count, &count, &err));
    assert_true(count > 0);
    OK(kyok_random(other, "hsm", random, sizeof(random), &err));
    kyok_key_free(key);
    kyok_context_free(other);
    kyok_reference_free(reference);
    kyok_reference_free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_with_every_type),
        cmocka_unit_test(decrypts_rsa_without_an_oracle),
        cmocka_unit_test(wraps_with_aes),
        cmocka_unit_test(a_child_signs_too),
        cmocka_unit_test(isolated_calls_give_the_same),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("key over PKCS#11", tests, unit_token_set_up,
                                       unit_token_tear_down);
}
