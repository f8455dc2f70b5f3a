/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pkcs11/live.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- reading: what a token answers is bounded by the room given, whatever length it claims --- */

enum shape { NUMBER, ANSWER, BYTES };
struct wanted {
    CK_ATTRIBUTE_TYPE type;
    enum shape shape;
    size_t value, room, size;
};
#define FACT_NUMBER(type, field)                                                                   \
    {                                                                                              \
        type, NUMBER, offsetof(struct kyok_facts, field), sizeof(CK_ULONG), 0                      \
    }
#define FACT_ANSWER(type, field)                                                                   \
    {                                                                                              \
        type, ANSWER, offsetof(struct kyok_facts, field), sizeof(CK_BBOOL), 0                      \
    }
#define FACT_BYTES(type, field)                                                                    \
    {                                                                                              \
        type, BYTES, offsetof(struct kyok_facts, field), sizeof(((struct kyok_facts *)0)->field),  \
            offsetof(struct kyok_facts, field##_size)                                              \
    }

static const struct wanted any_object[] = {
    FACT_NUMBER(CKA_CLASS, object_class),
    FACT_BYTES(CKA_LABEL, label),
};
static const struct wanted any_key[] = {
    FACT_NUMBER(CKA_KEY_TYPE, key_type),
    FACT_BYTES(CKA_ID, id),
    FACT_ANSWER(CKA_LOCAL, local),
    FACT_ANSWER(CKA_DERIVE, derive),
};
static const struct wanted guarded_key[] = {
    FACT_ANSWER(CKA_SENSITIVE, sensitive),
    FACT_ANSWER(CKA_ALWAYS_SENSITIVE, always_sensitive),
    FACT_ANSWER(CKA_NEVER_EXTRACTABLE, never_extractable),
    FACT_ANSWER(CKA_EXTRACTABLE, extractable),
    FACT_ANSWER(CKA_SIGN, sign),
    FACT_ANSWER(CKA_DECRYPT, decrypt),
    FACT_ANSWER(CKA_UNWRAP, unwrap),
};
static const struct wanted private_key[] = {
    FACT_ANSWER(CKA_ALWAYS_AUTHENTICATE, always_authenticate),
    FACT_BYTES(CKA_PUBLIC_KEY_INFO, info),
};
static const struct wanted rsa_key[] = {
    FACT_BYTES(CKA_MODULUS, modulus),
    FACT_BYTES(CKA_PUBLIC_EXPONENT, exponent),
};
static const struct wanted ec_key[] = {
    FACT_BYTES(CKA_EC_PARAMS, parameters),
    FACT_BYTES(CKA_EC_POINT, point),
};
static const struct wanted secret_key[] = {
    FACT_NUMBER(CKA_VALUE_LEN, value_size),
    FACT_BYTES(CKA_CHECK_VALUE, check_value),
    FACT_ANSWER(CKA_ENCRYPT, encrypt),
    FACT_ANSWER(CKA_WRAP, wrap),
};
static const struct wanted certificate[] = {
    FACT_NUMBER(CKA_CERTIFICATE_TYPE, certificate_type),
    FACT_BYTES(CKA_ID, id),
};

/* All of it in one call, which a new process pays by its latency. What an object of that kind has
 * not is answered CKR_ATTRIBUTE_TYPE_INVALID with the rest filled in (PKCS#11 2.40 5.7,
 * C_GetAttributeValue); every object has the last: its value shows that the module came so far. */
static const struct wanted whole_object[] = {
    FACT_BYTES(CKA_LABEL, label),
    FACT_BYTES(CKA_ID, id),
    FACT_NUMBER(CKA_KEY_TYPE, key_type),
    FACT_ANSWER(CKA_LOCAL, local),
    FACT_ANSWER(CKA_DERIVE, derive),
    FACT_ANSWER(CKA_SENSITIVE, sensitive),
    FACT_ANSWER(CKA_ALWAYS_SENSITIVE, always_sensitive),
    FACT_ANSWER(CKA_NEVER_EXTRACTABLE, never_extractable),
    FACT_ANSWER(CKA_EXTRACTABLE, extractable),
    FACT_ANSWER(CKA_SIGN, sign),
    FACT_ANSWER(CKA_DECRYPT, decrypt),
    FACT_ANSWER(CKA_UNWRAP, unwrap),
    FACT_ANSWER(CKA_ENCRYPT, encrypt),
    FACT_ANSWER(CKA_WRAP, wrap),
    FACT_ANSWER(CKA_ALWAYS_AUTHENTICATE, always_authenticate),
    FACT_BYTES(CKA_PUBLIC_KEY_INFO, info),
    FACT_BYTES(CKA_MODULUS, modulus),
    FACT_BYTES(CKA_PUBLIC_EXPONENT, exponent),
    FACT_BYTES(CKA_EC_PARAMS, parameters),
    FACT_BYTES(CKA_EC_POINT, point),
    FACT_NUMBER(CKA_VALUE_LEN, value_size),
    FACT_BYTES(CKA_CHECK_VALUE, check_value),
    FACT_NUMBER(CKA_CERTIFICATE_TYPE, certificate_type),
    FACT_NUMBER(CKA_CLASS, object_class),
};

#define MOST_WANTED 24
#define ROOM 8192 /* not on the stack: an ASYNC_JOB has 32 KiB, and the module needs some, too */
_Static_assert(sizeof(whole_object) / sizeof(whole_object[0]) <= MOST_WANTED,
               "room for the answers");

static void accept_value(const struct wanted *wanted, const CK_ATTRIBUTE *got,
                         struct kyok_facts *facts)
{
    uint8_t *to = (uint8_t *)facts + wanted->value;

    if (got->ulValueLen > wanted->room) /* includes CK_UNAVAILABLE_INFORMATION */
        return;
    if (wanted->shape == BYTES) {
        memcpy(to, got->pValue, got->ulValueLen);
        *(size_t *)((uint8_t *)facts + wanted->size) = got->ulValueLen;
    } else if (wanted->shape == NUMBER && got->ulValueLen == sizeof(CK_ULONG)) {
        memcpy(to, got->pValue, sizeof(CK_ULONG));
    } else if (wanted->shape == ANSWER && got->ulValueLen == sizeof(CK_BBOOL)) {
        *(enum kyok_answer *)to = *(CK_BBOOL *)got->pValue != CK_FALSE ? KYOK_YES : KYOK_NO;
    }
}

/* Some modules stop at the first attribute that they lack: ask for each alone then. */
static CK_RV read_each(const struct kyok_lease *lease, CK_OBJECT_HANDLE object,
                       const struct wanted *wanted, CK_ATTRIBUTE *asked, size_t count,
                       struct kyok_facts *facts)
{
    for (size_t i = 0; i < count; i++) {
        CK_RV rv;

        asked[i].ulValueLen = wanted[i].room;
        rv = lease->f->C_GetAttributeValue(lease->handle, object, &asked[i], 1);
        if (rv == CKR_OK)
            accept_value(&wanted[i], &asked[i], facts);
        else if (kyok_rv_rung(rv) != KYOK_RUNG_NONE)
            return rv;
    }
    return CKR_OK;
}

/* The request for a set, its answers to go to room. */
static void ask(const struct wanted *wanted, size_t count, CK_ATTRIBUTE *asked, uint8_t *room)
{
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        asked[i] = (CK_ATTRIBUTE){wanted[i].type, room + used, wanted[i].room};
        used += (wanted[i].room + 7) / 8 * 8;
    }
}

