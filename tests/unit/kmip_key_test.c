/* SPDX-License-Identifier: Apache-2.0 */
/* Keys at a KMIP server: each rule by which an answer is checked against what was asked, broken
 * once; the encodings of ECDSA; a key whose state changes while it is open. */
#include "common/key/key.h"
#include "tests/support/kmip_group.h"
#include "tests/support/literals.h"

#include <stdlib.h>
#include <string.h>

static struct kyok_context *context;

/* --- what is done with a key ----------------------------------------------------------------- */

#define PLAIN "thirty-two bytes to be encrypted"

static const uint8_t digest[32] = {1, 2, 3};

static enum kyok_status sign_as(struct kyok_key *key, enum kyok_sign_scheme scheme,
                                struct kyok_error *err)
{
    struct kyok_sign_request request = {.scheme = scheme,
                                        .hash = KYOK_HASH_SHA256,
                                        .mgf1_hash = KYOK_HASH_SHA256,
                                        .digest = kyok_bytes(digest, sizeof digest)};
    uint8_t signature[512];
    size_t size = sizeof signature;

    return kyok_key_sign(key, &request, signature, &size, err);
}

static enum kyok_status sign_ec(struct kyok_key *key, struct kyok_error *err)
{
    return sign_as(key, KYOK_SIGN_ECDSA, err);
}

static enum kyok_status sign_rsa(struct kyok_key *key, struct kyok_error *err)
{
    return sign_as(key, KYOK_SIGN_RSA_PKCS1, err);
}

static enum kyok_status encrypt_to(struct kyok_key *key, struct kyok_cipher_request *request,
                                   struct kyok_buffer *output, struct kyok_error *err)
{
    *request = (struct kyok_cipher_request){.scheme = KYOK_CIPHER_AES_GCM,
                                            .input = kyok_bytes_of_text(PLAIN)};
    return kyok_key_encrypt(key, request, output, err);
}

static enum kyok_status encrypt(struct kyok_key *key, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer output = {0};
    struct kyok_cipher_request request;

    return encrypt_to(key, &request, &output, err);
}

/* What is decrypted was encrypted well, by the same server and key. */
static enum kyok_status decrypt(struct kyok_key *key, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer output = {0};
    KYOK_AUTO_SECRET struct kyok_secret *plain = NULL;
    struct kyok_cipher_request request;

    KYOK_TRY(encrypt_to(key, &request, &output, err));
    request.input = kyok_buffer_bytes(&output);
    KYOK_TRY(kyok_key_decrypt(key, &request, &plain, err));
    assert_true(kyok_bytes_equal(kyok_secret_bytes(plain), kyok_bytes_of_text(PLAIN)));
    return KYOK_OK;
}

/* Nothing that an RSA key encrypted: what matters is how far it gets. */
static enum kyok_status decrypt_nothing(struct kyok_key *key, enum kyok_cipher_scheme scheme,
                                        struct kyok_error *err)
{
    static const uint8_t block[256];
    KYOK_AUTO_SECRET struct kyok_secret *plain = NULL;
    struct kyok_cipher_request request = {.scheme = scheme,
                                          .hash = KYOK_HASH_SHA256,
                                          .tls_version = 0x0303,
                                          .input = kyok_bytes(block, sizeof block)};

    return kyok_key_decrypt(key, &request, &plain, err);
}

static enum kyok_status decrypt_rsa(struct kyok_key *key, struct kyok_error *err)
{
    return decrypt_nothing(key, KYOK_CIPHER_RSA_OAEP, err);
}

static enum kyok_status decrypt_pkcs1(struct kyok_key *key, struct kyok_error *err)
{
    return decrypt_nothing(key, KYOK_CIPHER_RSA_PKCS1, err);
}

static enum kyok_status decrypt_tls(struct kyok_key *key, struct kyok_error *err)
{
    return decrypt_nothing(key, KYOK_CIPHER_RSA_PKCS1_TLS, err);
}

static enum kyok_status value(struct kyok_key *key, struct kyok_error *err)
{
    KYOK_AUTO_SECRET struct kyok_secret *bytes = NULL;

    KYOK_TRY(kyok_key_value(key, &bytes, err));
    assert_int_equal(kyok_secret_bytes(bytes).size, 32);
    return KYOK_OK;
}

/* --- rules ----------------------------------------------------------------------------------- */

typedef enum kyok_status use(struct kyok_key *key, struct kyok_error *err);

struct rule {
    const char *reference;
    const char *first, *then; /* what the server is told, before opening and before use */
    use *run;                 /* NULL: opening alone */
    enum kyok_status status;
    const char *what;
};

