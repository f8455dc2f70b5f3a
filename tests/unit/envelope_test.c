/* SPDX-License-Identifier: Apache-2.0 */
/* Envelopes over keys in memory: round trips, every refusal by its own check, races, recipients. */
#include "common/envelope/base64url.h"
#include "tests/support/memory_keyholder.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct kyok_envelope_claims claims = {"disk", "vm \"one\" \\ Zürich", 7};
static const struct kyok_envelope_expected expected = {.use = "disk"};
static const char secret_text[] = "0123456789abcdef correct horse battery staple";

static struct memory_keys keys;
static struct kyok_keyholder holder;

#define A "pkcs11:object=a"
#define B "pkcs11:object=b"
#define C "pkcs11:object=c"
#define R "pkcs11:object=r"

static int setup(void **state)
{
    (void)state;
    memset(&keys, 0, sizeof(keys));
    memory_add(&keys, A, 1, NULL);
    memory_add(&keys, B, 2, NULL);
    memory_add(&keys, C, 3, NULL);
    memory_add(&keys, R, 0, EVP_RSA_gen(2048));
    holder = memory_keyholder(&keys);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    atomic_store(&keys.release, true);
    for (int i = 0; i < 1000 && atomic_load(&keys.references) > 0; i++)
        usleep(5000);
    EVP_PKEY_free(keys.keys[3].pkey);
    return 0;
}

static struct kyok_policy *policy_of(const char *text)
{
    struct kyok_policy *policy = NULL;
    struct kyok_error err;

    if (kyok_policy_parse(text, KYOK_FROM_CONFIGURATION, NULL, &policy, &err) != KYOK_OK)
        fail_msg("%s: %s", text, err.what);
    return policy;
}

static struct kyok_buffer seal_as(const char *policy_text, const struct kyok_envelope_claims *said,
                                  enum kyok_envelope_content content,
                                  enum kyok_envelope_algorithm algorithm)
{
    struct kyok_policy *policy = policy_of(policy_text);
    struct kyok_envelope_options options = {.algorithm = algorithm};
    struct kyok_buffer json = {0};
    struct kyok_error err;

    if (kyok_envelope_seal_with(&holder, policy, said, content, kyok_bytes_of_text(secret_text),
                                &options, &json, &err) != KYOK_OK)
        fail_msg("%s: %s", policy_text, err.what);
    kyok_policy_free(policy);
    return json;
}

static struct kyok_buffer seal(const char *policy_text)
{
    return seal_as(policy_text, &claims, KYOK_ENVELOPE_SECRET, KYOK_ENVELOPE_AUTOMATIC);
}

static enum kyok_status open_bytes(struct kyok_bytes json, struct kyok_error *err)
{
    struct kyok_secret *secret = NULL;
    struct kyok_envelope *opened = NULL;
    enum kyok_status status = kyok_envelope_open_with(
        &holder, json, &expected, KYOK_ENVELOPE_SECRET, NULL, &secret, &opened, err);

    if (status == KYOK_OK) {
        assert_true(kyok_bytes_equal(kyok_secret_bytes(secret), kyok_bytes_of_text(secret_text)));
        assert_string_equal(kyok_envelope_claims(opened)->owner, claims.owner);
    } else {
        assert_null(secret);
        assert_null(opened);
        assert_int_equal(status, err->status);
    }
    kyok_secret_free(secret);
    kyok_envelope_free(opened);
    return status;
}

static enum kyok_status open_buffer(const struct kyok_buffer *json, struct kyok_error *err)
{
    return open_bytes(kyok_buffer_bytes(json), err);
}

static void assert_opens(const struct kyok_buffer *json)
{
    struct kyok_error err;

    if (open_buffer(json, &err) != KYOK_OK)
        fail_msg("%s", err.what);
}

