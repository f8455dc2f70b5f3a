/* SPDX-License-Identifier: Apache-2.0 */
/* Recipients whose keys are in a token group or at a KMIP server, through the key layer. */
#include "common/envelope/keyholder.h"
#include "common/key/lifecycle.h"

#include <stdlib.h>
#include <string.h>

static void key_auto_free(struct kyok_key **key)
{
    kyok_key_free(*key);
}

static void reference_auto_free(struct kyok_reference **reference)
{
    kyok_reference_free(*reference);
}

#define AUTO_KEY KYOK_CLEANUP(key_auto_free)
#define AUTO_REFERENCE KYOK_CLEANUP(reference_auto_free)

/* --- kid ------------------------------------------------------------------------------------- */

/* Slot, serial and the like change when a token is restored or a key cloned; a module or a PIN
 * source is never taken from data. */
static enum kyok_status format_kid(const struct kyok_reference *reference, char **kid,
                                   struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    struct kyok_reference bare = {
        .kind = reference->kind,
        .origin = KYOK_FROM_DATA,
        .text = reference->text,
        .library_major = -1,
        .library_minor = -1,
        .token = reference->token,
        .object = reference->object,
        .id = reference->id,
        .id_size = reference->id_size,
        .has_id = reference->has_id,
    };

    *kid = NULL;
    if (reference->kind == KYOK_REFERENCE_KMIP) {
        bare.group = reference->group;
        bare.identifier = reference->identifier;
    }
    KYOK_TRY(kyok_reference_format(&bare, &text, err));
    *kid = strndup((const char *)text.data, text.size);
    return *kid != NULL ? KYOK_OK : kyok_no_memory(err);
}

static enum kyok_status kid_of_key(const struct kyok_key *key, const struct kyok_config *config,
                                   char **kid, struct kyok_error *err)
{
    AUTO_REFERENCE struct kyok_reference *exact = NULL;

    KYOK_TRY(kyok_reference_parse(kyok_key_info(key)->reference, KYOK_FROM_CONFIGURATION, config,
                                  &exact, err));
    if (exact->kind == KYOK_REFERENCE_PKCS11 && exact->object == NULL && !exact->has_id)
        return kyok_fail(err, KYOK_UNSUPPORTED, kyok_key_info(key)->reference,
                         "a key with neither label nor id cannot be named in an envelope");
    return format_kid(exact, kid, err);
}

static enum kyok_status reference_of_kid(const char *kid, const struct kyok_config *config,
                                         struct kyok_reference **reference, struct kyok_error *err)
{
    KYOK_AUTO_FREE char *again = NULL;

    if (kid == NULL)
        return kyok_remedy((kyok_fail(err, KYOK_INVALID, NULL, "a recipient names no key"), err),
                           "name the key with --key");
    KYOK_TRY(kyok_reference_parse(kid, KYOK_FROM_DATA, config, reference, err));
    KYOK_TRY(format_kid(*reference, &again, err));
    if (strcmp(again, kid) == 0)
        return KYOK_OK;
    kyok_fail(err, KYOK_REFUSED, kid,
              "a recipient's kid must hold nothing but token, object and id, or a KMIP identifier");
    return kyok_remedy(err, "the canonical form of this one is %.200s", again);
}

/* --- sealing --------------------------------------------------------------------------------- */

static enum kyok_status wrap_gcm(struct kyok_key *key, struct kyok_bytes cek,
                                 struct kyok_jwe_recipient *recipient, struct kyok_buffer *wrapped,
                                 struct kyok_error *err)
{
    struct kyok_cipher_request request = {
        .scheme = KYOK_CIPHER_AES_GCM, .input = cek, .iv_size = KYOK_GCM_IV_SIZE};

    KYOK_TRY(kyok_crypto_random(request.iv, KYOK_GCM_IV_SIZE, err));
    KYOK_TRY(kyok_key_encrypt(key, &request, wrapped, err));
    if (request.iv_size != KYOK_GCM_IV_SIZE)
        return kyok_fail(err, KYOK_UNSUPPORTED, recipient->kid,
                         "the token's own IV has %zu bytes, JWE takes 12", request.iv_size);
    memcpy(recipient->iv, request.iv, sizeof(recipient->iv));
    memcpy(recipient->tag, request.tag, sizeof(recipient->tag));
    recipient->algorithm = KYOK_ENVELOPE_A256GCMKW;
    return KYOK_OK;
}

