/* SPDX-License-Identifier: Apache-2.0 */
/* Envelopes over keys in memory: one encoding only, hostile headers and JSON, RFC 7516. */
#include "common/envelope/base64url.h"
#include "tests/support/memory_envelope.h"

/* --- encodings ------------------------------------------------------------------------------- */

/* Replaces the first occurrence of from. */
static struct kyok_buffer edited(const struct kyok_buffer *json, const char *from, const char *to)
{
    struct kyok_buffer out = {0};
    const uint8_t *at = memmem(json->data, json->size, from, strlen(from));

    assert_non_null(at);
    kyok_buffer_append(&out, json->data, (size_t)(at - json->data));
    kyok_buffer_append_text(&out, to);
    at += strlen(from);
    kyok_buffer_append(&out, at, (size_t)(json->data + json->size - at));
    return out;
}

static void other_encodings_are_refused(void **state)
{
    static const struct {
        const char *from, *to, *check;
    } cases[] = {
        {"{\"protected\"", " {\"protected\"", "canonical"},
        {"\"recipients\":[", "\"recipients\": [", "canonical"},
        {"\"header\"", "\"h\\u0065ader\"", "canonical"},
        {"\"tag\":\"", "\"x\":1,\"tag\":\"", "canonical"},
        {"{\"protected\"", "{\"unprotected\":{},\"protected\"", "canonical"},
        {"{\"protected\"", "{\"tag\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"protected\"", "a member twice"},
        {"\"iv\":\"", "\"iv\":\"=", "A256GCMKW recipient without"},
        {"pkcs11:object=a", "pkcs11:object=\\u0061", "canonical"},
        {"A256GCMKW", "A128GCMKW", "\"alg\" is none of"},
    };
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal(A);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        KYOK_CLEANUP(kyok_buffer_free)
        struct kyok_buffer other = edited(&json, cases[i].from, cases[i].to);

        assert_refused(kyok_buffer_bytes(&other), KYOK_INVALID, cases[i].check);
    }
    kyok_buffer_append_text(&json, "\n");
    assert_refused(kyok_buffer_bytes(&json), KYOK_INVALID, "canonical");
}

/* Seals with a protected header of the test's own making: whoever holds a key could. */
static struct kyok_buffer with_header(const char *header)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal(A);
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    KYOK_AUTO_SECRET struct kyok_secret *cek = NULL;
    struct kyok_buffer again = {0};
    struct kyok_jwe *jwe;
    struct kyok_error err;

    assert_int_equal(kyok_jwe_parse(kyok_buffer_bytes(&json), false, &jwe, &err), KYOK_OK);
    assert_int_equal(holder.type->unwrap(&keys, &jwe->recipients.list[0], NULL, &cek, &err),
                     KYOK_OK);
    assert_true(kyok_base64url_append(&text, kyok_bytes_of_text(header)));
    free(jwe->protected_text);
    jwe->protected_text = strndup((char *)text.data, text.size);
    assert_int_equal(
        kyok_gcm_seal(kyok_secret_bytes(cek), jwe->iv, kyok_bytes_of_text(jwe->protected_text),
                      kyok_bytes_of_text(secret_text), jwe->ciphertext, jwe->tag, &err),
        KYOK_OK);
    assert_int_equal(kyok_jwe_write(jwe, &again, &err), KYOK_OK);
    kyok_jwe_free(jwe);
    return again;
}

#define NAMES "\"recipients\":[{\"alg\":\"A256GCMKW\",\"kid\":\"" A "\"}]"
#define OWN "\"use\":\"disk\",\"owner\":\"\",\"generation\":7,"

