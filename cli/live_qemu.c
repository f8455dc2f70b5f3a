/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/live_qemu.h"
#include "cli/vm.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <poll.h>
#include <string.h>

#define QMP_TIMEOUT_MS 120000
#define JOB_TIMEOUT_MS 120000

enum kyok_status live_qemu_socket(struct live_qemu *qemu, const char *path, struct kyok_error *err)
{
    qemu->qmp.path = path;
    qemu->qmp.deadline = kyok_deadline_in_ms(QMP_TIMEOUT_MS);
    return qmp_connect(&qemu->qmp, err);
}

void live_qemu_close(struct live_qemu *qemu)
{
    qmp_close(&qemu->qmp);
}

/* virsh prints QEMU's answer, errors too. */
static enum kyok_status through_libvirt(struct live_qemu *qemu, const char *command,
                                        json_t *arguments, json_t **result, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer output = {0};
    json_t *request = json_pack("{s:s,s:o}", "execute", command, "arguments", arguments);
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    if (!text)
        return kyok_fail(err, KYOK_SYSTEM, command, "no memory for a QMP command");
    enum kyok_status status =
        vm_virsh(&output, err, "qemu-monitor-command", "--domain", qemu->vm, text, NULL);
    free(text);
    KYOK_TRY(status);
    json_t *answer = json_loads((const char *)output.data, 0, NULL);
    const char *why = json_string_value(json_object_get(json_object_get(answer, "error"), "desc"));
    json_t *value = json_object_get(answer, "return");
    if (value && result)
        *result = json_incref(value);
    if (!value) {
        status = kyok_fail(err, KYOK_REFUSED, qemu->vm, "QEMU refused %s", command);
        kyok_because(err, "%s", why ? why : "no reason given");
    }
    json_decref(answer);
    return status;
}

enum kyok_status live_qemu_execute(struct live_qemu *qemu, const char *command, json_t *arguments,
                                   json_t **result, struct kyok_error *err)
{
    if (*qemu->vm)
        return through_libvirt(qemu, command, arguments, result, err);
    qemu->qmp.deadline = kyok_deadline_in_ms(QMP_TIMEOUT_MS);
    return qmp_execute(&qemu->qmp, command, arguments, result, err);
}

/* --- secrets ---------------------------------------------------------------------------------- */

#define MASTER_KEY_SIZE 32
#define IV_SIZE 16

/* The file that libvirt gave QEMU its master key in, as QEMU knows it. */
static enum kyok_status master_key(struct live_qemu *qemu, struct kyok_buffer *key,
                                   struct kyok_error *err)
{
    json_t *path = NULL;
    KYOK_TRY(live_qemu_execute(
        qemu, "qom-get", json_pack("{s:s,s:s}", "path", "/objects/masterKey0", "property", "file"),
        &path, err));
    enum kyok_status status =
        json_is_string(path)
            ? cli_read_file(json_string_value(path), MASTER_KEY_SIZE, key, err)
            : kyok_fail(err, KYOK_UNSUPPORTED, qemu->vm, "the VM has no master key of libvirt's");
    json_decref(path);
    if (status == KYOK_OK && key->size != MASTER_KEY_SIZE)
        status = kyok_fail(err, KYOK_UNSUPPORTED, qemu->vm, "the VM's master key is none");
    return status;
}

static bool append_base64(struct kyok_buffer *text, struct kyok_bytes bytes)
{
    uint8_t *room = kyok_buffer_reserve(text, (bytes.size + 2) / 3 * 4 + 1);
    if (room)
        text->size += (size_t)EVP_EncodeBlock(room, bytes.data, (int)bytes.size) + 1;
    return room;
}