static enum kyok_status wrap_kw(struct kyok_key *key, struct kyok_bytes cek,
                                struct kyok_jwe_recipient *recipient, struct kyok_buffer *wrapped,
                                struct kyok_error *err)
{
    struct kyok_cipher_request request = {.scheme = KYOK_CIPHER_AES_KW, .input = cek};

    recipient->algorithm = KYOK_ENVELOPE_A256KW;
    return kyok_key_encrypt(key, &request, wrapped, err);
}

/* A released key's value is here when it is used, and its length is checked then. */
static bool is_released(const struct kyok_key_info *info, const struct kyok_config *config)
{
    const struct kyok_kmip_config *group = NULL;

    if (strncmp(info->reference, "kmip:", 5) == 0)
        group = kyok_config_kmip(config, info->custodian);
    return group != NULL && group->release;
}

static enum kyok_status check_length(const struct kyok_key_info *info,
                                     const struct kyok_config *config, const char *kid,
                                     struct kyok_error *err)
{
    if (info->bits == 256 || (info->bits == 0 && is_released(info, config)))
        return KYOK_OK;
    if (info->bits != 0)
        return kyok_fail(err, KYOK_UNSUPPORTED, kid,
                         "an envelope needs an AES key of 256 bits, this one has %u", info->bits);
    kyok_fail(err, KYOK_UNSUPPORTED, kid, "its custodian does not tell this AES key's length");
    return kyok_remedy(err, "use a key that is known to have 256 bits");
}

static enum kyok_status wrap_aes(struct kyok_key *key, enum kyok_envelope_algorithm algorithm,
                                 struct kyok_bytes cek, struct kyok_jwe_recipient *recipient,
                                 struct kyok_buffer *wrapped, struct kyok_error *err)
{
    enum kyok_status status;

    if (algorithm == KYOK_ENVELOPE_A256KW)
        return wrap_kw(key, cek, recipient, wrapped, err);
    status = wrap_gcm(key, cek, recipient, wrapped, err);
    if (status != KYOK_UNSUPPORTED || algorithm == KYOK_ENVELOPE_A256GCMKW)
        return status;
    wrapped->size = 0;
    return wrap_kw(key, cek, recipient, wrapped, err);
}

/* A public half encrypts whatever the token thinks of it, and no token looks at dates: the record's
 * word is all there is. */
static enum kyok_status check_active(struct kyok_context *context, const char *kid,
                                     struct kyok_error *err)
{
    KYOK_AUTO_FREE struct kyok_key_record *record = calloc(1, sizeof(*record));
    AUTO_REFERENCE struct kyok_reference *reference = NULL;
    const struct kyok_key_version *version;
    enum kyok_key_state state;

    if (record == NULL)
        return kyok_no_memory(err);
    KYOK_TRY(
        kyok_reference_parse(kid, KYOK_FROM_DATA, kyok_context_config(context), &reference, err));
    if (reference->kind == KYOK_REFERENCE_KMIP || reference->object == NULL)
        return KYOK_OK;
    KYOK_TRY(kyok_key_record(context, reference, record, err));
    version = kyok_key_record_version(record, reference->object, reference->id,
                                      reference->has_id ? reference->id_size : 0);
    state = version != NULL ? kyok_key_version_state(version, time(NULL)) : KYOK_STATE_ACTIVE;
    if (state == KYOK_STATE_ACTIVE)
        return KYOK_OK;
    return kyok_fail(err, KYOK_REFUSED, kid, "this key is %s: nothing is sealed to it",
                     kyok_key_state_name(state));
}

/* The host encrypts to the public half; whether the token can decrypt that is found out now, not
 * when the secret is needed. One that may not (another identity opens) or is away is no reason to
 * refuse. */
static enum kyok_status try_to_open(struct kyok_key *key, struct kyok_bytes wrapped,
                                    const char *kid, struct kyok_error *err)
{
    struct kyok_cipher_request request = {.scheme = KYOK_CIPHER_RSA_OAEP,
                                          .input = wrapped,
                                          .hash = KYOK_HASH_SHA256,
                                          .mgf1_hash = KYOK_HASH_SHA256};
    KYOK_AUTO_SECRET struct kyok_secret *cek = NULL;
    struct kyok_error why;

    switch (kyok_key_decrypt(key, &request, &cek, &why)) {
    case KYOK_OK:
    case KYOK_REFUSED:
    case KYOK_PIN:
    case KYOK_UNREACHABLE:
    case KYOK_TIMEOUT:
        return KYOK_OK;
    default:
        break;
    }
    kyok_fail(err, KYOK_UNSUPPORTED, kid,
              "its custodian cannot open what is sealed to this RSA key");
    if (why.reason[0] != '\0')
        kyok_because(err, "%s", why.reason);
    return kyok_remedy(err, "seal to an AES key there, or to another custodian");
}

