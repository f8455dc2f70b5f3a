/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bringing a key: the token makes a transport key pair, another machine wraps the key with its
 * public half, the token unwraps. As CKM_RSA_AES_KEY_WRAP does it, in two steps that more tokens
 * know: RSA-OAEP around an AES key of the moment, AES-KWP (RFC 5649) around the material.
 */
#include "common/base/library_context.h"
#include "common/key/life.h"

#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define TRANSPORT_BITS 3072
#define CARRIER_SIZE 32
#define MATERIAL_MOST 32

static void pkey_free(EVP_PKEY **pkey)
{
    EVP_PKEY_free(*pkey);
}

static void pkey_context_free(EVP_PKEY_CTX **context)
{
    EVP_PKEY_CTX_free(*context);
}

static void cipher_context_free(EVP_CIPHER_CTX **context)
{
    EVP_CIPHER_CTX_free(*context);
}

static void cipher_free(EVP_CIPHER **cipher)
{
    EVP_CIPHER_free(*cipher);
}

static enum kyok_status openssl_failed(struct kyok_error *err, const char *what)
{
    ERR_clear_error();
    return kyok_fail(err, KYOK_INVALID, NULL, "%s failed", what);
}

/* --- on the machine that has the material --- */

static EVP_PKEY *read_public_key(struct kyok_bytes public_key)
{
    EVP_PKEY *pkey = NULL;
    OSSL_DECODER_CTX *decoder =
        OSSL_DECODER_CTX_new_for_pkey(&pkey, "DER", "SubjectPublicKeyInfo", "RSA",
                                      EVP_PKEY_PUBLIC_KEY, kyok_library_context(), NULL);
    const unsigned char *at = public_key.data;
    size_t left = public_key.size;

    if (decoder == NULL || OSSL_DECODER_from_data(decoder, &at, &left) != 1 || left != 0) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    OSSL_DECODER_CTX_free(decoder);
    return pkey;
}

static enum kyok_status seal_oaep(struct kyok_bytes public_key, enum kyok_hash hash,
                                  struct kyok_bytes input, struct kyok_buffer *output,
                                  struct kyok_error *err)
{
    KYOK_CLEANUP(pkey_free) EVP_PKEY *pkey = read_public_key(public_key);
    KYOK_CLEANUP(pkey_context_free) EVP_PKEY_CTX *context = NULL;
    size_t size = 0;
    uint8_t *room;

    if (pkey == NULL)
        return openssl_failed(err, "reading the transport key");
    context = EVP_PKEY_CTX_new_from_pkey(kyok_library_context(), pkey, NULL);
    if (context == NULL || EVP_PKEY_encrypt_init(context) != 1 ||
        EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) != 1 ||
        EVP_PKEY_CTX_set_rsa_oaep_md_name(context, kyok_hash_name(hash), NULL) != 1 ||
        EVP_PKEY_CTX_set_rsa_mgf1_md_name(context, kyok_hash_name(hash), NULL) != 1 ||
        EVP_PKEY_encrypt(context, NULL, &size, input.data, input.size) != 1)
        return openssl_failed(err, "preparing RSA-OAEP");
    room = kyok_buffer_reserve(output, size);
    if (room == NULL || EVP_PKEY_encrypt(context, room, &size, input.data, input.size) != 1)
        return openssl_failed(err, "RSA-OAEP");
    output->size += size;
    return KYOK_OK;
}

/* name: "AES-256-WRAP-PAD" (output one block longer, rounded up), or an ECB cipher. */
static enum kyok_status encrypt_with(const char *name, struct kyok_bytes key,
                                     struct kyok_bytes input, uint8_t *output, size_t *size,
                                     struct kyok_error *err)
{
    KYOK_CLEANUP(cipher_free)
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(kyok_library_context(), name, NULL);
    KYOK_CLEANUP(cipher_context_free) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int written = 0, final = 0;