static void assert_refused(struct kyok_bytes json, enum kyok_status status, const char *check)
{
    struct kyok_error err = {0};
    enum kyok_status got = open_bytes(json, &err);

    if (got != status || strstr(err.what, check) == NULL)
        fail_msg("wanted %s \"%s\", got %s \"%s\"", kyok_status_name(status), check,
                 kyok_status_name(got), err.what);
}

/* --- round trips ----------------------------------------------------------------------------- */

static void every_policy_opens(void **state)
{
    static const char *const policies[] = {
        A,
        R,
        "any-of(" A "," B ")",
        "all-of(" A "," B ")",
        "all-of(" A ",any-of(" B "," C "," R "))",
        "all-of(any-of(" A "," R ")," B "," C ")",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal(policies[i]);

        assert_opens(&json);
    }
}

static void algorithms_are_chosen(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer gcm = seal(A);
    KYOK_CLEANUP(kyok_buffer_free)
    struct kyok_buffer kw = seal_as(A, &claims, KYOK_ENVELOPE_SECRET, KYOK_ENVELOPE_A256KW);
    struct kyok_envelope *envelope;
    struct kyok_error err;

    (void)state;
    assert_opens(&gcm);
    assert_opens(&kw);
    assert_int_equal(kyok_envelope_inspect(kyok_buffer_bytes(&kw), NULL, &envelope, &err), KYOK_OK);
    assert_int_equal(kyok_envelope_layer(envelope, 0)->recipients[0].algorithm,
                     KYOK_ENVELOPE_A256KW);
    kyok_envelope_free(envelope);
}

static void inspection_contacts_nobody(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free)
    struct kyok_buffer json = seal("all-of(" A ",any-of(" B "," R "))");
    struct kyok_envelope *envelope;
    struct kyok_error err;

    (void)state;
    for (size_t i = 0; i < keys.count; i++)
        keys.keys[i].calls = 0;
    assert_int_equal(kyok_envelope_inspect(kyok_buffer_bytes(&json), NULL, &envelope, &err),
                     KYOK_OK);
    assert_int_equal(kyok_envelope_layer_count(envelope), 2);
    assert_string_equal(kyok_envelope_layer(envelope, 0)->recipients[0].kid, A);
    assert_int_equal(kyok_envelope_layer(envelope, 1)->count, 2);
    assert_string_equal(kyok_envelope_layer(envelope, 1)->recipients[1].kid, R);
    assert_int_equal(kyok_envelope_claims(envelope)->generation, 7);
    assert_string_equal(kyok_envelope_claims(envelope)->use, "disk");
    assert_true(kyok_envelope_proves_maker(envelope));
    assert_null(kyok_envelope_layer(envelope, 2));
    for (size_t i = 0; i < keys.count; i++)
        assert_int_equal(keys.keys[i].calls, 0);
    kyok_envelope_free(envelope);
}

