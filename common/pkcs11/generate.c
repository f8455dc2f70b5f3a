/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/library_context.h"
#include "common/pkcs11/live.h"

#include <openssl/rand.h>
#include <string.h>
#include <time.h>

#define TEMPLATE_ROOM 20
#define ID_SIZE 16

struct template
{
    CK_ATTRIBUTE fields[TEMPLATE_ROOM];
    CK_ULONG count;
};

static void put(struct template *template, CK_ATTRIBUTE_TYPE type, const void *value, size_t size)
{
    template->fields[template->count++] = (CK_ATTRIBUTE){type, (void *)value, size};
}

static void put_bool(struct template *template, CK_ATTRIBUTE_TYPE type, bool value)
{
    static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

    put(template, type, value ? &yes : &no, sizeof(CK_BBOOL));
}

static const struct generation {
    enum kyok_key_type type;
    CK_MECHANISM_TYPE mechanism;
    const char *name; /* the mechanism's */
    CK_KEY_TYPE key_type;
    unsigned uses; /* when the request names none */
    const char *alternative;
} generations[] = {
#define BY(mechanism) mechanism, #mechanism
    {KYOK_KEY_RSA, BY(CKM_RSA_PKCS_KEY_PAIR_GEN), CKK_RSA, KYOK_USE_SIGN | KYOK_USE_DECRYPT,
     "make an EC key (--type ec-p256)"},
    {KYOK_KEY_EC, BY(CKM_EC_KEY_PAIR_GEN), CKK_EC, KYOK_USE_SIGN | KYOK_USE_DERIVE,
     "make an RSA key (--type rsa-3072)"},
    {KYOK_KEY_ED25519, BY(CKM_EC_EDWARDS_KEY_PAIR_GEN), CKK_EC_EDWARDS, KYOK_USE_SIGN,
     "make an EC key (--type ec-p256)"},
    {KYOK_KEY_ED448, BY(CKM_EC_EDWARDS_KEY_PAIR_GEN), CKK_EC_EDWARDS, KYOK_USE_SIGN,
     "make an EC key (--type ec-p521)"},
    {KYOK_KEY_X25519, BY(CKM_EC_MONTGOMERY_KEY_PAIR_GEN), CKK_EC_MONTGOMERY, KYOK_USE_DERIVE,
     "agree on keys with P-256 (--type ec-p256)"},
    {KYOK_KEY_X448, BY(CKM_EC_MONTGOMERY_KEY_PAIR_GEN), CKK_EC_MONTGOMERY, KYOK_USE_DERIVE,
     "agree on keys with P-521 (--type ec-p521)"},
    {KYOK_KEY_AES, BY(CKM_AES_KEY_GEN), CKK_AES, KYOK_USE_DECRYPT | KYOK_USE_WRAP,
     "seal to an RSA key of this token (--type rsa-3072)"},
#undef BY
};

struct generating {
    const struct kyok_reference *reference;
    const struct kyok_generate_request *request;
    const struct generation *how;
    unsigned uses; /* the key's */
    unsigned now;  /* those that it is born with */
    bool dated;
    char start[sizeof(CK_DATE) + 1], end[sizeof(CK_DATE) + 1]; /* "20261121", or "" */
    uint8_t id[256];
    size_t id_size;
    struct kyok_deadline deadline;
    bool begun; /* the token was asked to: whatever it answered, the key may be there */
};

/* --- templates: born private, sensitive, never extractable, on the token --- */

static void put_common(struct template *template, const struct generating *g, bool private_object)
{
    put(template, CKA_KEY_TYPE, &g->how->key_type, sizeof(g->how->key_type));
    put_bool(template, CKA_TOKEN, true);
    put_bool(template, CKA_PRIVATE, private_object);
    put(template, CKA_LABEL, g->reference->object, strlen(g->reference->object));
    put(template, CKA_ID, g->id, g->id_size);
}

