/* SPDX-License-Identifier: Apache-2.0 */
#include "qemu-secret/qmp.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define QMP_LINE_MAX ((size_t)1 << 20)

void qmp_close(struct qmp *qmp)
{
    if (qmp->fd >= 0)
        close(qmp->fd);
    kyok_buffer_free(&qmp->input);
}

static enum kyok_status wait_for(struct qmp *qmp, short events, struct kyok_error *err)
{
    struct pollfd fd = {.fd = qmp->fd, .events = events};
    int ready = poll(&fd, 1, kyok_deadline_left_ms(qmp->deadline));
    if (ready > 0 || (ready < 0 && errno == EINTR))
        return KYOK_OK;
    return kyok_fail(err, KYOK_TIMEOUT, qmp->path, "QEMU does not answer");
}

static enum kyok_status send_all(struct qmp *qmp, struct kyok_bytes bytes, struct kyok_error *err)
{
    while (bytes.size > 0) {
        KYOK_TRY(wait_for(qmp, POLLOUT, err));
        ssize_t put = send(qmp->fd, bytes.data, bytes.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put < 0 && errno != EAGAIN && errno != EINTR)
            return kyok_fail_errno(err, qmp->path, "QEMU does not listen");
        size_t sent = put > 0 ? (size_t)put : 0;
        bytes = kyok_bytes(bytes.data + sent, bytes.size - sent);
    }
    return KYOK_OK;
}

/* One line of JSON, which the caller releases. */
static enum kyok_status read_line(struct qmp *qmp, json_t **message, struct kyok_error *err)
{
    for (;;) {
        uint8_t *end = qmp->input.size ? memchr(qmp->input.data, '\n', qmp->input.size) : NULL;
        if (end) {
            size_t size = (size_t)(end - qmp->input.data) + 1;
            *message = json_loadb((const char *)qmp->input.data, size, 0, NULL);
            memmove(qmp->input.data, end + 1, qmp->input.size - size);
            qmp->input.size -= size;
            return *message ? KYOK_OK
                            : kyok_fail(err, KYOK_FAULT, qmp->path, "QEMU sent no proper JSON");
        }
        if (qmp->input.size > QMP_LINE_MAX)
            return kyok_fail(err, KYOK_FAULT, qmp->path, "QEMU sent too long a line");
        KYOK_TRY(wait_for(qmp, POLLIN, err));
        uint8_t *room = kyok_buffer_reserve(&qmp->input, 4096);
        ssize_t got = room ? recv(qmp->fd, room, 4096, MSG_DONTWAIT) : -1;
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return kyok_fail(err, KYOK_UNREACHABLE, qmp->path, "QEMU closed the connection");
        qmp->input.size += got > 0 ? (size_t)got : 0;
    }
}

/* Events before the answer are passed over. */
static enum kyok_status execute(struct qmp *qmp, const char *name, struct kyok_bytes arguments,
                                json_t **result, struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    kyok_buffer_printf(&text, "{\"execute\":\"%s\",\"arguments\":", name);
    kyok_buffer_append(&text, arguments.data, arguments.size);
    kyok_buffer_append_text(&text, "}\n");
    KYOK_TRY(send_all(qmp, kyok_buffer_bytes(&text), err));
    for (;;) {
        json_t *answer = NULL;
        KYOK_TRY(read_line(qmp, &answer, err));
        json_t *error = json_object_get(answer, "error");
        bool done = error || json_object_get(answer, "return");
        const char *why = json_string_value(json_object_get(error, "desc"));
        if (error) {
            kyok_fail(err, KYOK_REFUSED, qmp->path, "QEMU refused %s", name);
            kyok_because(err, "%s", why ? why : "no reason given");
        }
        if (done && !error && result)
            *result = json_incref(json_object_get(answer, "return"));
        json_decref(answer);
        if (done)
            return error ? err->status : KYOK_OK;
    }
}

enum kyok_status qmp_execute(struct qmp *qmp, const char *name, json_t *arguments, json_t **result,
                             struct kyok_error *err)
{
    char *text = arguments ? json_dumps(arguments, JSON_COMPACT) : NULL;
    json_decref(arguments);
    if (!text)
        return kyok_fail(err, KYOK_INVALID, name, "the command cannot be written as JSON");
    enum kyok_status status = execute(qmp, name, kyok_bytes_of_text(text), result, err);
    free(text);
    return status;
}

enum kyok_status qmp_connect(struct qmp *qmp, struct kyok_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    json_t *greeting = NULL;
    if (strlen(qmp->path) >= sizeof(address.sun_path))
        return kyok_fail(err, KYOK_INVALID, qmp->path, "the socket's path is too long");
    strcpy(address.sun_path, qmp->path);
    qmp->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (qmp->fd < 0 || connect(qmp->fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        return kyok_fail_errno(err, qmp->path, "QEMU cannot be reached");
    KYOK_TRY(read_line(qmp, &greeting, err));
    json_decref(greeting);
    return execute(qmp, "qmp_capabilities", kyok_bytes_of_text("{}"), NULL, err);
}

/* The passphrase goes from locked memory to the socket: hexadecimal digits need no escapes, and a
 * JSON library would keep copies. */
enum kyok_status qmp_add_secret(struct qmp *qmp, const char *id, struct kyok_bytes secret,
                                struct kyok_error *err)
{
    KYOK_CLEANUP(kyok_buffer_free) struct kyok_buffer text = {0};
    for (size_t i = 0; i < secret.size; i++)
        if (secret.data[i] < ' ' || secret.data[i] > '~' || secret.data[i] == '"' ||
            secret.data[i] == '\\')
            return kyok_fail(err, KYOK_UNSUPPORTED, id, "the passphrase is no plain text");
    kyok_buffer_printf(&text, "{\"qom-type\":\"secret\",\"id\":\"%s\",\"data\":\"", id);
    kyok_buffer_append(&text, secret.data, secret.size);
    kyok_buffer_append_text(&text, "\"}");
    return execute(qmp, "object-add", kyok_buffer_bytes(&text), NULL, err);
}