static void an_rsa_recipient_proves_no_maker(void **state)
{
    static const struct {
        const char *policy;
        bool proves;
    } cases[] = {
        {R, false},
        {"any-of(" A "," R ")", false},
        {"all-of(" R "," A ")", true},
        {"any-of(" A "," B ")", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal(cases[i].policy);
        struct kyok_envelope *envelope;
        struct kyok_error err;

        assert_int_equal(kyok_envelope_inspect(kyok_buffer_bytes(&json), NULL, &envelope, &err),
                         KYOK_OK);
        assert_int_equal(kyok_envelope_proves_maker(envelope), cases[i].proves);
        kyok_envelope_free(envelope);
    }
}

static void the_empty_secret_opens(void **state)
{
    struct kyok_policy *policy = policy_of(A);
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {0};
    KYOK_AUTO_SECRET struct kyok_secret *secret = NULL;
    struct kyok_error err;

    (void)state;
    assert_int_equal(kyok_envelope_seal_with(&holder, policy, &claims, KYOK_ENVELOPE_SECRET,
                                             kyok_bytes("", 0), NULL, &json, &err),
                     KYOK_OK);
    assert_int_equal(kyok_envelope_open_with(&holder, kyok_buffer_bytes(&json), &expected,
                                             KYOK_ENVELOPE_SECRET, NULL, &secret, NULL, &err),
                     KYOK_OK);
    assert_int_equal(kyok_secret_size(secret), 0);
    kyok_policy_free(policy);
}

/* --- claims ---------------------------------------------------------------------------------- */

static void other_claims_are_refused_unasked(void **state)
{
    static const struct {
        struct kyok_envelope_expected expected;
        const char *check;
    } cases[] = {
        {{.use = "backup"}, "use is \"disk\", not \"backup\""},
        {{.owner = "vm two"}, "owner is"},
        {{.least_generation = 8}, "older than the expected 8"},
        {{.most_generation = 6}, "newer than the expected 6"},
    };
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal(A);

    (void)state;
    keys.keys[0].calls = 0;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kyok_secret *secret = NULL;
        struct kyok_error err;

        assert_int_equal(kyok_envelope_open_with(&holder, kyok_buffer_bytes(&json),
                                                 &cases[i].expected, KYOK_ENVELOPE_SECRET, NULL,
                                                 &secret, NULL, &err),
                         KYOK_REFUSED);
        assert_non_null(strstr(err.what, cases[i].check));
        assert_null(secret);
    }
    assert_int_equal(keys.keys[0].calls, 0);
}

static void impossible_claims_are_not_sealed(void **state)
{
    char long_owner[514];
    const struct kyok_envelope_claims wrong[] = {
        {"", "o", 1},
        {"a b", "o", 1},
        {"disk", "a\nb", 1},
        {"disk", "\xff\xfe", 1},
        {"disk", long_owner, 1},
        {"disk", "o", (uint64_t)1 << 53},
        {NULL, "o", 1},
        {"disk", NULL, 1},
    };
    struct kyok_policy *policy = policy_of(A);

    (void)state;
    memset(long_owner, 'o', 513);
    long_owner[513] = '\0';
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct kyok_buffer json = {0};
        struct kyok_error err;

        assert_int_equal(kyok_envelope_seal_with(&holder, policy, &wrong[i], KYOK_ENVELOPE_SECRET,
                                                 kyok_bytes_of_text("x"), NULL, &json, &err),
                         KYOK_INVALID);
        assert_int_equal(json.size, 0);
    }
    kyok_policy_free(policy);
}

static void a_stream_key_is_not_handed_out(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free)
    struct kyok_buffer json =
        seal_as(A, &claims, KYOK_ENVELOPE_STREAM_KEY, KYOK_ENVELOPE_AUTOMATIC);

    (void)state;
    assert_refused(kyok_buffer_bytes(&json), KYOK_REFUSED, "the key of a stream, not a secret");
}

/* --- damage ---------------------------------------------------------------------------------- */

static void every_changed_byte_is_refused(void **state)
{
    static const char *const policies[] = {A, "any-of(" A "," R ")", "all-of(" B "," A ")"};

    (void)state;
    for (size_t p = 0; p < sizeof(policies) / sizeof(policies[0]); p++) {
        KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal(policies[p]);

        for (size_t i = 0; i < json.size; i++) {
            static const uint8_t masks[] = {0x01, 0x02, 0x20, 0x80};

            for (size_t m = 0; m < sizeof(masks); m++) {
                struct kyok_error err;

                json.data[i] ^= masks[m];
                if (open_buffer(&json, &err) == KYOK_OK)
                    fail_msg("%s: byte %zu ^ %02x opened", policies[p], i, masks[m]);
                json.data[i] ^= masks[m];
            }
        }
        assert_opens(&json);
    }
}

static void every_cut_is_refused(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal(A);

    (void)state;
    for (size_t size = 0; size < json.size; size++) {
        struct kyok_error err;

        assert_int_equal(open_bytes(kyok_bytes(json.data, size), &err), KYOK_INVALID);
    }
}