    if (cipher == NULL || context == NULL)
        return openssl_failed(err, name);
    EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (EVP_EncryptInit_ex2(context, cipher, key.data, NULL, NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(context, 0) != 1 ||
        EVP_EncryptUpdate(context, output, &written, input.data, (int)input.size) != 1 ||
        EVP_EncryptFinal_ex(context, output + written, &final) != 1)
        return openssl_failed(err, name);
    *size = (size_t)(written + final);
    return KYOK_OK;
}

static enum kyok_status host_check_value(struct kyok_bytes material, uint8_t value[3],
                                         struct kyok_error *err)
{
    static const uint8_t zeros[16];
    uint8_t block[32];
    char name[16];
    size_t size;

    snprintf(name, sizeof(name), "AES-%zu-ECB", material.size * 8);
    KYOK_TRY(encrypt_with(name, material, kyok_bytes(zeros, sizeof(zeros)), block, &size, err));
    memcpy(value, block, 3);
    return KYOK_OK;
}

enum kyok_status kyok_key_import_seal(struct kyok_bytes public_key, enum kyok_hash hash,
                                      struct kyok_bytes material, struct kyok_buffer *key_wrapped,
                                      struct kyok_buffer *material_wrapped, uint8_t check_value[3],
                                      struct kyok_error *err)
{
    KYOK_AUTO_SECRET struct kyok_secret *carrier = kyok_secret_new(CARRIER_SIZE);
    uint8_t *room = kyok_buffer_reserve(material_wrapped, MATERIAL_MOST + 32);
    size_t size;

    if (carrier == NULL || room == NULL ||
        RAND_priv_bytes_ex(kyok_library_context(), kyok_secret_data(carrier), CARRIER_SIZE, 0) != 1)
        return kyok_fail(err, KYOK_SYSTEM, NULL, "no memory or randomness");
    if (material.size != 16 && material.size != 24 && material.size != 32)
        return kyok_fail(err, KYOK_INVALID, NULL,
                         "the material is an AES key of 16, 24 or 32 bytes, not %zu",
                         material.size);
    KYOK_TRY(host_check_value(material, check_value, err));
    KYOK_TRY(seal_oaep(public_key, hash, kyok_secret_bytes(carrier), key_wrapped, err));
    KYOK_TRY(
        encrypt_with("AES-256-WRAP-PAD", kyok_secret_bytes(carrier), material, room, &size, err));
    material_wrapped->size += size;
    return KYOK_OK;
}

/* --- on the token's machine --- */

static enum kyok_status transport_reference(const struct kyok_life *life,
                                            struct kyok_reference **reference,
                                            struct kyok_error *err)
{
    struct kyok_key_name name = {.id_size = 0};

    if (life->reference->object == NULL ||
        strlen(life->reference->object) > KYOK_RECORD_LABEL_MAX - 12)
        return kyok_fail(err, KYOK_INVALID, life->reference->text,
                         "the reference must name the key to import: object=NAME");
    snprintf(name.label, sizeof(name.label), "%s.transport", life->reference->object);
    return kyok_life_reference(life, &name, reference, err);
}

/* A key that the host makes up is unwrapped by the transport key: does the token take this hash? */
static enum kyok_status try_hash(const struct kyok_life *life, struct kyok_key *transport,
                                 enum kyok_hash hash, struct kyok_error *err)
{
    const struct kyok_key_info *info = kyok_key_info(transport);
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer wrapped = {0};
    uint8_t trial[CARRIER_SIZE];