/* AES-256-CBC with PKCS#7 padding: QEMU's crypto/secret_common.c takes nothing else. */
static bool encrypt(const uint8_t *key, const uint8_t iv[IV_SIZE], struct kyok_bytes secret,
                    struct kyok_buffer *text)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer cipher = {0};
    uint8_t *room = kyok_buffer_reserve(&cipher, secret.size + IV_SIZE);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int size = 0, last = 0;
    bool good = room && context &&
                EVP_EncryptInit_ex(context, EVP_aes_256_cbc(), NULL, key, iv) == 1 &&
                EVP_EncryptUpdate(context, room, &size, secret.data, (int)secret.size) == 1 &&
                EVP_EncryptFinal_ex(context, room + size, &last) == 1;
    EVP_CIPHER_CTX_free(context);
    return good && append_base64(text, kyok_bytes(room, (size_t)(size + last)));
}

static enum kyok_status add_encrypted(struct live_qemu *qemu, const char *id,
                                      struct kyok_bytes secret, struct kyok_error *err)
{
    uint8_t iv[IV_SIZE];
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer key = {0};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer data = {0};
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer iv_text = {0};
    KYOK_TRY(master_key(qemu, &key, err));
    if (RAND_bytes(iv, sizeof(iv)) != 1 || !encrypt(key.data, iv, secret, &data) ||
        !append_base64(&iv_text, kyok_bytes(iv, sizeof(iv))))
        return kyok_fail(err, KYOK_SYSTEM, qemu->vm, "a secret cannot be encrypted for QEMU");
    return live_qemu_execute(qemu, "object-add",
                             json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "qom-type", "secret", "id", id,
                                       "data", data.data, "keyid", "masterKey0", "iv", iv_text.data,
                                       "format", "base64"),
                             NULL, err);
}

enum kyok_status live_qemu_add_secret(struct live_qemu *qemu, const char *id,
                                      struct kyok_bytes secret, struct kyok_error *err)
{
    live_qemu_drop_secret(qemu, id); /* of a run that was killed */
    return *qemu->vm ? add_encrypted(qemu, id, secret, err)
                     : qmp_add_secret(&qemu->qmp, id, secret, err);
}

void live_qemu_drop_secret(struct live_qemu *qemu, const char *id)
{
    struct kyok_error none;
    (void)live_qemu_execute(qemu, "object-del", json_pack("{s:s}", "id", id), NULL, &none);
}

/* --- jobs ------------------------------------------------------------------------------------- */

/* *ended is set when there is no such job, too. */
static enum kyok_status look_at_job(struct live_qemu *qemu, const char *id, bool *ended,
                                    struct kyok_error *err)
{
    json_t *jobs = NULL;
    const json_t *found = NULL;
    KYOK_TRY(live_qemu_execute(qemu, "query-jobs", json_object(), &jobs, err));
    for (size_t i = 0; i < json_array_size(jobs); i++) {
        const json_t *job = json_array_get(jobs, i);
        const char *name = json_string_value(json_object_get(job, "id"));
        if (name && strcmp(name, id) == 0)
            found = job;
    }
    const char *state = json_string_value(json_object_get(found, "status"));
    const char *why = json_string_value(json_object_get(found, "error"));
    *ended = !found || (state && strcmp(state, "concluded") == 0);
    enum kyok_status status = KYOK_OK;
    if (why) {
        status = kyok_fail(err, KYOK_REFUSED, qemu->node, "QEMU could not change the key slots");
        kyok_because(err, "%s", why);
    }
    json_decref(jobs);
    return status;
}

/* libvirt's monitor passes no events of jobs that are not its own: they are asked for. */
enum kyok_status live_qemu_job(struct live_qemu *qemu, const char *id, struct kyok_error *err)
{
    struct kyok_deadline deadline = kyok_deadline_in_ms(JOB_TIMEOUT_MS);
    struct kyok_error none;
    bool ended = false;
    enum kyok_status status = look_at_job(qemu, id, &ended, err);
    while (status == KYOK_OK && !ended && kyok_deadline_left_ms(deadline) > 0) {
        poll(NULL, 0, 50);
        status = look_at_job(qemu, id, &ended, err);
    }
    if (!ended && status == KYOK_OK)
        return kyok_fail(err, KYOK_TIMEOUT, qemu->node, "QEMU does not end changing key slots");
    (void)live_qemu_execute(qemu, "job-dismiss", json_pack("{s:s}", "id", id), NULL, &none);
    return status;
}