/* Parses an envelope, lets change() alter the structure, and writes it again canonically. */
static struct kyok_buffer altered(const char *policy, void (*change)(struct kyok_jwe *jwe))
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal(policy);
    struct kyok_buffer again = {0};
    struct kyok_jwe *jwe;
    struct kyok_error err;

    assert_int_equal(kyok_jwe_parse(kyok_buffer_bytes(&json), false, &jwe, &err), KYOK_OK);
    change(jwe);
    assert_int_equal(kyok_jwe_write(jwe, &again, &err), KYOK_OK);
    kyok_jwe_free(jwe);
    return again;
}

static void strip(struct kyok_jwe *jwe)
{
    kyok_jwe_recipient_free(&jwe->recipients.list[--jwe->recipients.count]);
}

static void swap(struct kyok_jwe *jwe)
{
    struct kyok_jwe_recipient first = jwe->recipients.list[0];

    jwe->recipients.list[0] = jwe->recipients.list[1];
    jwe->recipients.list[1] = first;
}

static void rename_second(struct kyok_jwe *jwe)
{
    free(jwe->recipients.list[1].kid);
    jwe->recipients.list[1].kid = strdup(C);
}

static void change_second_key(struct kyok_jwe *jwe)
{
    jwe->recipients.list[1].encrypted_key[5] ^= 1;
}

static void change_second_iv(struct kyok_jwe *jwe)
{
    jwe->recipients.list[1].iv[5] ^= 1;
}

static void add(struct kyok_jwe *jwe)
{
    struct kyok_jwe_recipient more;
    struct kyok_error err;

    assert_int_equal(holder.type->wrap_kid(&keys, C, KYOK_ENVELOPE_AUTOMATIC,
                                           kyok_bytes("0123456789abcdef0123456789abcdef", 32),
                                           &more, &err),
                     KYOK_OK);
    assert_int_equal(kyok_jwe_recipients_add(&jwe->recipients, &more, &err), KYOK_OK);
}

/* As one would who knows the form: header and recipients agree, but no key was asked. */
static void strip_and_describe(struct kyok_jwe *jwe)
{
    struct kyok_error err;

    strip(jwe);
    assert_int_equal(kyok_layer_describe(jwe, &claims, KYOK_ENVELOPE_SECRET, NULL, 0, &err),
                     KYOK_OK);
    free(jwe->protected_text);
    assert_int_equal(
        kyok_jwe_write_protected(jwe->envelope, &jwe->recipients, &jwe->protected_text, &err),
        KYOK_OK);
}

static void other_recipients_are_refused(void **state)
{
    static const struct {
        void (*change)(struct kyok_jwe *jwe);
        const char *check;
    } cases[] = {
        {strip, "has 1 recipients, its protected header names 2"},
        {add, "has 3 recipients, its protected header names 2"},
        {swap, "recipient 1 is not the one that the protected header names"},
        {rename_second, "recipient 2 is not the one that the protected header names"},
        {change_second_key, "wrapped keys are not those of the protected header"},
        {change_second_iv, "wrapped keys are not those of the protected header"},
        {strip_and_describe, "content or protected header was altered"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        KYOK_CLEANUP(kyok_buffer_free)
        struct kyok_buffer json = altered("any-of(" A "," B ")", cases[i].change);

        assert_refused(kyok_buffer_bytes(&json), KYOK_TAMPERED, cases[i].check);
    }
}

/* Where the digest of the wrapped keys stands it is compared, however the JSON is written. */
static void foreign_json_keeps_its_digest(void **state)
{
    static void (*const changes[])(struct kyok_jwe *) = {change_second_key, change_second_iv};
    const struct kyok_envelope_options options = {.foreign = true};

    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        KYOK_CLEANUP(kyok_buffer_free)
        struct kyok_buffer json = altered("any-of(" A "," B ")", changes[i]);
        struct kyok_envelope *envelope = NULL;
        struct kyok_error err;

        assert_int_equal(kyok_envelope_inspect(kyok_buffer_bytes(&json), &options, &envelope, &err),
                         KYOK_TAMPERED);
        assert_non_null(strstr(err.what, "wrapped keys are not those"));
        assert_null(envelope);
    }
}

