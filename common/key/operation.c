/* SPDX-License-Identifier: Apache-2.0 */
/* Sign, decrypt, encrypt, derive: directly on the caller's memory, or as a job that owns all it
 * needs. */
#include "common/key/kept.h"

#include <stdlib.h>
#include <string.h>

#define SIGNATURE_MOST 2048

/* --- sign --- */

bool kyok_key_wants_data(const struct kyok_key *key)
{
    return key->custodian->ops->wants_data(key);
}

size_t kyok_key_signature_size(const struct kyok_key *key)
{
    switch (key->info.type) {
    case KYOK_KEY_RSA:
        return (key->info.bits + 7) / 8;
    case KYOK_KEY_EC: /* two INTEGERs of up to order + 1 bytes in a SEQUENCE */
        return 2 * ((key->info.bits + 7) / 8 + 3) + (key->info.bits > 500 ? 3 : 2);
    case KYOK_KEY_ED25519:
        return 64;
    case KYOK_KEY_ED448:
        return 114;
    default:
        return 0;
    }
}

struct signing {
    struct kyok_key *key;
    struct kyok_deadline deadline;
    struct kyok_sign_request request; /* its views are copies */
    size_t size;
    uint8_t signature[SIGNATURE_MOST];
};

static enum kyok_status run_sign(void *body, struct kyok_error *err)
{
    struct signing *s = body;

    s->size = sizeof(s->signature);
    return s->key->custodian->ops->sign(s->key, &s->request, s->signature, &s->size, s->deadline,
                                        err);
}

static void end_sign(void *body)
{
    struct signing *s = body;

    kyok_key_job_drop(&s->request.digest);
    kyok_key_job_drop(&s->request.data);
    kyok_key_free(s->key);
}

static const struct kyok_job_type sign_type = {"sign", sizeof(struct signing), run_sign, end_sign};

static enum kyok_status sign_by_job(struct kyok_key *key, const struct kyok_sign_request *request,
                                    uint8_t *signature, size_t *size, struct kyok_deadline deadline,
                                    struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_job_auto_free) struct kyok_job *job = kyok_key_job_new(&sign_type, err);
    struct signing *s;

    if (job == NULL)
        return err->status;
    s = kyok_job_body(job);
    kyok_key_up_ref(key);
    s->key = key;
    s->deadline = deadline;
    s->request = *request;
    s->request.data = kyok_bytes(NULL, 0);
    if (!kyok_key_job_copy(request->digest, &s->request.digest) ||
        !kyok_key_job_copy(request->data, &s->request.data))
        return kyok_fail(err, KYOK_SYSTEM, key->reference->text, "no memory");
    KYOK_TRY(kyok_key_job_run(job, key->custodian, key->reference->text, deadline, err));
    if (s->size > *size)
        return kyok_fail(err, KYOK_FAULT, key->reference->text, "no room for the signature");
    memcpy(signature, s->signature, s->size);
    *size = s->size;
    return KYOK_OK;
}

enum kyok_status kyok_key_sign(struct kyok_key *key, const struct kyok_sign_request *request,
                               uint8_t *signature, size_t *size, struct kyok_error *err)
{
    struct kyok_deadline deadline = kyok_custodian_deadline(key->custodian);
    enum kyok_status status;

    if (kyok_key_needs_job(key->custodian))
        status = sign_by_job(key, request, signature, size, deadline, err);
    else
        status = key->custodian->ops->sign(key, request, signature, size, deadline, err);
    kyok_key_tally(key, status);
    if (status != KYOK_OK)
        kyok_key_forget(key);
    return status;
}

/* --- decrypt and encrypt --- */

struct ciphering {
    struct kyok_key *key;
    struct kyok_deadline deadline;
    struct kyok_cipher_request request;
    struct kyok_secret *message;   /* of decryption */
    struct kyok_buffer ciphertext; /* of encryption */
};

static enum kyok_status run_decrypt(void *body, struct kyok_error *err)
{
    struct ciphering *c = body;

    return c->key->custodian->ops->decrypt(c->key, &c->request, &c->message, c->deadline, err);
}

static enum kyok_status run_encrypt(void *body, struct kyok_error *err)
{
    struct ciphering *c = body;

    return c->key->custodian->ops->encrypt(c->key, &c->request, &c->ciphertext, c->deadline, err);
}

static void end_cipher(void *body)
{
    struct ciphering *c = body;

    kyok_key_job_drop(&c->request.input);
    kyok_key_job_drop(&c->request.label);
    kyok_key_job_drop(&c->request.aad);
    kyok_secret_free(c->message);
    kyok_buffer_free(&c->ciphertext);
    kyok_key_free(c->key);
}

static const struct kyok_job_type decrypt_type = {"decrypt", sizeof(struct ciphering), run_decrypt,
                                                  end_cipher};
static const struct kyok_job_type encrypt_type = {"encrypt", sizeof(struct ciphering), run_encrypt,
                                                  end_cipher};