static void put_guard(struct template *template, const struct generating *g)
{
    put_bool(template, CKA_SENSITIVE, true);
    put_bool(template, CKA_EXTRACTABLE, false);
    put_bool(template, CKA_SIGN, (g->now & KYOK_USE_SIGN) && g->request->type != KYOK_KEY_AES);
    put_bool(template, CKA_DECRYPT, g->now & KYOK_USE_DECRYPT);
    put_bool(template, CKA_UNWRAP, g->now & KYOK_USE_WRAP);
    put_bool(template, CKA_DERIVE, g->now & KYOK_USE_DERIVE);
    if (g->dated && g->start[0] != '\0')
        put(template, CKA_START_DATE, g->start, sizeof(CK_DATE));
    if (g->dated && g->end[0] != '\0')
        put(template, CKA_END_DATE, g->end, sizeof(CK_DATE));
}

static CK_RV generate_secret(const struct kyok_call *call, const struct generating *g)
{
    CK_MECHANISM mechanism = {g->how->mechanism, NULL, 0};
    struct template template = {.count = 0};
    CK_ULONG size = g->request->bits / 8;
    CK_OBJECT_HANDLE object;

    put_common(&template, g, true);
    put_guard(&template, g);
    put(&template, CKA_VALUE_LEN, &size, sizeof(size));
    put_bool(&template, CKA_ENCRYPT, g->now & KYOK_USE_DECRYPT);
    put_bool(&template, CKA_WRAP, g->now & KYOK_USE_WRAP);
    put_bool(&template, CKA_VERIFY, false); /* SoftHSM's default is true */
    return call->lease->f->C_GenerateKey(call->lease->handle, &mechanism, template.fields,
                                         template.count, &object);
}

static CK_RV generate_pair(const struct kyok_call *call, const struct generating *g)
{
    static const CK_BYTE f4[] = {1, 0, 1};
    CK_MECHANISM mechanism = {g->how->mechanism, NULL, 0};
    struct template public_key = {.count = 0}, private_key = {.count = 0};
    CK_ULONG bits = g->request->bits;
    CK_OBJECT_HANDLE public_object, private_object;
    struct kyok_bytes parameters;

    put_common(&public_key, g, false);
    put_common(&private_key, g, true);
    put_guard(&private_key, g);
    put_bool(&public_key, CKA_VERIFY, g->uses & KYOK_USE_SIGN);
    if (g->request->type == KYOK_KEY_RSA) {
        put(&public_key, CKA_MODULUS_BITS, &bits, sizeof(bits));
        put(&public_key, CKA_PUBLIC_EXPONENT, f4, sizeof(f4));
        put_bool(&public_key, CKA_ENCRYPT, g->uses & KYOK_USE_DECRYPT);
        put_bool(&public_key, CKA_WRAP, g->uses & KYOK_USE_WRAP);
    } else if (kyok_ec_parameters(g->request->type, g->request->bits, &parameters)) {
        put(&public_key, CKA_EC_PARAMS, parameters.data, parameters.size);
    } else {
        return CKR_DOMAIN_PARAMS_INVALID;
    }
    return call->lease->f->C_GenerateKeyPair(call->lease->handle, &mechanism, public_key.fields,
                                             public_key.count, private_key.fields,
                                             private_key.count, &public_object, &private_object);
}

static enum kyok_status cannot(const struct kyok_call *call, const struct generating *g,
                               struct kyok_error *err)
{
    char text[128];

    kyok_fail(err, KYOK_UNSUPPORTED, g->reference->text, "%s cannot generate this type of key",
              kyok_token_text(call->lease->token, text, sizeof(text)));
    kyok_because(err, "it offers no %s", g->how->name);
    return kyok_remedy(err, "%s, or import one", g->how->alternative);
}

/* Another key of the name, or the one that an earlier try has made although it failed: its id
 * tells.
 */