/* The holder of the outer key puts another envelope's inner layer into it. */
static struct kyok_buffer transplant(const struct kyok_envelope_claims *donor_claims,
                                     const char *donor_policy)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer host = seal("all-of(" A "," B ")");
    KYOK_CLEANUP(kyok_buffer_free)
    struct kyok_buffer donor =
        seal_as(donor_policy, donor_claims, KYOK_ENVELOPE_SECRET, KYOK_ENVELOPE_AUTOMATIC);
    KYOK_AUTO_SECRET struct kyok_secret *cek = NULL;
    struct kyok_buffer json = {0};
    struct kyok_jwe *jwe;
    struct kyok_error err;

    assert_int_equal(kyok_jwe_parse(kyok_buffer_bytes(&host), false, &jwe, &err), KYOK_OK);
    assert_int_equal(holder.type->unwrap(&keys, &jwe->recipients.list[0], NULL, &cek, &err),
                     KYOK_OK);
    assert_int_equal(kyok_layer_seal(jwe, kyok_secret_bytes(cek), kyok_buffer_bytes(&donor), &err),
                     KYOK_OK);
    assert_int_equal(kyok_jwe_write(jwe, &json, &err), KYOK_OK);
    kyok_jwe_free(jwe);
    return json;
}

static void a_layer_of_another_envelope_is_refused(void **state)
{
    const struct {
        struct kyok_envelope_claims claims;
        const char *policy, *check;
    } cases[] = {
        {{"disk", "vm two", 7}, B, "its owner differs"},
        {{"disk", claims.owner, 6}, B, "its generation differs"},
        {{"boot", claims.owner, 7}, B, "its use differs"},
        {claims, C, "its list of recipients differs"},
        {claims, "any-of(" B "," C ")", "its list of recipients differs"},
        {claims, "all-of(" B "," C ")", "its number of layers differs"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        KYOK_CLEANUP(kyok_buffer_free)
        struct kyok_buffer json = transplant(&cases[i].claims, cases[i].policy);

        assert_refused(kyok_buffer_bytes(&json), KYOK_TAMPERED, cases[i].check);
    }
}

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

/* --- custodians away, refusing, hanging ------------------------------------------------------ */

static void each_of_all_must_consent(void **state)
{
    static const enum memory_behaviour ways[] = {MEMORY_AWAY, MEMORY_REFUSES};
    static const enum kyok_status statuses[] = {KYOK_UNREACHABLE, KYOK_REFUSED};
    KYOK_CLEANUP(kyok_buffer_free)
    struct kyok_buffer json = seal("all-of(" A "," B "," C ")");

    (void)state;
    for (size_t key = 0; key < 3; key++)
        for (size_t way = 0; way < 2; way++) {
            struct kyok_error err;

            keys.keys[key].behaviour = ways[way];
            assert_int_equal(open_buffer(&json, &err), statuses[way]);
            assert_string_equal(err.object, keys.keys[key].kid);
            keys.keys[key].behaviour = MEMORY_WELL;
        }
    assert_opens(&json);
}

static void each_alternative_suffices(void **state)
{
    static const enum memory_behaviour ways[] = {MEMORY_AWAY, MEMORY_REFUSES, MEMORY_HANGS};
    KYOK_CLEANUP(kyok_buffer_free)
    struct kyok_buffer json = seal("any-of(" A "," B "," C ")");

    (void)state;
    for (size_t well = 0; well < 3; well++)
        for (size_t way = 0; way < 3; way++) {
            int64_t begun = kyok_now_ns();

            for (size_t key = 0; key < 3; key++)
                keys.keys[key].behaviour = key == well ? MEMORY_WELL : ways[way];
            assert_opens(&json);
            assert_true(kyok_now_ns() - begun < 1500 * INT64_C(1000000));
        }
}

static void the_healthy_is_asked_first(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal("any-of(" A "," B ")");
    int64_t begun;

    (void)state;
    keys.keys[0].behaviour = MEMORY_HANGS;
    keys.keys[0].rank = 2;
    keys.keys[0].calls = 0;
    begun = kyok_now_ns();
    assert_opens(&json);
    assert_true(kyok_now_ns() - begun < 200 * INT64_C(1000000));
    assert_int_equal(keys.keys[0].calls, 0);
}

static void nobody_answers_in_time(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal("any-of(" A "," B ")");
    struct kyok_envelope_options options = {.timeout_ms = 400};
    struct kyok_secret *secret = NULL;
    struct kyok_error err;
    int64_t begun = kyok_now_ns();

    (void)state;
    keys.keys[0].behaviour = keys.keys[1].behaviour = MEMORY_HANGS;
    assert_int_equal(kyok_envelope_open_with(&holder, kyok_buffer_bytes(&json), &expected,
                                             KYOK_ENVELOPE_SECRET, &options, &secret, NULL, &err),
                     KYOK_TIMEOUT);
    assert_true(kyok_now_ns() - begun < 1500 * INT64_C(1000000));
    assert_null(secret);
}

/* Without a race, too, the caller's own deadline ends the wait, not the custodian's. */
static void the_only_custodian_hangs(void **state)
{
    static const char *const policies[] = {A, "all-of(" B "," A ")"};
    struct kyok_envelope_options options = {.timeout_ms = 300};

    (void)state;
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {0};
        struct kyok_secret *secret = NULL;
        struct kyok_error err;

        keys.keys[0].behaviour = MEMORY_WELL;
        json = seal(policies[i]);
        keys.keys[0].behaviour = MEMORY_HANGS;
        assert_int_equal(kyok_envelope_open_with(&holder, kyok_buffer_bytes(&json), &expected,
                                                 KYOK_ENVELOPE_SECRET, &options, &secret, NULL,
                                                 &err),
                         KYOK_TIMEOUT);
        assert_string_equal(err.object, A);
        assert_non_null(strstr(err.what, "did not answer in time"));
        assert_null(secret);
    }
}