static enum kyok_status fill_ciphering(struct ciphering *c, struct kyok_key *key,
                                       const struct kyok_cipher_request *request,
                                       struct kyok_deadline deadline, struct kyok_error *err)
{
    kyok_key_up_ref(key);
    c->key = key;
    c->deadline = deadline;
    c->request = *request;
    c->request.input = c->request.label = c->request.aad = kyok_bytes(NULL, 0);
    if (kyok_key_job_copy(request->input, &c->request.input) &&
        kyok_key_job_copy(request->label, &c->request.label) &&
        kyok_key_job_copy(request->aad, &c->request.aad))
        return KYOK_OK;
    return kyok_fail(err, KYOK_SYSTEM, key->reference->text, "no memory");
}

enum kyok_status kyok_key_decrypt(struct kyok_key *key, const struct kyok_cipher_request *request,
                                  struct kyok_secret **output, struct kyok_error *err)
{
    struct kyok_deadline deadline = kyok_custodian_deadline(key->custodian);
    KYOK_CLEANUP(kyok_job_auto_free) struct kyok_job *job = NULL;
    struct ciphering *c;

    if (!kyok_key_needs_job(key->custodian))
        return key->custodian->ops->decrypt(key, request, output, deadline, err);
    job = kyok_key_job_new(&decrypt_type, err);
    if (job == NULL)
        return err->status;
    c = kyok_job_body(job);
    KYOK_TRY(fill_ciphering(c, key, request, deadline, err));
    KYOK_TRY(kyok_key_job_run(job, key->custodian, key->reference->text, deadline, err));
    *output = c->message;
    c->message = NULL;
    return KYOK_OK;
}

enum kyok_status kyok_key_encrypt(struct kyok_key *key, struct kyok_cipher_request *request,
                                  struct kyok_buffer *output, struct kyok_error *err)
{
    struct kyok_deadline deadline = kyok_custodian_deadline(key->custodian);
    KYOK_CLEANUP(kyok_job_auto_free) struct kyok_job *job = NULL;
    struct ciphering *c;

    if (!kyok_key_needs_job(key->custodian))
        return key->custodian->ops->encrypt(key, request, output, deadline, err);
    job = kyok_key_job_new(&encrypt_type, err);
    if (job == NULL)
        return err->status;
    c = kyok_job_body(job);
    KYOK_TRY(fill_ciphering(c, key, request, deadline, err));
    KYOK_TRY(kyok_key_job_run(job, key->custodian, key->reference->text, deadline, err));
    memcpy(request->iv, c->request.iv, sizeof(request->iv));
    request->iv_size = c->request.iv_size;
    memcpy(request->tag, c->request.tag, sizeof(request->tag));
    if (!kyok_buffer_append(output, c->ciphertext.data, c->ciphertext.size))
        return kyok_fail(err, KYOK_SYSTEM, key->reference->text, "no memory");
    return KYOK_OK;
}

/* --- derive --- */

struct deriving {
    struct kyok_key *key;
    struct kyok_deadline deadline;
    struct kyok_bytes peer;
    struct kyok_secret *secret;
};

static enum kyok_status run_derive(void *body, struct kyok_error *err)
{
    struct deriving *d = body;

    return d->key->custodian->ops->derive(d->key, d->peer, &d->secret, d->deadline, err);
}

static void end_derive(void *body)
{
    struct deriving *d = body;

    kyok_key_job_drop(&d->peer);
    kyok_secret_free(d->secret);
    kyok_key_free(d->key);
}

static const struct kyok_job_type derive_type = {"derive", sizeof(struct deriving), run_derive,
                                                 end_derive};

enum kyok_status kyok_key_derive(struct kyok_key *key, struct kyok_bytes peer,
                                 struct kyok_secret **secret, struct kyok_error *err)
{
    struct kyok_deadline deadline = kyok_custodian_deadline(key->custodian);
    KYOK_CLEANUP(kyok_job_auto_free) struct kyok_job *job = NULL;
    struct deriving *d;

    if (!kyok_key_needs_job(key->custodian))
        return key->custodian->ops->derive(key, peer, secret, deadline, err);
    job = kyok_key_job_new(&derive_type, err);
    if (job == NULL)
        return err->status;
    d = kyok_job_body(job);
    kyok_key_up_ref(key);
    d->key = key;
    d->deadline = deadline;
    if (!kyok_key_job_copy(peer, &d->peer))
        return kyok_fail(err, KYOK_SYSTEM, key->reference->text, "no memory");
    KYOK_TRY(kyok_key_job_run(job, key->custodian, key->reference->text, deadline, err));
    *secret = d->secret;
    d->secret = NULL;
    return KYOK_OK;
}

/* KMIP's waits have deadlines of their own, so this needs no thread. */
enum kyok_status kyok_key_value(struct kyok_key *key, struct kyok_secret **value,
                                struct kyok_error *err)
{
    if (key->custodian->ops->value == NULL)
        return kyok_fail(err, KYOK_REFUSED, key->reference->text,
                         "a token's key does not leave it");
    return key->custodian->ops->value(key, value, kyok_custodian_deadline(key->custodian), err);
}