    if (RAND_bytes_ex(kyok_library_context(), trial, sizeof(trial), 0) != 1)
        return kyok_fail(err, KYOK_SYSTEM, NULL, "no randomness");
    KYOK_TRY(seal_oaep(kyok_bytes(info->public_key, info->public_key_size), hash,
                       kyok_bytes(trial, sizeof(trial)), &wrapped, err));
    return kyok_group_try_carrier(transport->own, hash, kyok_buffer_bytes(&wrapped), life->deadline,
                                  err);
}

static enum kyok_status choose_hash(const struct kyok_life *life, struct kyok_key *transport,
                                    bool allow_sha1, enum kyok_hash *hash, struct kyok_error *err)
{
    static const enum kyok_hash hashes[] = {KYOK_HASH_SHA512, KYOK_HASH_SHA384, KYOK_HASH_SHA256};

    for (size_t i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++) {
        enum kyok_status status = try_hash(life, transport, hashes[i], err);

        *hash = hashes[i];
        if (status == KYOK_OK || status == KYOK_UNREACHABLE || status == KYOK_TIMEOUT)
            return status;
    }
    *hash = KYOK_HASH_SHA1;
    if (allow_sha1)
        return try_hash(life, transport, *hash, err);
    kyok_fail(err, KYOK_UNSUPPORTED, life->reference->text,
              "the token takes RSA-OAEP with SHA-1 only, if at all");
    return kyok_remedy(err, "add --allow-oaep-sha1 if your policy allows that");
}

enum kyok_status kyok_key_import_begin(struct kyok_context *context,
                                       const struct kyok_reference *reference, bool allow_sha1,
                                       enum kyok_hash *hash, struct kyok_buffer *public_key,
                                       struct kyok_error *err)
{
    static const struct kyok_generate_request request = {
        .type = KYOK_KEY_RSA, .bits = TRANSPORT_BITS, .uses = KYOK_USE_WRAP};
    KYOK_AUTO_REFERENCE struct kyok_reference *transport_name = NULL;
    KYOK_AUTO_KEY struct kyok_key *transport = NULL;
    const struct kyok_key_info *info;
    struct kyok_life life;

    KYOK_TRY(kyok_life_begin(context, reference, &life, err));
    KYOK_TRY(transport_reference(&life, &transport_name, err));
    if (kyok_key_open(context, transport_name, kyok_bytes(NULL, 0), &transport, err) != KYOK_OK)
        KYOK_TRY(kyok_key_generate(context, transport_name, &request, &transport, err));
    if (choose_hash(&life, transport, allow_sha1, hash, err) != KYOK_OK) {
        struct kyok_error ignored;

        kyok_group_destroy(transport->own, life.deadline, &ignored);
        return err->status;
    }
    info = kyok_key_info(transport);
    return kyok_buffer_append(public_key, info->public_key, info->public_key_size)
               ? KYOK_OK
               : kyok_fail(err, KYOK_SYSTEM, NULL, "no memory");
}

/* The transport key is the last to go: without it, the key is there or nothing was begun. */
static enum kyok_status was_imported(const struct kyok_life *life, const uint8_t check_value[3],
                                     struct kyok_error *err)
{
    KYOK_AUTO_KEY struct kyok_key *key = NULL;
    uint8_t present[3];
    struct kyok_error missing = *err;

    if (kyok_key_open(life->context, life->reference, kyok_bytes(NULL, 0), &key, err) != KYOK_OK) {
        *err = missing;
        return kyok_remedy(err, "begin with kyok key import --begin");
    }
    KYOK_TRY(kyok_group_check_value(key->own, present, life->deadline, err));
    if (memcmp(present, check_value, sizeof(present)) == 0)
        return KYOK_OK;
    return kyok_fail(err, KYOK_REFUSED, life->reference->text,
                     "there is another key of this name already");
}

/* A token that does not tell the length of what it has unwrapped gets it in a record. */
static enum kyok_status record_length(const struct kyok_life *life, size_t wrapped_size,
                                      struct kyok_error *err)
{
    KYOK_AUTO_RECORD record = kyok_life_record_new(err);
    KYOK_AUTO_KEY struct kyok_key *key = NULL;