static void the_only_custodian_keeps_its_own_words(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal(A);
    struct kyok_envelope_options options = {.timeout_ms = 60000};
    struct kyok_secret *secret = NULL;
    struct kyok_error err;

    (void)state;
    keys.keys[0].behaviour = MEMORY_REFUSES;
    assert_int_equal(kyok_envelope_open_with(&holder, kyok_buffer_bytes(&json), &expected,
                                             KYOK_ENVELOPE_SECRET, &options, &secret, NULL, &err),
                     KYOK_REFUSED);
    assert_string_equal(err.what, "the custodian refused");
}

static void the_most_telling_failure_is_told(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal("any-of(" A "," B "," C ")");
    struct kyok_error err;

    (void)state;
    keys.keys[0].kid = "unknown";
    keys.keys[1].behaviour = MEMORY_AWAY;
    keys.keys[2].behaviour = MEMORY_REFUSES;
    assert_int_equal(open_buffer(&json, &err), KYOK_UNREACHABLE);
    assert_string_equal(err.object, B);
    assert_non_null(strstr(err.what, "none of 3 alternatives"));
    keys.keys[1].behaviour = MEMORY_REFUSES;
    assert_int_equal(open_buffer(&json, &err), KYOK_REFUSED);
    keys.keys[0].kid = A;
}

/* --- other recipients ------------------------------------------------------------------------ */

static struct kyok_buffer changed(const struct kyok_buffer *json,
                                  const struct kyok_envelope_change *change)
{
    struct kyok_buffer out = {0};
    struct kyok_error err;

    if (kyok_envelope_change_with(&holder, kyok_buffer_bytes(json), &expected, change, 1, NULL,
                                  &out, &err) != KYOK_OK)
        fail_msg("%s", err.what);
    return out;
}