static enum kyok_status wrap_rsa(struct kyok_key *key, struct kyok_bytes cek,
                                 struct kyok_jwe_recipient *recipient, struct kyok_buffer *wrapped,
                                 struct kyok_error *err)
{
    const struct kyok_key_info *info = kyok_key_info(key);

    if (info->public_key == NULL)
        return kyok_fail(err, KYOK_NOT_FOUND, recipient->kid,
                         "the custodian gives no public half for this RSA key");
    recipient->algorithm = KYOK_ENVELOPE_RSA_OAEP_256;
    KYOK_TRY(
        kyok_rsa_oaep_seal(kyok_bytes(info->public_key, info->public_key_size), cek, wrapped, err));
    return try_to_open(key, kyok_buffer_bytes(wrapped), recipient->kid, err);
}

static enum kyok_status wrap_with_key(struct kyok_key *key, enum kyok_envelope_algorithm algorithm,
                                      struct kyok_bytes cek, struct kyok_jwe_recipient *recipient,
                                      struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free)
    struct kyok_buffer wrapped = {.limit = KYOK_JWE_MAX_ENCRYPTED_KEY};

    switch (kyok_key_info(key)->type) {
    case KYOK_KEY_AES:
        KYOK_TRY(wrap_aes(key, algorithm, cek, recipient, &wrapped, err));
        break;
    case KYOK_KEY_RSA:
        KYOK_TRY(wrap_rsa(key, cek, recipient, &wrapped, err));
        break;
    default:
        return kyok_fail(err, KYOK_UNSUPPORTED, recipient->kid,
                         "an envelope's recipient is an AES-256 or RSA key, not %s",
                         kyok_key_type_name(kyok_key_info(key)->type));
    }
    recipient->encrypted_key = malloc(wrapped.size + 1);
    if (recipient->encrypted_key == NULL)
        return kyok_no_memory(err);
    memcpy(recipient->encrypted_key, wrapped.data, wrapped.size);
    recipient->encrypted_key_size = wrapped.size;
    return KYOK_OK;
}

/* New data goes to the newest active version of the key that a name means. */
static enum kyok_status open_current(struct kyok_context *context,
                                     const struct kyok_reference *reference, struct kyok_key **key,
                                     struct kyok_error *err)
{
    AUTO_REFERENCE struct kyok_reference *current = NULL;

    KYOK_TRY(kyok_key_current(context, reference, &current, err));
    return kyok_key_open(context, current, (struct kyok_bytes){0}, key, err);
}

static enum kyok_status key_wrap(void *self, const struct kyok_reference *reference,
                                 enum kyok_envelope_algorithm algorithm, struct kyok_bytes cek,
                                 struct kyok_jwe_recipient *recipient, struct kyok_error *err)
{
    AUTO_KEY struct kyok_key *key = NULL;

    KYOK_TRY(open_current(self, reference, &key, err));
    KYOK_TRY(kid_of_key(key, kyok_context_config(self), &recipient->kid, err));
    if (kyok_key_info(key)->type == KYOK_KEY_RSA || reference->has_id)
        KYOK_TRY(check_active(self, recipient->kid, err));
    if (kyok_key_info(key)->type == KYOK_KEY_AES)
        KYOK_TRY(check_length(kyok_key_info(key), kyok_context_config(self), recipient->kid, err));
    return wrap_with_key(key, algorithm, cek, recipient, err);
}

static enum kyok_status key_wrap_kid(void *self, const char *kid,
                                     enum kyok_envelope_algorithm algorithm, struct kyok_bytes cek,
                                     struct kyok_jwe_recipient *recipient, struct kyok_error *err)
{
    AUTO_REFERENCE struct kyok_reference *reference = NULL;

    KYOK_TRY(reference_of_kid(kid, kyok_context_config(self), &reference, err));
    return key_wrap(self, reference, algorithm, cek, recipient, err);
}