static CK_RV read_set(const struct kyok_lease *lease, CK_OBJECT_HANDLE object,
                      const struct wanted *wanted, size_t count, struct kyok_facts *facts)
{
    KYOK_AUTO_FREE uint8_t *room = malloc(ROOM);
    CK_ATTRIBUTE asked[MOST_WANTED];
    CK_RV rv;

    if (room == NULL)
        return CKR_HOST_MEMORY;
    ask(wanted, count, asked, room);
    rv = lease->f->C_GetAttributeValue(lease->handle, object, asked, count);
    if (rv != CKR_OK)
        return kyok_rv_rung(rv) != KYOK_RUNG_NONE
                   ? rv
                   : read_each(lease, object, wanted, asked, count, facts);
    for (size_t i = 0; i < count; i++)
        accept_value(&wanted[i], &asked[i], facts);
    return CKR_OK;
}

#define READ(set)                                                                                  \
    do {                                                                                           \
        CK_RV rv_ = read_set(lease, object, set, sizeof(set) / sizeof(set[0]), facts);             \
        if (rv_ != CKR_OK)                                                                         \
            return rv_;                                                                            \
    } while (0)

static CK_RV read_key(const struct kyok_lease *lease, CK_OBJECT_HANDLE object,
                      struct kyok_facts *facts)
{
    READ(any_key);
    if (facts->object_class != CKO_PUBLIC_KEY)
        READ(guarded_key);
    if (facts->object_class == CKO_SECRET_KEY)
        READ(secret_key);
    if (facts->object_class == CKO_PRIVATE_KEY)
        READ(private_key);
    if (facts->key_type == CKK_RSA)
        READ(rsa_key);
    if (facts->key_type == CKK_EC || facts->key_type == CKK_EC_EDWARDS ||
        facts->key_type == CKK_EC_MONTGOMERY)
        READ(ec_key);
    return CKR_OK;
}