static void only(const char *well)
{
    for (size_t i = 0; i < keys.count; i++)
        keys.keys[i].behaviour = strcmp(keys.keys[i].kid, well) == 0 ? MEMORY_WELL : MEMORY_AWAY;
}

static void granting_asks_only_who_is_needed(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal("any-of(" A "," B ")");
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer granted = {0};
    struct kyok_reference c = {.text = (char *)C};
    const struct kyok_reference *add_list[] = {&c};
    struct kyok_envelope_change change = {.add = add_list, .add_count = 1};

    (void)state;
    keys.keys[1].behaviour = MEMORY_AWAY;
    keys.keys[1].rank = 2;
    keys.keys[1].calls = 0;
    granted = changed(&json, &change);
    assert_int_equal(keys.keys[1].calls, 0);
    for (size_t i = 0; i < 3; i++) {
        only(keys.keys[i].kid);
        assert_opens(&granted);
    }
}

static void a_revoked_recipient_cannot_open(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal("any-of(" A "," B ")");
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer revoked = {0};
    KYOK_AUTO_SECRET struct kyok_secret *before = NULL;
    KYOK_AUTO_SECRET struct kyok_secret *after = NULL;
    const char *remove[] = {B};
    struct kyok_envelope_change change = {.remove = remove, .remove_count = 1};
    struct kyok_jwe *old, *new;
    struct kyok_error err;

    (void)state;
    revoked = changed(&json, &change);
    assert_opens(&revoked);
    assert_int_equal(kyok_jwe_parse(kyok_buffer_bytes(&json), false, &old, &err), KYOK_OK);
    assert_int_equal(kyok_jwe_parse(kyok_buffer_bytes(&revoked), false, &new, &err), KYOK_OK);
    assert_int_equal(new->recipients.count, 1);
    holder.type->unwrap(&keys, &old->recipients.list[0], NULL, &before, &err);
    holder.type->unwrap(&keys, &new->recipients.list[0], NULL, &after, &err);
    assert_false(kyok_bytes_equal(kyok_secret_bytes(before), kyok_secret_bytes(after)));
    kyok_jwe_free(old);
    kyok_jwe_free(new);
}

static void an_inner_layer_changes_without_the_deepest(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal("all-of(" A "," B "," C ")");
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer out = {0};
    struct kyok_reference r = {.text = (char *)R};
    const struct kyok_reference *add_list[] = {&r};
    const char *remove[] = {B};
    struct kyok_envelope_change change = {
        .layer = 1, .add = add_list, .add_count = 1, .remove = remove, .remove_count = 1};
    struct kyok_envelope *envelope;
    struct kyok_error err;

    (void)state;
    keys.keys[2].behaviour = MEMORY_AWAY; /* the deepest layer's custodian is not needed */
    out = changed(&json, &change);
    keys.keys[2].behaviour = MEMORY_WELL;
    keys.keys[1].behaviour = MEMORY_AWAY;
    assert_opens(&out);
    assert_int_equal(kyok_envelope_inspect(kyok_buffer_bytes(&out), NULL, &envelope, &err),
                     KYOK_OK);
    assert_string_equal(kyok_envelope_layer(envelope, 1)->recipients[0].kid, R);
    kyok_envelope_free(envelope);
}

static void impossible_changes_are_refused(void **state)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal(A);
    const char *only_one[] = {A}, *absent[] = {C};
    const struct {
        struct kyok_envelope_change change;
        enum kyok_status status;
    } cases[] = {
        {{.remove = only_one, .remove_count = 1}, KYOK_INVALID},
        {{.remove = absent, .remove_count = 1}, KYOK_NOT_FOUND},
        {{.layer = 1, .refresh = true}, KYOK_INVALID},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kyok_buffer out = {0};
        struct kyok_error err;

        assert_int_equal(kyok_envelope_change_with(&holder, kyok_buffer_bytes(&json), &expected,
                                                   &cases[i].change, 1, NULL, &out, &err),
                         cases[i].status);
        assert_int_equal(out.size, 0);
    }
}

