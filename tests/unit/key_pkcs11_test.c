/* SPDX-License-Identifier: Apache-2.0 */
/* The key layer over a SoftHSM token of its own. */
#include "common/base/library_context.h"
#include "common/key/key.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/child.h"
#include "tests/support/expect_ok.h"

#define MODULE "/usr/lib/softhsm/libsofthsm2.so"
#define PIN "73921846"

static char directory[] = "/tmp/kyok-key-XXXXXX";
static struct kyok_context *context;

static void write_file(const char *name, const char *content)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    file = fopen(path, "w");
    fputs(content, file);
    fclose(file);
    chmod(path, 0600);
}

static struct kyok_context *make_context(const char *more)
{
    struct kyok_config *config;
    struct kyok_context *made;
    char conf[600];

    snprintf(conf, sizeof(conf),
             "[token hsm]\nmodule = %s\nuri = pkcs11:token=unit\npin-source = file:%s/pin\n%s",
             MODULE, directory, more);
    OK(kyok_config_parse(kyok_bytes_of_text(conf), "test.conf", &config, &err));
    OK(kyok_context_new(config, &made, &err));
    return made;
}

static int setup(void **state)
{
    char command[512], conf[128];

    (void)state;
    if (access(MODULE, R_OK) != 0 || mkdtemp(directory) == NULL)
        return -1;
    snprintf(command, sizeof(command), "directories.tokendir = %s/tokens\nlog.level = ERROR\n",
             directory);
    write_file("softhsm2.conf", command);
    write_file("pin", PIN "\n");
    snprintf(conf, sizeof(conf), "%s/softhsm2.conf", directory);
    setenv("SOFTHSM2_CONF", conf, 1);
    snprintf(command, sizeof(command),
             "mkdir %s/tokens && softhsm2-util --init-token --free --label unit --pin " PIN
             " --so-pin " PIN " >/dev/null",
             directory);
    if (system(command) != 0)
        return -1;
    context = make_context("require = never-extractable\n");
    return 0;
}

static int teardown(void **state)
{
    char command[128];

    (void)state;
    kyok_context_free(context);
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    return system(command);
}

static struct kyok_reference *parse(const char *reference)
{
    struct kyok_reference *parsed;

    OK(kyok_reference_parse(reference, KYOK_FROM_CONFIGURATION, NULL, &parsed, &err));
    return parsed;
}

static struct kyok_key *generate(const char *name, enum kyok_key_type type, unsigned bits,
                                 unsigned uses)
{
    struct kyok_generate_request request = {.type = type, .bits = bits, .uses = uses};
    struct kyok_reference *reference;
    struct kyok_key *key;
    char uri[128];

    snprintf(uri, sizeof(uri), "pkcs11:token=unit;object=%s", name);
    reference = parse(uri);
    OK(kyok_key_generate(context, reference, &request, &key, &err));
    kyok_reference_free(reference);
    return key;
}

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
    struct kyok_key *rsa = generate("rsa", KYOK_KEY_RSA, 2048, 0);
    struct kyok_key *p256 = generate("p256", KYOK_KEY_EC, 256, 0);
    struct kyok_key *p521 = generate("p521", KYOK_KEY_EC, 521, 0);
    struct kyok_key *ed = generate("ed", KYOK_KEY_ED25519, 256, 0);

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
    struct kyok_key *key = generate("dec", KYOK_KEY_RSA, 2048, 0);
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
    struct kyok_key *key = generate("root", KYOK_KEY_AES, 256, 0);
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