static CK_RV seek(const struct kyok_call *call, const struct generating *g, size_t *named,
                  size_t *made)
{
    CK_OBJECT_CLASS object_class =
        g->request->type == KYOK_KEY_AES ? CKO_SECRET_KEY : CKO_PRIVATE_KEY;
    CK_OBJECT_HANDLE found[1];
    CK_RV rv = kyok_objects_find(call->lease, object_class, g->reference->object, NULL, 0, found, 1,
                                 named);

    *made = 0;
    if (rv == CKR_OK && *named > 0 && g->begun)
        rv = kyok_objects_find(call->lease, object_class, g->reference->object, g->id, g->id_size,
                               found, 1, made);
    return rv;
}

/* Answers that say that nothing was made: after any other the key may be there. */
static bool refuses_template(CK_RV rv)
{
    return rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_VALUE_INVALID ||
           rv == CKR_ATTRIBUTE_READ_ONLY || rv == CKR_TEMPLATE_INCONSISTENT;
}

static CK_RV generate_one(const struct kyok_call *call, struct generating *g, bool dated)
{
    g->dated = dated;
    return g->request->type == KYOK_KEY_AES ? generate_secret(call, g) : generate_pair(call, g);
}

static CK_RV generate(const struct kyok_call *call, void *arg, struct kyok_error *err)
{
    struct generating *g = arg;
    bool dated = g->request->activate != 0 || g->request->deactivate != 0;
    char text[128];
    size_t named, made;
    CK_RV rv = seek(call, g, &named, &made);

    if (rv != CKR_OK || made > 0)
        return rv;
    if (named > 0) {
        kyok_fail(err, KYOK_REFUSED, g->reference->text, "%s already has a key of this name",
                  kyok_token_text(call->lease->token, text, sizeof(text)));
        kyok_remedy(err, "choose another object= name");
        return CKR_OK;
    }
    if (!kyok_token_can(call->lease, g->how->mechanism, 0)) {
        cannot(call, g, err);
        return CKR_OK;
    }
    if (kyok_key_usable(call->lease, g->request->type, g->reference->text, err) != KYOK_OK)
        return CKR_OK; /* a key that could only lie there is not made */
    if (kyok_call_is_late(g->deadline, "generate", g->reference->text, err))
        return CKR_OK;
    g->begun = true;
    rv = generate_one(call, g, dated);
    /* Nothing rests on the dates in the token, and many a token lacks them. */
    return dated && refuses_template(rv) ? generate_one(call, g, false) : rv;
}

/* --- what may be asked --- */

static bool size_fits(const struct kyok_generate_request *request)
{
    struct kyok_bytes parameters;

    if (request->type == KYOK_KEY_RSA)
        return request->bits >= 2048 && request->bits <= 16384 && request->bits % 256 == 0;
    if (request->type == KYOK_KEY_AES)
        return request->bits == 128 || request->bits == 192 || request->bits == 256;
    return kyok_ec_parameters(request->type, request->bits, &parameters);
}

static void write_date(int64_t seconds, char digits[sizeof(CK_DATE) + 1])
{
    time_t moment = (time_t)seconds;
    struct tm fields;

    if (seconds == 0 || gmtime_r(&moment, &fields) == NULL ||
        strftime(digits, sizeof(CK_DATE) + 1, "%Y%m%d", &fields) != sizeof(CK_DATE))
        digits[0] = '\0';
}

static enum kyok_status prepare(struct generating *g, struct kyok_error *err)
{
    const struct kyok_reference *reference = g->reference;
    struct kyok_bytes id = g->request->id;