static void rewrapping_reaches_any_policy(void **state)
{
    static const char *const policies[] = {B, "any-of(" B "," R ")", "all-of(" B "," C ")",
                                           "all-of(" C ",any-of(" A "," B "))", A};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = seal(A);

    (void)state;
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        struct kyok_policy *policy = policy_of(policies[i]);
        struct kyok_buffer next = {0};
        struct kyok_envelope *envelope;
        struct kyok_error err;

        assert_int_equal(kyok_envelope_rewrap_with(&holder, kyok_buffer_bytes(&json), &expected,
                                                   policy, NULL, &next, &err),
                         KYOK_OK);
        kyok_buffer_free(&json);
        json = next;
        assert_opens(&json);
        assert_int_equal(kyok_envelope_inspect(kyok_buffer_bytes(&json), NULL, &envelope, &err),
                         KYOK_OK);
        assert_int_equal(kyok_envelope_layer_count(envelope), policy->count);
        for (size_t layer = 0; layer < policy->count; layer++)
            assert_int_equal(kyok_envelope_layer(envelope, layer)->count,
                             policy->clauses[layer].count);
        kyok_envelope_free(envelope);
        kyok_policy_free(policy);
    }
}

static void limits_hold(void **state)
{
    struct kyok_policy *policy = policy_of(A);
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer json = {0};
    KYOK_AUTO_FREE uint8_t *large = calloc(1, KYOK_ENVELOPE_SECRET_MAX + 1);
    struct kyok_error err;

    (void)state;
    assert_int_equal(kyok_envelope_seal_with(&holder, policy, &claims, KYOK_ENVELOPE_SECRET,
                                             kyok_bytes(large, KYOK_ENVELOPE_SECRET_MAX + 1), NULL,
                                             &json, &err),
                     KYOK_INVALID);
    assert_int_equal(kyok_envelope_seal_with(&holder, policy, &claims, KYOK_ENVELOPE_SECRET,
                                             kyok_bytes(large, KYOK_ENVELOPE_SECRET_MAX), NULL,
                                             &json, &err),
                     KYOK_OK);
    kyok_policy_free(policy);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_policy_opens),
        TEST(algorithms_are_chosen),
        TEST(inspection_contacts_nobody),
        TEST(an_rsa_recipient_proves_no_maker),
        TEST(the_empty_secret_opens),
        TEST(other_claims_are_refused_unasked),
        TEST(impossible_claims_are_not_sealed),
        TEST(a_stream_key_is_not_handed_out),
        TEST(every_changed_byte_is_refused),
        TEST(every_cut_is_refused),
        TEST(other_recipients_are_refused),
        TEST(foreign_json_keeps_its_digest),
        TEST(a_layer_of_another_envelope_is_refused),
        TEST(other_encodings_are_refused),
        TEST(other_headers_are_refused),
        TEST(hostile_json_is_bounded),
        TEST(base64url_has_one_encoding),
        TEST(rfc7516_content_opens),
        TEST(each_of_all_must_consent),
        TEST(each_alternative_suffices),
        TEST(the_healthy_is_asked_first),
        TEST(nobody_answers_in_time),
        TEST(the_only_custodian_hangs),
        TEST(the_only_custodian_keeps_its_own_words),
        TEST(the_most_telling_failure_is_told),
        TEST(granting_asks_only_who_is_needed),
        TEST(a_revoked_recipient_cannot_open),
        TEST(an_inner_layer_changes_without_the_deepest),
        TEST(impossible_changes_are_refused),
        TEST(rewrapping_reaches_any_policy),
        TEST(limits_hold),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