    if (record == NULL)
        return err->status;
    KYOK_TRY(kyok_key_open(life->context, life->reference, kyok_bytes(NULL, 0), &key, err));
    if (kyok_key_info(key)->type != KYOK_KEY_AES || kyok_key_info(key)->bits != 0)
        return KYOK_OK;
    KYOK_TRY(kyok_life_record(life, record, err));
    record->versions[0].bits = (unsigned)(wrapped_size - 8) * 8; /* RFC 5649, 16 to 32 bytes */
    record->versions[0].made = time(NULL);
    return kyok_life_write(life, record, err);
}

enum kyok_status kyok_key_import(struct kyok_context *context,
                                 const struct kyok_reference *reference, enum kyok_hash hash,
                                 struct kyok_bytes key_wrapped, struct kyok_bytes material_wrapped,
                                 uint8_t check_value[3], struct kyok_error *err)
{
    KYOK_AUTO_REFERENCE struct kyok_reference *transport_name = NULL;
    KYOK_AUTO_KEY struct kyok_key *transport = NULL;
    struct kyok_import_request request = {.hash = hash,
                                          .key_wrapped = key_wrapped,
                                          .material = material_wrapped,
                                          .usage = KYOK_USAGE_ENCRYPT | KYOK_USAGE_DECRYPT |
                                                   KYOK_USAGE_WRAP | KYOK_USAGE_UNWRAP};
    struct kyok_life life;
    enum kyok_status status;

    KYOK_TRY(kyok_life_begin(context, reference, &life, err));
    KYOK_TRY(transport_reference(&life, &transport_name, err));
    status = kyok_key_open(context, transport_name, kyok_bytes(NULL, 0), &transport, err);
    if (status == KYOK_NOT_FOUND)
        return was_imported(&life, check_value, err);
    KYOK_TRY(status);
    memcpy(request.check_value, check_value, 3);
    strcpy(request.name.label, reference->object);
    request.name.id_size = reference->id_size < KYOK_RECORD_ID_MAX ? reference->id_size : 0;
    if (request.name.id_size > 0)
        memcpy(request.name.id, reference->id, request.name.id_size);
    else
        KYOK_TRY(kyok_life_new_id(&request.name, err));
    status = kyok_group_import(transport->own, &request, life.deadline, err);
    kyok_life_event("create", &life, &request.name, "import", status);
    KYOK_TRY(status);
    memcpy(check_value, request.check_value, 3);
    KYOK_TRY(record_length(&life, material_wrapped.size, err));
    return kyok_group_destroy(transport->own, life.deadline, err);
}

/* --- from token to token --------------------------------------------------------------------- */

static enum kyok_status replicate_with(const struct kyok_life *life, struct kyok_key *key,
                                       const struct kyok_key_version *version, const char *token,
                                       bool allow_sha1, struct kyok_error *err)
{
    static const enum kyok_hash hashes[] = {KYOK_HASH_SHA256, KYOK_HASH_SHA1};
    enum kyok_status status = KYOK_UNSUPPORTED;

    for (size_t i = 0; i < (allow_sha1 ? 2 : 1); i++) {
        status = kyok_group_replicate(key->own, token, &version->name, version->usage, hashes[i],
                                      life->deadline, err);
        if (status == KYOK_OK || status == KYOK_REFUSED || status == KYOK_NOT_FOUND ||
            status == KYOK_UNREACHABLE)
            return status;
    }
    if (!allow_sha1)
        kyok_remedy(err, "if the tokens take RSA-OAEP with SHA-1 only, add --allow-oaep-sha1");
    return status;
}

enum kyok_status kyok_key_replicate(struct kyok_context *context,
                                    const struct kyok_reference *reference, const char *token,
                                    bool allow_sha1, struct kyok_error *err)
{
    KYOK_AUTO_RECORD record = kyok_life_record_new(err);
    KYOK_AUTO_KEY struct kyok_key *key = NULL;
    struct kyok_key_version *version;
    struct kyok_life life;
    enum kyok_status status;

    if (record == NULL)
        return err->status;
    KYOK_TRY(kyok_life_begin(context, reference, &life, err));
    KYOK_TRY(kyok_life_record(&life, record, err));
    KYOK_TRY(kyok_life_version(&life, record, &version, err));
    if (version->wrapped_size > 0)
        return kyok_fail(err, KYOK_UNSUPPORTED, reference->text,
                         "a descendant is in every token that has its parent: replicate that");
    KYOK_TRY(kyok_life_open(&life, &version->name, &key, err));
    status = replicate_with(&life, key, version, token, allow_sha1, err);
    kyok_life_event("create", &life, &version->name, "replica", status);
    KYOK_TRY(status);
    if (version->bits == 0 && kyok_key_info(key)->type == KYOK_KEY_AES)
        version->bits = kyok_key_info(key)->bits; /* the new member may not tell it */
    if (record->serial > 0 || version->bits != 0) /* the new member gets the record too */
        KYOK_TRY(kyok_life_write(&life, record, err));
    return kyok_key_check(key, err);
}