static enum kyok_status key_name(void *self, const struct kyok_reference *reference, char **kid,
                                 struct kyok_error *err)
{
    AUTO_KEY struct kyok_key *key = NULL;

    KYOK_TRY(open_current(self, reference, &key, err));
    return kid_of_key(key, kyok_context_config(self), kid, err);
}

/* --- opening --------------------------------------------------------------------------------- */

static struct kyok_cipher_request unwrap_request(const struct kyok_jwe_recipient *recipient)
{
    struct kyok_cipher_request request = {
        .input = kyok_bytes(recipient->encrypted_key, recipient->encrypted_key_size)};

    switch (recipient->algorithm) {
    case KYOK_ENVELOPE_RSA_OAEP_256:
        request.scheme = KYOK_CIPHER_RSA_OAEP;
        request.hash = request.mgf1_hash = KYOK_HASH_SHA256;
        break;
    case KYOK_ENVELOPE_A256KW:
        request.scheme = KYOK_CIPHER_AES_KW;
        break;
    default:
        request.scheme = KYOK_CIPHER_AES_GCM;
        request.iv_size = KYOK_GCM_IV_SIZE;
        memcpy(request.iv, recipient->iv, sizeof(recipient->iv));
        memcpy(request.tag, recipient->tag, sizeof(recipient->tag));
    }
    return request;
}

/* A token only says "not permitted": the key's record may say why. */
static void explain_refusal(struct kyok_context *context, const struct kyok_reference *reference,
                            struct kyok_error *err)
{
    KYOK_AUTO_FREE struct kyok_key_record *record = calloc(1, sizeof(*record));
    const struct kyok_key_version *version = NULL;
    struct kyok_error ignored;

    if (record == NULL || reference->kind != KYOK_REFERENCE_PKCS11 ||
        kyok_key_record(context, reference, record, &ignored) != KYOK_OK)
        return;
    version =
        kyok_key_record_version(record, reference->object, reference->has_id ? reference->id : NULL,
                                reference->has_id ? reference->id_size : 0);
    if (version != NULL && version->state != KYOK_STATE_ACTIVE)
        kyok_remedy(err, "its record says that the key is %s", kyok_key_state_name(version->state));
}

/* Whoever reads the error knows the envelope and its keys, not which endpoint serves which. */
static enum kyok_status name_recipient(const char *kid, struct kyok_error *err)
{
    struct kyok_error cause = *err;

    if (strstr(err->object, kid) != NULL || strstr(err->what, kid) != NULL)
        return err->status;
    kyok_fail(err, cause.status, kid, "%.140s%s%.170s", cause.object,
              cause.object[0] != '\0' ? ": " : "", cause.what);
    if (cause.reason[0] != '\0')
        kyok_because(err, "%s", cause.reason);
    if (cause.remedy[0] != '\0')
        kyok_remedy(err, "%s", cause.remedy);
    return cause.status;
}

/* A kid does not say what it names; the algorithm does, and spares the token a search. */
static enum kyok_status open_wanted(struct kyok_context *context, struct kyok_reference *reference,
                                    enum kyok_key_type wanted, struct kyok_key **key,
                                    struct kyok_error *err)
{
    enum kyok_object_type said = reference->type;

    if (reference->kind == KYOK_REFERENCE_PKCS11 && said == KYOK_OBJECT_ANY)
        reference->type = wanted == KYOK_KEY_AES ? KYOK_OBJECT_SECRET : KYOK_OBJECT_PRIVATE;
    if (kyok_key_open(context, reference, (struct kyok_bytes){0}, key, err) == KYOK_OK)
        return KYOK_OK;
    if (err->status != KYOK_NOT_FOUND || reference->type == said)
        return err->status;
    reference->type = said; /* a key of another kind is no absent one */
    return kyok_key_open(context, reference, (struct kyok_bytes){0}, key, err);
}

static enum kyok_status key_unwrap(void *self, const struct kyok_jwe_recipient *recipient,
                                   const char *kid, struct kyok_secret **cek,
                                   struct kyok_error *err)
{
    struct kyok_cipher_request request = unwrap_request(recipient);
    enum kyok_key_type wanted =
        recipient->algorithm == KYOK_ENVELOPE_RSA_OAEP_256 ? KYOK_KEY_RSA : KYOK_KEY_AES;
    AUTO_REFERENCE struct kyok_reference *reference = NULL;
    AUTO_KEY struct kyok_key *key = NULL;