    for (size_t i = 0; i < sizeof(generations) / sizeof(generations[0]); i++) {
        if (generations[i].type == g->request->type)
            g->how = &generations[i];
    }
    if (g->how == NULL || !size_fits(g->request))
        return kyok_fail(err, KYOK_INVALID, reference->text,
                         "no key of this type and size can be generated");
    if (reference->object == NULL) {
        kyok_fail(err, KYOK_INVALID, reference->text, "the new key needs a name");
        return kyok_remedy(err, "add object=NAME to the reference");
    }
    if (id.size == 0 && reference->has_id)
        id = kyok_bytes(reference->id, reference->id_size);
    if (id.size > sizeof(g->id))
        return kyok_fail(err, KYOK_INVALID, reference->text, "the id is too long");
    g->id_size = id.size == 0 ? ID_SIZE : id.size;
    if (id.size > 0)
        memcpy(g->id, id.data, id.size);
    else if (RAND_bytes_ex(kyok_library_context(), g->id, ID_SIZE, 0) <= 0)
        return kyok_fail(err, KYOK_SYSTEM, reference->text, "no randomness for an id");
    g->uses = g->request->uses == 0 ? g->how->uses : g->request->uses;
    g->now = g->request->dormant ? 0 : g->uses;
    write_date(g->request->activate, g->start);
    write_date(g->request->deactivate, g->end);
    return KYOK_OK;
}

/* SoftHSM 2.6.1 rewrites its token at each login, and a process that looks in that moment finds
 * none, or one without a PIN. Nothing has been asked of the token yet, so another look is safe. */
static bool may_settle(enum kyok_status status, const struct kyok_error *err)
{
    return status == KYOK_UNREACHABLE || status == KYOK_NOT_FOUND ||
           (status == KYOK_PIN && strcmp(err->reason, "CKR_USER_PIN_NOT_INITIALIZED") == 0);
}

static unsigned usual_uses(enum kyok_key_type type)
{
    for (size_t i = 0; i < sizeof(generations) / sizeof(generations[0]); i++)
        if (generations[i].type == type)
            return generations[i].uses;
    return 0;
}

unsigned kyok_generated_usage(enum kyok_key_type type, unsigned uses)
{
    bool secret = type == KYOK_KEY_AES;
    unsigned usage = 0;

    if (uses == 0)
        uses = usual_uses(type);
    if ((uses & KYOK_USE_SIGN) && !secret)
        usage |= KYOK_USAGE_SIGN;
    if (uses & KYOK_USE_DECRYPT)
        usage |= KYOK_USAGE_DECRYPT | (secret ? KYOK_USAGE_ENCRYPT : 0);
    if (uses & KYOK_USE_WRAP)
        usage |= KYOK_USAGE_UNWRAP | (secret ? KYOK_USAGE_WRAP : 0);
    return usage | (uses & KYOK_USE_DERIVE ? KYOK_USAGE_DERIVE : 0);
}

enum kyok_status kyok_group_generate(struct kyok_group *group,
                                     const struct kyok_reference *reference,
                                     const struct kyok_generate_request *request,
                                     struct kyok_deadline deadline, struct kyok_error *err)
{
    struct generating generating = {
        .reference = reference, .request = request, .deadline = deadline};
    struct kyok_plan plan = {.verb = "generate",
                             .attempt = generate,
                             .arg = &generating,
                             .login = true,
                             .write = true,
                             .one_member = true,
                             .reference = reference};
    struct kyok_event event = {
        .type = "create", .key = reference->text, .custodian = group->config->name};
    enum kyok_status status = prepare(&generating, err);

    if (status == KYOK_OK)
        status = kyok_group_call(group, NULL, &plan, deadline, err);
    for (unsigned n = 0; n < KYOK_LOOKS && !generating.begun && may_settle(status, err) &&
                         kyok_group_look_anew(group, deadline);
         n++)
        status = kyok_group_call(group, NULL, &plan, deadline, err);
    if (status == KYOK_AMBIGUOUS) /* one that never leaves its token cannot be given to another */
        kyok_remedy(err, "name one of them with token= and clone the key with the vendor's tool; "
                         "where non-extractable is enough: kyok key generate --replicate");
    event.result = kyok_status_name(status);
    kyok_event_emit(&event);
    return status;
}