static CK_RV read_by_sets(const struct kyok_lease *lease, CK_OBJECT_HANDLE object,
                          struct kyok_facts *facts)
{
    READ(any_object);
    if (facts->object_class == CKO_CERTIFICATE)
        READ(certificate);
    if (facts->object_class == CKO_PRIVATE_KEY || facts->object_class == CKO_PUBLIC_KEY ||
        facts->object_class == CKO_SECRET_KEY)
        return read_key(lease, object, facts);
    return CKR_OK;
}

/* Whatever a module leaves alone keeps this; CK_BBOOL and lengths that fit are not made of it. */
#define UNTOUCHED 0xa5

static bool is_untouched(const struct wanted *wanted, const CK_ATTRIBUTE *asked)
{
    const uint8_t *value = asked->pValue;

    if (asked->ulValueLen != wanted->room)
        return false;
    for (size_t i = 0; i < wanted->room; i++) {
        if (value[i] != UNTOUCHED)
            return false;
    }
    return true;
}

/* False where the module stopped on its way, or knows another reason to say no. */
static bool went_to_the_end(CK_RV rv, const CK_ATTRIBUTE *asked, size_t count)
{
    if (rv != CKR_OK && rv != CKR_ATTRIBUTE_TYPE_INVALID && rv != CKR_ATTRIBUTE_SENSITIVE)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (is_untouched(&whole_object[i], &asked[i]))
            return false;
    }
    return asked[count - 1].ulValueLen == sizeof(CK_ULONG);
}

static void forget(struct kyok_facts *facts)
{
    memset(facts, 0, sizeof(*facts));
    facts->object_class = facts->key_type = facts->certificate_type = CK_UNAVAILABLE_INFORMATION;
    facts->sensitive = facts->always_sensitive = facts->never_extractable = facts->extractable =
        facts->local = facts->sign = facts->decrypt = facts->derive = facts->wrap = facts->unwrap =
            facts->encrypt = facts->always_authenticate = KYOK_NOT_KNOWN;
}

CK_RV kyok_facts_read(const struct kyok_lease *lease, CK_OBJECT_HANDLE object,
                      struct kyok_facts *facts)
{
    const size_t count = sizeof(whole_object) / sizeof(whole_object[0]);
    KYOK_AUTO_FREE uint8_t *room = malloc(ROOM);
    CK_ATTRIBUTE asked[MOST_WANTED];
    CK_RV rv;

    forget(facts);
    if (room == NULL)
        return CKR_HOST_MEMORY;
    memset(room, UNTOUCHED, ROOM);
    ask(whole_object, count, asked, room);
    rv = lease->f->C_GetAttributeValue(lease->handle, object, asked, count);
    if (rv != CKR_OK && kyok_rv_rung(rv) != KYOK_RUNG_NONE && rv != CKR_GENERAL_ERROR &&
        rv != CKR_FUNCTION_FAILED) /* which may only mean that it was asked too much */
        return rv;
    if (!went_to_the_end(rv, asked, count))
        return read_by_sets(lease, object, facts);
    for (size_t i = 0; i < count; i++)
        accept_value(&whole_object[i], &asked[i], facts);
    return CKR_OK;
}

/* --- what they mean --- */

/* CKA_EC_POINT is an OCTET STRING by the standard; some modules give the bare point. */
static struct kyok_bytes bare_point(const struct kyok_facts *facts)
{
    const uint8_t *point = facts->point;
    size_t size = facts->point_size;