    KYOK_TRY(reference_of_kid(kid != NULL ? kid : recipient->kid, kyok_context_config(self),
                              &reference, err));
    if (open_wanted(self, reference, wanted, &key, err) != KYOK_OK) {
        if (err->status == KYOK_NOT_FOUND)
            explain_refusal(self, reference, err);
        return name_recipient(reference->text, err);
    }
    if (kyok_key_info(key)->type != wanted)
        return kyok_fail(err, KYOK_REFUSED, recipient->kid, "%s needs a key of type %s, not %s",
                         kyok_envelope_algorithm_name(recipient->algorithm),
                         kyok_key_type_name(wanted), kyok_key_type_name(kyok_key_info(key)->type));
    if (kyok_key_decrypt(key, &request, cek, err) == KYOK_REFUSED)
        explain_refusal(self, reference, err);
    return *cek != NULL ? KYOK_OK : name_recipient(reference->text, err);
}

/* --- which custodian ------------------------------------------------------------------------- */

static bool group_has_token(const struct kyok_token_config *group, const char *token)
{
    for (size_t i = 0; i < group->uri_count; i++) {
        AUTO_REFERENCE struct kyok_reference *member = NULL;
        struct kyok_error ignored;

        if (kyok_reference_parse(group->uris[i], KYOK_FROM_CONFIGURATION, NULL, &member,
                                 &ignored) == KYOK_OK &&
            (member->token == NULL || strcmp(member->token, token) == 0))
            return true;
    }
    return false;
}

static const char *group_of(const struct kyok_config *config,
                            const struct kyok_reference *reference)
{
    const struct kyok_kmip_config *kmip;

    if (reference->kind == KYOK_REFERENCE_KMIP) {
        kmip = kyok_config_kmip(config, reference->group);
        return kmip != NULL ? kmip->name : "";
    }
    for (size_t i = 0; reference->token != NULL && i < config->token_count; i++)
        if (group_has_token(&config->tokens[i], reference->token))
            return config->tokens[i].name;
    return "";
}

struct health {
    const char *custodian;
    bool well, away;
};

static void note_member(void *caller, const struct kyok_custodian_figures *figures)
{
    struct health *health = caller;

    if (strcmp(figures->custodian, health->custodian) != 0)
        return;
    if (strcmp(figures->state, "healthy") == 0)
        health->well = true;
    else if (strcmp(figures->state, "unused") != 0)
        health->away = true;
}

static int key_rank(void *self, const char *kid, const char **custodian)
{
    const struct kyok_config *config = kyok_context_config(self);
    AUTO_REFERENCE struct kyok_reference *reference = NULL;
    struct kyok_error ignored;
    struct health health = {0};

    *custodian = "";
    if (kid == NULL ||
        kyok_reference_parse(kid, KYOK_FROM_DATA, config, &reference, &ignored) != KYOK_OK)
        return 1;
    *custodian = health.custodian = group_of(config, reference);
    kyok_context_figures(self, note_member, &health);
    return health.well ? 0 : health.away ? 2 : 1;
}

/* The longest that any group may take. */
static unsigned key_timeout_ms(void *self)
{
    const struct kyok_config *config = kyok_context_config(self);
    unsigned longest = KYOK_DEFAULT_TIMEOUT_MS;

    for (size_t i = 0; i < config->token_count; i++)
        if (config->tokens[i].timeout_ms > longest)
            longest = config->tokens[i].timeout_ms;
    for (size_t i = 0; i < config->kmip_count; i++)
        if (config->kmips[i].timeout_ms > longest)
            longest = config->kmips[i].timeout_ms;
    return longest;
}

static void key_up_ref(void *self)
{
    kyok_context_up_ref(self);
}

static void key_release(void *self)
{
    kyok_context_free(self);
}

static const struct kyok_keyholder_type key_type = {
    .wrap = key_wrap,
    .wrap_kid = key_wrap_kid,
    .name = key_name,
    .unwrap = key_unwrap,
    .rank = key_rank,
    .timeout_ms = key_timeout_ms,
    .up_ref = key_up_ref,
    .free = key_release,
};

struct kyok_keyholder kyok_key_keyholder(struct kyok_context *context)
{
    kyok_context_up_ref(context);
    return (struct kyok_keyholder){&key_type, context};
}