static void other_headers_are_refused(void **state)
{
    static const struct {
        const char *header, *check;
    } cases[] = {
        {"{\"enc\":\"A256GCM\"}", "no \"kyok\""},
        {"{\"enc\":\"A128GCM\",\"kyok\":{}}", "\"enc\" is not A256GCM"},
        {"{\"enc\":\"A256GCM\",\"crit\":[\"x\"],\"kyok\":{}}", "\"crit\""},
        {"{\"enc\":\"A256GCM\",\"zip\":\"DEF\",\"kyok\":{}}", "\"zip\""},
        {"{\"enc\":\"A256GCM\",\"enc\":\"A256GCM\"}", "a member twice"},
        {"[1]", "not a JSON object"},
        {"{\"enc\":\"A256GCM\",\"kyok\":{\"v\":2," OWN NAMES "}}", "version 1"},
        {"{\"enc\":\"A256GCM\",\"kyok\":{\"v\":1.0," OWN NAMES "}}", "version 1"},
        {"{\"enc\":\"A256GCM\",\"kyok\":{\"v\":1,\"use\":\"disk\",\"owner\":\"\","
         "\"generation\":7.0," NAMES "}}",
         "\"generation\" is not a whole number"},
        {"{\"enc\":\"A256GCM\",\"kyok\":{\"v\":1,\"use\":\"disk\",\"owner\":\"\","
         "\"generation\":-1," NAMES "}}",
         "\"generation\" is not a whole number"},
        {"{\"enc\":\"A256GCM\",\"kyok\":{\"v\":1,\"use\":\"disk\",\"owner\":\"\","
         "\"generation\":9223372036854775807," NAMES "}}",
         "missing or not allowed"},
        {"{\"enc\":\"A256GCM\",\"kyok\":{\"v\":1,\"use\":\"disk\",\"owner\":\"\","
         "\"generation\":99999999999999999999," NAMES "}}",
         "not JSON"},
        {"{\"enc\":\"A256GCM\",\"kyok\":{\"v\":1,\"use\":\"disk\",\"generation\":7," NAMES "}}",
         "missing or not allowed"},
        {"{\"enc\":\"A256GCM\",\"kyok\":{\"v\":1," OWN "\"content\":\"x\"," NAMES "}}",
         "unknown \"content\""},
        {"{\"enc\":\"A256GCM\",\"kyok\":{\"v\":1," OWN "\"recipients\":[]}}", "\"recipients\""},
        {"{\"enc\":\"A256GCM\",\"kyok\":{\"v\":1," OWN "\"recipients\":[{\"alg\":\"dir\"}]}}",
         "without \"alg\" and \"kid\""},
        {"{\"enc\":\"A256GCM\",\"kyok\":{\"v\":1," OWN NAMES "}}", "no \"wrapped\" digest"},
        {"{\"cty\":\"jose+json\",\"enc\":\"A256GCM\",\"kyok\":{\"v\":1," OWN NAMES "}}",
         "do not fit each other"},
        {"{\"enc\":\"A256GCM\",\"kyok\":{\"v\":1," OWN NAMES ",\"inner\":[[{\"alg\":\"A256KW\","
         "\"kid\":\"x\"}]]}}",
         "do not fit each other"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = with_header(cases[i].header);

        assert_refused(kyok_buffer_bytes(&json), KYOK_INVALID, cases[i].check);
    }
}

static void hostile_json_is_bounded(void **state)
{
    static const char *const texts[] = {
        "",
        "null",
        "\"protected\"",
        "{\"protected\":\"\xff\"}",
        "{\"protected\":\"\\u0000\"}",
        "{\"protected\":\"\\ud800\"}",
        "{\"protected\":1e999}",
        "{\"protected\":\"e30\",\"recipients\":[]}",
        "{}{}",
        "]",
    };
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer deep = {0};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer large = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_refused(kyok_bytes_of_text(texts[i]), KYOK_INVALID, "not an envelope");
    for (int i = 0; i < 100000; i++)
        kyok_buffer_append_text(&deep, "[");
    assert_refused(kyok_buffer_bytes(&deep), KYOK_INVALID, "nested too deeply");
    while (large.size <= KYOK_ENVELOPE_MAX)
        kyok_buffer_append_text(&large, "                ");
    assert_refused(kyok_buffer_bytes(&large), KYOK_INVALID, "too large");
}

static void base64url_has_one_encoding(void **state)
{
    static const struct {
        const char *text;
        const char *bytes;
    } good[] = {{"", ""},        {"Zg", "f"},        {"Zm8", "fo"},
                {"Zm9v", "foo"}, {"Zm9vYg", "foob"}, {"-_-_", "\xfb\xff\xbf"}};
    static const char *const bad[] = {"Z",      "Zg==", "Zh",    "Zm9",    "Zm9vY",
                                      "Zm9vYh", "+/+/", "Zm 9v", "Zm9v\n", "Zm9\xff"};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
        KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer bytes = {0};

        assert_true(kyok_base64url_append(&text, kyok_bytes_of_text(good[i].bytes)));
        assert_true(kyok_bytes_equal(kyok_buffer_bytes(&text), kyok_bytes_of_text(good[i].text)));
        assert_true(kyok_base64url_decode(kyok_bytes_of_text(good[i].text), &bytes));
        assert_true(kyok_bytes_equal(kyok_buffer_bytes(&bytes), kyok_bytes_of_text(good[i].bytes)));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer bytes = {0};

        assert_false(kyok_base64url_decode(kyok_bytes_of_text(bad[i]), &bytes));
        assert_int_equal(bytes.size, 0);
    }
}

/* RFC 7516 appendix A.1: content encryption with its content key, header and all. */
static void rfc7516_content_opens(void **state)
{
    static const uint8_t cek[] = {177, 161, 244, 128, 84,  143, 225, 115, 63, 180, 3,
                                  255, 107, 154, 212, 246, 138, 7,   110, 91, 112, 46,
                                  34,  105, 47,  130, 203, 46,  122, 234, 64, 252};
    static const char text[] = "The true sign of intelligence is not knowledge but imagination.";
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer ciphertext = {0};
    struct kyok_jwe jwe = {.protected_text =
                               (char *)"eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ"};
    KYOK_AUTO_SECRET struct kyok_secret *plaintext = NULL;
    struct kyok_error err;

    (void)state;
    assert_true(kyok_base64url_decode(
        kyok_bytes_of_text("5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6jiSdiwkIr"
                           "3ajwQzaBtQD_A"),
        &ciphertext));
    assert_true(kyok_base64url_decode_exact(kyok_bytes_of_text("48V1_ALb6US04U3b"), jwe.iv, 12));
    assert_true(
        kyok_base64url_decode_exact(kyok_bytes_of_text("XFBoMYUZodetZdvTiFvSkQ"), jwe.tag, 16));
    jwe.ciphertext = ciphertext.data;
    jwe.ciphertext_size = ciphertext.size;
    assert_int_equal(kyok_layer_open(&jwe, kyok_bytes(cek, sizeof(cek)), &plaintext, &err),
                     KYOK_OK);
    assert_true(kyok_bytes_equal(kyok_secret_bytes(plaintext), kyok_bytes_of_text(text)));
    jwe.protected_text = (char *)"eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkExMjhHQ00ifQ";
    kyok_secret_free(plaintext);
    assert_int_equal(kyok_layer_open(&jwe, kyok_bytes(cek, sizeof(cek)), &plaintext, &err),
                     KYOK_TAMPERED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(other_encodings_are_refused), TEST(other_headers_are_refused),
        TEST(hostile_json_is_bounded),     TEST(base64url_has_one_encoding),
        TEST(rfc7516_content_opens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
