/* SPDX-License-Identifier: Apache-2.0 */
/* The key layer's half of a token group. */
#include "common/key/context.h"
#include "common/pkcs11/pkcs11.h"

#include <stdlib.h>
#include <string.h>

static struct kyok_bytes public_half(const struct kyok_key *key)
{
    return kyok_bytes(key->info.public_key, key->info.public_key_size);
}

static enum kyok_status open_key(struct kyok_key *key, struct kyok_deadline deadline,
                                 struct kyok_error *err)
{
    struct kyok_key_info info = {0};
    struct kyok_group_key *own = NULL;

    if (kyok_group_key_open(key->custodian->own, key->reference, public_half(key), &info, &own,
                            deadline, err) != KYOK_OK) {
        kyok_key_info_clear(&info);
        return err->status;
    }
    kyok_key_info_clear(&key->info);
    key->info = info;
    key->own = own;
    return KYOK_OK;
}

static enum kyok_status defer_key(struct kyok_key *key, struct kyok_error *err)
{
    struct kyok_group_key *own = NULL;

    KYOK_TRY(
        kyok_group_key_defer(key->custodian->own, key->reference, public_half(key), &own, err));
    key->own = own;
    return KYOK_OK;
}

static enum kyok_status check_key(struct kyok_key *key, struct kyok_deadline deadline,
                                  struct kyok_error *err)
{
    return kyok_group_key_check(key->own, deadline, err);
}

static void release_key(struct kyok_key *key)
{
    kyok_group_key_free(key->own);
}

static bool wants_data(const struct kyok_key *key)
{
    (void)key;
    return false;
}

static enum kyok_status sign(struct kyok_key *key, const struct kyok_sign_request *request,
                             uint8_t *signature, size_t *size, struct kyok_deadline deadline,
                             struct kyok_error *err)
{
    return kyok_group_sign(key->own, request, signature, size, deadline, err);
}

static enum kyok_status decrypt(struct kyok_key *key, const struct kyok_cipher_request *request,
                                struct kyok_secret **output, struct kyok_deadline deadline,
                                struct kyok_error *err)
{
    return kyok_group_decrypt(key->own, request, output, deadline, err);
}

static enum kyok_status encrypt(struct kyok_key *key, struct kyok_cipher_request *request,
                                struct kyok_buffer *output, struct kyok_deadline deadline,
                                struct kyok_error *err)
{
    return kyok_group_encrypt(key->own, request, output, deadline, err);
}

static enum kyok_status derive(struct kyok_key *key, struct kyok_bytes peer,
                               struct kyok_secret **secret, struct kyok_deadline deadline,
                               struct kyok_error *err)
{
    return kyok_group_derive(key->own, peer, secret, deadline, err);
}

static enum kyok_status list(struct kyok_custodian *custodian,
                             const struct kyok_reference *reference, bool login,
                             kyok_key_visitor *visit, void *caller, struct kyok_deadline deadline,
                             struct kyok_error *err)
{
    return kyok_group_list(custodian->own, reference, login, visit, caller, deadline, err);
}

static enum kyok_status generate(struct kyok_custodian *custodian,
                                 const struct kyok_reference *reference,
                                 const struct kyok_generate_request *request,
                                 struct kyok_deadline deadline, struct kyok_error *err)
{
    return kyok_group_generate(custodian->own, reference, request, deadline, err);
}

static enum kyok_status draw_random(struct kyok_custodian *custodian, uint8_t *data, size_t size,
                                    struct kyok_deadline deadline, struct kyok_error *err)
{
    return kyok_group_random(custodian->own, data, size, deadline, err);
}

static void figures(struct kyok_custodian *custodian, kyok_figures_visitor *visit, void *caller)
{
    kyok_group_figures(custodian->own, visit, caller);
}

#define GROUPS_KEPT 64

static void leave(struct kyok_custodian *custodian, struct kyok_context *kept,
                  struct kyok_deadline deadline)
{
    struct kyok_group *groups[GROUPS_KEPT];
    struct kyok_custodian *other = kept == NULL ? NULL : atomic_load(&kept->custodians);
    size_t count = 0;

    for (; other != NULL; other = other->next) {
        if (other->ops != custodian->ops)
            continue;
        if (count == GROUPS_KEPT)
            return; /* rather a login too many than one that is missed */
        groups[count++] = other->own;
    }
    kyok_group_leave(custodian->own, groups, count, deadline);
}

static void free_custodian(struct kyok_custodian *custodian)
{
    kyok_group_free(custodian->own);
    free(custodian->name);
    free(custodian);
}

static const struct kyok_custodian_ops ops = {
    .open = open_key,
    .defer = defer_key,
    .check = check_key,
    .release = release_key,
    .wants_data = wants_data,
    .sign = sign,
    .decrypt = decrypt,
    .encrypt = encrypt,
    .derive = derive,
    .list = list,
    .generate = generate,
    .random = draw_random,
    .figures = figures,
    .leave = leave,
    .free = free_custodian,
};

const struct kyok_custodian_ops *kyok_pkcs11_custodian_ops(void)
{
    return &ops;
}

/* --- looking after members that are away, on the custodian's own lane --- */

struct errand {
    struct kyok_context *context;
    void (*work)(void *arg);
    void *arg;
};

static enum kyok_status run_errand(void *body, struct kyok_error *err)
{
    struct errand *errand = body;

    (void)err;
    errand->work(errand->arg);
    return KYOK_OK;
}

static void end_errand(void *body)
{
    kyok_context_free(((struct errand *)body)->context);
}

static const struct kyok_job_type errand_type = {
    .name = "probe", .body_size = sizeof(struct errand), .run = run_errand, .destroy = end_errand};

static bool background(void *host, void (*work)(void *arg), void *arg)
{
    struct kyok_custodian *custodian = host;
    struct kyok_lane *lane = kyok_custodian_lane(custodian);
    struct kyok_job *job = lane == NULL ? NULL : kyok_job_new(&errand_type);
    struct kyok_error err;

    if (job == NULL)
        return false;
    kyok_context_up_ref(custodian->context);
    *(struct errand *)kyok_job_body(job) = (struct errand){custodian->context, work, arg};
    return kyok_job_start(job, lane, &err) == KYOK_OK;
}

enum kyok_status kyok_pkcs11_custodian_new(const struct kyok_token_config *config,
                                           struct kyok_secret *pin,
                                           struct kyok_custodian **custodian,
                                           struct kyok_error *err)
{
    struct kyok_custodian *fresh = calloc(1, sizeof(*fresh));
    struct kyok_group *group;

    if (fresh == NULL || (fresh->name = strdup(config->name)) == NULL) {
        free(fresh);
        kyok_secret_free(pin);
        return kyok_fail(err, KYOK_SYSTEM, config->name, "no memory");
    }
    if (kyok_group_new(config, pin, &group, err) != KYOK_OK) {
        free(fresh->name);
        free(fresh);
        return err->status;
    }
    fresh->ops = &ops;
    fresh->own = group;
    fresh->timeout_ms = config->timeout_ms;
    fresh->isolate = config->isolate;
    kyok_group_set_background(group, background, fresh);
    *custodian = fresh;
    return KYOK_OK;
}