#define KEEP "kmip://keep/" /* the server uses the key */
#define OUT "kmip://out/"   /* release = yes: Get */

static const struct rule rules[] = {
    /* opening: Get Attributes, and Get of the public half (after one that tries require) */
    {KEEP "p256", NULL, NULL, NULL, KYOK_OK, ""},
    {KEEP "p256", "fault GetAttributes 1 identifier", NULL, NULL, KYOK_FAULT, "another object"},
    {KEEP "p256", "fault GetAttributes 1 object-type", NULL, NULL, KYOK_INVALID,
     "the object is a Certificate, not a private"},
    {KEEP "rsa", "fault GetAttributes 1 length", NULL, NULL, KYOK_FAULT,
     "the private half is rsa with 128 bits"},
    {KEEP "rsa", "fault GetAttributes 1 algorithm", NULL, NULL, KYOK_FAULT, "the public half rsa"},
    {KEEP "p256", "fault GetAttributes 1 state 1", NULL, NULL, KYOK_REFUSED, "state is PreActive"},
    {KEEP "p256", "fault GetAttributes 1 state 3", NULL, NULL, KYOK_REFUSED,
     "state is Deactivated"},
    {KEEP "p256", "fault Get 2 identifier", NULL, NULL, KYOK_FAULT, "another object"},
    {KEEP "p256", "fault Get 2 object-type", NULL, NULL, KYOK_FAULT, "is no public key"},
    /* Sign */
    {KEEP "p256", NULL, NULL, sign_ec, KYOK_OK, ""},
    {KEEP "rsa", NULL, NULL, sign_rsa, KYOK_OK, ""},
    {KEEP "p256", NULL, NULL, sign_rsa, KYOK_INVALID, "this needs one for rsa"},
    {KEEP "rsa", NULL, NULL, sign_ec, KYOK_INVALID, "this needs one for ec"},
    {KEEP "p256", NULL, "fault Sign 1 identifier", sign_ec, KYOK_FAULT, "another object"},
    {KEEP "p256", NULL, "fault Sign 1 changed", sign_ec, KYOK_FAULT, "not one of the key's"},
    {KEEP "rsa", NULL, "fault Sign 1 changed", sign_rsa, KYOK_FAULT, "not one of the key's"},
    {KEEP "p256", NULL, "fault Sign 1 material", sign_ec, KYOK_FAULT, "not one of the key's"},
    {KEEP "rsa", NULL, "fault Sign 1 material", sign_rsa, KYOK_FAULT, "not one of the key's"},
    {KEEP "p256", NULL, "fault Sign 1 empty", sign_ec, KYOK_FAULT, "sent no signature"},
    {KEEP "p256", "fault GetAttributes 1 usage 2", NULL, sign_ec, KYOK_REFUSED,
     "usage mask does not allow Sign"},
    {KEEP "p256", NULL, "state p256 deactivated", sign_ec, KYOK_REFUSED, "not active"},
    /* Encrypt */
    {KEEP "kek", NULL, NULL, encrypt, KYOK_OK, ""},
    {KEEP "kek", "fault GetAttributes 1 algorithm", NULL, encrypt, KYOK_INVALID,
     "this needs one for aes"},
    {KEEP "rsa", NULL, NULL, encrypt, KYOK_INVALID, "this needs one for aes"},
    {KEEP "kek", "fault GetAttributes 1 usage 8", NULL, encrypt, KYOK_REFUSED,
     "usage mask does not allow Encrypt"},
    {KEEP "kek", NULL, "fault Encrypt 1 identifier", encrypt, KYOK_FAULT, "another object"},
    {KEEP "kek", NULL, "fault Encrypt 1 material", encrypt, KYOK_FAULT, "31 bytes for 32"},
    {KEEP "kek", NULL, "fault Encrypt 1 tag-size", encrypt, KYOK_FAULT, "tag of 12 bytes"},
    {KEEP "kek", NULL, "fault Encrypt 1 other-iv", encrypt, KYOK_FAULT, "another IV"},
    {KEEP "kek", NULL, "state kek deactivated", encrypt, KYOK_REFUSED, "not active"},
    /* Decrypt */
    {KEEP "kek", NULL, NULL, decrypt, KYOK_OK, ""},
    {KEEP "kek", "fault GetAttributes 1 usage 4", NULL, decrypt, KYOK_REFUSED,
     "usage mask does not allow Decrypt"},
    {KEEP "kek", NULL, "fault Decrypt 1 identifier", decrypt, KYOK_FAULT, "another object"},
    {KEEP "kek", NULL, "fault Decrypt 1 material", decrypt, KYOK_FAULT, "31 bytes for 32"},
    {KEEP "rsa", NULL, "state rsa compromised", decrypt_rsa, KYOK_REFUSED, "not active"},
    {KEEP "rsa", "fault GetAttributes 1 usage 1", NULL, decrypt_rsa, KYOK_REFUSED,
     "usage mask does not allow Decrypt"},
    {KEEP "p256", NULL, NULL, decrypt_rsa, KYOK_INVALID, "this needs one for rsa"},
    /* a bad padding looks like any other result, however the server puts it */
    {KEEP "rsa", NULL, NULL, decrypt_rsa, KYOK_REFUSED, "CryptographicFailure"}, /* OAEP: said */
    {KEEP "rsa", NULL, NULL, decrypt_pkcs1, KYOK_OK, ""},
    {KEEP "rsa", NULL, NULL, decrypt_tls, KYOK_OK, ""},
    {KEEP "rsa", NULL, "fault Decrypt 1 error 0x100", decrypt_pkcs1, KYOK_OK, ""},
    {KEEP "rsa", NULL, "fault Decrypt 1 error 0x100", decrypt_tls, KYOK_OK, ""},
    {KEEP "rsa", NULL, "fault Decrypt 1 error 0x0c", decrypt_tls, KYOK_REFUSED, "PermissionDenied"},
    /* a released key: Get */
    {OUT "kek", NULL, NULL, decrypt, KYOK_OK, ""},
    {OUT "kek", NULL, "fault Get 1 identifier", encrypt, KYOK_FAULT, "another object"},
    {OUT "kek", NULL, "fault Get 1 object-type", encrypt, KYOK_FAULT,
     "type is SecretData, not SymmetricKey"},
    {OUT "kek", NULL, "fault Get 1 algorithm", encrypt, KYOK_FAULT, "algorithm is DES3, not AES"},
    {OUT "kek", NULL, "fault Get 1 length", encrypt, KYOK_FAULT, "length is 128 bits, not 256"},
    {OUT "kek", NULL, "fault Get 1 material", encrypt, KYOK_FAULT, "length is 248 bits, not 256"},
    {OUT "kek", NULL, "fault Get 1 empty", encrypt, KYOK_FAULT, "a key without bytes"},
    {OUT "kek", NULL, "fault Get 1 empty", value, KYOK_FAULT, "a key without bytes"},
    {OUT "kek", "fault GetAttributes 1 length", NULL, encrypt, KYOK_FAULT,
     "length is 256 bits, not 128"},
    {OUT "kek", "fault GetAttributes 1 usage 1", NULL, encrypt, KYOK_REFUSED,
     "usage mask does not allow Encrypt"},
    {OUT "kek", "fault GetAttributes 1 usage 0x10", NULL, encrypt, KYOK_OK, ""}, /* Wrap Key */
    {OUT "kek", "fault GetAttributes 1 usage 0x14", NULL, decrypt, KYOK_REFUSED,
     "usage mask does not allow Decrypt"},
    /* of unknown length: AES-256 or nothing */
    {OUT "kek", "fault GetAttributes 1 no-length", "fault Get 2 no-length", decrypt, KYOK_OK, ""},
    {OUT "small", NULL, NULL, decrypt, KYOK_OK, ""},
    {OUT "small", "fault GetAttributes 1 no-length", "fault Get 1 no-length", encrypt,
     KYOK_UNSUPPORTED, "tells no length of the key, and released 16 bytes instead of 32"},
    {OUT "small", "fault GetAttributes 1 no-length", NULL, encrypt, KYOK_UNSUPPORTED,
     "released 16 bytes instead of 32"},
    {OUT "kek", NULL, NULL, value, KYOK_OK, ""},
    {OUT "kek", NULL, "fault Get 1 identifier", value, KYOK_FAULT, "another object"},
    {KEEP "kek", NULL, NULL, value, KYOK_REFUSED, "may not leave its server"},
};