static void finds_reports_and_refuses(void **state)
{
    struct kyok_reference *missing = parse("pkcs11:token=unit;object=none");
    struct kyok_reference *wrong = parse("pkcs11:object=p256");
    struct kyok_key *key = NULL, *rsa = NULL;

    (void)state;
    assert_int_equal(kyok_key_open(context, missing, kyok_bytes(NULL, 0), &key, &err),
                     KYOK_NOT_FOUND);
    OK(kyok_key_open(context, wrong, kyok_bytes(NULL, 0), &key, &err));
    rsa = NULL;
    /* A public half that is another key's is believed until first use, and refused then. */
    {
        struct kyok_reference *other = parse("pkcs11:token=unit;object=p521");
        struct kyok_bytes half =
            kyok_bytes(kyok_key_info(key)->public_key, kyok_key_info(key)->public_key_size);

        OK(kyok_key_open(context, other, half, &rsa, &err));
        assert_int_equal(kyok_key_check(rsa, &err), KYOK_REFUSED);
        assert_non_null(strstr(text(), "public key"));
        kyok_reference_free(other);
    }
    OK(kyok_key_check(key, &err));
    kyok_key_free(key);
    kyok_key_free(rsa);
    kyok_reference_free(missing);
    kyok_reference_free(wrong);
}