    if (size >= 2 && point[0] == 4 && point[1] < 0x80 && point[1] == size - 2)
        return kyok_bytes(point + 2, size - 2);
    if (size >= 3 && point[0] == 4 && point[1] == 0x81 && point[2] == size - 3)
        return kyok_bytes(point + 3, size - 3);
    return kyok_bytes(point, size);
}

bool kyok_facts_public_key(const struct kyok_facts *facts, struct kyok_buffer *spki)
{
    unsigned bits;

    if (facts->key_type == CKK_RSA && facts->modulus_size > 0 && facts->exponent_size > 0)
        return kyok_spki_from_rsa(kyok_bytes(facts->modulus, facts->modulus_size),
                                  kyok_bytes(facts->exponent, facts->exponent_size), spki);
    if (facts->point_size > 0 &&
        kyok_spki_from_ec(kyok_bytes(facts->parameters, facts->parameters_size), bare_point(facts),
                          spki))
        return true;
    return facts->info_size > 0 &&
           kyok_spki_type(kyok_bytes(facts->info, facts->info_size), &bits) != KYOK_KEY_UNKNOWN &&
           kyok_buffer_append(spki, facts->info, facts->info_size);
}

static unsigned modulus_bits(const struct kyok_facts *facts)
{
    size_t at = 0;
    unsigned bits;

    while (at < facts->modulus_size && facts->modulus[at] == 0)
        at++;
    if (at == facts->modulus_size)
        return 0;
    bits = (unsigned)(facts->modulus_size - at) * 8;
    for (uint8_t top = facts->modulus[at]; !(top & 0x80); top = (uint8_t)(top << 1))
        bits--;
    return bits;
}

static enum kyok_key_type ec_type(const struct kyok_facts *facts, unsigned *bits)
{
    static const struct {
        enum kyok_key_type type;
        unsigned bits;
        size_t point_size;
        const char *name;
    } kinds[] = {
        {KYOK_KEY_EC, 256, 65, "secp256r1"},     {KYOK_KEY_EC, 384, 97, "secp384r1"},
        {KYOK_KEY_EC, 521, 133, "secp521r1"},    {KYOK_KEY_ED25519, 256, 32, "edwards25519"},
        {KYOK_KEY_ED448, 456, 57, "edwards448"}, {KYOK_KEY_X25519, 253, 32, "curve25519"},
        {KYOK_KEY_X448, 448, 56, "curve448"},
    };

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct kyok_bytes parameters;

        if (!kyok_ec_parameters(kinds[i].type, kinds[i].bits, &parameters))
            continue;
        if (kyok_bytes_equal(parameters, kyok_bytes(facts->parameters, facts->parameters_size)) ||
            (facts->parameters_size > 2 && facts->parameters[0] == 0x13 &&
             kyok_bytes_equal(kyok_bytes_of_text(kinds[i].name),
                              kyok_bytes(facts->parameters + 2, facts->parameters_size - 2)))) {
            *bits = kinds[i].bits;
            return kinds[i].type;
        }
    }
    return KYOK_KEY_UNKNOWN;
}

enum kyok_key_type kyok_facts_type(const struct kyok_facts *facts, unsigned *bits)
{
    *bits = 0;
    switch (facts->key_type) {
    case CKK_RSA:
        *bits = modulus_bits(facts);
        return KYOK_KEY_RSA;
    case CKK_EC:
    case CKK_EC_EDWARDS:
    case CKK_EC_MONTGOMERY:
        return ec_type(facts, bits);
    case CKK_AES:
        *bits = (unsigned)facts->value_size * 8;
        return KYOK_KEY_AES;
    case CKK_GENERIC_SECRET:
        *bits = (unsigned)facts->value_size * 8;
        return KYOK_KEY_GENERIC;
    default:
        return KYOK_KEY_UNKNOWN;
    }
}

static enum kyok_object_type object_type(CK_OBJECT_CLASS object_class)
{
    switch (object_class) {
    case CKO_PRIVATE_KEY:
        return KYOK_OBJECT_PRIVATE;
    case CKO_PUBLIC_KEY:
        return KYOK_OBJECT_PUBLIC;
    case CKO_SECRET_KEY:
        return KYOK_OBJECT_SECRET;
    case CKO_CERTIFICATE:
        return KYOK_OBJECT_CERTIFICATE;
    case CKO_DATA:
        return KYOK_OBJECT_DATA;
    default:
        return KYOK_OBJECT_ANY;
    }
}