static enum kyok_status open_key(const char *text, struct kyok_key **key, struct kyok_error *err)
{
    struct kyok_reference *reference = NULL;

    KYOK_TRY(kyok_reference_parse(text, KYOK_FROM_CONFIGURATION, NULL, &reference, err));
    enum kyok_status status = kyok_key_open(context, reference, kyok_bytes(NULL, 0), key, err);
    kyok_reference_free(reference);
    return status;
}

static enum kyok_status run_rule(const struct rule *rule, struct kyok_error *err)
{
    struct kyok_key *key = NULL;

    if (rule->first != NULL)
        kmip_group_tell(&kmip_one, "%s", rule->first);
    KYOK_TRY(open_key(rule->reference, &key, err));
    if (rule->then != NULL)
        kmip_group_tell(&kmip_one, "%s", rule->then);
    enum kyok_status status = rule->run == NULL ? KYOK_OK : rule->run(key, err);
    kyok_key_free(key);
    return status;
}

static void mend_server(void)
{
    static const char *const keys[] = {"p256", "rsa", "kek", "small"};
    char command[64];

    kmip_group_tell(&kmip_one, "fault none");
    for (size_t i = 0; i < COUNT(keys); i++) {
        snprintf(command, sizeof command, "state %s active", keys[i]);
        kmip_group_tell(&kmip_one, "%s", command);
    }
}