static void a_child_signs_too(void **state)
{
    struct kyok_reference *reference = parse("pkcs11:token=unit;object=p256");
    struct kyok_key *key = NULL;
    pid_t child;

    (void)state;
    OK(kyok_key_open(context, reference, kyok_bytes(NULL, 0), &key, &err));
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

static bool count_one(void *caller, const struct kyok_key_info *info)
{
    assert_non_null(info->reference);
    ++*(int *)caller;
    return true;
}

static struct kyok_key *open_one(const char *uri)
{
    struct kyok_reference *reference = parse(uri);
    struct kyok_key *key;

    OK(kyok_key_open(context, reference, kyok_bytes(NULL, 0), &key, &err));
    kyok_reference_free(reference);
    return key;
}

static const char *const kept_uris[] = {"pkcs11:token=unit;object=kept0",
                                        "pkcs11:token=unit;object=kept1",
                                        "pkcs11:token=unit;object=kept2"};

/* Is a key that was just opened the one that is kept? It is let go again. */
static bool is_kept(unsigned number, const struct kyok_key *wanted)
{
    struct kyok_key *key = open_one(kept_uris[number]);
    bool same = key == wanted;

    kyok_key_free(key);
    return same;
}

static void keeps_keys_by_reference(void **state)
{
    static const char *const names[] = {"kept0", "kept1", "kept2"};
    struct kyok_key *keys[3];
    pid_t child;

    (void)state;
    for (unsigned i = 0; i < 3; i++)
        kyok_key_free(generate(names[i], KYOK_KEY_EC, 256, KYOK_USE_SIGN));
    keys[0] = open_one(kept_uris[0]);
    assert_false(is_kept(0, keys[0])); /* off at first */
    kyok_key_free(keys[0]);
    kyok_keys_keep(2, 60);
    for (unsigned i = 0; i < 2; i++)
        keys[i] = open_one(kept_uris[i]);
    assert_true(is_kept(1, keys[1]));
    assert_true(is_kept(0, keys[0]));
    keys[2] = open_one(kept_uris[2]); /* there is room for two: 1 was used before 0 */
    assert_true(is_kept(0, keys[0]));
    assert_true(is_kept(2, keys[2]));
    assert_false(is_kept(1, keys[1]));
    child = fork(); /* a child begins without */
    if (child == 0)
        _exit(is_kept(2, keys[2]) ? 1 : 0);
    child_ended_well(child);
    kyok_keys_forget();
    assert_false(is_kept(2, keys[2]));
    kyok_keys_keep(2, 0); /* all have expired at once */
    kyok_key_free(keys[2]);
    keys[2] = open_one(kept_uris[2]);
    assert_false(is_kept(2, keys[2]));
    kyok_keys_keep(0, 0);
    for (unsigned i = 0; i < 3; i++)
        kyok_key_free(keys[i]);
}

static void lists_objects(void **state)
{
    struct kyok_reference *all = parse("pkcs11:token=unit");
    struct kyok_reference *private_only = parse("pkcs11:token=unit;type=private");
    int count = 0, privates = 0;

    (void)state;
    OK(kyok_key_list(context, all, true, count_one, &count, &err));
    OK(kyok_key_list(context, private_only, true, count_one, &privates, &err));
    assert_int_equal(count, privates * 2 + 1);
    kyok_reference_free(all);
    kyok_reference_free(private_only);
}

static void a_wrong_pin_is_tried_once(void **state)
{
    struct kyok_context *other;
    struct kyok_reference *reference = parse("pkcs11:token=unit;object=p256");
    struct kyok_key *key;
    int status;
    pid_t child;

    (void)state;
    child = fork(); /* a process of its own: this one is logged in */
    if (child == 0) {
        write_file("pin", "00000000");
        other = make_context("");
        assert_int_equal(kyok_key_open(other, reference, kyok_bytes(NULL, 0), &key, &err),
                         KYOK_PIN);
        assert_non_null(strstr(text(), "the PIN came from file:"));
        assert_int_equal(kyok_key_open(other, reference, kyok_bytes(NULL, 0), &key, &err),
                         KYOK_PIN);
        assert_non_null(strstr(text(), "not tried again"));
        write_file("pin", PIN); /* the changed source lets it in: now the key alone is missing */
        assert_int_equal(kyok_key_open(other, reference, kyok_bytes(NULL, 0), &key, &err),
                         KYOK_NOT_FOUND);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    write_file("pin", PIN);
    assert_int_equal(status, 0);
    kyok_reference_free(reference);
}

/* SoftHSM itself would not see it before the next C_Initialize. */
static void a_token_that_comes_late_is_seen(void **state)
{
    struct kyok_reference *reference = parse("pkcs11:token=unit;object=none");
    char tokens[64], away[64];
    pid_t child;

    (void)state;
    snprintf(tokens, sizeof(tokens), "%s/tokens", directory);
    snprintf(away, sizeof(away), "%s/away", directory);
    child = fork(); /* where the module is not initialised yet */
    if (child == 0) {
        struct kyok_context *other = make_context("");
        struct kyok_deadline deadline = kyok_deadline_in_ms(15000);
        struct kyok_key *key;

        if (rename(tokens, away) != 0 || mkdir(tokens, 0700) != 0)
            _exit(1);
        if (kyok_key_open(other, reference, kyok_bytes(NULL, 0), &key, &err) != KYOK_UNREACHABLE)
            _exit(2);
        if (rmdir(tokens) != 0 || rename(away, tokens) != 0)
            _exit(3);
        while (kyok_key_open(other, reference, kyok_bytes(NULL, 0), &key, &err) ==
               KYOK_UNREACHABLE) {
            if (kyok_deadline_passed(deadline))
                _exit(4);
            usleep(100000);
        }
        _exit(err.status == KYOK_NOT_FOUND ? 0 : 5);
    }
    child_ended_well(child);
    kyok_reference_free(reference);
}

static void isolated_calls_give_the_same(void **state)
{
    struct kyok_context *other = make_context("isolate = yes\ntimeout = 5s\n");
    struct kyok_reference *reference = parse("pkcs11:token=unit;object=p256");
    struct kyok_reference *all = parse("pkcs11:token=unit");
    struct kyok_key *key;
    uint8_t random[32] = {0};
    int count = 0;

    (void)state;
    OK(kyok_key_open(other, reference, kyok_bytes(NULL, 0), &key, &err));
    sign_and_verify(key, KYOK_SIGN_ECDSA, 0);
    OK(kyok_key_check(key, &err));
    OK(kyok_key_list(other, all, true, count_one, &count, &err));
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
        cmocka_unit_test(a_wrong_pin_is_tried_once),
        cmocka_unit_test(a_token_that_comes_late_is_seen),
        cmocka_unit_test(signs_with_every_type),
        cmocka_unit_test(decrypts_rsa_without_an_oracle),
        cmocka_unit_test(wraps_with_aes),
        cmocka_unit_test(finds_reports_and_refuses),
        cmocka_unit_test(a_child_signs_too),
        cmocka_unit_test(keeps_keys_by_reference),
        cmocka_unit_test(lists_objects),
        cmocka_unit_test(isolated_calls_give_the_same),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("key over PKCS#11", tests, setup, teardown);
}