static bool fill_texts(const struct kyok_facts *facts, const char *group, struct kyok_bytes spki,
                       struct kyok_key_info *info)
{
    info->label = strndup((const char *)facts->label, facts->label_size);
    info->id = malloc(facts->id_size + 1);
    info->custodian = strdup(group);
    if (info->label == NULL || info->id == NULL || info->custodian == NULL)
        return false;
    memcpy(info->id, facts->id, facts->id_size);
    info->id_size = facts->id_size;
    if (spki.size > 0) {
        info->public_key = malloc(spki.size);
        if (info->public_key == NULL)
            return false;
        memcpy(info->public_key, spki.data, spki.size);
        info->public_key_size = spki.size;
    }
    return true;
}

static enum kyok_status fill_reference(const struct kyok_token *token, struct kyok_key_info *info,
                                       struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    struct kyok_reference exact = {
        .kind = KYOK_REFERENCE_PKCS11,
        .library_major = -1,
        .library_minor = -1,
        .token = (char *)token->label,
        .object = info->label[0] == '\0' ? NULL : info->label,
        .id = info->id,
        .id_size = info->id_size,
        .has_id = info->id_size > 0,
        .type = info->object,
    };

    KYOK_TRY(kyok_reference_format(&exact, &text, err));
    info->reference = strndup((const char *)text.data, text.size);
    return info->reference != NULL ? KYOK_OK : kyok_fail(err, KYOK_SYSTEM, NULL, "no memory");
}

enum kyok_status kyok_facts_info(const struct kyok_facts *facts, const struct kyok_token *token,
                                 const char *group, struct kyok_bytes spki,
                                 struct kyok_key_info *info, struct kyok_error *err)
{
    *info = (struct kyok_key_info){
        .object = object_type(facts->object_class),
        .sensitive = facts->sensitive,
        .always_sensitive = facts->always_sensitive,
        .never_extractable = facts->never_extractable,
        .extractable = facts->extractable,
        .local = facts->local,
        .may_sign = facts->sign,
        .may_decrypt = facts->decrypt,
        .may_derive = facts->derive,
        .may_wrap = facts->wrap,
        .may_unwrap = facts->unwrap,
        .may_encrypt = facts->encrypt,
        .always_authenticate = facts->always_authenticate,
    };
    info->type = kyok_facts_type(facts, &info->bits);
    if (!fill_texts(facts, group, spki, info))
        return kyok_fail(err, KYOK_SYSTEM, token->label, "no memory");
    return fill_reference(token, info, err);
}

/* --- require --- */

enum kyok_status kyok_facts_require(const struct kyok_facts *facts, enum kyok_require require,
                                    const char *object, struct kyok_error *err)
{
    const struct {
        const char *name;
        enum kyok_answer is, must;
        enum kyok_require from;
    } rules[] = {
        {"CKA_SENSITIVE", facts->sensitive, KYOK_YES, KYOK_REQUIRE_NON_EXTRACTABLE},
        {"CKA_EXTRACTABLE", facts->extractable, KYOK_NO, KYOK_REQUIRE_NON_EXTRACTABLE},
        {"CKA_ALWAYS_SENSITIVE", facts->always_sensitive, KYOK_YES, KYOK_REQUIRE_NEVER_EXTRACTABLE},
        {"CKA_NEVER_EXTRACTABLE", facts->never_extractable, KYOK_YES,
         KYOK_REQUIRE_NEVER_EXTRACTABLE},
    };
    const char *word =
        require == KYOK_REQUIRE_NEVER_EXTRACTABLE ? "never-extractable" : "non-extractable";

    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (require < rules[i].from || rules[i].is == rules[i].must)
            continue;
        kyok_fail(err, KYOK_REFUSED, object, "the key does not meet \"require = %s\"", word);
        if (rules[i].is == KYOK_NOT_KNOWN) {
            kyok_because(err, "the token does not know %s", rules[i].name);
            return kyok_remedy(err, "use a weaker require for this token, if your policy allows");
        }
        kyok_because(err, "%s is %s", rules[i].name, rules[i].is == KYOK_YES ? "true" : "false");
        return kyok_remedy(err, "use a key generated in the token (kyok key generate)");
    }
    return KYOK_OK;
}