static void every_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rules); i++) {
        struct kyok_error err = {0};
        char text[1200];
        enum kyok_status status = run_rule(&rules[i], &err);
        mend_server();
        kyok_error_text(&err, text, sizeof text);
        print_message("# %s, %s, %s: %s\n", rules[i].reference,
                      rules[i].first ? rules[i].first : "-", rules[i].then ? rules[i].then : "-",
                      status == KYOK_OK ? "ok" : text);
        assert_int_equal(status, rules[i].status);
        assert_non_null(strstr(status == KYOK_OK ? "" : text, rules[i].what));
    }
}

/* --- encodings of ECDSA ---------------------------------------------------------------------- */

/* With this nonce r begins with 30 3e: r || s looks like DER of just its length. */
#define LIKE_DER "82845"

static void encodings(void **state)
{
    struct kyok_error err;
    struct kyok_key *key = NULL;
    (void)state;
    assert_int_equal(open_key(KEEP "p256", &key, &err), KYOK_OK);
    assert_int_equal(sign_ec(key, &err), KYOK_OK); /* DER */
    kmip_group_tell(&kmip_one, "fault Sign 50 raw");
    for (int i = 0; i < 50; i++)
        assert_int_equal(sign_ec(key, &err), KYOK_OK);
    kmip_group_tell(&kmip_one, "nonce p256 " LIKE_DER);
    assert_int_equal(sign_ec(key, &err), KYOK_OK);
    kmip_group_tell(&kmip_one, "fault Sign 1 changed");
    assert_int_equal(sign_ec(key, &err), KYOK_FAULT);
    kmip_group_tell(&kmip_one, "nonce p256 0");
    kyok_key_free(key);
}

/* --- a state that changes while the key is open ---------------------------------------------- */

/* Many servers still answer Get for a revoked key: so kyok asks for the state of a key that it
 * takes out, again when what it knows is older than a second. */
static void revoked_while_open(void **state)
{
    static use *const uses[] = {encrypt, value};
    struct kyok_error err;
    (void)state;
    for (size_t i = 0; i < COUNT(uses); i++) {
        struct kyok_key *key = NULL;
        assert_int_equal(open_key(OUT "kek", &key, &err), KYOK_OK);
        assert_int_equal(uses[i](key, &err), KYOK_OK);
        kmip_group_tell(&kmip_one, "state kek deactivated");
        kmip_group_pause(1100);
        assert_int_equal(uses[i](key, &err), KYOK_REFUSED);
        assert_non_null(strstr(err.what, "state is Deactivated"));
        assert_int_equal(uses[i](key, &err),
                         KYOK_REFUSED); /* a refusal is not remembered as good */
        kmip_group_tell(&kmip_one, "state kek active");
        assert_int_equal(uses[i](key, &err), KYOK_OK);
        kmip_peer_tell(&kmip_one, "reset-stats");
        assert_int_equal(uses[i](key, &err), KYOK_OK);
        assert_in_range(kmip_peer_stat(&kmip_one, "GetAttributes"), 0, 1);
        kyok_key_free(key);
    }
}

/* --- set up ---------------------------------------------------------------------------------- */

static bool set_up(void)
{
    static const char *const keys[] = {"key p256 ec-p256", "key rsa rsa-2048", "key kek aes-256",
                                       "key small aes-128"};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    struct kyok_config *config = NULL;
    struct kyok_error err;

    for (size_t i = 0; i < COUNT(keys); i++)
        kmip_group_tell(&kmip_one, "%s", keys[i]);
    kmip_group_section(&text, "keep", "timeout = 60\nrelease = no");
    kmip_group_section(&text, "out", "timeout = 60\nrelease = yes");
    return kyok_config_parse(kyok_buffer_bytes(&text), "test.conf", &config, &err) == KYOK_OK &&
           kyok_context_new(config, &context, &err) == KYOK_OK;
}

static void tear_down(void)
{
    kyok_context_free(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kmip_group_test(every_rule),
        kmip_group_test(encodings),
        kmip_group_test(revoked_while_open),
    };
    return kmip_group_run(tests, COUNT(tests), set_up, tear_down);
}
